//! Small scripts in the place of sendmail.

use std::{fs, os::unix::fs::PermissionsExt as _};

use tokio::sync::mpsc;

use super::*;
use crate::providers::Permissions;

/// A script of its own, in a folder of its own.
fn script(name: &str, body: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("mailfleet-sendmail-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("sendmail");
    fs::write(&path, format!("#!/bin/sh\ncd '{}'\n{body}\n", folder.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn context(allowed: &[PathBuf]) -> Context {
    let permissions = Permissions { sendmail: allowed.into(), ..Permissions::default() };
    Context { connections: 2, permissions, ..Context::new("shop/local") }
}

fn server(path: &Path, timeout: &str) -> Arc<dyn Server> {
    let spec: Sendmail = serde_saphyr::from_str(&format!("{{path: '{}', timeout: {timeout}}}", path.display())).unwrap();
    spec.build(context(&[path.to_owned()])).unwrap_or_else(|failure| panic!("{failure}"))
}

fn message(token: u64, recipient: &str) -> Outgoing {
    Outgoing {
        token,
        mail_from: "ann@shop.example".into(),
        rcpt_to: recipient.into(),
        content: b"Subject: x\r\n\r\n.\r\nend\r\n".as_slice().into(),
        needs_8bit: false,
        needs_smtputf8: false,
        run: Arc::default(),
        signature: None,
        reference: None,
    }
}

async fn deliver(server: &Arc<dyn Server>, batch: Vec<Outgoing>) -> Vec<Outcome> {
    let (sender, mut outcomes) = mpsc::unbounded_channel();
    server.deliver(batch, sender).await;
    let mut found = Vec::new();
    while let Some(delivered) = outcomes.recv().await {
        found.push(delivered.outcome);
    }
    found
}

#[tokio::test]
async fn every_exit_code_has_its_outcome() {
    let path = script("codes", "cat >/dev/null; echo \"words of $6\" >&2; exit ${5%%@*}");
    let server = server(&path, "5s");
    for (code, wanted) in [
        (0, "Accepted"),
        (1, "SendFailed"),
        (64, "ProtocolError, person"),
        (65, "Rejected"),
        (66, "StorageFailed"),
        (67, "Rejected"),
        (68, "Rejected"),
        (69, "ServiceNotAvailable"),
        (70, "ServiceNotAvailable"),
        (71, "ServiceNotAvailable"),
        (72, "StorageFailed"),
        (73, "StorageFailed"),
        (74, "ServiceNotAvailable"),
        (75, "Deferred"),
        (76, "ServiceNotAvailable"),
        (77, "PermissionDenied, person"),
        (78, "ProtocolError, person"),
        (127, "ProtocolError, person"),
    ] {
        let found = deliver(&server, vec![message(1, &format!("{code}@example.com"))]).await;
        let found: Vec<String> = found
            .into_iter()
            .map(|outcome| match outcome {
                Outcome::Accepted { .. } => "Accepted".to_owned(),
                Outcome::Refused(refusal) => if refusal.is_permanent { "Rejected" } else { "Deferred" }.to_owned(),
                Outcome::ServerFailed(failure) => format!("{}{}", failure.reason, if failure.needs_person { ", person" } else { "" }),
                Outcome::Unknown(failure) => format!("unknown: {failure}"),
            })
            .collect();
        assert_eq!(found, [wanted], "exit code {code}");
    }
}

#[tokio::test]
async fn an_address_is_neither_an_option_nor_shell_input() {
    let path = script("arguments", "for word in \"$@\"; do printf '%s\\n' \"$word\" >>words; done; cat >message; env >environment");
    let server = server(&path, "5s");
    let folder = path.parent().unwrap();
    for recipient in ["-oQ/tmp@example.com", "\"a b\"@example.com", "\"$(touch x)\"@example.com", "`touch${IFS}x`&|@example.com"] {
        let _ = fs::remove_file(folder.join("words"));
        assert!(matches!(deliver(&server, vec![message(1, recipient)]).await[..], [Outcome::Accepted { .. }]), "{recipient}");
        let words = fs::read_to_string(folder.join("words")).unwrap();
        assert_eq!(words.lines().collect::<Vec<_>>(), ["-i", "-f", "ann@shop.example", "--", recipient]);
    }
    assert!(!folder.join("x").exists());
    assert_eq!(fs::read(folder.join("message")).unwrap(), b"Subject: x\n\n.\nend\n");
    let environment = fs::read_to_string(folder.join("environment")).unwrap();
    assert!(!environment.contains("CARGO") && !environment.contains("HOME="), "{environment}");
    let bounce = Outgoing { mail_from: "".into(), ..message(1, "a@example.com") };
    let _ = fs::remove_file(folder.join("words"));
    assert!(matches!(deliver(&server, vec![bounce]).await[..], [Outcome::Accepted { .. }]));
    assert_eq!(fs::read_to_string(folder.join("words")).unwrap().lines().nth(2), Some("<>"));
}

#[tokio::test]
async fn what_hangs_is_killed_and_what_is_killed_is_unknown() {
    let path = script("hangs", "echo $$ >pid; exec sleep 60");
    let found = deliver(&server(&path, "1s"), vec![message(1, "a@example.com"), message(2, "b@example.com")]).await;
    assert!(matches!(&found[0], Outcome::Unknown(failure) if failure.reason == Reason::TimedOut), "{found:?}");
    assert!(matches!(&found[1], Outcome::ServerFailed(_)), "{found:?}");
    let pid = fs::read_to_string(path.parent().unwrap().join("pid")).unwrap();
    let is_gone = || fs::read_to_string(format!("/proc/{}/stat", pid.trim())).map_or(true, |stat| stat.contains(") Z "));
    for _ in 0..100 {
        if is_gone() {
            break;
        }
        tokio::time::sleep(StdDuration::from_millis(20)).await;
    }
    assert!(is_gone(), "it still runs");
    let killed = script("killed", "kill -9 $$");
    let found = deliver(&server(&killed, "5s"), vec![message(1, "a@example.com")]).await;
    assert!(matches!(&found[..], [Outcome::Unknown(failure)] if failure.reason == Reason::ConnectionLost), "{found:?}");
}

#[tokio::test]
async fn many_words_and_no_reading_hold_nothing_up() {
    let path = script("words", "head -c 5000000 /dev/zero | tr '\\0' x >&2; exit 65");
    let large = Outgoing { content: vec![b'x'; 5_000_000].into(), ..message(1, "a@example.com") };
    let found = deliver(&server(&path, "20s"), vec![large]).await;
    assert!(matches!(&found[..], [Outcome::Refused(refusal)] if refusal.is_permanent && refusal.reply.len() < 300), "{found:?}");
}

#[tokio::test]
async fn only_what_the_operator_allows_is_run() {
    let path = script("allowed", "exit 0");
    let spec: Sendmail = serde_saphyr::from_str(&format!("{{path: '{}'}}", path.display())).unwrap();
    let refused = |allowed: &[PathBuf]| spec.build(context(allowed)).err().map(|failure| (failure.reason, failure.needs_person));
    assert_eq!(refused(&[]), Some((Reason::NotAllowedByOperator, true)));
    assert_eq!(refused(&["/bin/true".into()]), Some((Reason::NotAllowedByOperator, true)));
    assert_eq!(refused(std::slice::from_ref(&path)), None);
    // A link to what is allowed is what is allowed; a link from an allowed name to something else is that.
    let link = path.with_file_name("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    assert_eq!(refused(std::slice::from_ref(&link)), None);

    let server = server(&path, "5s");
    assert_eq!(server.probe().await, None);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(server.probe().await.is_some_and(|probed| probed.is_err_and(|failure| failure.needs_person)));
    fs::remove_file(&path).unwrap();
    assert!(server.probe().await.is_some_and(|probed| probed.is_err()));
    let found = deliver(&server, vec![message(1, "a@example.com")]).await;
    assert!(matches!(&found[..], [Outcome::ServerFailed(failure)] if failure.needs_person), "{found:?}");
}

#[tokio::test]
async fn an_address_that_a_program_could_split_is_not_handed_over() {
    let path = script("split", "echo \"$5\" >>seen; cat >/dev/null");
    let server = server(&path, "5s");
    let several = [
        "a b@example.com",
        "a@example.com,b@example.com",
        "a@example.com;b",
        "x:a@example.com;",
        "(b@c)a@example.com",
        "bob",
        "\"a\"b@c\"@d.example",
        "\"a\\\"@b.example",
    ];
    for address in several {
        let outcomes = deliver(&server, vec![message(1, address)]).await;
        assert!(matches!(&outcomes[..], [Outcome::Refused(refusal)] if refusal.is_permanent), "{address}: {outcomes:?}");
    }
    let single =
        ["bob+x@example.com", "\"a, b\"@example.com", "\"a\\\"b\"@example.com", "grüße@example.com", "a@[IPv6:::1]", "-x@example.com"];
    for address in single {
        let outcomes = deliver(&server, vec![message(1, address)]).await;
        assert!(matches!(&outcomes[..], [Outcome::Accepted { .. }]), "{address}: {outcomes:?}");
    }
    assert_eq!(fs::read_to_string(path.with_file_name("seen")).unwrap().lines().collect::<Vec<_>>(), single);
}
