//! What must hold whatever a vendor answers, told from what the vendor was asked for: nobody is asked for twice unless the first
//! request was certainly not taken, and no outcome says more than the answers did.

use mailfleet::providers::{Outcome, Scope};

use super::wire::{Answer, Asked, Holds, How, Told, name_of};

/// Whether the answer to a request says that nothing of it was taken.
fn is_refusal(kind: &str, asked: &Asked) -> bool {
    let answer @ Answer { status, holds, how } = asked.answer;
    if answer.is_lost() || holds == Holds::Duplicate {
        return false;
    }
    match status {
        408 | 409 | 499 => false,
        400..=499 => true,
        // An error of the vendor's own; any other may be a gateway's, that has passed the request on.
        500 | 501 | 503 => holds == Holds::OwnError && how != How::GzipCut,
        // Postmark says "no" with a status of success as well, in its own form and with its own code; of one message.
        200..=299 => kind == "postmark" && holds == Holds::OwnError && how != How::GzipCut && answer.has_body() && asked.people.len() == 1,
        _ => false,
    }
}

/// Whether an answer is the vendor's word that its messages are taken.
pub fn is_acceptance(kind: &str, answer: Answer) -> bool {
    let Answer { status, holds, how } = answer;
    if answer.is_lost() || !(200..300).contains(&status) {
        return false;
    }
    if !answer.has_body() {
        // Only SendGrid names the messages in a header.
        return kind == "sendgrid" && matches!(holds, Holds::Taken | Holds::NamedPage);
    }
    match holds {
        _ if how == How::GzipCut => false,
        Holds::Taken => true,
        // What it documents of messages that it takes is this status alone.
        Holds::Nothing | Holds::Misnamed(_) => kind == "sendgrid" && status == 202,
        _ => false,
    }
}

/// What is wrong with a delivery, in words.
pub fn faults(kind: &str, told: &Told) -> Vec<String> {
    let mut faults = keys(&told.asked);
    for (person, outcome) in &told.outcomes {
        let asked: Vec<&Asked> = told.asked.iter().filter(|asked| asked.people.contains(person)).collect();
        faults.extend(of_person(kind, *person, &asked, outcome).map(|fault| format!("p{person}: {fault}: {outcome:?}")));
    }
    faults
}

/// A request that is made again has the same key, and no other has.
fn keys(asked: &[Asked]) -> Vec<String> {
    let mut faults = Vec::new();
    for (number, one) in asked.iter().enumerate() {
        for before in asked[..number].iter().filter(|before| before.key.is_some()) {
            if one.key == before.key && one.body != before.body {
                faults.push(format!("the key {:?} is that of two requests", one.key));
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
            return Some("it is asked for twice, and the first may have been taken");
        }
        if asked[..number].iter().filter(is_same).any(|before| !before.answer.is_lost()) {
            return Some("a request that was answered is made again under its key");
        }
    }
    let last = asked.last().map(|asked| asked.answer);
    let all_refused = asked.iter().all(|asked| is_refusal(kind, asked));
    match outcome {
        Outcome::Accepted { .. } if !last.is_some_and(|last| is_acceptance(kind, last)) => Some("accepted without the vendor's word"),
        Outcome::Accepted { reply } if name_of(kind, person).is_some_and(|name| !reply.contains(&name)) => {
            Some("the ledger's reply has not the vendor's name for it")
        }
        Outcome::Refused(refusal)
            if refusal.scope == Scope::Recipient
                && !asked.last().is_some_and(|last| last.answer.holds == Holds::OwnError && last.people == [person]) =>
        {
            Some("the recipient is given up without the vendor's word on it alone")
        }
        Outcome::Refused(_) | Outcome::ServerFailed(_) if !all_refused => Some("it may have been taken, and is called not taken"),
        Outcome::Unknown(_) if all_refused => Some("it was refused, and is called unknown"),
        Outcome::Unknown(_) if last.is_some_and(|last| is_acceptance(kind, last)) => Some("the vendor's word is not believed"),
        _ => None,
    }
}

/// How often a vendor is asked for one message that gets these answers, not more and not less: a token that was refused is
/// replaced once, and a lost answer is asked for again where the vendor knows the key.
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
        providers::{Failure, Refusal},
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
        let failed = || Outcome::ServerFailed(Failure::new(Reason::SendFailed, "no"));
        let unknown = || Outcome::Unknown(Failure::new(Reason::SendFailed, "no"));
        let rejected = || Outcome::from(Refusal::permanent(Scope::Recipient, "400"));
        let verdict = |kind: &str, asked: Vec<Asked>, outcome: Outcome| {
            faults(kind, &Told { asked, outcomes: BTreeMap::from([(1, outcome)]) }).first().map(ToString::to_string).unwrap_or_default()
        };
        let one = |answer: Answer| vec![asked(None, &[1], answer)];
        let two = |first: Answer, keys: [&str; 2]| vec![asked(Some(keys[0]), &[1], first), asked(Some(keys[1]), &[1], taken)];
        for (kind, asked, outcome, wanted) in [
            ("postmark", one(taken), accepted(), ""),
            ("postmark", one(taken), Outcome::Accepted { reply: "200 OK".to_owned() }, "vendor's name"),
            ("postmark", one(taken), unknown(), "not believed"),
            ("ses", one(page), accepted(), "without the vendor's word"),
            ("ses", one(lost), accepted(), "without the vendor's word"),
            ("ses", one(page), failed(), "called not taken"),
            ("ses", one(lost), failed(), "called not taken"),
            ("ses", one(refused), unknown(), "called unknown"),
            ("ses", one(refused), rejected(), "given up"),
            ("ses", one(refused), failed(), ""),
            ("ses", vec![], failed(), ""),
            ("postmark", two(lost, ["a", "b"]), accepted(), "asked for twice"),
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
