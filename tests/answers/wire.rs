//! A vendor played over HTTP: it gives the responses of a script in turn, and records the requests.

use std::{
    collections::BTreeMap,
    io::Write as _,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use mailfleet::providers::{Clients, Delivered, Outcome, Server};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::{Request, Row, SECRET, Spot, message, provider_of, tables};

/// How a response arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    Whole,
    Gzip,
    GzipUnsaid,
    /// As long as announced, but with half of the compressed body.
    GzipCut,
    CutInHead,
    CutInBody,
    Late,
    Closed,
}

/// What a response contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// The vendor's response when it accepts the messages.
    Taken,
    /// The same with a fault in the message IDs.
    Misnamed(Ids),
    /// The vendor's response when it refuses one.
    OwnError,
    /// The vendor's response when it knows the key of the request.
    Duplicate,
    /// A line of its table.
    Line(usize),
    /// The same for each message of a call, where there is a response for each.
    LineForEach(usize),
    Page,
    /// A web page with the headers of an accepted message.
    NamedPage,
    Words,
    Nothing,
    JsonNull,
    JsonList,
    JsonObject,
}

/// What can be wrong with the IDs in a response for several messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ids {
    Missing,
    Empty,
    Blank,
    Null,
    Number,
    Foreign,
    Repeated,
    TooFew,
    TooMany,
    None,
}

/// One response of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub holds: Holds,
    pub how: How,
}

impl Answer {
    pub fn new(status: u16, holds: Holds, how: How) -> Self {
        Self { status, holds, how }
    }

    /// Whether a response with this status can have a body (RFC 9110, 6.4.1).
    pub fn has_body(self) -> bool {
        !matches!(self.status, 204 | 304)
    }

    /// Whether the client cannot know its content: it did not arrive, or broke off before its end.
    pub fn is_lost(self) -> bool {
        let is_cut = self.how == How::CutInBody && self.has_body() && !(400..500).contains(&self.status);
        matches!(self.how, How::Closed | How::Late | How::CutInHead) || is_cut
    }
}

/// A request as the vendor reads it.
pub struct Asked {
    /// Its recipients by number, in order.
    pub people: Vec<u64>,
    /// The idempotency key.
    pub key: Option<String>,
    pub body: Vec<u8>,
    /// The response to it.
    pub answer: Answer,
}

/// The result of a delivery, at both ends.
pub struct Told {
    pub asked: Vec<Asked>,
    pub outcomes: BTreeMap<u64, Outcome>,
}

/// A vendor's documented responses.
pub struct Own {
    spec: BTreeMap<String, Value>,
    taken: Row,
    error: Row,
    duplicate: Option<Row>,
    /// All responses to deliveries.
    pub lines: Vec<Row>,
}

static OWN: LazyLock<BTreeMap<String, Own>> = LazyLock::new(|| tables().into_iter().map(|(kind, table)| (kind, Own::of(table))).collect());

impl Own {
    fn of(table: super::Table) -> Self {
        let taken = table.deliver.iter().find(|row| row.outcome == "Accepted").expect("one that is taken").clone();
        let is_error = |row: &&Row| row.status.is_some_and(|status| (400..500).contains(&status) && status != 413) && row.body.is_object();
        let error = table.deliver.iter().find(is_error).expect("one that is refused").clone();
        let duplicate = table.deliver.iter().find(|row| row.when.contains("same request")).cloned();
        Self { spec: table.spec, taken, error, duplicate, lines: table.deliver }
    }

    /// Of a type.
    pub fn of_kind(kind: &str) -> &'static Self {
        &OWN[kind]
    }

    /// The status with which the vendor accepts a message, and its ID of the first one.
    pub fn acceptance(&self, kind: &str) -> (u16, String) {
        let said = name_of(kind, 1).or_else(|| self.taken.says.clone()).expect("a name");
        (self.taken.status.expect("a status"), said)
    }

    /// Whether the vendor has a response for a request that it knows.
    pub fn has_duplicate(&self) -> bool {
        self.duplicate.is_some()
    }

    /// Headers and body of a response to a request.
    fn content(&self, kind: &str, answer: Answer, path: &str, people: &[u64]) -> (BTreeMap<String, String>, Vec<u8>) {
        let text = |value: &Value| if value.is_null() { Vec::new() } else { value.to_string().into_bytes() };
        let of = |row: &Row| {
            let mut body = row.body.clone();
            if kind == "gmail" {
                // Google repeats the status.
                body["error"]["code"] = answer.status.into();
            }
            (row.headers.clone(), text(&body))
        };
        let bare = |body: &[u8]| (BTreeMap::new(), body.to_vec());
        match answer.holds {
            Holds::Taken => (self.taken.headers.clone(), text(&taken(kind, &self.taken, path, people))),
            Holds::Misnamed(ids) => misnamed(kind, &self.taken, path, people, ids),
            Holds::OwnError => of(&self.error),
            Holds::Duplicate => of(self.duplicate.as_ref().unwrap_or(&self.error)),
            Holds::Line(number) => match &self.lines[number].body {
                Value::String(page) => (self.lines[number].headers.clone(), page.clone().into_bytes()),
                _ => of(&self.lines[number]),
            },
            Holds::LineForEach(number) => (BTreeMap::new(), text(&people.iter().map(|_| self.lines[number].body.clone()).collect())),
            Holds::Page => bare(PAGE),
            Holds::NamedPage => (self.taken.headers.clone(), PAGE.to_vec()),
            Holds::Words => bare(b"Mailgun Magnificent API"),
            Holds::Nothing => bare(b""),
            Holds::JsonNull => bare(b"null"),
            Holds::JsonList => bare(b"[]"),
            Holds::JsonObject => bare(b"{\"x\":1}"),
        }
    }
}

const PAGE: &[u8] = b"<html><body><h1>503 first byte timeout</h1></body></html>";

/// The vendor's ID of the message to a person; None where it has one ID for all.
pub fn name_of(kind: &str, person: u64) -> Option<String> {
    match kind {
        "postmark" => Some(format!("0a129aee-{person}")),
        "brevo" => Some(format!("20261125.{person}@smtp-relay.mailin.fr")),
        "plugin" => Some(format!("written to {person}.eml")),
        _ => None,
    }
}

/// The table's response, for as many recipients as the request has.
fn taken(kind: &str, row: &Row, path: &str, people: &[u64]) -> Value {
    let name = |person: &u64| name_of(kind, *person).unwrap_or_default();
    match kind {
        "postmark" => {
            let one = |person: &u64| {
                let mut one = row.body.clone();
                (one["MessageID"], one["To"]) = (name(person).into(), format!("p{person}@example.com").into());
                one
            };
            // A batch is a list, even of one.
            if path.contains("/batch") { people.iter().map(one).collect() } else { people.first().map(one).unwrap_or_default() }
        }
        "brevo" => match people {
            [one] => json!({"messageId": name(one)}),
            several => json!({"messageIds": several.iter().map(name).collect::<Vec<_>>()}),
        },
        "plugin" => {
            json!({"outcomes": people.iter().map(|person| json!({"id": person.to_string(), "outcome": "accepted", "reply": name(person)})).collect::<Vec<_>>()})
        }
        _ => row.body.clone(),
    }
}

/// The table's response with a fault in the second message's ID, or in the number of IDs.
fn misnamed(kind: &str, row: &Row, path: &str, people: &[u64], ids: Ids) -> (BTreeMap<String, String>, Vec<u8>) {
    let mut headers = row.headers.clone();
    let people: Vec<u64> = match ids {
        Ids::TooFew => people[..people.len() - 1].to_vec(),
        Ids::TooMany => people.iter().copied().chain([9]).collect(),
        _ => people.to_vec(),
    };
    let mut body = taken(kind, row, path, &people);
    let (list, field) = match kind {
        "postmark" => (body.as_array_mut(), "MessageID"),
        "plugin" => (body["outcomes"].as_array_mut(), "id"),
        "brevo" => (body["messageIds"].as_array_mut(), ""),
        _ => (None, ""),
    };
    if let Some(list) = list {
        let first = if field.is_empty() { list[0].clone() } else { list[0][field].clone() };
        let wrong = match ids {
            Ids::Empty => Some("".into()),
            Ids::Blank => Some(" \t".into()),
            Ids::Null => Some(Value::Null),
            Ids::Number => Some(2.into()),
            Ids::Repeated => Some(first),
            Ids::Foreign if kind == "plugin" => Some("99".into()),
            _ => None,
        };
        match (wrong, ids) {
            (Some(wrong), _) if field.is_empty() => list[1] = wrong,
            (Some(wrong), _) => list[1][field] = wrong,
            (None, Ids::Missing) if field.is_empty() => _ = list.remove(1),
            (None, Ids::Missing) => _ = list[1].as_object_mut().expect("an object").remove(field),
            // It matches results to messages by the address.
            (None, Ids::Foreign) if kind == "postmark" => list.swap(1, 2),
            (None, Ids::None) => list.clear(),
            _ => {}
        }
    } else {
        // One ID for all, in a header.
        headers.clear();
        headers.extend((ids == Ids::Blank).then(|| ("X-Message-Id".to_owned(), " ".to_owned())));
    }
    (headers, if body.is_null() { Vec::new() } else { body.to_string().into_bytes() })
}

/// The response's bytes.
fn bytes(answer: Answer, headers: &BTreeMap<String, String>, body: Vec<u8>) -> Vec<u8> {
    let body = match answer.how {
        How::Gzip | How::GzipUnsaid | How::GzipCut => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&body).expect("memory");
            let mut packed = encoder.finish().expect("memory");
            if answer.how == How::GzipCut {
                packed.truncate(packed.len() / 2);
            }
            packed
        }
        _ => body,
    };
    let mut head = format!("HTTP/1.1 {} Status\r\n", answer.status);
    if answer.how == How::Gzip {
        head.push_str("Content-Encoding: gzip\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if answer.how == How::CutInHead {
        return head.into_bytes();
    }
    if !answer.has_body() {
        return format!("{head}\r\n").into_bytes();
    }
    // Half of what is announced.
    let (announced, sent) = if answer.how == How::CutInBody { (body.len() + 100, body.len() / 2) } else { (body.len(), body.len()) };
    let mut bytes = format!("{head}Content-Length: {announced}\r\n\r\n").into_bytes();
    bytes.extend(&body[..sent]);
    bytes
}

/// Messages of a call are to p1, p2, ...
fn people_in(body: &[u8]) -> Vec<u64> {
    let text = String::from_utf8_lossy(body);
    let mut found: Vec<(usize, u64)> = (1..=9).filter_map(|person| Some((text.find(&format!("p{person}@example.com"))?, person))).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, person)| person).collect()
}

fn key_of(request: &Request) -> Option<String> {
    let in_head = request.head.lines().find_map(|line| line.strip_prefix("idempotency-key: ")).map(str::to_owned);
    let in_body = || serde_json::from_slice::<Value>(&request.body).ok()?["headers"]["idempotencyKey"].as_str().map(str::to_owned);
    in_head.or_else(in_body)
}

/// One delivery, as the vendor sees it: it gives the responses in turn, and repeats the last.
struct Play {
    kind: &'static str,
    script: Vec<Answer>,
    asked: Vec<Asked>,
    tokens: usize,
}

/// All vendors at one port: the first segment of a path is the number of the delivery.
#[derive(Clone)]
pub struct Stage {
    port: u16,
    plays: Arc<Mutex<Vec<Play>>>,
    /// Shared, since a client costs as much as a hundred calls.
    clients: Clients,
}

/// The timeout where no response is late: long enough for a busy machine.
const PATIENT: &str = "60s";
/// The timeout where one is late.
const IMPATIENT: &str = "2s";

impl Stage {
    /// Listens while the test lasts.
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stage = Self { port: listener.local_addr().expect("an address").port(), plays: Arc::default(), clients: Clients::default() };
        let vendors = stage.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(vendors.clone().serve(stream));
            }
        });
        stage
    }

    /// Answers on one connection, until a response ends it.
    async fn serve(self, mut stream: TcpStream) {
        while let Some(request) = Request::read(&mut stream).await {
            let line = request.head.lines().next().unwrap_or_default();
            let number = line.split('/').nth(1).and_then(|part| part.parse::<usize>().ok()).expect("the number of a play");
            if line.contains("/token ") {
                let tokens = {
                    let play = &mut self.plays.lock().expect("nobody panics")[number];
                    play.tokens += 1;
                    play.tokens
                };
                // Another one each time.
                let token = format!(r#"{{"access_token": "{SECRET}{tokens}", "expires_in": 3600}}"#);
                let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{token}", token.len()).as_bytes()).await;
                continue;
            }
            let (kind, answer, people) = {
                let play = &mut self.plays.lock().expect("nobody panics")[number];
                let answer = play.script[play.asked.len().min(play.script.len() - 1)];
                let people = people_in(&request.body);
                play.asked.push(Asked { people: people.clone(), key: key_of(&request), body: request.body.clone(), answer });
                (play.kind, answer, people)
            };
            let (headers, body) = Own::of_kind(kind).content(kind, answer, line, &people);
            match answer.how {
                How::Closed => return,
                // Until the client closes the connection.
                How::Late => {
                    let _ = stream.read(&mut [0]).await;
                    return;
                }
                _ => {}
            }
            let _ = stream.write_all(&bytes(answer, &headers, body)).await;
            if matches!(answer.how, How::CutInHead | How::CutInBody) {
                return;
            }
        }
    }

    /// A vendor's server somewhere.
    pub fn server(&self, kind: &str, spot: &Spot<'_>) -> Arc<dyn Server> {
        provider_of(kind, &OWN[kind].spec, spot, self.clients.clone())
    }

    /// Delivers messages to p1, p2, ... in one call of `deliver`.
    pub async fn deliver(&self, kind: &'static str, people: u64, script: &[Answer]) -> Told {
        self.deliver_often(kind, people, script, 1).await
    }

    /// The same several times, to one vendor that continues its script; returns the last outcomes.
    pub async fn deliver_often(&self, kind: &'static str, people: u64, script: &[Answer], times: usize) -> Told {
        let number = {
            let mut plays = self.plays.lock().expect("nobody panics");
            plays.push(Play { kind, script: script.to_vec(), asked: Vec::new(), tokens: 0 });
            plays.len() - 1
        };
        let timeout = if script.iter().any(|answer| answer.how == How::Late) { IMPATIENT } else { PATIENT };
        let batch = (kind == "plugin").then_some(people);
        let server = self.server(kind, &Spot { path: format!("/{number}"), timeout, batch, ..Spot::at(self.port) });
        let mut outcomes = BTreeMap::new();
        for _ in 0..times {
            outcomes = deliver(&server, people).await;
        }
        // What was still in flight is recorded too.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let asked = std::mem::take(&mut self.plays.lock().expect("nobody panics")[number].asked);
        Told { asked, outcomes }
    }
}

/// One outcome for each message, or it fails.
pub async fn deliver(server: &Arc<dyn Server>, people: u64) -> BTreeMap<u64, Outcome> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let batch = (1..=people).map(|person| message(person, &format!("p{person}"), "Hello")).collect();
    server.deliver(batch, sender).await;
    let mut outcomes = BTreeMap::new();
    while let Some(Delivered { message, outcome, .. }) = receiver.recv().await {
        assert!(outcomes.insert(message.token, outcome).is_none(), "two outcomes of message {}", message.token);
    }
    assert_eq!(outcomes.len() as u64, people, "{outcomes:?}");
    outcomes
}
