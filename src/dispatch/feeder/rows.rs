//! The rows that a feeder reads: of the audience, of another run in the ledger, or of the audience as far as people are in another run.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::ControlFlow,
};

use crate::{
    audience::{FileVersion, Input, Reader, Recipient, Row, Unit, canonical},
    ledger::{Ledger, Lookup, RunId, RunKey},
    message::Template,
    meta::nearest,
    people::{Excluded, Exclusion, People, of_ledger},
    resources::{Blocker, Key, Reason, bound::counted},
    routing::OutcomesOf,
};

/// People of another run that are kept in memory, some 100 bytes each.
const PEOPLE_MAX: usize = 1_000_000;

/// Rows to be mailed, one by one. It blocks.
pub(super) struct Rows {
    reader: Reader,
    people: Option<OtherRun>,
}

/// People of another run.
enum OtherRun {
    /// They are the audience.
    Are { left: std::iter::Enumerate<std::vec::IntoIter<String>>, in_all: usize },
    /// Of the audience, only they are mailed.
    Limit(HashSet<String>),
}

impl Rows {
    /// Opens the audience of `campaign`, and finds the people of another run where it names one.
    ///
    /// # Errors
    /// When the audience cannot be read, or the ledger does not have the other run.
    pub fn open(
        campaign: &Key,
        input: &Input,
        outcomes: Option<&OutcomesOf>,
        ledger: &Ledger,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self, Blocker> {
        let people = outcomes.map(|outcomes| people(campaign, outcomes, ledger)).transpose()?;
        let people = people.map(|people| match input {
            Input::Recorded => {
                let in_all = people.len();
                OtherRun::Are { left: people.into_iter().enumerate(), in_all }
            }
            _ => OtherRun::Limit(people.iter().map(|address| canonical(address).into_owned()).collect()),
        });
        Ok(Self { reader: Reader::open(input, runtime)?, people })
    }

    /// The version of the file that is read, where it is one.
    pub fn version(&self) -> Option<FileVersion> {
        self.reader.version()
    }

    /// What the numbers of its rows count.
    pub fn unit(&self) -> &Unit {
        self.reader.unit()
    }

    /// The number of recipients in all, where `so_far` were brought; `None` where that cannot be told.
    pub fn estimate(&self, so_far: u64) -> Option<u64> {
        match &self.people {
            None => self.reader.estimate(so_far),
            Some(OtherRun::Are { in_all, .. }) => u64::try_from(*in_all).ok(),
            Some(OtherRun::Limit(people)) => u64::try_from(people.len()).ok(),
        }
    }

    /// A field that the templates, their variants or the sending hours need and nobody in the audience has is a mistake in one of the two: found before
    /// anybody is mailed.
    pub fn check_fields(&self, input: &Input, template: &Template, zone_field: Option<&str>) -> Result<(), Blocker> {
        let of_list = |rows: &[BTreeMap<String, serde_json::Value>]| rows.iter().flat_map(BTreeMap::keys).cloned().collect();
        let known: BTreeSet<String> = match (self.reader.columns(), input) {
            (Some(columns), _) => columns.into_iter().map(str::to_owned).collect(),
            (None, Input::Inline(rows)) => of_list(rows),
            (None, Input::Recorded) => BTreeSet::from(["email".to_owned()]),
            // A field may be in any line.
            (None, _) => return Ok(()),
        };
        for (name, field) in [("sendingHours.zoneField", zone_field), ("spec.content.variantField", template.chooser().field())] {
            let Some(field) = field.filter(|field| !known.contains(*field)) else { continue };
            let near = nearest(field, known.iter().map(String::as_str));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let message = format!(
                "{name}: nobody in the audience has a field `{field}`{near}. Fix the field or the audience; the campaign then continues."
            );
            return Err(Blocker::lasting(Reason::InvalidContent, message));
        }
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let missing = template.missing_fields(&known, input.has_texts());
        let Some(first) = missing.first() else { return Ok(()) };
        let more = missing.len() - 1;
        let others = if more > 0 { format!(" (and {})", counted(more as u64, "other field", "other fields")) } else { String::new() };
        let message = format!("{first}{others}. Fix the template or the audience; the campaign then continues.");
        Err(Blocker::lasting(Reason::InvalidContent, message))
    }
}

impl Iterator for Rows {
    type Item = Result<Row, Blocker>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.people {
            None => self.reader.next(),
            Some(OtherRun::Are { left, .. }) => {
                let (index, address) = left.next()?;
                let recipient = Recipient::from_json(&serde_json::json!({"email": address}).to_string());
                Some(Ok(recipient.map_or_else(|why| Row::Bad { line: index as u64 + 1, why }, Row::Recipient)))
            }
            Some(OtherRun::Limit(people)) => self.reader.find(|row| match row {
                Ok(Row::Recipient(recipient)) => people.contains(&*canonical(recipient.address.as_str())),
                _ => true,
            }),
        }
    }
}

/// The people whom a campaign does not mail; `None` where it excludes nobody.
///
/// # Errors
/// When a list cannot be read, or the ledger does not have the other run.
pub fn excluded(
    campaign: &Key,
    exclude: &[Exclusion],
    ledger: &Ledger,
    runtime: &tokio::runtime::Handle,
) -> Result<Option<Excluded>, Blocker> {
    if exclude.is_empty() {
        return Ok(None);
    }
    let set = ledger.address_set().map_err(|error| of_ledger(&error))?;
    let of_run = |outcomes: &OutcomesOf, add: &mut dyn FnMut(&str) -> Result<(), Blocker>| {
        let OutcomesOf { campaign: name, run, states } = outcomes;
        let key = RunKey::new(&*campaign.namespace, name.as_str(), run.as_str());
        let mut added = Ok(());
        let found = ledger.each_recipient_of(&key, states, |address| {
            added = add(&address);
            if added.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        match found {
            Err(error) => Err(of_ledger(&error)),
            Ok(false) => Err(no_such_run(name, run)),
            Ok(true) => added,
        }
    };
    Excluded::read(exclude, set, runtime, of_run).map(Some)
}

/// Counts the recipients of a closed run's audience who are not in the ledger: rows added later.
///
/// # Errors
/// When the audience or the ledger cannot be read.
pub fn count_added(
    (key, outcomes): (&Key, Option<&OutcomesOf>),
    people: &People,
    ledger: &Ledger,
    run_id: RunId,
    runtime: &tokio::runtime::Handle,
) -> Result<u64, String> {
    let excluded = excluded(key, &people.exclude, ledger, runtime).map_err(|e| e.to_string())?;
    let is_excluded = |address: &str| excluded.as_ref().map_or(Ok(false), |excluded| excluded.has(address)).map_err(|e| e.to_string());
    let mut seen = ledger.recipient_index(run_id).map_err(|e| e.to_string())?;
    let mut added = 0;
    for row in Rows::open(key, &people.input, outcomes, ledger, runtime).map_err(|e| e.to_string())? {
        if let Row::Recipient(recipient) = row.map_err(|e| e.to_string())?
            && !is_excluded(recipient.address.as_str())?
            && seen.look_up(recipient.address.as_str()).map_err(|e| e.to_string())? == Lookup::New
        {
            added += 1;
        }
    }
    Ok(added)
}

/// The people with one of the outcomes, in the order in which they were claimed.
fn people(campaign: &Key, outcomes: &OutcomesOf, ledger: &Ledger) -> Result<Vec<String>, Blocker> {
    let unreadable = |message: String| Blocker::lasting(Reason::AudienceUnreadable, message);
    let OutcomesOf { campaign: name, run, states } = outcomes;
    let key = RunKey::new(&*campaign.namespace, name.as_str(), run.as_str());
    match ledger.recipients_of(&key, states, PEOPLE_MAX) {
        Err(error) => Err(of_ledger(&error)),
        Ok(None) => Err({
            let blocker = no_such_run(name, run);
            Blocker { message: format!("spec.audience.outcomes: {}", blocker.message), ..blocker }
        }),
        Ok(Some(people)) if people.len() > PEOPLE_MAX => Err(unreadable(format!(
            "spec.audience.outcomes: more than {PEOPLE_MAX} people of run {run} of campaign {name} have such an outcome. Name fewer states, or export them with `mailfleet get campaigns {} --recipients`",
            Key::new(&*campaign.namespace, name.as_str()).as_arguments()
        ))),
        Ok(Some(people)) => Ok(people),
    }
}

fn no_such_run(campaign: &str, run: &str) -> Blocker {
    let message =
        format!("the ledger has no run {run} of campaign {campaign} in this namespace. `mailfleet get runs` lists those that it has");
    Blocker::lasting(Reason::AudienceUnreadable, message)
}
