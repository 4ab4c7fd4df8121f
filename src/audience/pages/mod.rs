//! An API as an audience: a URL that answers JSON with a list of people, on one page or on many.
//!
//! Cursors of APIs are good for minutes, and a campaign is sent over hours. So pages are fetched one after the other as fast as the
//! server gives them, and their items go through a [`spool`]. A page that fails is asked for again a few times; after that the reading
//! fails, and the campaign goes on from the ledger.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod next;
mod page;

use std::{
    collections::{BTreeMap, HashSet},
    hash::{Hash as _, Hasher as _},
    io::{self, Read},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use siphasher::sip::SipHasher13;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::{next::Leads, page::Found};
pub use self::{next::Next, page::Pointer};
use super::{
    Blocker, Progress, Remote,
    columns::EMAIL,
    http::{self, Answer, Refused},
    spool::{self, Head, Sink, Spool, Words},
    unreadable,
    xlsx::Folder,
};
use crate::{
    backoff::{Backoff, jittered},
    meta::{bound::grouped, link::next_of},
    providers::scrub::Scrubber,
};

/// The most pages.
const PAGES_MAX: usize = if cfg!(test) { 20 } else { 100_000 };
/// Tries of a page.
const TRIES_MAX: u32 = 5;
/// Between two tries of a page where the server does not say.
const BETWEEN_TRIES: Backoff = Backoff { first: Duration::from_millis(if cfg!(test) { 1 } else { 1000 }), max: Duration::from_secs(30) };
/// The longest pause that a server is granted before its page is asked for again; beyond it the whole reading is tried again later.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// For one page from its first byte to its last.
const PAGE_TIME_MAX: Duration = Duration::from_secs(600);

/// An API to read.
#[derive(Clone, Debug)]
pub struct Pages {
    /// The first page.
    pub remote: Remote,
    /// Where in a page the list is.
    pub items: Pointer,
    /// How the next page is found; none where there is one page.
    pub next: Option<Next>,
    /// Fields, and where in an item they are.
    pub columns: BTreeMap<String, Pointer>,
    /// Where items are kept while they are read.
    pub folder: Folder,
}

/// How messages speak of the pages.
const WORDS: Words = Words {
    source: "the answer",
    columns: "",
    shorter: "have the API return fewer fields",
    fewer: "have the API return fewer fields or people",
    doing: "reading the pages of a URL",
};

/// Asks for the first page, and returns once it is there. It blocks. `scrubber` learns what must not be quoted.
pub(super) fn open(pages: &Pages, runtime: &Handle, progress: &Arc<Progress>, scrubber: &Scrubber) -> Result<(Head, Spool), Blocker> {
    let place = http::shown(&http::parsed(&pages.remote.url)?);
    let (asked, runtime, scrubber) = (pages.clone(), runtime.clone(), scrubber.clone());
    let work = move |sink: &mut Sink| Reading::new(&asked, sink, &runtime, &scrubber).run();
    spool::start(&pages.folder.0, (&place, WORDS), &BTreeMap::new(), progress, work)
}

/// Pages on their way into a spool.
struct Reading<'a> {
    pages: &'a Pages,
    sink: &'a mut Sink,
    runtime: &'a Handle,
    scrubber: &'a Scrubber,
    closed: CancellationToken,
    place: String,
    /// Items so far.
    items: u64,
    /// The URLs that were asked for, as hashes.
    asked: HashSet<u64>,
    /// The items of pages with any, as hashes.
    seen: HashSet<u64>,
}

impl<'a> Reading<'a> {
    fn new(pages: &'a Pages, sink: &'a mut Sink, runtime: &'a Handle, scrubber: &'a Scrubber) -> Self {
        let (closed, place) = (sink.closed(), sink.place().to_owned());
        Self { pages, sink, runtime, scrubber, closed, place, items: 0, asked: HashSet::new(), seen: HashSet::new() }
    }

    fn fail(&self, what: impl std::fmt::Display) -> Blocker {
        unreadable(format!("{}: {what}", self.place)).after(Some(http::ASK_AGAIN))
    }

    fn run(mut self) -> Result<(), Blocker> {
        let mut url = http::parsed(&self.pages.remote.url)?;
        if let Some(next) = &self.pages.next {
            next.begin(&mut url);
        }
        for number in 1.. {
            if number > PAGES_MAX {
                return Err(
                    self.fail(format!("it has more than {} pages; have the API return more people on each", grouped(PAGES_MAX as u64)))
                );
            }
            if !self.asked.insert(hash_of(url.as_str())) {
                return Err(self.fail(format!("page {} leads back to a page that was read before", number - 1)));
            }
            let Some((found, leads)) = self.page(&url, number)? else { return Ok(()) };
            if number == 1 {
                self.check_first(&found)?;
                self.sink.begin_without_columns();
            }
            if found.items > 0 && !self.seen.insert(found.hash) {
                let what = match self.pages.next.as_ref().and_then(Next::parameter) {
                    Some(parameter) => format!("; the server may not know the parameter `{parameter}`"),
                    None => String::new(),
                };
                return Err(self.fail(format!("page {number} has the same people as one before{what}")));
            }
            self.items += found.items;
            self.sink.flush()?;
            let next = self.pages.next.as_ref().map_or(Ok(None), |next| next.after(&url, &leads, number as u64, self.items, found.items));
            match next.map_err(|why| self.fail(format!("page {number}: {why}")))? {
                Some(next) => url = next,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// A page, and what it says of the next one; none where nobody reads any more.
    fn page(&mut self, url: &reqwest::Url, number: usize) -> Result<Option<(Found, Leads)>, Blocker> {
        let mut tries = 0;
        loop {
            let answer = match http::ask(&self.pages.remote, url, self.runtime, self.scrubber) {
                Ok(answer) => answer,
                Err(refused) => {
                    tries += 1;
                    if self.closed.is_cancelled() || !self.waits(&refused, tries) {
                        let message = refused.blocker.message.clone();
                        let message = if number > 1 { format!("{message} (page {number})") } else { message };
                        return Err(Blocker { message, ..refused.blocker });
                    }
                    continue;
                }
            };
            if self.closed.is_cancelled() {
                return Ok(None);
            }
            return self.take(answer, number).map(Some);
        }
    }

    /// Waits before a page is asked for again; false where it is not.
    fn waits(&self, refused: &Refused, tries: u32) -> bool {
        let pause = refused.pause.unwrap_or_else(|| jittered(BETWEEN_TRIES.delay(tries)));
        // The first page tells whether the server is there at all; that is tried again as every audience is.
        if !refused.may_pass || tries >= TRIES_MAX || pause > PAUSE_MAX || self.asked.len() < 2 && refused.pause.is_none() {
            return false;
        }
        let closed = self.closed.clone();
        self.runtime.block_on(async move {
            tokio::select! {
                () = closed.cancelled() => false,
                () = tokio::time::sleep(pause) => true,
            }
        })
    }

    /// Reads a page, and passes its items on.
    fn take(&mut self, answer: Answer, number: usize) -> Result<(Found, Leads), Blocker> {
        let Answer { url, header, body, .. } = answer;
        let (pages, sink) = (self.pages, &mut *self.sink);
        let timed = Timed { body, until: std::time::Instant::now() + PAGE_TIME_MAX };
        let next = pages.next.as_ref().and_then(Next::pointer);
        let result = page::read(timed, &pages.items, next, |item| {
            let text = with_columns(item, &pages.columns).to_string();
            sink.row(&text)
        });
        let found = result.map_err(|fault| match fault {
            page::Fault::Blocked(blocker) => blocker,
            page::Fault::Lost(what) => Blocker { needs_person: false, ..self.fail(format!("page {number}: {what}")) },
            page::Fault::Other(what) if number == 1 => self.fail(what),
            page::Fault::Other(what) => self.fail(format!("page {number}: {what}")),
        })?;
        let link = next_of(&header);
        Ok((found.0, Leads { from: url, link, value: found.1 }))
    }

    /// A list without anybody's address is the wrong one, or has it elsewhere.
    fn check_first(&self, found: &Found) -> Result<(), Blocker> {
        let Some(names) = found.names.as_ref().filter(|_| !found.has_email && !self.pages.columns.contains_key(EMAIL)) else {
            return Ok(());
        };
        let likely = found.likely.as_ref().map_or_else(
            || "write where in an item it is, such as `columns: {email: /properties/email}`".to_owned(),
            |pointer| format!("if `{pointer}` is it, write `columns: {{email: {pointer}}}`"),
        );
        Err(self.fail(format!("no item of the first page has a member `email`; the first has {names}; {likely}")))
    }
}

/// An item with the values of columns as members of their names.
fn with_columns(mut item: Value, columns: &BTreeMap<String, Pointer>) -> Value {
    if columns.is_empty() || !item.is_object() {
        return item;
    }
    let found = columns.iter().map(|(field, pointer)| (field, pointer.get(&item).filter(|value| !value.is_null()).cloned()));
    let found: Vec<(&String, Option<Value>)> = found.collect();
    if let Some(object) = item.as_object_mut() {
        // A member that has the name already is not read; of the address, one of another spelling would be a second one.
        object.retain(|name, _| {
            let is_address = columns.contains_key(EMAIL) && name.eq_ignore_ascii_case(EMAIL);
            !is_address && !columns.contains_key(name)
        });
        object.extend(found.into_iter().filter_map(|(field, value)| Some((field.clone(), value?))));
    }
    item
}

fn hash_of(text: &str) -> u64 {
    let mut hasher = SipHasher13::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// A body that ends when its time does: a server may send a byte a minute.
struct Timed<R> {
    body: R,
    until: std::time::Instant,
}

impl<R: Read> Read for Timed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if std::time::Instant::now() > self.until {
            return Err(io::Error::other(format!("it took longer than {} s", PAGE_TIME_MAX.as_secs())));
        }
        self.body.read(buffer)
    }
}
