//! From which domains a campaign may be sent by its plan, and which of its fields name a sender. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{CampaignSpec, Key, vendor_fields};

/// Domains named in one message.
const TOLD_MAX: usize = 10;
/// Characters of a domain that are quoted.
const QUOTED_MAX: usize = 100;

/// Additional header fields that name a sender, or where replies and reports go.
const FIELDS: &[&str] = &[
    "sender",
    "errors-to",
    "disposition-notification-to",
    "envelope-from",
    "mail-followup-to",
    "mail-reply-to",
    "original-from",
    "original-sender",
    "resent-from",
    "resent-reply-to",
    "resent-sender",
    "return-receipt-to",
    "x-authenticated-sender",
    "x-envelope-from",
    "x-from",
    "x-original-from",
    "x-original-sender",
    "x-return-path",
    "x-sender",
];

/// Whether a header field names a sender.
#[must_use]
pub fn is_of_sender(field: &str) -> bool {
    FIELDS.iter().any(|known| known.eq_ignore_ascii_case(field))
}

/// What a field of a campaign says about the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// An address.
    Address,
    /// A display name.
    Name,
    /// Mailboxes, as a header field has them.
    Mailboxes,
    /// The name of a header field that controls the vendor of a server.
    Order,
}

/// What a campaign says about its sender: each field, its value, and what it is. Templates are not included.
#[must_use]
pub fn said(spec: &CampaignSpec) -> Vec<(String, &str, Says)> {
    let is_fixed = |text: &str| !["{{", "{%", "{#"].iter().any(|tag| text.contains(tag));
    let mailboxes = [("spec.from", Some(&spec.from)), ("spec.replyTo", spec.reply_to.as_ref())];
    let mut said = Vec::new();
    for (field, mailbox) in mailboxes.into_iter().filter_map(|(field, mailbox)| Some((field, mailbox?))) {
        said.push((format!("{field}.address"), &*mailbox.address, Says::Address));
        said.extend(mailbox.name.iter().map(|name| (format!("{field}.name"), &**name, Says::Name)));
    }
    let headers = spec.headers.iter().enumerate().filter(|(_, header)| is_of_sender(&header.name));
    said.extend(headers.map(|(index, header)| (format!("spec.headers[{index}].value"), &*header.value, Says::Mailboxes)));
    said.retain(|(_, value, says)| *says == Says::Address || is_fixed(value));
    let orders = spec.headers.iter().enumerate().filter(|(_, header)| vendor_fields::gives_orders_to(&header.name).is_some());
    said.extend(orders.map(|(index, header)| (format!("spec.headers[{index}].name"), &*header.name, Says::Order)));
    said
}

/// The first field with a domain that is not granted, or that would control a vendor; what it says, and what is wrong with it.
#[must_use]
pub fn foreign(spec: &CampaignSpec, senders: &Senders) -> Option<(String, Says, String)> {
    said(spec).into_iter().find_map(|(field, value, says)| Some((field, says, senders.fault(value, says)?)))
}

/// A domain for comparison: in A-labels (RFC 5890) and lowercase, without a trailing dot.
#[must_use]
pub fn canonical(domain: &str) -> String {
    let domain = domain.trim_end_matches('.');
    idna::domain_to_ascii(domain).unwrap_or_else(|_| domain.to_lowercase())
}

/// The domains that a plan grants a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Senders {
    plan: Key,
    namespace: String,
    domains: BTreeSet<String>,
}

impl Senders {
    /// What `plan` grants `namespace`.
    pub fn new<'a>(plan: Key, namespace: impl Into<String>, domains: impl IntoIterator<Item = &'a String>) -> Self {
        Self { plan, namespace: namespace.into(), domains: domains.into_iter().map(|domain| canonical(domain)).collect() }
    }

    /// Whether exactly this domain is granted, not a parent or subdomain.
    #[must_use]
    pub fn permits(&self, domain: &str) -> bool {
        self.domains.contains(&canonical(domain))
    }

    /// The domain of an address, where it is not granted.
    fn foreign_address(&self, address: &str) -> Option<String> {
        let domain = address.rsplit_once('@').map_or("", |(_, domain)| domain);
        (!self.permits(domain)).then(|| shown(domain))
    }

    /// A domain that is not granted, of an address in a display name: many mail programs show only the name.
    fn foreign_name(&self, name: &str) -> Option<String> {
        let is_of_domain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') || !c.is_ascii();
        let mut behind = name.split(is_at).skip(1).map(|rest| rest.chars().take_while(is_of_domain).collect::<String>());
        behind.find(|domain| looks_like_domain(domain) && !self.permits(domain)).map(|domain| shown(&domain))
    }

    /// A domain that is not granted, of the mailboxes in a header field (RFC 5322, 3.4).
    fn foreign_mailboxes(&self, value: &str) -> Option<String> {
        // An encoded word hides its content.
        if let Some(word) = value.split_whitespace().find(|word| word.contains("=?")) {
            return Some(shown(word));
        }
        let (bare, quoted) = taken_apart(value);
        let ends = |c: char| is_at(c) || matches!(c, '<' | '>' | ',' | ';' | ':' | '"' | '(' | ')');
        let mut domains = bare.split(is_at).skip(1).map(|rest| rest.split(ends).next().unwrap_or_default());
        let foreign = domains.find(|domain| !self.permits(domain)).map(shown);
        foreign.or_else(|| quoted.iter().find_map(|name| self.foreign_name(name)))
    }

    /// What is wrong with a field's value, and what to do; none when it is allowed.
    #[must_use]
    pub fn fault(&self, value: &str, says: Says) -> Option<String> {
        let foreign = match says {
            Says::Address => self.foreign_address(value),
            Says::Name => self.foreign_name(value),
            Says::Mailboxes => self.foreign_mailboxes(value),
            Says::Order => return vendor_fields::gives_orders_to(value).map(|vendor| self.no_orders(value, vendor)),
        };
        foreign.map(|domain| self.refusal(&domain))
    }

    /// Why a header field that controls a vendor is refused, and what to do; follows the field's name.
    fn no_orders(&self, field: &str, vendor: &str) -> String {
        format!(
            "`{}` controls what {vendor} does with a message, such as its recipients or its signature; plan {} does not allow namespace {} to do that through its servers. Remove the header, or send only through your own servers.",
            shown(field),
            self.plan,
            self.namespace
        )
    }

    /// Why a domain is refused, and what to do; follows the field's name.
    fn refusal(&self, domain: &str) -> String {
        let mut granted: Vec<&str> = self.domains.iter().take(TOLD_MAX).map(String::as_str).collect();
        if self.domains.len() > TOLD_MAX {
            granted.push("and more");
        }
        let granted = if granted.is_empty() { "none".to_owned() } else { granted.join(", ") };
        format!(
            "plan {} does not allow namespace {} to send from `{domain}`; granted: {granted}. Use a granted domain, or ask the operator to add this one to the plan's spec.senderDomains.",
            self.plan, self.namespace
        )
    }
}

/// `@` in any form that looks like it.
const fn is_at(c: char) -> bool {
    matches!(c, '@' | '\u{ff20}' | '\u{fe6b}')
}

/// Whether the text after an `@` is meant as a domain: it has at least two labels, and the last is not a number.
fn looks_like_domain(text: &str) -> bool {
    let domain = canonical(text);
    let last = domain.rsplit_once('.').map_or("", |(_, last)| last);
    !last.is_empty() && !last.bytes().all(|byte| byte.is_ascii_digit())
}

/// A value without spaces, comments and quoted strings; and its quoted strings.
fn taken_apart(value: &str) -> (String, Vec<String>) {
    let (mut bare, mut quoted) = (String::new(), Vec::new());
    let mut depth = 0_usize;
    let mut name: Option<String> = None;
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (&mut name, c) {
            (Some(name), '\\') => name.extend(chars.next()),
            (Some(text), '"') => {
                quoted.push(std::mem::take(text));
                name = None;
            }
            (Some(name), c) => name.push(c),
            (None, '\\') => drop(chars.next()),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, _) if depth > 0 => {}
            (None, '"') => name = Some(String::new()),
            (None, c) if c.is_whitespace() || c.is_control() => {}
            (None, c) => bare.push(c),
        }
    }
    // An unclosed one is judged as if it were not quoted.
    if let Some(open) = name {
        bare.extend(open.chars().filter(|c| !c.is_whitespace()));
    }
    (bare, quoted)
}

fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() && *c != '`').take(QUOTED_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn senders(domains: &[&str]) -> Senders {
        let domains: Vec<String> = domains.iter().map(|domain| (*domain).to_owned()).collect();
        Senders::new(Key::new("ops", "pro"), "shop", &domains)
    }

    #[test]
    fn a_domain_is_itself_in_every_writing_and_nothing_else() {
        let senders = senders(&["Shop.example", "bücher.example"]);
        for own in
            ["shop.example", "SHOP.EXAMPLE", "shop.example.", "bücher.example", "xn--bcher-kva.example", "BÜCHER.example", "shop。example"]
        {
            assert!(senders.permits(own), "{own}");
        }
        for foreign in ["news.shop.example", "example", "shop.example.org", "myshop.example", "bucher.example", "", "ѕhop.example"] {
            assert!(!senders.permits(foreign), "{foreign}");
        }
        assert_eq!(senders.foreign_address("a@b@shop.example"), None);
        assert_eq!(senders.foreign_address("a@shop.example@bank.example").as_deref(), Some("bank.example"));
    }

    #[test]
    fn a_name_may_not_hold_a_foreign_address() {
        let senders = senders(&["shop.example"]);
        for good in ["", "Ann", "Ann @ Shop", "Follow @shop", "ann@shop.example", "Ann (ann@SHOP.example)", "3 for 2@9.99", "a@"] {
            assert_eq!(senders.foreign_name(good), None, "{good}");
        }
        for bad in [
            "ceo@bank.example",
            "Bank <ceo@bank.example>",
            "ann@shop.example ceo@bank.example",
            "ceo＠bank.example",
            "ceo@bank。example",
            "x@shop.example.bank.example",
            "\"ceo@bank.example\"",
            "ceo@ba\u{200b}nk.example",
        ] {
            assert!(senders.foreign_name(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn mailboxes_are_judged_as_a_reader_of_mail_takes_them_apart() {
        let senders = senders(&["shop.example"]);
        for good in [
            "ann@shop.example",
            "Ann <ann@shop.example>, \"B @ C\" <b@shop.example>",
            "Group: a@shop.example, b@SHOP.example;",
            "ann @ (at home) shop.example",
            "\"odd@one\"@shop.example",
            "postmaster",
        ] {
            assert_eq!(senders.foreign_mailboxes(good), None, "{good}");
        }
        for bad in [
            "ceo@bank.example",
            "ann@shop.example, ceo@bank.example",
            "ceo@(shop.example)bank.example",
            "ceo @ bank.example",
            "<@shop.example:ceo@bank.example>",
            "\"ann@shop.example\" <ceo@bank.example>",
            "\"ceo@bank.example\" <ann@shop.example>",
            "ann@shop.example@bank.example",
            "ceo@[192.0.2.1]",
            "ceo@bank",
            "\"ceo@bank.example",
            "\"a\\\"@shop.example\" <ceo@bank.example>",
            "=?utf-8?B?Y2VvQGJhbmsuZXhhbXBsZQ==?= <ann@shop.example>",
            "G: ceo@bank.example;",
        ] {
            assert!(senders.foreign_mailboxes(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_refusal_names_plan_namespace_domains_and_what_to_do() {
        let many: Vec<String> = (0..30).map(|n| format!("d{n:02}.example")).collect();
        let told = Senders::new(Key::new("ops", "pro"), "shop", &many).refusal("bank.example");
        assert!(told.contains("plan ops/pro") && told.contains("namespace shop") && told.contains("`bank.example`"), "{told}");
        assert!(told.contains("d09.example, and more") && !told.contains("d10") && told.contains("spec.senderDomains"), "{told}");
        assert!(senders(&[]).refusal("bank.example").contains("granted: none."));
        assert!(["Sender", "RESENT-FROM", "x-sender"].into_iter().all(is_of_sender) && !is_of_sender("List-Id"));
    }
}
