//! What campaigns send, and to whom: templates that do not compile, fields that the audience does not have, and audiences that
//! cannot be read. Nothing is fetched.

use super::audience::{Recipients, VARIANT_FIELD};
use crate::{
    audience::Input,
    bulk,
    egress::Egress,
    engine::{ContentResolver, NewestSecrets},
    message::{Chooser, Content, Fault, Template, fields_named, missing_fields, misspelt_fields, part_named, unreachable_images},
    meta::{bound::grouped, nearest},
    resources::{
        Campaign, Key, Reason,
        campaign::{CampaignSpec, TemplatesSource},
    },
    source::{FilePlace, Finding, Severity, Snapshot, Sourced, at_quote, field_finding, line_finding},
};

/// Begins the message of a fault in content, which no API server checks.
const UNSENDABLE: &str = "it cannot be sent: ";

/// What can be said of the campaigns of a snapshot without sending anything.
#[must_use]
pub fn campaign_findings(snapshot: &Snapshot) -> Vec<Finding> {
    // It drives the I/O of URLs, and none is read here.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().build() else { return Vec::new() };
    let of_campaign = |(key, sourced): (&Key, &Sourced<Campaign>)| findings_of(key, sourced, snapshot, runtime.handle());
    snapshot.campaigns.iter().flat_map(of_campaign).collect()
}

/// The same of one campaign.
pub(in crate::cli) fn findings_of(
    key: &Key,
    sourced: &Sourced<Campaign>,
    snapshot: &Snapshot,
    runtime: &tokio::runtime::Handle,
) -> Vec<Finding> {
    let Some(place) = sourced.origin.file() else { return Vec::new() };
    let spec = &sourced.object.spec;
    let resolver = resolver(key, sourced, snapshot, Egress::PublicOnly);
    let mut findings = Vec::new();
    let input = resolver.input(spec);
    if let Err(problem) = &input
        && problem.reason == Reason::AudienceUnreadable
    {
        let (field, message) = problem.message.split_once(' ').unwrap_or(("spec.audience", &problem.message));
        findings.push(field_finding(Severity::Fault, place, field, None, format!("{UNSENDABLE}this {message}")).0);
    }
    let are_texts = input.as_ref().is_ok_and(Input::has_texts);
    let content = &spec.content;
    let chooser = Chooser::new(content.variant_field.as_deref(), content.variants.keys().map(String::as_str));
    let recipients = input.ok().filter(Input::is_local).map(|input| Recipients::read(&input, "spec.audience", &chooser, runtime));
    if let Some(recipients) = &recipients {
        findings.extend(recipients.findings(place));
    }
    // What is not there has been reported already.
    for list in resolver.exclude(spec).flatten() {
        if let Some(input) = list.input().filter(|input| input.is_local()) {
            findings.extend(Recipients::read(input, &list.field, &Chooser::default(), runtime).findings_of_list(list.max_bad_rows, place));
        }
    }
    match resolver.content(spec) {
        Ok(content) => {
            let mut faults = Template::compile(&content).err().unwrap_or_default();
            let mut doubts = unreachable_images(&content);
            if let Some(known) = recipients.as_ref().and_then(|recipients| recipients.fields.as_ref()) {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let named = fields_named(&content);
                faults.extend(missing_fields(&named, &known, are_texts));
                doubts.extend(misspelt_fields(&named, &known));
                faults.extend(chooser.field().filter(|field| !known.contains(field)).map(|field| no_variant_field(field, &known)));
            }
            if let Some(recipients) = recipients.as_ref().filter(|_| faults.is_empty()) {
                findings.extend(recipients.findings_of_variants(&chooser, place));
            }
            findings.extend(faults.iter().map(|fault| of_fault(Severity::Fault, UNSENDABLE, fault, place, spec)));
            findings.extend(doubts.iter().map(|fault| of_fault(Severity::Warning, "", fault, place, spec)));
            findings.extend(of_bulk(&content, recipients.as_ref().map(Recipients::usable), place, spec));
        }
        Err(problem) if problem.reason == Reason::InvalidContent => {
            let (field, message) = problem.message.split_once(": ").unwrap_or(("spec.content", &problem.message));
            findings.push(field_finding(Severity::Fault, place, field, None, format!("{UNSENDABLE}{message}")).0);
        }
        // What cannot be read has been reported already.
        Err(_) => {}
    }
    let resource = format!("Campaign {key}");
    findings.into_iter().map(|finding| Finding { resource: Some(resource.clone()), ..finding }).collect()
}

/// That the audience has no such field as chooses the variants.
fn no_variant_field(field: &str, known: &[&str]) -> Fault {
    let near = nearest(field, known.iter().copied()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    Fault::new(VARIANT_FIELD, format!("the audience has no field `{field}`, so that everybody would get the content itself{near}"))
}

/// What mailbox providers ask of bulk senders, and the documents leave open.
fn of_bulk(content: &Content, recipients: Option<u64>, place: &FilePlace, spec: &CampaignSpec) -> Vec<Finding> {
    if !bulk::is_bulk(spec, recipients) {
        return Vec::new();
    }
    let shows_link = content.bodies().all(|bodies| bulk::shows_unsubscribing(content.unsubscribe_url.as_deref(), bodies));
    let open = bulk::of_documents(spec, Some(shows_link)).into_iter().map(|open| {
        let requirement = open.point.requirement();
        let ask = if requirement.asked_by.len() == 1 { "asks" } else { "ask" };
        let words = format!("{}; {} {ask} for it", open.words, requirement.asked_by());
        field_finding(Severity::Warning, place, &open.field, None, words).0
    });
    let mut findings: Vec<Finding> = open.collect();
    if spec.unsubscribe.is_none() {
        let words = format!(
            "it goes to {} people or more without `unsubscribe`: if this is marketing mail, Gmail and Yahoo require one-click unsubscription, `unsubscribe: {{oneClick: {{}}}}`",
            grouped(bulk::BULK_FROM)
        );
        findings.push(field_finding(Severity::Note, place, "spec", None, words).0);
    }
    findings
}

/// Finds what a campaign of a snapshot refers to.
pub(in crate::cli) fn resolver(key: &Key, sourced: &Sourced<Campaign>, snapshot: &Snapshot, egress: Egress) -> ContentResolver {
    ContentResolver {
        key: key.clone(),
        origin: sourced.origin.clone(),
        config_maps: snapshot.config_maps.clone(),
        egress,
        secrets: NewestSecrets::from(snapshot.secrets.clone()),
        scratch: std::env::temp_dir().into(),
        fetching: None,
        has_links: true,
    }
}

/// Something about a template, in the file that the template is in.
pub(in crate::cli) fn of_fault(severity: Severity, begins: &str, fault: &Fault, place: &FilePlace, spec: &CampaignSpec) -> Finding {
    let (line, rest) = fault.line();
    if let Some((name, templates)) = part_named(&fault.path).zip(spec.content.templates.as_ref()) {
        let Some(folder) = &templates.path else {
            let message = format!("{begins}{name}: {}", fault.message);
            return field_finding(severity, place, TemplatesSource::FIELD, None, message).0;
        };
        let file = place.file.parent().unwrap_or(std::path::Path::new("")).join(folder).join(name);
        let finding = line_finding(severity, &file, line.unwrap_or(1), format!("{begins}{rest}"));
        return Finding { field: Some(fault.path.clone()), ..at_quote(finding, fault.quote.as_deref()) };
    }
    let from = spec.content.bodies_elsewhere().find_map(|(field, from)| (field == fault.path).then_some(from));
    let field = if from.is_some() { format!("{}From", fault.path) } else { fault.path.clone() };
    if let (Some(line), Some(path)) = (line, from.and_then(|from| from.path.as_ref())) {
        let file = place.file.parent().unwrap_or(std::path::Path::new("")).join(path);
        let finding = line_finding(severity, &file, line, format!("{begins}{rest}"));
        return Finding { field: Some(field), ..at_quote(finding, fault.quote.as_deref()) };
    }
    // The lines of a ConfigMap's value are those of no file.
    let in_field = if from.is_some() { None } else { line };
    let (finding, is_exact) = field_finding(severity, place, &field, in_field, String::new());
    let message = if is_exact && in_field.is_some() { rest } else { &fault.message };
    let finding = Finding { message: format!("{begins}{message}"), ..finding };
    if is_exact { at_quote(finding, fault.quote.as_deref()) } else { finding }
}
