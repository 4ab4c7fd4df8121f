//! Several messages in one call, for the vendors that allow it: every status with every kind of body, a refused call whose messages
//! are sent one by one, and responses that name too few, too many or other messages.

use super::{
    judge,
    matrix::{Case, STATUSES, play},
    wire::{Answer, Holds, How, Ids, Own, Stage},
};
use mailfleet::providers::{Blocker, Outcome};

const KINDS: [&str; 4] = ["sendgrid", "postmark", "brevo", "plugin"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_to_a_batch_is_judged_safely() {
    let mut cases = Vec::new();
    for kind in KINDS {
        let mut add = |answer: Answer| cases.push(Case { kind, people: 3, script: vec![answer], asked: None });
        for status in STATUSES {
            for holds in [Holds::Taken, Holds::OwnError, Holds::Page, Holds::NamedPage, Holds::Nothing, Holds::JsonList, Holds::JsonObject]
            {
                add(Answer::new(status, holds, How::Whole));
            }
            for how in [How::Gzip, How::GzipUnsaid, How::GzipCut, How::CutInBody, How::CutInHead, How::Closed] {
                add(Answer::new(status, Holds::Taken, how));
                add(Answer::new(status, Holds::Page, how));
            }
        }
        add(Answer::new(200, Holds::Taken, How::Late));
    }
    play(cases).await;
}

/// Requests for three people, one by one, until a response after which the next would fail too.
fn asked_singly(kind: &str, answers: &[Answer]) -> usize {
    let mut count = 0;
    let mut next = || {
        count += 1;
        answers[(count - 1).min(answers.len() - 1)]
    };
    for _ in 0..3 {
        let first = next();
        // What follows a lost response belongs to the same request.
        let is_again = judge::times_asked(kind, first) == 2;
        let last = if is_again { next() } else { first };
        let is_refused = !is_again && matches!(last.status, 400 | 413) && !last.is_lost();
        if !is_refused && !judge::is_acceptance(kind, last) {
            break;
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_too_large_is_asked_for_one_by_one() {
    // The response to each alone.
    let answers = [
        Answer::new(200, Holds::Taken, How::Whole),
        Answer::new(202, Holds::Taken, How::Gzip),
        Answer::new(200, Holds::Page, How::Whole),
        Answer::new(302, Holds::Page, How::Whole),
        Answer::new(400, Holds::OwnError, How::Whole),
        Answer::new(401, Holds::Page, How::Whole),
        Answer::new(409, Holds::OwnError, How::Whole),
        Answer::new(413, Holds::Page, How::Whole),
        Answer::new(429, Holds::Page, How::Whole),
        Answer::new(500, Holds::OwnError, How::Whole),
        Answer::new(503, Holds::Page, How::Whole),
        Answer::new(200, Holds::Taken, How::CutInBody),
        Answer::new(200, Holds::Taken, How::Closed),
    ];
    let late = Answer::new(200, Holds::Taken, How::Late);
    let taken = Answer::new(200, Holds::Taken, How::Whole);
    let mut cases = Vec::new();
    for kind in KINDS {
        for too_large in [Answer::new(413, Holds::Page, How::Whole), Answer::new(413, Holds::Nothing, How::CutInBody)] {
            let mut add = |singly: &[Answer]| {
                let asked = Some(1 + asked_singly(kind, singly));
                cases.push(Case { kind, people: 3, script: [&[too_large], singly].concat(), asked });
            };
            answers.iter().for_each(|first| answers.iter().for_each(|second| add(&[*first, *second, taken])));
            [[late, taken, taken], [taken, late, taken], [taken, taken, late]].iter().for_each(|singly| add(singly));
        }
    }
    play(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_whose_answer_was_lost_is_no_other_batch() {
    let mut cases = Vec::new();
    for kind in KINDS {
        for first in [How::Closed, How::CutInHead, How::CutInBody] {
            for status in [200, 201, 202, 302, 400, 401, 403, 408, 409, 413, 422, 429, 500, 502, 503] {
                for holds in [Holds::Taken, Holds::OwnError, Holds::Page, Holds::Duplicate] {
                    let script = vec![Answer::new(200, Holds::Taken, first), Answer::new(status, holds, How::Whole)];
                    // Whatever the second response is, there are no single requests.
                    let asked = Some(if matches!(kind, "brevo" | "plugin") { 2 } else { 1 });
                    cases.push(Case { kind, people: 3, script, asked });
                }
            }
        }
    }
    play(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_does_not_name_each_message_once_leaves_them_unknown() {
    let faults =
        [Ids::Missing, Ids::Empty, Ids::Blank, Ids::Null, Ids::Number, Ids::Foreign, Ids::Repeated, Ids::TooFew, Ids::TooMany, Ids::None];
    let stage = Stage::open().await;
    for kind in KINDS {
        // With Brevo and SendGrid nobody can recognise a foreign ID; SendGrid's 202 alone is its acceptance.
        let tellable = faults.iter().filter(|ids| match kind {
            "sendgrid" => matches!(ids, Ids::Missing | Ids::Blank),
            "brevo" => **ids != Ids::Foreign,
            _ => true,
        });
        for ids in tellable {
            let told = stage.deliver(kind, 3, &[Answer::new(200, Holds::Misnamed(*ids), How::Whole)]).await;
            assert_eq!(told.asked.len(), 1, "{kind}: {ids:?}");
            assert!(told.outcomes.values().all(|outcome| matches!(outcome, Outcome::Unknown(_))), "{kind}: {ids:?}: {:?}", told.outcomes);
        }
    }
}

/// The name of an outcome and the reason of its failure, as in the tables.
fn names(outcome: &Outcome) -> (&'static str, Option<&'static str>) {
    let reason = |failure: &Blocker| Some(failure.reason.as_str());
    match outcome {
        Outcome::Accepted { .. } => ("Accepted", None),
        Outcome::Refused(refusal) => (refusal.name(), refusal.cause.as_ref().and_then(reason)),
        Outcome::ServerFailed(failure) => ("ServerFailed", reason(failure)),
        Outcome::Unknown(failure) => ("Unknown", reason(failure)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_of_the_set_up_ends_nobody_of_a_batch() {
    let (stage, mut wrong, mut count) = (Stage::open().await, Vec::new(), 0);
    for kind in KINDS {
        for (number, row) in Own::of_kind(kind).lines.iter().enumerate() {
            let Some(status) = row.status.filter(|status| *status >= 300) else { continue };
            if row.outcome.starts_with("Recipient") {
                continue;
            }
            let for_each = (kind == "postmark" && status < 500 && row.body.is_object())
                .then(|| Answer::new(200, Holds::LineForEach(number), How::Whole));
            for answer in [Answer::new(status, Holds::Line(number), How::Whole)].into_iter().chain(for_each) {
                count += 1;
                let told = stage.deliver(kind, 3, &[answer]).await;
                // Message and content differ for each recipient: each is sent alone.
                let is_own = ["Message", "Content", "Unclear"].iter().any(|scope| row.outcome.starts_with(scope));
                let asked = if is_own && answer.status >= 300 { 4 } else { 1 };
                let found: Vec<_> = told.outcomes.values().map(names).collect();
                if told.asked.len() != asked || found.iter().any(|found| *found != (row.outcome.as_str(), row.reason.as_deref())) {
                    wrong.push(format!("{kind}, {}, {answer:?}: asked {} times, {found:?}", row.when, told.asked.len()));
                }
            }
        }
    }
    assert!(count > 50, "only {count} answers were tried");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
