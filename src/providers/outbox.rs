//! A Maildir on this machine: previews, and dry runs in place of any other server.
//!
//! Files are not fsynced: a preview lost in a power cut can be made again. A file appears in `new/` whole or not at all.

use std::{
    fs,
    io::{self, Write},
    path::{Component, Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    Blocker, BoxFuture, Carriage, Context, Delivered, Outcome, Outgoing, Probed, Provider, SecretUse, Server, ServerType, TypeInfo,
    diagnose::Endpoint, owed::Owed,
};
use crate::meta::{Reason, pattern};

/// A Maildir: each message becomes a file in `new/`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Outbox {
    /// The folder, relative to the state folder and below `outbox/<namespace>`; `outbox/<namespace>/<name>` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096), regex(pattern = pattern::INNER_PATH))]
    pub path: Option<String>,
}

impl Outbox {
    /// A Maildir that takes the mail of any server in its place: `outbox/<namespace>/<name>` in the state folder.
    #[must_use]
    pub fn for_dry_run(context: &Context) -> Arc<dyn Server> {
        let maildir = Maildir::new(context.state_dir.clone(), default_path(&context.name));
        // People open these files, and mail programs know them by this name.
        Arc::new(Maildir { suffix: ".eml", ..maildir })
    }

    /// Why the path cannot be used in a namespace: outside `outbox/<namespace>` it could be another customer's outbox, or the status files.
    #[must_use]
    pub fn misplaced(&self, namespace: &str) -> Option<String> {
        let path = Path::new(self.path.as_ref()?);
        let own = Path::new("outbox").join(namespace);
        let is_below = is_inside(path) && path.strip_prefix(&own).is_ok_and(|below| below.components().next().is_some());
        (!is_below).then(|| {
            format!(
                "the outbox `{}` is not below `{}`; name a folder below it, or omit spec.provider.outbox.path",
                path.display(),
                own.display()
            )
        })
    }
}

fn default_path(name: &str) -> PathBuf {
    Path::new("outbox").join(name)
}

/// Whether a path lexically stays below the folder that it starts at.
fn is_inside(path: &Path) -> bool {
    let mut components = path.components().peekable();
    components.peek().is_some() && components.all(|component| matches!(component, Component::Normal(_)))
}

impl ServerType for Outbox {
    const INFO: TypeInfo = TypeInfo {
        title: "Outbox, a Maildir",
        secret_keys: &[],
        probe: "writes and removes a file",
        carries: "each message unchanged, one per file",
        signs: "Mailfleet, with `identity.dkim`, over every field that matters and the whole body",
    };
}

impl Provider for Outbox {
    fn secrets(&self) -> Vec<SecretUse> {
        Vec::new()
    }

    fn address(&self) -> String {
        self.path.as_ref().map_or_else(|| "outbox".to_owned(), |path| format!("outbox, {path}"))
    }

    fn has_envelope(&self) -> bool {
        true
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let path = self.path.as_ref().map_or_else(|| default_path(&context.name), PathBuf::from);
        let namespace = context.name.split('/').next().unwrap_or_default();
        if let Some(why) = self.misplaced(namespace) {
            return Err(Blocker::passing(Reason::InvalidSpec, format!("{}{}.", why[..1].to_uppercase(), &why[1..])).for_person());
        }
        Ok(Arc::new(Maildir::new(context.state_dir, path)))
    }
}

#[derive(Clone, Debug)]
struct Maildir {
    state_dir: PathBuf,
    /// Relative to the state folder.
    path: PathBuf,
    /// How the names of messages end.
    suffix: &'static str,
}

impl Maildir {
    fn new(state_dir: PathBuf, path: PathBuf) -> Self {
        Self { state_dir, path, suffix: "" }
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.state_dir.join(&self.path).join(name)
    }

    fn failure(&self, error: &io::Error) -> Blocker {
        // The kind and not the error: its text may contain a file name that changes.
        let kind = error.kind();
        let message = format!(
            "Writing failed: {kind} (folder `{}` in the state folder). Free space there, or give Mailfleet write access.",
            self.path.display()
        );
        Blocker::passing(Reason::StorageFailed, message)
    }

    /// Makes the folders, and makes sure that no symlink leads out of the state folder.
    fn prepare(&self) -> io::Result<()> {
        fs::create_dir_all(&self.state_dir)?;
        let state_dir = self.state_dir.canonicalize()?;
        for name in ["tmp", "new", "cur"] {
            let folder = self.folder(name);
            // Checked before anything is created, so that no folder is created outside either.
            let existing = folder.ancestors().find(|ancestor| ancestor.symlink_metadata().is_ok()).unwrap_or(&self.state_dir);
            if !existing.canonicalize()?.starts_with(&state_dir) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            fs::create_dir_all(folder)?;
        }
        Ok(())
    }

    /// Writes a file to `tmp/` under a unique name.
    fn write<'a>(&self, mut parts: impl Iterator<Item = &'a [u8]>) -> io::Result<String> {
        let name = unique_name() + self.suffix;
        let path = self.folder("tmp").join(&name);
        let written = fs::File::create_new(&path).and_then(|mut file| parts.try_for_each(|part| file.write_all(part)));
        if let Err(error) = written {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(name)
    }

    fn deliver_one(&self, message: &Outgoing) -> io::Result<Outcome> {
        for (address, what) in [(&message.rcpt_to, "recipient"), (&message.mail_from, "sender")] {
            if address.contains(|c: char| c.is_control() || matches!(c, '<' | '>')) {
                return Ok(Outcome::rejected(format!("553 5.1.3 not written: the {what} is not an address")));
            }
        }
        let envelope = format!("Return-Path: <{}>\r\nDelivered-To: {}\r\n", message.mail_from, message.rcpt_to);
        let name = self.write([envelope.as_bytes(), message.signature_fields()].into_iter().chain(message.content.iter()))?;
        let temporary = self.folder("tmp").join(&name);
        if let Err(error) = fs::rename(&temporary, self.folder("new").join(&name)) {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
        Ok(Outcome::Accepted { reply: format!("written to {}", self.path.join("new").join(name).display()) })
    }

    fn deliver_all(&self, mut owed: Owed) {
        if let Err(error) = self.prepare() {
            return owed.fail_waiting(&self.failure(&error));
        }
        while let Some(begun) = owed.begin(0, ()) {
            let started = Instant::now();
            match self.deliver_one(begun.message()) {
                Ok(outcome) => owed.settle(outcome, Some(started.elapsed())),
                // What follows would fail in the same way, and slowly.
                Err(error) => return owed.break_off(&self.failure(&error), false),
            }
        }
    }
}

/// A name that no other file of the Maildir has: time, process, count and machine.
fn unique_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let host: String =
        gethostname::gethostname().to_string_lossy().chars().filter(|c| c.is_ascii_alphanumeric() || "-.".contains(*c)).collect();
    format!("{}.M{}P{}Q{count}.{host}", now.as_secs(), now.subsec_micros(), std::process::id())
}

impl Server for Maildir {
    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>> {
        let maildir = self.clone();
        Box::pin(async move {
            let name = maildir.path.clone();
            let tried = tokio::task::spawn_blocking(move || {
                let tried = maildir.prepare().and_then(|()| maildir.write([&b"probe"[..]].into_iter()));
                let tried = tried.and_then(|name| fs::remove_file(maildir.folder("tmp").join(name)));
                tried.map(|()| Probed::default()).map_err(|error| maildir.failure(&error))
            });
            Some(tried.await.unwrap_or_else(|_| {
                let message = format!("Writing failed: interrupted (folder `{}` in the state folder). It is retried.", name.display());
                Err(Blocker::passing(Reason::StorageFailed, message))
            }))
        })
    }

    fn deliver(&self, batch: Vec<Outgoing>, outcomes: mpsc::UnboundedSender<Delivered>) -> BoxFuture<'_, ()> {
        let maildir = self.clone();
        let owed = Owed::new(batch, &Endpoint::named(format!("folder `{}` in the state folder", self.path.display())), outcomes);
        Box::pin(async move {
            // Once begun it runs to the end, even when the future is dropped: every message gets its outcome.
            let _ = tokio::task::spawn_blocking(move || maildir.deliver_all(owed)).await;
        })
    }

    fn carriage(&self) -> Carriage {
        Carriage::batches(32)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

#[cfg(test)]
mod tests;
