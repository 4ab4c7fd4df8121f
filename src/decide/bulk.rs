//! Whether a campaign meets what mailbox providers ask of bulk senders, by what DNS and what came back say. Pure.

use std::collections::BTreeMap;

use super::{IdentityObservation, Observations, World};
use crate::{
    bulk::{Point, is_bulk, of_documents},
    dns::{self, Purpose, Subject, Verdict},
    feedback::Complaints,
    meta::{
        Percent,
        bound::listed,
        net::{ascii, is_at_or_below},
    },
    providers::{Provider as _, ProviderSpec, Signing},
    resources::{CampaignSpec, Condition, ConditionStatus, ConditionType, Key, Reason, SendingServerSpec},
};

/// The share of complaints from which on mailbox providers turn messages away.
const SPAM_MAX: Percent = Percent::of_thousandths(300);
/// The share below which Gmail advises to stay.
const SPAM_ADVISED: Percent = Percent::of_thousandths(100);
/// Accepted messages from which on complaints are judged.
const JUDGED_FROM: u64 = 1_000;

/// A point that is open, or is not known, in words.
type Told = (Point, String);

/// What the servers of a campaign say of its From domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServersSay {
    /// Servers that hand messages to somebody.
    sending: usize,
    /// Servers that only write messages to this machine.
    local: usize,
    /// Open points, each with its servers.
    open: BTreeMap<Told, Vec<String>>,
    /// What is not known, in the same way.
    unknown: BTreeMap<Told, Vec<String>>,
}

impl ServersSay {
    /// What these servers say of a From domain.
    pub fn of<'a>(domain: &str, servers: impl IntoIterator<Item = &'a Key>, world: &World, observed: &Observations) -> Self {
        let mut say = Self::default();
        let domain = ascii(domain);
        for key in servers {
            let Some(input) = world.servers.get(key) else { continue };
            let spec = &input.object.spec;
            if matches!(spec.provider, ProviderSpec::outbox(_)) {
                say.local += 1;
                continue;
            }
            say.sending += 1;
            let subject = input.identity.as_deref();
            let known = subject.and_then(|subject| observed.identities.get(key).filter(|known| known.is_of(subject)));
            let (open, unknown) = of_server(&domain, spec, subject, known);
            for (found, told) in [(open, &mut say.open), (unknown, &mut say.unknown)] {
                for one in found {
                    told.entry(one).or_default().push(key.to_string());
                }
            }
        }
        say
    }
}

/// Open points of a server, and what is not known of it.
fn of_server(
    domain: &str,
    spec: &SendingServerSpec,
    subject: Option<&Subject>,
    known: Option<&IdentityObservation>,
) -> (Vec<Told>, Vec<Told>) {
    let (mut open, mut unknown) = (Vec::new(), Vec::new());
    if let ProviderSpec::smtp(smtp) = &spec.provider
        && let Some(host) = smtp.host_in_plain_text()
    {
        open.push((Point::Tls, format!("TLS: messages to {host} cross the network in plain text; set `encryption` to StartTls or Tls")));
    }
    let is_relay = dns::is_relay(spec);
    let Some(subject) = subject.filter(|subject| subject.domains.iter().any(|one| one == domain)) else {
        let what = if is_relay { "SPF, DKIM, DMARC and PTR are" } else { "DMARC is" };
        unknown.push((Point::Dmarc, format!("{what} not known: list {domain} in identity.domains, so that its records are looked up")));
        return (open, unknown);
    };
    let mut judge = |point: Point, found: Option<(Verdict, &str)>, otherwise: Option<String>| match (found, otherwise) {
        (Some((Verdict::Good, _)), _) | (None, None) => {}
        (Some((Verdict::Missing | Verdict::Wrong, what)), _) => open.push((point, named(point, what))),
        (Some((Verdict::NotKnown, what)), _) => unknown.push((point, named(point, what))),
        (None, Some(why)) => unknown.push((point, why)),
    };
    let record = |purpose: Purpose, fits: &dyn Fn(&str) -> bool| {
        let records = known.into_iter().flat_map(IdentityObservation::records);
        // What is wrong with one outweighs what is good of another.
        let fitting = records.filter(|record| record.purpose == purpose && fits(&record.name));
        fitting.max_by_key(|record| match record.verdict {
            Verdict::Good => 0,
            Verdict::NotKnown => 1,
            Verdict::Missing | Verdict::Wrong => 2,
        })
    };
    let found = |purpose: Purpose, fits: &dyn Fn(&str) -> bool| record(purpose, fits).map(|record| (record.verdict, &*record.what));
    let waits = |name: &str| {
        known.is_none_or(IdentityObservation::is_unseen).then(|| format!("{name}: the record is looked up for the first time"))
    };

    let envelope = spec.identity.as_ref().and_then(|identity| identity.return_path.as_deref()).map_or_else(|| domain.to_owned(), ascii);
    if subject.envelopes.contains(&envelope) {
        judge(Point::Spf, found(Purpose::Spf, &|name| name == envelope), waits("SPF"));
    }
    if matches!(spec.provider.signing(), Signing::Ours(_)) {
        let keys: Vec<String> = subject.keys.iter().filter(|key| is_at_or_below(domain, &key.domain)).map(dns::DkimKey::record).collect();
        if keys.is_empty() {
            let why = is_relay
                .then(|| format!("DKIM is not known: no key in identity.dkim is for {domain}. Add one, unless the relay signs itself"));
            judge(Point::Dkim, None, why);
        } else if !known.is_some_and(|known| keys.iter().any(|key| known.is_published(key))) {
            judge(Point::Dkim, found(Purpose::Dkim, &|name| keys.iter().any(|key| key == name)), waits("DKIM"));
        }
    }
    judge(Point::Dmarc, dmarc(domain, known), waits("DMARC"));
    let of_host = found(Purpose::Ptr, &|_| true).or_else(|| found(Purpose::Host, &|_| true));
    if is_relay {
        let why = waits("PTR")
            .or_else(|| Some("PTR is not known: list the addresses that the relay sends from in identity.sendingAddresses".to_owned()));
        judge(Point::Ptr, of_host, why);
    } else {
        judge(Point::Ptr, of_host, None);
    }
    (open, unknown)
}

/// The policy of a domain: the record of the domain itself, or of the nearest one above it.
fn dmarc<'a>(domain: &str, known: Option<&'a IdentityObservation>) -> Option<(Verdict, &'a str)> {
    let of = |name: &str| name.strip_prefix("_dmarc.").filter(|of| is_at_or_below(domain, of)).map(str::len);
    let records = || known.into_iter().flat_map(IdentityObservation::records).filter(|record| record.purpose == Purpose::Dmarc);
    let nearest = records().filter_map(|record| of(&record.name)).max()?;
    let fitting: Vec<_> = records().filter(|record| of(&record.name) == Some(nearest)).collect();
    // Domains below one policy share its record, and one may be aligned where another is not.
    let own = fitting.iter().find(|record| record.verdict != Verdict::Good && record.what.contains(domain));
    let shown = own.or_else(|| fitting.iter().find(|record| record.verdict == Verdict::Good)).or_else(|| fitting.first())?;
    Some((shown.verdict, &*shown.what))
}

/// With the name of the point, unless it begins so.
fn named(point: Point, what: &str) -> String {
    let name = point.requirement().name;
    if what.starts_with(name) { what.to_owned() } else { format!("{name}: {what}") }
}

/// Whether so many of the accepted messages, or more, were reported as spam.
fn reaches(share: Percent, seen: Complaints) -> bool {
    let percent = u128::from(share.thousandths());
    u128::from(seen.complained) * 100_000 >= u128::from(seen.accepted) * percent
}

/// The condition of a campaign that is held to what is asked; `recipients` as far as their number is known, `shows_link` as far as its
/// bodies are.
#[must_use]
pub fn condition(
    spec: &CampaignSpec,
    recipients: Option<u64>,
    shows_link: Option<bool>,
    servers: &ServersSay,
    complaints: Option<Complaints>,
) -> Option<Condition> {
    let is_local = servers.sending == 0 && servers.local > 0;
    if is_local || !is_bulk(spec, recipients) {
        return None;
    }
    let mut open: Vec<(Point, String)> = of_documents(spec, shows_link)
        .into_iter()
        .map(|one| (one.point, named(one.point, &format!("{} ({})", one.words, one.field))))
        .collect();
    let with_servers = |told: &BTreeMap<Told, Vec<String>>| {
        let sentence = |((point, words), servers): (&Told, &Vec<String>)| {
            (*point, format!("{words} ({})", listed(servers.iter().map(String::as_str))))
        };
        told.iter().map(sentence).collect::<Vec<_>>()
    };
    let of_dns = with_servers(&servers.open);
    let has_records = of_dns.iter().any(|(point, _)| *point != Point::Tls);
    open.extend(of_dns);
    let judged = complaints.filter(|seen| seen.accepted >= JUDGED_FROM);
    let reaches = |share: Percent| judged.is_some_and(|seen| reaches(share, seen));
    if reaches(SPAM_MAX) {
        let words = format!(
            "spam rate: {SPAM_MAX}% or more of what this namespace sent in the last 7 days was reported as spam; {}",
            Point::SpamRate.requirement().fix
        );
        open.push((Point::SpamRate, words));
    }
    open.sort();
    if servers.sending == 0 && open.is_empty() {
        // Why no server may be used is said elsewhere, and nothing more can be told without one.
        return None;
    }
    let unknown = with_servers(&servers.unknown);
    let told = |points: &[(Point, String)]| points.iter().map(|(_, words)| format!("{words}.")).collect::<Vec<_>>().join(" ");
    let (status, reason, mut message) = if !open.is_empty() {
        let records =
            if has_records { " The condition IdentityReady of the server and `mailfleet dns` have the records to publish." } else { "" };
        let message = format!("Some bulk sender requirements of Gmail, Yahoo and Outlook are not met. {}{records}", told(&open));
        (ConditionStatus::False, Reason::RequirementsOpen, message)
    } else if !unknown.is_empty() {
        let message = format!(
            "Some bulk sender requirements of Gmail, Yahoo and Outlook could not be checked; none is known to be unmet. {}",
            told(&unknown)
        );
        (ConditionStatus::Unknown, Reason::RequirementsNotKnown, message)
    } else {
        let message = "The bulk sender requirements of Gmail, Yahoo and Outlook are met, as far as Mailfleet can check.".to_owned();
        (ConditionStatus::True, Reason::RequirementsMet, message)
    };
    if reaches(SPAM_ADVISED) && !reaches(SPAM_MAX) {
        message.push_str(
            " 0.1% or more of what this namespace sent in the last 7 days was reported as spam; Gmail advises staying below that.",
        );
    }
    if spec.unsubscribe.is_none() {
        message.push_str(" It has no `unsubscribe`: for marketing mail, Gmail and Yahoo require one-click unsubscription.");
    }
    Some(Condition::new(ConditionType::BulkSenderReady, status, reason, message))
}

#[cfg(test)]
mod tests;
