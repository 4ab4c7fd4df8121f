//! A mailbox in which bounces arrive, read over IMAP (RFC 9051, RFC 3501), each mail once.
//!
//! A mail is marked (or moved, or deleted) once what it says is durable. A crash in between reads it twice, and its events have the
//! same identity then. What is no bounce, or nobody's, is left as it is, and not looked at again while this process runs.
//!
//! The client is our own. The crates for IMAP parse everything that a server may nest, by recursion, and hold hundreds of megabytes
//! for one answer; the server may be a customer's, and what is needed of the protocol are seven commands.

mod client;
pub mod reply;

use std::{collections::BTreeSet, time::Duration};

pub use client::Account;
use client::{Client, Ended};
use reply::Response;

use super::{
    Origin,
    reading::{self, Kind, READ_MAX},
};
use crate::{
    backoff::Backoff,
    feedback::{Event, Intake},
    meta::{Blocker, Reason},
    resources::feedback::WhenRead,
};

/// After a failure; it doubles.
const RETRY: Backoff = Backoff { first: Duration::from_secs(5), max: Duration::from_secs(300) };
/// How long the server is waited for with IDLE: networks forget connections that say nothing for longer (RFC 2177 allows 29 minutes).
const IDLE: Duration = Duration::from_secs(9 * 60);
/// Mails whose events are recorded together.
const BATCH: usize = 50;
/// Mails that are left as they are, in one folder.
const LEFT_MAX: usize = 50_000;
/// For events to become durable.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The mails that are left as they are, while the folder is the same.
#[derive(Default)]
struct Left {
    validity: u32,
    uids: BTreeSet<u32>,
}

/// Reads a mailbox until the task is ended. `tell` hears how it stands whenever that may have changed.
pub async fn read_forever(account: Account, origin: Origin, intake: Intake, tell: impl Fn(Result<(), Blocker>) + Send + Sync) {
    let mut left = Left::default();
    let mut failures = 0;
    loop {
        let looked = std::sync::atomic::AtomicBool::new(false);
        let told = |result: Result<(), Blocker>| {
            looked.store(true, std::sync::atomic::Ordering::Relaxed);
            tell(result);
        };
        let Err(failure) = session(&account, &origin, &intake, &mut left, &told).await;
        failures = if looked.load(std::sync::atomic::Ordering::Relaxed) { 1 } else { failures + 1 };
        tracing::debug!(source = %origin.source, reason = %failure.reason, "a mailbox could not be read: {failure}");
        tell(Err(failure));
        tokio::time::sleep(RETRY.delay(failures)).await;
    }
}

/// One connection; it ends with a failure.
async fn session(
    account: &Account,
    origin: &Origin,
    intake: &Intake,
    left: &mut Left,
    tell: &(impl Fn(Result<(), Blocker>) + Sync),
) -> Result<std::convert::Infallible, Blocker> {
    let mut client = Client::open(account).await?;
    let folder = account.imap.folder();
    let selected = client.say(&format!("SELECT {}", string(folder)), "SELECT").await?;
    let selected =
        done(&client, selected, &format!("the folder `{folder}` cannot be opened"), "Correct `folder`: write it as the server lists it.")?;
    let validity =
        selected.responses.iter().find_map(|response| if let Response::Validity(validity) = response { Some(*validity) } else { None });
    if left.validity != validity.unwrap_or(0) {
        *left = Left { validity: validity.unwrap_or(0), uids: BTreeSet::new() };
    }
    loop {
        client.has_news = false;
        while look(&mut client, account, origin, intake, left).await? {}
        tell(Ok(()));
        if client.has_news {
            continue;
        }
        if client.can("IDLE") {
            client.idle(IDLE).await?;
        } else {
            tokio::time::sleep(account.imap.interval().std()).await;
        }
    }
}

/// Reads the next mails; returns whether there may be more.
async fn look(client: &mut Client, account: &Account, origin: &Origin, intake: &Intake, left: &mut Left) -> Result<bool, Blocker> {
    let when_read = account.imap.when_read.unwrap_or(WhenRead::MarkSeen);
    let unread = if when_read == WhenRead::MarkSeen { "UNSEEN UNDELETED" } else { "UNDELETED" };
    let searched = client.say(&format!("UID SEARCH {unread}"), "SEARCH").await?;
    let searched = done(client, searched, "the folder cannot be searched", "Ask the server's operator.")?;
    let found = searched.responses.into_iter().filter_map(|response| if let Response::Found(uids) = response { Some(uids) } else { None });
    let mut uids: Vec<u32> = found.flatten().filter(|uid| !left.uids.contains(uid)).collect();
    uids.sort_unstable();
    let is_more = uids.len() > BATCH;
    uids.truncate(BATCH);
    let (mut events, mut handled): (Vec<Event>, Vec<u32>) = (Vec::new(), Vec::new());
    for uid in uids {
        let Some(content) = fetch(client, uid).await? else { continue };
        let reading = reading::read(&content, &[]);
        let of_mail = origin.events(&reading, &content);
        if !of_mail.is_empty() || matches!(reading.kind, Kind::AutoReply | Kind::Challenge | Kind::OtherReport) {
            events.extend(of_mail);
            handled.push(uid);
            continue;
        }
        origin.note_unread(reading.kind);
        if left.uids.len() >= LEFT_MAX {
            let what = format!("the folder contains more than {LEFT_MAX} messages that are not bounces of Mailfleet's messages");
            return Err(client.endpoint().connection_for_person(Reason::FolderUnusable, &what, "Move them elsewhere."));
        }
        left.uids.insert(uid);
    }
    if !events.is_empty() {
        match tokio::time::timeout(TAKE_TIMEOUT, intake.take(events)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(Blocker::passing(Reason::LedgerUnavailable, error.to_string())),
            Err(_) => {
                let message = format!("The messages could not be recorded within {} s; they are read again.", TAKE_TIMEOUT.as_secs());
                return Err(Blocker::passing(Reason::LedgerUnavailable, message));
            }
        }
    }
    mark(client, account, when_read, &handled).await?;
    Ok(is_more)
}

/// The beginning of a mail; `None` if it is gone.
async fn fetch(client: &mut Client, uid: u32) -> Result<Option<Vec<u8>>, Blocker> {
    let fetched = client.say(&format!("UID FETCH {uid} (UID BODY.PEEK[]<0.{READ_MAX}>)"), "FETCH").await?;
    let fetched = done(client, fetched, "a message cannot be read", "Ask the server's operator.")?;
    let mut mails = fetched.responses.into_iter().filter_map(|response| match response {
        Response::Mail { uid: of, content } if of == uid => content,
        _ => None,
    });
    Ok(mails.next())
}

/// Marks mails as read, moves or deletes them.
async fn mark(client: &mut Client, account: &Account, when_read: WhenRead, uids: &[u32]) -> Result<(), Blocker> {
    if uids.is_empty() {
        return Ok(());
    }
    let set = uids.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    let rights = "Grant the right to mark and delete messages there.";
    if when_read == WhenRead::MarkSeen {
        let marked = client.say(&format!("UID STORE {set} +FLAGS.SILENT (\\Seen)"), "STORE").await?;
        return done(client, marked, "messages cannot be marked as seen", rights).map(drop);
    }
    if when_read == WhenRead::Move {
        let folder = account.imap.move_to.as_deref().unwrap_or_default();
        let verb = if client.can("MOVE") { "MOVE" } else { "COPY" };
        let moved = client.say(&format!("UID {verb} {set} {}", string(folder)), verb).await?;
        done(client, moved, &format!("messages cannot be moved to the folder `{folder}`"), "Create it, or correct `moveTo`.")?;
        if verb == "MOVE" {
            return Ok(());
        }
    }
    let marked = client.say(&format!("UID STORE {set} +FLAGS.SILENT (\\Deleted)"), "STORE").await?;
    done(client, marked, "messages cannot be deleted", rights)?;
    // Without UIDPLUS, what others marked would be deleted too: the mark must do, and is searched for no more.
    if client.can("UIDPLUS") {
        let expunged = client.say(&format!("UID EXPUNGE {set}"), "EXPUNGE").await?;
        done(client, expunged, "messages cannot be deleted", rights)?;
    }
    Ok(())
}

/// A text as IMAP quotes it; the schema lets only visible ASCII through.
fn string(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn done(client: &Client, ended: Ended, what: &str, to_do: &str) -> Result<Ended, Blocker> {
    if ended.is_ok {
        return Ok(ended);
    }
    let what = format!("{what}: `{}`", client.quoted(&ended.text));
    Err(client.endpoint().connection_for_person(Reason::FolderUnusable, &what, to_do))
}
