//! Every status with every kind of body, and every way in which an answer can go wrong, to the real client of every vendor.
//!
//! What the vendor may have taken is never "certainly not taken", and what has not the vendor's own form is never "accepted";
//! the other end counts how often it was asked.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use flate2::{Compression, write::GzEncoder};
use mailfleet::providers::{Outcome, Scope, Server};
use std::io::Write as _;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::mpsc};

use super::{Request, Row, SECRET, message, provider_of, tables};

/// How an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Whole,
    Gzip,
    GzipUnsaid,
    CutInHead,
    CutInBody,
    Late,
    Closed,
}

/// What an answer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holds {
    /// What the vendor answers when it takes a message.
    Taken,
    /// What the vendor answers when it refuses one.
    OwnError,
    Page,
    Words,
    Nothing,
    JsonNull,
    JsonList,
    JsonObject,
}

const HOLDS: [Holds; 8] =
    [Holds::Taken, Holds::OwnError, Holds::Page, Holds::Words, Holds::Nothing, Holds::JsonNull, Holds::JsonList, Holds::JsonObject];
const STATUSES: [u16; 36] = [
    200, 201, 202, 203, 204, 206, 207, 226, 300, 301, 302, 304, 307, 308, 400, 401, 402, 403, 404, 405, 408, 409, 410, 413, 415, 422, 429,
    451, 499, 500, 501, 502, 503, 504, 520, 599,
];

#[derive(Clone, Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    how: How,
}

impl Answer {
    fn bytes(&self) -> Vec<u8> {
        let body = match self.how {
            How::Gzip | How::GzipUnsaid => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(&self.body).expect("memory");
                encoder.finish().expect("memory")
            }
            _ => self.body.clone(),
        };
        let mut head = format!("HTTP/1.1 {} Status\r\nConnection: close\r\n", self.status);
        if self.how == How::Gzip {
            head.push_str("Content-Encoding: gzip\r\n");
        }
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.how == How::CutInHead {
            return head.into_bytes();
        }
        // These have no body (RFC 9110, 6.4.1).
        let has_body = !matches!(self.status, 204 | 304);
        let length = body.len() + if self.how == How::CutInBody { 100 } else { 0 };
        if has_body {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        let mut bytes = format!("{head}\r\n").into_bytes();
        if has_body {
            bytes.extend(body);
        }
        bytes
    }
}

/// A server that gives the answers in turn, the last for ever, and counts requests that it read whole.
async fn serve(answers: Vec<Answer>) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answers, count) = (answers.clone(), count.clone());
            tokio::spawn(async move {
                let Some(request) = Request::read(&mut stream).await else { return };
                if request.head.starts_with("post /token ") {
                    let token = format!(r#"{{"access_token": "{SECRET}", "expires_in": 3600}}"#);
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", token.len());
                    let _ = stream.write_all(format!("{head}{token}").as_bytes()).await;
                    return;
                }
                let number = count.fetch_add(1, Ordering::SeqCst);
                let answer = &answers[number.min(answers.len() - 1)];
                match answer.how {
                    How::Closed => return,
                    How::Late => tokio::time::sleep(std::time::Duration::from_secs(3)).await,
                    _ => {}
                }
                let _ = stream.write_all(&answer.bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, asked)
}

/// What a vendor answers by its own documents.
struct Own {
    taken: Row,
    error: Row,
}

fn own(kind: &str) -> Own {
    let table = &tables()[kind];
    let taken = table.deliver.iter().find(|row| row.outcome == "Accepted").expect("one that is taken").clone();
    let is_error = |row: &&Row| row.status.is_some_and(|status| (400..500).contains(&status) && status != 413) && row.body.is_object();
    let error = table.deliver.iter().find(is_error).expect("one that is refused").clone();
    Own { taken, error }
}

impl Own {
    fn answer(&self, status: u16, holds: Holds, how: How) -> Answer {
        let row = match holds {
            Holds::Taken => Some(&self.taken),
            Holds::OwnError => Some(&self.error),
            _ => None,
        };
        let body = match (holds, row) {
            (_, Some(row)) if row.body.is_null() => Vec::new(),
            (_, Some(row)) => row.body.to_string().into_bytes(),
            (Holds::Page, _) => b"<html><body><h1>503 first byte timeout</h1></body></html>".to_vec(),
            (Holds::Words, _) => b"Mailgun Magnificent API".to_vec(),
            (Holds::JsonNull, _) => b"null".to_vec(),
            (Holds::JsonList, _) => b"[]".to_vec(),
            (Holds::JsonObject, _) => b"{\"x\":1}".to_vec(),
            _ => Vec::new(),
        };
        let headers = row.map(|row| row.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()).unwrap_or_default();
        Answer { status, headers, body, how }
    }
}

async fn ask(kind: &str, answers: Vec<Answer>) -> (Outcome, usize) {
    let (port, asked) = serve(answers).await;
    let server: Arc<dyn Server> = provider_of(kind, &tables()[kind].spec, port, "1s");
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    server.deliver(vec![message(1, "bob", "Hello")], sender).await;
    let outcome = outcomes.recv().await.expect("an outcome").outcome;
    assert!(outcomes.recv().await.is_none(), "{kind}: two outcomes");
    // Whatever was still on its way is counted as well.
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    (outcome, asked.load(Ordering::SeqCst))
}

/// What is wrong with an outcome of one message whose first request got this answer; none when it is right.
fn fault(kind: &str, status: u16, holds: Holds, how: How, outcome: &Outcome) -> Option<&'static str> {
    // What SendGrid documents of a message that it takes is this status alone.
    let is_bare = kind == "sendgrid" && status == 202 && holds == Holds::Nothing;
    // Postmark says "no" with a status of success as well, in its own form and with its own code.
    let is_own_no = kind == "postmark" && (200..300).contains(&status) && holds == Holds::OwnError;
    let is_definite =
        (400..500).contains(&status) && !matches!(status, 408 | 409 | 499) && !matches!(how, How::Closed | How::Late | How::CutInHead);
    match outcome {
        Outcome::Accepted { .. } if is_bare && how != How::CutInBody => None,
        Outcome::Refused(_) if is_own_no => None,
        Outcome::Accepted { .. } if holds != Holds::Taken || !(200..300).contains(&status) => Some("accepted without the vendor's word"),
        Outcome::Accepted { .. } if matches!(how, How::Closed | How::Late | How::CutInHead | How::CutInBody) => {
            Some("accepted by half an answer")
        }
        Outcome::Refused(refusal) if refusal.scope == Scope::Recipient && holds != Holds::OwnError => {
            Some("the recipient is given up without the vendor's word")
        }
        Outcome::Refused(_) | Outcome::ServerFailed(_) if !(is_definite || (500..=503).contains(&status) && holds == Holds::OwnError) => {
            Some("it may have been taken, and is called not taken")
        }
        Outcome::Unknown(_) if is_definite => Some("it was refused, and is called unknown"),
        _ => None,
    }
}

/// Requests that may be made for one message: a token that was refused is replaced once, a lost answer is asked for again where
/// the vendor knows the key.
fn asked_max(kind: &str, status: u16, how: How) -> usize {
    let is_lost = matches!(how, How::Closed | How::Late | How::CutInHead | How::CutInBody);
    match kind {
        "gmail" if status == 401 => 2,
        "brevo" | "plugin" if is_lost || status == 200 => 2,
        _ => 1,
    }
}

const KINDS: [&str; 9] = ["ses", "sendgrid", "mailgun", "sparkpost", "elasticEmail", "postmark", "brevo", "gmail", "plugin"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_that_could_come_is_judged_safely() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for kind in KINDS {
        let own = own(kind);
        let hows = |status: u16| {
            let odd = [How::Gzip, How::GzipUnsaid, How::CutInHead, How::CutInBody, How::Closed];
            let is_sampled = matches!(status, 200 | 202 | 400 | 429 | 500 | 503);
            std::iter::once(How::Whole).chain(odd.into_iter().filter(move |_| is_sampled))
        };
        for status in STATUSES {
            for holds in HOLDS {
                for how in hows(status) {
                    let (outcome, asked) = ask(kind, vec![own.answer(status, holds, how)]).await;
                    count += 1;
                    if let Some(fault) = fault(kind, status, holds, how, &outcome) {
                        wrong.push(format!("{kind}: {status} {holds:?} {how:?}: {fault}: {outcome:?}"));
                    }
                    if asked > asked_max(kind, status, how) {
                        wrong.push(format!("{kind}: {status} {holds:?} {how:?}: asked {asked} times"));
                    }
                }
            }
        }
        let (outcome, _) = ask(kind, vec![own.answer(200, Holds::Taken, How::Late)]).await;
        if !matches!(outcome, Outcome::Unknown(_)) {
            wrong.push(format!("{kind}: late: {outcome:?}"));
        }
        let status = own.taken.status.expect("a status");
        let (outcome, _) = ask(kind, vec![own.answer(status, Holds::Taken, How::Whole)]).await;
        if !matches!(outcome, Outcome::Accepted { .. }) {
            wrong.push(format!("{kind}: the vendor's own word is not believed: {outcome:?}"));
        }
    }
    println!("{count} answers");
    assert!(wrong.is_empty(), "{} of {count} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_answer_says_nothing_of_the_first_request() {
    let mut wrong = Vec::new();
    for kind in ["brevo", "plugin"] {
        let own = own(kind);
        for first in [How::Closed, How::CutInHead] {
            for status in STATUSES {
                for holds in HOLDS {
                    let answers = vec![own.answer(200, Holds::Taken, first), own.answer(status, holds, How::Whole)];
                    let (outcome, asked) = ask(kind, answers).await;
                    let is_right = match &outcome {
                        Outcome::Accepted { .. } => holds == Holds::Taken && (200..300).contains(&status),
                        Outcome::Unknown(_) => true,
                        _ => false,
                    };
                    if !is_right || asked > 2 {
                        wrong.push(format!("{kind}: {first:?}, then {status} {holds:?}: asked {asked} times: {outcome:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn where_nothing_listens_nothing_was_taken() {
    for kind in KINDS {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let server = provider_of(kind, &tables()[kind].spec, port, "1s");
        let (sender, mut outcomes) = mpsc::unbounded_channel();
        server.deliver(vec![message(1, "bob", "Hello")], sender).await;
        let outcome = outcomes.recv().await.expect("an outcome").outcome;
        assert!(matches!(outcome, Outcome::ServerFailed(_)), "{kind}: {outcome:?}");
    }
}

#[test]
fn the_judge_can_say_no() {
    let failure = || mailfleet::providers::Failure::new(mailfleet::resources::Reason::SendFailed, "no");
    let accepted = Outcome::Accepted { reply: "200 ok".to_owned() };
    assert!(fault("ses", 200, Holds::Page, How::Whole, &accepted).is_some());
    assert!(fault("ses", 200, Holds::Taken, How::CutInBody, &accepted).is_some());
    assert!(fault("ses", 200, Holds::Page, How::Whole, &Outcome::ServerFailed(failure())).is_some());
    assert!(fault("ses", 503, Holds::Page, How::Whole, &Outcome::ServerFailed(failure())).is_some());
    assert!(fault("ses", 400, Holds::Page, How::Whole, &Outcome::Unknown(failure())).is_some());
    assert!(fault("ses", 400, Holds::Page, How::Whole, &Outcome::rejected("400")).is_some());
    assert!(fault("ses", 200, Holds::Taken, How::Whole, &accepted).is_none());
}
