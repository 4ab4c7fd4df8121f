//! What comes back: mails, the conversation in which they come, mailboxes, and tokens that we once gave away.

#![allow(clippy::missing_panics_doc)] // What does not hold is a panic.

use std::sync::{Arc, LazyLock};

use crate::properties::{assert_same, assert_shown, failed, pieces};
use crate::{
    bounces::{
        Origin,
        listener::session::{Answer, ReceivedMail, Session},
        mailbox::reply::{Decoder, Response, Unreadable},
        reading::{self, READ_MAX},
    },
    feedback::{MessageIdentity, MessageReference},
    meta::Key,
    token::{
        Keys, PublicUrl,
        return_path::{ReturnPaths, reference_of},
        unsubscribe::{Subscription, Tokens, token_of_mail},
    },
};

/// The one message whose return path is known outside: the corpus has it.
pub(super) const KNOWN: MessageReference = MessageReference { ledger: 1, run: 2, partition: 0, seq: 3 };

/// The keys of this installation, which nobody else has.
pub(super) static KEYS: LazyLock<Arc<Keys>> = LazyLock::new(|| Arc::new(Keys::of([9; 32])));
static TOKENS: LazyLock<Tokens> = LazyLock::new(|| Tokens::new(&KEYS));

/// The one subscription whose link is known outside.
pub(super) fn subscription() -> Subscription {
    Subscription { namespace: "shop".into(), topic: Some("news".into()), address: "ann@example.com".into(), run: Some((2, 1)) }
}

fn origin(server: Option<Key>) -> Origin {
    Origin { keys: Some(Arc::clone(&KEYS)), unsubscribe: Some(TOKENS.clone()), server, source: "fuzzing".into(), unread: Arc::default() }
}

/// A mail that anybody may have sent: a report, a complaint, an answer. It is believed about no message but the one whose return path
/// it was given, and about the message whose Message-ID it names only where it is in a server's own mailbox.
pub fn mails(data: &[u8]) {
    let reading = reading::read(data, &["bounce-nothing@example.com"]);
    assert!(reading.recipients.len() <= 100, "{} recipients", reading.recipients.len());
    assert!(reading.addresses.len() <= 64 && reading.subject.chars().count() <= 1000, "{reading:?}");
    for recipient in &reading.recipients {
        assert_shown("the words of a report", &recipient.detail, 250);
    }
    assert!(reading == reading::read(data, &["bounce-nothing@example.com"]), "a second reading is another");
    assert!(data.len() <= READ_MAX || reading == reading::read(&data[..READ_MAX], &["bounce-nothing@example.com"]), "more is looked at");
    for event in origin(None).events(&reading, data) {
        assert_shown("an event", &event.detail, 250);
        match event.message {
            MessageIdentity::Reference { reference, server: None } => assert!(reference == KNOWN, "{reference:?} was never given away"),
            MessageIdentity::Subscription { namespace, topic, run } => {
                let known = subscription();
                assert!(namespace == known.namespace && topic == known.topic && run == known.run, "{namespace} was never given away");
                assert!(event.recipient == Some(known.address), "{:?} has no link", event.recipient);
            }
            other => failed(&format!("a mail to the listener is believed about {other:?}")),
        }
    }
    for event in origin(Some(Key::new("shop", "relay"))).events(&reading, data) {
        let is_of_server = |server: &Key| *server == Key::new("shop", "relay");
        assert!(
            !matches!(&event.message, MessageIdentity::MessageId { server, .. } if !is_of_server(server))
                && !matches!(event.message, MessageIdentity::Recipient { .. } | MessageIdentity::VendorId { .. }),
            "a mailbox of shop/relay is believed about {:?}",
            event.message
        );
    }
}

/// A client of the bounce listener: its lines, however they are cut, and nobody's mail but ours.
pub fn conversation(data: &[u8]) {
    let whole = talk(data, usize::MAX);
    let (replies, mails) = &whole;
    for mail in mails {
        assert!((1..=100).contains(&mail.recipients.len()) && mail.content.len() <= 1000, "{mail:?}");
        assert!(mail.recipients.iter().all(|one| origin(None).is_ours(one)), "{:?} is not ours", mail.recipients);
    }
    let lines = data.iter().filter(|byte| **byte == b'\n').count();
    assert!(replies.lines().count() <= 100 * (lines + 2), "{} replies to {lines} lines", replies.lines().count());
    let is_reply = |line: &str| line.len() > 3 && line.as_bytes()[..3].iter().all(u8::is_ascii_digit);
    assert!(replies.lines().all(is_reply), "{replies}");
    for size in pieces(data) {
        assert_same(&whole, &talk(data, size), "a conversation");
    }
}

fn talk(data: &[u8], size: usize) -> (String, Vec<ReceivedMail>) {
    let origin = origin(None);
    let (mut session, mut mails, mut waiting) = (Session::new("mx.example", 1000), Vec::new(), Vec::new());
    for piece in data.chunks(size.min(data.len()).max(1)) {
        waiting.extend_from_slice(piece);
        loop {
            let (read, mail) = session.feed(&waiting, &|address| origin.is_ours(address));
            assert!(read <= waiting.len(), "{read} of {} bytes", waiting.len());
            waiting.drain(..read);
            let Some(mail) = mail else { break };
            mails.push(mail);
            session.answer(Answer::Taken);
        }
        if session.is_over() {
            break;
        }
    }
    (String::from_utf8_lossy(&session.replies).into_owned(), mails)
}

/// An IMAP server's answers, however they are cut: no mail is longer than what was sent.
pub fn imap(data: &[u8]) {
    let whole = responses(data, usize::MAX);
    for response in &whole.0 {
        match response {
            Response::Mail { content: Some(content), .. } => {
                assert!(content.len() <= data.len(), "{} bytes of {}", content.len(), data.len());
            }
            Response::Found(found) => assert!(found.len() <= data.len(), "{} of {}", found.len(), data.len()),
            _ => {}
        }
    }
    for size in pieces(data) {
        assert_same(&whole, &responses(data, size), "answers of a mailbox");
    }
}

fn responses(data: &[u8], size: usize) -> (Vec<Response>, Option<Unreadable>) {
    let (mut decoder, mut found) = (Decoder::new(READ_MAX), Vec::new());
    for piece in data.chunks(size.min(data.len()).max(1)) {
        decoder.push(piece);
        loop {
            match decoder.response() {
                Ok(Some(response)) => found.push(response),
                Ok(None) => break,
                Err(unreadable) => return (found, Some(unreadable)),
            }
        }
    }
    (found, None)
}

/// Tokens: what we did not make is refused, whatever it looks like; what we made is read by us in any case of its letters, and not
/// with one of them altered.
pub fn tokens(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let known = TOKENS.make(&subscription());
    if let Some(read) = TOKENS.read(&text) {
        assert!(read == subscription() && Some(text.to_ascii_lowercase()) == known, "{text} was never made: {read:?}");
    }
    if let Some(reference) = reference_of(&text, &KEYS) {
        assert!(reference == KNOWN, "{text} was never made: {reference:?}");
    }
    if let Some(token) = token_of_mail(&text, &text) {
        assert!(text.contains(token), "{token}");
    }
    if let Ok(url) = text.parse::<PublicUrl>() {
        let shown = url.to_string();
        assert!(shown.parse() == Ok(url) && !shown.contains(char::is_whitespace), "{text} is {shown}");
    }
    if let Ok(keys) = Keys::parse(&text) {
        let again = Keys::parse(&keys.to_text()).map(|again| again.to_text());
        assert!(again.as_ref() == Ok(&keys.to_text()), "{again:?}");
    }
    made(data, &text);
}

/// A subscription of this text, and a message of these bytes, there and back.
fn made(data: &[u8], text: &str) {
    let at = usize::from(data.first().copied().unwrap_or(0));
    let (namespace, address) = text.split_at(text.floor_char_boundary(at.min(text.len() / 2)));
    let topic = namespace.get(..namespace.len() / 2).filter(|topic| !topic.is_empty()).map(Into::into);
    let run = data.first_chunk::<8>().map(|bytes| (u32::from(bytes[0]) + 1, u32::from(bytes[7])));
    let subscription = Subscription { namespace: namespace.into(), topic, address: address.into(), run };
    if let Some(token) = TOKENS.make(&subscription).filter(|_| !namespace.is_empty() && !address.is_empty()) {
        let is_long = token.len() > 2500;
        assert!(is_long || TOKENS.read(&token).as_ref() == Some(&subscription), "{subscription:?} is not read again");
        assert!(is_long || TOKENS.read(&token.to_ascii_uppercase()).as_ref() == Some(&subscription), "in capitals: {subscription:?}");
        let altered = altered(&token, at);
        assert!(TOKENS.read(&altered).is_none(), "{altered} is taken for {token}");
        assert!(Tokens::new(&Keys::of([8; 32])).read(&token).is_none(), "another installation reads {token}");
    }
    if let (Some(bytes), Some(paths)) = (data.first_chunk(), ReturnPaths::new(&KEYS)) {
        let reference = MessageReference::from_bytes(*bytes);
        let address = paths.address(reference, "b.example.com");
        assert!(reference_of(&address, &KEYS) == Some(reference), "{address} is not read again");
        let local = address.strip_suffix("@b.example.com").unwrap_or(&address);
        let altered = format!("bounce-{}@b.example.com", altered(&local["bounce-".len()..], at));
        assert!(reference_of(&altered, &KEYS).is_none(), "{altered} is taken for {address}");
    }
}

/// A text of base32 with another letter in one place.
fn altered(token: &str, at: usize) -> String {
    let at = at % token.len();
    let other = if token.as_bytes()[at] == b'a' { 'b' } else { 'a' };
    format!("{}{other}{}", &token[..at], &token[at + 1..])
}
