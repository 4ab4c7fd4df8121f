//! An import as files: documents by our own types, templates, lists of people who are not mailed, and the report. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Document, Imported, Suppressed, report::cell};
use crate::{meta::secret::SecretValue, resources::API_VERSION};

/// The report.
pub const REPORT_FILE: &str = "REPORT.md";
/// People who are not mailed at all.
pub const SUPPRESSIONS_FILE: &str = "suppressions.csv";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'a, S> {
    api_version: &'a str,
    kind: &'a str,
    metadata: PrintedMetadata<'a>,
    spec: &'a S,
}

#[derive(Serialize)]
struct PrintedMetadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
}

/// The files of an import, by their path; none of them holds a secret.
///
/// # Errors
/// When a document cannot be printed.
pub fn files(imported: &Imported, namespace: Option<&str>) -> Result<BTreeMap<String, String>, String> {
    let mut files = imported.texts.clone();
    let mut add = |path: &str, text: String| {
        if !text.is_empty() {
            files.insert(path.to_owned(), text);
        }
    };
    add("servers.yaml", documents("SendingServer", &imported.servers, namespace)?);
    add("plans.yaml", documents("Plan", &imported.plans, namespace)?);
    add("campaigns.yaml", documents("Campaign", &imported.campaigns, namespace)?);
    for (path, people) in &imported.suppressed {
        add(path, csv(people, namespace));
    }
    add(REPORT_FILE, report(imported, namespace));
    Ok(files)
}

fn documents<S: Serialize>(kind: &str, documents: &[Document<S>], namespace: Option<&str>) -> Result<String, String> {
    let mut out = String::new();
    for Document { name, origin, spec } in documents {
        let object = Printed { api_version: API_VERSION, kind, metadata: PrintedMetadata { name, namespace }, spec };
        let text = serde_saphyr::to_string(&object).map_err(|error| format!("{kind} {name} cannot be printed: {error}"))?;
        let origin: String = origin.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        out.push_str(if out.is_empty() { "" } else { "---\n" });
        out.push_str(&format!("# From {origin}.\n{text}"));
        if !out.ends_with('\n') {
            out.push('\n');
        }
    }
    Ok(out)
}

/// A list as `mailfleet suppressions import` reads it.
fn csv(people: &[Suppressed], namespace: Option<&str>) -> String {
    if people.is_empty() {
        return String::new();
    }
    let mut out = "namespace,email,topic,reason,time,source,detail\n".to_owned();
    for Suppressed { email, topic, reason, time, detail } in people {
        let row = [namespace.unwrap_or_default(), email, topic.as_deref().unwrap_or_default(), reason, time, "import", detail];
        out.push_str(&row.map(csv_field).join(","));
        out.push('\n');
    }
    out
}

fn csv_field(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.contains([',', '"']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

fn report(imported: &Imported, namespace: Option<&str>) -> String {
    let mut out = imported.report.markdown();
    if !imported.secrets.is_empty() {
        out.push_str("\n## Secrets to make\n\nNone of their values is in these files.\n\n| Secret | key | for |\n|---|---|---|\n");
        for secret in &imported.secrets {
            for key in secret.keys.keys() {
                out.push_str(&format!("| {} | {key} | {} |\n", secret.name, cell(&secret.purpose)));
            }
        }
    }
    let namespace_option = namespace.map(|namespace| format!(" -n {namespace}")).unwrap_or_default();
    out.push_str("\n## Next\n\n1. Make the Secrets.\n2. `mailfleet validate .`\n3. `mailfleet test .`\n");
    let mut number = 4;
    if imported.suppressed.values().any(|people| !people.is_empty()) {
        out.push_str(&format!(
            "{number}. `mailfleet run . --once`, which makes the ledger; while all campaigns are suspended it sends nothing\n"
        ));
        number += 1;
    }
    for path in imported.suppressed.iter().filter(|(_, people)| !people.is_empty()).map(|(path, _)| path) {
        out.push_str(&format!("{number}. `mailfleet suppressions import {path}{namespace_option}`\n"));
        number += 1;
    }
    if !imported.campaigns.is_empty() {
        out.push_str(&format!(
            "{number}. `mailfleet preview CAMPAIGN` for each campaign; it is suspended until `suspend: true` is removed.\n"
        ));
    }
    out
}

/// The Secrets whose values the source holds, as documents beside the others.
#[must_use]
pub fn secrets_document(imported: &Imported, namespace: Option<&str>) -> Option<SecretValue> {
    let mut out = "# Do not commit this file.\n".to_owned();
    let mut has_any = false;
    for secret in &imported.secrets {
        let known: BTreeMap<&str, &str> =
            secret.keys.iter().filter_map(|(key, value)| Some((&**key, std::str::from_utf8(value.as_ref()?.expose()).ok()?))).collect();
        if known.is_empty() {
            continue;
        }
        has_any = true;
        let mut metadata = serde_json::json!({"name": secret.name});
        if let Some(namespace) = namespace {
            metadata["namespace"] = namespace.into();
        }
        // JSON is YAML, and has one way to write any text.
        let document = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": known});
        out.push_str(&format!("---\n{document}\n"));
    }
    has_any.then(|| SecretValue::new(out))
}
