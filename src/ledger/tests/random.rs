//! Random lives of messages against a simple model: the ledger's rows, counts and sightings agree with it at every restart.

use std::collections::BTreeMap;

use super::*;

/// xorshift64*: good enough for choices, and the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Modelled {
    fate: Fate,
    attempt: u32,
    resent: u32,
    fields: bool,
}

#[tokio::test]
async fn rows_counts_and_sightings_agree_with_a_model() {
    for seed in 1..=6_u64 {
        let policy = if seed % 2 == 0 { WhenOutcomeIsUnknown::Resend } else { WhenOutcomeIsUnknown::Skip };
        live(seed, policy).await;
    }
}

async fn live(seed: u64, policy: WhenOutcomeIsUnknown) {
    let mut dice = Dice(seed);
    let folder = Folder::new();
    let mut model: BTreeMap<String, (u64, Modelled)> = BTreeMap::new();
    for epoch in 0..5 {
        let ledger = folder.open();
        let run = begin(&ledger, policy).await.id;
        let servers = [ledger.server_id("shop/one").await.expect("a server"), ledger.server_id("shop/two").await.expect("a server")];
        let mut resend = Vec::new();
        for (seq, message) in model.values_mut().filter(|m| m.1.fate == Fate::Claimed) {
            match policy {
                WhenOutcomeIsUnknown::Skip => *message = Modelled { fate: Fate::Unknown, fields: false, ..message.clone() },
                WhenOutcomeIsUnknown::Resend if message.fields => {
                    *message = Modelled { fate: Fate::Deferred, resent: message.resent + 1, ..message.clone() };
                }
                WhenOutcomeIsUnknown::Resend => resend.push(*seq),
            }
        }
        let mut index = ledger.recipient_index(run).expect("an index");
        // The receipts alone are enough to know the counts of a run.
        let mut kept = ledger.counts(run).await.expect("counts").fates;
        for _ in 0..40 {
            let mut commit = Commit { now_ms: 1_000, ..Commit::default() };
            let mut claimed = Vec::new();
            let open: Vec<_> = model.iter().map(|(name, (seq, message))| (name.clone(), *seq, message.clone())).collect();
            for (name, seq, message) in open {
                let server = servers[usize::try_from(dice.roll(2)).expect("small")];
                let entry = &mut model.get_mut(&name).expect("it is there").1;
                match message.fate {
                    Fate::Claimed if !resend.contains(&seq) && dice.roll(3) == 0 => {
                        let fields = "{}".to_owned();
                        let (end, next) = match dice.roll(8) {
                            5 => (
                                Disposition::Held { fields, refusals: "[]".to_owned() },
                                Modelled { fate: Fate::Held, fields: true, attempt: message.attempt - 1, ..message },
                            ),
                            0 => (Disposition::Rejected, Modelled { fate: Fate::Rejected, fields: false, ..message }),
                            1 => (Disposition::Deferred { at_ms: 1, fields }, Modelled { fate: Fate::Deferred, fields: true, ..message }),
                            2 => (
                                Disposition::Returned { at_ms: 0, fields, refusals: None },
                                Modelled { fate: Fate::Deferred, fields: true, attempt: message.attempt - 1, ..message },
                            ),
                            3 => (
                                Disposition::Resend { at_ms: 1, fields },
                                Modelled { fate: Fate::Deferred, fields: true, resent: message.resent + 1, ..message },
                            ),
                            4 => (Disposition::Unknown, Modelled { fate: Fate::Unknown, fields: false, ..message }),
                            _ => (Disposition::Accepted, Modelled { fate: Fate::Accepted, fields: false, ..message }),
                        };
                        commit.outcomes.push(OutcomeRecord { server: (dice.roll(2) == 0).then_some(server), ..outcome(run, seq, end) });
                        *entry = next;
                    }
                    Fate::Claimed if resend.contains(&seq) && dice.roll(4) == 0 => {
                        assert_eq!(index.look_up(&name), Ok(Lookup::Resend { seq, attempt: message.attempt }), "seed {seed} epoch {epoch}");
                        commit.claims.push(again(run, server, seq, message.attempt));
                        claimed.push(name);
                        *entry = Modelled { resent: message.resent + 1, ..message };
                        resend.retain(|other| *other != seq);
                    }
                    Fate::Held if dice.roll(3) == 0 => {
                        let (end, next) = match dice.roll(2) {
                            0 => (Disposition::Released, Modelled { fate: Fate::Deferred, ..message }),
                            // Its last attempt counts after all.
                            _ => (
                                Disposition::Rejected,
                                Modelled { fate: Fate::Rejected, fields: false, attempt: message.attempt + 1, ..message },
                            ),
                        };
                        commit.outcomes.push(outcome(run, seq, end));
                        *entry = next;
                    }
                    Fate::Deferred if dice.roll(9) == 0 => {
                        commit.outcomes.push(outcome(run, seq, Disposition::Withdrawn));
                        *entry = Modelled { fate: Fate::Withdrawn, fields: false, ..message };
                    }
                    Fate::Deferred if dice.roll(4) == 0 => {
                        commit.claims.push(again(run, server, seq, message.attempt + 1));
                        claimed.push(name);
                        *entry = Modelled { fate: Fate::Claimed, attempt: message.attempt + 1, ..message };
                    }
                    _ => {}
                }
            }
            for _ in 0..dice.roll(6) {
                let name = format!("p{}@x.org", dice.roll(300));
                let resent_soon = model.get(&name).is_some_and(|m| resend.contains(&m.0));
                if resent_soon {
                    continue;
                }
                let sighting = index.look_up(&name).expect("a look");
                assert_eq!(sighting == Lookup::New, !model.contains_key(&name), "seed {seed} epoch {epoch}: {name} {sighting:?}");
                if sighting == Lookup::New {
                    commit.claims.push(claim(run, servers[0], &name));
                    model.insert(name.clone(), (0, Modelled { fate: Fate::Claimed, attempt: 1, resent: 0, fields: false }));
                    claimed.push(name);
                }
            }
            let receipt = ledger.commit(commit).await.expect("a commit");
            for change in &receipt.changes.counts {
                kept.change(change.fate, change.by);
            }
            for (name, seq) in claimed.iter().zip(numbers(receipt)) {
                model.get_mut(name).expect("it is there").0 = seq;
            }
        }
        assert_eq!(kept, ledger.counts(run).await.expect("counts").fates, "seed {seed} epoch {epoch}");
        compare(&folder, &ledger, run, &model, seed).await;
    }
}

async fn compare(folder: &Folder, ledger: &Ledger, run: RunId, model: &BTreeMap<String, (u64, Modelled)>, seed: u64) {
    let mut rows = folder.ask("SELECT recipient, state, attempt, resent FROM recipients");
    rows.sort();
    let mut expected: Vec<_> = model.iter().map(|(name, (_, m))| format!("{name} {} {} {}", m.fate, m.attempt, m.resent)).collect();
    expected.sort();
    assert_eq!(rows, expected, "seed {seed}");
    let by_scan = folder.ask(
        "SELECT state, CASE WHEN state IN (0, 2, 7) THEN 0 ELSE coalesce(server_id, 0) END AS server, count(*) FROM messages GROUP BY 1, 2 ORDER BY 1, 2",
    );
    assert_eq!(folder.ask("SELECT state, server_id, count FROM counts WHERE count <> 0 ORDER BY 1, 2"), by_scan, "seed {seed}");
    let counts = ledger.counts(run).await.expect("counts");
    assert_eq!(counts.fates.ended() + counts.fates.open(), model.len() as u64, "seed {seed}");
    assert_eq!(counts.resent, model.values().map(|m| u64::from(m.1.resent)).sum::<u64>(), "seed {seed}");
    assert_eq!(folder.ask("SELECT count(*) FROM messages WHERE fields IS NOT NULL AND state NOT IN (0, 2, 7)"), ["0"], "seed {seed}");
}
