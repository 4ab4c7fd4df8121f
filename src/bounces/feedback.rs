//! From what a mail says to events: matched by the return path or the Message-ID that it names, or to nobody. Pure.
//!
//! A mail can be written by anybody. So it is believed only where it names a message by what its recipient alone can know: a return
//! path of ours, whose token is authenticated, or the random Message-ID. What names nothing but an address is nobody's feedback.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_lc_rs::digest;

use super::reading::{Action, Kind, Reading, Recipient};
use crate::{
    feedback::{Event, EventKind, MessageIdentity},
    meta::Key,
    token::{
        Keys, return_path,
        unsubscribe::{self, Subscription, Tokens},
    },
};

/// Bytes of an event's identity that are kept of its hash.
const ID_BYTES: usize = 16;

/// Where mail came in.
#[derive(Clone)]
pub struct Origin {
    /// The keys that authenticate return paths; without them only Message-IDs are matched.
    pub keys: Option<Arc<Keys>>,
    /// Reads tokens of `mailto:` links, where there are any.
    pub unsubscribe: Option<Tokens>,
    /// The server whose mailbox it is; absent for the listener, which is for all.
    pub server: Option<Key>,
    /// Who tells it, for people.
    pub source: Arc<str>,
    /// Mails that said nothing of a message, since the process started.
    pub unread: Arc<AtomicU64>,
}

impl Origin {
    /// Counts and logs a mail without events. Automatic answers are so usual that they are no news.
    pub fn note_unread(&self, kind: Kind) {
        let (count, source) = (self.unread.fetch_add(1, Ordering::Relaxed) + 1, &self.source);
        if matches!(kind, Kind::AutoReply | Kind::Challenge | Kind::OtherReport) {
            tracing::debug!(?kind, %source, count, "incoming mail is not about any message");
        } else {
            tracing::info!(?kind, %source, count, "an incoming mail belongs to no message of ours, or has an unknown form");
        }
    }

    /// Whether an address is one that mail comes back to: a return path of ours, or that of a `mailto:` link, whose token may stand
    /// in the subject.
    #[must_use]
    pub fn is_ours(&self, address: &str) -> bool {
        let is_path = self.keys.as_ref().is_some_and(|keys| return_path::reference_of(address, keys).is_some());
        is_path
            || self.unsubscribe.is_some() && local(address).eq_ignore_ascii_case("unsubscribe")
            || self.subscription(address, "").is_some()
    }

    fn subscription(&self, address: &str, subject: &str) -> Option<Subscription> {
        let tokens = self.unsubscribe.as_ref()?;
        unsubscribe::token_of_mail(local(address), subject).and_then(|token| tokens.read(token))
    }

    /// The message that a mail is about.
    fn message(&self, reading: &Reading) -> Option<MessageIdentity> {
        let keys = self.keys.as_ref();
        let reference = keys.and_then(|keys| reading.addresses.iter().find_map(|address| return_path::reference_of(address, keys)));
        if let Some(reference) = reference {
            return Some(MessageIdentity::Reference { reference, server: None });
        }
        let (server, id) = (self.server.clone()?, reading.original_id.clone()?);
        Some(MessageIdentity::MessageId { server, id })
    }

    /// The events of a mail: none where it reports nothing, or nothing that is anybody's. `raw` is the mail.
    #[must_use]
    pub fn events(&self, reading: &Reading, raw: &[u8]) -> Vec<Event> {
        let event = |kind: EventKind, message: MessageIdentity, recipient: Option<Arc<str>>, detail: String| {
            let id = Some(identity(kind, &message, reading, raw));
            Event { kind, message, recipient, at_ms: reading.at_ms, source: self.source.clone(), id, detail }
        };
        // A mail to the address of a link, by a person or a program of theirs (Apple Mail says `auto-replied`): a report that ends up
        // there ends no subscription.
        if reading.has_sender
            && matches!(reading.kind, Kind::Other | Kind::AutoReply)
            && let Some(subscription) = reading.addresses.iter().find_map(|address| self.subscription(address, &reading.subject))
        {
            let Subscription { namespace, topic, address, run } = subscription;
            let message = MessageIdentity::Subscription { namespace, topic, run };
            return vec![event(EventKind::Unsubscribed, message, Some(address), "requested by mail".to_owned())];
        }
        let Some(message) = self.message(reading) else { return Vec::new() };
        let kind_and_recipient = match reading.kind {
            Kind::Complaint => Some((EventKind::Complaint, reading.recipients.first())),
            Kind::Report => outcome(&reading.recipients),
            Kind::OtherReport | Kind::AutoReply | Kind::Challenge | Kind::Other => None,
        };
        let told = |recipient: Option<&Recipient>| {
            (recipient.and_then(|one| one.address.as_deref()).map(Arc::from), recipient.map(|one| one.detail.clone()).unwrap_or_default())
        };
        let made = kind_and_recipient.map(|(kind, recipient)| {
            let (address, detail) = told(recipient);
            event(kind, message, address, detail)
        });
        made.into_iter().collect()
    }
}

fn local(address: &str) -> &str {
    address.rsplit_once('@').map_or(address, |(local, _)| local)
}

/// What became of a message, which has one recipient of ours, whatever that address stands for: it is gone where every address
/// behind it is, and failed where one of them did.
fn outcome(recipients: &[Recipient]) -> Option<(EventKind, Option<&Recipient>)> {
    let failed: Vec<&Recipient> = recipients.iter().filter(|one| one.action == Action::Failed).collect();
    let is_whole = failed.len() == recipients.len();
    if !failed.is_empty() && is_whole && failed.iter().all(|one| one.is_hard) {
        return Some((EventKind::HardBounce, failed.first().copied()));
    }
    if let Some(first) = failed.iter().find(|one| !one.is_hard).or(failed.first()) {
        return Some((EventKind::SoftBounce, Some(first)));
    }
    let delivered = recipients.iter().find(|one| one.action == Action::Delivered)?;
    Some((EventKind::Delivered, Some(delivered)))
}

/// The same for the same mail, however often and by whichever way it comes.
fn identity(kind: EventKind, message: &MessageIdentity, reading: &Reading, raw: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    hash.update(format!("{kind}\n{message:?}\n").as_bytes());
    match &reading.id {
        Some(id) => hash.update(id.as_bytes()),
        None => hash.update(raw),
    }
    let hash = hash.finish();
    let hex: String = hash.as_ref().iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect();
    format!("mail-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bounces::read, feedback::MessageReference, token::return_path::ReturnPaths};

    const ROW: MessageReference = MessageReference { ledger: 1, run: 2, partition: 0, seq: 3 };

    fn keys() -> Arc<Keys> {
        Arc::new(Keys::of([9; 32]))
    }

    fn origin(server: Option<Key>) -> Origin {
        let unsubscribe = Some(Tokens::new(&keys()));
        Origin { keys: Some(keys()), unsubscribe, server, source: "here".into(), unread: Arc::default() }
    }

    fn path() -> Arc<str> {
        ReturnPaths::new(&keys()).expect("a key").address(ROW, "b.shop.example")
    }

    fn bounce(to: &str, rows: &[&str]) -> String {
        let rows: String = rows.iter().map(|row| format!("Final-Recipient: rfc822; u@example.com\r\n{row}\r\n\r\n")).collect();
        format!(
            "Return-Path: <>\r\nFrom: MAILER-DAEMON@mta.example\r\nTo: {to}\r\nMessage-ID: <r1@mta.example>\r\nDate: Sun, 29 Nov 2026 08:00:00 +0000\r\n\
             Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mta.example\r\n\r\n{rows}\
             --b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: <n7@shop.example>\r\n\r\n--b--\r\n"
        )
    }

    fn events(origin: &Origin, mail: &str, envelope: &[&str]) -> Vec<Event> {
        origin.events(&read(mail.as_bytes(), envelope), mail.as_bytes())
    }

    const GONE: &str = "Action: failed\r\nStatus: 5.1.1";
    const FULL: &str = "Action: failed\r\nStatus: 5.2.2";
    const DELAYED: &str = "Action: delayed\r\nStatus: 4.4.1";
    const DELIVERED: &str = "Action: delivered\r\nStatus: 2.0.0";

    #[test]
    fn a_bounce_is_of_the_message_that_its_return_path_names() {
        let (mail, path) = (bounce("x@y.example", &[GONE]), path());
        let found = events(&origin(None), &mail, &[&path]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].kind, &found[0].message),
            (EventKind::HardBounce, &MessageIdentity::Reference { reference: ROW, server: None })
        );
        assert_eq!((found[0].recipient.as_deref(), found[0].at_ms), (Some("u@example.com"), Some(1_795_939_200_000)));
        // The same by whichever way, and in the header of a mailbox.
        let in_mailbox = events(&origin(Some(Key::new("ops", "relay"))), &bounce(&path.to_uppercase(), &[GONE]), &[]);
        assert_eq!(in_mailbox[0].id, found[0].id);
        // Another report of the same is another event.
        let again = mail.replace("<r1@mta.example>", "<r2@mta.example>");
        assert_ne!(events(&origin(None), &again, &[&path])[0].id, found[0].id);
    }

    #[test]
    fn without_a_return_path_only_a_mailbox_believes_a_message_id() {
        let (mail, key) = (bounce("bounces@shop.example", &[GONE]), Key::new("ops", "relay"));
        let wanted = MessageIdentity::MessageId { server: key.clone(), id: "n7@shop.example".to_owned() };
        assert_eq!(events(&origin(Some(key)), &mail, &[])[0].message, wanted);
        assert_eq!(events(&origin(None), &mail, &[]), []);
        // A forged token is none, and an address alone is nobody's feedback.
        let forged = path().replacen("bounce-a", "bounce-b", 1);
        assert_eq!(events(&origin(None), &mail, &[&forged]), []);
        let nameless = mail.replace("Message-ID: <n7@shop.example>", "X: y");
        assert_eq!(events(&origin(Some(Key::new("ops", "relay"))), &nameless, &[]), []);
    }

    #[test]
    fn an_address_that_stands_for_several_is_gone_where_all_of_them_are() {
        for (rows, kind) in [
            (&[GONE][..], Some(EventKind::HardBounce)),
            (&[GONE, GONE], Some(EventKind::HardBounce)),
            (&[GONE, FULL], Some(EventKind::SoftBounce)),
            (&[GONE, DELIVERED], Some(EventKind::SoftBounce)),
            (&[GONE, DELAYED], Some(EventKind::SoftBounce)),
            (&[DELIVERED], Some(EventKind::Delivered)),
            (&[DELAYED], None),
        ] {
            let found = events(&origin(None), &bounce("x@y.example", rows), &[&path()]);
            assert_eq!(found.first().map(|event| event.kind), kind, "{rows:?}");
        }
    }

    #[test]
    fn a_mail_to_a_links_address_unsubscribes_and_a_report_to_it_does_not() {
        let mail = |sender: &str, more: &str| {
            format!("Return-Path: <{sender}>\r\nFrom: u@example.com\r\n{more}Subject: unsubscribe\r\n\r\nunsubscribe\r\n")
        };
        let subscription = Subscription { namespace: "shop".into(), topic: None, address: "u@example.com".into(), run: Some((7, 9)) };
        let token = Tokens::new(&keys()).make(&subscription).expect("a token");
        let to = [&*format!("Unsubscribe-{token}@b.shop.example")];
        // Apple Mail marks its own as automatic.
        for more in ["", "Auto-Submitted: auto-replied\r\n"] {
            let found = events(&origin(None), &mail("u@example.com", more), &to);
            assert_eq!(found.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::Unsubscribed], "{more}");
            assert_eq!(found[0].recipient.as_deref(), Some("u@example.com"));
        }
        assert_eq!(events(&origin(None), &mail("", ""), &to), [], "the null sender");
        // A token that does not fit into an address stands in the subject.
        let in_subject = mail("u@example.com", "").replace("Subject: unsubscribe", &format!("Subject: Re: {token}"));
        assert_eq!(events(&origin(None), &in_subject, &["unsubscribe@b.shop.example"]).len(), 1);
        assert_eq!(events(&origin(None), &in_subject, &["ann@b.shop.example"]), []);
        assert_eq!(events(&origin(None), &mail("u@example.com", ""), &["unsubscribe-bad@b.shop.example"]), []);
        assert_eq!(events(&origin(None), &bounce("x@y.example", &[GONE]), &to), []);
        let ours = origin(None);
        for (address, is_ours) in [
            (&*path(), true),
            (to[0], true),
            ("unsubscribe@b.shop.example", true),
            ("unsubscribe-bad@b.shop.example", false),
            ("u@example.com", false),
            ("unsubscribe-", false),
        ] {
            assert_eq!(ours.is_ours(address), is_ours, "{address}");
        }
    }

    #[test]
    fn automatic_answers_are_nobodys_events() {
        let answer = "Return-Path: <u@example.com>\r\nFrom: u@example.com\r\nAuto-Submitted: auto-replied\r\nSubject: Away\r\n\r\nUser unknown to work: 550 5.1.1\r\n";
        assert_eq!(events(&origin(Some(Key::new("ops", "relay"))), answer, &[&path()]), []);
    }
}
