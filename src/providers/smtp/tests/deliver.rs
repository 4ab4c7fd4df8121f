use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::mpsc,
};

use super::{
    CHUNKING, PIPELINING, PLAIN, certificate, context, script,
    script::{Act, Act::*, Rule, ScriptedServer, Taken},
    server,
};
use crate::meta::{Pieces, pieces::Shared};
use crate::providers::{Carriage, Delivered, Outcome, Outgoing, Scope, Server, Signature};

const MODES: [(&str, &[&str]); 3] = [("chunking", CHUNKING), ("pipelining", PIPELINING), ("plain", PLAIN)];

fn content(token: u64) -> Vec<u8> {
    format!("Subject: {token}\r\n\r\n.leading dot\r\n..\r\n.\r\n{}\r\n", "x".repeat(900)).into_bytes()
}

pub fn message(token: u64) -> Outgoing {
    Outgoing {
        token,
        mail_from: Arc::from("from@example.com"),
        rcpt_to: Arc::from(format!("r{token}@example.com")),
        content: content(token).into(),
        needs_8bit: false,
        needs_smtputf8: false,
        run: Arc::default(),
        signature: None,
        reference: None,
    }
}

pub fn words(all: &[Delivered]) -> Vec<String> {
    all.iter().map(|delivered| word(&delivered.outcome)).collect()
}

/// An outcome in one word: `accepted`, `rejected` or `deferred` (the recipient), `SenderRejected` and the like, `failed:<reason>`,
/// `unknown:<reason>`.
pub fn word(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Accepted { .. } => "accepted".to_owned(),
        Outcome::Refused(refusal) if refusal.scope != Scope::Recipient => refusal.name().to_owned(),
        Outcome::Refused(refusal) => if refusal.is_permanent { "rejected" } else { "deferred" }.to_owned(),
        Outcome::ServerFailed(failure) => format!("failed:{}", failure.reason),
        Outcome::Unknown(failure) => format!("unknown:{}", failure.reason),
    }
}

pub async fn deliver_all(server: &dyn Server, batch: Vec<Outgoing>) -> Vec<Delivered> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let count = batch.len();
    tokio::time::timeout(Duration::from_secs(20), server.deliver(batch, sender)).await.expect("deliver ends");
    let mut all = Vec::new();
    while let Some(delivered) = receiver.recv().await {
        all.push(delivered);
    }
    assert_eq!(all.len(), count, "one outcome for each message");
    all.sort_by_key(|delivered| delivered.message.token);
    assert!(all.windows(2).all(|pair| pair[0].message.token != pair[1].message.token));
    all
}

fn yaml(scripted: &ScriptedServer) -> String {
    format!("{{host: 127.0.0.1, port: {}, encryption: None, replyTimeout: 600ms, heloName: me.example.com}}", scripted.address.port())
}

async fn start(extensions: &[&'static str], rules: &[Rule]) -> (ScriptedServer, Arc<dyn Server>) {
    let scripted = ScriptedServer::start(script(extensions, rules)).await;
    let server = server(&yaml(&scripted), context(&[]));
    (scripted, server)
}

fn taken(token: u64) -> Taken {
    Taken { from: "from@example.com".to_owned(), to: format!("r{token}@example.com"), content: content(token) }
}

/// Sends three messages by each mode and compares outcomes; also that the outcomes tell the truth.
async fn check(rules: &[Rule], expected: [[&str; 3]; 3]) {
    for ((mode, extensions), expected) in MODES.into_iter().zip(expected) {
        let (scripted, server) = start(extensions, rules).await;
        let all = deliver_all(&*server, vec![message(1), message(2), message(3)]).await;
        assert_eq!(words(&all), expected, "{mode} {rules:?}");
        let seen = scripted.taken();
        for delivered in &all {
            let count = seen.iter().filter(|one| **one == taken(delivered.message.token)).count();
            let is_true = match &delivered.outcome {
                Outcome::Accepted { reply } => count == 1 && reply == "250 2.0.0 Ok: queued" && delivered.round_trip.is_some(),
                Outcome::Unknown(_) => count <= 1,
                _ => count == 0,
            };
            assert!(is_true, "{mode} {rules:?}: {} was taken {count} times, and {:?}", delivered.message.token, delivered.outcome);
        }
        assert_eq!(seen.iter().filter(|one| !(1..=3).any(|token| **one == taken(token))).count(), 0, "{mode}: nothing mixed up");
    }
}

/// The same outcomes by each mode.
async fn check_same(rules: &[Rule], expected: [&str; 3]) {
    check(rules, [expected; 3]).await;
}

#[tokio::test]
async fn takes_what_is_good() {
    check_same(&[], ["accepted", "accepted", "accepted"]).await;
}

#[tokio::test]
async fn a_signature_goes_before_the_content_and_does_not_come_back() {
    let fields: Arc<[u8]> = Arc::from(&b"DKIM-Signature: v=1;\r\n b=abc=\r\n"[..]);
    for (mode, extensions) in MODES {
        let (scripted, server) = start(extensions, &[]).await;
        let took = Duration::from_millis(7);
        let sign = |token| Outgoing { signature: Some(Signature { fields: fields.clone(), took }), ..message(token) };
        let all = deliver_all(&*server, (1..=3).map(sign).collect()).await;
        let whole = |token| [&fields[..], &content(token)].concat();
        let signed: Vec<Taken> = (1..=3).map(|token| Taken { content: whole(token), ..taken(token) }).collect();
        assert_eq!(scripted.taken(), signed, "{mode}");
        let size = format!(" SIZE={}", whole(1).len());
        assert!(scripted.seen.lock().unwrap().commands.iter().any(|command| command.ends_with(&size)), "{mode}: the size is of the whole");
        for delivered in &all {
            assert!(matches!(delivered.outcome, Outcome::Accepted { .. }) && delivered.message.signature.is_none(), "{mode}");
            assert_eq!(
                (&delivered.message.content.whole()[..], delivered.signing),
                (&content(delivered.message.token)[..], took),
                "{mode}"
            );
            assert!(delivered.round_trip.is_some(), "{mode}: the server's alone");
        }
    }
}

#[tokio::test]
async fn refusals_are_about_one_message() {
    let cases: &[(Rule, &str)] = &[
        (("RCPT", 2, Say("550 5.1.1 no such user")), "rejected"),
        (("RCPT", 2, Say("501 5.1.3 bad address")), "rejected"),
        (("RCPT", 2, Say("450 4.2.1 greylisted")), "deferred"),
        (("RCPT", 2, Say("452 4.3.1 full")), "deferred"),
        (("MAIL", 2, Say("552 5.3.4 too large")), "MessageRejected"),
        (("CONTENT", 2, Say("554 5.7.1 spam")), "ContentRejected"),
        (("CONTENT", 2, Say("554 5.0.0 no")), "UnclearRejected"),
        (("CONTENT", 2, Say("451 4.3.0 later")), "deferred"),
        (("CONTENT", 2, Say("552-5.2.3 too\r\n552 5.2.3 large")), "MessageRejected"),
        (("MAIL", 2, Say("550 5.7.1 sender refused")), "SenderRejected"),
        (("MAIL", 2, Say("553 5.1.8 no such domain")), "SenderRejected"),
        (("MAIL", 2, Say("554 5.0.0 no")), "SenderRejected"),
    ];
    for (rule, word) in cases {
        check_same(&[*rule], ["accepted", word, "accepted"]).await;
        check_same(&[(rule.0, 0, rule.2)], [word, word, word]).await;
    }
    // Before the content; and an answer while the content is still on its way.
    for (event, extensions) in [("BDAT", CHUNKING), ("DATA", PIPELINING), ("DATA", PLAIN)] {
        for (text, expected) in [("554 5.7.1 no", "UnclearRejected"), ("451 4.3.0 later", "deferred")] {
            let (scripted, server) = start(extensions, &[(event, 2, Say(text))]).await;
            let all = deliver_all(&*server, vec![message(1), message(2), message(3)]).await;
            assert_eq!(words(&all), ["accepted", expected, "accepted"]);
            assert_eq!(scripted.taken(), [taken(1), taken(3)]);
        }
    }
}

#[tokio::test]
async fn a_refused_recipient_and_data_answered_354() {
    // RFC 2920, 3.1: an empty content ends what nobody receives.
    let rules = [("RCPT", 2, Say("550 5.1.1 no such user")), ("DATA", 2, SayEarly(""))];
    let (scripted, server) = start(PIPELINING, &rules).await;
    let all = deliver_all(&*server, vec![message(1), message(2), message(3)]).await;
    assert_eq!(words(&all), ["accepted", "rejected", "accepted"]);
    assert_eq!(scripted.taken(), [taken(1), taken(3)]);
}

#[tokio::test]
async fn refusals_about_us_fail_the_server() {
    let reasons: &[(&str, &'static str)] = &[
        ("530 5.7.0 authentication required", "failed:AuthenticationFailed"),
        ("451 4.7.1 slow down", "failed:Throttled"),
        ("452 4.5.3 too much", "failed:Throttled"),
        ("501 5.5.4 syntax", "failed:ProtocolError"),
    ];
    for &(text, failed) in reasons {
        check_same(&[("MAIL", 0, Say(text))], [failed; 3]).await;
        // What was on its way already is taken all the same; what was not, moves.
        check(&[("MAIL", 2, Say(text))], [["accepted", failed, "accepted"], ["accepted", failed, failed], ["accepted", failed, failed]])
            .await;
    }
    for (text, failed) in [
        ("530 5.7.0 log in first", "failed:AuthenticationFailed"),
        ("554 5.7.1 <r2@example.com>: Relay access denied", "failed:RelayDenied"),
    ] {
        check(&[("RCPT", 2, Say(text))], [["accepted", failed, "accepted"], ["accepted", failed, failed], ["accepted", failed, failed]])
            .await;
    }
    // A next server's word on one recipient is not about us.
    let quoted = "550 5.1.1 <r2@example.com>: Recipient address rejected: undeliverable address: host mx said: 554 Relay access denied";
    check_same(&[("RCPT", 2, Say(quoted))], ["accepted", "rejected", "accepted"]).await;
}

#[tokio::test]
async fn a_421_for_refused_recipients_ends_only_the_session() {
    let rules = [("RCPT", 1, Say("450 4.2.0 greylisted")), ("MAIL", 2, SayAndClose("421 4.7.0 Error: too many errors"))];
    check_same(&rules, ["deferred", "accepted", "accepted"]).await;
}

#[tokio::test]
async fn a_421_leaves_nothing_unknown() {
    let bye = SayAndClose("421 4.3.2 shutting down");
    let failed = "failed:ServiceNotAvailable";
    for event in ["MAIL", "RCPT", "CONTENT"] {
        check_same(&[(event, 1, bye)], [failed; 3]).await;
        check_same(&[(event, 2, bye)], ["accepted", failed, failed]).await;
        check_same(&[(event, 3, bye)], ["accepted", "accepted", failed]).await;
    }
    check_same(&[("MAIL", 2, SayAndClose("421 4.7.0 rate limited"))], ["accepted", "failed:Throttled", "failed:Throttled"]).await;
}

#[tokio::test]
async fn a_broken_line_is_judged_by_what_was_written() {
    // By BDAT all three are wholly written at once; by DATA only what the server asked for.
    let (unknown, failed) = ("unknown:ConnectionLost", "failed:ConnectionLost");
    for (rule, expected) in [
        (("MAIL", 1, Close), [[unknown; 3], [failed; 3], [failed; 3]]),
        (("MAIL", 2, Close), [["accepted", unknown, unknown], ["accepted", failed, failed], ["accepted", failed, failed]]),
        (("RCPT", 2, Close), [["accepted", unknown, unknown], ["accepted", failed, failed], ["accepted", failed, failed]]),
        (("CONTENT", 2, Close), [["accepted", unknown, unknown], ["accepted", unknown, failed], ["accepted", unknown, failed]]),
        (("TAKEN", 1, Close), [[unknown; 3], [unknown, failed, failed], [unknown, failed, failed]]),
        (("TAKEN", 3, Close), [["accepted", "accepted", unknown]; 3]),
    ] {
        check(&[rule], expected).await;
    }
}

#[tokio::test]
async fn silence_is_judged_by_what_was_written() {
    let (unknown, failed) = ("unknown:TimedOut", "failed:TimedOut");
    // A reply that comes byte by byte is awaited no longer than one that does not come.
    for act in [Hang, Mute, Drip("250 2.1.0 a reply that takes its time")] {
        check(&[("MAIL", 2, act)], [["accepted", unknown, unknown], ["accepted", failed, failed], ["accepted", failed, failed]]).await;
    }
    for act in [Hang, Drip("250 2.0.0 Ok: queued, and more of it")] {
        check(&[("TAKEN", 2, act)], [["accepted", unknown, unknown], ["accepted", unknown, failed], ["accepted", unknown, failed]]).await;
    }
}

#[tokio::test]
async fn garbage_is_judged_by_what_was_written() {
    let (unknown, failed) = ("unknown:ProtocolError", "failed:ProtocolError");
    for text in ["HTTP/1.1 200 OK", "999 what", "354 go on"] {
        check(&[("CONTENT", 2, Say(text))], [["accepted", unknown, unknown], ["accepted", unknown, failed], ["accepted", unknown, failed]])
            .await;
    }
    // A reply too many shifts all that follow: it is noticed before the next message at the latest.
    let (_scripted, server) = start(PLAIN, &[("TAKEN", 1, Before("250 2.0.0 Ok: queued\r\n250 2.0.0 Ok: queued"))]).await;
    let all = deliver_all(&*server, vec![message(1)]).await;
    assert_eq!(word(&all[0].outcome), "accepted");
}

#[tokio::test]
async fn a_refusal_holds_when_the_line_breaks_after_it() {
    for (extensions, rules) in [
        (CHUNKING, [("RCPT", 1, Say("550 5.1.1 no")), ("BDAT", 1, Close)]),
        (PIPELINING, [("RCPT", 1, Say("550 5.1.1 no")), ("DATA", 1, Close)]),
    ] {
        let (_scripted, server) = start(extensions, &rules).await;
        assert_eq!(word(&deliver_all(&*server, vec![message(1)]).await[0].outcome), "rejected");
    }
}

#[tokio::test]
async fn a_message_of_which_a_part_was_written_moves() {
    // More than all buffers between the two sides hold.
    let big = |token| Outgoing { content: vec![b'x'; 30_000_000].into(), ..message(token) };
    for (extensions, event) in [(&["PIPELINING", "CHUNKING"][..], "BDAT"), (&["PIPELINING"], "DATA"), (&[], "DATA")] {
        let (_scripted, server) = start(extensions, &[(event, 2, CloseInContent(1000))]).await;
        let all = deliver_all(&*server, vec![message(1), big(2), message(3)]).await;
        assert_eq!(words(&all), ["accepted", "failed:ConnectionLost", "failed:ConnectionLost"], "{event}");
        let (_scripted, server) = start(extensions, &[(event, 2, Hang)]).await;
        let all = deliver_all(&*server, vec![message(1), big(2), message(3)]).await;
        assert_eq!(words(&all), ["accepted", "failed:TimedOut", "failed:TimedOut"], "{event}");
    }
}

#[tokio::test]
async fn large_contents_arrive_whole() {
    // Longer than what is gathered for one write, with dots and cuts at every place.
    let text: Vec<u8> = (0..40_000).flat_map(|line| format!("{}line {line}\r\n", ".".repeat(line % 3)).into_bytes()).collect();
    for extensions in [&["PIPELINING", "CHUNKING"][..], &["PIPELINING"], &[]] {
        let (scripted, server) = start(extensions, &[]).await;
        let batch = (1..=4).map(|token| Outgoing { content: text.clone().into(), ..message(token) }).collect();
        assert!(deliver_all(&*server, batch).await.iter().all(|one| word(&one.outcome) == "accepted"));
        assert!(scripted.taken().len() == 4 && scripted.taken().iter().all(|one| one.content == text));
    }
}

/// A server that takes one message by BDAT, and reads it slowly.
async fn slow_reader(mut stream: tokio::net::TcpStream) -> std::io::Result<usize> {
    let mut buffer = vec![0; 256 * 1024];
    let mut seen = String::new();
    stream.write_all(b"220 slow ESMTP\r\n").await?;
    while !seen.ends_with("\r\n") {
        let read = stream.read(&mut buffer).await?;
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    stream.write_all(b"250-slow\r\n250-PIPELINING\r\n250 CHUNKING\r\n").await?;
    let mut taken = String::new();
    let size = loop {
        let read = stream.read(&mut buffer).await?;
        taken.push_str(&String::from_utf8_lossy(&buffer[..read]));
        if let Some((command, content)) = taken.split_once(" LAST\r\n") {
            let size: usize = command.rsplit_once("BDAT ").expect("a command").1.parse().expect("a size");
            break size - content.len();
        }
    };
    let mut left = size;
    while left > 0 {
        // The line is full meanwhile.
        tokio::time::sleep(Duration::from_millis(2)).await;
        left -= stream.read(&mut buffer).await?.min(left);
    }
    stream.write_all(b"250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.0.0 Ok\r\n").await?;
    Ok(size)
}

#[tokio::test]
async fn a_content_goes_on_after_the_line_was_full() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let reader = tokio::spawn(async move { slow_reader(listener.accept().await?.0).await });
    let yaml = format!("{{host: 127.0.0.1, port: {port}, encryption: None, replyTimeout: 10s, heloName: me.example.com}}");
    let server = server(&yaml, context(&[]));
    let large = Outgoing { content: b"0123456789\r\n".repeat(1 << 20).into(), ..message(1) };
    let all = tokio::time::timeout(Duration::from_secs(60), deliver_all(&*server, vec![large])).await.expect("it ends");
    assert_eq!(words(&all), ["accepted"]);
    assert!(reader.await.expect("it ends").expect("it reads") > 8 << 20);
}

#[tokio::test]
async fn an_early_refusal_ends_the_message_and_not_the_line() {
    let big = |token| Outgoing { content: vec![b'x'; 400_000].into(), ..message(token) };
    let (scripted, server) = start(&["PIPELINING", "CHUNKING"], &[("BDAT", 2, SayEarly("552 5.3.4 too large"))]).await;
    let all = deliver_all(&*server, vec![message(1), big(2), message(3)]).await;
    assert_eq!(words(&all), ["accepted", "MessageRejected", "accepted"]);
    assert_eq!(scripted.taken(), [taken(1), taken(3)]);
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_not_a_failing_server() {
    for (mode, extensions) in MODES {
        for idle in [Close, SayAndClose("421 4.4.2 idle for too long")] {
            let (scripted, server) = start(extensions, &[("MAIL", 2, idle)]).await;
            assert_eq!(word(&deliver_all(&*server, vec![message(1)]).await[0].outcome), "accepted");
            // Idle for long enough that no content is entrusted to it unasked.
            tokio::time::sleep(Duration::from_millis(120)).await;
            let all = deliver_all(&*server, vec![message(2), message(3)]).await;
            assert!(all.iter().all(|one| word(&one.outcome) == "accepted"), "{mode} {idle:?} {:?}", words(&all));
            assert_eq!(scripted.taken(), [taken(1), taken(2), taken(3)]);
            assert_eq!(scripted.seen.lock().unwrap().connections, 2);
        }
        // Closed in the meantime: noticed before it is used.
        let (scripted, server) = start(extensions, &[("TAKEN", 1, SayAndClose("250 2.0.0 Ok: queued"))]).await;
        assert_eq!(word(&deliver_all(&*server, vec![message(1)]).await[0].outcome), "accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!(word(&deliver_all(&*server, vec![message(2)]).await[0].outcome), "accepted", "{mode}");
        assert_eq!(scripted.taken(), [taken(1), taken(2)]);
    }
}

#[tokio::test]
async fn connections_are_kept_and_limited() {
    for (mode, extensions) in MODES {
        let scripted = ScriptedServer::start(script(extensions, &[])).await;
        let mut limited = context(&[]);
        limited.messages_per_connection = 3;
        let server = server(&yaml(&scripted), limited);
        assert_eq!(server.carriage(), Carriage::default());
        assert!(matches!(server.probe().await, Some(Ok(_))), "{mode}");
        assert_eq!(
            server.carriage(),
            match mode {
                "chunking" => Carriage { is_windowed: true, ..Carriage::batches(32) },
                "pipelining" => Carriage { ahead: 1, ..Carriage::default() },
                _ => Carriage::default(),
            }
        );
        for token in 1..=2 {
            deliver_all(&*server, vec![message(token)]).await;
        }
        assert_eq!(scripted.count("EHLO"), 2, "the probe's, and one for both messages");
        let all = deliver_all(&*server, (3..=8).map(message).collect()).await;
        assert!(all.iter().all(|one| word(&one.outcome) == "accepted"), "{mode}");
        // 1 2 3 | 4 5 6 | 7 8: three connections, two of them used up.
        assert_eq!((scripted.count("EHLO"), scripted.count("QUIT")), (4, 3), "{mode}");
        server.close().await;
        assert_eq!(scripted.count("QUIT"), 4);
        assert_eq!(scripted.taken(), (1..=8).map(taken).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn no_more_connections_than_allowed() {
    let (scripted, server) = start(CHUNKING, &[]).await;
    let mut tasks = tokio::task::JoinSet::new();
    for token in 1..=10 {
        let server = Arc::clone(&server);
        tasks.spawn(async move { deliver_all(&*server, vec![message(token)]).await });
    }
    while let Some(all) = tasks.join_next().await {
        assert_eq!(word(&all.unwrap()[0].outcome), "accepted");
    }
    assert!(scripted.seen.lock().unwrap().connections <= 2);
}

#[tokio::test]
async fn extensions_are_honoured() {
    let utf8 = Outgoing { rcpt_to: Arc::from("jörg@example.com"), ..message(2) };
    let eight = Outgoing { needs_8bit: true, ..message(3) };
    let large = Outgoing { content: vec![b'x'; 100_001].into(), ..message(4) };
    let (scripted, server) = start(CHUNKING, &[]).await;
    let all = deliver_all(&*server, vec![message(1), utf8, eight, large]).await;
    assert_eq!(words(&all), ["accepted", "accepted", "accepted", "MessageRejected"]);
    let size = content(1).len();
    let mails: Vec<_> = scripted.seen.lock().unwrap().commands.iter().filter(|c| c.starts_with("MAIL")).cloned().collect();
    let plain = format!("MAIL FROM:<from@example.com> SIZE={size}");
    assert_eq!(mails, [plain.clone(), format!("{plain} SMTPUTF8"), format!("{plain} BODY=8BITMIME")]);

    let (scripted, server) = start(PLAIN, &[]).await;
    let utf8 = Outgoing { needs_smtputf8: true, ..message(1) };
    let eight = Outgoing { needs_8bit: true, ..message(2) };
    let all = deliver_all(&*server, vec![utf8, eight, message(3)]).await;
    assert_eq!(words(&all), ["MessageRejected", "MessageRejected", "accepted"]);
    assert_eq!((scripted.count("MAIL"), scripted.taken()), (1, vec![taken(3)]));
}

#[tokio::test]
async fn no_address_can_smuggle_a_command() {
    let smuggled = ["a@x>\r\nRCPT TO:<b@x", "a@x\r\nDATA", "a\n@x", "<a@x>", "a@x\0", "a\u{85}@x", "", &"a".repeat(400)];
    for (_, extensions) in MODES {
        let (scripted, server) = start(extensions, &[]).await;
        let recipients = smuggled.iter().zip(10..).map(|(bad, token)| Outgoing { rcpt_to: Arc::from(*bad), ..message(token) });
        let senders = smuggled[..6].iter().zip(30..).map(|(bad, token)| Outgoing { mail_from: Arc::from(*bad), ..message(token) });
        let all = deliver_all(&*server, recipients.chain(senders).collect()).await;
        let expected = [vec!["rejected"; smuggled.len()], vec!["SenderRejected"; 6]].concat();
        assert_eq!(words(&all), expected);
        assert_eq!((scripted.count("MAIL"), scripted.count("RCPT")), (0, 0));
        let bounce = Outgoing { mail_from: Arc::from(""), ..message(1) };
        assert_eq!(word(&deliver_all(&*server, vec![bounce]).await[0].outcome), "accepted", "the null sender");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_takes_nothing() {
    for act in [Close, SayAndClose("421 4.3.2 down"), Act::Hang] {
        let (_scripted, server) = start(CHUNKING, &[("CONNECT", 0, act)]).await;
        let all = deliver_all(&*server, vec![message(1), message(2)]).await;
        assert!(all.iter().all(|one| matches!(one.outcome, Outcome::ServerFailed(_))), "{:?}", words(&all));
    }
}

#[tokio::test]
async fn a_dropped_delivery_gives_every_outcome() {
    for (extensions, expected) in [
        (CHUNKING, ["accepted", "unknown:Unresponsive", "unknown:Unresponsive"]),
        (PLAIN, ["accepted", "unknown:Unresponsive", "failed:Unresponsive"]),
    ] {
        let (_scripted, server) = start(extensions, &[("TAKEN", 2, Hang)]).await;
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let delivery = server.deliver(vec![message(1), message(2), message(3)], sender);
        assert!(tokio::time::timeout(Duration::from_millis(300), delivery).await.is_err());
        let mut words = Vec::new();
        while let Some(delivered) = receiver.recv().await {
            words.push(word(&delivered.outcome));
        }
        assert_eq!(words, expected);
        // Never polled.
        let (sender, mut receiver) = mpsc::unbounded_channel();
        drop(server.deliver(vec![message(1)], sender));
        assert_eq!(word(&receiver.recv().await.unwrap().outcome), "failed:Unresponsive");
    }
}

#[tokio::test]
async fn tls_carries_batches_as_well() {
    let (acceptor, pem) = certificate(&["localhost"]);
    for (extensions, is_implicit_tls) in [(CHUNKING, true), (PIPELINING, false)] {
        let offered = [extensions, &["STARTTLS"]].concat();
        let mut script = script(&offered, &[("MAIL", 22, SayAndClose("421 4.3.2 bye"))]);
        (script.tls, script.is_implicit_tls) = (Some(acceptor.clone()), is_implicit_tls);
        let scripted = ScriptedServer::start(script).await;
        let encryption = if is_implicit_tls { "Tls" } else { "StartTls" };
        let yaml =
            format!("{{host: localhost, port: {}, encryption: {encryption}, caRef: {{name: ca, key: crt}}}}", scripted.address.port());
        let server = server(&yaml, context(&[("ca", "crt", &pem)]));
        let large: Vec<u8> = b"0123456789\r\n".repeat(10_000 / 12 * 9);
        let batch = |tokens: std::ops::RangeInclusive<u64>| {
            tokens.map(|token| Outgoing { content: large.clone().into(), ..message(token) }).collect()
        };
        assert!(words(&deliver_all(&*server, batch(1..=20)).await).iter().all(|word| word == "accepted"));
        assert_eq!(
            words(&deliver_all(&*server, batch(21..=23)).await),
            ["accepted", "failed:ServiceNotAvailable", "failed:ServiceNotAvailable"]
        );
        assert!(scripted.taken().len() == 21 && scripted.taken().iter().all(|one| one.content == large));
    }
}

#[tokio::test]
async fn shared_parts_arrive_where_they_stand_in_every_mode() {
    let own = "Subject: x\r\n\r\n--b\r\n\r\n.own\r\n--b--\r\n.\r\n";
    let at = own.find(".own").expect("there");
    // Together longer than what is gathered at a time, and with lines that begin with a dot at its start and at its end.
    let shared = Shared::new([&b".first\r\n"[..], &b"0123456789\r\n".repeat(3_400), b"..\r\n"].concat());
    for (mode, extensions) in MODES {
        let scripted = ScriptedServer::start(script(extensions, &[])).await;
        let server = server(&yaml(&scripted), context(&[]));
        let inserts = || vec![(at, shared.clone()), (own.len(), shared.clone())];
        let batch = (1..=5).map(|token| Outgoing { content: Pieces::with(own.into(), inserts()), ..message(token) }).collect();
        let all = deliver_all(&*server, batch).await;
        assert!(words(&all).iter().all(|word| word == "accepted"), "{mode}: {:?}", words(&all));
        let whole = [&own.as_bytes()[..at], shared.bytes(), &own.as_bytes()[at..], shared.bytes()].concat();
        assert!(scripted.taken().len() == 5 && scripted.taken().iter().all(|one| one.content == whole), "{mode}");
        drop(all);
        assert_eq!(Arc::strong_count(&shared), 1, "{mode}: nothing holds it afterwards");
    }
}

#[tokio::test]
async fn replies_before_a_reset_are_not_lost() {
    // Contents that fill the server's buffer, so that it closes with bytes unread; as Postfix does after a 421.
    let batch = || (1..=6).map(|token| Outgoing { content: b"0123456789\r\n".repeat(1000).into(), ..message(token) }).collect();
    for event in ["MAIL", "RCPT"] {
        let mut script = script(CHUNKING, &[(event, 3, SayAndReset("421 4.3.2 going down"))]);
        script.is_nagling = true;
        let scripted = ScriptedServer::start(script).await;
        let server = server(&yaml(&scripted), context(&[]));
        let failed = "failed:ServiceNotAvailable";
        assert_eq!(words(&deliver_all(&*server, batch()).await), ["accepted", "accepted", failed, failed, failed, failed], "{event}");
    }
}

#[tokio::test]
async fn a_batch_costs_few_round_trips() {
    // A server that answers 20 ms late, whatever comes: its round trips can be counted by the clock.
    for (extensions, most) in [(CHUNKING, 200), (PIPELINING, 700)] {
        let scripted = ScriptedServer::start(script(extensions, &[])).await;
        let proxy = super::delay::start(scripted.address, Duration::from_millis(10)).await;
        let yaml = format!("{{host: 127.0.0.1, port: {}, encryption: None}}", proxy.port());
        let server = server(&yaml, context(&[]));
        deliver_all(&*server, vec![message(100)]).await;
        let started = std::time::Instant::now();
        let all = deliver_all(&*server, (1..=20).map(message).collect()).await;
        assert!(all.iter().all(|one| word(&one.outcome) == "accepted"));
        assert!(started.elapsed() < Duration::from_millis(most), "{:?}", started.elapsed());
    }
}
