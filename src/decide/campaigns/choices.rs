//! The consequences of a campaign's choice of servers, computed once for all campaigns with the same choice. Pure.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, HashSet},
    hash::Hash,
    rc::Rc,
    sync::Arc,
};

use super::{
    super::{CampaignInput, Observations, ServerDecision, World, bulk::ServersSay, grants::Ownership, senders},
    candidates::{Candidate, Choice, candidates},
    fit::Load,
    limits::{Limits, Pacing},
    table,
};
use crate::{
    feedback::Pause,
    report::CampaignReport,
    resources::{Blocker, Key, server_table::CampaignServerStatus},
};

/// The servers that a campaign might use, and what its status says about them.
pub(super) struct Servers<'a> {
    /// All of them, in the order of their keys.
    pub candidates: Vec<Candidate>,
    /// Why the plan and the spec do not fit together.
    pub unresolved: Option<Blocker>,
    /// The decisions on those that are granted, chosen and fit, and not out of use for the campaign or its namespace.
    pub open: Vec<(&'a Key, &'a ServerDecision)>,
    /// How many of `open` are Active.
    pub active: usize,
    /// Whether one of `open` has not been probed yet.
    pub is_pending: bool,
    /// Those that are granted, chosen and fit, are not paused for the namespace, and are Active or on trial, with their weights.
    pub routed: Arc<[(Key, u32)]>,
    /// Those that are granted, chosen and fit.
    pub usable: Arc<[Key]>,
    /// The rows of the table, without counts.
    pub rows: Arc<[CampaignServerStatus]>,
    /// What their limits allow.
    pub limits: Limits,
    /// The domain of the From address.
    domain: String,
    /// What is asked of bulk senders, as far as they tell; computed when it is asked.
    say: OnceCell<ServersSay>,
}

impl Servers<'_> {
    /// What they say of the points that mailbox providers ask of bulk senders.
    pub fn say(&self, world: &World, observed: &Observations) -> &ServersSay {
        self.say.get_or_init(|| ServersSay::of(&self.domain, &*self.usable, world, observed))
    }

    /// Those that are granted, chosen and fit.
    pub fn usable(&self) -> impl Iterator<Item = &Candidate> {
        usable(&self.candidates)
    }

    /// The pauses of the namespace at these.
    pub fn paused(&self) -> impl Iterator<Item = &Pause> {
        self.usable().filter_map(|candidate| candidate.paused.as_ref())
    }
}

fn usable(candidates: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    candidates.iter().filter(|candidate| candidate.is_wanted() && candidate.unfit.is_none())
}

/// Equal lists, held once.
struct Lists<T>(HashSet<Arc<[T]>>);

impl<T: Eq + Hash> Lists<T> {
    /// The list, or the equal one that is held; `old` if that is equal, so that a list lasts from turn to turn.
    fn share(&mut self, list: Arc<[T]>, old: Option<&Arc<[T]>>) -> Arc<[T]> {
        if let Some(held) = self.0.get(&list) {
            return held.clone();
        }
        let list = old.filter(|old| **old == list).cloned().unwrap_or(list);
        self.0.insert(list.clone());
        list
    }
}

/// The choices of one decision.
pub struct Choices<'a> {
    /// The complete desired state.
    pub(super) world: &'a World,
    /// The decisions on servers.
    pub(super) servers: &'a BTreeMap<Key, ServerDecision>,
    /// The complete observed state.
    pub(super) observed: &'a Observations,
    ownership: &'a BTreeMap<Key, Ownership>,
    now_ms: i64,
    made: BTreeMap<Choice<'a>, Rc<Servers<'a>>>,
    routed: Lists<(Key, u32)>,
    usable: Lists<Key>,
    rows: Lists<CampaignServerStatus>,
    paced: BTreeMap<(*const CampaignServerStatus, String), Arc<[CampaignServerStatus]>>,
}

impl<'a> Choices<'a> {
    /// Starts without any choice.
    #[must_use]
    pub fn new(
        world: &'a World,
        ownership: &'a BTreeMap<Key, Ownership>,
        servers: &'a BTreeMap<Key, ServerDecision>,
        observed: &'a Observations,
        now_ms: i64,
    ) -> Self {
        Self {
            world,
            servers,
            observed,
            ownership,
            now_ms,
            made: BTreeMap::new(),
            routed: Lists(HashSet::new()),
            usable: Lists(HashSet::new()),
            rows: Lists(HashSet::new()),
            paced: BTreeMap::new(),
        }
    }

    /// The servers of a campaign, and the plan that it names.
    pub(super) fn servers_of(&mut self, key: &'a Key, input: &'a CampaignInput, report: Option<&CampaignReport>) -> (Rc<Servers<'a>>, Key) {
        let spec = &input.object.spec;
        let choice = Choice::of(key, spec, Load::of(input.known_work().map(|work| &**work)));
        let plan = choice.plan.clone();
        let old = input.previous.as_ref().map(|previous| previous.servers.shared_rows());
        let made = self.made.get(&choice).cloned();
        let alike = made.unwrap_or_else(|| {
            let fitted = |mut candidates: Vec<Candidate>| {
                candidates.iter_mut().for_each(|candidate| self.fit(choice.load, candidate));
                candidates
            };
            let found = candidates(&choice, self.world, self.ownership);
            let found = found.map(fitted).map_err(|(found, problem)| (fitted(found), problem));
            let made = Rc::new(match found {
                Ok(candidates) => self.make(candidates, &choice.domain, None, old),
                Err((candidates, problem)) => self.make(candidates, &choice.domain, Some(problem), old),
            });
            self.made.insert(choice, made.clone());
            made
        });
        let bars = report.map(|report| &report.bars).filter(|bars| !bars.is_empty());
        let foreign = alike.unresolved.is_none().then(|| senders::problem(key, spec, &plan, self.world, &alike.candidates)).flatten();
        if bars.is_none() && foreign.is_none() {
            return (alike, plan);
        }
        // The rest concerns this campaign alone.
        let mut candidates = alike.candidates.clone();
        let (unfit, problem) = foreign.unzip();
        for candidate in &mut candidates {
            if candidate.is_of_plan && unfit.is_some() {
                candidate.unfit.clone_from(&unfit);
            }
            candidate.bar = bars.and_then(|bars| bars.get(&candidate.key)).cloned();
        }
        let unresolved = alike.unresolved.clone().or(problem);
        (Rc::new(self.make(candidates, &alike.domain, unresolved, old)), plan)
    }

    /// Notes whether a server that is otherwise fit takes what the messages hold.
    fn fit(&self, load: Load, candidate: &mut Candidate) {
        let Some(server) = self.world.servers.get(&candidate.key).filter(|_| candidate.unfit.is_none()) else { return };
        let says = self.observed.servers.get(&candidate.key).and_then(|observed| observed.size_max);
        candidate.unfit = load.too_much_for(&server.object, says);
        candidate.is_too_much = candidate.unfit.is_some();
    }

    fn make(
        &mut self,
        candidates: Vec<Candidate>,
        domain: &str,
        unresolved: Option<Blocker>,
        old_rows: Option<&Arc<[CampaignServerStatus]>>,
    ) -> Servers<'a> {
        let servers = self.servers;
        let is_used = |key: &Key| servers.get(key).is_some_and(|server| server.active || server.on_trial);
        let routed = usable(&candidates).filter(|candidate| candidate.paused.is_none() && is_used(&candidate.key));
        let routed = routed.map(|candidate| (candidate.key.clone(), candidate.weight)).collect();
        let open: Vec<(&Key, &ServerDecision)> = usable(&candidates)
            .filter(|candidate| candidate.bar.is_none() && candidate.paused.is_none())
            .filter_map(|candidate| servers.get_key_value(&candidate.key))
            .collect();
        Servers {
            unresolved,
            active: open.iter().filter(|(_, server)| server.active).count(),
            is_pending: open.iter().any(|(_, server)| server.is_pending()),
            open,
            routed: self.routed.share(routed, None),
            usable: self.usable.share(usable(&candidates).map(|candidate| candidate.key.clone()).collect(), None),
            rows: self.rows.share(table::rows(&candidates, servers, self.observed).collect(), old_rows),
            limits: Limits::of(&candidates, servers, self.observed, self.now_ms),
            domain: domain.to_owned(),
            say: OnceCell::new(),
            candidates,
        }
    }

    /// The rows of these servers, in which the one that paces a campaign says so.
    pub(super) fn rows_of(
        &mut self,
        servers: &Servers<'_>,
        pacing: Option<&Pacing<'_>>,
        input: &CampaignInput,
    ) -> Arc<[CampaignServerStatus]> {
        let Some(pacing) = pacing else { return servers.rows.clone() };
        let why = format!("the others wait for it: {}, and weighting is Strict", pacing.limit);
        let name = pacing.server.to_string();
        let old = input.previous.as_ref().map(|previous| previous.servers.shared_rows());
        let lists = &mut self.rows;
        let paced = self.paced.entry((servers.rows.as_ptr(), format!("{name} {why}"))).or_insert_with(|| {
            let mut rows = servers.rows.to_vec();
            for row in rows.iter_mut().filter(|row| *row.server == *name && row.why_not.is_empty()) {
                row.why_not = why.as_str().into();
            }
            lists.share(rows.into(), old)
        });
        paced.clone()
    }
}
