//! What `preview` and `send` have in common: a campaign of some files, and its messages as they would be sent.

mod parts;
mod variants;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash as _, Hasher as _},
    io::Write as _,
    ops::ControlFlow,
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use jiff::Timestamp;
use siphasher::sip::SipHasher13;

pub(super) use self::{parts::Parts, variants::made};
use super::{exit::EXIT_CONFIGURATION, ledger_args::LedgerArgs, text, validate};
use crate::{
    audience::{Reader, Recipient, Row, canonical},
    decide::{self, CampaignDecision, Observations, ProbeResult, ServerObservation},
    egress::Egress,
    engine::{ContentResolver, EngineOptions, world_of},
    ledger::{AddressSet, LedgerError, RecordedFacts},
    message::{Census, Fault, Link, NamedField, RenderContext, RenderError, Rendered, Template, fields_named, message_id},
    meta::bound::counted,
    meta::nearest,
    people::{Excluded, Exclusion, People},
    resources::{Blocker, Campaign, Key, Kind as _, Reason, unsubscribe::Unsubscribe},
    source::{Files, Finding, Options, Severity, Snapshot, Sourced},
    token::{
        PublicUrl,
        unsubscribe::{Links, Subscription},
    },
};

/// The most messages that are made at a time.
pub(super) const FIRST_MAX: usize = 1000;

/// Which campaign, and where it is.
#[derive(Args, Clone, Debug)]
pub struct CampaignArgs {
    /// The campaign (NAME or NAMESPACE/NAME).
    #[arg(value_name = "CAMPAIGN")]
    pub campaign: String,
    /// Files and folders, as for `mailfleet run`.
    #[arg(value_name = "PATH", default_value = ".")]
    pub paths: Vec<PathBuf>,
    /// The campaign's namespace, where several have one of that name.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// Skip files and folders that match this gitignore pattern; repeatable.
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<String>,
    /// The state folder of `mailfleet run`, which is not read as configuration.
    #[arg(long, value_name = "DIR", default_value = text::STATE_DEFAULT, env = text::STATE_VARIABLE)]
    pub state: PathBuf,
    #[command(flatten)]
    pub ledger: LedgerArgs,
    /// Where people reach the process that sends, as for `mailfleet run`; for unsubscribe links.
    #[arg(long, value_name = "URL", env = "MAILFLEET_PUBLIC_URL")]
    pub public_url: Option<PublicUrl>,
    /// The only namespace whose plans count, as for `mailfleet run`.
    #[arg(long, value_name = "NAMESPACE")]
    pub plan_namespace: Option<String>,
}

/// Whose messages.
#[derive(Clone, Debug)]
pub(super) enum Whose {
    /// Those of the first recipients.
    First(usize),
    /// That of one recipient, by address.
    One(String),
}

/// Why nothing is shown or sent.
pub(super) struct Stop {
    /// The exit code.
    pub code: u8,
    findings: Vec<Finding>,
    message: String,
}

impl Stop {
    /// The files, or what was asked for, cannot be used.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self { code: EXIT_CONFIGURATION, findings: Vec::new(), message: message.into() }
    }

    /// The files cannot be used, and these findings say why.
    pub fn with_findings(findings: Vec<Finding>, message: impl Into<String>) -> Self {
        Self { findings, ..Self::configuration(message) }
    }

    /// It was tried, and failed.
    pub fn failed(message: impl Into<String>) -> Self {
        Self { code: 1, ..Self::configuration(message) }
    }

    /// Says why.
    pub fn report(self) -> ExitCode {
        let mut out = std::io::stderr().lock();
        for finding in &self.findings {
            // A closed standard error is no reason to fail otherwise.
            let _ = validate::print_finding(&mut out, finding);
        }
        let _ = writeln!(out, "mailfleet: {}", self.message);
        ExitCode::from(self.code)
    }
}

/// A campaign without faults, ready to make messages.
pub(super) struct Look {
    pub snapshot: Snapshot,
    pub key: Key,
    pub campaign: Sourced<Campaign>,
    template: Template,
    people: People,
    named: Vec<NamedField>,
    /// Makes the links by which people unsubscribe: samples, unless somebody has put others here.
    pub links: Links,
    /// Where people unsubscribe by mail, if they can.
    mail_domain: Option<Arc<str>>,
}

/// A message, and the recipient whose it is.
pub(super) struct Made {
    pub recipient: Recipient,
    pub rendered: Rendered,
    /// The variant that it is, in words; absent in a campaign without variants.
    pub variant: Option<String>,
}

/// A sample of an audience.
pub(super) struct Sample {
    pub recipients: Vec<Recipient>,
    /// Who of the whole audience gets which variant.
    pub census: Census,
    /// Recipients in the whole audience.
    pub all: u64,
}

impl Look {
    /// Reads the files, and finds the campaign in them. It blocks.
    pub fn open(args: &CampaignArgs, secrets_dir: Option<PathBuf>, runtime: &tokio::runtime::Handle) -> Result<Self, Stop> {
        let options = Options { exclude: args.exclude.clone(), ..Options::of_process(secrets_dir, Some(args.state.clone())) };
        let snapshot = Files::load_once(&args.paths, &options);
        let key = find(args, &snapshot)?;
        let faulty = |findings: Vec<Finding>| {
            let faults: Vec<Finding> = findings.into_iter().filter(|finding| finding.severity == Severity::Fault).collect();
            let message = format!("campaign {key} has {}; fix that first", counted(faults.len(), "fault", "faults"));
            (!faults.is_empty()).then_some(Stop { code: EXIT_CONFIGURATION, findings: faults, message })
        };
        let resource = format!("{} {key}", Campaign::KIND);
        let own = snapshot.findings.iter().filter(|finding| finding.resource.as_ref() == Some(&resource)).cloned();
        if let Some(stop) = faulty(own.collect()) {
            return Err(stop);
        }
        let Some(campaign) = snapshot.campaigns.get(&key).cloned() else {
            return Err(Stop::configuration(format!("campaign {key} cannot be read; `mailfleet validate` says why")));
        };
        if let Some(stop) = faulty(validate::findings_of(&key, &campaign, &snapshot, runtime)) {
            return Err(stop);
        }
        let resolver = validate::resolver(&key, &campaign, &snapshot, Egress::Everywhere);
        let resolver = ContentResolver { fetching: Some(runtime.clone()), ..resolver };
        let unusable = |blocker: Blocker| Stop::configuration(format!("campaign {key}: {}", blocker.message));
        let content = resolver.content(&campaign.object.spec).map_err(unusable)?;
        let people = resolver.people(&campaign.object.spec).map_err(unusable)?;
        let joined = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let template = Template::compile(&content).map_err(|faults| Stop::configuration(joined(faults)))?;
        let links = Links::sample(args.public_url.clone());
        let named = fields_named(&content);
        let mut look = Self { snapshot, key, campaign, template, people, named, links, mail_domain: None };
        if look.template.needs_link() {
            // The files are enough for this: where a ledger cannot be read, nothing is known of its servers.
            look.mail_domain = runtime.block_on(look.decision(args)).ok().and_then(|decision| decision.mail_domain);
        }
        Ok(look)
    }

    /// What would be decided on the campaign if each of its servers passed its test. No server is contacted, and nothing is recorded.
    pub async fn decision(&self, args: &CampaignArgs) -> Result<CampaignDecision, Stop> {
        let mut snapshot: Snapshot = self.snapshot.clone();
        Arc::make_mut(&mut snapshot.campaigns).retain(|key, _| *key == self.key);
        let looking = EngineOptions::looking(args.state.clone(), args.plan_namespace.clone());
        let options = EngineOptions { links: Some(self.links.clone()), ..looking };
        let facts = RecordedFacts::open(args.ledger.location(&args.state).map_err(Stop::failed)?)
            .map_err(|error| Stop::failed(error.to_string()))?;
        let now_ms = Timestamp::now().as_millisecond();
        let world = world_of(&snapshot, facts, &options, now_ms).await;
        let mut observed = Observations::default();
        for (key, input) in &world.servers {
            // Each passes for good until it is tested.
            let mut observation =
                ServerObservation { server_hash: input.built.clone().unwrap_or_default(), ..ServerObservation::default() };
            observation.note_probe(ProbeResult::NotProbeable, now_ms, now_ms, &input.object.spec.probe());
            observed.servers.insert(key.clone(), observation);
        }
        let mut decided = decide::decide(&world, &observed, now_ms);
        decided.campaigns.remove(&self.key).ok_or_else(|| Stop::failed("the campaign was not found"))
    }

    /// The recipients, each address once. It blocks.
    pub fn recipients(&self, whose: &Whose, runtime: &tokio::runtime::Handle) -> Result<Vec<Recipient>, Stop> {
        let unreadable = |blocker: Blocker| Stop::failed(format!("campaign {}: {}", self.key, blocker.message));
        let address = match whose {
            Whose::First(count) => {
                let found = first_recipients(&self.people, *count, runtime).map_err(unreadable)?;
                return if found.is_empty() { Err(self.nobody()) } else { Ok(found) };
            }
            Whose::One(address) => address,
        };
        let mut near: Option<String> = None;
        for row in Reader::open(&self.people.input, runtime).map_err(unreadable)? {
            let Row::Recipient(recipient) = row.map_err(unreadable)? else { continue };
            if canonical(recipient.address.as_str()) == canonical(address) {
                if is_excluded(excluded(&self.people.exclude, runtime).map_err(unreadable)?.as_ref(), &recipient).map_err(unreadable)? {
                    let message = format!("{address} gets nothing: it is in a list of spec.audience.exclude of campaign {}", self.key);
                    return Err(Stop::configuration(message));
                }
                return Ok(vec![recipient]);
            }
            let known = near.as_deref().into_iter().chain([recipient.address.as_str()]);
            near = nearest(address, known).map(str::to_owned);
        }
        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
        Err(Stop::configuration(format!("{address} is not in the audience of campaign {}{near}", self.key)))
    }

    /// A sample of the recipients, the same each time; each variant that anybody gets is in it. It blocks.
    pub fn sample(&self, count: usize, runtime: &tokio::runtime::Handle) -> Result<Sample, Stop> {
        type Place = (u64, Box<str>);
        let mut sample: BTreeMap<Place, Recipient> = BTreeMap::new();
        let mut first_of: BTreeMap<Option<String>, (Place, Recipient)> = BTreeMap::new();
        let mut census = Census::default();
        let all = self.each(runtime, |recipient| {
            let address: Box<str> = canonical(recipient.address.as_str()).into();
            let mut hasher = SipHasher13::new();
            address.hash(&mut hasher);
            let place = (hasher.finish(), address);
            let choice = self.choice(&recipient);
            census.add(&choice);
            if self.has_variants() {
                let variant = choice.variant().map(str::to_owned);
                if first_of.get(&variant).is_none_or(|(first, _)| place < *first) {
                    first_of.insert(variant, (place.clone(), recipient.clone()));
                }
            }
            sample.insert(place, recipient);
            if sample.len() > count {
                sample.pop_last();
            }
            ControlFlow::Continue(())
        })?;
        for (place, recipient) in first_of.into_values() {
            sample.entry(place).or_insert(recipient);
        }
        Ok(Sample { recipients: sample.into_values().collect(), census, all })
    }

    /// Calls `take` for each recipient who is not excluded, each address once, until it breaks, and returns how many there were. It
    /// blocks.
    pub fn each(&self, runtime: &tokio::runtime::Handle, mut take: impl FnMut(Recipient) -> ControlFlow<()>) -> Result<u64, Stop> {
        let folder = std::env::temp_dir();
        let full = |error: LedgerError| {
            let message = format!("addresses cannot be kept in {}: {error}", folder.display());
            Blocker::lasting(Reason::LedgerUnavailable, message)
        };
        let mut count = 0;
        let read = AddressSet::new(&folder).map_err(full).and_then(|mut seen| {
            each_recipient(
                &self.people,
                runtime,
                |address| seen.add(address).map_err(full),
                |recipient| {
                    count += 1;
                    take(recipient)
                },
            )
        });
        read.map(|()| count).map_err(|blocker| Stop::failed(format!("campaign {}: {}", self.key, blocker.message)))
    }

    /// That there is nobody to be mailed.
    pub fn nobody(&self) -> Stop {
        let but = if self.people.exclude.is_empty() { "" } else { ", or everybody in it is excluded" };
        Stop::failed(format!("the audience of campaign {} has no row that can be used{but}", self.key))
    }

    /// The fields of the audience without which a message says less than its template, whoever it is for; in a variant, or in the
    /// content itself.
    pub fn named_fields(&self, variant: Option<&str>) -> impl Iterator<Item = &str> {
        let needed = self.named.iter().filter(|field| !field.is_optional && field.only_with.is_empty());
        needed.filter(move |field| self.template.prints(&field.path, variant)).map(|field| &*field.name)
    }

    /// The message of a recipient, by the code that sends it. `run` tells it from that of any run.
    pub fn message(&self, recipient: &Recipient, run: &str) -> Result<Rendered, Stop> {
        self.message_in(self.choice(recipient).variant(), recipient, run)
    }

    /// The same in a variant, whichever the recipient gets; in the content itself where that is `None`.
    fn message_in(&self, variant: Option<&str>, recipient: &Recipient, run: &str) -> Result<Rendered, Stop> {
        self.rendered(variant, recipient, run).map_err(|error| {
            let fault = Fault::new(error.path, error.message);
            let what = format!("no message can be made for {}: ", recipient.fields.address().as_str());
            let spec = &self.campaign.object.spec;
            let findings = self.campaign.origin.file().map(|place| validate::of_fault(Severity::Fault, &what, &fault, place, spec));
            let message = format!("campaign {}: fix the template, or this recipient's row; messages to others may be fine", self.key);
            Stop { code: 1, findings: findings.into_iter().collect(), message }
        })
    }

    /// The same, or why there is none.
    pub fn rendered(&self, variant: Option<&str>, recipient: &Recipient, run: &str) -> Result<Rendered, RenderError> {
        let spec = &self.campaign.object.spec;
        let domain = spec.from.address.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
        let id = message_id(0, &self.key.namespace, &self.key.name, run, recipient.address.as_str(), domain);
        let address = recipient.fields.address().as_str().into();
        let topic = spec.unsubscribe.as_ref().and_then(Unsubscribe::topic).map(Into::into);
        let subscription = Subscription { namespace: self.key.namespace.clone(), topic, address, run: None };
        let link = self.links.make(&subscription, self.mail_domain.as_deref());
        let link = link.as_ref().map(|(url, mailto)| Link { url, mailto: mailto.as_deref() });
        let context = RenderContext { message_id: &id, date: Timestamp::now(), campaign: &self.key.name, senders: None, link };
        self.template.render_variant(variant, recipient, &context)
    }
}

/// The people whom a campaign excludes by its lists; who is in another run only the ledger knows. It blocks.
fn excluded(exclude: &[Exclusion], runtime: &tokio::runtime::Handle) -> Result<Option<Excluded>, Blocker> {
    if exclude.is_empty() {
        return Ok(None);
    }
    let folder = std::env::temp_dir();
    let set = AddressSet::new(&folder).map_err(|error| Blocker::lasting(Reason::LedgerUnavailable, error.to_string()))?;
    Excluded::read(exclude, set, runtime, |_, _| Ok(())).map(Some)
}

fn is_excluded(excluded: Option<&Excluded>, recipient: &Recipient) -> Result<bool, Blocker> {
    excluded.map_or(Ok(false), |excluded| excluded.has(recipient.address.as_str()))
}

/// The first recipients of an audience who are not excluded, each address once. It blocks.
///
/// # Errors
/// When the audience cannot be read that far, or a list of people who are excluded cannot be read.
pub(super) fn first_recipients(people: &People, count: usize, runtime: &tokio::runtime::Handle) -> Result<Vec<Recipient>, Blocker> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    each_recipient(
        people,
        runtime,
        |address| Ok(seen.insert(canonical(address).into_owned())),
        |recipient| {
            found.push(recipient);
            if found.len() < count { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        },
    )?;
    Ok(found)
}

/// How many recipients an audience has who are not excluded, each address once, and whether there may be more: no more than so many are
/// counted. Those of other runs count. It blocks.
///
/// # Errors
/// When the audience, or a list of people who are excluded, cannot be read.
pub(super) fn counted_people(people: &People, max: u64, runtime: &tokio::runtime::Handle) -> Result<(u64, bool), Blocker> {
    let mut count = 0;
    each_person(people, runtime, |_| {
        count += 1;
        count < max
    })?;
    Ok((count, count >= max))
}

/// Calls `take` for each recipient of an audience who is not excluded, each address once, for as long as it wants more. It blocks.
///
/// # Errors
/// When the audience, or a list of people who are excluded, cannot be read.
pub(super) fn each_person(
    people: &People,
    runtime: &tokio::runtime::Handle,
    mut take: impl FnMut(&Recipient) -> bool,
) -> Result<(), Blocker> {
    let full = |error: LedgerError| Blocker::lasting(Reason::LedgerUnavailable, error.to_string());
    let mut seen = AddressSet::new(&std::env::temp_dir()).map_err(full)?;
    let goes_on = |wants_more: bool| if wants_more { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
    each_recipient(people, runtime, |address| seen.add(address).map_err(full), |recipient| goes_on(take(&recipient)))
}

/// Calls `take` for each recipient of an audience who is not excluded and whose address is new, until it breaks. It blocks.
fn each_recipient(
    people: &People,
    runtime: &tokio::runtime::Handle,
    mut is_new: impl FnMut(&str) -> Result<bool, Blocker>,
    mut take: impl FnMut(Recipient) -> ControlFlow<()>,
) -> Result<(), Blocker> {
    let excluded = excluded(&people.exclude, runtime)?;
    for row in Reader::open(&people.input, runtime)? {
        if let Row::Recipient(recipient) = row?
            && !is_excluded(excluded.as_ref(), &recipient)?
            && is_new(recipient.address.as_str())?
            && take(recipient).is_break()
        {
            break;
        }
    }
    Ok(())
}

/// Does what blocks off the threads of the runtime; a panic in it goes on here.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Makes messages off the threads of the runtime.
pub(super) async fn look<T: Send + 'static>(
    args: &CampaignArgs,
    secrets_dir: Option<PathBuf>,
    make: impl FnOnce(Look, &tokio::runtime::Handle) -> Result<T, Stop> + Send + 'static,
) -> Result<T, Stop> {
    let args = args.clone();
    let runtime = tokio::runtime::Handle::current();
    blocking(move || make(Look::open(&args, secrets_dir, &runtime)?, &runtime)).await
}

fn find(args: &CampaignArgs, snapshot: &Snapshot) -> Result<Key, Stop> {
    let (namespace, name) = match args.campaign.split_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (args.namespace.as_deref(), args.campaign.as_str()),
    };
    let broken = snapshot.broken.iter().filter(|broken| broken.kind == Campaign::KIND).map(|broken| &broken.key);
    let all: Vec<&Key> = snapshot.campaigns.keys().chain(broken).collect();
    let fits = |key: &&&Key| *key.name == *name && namespace.is_none_or(|namespace| *key.namespace == *namespace);
    match all.iter().filter(fits).collect::<Vec<_>>()[..] {
        [key] => Ok((*key).clone()),
        [] => {
            let paths = args.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
            let near = nearest(name, all.iter().map(|key| &*key.name)).map(|near| format!("; did you mean `{near}`?"));
            let names = || match all.len() {
                0 => String::new(),
                _ => format!("; there are {}", all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
            };
            Err(Stop::configuration(format!("there is no campaign `{}` in {paths}{}", args.campaign, near.unwrap_or_else(names))))
        }
        ref several => {
            let namespaces = several.iter().map(|key| &*key.namespace).collect::<Vec<_>>().join(", ");
            Err(Stop::configuration(format!("there are several campaigns `{name}`: choose one with --namespace, of {namespaces}")))
        }
    }
}

/// An address in the form that a server takes.
pub(super) fn wire(address: &crate::audience::Address) -> Arc<str> {
    Arc::from(address.to_wire())
}
