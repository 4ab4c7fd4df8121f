//! Which DKIM keys of a server sign, and what its status says of that. Pure.

use std::collections::BTreeSet;

use super::identity::IdentityObservation;
use crate::{
    dns::{DkimKey, Subject},
    meta::net::is_at_or_below,
    providers::{Provider as _, Signing},
    resources::{Condition, ConditionStatus, ConditionType, Reason, SendingServerSpec},
};

/// The records of the keys that sign, in the order of the list. Of a domain's keys, those whose record is published: of each
/// algorithm, the first. While none of them is known to be published, all: a signature without a record counts as none, so that it
/// harms nothing, and one of them may be right.
#[must_use]
pub fn chosen(subject: &Subject, known: &IdentityObservation) -> Vec<String> {
    let signs = |key: &DkimKey| {
        let of_domain = || subject.keys.iter().filter(|other| other.domain == key.domain && known.is_published(&other.record()));
        match of_domain().next() {
            None => true,
            Some(_) => of_domain().find(|other| other.algorithm() == key.algorithm()).is_some_and(|first| first.record() == key.record()),
        }
    };
    subject.keys.iter().filter(|key| signs(key)).map(DkimKey::record).collect()
}

/// The domains of From addresses that no key fits.
fn without_key(subject: &Subject) -> Vec<&str> {
    let has_key = |domain: &str| subject.keys.iter().any(|key| is_at_or_below(domain, &key.domain));
    subject.domains.iter().map(String::as_str).filter(|domain| !has_key(domain)).collect()
}

/// What the status says of signatures; nothing of a server without keys, or in a dry run.
#[must_use]
pub fn condition(spec: &SendingServerSpec, identity: Option<(&Subject, &[String])>) -> Option<Condition> {
    if spec.identity.as_ref().is_none_or(|identity| identity.dkim.is_empty()) {
        return None;
    }
    let of = |status, reason, message| Some(Condition::new(ConditionType::Signing, status, reason, message));
    if let Signing::Theirs(why) = spec.provider.signing() {
        let message = format!(
            "spec.identity.dkim has no effect: {why}. Remove the keys, set up DKIM for the domain at the vendor, and check in a delivered message that its signature covers List-Unsubscribe and List-Unsubscribe-Post (RFC 8058)."
        );
        return of(ConditionStatus::False, Reason::SignedByVendor, message);
    }
    let (subject, chosen) = identity?;
    let algorithm = |record: &String| subject.keys.iter().find(|key| key.record() == *record)?.algorithm();
    let named = chosen.iter().map(|record| match algorithm(record) {
        Some(algorithm) => format!("{record} ({})", algorithm.as_str()),
        None => record.clone(),
    });
    let mut named = format!("Messages are signed with {}.", named.collect::<Vec<_>>().join(", "));
    if subject.domains.is_empty() {
        // Which domains there are is not said by `identity.domains`.
        let domains: BTreeSet<&str> = subject.keys.iter().map(|key| &*key.domain).collect();
        named.push_str(&format!(
            " Messages from domains other than {} are sent unsigned.",
            domains.into_iter().collect::<Vec<_>>().join(", ")
        ));
    }
    let without = without_key(subject);
    if without.is_empty() {
        return of(ConditionStatus::True, Reason::MessagesSigned, named);
    }
    let message = format!(
        "Messages from {} are not signed: no key of spec.identity.dkim is of that domain or of one above it. Add one. {named}",
        without.join(", ")
    );
    of(ConditionStatus::False, Reason::DomainNotSigned, message)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        dkim::key::ED25519,
        dns::{Answer, Answers, Data, Origin, RecordType, judge},
        egress::Egress,
        resources::Key,
    };

    fn key(record: &str, is_ed25519: bool) -> DkimKey {
        let (selector, domain) = record.split_once('@').expect("selector@domain");
        // Different keys have different records.
        let public = [if is_ed25519 { ED25519 } else { &[0x30, 0x82] }, record.as_bytes()].concat();
        DkimKey { domain: domain.to_owned(), selector: selector.to_owned(), public: Ok(public) }
    }

    fn subject(domains: &[&str], keys: Vec<DkimKey>) -> Subject {
        let domains = domains.iter().map(|domain| (*domain).to_owned()).collect();
        let (envelopes, host, is_required) = (Vec::new(), None, false);
        Subject { domains, keys, envelopes, origin: Origin::Unknown, host, is_required, egress: Egress::Everywhere }
    }

    /// What is observed after looks, each with what each record is found to be.
    fn observed(subject: &Subject, looks: &[&[(&str, Option<bool>)]]) -> IdentityObservation {
        let mut known = IdentityObservation::default();
        known.renew(&Arc::new(subject.clone()));
        for found in looks {
            let checks = Answers::settle(
                |answers| judge(subject, answers),
                |question| {
                    let of_key = subject.keys.iter().find(|key| key.record() == question.name);
                    let state = of_key.and_then(|key| found.iter().find(|(name, _)| *name == format!("{}@{}", key.selector, key.domain)));
                    match (of_key, state) {
                        (Some(key), Some((_, Some(true)))) if question.kind == RecordType::Txt => {
                            Answer::Found(vec![Data::Text(crate::dns::dkim::record(key.public.as_ref().expect("a key")))])
                        }
                        (_, Some((_, None))) => Answer::Failed("no answer".to_owned()),
                        _ => Answer::Missing,
                    }
                },
            );
            known.note(&checks, Duration::from_secs(60), &Key::new("default", "relay"), 7, 1000);
        }
        known
    }

    #[test]
    fn the_next_key_signs_once_its_record_is_seen() {
        let (old, next) = ("s1@a.example", "s2@a.example");
        let (here, missing, away) = (Some(true), Some(false), None);
        /// What a look finds of each key; the keys, the looks, and which of them sign.
        type Look<'a> = &'a [(&'a str, Option<bool>)];
        type Case<'a> = (&'a [(&'a str, bool)], &'a [Look<'a>], &'a [&'a str]);
        let cases: &[Case<'_>] = &[
            // A single key signs, whatever is known.
            (&[(old, false)], &[], &[old]),
            (&[(old, false)], &[&[(old, missing)]], &[old]),
            (&[(old, false)], &[&[(old, here)]], &[old]),
            // The next one stands before the old one, and waits for its record.
            (&[(next, false), (old, false)], &[&[(old, here), (next, missing)]], &[old]),
            (&[(next, false), (old, false)], &[&[(old, here), (next, here)]], &[next]),
            (&[(next, false), (old, false)], &[&[(old, missing), (next, here)]], &[next]),
            // Behind it, it takes over when the old one's record goes.
            (&[(old, false), (next, false)], &[&[(old, here), (next, here)]], &[old]),
            (&[(old, false), (next, false)], &[&[(old, missing), (next, here)]], &[next]),
            // Nothing is known, or nothing is there: one of them may be right.
            (&[(next, false), (old, false)], &[], &[next, old]),
            (&[(next, false), (old, false)], &[&[(old, missing), (next, missing)]], &[next, old]),
            // A resolver that goes away changes nothing.
            (&[(next, false), (old, false)], &[&[(old, here), (next, missing)], &[(old, away), (next, away)]], &[old]),
            // Both algorithms sign, each once its record is seen.
            (&[(next, true), (old, false)], &[&[(old, here), (next, here)]], &[next, old]),
            (&[(next, true), (old, false)], &[&[(old, here), (next, missing)]], &[old]),
            // Another domain is another matter.
            (&[("s1@b.example", false), (old, false)], &[&[(old, here), ("s1@b.example", missing)]], &["s1@b.example", old]),
        ];
        for (keys, looks, wanted) in cases {
            let subject = subject(&["a.example"], keys.iter().map(|(name, is_ed25519)| key(name, *is_ed25519)).collect());
            let records: Vec<String> = wanted.iter().map(|name| key(name, false).record()).collect();
            assert_eq!(chosen(&subject, &observed(&subject, looks)), records, "{keys:?} {looks:?}");
        }
    }

    #[test]
    fn status_says_beforehand_what_is_not_signed() {
        let spec = |yaml: &str| -> SendingServerSpec { serde_saphyr::from_str(yaml).expect("a spec") };
        let keys = "identity: {dkim: [{domain: a.example, selector: s1, privateKeyRef: {name: dkim, key: pem}}]}";
        let relay = spec(&format!("{{provider: {{smtp: {{host: relay.example}}}}, {keys}}}"));
        let subject = |domains: &[&str]| subject(domains, vec![key("s1@a.example", true)]);
        let told = |spec: &SendingServerSpec, subject: &Subject| {
            let chosen = chosen(subject, &IdentityObservation::default());
            condition(spec, Some((subject, &chosen))).map(|told| (told.status, told.reason, told.message.into_owned()))
        };
        let (status, reason, message) = told(&relay, &subject(&["a.example", "news.a.example"])).expect("a condition");
        assert_eq!((status, reason), (ConditionStatus::True, Reason::MessagesSigned));
        assert_eq!(message, "Messages are signed with s1._domainkey.a.example (ed25519-sha256).");
        let (status, reason, message) = told(&relay, &subject(&["a.example", "other.example", "ba.example"])).expect("a condition");
        assert_eq!((status, reason), (ConditionStatus::False, Reason::DomainNotSigned));
        assert!(message.starts_with("Messages from other.example, ba.example are not signed"), "{message}");
        for provider in [
            "{sendgrid: {secretRef: {name: x}}}",
            "{smtp: {preset: Brevo}}",
            "{mailgun: {secretRef: {name: x}, domain: a.example, trackOpens: true}}",
        ] {
            let (status, reason, message) =
                told(&spec(&format!("{{provider: {provider}, {keys}}}")), &subject(&["a.example"])).expect("one");
            assert_eq!((status, reason), (ConditionStatus::False, Reason::SignedByVendor), "{provider}: {message}");
        }
        assert_eq!(told(&spec("{provider: {outbox: {}}}"), &subject(&["a.example"])), None);
    }
}
