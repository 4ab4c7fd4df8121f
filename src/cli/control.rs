//! Changes of the ledger for commands: by the process that sends, where there is one, and by this one otherwise.

use std::{path::Path, time::Duration};

use tokio::task::JoinHandle;

use super::{keys, text};
use crate::{
    clock::SteadyClock,
    ledger::{Forgotten, Ledger, LedgerError, LedgerErrorKind, LedgerOptions, LedgerPlace},
    meta::bound::counted,
    serve::control::{self, Answer, Asked, Control, Forget},
    token::Keys,
};

/// How often the process that sends is asked, while it starts, and the pause between two.
const TRIES: u32 = 5;
const AGAIN: Duration = Duration::from_millis(200);

/// The task that answers at the control socket of a state folder; it ends when this is dropped.
pub(super) struct Serving(JoinHandle<()>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Answers commands for as long as the result is kept. Without a socket there are no such commands while the process runs.
pub(super) fn serve(state_dir: &Path, ledger: &Ledger, keys: Option<Keys>) -> Option<Serving> {
    match Control::bind(state_dir) {
        Ok(control) => {
            let ledger = ledger.clone();
            let answer = move |asked| {
                let (ledger, keys) = (ledger.clone(), keys.clone());
                async move { carry_out(&ledger, keys.as_ref(), asked).await }
            };
            Some(Serving(tokio::spawn(control.serve(answer))))
        }
        Err(error) => {
            text::report(&format!(
                "the control socket cannot be made in {} ({error}): `mailfleet suppressions` and `mailfleet forget` change the ledger only while this process does not run",
                state_dir.display()
            ));
            None
        }
    }
}

async fn carry_out(ledger: &Ledger, keys: Option<&Keys>, asked: Asked) -> Answer {
    let changed = |result: Result<u64, LedgerError>| match result {
        Ok(count) => Answer::Changed(count),
        Err(error) => Answer::Refused(error.to_string()),
    };
    match asked {
        Asked::Suppress(suppressions) => changed(ledger.suppress(suppressions).await),
        Asked::Unsuppress(suppressions) => changed(ledger.unsuppress(suppressions).await),
        Asked::Forget(Forget { address, namespace }) => {
            let Some(keys) = keys else {
                return Answer::Refused("there is no key to hash the address with: the file `keys` of the state folder is missing. Name your own with --keys, or start `mailfleet run` once, which creates it".to_owned());
            };
            let now_ms = SteadyClock::of_process().now_ms();
            match ledger.forget(&address, namespace.as_deref(), keys.clone(), now_ms).await {
                Ok(forgotten) => Answer::Forgotten(control::Forgotten { told: told(&forgotten), is_left: forgotten.open > 0 }),
                Err(error) => Answer::Refused(error.to_string()),
            }
        }
    }
}

fn told(forgotten: &Forgotten) -> String {
    let Forgotten { messages, open, events, bad_rows, suppressions } = *forgotten;
    let mut told = format!(
        "removed from the ledger: {}, {}, {}, {}",
        counted(messages, "message", "messages"),
        counted(events, "event", "events"),
        counted(bad_rows, "bad row", "bad rows"),
        counted(suppressions, "entry of the suppression list", "entries of the suppression list")
    );
    if open > 0 {
        told.push_str(&format!(
            "; {} still in progress: no further attempt is made, and repeating the command later removes what is left",
            counted(open, "message is", "messages are")
        ));
    }
    told
}

/// Has something done to the ledger of a state folder. Where no process sends, this one needs the keys, of which `own` is the file
/// of a person's own.
///
/// # Errors
/// Why nothing was changed.
pub(super) async fn ask(location: &LedgerPlace, own: Option<&Path>, asked: Asked) -> Result<Answer, String> {
    let state_dir = location.state_dir();
    let keys = keys::existing(own, state_dir)?;
    let mut last = None;
    for _ in 0..TRIES {
        if !location.is_in_use() {
            match open(location).await {
                Ok(ledger) => {
                    let answer = carry_out(&ledger, keys.as_ref(), asked).await;
                    let _ = tokio::task::spawn_blocking(move || drop(ledger)).await;
                    return done(answer);
                }
                Err(error) if error.kind == LedgerErrorKind::InUse => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        match control::ask(state_dir, &asked).await {
            Ok(answer) => return done(answer),
            // It may be starting, or ending.
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(AGAIN).await;
    }
    let why = last.map_or_else(String::new, |error| format!(" ({error})"));
    Err(format!(
        "the process that sends from {location} does not answer{why}; it may be a different version, belong to another user, or run elsewhere"
    ))
}

fn done(answer: Answer) -> Result<Answer, String> {
    if let Answer::Refused(why) = answer { Err(why) } else { Ok(answer) }
}

async fn open(location: &LedgerPlace) -> Result<Ledger, LedgerError> {
    // Nothing is made where nothing was sent from yet: a state folder that is mistyped is told.
    crate::ledger::LedgerReader::open(location.clone()).map(drop).or_else(|error| match error.kind {
        LedgerErrorKind::OlderVersion => Ok(()),
        _ => Err(error),
    })?;
    let opening = location.clone();
    let opened = tokio::task::spawn_blocking(move || Ledger::open(opening, LedgerOptions::default())).await;
    match opened {
        Ok(ledger) => ledger,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
