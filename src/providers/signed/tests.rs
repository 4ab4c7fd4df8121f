//! What a server is handed, and what comes back, whatever it does.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use super::*;
use crate::{
    dkim::{
        Ring,
        tests::{EDWARDS, RSA},
    },
    providers::RunLabel,
    resources::dkim::record,
};

/// A server that keeps what it is handed, and answers as it is told.
struct Keeper {
    kept: Mutex<Vec<Arc<[u8]>>>,
    calls: AtomicUsize,
    ahead: usize,
    outcome: fn() -> Outcome,
    /// It waits for so many further messages before it ends a call.
    waits_for: usize,
}

impl Keeper {
    fn new(ahead: usize, waits_for: usize, outcome: fn() -> Outcome) -> Arc<Self> {
        Arc::new(Self { kept: Mutex::default(), calls: AtomicUsize::new(0), ahead, outcome, waits_for })
    }

    fn kept(&self) -> Vec<String> {
        self.kept.lock().expect("a lock").iter().map(|content| String::from_utf8_lossy(content).into_owned()).collect()
    }

    fn settle(&self, message: Outgoing, outcomes: &mpsc::UnboundedSender<Delivered>) {
        self.kept.lock().expect("a lock").push(message.whole().into());
        let mut owed = Owed::<()>::new(vec![message], &Endpoint::named("keeper"), outcomes.clone());
        owed.begin(0, ());
        owed.settle((self.outcome)(), Some(Duration::from_millis(1)));
    }
}

impl Server for Keeper {
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>> {
        Box::pin(async { None })
    }

    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let (_, more) = mpsc::unbounded_channel();
        self.deliver_with(batch, Along { more, gate: None }, outcomes)
    }

    fn deliver_with(&self, batch: Vec<Outgoing>, mut along: Along, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            batch.into_iter().for_each(|message| self.settle(message, &outcomes));
            for _ in 0..self.waits_for {
                // As a server that waits for an answer meanwhile.
                let coming = tokio::time::timeout(Duration::from_millis(20), along.more.recv()).await;
                let Ok(Some(message)) = coming else { break };
                self.settle(message, &outcomes);
            }
            along.more.close();
            while let Some(message) = along.more.recv().await {
                self.settle(message, &outcomes);
            }
        })
    }

    fn carriage(&self) -> Carriage {
        Carriage { batch: 1, ahead: self.ahead, is_windowed: false }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

fn accepted() -> Outcome {
    Outcome::Accepted { reply: "250 ok".to_owned() }
}

fn failed() -> Outcome {
    Outcome::ServerFailed(Blocker::passing(Reason::ConnectionLost, "It broke."))
}

fn key(pem: &str, domain: &str, selector: &str) -> ServerKey {
    let private = Ring::default().get(pem.as_bytes()).expect("a key");
    ServerKey { record: record(domain, selector), signer: Arc::new(Signer::new(domain, selector, private)) }
}

fn message(token: u64, from: &str, length: usize) -> Outgoing {
    let content = format!("From: {from}\r\nTo: u{token}@example.net\r\nSubject: x\r\n\r\n{}\r\n", "y".repeat(length));
    Outgoing {
        token,
        mail_from: from.into(),
        rcpt_to: format!("u{token}@example.net").into(),
        content: content.into_bytes().into(),
        needs_8bit: false,
        needs_smtputf8: false,
        run: Arc::new(RunLabel::default()),
        signature: None,
        reference: None,
    }
}

fn signed(server: &Arc<Keeper>, keys: Vec<ServerKey>) -> Signed {
    Signed::new(server.clone(), "keeper", keys, &Fields::UNTOUCHED, Signatory::default())
}

fn drained(outcomes: &mut mpsc::UnboundedReceiver<Delivered>) -> Vec<Delivered> {
    std::iter::from_fn(|| outcomes.try_recv().ok()).collect()
}

#[tokio::test]
async fn a_message_leaves_signed_and_comes_back_as_it_came() {
    for (keys, outcome) in [
        (vec![key(RSA, "a.example", "r")], accepted as fn() -> Outcome),
        (vec![key(EDWARDS, "a.example", "e")], failed),
        (vec![key(RSA, "a.example", "r"), key(EDWARDS, "a.example", "e")], accepted),
    ] {
        let keeper = Keeper::new(0, 0, outcome);
        let server = signed(&keeper, keys.clone());
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let batch: Vec<Outgoing> =
            (0..20).map(|token| message(token, "ann@news.a.example", if token == 7 { 100_000 } else { 20 })).collect();
        let originals: Vec<Pieces> = batch.iter().map(|message| message.content.clone()).collect();
        server.deliver(batch, sender).await;
        let delivered = drained(&mut receiver);
        assert_eq!(delivered.len(), 20);
        for one in &delivered {
            let original = &originals[usize::try_from(one.message.token).expect("small")];
            assert!(one.message.content.is_same(original) && one.message.signature.is_none(), "{} came back changed", one.message.token);
            assert_eq!(one.outcome, outcome());
            assert_eq!(one.round_trip, Some(Duration::from_millis(1)), "the server's alone");
            assert!(one.signing > Duration::ZERO, "what the signature took comes back beside it");
        }
        for (kept, original) in keeper.kept().iter().zip(&originals) {
            assert_eq!(kept.matches("DKIM-Signature: v=1;").count(), keys.len());
            assert!(kept.ends_with(&*String::from_utf8_lossy(&original.whole())), "the order is kept, and the message is whole");
        }
    }
}

#[tokio::test]
async fn the_key_of_the_longest_domain_signs_and_only_what_fits() {
    let keeper = Keeper::new(0, 0, accepted);
    let keys = vec![key(EDWARDS, "a.example", "s1"), key(EDWARDS, "news.a.example", "s1"), key(EDWARDS, "news.a.example", "s2")];
    let server = signed(&keeper, keys);
    let deliver = async |from: &str| {
        let (sender, _receiver) = mpsc::unbounded_channel();
        server.deliver(vec![message(0, from, 10)], sender).await;
        let kept = keeper.kept().pop().expect("a message");
        let tags = |name: &str| kept.split(';').filter_map(|part| part.trim().strip_prefix(name)).map(str::to_owned).collect::<Vec<_>>();
        (tags("d="), tags("s="))
    };
    let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    // While nothing is chosen, all keys of the domain sign.
    assert_eq!(deliver("x@news.a.example").await, (list(&["news.a.example", "news.a.example"]), list(&["s1", "s2"])));
    server.sign_with(&list(&["s2._domainkey.news.a.example", "s1._domainkey.a.example"]));
    assert_eq!(deliver("x@deep.news.a.example").await, (list(&["news.a.example"]), list(&["s2"])));
    assert_eq!(deliver("x@other.a.example").await, (list(&["a.example"]), list(&["s1"])));
    assert_eq!(deliver("x@b.example").await, (list(&[]), list(&[])));
}

#[tokio::test]
async fn messages_that_come_while_a_call_lasts_are_signed_as_well() {
    for pem in [RSA, EDWARDS] {
        for waits_for in [0, 1, 5] {
            let keeper = Keeper::new(1, waits_for, accepted);
            let server = signed(&keeper, vec![key(pem, "a.example", "s")]);
            let (sender, mut receiver) = mpsc::unbounded_channel();
            let (more, along) = mpsc::unbounded_channel();
            let feeding = async move {
                for token in 1..=10 {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    // What cannot be put there any more comes back.
                    if let Err(mpsc::error::SendError(message)) = more.send(message(token, "x@a.example", 10)) {
                        return Some(message);
                    }
                }
                None
            };
            let call = server.deliver_with(vec![message(0, "x@a.example", 10)], Along { more: along, gate: None }, sender);
            let ((), refused) = tokio::join!(call, feeding);
            let delivered = drained(&mut receiver);
            let tokens: BTreeSet<u64> = delivered.iter().map(|one| one.message.token).collect();
            let last = refused.map_or(11, |message| message.token);
            assert_eq!(tokens, (0..last).collect(), "each once, up to the one that came back");
            assert_eq!(delivered.len(), tokens.len());
            assert!(keeper.kept().iter().all(|kept| kept.starts_with("DKIM-Signature: ")), "none leaves unsigned");
        }
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_gives_each_message_its_outcome() {
    for polls in 0..6 {
        let keeper = Keeper::new(1, 1, accepted);
        let server = signed(&keeper, vec![key(RSA, "a.example", "s")]);
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let (more, along) = mpsc::unbounded_channel();
        let batch = (0..3).map(|token| message(token, "x@a.example", 10)).collect();
        let mut call = server.deliver_with(batch, Along { more: along, gate: None }, sender);
        more.send(message(3, "x@a.example", 10)).expect("it is open");
        for _ in 0..polls {
            if futures::poll!(call.as_mut()).is_ready() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        drop(call);
        let delivered = drained(&mut receiver);
        let tokens: BTreeSet<u64> = delivered.iter().map(|one| one.message.token).collect();
        assert_eq!((tokens, delivered.len()), ((0..4).collect(), 4), "after {polls} polls");
        for one in &delivered {
            assert!(!String::from_utf8_lossy(&one.message.content.whole()).contains("DKIM"), "it is as it came");
            assert!(matches!(one.outcome, Outcome::Accepted { .. } | Outcome::ServerFailed(_)), "{:?}", one.outcome);
        }
    }
}

#[test]
fn the_pool_does_everything_once_and_ends() {
    let pool = Pool::default();
    let (sender, receiver) = std::sync::mpsc::channel();
    for number in 0..1000 {
        let sender = sender.clone();
        pool.run(Box::new(move || sender.send(number).expect("somebody listens")));
    }
    drop((sender, pool));
    let done: BTreeSet<i32> = receiver.into_iter().collect();
    assert_eq!(done, (0..1000).collect());
}
