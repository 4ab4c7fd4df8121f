//! What a server's identity needs in DNS: each record, what is there now, and what is wrong with it. Pure.

use std::net::IpAddr;

use super::{
    answers::{Answer, Answers, Data, RecordType, reverse_name},
    dkim, dmarc,
    spf::{self, Outcome},
    subject::{DkimKey, Origin, Subject},
    zone,
};
use crate::{
    egress::is_public,
    meta::{Reason, net::is_at_or_below},
};

/// The policy to begin with: it asks nothing of receivers.
const DMARC: &str = "v=DMARC1; p=none";
/// What is shown of one published record, in characters.
const SHOWN_MAX: usize = 2_000;

/// How a record is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it must be.
    Good,
    /// There is none.
    Missing,
    /// There is one, and it does not do.
    Wrong,
    /// No resolver has answered, or none was asked.
    NotKnown,
}

impl Verdict {
    /// The word for people and scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Missing => "missing",
            Self::Wrong => "wrong",
            Self::NotKnown => "not known",
        }
    }
}

/// What a record is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// The public key of a signature.
    Dkim,
    /// Which addresses may send.
    Spf,
    /// What receivers are to do with mail that is not aligned.
    Dmarc,
    /// Where bounces go.
    ReturnPath,
    /// The name of an address that sends.
    Ptr,
    /// The address of that name.
    Host,
}

impl Purpose {
    /// The word for people and scripts.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dkim => "DKIM",
            Self::Spf => "SPF",
            Self::Dmarc => "DMARC",
            Self::ReturnPath => "return path",
            Self::Ptr => "PTR",
            Self::Host => "host",
        }
    }
}

/// A record that is needed, and how it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is needed for.
    pub purpose: Purpose,
    /// Its name, without the dot at the end.
    pub name: String,
    /// Its type.
    pub kind: RecordType,
    /// What it must hold; `None` where only somebody else knows that.
    pub value: Option<String>,
    /// What is there now.
    pub found: Vec<String>,
    /// The name that this one is an alias (CNAME) of.
    pub alias: Option<String>,
    /// How it is found.
    pub verdict: Verdict,
    /// The reason of a condition that it makes false or unknown.
    pub reason: Reason,
    /// What is wrong and what to do, in sentences; empty where it is good.
    pub words: String,
    /// Whether the server needs it now: a key that is not published yet is not, while another of its domain is.
    pub is_needed: bool,
}

impl Check {
    /// The record to publish, as a line of a zone file.
    #[must_use]
    pub fn line(&self) -> Option<String> {
        self.value.as_deref().map(|value| zone::line(&self.name, self.kind, value))
    }

    fn new(purpose: Purpose, name: impl Into<String>, kind: RecordType, value: Option<String>) -> Self {
        Self {
            purpose,
            name: name.into(),
            kind,
            value,
            found: Vec::new(),
            alias: None,
            verdict: Verdict::Good,
            reason: Reason::RecordsPublished,
            words: String::new(),
            is_needed: true,
        }
    }

    fn found(mut self, found: Vec<String>) -> Self {
        self.found = found.into_iter().map(|text| text.chars().take(SHOWN_MAX).collect()).collect();
        self
    }

    /// With a fault, said in one sentence without its full stop; what to publish is added.
    fn fault(mut self, verdict: Verdict, reason: Reason, what: &str, instead: &str) -> Self {
        self.words = match self.line() {
            Some(line) if self.found.is_empty() => format!("{what}. Publish: {line}"),
            Some(line) => format!("{what}. Publish in its place: {line}"),
            None => format!("{what}. {instead}"),
        };
        (self.verdict, self.reason) = (verdict, reason);
        self
    }

    fn unknown(mut self, why: &str) -> Self {
        self.words = format!("{} {} could not be looked up: {why}.", self.name, self.kind.as_str());
        (self.verdict, self.reason) = (Verdict::NotKnown, Reason::LookupFailed);
        self
    }
}

/// Judges all records that a server needs. While questions are open in `answers`, the result is not final.
#[must_use]
pub fn judge(subject: &Subject, answers: &mut Answers) -> Vec<Check> {
    let mut checks: Vec<Check> = subject.keys.iter().map(|key| dkim_of(key, answers)).collect();
    relieve(subject, &mut checks);
    let origin = addresses(subject, answers);
    for domain in &subject.envelopes {
        checks.push(spf_of(domain, subject, &origin, answers));
    }
    checks.extend(subject.domains.iter().map(|domain| dmarc_of(domain, subject, answers)));
    checks.extend(subject.envelopes.iter().map(|domain| return_path(domain, subject, answers)));
    match &origin {
        Ok(addresses) => {
            for address in addresses {
                checks.extend(names_of(*address, subject, answers));
            }
        }
        Err((host, why)) => checks.push(Check::new(Purpose::Host, host.clone(), RecordType::A, None).unknown(why)),
    }
    let mut told: Vec<Check> = Vec::new();
    for mut check in checks {
        check.alias = answers.alias(&check.name, check.kind);
        if let (Verdict::Wrong, Some(target)) = (check.verdict, &check.alias) {
            check.words.push_str(&format!(" The name is an alias (CNAME) of {target}: change the record there, or replace the alias."));
        }
        if !told.contains(&check) {
            told.push(check);
        }
    }
    told
}

/// A key whose record is not there is not signed with, and holds nothing up while another of its domain is published.
fn relieve(subject: &Subject, checks: &mut [Check]) {
    let is_good: Vec<bool> = checks.iter().map(|check| check.verdict == Verdict::Good).collect();
    for (index, key) in subject.keys.iter().enumerate() {
        let others = subject.keys.iter().zip(&is_good).filter(|(other, _)| other.domain == key.domain);
        checks[index].is_needed = is_good[index] || !others.into_iter().any(|(_, is_good)| *is_good);
    }
}

/// Judges the record of a key.
pub fn dkim_of(key: &DkimKey, answers: &mut Answers) -> Check {
    let name = key.record();
    let public = match &key.public {
        Ok(public) => public,
        Err((reason, why)) => {
            let check = Check::new(Purpose::Dkim, name, RecordType::Txt, None);
            return Check {
                verdict: Verdict::NotKnown,
                reason: *reason,
                words: format!("DKIM: the record of {} is not known: {why}.", check.name),
                ..check
            };
        }
    };
    let check = Check::new(Purpose::Dkim, &*name, RecordType::Txt, Some(dkim::record(public)));
    let texts = match answers.texts(&name) {
        Ok(texts) => texts,
        Err(why) => return check.unknown(&why),
    };
    let check = check.found(texts.clone());
    let wrong = |what: &str| format!("DKIM: the record of {name} {what}");
    match &texts[..] {
        [] => check.fault(Verdict::Missing, Reason::DkimRecordMissing, &format!("DKIM: {name} has no TXT record"), ""),
        [text] => match dkim::judge(text, public) {
            Ok(()) => Check { value: Some(text.clone()), ..check },
            Err(what) => check.fault(Verdict::Wrong, Reason::DkimRecordInvalid, &wrong(&what), ""),
        },
        _ => check.fault(Verdict::Wrong, Reason::DkimRecordInvalid, &format!("DKIM: {name} has more than one TXT record"), ""),
    }
}

/// The addresses that mail comes from, none where they are not known; or the host whose addresses cannot be looked up, and why.
fn addresses(subject: &Subject, answers: &mut Answers) -> Result<Vec<IpAddr>, (String, String)> {
    match &subject.origin {
        Origin::Addresses(addresses) => Ok(addresses.clone()),
        Origin::Unknown => Ok(Vec::new()),
        Origin::Host(host) => {
            let found = answers.addresses(host, &[RecordType::A, RecordType::Aaaa]).map_err(|why| (host.clone(), why))?;
            // Behind a private address is another that the world sees.
            Ok(found.into_iter().filter(|address| is_public(*address)).collect())
        }
    }
}

/// The mechanism that permits an address.
fn permitting(address: &IpAddr) -> String {
    format!("{}:{address}", if address.is_ipv4() { "ip4" } else { "ip6" })
}

/// The mechanisms that permit what must be permitted.
fn mechanisms(subject: &Subject) -> Vec<String> {
    match &subject.origin {
        Origin::Addresses(addresses) => addresses.iter().map(permitting).collect(),
        Origin::Host(host) => vec![format!("a:{host}")],
        Origin::Unknown => Vec::new(),
    }
}

fn spf_of(domain: &str, subject: &Subject, origin: &Result<Vec<IpAddr>, (String, String)>, answers: &mut Answers) -> Check {
    const ASK: &str = "Publish the record that the server's operator or vendor states.";
    let mechanisms = mechanisms(subject);
    let fresh = (!mechanisms.is_empty()).then(|| format!("v=spf1 {} ~all", mechanisms.join(" ")));
    let check = Check::new(Purpose::Spf, domain, RecordType::Txt, fresh);
    let records = match spf::records(answers, domain) {
        Ok(records) => records,
        Err(why) => return check.unknown(&why),
    };
    let check = check.found(records.clone());
    let record = match &records[..] {
        [] => return check.fault(Verdict::Missing, Reason::SpfRecordMissing, &format!("SPF: {domain} has no SPF record"), ASK),
        [record] => record,
        _ => {
            let value = spf::merged(&records).map(|merged| spf::with(&merged, &mechanisms));
            let what = format!("SPF: {domain} has {} SPF records, which receivers treat as no record", records.len());
            return Check { value, ..check }.fault(Verdict::Wrong, Reason::SpfRecordInvalid, &what, "Merge them into one.");
        }
    };
    let addresses = match origin {
        Ok(addresses) if addresses.is_empty() => vec![None],
        Ok(addresses) => addresses.iter().copied().map(Some).collect(),
        Err((host, why)) => return check.unknown(&format!("{host}: {why}")),
    };
    let helo = subject.host.as_deref().unwrap_or(domain);
    let mut unknown = None;
    let (mut refused, mut missing) = (Vec::new(), Vec::new());
    for address in addresses {
        match (spf::evaluate(answers, domain, address, helo), address) {
            (Outcome::PermError(why), _) => {
                let check = Check { value: None, ..check };
                let what = format!("SPF: the record of {domain} cannot be evaluated, so that receivers ignore it: {why}");
                return check.fault(
                    Verdict::Wrong,
                    Reason::SpfRecordInvalid,
                    &what,
                    "Correct that record, or remove terms until 10 lookups are enough.",
                );
            }
            (Outcome::TempError(why), _) => unknown = Some(why),
            (Outcome::Pass, _) | (_, None) => {}
            (outcome, Some(address)) => {
                refused.push(format!("{address} ({})", word(&outcome)));
                missing.push(match &subject.origin {
                    Origin::Host(host) => format!("a:{host}"),
                    _ => permitting(&address),
                });
            }
        }
    }
    if !refused.is_empty() {
        missing.dedup();
        let what = format!("SPF: the record of {domain} does not permit {}", refused.join(", "));
        let value = Some(spf::with(record, &missing));
        return Check { value, ..check }.fault(Verdict::Wrong, Reason::SpfNotPermitted, &what, "");
    }
    match unknown {
        Some(why) => check.unknown(&why),
        None => Check { value: Some(record.clone()), ..check },
    }
}

const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Fail => "fail",
        Outcome::SoftFail => "softfail",
        Outcome::None => "none",
        _ => "neutral",
    }
}

fn dmarc_of(domain: &str, subject: &Subject, answers: &mut Answers) -> Check {
    let name = format!("_dmarc.{domain}");
    let check = Check::new(Purpose::Dmarc, &*name, RecordType::Txt, Some(DMARC.to_owned()));
    let policy = match dmarc::policy(answers, domain) {
        dmarc::Found::Policy(policy) => policy,
        dmarc::Found::Failed(why) => return check.unknown(&why),
        dmarc::Found::Missing => {
            let what = format!("DMARC: neither {name} nor a domain above it has a policy");
            return check.fault(Verdict::Missing, Reason::DmarcRecordMissing, &what, "");
        }
        dmarc::Found::Wrong(texts, what) => {
            let what = format!("DMARC: the record of {name} {what}");
            return check.found(texts).fault(Verdict::Wrong, Reason::DmarcRecordInvalid, &what, "");
        }
    };
    let check = Check::new(Purpose::Dmarc, format!("_dmarc.{}", policy.domain), RecordType::Txt, Some(policy.text.clone()))
        .found(vec![policy.text.clone()]);
    // A server without a key of ours may sign with one of its own.
    if subject.keys.is_empty() {
        return check;
    }
    let (mut is_aligned, mut unknown) = (false, None);
    // A key of a domain beside it would be aligned as well, but does not sign for it.
    let signing = subject.keys.iter().filter(|key| is_at_or_below(domain, &key.domain)).map(|key| (&key.domain, policy.is_dkim_strict));
    let sending = subject.envelopes.iter().filter(|envelope| *envelope == domain || !subject.domains.contains(envelope));
    for (other, is_strict) in signing.chain(sending.map(|envelope| (envelope, policy.is_spf_strict))) {
        match dmarc::is_aligned(answers, other, domain, is_strict) {
            Ok(aligned) => is_aligned |= aligned,
            Err(why) => unknown = Some(why),
        }
    }
    match unknown {
        _ if is_aligned => check,
        Some(why) => check.unknown(&why),
        None => {
            let strict = match (policy.is_dkim_strict, policy.is_spf_strict) {
                (true, true) => ", and the policy is strict (adkim=s, aspf=s)",
                (true, false) => ", and the policy is strict for DKIM (adkim=s)",
                (false, true) => ", and the policy is strict for SPF (aspf=s)",
                (false, false) => "",
            };
            let words = format!(
                "DMARC: mail from {domain} is not aligned: neither a key nor the return path is of {domain}{strict}. Sign with a key of {domain}, or set identity.returnPath to a domain below it."
            );
            Check { verdict: Verdict::Wrong, reason: Reason::DmarcNotAligned, words, ..check }
        }
    }
}

/// Whether bounces to a domain arrive somewhere (RFC 5321, 5.1).
fn return_path(domain: &str, subject: &Subject, answers: &mut Answers) -> Check {
    const ASK: &str = "Publish the MX record that the server's operator or vendor states.";
    let check = Check::new(Purpose::ReturnPath, domain, RecordType::Mx, subject.host.as_ref().map(|host| format!("10 {host}")));
    let hosts = match answers.ask(domain, RecordType::Mx) {
        Answer::Found(hosts) => hosts,
        Answer::Failed(why) => return check.unknown(&why),
        Answer::Missing => {
            // Without MX, the domain's own address takes its mail.
            return match answers.addresses(domain, &[RecordType::A, RecordType::Aaaa]) {
                Err(why) => check.unknown(&why),
                Ok(found) if found.is_empty() => {
                    let what = format!("Return path: {domain} has neither an MX record nor an address, so bounces are lost");
                    check.fault(Verdict::Missing, Reason::ReturnPathNotResolved, &what, ASK)
                }
                Ok(found) => {
                    let kind = RecordType::of(found[0]);
                    let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
                    Check { kind, value: Some(shown[0].clone()), ..check }.found(shown)
                }
            };
        }
    };
    let check = check.found(hosts.iter().filter(|data| matches!(data, Data::Mx(..))).map(Data::shown).collect());
    let mut unknown = None;
    for data in &hosts {
        let Data::Mx(preference, host) = data else { continue };
        if host == "." || host.is_empty() {
            continue;
        }
        match answers.addresses(host, &[RecordType::A, RecordType::Aaaa]) {
            Ok(found) if !found.is_empty() => return Check { value: Some(format!("{preference} {host}")), ..check },
            Ok(_) => {}
            Err(why) => unknown = Some(why),
        }
    }
    if let Some(why) = unknown {
        return check.unknown(&why);
    }
    let what = format!("Return path: no MX record of {domain} names a host that has an address, so bounces are lost");
    check.fault(Verdict::Wrong, Reason::ReturnPathNotResolved, &what, ASK)
}

/// Whether an address has a name that has the address: forward-confirmed reverse DNS, which large receivers require.
fn names_of(address: IpAddr, subject: &Subject, answers: &mut Answers) -> Vec<Check> {
    let ptr = Check::new(Purpose::Ptr, reverse_name(address), RecordType::Ptr, subject.host.clone());
    let names = match answers.names_of(address) {
        Ok(names) => names,
        Err(why) => return with_forward(ptr.unknown(&why), address, subject),
    };
    let ptr = ptr.found(names.clone());
    let mut unknown = None;
    for name in &names {
        match answers.addresses(name, &[RecordType::of(address)]) {
            Ok(found) if found.contains(&address) => {
                let forward = forward(name, address);
                return vec![Check { value: Some(name.clone()), ..ptr }, forward.found(vec![address.to_string()])];
            }
            Ok(_) => {}
            Err(why) => unknown = Some(format!("{name}: {why}")),
        }
    }
    if let Some(why) = unknown {
        return with_forward(ptr.unknown(&why), address, subject);
    }
    const ASK: &str = "Have whoever provides the address set it.";
    let ptr = if names.is_empty() {
        ptr.fault(Verdict::Missing, Reason::PtrRecordMissing, &format!("PTR: {address} has no name"), ASK)
    } else {
        let what = format!("PTR: none of the names of {address} has that address");
        ptr.fault(Verdict::Wrong, Reason::PtrRecordInvalid, &what, ASK)
    };
    // The name that is proposed needs the address in its turn.
    let Some(host) = &subject.host else { return vec![ptr] };
    let forward = forward(host, address);
    let forward = match answers.addresses(host, &[forward.kind]) {
        Err(why) => forward.unknown(&why),
        Ok(found) if found.contains(&address) => forward.found(found.iter().map(ToString::to_string).collect()),
        Ok(found) => {
            let what = format!("PTR: {host} does not have the address {address}");
            let line = forward.line().unwrap_or_default();
            let forward = forward.found(found.iter().map(ToString::to_string).collect());
            Check { verdict: Verdict::Missing, reason: Reason::PtrRecordInvalid, words: format!("{what}. Publish: {line}"), ..forward }
        }
    };
    vec![ptr, forward]
}

/// The record of a name that an address has.
fn forward(name: &str, address: IpAddr) -> Check {
    Check::new(Purpose::Host, name, RecordType::of(address), Some(address.to_string()))
}

/// Offline too, both records of a host are to be published.
fn with_forward(ptr: Check, address: IpAddr, subject: &Subject) -> Vec<Check> {
    let (words, verdict, reason) = (ptr.words.clone(), ptr.verdict, ptr.reason);
    let forward = subject.host.as_ref().map(|host| {
        let check = forward(host, address);
        Check { verdict, reason, words, ..check }
    });
    std::iter::once(ptr).chain(forward).collect()
}
