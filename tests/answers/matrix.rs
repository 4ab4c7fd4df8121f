//! Every status with every kind of body, and every way in which a response can go wrong, for the real client of every vendor: for one
//! response, and for pairs of responses.

use std::time::Duration;

use futures::{StreamExt as _, future::join_all, stream, stream::FuturesUnordered};
use mailfleet::{providers::Outcome, resources::Reason};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpSocket, TcpStream},
};

use super::{
    Request, SECRET, Spot, judge,
    wire::{Answer, Holds, How, Own, Stage, deliver},
};

pub const STATUSES: [u16; 36] = [
    200, 201, 202, 203, 204, 206, 207, 226, 300, 301, 302, 304, 307, 308, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 422, 429,
    451, 499, 500, 501, 502, 503, 504, 520, 599,
];
const HOLDS: [Holds; 9] = [
    Holds::Taken,
    Holds::OwnError,
    Holds::Page,
    Holds::NamedPage,
    Holds::Words,
    Holds::Nothing,
    Holds::JsonNull,
    Holds::JsonList,
    Holds::JsonObject,
];
const KINDS: [&str; 9] = ["ses", "sendgrid", "mailgun", "sparkpost", "elasticEmail", "postmark", "brevo", "gmail", "plugin"];
/// Vendors that do not accept a request with a known key twice.
const WITH_KEYS: [&str; 2] = ["brevo", "plugin"];

/// A delivery of some messages, and the responses to it.
pub struct Case {
    pub kind: &'static str,
    pub people: u64,
    pub script: Vec<Answer>,
    /// The exact number of requests.
    pub asked: Option<usize>,
}

/// Plays cases, many at a time; returns what is wrong with each.
pub async fn play(cases: Vec<Case>) {
    let (stage, count) = (Stage::open().await, cases.len());
    let (late, soon): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.script.iter().any(|answer| answer.how == How::Late));
    let judged = |case: Case, after: Duration| {
        let stage = stage.clone();
        tokio::spawn(async move {
            tokio::time::sleep(after).await;
            let told = stage.deliver(case.kind, case.people, &case.script).await;
            let mut faults = judge::faults(case.kind, &told);
            let asked = told.asked.len();
            faults.extend(case.asked.filter(|wanted| *wanted != asked).map(|wanted| format!("asked {asked} times, not {wanted}")));
            faults.into_iter().map(|fault| format!("{}: {} x {:?}: {fault}", case.kind, case.people, case.script)).collect::<Vec<_>>()
        })
    };
    let soon = stream::iter(soon).map(|case| judged(case, Duration::ZERO)).buffer_unordered(16);
    // Cases that wait for a timeout wait together, but do not all continue at the same moment.
    let late = late.into_iter().zip(0_u32..).map(|(case, number)| judged(case, number * Duration::from_millis(10)));
    let late = late.collect::<FuturesUnordered<_>>();
    let (soon, late): (Vec<_>, Vec<_>) = tokio::join!(soon.collect(), late.collect());
    let wrong: Vec<String> = soon.into_iter().chain(late).flat_map(|found| found.expect("no panic")).collect();
    assert!(wrong.is_empty(), "{} faults in {count} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_that_could_come_is_judged_safely() {
    let mut cases = Vec::new();
    for kind in KINDS {
        let mut add = |answer: Answer| {
            // A second request gets the same response.
            cases.push(Case { kind, people: 1, script: vec![answer], asked: Some(judge::times_asked(kind, answer)) });
        };
        for status in STATUSES {
            let odd: &[How] = match status {
                200 | 202 | 400 | 401 | 429 | 500 | 503 => {
                    &[How::Whole, How::Gzip, How::GzipUnsaid, How::GzipCut, How::CutInHead, How::CutInBody, How::Closed]
                }
                _ => &[How::Whole],
            };
            for holds in HOLDS {
                odd.iter().for_each(|how| add(Answer::new(status, holds, *how)));
            }
        }
        add(Answer::new(200, Holds::Taken, How::Late));
        if Own::of_kind(kind).has_duplicate() {
            STATUSES.iter().for_each(|status| add(Answer::new(*status, Holds::Duplicate, How::Whole)));
        }
    }
    play(cases).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_answer_says_nothing_of_the_first_request() {
    let mut cases = Vec::new();
    for kind in KINDS {
        let mut add = |first: How, second: Answer| {
            let first = Answer::new(200, Holds::Taken, first);
            cases.push(Case { kind, people: 1, script: vec![first, second], asked: Some(judge::times_asked(kind, first)) });
        };
        let is_asked_again = WITH_KEYS.contains(&kind);
        for first in [How::Closed, How::CutInHead, How::CutInBody, How::Late] {
            // A late response costs a second: only one response of each kind follows it.
            let (statuses, holds): (&[u16], &[Holds]) = match (is_asked_again, first) {
                (true, How::Late) => (&[200, 201, 302, 400, 401, 409, 413, 429, 500, 503], &[Holds::Taken, Holds::OwnError, Holds::Page]),
                (true, _) => (&STATUSES, &HOLDS),
                // There is no request for the second.
                (false, _) => (&[200], &[Holds::Taken]),
            };
            statuses.iter().for_each(|status| holds.iter().for_each(|holds| add(first, Answer::new(*status, *holds, How::Whole))));
            if is_asked_again {
                for how in [How::Gzip, How::GzipUnsaid, How::GzipCut, How::CutInHead, How::CutInBody, How::Closed, How::Late] {
                    [200, 400, 503].iter().for_each(|status| add(first, Answer::new(*status, Holds::Taken, how)));
                }
            }
            if Own::of_kind(kind).has_duplicate() {
                [400, 409, 422].iter().for_each(|status| add(first, Answer::new(*status, Holds::Duplicate, How::Whole)));
            }
        }
    }
    play(cases).await;
}

#[tokio::test]
async fn the_same_request_keeps_its_key_and_a_new_one_has_another() {
    let stage = Stage::open().await;
    let firsts = [How::Closed, How::CutInHead, How::CutInBody, How::Late];
    join_all(WITH_KEYS.iter().flat_map(|kind| firsts.map(|first| (*kind, first))).map(|(kind, first)| {
        let stage = stage.clone();
        async move {
            let (lost, taken) = (Answer::new(200, Holds::Taken, first), Answer::new(200, Holds::Taken, How::Whole));
            // Lost and repeated; deferred; and the same message again.
            let throttled = Answer::new(429, Holds::OwnError, How::Whole);
            let told = stage.deliver_often(kind, 1, &[lost, throttled, throttled, taken], 3).await;
            let keys: Vec<&str> = told.asked.iter().map(|asked| asked.key.as_deref().expect("a key")).collect();
            assert_eq!(keys.len(), 4, "{kind}, {first:?}");
            assert!(keys[0] == keys[1] && keys[1] != keys[2] && keys[2] != keys[3] && keys[1] != keys[3], "{kind}, {first:?}: {keys:?}");
            assert_eq!(told.asked[0].body, told.asked[1].body, "{kind}, {first:?}");
            assert!(matches!(told.outcomes[&1], Outcome::Accepted { .. }), "{kind}, {first:?}: {:?}", told.outcomes);
        }
    }))
    .await;
}

#[tokio::test]
async fn the_ledgers_reply_has_the_vendors_name_for_the_message() {
    let stage = Stage::open().await;
    for kind in KINDS {
        let (status, name) = Own::of_kind(kind).acceptance(kind);
        let told = stage.deliver(kind, 1, &[Answer::new(status, Holds::Taken, How::Whole)]).await;
        let Outcome::Accepted { reply } = &told.outcomes[&1] else { panic!("{kind}: {:?}", told.outcomes) };
        assert!(reply.starts_with(&format!("{status} ")) && reply.contains(&name), "{kind}: `{reply}`, and not `{name}`");
    }
}

/// A port where nobody listens, and one that is silent from the first packet on.
fn nothing_was_taken(kind: &str, outcomes: impl IntoIterator<Item = Outcome>) {
    for outcome in outcomes {
        assert!(matches!(outcome, Outcome::ServerFailed(_)), "{kind}: {outcome:?}");
    }
}

#[tokio::test]
async fn where_nothing_listens_nothing_was_taken() {
    let stage = Stage::open().await;
    for kind in KINDS {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let server = stage.server(kind, &Spot::at(port));
        nothing_was_taken(kind, deliver(&server, 3).await.into_values());
    }
}

/// A local port whose queue is full, so that Linux drops every further SYN; and the connections that fill it.
#[cfg(target_os = "linux")]
async fn silent_port() -> (u16, TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    // Nobody accepts.
    let listener = socket.listen(1).expect("it listens");
    let port = listener.local_addr().expect("an address").port();
    let mut queued = Vec::new();
    while let Ok(stream) = tokio::time::timeout(Duration::from_millis(400), TcpStream::connect(("127.0.0.1", port))).await {
        queued.push(stream.expect("it is queued"));
        assert!(queued.len() < 16, "the queue is never full");
    }
    (port, listener, queued)
}

/// A token endpoint.
async fn tokens() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Some(_) = Request::read(&mut stream).await else { continue };
            let token = format!(r#"{{"access_token": "{SECRET}", "expires_in": 3600}}"#);
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", token.len());
            let _ = stream.write_all(format!("{head}{token}").as_bytes()).await;
        }
    });
    port
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_never_answers_a_connection_has_taken_nothing() {
    let (port, _listener, _queued) = silent_port().await;
    let (stage, token_port) = (Stage::open().await, tokens().await);
    let asked = KINDS.map(|kind| {
        // More than there are connections, as during a campaign.
        let server = stage.server(kind, &Spot { timeout: "2s", batch: (kind == "plugin").then_some(3), token_port, ..Spot::at(port) });
        async move {
            let begin = std::time::Instant::now();
            let (first, second) = tokio::join!(deliver(&server, 3), deliver(&server, 3));
            (kind, begin.elapsed(), first.into_values().chain(second.into_values()).collect::<Vec<_>>())
        }
    });
    for (kind, took, outcomes) in join_all(asked).await {
        let is_timeout = |outcome: &Outcome| matches!(outcome, Outcome::ServerFailed(failure) if failure.reason == Reason::TimedOut);
        assert!(outcomes.iter().all(is_timeout), "{kind}: {outcomes:?}");
        // The second waits for the first one's connection.
        assert!(took >= Duration::from_secs(4) && took < Duration::from_secs(20), "{kind}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_never_greets_by_tls_has_taken_nothing() {
    // The kernel accepts the connections, and nobody reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (stage, token_port) = (Stage::open().await, tokens().await);
    let asked = KINDS.map(|kind| {
        let server = stage.server(kind, &Spot { scheme: "https", timeout: "1s", token_port, ..Spot::at(port) });
        async move { (kind, deliver(&server, 1).await) }
    });
    for (kind, outcomes) in join_all(asked).await {
        nothing_was_taken(kind, outcomes.into_values());
    }
}
