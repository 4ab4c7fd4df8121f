//! What campaigns send, and to whom: templates that do not compile, fields that the audience does not have, and audiences that
//! cannot be read. Nothing is fetched.

use super::audience::Recipients;
use crate::{
    audience::Input,
    egress::Egress,
    engine::{ContentResolver, NewestSecrets},
    message::{Fault, Template, fields_named, missing_fields, misspelt_fields, unreachable_images},
    resources::{Campaign, Key, Reason, campaign::CampaignSpec},
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
    let are_texts = matches!(input, Ok(Input::Csv(_)));
    let recipients = input.ok().filter(Input::is_local).map(|input| Recipients::read(&input, runtime));
    if let Some(recipients) = &recipients {
        findings.extend(recipients.findings(place, spec));
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
            }
            findings.extend(faults.iter().map(|fault| of_fault(Severity::Fault, UNSENDABLE, fault, place, spec)));
            findings.extend(doubts.iter().map(|fault| of_fault(Severity::Warning, "", fault, place, spec)));
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

/// Finds what a campaign of a snapshot refers to.
pub(in crate::cli) fn resolver(key: &Key, sourced: &Sourced<Campaign>, snapshot: &Snapshot, egress: Egress) -> ContentResolver {
    ContentResolver {
        key: key.clone(),
        origin: sourced.origin.clone(),
        config_maps: snapshot.config_maps.clone(),
        egress,
        secrets: NewestSecrets::from(snapshot.secrets.clone()),
        has_links: true,
    }
}

/// Something about a template, in the file that the template is in.
pub(in crate::cli) fn of_fault(severity: Severity, begins: &str, fault: &Fault, place: &FilePlace, spec: &CampaignSpec) -> Finding {
    let (line, rest) = fault.line();
    let bodies = [("html", &spec.content.html_from), ("text", &spec.content.text_from), ("mjml", &spec.content.mjml_from)];
    let from =
        bodies.into_iter().find_map(|(name, from)| Some((name, from.as_ref()?)).filter(|_| fault.path == format!("spec.content.{name}")));
    let field = from.map_or_else(|| fault.path.clone(), |(name, _)| format!("spec.content.{name}From"));
    if let (Some(line), Some(path)) = (line, from.and_then(|(_, from)| from.path.as_ref())) {
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
