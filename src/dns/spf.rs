//! SPF (RFC 7208): whether a domain permits an address to send for it. Pure.

use std::net::IpAddr;

use super::{
    answers::{Answer, Answers, Data, RecordType},
    macros::{Values, expand},
};
use crate::meta::net::{is_at_or_below, is_within};

/// Terms that cause lookups, of a whole evaluation (4.6.4).
const LOOKUPS_MAX: u32 = 10;
/// Of them, those that may find nothing (4.6.4).
const VOIDS_MAX: u32 = 2;
/// Hosts of one `mx`, and names of one `ptr` (4.6.4).
const HOSTS_MAX: usize = 10;
/// The local part that stands for every sender: each message has another.
const LOCAL: &str = "postmaster";

/// The result of an evaluation (2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The address may send.
    Pass,
    /// It may not.
    Fail,
    /// It probably may not.
    SoftFail,
    /// The domain does not say.
    Neutral,
    /// There is no record.
    None,
    /// The record cannot be evaluated: what is wrong with it.
    PermError(String),
    /// It is not known: why.
    TempError(String),
}

/// Whether `domain` permits `ip` to send for it. Without an address every term is walked through, and none matches: the result
/// then says whether the record can be evaluated.
pub fn evaluate(answers: &mut Answers, domain: &str, ip: Option<IpAddr>, helo: &str) -> Outcome {
    Evaluation { answers, sender_domain: domain, ip, helo, lookups: 0, voids: 0 }.host(domain)
}

/// The SPF records at a name; a domain may have one.
///
/// # Errors
/// When they are not known, why.
pub fn records(answers: &mut Answers, domain: &str) -> Result<Vec<String>, String> {
    let texts = answers.texts(domain)?;
    let is_spf = |text: &String| text.split(' ').next().is_some_and(|version| version.eq_ignore_ascii_case("v=spf1"));
    Ok(texts.into_iter().filter(is_spf).collect())
}

/// The record with these mechanisms too, in front of the others: what is published is kept.
#[must_use]
pub fn with(existing: &str, mechanisms: &[String]) -> String {
    let mut words: Vec<&str> = existing.split_ascii_whitespace().skip(1).collect();
    for mechanism in mechanisms.iter().rev() {
        if !words.iter().any(|word| word.trim_start_matches('+').eq_ignore_ascii_case(mechanism)) {
            words.insert(0, mechanism);
        }
    }
    format!("v=spf1 {}", words.join(" "))
}

/// One record that says what several say; `None` where that takes a person, since one of them ends in `redirect`.
#[must_use]
pub fn merged(records: &[String]) -> Option<String> {
    let (mut words, mut last): (Vec<&str>, _) = (Vec::new(), None);
    for word in records.iter().flat_map(|record| record.split_ascii_whitespace().skip(1)) {
        let bare = word.trim_start_matches(['+', '-', '~', '?']);
        if bare.to_ascii_lowercase().starts_with("redirect=") {
            return None;
        }
        if bare.eq_ignore_ascii_case("all") {
            last = last.or(Some(word));
        } else if !words.contains(&word) {
            words.push(word);
        }
    }
    words.push(last.unwrap_or("~all"));
    Some(format!("v=spf1 {}", words.join(" ")))
}

/// What a term of a record matches (RFC 7208, 5).
enum Mechanism<'a> {
    All,
    Include(&'a str),
    A(Hosts<'a>),
    Mx(Hosts<'a>),
    Ptr(Option<&'a str>),
    Ip(IpAddr, u8),
    Exists(&'a str),
}

/// The hosts of a domain, and the networks around their addresses (RFC 7208, 5.6).
struct Hosts<'a> {
    /// The domain; that of the record if there is none.
    target: Option<&'a str>,
    /// The length of the prefix for IPv4, bits.
    v4: u8,
    /// The length of the prefix for IPv6, bits.
    v6: u8,
}

/// What a mechanism says when it matches.
type Directive<'a> = (Outcome, Mechanism<'a>);

struct Evaluation<'a> {
    answers: &'a mut Answers,
    sender_domain: &'a str,
    ip: Option<IpAddr>,
    helo: &'a str,
    lookups: u32,
    voids: u32,
}

/// An evaluation that ended before its result.
type Ended<T> = Result<T, Outcome>;

impl Evaluation<'_> {
    fn host(&mut self, domain: &str) -> Outcome {
        self.check(domain).unwrap_or_else(|outcome| outcome)
    }

    fn check(&mut self, domain: &str) -> Ended<Outcome> {
        let mut records = records(self.answers, domain).map_err(|why| Outcome::TempError(format!("{domain} TXT: {why}")))?;
        let record = match (records.pop(), records.is_empty()) {
            (None, _) => return Ok(Outcome::None),
            (Some(_), false) => return Err(Outcome::PermError(format!("{domain} has more than one SPF record"))),
            (Some(record), true) => record,
        };
        let (directives, redirect) =
            parse(&record).map_err(|why| Outcome::PermError(format!("the SPF record of {domain} is malformed: {why}")))?;
        let mut ends = false;
        for (outcome, mechanism) in &directives {
            ends |= matches!(mechanism, Mechanism::All);
            if self.matches(mechanism, domain)? {
                return Ok(outcome.clone());
            }
            if ends {
                break;
            }
        }
        match redirect.filter(|_| !ends) {
            None => Ok(Outcome::Neutral),
            Some(target) => {
                self.count()?;
                let target = self.expanded(Some(target), domain)?;
                match self.check(&target)? {
                    Outcome::None => Err(Outcome::PermError(format!("{target}, which redirect= names, has no SPF record"))),
                    outcome => Ok(outcome),
                }
            }
        }
    }

    fn matches(&mut self, mechanism: &Mechanism<'_>, domain: &str) -> Ended<bool> {
        match mechanism {
            Mechanism::All => Ok(self.ip.is_some()),
            Mechanism::Ip(network, bits) => Ok(self.ip.is_some_and(|ip| is_within(ip, *network, u32::from(*bits)))),
            Mechanism::Include(target) => {
                self.count()?;
                let target = self.expanded(Some(target), domain)?;
                match self.check(&target)? {
                    Outcome::Pass => Ok(true),
                    Outcome::None => Err(Outcome::PermError(format!("{target}, which include: names, has no SPF record"))),
                    _ => Ok(false),
                }
            }
            Mechanism::A(Hosts { target, v4, v6 }) => {
                self.count()?;
                let target = self.expanded(*target, domain)?;
                let addresses = self.addresses(&target)?;
                if addresses.is_empty() {
                    self.void()?;
                }
                Ok(self.is_among(&addresses, *v4, *v6))
            }
            Mechanism::Mx(Hosts { target, v4, v6 }) => {
                self.count()?;
                let target = self.expanded(*target, domain)?;
                let hosts = match self.answers.ask(&target, RecordType::Mx) {
                    Answer::Found(data) => data.into_iter().filter(|data| matches!(data, Data::Mx(..))).collect(),
                    Answer::Missing => {
                        self.void()?;
                        Vec::new()
                    }
                    Answer::Failed(why) => return Err(Outcome::TempError(format!("{target} MX: {why}"))),
                };
                if hosts.len() > HOSTS_MAX {
                    return Err(Outcome::PermError(format!("{target}, which mx names, has more than {HOSTS_MAX} MX records")));
                }
                let mut found = false;
                for host in &hosts {
                    let Data::Mx(_, host) = host else { continue };
                    let addresses = self.addresses(host)?;
                    found |= self.is_among(&addresses, *v4, *v6);
                }
                Ok(found)
            }
            Mechanism::Ptr(target) => {
                self.count()?;
                let target = self.expanded(*target, domain)?;
                let Some(ip) = self.ip else { return Ok(false) };
                // An error of this mechanism is no match (5.5).
                let Ok(names) = self.answers.names_of(ip) else { return Ok(false) };
                if names.is_empty() {
                    self.void()?;
                }
                for name in names.iter().take(HOSTS_MAX).filter(|name| is_at_or_below(name, &target)) {
                    if self.answers.addresses(name, &[RecordType::of(ip)]).is_ok_and(|addresses| addresses.contains(&ip)) {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Mechanism::Exists(target) => {
                self.count()?;
                if self.ip.is_none() {
                    return Ok(false);
                }
                let target = self.expanded(Some(target), domain)?;
                match self.answers.ask(&target, RecordType::A) {
                    Answer::Found(_) => Ok(true),
                    Answer::Missing => self.void().map(|()| false),
                    Answer::Failed(why) => Err(Outcome::TempError(format!("{target} A: {why}"))),
                }
            }
        }
    }

    /// The addresses of the family of the client's.
    fn addresses(&mut self, name: &str) -> Ended<Vec<IpAddr>> {
        let Some(ip) = self.ip else { return Ok(Vec::new()) };
        let kind = RecordType::of(ip);
        self.answers.addresses(name, &[kind]).map_err(|why| Outcome::TempError(format!("{name} {}: {why}", kind.as_str())))
    }

    fn is_among(&self, addresses: &[IpAddr], v4: u8, v6: u8) -> bool {
        self.ip
            .is_some_and(|ip| addresses.iter().any(|address| is_within(ip, *address, u32::from(if address.is_ipv4() { v4 } else { v6 }))))
    }

    fn expanded(&self, target: Option<&str>, domain: &str) -> Ended<String> {
        let Some(target) = target else { return Ok(domain.to_owned()) };
        if !target.contains('%') {
            return Ok(target.trim_end_matches('.').to_ascii_lowercase());
        }
        let ip = self.ip.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
        let values = Values { local: LOCAL, sender_domain: self.sender_domain, domain, ip, helo: self.helo };
        expand(target, &values).map(|name| name.to_ascii_lowercase()).map_err(Outcome::PermError)
    }

    fn count(&mut self) -> Ended<()> {
        self.lookups += 1;
        if self.lookups > LOOKUPS_MAX {
            return Err(Outcome::PermError(format!("it needs more than {LOOKUPS_MAX} lookups")));
        }
        Ok(())
    }

    fn void(&mut self) -> Ended<()> {
        // Without an address nothing was looked up.
        self.voids += u32::from(self.ip.is_some());
        if self.voids > VOIDS_MAX {
            return Err(Outcome::PermError(format!("more than {VOIDS_MAX} of its lookups find nothing")));
        }
        Ok(())
    }
}

/// The directives of a record, and where it is redirected to.
fn parse(record: &str) -> Result<(Vec<Directive<'_>>, Option<&str>), String> {
    let (mut directives, mut redirect, mut has_explanation) = (Vec::new(), None, false);
    for term in record.split(' ').skip(1).filter(|term| !term.is_empty()) {
        let name_end = term.find([':', '/', '=']).unwrap_or(term.len());
        if term[name_end..].starts_with('=') {
            let (name, value) = (&term[..name_end], &term[name_end + 1..]);
            let is_name =
                name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
            match name.to_ascii_lowercase().as_str() {
                "redirect" if redirect.is_some() || value.is_empty() => return Err(format!("`{term}`")),
                "redirect" => redirect = Some(value),
                "exp" if std::mem::replace(&mut has_explanation, true) => return Err("exp= is duplicated".to_owned()),
                _ if !is_name => return Err(format!("`{term}`")),
                _ => {}
            }
            continue;
        }
        let outcome = match term.as_bytes()[0] {
            b'-' => Outcome::Fail,
            b'~' => Outcome::SoftFail,
            b'?' => Outcome::Neutral,
            _ => Outcome::Pass,
        };
        let bare = term.strip_prefix(['+', '-', '~', '?']).unwrap_or(term);
        directives.push((outcome, mechanism(bare).ok_or_else(|| format!("`{term}`"))?));
    }
    Ok((directives, redirect))
}

fn mechanism(term: &str) -> Option<Mechanism<'_>> {
    let name_end = term.find([':', '/']).unwrap_or(term.len());
    let (name, rest) = term.split_at(name_end);
    let target = || rest.strip_prefix(':').filter(|target| !target.is_empty());
    Some(match name.to_ascii_lowercase().as_str() {
        "all" if rest.is_empty() => Mechanism::All,
        "include" => Mechanism::Include(target()?),
        "exists" => Mechanism::Exists(target()?),
        "ptr" if rest.is_empty() => Mechanism::Ptr(None),
        "ptr" => Mechanism::Ptr(Some(target()?)),
        "a" | "mx" => {
            let hosts = hosts(rest)?;
            if name.eq_ignore_ascii_case("a") { Mechanism::A(hosts) } else { Mechanism::Mx(hosts) }
        }
        "ip4" | "ip6" => {
            let (address, bits) = target()?.split_once('/').map_or((target()?, None), |(address, bits)| (address, Some(bits)));
            let address: IpAddr = address.parse().ok()?;
            if address.is_ipv4() != name.eq_ignore_ascii_case("ip4") {
                return None;
            }
            let most = if address.is_ipv4() { 32 } else { 128 };
            Mechanism::Ip(address, bits.map_or(Some(most), |bits| prefix(bits, most))?)
        }
        _ => return None,
    })
}

/// `:target/24//64`, each part optional.
fn hosts(rest: &str) -> Option<Hosts<'_>> {
    let (rest, v6) = rest.split_once("//").map_or((rest, Some(128)), |(rest, bits)| (rest, prefix(bits, 128)));
    // A macro may hold a slash within its braces; the prefix follows the last one outside.
    let slash = rest.rfind('/').filter(|at| !rest[*at..].contains('}'));
    let (target, v4) = slash.map_or((rest, Some(32)), |at| (&rest[..at], prefix(&rest[at + 1..], 32)));
    let target = if target.is_empty() { None } else { Some(target.strip_prefix(':').filter(|target| !target.is_empty())?) };
    Some(Hosts { target, v4: v4?, v6: v6? })
}

fn prefix(bits: &str, most: u8) -> Option<u8> {
    // `parse` alone would take a sign.
    bits.parse().ok().filter(|parsed| *parsed <= most && bits.bytes().all(|byte| byte.is_ascii_digit()))
}
