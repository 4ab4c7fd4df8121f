//! A server for tests: it behaves like a strict Postfix, except where a rule says otherwise.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::super::scram;

/// What the server does at an event instead of the usual.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// Says this, and goes on. The command has no effect.
    Say(&'static str),
    /// Says this, and closes.
    SayAndClose(&'static str),
    /// Says this, and closes with whatever is unread, which resets the line.
    SayAndReset(&'static str),
    /// Closes without a word.
    Close,
    /// Neither says nor reads anything more.
    Hang,
    /// Says this before the usual.
    Before(&'static str),
    /// Reads this many bytes of the content and closes (at `BDAT` and `DATA`).
    CloseInContent(usize),
    /// Reads on, and never answers anything more.
    Mute,
    /// Says this, one byte after the other with 100 ms between them.
    Drip(&'static str),
    /// Says this now without reading the content, then reads it (at `BDAT`).
    SayEarly(&'static str),
}

/// A rule: at the event's n-th time (from 1; 0 is every time), over all connections, do this.
pub type Rule = (&'static str, usize, Act);

/// How the server is set up.
#[derive(Clone, Default)]
pub struct Script {
    pub extensions: Vec<&'static str>,
    pub rules: Vec<Rule>,
    pub tls: Option<TlsAcceptor>,
    pub is_implicit_tls: bool,
    /// As Postfix: without TCP_NODELAY, so that a reply waits for the acknowledgement of the one before, and with a
    /// little work on each command.
    pub is_nagling: bool,
    /// So many connections at a time; one more is greeted with 421. Any number when 0.
    pub connections_max: usize,
    /// So many recipients over a connection, and what every one more is answered. Any number when absent.
    pub recipients_max: Option<(usize, Act)>,
}

/// A message that the server took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub from: String,
    pub to: String,
    pub content: Vec<u8>,
}

#[derive(Default)]
pub struct Seen {
    pub commands: Vec<String>,
    pub taken: Vec<Taken>,
    pub connections: usize,
    pub refused_connections: usize,
    counts: BTreeMap<&'static str, usize>,
    open: usize,
}

pub struct ScriptedServer {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Seen>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}
type Wire = BufReader<Box<dyn Io>>;

impl ScriptedServer {
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut sessions = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(!script.is_nagling).unwrap();
                shared.lock().unwrap().connections += 1;
                let session = Session { script: script.clone(), seen: Arc::clone(&shared), is_mute: false, recipients: 0 };
                let shared = Arc::clone(&shared);
                sessions.spawn(async move {
                    shared.lock().unwrap().open += 1;
                    let _ = session.run(Box::new(socket)).await;
                    shared.lock().unwrap().open -= 1;
                });
            }
        });
        Self { address, seen, task }
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.seen.lock().unwrap().taken.clone()
    }

    pub fn count(&self, verb: &str) -> usize {
        self.seen.lock().unwrap().commands.iter().filter(|command| command.starts_with(verb)).count()
    }
}

struct Session {
    script: Script,
    seen: Arc<Mutex<Seen>>,
    is_mute: bool,
    recipients: usize,
}

/// Why a session ends.
fn end() -> io::Error {
    io::ErrorKind::Other.into()
}

impl Session {
    /// Far less than a delayed acknowledgement takes, and enough for one that is not.
    async fn work(&self) {
        if self.script.is_nagling {
            tokio::time::sleep(std::time::Duration::from_millis(3)).await;
        }
    }

    fn rule(&self, event: &'static str) -> Option<Act> {
        let mut seen = self.seen.lock().unwrap();
        let count = seen.counts.entry(event).or_default();
        *count += 1;
        let count = *count;
        self.script.rules.iter().find(|(at, nth, _)| *at == event && (*nth == count || *nth == 0)).map(|rule| rule.2)
    }

    async fn say(&self, wire: &mut Wire, text: &str) -> io::Result<()> {
        if self.is_mute {
            return Ok(());
        }
        wire.write_all(format!("{text}\r\n").as_bytes()).await?;
        wire.flush().await
    }

    /// Does what a rule says at an event; true when the usual is to be left out.
    async fn bent(&mut self, wire: &mut Wire, event: &'static str) -> io::Result<bool> {
        let act = self.rule(event);
        self.act(wire, act).await
    }

    async fn act(&mut self, wire: &mut Wire, act: Option<Act>) -> io::Result<bool> {
        match act {
            None => Ok(false),
            Some(Act::Say(text) | Act::SayEarly(text)) => self.say(wire, text).await.map(|()| true),
            Some(Act::Before(text)) => self.say(wire, text).await.map(|()| false),
            Some(Act::SayAndClose(text)) => {
                self.say(wire, text).await?;
                // Closing with bytes unread would reset the line, and the words might be lost: read what is there.
                wire.get_mut().shutdown().await?;
                let mut rest = vec![];
                let _ = tokio::time::timeout(std::time::Duration::from_millis(300), wire.read_to_end(&mut rest)).await;
                Err(end())
            }
            Some(Act::SayAndReset(text)) => {
                self.say(wire, text).await?;
                Err(end())
            }
            Some(Act::Close | Act::CloseInContent(_)) => Err(end()),
            Some(Act::Hang) => std::future::pending().await,
            Some(Act::Drip(text)) => {
                for byte in text.bytes() {
                    wire.write_all(&[byte]).await?;
                    wire.flush().await?;
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
                self.say(wire, "").await.map(|()| true)
            }
            Some(Act::Mute) => {
                self.is_mute = true;
                Ok(true)
            }
        }
    }

    async fn line(&self, wire: &mut Wire) -> io::Result<String> {
        let mut line = String::new();
        if wire.read_line(&mut line).await? == 0 {
            return Err(end());
        }
        assert!(line.ends_with("\r\n"), "a line that ends with CRLF: {line:?}");
        Ok(line.trim_end().to_owned())
    }

    async fn run(mut self, socket: Box<dyn Io>) -> io::Result<()> {
        let mut wire = BufReader::new(socket);
        if self.script.is_implicit_tls {
            wire = self.encrypt(wire).await?;
        }
        let is_one_too_many = {
            let mut seen = self.seen.lock().unwrap();
            let is_one_too_many = self.script.connections_max > 0 && seen.open > self.script.connections_max;
            seen.refused_connections += usize::from(is_one_too_many);
            is_one_too_many
        };
        if is_one_too_many {
            let words = "421 4.7.0 Too many concurrent SMTP connections; please try again later.";
            self.act(&mut wire, Some(Act::SayAndClose(words))).await?;
        }
        if !self.bent(&mut wire, "CONNECT").await? {
            self.say(&mut wire, "220 test ESMTP").await?;
        }
        let (mut from, mut to): (Option<String>, Option<String>) = (None, None);
        loop {
            let line = self.line(&mut wire).await?;
            self.seen.lock().unwrap().commands.push(line.clone());
            self.work().await;
            let verb = line.split(' ').next().unwrap_or_default().to_owned();
            match verb.as_str() {
                "EHLO" => {
                    if !self.bent(&mut wire, "EHLO").await? {
                        let lines = [&["test"], self.script.extensions.as_slice()].concat();
                        for (index, line) in lines.iter().enumerate() {
                            let mark = if index + 1 == lines.len() { ' ' } else { '-' };
                            self.say(&mut wire, &format!("250{mark}{line}")).await?;
                        }
                    }
                }
                "HELO" => {
                    if !self.bent(&mut wire, "HELO").await? {
                        self.say(&mut wire, "250 test").await?;
                    }
                }
                "STARTTLS" => {
                    if !self.bent(&mut wire, "STARTTLS").await? {
                        self.say(&mut wire, "220 go").await?;
                        wire = self.encrypt(wire).await?;
                    }
                }
                "AUTH" => {
                    if !self.bent(&mut wire, "AUTH").await? {
                        self.auth(&mut wire, &line).await?;
                    }
                }
                "MAIL" => {
                    if !self.bent(&mut wire, "MAIL").await? {
                        if from.is_some() {
                            self.say(&mut wire, "503 5.5.1 nested MAIL").await?;
                        } else {
                            from = Some(address(&line));
                            self.say(&mut wire, "250 2.1.0 ok").await?;
                        }
                    }
                }
                "RCPT" => {
                    self.recipients += 1;
                    let over = self.script.recipients_max.filter(|(most, _)| self.recipients > *most).map(|(_, act)| act);
                    if !self.act(&mut wire, over).await? && !self.bent(&mut wire, "RCPT").await? {
                        if from.is_none() {
                            self.say(&mut wire, "503 5.5.1 need MAIL").await?;
                        } else {
                            to = Some(address(&line));
                            self.say(&mut wire, "250 2.1.5 ok").await?;
                        }
                    }
                }
                "RSET" => {
                    (from, to) = (None, None);
                    if !self.bent(&mut wire, "RSET").await? {
                        self.say(&mut wire, "250 2.0.0 ok").await?;
                    }
                }
                "DATA" => {
                    let rule = self.peek("DATA");
                    if let Some(Act::CloseInContent(bytes)) = rule {
                        self.say(&mut wire, "354 go").await?;
                        let mut some = vec![0; bytes];
                        wire.read_exact(&mut some).await?;
                        return Err(end());
                    }
                    if matches!(rule, Some(Act::SayEarly(_))) || !self.bent(&mut wire, "DATA").await? {
                        if to.is_none() && rule.is_none() {
                            self.say(&mut wire, "554 5.5.1 no valid recipients").await?;
                            continue;
                        }
                        self.say(&mut wire, "354 go").await?;
                        let mut content = Vec::new();
                        loop {
                            let line = self.line(&mut wire).await?;
                            if line == "." {
                                break;
                            }
                            content.extend_from_slice(line.strip_prefix('.').unwrap_or(&line).as_bytes());
                            content.extend_from_slice(b"\r\n");
                        }
                        self.content(&mut wire, &mut from, &mut to, content).await?;
                    }
                }
                "BDAT" => {
                    let bytes: usize = line.split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap();
                    assert!(line.ends_with(" LAST"));
                    let rule = self.peek("BDAT");
                    if let Some(Act::CloseInContent(some)) = rule {
                        let mut content = vec![0; some.min(bytes)];
                        wire.read_exact(&mut content).await?;
                        return Err(end());
                    }
                    let is_early = self.bent(&mut wire, "BDAT").await?;
                    let mut content = vec![0; bytes];
                    wire.read_exact(&mut content).await?;
                    if is_early {
                        (from, to) = (None, None);
                    } else if to.is_none() {
                        self.say(&mut wire, "554 5.5.1 no valid recipients").await?;
                    } else {
                        self.content(&mut wire, &mut from, &mut to, content).await?;
                    }
                }
                "QUIT" => {
                    if !self.bent(&mut wire, "QUIT").await? {
                        self.say(&mut wire, "221 2.0.0 bye").await?;
                    }
                    return Ok(());
                }
                _ => self.say(&mut wire, "500 5.5.2 what?").await?,
            }
        }
    }

    /// The rule of the event's next time, without counting.
    fn peek(&self, event: &'static str) -> Option<Act> {
        let count = self.seen.lock().unwrap().counts.get(event).copied().unwrap_or(0) + 1;
        self.script.rules.iter().find(|(at, nth, _)| *at == event && (*nth == count || *nth == 0)).map(|rule| rule.2)
    }

    async fn content(&mut self, wire: &mut Wire, from: &mut Option<String>, to: &mut Option<String>, content: Vec<u8>) -> io::Result<()> {
        let (from, to) = (from.take(), to.take());
        if self.bent(wire, "CONTENT").await? {
            return Ok(());
        }
        if let (Some(from), Some(to)) = (from, to) {
            self.seen.lock().unwrap().taken.push(Taken { from, to, content });
            if !self.bent(wire, "TAKEN").await? {
                self.say(wire, "250 2.0.0 Ok: queued").await?;
            }
        } else {
            self.say(wire, "554 5.5.1 no valid recipients").await?;
        }
        Ok(())
    }

    async fn encrypt(&self, wire: Wire) -> io::Result<Wire> {
        assert!(wire.buffer().is_empty(), "the client says nothing before TLS is there");
        let acceptor = self.script.tls.clone().unwrap();
        Ok(BufReader::new(Box::new(acceptor.accept(wire.into_inner()).await?)))
    }

    /// Knows `user` with the password `hunter2` and the token `tok-3n`.
    async fn auth(&mut self, wire: &mut Wire, line: &str) -> io::Result<()> {
        let words: Vec<_> = line.split(' ').collect();
        let decoded = |text: &str| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap();
        let is_good = match words.as_slice() {
            ["AUTH", "PLAIN", response] => decoded(response) == "\0user\0hunter2",
            ["AUTH", "LOGIN"] => {
                self.say(wire, "334 VXNlcm5hbWU6").await?;
                let user = decoded(&self.line(wire).await?);
                self.say(wire, "334 UGFzc3dvcmQ6").await?;
                user == "user" && decoded(&self.line(wire).await?) == "hunter2"
            }
            ["AUTH", "SCRAM-SHA-256", response] => {
                let first = decoded(response);
                let nonce = first.strip_prefix("n,,n=user,r=").unwrap();
                let challenge = format!("r={nonce}server,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
                self.say(wire, &format!("334 {}", STANDARD.encode(&challenge))).await?;
                let (wanted, proof) = scram::last("user", b"hunter2", nonce, &challenge).unwrap();
                if decoded(&self.line(wire).await?) == wanted {
                    if !self.bent(wire, "PROOF").await? {
                        self.say(wire, &format!("334 {}", STANDARD.encode(proof))).await?;
                    }
                    self.line(wire).await?.is_empty()
                } else {
                    false
                }
            }
            ["AUTH", "XOAUTH2", response] => {
                let is_good = decoded(response) == "user=user\x01auth=Bearer tok-3n\x01\x01";
                if !is_good {
                    self.say(wire, &format!("334 {}", STANDARD.encode("{\"status\":\"401\"}"))).await?;
                    assert_eq!(self.line(wire).await?, "");
                }
                is_good
            }
            other => panic!("{other:?}"),
        };
        self.say(wire, if is_good { "235 2.7.0 welcome" } else { "535 5.7.8 bad credentials hunter3" }).await
    }
}

fn address(line: &str) -> String {
    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).unwrap().0.to_owned()
}
