//! Facts of other programs, and what becomes of them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    BYTES_MAX, Names, Outcome, ROWS_MAX, Report, SUPPRESSIONS_FILE, Tables, columns_query, files, listmonk, mautic, secrets_document,
};

fn row(part: &str, facts: Value) -> Map<String, Value> {
    json!({"part": part, "facts": facts}).as_object().cloned().unwrap_or_default()
}

/// The smallest listmonk: a server, a list, a template and a campaign.
fn smallest() -> listmonk::Facts {
    let mut facts = listmonk::Facts::default();
    let smtp = json!([{"enabled": true, "host": "smtp.example.com", "port": 587, "auth_protocol": "plain", "username": "news", "password": "hunter2", "tls_type": "STARTTLS", "max_conns": 10}]);
    for (part, row_of) in [
        ("setting", json!({"key": "smtp", "value": smtp})),
        ("setting", json!({"key": "app.lang", "value": "en"})),
        ("list", json!({"id": 3, "name": "News, weekly", "optin": "double"})),
        ("template", json!({"id": 1, "name": "Default", "body": "<b>{{ template \"content\" . }}</b>", "is_default": true})),
        (
            "campaign",
            json!({"id": 7, "uuid": "u", "name": "Spring", "subject": "Hi {{ .Subscriber.FirstName }}", "from_email": "News <news@example.com>", "body": "<p>{{ .Subscriber.Name }}</p>", "content_type": "html", "messenger": "email", "template_id": 1, "status": "draft", "type": "regular"}),
        ),
        ("campaign_list", json!({"campaign_id": 7, "list_id": 3, "list_name": "News, weekly"})),
        ("blocked", json!({"email": "ann@example.com", "time": "2026-01-02T03:04:05+00:00", "bounce": "hard"})),
    ] {
        facts.take(row(part, row_of)).expect("room");
    }
    facts
}

#[test]
fn what_is_written_holds_no_secret_and_sends_nothing() {
    let imported = smallest().import("postgres://u:hunter2@db.example.com/listmonk");
    let written = files(&imported, Some("shop")).expect("files");
    assert!(written.values().all(|text| !text.contains("hunter2")), "{written:#?}");
    assert!(!format!("{imported:?}").contains("hunter2"), "a secret prints");
    let campaigns = &written["campaigns.yaml"];
    for words in ["namespace: shop", "suspend: true", "first_name", "topic: news-weekly", "path: layouts"] {
        assert!(campaigns.contains(words), "{words}: {campaigns}");
    }
    assert_eq!(written["layouts/spring.html"], "<b>{% block content %}{% endblock %}</b>");
    assert_eq!(written["mails/spring.html"], "{% extends \"spring.html\" %}\n{% block content %}<p>{{ name }}</p>{% endblock %}");
    assert!(
        written[SUPPRESSIONS_FILE].contains("shop,ann@example.com,,HardBounce,2026-01-02T03:04:05+00:00,import,"),
        "{}",
        written[SUPPRESSIONS_FILE]
    );
    let secrets = secrets_document(&imported, None).expect("Secrets");
    let secrets = secrets.expose_text().expect("text");
    assert!(secrets.contains("smtp-example-com-login") && secrets.matches("hunter2").count() == 2, "{secrets}");
}

#[test]
fn no_more_people_are_kept_than_a_bound() {
    let mut facts = smallest();
    for number in 0..ROWS_MAX + 2 {
        facts.take(row("unsubscribed", json!({"email": format!("p{number}@example.com"), "list": 3}))).expect("counted");
    }
    let report = facts.import("postgres://u@h/d").report;
    assert!(report.of(Outcome::NotCarriedOver).any(|finding| finding.what.starts_with("3 of them")), "{report:#?}");
}

#[test]
fn settings_and_templates_have_a_bound() {
    let mut facts = listmonk::Facts::default();
    let body = "x".repeat(BYTES_MAX / 2);
    facts.take(row("template", json!({"id": 1, "body": body}))).expect("room");
    let error = facts.take(row("template", json!({"id": 2, "body": body}))).expect_err("too much");
    assert!(error.contains("delete old campaigns"), "{error}");
}

#[test]
fn a_database_of_another_program_is_told() {
    let mut tables = Tables::default();
    assert!(listmonk::query(&tables).expect_err("empty").contains("no tables that this user may see"));
    tables.take(json!({"table_name": "x_emails", "column_name": "id"}).as_object().expect("a row"));
    assert!(mautic::query(&tables.with_prefix("x_")).expect_err("incomplete").contains("no table `x_email_list_xref`"));
    assert!(columns_query(true).contains("current_schema()") && columns_query(false).contains("database()"));
}

#[test]
fn names_are_labels_and_are_given_once() {
    let mut names = Names::default();
    let long = "x".repeat(100);
    for (text, wanted) in [
        ("Spring Sale!", "spring-sale"),
        ("spring  sale", "spring-sale-2"),
        ("Größe", "groesse"),
        ("日本", "other"),
        ("", "other-2"),
        ("--a--", "a"),
    ] {
        assert_eq!(names.name(text, "other"), wanted, "{text}");
    }
    assert!(names.name(&long, "x").len() <= 63 && names.name(&long, "x").len() <= 63);
}

#[test]
fn reports_hold_what_a_source_says_on_one_line() {
    let mut report = Report { source: "x".to_owned(), ..Report::default() };
    report.lost("a|b", "one\ntwo <b>", "do");
    report.lost("a|b", "one\ntwo <b>", "do");
    report.carried("c", "d");
    assert_eq!(
        report.markdown(),
        "# Import from x\n\n## Not carried over (1)\n\n| where | what | to do |\n|---|---|---|\n| a\\|b | one two &lt;b> | do |\n\n## Carried over (1)\n\n| where | what |\n|---|---|\n| c | d |\n"
    );
    assert_eq!(report.lines(), ["Not carried over (1):", "  a|b: one two <b>; do", "Carried over (1):", "  c: d"]);
}

#[test]
fn the_url_of_listmonks_database_is_made_of_its_file_and_variables() {
    let file = "[app]\naddress = \"x\"\n[db]\nhost = \"::1\"\nport = 5433\nuser = \"a b\"\npassword = \"p@ss/\"\ndatabase = \"lm\"\nssl_mode = \"require\"\n";
    let config = listmonk::config(file, &BTreeMap::new()).expect("a file");
    assert_eq!(config.url.expose_text(), Some("postgres://a%20b:p%40ss%2F@[::1]:5433/lm?sslmode=require"));
    assert!(config.doubts[0].contains("certificate is checked"));
    let variables =
        BTreeMap::from([("LISTMONK_db__host".to_owned(), "db".to_owned()), ("LISTMONK_db__password".to_owned(), "x".to_owned())]);
    let config = listmonk::config(file, &variables).expect("a file");
    assert_eq!(config.url.expose_text(), Some("postgres://a%20b:x@db:5433/lm?sslmode=require"));
}

#[test]
fn configuration_of_mautic_is_read_and_not_run() {
    let config = mautic::config("<?php\n$parameters = array(\n 'db_host' => \"h\", // x\n 'db_user' => 'o\\'x', 'db_password' => '%%40', 'db_name' => 'm', 'db_port' => 3307,\n 'list' => [1, 'a' => [true, null]],\n);").expect("a file");
    assert_eq!(mautic::database_url(&config).expect("complete").expose_text(), Some("mysql://o%27x:%2540@h:3307/m"));
    for (text, fault) in [
        ("$parameters = [\n'a' => f(),\n];", "line 2: what stands here"),
        ("$parameters = 5;", "is no array"),
        ("$parameters = ['a", "a text is not closed"),
        ("", "no `$parameters`"),
    ] {
        let error = mautic::config(text).expect_err(text);
        assert!(error.contains(fault), "{text}: {error}");
    }
    let deep = format!("$parameters = {}{};", "[".repeat(200), "]".repeat(200));
    assert!(mautic::config(&deep).expect_err("deep").contains("nested too deep"));
}
