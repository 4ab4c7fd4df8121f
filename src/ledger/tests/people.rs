//! What is known of one person, and that it is gone afterwards.

use super::*;
use crate::{
    feedback::{EventKind, MessageIdentity, MessageReference, Person, SuppressionReason},
    token::Keys,
};

const WHO: &str = "ann.secret@example.org";

fn keys() -> Keys {
    Keys::of([7; 32])
}

fn bounce(ledger: &Ledger, run: RunId, seq: u64) -> Event {
    let reference = MessageReference {
        ledger: MessageReference::ledger_of(ledger.seed()),
        run: run.number().expect("small"),
        partition: 0,
        seq: u32::try_from(seq).expect("small"),
    };
    Event {
        kind: EventKind::HardBounce,
        message: MessageIdentity::Reference { reference, server: None },
        recipient: None,
        at_ms: Some(200_000),
        source: "bounce listener".into(),
        id: None,
        detail: format!("550 5.1.1 <{WHO}> gone"),
    }
}

/// The state folder's files, or the tables of the database, that hold the address, in any form of letters.
fn files_with_it(folder: &Folder) -> Vec<String> {
    if folder.1.is_some() {
        let tables = ["messages", "events", "suppressions", "bad_rows", "history", "runs", "meta"].into_iter();
        let holds = |table: &&str| folder.ask(&format!("SELECT count(*) FROM {table} WHERE {table}::text ILIKE '%{WHO}%'")) != ["0"];
        return tables.filter(holds).map(str::to_owned).collect();
    }
    let files = fs::read_dir(&folder.0).expect("a folder").map(|entry| entry.expect("an entry").path());
    let needle = WHO.as_bytes();
    let holds = |path: &PathBuf| {
        let bytes = fs::read(path).expect("a file").to_ascii_lowercase();
        bytes.windows(needle.len()).any(|window| window == needle)
    };
    files.filter(|path| path.is_file()).filter(holds).map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

/// A ledger that knows the person by several messages, an event, a bad row, and an unsubscription.
async fn filled() -> (Folder, Ledger, RunId) {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let others: Vec<String> = (0..200).map(|n| format!("p{n}@example.org")).collect();
    let mut people: Vec<&str> = others.iter().map(String::as_str).collect();
    people.insert(100, "Ann.Secret@EXAMPLE.org");
    let seqs = claim_all(&ledger, run, &people).await;
    let ends = seqs.iter().map(|seq| OutcomeRecord { reply: Some(format!("250 Ok <{WHO}>")), ..outcome(run, *seq, Disposition::Accepted) });
    let ends: Vec<_> = ends.enumerate().map(|(n, end)| if n == 100 { end } else { OutcomeRecord { reply: None, ..end } }).collect();
    ledger.commit(outcomes(ends)).await.expect("outcomes");
    ledger.record_events(vec![bounce(&ledger, run, seqs[100])], 300_000).await.expect("recorded");
    let left = MessageIdentity::Subscription {
        namespace: "shop".into(),
        topic: Some("weekly".into()),
        run: Some((run.number().expect("small"), MessageReference::ledger_of(ledger.seed()))),
    };
    let left = Event { kind: EventKind::Unsubscribed, message: left, recipient: Some(WHO.into()), at_ms: None, ..bounce(&ledger, run, 1) };
    ledger.record_events(vec![left], 400_000).await.expect("recorded");
    let row = |line: u64, what: String| BadRow { line, what };
    ledger.record_bad_rows(run, vec![row(3, format!("`{WHO},x` has too many fields")), row(4, "no `@`".to_owned())]).await.expect("kept");
    (folder, ledger, run)
}

#[tokio::test]
async fn everything_of_one_person_is_shown() {
    let (folder, ledger, _) = filled().await;
    let second = ledger.begin_run(&RunKey::new("other", "news", "first"), RunStart::default(), 1_000).await.expect("a run").id;
    claim_all(&ledger, second, &[WHO]).await;
    let reader = LedgerReader::open(folder.location()).expect("a reader");
    let told = |namespace: Option<&str>| -> Vec<String> {
        let known = reader.known("ANN.secret@example.org", namespace, None).expect("a read");
        let words = known.iter().map(|known| match known {
            Known::Message { run: key, message: row } => format!("{} {}", key.namespace, row.fate),
            Known::Event { run: key, event } => format!("{} {}", key.namespace, event.kind),
            Known::Suppression(entry) => format!("{} {} {}", entry.namespace, entry.reason, entry.topic.as_deref().unwrap_or("-")),
        });
        words.collect()
    };
    let of_shop = ["shop Accepted", "shop HardBounce", "shop Unsubscribed"];
    let list = ["shop HardBounce -", "shop Unsubscribed weekly"];
    assert_eq!(told(None), [&of_shop[..], &["other Claimed"], &list].concat());
    assert_eq!(told(Some("shop")), [&of_shop[..], &list].concat());
    assert!(reader.known("nobody@example.org", None, None).expect("a read").is_empty());
}

#[tokio::test]
async fn who_is_forgotten_is_in_no_file_and_is_not_mailed_again() {
    let (folder, ledger, run) = filled().await;
    assert!(!files_with_it(&folder).is_empty(), "the test can fail");
    let forgotten = ledger.forget("ann.secret@example.ORG", None, keys(), 500_000).await.expect("removed");
    assert_eq!(forgotten, Forgotten { messages: 1, open: 0, events: 2, bad_rows: 1, suppressions: 2 });
    assert_eq!(files_with_it(&folder), [""; 0]);
    assert_eq!(folder.ask("SELECT count(*) FROM messages"), ["201"], "counts hold");
    assert_eq!(
        folder.ask("SELECT count(*) FROM recipients WHERE recipient LIKE 'forgotten:1:%' AND state = 'Accepted' AND reply IS NULL"),
        ["1"]
    );
    // The same run: the row of the audience finds the person's message by its hash.
    let mut index = ledger.recipient_index(run).expect("an index");
    assert_eq!(index.look_up(WHO).expect("a look"), Lookup::Claimed);
    assert_eq!(index.look_up("ANN.SECRET@example.org").expect("a look"), Lookup::Duplicate);
    // Another run: it is suppressed, and its address is not written again. After a restart too, with the key that was used first.
    drop(ledger);
    let ledger = folder.open();
    let rotated = Keys::parse(&format!("2 {}\n{}", base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [9; 32]), keys().to_text()));
    let rotated = rotated.expect("keys");
    ledger.set_keys(rotated.clone()).await.expect("set");
    let next = ledger.begin_run(&RunKey::new("shop", "news", "second"), RunStart::default(), 1_000).await.expect("a run").id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    let receipt = ledger.commit(claims(vec![claim(next, server, "Ann.Secret@example.org"), claim(next, server, "p1@example.org")])).await;
    assert_eq!(receipt.expect("claims").seqs.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    assert_eq!(files_with_it(&folder), [""; 0]);
    let mut index = ledger.recipient_index(next).expect("an index");
    assert_eq!(index.look_up(WHO).expect("a look"), Lookup::Claimed);
    // Whoever asks for the person by name is told that only a hash is known.
    let reader = LedgerReader::open(folder.location()).expect("a reader");
    let known = reader.known(WHO, None, Some(&rotated)).expect("a read");
    let [Known::Suppression(entry)] = &known[..] else { panic!("{known:?}") };
    assert_eq!((entry.reason, &entry.person), (SuppressionReason::Forgotten, &Person::read(entry.person.text())));
}

#[tokio::test]
async fn nobody_is_forgotten_with_other_keys_than_those_of_the_process_that_sends() {
    let folder = Folder::new();
    let ledger = folder.open();
    let key = RunKey::new("shop", "news", "first");
    let run = ledger.begin_run(&key, RunStart::default(), 1_000).await.expect("a run").id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    ledger.commit(claims(vec![claim(run, server, WHO)])).await.expect("a claim");
    assert!(ledger.adopt_keys(keys()).await.expect("keys"));
    let others = Keys::of([8; 32]);
    let refused = ledger.forget(WHO, None, others.clone(), 5_000).await.expect_err("other keys");
    assert!(refused.kind == LedgerErrorKind::Conflict && refused.message.contains("--keys"), "{refused}");
    assert_eq!(folder.ask("SELECT count(*) FROM suppressions"), ["0"], "nothing was removed");
    // A rotated file has the key, and others before it.
    let encoded = |byte: u8| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [byte; 32]);
    let rotated = Keys::parse(&format!("2 {}\n{}", encoded(9), keys().to_text())).expect("keys");
    ledger.forget(WHO, None, rotated.clone(), 5_000).await.expect("removed");
    assert_eq!(folder.ask("SELECT count(*) FROM suppressions WHERE person LIKE 'forgotten:2:%'"), ["1"]);
    assert!(ledger.adopt_keys(rotated).await.expect("keys"));
    assert!(!ledger.adopt_keys(keys()).await.expect("keys"), "the hash is of key 2");
}

#[tokio::test]
async fn a_message_that_is_not_over_is_left_to_the_process_that_sends_it() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = claim_all(&ledger, run, &[WHO, "b@example.org"]).await;
    let later = Disposition::Deferred { at_ms: 1, fields: "{}".to_owned() };
    ledger.commit(outcomes(vec![outcome(run, seqs[0], later.clone())])).await.expect("deferred");
    let forgotten = ledger.forget(WHO, Some("shop"), keys(), 500_000).await.expect("removed");
    assert_eq!((forgotten.messages, forgotten.open), (0, 1));
    // Its next attempt ends it.
    let server = ledger.server_id("shop/one").await.expect("a server");
    let claim = Claim { recipient: WHO.into(), ..again(run, server, seqs[0], 2) };
    assert_eq!(ledger.commit(claims(vec![claim])).await.expect("a commit").seqs, [None]);
    assert_eq!(ledger.forget(WHO, Some("shop"), keys(), 500_000).await.expect("removed").open, 0);
    assert_eq!(files_with_it(&folder), [""; 0]);
    drop(ledger);
    // Where nobody sends, it is ended at once.
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = claim_all(&ledger, run, &[WHO, "b@example.org"]).await;
    ledger.commit(outcomes(vec![outcome(run, seqs[0], later)])).await.expect("deferred");
    drop(ledger);
    let ledger = folder.open();
    assert_eq!(ledger.forget(WHO, None, keys(), 500_000).await.expect("removed").messages, 1);
    assert_eq!(folder.ask("SELECT state FROM recipients ORDER BY 1"), ["Claimed", "Suppressed"]);
    assert_eq!(folder.ask("SELECT deferred, suppressed FROM campaigns"), ["0 1"]);
    assert_eq!(files_with_it(&folder), [""; 0]);
}

#[tokio::test]
async fn the_list_is_read_in_order_and_in_parts() {
    let folder = Folder::new();
    let ledger = folder.open();
    let entry = |n: usize| Suppression {
        namespace: if n.is_multiple_of(3) { "a" } else { "b" }.into(),
        person: Person::Address(format!("p{n:05}@example.org")),
        topic: None,
        reason: SuppressionReason::Listed,
        at_ms: 1,
        source: "a test".into(),
        detail: String::new(),
    };
    ledger.suppress((0..9_000).map(entry).collect()).await.expect("added");
    let reader = LedgerReader::open(folder.location()).expect("a reader");
    let read = |namespace| {
        let mut people = Vec::new();
        reader
            .suppressions(namespace, |entry| {
                people.push((entry.namespace.to_string(), entry.person.text()));
                ControlFlow::Continue(())
            })
            .expect("a read");
        people
    };
    let all = read(None);
    assert_eq!((all.len(), all.is_sorted(), read(Some("a")).len(), read(Some("c")).len()), (9_000, true, 3_000, 0));
}
