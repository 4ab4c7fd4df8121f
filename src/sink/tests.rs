//! The sink over real sockets, with a client of ours. tests/selftest.py has other people's clients.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{
    Behaviour, Shared, SinkHandle, SinkOptions, control,
    proxy::Proxy,
    session::{End, Output, Session},
    start,
};

const ENVELOPE: &str = "EHLO me\r\nMAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n";
const MESSAGE: &str = "Subject: x\r\nMessage-ID: <1@example.com>\r\n\r\nHello\r\n";

/// The codes of the replies to `input`, fed in pieces that end at `cuts`, and the log.
fn replies(options: SinkOptions, input: &[u8], cuts: &[usize]) -> (Vec<String>, String, Option<End>) {
    let shared = Shared::new(options).expect("a log");
    let (mut session, mut output, mut waiting) = (Session::new(), Output::default(), Vec::new());
    let mut from = 0;
    for to in cuts.iter().copied().chain([input.len()]) {
        waiting.extend_from_slice(&input[from..to]);
        from = to;
        let consumed = session.feed(&waiting, &shared, &mut output);
        waiting.drain(..consumed);
    }
    let text = String::from_utf8(output.replies).expect("replies are ASCII");
    let codes = text.lines().filter(|line| line.as_bytes()[3] == b' ').map(|line| line[..3].to_owned()).collect();
    (codes, String::from_utf8(output.log).expect("the log is UTF-8"), session.end)
}

fn bdat(message: &str, last: bool) -> String {
    format!("BDAT {}{}\r\n{message}", message.len(), if last { " LAST" } else { "" })
}

#[test]
fn conversations() {
    let chunks = format!("{}{}", bdat("Subject: x\r\n", false), bdat("\r\nbody\r\n", true));
    for (name, input, expected) in [
        ("data", format!("{ENVELOPE}DATA\r\n{MESSAGE}.\r\nQUIT\r\n"), "250 250 250 354 250 221"),
        ("an empty message", format!("{ENVELOPE}DATA\r\n.\r\nNOOP\r\n"), "250 250 250 354 250 250"),
        ("a dot within", format!("{ENVELOPE}DATA\r\na\r\n..\r\n.b\r\n.\r\nNOOP\r\n"), "250 250 250 354 250 250"),
        ("one chunk", format!("{ENVELOPE}{}", bdat(MESSAGE, true)), "250 250 250 250"),
        ("two chunks", format!("{ENVELOPE}{chunks}"), "250 250 250 250 250"),
        ("an end without bytes", format!("{ENVELOPE}{}{}", bdat(MESSAGE, false), bdat("", true)), "250 250 250 250 250"),
        ("a chunk that looks like commands", format!("{ENVELOPE}{}", bdat("QUIT\r\nRSET\r\n.\r\n", true)), "250 250 250 250"),
        ("a chunk without recipient", format!("EHLO me\r\n{}NOOP\r\n", bdat(MESSAGE, true)), "250 554 250"),
        ("data after a chunk", format!("{ENVELOPE}{}DATA\r\n", bdat(MESSAGE, false)), "250 250 250 250 503"),
        ("a chunk without size", format!("{ENVELOPE}BDAT x LAST\r\nwhatever"), "250 250 250 501"),
        ("a nested mail", format!("{ENVELOPE}MAIL FROM:<>\r\n"), "250 250 250 503"),
        ("a recipient before mail", "RCPT TO:<b@example.com>\r\n".to_owned(), "503"),
        ("reset", format!("{ENVELOPE}RSET\r\nDATA\r\n"), "250 250 250 250 554"),
        ("not SMTP", "GET / HTTP/1.1\r\n".to_owned(), "502"),
        ("an address with a tab", "MAIL FROM:<a\tb@example.com>\r\n".to_owned(), "501"),
        ("a line without end", "x".repeat(9000), "500"),
    ] {
        let input = input.as_bytes();
        assert_eq!(replies(SinkOptions::default(), input, &[]).0.join(" "), expected, "{name}");
        for cut in 1..input.len().min(400) {
            assert_eq!(replies(SinkOptions::default(), input, &[cut]).0.join(" "), expected, "{name}, cut at {cut}");
        }
        let every: Vec<_> = (1..input.len()).collect();
        assert_eq!(replies(SinkOptions::default(), input, &every).0.join(" "), expected, "{name}, byte by byte");
    }
}

#[test]
fn extensions_are_offered_and_kept_to() {
    let plain = SinkOptions { pipelining: false, chunking: false, ..SinkOptions::default() };
    let ahead = "EHLO me\r\nMAIL FROM:<>\r\n".as_bytes();
    assert_eq!(replies(plain.clone(), ahead, &[9]).0.join(" "), "250 250", "one after the other");
    let (codes, _, end) = replies(plain.clone(), ahead, &[]);
    assert_eq!((codes.join(" ").as_str(), end), ("250 503", Some(End::Orderly)), "both at once");
    assert_eq!(replies(plain, bdat("", true).as_bytes(), &[]).0.join(" "), "502", "BDAT without the offer");
}

#[test]
fn rules_refuse_recipients() {
    let rules = ["b@*=550", "c@*=450once"].map(|rule| rule.parse().expect("a rule")).to_vec();
    let options = SinkOptions { rules, ..SinkOptions::default() };
    let input = "MAIL FROM:<>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nRCPT TO:<c@x>\r\nRCPT TO:<d@x>\r\n";
    assert_eq!(replies(options, input.as_bytes(), &[]).0.join(" "), "250 550 450 250 250");
}

#[test]
fn the_log_names_recipient_and_message() {
    let folder = std::env::temp_dir().join(format!("mailfleet-sink-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let options = SinkOptions { log: Some(folder.join("log")), ..SinkOptions::default() };
    let envelope = format!("{ENVELOPE}RCPT TO:<c@example.com>\r\n");
    for body in [bdat(MESSAGE, true), format!("DATA\r\n{MESSAGE}.\r\n"), bdat("MESSAGE-ID:\r\n <1@example.com>\r\n\r\n", true)] {
        let input = format!("{envelope}{body}");
        let every: Vec<_> = (1..input.len()).collect();
        for cuts in [&every[..], &[]] {
            let (_, log, _) = replies(options.clone(), input.as_bytes(), cuts);
            assert_eq!(log, "accepted\tb@example.com\t<1@example.com>\naccepted\tc@example.com\t<1@example.com>\n", "{body}");
        }
    }
    std::fs::remove_dir_all(folder).expect("the folder was ours");
}

#[tokio::test]
async fn only_loopback() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:25"] {
        let options = SinkOptions { listen: address.parse().expect("an address"), ..SinkOptions::default() };
        let fault = start(options).await.err().expect(address).to_string();
        assert!(fault.contains("not a loopback address"), "{fault}");
    }
}

/// A client of a running sink, off the runtime's threads.
struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&addr, Duration::from_secs(5)).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        Self { stream: BufReader::new(stream) }
    }

    fn send(&mut self, text: &str) {
        self.stream.get_mut().write_all(text.as_bytes()).expect("a line that takes it");
    }

    /// The code of the next reply; `end` when the line was closed, `nothing` when none came for a while.
    fn code(&mut self) -> String {
        loop {
            let mut line = String::new();
            match self.stream.read_line(&mut line) {
                Ok(0) => return "end".to_owned(),
                Ok(_) if line.as_bytes().get(3) == Some(&b'-') => {}
                Ok(_) => return line[..3].to_owned(),
                Err(fault) if fault.kind() == std::io::ErrorKind::WouldBlock => return "nothing".to_owned(),
                Err(_) => return "end".to_owned(),
            }
        }
    }

    fn patience(&mut self, patience: Duration) {
        self.stream.get_mut().set_read_timeout(Some(patience)).expect("a timeout");
    }

    fn codes(&mut self, count: usize) -> String {
        (0..count).map(|_| self.code()).collect::<Vec<_>>().join(" ")
    }
}

async fn with_client<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the client's assertions hold")
}

/// Asks again and again until it holds.
fn within_5_s(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(5);
    while !holds() {
        assert!(Instant::now() < end, "{what}: not within 5 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn envelope_and_body() -> String {
    format!("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\n{}", bdat(MESSAGE, true))
}

/// Three messages at once, of which the sink takes two.
async fn fails_after_two(behaviour: Behaviour, expected: &'static str) -> SinkHandle {
    let sink = start(SinkOptions { fail_after: Some((2, behaviour)), ..SinkOptions::default() }).await.expect("it starts");
    let addr = sink.addr();
    with_client(move || {
        let mut client = Client::connect(addr);
        client.send(&format!("EHLO me\r\n{}", envelope_and_body().repeat(3)));
        assert_eq!(client.codes(2 + 2 * 3), "220 250 250 250 250 250 250 250", "{behaviour:?}");
        client.patience(Duration::from_millis(300));
        assert_eq!(client.codes(expected.split(' ').count()), expected, "{behaviour:?}");
    })
    .await;
    assert_eq!(sink.accepted(), 2, "{behaviour:?}");
    sink
}

#[tokio::test]
async fn it_fails_exactly_between_two_messages() {
    fails_after_two(Behaviour::Answer421, "250 250 421 end").await;
    fails_after_two(Behaviour::Close, "250 250 end").await;
    fails_after_two(Behaviour::Refuse, "250 250 end").await;
    let sink = fails_after_two(Behaviour::Hang, "250 250 nothing").await;
    assert_eq!(sink.unanswered(), 1);
}

#[tokio::test]
async fn it_recovers_without_a_restart() {
    for (behaviour, greeting) in
        [(Behaviour::Hang, "nothing"), (Behaviour::Answer421, "421"), (Behaviour::Close, "end"), (Behaviour::Refuse, "refused")]
    {
        let sink = start(SinkOptions::default()).await.expect("it starts");
        let addr = sink.addr();
        let mut old = with_client(move || {
            let mut client = Client::connect(addr);
            assert_eq!(client.code(), "220");
            client
        })
        .await;
        sink.set_behaviour(behaviour);
        with_client(move || {
            if greeting == "refused" {
                // Another task closes the port.
                within_5_s("the port is closed", || TcpStream::connect(addr).is_err());
            } else {
                let mut client = Client::connect(addr);
                client.patience(Duration::from_millis(300));
                assert_eq!(client.code(), greeting);
            }
            old.patience(Duration::from_millis(300));
            assert_ne!(old.code(), "220", "{behaviour:?}");
        })
        .await;
        sink.set_behaviour(Behaviour::Ok);
        with_client(move || {
            within_5_s("the port is open again", || TcpStream::connect(addr).is_ok());
            let mut client = Client::connect(addr);
            client.send(&format!("EHLO me\r\n{}QUIT\r\n", envelope_and_body()));
            assert_eq!(client.codes(7), "220 250 250 250 250 221 end", "{behaviour:?}");
        })
        .await;
        sink.stop().await;
        TcpStream::connect(addr).expect_err("a stopped sink is gone");
    }
}

#[tokio::test]
async fn control_by_words() {
    let sink = std::sync::Arc::new(start(SinkOptions::default()).await.expect("it starts"));
    let listener = control::listen("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let addr = listener.local_addr().expect("bound");
    let task = tokio::spawn(control::serve(listener, std::sync::Arc::clone(&sink)));
    with_client(move || {
        let mut client = Client::connect(addr);
        for (word, expected) in
            [("hang", "hang"), ("421", "421"), ("ok", "ok"), ("count", "accepted 0 unanswered 0 bytes 0"), ("x", "? ok,")]
        {
            client.send(&format!("{word}\n"));
            let mut line = String::new();
            client.stream.read_line(&mut line).expect("an answer");
            assert!(line.starts_with(expected), "{word}: {line}");
        }
    })
    .await;
    task.abort();
}

#[tokio::test]
async fn a_delay_holds_the_reply_back_and_not_the_log() {
    let folder = std::env::temp_dir().join(format!("mailfleet-delay-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let log = folder.join("log");
    let delay = Duration::from_millis(300);
    let sink = start(SinkOptions { delay, log: Some(log.clone()), ..SinkOptions::default() }).await.expect("it starts");
    let addr = sink.addr();
    with_client(move || {
        let mut client = Client::connect(addr);
        let begin = Instant::now();
        client.send(&format!("EHLO me\r\n{}", envelope_and_body()));
        assert_eq!(client.codes(5), "220 250 250 250 250");
        assert!(begin.elapsed() >= delay, "{:?}", begin.elapsed());
        let mut lines = String::new();
        std::fs::File::open(&log).and_then(|mut file| file.read_to_string(&mut lines)).expect("a log");
        assert_eq!(lines, "accepted\tb@example.com\t<1@example.com>\n");
    })
    .await;
    std::fs::remove_dir_all(folder).expect("the folder was ours");
}

#[tokio::test]
async fn a_line_with_a_delay() {
    let sink = start(SinkOptions::default()).await.expect("it starts");
    let delay = Duration::from_millis(40);
    let proxy = Proxy::start("127.0.0.1:0".parse().expect("an address"), sink.addr(), delay).expect("it starts");
    let addr = proxy.addr();
    with_client(move || {
        let mut client = Client::connect(addr);
        assert_eq!(client.code(), "220");
        let begin = Instant::now();
        let many = 2000;
        client.send(&format!("EHLO me\r\n{}QUIT\r\n", envelope_and_body().repeat(many)));
        assert_eq!(client.codes(1 + 3 * many), vec!["250"; 1 + 3 * many].join(" "));
        assert_eq!(client.codes(2), "221 end");
        let elapsed = begin.elapsed();
        assert!(elapsed >= 2 * delay && elapsed < 20 * delay, "one round trip and not {many}: {elapsed:?}");
    })
    .await;
    assert_eq!((sink.accepted(), sink.bytes()), (2000, 2000 * MESSAGE.len() as u64));
}

#[test]
fn a_line_stays_on_this_machine() {
    let (here, there) = ("127.0.0.1:0".parse().expect("an address"), "192.0.2.1:25".parse().expect("an address"));
    for (listen, forward) in [(here, there), (there, here)] {
        Proxy::start(listen, forward, Duration::ZERO).err().expect("not loopback");
    }
}
