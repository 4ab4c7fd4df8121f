//! Lookups while the ledger cannot be written, and contents that are prepared beside the turns.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::{prepare::WAIT_MAX, share::NAMESPACE_MAX, *};
use crate::{
    ledger::{LedgerOptions, Synchronous},
    source::Origin,
};

fn server(host: &str) -> Sourced<SendingServer> {
    let yaml = format!(
        "{{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {{name: relay}}, spec: {{provider: {{smtp: {{host: {host}, encryption: None}}}}}}}}"
    );
    let origin = Origin::File(std::sync::Arc::new(crate::source::FilePlace {
        file: "relay.yaml".into(),
        line: 1,
        root: ".".into(),
        closed: std::sync::Arc::default(),
    }));
    Sourced { object: Arc::new(serde_saphyr::from_str(&yaml).expect("a server")), origin, stale: None, previous_status: None }
}

#[tokio::test]
async fn a_generation_stays_what_it_was_while_the_ledger_cannot_be_written() {
    let folder = std::env::temp_dir().join(format!("mailfleet-lookup-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    let options = LedgerOptions { synchronous: Synchronous::Normal, busy_timeout: std::time::Duration::from_millis(20) };
    let ledger = Ledger::open(&folder, options).expect("a ledger");
    let statuses = Statuses::new(crate::source::StatusSink::open_folder(&folder).expect("a folder"));
    let options = EngineOptions {
        state_dir: folder.clone(),
        once: false,
        dry_run: false,
        grace: std::time::Duration::from_secs(1),
        plan_namespace: None,
        egress: Egress::Everywhere,
        allow_sendmail: Arc::default(),
    };
    let mut lookup = Lookup::new(ledger, options);
    let key = Key::new("default", "relay");
    let mut generations = Vec::new();
    for (host, locked) in [("a.example.com", false), ("b.example.com", false), ("c.example.com", true), ("c.example.com", false)] {
        let snapshot = Snapshot { servers: BTreeMap::from([(key.clone(), server(host))]), ..Snapshot::default() };
        let other = Connection::open(folder.join("ledger.db")).expect("another client");
        if locked {
            other.execute_batch("BEGIN IMMEDIATE").expect("a lock");
        }
        let world = lookup.world(&snapshot, &statuses, 1_764_000_000_000).await;
        generations.push((world.servers[&key].object.generation(), lookup.looks_again_after().is_some()));
    }
    assert_eq!(generations, [(1, false), (2, false), (2, true), (3, false)]);
    let _ = std::fs::remove_dir_all(&folder);
}

/// A campaign's lookups and its object, with this content.
fn campaign(key: &str, content: &str, folder: &std::path::Path) -> (Find, Arc<Campaign>) {
    let (namespace, name) = key.split_once('/').expect("a key");
    let yaml = format!(
        "{{apiVersion: mailfleet.dev/v1alpha1, kind: Campaign, metadata: {{name: {name}}}, spec: {{planRef: {{name: p}}, from: {{address: a@example.com}}, subject: Hi, content: {content}, audience: {{inline: [{{email: b@example.com}}]}}}}}}"
    );
    let place = crate::source::FilePlace { file: folder.join("c.yaml"), line: 1, root: folder.into(), closed: Arc::default() };
    let find = Find {
        key: Key::new(namespace, name),
        origin: Origin::File(Arc::new(place)),
        config_maps: crate::source::ConfigMapStore::default(),
        egress: Egress::Everywhere,
    };
    (find, Arc::new(serde_saphyr::from_str(&yaml).expect("a campaign")))
}

fn want(contents: &mut Contents, (find, object): &(Find, Arc<Campaign>), generation: i64) -> Result<u64, Problem> {
    let stamp = find.stamp(object, generation).expect("all is there");
    let rank = Rank { is_new: true, created_ms: 0, name: find.key.name.clone() };
    contents.want(find.clone(), stamp, rank);
    contents.result(&find.key)
}

fn reason(result: Result<u64, Problem>) -> Option<Reason> {
    result.err().map(|problem| problem.reason)
}

/// Takes what ends until nothing is under way.
async fn settle(contents: &mut Contents, is_over: impl Fn(&Contents) -> bool) {
    while !is_over(contents) {
        let done = contents.next().await.expect("it ends");
        contents.take(done);
    }
}

#[tokio::test]
async fn an_edit_waits_for_its_content_and_a_file_that_is_written_anew_holds_up_nothing() {
    let folder = std::env::temp_dir().join(format!("mailfleet-contents-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let write = |text: &str| std::fs::write(folder.join("body.txt"), text).expect("a file");
    write("one {{ name }}");
    let spring = campaign("shop/spring", "{textFrom: {path: body.txt}}", &folder);
    let mut contents = Contents::new();
    assert_eq!(reason(want(&mut contents, &spring, 1)), Some(Reason::Preparing));
    contents.wait().await;
    settle(&mut contents, |contents| contents.result(&spring.0.key).is_ok()).await;
    let first = contents.result(&spring.0.key);
    let template = contents.work(&spring.0.key).and_then(|work| work.template.clone());
    assert_eq!(want(&mut contents, &spring, 1), first, "nothing has changed");
    assert!(contents.wait().await < WAIT_MAX, "and nothing is waited for");

    assert_eq!(reason(want(&mut contents, &spring, 2)), Some(Reason::Preparing), "what the older generation sent is not sent");
    contents.wait().await;
    settle(&mut contents, |contents| contents.result(&spring.0.key).is_ok()).await;
    let second = contents.result(&spring.0.key);
    assert!(second.is_ok() && second != first);
    let same = contents.work(&spring.0.key).and_then(|work| work.template.clone());
    assert!(template.zip(same).is_some_and(|(one, other)| Arc::ptr_eq(&one, &other)), "the same content is not compiled again");

    write("two {{ name }}, and longer");
    assert_eq!(want(&mut contents, &spring, 2), second, "what was read whole goes on");
    contents.wait().await;
    settle(&mut contents, |contents| contents.result(&spring.0.key) != second).await;
    assert!(contents.result(&spring.0.key).is_ok());
    write("three {% if %}");
    want(&mut contents, &spring, 2).expect("what was read whole goes on");
    contents.wait().await;
    settle(&mut contents, |contents| contents.result(&spring.0.key).is_err()).await;
    assert_eq!(reason(contents.result(&spring.0.key)), Some(Reason::InvalidContent));
    assert!(contents.work(&spring.0.key).is_none());
    let _ = std::fs::remove_dir_all(&folder);
}

#[tokio::test]
async fn a_look_waits_no_longer_than_its_bound_and_nobody_behind_another_namespace() {
    let sections = "<mj-section><mj-column><mj-text>Hi {{ name }}</mj-text></mj-column></mj-section>".repeat(1500);
    let folder = std::env::temp_dir();
    let mut contents = Contents::new();
    for number in 0..20 {
        let content = format!("{{mjml: \"<mjml><mj-body>{sections}<mj-raw>{number}</mj-raw></mj-body></mjml>\"}}");
        let _ = want(&mut contents, &campaign(&format!("many/c{number:02}"), &content, &folder), 1);
    }
    let one = campaign("one/news", "{text: Hi}", &folder);
    let _ = want(&mut contents, &one, 1);
    let waited = contents.wait().await;
    assert!(waited < WAIT_MAX * 3, "{waited:?}");
    let ready = |contents: &Contents| (0..20).filter(|number| contents.result(&Key::new("many", format!("c{number:02}"))).is_ok()).count();
    settle(&mut contents, |contents| contents.result(&one.0.key).is_ok()).await;
    let before = ready(&contents);
    assert!(before < 10, "{before} of the other namespace went before");
    settle(&mut contents, |contents| ready(contents) == before + 2).await;
}

#[tokio::test]
async fn templates_hold_no_more_than_their_namespaces_share() {
    let folder = std::env::temp_dir();
    // Of more tokens than what is compiled again for each request.
    let text = "words ".repeat(165_000) + &"{{ name }}".repeat(400);
    let mut contents = Contents::new();
    let keys: Vec<Key> = (0..40).map(|number| Key::new("many", format!("c{number:02}"))).collect();
    for (number, key) in keys.iter().enumerate() {
        let _ = want(&mut contents, &campaign(&key.to_string(), &format!("{{text: '{text} {number} {{{{ name }}}}'}}"), &folder), 1);
    }
    contents.wait().await;
    let all = |contents: &Contents, is: fn(Option<Reason>) -> bool| keys.iter().all(|key| is(reason(contents.result(key))));
    settle(&mut contents, |contents| all(contents, |reason| reason.is_none())).await;
    let held = |contents: &Contents| {
        let templates = keys.iter().filter_map(|key| contents.work(key)?.template.as_ref().map(|template| template.cost()));
        (templates.clone().count(), templates.sum::<usize>())
    };
    let (count, bytes) = held(&contents);
    assert!((20..40).contains(&count) && bytes <= NAMESPACE_MAX, "{count} of {bytes} bytes");

    // All of them send: who has no template waits for memory, and another namespace does not.
    assert_eq!(contents.note(|_| true).len(), 40 - count);
    let waiting: Vec<&Key> = keys.iter().filter(|key| reason(contents.result(key)) == Some(Reason::WaitingForMemory)).collect();
    assert_eq!(waiting.len(), 40 - count);
    let one = campaign("one/news", &format!("{{text: '{text} {{{{ name }}}}'}}"), &folder);
    let _ = want(&mut contents, &one, 1);
    contents.wait().await;
    settle(&mut contents, |contents| contents.work(&one.0.key).is_some_and(|work| work.template.is_some())).await;

    // Those that sent have ended, and make room.
    let sends: BTreeSet<Key> = waiting.into_iter().cloned().collect();
    contents.note(|key| sends.contains(key));
    contents.note(|key| sends.contains(key));
    let is_ready =
        |contents: &Contents, key: &Key| contents.result(key).is_ok() && contents.work(key).is_some_and(|work| work.template.is_some());
    settle(&mut contents, |contents| sends.iter().all(|key| is_ready(contents, key))).await;
    assert!(held(&contents).1 <= NAMESPACE_MAX);
    assert!(keys.iter().all(|key| contents.result(key).is_ok()), "what does not send now needs no template");
}
