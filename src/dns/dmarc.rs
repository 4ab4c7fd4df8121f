//! DMARC: where a domain's policy is, which domains belong together, and what is aligned (RFC 7489, and the tree walk of its
//! successor, which needs no list of public suffixes). Pure.

use super::answers::Answers;

/// Labels of the longest name that is asked for above the domain itself: a longer domain skips the names between.
const LABELS_MAX: usize = 7;

/// What a domain's DMARC record asks of those who receive mail in its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The domain below which it is published, without `_dmarc.`.
    pub domain: String,
    /// The text as published.
    pub text: String,
    /// Whether signatures must be of the very domain (`adkim=s`).
    pub is_dkim_strict: bool,
    /// Whether the return path must be (`aspf=s`).
    pub is_spf_strict: bool,
    /// Whether it says that the domain is a public suffix (`psd=y`), or that it is none (`psd=n`).
    psd: Option<bool>,
}

/// What is published for a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// The policy that applies.
    Policy(Policy),
    /// None, neither there nor above.
    Missing,
    /// Something at the domain itself that is no policy: the texts, and what is wrong as the rest of a sentence.
    Wrong(Vec<String>, String),
    /// It is not known: why.
    Failed(String),
}

/// The policy that applies to a domain.
pub fn policy(answers: &mut Answers, domain: &str) -> Found {
    match at(answers, domain) {
        Ok(Some(policy)) => return Found::Policy(policy),
        Ok(None) => {}
        Err(Fault::Failed(why)) => return Found::Failed(why),
        Err(Fault::Wrong(texts, why)) => return Found::Wrong(texts, why),
    }
    match walk(answers, domain) {
        Err(why) => Found::Failed(why),
        Ok(policies) => {
            let organizational = organizational_of(domain, &policies);
            let found = policies.iter().find(|policy| policy.domain == organizational);
            // A public suffix's own policy is for domains that have none.
            found.or_else(|| policies.iter().find(|policy| policy.psd == Some(true))).cloned().map_or(Found::Missing, Found::Policy)
        }
    }
}

/// The organizational domain of a domain.
///
/// # Errors
/// When it is not known, why.
pub fn organizational(answers: &mut Answers, domain: &str) -> Result<String, String> {
    Ok(organizational_of(domain, &walk(answers, domain)?))
}

/// Whether a domain is aligned with that of From.
///
/// # Errors
/// When it is not known, why.
pub fn is_aligned(answers: &mut Answers, domain: &str, from: &str, is_strict: bool) -> Result<bool, String> {
    if domain == from {
        return Ok(true);
    }
    if is_strict {
        return Ok(false);
    }
    Ok(organizational(answers, domain)? == organizational(answers, from)?)
}

enum Fault {
    Failed(String),
    Wrong(Vec<String>, String),
}

/// The policy published for exactly this domain.
fn at(answers: &mut Answers, domain: &str) -> Result<Option<Policy>, Fault> {
    let texts = answers.texts(&format!("_dmarc.{domain}")).map_err(Fault::Failed)?;
    let mut policies: Vec<String> = texts.into_iter().filter(|text| is_policy(text)).collect();
    match (policies.pop(), policies.is_empty()) {
        (None, _) => Ok(None),
        (Some(text), true) => parse(domain, &text).map(Some).map_err(|why| Fault::Wrong(vec![text.clone()], why)),
        (Some(last), false) => {
            policies.push(last);
            Err(Fault::Wrong(policies, "exists more than once, which receivers treat as no record".to_owned()))
        }
    }
}

/// Whether a text claims to be a policy: other texts at the name are ignored.
fn is_policy(text: &str) -> bool {
    let first = text.split(';').next().unwrap_or_default();
    first.split_once('=').is_some_and(|(tag, value)| tag.trim() == "v" && value.trim() == "DMARC1")
}

fn parse(domain: &str, text: &str) -> Result<Policy, String> {
    let mut policy = Policy { domain: domain.to_owned(), text: text.to_owned(), is_dkim_strict: false, is_spf_strict: false, psd: None };
    let (mut requested, mut has_reports) = (None, false);
    for part in text.split(';').skip(1).map(str::trim).filter(|part| !part.is_empty()) {
        let (tag, value) = part.split_once('=').ok_or_else(|| format!("has an invalid tag: `{part}`"))?;
        let value = value.trim().to_ascii_lowercase();
        match tag.trim() {
            "p" => requested = Some(value),
            "adkim" => policy.is_dkim_strict = value == "s",
            "aspf" => policy.is_spf_strict = value == "s",
            "psd" => policy.psd = [("y", true), ("n", false)].iter().find(|(word, _)| *word == value).map(|(_, is)| *is),
            "rua" => has_reports = !value.is_empty(),
            _ => {}
        }
    }
    match requested.as_deref() {
        Some("none" | "quarantine" | "reject") => Ok(policy),
        // A record with an address for reports counts as p=none.
        _ if has_reports => Ok(policy),
        Some(other) => Err(format!("has p={other}, which must be none, quarantine or reject")),
        None => Err("has no policy (p=)".to_owned()),
    }
}

/// The policies of a domain and of those above it, from the longest name.
fn walk(answers: &mut Answers, domain: &str) -> Result<Vec<Policy>, String> {
    let labels: Vec<&str> = domain.split('.').collect();
    let (mut policies, mut failed): (Vec<Policy>, _) = (Vec::new(), None);
    for length in (1..=labels.len()).rev() {
        if length < labels.len() && length > LABELS_MAX {
            continue;
        }
        let name = labels[labels.len() - length..].join(".");
        match at(answers, &name) {
            Ok(Some(policy)) => {
                let ends = policy.psd.is_some();
                policies.push(policy);
                if ends {
                    break;
                }
            }
            Ok(None) | Err(Fault::Wrong(..)) => {}
            Err(Fault::Failed(why)) => failed = Some(why),
        }
    }
    failed.map_or(Ok(policies), Err)
}

fn organizational_of(domain: &str, policies: &[Policy]) -> String {
    let Some(last) = policies.last() else { return domain.to_owned() };
    if last.psd != Some(true) || last.domain == domain {
        return last.domain.clone();
    }
    // One label below the public suffix.
    let below = domain.strip_suffix(&format!(".{}", last.domain)).unwrap_or(domain);
    format!("{}.{}", below.rsplit('.').next().unwrap_or(below), last.domain)
}
