//! One server, tried by hand with the code that probes it in a process that sends; and its result in words.

use std::path::Path;

use serde_json::{Value, json};

use super::messages::{TestMessage, send};
use crate::{
    cli::{
        deliver::Verdict,
        present::{OutputFormat, Table, markdown::escaped},
    },
    decide::ProbeResult,
    engine::{build_server, probe_once},
    meta::bound::listed,
    providers::{Permissions, Provider as _},
    resources::{Blocker, Key, Reason, SendingServer, sending_server::SecretPurpose},
    source::{SecretStore, secret_variable},
};

/// The result of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestResult {
    /// The server would be Active.
    Passed,
    /// It would be Inactive.
    Failed,
    /// What it logs in with is not here.
    NotTried,
}

impl TestResult {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "Passed",
            Self::Failed => "Failed",
            Self::NotTried => "NotTried",
        }
    }
}

/// What servers are tried with.
pub struct Asked<'a> {
    /// Where their Secrets are.
    pub secrets: &'a SecretStore,
    /// The state folder.
    pub state: &'a Path,
    /// What they may do here.
    pub permissions: Permissions,
    /// What is sent through each of them.
    pub messages: &'a [TestMessage],
}

/// A server that was tried.
#[derive(Clone, Debug)]
pub struct Tried {
    server: String,
    kind: &'static str,
    address: String,
    /// The result.
    pub result: TestResult,
    reason: String,
    message: String,
    /// What to do next; nothing where nothing is to be done.
    next: Option<String>,
    /// For each message sent its recipient and its outcome.
    outcomes: Vec<Value>,
}

/// Tries a server, as each probe does.
pub async fn try_server(key: &Key, server: &SendingServer, asked: &Asked<'_>) -> Tried {
    let provider = &server.spec.provider;
    let base = Tried {
        server: key.to_string(),
        kind: provider.type_name(),
        address: provider.address(),
        result: TestResult::Failed,
        reason: String::new(),
        message: String::new(),
        next: None,
        outcomes: Vec::new(),
    };
    let handle = match build_server(key, server, asked.secrets, asked.state, asked.permissions.clone()) {
        Ok(handle) => handle,
        Err(blocker) => {
            return match wanted(key, server, asked.secrets, &blocker) {
                Some(next) => base.not_tried(&blocker, next),
                None => base.failed(&blocker),
            };
        }
    };
    let (probed, _) = probe_once(handle.clone(), &server.spec.probe(), &provider.address()).await;
    if let ProbeResult::Failed(failure) = &probed {
        return base.failed(failure);
    }
    let (_, reason, message) = probed.words();
    let passed = Verdict::of(true, reason, message);
    let (verdict, outcomes) = if asked.messages.is_empty() {
        (passed, Vec::new())
    } else {
        send(key, handle.as_ref(), asked.messages).await.unwrap_or_else(|verdict| (verdict, Vec::new()))
    };
    handle.close().await;
    let result = if verdict.passed { TestResult::Passed } else { TestResult::Failed };
    Tried { result, reason: verdict.reason, message: verdict.message, outcomes, ..base }
}

/// How to give a test what it lacks, where that is a Secret which the documents do not hold: in CI it is elsewhere on purpose.
fn wanted(key: &Key, server: &SendingServer, secrets: &SecretStore, blocker: &Blocker) -> Option<String> {
    if !matches!(blocker.reason, Reason::SecretNotFound | Reason::SecretKeyNotFound) {
        return None;
    }
    let is_tried_with = |purpose: SecretPurpose| matches!(purpose, SecretPurpose::Provider | SecretPurpose::Dkim);
    let mut missing = server.spec.secrets();
    missing.retain(|needed| is_tried_with(needed.purpose) && secrets.get(&key.namespace, &needed.key.name, &needed.key.key).is_err());
    if missing.iter().any(|needed| secrets.documents().contains_key(&Key::new(&*key.namespace, needed.key.name.as_str()))) {
        return None;
    }
    let names = |optional: bool| {
        let of = missing.iter().filter(|needed| needed.optional == optional).map(|needed| {
            let file = || format!("`{}/{}/{}` (--secrets-dir)", key.namespace, needed.key.name, needed.key.key);
            secret_variable(&key.namespace, &needed.key.name, &needed.key.key)
                .map_or_else(|_| file(), |name| format!("`{name}` (environment)"))
        });
        let mut names: Vec<String> = of.collect();
        names.dedup();
        (!names.is_empty()).then(|| listed(names.iter().map(String::as_str)))
    };
    let told = match (names(false), names(true)) {
        (Some(required), Some(more)) => format!("{required}, and of these what its login has: {more}"),
        (Some(names), None) | (None, Some(names)) => names,
        (None, None) => return None,
    };
    Some(format!("To try it here, give the job {told}."))
}

impl Tried {
    fn failed(self, blocker: &Blocker) -> Self {
        let next = if blocker.needs_person {
            "Fix it before the merge: the server stays Inactive until somebody does."
        } else {
            "Try again: it may pass, and a process that sends tries again by itself."
        };
        Self { reason: blocker.reason.as_str().to_owned(), message: blocker.message.clone(), next: Some(next.to_owned()), ..self }
    }

    fn not_tried(self, blocker: &Blocker, next: String) -> Self {
        Self { result: TestResult::NotTried, next: Some(next), ..self.failed(blocker) }
    }

    /// The result as a line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let word = match self.result {
            TestResult::Passed => "ok    ",
            TestResult::Failed => "failed",
            TestResult::NotTried => "not tried",
        };
        format!("{word}  {} ({}, {}): {}", self.server, self.kind, self.address, self.message)
    }

    /// The result for scripts.
    #[must_use]
    pub fn as_json(&self) -> Value {
        let mut value = json!({
            "server": self.server,
            "type": self.kind,
            "address": self.address,
            "passed": self.result == TestResult::Passed,
            "result": self.result.as_str(),
            "reason": self.reason,
            "message": self.message,
        });
        if let Some(next) = &self.next {
            value["next"] = next.as_str().into();
        }
        if !self.outcomes.is_empty() {
            value["outcomes"] = self.outcomes.clone().into();
        }
        value
    }

    /// The result and its reason, as the conditions of the server would have them.
    fn told(&self) -> String {
        match self.result {
            TestResult::Passed => format!("✅ Active ({})", self.reason),
            TestResult::Failed => format!("❌ Inactive ({})", self.reason),
            TestResult::NotTried => format!("➖ not tried ({})", self.reason),
        }
    }
}

fn table() -> Table<Tried> {
    Table::empty()
        .column("server", "server", |row: &Tried| row.server.clone())
        .column("type", "type", |row| row.kind)
        .column("address", "address", |row| row.address.clone())
        .column("result", "result", Tried::told)
        .column("message", "message", |row| row.message.clone())
        .column("next", "what to do", |row| row.next.clone())
}

/// `1 passed, 2 failed`.
#[must_use]
pub fn summary(tried: &[Tried]) -> String {
    let count = |result: TestResult| tried.iter().filter(|one| one.result == result).count();
    let parts = [(TestResult::Passed, "passed"), (TestResult::Failed, "failed"), (TestResult::NotTried, "not tried")];
    let parts: Vec<String> =
        parts.into_iter().filter(|(result, _)| count(*result) > 0).map(|(result, word)| format!("{} {word}", count(result))).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// The results in Markdown, below a heading of that level.
#[must_use]
pub fn markdown(level: &str, tried: &[Tried], notes: &[String]) -> String {
    let mut out = format!("{level} Servers tried: {}\n", summary(tried)).into_bytes();
    if !tried.is_empty() {
        out.push(b'\n');
        // Nothing fails that is written into memory.
        let _ = table().print(OutputFormat::Markdown, &mut out, tried.iter().cloned());
    }
    for note in notes {
        out.extend_from_slice(format!("\n{}\n", escaped(note)).as_bytes());
    }
    String::from_utf8_lossy(&out).into_owned()
}
