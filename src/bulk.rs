//! What Gmail, Yahoo and Outlook ask of bulk senders, point by point, and what a campaign's own documents say of it. Pure.
//!
//! The table is data, and docs/bulk-senders.md holds it for people. What DNS and what came back say is judged in `decide/bulk`.

use std::borrow::Cow;

use crate::{
    meta::net::ascii,
    resources::{CampaignSpec, campaign::Variant, mailbox_providers::provider_of, unsubscribe::Unsubscribe},
};

/// From so many recipients on, a campaign is a bulk sender's whatever it says of itself: Gmail and Outlook count 5,000 messages a day.
pub const BULK_FROM: u64 = 5_000;

/// Who asks, and where that is written.
pub const SOURCES: [(&str, &str); 3] = [
    ("Gmail", "https://support.google.com/a/answer/81126"),
    ("Yahoo", "https://senders.yahooinc.com/best-practices/"),
    (
        "Outlook",
        "https://techcommunity.microsoft.com/blog/microsoftdefenderforoffice365blog/strengthening-email-ecosystem-outlook%E2%80%99s-new-requirements-for-high%E2%80%90volume-senders/4399730",
    ),
];

const ALL: &[&str] = &["Gmail", "Yahoo", "Outlook"];
const WITHOUT_OUTLOOK: &[&str] = &["Gmail", "Yahoo"];

/// A point that mailbox providers ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// The envelope sender's domain permits who sends (RFC 7208).
    Spf,
    /// Messages are signed (RFC 6376).
    Dkim,
    /// The From domain has a policy, and is aligned (RFC 7489).
    Dmarc,
    /// Addresses that send have names, and the names these addresses.
    Ptr,
    /// The connection to the mailbox provider is encrypted.
    Tls,
    /// The message follows RFC 5322.
    Format,
    /// The From domain is no mailbox provider's.
    OwnDomain,
    /// The sender's name and the subject are what they seem.
    Honest,
    /// Somebody reads the answers.
    Replies,
    /// Unsubscription by one click (RFC 8058).
    OneClick,
    /// A link in the body by which to unsubscribe.
    VisibleLink,
    /// Hardly anybody reports the messages as spam.
    SpamRate,
}

/// What is asked for, by whom, and how it is met.
#[derive(Clone, Copy, Debug)]
pub struct Requirement {
    /// What is asked of the sender.
    pub point: Point,
    /// Its name for people.
    pub name: &'static str,
    /// Who asks, of [`SOURCES`].
    pub asked_by: &'static [&'static str],
    /// The requirement, as a sentence.
    pub asks: &'static str,
    /// What tells whether it is met.
    pub told_by: &'static str,
    /// How it is met.
    pub fix: &'static str,
}

/// All of them, in the order of their points.
pub const REQUIREMENTS: [Requirement; 12] = [
    Requirement {
        point: Point::Spf,
        name: "SPF",
        asked_by: ALL,
        asks: "the SPF record of the envelope sender's domain permits the sending addresses",
        told_by: "DNS; a vendor's own envelope sender counts as met",
        fix: "publish the record that `mailfleet dns` prints",
    },
    Requirement {
        point: Point::Dkim,
        name: "DKIM",
        asked_by: ALL,
        asks: "each message is signed, with a key of 1,024 bits or more",
        told_by: "DNS and `identity.dkim`; vendors that sign themselves count as met",
        fix: "add a key of the From domain to `identity.dkim`, and publish its record",
    },
    Requirement {
        point: Point::Dmarc,
        name: "DMARC",
        asked_by: ALL,
        asks: "the From domain has a policy (`p=none` is enough), and is aligned with SPF or DKIM",
        told_by: "DNS, of domains in `identity.domains`",
        fix: "publish the record that `mailfleet dns` prints; sign with a key of the From domain, or set `identity.returnPath` below it",
    },
    Requirement {
        point: Point::Ptr,
        name: "PTR",
        asked_by: WITHOUT_OUTLOOK,
        asks: "each sending address has a host name, which resolves back to it",
        told_by: "DNS, for a relay of your own; vendors' addresses count as met",
        fix: "have whoever provides the address set the record that `mailfleet dns` prints",
    },
    Requirement {
        point: Point::Tls,
        name: "TLS",
        asked_by: &["Gmail"],
        asks: "messages are transmitted over TLS, to Gmail above all",
        told_by: "`encryption` of the server, unless it is within your network; the connection from your relay to Gmail cannot be checked, and vendors encrypt theirs",
        fix: "`encryption: StartTls` or `Tls`; have your relay use STARTTLS where it is offered (Postfix: `smtp_tls_security_level = may`)",
    },
    Requirement {
        point: Point::Format,
        name: "format",
        asked_by: WITHOUT_OUTLOOK,
        asks: "the message follows RFC 5322: one From with one address, and To, Subject, Date and a Message-ID once each",
        told_by: "nothing: Mailfleet always does this, and `headers` cannot repeat these fields",
        fix: "nothing to do",
    },
    Requirement {
        point: Point::OwnDomain,
        name: "From domain",
        asked_by: WITHOUT_OUTLOOK,
        asks: "the From domain is your own, and not gmail.com or the like, whose policies forbid others to send",
        told_by: "`from`",
        fix: "send from a domain of your own",
    },
    Requirement {
        point: Point::Honest,
        name: "names and subject",
        asked_by: &["Gmail"],
        asks: "the sender's name says who sends, without an address, the recipient's name or emoji, and the subject does not pose as a reply (`Re:`, `Fwd:`)",
        told_by: "`from.name` and `subject`",
        fix: "the name of your organisation in `from.name`, and a subject of the message's own",
    },
    Requirement {
        point: Point::Replies,
        name: "replies",
        asked_by: &["Outlook"],
        asks: "the address in From or Reply-To exists and accepts replies",
        told_by: "`from` and `replyTo`, which must not be a no-reply address",
        fix: "`replyTo` with an address that somebody reads",
    },
    Requirement {
        point: Point::OneClick,
        name: "one-click",
        asked_by: WITHOUT_OUTLOOK,
        asks: "marketing mail can be unsubscribed from by one click (RFC 8058), within two days",
        told_by: "`unsubscribe`",
        fix: "`unsubscribe: {oneClick: {}}`; beside `url`, your page has to accept the POST",
    },
    Requirement {
        point: Point::VisibleLink,
        name: "visible link",
        asked_by: WITHOUT_OUTLOOK,
        asks: "the body of marketing mail shows how to unsubscribe",
        told_by: "the templates of a campaign with `unsubscribe`",
        fix: "put `{{ unsubscribe_url }}` into the body",
    },
    Requirement {
        point: Point::SpamRate,
        name: "spam rate",
        asked_by: WITHOUT_OUTLOOK,
        asks: "fewer than 0.3% of the messages are reported as spam, better fewer than 0.1%",
        told_by: "complaints about the namespace's runs of the last 7 days; 0.3% or more is not met, and from 0.1% on the message says so",
        fix: "mail only people who asked for it, and mail those who never react less often",
    },
];

impl Requirement {
    /// Who asks, in words: `Gmail, Yahoo and Outlook`.
    #[must_use]
    pub fn asked_by(&self) -> String {
        match self.asked_by {
            [others @ .., one, last] => format!("{} and {last}", [others, &[*one]].concat().join(", ")),
            one => one.concat(),
        }
    }
}

impl Point {
    /// What is known of it.
    #[must_use]
    pub fn requirement(self) -> &'static Requirement {
        // The order is that of the points; a test holds it.
        &REQUIREMENTS[self as usize]
    }
}

/// Domains of mailbox providers beside those whose limits are shared: nobody else's mail may come from there.
const FREE_MAIL: &[&str] = &[
    "126.com",
    "163.com",
    "comcast.net",
    "free.fr",
    "freenet.de",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "laposte.net",
    "libero.it",
    "mail.com",
    "mail.ru",
    "orange.fr",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "t-online.de",
    "web.de",
    "yahoo.co.jp",
    "yahoo.fr",
    "yandex.com",
    "yandex.ru",
    "zohomail.com",
];

/// Words by which a body shows how to unsubscribe, in small letters.
const WORDS: &[&str] = &[
    "unsubscribe",
    "leave this list",
    "no longer wish",
    "stop receiving",
    "email preferences",
    "opt out",
    "opt-out",
    "optout",
    "abbestell",
    "abmeld",
    "austragen",
    "desabonn",
    "désabonn",
    "désinscri",
    "disiscri",
    "annulla l'iscrizione",
    "darse de baja",
    "cancelar suscripci",
    "cancelar la suscripci",
    "cancelar inscri",
    "uitschrijv",
    "afmeld",
    "avregistrera",
    "avprenumerera",
    "wypisz",
    "отписаться",
    "配信停止",
    "退订",
];

/// Local parts of addresses that say that nobody reads them, without what stands between letters.
const UNREAD: &[&str] = &["noreply", "donotreply", "noreplies", "noresponse", "nichtantworten", "nepasrepondre", "noresponder"];
/// How subjects of answers and forwarded messages begin, in small letters.
const ANSWERS: &[&str] = &["re:", "fwd:", "fw:", "aw:", "wg:"];
/// Fields of recipients that hold their name or address, in small letters.
const RECIPIENTS: &[&str] = &["name", "firstname", "first_name", "lastname", "last_name", "email"];

/// A point that a campaign's documents leave open: at which field, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// What is asked of the sender.
    pub point: Point,
    /// The field of the spec.
    pub field: Cow<'static, str>,
    /// What is wrong and what to do, as half a sentence.
    pub words: String,
}

/// Whether a campaign is held to what is asked of bulk senders: marketing mail, which has a way to unsubscribe, and whatever goes to many.
/// Receipts and notices to few are not.
#[must_use]
pub fn is_bulk(spec: &CampaignSpec, recipients: Option<u64>) -> bool {
    spec.unsubscribe.is_some() || recipients.is_some_and(|recipients| recipients >= BULK_FROM)
}

/// What the documents of a campaign leave open. `shows_link` as [`shows_unsubscribing`] says; absent where its bodies are not known.
#[must_use]
pub fn of_documents(spec: &CampaignSpec, shows_link: Option<bool>) -> Vec<Open> {
    let mut open = Vec::new();
    let domain = ascii(spec.from.address.rsplit_once('@').map_or("", |(_, domain)| domain));
    if provider_of(&domain).is_some() || FREE_MAIL.contains(&&*domain) {
        let words =
            format!("{domain} is a mailbox provider's, whose policy forbids others to send from it; send from a domain of your own");
        open.push(Open { point: Point::OwnDomain, field: "spec.from.address".into(), words });
    }
    let name = spec.from.name.as_deref().unwrap_or_default();
    let honest = name_fault(name).map(|words| (Cow::Borrowed("spec.from.name"), words));
    let subjects = [(Cow::Borrowed("spec.subject"), spec.subject.as_str())].into_iter();
    let of_variants = spec.content.variants.iter();
    let of_variants =
        of_variants.filter_map(|(name, of)| Some((format!("{}.subject", Variant::field(name)).into(), of.subject.as_deref()?)));
    let honest =
        honest.into_iter().chain(subjects.chain(of_variants).filter_map(|(field, subject)| Some((field, subject_fault(subject)?))));
    open.extend(honest.map(|(field, words)| Open { point: Point::Honest, field, words }));
    let (field, answered) = spec.reply_to.as_ref().map_or(("spec.from.address", &spec.from), |mailbox| ("spec.replyTo.address", mailbox));
    let local: String = answered.address.split('@').next().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).collect();
    if UNREAD.contains(&&*local.to_ascii_lowercase()) {
        let words = format!("{} does not accept replies; name an address in `replyTo` that somebody reads", answered.address);
        open.push(Open { point: Point::Replies, field: field.into(), words });
    }
    let Some(unsubscribe) = &spec.unsubscribe else { return open };
    let Unsubscribe { url, one_click } = unsubscribe;
    let scheme = url.as_deref().and_then(|url| Some(url.split_once(':')?.0)).filter(|scheme| !scheme.starts_with('{'));
    let words = match (one_click, scheme) {
        (None, _) => Some(
            "there is no one-click unsubscription (RFC 8058): add `oneClick: {}` beside `url` once your page accepts the POST, or use it instead of `url`, and Mailfleet serves the page",
        ),
        (Some(_), Some("http" | "mailto")) => {
            Some("one-click unsubscription needs an https:// URL (RFC 8058), and has no effect with this one")
        }
        _ => None,
    };
    open.extend(words.map(|words| Open { point: Point::OneClick, field: "spec.unsubscribe".into(), words: words.to_owned() }));
    if shows_link == Some(false) {
        let words = "no body shows how to unsubscribe; put {{ unsubscribe_url }} into it, for example <a href=\"{{ unsubscribe_url }}\">Unsubscribe</a>";
        open.push(Open { point: Point::VisibleLink, field: "spec.content".into(), words: words.to_owned() });
    }
    open
}

/// What Gmail would take amiss about a sender's name, a template.
fn name_fault(name: &str) -> Option<String> {
    let is_emoji = |c: char| matches!(c, '\u{2600}'..='\u{27bf}' | '\u{2b00}'..='\u{2bff}' | '\u{1f000}'..='\u{1faff}');
    let placeholders = || name.split("{{").skip(1).filter_map(|rest| rest.split("}}").next());
    let is_of_recipient = |placeholder: &str| {
        let field = placeholder.trim().split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        RECIPIENTS.contains(&&*field.to_lowercase())
    };
    let what = if name.contains('@') {
        "an address"
    } else if name.chars().any(is_emoji) {
        "an emoji"
    } else if placeholders().any(is_of_recipient) {
        "the recipient's name or address"
    } else {
        return None;
    };
    Some(format!("the sender's name contains {what}, which misleads people; write only who sends"))
}

/// What Gmail would take amiss about a subject, a template.
fn subject_fault(subject: &str) -> Option<String> {
    let begins = subject.trim_start().to_lowercase();
    let found = ANSWERS.iter().find(|answer| begins.starts_with(*answer))?;
    Some(format!("the subject begins with `{}`, as if it were a reply; remove that", &subject.trim_start()[..found.len()]))
}

/// Whether one of the bodies shows how to unsubscribe: by the link, by the address of the campaign's own page, or in words.
#[must_use]
pub fn shows_unsubscribing<'a>(url: Option<&str>, bodies: impl IntoIterator<Item = &'a str>) -> bool {
    let page = url.and_then(|url| url.split(['{', '?', '#']).next()).filter(|page| page.len() > "https://a.bc".len());
    bodies.into_iter().any(|body| {
        let body = body.to_lowercase();
        page.is_some_and(|page| body.contains(&page.to_lowercase())) || WORDS.iter().any(|word| body.contains(word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> CampaignSpec {
        let base = "planRef: {name: p}, subject: s, content: {text: Hi}, audience: {inline: [{email: a@b.example}]}";
        serde_saphyr::from_str(&format!("{{{base}, {yaml}}}")).expect("a spec")
    }

    #[test]
    fn each_point_has_its_line_and_its_row_in_the_document() {
        let page = include_str!("../docs/bulk-senders.md");
        for (index, requirement) in REQUIREMENTS.iter().enumerate() {
            assert_eq!(requirement.point as usize, index, "{}", requirement.name);
            assert_eq!(requirement.point.requirement().name, requirement.name);
            assert!(
                ["Gmail, Yahoo and Outlook", "Gmail and Yahoo", "Gmail", "Outlook"].contains(&&*requirement.asked_by()),
                "{}",
                requirement.asked_by()
            );
            let Requirement { name, asks, told_by, fix, .. } = requirement;
            let asked_by = requirement.asked_by.join(", ");
            let row = format!("| {name} | {asked_by} | {asks} | {told_by} | {fix} |");
            assert!(page.contains(&row), "docs/bulk-senders.md lacks this row:\n{row}");
            assert!(requirement.asked_by.iter().all(|who| SOURCES.iter().any(|(name, _)| name == who)));
        }
        for (name, url) in SOURCES {
            assert!(page.contains(&format!("[{name}]({url})")), "docs/bulk-senders.md lacks the link of {name}");
        }
    }

    #[test]
    fn the_documents_say_which_points_are_open() {
        use Point::{Honest, OneClick, OwnDomain, Replies, VisibleLink};
        let own = "from: {address: news@shop.example}";
        let cases: &[(String, Option<bool>, &[Point])] = &[
            (format!("{own}, unsubscribe: {{oneClick: {{}}}}"), Some(true), &[]),
            (format!("{own}, unsubscribe: {{oneClick: {{}}}}"), None, &[]),
            (format!("{own}, unsubscribe: {{oneClick: {{}}}}"), Some(false), &[VisibleLink]),
            (format!("{own}, unsubscribe: {{url: 'https://shop.example/leave', oneClick: {{}}}}"), Some(true), &[]),
            (format!("{own}, unsubscribe: {{url: '{{{{ leave }}}}', oneClick: {{}}}}"), Some(true), &[]),
            (format!("{own}, unsubscribe: {{url: 'https://shop.example/leave'}}"), Some(true), &[OneClick]),
            (format!("{own}, unsubscribe: {{url: 'http://shop.example/leave', oneClick: {{}}}}"), Some(true), &[OneClick]),
            (format!("{own}, unsubscribe: {{url: 'mailto:leave@shop.example', oneClick: {{}}}}"), Some(false), &[OneClick, VisibleLink]),
            // Receipts need no way to unsubscribe.
            (own.to_owned(), Some(false), &[]),
            ("from: {address: shop@GMail.com}".to_owned(), Some(false), &[OwnDomain]),
            ("from: {address: shop@web.de}, unsubscribe: {oneClick: {}}".to_owned(), Some(true), &[OwnDomain]),
            ("from: {address: shop@web.de.example}".to_owned(), Some(true), &[]),
            ("from: {address: No-Reply@shop.example}".to_owned(), Some(true), &[Replies]),
            ("from: {address: noreply@shop.example}, replyTo: {address: us@shop.example}".to_owned(), Some(true), &[]),
            (format!("{own}, replyTo: {{address: do_not_reply@shop.example}}"), Some(true), &[Replies]),
            ("from: {address: noreply.news@shop.example}".to_owned(), Some(true), &[]),
            ("from: {address: a@shop.example, name: 'Shop {{ city }} ☂'}".to_owned(), Some(true), &[Honest]),
            ("from: {address: a@shop.example, name: 'news@gmail.com'}".to_owned(), Some(true), &[Honest]),
            ("from: {address: a@shop.example, name: '{{first_name|title}} (2)'}".to_owned(), Some(true), &[Honest]),
            ("from: {address: a@shop.example, name: 'Shöp {{ name_of_shop }} – Нова'}".to_owned(), Some(true), &[]),
        ];
        for (yaml, shows, wanted) in cases {
            let points: Vec<Point> = of_documents(&spec(yaml), *shows).into_iter().map(|open| open.point).collect();
            assert_eq!(points, *wanted, "{yaml}");
        }
        for (subject, is_open) in [(" RE: your order", true), ("Fwd: news", true), ("Reading list", false), ("Für {{ name }}: Re:", false)]
        {
            let spec = CampaignSpec { subject: subject.to_owned(), ..spec(own) };
            assert_eq!(of_documents(&spec, Some(true)).len(), usize::from(is_open), "{subject}");
        }
    }

    #[test]
    fn marketing_and_many_are_bulk_and_receipts_to_few_are_not() {
        let receipts = spec("from: {address: a@shop.example}");
        let news = spec("from: {address: a@shop.example}, unsubscribe: {url: 'https://shop.example/leave'}");
        assert!(is_bulk(&news, None) && is_bulk(&news, Some(1)));
        assert!(!is_bulk(&receipts, None) && !is_bulk(&receipts, Some(BULK_FROM - 1)) && is_bulk(&receipts, Some(BULK_FROM)));
    }

    #[test]
    fn a_link_is_known_in_many_forms() {
        let url = Some("https://shop.example/verlassen?who={{ email }}");
        for (url, body, shows) in [
            (None, "<a href=\"{{ unsubscribe_url }}\">Leave</a>", true),
            (None, "To UNSUBSCRIBE, answer", true),
            (None, "<a href='https://shop.example/x'>Newsletter abbestellen</a>", true),
            (url, "Weg: HTTPS://shop.example/verlassen", true),
            (url, "https://shop.example/", false),
            (Some("{{ leave }}"), "{{ leave }}", false),
            (None, "Hello", false),
        ] {
            assert_eq!(shows_unsubscribing(url, ["<p>Hi</p>", body]), shows, "{body}");
        }
    }
}
