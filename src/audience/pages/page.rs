//! A page of JSON as a stream: the items of its list one by one, and the value that leads to the next page. The rest is passed over, so
//! that a page takes the memory of its longest item.

use std::{
    cell::Cell,
    fmt,
    hash::{Hash as _, Hasher as _},
    io::{self, BufReader, Read},
};

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use siphasher::sip::SipHasher13;

use super::super::{Blocker, ROW_MAX, columns::EMAIL};

/// The most bytes of a page.
const PAGE_MAX: u64 = if cfg!(test) { 3 << 20 } else { 256 << 20 };
/// What is read at a time, bytes.
const BLOCK: usize = 16 << 10;
/// Names that a message lists.
const LISTED_MAX: usize = 20;
/// How deep in an item an address is looked for.
const LOOK_DEPTH: usize = 4;

/// A JSON pointer (RFC 6901). It prints as it is written.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Reads one; none where it is no pointer.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() {
            return Some(Self::default());
        }
        let parts = text.strip_prefix('/')?.split('/');
        Some(Self(parts.map(|part| part.replace("~1", "/").replace("~0", "~")).collect()))
    }

    /// The value in another.
    #[must_use]
    pub fn get<'v>(&self, value: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(value, |value, part| match value {
            Value::Object(object) => object.get(part),
            Value::Array(list) => list.get(index(part)?),
            _ => None,
        })
    }
}

/// The index that a part of a pointer is.
fn index(part: &str) -> Option<usize> {
    if part.len() > 1 && part.starts_with('0') { None } else { part.parse().ok() }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| write!(f, "/{}", part.replace('~', "~0").replace('/', "~1")))
    }
}

impl fmt::Debug for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a page had.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Its items.
    pub items: u64,
    /// All of them as a hash.
    pub hash: u64,
    /// Whether any has a member `email`, in whatever letters.
    pub has_email: bool,
    /// The members of the first, for messages.
    pub names: Option<String>,
    /// Where the first has what may be an address.
    pub likely: Option<String>,
}

/// Why a page cannot be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// What takes its items does not go on.
    Blocked(Blocker),
    /// It did not arrive whole.
    Lost(String),
    /// It is not what it should be.
    Other(String),
}

/// Reads a page: its items, each handed to `take`, and the value that leads on.
pub(super) fn read(
    body: impl Read,
    items: &Pointer,
    next: Option<&Pointer>,
    take: impl FnMut(Value) -> Result<(), Blocker>,
) -> Result<(Found, Value), Fault> {
    let limits = Limits::default();
    let mut state = State {
        take,
        limits: &limits,
        hasher: SipHasher13::new(),
        found: Found::default(),
        next: Value::Null,
        at_list: None,
        members: Vec::new(),
        blocked: None,
    };
    let bounded = Bounded { body: BufReader::with_capacity(BLOCK, body), limits: &limits };
    let mut json = serde_json::Deserializer::from_reader(bounded);
    let walk = Walk { state: &mut state, items: Some(&items.0), next: next.map(|next| &*next.0), is_root: true };
    let result = walk.deserialize(&mut json).and_then(|()| json.end());
    if let Some(blocker) = state.blocked.take() {
        return Err(Fault::Blocked(blocker));
    }
    if let Some(what) = limits.exceeded.get() {
        return Err(Fault::Other(what.to_owned()));
    }
    result.map_err(|error| match error.classify() {
        serde_json::error::Category::Io => Fault::Lost(format!("it cannot be read: {error}")),
        serde_json::error::Category::Eof => Fault::Lost("it ends too early; it was cut off in transit, or is not JSON".to_owned()),
        _ => Fault::Other(format!("the answer is not JSON ({error}); check the URL, which must be that of an API")),
    })?;
    match state.at_list {
        Some(Ok(())) => {}
        Some(Err(kind)) => return Err(Fault::Other(format!("what is at `{items}` in the answer is {kind}, not a list; correct `items`"))),
        None => {
            let members: Vec<String> = state.members.iter().map(|name| format!("`{name}`")).collect();
            let members =
                if members.is_empty() { "it has no members".to_owned() } else { format!("its members are {}", members.join(", ")) };
            return Err(Fault::Other(format!("the answer has no list at `{items}`; {members}; correct `items`")));
        }
    }
    state.found.hash = state.hasher.finish();
    Ok((state.found, state.next))
}

/// How much was read of what.
#[derive(Default)]
struct Limits {
    read: Cell<u64>,
    /// Bytes of the item so far; none outside of the list.
    of_item: Cell<Option<usize>>,
    exceeded: Cell<Option<&'static str>>,
}

/// A body within its limits.
struct Bounded<'l, R> {
    body: BufReader<R>,
    limits: &'l Limits,
}

impl<R: Read> Read for Bounded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.body.read(buffer)?;
        let Limits { read, of_item, exceeded } = self.limits;
        read.set(read.get() + length as u64);
        of_item.set(of_item.get().map(|bytes| bytes + length));
        exceeded.set(if read.get() > PAGE_MAX {
            Some("a page is longer than 256 MiB; have the API return fewer people on each")
        } else if of_item.get().is_some_and(|bytes| bytes > ROW_MAX) {
            Some("an item is longer than 1048576 bytes; have the API return fewer fields")
        } else {
            None
        });
        if exceeded.get().is_some() { Err(io::Error::other("too long")) } else { Ok(length) }
    }
}

/// What was found on the way.
struct State<'l, F> {
    take: F,
    limits: &'l Limits,
    hasher: SipHasher13,
    found: Found,
    next: Value,
    /// Whether the list was there, or what else was in its place.
    at_list: Option<Result<(), &'static str>>,
    /// The names of the answer's own members.
    members: Vec<String>,
    blocked: Option<Blocker>,
}

impl<F: FnMut(Value) -> Result<(), Blocker>> State<'_, F> {
    fn item(&mut self, item: Value) -> Result<(), Blocker> {
        if let Value::Object(object) = &item {
            self.found.has_email |= object.keys().any(|name| name.eq_ignore_ascii_case(EMAIL));
            if self.found.items == 0 {
                let names: Vec<String> = object.keys().take(LISTED_MAX).map(|name| format!("`{}`", shortened(name))).collect();
                self.found.names = Some(if names.is_empty() { "no members".to_owned() } else { names.join(", ") });
                self.found.likely = likely(&item, LOOK_DEPTH);
            }
        } else if self.found.items == 0 {
            self.found.names = Some("no members, because it is not an object".to_owned());
        }
        self.found.items += 1;
        item.hash(&mut self.hasher);
        (self.take)(item)
    }
}

fn shortened(name: &str) -> String {
    name.chars().take(60).collect()
}

/// Where in a value a text may be an address: the pointer to it.
fn likely(value: &Value, depth: usize) -> Option<String> {
    let below = |part: &str, value: &Value| {
        let part = part.replace('~', "~0").replace('/', "~1");
        likely(value, depth - 1).map(|rest| format!("/{part}{rest}"))
    };
    match value {
        Value::String(text) => (text.contains('@') && !text.contains(char::is_whitespace)).then(String::new),
        Value::Object(object) if depth > 0 => object.iter().find_map(|(name, value)| below(name, value)),
        Value::Array(list) if depth > 0 => list.iter().take(3).enumerate().find_map(|(index, value)| below(&index.to_string(), value)),
        _ => None,
    }
}

/// The way from a value of the page to the list, and to what leads on; none where it is not below this value.
struct Walk<'w, 'l, F> {
    state: &'w mut State<'l, F>,
    items: Option<&'w [String]>,
    next: Option<&'w [String]>,
    is_root: bool,
}

/// What is left of a way below the member of this name.
fn below(way: Option<&[String]>, is_it: impl Fn(&str) -> bool) -> Option<&[String]> {
    way?.split_first().filter(|(first, _)| is_it(first)).map(|(_, rest)| rest)
}

impl<'de, F: FnMut(Value) -> Result<(), Blocker>> DeserializeSeed<'de> for Walk<'_, '_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<F> Walk<'_, '_, F> {
    /// Something that is no list.
    fn is<E>(self, kind: &'static str) -> Result<(), E> {
        if self.items.is_some_and(<[String]>::is_empty) {
            self.state.at_list = Some(Err(kind));
        }
        Ok(())
    }
}

impl<'de, F: FnMut(Value) -> Result<(), Blocker>> Visitor<'de> for Walk<'_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.is("true or false")
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.is("a number")
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        self.is("a number")
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.is("a number")
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        self.is("a text")
    }

    /// Some servers write an empty list as null.
    fn visit_unit<E>(self) -> Result<(), E> {
        if self.items.is_some_and(<[String]>::is_empty) {
            self.state.at_list = Some(Ok(()));
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Walk { state, items, next, is_root } = self;
        if items.is_some_and(<[String]>::is_empty) {
            state.at_list = Some(Err("an object"));
        }
        while let Some(name) = map.next_key::<String>()? {
            if is_root && state.members.len() < LISTED_MAX {
                state.members.push(shortened(&name));
            }
            let (items, next) = (below(items, |part| part == name), below(next, |part| part == name));
            match (items, next) {
                (None, None) => _ = map.next_value::<IgnoredAny>()?,
                (None, Some([])) => state.next = map.next_value()?,
                _ => map.next_value_seed(Walk { state: &mut *state, items, next, is_root: false })?,
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let Walk { state, items, next, .. } = self;
        if items.is_some_and(<[String]>::is_empty) {
            state.at_list = Some(Ok(()));
            state.limits.of_item.set(Some(0));
            while let Some(item) = seq.next_element()? {
                state.limits.of_item.set(Some(0));
                if let Err(blocker) = state.item(item) {
                    state.blocked = Some(blocker);
                    return Err(A::Error::custom("stopped"));
                }
            }
            state.limits.of_item.set(None);
            return Ok(());
        }
        for number in 0.. {
            let is_it = |part: &str| index(part) == Some(number);
            let (items, next) = (below(items, is_it), below(next, is_it));
            let more = match (items, next) {
                (None, None) => seq.next_element::<IgnoredAny>()?.is_some(),
                (None, Some([])) => match seq.next_element()? {
                    Some(value) => {
                        state.next = value;
                        true
                    }
                    None => false,
                },
                _ => seq.next_element_seed(Walk { state: &mut *state, items, next, is_root: false })?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(body: &str, items: &str, next: Option<&str>) -> Result<(Vec<String>, Value), String> {
        let (items, next) = (Pointer::parse(items).expect("a pointer"), next.map(|next| Pointer::parse(next).expect("a pointer")));
        let mut all = Vec::new();
        let read = read(body.as_bytes(), &items, next.as_ref(), |item| {
            all.push(item.to_string());
            Ok(())
        });
        match read {
            Ok((found, next)) => {
                assert_eq!(found.items, all.len() as u64);
                Ok((all, next))
            }
            Err(Fault::Lost(what) | Fault::Other(what)) => Err(what),
            Err(Fault::Blocked(blocker)) => Err(blocker.message),
        }
    }

    #[test]
    fn the_list_and_what_leads_on_are_found_wherever_they_are() {
        let cases = [
            ("[{\"a\":1},{\"a\":2}]", "", None, "{\"a\":1} {\"a\":2}", "null"),
            ("{\"next\":\"x\",\"data\":{\"list\":[1,2],\"n\":3}}", "/data/list", Some("/next"), "1 2", "\"x\""),
            ("{\"data\":{\"list\":[],\"next\":{\"after\":17}}}", "/data/list", Some("/data/next/after"), "", "17"),
            ("{\"list\":null,\"next\":null}", "/list", Some("/next"), "", "null"),
            ("[[9],{\"people\":[{\"b\":[1,{}]}]},\"after\"]", "/1/people", Some("/2"), "{\"b\":[1,{}]}", "\"after\""),
            ("{\"a/b\":{\"m~n\":[true]}}", "/a~1b/m~0n", Some("/x"), "true", "null"),
            ("{\"list\":[1],\"links\":{\"next\":{\"href\":\"y\"}}}", "/list", Some("/links/next"), "1", "{\"href\":\"y\"}"),
        ];
        for (body, items, next, wanted, leads) in cases {
            let (all, value) = taken(body, items, next).expect(body);
            assert_eq!((all.join(" "), value.to_string()), (wanted.to_owned(), leads.to_owned()), "{body}");
        }
    }

    #[test]
    fn what_is_no_page_is_told() {
        let long = format!("[{{\"a\":\"{}\"}}]", "x".repeat(ROW_MAX));
        let deep = "[".repeat(1000);
        let cases = [
            (
                "{\"data\":1,\"meta\":{}}",
                "/results",
                "the answer has no list at `/results`; its members are `data`, `meta`; correct `items`",
            ),
            ("[1]", "/results", "the answer has no list at `/results`; it has no members; correct `items`"),
            ("{\"data\":{\"a\":1}}", "/data", "what is at `/data` in the answer is an object, not a list"),
            ("{\"data\":\"x\"}", "/data", "is a text, not a list"),
            ("{\"data\":3}", "/data", "is a number, not a list"),
            ("<html>", "", "the answer is not JSON (expected value at line 1 column 1); check the URL"),
            ("[1] [2]", "", "the answer is not JSON (trailing characters"),
            ("[{\"a\":", "", "it ends too early"),
            ("", "", "it ends too early"),
            (&deep, "", "the answer is not JSON (recursion limit exceeded"),
            (&long, "", "an item is longer than 1048576 bytes"),
        ];
        for (body, items, wanted) in cases {
            let why = taken(body, items, None).expect_err(wanted);
            assert!(why.contains(wanted), "{why}");
        }
        let endless = format!("{{\"x\":\"{}\"}}", "y".repeat(usize::try_from(PAGE_MAX).expect("a size")));
        assert!(taken(&endless, "/x", None).expect_err("too long").contains("a page is longer than 256 MiB"));
    }

    #[test]
    fn where_an_address_may_be_is_proposed() {
        let cases = [
            ("{\"id\":1,\"properties\":{\"Contact\":\"ann@example.com\"}}", Some("/properties/Contact")),
            ("{\"note\":\"see me @ noon\",\"mails\":[{\"a/b\":\"ann@example.com\"}]}", Some("/mails/0/a~1b")),
            ("{\"a\":{\"b\":{\"c\":{\"d\":{\"e\":\"ann@example.com\"}}}}}", None),
            ("{}", None),
        ];
        for (item, wanted) in cases {
            let item = serde_json::from_str(item).expect(item);
            assert_eq!(likely(&item, LOOK_DEPTH).as_deref(), wanted, "{item}");
        }
    }
}
