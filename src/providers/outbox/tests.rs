use std::{fs, path::PathBuf, sync::Arc};

use tokio::sync::mpsc;

use super::{Outbox, default_path};
use crate::{
    meta::Reason,
    providers::{Context, Delivered, Outcome, Outgoing, Probed, Provider, Server},
};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mailfleet-outbox-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn context(&self) -> Context {
        Context { state_dir: self.0.clone(), ..Context::new("ns/box") }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn message(token: u64, recipient: &str) -> Outgoing {
    let content = &b"Subject: hi\r\n\r\n.dot\r\n"[..];
    Outgoing {
        token,
        mail_from: Arc::from("from@example.com"),
        rcpt_to: Arc::from(recipient),
        content: content.into(),
        needs_8bit: false,
        needs_smtputf8: false,
        run: Arc::default(),
        signature: None,
        reference: None,
    }
}

async fn deliver(server: &dyn Server, recipients: &[&str]) -> Vec<Delivered> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    server.deliver(recipients.iter().zip(0..).map(|(recipient, token)| message(token, recipient)).collect(), sender).await;
    let mut all = Vec::new();
    while let Some(delivered) = receiver.recv().await {
        all.push(delivered);
    }
    all
}

#[tokio::test]
async fn writes_each_message_to_a_file_of_its_own() {
    let folder = Folder::new("writes");
    for (server, path) in [
        (Outbox::default().build(folder.context()).unwrap(), default_path("ns/box")),
        (Outbox { path: Some("outbox/ns/previews".to_owned()) }.build(folder.context()).unwrap(), PathBuf::from("outbox/ns/previews")),
    ] {
        assert_eq!(server.probe().await, Some(Ok(Probed::default())));
        assert_eq!(fs::read_dir(folder.0.join(&path).join("tmp")).unwrap().count(), 0, "the probe leaves nothing");
        let delivered = deliver(&*server, &["a@example.com", "b@example.com"]).await;
        assert_eq!(delivered.len(), 2);
        for one in &delivered {
            let Outcome::Accepted { reply } = &one.outcome else { panic!("{:?}", one.outcome) };
            let file = folder.0.join(reply.strip_prefix("written to ").unwrap());
            assert!(file.starts_with(folder.0.join(&path).join("new")));
            let head = format!("Return-Path: <from@example.com>\r\nDelivered-To: {}\r\nSubject: hi\r\n\r\n.dot\r\n", one.message.rcpt_to);
            assert_eq!(fs::read_to_string(file).unwrap(), head);
        }
        assert_eq!(fs::read_dir(folder.0.join(&path).join("new")).unwrap().count(), 2);
        assert_eq!(fs::read_dir(folder.0.join(&path).join("tmp")).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn a_dry_run_replaces_any_server() {
    let folder = Folder::new("dry");
    let delivered = deliver(&*Outbox::for_dry_run(&folder.context()), &["a@example.com", "b@x>\r\nBcc: c@example.com"]).await;
    assert!(
        matches!(&delivered[0].outcome, Outcome::Accepted { reply } if reply.starts_with("written to outbox/ns/box/new/") && reply.contains(".eml"))
    );
    assert!(matches!(&delivered[1].outcome, Outcome::Refused(refusal) if refusal.is_permanent), "no header by way of an address");
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_fails_the_server_and_loses_nothing() {
    let folder = Folder::new("fails");
    fs::write(folder.0.join("outbox"), "a file in the way").unwrap();
    let server = Outbox::default().build(folder.context()).unwrap();
    let failure = server.probe().await.unwrap().unwrap_err();
    assert_eq!((failure.reason, failure.needs_person), (Reason::StorageFailed, false));
    assert!(failure.message.contains("outbox/ns/box") && !failure.message.contains("new/"), "{failure}");
    let delivered = deliver(&*server, &["a@example.com", "b@example.com"]).await;
    assert_eq!(delivered.len(), 2);
    assert!(delivered.iter().all(|one| one.outcome == Outcome::ServerFailed(failure.clone())));
}

#[cfg(unix)]
#[tokio::test]
async fn no_symlink_leads_out_of_the_state_folder() {
    let (folder, outside) = (Folder::new("inside"), Folder::new("outside"));
    std::os::unix::fs::symlink(&outside.0, folder.0.join("outbox")).unwrap();
    let server = Outbox::default().build(folder.context()).unwrap();
    assert!(
        matches!(&deliver(&*server, &["a@example.com"]).await[0].outcome, Outcome::ServerFailed(failure) if failure.reason == Reason::StorageFailed)
    );
    assert_eq!(fs::read_dir(&outside.0).unwrap().count(), 0);
}

#[test]
fn paths_stay_inside() {
    for path in [
        "/a",
        "../a",
        "a/../../b",
        "",
        ".",
        "previews",
        "outbox/ns",
        "outbox/other/x",
        "status/ns/Plan",
        "outbox/nsx/a",
        "outbox/ns/../other",
    ] {
        assert!(Outbox { path: Some(path.to_owned()) }.build(Folder::new("paths").context()).is_err(), "{path}");
    }
}

#[tokio::test]
async fn a_delivery_that_is_never_polled_fails_its_messages() {
    let folder = Folder::new("unpolled");
    let server = Outbox::default().build(folder.context()).unwrap();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    drop(server.deliver(vec![message(7, "a@example.com")], sender));
    let delivered = receiver.recv().await.expect("an outcome");
    assert!(matches!(delivered.outcome, Outcome::ServerFailed(_)) && delivered.message.token == 7, "{:?}", delivered.outcome);
}
