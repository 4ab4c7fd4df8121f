//! Rules 7 to 9 of the design: nobody twice, nothing unknown in silence.

use super::*;

fn deferred(next_attempt_at_ms: i64) -> Disposition {
    Disposition::Deferred { at_ms: next_attempt_at_ms, fields: "{\"name\":\"Ann\"}".to_owned() }
}

#[tokio::test]
async fn people_can_read_what_happened() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let one = ledger.server_id("shop/one").await.expect("a server");
    let two = ledger.server_id("shop/two").await.expect("a server");
    let names = ["a@x.org", "b@x.org", "c@x.org", "d@x.org", "e@x.org", "f@x.org"];
    let seqs = numbers(ledger.commit(claims(names.iter().map(|name| claim(run, one, name)).collect())).await.expect("claims"));
    let ends = [
        (Disposition::Accepted, Some(two), Some("250 Ok")),
        (Disposition::Rejected, None, Some("550 No such user")),
        (deferred(3_600_000), None, Some("451 Later")),
        (Disposition::Expired, None, Some("451 Later")),
        (Disposition::Unknown, None, None),
    ];
    let mut commit = outcomes(vec![]);
    for (seq, (state, server, reply)) in seqs.iter().zip(ends) {
        commit.outcomes.push(OutcomeRecord { server, reply: reply.map(str::to_owned), ..outcome(run, *seq, state) });
    }
    let failed = OutcomeRecord {
        seq: None,
        recipient: "g@x.org".into(),
        reply: Some("no `name`".to_owned()),
        ..outcome(run, 0, Disposition::RenderFailed)
    };
    commit.outcomes.push(failed);
    ledger.commit(commit).await.expect("outcomes");

    assert_eq!(
        folder.ask("SELECT namespace, campaign, run, recipient, state, attempt, server, time, next_attempt, reply FROM recipients ORDER BY recipient"),
        [
            "shop news first a@x.org Accepted 1 shop/two 1970-01-01T00:02:00.000Z - 250 Ok",
            "shop news first b@x.org Rejected 1 shop/one 1970-01-01T00:02:00.000Z - 550 No such user",
            "shop news first c@x.org Deferred 1 shop/one 1970-01-01T00:02:00.000Z 1970-01-01T01:00:00.000Z 451 Later",
            "shop news first d@x.org Expired 1 shop/one 1970-01-01T00:02:00.000Z - 451 Later",
            "shop news first e@x.org Unknown 1 shop/one 1970-01-01T00:02:00.000Z - -",
            "shop news first f@x.org Claimed 1 shop/one 1970-01-01T00:01:00.000Z - -",
            "shop news first g@x.org RenderFailed 0 - 1970-01-01T00:02:00.000Z - no `name`",
        ]
    );
    assert_eq!(
        folder.ask("SELECT state, accepted, rejected, expired, unknown, render_failed, deferred, claimed, resent, started FROM campaigns"),
        ["Open 1 1 1 1 1 1 1 0 1970-01-01T00:00:01.000Z"]
    );
    let counts = ledger.counts(run).await.expect("counts");
    assert_eq!((counts.fates.ended(), counts.fates.open()), (5, 2));
    let server = |server: &str, of: &[Fate]| {
        let mut fates = FateCounts::default();
        of.iter().for_each(|fate| fates.change(*fate, 1));
        ServerCounts { server: server.to_owned(), fates }
    };
    assert_eq!(
        counts.per_server,
        [server("shop/one", &[Fate::Rejected, Fate::Expired, Fate::Unknown]), server("shop/two", &[Fate::Accepted])]
    );
}

#[tokio::test]
async fn nobody_is_new_after_a_restart() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = claim_all(&ledger, run, &["a@x.org", "b@x.org"]).await;
    ledger.commit(outcomes(vec![outcome(run, seqs[0], Disposition::Accepted)])).await.expect("outcomes");
    drop(ledger);

    let ledger = folder.open();
    assert_eq!(ledger.find_run(&key()).await.expect("a read").map(|run| run.id), Some(run));
    let record = begin(&ledger, WhenOutcomeIsUnknown::Skip).await;
    assert_eq!((record.id, record.left_without_outcome), (run, 1));
    let mut index = ledger.recipient_index(run).expect("an index");
    for (recipient, sighting) in [
        ("a@x.org", Lookup::Claimed),
        ("b@X.ORG", Lookup::Claimed),
        ("b@x.org", Lookup::Duplicate),
        ("c@x.org", Lookup::New),
        ("c@x.Org", Lookup::Duplicate),
        ("C@x.org", Lookup::Duplicate),
        ("\"c\"@x.org", Lookup::Duplicate),
        ("ann@münchen.example", Lookup::New),
        ("ann@xn--mnchen-3ya.example", Lookup::Duplicate),
    ] {
        assert_eq!(index.look_up(recipient).expect("a look"), sighting, "{recipient}");
    }
    // New messages get new numbers, and the unknown one stays unknown.
    assert_eq!(claim_all(&ledger, run, &["c@x.org"]).await, [seqs[1] + 1]);
    assert_eq!(
        folder.ask("SELECT recipient, state, server FROM recipients"),
        ["a@x.org Accepted shop/one", "b@x.org Unknown shop/one", "c@x.org Claimed shop/one"]
    );
    let late = ledger.commit(outcomes(vec![outcome(run, seqs[1], Disposition::Accepted)])).await;
    assert_eq!(kind(late), Some(LedgerErrorKind::Conflict));
}

#[tokio::test]
async fn the_same_name_is_the_same_run_and_another_is_not() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    for (other, same) in [
        (RunKey::new("shop", "news", "first"), true),
        (RunKey::new("shop", "news", "second"), false),
        (RunKey::new("shop", "offer", "first"), false),
        (RunKey::new("bank", "news", "first"), false),
    ] {
        assert_eq!(ledger.find_run(&other).await.expect("a read").is_some(), same, "{other}");
        assert_eq!(ledger.begin_run(&other, RunStart::default(), 2).await.expect("a run").id == run, same, "{other}");
    }
}

/// Ledgers from before persons were compared may hold one in two spellings: one is resent, the other is not forgotten.
#[tokio::test]
async fn a_person_in_two_spellings_is_sent_again_once() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Resend).await.id;
    let seqs = claim_all(&ledger, run, &["Ann@x.org", "ann@X.org", "ben@x.org"]).await;
    drop(ledger);

    let ledger = folder.open();
    assert_eq!(begin(&ledger, WhenOutcomeIsUnknown::Resend).await.left_without_outcome, 3);
    let mut index = ledger.recipient_index(run).expect("an index");
    assert_eq!(index.unmatched(), seqs);
    assert_eq!(index.look_up("ann@x.org"), Ok(Lookup::Resend { seq: seqs[0], attempt: 1 }));
    assert_eq!(index.look_up("Ann@x.org"), Ok(Lookup::Duplicate));
    assert_eq!(index.look_up("ben@x.org"), Ok(Lookup::Resend { seq: seqs[2], attempt: 1 }));
    assert_eq!(index.unmatched(), [seqs[1]]);
    let changes = ledger.audience_read(run, AudienceRead::default(), index.unmatched(), 9).await.expect("noted");
    assert!(changes.counts.iter().any(|change| change.fate == Fate::Unknown && change.by == 1), "{changes:?}");
}

#[tokio::test]
async fn resend_sends_what_was_left_and_counts_it() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Resend).await.id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    // a is left on its first attempt, b on its second (its fields are stored), c, d and e are left and then: no longer in the
    // audience, template fails, left once more.
    let seqs = claim_all(&ledger, run, &["a@x.org", "b@x.org", "c@x.org", "d@x.org", "e@x.org"]).await;
    ledger.commit(outcomes(vec![outcome(run, seqs[1], deferred(1))])).await.expect("deferred");
    ledger.commit(claims(vec![again(run, server, seqs[1], 2)])).await.expect("second attempt");
    drop(ledger);

    let ledger = folder.open();
    let record = begin(&ledger, WhenOutcomeIsUnknown::Resend).await;
    assert_eq!(record.left_without_outcome, 5);
    let due = ledger.due(run, 1_000, 10).await.expect("due");
    let fields = Some("{\"name\":\"Ann\"}".to_owned());
    assert_eq!(
        due,
        [DueMessage { seq: seqs[1], recipient: "b@x.org".to_owned(), attempt: 2, fields, refusals: None, since_ms: due[0].since_ms }]
    );
    let mut index = ledger.recipient_index(run).expect("an index");
    assert_eq!(index.look_up("a@x.org"), Ok(Lookup::Resend { seq: seqs[0], attempt: 1 }));
    assert_eq!(index.look_up("a@x.org"), Ok(Lookup::Duplicate));
    assert_eq!(index.look_up("b@x.org"), Ok(Lookup::Claimed));
    ledger.commit(claims(vec![again(run, server, seqs[0], 1), again(run, server, seqs[1], 3)])).await.expect("again");
    ledger
        .commit(outcomes(vec![outcome(run, seqs[0], Disposition::Accepted), outcome(run, seqs[1], Disposition::Accepted)]))
        .await
        .expect("ends");
    ledger.commit(outcomes(vec![outcome(run, seqs[3], Disposition::RenderFailed)])).await.expect("a failed template");
    drop(ledger);

    let ledger = folder.open();
    assert_eq!(begin(&ledger, WhenOutcomeIsUnknown::Resend).await.left_without_outcome, 2);
    let mut index = ledger.recipient_index(run).expect("an index");
    assert_eq!(index.unmatched(), [seqs[2], seqs[4]]);
    assert_eq!(index.look_up("e@x.org"), Ok(Lookup::Resend { seq: seqs[4], attempt: 1 }));
    // The audience ends while e, which was found, still waits to be claimed: only c is gone.
    assert_eq!(index.unmatched(), [seqs[2]]);
    let changes = ledger.audience_read(run, AudienceRead::default(), index.unmatched(), 9).await.expect("noted");
    let server = ledger.server_id("shop/one").await.expect("a server");
    let change = |fate, server, by| CountChange { run_id: run, fate, server, by };
    assert_eq!(changes.counts, [change(Fate::Claimed, None, -1), change(Fate::Unknown, Some(server), 1)]);
    ledger.commit(claims(vec![again(run, server, seqs[4], 1)])).await.expect("again");
    assert_eq!(ledger.audience_read(run, AudienceRead::default(), seqs.clone(), 9).await, Ok(Changes::default()), "nobody else is left");
    assert_eq!(
        folder.ask("SELECT recipient, state, resent FROM recipients ORDER BY recipient"),
        ["a@x.org Accepted 1", "b@x.org Accepted 1", "c@x.org Unknown 0", "d@x.org Unknown 0", "e@x.org Claimed 1"]
    );
    let counts = ledger.counts(run).await.expect("counts");
    assert_eq!((counts.resent, counts.fates[Fate::Unknown], counts.fates[Fate::Claimed]), (3, 2, 1));
}

#[tokio::test]
async fn beginning_again_leaves_what_this_process_has_in_flight() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = claim_all(&ledger, run, &["a@x.org"]).await;
    assert_eq!(begin(&ledger, WhenOutcomeIsUnknown::Skip).await.left_without_outcome, 0);
    assert_eq!(ledger.recipient_index(run).expect("an index").look_up("a@x.org"), Ok(Lookup::Claimed));
    ledger.commit(outcomes(vec![outcome(run, seqs[0], Disposition::Accepted)])).await.expect("the outcome arrives");
}

#[tokio::test]
async fn what_is_due_is_given_once() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    let seqs = claim_all(&ledger, run, &["a@x.org", "b@x.org", "c@x.org"]).await;
    let times = [300, 100, 200];
    ledger
        .commit(outcomes(seqs.iter().zip(times).map(|(seq, time)| outcome(run, *seq, deferred(time))).collect()))
        .await
        .expect("deferred");
    let due = |now, limit| {
        let ledger = ledger.clone();
        async move { ledger.due(run, now, limit).await.expect("due").iter().map(|m| m.recipient.clone()).collect::<Vec<_>>() }
    };
    assert_eq!(ledger.next_due(run).await, Ok(Some(100)));
    assert_eq!(due(250, 1).await, ["b@x.org"]);
    assert_eq!(ledger.next_due(run).await, Ok(Some(200)));
    assert_eq!(due(250, 9).await, ["c@x.org"]);
    assert_eq!(due(250, 9).await, [""; 0]);
    ledger.release(run, vec![seqs[1]]).await.expect("given back");
    assert_eq!(due(250, 9).await, ["b@x.org"]);
    // Claimed, it is not due; deferred again, it is.
    ledger.commit(claims(vec![again(run, server, seqs[1], 2)])).await.expect("claimed");
    ledger.commit(outcomes(vec![outcome(run, seqs[1], deferred(240))])).await.expect("deferred");
    assert_eq!(due(250, 9).await, ["b@x.org"]);
    // A lease also ends when a message goes back without having been claimed, or gets its final outcome.
    ledger.commit(outcomes(vec![outcome(run, seqs[1], deferred(245)), outcome(run, seqs[2], Disposition::Expired)])).await.expect("back");
    assert_eq!(due(250, 9).await, ["b@x.org"]);
    assert_eq!(ledger.next_due(run).await, Ok(Some(300)));
}

#[tokio::test]
async fn a_try_that_was_not_made_does_not_count() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Resend).await.id;
    let server = ledger.server_id("shop/two").await.expect("a server");
    let seqs = claim_all(&ledger, run, &["a@x.org", "b@x.org", "c@x.org"]).await;
    let fields = String::new;
    // a moves to another server, b was not sent and waits, c is unknown and is to be resent.
    ledger.commit(claims(vec![again(run, server, seqs[0], 1)])).await.expect("moved");
    let back = vec![
        outcome(run, seqs[1], Disposition::Returned { at_ms: 0, fields: fields(), refusals: None }),
        outcome(run, seqs[2], Disposition::Resend { at_ms: 5, fields: fields() }),
    ];
    ledger.commit(outcomes(back)).await.expect("back");
    let due = ledger.due(run, 120_000, 10).await.expect("due");
    assert_eq!(due.iter().map(|m| (m.seq, m.attempt)).collect::<Vec<_>>(), [(seqs[2], 1), (seqs[1], 0)]);
    assert_eq!(folder.ask("SELECT recipient, state, attempt, server FROM recipients")[0], "a@x.org Claimed 1 shop/two");
    assert_eq!(ledger.counts(run).await.expect("counts").resent, 1);
}

#[tokio::test]
async fn a_run_whose_claims_all_came_back_unsent_has_sent_nothing() {
    let returned = || Disposition::Returned { at_ms: 0, fields: String::new(), refusals: None };
    let deferred = || Disposition::Deferred { at_ms: 0, fields: String::new() };
    for (ends, has_sent) in [
        (vec![returned(), returned()], false),
        (vec![returned(), deferred()], true),
        (vec![Disposition::Accepted, returned()], true),
        // The process is killed while the second may be in flight, and then once more.
        (vec![returned()], true),
    ] {
        let folder = Folder::new();
        let ledger = folder.open();
        let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
        let seqs = claim_all(&ledger, run, &["a@x.org", "b@x.org"]).await;
        let ended = seqs.into_iter().zip(ends.clone()).map(|(seq, end)| outcome(run, seq, end)).collect();
        ledger.commit(outcomes(ended)).await.expect("outcomes");
        drop(ledger);
        for _ in 0..2 {
            let record = begin(&folder.open(), WhenOutcomeIsUnknown::Skip).await;
            assert_eq!(record.has_sent, has_sent, "{ends:?}");
        }
    }
}

#[tokio::test]
async fn fields_are_kept_only_while_a_try_is_ahead() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    let cases = [
        (Disposition::Accepted, true),
        (Disposition::Rejected, true),
        (Disposition::Expired, true),
        (Disposition::Unknown, true),
        (Disposition::RenderFailed, true),
        (Disposition::Expired, false),
        (Disposition::RenderFailed, false),
    ];
    for (end, tried_again) in cases {
        let seq = claim_all(&ledger, run, &["a@x.org"]).await[0];
        let stored = || folder.ask(&format!("SELECT fields FROM messages WHERE seq = {seq}"));
        ledger.commit(outcomes(vec![outcome(run, seq, deferred(1))])).await.expect("deferred");
        if tried_again {
            ledger.commit(claims(vec![again(run, server, seq, 2)])).await.expect("claimed");
        }
        assert_eq!(stored(), ["{\"name\":\"Ann\"}"]);
        ledger.commit(outcomes(vec![outcome(run, seq, end.clone())])).await.expect("an outcome");
        assert_eq!(stored(), ["-"], "{end:?}, {tried_again}");
    }
}

#[tokio::test]
async fn generations_outlive_deletion() {
    let folder = Folder::new();
    let object = |name: &str, spec_hash| SpecHash { kind: "Plan".to_owned(), key: crate::resources::Key::new("shop", name), spec_hash };
    let of = |(number, created_at_ms)| Generation { number, created_at_ms };
    let steps = [
        (vec![object("a", u64::MAX), object("b", 1)], 10, vec![(1, 10), (1, 10)]),
        (vec![object("a", u64::MAX), object("b", 2)], 20, vec![(1, 10), (2, 10)]),
        (vec![object("b", 2)], 30, vec![(2, 10)]),
        (vec![object("c", 5), object("a", u64::MAX)], 40, vec![(1, 40), (1, 10)]),
        (vec![object("a", 7)], 50, vec![(2, 10)]),
        (vec![object("a", u64::MAX)], 60, vec![(3, 10)]),
    ];
    for (step, (objects, now, expected)) in steps.into_iter().enumerate() {
        // Opened again each time: nothing is kept in memory only.
        let ledger = folder.open();
        let expected = expected.into_iter().map(of).collect::<Vec<_>>();
        assert_eq!(ledger.record_generations(objects, now).await, Ok(expected), "step {step}");
    }
}

#[tokio::test]
async fn usage_is_kept_by_minute_and_later_by_hour() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let server = ledger.server_id("shop/one").await.expect("a server");
    let keys: Arc<[Arc<str>]> = Arc::from([Arc::from("server/shop/one"), Arc::from("plan shop/pro for shop")]);
    let send = |minute: i64, messages: usize| {
        let claims = (0..messages).map(|_| Claim { usage_keys: Arc::clone(&keys), ..claim(run, server, "a@x.org") }).collect();
        ledger.commit(Commit { claims, now_ms: minute * 60_000 + 1, ..Commit::default() })
    };
    let day = 24 * 60;
    for (minute, messages) in [(100, 2), (100, 1), (101, 4), (119, 1), (day, 8)] {
        send(minute, messages).await.expect("claims");
    }
    let of_server = || {
        let ledger = ledger.clone();
        async move {
            let usage = ledger.usage_since(0).await.expect("usage");
            usage.into_iter().filter(|used| used.key == "server/shop/one").map(|used| (used.minute, used.messages)).collect::<Vec<_>>()
        }
    };
    assert_eq!(of_server().await, [(100, 3), (101, 4), (119, 1), (day, 8)]);
    assert_eq!(ledger.usage_since(102).await.expect("usage").len(), 4);
    send(3 * day, 1).await.expect("claims");
    assert_eq!(of_server().await, [(119, 8), (day, 8), (3 * day, 1)], "what left the two days stands at the end of its hour");
    send(33 * day, 1).await.expect("claims");
    assert_eq!(
        of_server().await,
        [(day - 1, 8), (day + 59, 8), (3 * day + 59, 1), (33 * day, 1)],
        "what left the longest window is one row for each day"
    );
    let all = ledger.usage_since(0).await.expect("usage");
    assert!(all.iter().filter(|used| used.key != "server/shop/one").all(|used| used.minute >= day), "only servers have days: {all:?}");
    let days: Vec<_> = ledger.days().await.expect("days").into_iter().map(|of| (of.day, of.messages)).collect();
    assert_eq!(days, [(0, 8), (1, 8), (3, 1), (33, 1)]);
    send(6 * 366 * day, 1).await.expect("claims");
    assert_eq!(of_server().await, [(6 * 366 * day, 1)], "after five years they are gone");
}

#[tokio::test]
async fn usage_follows_what_was_written_and_what_a_kill_left() {
    let folder = Folder::new();
    let (server, plan): (Arc<str>, Arc<str>) = ("shop/one".into(), "plan/shop/pro/shop".into());
    let keys: Arc<[Arc<str>]> = Arc::from([server.clone(), plan.clone()]);
    let minute = 60_000;
    {
        let ledger = folder.open();
        let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
        let id = ledger.server_id(&server).await.expect("a server");
        let claims = ["a@x.org", "b@x.org", "c@x.org"].map(|who| Claim { usage_keys: Arc::clone(&keys), ..claim(run, id, who) });
        ledger.commit(Commit { claims: claims.to_vec(), now_ms: 100 * minute, ..Commit::default() }).await.expect("claims");
        // One was written two minutes later, one was not written at all, and one is left without an outcome.
        let usage_moves = [Some(102), None].map(|to_minute| UsageMove { usage_keys: Arc::clone(&keys), from_minute: 100, to_minute });
        let commit = Commit { usage_moves: usage_moves.to_vec(), now_ms: 102 * minute, ..Commit::default() };
        ledger.commit(commit).await.expect("moved");
        let of = |key: &Arc<str>| Usage { key: key.to_string(), minute: 100, messages: 1 };
        let usage = ledger.usage_since(0).await.expect("usage");
        assert_eq!(usage.iter().filter(|used| used.minute == 100).cloned().collect::<Vec<_>>(), [of(&plan), of(&server)]);
        assert_eq!(usage.iter().filter(|used| used.minute == 102).count(), 2);
    }
    for now in [105, 107] {
        // Those without an outcome were claimed in minute 100 and may have been written until now; they are counted so once.
        let ledger = folder.open();
        ledger.begin_run(&key(), RunStart { limits: vec![plan.clone()], ..RunStart::default() }, now * minute).await.expect("it goes on");
        let usage: Vec<_> =
            ledger.usage_since(0).await.expect("usage").into_iter().filter(|used| used.key == *server && used.messages > 0).collect();
        let sum: u64 = usage.iter().map(|used| used.messages).sum();
        assert_eq!(
            (sum, usage.iter().any(|used| used.minute == 105), usage.iter().any(|used| used.minute == 107)),
            (4, true, false),
            "{usage:?}"
        );
    }
}

#[tokio::test]
async fn a_run_is_closed_once_and_only_when_all_have_an_end() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = claim_all(&ledger, run, &["a@x.org"]).await;
    assert_eq!(kind(ledger.close_run(run, 0, 5).await), Some(LedgerErrorKind::Conflict));
    ledger.commit(outcomes(vec![outcome(run, seqs[0], Disposition::Accepted)])).await.expect("an outcome");
    ledger.audience_read(run, AudienceRead { total: 1, duplicates: 2, excluded: 4, bad_rows: 3 }, vec![], 4).await.expect("noted");
    ledger.close_run(run, 0, 5).await.expect("closed");
    ledger.close_run(run, 0, 6).await.expect("closed already");
    drop(ledger);
    let record = begin(&folder.open(), WhenOutcomeIsUnknown::Skip).await;
    let expected = RunRecord {
        id: run,
        key: key(),
        started_at_ms: 1_000,
        audience_read_at_ms: Some(4),
        total: Some(1),
        duplicates: 2,
        excluded: 4,
        bad_rows: 3,
        closed_at_ms: Some(5),
        is_reopened: false,
        resume_handled: crate::resources::resume::Handled::default(),
        reopen: 0,
        feedback: crate::feedback::FeedbackCounts::default(),
        judged_from: crate::feedback::Judged::default(),
        has_sent: true,
        rollout: None,
        left_without_outcome: 0,
    };
    assert_eq!(record, expected);
}

#[tokio::test]
async fn long_texts_are_cut_and_bad_rows_bounded() {
    let folder = Folder::new();
    let ledger = folder.open();
    let run = begin(&ledger, WhenOutcomeIsUnknown::Skip).await.id;
    let seqs = claim_all(&ledger, run, &["a@x.org"]).await;
    let reply = Some("ä".repeat(300));
    ledger.commit(outcomes(vec![OutcomeRecord { reply, ..outcome(run, seqs[0], Disposition::Rejected) }])).await.expect("an outcome");
    assert_eq!(folder.ask("SELECT length(reply) FROM messages"), ["250"]);
    let rows: Vec<_> = (1..=1_500).map(|line| BadRow { line, what: "no address".to_owned() }).collect();
    ledger.record_bad_rows(run, rows.clone()).await.expect("kept");
    assert_eq!(folder.ask("SELECT count(*), min(line), max(line) FROM bad_rows"), ["1000 1 1000"]);
    // Read again, with all but two of them fixed.
    ledger.record_bad_rows(run, rows[7..9].to_vec()).await.expect("kept");
    assert_eq!(folder.ask("SELECT count(*), min(line), max(line) FROM bad_rows"), ["2 8 9"]);
}

#[test]
fn the_index_grows_and_stays_right() {
    let folder = Folder::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let ledger = folder.open();
    let run = runtime.block_on(begin(&ledger, WhenOutcomeIsUnknown::Skip)).id;
    let names: Vec<_> = (0..9_000).map(|n| format!("person{n}@example.org")).collect();
    let claimed: Vec<_> = names.iter().take(3_000).map(String::as_str).collect();
    runtime.block_on(claim_all(&ledger, run, &claimed));
    let mut index = ledger.recipient_index(run).expect("an index");
    let look = |index: &mut RecipientIndex, n: usize| index.look_up(&names[n]).expect("a look");
    for n in 0..9_000 {
        assert_eq!(look(&mut index, n), if n < 3_000 { Lookup::Claimed } else { Lookup::New }, "{n}");
        // Earlier ones are still known, whatever table they are in.
        assert_eq!(look(&mut index, n / 2), Lookup::Duplicate, "{n}");
    }
    let names: Vec<_> = fs::read_dir(&folder.0).expect("a folder").map(|e| e.expect("an entry").file_name()).collect();
    assert!(names.iter().all(|name| !name.to_string_lossy().starts_with("seen")), "{names:?}");
}
