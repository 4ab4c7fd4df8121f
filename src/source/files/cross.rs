//! References between documents, as far as they can be checked offline.
//!
//! The findings are warnings: a Secret may come from elsewhere, and somebody else may apply the plan. Only the status is definite.

use super::{
    beside::{Purpose, resolve_beside},
    read::Body,
};
use crate::{
    audience::Address,
    meta::{nearest, net},
    providers::{Provider, ProviderSpec, Signing},
    resources::{
        Campaign, FINALIZER, Key, KeyRef,
        campaign::{Attachment, Place, SourceFormat, TemplatesSource},
        resume::{ANNOTATION, Resume, ServerResume},
        rollout,
        senders::{self, Says},
        sending_server::{NeededSecret, SendingServerSpec},
    },
    source::{FilePlace, Finding, Severity, Snapshot},
    yaml::Position,
    zones,
};

/// A field that refers to something outside its document.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub path: String,
    pub at: Position,
    pub excerpt: Option<String>,
    pub target: Target,
}

/// What is referred to.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Plan(Key),
    /// A server that a plan grants.
    Server(Key),
    /// A server that a campaign chooses: of the plan's namespace or of its own.
    OneOfServers(Vec<Key>),
    Secret(KeyRef),
    /// A Secret of which no single key is required, but some of them; one of these.
    WholeSecret(KeyRef),
    ConfigMap(KeyRef),
    /// A ConfigMap of which no single key is required.
    WholeConfigMap(String),
    File(String, Purpose),
    /// What a campaign says of its sender, which the plan grants.
    Sender(Key, String, Says),
    /// Nothing: the field is accepted but unlikely to work.
    Doubt(String),
}

/// What a document refers to. The caller fills in the places.
pub(super) fn references(body: &Body, key: &Key) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut add = |path: String, target| found.push(Reference { path, at: Position::default(), excerpt: None, target });
    match body {
        Body::Server(server) => {
            for (path, words) in server.spec.provider.doubts() {
                add(path, Target::Doubt(words));
            }
            if let ProviderSpec::outbox(outbox) = &server.spec.provider
                && let Some(words) = outbox.misplaced(&key.namespace)
            {
                add("spec.provider.outbox.path".to_owned(), Target::Doubt(words));
            }
            if let Some(Err(why)) = server.metadata.annotations.get(ANNOTATION).map(|value| ServerResume::parse(value)) {
                add(format!("metadata.annotations[\"{ANNOTATION}\"]"), Target::Doubt(format!("this resumes nothing: {why}")));
            }
            for (path, words) in without_effect(&server.spec) {
                add(path.to_owned(), Target::Doubt(words));
            }
            let needed = server.spec.secrets();
            for (index, one) in needed.iter().enumerate() {
                let is_of_the_same = |other: &NeededSecret| other.key.name == one.key.name;
                if !one.optional {
                    add(one.path.clone(), Target::Secret(one.key.clone()));
                } else if !needed.iter().any(|other| !other.optional && is_of_the_same(other))
                    && !needed[..index].iter().any(is_of_the_same)
                {
                    add(one.path.clone(), Target::WholeSecret(one.key.clone()));
                }
            }
        }
        Body::Plan(plan) => {
            for (index, server) in plan.spec.servers.iter().enumerate() {
                add(format!("spec.servers[{index}].name"), Target::Server(Key::new(&*key.namespace, &*server.name)));
            }
        }
        Body::Campaign(campaign) => campaign_references(campaign, key, &mut add),
        _ => {}
    }
    found
}

/// Fields of a server that are accepted and have no effect, and what to do.
fn without_effect(spec: &SendingServerSpec) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if let Some(identity) = spec.identity.as_ref().filter(|identity| !identity.dkim.is_empty()) {
        let has_key = |domain: &String| identity.dkim.iter().any(|key| net::is_at_or_below(&net::ascii(domain), &key.ascii_domain()));
        let without: Vec<&str> = identity.domains.iter().filter(|domain| !has_key(domain)).map(String::as_str).collect();
        if let Signing::Theirs(why) = spec.provider.signing() {
            found.push((
                "spec.identity.dkim",
                format!("this has no effect: {why}. Remove it, and set up DKIM for the domain at the vendor"),
            ));
        } else if !without.is_empty() {
            let words = "are not signed: no key is of that domain or of one above it. Add one";
            found.push(("spec.identity.dkim", format!("messages from {} {words}", without.join(", "))));
        }
    }
    let has_listener = spec.feedback.as_ref().is_some_and(|feedback| feedback.bounces.is_some());
    if has_listener && !spec.provider.has_envelope() {
        found.push((
            "spec.feedback.bounces",
            "this has no effect: the vendor sets the envelope sender and handles the bounces itself. Remove this field".to_owned(),
        ));
    }
    found
}

/// The warning about a document with a controller's finalizer.
pub(super) fn exported_finalizer() -> Reference {
    let words = format!(
        "the controller sets `{FINALIZER}` on a campaign while it sends, and an export includes it; remove it, or the object cannot be deleted while no controller runs"
    );
    Reference { path: "metadata.finalizers".to_owned(), at: Position::default(), excerpt: None, target: Target::Doubt(words) }
}

fn campaign_references(campaign: &Campaign, key: &Key, add: &mut impl FnMut(String, Target)) {
    if let Some(Err(why)) = campaign.metadata.annotations.get(ANNOTATION).map(|value| Resume::parse(value)) {
        add(format!("metadata.annotations[\"{ANNOTATION}\"]"), Target::Doubt(format!("this resumes nothing: {why}")));
    }
    if campaign.metadata.annotations.get(rollout::ANNOTATION).is_some_and(|value| value.trim().is_empty()) {
        let why = "this value is empty, so nothing is promoted; give it a new value, such as the current time".to_owned();
        add(format!("metadata.annotations[\"{}\"]", rollout::ANNOTATION), Target::Doubt(why));
    }
    let spec = &campaign.spec;
    if let Err(fault) = zones::when(spec) {
        add(fault.field.to_owned(), Target::Doubt(fault.message));
    }
    let plan = spec.plan_ref.key(&key.namespace);
    add("spec.planRef.name".to_owned(), Target::Plan(plan.clone()));
    let mailboxes = [("spec.from", Some(&spec.from)), ("spec.replyTo", spec.reply_to.as_ref())];
    for (field, mailbox) in mailboxes.into_iter().filter_map(|(field, mailbox)| Some((field, mailbox?))) {
        if let Err(why) = Address::parse(&mailbox.address) {
            add(format!("{field}.address"), Target::Doubt(format!("`{}` cannot be used: {why}", mailbox.address)));
        }
    }
    for (field, value, says) in senders::said(spec) {
        add(field, Target::Sender(plan.clone(), value.to_owned(), says));
    }
    for (index, server) in spec.servers.iter().flatten().enumerate() {
        let namespaces = server.namespace.as_deref().map_or_else(|| vec![&*plan.namespace, &*key.namespace], |own| vec![own]);
        let keys = namespaces.into_iter().map(|namespace| Key::new(namespace, &*server.name)).collect();
        add(format!("spec.servers[{index}].name"), Target::OneOfServers(keys));
    }
    let content = &spec.content;
    for (field, source) in content.bodies_elsewhere() {
        add_source(&format!("{field}From"), Purpose::Body, source.path.as_deref(), source.config_map_ref.as_ref(), add);
    }
    if let Some(templates) = &content.templates {
        if let Some(path) = &templates.path {
            add(format!("{}.path", TemplatesSource::FIELD), Target::File(path.clone(), Purpose::Templates));
        }
        if let Some(map) = &templates.config_map_ref {
            add(format!("{}.configMapRef", TemplatesSource::FIELD), Target::WholeConfigMap(map.name.clone()));
        }
    }
    for (index, file) in content.attachments.iter().enumerate() {
        add_source(&Attachment::field(index), Purpose::Attachment, file.path.as_deref(), file.config_map_ref.as_ref(), add);
    }
    for needed in spec.secrets() {
        add(needed.path, Target::Secret(needed.key));
    }
    for (field, format, Place { path, config_map_ref, .. }) in spec.audience.sources() {
        let purpose = match format {
            SourceFormat::Csv => Purpose::Csv,
            SourceFormat::Xlsx => Purpose::Xlsx,
            // An API is no file.
            SourceFormat::JsonLines | SourceFormat::Json => Purpose::JsonLines,
            SourceFormat::Sqlite => Purpose::Sqlite,
        };
        add_source(&field, purpose, path, config_map_ref, add);
    }
}

fn add_source(at: &str, purpose: Purpose, path: Option<&str>, config_map: Option<&KeyRef>, add: &mut impl FnMut(String, Target)) {
    if let Some(path) = path {
        add(format!("{at}.path"), Target::File(path.to_owned(), purpose));
    }
    if let Some(reference) = config_map {
        add(format!("{at}.configMapRef"), Target::ConfigMap(reference.clone()));
    }
}

/// The finding about a reference, given the whole folder.
pub(super) fn judge(
    reference: &Reference,
    key: &Key,
    resource: &str,
    origin: &FilePlace,
    world: &Snapshot,
    plan_namespace: Option<&str>,
) -> Option<Finding> {
    let has_server = |key: &Key| world.servers.contains_key(key) || world.broken.iter().any(|b| b.kind == "SendingServer" && b.key == *key);
    let has_plan = |key: &Key| world.plans.contains_key(key) || world.broken.iter().any(|b| b.kind == "Plan" && b.key == *key);
    let (severity, message) = match &reference.target {
        Target::Plan(plan) if !has_plan(plan) => {
            (Severity::Warning, absent("Plan", std::slice::from_ref(plan), world.plans.keys(), Some("planRef.namespace")))
        }
        Target::Server(server) if !has_server(server) => {
            (Severity::Warning, absent("SendingServer", std::slice::from_ref(server), world.servers.keys(), None))
        }
        Target::OneOfServers(servers) if !servers.iter().any(has_server) => {
            (Severity::Warning, absent("SendingServer", servers, world.servers.keys(), Some("its `namespace`")))
        }
        Target::Secret(KeyRef { name, key: entry }) => {
            (Severity::Warning, world.secrets.get(&key.namespace, name, entry).err()?.to_string())
        }
        Target::WholeSecret(KeyRef { name, key: entry }) => {
            let missing = world.secrets.get(&key.namespace, name, entry).err().filter(|missing| !missing.secret_exists)?;
            (Severity::Warning, missing.to_string())
        }
        Target::ConfigMap(KeyRef { name, key: entry }) => {
            (Severity::Warning, world.config_maps.get(&key.namespace, name, entry).err()?.to_string())
        }
        Target::WholeConfigMap(name) if world.config_maps.map(&key.namespace, name).is_none() => {
            (Severity::Warning, format!("there is no ConfigMap `{name}` in namespace `{}`", key.namespace))
        }
        Target::Sender(plan, value, says) => (Severity::Warning, sender_words(plan, value, *says, key, world, plan_namespace)?),
        Target::Doubt(words) => (Severity::Warning, words.clone()),
        Target::File(path, purpose) => (Severity::Warning, resolve_beside(origin, path, *purpose).err()?.to_string()),
        _ => return None,
    };
    Some(Finding {
        severity,
        file: origin.file.clone(),
        line: reference.at.line,
        column: reference.at.column,
        resource: Some(resource.to_owned()),
        field: Some(reference.path.clone()),
        message,
        excerpt: reference.excerpt.clone(),
    })
}

/// That none of these objects is in the files, and which of those that are there may be meant. `field` is where its namespace can be given.
fn absent<'a>(kind: &str, wanted: &[Key], there: impl Iterator<Item = &'a Key> + Clone, field: Option<&str>) -> String {
    let mut names: Vec<String> = wanted.iter().map(|key| format!("{kind} {key}")).collect();
    names.dedup();
    let message = format!("there is no {} in these files", names.join(" and no "));
    let Some(first) = wanted.first() else { return message };
    if let Some(elsewhere) = there.clone().find(|key| key.name == first.name) {
        let namespace = &elsewhere.namespace;
        return match field {
            Some(field) => format!("{message}; {kind} {elsewhere} is: set {field} to {namespace} if you mean that one"),
            None => format!("{message}; {kind} {elsewhere} is, in another namespace"),
        };
    }
    let beside = there.filter(|key| wanted.iter().any(|wanted| wanted.namespace == key.namespace));
    let near = nearest(&first.name, beside.map(|key| &*key.name));
    near.map_or(message.clone(), |near| format!("{message}; did you mean `{near}`?"))
}

/// The warning about a sender that the plan does not grant: where the plan grants any, or is known to be the operator's.
fn sender_words(plan: &Key, value: &str, says: Says, campaign: &Key, world: &Snapshot, plan_namespace: Option<&str>) -> Option<String> {
    let spec = &world.plans.get(plan)?.object.spec;
    let is_held = plan_namespace.is_some_and(|namespace| *plan.namespace == *namespace && *campaign.namespace != *namespace);
    // A campaign that uses only its own servers may send as these servers allow.
    let chosen = world.campaigns.get(campaign).and_then(|campaign| campaign.object.spec.servers.as_ref());
    let is_own = |name: &str| campaign.namespace != plan.namespace && world.servers.contains_key(&Key::new(&*campaign.namespace, name));
    let is_told = is_held || !spec.sender_domains.is_empty() && says != Says::Order;
    if !is_told || chosen.is_some_and(|chosen| chosen.iter().all(|server| is_own(&server.name))) {
        return None;
    }
    spec.senders(plan, &campaign.namespace, &world.namespaces).fault(value, says)
}
