//! Every way through a call, cut off after every step: each message has one outcome, and one that fits what was sent of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    task::{Context, Waker},
};

use super::*;

const MESSAGES: u64 = 3;

fn message(token: u64) -> Outgoing {
    Outgoing {
        token,
        mail_from: Arc::from("news@example.com"),
        rcpt_to: Arc::from("ann@example.com"),
        content: b"x\r\n"[..].into(),
        needs_8bit: false,
        needs_smtputf8: false,
        run: Arc::default(),
        signature: None,
        reference: None,
    }
}

fn accepted() -> Outcome {
    Outcome::Accepted { reply: "250 ok".to_owned() }
}

fn failure() -> Blocker {
    Blocker::passing(Reason::ConnectionLost, "The line broke.")
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Begin,
    BeginSecond,
    Send,
    Settle,
    Refuse,
    Decide,
    WaitAgain,
    PutBack,
    FailWaiting,
    BreakOff,
    Retry,
    More,
}

const STEPS: [Step; 12] = [
    Step::Begin,
    Step::BeginSecond,
    Step::Send,
    Step::Settle,
    Step::Refuse,
    Step::Decide,
    Step::WaitAgain,
    Step::PutBack,
    Step::FailWaiting,
    Step::BreakOff,
    Step::Retry,
    Step::More,
];

/// Does one step; `sent` holds the messages of which all may have reached the server.
fn take(owed: &mut Owed<u64>, step: Step, next: u64, more: &mpsc::UnboundedSender<Outgoing>, sent: &mut BTreeSet<u64>) {
    let mut begin = |owed: &mut Owed<u64>, at: usize| {
        let token = owed.waiting(at).map(|message| message.token);
        if let Some(begun) = owed.begin(at, 7) {
            assert_eq!((Some(begun.message().token), begun.note), (token, 7));
            sent.remove(&begun.message().token);
        }
    };
    match step {
        Step::Begin => begin(owed, 0),
        Step::BeginSecond => begin(owed, 1),
        Step::Send => owed.begun_mut().for_each(|begun| {
            begun.is_sent = true;
            sent.insert(begun.message().token);
        }),
        Step::Settle => owed.settle(accepted(), Some(Duration::from_millis(1))),
        Step::Refuse => owed.refuse(0, Outcome::rejected("553 not sent")),
        Step::Decide => owed.first_mut().into_iter().for_each(|begun| begun.decided = Some(Outcome::rejected("550 no"))),
        Step::WaitAgain => owed.first_mut().into_iter().for_each(|begun| begun.waits_again = true),
        Step::PutBack => owed.put_back(),
        Step::FailWaiting => owed.fail_waiting(&failure()),
        Step::BreakOff => owed.break_off(&failure(), false),
        Step::Retry => owed.break_off(&failure(), true),
        Step::More => {
            more.send(message(next)).expect("taken over while the call lasts");
            owed.take_more(&mut Context::from_waker(Waker::noop()));
        }
    }
}

#[test]
fn each_message_has_one_outcome_wherever_the_call_is_cut_off() {
    let length = 4_u32;
    for number in 0..STEPS.len().pow(length) {
        let steps: Vec<Step> = (0..length).map(|place| STEPS[number / STEPS.len().pow(place) % STEPS.len()]).collect();
        let (sender, mut outcomes) = mpsc::unbounded_channel();
        let (more, coming) = mpsc::unbounded_channel();
        let mut owed = Owed::new((0..MESSAGES).map(message).collect(), &Endpoint::named("mail"), sender).with_more(coming);
        let mut sent = BTreeSet::new();
        for (step, next) in steps.iter().zip(MESSAGES..) {
            take(&mut owed, *step, next, &more, &mut sent);
        }
        let came = steps.iter().zip(MESSAGES..).filter(|(step, _)| matches!(step, Step::More)).map(|(_, token)| token);
        // The last one came, and nobody has taken it over yet.
        let expected: BTreeSet<u64> = (0..MESSAGES).chain(came).chain([1000]).collect();
        more.send(message(1000)).expect("the call lasts");
        drop(owed);
        assert!(more.send(message(1001)).is_err(), "{steps:?}: what comes too late goes back");
        let mut given = BTreeMap::new();
        while let Ok(delivered) = outcomes.try_recv() {
            let token = delivered.message.token;
            let fits = match &delivered.outcome {
                Outcome::Unknown(_) => sent.contains(&token),
                // Whoever was begun and sent is never taken for unsent.
                Outcome::ServerFailed(_) => {
                    !sent.contains(&token) || steps.iter().any(|step| matches!(step, Step::PutBack | Step::WaitAgain))
                }
                Outcome::Accepted { .. } | Outcome::Refused(_) => true,
            };
            assert!(fits, "{steps:?}: {token}: {:?}", delivered.outcome);
            assert!(given.insert(token, delivered.outcome).is_none(), "{steps:?}: {token} has two outcomes");
        }
        assert_eq!(given.into_keys().collect::<BTreeSet<_>>(), expected, "{steps:?}");
    }
}

#[test]
fn what_was_sent_is_unknown_and_the_rest_may_move() {
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    let mut owed = Owed::new((0..3).map(message).collect(), &Endpoint::named("mail.example.com:587"), sender);
    owed.begin(0, ()).expect("waits").is_sent = true;
    owed.begin(0, ()).expect("waits");
    drop(owed);
    let said = "Sending failed: the delivery was interrupted (mail.example.com:587). Messages that were not sent are retried.";
    let failure = || Blocker::passing(Reason::Unresponsive, said);
    let given: Vec<Outcome> = std::iter::from_fn(|| outcomes.try_recv().ok()).map(|delivered| delivered.outcome).collect();
    assert_eq!(given, [Outcome::Unknown(failure()), Outcome::ServerFailed(failure()), Outcome::ServerFailed(failure())]);
}
