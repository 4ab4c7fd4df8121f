//! Secrets stay out of what is printed, whatever is wrong with them.

use std::path::Path;

use super::{Body, json_as_yaml, read_text};
use crate::yaml;

#[test]
fn no_finding_shows_a_secret() {
    const HEAD: &str = "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\n";
    for rest in [
        "data: {password: hunter2}\n",
        "stringData: {password: [hunter2]}\n",
        "stringData: {password: {hunter2: hunter2}}\n",
        "stringData: {password: !hunter2 x}\n",
        "stringData: {password: !!int hunter2}\n",
        "stringData: {password: *hunter2}\n",
        "stringData: {password: 'hunter2}\n",
        "stringData: {password: hunter2: x}\n",
        "data: hunter2\n",
        "data: [hunter2]\n",
        "type: [hunter2]\nimmutable: hunter2\n",
    ] {
        let content = read_text(Path::new("a.yaml"), &format!("{HEAD}{rest}"));
        assert!(!content.findings.is_empty(), "{rest}");
        for finding in &content.findings {
            let printed = format!("{finding} {:?}", finding.excerpt);
            assert!(!printed.contains("hunter2"), "{rest}: {printed}");
        }
    }
}

/// A CR ends a line for YAML's reader, and did not for what shows the line: a finding about one object showed a line of another.
#[test]
fn a_finding_shows_its_own_line_whatever_ends_the_lines_before_it() {
    let plan = "apiVersion: mailfleet.dev/v1alpha1\nkind: Plan\nmetadata: {name: a}\n# old\r#\r#\r#\r#\r#\r#\r#\nspec: {servers: 7}\n";
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\nstringData:\n  note: |\n    hunter2\n    hunter2\n    hunter2\n";
    for text in [format!("{plan}---\n{secret}"), format!("{secret}---\n{plan}")] {
        let content = read_text(Path::new("a.yaml"), &text);
        assert!(content.findings.iter().any(|finding| finding.excerpt.as_deref() == Some("spec: {servers: 7}")), "{:?}", content.findings);
        for finding in &content.findings {
            let shown = finding.excerpt.as_deref().unwrap_or_default();
            assert!(!shown.contains("hunter2") && yaml::lines(&text).nth(finding.line - 1) == Some("spec: {servers: 7}"), "{finding:?}");
        }
    }
}

#[test]
fn a_document_of_another_group_is_a_note_whatever_it_holds() {
    let content = read_text(Path::new("a.yaml"), "apiVersion: apps/v1\nkind: Deployment\nspec: {a: yes, a: 0777, b: !x c}\n");
    let findings: Vec<String> = content.findings.iter().map(ToString::to_string).collect();
    assert_eq!(findings, ["a.yaml:2:1: note: Deployment (apps/v1) is not a kind of Mailfleet; it is ignored"]);
    assert!(content.documents.is_empty() && content.unnamed.is_none());
}

#[test]
fn json_is_read_whatever_its_texts_hold() {
    for (json, yaml) in [
        (r#"{"a": "\ud83d\ude00"}"#, "{\"a\": \"😀\"}"),
        (r#"{"a": "\\ud83d\\ude00"}"#, r#"{"a": "\\ud83d\\ude00"}"#),
        (r#"{"a": "\u00e9\n\""}"#, r#"{"a": "\u00e9\n\""}"#),
        ("{\"a\": \"\u{80}\u{7f}\"}", r#"{"a": "\u0080\u007f"}"#),
    ] {
        assert_eq!(json_as_yaml(json), yaml);
        let content = read_text(
            Path::new("a.json"),
            &json.replace("{\"a\"", "{\"apiVersion\": \"v1\", \"kind\": \"Secret\", \"metadata\": {\"name\": \"x\"}, \"type\""),
        );
        assert!(content.findings.is_empty() && content.documents.len() == 1, "{json}: {:?}", content.findings);
    }
}

#[test]
fn lists_are_read_as_kubectl_takes_them() {
    let server = |name: &str| {
        format!(
            "- apiVersion: mailfleet.dev/v1alpha1\n  kind: SendingServer\n  metadata: {{name: {name}}}\n  spec: {{provider: {{outbox: {{}}}}}}\n"
        )
    };
    let bare = |name: &str| {
        format!("- metadata: {{name: {name}, resourceVersion: \"7\", uid: u, managedFields: []}}\n  spec: {{provider: {{outbox: {{}}}}}}\n")
    };
    let found = |text: &str| {
        let content = read_text(Path::new("a.yaml"), text);
        let names: Vec<String> = content.documents.iter().map(|document| format!("{}:{}", document.resource(), document.at.line)).collect();
        let findings: Vec<String> = content.findings.iter().map(ToString::to_string).collect();
        (names.join(" "), findings, content.unnamed.is_some())
    };
    let list = |header: &str, items: &str| format!("apiVersion: {header}List\nmetadata: {{resourceVersion: \"\"}}\nitems:\n{items}");
    let two = "SendingServer default/a:4 SendingServer default/b:8".to_owned();
    for header in ["v1\nkind: ", "mailfleet.dev/v1alpha1\nkind: SendingServer", "apps/v1\nkind: Deployment"] {
        let text = list(header, &(server("a") + &server("b"))).replacen("metadata: {resourceVersion: \"\"}\n", "", 1);
        assert_eq!(found(&text), (two.clone(), vec![], false), "{header}");
    }
    let text = list("mailfleet.dev/v1alpha1\nkind: SendingServer", &bare("a"));
    assert_eq!(found(&text), ("SendingServer default/a:5".to_owned(), vec![], false));
    assert_eq!(found("apiVersion: v1\nkind: List\nitems: []\n"), (String::new(), vec![], false));
    assert_eq!(found("{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": null}"), (String::new(), vec![], false));
    for (text, words) in [
        ("apiVersion: v1\nkind: List\n".to_owned(), "items: this field is required"),
        ("apiVersion: mailfleet.dev/v1alpha1\nkind: PlanList\nitems: {}\n".to_owned(), "items: this must be a list"),
        (list("v1\nkind: ", "- a\n"), "a.yaml:5:3: fault: List: items[0]: this must be an object"),
        (list("v1\nkind: ", "- {apiVersion: v1, kind: List, items: []}\n"), "kubectl refuses a list within a list"),
        (list("v1\nkind: ", "- {kind: Plan}\n"), "apiVersion: this field is required"),
        (
            list("v1\nkind: ", &server("a").replace("outbox: {}", "outbox: {}, outbox: {}")),
            "a.yaml:8:33: fault: SendingServer default/a: spec.provider.outbox: `outbox` is given twice",
        ),
        (list("v1\nkind: ", &server("a")) + "items: []\n", "a.yaml:9:1: fault: List: items: `items` is given twice"),
        (list("v1\nkind: ", &(server("a") + &server("B"))), "a.yaml:11:20: fault: SendingServer: metadata.name: "),
    ] {
        let (names, findings, unnamed) = found(&text);
        assert!(findings.len() == 1 && findings[0].contains(words), "{text}\n{findings:?}");
        assert!(unnamed || names.contains("default/a"), "{text}");
    }
}

#[test]
fn hints_for_what_lies_beside_the_objects() {
    let told = |file: &str, text: &str| {
        let content = read_text(Path::new(file), text);
        content.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let campaign =
        |subject: &str| format!("apiVersion: mailfleet.dev/v1alpha1\nkind: Campaign\nmetadata: {{name: a}}\nspec:\n  subject: {subject}\n");
    let quote = "spec.subject: YAML reads `{{` as two mappings here; quote the value, like \"{{ name }}\"";
    assert!(told("a.yaml", &campaign("{{ name }}")).contains(quote), "{}", told("a.yaml", &campaign("{{ name }}")));
    for helm in [campaign("{{ name }}, hello"), "{{- if .Values.enabled }}\napiVersion: v1\n{{- end }}\n".to_owned()] {
        assert!(
            told("a.yaml", &helm).contains("leave Helm's templates out with --exclude or a .mailfleetignore"),
            "{}",
            told("a.yaml", &helm)
        );
    }
    assert!(told("tsconfig.json", "{\n  // a comment\n  \"a\": 1\n}").contains("leave the file out with --exclude"));
    assert!(told("people.json", "{\"email\": \"a@example.com\"}\n{}\n").contains("or name it .jsonl if it holds recipients"));
    for (file, word) in [("kustomization.yaml", "note"), ("Chart.yaml", "note"), ("fleet.yaml", "warning")] {
        assert!(told(file, "resources: [a.yaml]\n").contains(&format!("{word}: this document has no apiVersion and kind")), "{file}");
    }
    let sops = "apiVersion: v1\nkind: Secret\nmetadata: {name: login}\nstringData: {password: \"ENC[AES256_GCM,data:abc]\"}\nsops: {mac: \"ENC[x]\", version: 3.9.0}\n";
    let found = told("secret.yaml", sops);
    assert!(
        found.contains("a.yaml")
            || found.lines().count() == 1
                && found.contains("secret.yaml:5:1: fault: Secret default/login: sops: this document is encrypted with SOPS"),
        "{found}"
    );
}

#[test]
fn no_finding_is_longer_than_people_read() {
    let digits = "9".repeat(1_000_000);
    let head = "apiVersion: mailfleet.dev/v1alpha1\nkind: SendingServer\nmetadata: {name: a}\n";
    for text in [
        format!("{head}spec: {{limits: {{connections: {digits}}}}}\n"),
        format!("{head}spec: {{limits: {{connections: \"{digits}\"}}}}\n"),
        format!("{head}{digits}: 1\n"),
        format!("{head}\"{digits}\": 1\n\"{digits}\": 1\n"),
        format!("{head}spec: {{provider: {{\"{digits}\": {{}}}}}}\n"),
        format!("apiVersion: mailfleet.dev/v1alpha1\nkind: \"{digits}\"\n"),
        format!("apiVersion: v1\nkind: \"{digits}List\"\nitems: 1\n"),
        format!("apiVersion: \"{digits}\"\nkind: Plan\n"),
        format!("kind: Plan\n&{digits} a\n"),
        head.replace("name: a", &format!("name: \"{digits}\", labels: {{\"{digits}\": \"{digits}\"}}")),
    ] {
        let content = read_text(Path::new("a.yaml"), &text);
        assert!(!content.findings.is_empty(), "{}", &text[..200.min(text.len())]);
        for finding in &content.findings {
            let words = finding.to_string();
            assert!(words.len() < 4000, "{} bytes: {}", words.len(), words.chars().take(200).collect::<String>());
        }
        assert!(content.unnamed.is_none_or(|words| words.len() < 4000));
        for document in &content.documents {
            if let Body::Broken { message, .. } = &document.body {
                assert!(message.len() < 4000);
            }
        }
    }
}

#[test]
fn objects_too_large_for_an_api_server_are_faults() {
    let told = |html: &str, text: &str| {
        let spec = serde_json::json!({"planRef": {"name": "p"}, "from": {"address": "a@example.com"}, "subject": "Hi",
            "content": {"html": html, "text": text}, "audience": {"inline": [{"email": "b@example.com"}]}});
        let object =
            serde_json::json!({"apiVersion": "mailfleet.dev/v1alpha1", "kind": "Campaign", "metadata": {"name": "c"}, "spec": spec});
        let content = read_text(Path::new("a.json"), &object.to_string());
        content.findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let of = |text: &str, bytes: usize| text.repeat(bytes / text.len());
    assert_eq!(told(&of("x", 100_000), &of("y", 100_000)), "");
    assert!(told(&of("x", 200_000), &of("y", 100_000)).contains("note: Campaign default/c: this object is 300"));
    assert!(told(&of("x", 1_000_000), &of("y", 1_000_000)).contains("fault: Campaign default/c: this object is 2000"));
    // As an API server stores it.
    assert!(
        told(&of("<b>", 400_000), "t").contains("fault: Campaign default/c: this object is 1733"),
        "{}",
        told(&of("<b>", 400_000), "t")
    );
}

/// Each of these once took a time that grows with the square of its size.
#[test]
fn large_texts_are_read_in_the_time_that_their_size_needs() {
    let head = "apiVersion: v1\nkind: List\nitems:\n";
    let metadata = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {t: ";
    for text in [
        head.to_owned() + &"- {a: 1, a: 2}\n".repeat(60_000),
        head.to_owned() + &"- {kind: yes}\n".repeat(60_000),
        format!("{metadata}\"{}\"}}\n", "\u{2028}".repeat(400_000)),
        format!("{metadata}\"{}\"}}\n", "a\u{2028}".repeat(300_000)),
        format!("{metadata}\"{}\"}}\n", "\u{85} \n ".repeat(200_000)),
        "a: 1\n...\n".repeat(100_000),
        "---\n...\n".repeat(100_000),
        "--- {\n".repeat(100_000),
    ] {
        let began = std::time::Instant::now();
        let content = read_text(Path::new("a.yaml"), &text);
        assert!(content.count > 0 && began.elapsed().as_secs() < 20, "{:?}: {:?}", &text[..60], began.elapsed());
    }
}

#[test]
fn of_a_file_with_many_faults_some_are_listed_and_the_rest_is_counted() {
    let other = "---\napiVersion: apps/v1\nkind: Deployment\n".repeat(3_000);
    let broken = "---\napiVersion: mailfleet.dev/v1alpha1\nkind: Plan\nmetadata: {name: pro}\nspec: {server: []}\n".repeat(2_000);
    let content = read_text(Path::new("a.yaml"), &format!("{other}{broken}"));
    let count = |severity: &str| content.findings.iter().filter(|finding| finding.severity.to_string() == severity).count();
    assert_eq!((count("note"), count("fault")), (1_001, 1_001), "a thousand of each, and the rest in one");
    let of_file: Vec<String> = content.findings.iter().filter(|finding| finding.line == 0).map(ToString::to_string).collect();
    assert!(of_file[0].contains("more faults in this file are not listed") && of_file[1].contains("2000 more notes"), "{of_file:?}");
    assert_eq!(content.documents.len(), 2_000, "all are known as broken");
}
