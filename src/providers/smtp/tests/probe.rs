use super::{
    CHUNKING, PLAIN, certificate, context, script,
    script::{Act, Rule, ScriptedServer},
    server,
};
use crate::{
    meta::{Reason, Reason::*},
    providers::{Blocker, Probed},
};

const LOGIN: &[(&str, &str, &str)] = &[("login", "username", "user"), ("login", "password", "hunter2")];

type Case<'a> = (&'a [&'static str], &'a [Rule], &'a str, Reason, bool, &'a str);

async fn probe(
    extensions: &[&'static str],
    rules: &[Rule],
    yaml: &str,
    secrets: &[(&str, &str, &str)],
) -> (ScriptedServer, Result<Probed, Blocker>) {
    let scripted = ScriptedServer::start(script(extensions, rules)).await;
    let yaml = format!("{{host: 127.0.0.1, port: {}, {yaml}}}", scripted.address.port());
    let result = server(&yaml, context(secrets)).probe().await.unwrap();
    if let Err(failure) = &result {
        let message = &failure.message;
        assert!(message.starts_with("Connection failed: "), "{message}");
        assert!(message.contains(&format!("(127.0.0.1:{})", scripted.address.port())), "{message}");
        assert!(message.ends_with('.') && message.chars().count() < 600, "{message}");
        for (_, _, secret) in secrets.iter().filter(|secret| secret.1 != "username") {
            assert!(!message.contains(secret) && !format!("{failure:?}").contains(secret), "{message}");
        }
    }
    (scripted, result)
}

#[tokio::test]
async fn every_step_has_its_reason() {
    let long = Box::leak(format!("220 {}", "x".repeat(5000)).into_boxed_str());
    let endless = Box::leak("220-more\r\n".repeat(100).into_boxed_str());
    let injected = "220 go\r\n250 injected";
    let none = "encryption: None";
    let auth = "encryption: None, auth: {secretRef: {name: login}}";
    let tls = "encryption: StartTls";
    let offers = &["AUTH PLAIN"][..];
    // What the server offers and does, the spec, the reason, whether a person is needed, words in the message.
    let cases: &[Case] = &[
        (PLAIN, &[("CONNECT", 0, Act::SayAndClose("554 5.7.1 go away"))], none, ServiceNotAvailable, false, "`554 5.7.1 go away`"),
        (PLAIN, &[("CONNECT", 0, Act::SayAndClose("421 4.3.2 down"))], none, ServiceNotAvailable, false, "421"),
        (
            PLAIN,
            &[("CONNECT", 0, Act::SayAndClose("421 4.7.0 too many connections"))],
            none,
            TooManyConnections,
            false,
            "limits.connections",
        ),
        (PLAIN, &[("CONNECT", 0, Act::Close)], none, ConnectionLost, false, "greeting"),
        (PLAIN, &[("CONNECT", 0, Act::Hang)], none, TimedOut, false, "700ms"),
        (PLAIN, &[("CONNECT", 0, Act::Say("SSH-2.0-OpenSSH_9"))], none, ProtocolError, false, "not SMTP"),
        (PLAIN, &[("CONNECT", 0, Act::Say(long))], none, ProtocolError, false, "longer than 2048"),
        (PLAIN, &[("CONNECT", 0, Act::Say(endless))], none, ProtocolError, false, "more than 64"),
        (PLAIN, &[("EHLO", 0, Act::Close)], none, ConnectionLost, false, "EHLO"),
        (PLAIN, &[("EHLO", 0, Act::Hang)], none, TimedOut, false, "EHLO"),
        (PLAIN, &[("EHLO", 0, Act::Say("550 your name is bad"))], tls, ServiceNotAvailable, false, "your name is bad"),
        (PLAIN, &[("EHLO", 0, Act::Say("502 what?")), ("HELO", 0, Act::Say("550 no"))], none, ServiceNotAvailable, false, "HELO"),
        (PLAIN, &[], tls, StartTlsNotOffered, true, "STARTTLS"),
        (&["STARTTLS"], &[("STARTTLS", 0, Act::Say("454 4.7.0 not now"))], tls, TlsFailed, false, "not now"),
        (&["STARTTLS"], &[("STARTTLS", 0, Act::Say(injected))], tls, ProtocolError, true, "unencrypted data"),
        (&["STARTTLS"], &[("STARTTLS", 0, Act::SayAndClose("220 go"))], tls, ConnectionLost, false, "TLS handshake"),
        (&["STARTTLS"], &[("STARTTLS", 0, Act::Close)], tls, ConnectionLost, false, "STARTTLS"),
        (PLAIN, &[], "encryption: Tls", TlsFailed, true, "did not answer with TLS"),
        (PLAIN, &[], auth, AuthenticationNotOffered, true, "SCRAM-SHA-256, PLAIN or LOGIN"),
        (
            &["AUTH LOGIN CRAM-MD5"],
            &[],
            "encryption: None, auth: {mechanism: Plain, secretRef: {name: login}}",
            AuthenticationNotOffered,
            true,
            "PLAIN",
        ),
        (
            offers,
            &[("AUTH", 0, Act::Say("535 5.7.8 no, not hunter2 nor AHVzZXIAaHVudGVyMg=="))],
            auth,
            AuthenticationFailed,
            true,
            "not *** nor ***`",
        ),
        (offers, &[("AUTH", 0, Act::Say("454 4.7.0 try later"))], auth, AuthenticationFailed, false, "try later"),
        (offers, &[("AUTH", 0, Act::SayAndClose("421 4.7.0 bye"))], auth, ServiceNotAvailable, false, "bye"),
        (offers, &[("AUTH", 0, Act::Close)], auth, ConnectionLost, false, "AUTH"),
        (&["AUTH SCRAM-SHA-256"], &[("PROOF", 0, Act::Say("334 dj1BQUFB"))], auth, AuthenticationFailed, true, "could not prove"),
        (&["AUTH SCRAM-SHA-256"], &[("AUTH", 0, Act::Say("334 cj1hLHM9QUE9PSxpPTE="))], auth, AuthenticationFailed, true, "SCRAM nonce"),
    ];
    for (extensions, rules, yaml, reason, needs_person, words) in cases {
        let (_, result) = probe(extensions, rules, yaml, LOGIN).await;
        let failure = result.expect_err(words);
        assert_eq!((failure.reason, failure.needs_person), (*reason, *needs_person), "{failure}");
        assert!(failure.message.contains(words), "{failure}");
    }
}

#[tokio::test]
async fn a_healthy_server_is_left_cleanly() {
    let (scripted, result) = probe(CHUNKING, &[], "encryption: None, heloName: me.example.com", &[]).await;
    assert_eq!(result, Ok(Probed { size_max: Some(100_000), ..Probed::default() }));
    assert_eq!(scripted.seen.lock().unwrap().commands, ["EHLO me.example.com", "QUIT"]);
    assert_eq!(scripted.taken(), []);
    // An old server without EHLO, and one that never answers QUIT.
    assert_eq!(probe(PLAIN, &[("EHLO", 0, Act::Say("500 what?"))], "encryption: None", &[]).await.1, Ok(Probed::default()));
    assert_eq!(probe(PLAIN, &[("QUIT", 0, Act::Close)], "encryption: None", &[]).await.1, Ok(Probed::default()));
}

#[tokio::test]
async fn a_login_that_is_missing_is_noticed() {
    let offers = &["AUTH PLAIN"][..];
    let refused = |reply: &'static str| [("MAIL", 0, Act::Say(reply))];
    for (reply, reason) in [
        ("530 Authentication required", AuthenticationFailed),
        ("530 5.7.0 Authentication required", AuthenticationFailed),
        ("530 5.7.0 <>: Sender address rejected: Authentication required", AuthenticationFailed),
        ("550 5.7.1 Client was not authenticated", AuthenticationFailed),
        ("530 5.7.0 Must issue a STARTTLS command first", StartTlsRequired),
    ] {
        let (scripted, result) = probe(offers, &refused(reply), "encryption: None", &[]).await;
        let failure = result.expect_err(reply);
        assert_eq!((failure.reason, failure.needs_person), (reason, true), "{failure}");
        assert!(failure.message.contains(reply), "{failure}");
        assert_eq!(failure.message.contains("auth.secretRef"), reason == AuthenticationFailed, "{failure}");
        assert_eq!((scripted.count("MAIL FROM:<>"), scripted.count("RCPT"), scripted.count("QUIT")), (1, 0, 1));
    }
    // It takes mail without one, and nothing but a refusal says otherwise.
    let (scripted, result) = probe(offers, &[], "encryption: None", &[]).await;
    assert_eq!((result, scripted.count("MAIL"), scripted.count("RSET"), scripted.taken().len()), (Ok(Probed::default()), 1, 1, 0));
    for act in [Act::Say("451 4.3.0 later"), Act::Say("550 5.1.7 no empty sender here"), Act::SayAndClose("421 4.3.2 busy"), Act::Close] {
        assert_eq!(probe(offers, &[("MAIL", 0, act)], "encryption: None", &[]).await.1, Ok(Probed::default()), "{act:?}");
    }
    // Nobody is asked who offers no login, or has been given one.
    let (scripted, result) = probe(PLAIN, &refused("530 Authentication required"), "encryption: None", &[]).await;
    assert_eq!((result, scripted.count("MAIL")), (Ok(Probed::default()), 0));
    let with_login = "encryption: None, auth: {secretRef: {name: login}}";
    let (scripted, result) = probe(offers, &refused("530 Authentication required"), with_login, LOGIN).await;
    assert_eq!((result, scripted.count("MAIL")), (Ok(Probed::default()), 0));
}

#[tokio::test]
async fn every_mechanism_logs_in_and_is_refused() {
    let token = &[("login", "username", "user"), ("login", "token", "tok-3n")][..];
    let bad = &[("login", "username", "user"), ("login", "password", "hunter3")][..];
    let old = &[("login", "username", "user"), ("login", "token", "tok-old")][..];
    for (mechanism, offers, good, bad) in [
        ("Plain", "AUTH PLAIN LOGIN", LOGIN, bad),
        ("Login", "AUTH PLAIN LOGIN", LOGIN, bad),
        ("ScramSha256", "AUTH SCRAM-SHA-256 PLAIN", LOGIN, bad),
        ("XOAuth2", "AUTH XOAUTH2 PLAIN", token, old),
    ] {
        for asked in [format!("mechanism: {mechanism}, "), String::new()] {
            let yaml = format!("encryption: None, auth: {{{asked}secretRef: {{name: login}}}}");
            assert_eq!(probe(&[offers], &[], &yaml, good).await.1, Ok(Probed::default()), "{mechanism}");
            let failure = probe(&[offers], &[], &yaml, bad).await.1.unwrap_err();
            assert_eq!((failure.reason, failure.needs_person), (AuthenticationFailed, true), "{failure}");
        }
    }
    let scripted = probe(&["AUTH LOGIN PLAIN SCRAM-SHA-256"], &[], "encryption: None, auth: {secretRef: {name: login}}", LOGIN).await.0;
    assert_eq!((scripted.count("AUTH"), scripted.count("AUTH SCRAM-SHA-256")), (1, 1), "the strongest");
}

#[tokio::test]
async fn certificates_are_checked() {
    let (acceptor, pem) = certificate(&["localhost", "mail.example.com"]);
    let (_, other) = certificate(&["localhost"]);
    for is_implicit_tls in [false, true] {
        let mut script = script(&["STARTTLS", "AUTH PLAIN", "PIPELINING"], &[]);
        (script.tls, script.is_implicit_tls) = (Some(acceptor.clone()), is_implicit_tls);
        let scripted = ScriptedServer::start(script).await;
        let encryption = if is_implicit_tls { "Tls" } else { "StartTls" };
        let common = format!("port: {}, encryption: {encryption}, auth: {{secretRef: {{name: login}}}}", scripted.address.port());
        let ca = "caRef: {name: ca, key: ca.crt}";
        for (yaml, ca_pem, words) in [
            (format!("{{host: localhost, {common}, {ca}}}"), &pem, None),
            (format!("{{host: 127.0.0.1, tlsServerName: mail.example.com, {common}, {ca}}}"), &pem, None),
            (format!("{{host: 127.0.0.1, {common}, {ca}}}"), &pem, Some("not for `127.0.0.1`")),
            (format!("{{host: localhost, {common}, {ca}}}"), &other, Some("not signed by a trusted CA")),
            (format!("{{host: localhost, {common}}}"), &pem, Some("not signed by a trusted CA")),
        ] {
            let secrets = [LOGIN, &[("ca", "ca.crt", ca_pem.as_str())]].concat();
            let result = server(&yaml, context(&secrets)).probe().await.unwrap();
            match words {
                None => assert_eq!(result, Ok(Probed::default()), "{yaml}"),
                Some(words) => {
                    let failure = result.expect_err(words);
                    assert_eq!((failure.reason, failure.needs_person), (TlsFailed, true), "{failure}");
                    assert!(failure.message.contains(words), "{failure}");
                }
            }
        }
        assert_eq!(scripted.count("AUTH"), 2, "no password without a checked certificate");
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for (host, reason, words) in [("127.0.0.1", ConnectionRefused, "nothing listens"), ("no-such-host.invalid", NameNotResolved, "name")] {
        let failure =
            server(&format!("{{host: {host}, port: {port}, encryption: None}}"), context(&[])).probe().await.unwrap().unwrap_err();
        assert_eq!((failure.reason, failure.needs_person), (reason, false), "{failure}");
        assert!(failure.message.contains(words) && failure.message.contains(&format!("({host}:{port})")), "{failure}");
    }
}

#[tokio::test]
async fn a_mechanism_that_is_offered_and_unknown_is_followed_by_the_next() {
    let auth = "encryption: None, auth: {secretRef: {name: login}}";
    let bad = &[("login", "username", "user"), ("login", "password", "hunter3")][..];
    let unknown = Act::Say("504 5.7.4 Unrecognized authentication type");
    let offers = &["AUTH PLAIN LOGIN"][..];
    let (scripted, result) = probe(offers, &[("AUTH", 1, unknown)], auth, LOGIN).await;
    assert_eq!((result, scripted.count("AUTH PLAIN"), scripted.count("AUTH LOGIN")), (Ok(Probed::default()), 1, 1));
    let all = &["AUTH LOGIN PLAIN SCRAM-SHA-256"][..];
    let (scripted, result) = probe(all, &[("AUTH", 1, unknown), ("AUTH", 2, Act::Say("500 5.5.1 what?"))], auth, LOGIN).await;
    assert_eq!((result, scripted.count("AUTH")), (Ok(Probed::default()), 3));
    // Each once, and then there is none.
    let (scripted, result) = probe(all, &[("AUTH", 0, unknown)], auth, LOGIN).await;
    let failure = result.unwrap_err();
    assert_eq!((failure.reason, failure.needs_person, scripted.count("AUTH")), (AuthenticationNotOffered, true, 3), "{failure}");
    assert!(failure.message.contains("LOGIN") && failure.message.contains("auth.mechanism"), "{failure}");
    // The one that was asked for, and no other.
    let asked = "encryption: None, auth: {mechanism: Plain, secretRef: {name: login}}";
    let (scripted, result) = probe(offers, &[("AUTH", 1, unknown)], asked, LOGIN).await;
    assert_eq!((result.unwrap_err().reason, scripted.count("AUTH")), (AuthenticationNotOffered, 1));
    // A refused login is not tried again: servers count them.
    let (scripted, result) = probe(all, &[], auth, bad).await;
    assert_eq!((result.unwrap_err().reason, scripted.count("AUTH")), (AuthenticationFailed, 1));
    let (scripted, result) = probe(offers, &[("AUTH", 1, unknown)], auth, bad).await;
    assert_eq!((result.unwrap_err().reason, scripted.count("AUTH")), (AuthenticationFailed, 2));
}
