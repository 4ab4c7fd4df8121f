use super::{certificate, context, spec};
use crate::{
    providers::{
        Blocker, Provider,
        smtp::{Encryption, open::advised},
    },
    resources::Reason,
};

#[test]
fn the_port_follows_the_encryption() {
    for (yaml, address) in [
        ("{host: a.example}", "a.example:587, StartTls"),
        ("{host: a.example, encryption: Tls}", "a.example:465, Tls"),
        ("{host: a.example, encryption: None}", "a.example:25, None"),
        ("{host: a.example, port: 2525}", "a.example:2525, StartTls"),
        ("{host: '::1', encryption: None}", "[::1]:25, None"),
        ("{host: '[::1]', encryption: None}", "[::1]:25, None"),
    ] {
        assert_eq!(spec(yaml).address(), address);
    }
}

#[test]
fn secrets_by_mechanism() {
    for (mechanism, keys) in [
        ("", "username password? token?"),
        ("mechanism: Plain, ", "username password"),
        ("mechanism: Login, ", "username password"),
        ("mechanism: ScramSha256, ", "username password"),
        ("mechanism: XOAuth2, ", "username token"),
    ] {
        let uses = spec(&format!("{{host: a, auth: {{{mechanism}secretRef: {{name: x}}}}, caRef: {{name: ca, key: crt}}}}")).secrets();
        let found: Vec<_> = uses.iter().map(|used| format!("{}{}", used.key.key, if used.optional { "?" } else { "" })).collect();
        assert_eq!(found.join(" "), format!("{keys} crt"));
        assert!(uses[0].path == "spec.provider.smtp.auth.secretRef" && uses.last().unwrap().path == "spec.provider.smtp.caRef");
    }
}

#[test]
fn unusable_secrets_are_reported() {
    let pem = certificate(&["a"]).1;
    let (user, password, token) = (("x", "username", "u"), ("x", "password", "hunter2\n"), ("x", "token", "access"));
    for (mechanism, ca, secrets, reason) in [
        ("", false, &[user, password][..], None),
        ("", false, &[user, token], None),
        ("", false, &[user], Some(Reason::SecretKeyNotFound)),
        ("", false, &[password], Some(Reason::SecretKeyNotFound)),
        ("mechanism: XOAuth2, ", false, &[user, password], Some(Reason::SecretKeyNotFound)),
        ("mechanism: Plain, ", false, &[user, token], Some(Reason::SecretKeyNotFound)),
        ("", false, &[user, ("x", "password", "hunter2\0x")], Some(Reason::SecretInvalid)),
        ("", false, &[user, ("x", "password", "")], Some(Reason::SecretInvalid)),
        ("", false, &[user, ("x", "password", "abc")], Some(Reason::SecretInvalid)),
        ("", false, &[("x", "username", "ann"), ("x", "password", "abcd")], None),
        ("", true, &[user, password, ("ca", "crt", &pem)], None),
        ("", true, &[user, password], Some(Reason::SecretKeyNotFound)),
        ("", true, &[user, password, ("ca", "crt", "hunter2")], Some(Reason::SecretInvalid)),
        (
            "",
            true,
            &[user, password, ("ca", "crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")],
            Some(Reason::SecretInvalid),
        ),
    ] {
        let ca = if ca { ", caRef: {name: ca, key: crt}" } else { "" };
        let built = spec(&format!("{{host: a, auth: {{{mechanism}secretRef: {{name: x}}}}{ca}}}")).build(context(secrets));
        let failure = built.err();
        assert_eq!(failure.as_ref().map(|failure| failure.reason), reason, "{mechanism}{ca} {secrets:?}");
        assert!(failure.is_none_or(|failure| failure.needs_person && !failure.message.contains("hunter2")));
    }
}

#[test]
fn a_failure_at_a_port_of_another_encryption_says_what_to_write() {
    let failed = |reason, encryption, port| advised(Blocker::passing(reason, "Connection failed."), encryption, port).message;
    for (encryption, port, advice) in [
        (
            Encryption::StartTls,
            465,
            "Connection failed. Port 465 usually speaks TLS from the first byte, and a server that does never answers StartTls: write `encryption: Tls`, or use port 587.",
        ),
        (
            Encryption::Tls,
            587,
            "Connection failed. Port 587 usually begins without TLS and then switches to it: write `encryption: StartTls`, or use port 465.",
        ),
        (Encryption::StartTls, 587, "Connection failed."),
        (Encryption::Tls, 2465, "Connection failed."),
    ] {
        assert_eq!(failed(Reason::TimedOut, encryption, port), advice);
    }
    assert_eq!(failed(Reason::AuthenticationFailed, Encryption::Tls, 587), "Connection failed.");
}
