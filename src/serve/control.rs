//! The socket in the state folder: commands of the same user ask the process that sends to write its ledger for them.
//!
//! A connection carries one line of JSON each way. Only the owner of the state folder reaches it.

use std::{
    fs,
    io::ErrorKind,
    os::{fd::AsRawFd, unix::fs::PermissionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
};

use crate::feedback::Suppression;

/// The socket's name in the state folder.
const SOCKET: &str = "control.sock";
/// The longest line, bytes.
const LINE_MAX: u64 = 4 << 20;
/// How long the other side may take to send its line, or to take the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long an answer may take: the ledger may be rewritten for it.
const ANSWER_MAX: Duration = Duration::from_secs(600);

/// What a command asks of the process that has the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Asked {
    /// Add to those who are not mailed.
    Suppress(Vec<Suppression>),
    /// Remove from those who are not mailed.
    Unsuppress(Vec<Suppression>),
    /// Remove what is known of a person.
    Forget(Forget),
}

/// Whose data is removed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Forget {
    /// Whose traces are removed, in any spelling.
    pub address: String,
    /// Only of campaigns in this namespace; of all when absent.
    pub namespace: Option<String>,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// So many entries were changed.
    Changed(u64),
    /// Data of a person was removed.
    Forgotten(Forgotten),
    /// Nothing was changed.
    Refused(String),
}

/// What was removed. On the wire it is a pair: command and process may be of different versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "(String, bool)", into = "(String, bool)")]
pub struct Forgotten {
    /// In words.
    pub told: String,
    /// Whether anything is left that is to be removed later.
    pub is_left: bool,
}

impl From<(String, bool)> for Forgotten {
    fn from((told, is_left): (String, bool)) -> Self {
        Self { told, is_left }
    }
}

impl From<Forgotten> for (String, bool) {
    fn from(forgotten: Forgotten) -> Self {
        (forgotten.told, forgotten.is_left)
    }
}

/// A socket that answers. Dropping it removes its name.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Makes the socket in a state folder, which this process has locked; one that a killed process left is replaced.
    ///
    /// # Errors
    /// When it cannot be made there.
    pub fn bind(state_dir: &Path) -> std::io::Result<Self> {
        let path = state_dir.join(SOCKET);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = through(state_dir, UnixListener::bind)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        Ok(Self { listener, path })
    }

    /// Answers, one after another, for as long as it is polled.
    pub async fn serve<F: Future<Output = Answer>>(self, answer: impl Fn(Asked) -> F) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    if let Err(error) = answer_one(stream, &answer).await {
                        tracing::debug!(%error, "a request at the control socket was not answered");
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot be read");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The next process replaces what is left.
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer_one<F: Future<Output = Answer>>(stream: UnixStream, answer: &impl Fn(Asked) -> F) -> std::io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let line = line_of(reading).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(asked) => answer(asked).await,
        Err(error) => {
            Answer::Refused(format!("the process that sends does not understand this request ({error}); it may be a different version"))
        }
    };
    let text = serde_json::to_string(&answer)? + "\n";
    tokio::time::timeout(PATIENCE, writing.write_all(text.as_bytes())).await?
}

async fn line_of(reading: impl tokio::io::AsyncRead + Unpin) -> std::io::Result<String> {
    let mut line = String::new();
    let mut reader = BufReader::new(reading.take(LINE_MAX));
    tokio::time::timeout(PATIENCE, reader.read_line(&mut line)).await??;
    Ok(line)
}

/// Asks the process that sends from this state folder.
///
/// # Errors
/// When there is none, or it does not answer.
pub async fn ask(state_dir: &Path, asked: &Asked) -> std::io::Result<Answer> {
    // It is on this machine: connecting does not wait.
    let stream = through(state_dir, std::os::unix::net::UnixStream::connect)?;
    stream.set_nonblocking(true)?;
    let stream = UnixStream::from_std(stream)?;
    let (reading, mut writing) = stream.into_split();
    let text = serde_json::to_string(asked)? + "\n";
    tokio::time::timeout(PATIENCE, writing.write_all(text.as_bytes())).await??;
    let mut line = String::new();
    let mut reader = BufReader::new(reading.take(LINE_MAX));
    tokio::time::timeout(ANSWER_MAX, reader.read_line(&mut line)).await??;
    Ok(serde_json::from_str(&line)?)
}

/// Names the socket so that it fits into a socket's address, which holds some 100 bytes, wherever the folder is: on Linux, through
/// this process's own descriptor of the folder.
fn through<T>(state_dir: &Path, with: impl FnOnce(PathBuf) -> std::io::Result<T>) -> std::io::Result<T> {
    let path = state_dir.join(SOCKET);
    if path.as_os_str().len() < 100 || !cfg!(target_os = "linux") {
        return with(path);
    }
    let folder = fs::File::open(state_dir)?;
    with(PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("mailfleet-control-{}", std::process::id())).join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        path
    }

    #[test]
    fn what_was_forgotten_is_told_as_other_versions_tell_it() {
        let answer = Answer::Forgotten(Forgotten { told: "removed".to_owned(), is_left: true });
        let text = r#"{"forgotten":["removed",true]}"#;
        assert_eq!(serde_json::to_string(&answer).expect("JSON"), text);
        assert_eq!(serde_json::from_str::<Answer>(text).expect("an answer"), answer);
    }

    #[tokio::test]
    async fn a_request_is_answered_wherever_the_folder_is() {
        // The second is longer than a socket's address.
        for name in ["short".to_owned(), "long".repeat(40)] {
            let state = folder(&name);
            let socket = state.join(SOCKET);
            fs::write(&socket, "left by a process that was killed").expect("a file");
            let control = Control::bind(&state).expect("a socket");
            assert_eq!(fs::metadata(&socket).expect("it is there").permissions().mode() & 0o777, 0o600);
            let serving = tokio::spawn(control.serve(|asked| async move {
                match asked {
                    Asked::Suppress(entries) => Answer::Changed(entries.len() as u64),
                    _ => Answer::Refused("not now".to_owned()),
                }
            }));
            assert_eq!(ask(&state, &Asked::Suppress(Vec::new())).await.expect("an answer"), Answer::Changed(0));
            assert_eq!(ask(&state, &Asked::Unsuppress(Vec::new())).await.expect("an answer"), Answer::Refused("not now".to_owned()));
            // Nonsense, and silence, are answered and end nothing.
            let mut stream = through(&state, std::os::unix::net::UnixStream::connect).expect("a connection");
            std::io::Write::write_all(&mut stream, b"nonsense\n").expect("written");
            drop(through(&state, std::os::unix::net::UnixStream::connect));
            stream.set_nonblocking(true).expect("set");
            let mut answer = String::new();
            BufReader::new(UnixStream::from_std(stream).expect("a stream")).read_line(&mut answer).await.expect("read");
            assert!(answer.contains("does not understand"), "{answer}");
            assert_eq!(ask(&state, &Asked::Suppress(Vec::new())).await.expect("an answer"), Answer::Changed(0));
            serving.abort();
            let _ = serving.await;
            assert!(!socket.exists(), "it is gone with the process");
            assert!(ask(&state, &Asked::Suppress(Vec::new())).await.is_err());
        }
    }
}
