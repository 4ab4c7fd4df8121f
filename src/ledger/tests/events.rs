//! What comes back is counted once, and who is suppressed is not mailed.

use super::*;
use crate::{
    feedback::{Complaints, EventKind, FeedbackCounts, MessageIdentity, MessageReference, Person, SuppressionReason},
    meta::Key,
    resources::campaign::OutcomeState,
};

const HOUR_MS: i64 = 3_600_000;

fn event(kind: EventKind, message: MessageIdentity) -> Event {
    Event { kind, message, recipient: None, at_ms: Some(5), source: "a test".into(), id: None, detail: "550 5.1.1 gone".to_owned() }
}

fn about(ledger: &Ledger, run: RunId, seq: u64) -> MessageReference {
    let seq = u32::try_from(seq).expect("small");
    MessageReference { ledger: MessageReference::ledger_of(ledger.seed()), run: run.number().expect("small"), partition: 0, seq }
}

fn reference(ledger: &Ledger, run: RunId, seq: u64) -> MessageIdentity {
    MessageIdentity::Reference { reference: about(ledger, run, seq), server: None }
}

fn listed(namespace: &str, person: &str, topic: Option<&str>) -> Suppression {
    Suppression {
        namespace: namespace.into(),
        person: Person::Address(person.to_owned()),
        topic: topic.map(Into::into),
        reason: SuppressionReason::Listed,
        at_ms: 86_400_000,
        source: "a person".into(),
        detail: String::new(),
    }
}

async fn accept_all(ledger: &Ledger, run: RunId, recipients: &[&str]) -> Vec<u64> {
    let seqs = claim_all(ledger, run, recipients).await;
    let ends = seqs.iter().map(|seq| outcome(run, *seq, Disposition::Accepted)).collect();
    ledger.commit(outcomes(ends)).await.expect("outcomes");
    seqs
}

#[tokio::test]
async fn complaints_are_those_of_runs_that_are_open_or_were_closed_since() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = accept_all(&ledger, run, &["ann@x.org", "ben@x.org", "cy@x.org"]).await;
    let next = ledger.begin_run(&RunKey::new("shop", "next", "first"), RunStart::default(), 1_000).await.expect("a run").id;
    accept_all(&ledger, next, &["ann@x.org", "di@x.org"]).await;
    let other = ledger.begin_run(&RunKey::new("other", "news", "first"), RunStart::default(), 1_000).await.expect("a run").id;
    claim_all(&ledger, other, &["ann@x.org"]).await;
    let complaint = event(EventKind::Complaint, reference(&ledger, run, seqs[0]));
    ledger.record_events(vec![complaint, event(EventKind::HardBounce, reference(&ledger, run, seqs[1]))], HOUR_MS).await.expect("recorded");
    let of = |shop: (u64, u64)| {
        let complaints = |(complained, accepted)| Complaints { accepted, complained };
        std::collections::BTreeMap::from([("shop".to_owned(), complaints(shop)), ("other".to_owned(), complaints((0, 0)))])
    };
    assert_eq!(ledger.complaints(5_000).await, Ok(of((1, 5))), "all are open");
    ledger.close_run(run, 0, 4_000).await.expect("closed");
    assert_eq!(ledger.complaints(4_000).await, Ok(of((1, 5))));
    assert_eq!(ledger.complaints(4_001).await, Ok(of((0, 2))), "it was closed before");
}

#[tokio::test]
async fn events_are_counted_once_beside_the_fate_of_their_message() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = accept_all(&ledger, run, &["Ann@x.org", "ben@x.org", "cy@x.org", "di@x.org"]).await;
    let events = vec![
        event(EventKind::Delivered, reference(&ledger, run, seqs[0])),
        event(EventKind::SoftBounce, reference(&ledger, run, seqs[1])),
        event(EventKind::HardBounce, reference(&ledger, run, seqs[1])),
        event(EventKind::Complaint, reference(&ledger, run, seqs[2])),
        event(EventKind::Unsubscribed, reference(&ledger, run, seqs[3])),
    ];
    let receipt = ledger.record_events(events.clone(), HOUR_MS).await.expect("recorded");
    assert_eq!(receipt, EventsReceipt { recorded: 5, suppressed: 3, ..EventsReceipt::default() });
    // The same again, as every webhook brings it at some time.
    let receipt = ledger.record_events(events, 2 * HOUR_MS).await.expect("recorded");
    assert_eq!(receipt, EventsReceipt { repeated: 5, ..EventsReceipt::default() });

    let record = ledger.find_run(&key()).await.expect("a read").expect("the run");
    assert_eq!(record.feedback, FeedbackCounts { delivered: 1, soft_bounced: 1, bounced: 1, complained: 1, unsubscribed: 1 });
    assert_eq!(ledger.counts(run).await.expect("counts").fates[Fate::Accepted], 4, "accepted is final");
    assert_eq!(
        folder.ask(
            "SELECT campaign, recipient, event, server, time, source, detail FROM feedback_events WHERE event LIKE '%Bounce' ORDER BY event"
        ),
        [
            "news ben@x.org HardBounce shop/one 1970-01-01T00:00:00.005Z a test 550 5.1.1 gone",
            "news ben@x.org SoftBounce shop/one 1970-01-01T00:00:00.005Z a test 550 5.1.1 gone",
        ]
    );
    assert_eq!(folder.ask("SELECT hour, sum(count) FROM feedback GROUP BY hour"), ["1 5"]);
    assert_eq!(
        folder.ask("SELECT person, reason, topic FROM suppressions ORDER BY 1"),
        ["ben@x.org HardBounce ", "cy@x.org Complaint ", "di@x.org Unsubscribed "]
    );
    assert_eq!(folder.ask("SELECT delivered, soft_bounced, bounced, complained, unsubscribed, accepted FROM campaigns"), ["1 1 1 1 1 4"]);
}

#[tokio::test]
async fn those_of_whom_something_came_back_are_an_audience() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = accept_all(&ledger, run, &["ann@x.org", "ben@x.org", "cy@x.org", "di@x.org"]).await;
    let events = [
        (EventKind::HardBounce, 1),
        (EventKind::Complaint, 1),
        (EventKind::Complaint, 2),
        (EventKind::SoftBounce, 0),
        (EventKind::Unsubscribed, 3),
    ];
    let events = events.map(|(kind, index): (_, usize)| event(kind, reference(&ledger, run, seqs[index])));
    ledger.record_events(events.into(), 1).await.expect("recorded");
    let of = |states: &[OutcomeState], max| ledger.recipients_of(&key(), states, max).expect("read").expect("a run");
    use OutcomeState::{Accepted, Bounced, Complained, Rejected};
    let cases: &[(&[OutcomeState], &[&str])] = &[
        (&[Bounced], &["ben@x.org"]),
        (&[Complained], &["ben@x.org", "cy@x.org"]),
        (&[Bounced, Complained], &["ben@x.org", "cy@x.org"]),
        (&[Rejected], &[]),
        (&[Rejected, Bounced], &["ben@x.org"]),
        (&[Accepted, Complained], &["ann@x.org", "ben@x.org", "cy@x.org", "di@x.org"]),
    ];
    for (states, wanted) in cases {
        assert_eq!(of(states, 10), *wanted, "{states:?}");
    }
    assert_eq!(of(&[Complained], 0).len(), 1, "reading ends beyond the bound");
    assert_eq!(of(&[Accepted, Bounced], 1).len(), 2);
    assert_eq!(ledger.recipients_of(&RunKey::new("shop", "none", "first"), &[Bounced], 1), Ok(None));
}

#[tokio::test]
async fn an_event_of_nobody_or_of_another_server_changes_nothing() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = accept_all(&ledger, run, &["ann@x.org"]).await;
    ledger
        .commit(outcomes(vec![OutcomeRecord { seq: None, recipient: "eve@x.org".into(), ..outcome(run, 0, Disposition::RenderFailed) }]))
        .await
        .expect("a failed template");
    let good = about(&ledger, run, seqs[0]);
    let with =
        |reference, server: Option<&str>| MessageIdentity::Reference { reference, server: server.map(|name| Key::new("shop", name)) };
    let strange = [
        with(MessageReference { ledger: good.ledger ^ 1, ..good }, None),
        with(MessageReference { run: 99, ..good }, None),
        with(MessageReference { seq: 99, ..good }, None),
        with(MessageReference { partition: 1, ..good }, None),
        // It was never sent.
        with(MessageReference { seq: good.seq + 1, ..good }, None),
        with(good, Some("two")),
    ];
    let events = strange.into_iter().map(|message| Event { recipient: Some("ann@x.org".into()), ..event(EventKind::HardBounce, message) });
    let events: Vec<_> = events.collect();
    let count = events.len() as u64;
    let receipt = ledger.record_events(events, HOUR_MS).await.expect("taken");
    assert_eq!(receipt, EventsReceipt { unmatched: count, ..EventsReceipt::default() });
    let receipt = ledger.record_events(vec![event(EventKind::HardBounce, with(good, Some("one")))], HOUR_MS).await.expect("taken");
    assert_eq!((receipt.recorded, receipt.suppressed), (1, 1));
}

#[tokio::test]
async fn who_is_suppressed_is_not_claimed() {
    let folder = Folder::new();
    let ledger = folder.open();
    let record = ledger.begin_run(&key(), RunStart { topic: Some("weekly".into()), ..RunStart::default() }, 1_000).await.expect("a run");
    let (run, server) = (record.id, ledger.server_id("shop/one").await.expect("a server"));
    // One is deferred before, one is suppressed in another namespace, one for another topic.
    let first = claim_all(&ledger, run, &["late@x.org"]).await[0];
    let later = Disposition::Deferred { at_ms: 1, fields: "{}".to_owned() };
    ledger.commit(outcomes(vec![outcome(run, first, later)])).await.expect("deferred");
    let list = vec![
        listed("shop", "late@x.org", None),
        listed("shop", "ann@x.org", None),
        listed("other", "ben@x.org", None),
        listed("shop", "cy@x.org", Some("daily")),
        listed("shop", "di@x.org", Some("weekly")),
    ];
    assert_eq!(ledger.suppress(list.clone()).await.expect("added"), 5);
    assert_eq!(ledger.suppress(list).await.expect("known"), 0);
    assert_eq!(ledger.due(run, 10, 5).await.expect("due").len(), 1);
    let on = |recipient: &str| Claim { topic: Some("weekly".into()), usage_keys: Arc::from(["k".into()]), ..claim(run, server, recipient) };
    let commit = claims(vec![
        Claim { usage_keys: Arc::from(["k".into()]), ..again(run, server, first, 2) },
        on("ANN@x.org"),
        on("ben@x.org"),
        on("cy@x.org"),
        on("di@x.org"),
    ]);
    let mut commit = commit;
    commit.claims[0].recipient = "late@x.org".into();
    let receipt = ledger.commit(commit).await.expect("a commit");
    assert_eq!(receipt.seqs.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true, true, false]);
    assert_eq!(
        folder.ask("SELECT recipient, state, attempt, reply FROM recipients WHERE state = 'Suppressed' ORDER BY 1"),
        [
            "ANN@x.org Suppressed 0 Listed since 1970-01-02 (a person); not mailed",
            "di@x.org Suppressed 0 Listed from topic weekly since 1970-01-02 (a person); not mailed",
            "late@x.org Suppressed 1 Listed since 1970-01-02 (a person); not mailed",
        ]
    );
    assert_eq!(folder.ask("SELECT sum(count) FROM usage WHERE key = 'k'"), ["2"], "limits count what may leave");
    let counts = ledger.counts(run).await.expect("counts").fates;
    assert_eq!((counts[Fate::Suppressed], counts[Fate::Claimed], counts[Fate::Deferred]), (3, 2, 0));
    // Nobody of them comes again, and after a restart it is the same.
    assert_eq!(ledger.due(run, 10, 5).await.expect("due").len(), 0);
    drop(ledger);
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let mut index = ledger.recipient_index(run).expect("an index");
    for person in ["ann@x.org", "di@x.org", "late@x.org"] {
        assert_eq!(index.look_up(person).expect("a look"), Lookup::Claimed, "{person}");
    }
    // Who is taken off the list is mailed by the next run.
    assert_eq!(ledger.unsuppress(vec![listed("shop", "ann@x.org", None)]).await.expect("removed"), 1);
    let next = RunKey::new("shop", "news", "second");
    let next = ledger.begin_run(&next, RunStart::default(), 1_000).await.expect("a run").id;
    assert_eq!(claim_all(&ledger, next, &["ann@x.org"]).await.len(), 1);
}

#[tokio::test]
async fn a_claim_that_may_have_been_mailed_stays_unknown() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Resend).await.id;
    let seq = claim_all(&ledger, run, &["ann@x.org"]).await[0];
    drop(ledger);
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Resend).await.id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    ledger.suppress(vec![listed("shop", "ann@x.org", None)]).await.expect("added");
    let mut index = ledger.recipient_index(run).expect("an index");
    assert_eq!(index.look_up("ann@x.org").expect("a look"), Lookup::Resend { seq, attempt: 1 });
    let mut claim = again(run, server, seq, 1);
    claim.recipient = "ann@x.org".into();
    let receipt = ledger.commit(claims(vec![claim])).await.expect("a commit");
    assert_eq!(receipt.seqs, [None]);
    assert_eq!(folder.ask("SELECT state, resent FROM recipients"), ["Unknown 0"]);
    assert_eq!(ledger.counts(run).await.expect("counts").fates[Fate::Unknown], 1);
}

#[tokio::test]
async fn a_rejection_for_want_of_a_mailbox_suppresses_the_address() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = claim_all(&ledger, run, &["Gone@x.org", "full@x.org"]).await;
    let reply = |text: &str| Some(text.to_owned());
    let gone = OutcomeRecord { suppresses: true, reply: reply("550 5.1.1 No such user"), ..outcome(run, seqs[0], Disposition::Rejected) };
    let full = OutcomeRecord { reply: reply("552 5.2.2 Full"), ..outcome(run, seqs[1], Disposition::Rejected) };
    ledger.commit(outcomes(vec![gone, full])).await.expect("outcomes");
    assert_eq!(
        folder.ask("SELECT namespace, person, reason, at_ms, source, detail FROM suppressions"),
        ["shop gone@x.org HardBounce 120000 reply of shop/one 550 5.1.1 No such user"]
    );
    let next = ledger.begin_run(&RunKey::new("shop", "news", "second"), RunStart::default(), 1_000).await.expect("a run").id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    let receipt = ledger.commit(claims(vec![claim(next, server, "gone@x.org"), claim(next, server, "full@x.org")])).await.expect("claims");
    assert_eq!(receipt.seqs.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
}

#[tokio::test]
async fn a_subscription_ends_for_its_topic_and_counts_for_its_run() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let number = run.number().expect("small");
    let known = Some((number, MessageReference::ledger_of(ledger.seed())));
    let left = |namespace: &str, topic: Option<&str>, run| Event {
        recipient: Some("Ann@x.org".into()),
        ..event(EventKind::Unsubscribed, MessageIdentity::Subscription { namespace: namespace.into(), topic: topic.map(Into::into), run })
    };
    let receipt =
        ledger.record_events(vec![left("shop", Some("weekly"), known), left("shop", Some("weekly"), known)], 9).await.expect("taken");
    assert_eq!((receipt.recorded, receipt.repeated, receipt.suppressed), (1, 1, 1));
    // Of another ledger, of another namespace's run, or of none: the subscription ends all the same, and no run counts it.
    let foreign = known.map(|(run, ledger)| (run, ledger ^ 1));
    let receipt = ledger
        .record_events(vec![left("shop", None, foreign), left("other", None, known), left("third", None, None)], 9)
        .await
        .expect("taken");
    assert_eq!((receipt.recorded, receipt.suppressed), (0, 3));
    assert_eq!(ledger.find_run(&key()).await.expect("a read").expect("a run").feedback.unsubscribed, 1);
    assert_eq!(
        folder.ask("SELECT namespace, person, topic FROM suppressions ORDER BY 1, 3"),
        ["other ann@x.org ", "shop ann@x.org ", "shop ann@x.org weekly", "third ann@x.org "]
    );
}

#[tokio::test]
async fn a_mail_is_believed_where_it_knows_the_message_id() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    accept_all(&ledger, run, &["Ann@x.org"]).await;
    let id = |seed, who: &str| crate::message::message_id(seed, "shop", "news", "first", who, "shop.example");
    let told = |id: String, who: &str, server: &str| Event {
        recipient: Some(who.into()),
        ..event(EventKind::HardBounce, MessageIdentity::MessageId { server: Key::new("shop", server), id })
    };
    let seed = ledger.seed();
    let forged = vec![
        // Anybody can write these.
        told("n7@shop.example".to_owned(), "victim@x.org", "one"),
        told(id(seed, "Ann@x.org"), "victim@x.org", "one"),
        told(id(seed ^ 1, "Ann@x.org"), "Ann@x.org", "one"),
        told(id(seed, "Ann@x.org"), "Ann@x.org", "two"),
    ];
    let receipt = ledger.record_events(forged, HOUR_MS).await.expect("taken");
    assert_eq!(receipt, EventsReceipt { unmatched: 4, ..EventsReceipt::default() });
    let receipt = ledger.record_events(vec![told(id(seed, "Ann@x.org"), "Ann@x.org", "one"); 2], HOUR_MS).await.expect("taken");
    assert_eq!((receipt.recorded, receipt.repeated, receipt.suppressed), (1, 1, 1));
    assert_eq!(folder.ask("SELECT person FROM suppressions"), ["ann@x.org"]);
    assert_eq!(ledger.find_run(&key()).await.expect("a read").expect("a run").feedback.bounced, 1);
}

/// Accepts people of a run of a namespace, through a server of `ops`.
async fn mail_through(ledger: &Ledger, namespace: &str, campaign: &str, server: &str, people: &[(&str, Disposition)]) {
    let run = ledger.begin_run(&RunKey::new(namespace, campaign, "first"), RunStart::default(), 1_000).await.expect("a run").id;
    let server = ledger.server_id(&format!("ops/{server}")).await.expect("a server");
    let names: Vec<&str> = people.iter().map(|(name, _)| *name).collect();
    let seqs = claim_all(ledger, run, &names).await;
    let ends = seqs.iter().zip(people).map(|(seq, (_, end))| OutcomeRecord { server: Some(server), ..outcome(run, *seq, end.clone()) });
    ledger.commit(outcomes(ends.collect())).await.expect("outcomes");
}

#[tokio::test]
async fn who_leaves_a_server_leaves_those_who_mailed_through_it() {
    let folder = Folder::new();
    let ledger = folder.open();
    let accepted = |who| (who, Disposition::Accepted);
    mail_through(&ledger, "shop", "one", "relay", &[accepted("Ann@x.org"), accepted("ben@x.org")]).await;
    mail_through(&ledger, "shop", "two", "other", &[accepted("cy@x.org")]).await;
    mail_through(&ledger, "bank", "one", "relay", &[accepted("ann@x.org"), ("di@x.org", Disposition::Rejected)]).await;
    mail_through(&ledger, "club", "one", "relay", &[accepted("eve@x.org")]).await;
    let server = |name| Key::new("ops", name);
    let left = |who: &str, message| Event { recipient: Some(who.into()), ..event(EventKind::Unsubscribed, message) };
    let of_server = |who: &str, name| left(who, MessageIdentity::Recipient { server: server(name) });
    let events = vec![
        // Two namespaces mailed one, and a third has nothing to do with it.
        of_server("ANN@x.org", "relay"),
        left("ben@x.org", MessageIdentity::VendorId { server: server("relay"), id: "v1".to_owned() }),
        // Through another server, not taken by it, and not known at all.
        of_server("cy@x.org", "relay"),
        of_server("di@x.org", "relay"),
        of_server("nobody@x.org", "relay"),
        // Of a server that has sent nothing.
        of_server("ben@x.org", "new"),
        // No reason to leave anybody out.
        Event { kind: EventKind::Delivered, ..of_server("eve@x.org", "relay") },
    ];
    let receipt = ledger.record_events(events.clone(), HOUR_MS).await.expect("recorded");
    assert_eq!((receipt.suppressed, receipt.unmatched), (7, 1));
    let listed = || folder.ask("SELECT namespace || ' ' || person FROM suppressions ORDER BY 1");
    let wanted =
        ["bank ann@x.org", "ops ben@x.org", "ops cy@x.org", "ops di@x.org", "ops nobody@x.org", "shop ann@x.org", "shop ben@x.org"];
    assert_eq!(listed(), wanted);
    ledger.record_events(events.clone(), HOUR_MS).await.expect("again");
    assert_eq!(listed(), wanted);

    // Without the time to find out, nobody is mailed against their word.
    let reader = LedgerReader::open(folder.location()).expect("a reader");
    let found = super::super::mailed::concerned(&reader, &events, Some(Duration::ZERO)).expect("read");
    let of = |who: &str, name| found[&(server(name), who.to_owned())].iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(of("nobody@x.org", "relay"), ["bank", "club", "shop"]);
    assert_eq!(of("ben@x.org", "new"), ["ops"]);
}
