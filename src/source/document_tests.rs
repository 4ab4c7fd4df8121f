//! Secrets stay out of what is printed, whatever is wrong with them.

use std::path::Path;

use super::{json_as_yaml, read_text};

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

#[test]
fn a_document_of_another_group_is_a_note_whatever_it_holds() {
    let content = read_text(Path::new("a.yaml"), "apiVersion: apps/v1\nkind: Deployment\nspec: {a: yes, a: 0777, b: !x c}\n");
    let findings: Vec<String> = content.findings.iter().map(ToString::to_string).collect();
    assert_eq!(findings, ["a.yaml:2:1: note: Deployment (apps/v1) is not Mailfleet's, and is ignored"]);
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
