//! A local sendmail-compatible program: Postfix's, Exim's, msmtp, nullmailer.
//!
//! It runs on Mailfleet's machine, so it is refused unless the operator allows that program (`--allow-sendmail`), and
//! always for customers. Arguments bypass the shell, and an address cannot be taken for an option.
//!
//! Sources: sendmail(8), sendmail(1) of Postfix, `sysexits.h`.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::Duration as StdDuration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use super::{
    Blocker, BoxFuture, Context, Outcome, Outgoing, Probed, Provider, SecretUse, Server, ServerType, TypeInfo, api,
    diagnose::Endpoint,
    room::room,
    sanitize,
    single::{Single, SingleServer},
};
use crate::meta::{Duration, Reason, pattern};

#[cfg(test)]
mod tests;

const PATH: &str = "/usr/sbin/sendmail";
/// How long the program may take per message when the spec does not say.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes that are read of its output.
const WORDS_MAX: u64 = 4096;

/// A local sendmail-compatible program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = [api::TIMEOUT_RULE]))]
pub struct Sendmail {
    /// The program, which the operator allows with `--allow-sendmail`; `/usr/sbin/sendmail` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 2, max = 4096), regex(pattern = pattern::PROGRAM))]
    pub path: Option<String>,
    /// How long it may take per message; 1s to 10m, 60s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
}

impl Sendmail {
    fn path(&self) -> &Path {
        Path::new(self.path.as_deref().unwrap_or(PATH))
    }
}

impl ServerType for Sendmail {
    const INFO: TypeInfo = TypeInfo {
        title: "sendmail, a program of this machine",
        secret_keys: &[],
        probe: "whether the program exists and is allowed; nothing more can be checked without sending, so it is Active until a send fails",
        carries: "each message unchanged, one run of the program each",
        signs: "Mailfleet, with `identity.dkim`, over every field that matters and the whole body",
    };
}

impl Provider for Sendmail {
    fn secrets(&self) -> Vec<SecretUse> {
        Vec::new()
    }

    fn address(&self) -> String {
        self.path().display().to_string()
    }

    fn has_envelope(&self) -> bool {
        true
    }

    fn build(&self, context: Context) -> Result<Arc<dyn Server>, Blocker> {
        let endpoint = Endpoint::named(self.address());
        // What the path resolves to counts, so that no link can replace what was allowed.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let is_allowed = context.permissions.sendmail.iter().any(|allowed| real(allowed) == real(self.path()));
        if !is_allowed {
            let to_do = format!(
                "The operator allows it with --allow-sendmail {}; for customers' servers it cannot be allowed.",
                self.path().display()
            );
            return Err(endpoint.connection(Reason::NotAllowedByOperator, "this program may not be run", &to_do).for_person());
        }
        let program = Program { path: self.path().to_owned(), endpoint, timeout: self.timeout.unwrap_or(TIMEOUT).std() };
        Ok(SingleServer::open(program, &context))
    }
}

struct Program {
    path: PathBuf,
    endpoint: Endpoint,
    timeout: StdDuration,
}

/// How a run of the program ended.
enum End {
    /// It could not be started.
    NotStarted(std::io::Error),
    /// It took too long and was killed.
    TimedOut,
    /// Its exit code, none when a signal ended it; and its output.
    Exited(Option<i32>, String),
}

impl Program {
    async fn run(&self, message: &Outgoing) -> End {
        let _room = room(message.size()).await;
        let content = with_lf(&message.whole());
        let mut command = Command::new(&self.path);
        // Nothing of our environment, which may contain secrets.
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LANG", "C").current_dir("/");
        // `-i`: a line of one dot does not end the message. Behind `--` nothing is an option.
        let sender: &str = if message.mail_from.is_empty() { "<>" } else { &message.mail_from };
        command.args(["-i", "-f", sender, "--", &message.rcpt_to]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => return End::NotStarted(error),
        };
        let (input, errors) = (child.stdin.take(), child.stderr.take());
        let talk = async {
            let write = async {
                if let Some(mut input) = input {
                    // A program that does not read to the end says why by its exit code.
                    let _ = input.write_all(&content).await;
                    let _ = input.shutdown().await;
                }
            };
            let read = async {
                let mut words = Vec::new();
                if let Some(errors) = errors {
                    let mut errors = errors;
                    let _ = (&mut errors).take(WORDS_MAX).read_to_end(&mut words).await;
                    // The rest is read and discarded, so that the program does not block.
                    let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
                }
                words
            };
            let ((), words, status) = tokio::join!(write, read, child.wait());
            (words, status)
        };
        match tokio::time::timeout(self.timeout, talk).await {
            Err(_) => End::TimedOut,
            Ok((words, status)) => {
                let words: String = sanitize::readable(String::from_utf8_lossy(&words).trim()).take(sanitize::KEPT_CHARS_MAX - 8).collect();
                End::Exited(status.ok().and_then(|status| status.code()), words)
            }
        }
    }

    fn judge(&self, end: End) -> Outcome {
        match end {
            End::NotStarted(error) => Outcome::ServerFailed(self.not_started(&error)),
            End::TimedOut => {
                let limit = Duration::from(self.timeout);
                let what = format!("the program took longer than {limit} and was killed");
                Outcome::Unknown(self.endpoint.sending(Reason::TimedOut, &what, "Check what delays it, or raise timeout."))
            }
            End::Exited(None, _) => {
                let what = "the program was killed by a signal";
                Outcome::Unknown(self.endpoint.sending(
                    Reason::ConnectionLost,
                    what,
                    "The system's log says who killed it, perhaps for lack of memory.",
                ))
            }
            End::Exited(Some(code), words) => self.outcome(code, &words),
        }
    }

    /// What an exit code means (`sysexits.h`). EX_USAGE is not the recipient's fault: a program that does not know an option
    /// would end every recipient of a campaign.
    fn outcome(&self, code: i32, words: &str) -> Outcome {
        let kept = || format!("{code} {} {words}", name_of(code)).trim_end().to_owned();
        let failed = |reason: Reason, to_do: &str| {
            let what = format!("the program ended with {code} {}", sanitize::stable(&format!("({}) `{words}`", name_of(code))));
            self.endpoint.sending(reason, &what, to_do)
        };
        match code {
            0 => Outcome::Accepted { reply: "0 taken".to_owned() },
            // EX_DATAERR, EX_NOUSER, EX_NOHOST: the message or the recipient.
            65 | 67 | 68 => Outcome::rejected(kept()),
            // EX_TEMPFAIL.
            75 => Outcome::deferred(kept(), None),
            69 | 70 | 71 | 74 | 76 => Outcome::ServerFailed(failed(
                Reason::ServiceNotAvailable,
                "It is tried again; if this lasts, look into the mail system's log.",
            )),
            72 | 73 | 66 => {
                Outcome::ServerFailed(failed(Reason::StorageFailed, "Free disk space, or give the program write access to its queue."))
            }
            77 => Outcome::ServerFailed(failed(Reason::PermissionDenied, "Allow this user to use the program.").for_person()),
            64 | 78 => Outcome::ServerFailed(
                failed(Reason::ProtocolError, "Fix the mail system, or allow a program that takes -i, -f and --.").for_person(),
            ),
            126 | 127 => Outcome::ServerFailed(failed(Reason::ProtocolError, "The program, or what it calls, cannot be run.").for_person()),
            _ => Outcome::ServerFailed(failed(Reason::SendFailed, "Fix what it says; messages go to other servers meanwhile.")),
        }
    }

    fn not_started(&self, error: &std::io::Error) -> Blocker {
        let what = format!("the program cannot be started ({})", error.kind());
        let failure =
            self.endpoint.connection(Reason::NotFoundAtVendor, &what, "Install the mail system, or correct path and the program's mode.");
        if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::PermissionDenied) {
            failure.for_person()
        } else {
            failure
        }
    }
}

/// Whether every program takes an argument for one mailbox: they read it as a list (RFC 5322, 3.4), so that `a b@example.com` would
/// be mailed to two.
fn is_one_address(address: &str) -> bool {
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    let is_plain = |part: &str, also: &[char]| {
        let separates = |c: char| (c.is_whitespace() || ",;:()<>\"\\".contains(c)) && !also.contains(&c);
        !part.is_empty() && !part.contains(separates)
    };
    let is_quoted = |inner: &str| {
        let mut is_escaped = false;
        let is_within = inner.chars().all(|c| {
            let ends = c == '"' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            !ends
        });
        is_within && !is_escaped
    };
    let quoted = local.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    quoted.map_or_else(|| is_plain(local, &[]), is_quoted) && is_plain(domain, if domain.starts_with('[') { &[':'] } else { &[] })
}

fn name_of(code: i32) -> &'static str {
    match code {
        64 => "EX_USAGE",
        65 => "EX_DATAERR",
        66 => "EX_NOINPUT",
        67 => "EX_NOUSER",
        68 => "EX_NOHOST",
        69 => "EX_UNAVAILABLE",
        70 => "EX_SOFTWARE",
        71 => "EX_OSERR",
        72 => "EX_OSFILE",
        73 => "EX_CANTCREAT",
        74 => "EX_IOERR",
        75 => "EX_TEMPFAIL",
        76 => "EX_PROTOCOL",
        77 => "EX_NOPERM",
        78 => "EX_CONFIG",
        _ => "no code of sysexits.h",
    }
}

/// Lines ended by LF, as a local program takes them.
fn with_lf(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    for line in content.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(bare) => {
                out.extend_from_slice(bare);
                out.push(b'\n');
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

impl Single for Program {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn probe(&self) -> BoxFuture<'_, Option<Result<Probed, Blocker>>> {
        Box::pin(async move {
            use std::os::unix::fs::PermissionsExt as _;
            let failed = match tokio::fs::metadata(&self.path).await {
                Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => return None,
                Ok(_) => std::io::ErrorKind::PermissionDenied.into(),
                Err(error) => error,
            };
            Some(Err(self.not_started(&failed)))
        })
    }

    fn send<'a>(&'a self, message: &'a Outgoing) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            if !is_one_address(&message.rcpt_to) || !message.mail_from.is_empty() && !is_one_address(&message.mail_from) {
                return Outcome::rejected("553 5.1.3 not sent: the program could read this as several addresses");
            }
            self.judge(self.run(message).await)
        })
    }
}
