//! What must hold whatever a vendor answers, judged from the requests that it got: no message is requested twice unless the first
//! request was certainly not accepted, and no outcome claims more than the responses did.

use mailfleet::providers::{Outcome, Scope};

use super::wire::{Answer, Asked, Holds, How, Told, name_of};

/// Whether the response to a request means that nothing of it was accepted.
fn is_refusal(kind: &str, asked: &Asked) -> bool {
    let answer @ Answer { status, holds, how } = asked.answer;
    if answer.is_lost() || holds == Holds::Duplicate {
        return false;
    }
    match status {
        408 | 409 | 499 => false,
        400..=499 => true,
        // The vendor's own error; any other may come from a gateway that has passed the request on.
        500 | 501 | 503 => holds == Holds::OwnError && how != How::GzipCut,
        // Postmark also refuses a single message with a success status, in its own form and with its own code.
        200..=299 => kind == "postmark" && holds == Holds::OwnError && how != How::GzipCut && answer.has_body() && asked.people.len() == 1,
        _ => false,
    }
}

/// Whether a response is the vendor's acceptance of its messages.
pub fn is_acceptance(kind: &str, answer: Answer) -> bool {
    let Answer { status, holds, how } = answer;
    if answer.is_lost() || !(200..300).contains(&status) {
        return false;
    }
    if !answer.has_body() {
        // Only SendGrid has the message IDs in a header.
        return kind == "sendgrid" && matches!(holds, Holds::Taken | Holds::NamedPage);
    }
    match holds {
        _ if how == How::GzipCut => false,
        Holds::Taken => true,
        // For acceptance it documents this status alone.
        Holds::Nothing | Holds::Misnamed(_) => kind == "sendgrid" && status == 202,
        _ => false,
    }
}

/// What is wrong with a delivery.
pub fn faults(kind: &str, told: &Told) -> Vec<String> {
    let mut faults = keys(&told.asked);
    for (person, outcome) in &told.outcomes {
        let asked: Vec<&Asked> = told.asked.iter().filter(|asked| asked.people.contains(person)).collect();
        faults.extend(of_person(kind, *person, &asked, outcome).map(|fault| format!("p{person}: {fault}: {outcome:?}")));
    }
    faults
}

/// A repeated request has the same key, and no other request has it.
fn keys(asked: &[Asked]) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, one) in asked.iter().enumerate() {
        for before in asked[..number].iter().filter(|before| before.key.is_some()) {
            if one.key == before.key && one.body != before.body {
                faults.push(format!("two requests have the key {:?}", one.key));
            }
        }
    }
    faults
}

fn of_person(kind: &str, person: u64, asked: &[&Asked], outcome: &Outcome) -> Option<&'static str> {
    for (number, one) in asked.iter().enumerate() {
        let is_same = |before: &&&Asked| before.key.is_some() && before.key == one.key;
        let mut others = asked[..number].iter().filter(|before| !is_same(before));
        if !others.all(|before| is_refusal(kind, before)) {
            return Some("it is requested twice, and the first request may have been accepted");
        }
        if asked[..number].iter().filter(is_same).any(|before| !before.answer.is_lost()) {
            return Some("an answered request is repeated under its key");
        }
    }
    let last = asked.last().map(|asked| asked.answer);
    let all_refused = asked.iter().all(|asked| is_refusal(kind, asked));
    match outcome {
        Outcome::Accepted { .. } if !last.is_some_and(|last| is_acceptance(kind, last)) => Some("accepted without the vendor's acceptance"),
        Outcome::Accepted { reply } if name_of(kind, person).is_some_and(|name| !reply.contains(&name)) => {
            Some("the reply for the ledger lacks the vendor's ID")
        }
        Outcome::Refused(refusal)
            if refusal.scope == Scope::Recipient
                && !asked.last().is_some_and(|last| last.answer.holds == Holds::OwnError && last.people == [person]) =>
        {
            Some("the recipient is rejected without a refusal of it alone")
        }
        Outcome::Refused(_) | Outcome::ServerFailed(_) if !all_refused => Some("it may have been accepted, and counts as not accepted"),
        Outcome::Unknown(_) if all_refused => Some("it was refused, and counts as unknown"),
        Outcome::Unknown(_) if last.is_some_and(|last| is_acceptance(kind, last)) => Some("the vendor's acceptance is ignored"),
        _ => None,
    }
}

/// How many requests a message takes that gets these responses, exactly: a refused token is
/// replaced once, and a request is repeated after a lost response where the vendor knows the key.
pub fn times_asked(kind: &str, first: Answer) -> usize {
    match kind {
        "gmail" if first.status == 401 && !first.is_lost() => 2,
        "brevo" | "plugin" if first.is_lost() => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mailfleet::{
        providers::{Blocker, Refusal},
        resources::Reason,
    };

    use super::*;

    fn asked(key: Option<&str>, people: &[u64], answer: Answer) -> Asked {
        Asked { people: people.to_vec(), key: key.map(str::to_owned), body: format!("{key:?}").into_bytes(), answer }
    }

    #[test]
    fn the_judge_can_say_no() {
        let taken = Answer::new(200, Holds::Taken, How::Whole);
        let lost = Answer::new(200, Holds::Taken, How::Closed);
        let page = Answer::new(503, Holds::Page, How::Whole);
        let refused = Answer::new(400, Holds::Page, How::Whole);
        let accepted = || Outcome::Accepted { reply: "200 0a129aee-1".to_owned() };
        let failed = || Outcome::ServerFailed(Blocker::passing(Reason::SendFailed, "no"));
        let unknown = || Outcome::Unknown(Blocker::passing(Reason::SendFailed, "no"));
        let rejected = || Outcome::from(Refusal::permanent(Scope::Recipient, "400"));
        let verdict = |kind: &str, asked: Vec<Asked>, outcome: Outcome| {
            faults(kind, &Told { asked, outcomes: BTreeMap::from([(1, outcome)]) }).first().map(ToString::to_string).unwrap_or_default()
        };
        let one = |answer: Answer| vec![asked(None, &[1], answer)];
        let two = |first: Answer, keys: [&str; 2]| vec![asked(Some(keys[0]), &[1], first), asked(Some(keys[1]), &[1], taken)];
        for (kind, asked, outcome, wanted) in [
            ("postmark", one(taken), accepted(), ""),
            ("postmark", one(taken), Outcome::Accepted { reply: "200 OK".to_owned() }, "vendor's ID"),
            ("postmark", one(taken), unknown(), "acceptance is ignored"),
            ("ses", one(page), accepted(), "without the vendor's acceptance"),
            ("ses", one(lost), accepted(), "without the vendor's acceptance"),
            ("ses", one(page), failed(), "counts as not accepted"),
            ("ses", one(lost), failed(), "counts as not accepted"),
            ("ses", one(refused), unknown(), "counts as unknown"),
            ("ses", one(refused), rejected(), "rejected without"),
            ("ses", one(refused), failed(), ""),
            ("ses", vec![], failed(), ""),
            ("postmark", two(lost, ["a", "b"]), accepted(), "requested twice"),
            ("postmark", two(lost, ["a", "a"]), accepted(), ""),
            ("postmark", two(refused, ["a", "b"]), accepted(), ""),
            ("postmark", two(refused, ["a", "a"]), accepted(), "under its key"),
        ] {
            let said = verdict(kind, asked, outcome.clone());
            assert!(
                if wanted.is_empty() { said.is_empty() } else { said.contains(wanted) },
                "{kind} {outcome:?}: `{said}`, not `{wanted}`"
            );
        }
    }
}
