//! Vendors' responses and their meaning: an HTTP server on loopback plays every table `TYPE.yaml` to the real client.
//!
//! The same tables are printed in docs/providers.md.

mod batches;
mod groups;
mod judge;
mod matrix;
mod wire;

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use mailfleet::{
    providers::{Blocker, Clients, Context, Outcome, Outgoing, Provider as _, ProviderSpec, RunLabel, Server},
    resources::secret::SecretValue,
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// The table of one type.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Where the vendor documents its responses.
    pub sources: Vec<String>,
    /// The spec, without secretRef and endpoint.
    #[serde(default)]
    pub spec: BTreeMap<String, Value>,
    /// Responses to a delivery.
    pub deliver: Vec<Row>,
    /// Responses to a probe.
    pub probe: Vec<Row>,
}

/// One response.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// When the vendor responds so, in words.
    pub when: String,
    /// The status; None: the connection is closed without a response.
    pub status: Option<u16>,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body: JSON, or text as it is.
    #[serde(default)]
    pub body: Value,
    /// The outcome; `Good` or `Failed` for a probe.
    pub outcome: String,
    /// The reason of a failure.
    #[serde(default)]
    pub reason: Option<String>,
    /// Whether only a person can fix it.
    #[serde(default)]
    pub person: bool,
    /// The pause that the vendor asks for, seconds.
    #[serde(default)]
    pub after: Option<u64>,
    /// What the message for people must contain.
    #[serde(default)]
    pub says: Option<String>,
}

/// Every table, by type.
pub fn tables() -> BTreeMap<String, Table> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/answers");
    let mut tables = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let text = std::fs::read_to_string(&path).expect("text");
            let table = serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            tables.insert(path.file_stem().expect("a name").to_string_lossy().into_owned(), table);
        }
    }
    tables
}

const SECRET: &str = "hunter2-secret-of-the-table";

/// A whole request.
struct Request {
    /// The request line and the headers, in lower case.
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// The whole head, then as much as it announces; None when the client closes the connection before.
    async fn read(stream: &mut TcpStream) -> Option<Self> {
        let mut got = Vec::new();
        let mut buffer = vec![0; 65536];
        loop {
            let count = stream.read(&mut buffer).await.unwrap_or(0);
            got.extend_from_slice(&buffer[..count]);
            if let Some(at) = got.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&got[..at]).to_ascii_lowercase();
                let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok()).unwrap_or(0);
                if got.len() >= at + 4 + length {
                    return Some(Self { head, body: got.split_off(at + 4) });
                }
            }
            if count == 0 {
                return None;
            }
        }
    }
}

/// An HTTP server that gives the same response to every request.
async fn serve(row: Row) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let row = row.clone();
            tokio::spawn(async move {
                let Some(request) = Request::read(&mut stream).await else { return };
                // A client whose tokens expire gets one first.
                if request.head.starts_with("post /token ") {
                    let token = r#"{"access_token": "hunter2-secret-of-the-table", "expires_in": 3600}"#;
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", token.len());
                    let _ = stream.write_all(format!("{head}{token}").as_bytes()).await;
                    return;
                }
                let Some(status) = row.status else { return };
                // A vendor that repeats what it was sent shows the secret; nobody else may.
                let body = match &row.body {
                    Value::Null => String::new(),
                    Value::String(text) => text.clone(),
                    json => json.to_string(),
                };
                let body = body.replace("SECRET", SECRET);
                let mut head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
                for (name, value) in &row.headers {
                    head.push_str(&format!("{name}: {value}\r\n"));
                }
                let _ = stream.write_all(format!("{head}\r\n{body}").as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    port
}

/// A message to `name@example.com`.
fn message(token: u64, name: &str, text: &str) -> Outgoing {
    let content = format!(
        "From: Ann <ann@shop.example>\r\nTo: {name}@example.com\r\nSubject: Hello {name}\r\nMessage-ID: <{name}@shop.example>\r\n\
         List-Unsubscribe: <https://shop.example/u/{name}>\r\nDate: Wed, 25 Nov 2026 10:00:00 +0000\r\nMIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    );
    Outgoing {
        token,
        mail_from: "ann@shop.example".into(),
        rcpt_to: format!("{name}@example.com").into(),
        content: content.into_bytes().into(),
        needs_8bit: false,
        needs_smtputf8: false,
        run: Arc::new(RunLabel { campaign: "shop/spring".to_owned(), run: "first".to_owned() }),
        signature: None,
        reference: None,
    }
}

fn failure_of(row: &Row, failure: &Blocker) -> Vec<String> {
    let mut wrong = Vec::new();
    if Some(failure.reason.as_str()) != row.reason.as_deref() || failure.needs_person != row.person {
        wrong.push(format!("{} (person: {}): {}", failure.reason, failure.needs_person, failure.message));
    }
    if row.after.is_some() && failure.retry_after != row.after.map(Duration::from_secs) {
        wrong.push(format!("asked to wait {:?}", failure.retry_after));
    }
    if failure.message.contains(SECRET) {
        wrong.push(format!("the secret is shown: {}", failure.message));
    }
    if !failure.message.ends_with('.') || failure.message.matches(". ").count() < 1 {
        wrong.push(format!("it does not say what to do: {}", failure.message));
    }
    wrong.extend(
        row.says.iter().filter(|says| !failure.message.contains(*says)).map(|says| format!("not `{says}` but {}", failure.message)),
    );
    wrong
}

/// Where a server is, and how long Mailfleet waits for it.
struct Spot<'a> {
    /// `http`, or `https`.
    scheme: &'a str,
    port: u16,
    /// The base path of its API.
    path: String,
    /// The token endpoint, where one is needed.
    token_port: u16,
    timeout: &'a str,
    /// Messages in a call, where the default is one.
    batch: Option<u64>,
}

impl Spot<'_> {
    /// At a local port.
    fn at(port: u16) -> Self {
        Self { scheme: "http", port, path: String::new(), token_port: port, timeout: "60s", batch: None }
    }
}

/// A server of a type on loopback.
fn provider_of(kind: &str, fields: &BTreeMap<String, Value>, spot: &Spot<'_>, http: Clients) -> Arc<dyn Server> {
    let mut spec = serde_json::Map::new();
    spec.extend(fields.clone());
    let address = if kind == "plugin" { "url" } else { "endpoint" };
    spec.insert(address.to_owned(), format!("{}://127.0.0.1:{}{}", spot.scheme, spot.port, spot.path).into());
    if kind == "gmail" {
        spec.insert("tokenUrl".to_owned(), format!("http://127.0.0.1:{}{}/token", spot.token_port, spot.path).into());
    }
    spec.extend(spot.batch.map(|batch| ("batchSize".to_owned(), batch.into())));
    spec.entry("secretRef").or_insert_with(|| serde_json::json!({"name": "key"}));
    spec.entry("timeout").or_insert_with(|| spot.timeout.into());
    let mut object = serde_json::Map::new();
    object.insert(kind.to_owned(), spec.into());
    let provider: ProviderSpec = serde_json::from_value(object.into()).expect("a spec");
    let secrets = provider.secrets().into_iter().map(|needed| (needed.key, SecretValue::new(SECRET))).collect();
    let context = Context { secrets, http, connect_timeout: Duration::from_secs(5), ..Context::new("shop/server") };
    provider.build(context).unwrap_or_else(|failure| panic!("{kind}: {failure}"))
}

async fn play(kind: &str, table: &Table, row: &Row, is_probe: bool, http: Clients) -> Vec<String> {
    let port = serve(row.clone()).await;
    let server = provider_of(kind, &table.spec, &Spot::at(port), http);
    if is_probe {
        return match server.probe().await {
            Some(Ok(_)) if row.outcome == "Good" => Vec::new(),
            Some(Err(failure)) if row.outcome == "Failed" => failure_of(row, &failure),
            other => vec![format!("{other:?}")],
        };
    }
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    server.deliver(vec![message(1, "bob", "Hello")], sender).await;
    let outcome = outcomes.recv().await.expect("an outcome").outcome;
    let mut wrong = Vec::new();
    if outcomes.recv().await.is_some() {
        wrong.push("two outcomes".to_owned());
    }
    let (name, failure, reply) = match outcome {
        Outcome::Accepted { reply } => ("Accepted", None, reply),
        Outcome::Refused(refusal) => (refusal.name(), refusal.cause, refusal.reply),
        Outcome::ServerFailed(failure) => ("ServerFailed", Some(failure), String::new()),
        Outcome::Unknown(failure) => ("Unknown", Some(failure), String::new()),
    };
    if name != row.outcome {
        wrong.push(format!("{name} {reply} {}", failure.as_ref().map(ToString::to_string).unwrap_or_default()));
    } else if let Some(failure) = failure {
        wrong.extend(failure_of(row, &failure));
    } else if reply.contains(SECRET) || row.says.as_ref().is_some_and(|says| !reply.contains(says)) {
        wrong.push(format!("the reply is `{reply}`"));
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_of_every_vendor_means_what_the_table_says() {
    let mut wrong = Vec::new();
    let http = Clients::default();
    for (kind, table) in tables() {
        let rows = table.deliver.iter().map(|row| (row, false)).chain(table.probe.iter().map(|row| (row, true)));
        let refusals = table.deliver.iter().chain(&table.probe).filter(|row| !matches!(row.outcome.as_str(), "Accepted" | "Good")).count();
        assert!(refusals >= 8, "{kind} has only {refusals} refusals");
        let mut count = 0;
        for (row, is_probe) in rows {
            count += 1;
            let found = play(&kind, &table, row, is_probe, http.clone()).await;
            let what = if is_probe { "probe" } else { "deliver" };
            wrong.extend(
                found
                    .into_iter()
                    .map(|found| format!("{kind}, {what}, {}: wanted {} {:?}, got {found}", row.when, row.outcome, row.reason)),
            );
        }
        println!("{kind}: {count} answers");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
