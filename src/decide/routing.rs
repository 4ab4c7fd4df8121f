//! Derives what the data plane is to do from the decisions on servers and campaigns. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{CampaignDecision, Observations, ServerDecision, World, warmup::Progress};
use crate::{
    providers::Provider as _,
    resources::{
        Duration, Key, SendingServerSpec,
        feedback::Feedback,
        senders::canonical,
        sending_server::{CONNECTIONS_MAX, DomainLimits},
    },
    routing::{DomainIntent, Routing, ServerIntent},
};

/// The shortest and the default time without any answer after which a server is treated as failed, milliseconds.
const STALL_MIN_MS: i64 = 1000;
const STALL_MS: u64 = 10_000;
/// How fast a line is at least, on which the attachments of all connections go out before there is an answer: bytes a millisecond.
const LINE_SPEED: u64 = 1_000;
/// The most that is waited for them, milliseconds: as long as for the answer to a content.
const LARGE_MAX_MS: u64 = 300_000;

/// The part of the decisions that is handed to the data plane.
pub(super) fn routing(
    world: &World,
    servers: &BTreeMap<Key, ServerDecision>,
    campaigns: &BTreeMap<Key, CampaignDecision>,
    observed: &Observations,
) -> Routing {
    let intents = campaigns.iter().filter_map(|(key, campaign)| Some((key.clone(), campaign.intent.clone()?)));
    let campaigns: BTreeMap<_, _> = intents.collect();
    // Campaigns of one plan share one list.
    let lists: BTreeMap<*const Key, &[Key]> = campaigns.values().map(|intent| (intent.candidates.as_ptr(), &*intent.candidates)).collect();
    let used: BTreeSet<&Key> = lists.into_values().flatten().collect();
    // A server that no campaign has used costs the data plane nothing; one that was used keeps its counts.
    let is_wanted = |key: &Key| used.contains(key) || observed.report.servers.contains_key(key);
    let mut attached: BTreeMap<&Key, u64> = BTreeMap::new();
    for intent in campaigns.values().filter(|intent| intent.work.attached_bytes > 0) {
        for key in &*intent.candidates {
            let most = attached.entry(key).or_default();
            *most = intent.work.attached_bytes.max(*most);
        }
    }
    let wanted = servers.iter().filter(|(key, _)| is_wanted(key));
    let servers = wanted.filter_map(|(key, server)| {
        let spec = &world.servers.get(key)?.object.spec;
        let acknowledged = observed.servers.get(key).map_or(0, |observation| observation.acknowledged_failures);
        Some((key.clone(), intent(spec, server, acknowledged, attached.get(key).copied().unwrap_or(0))))
    });
    Routing { servers: servers.collect(), campaigns }
}

/// The windows of some receiving domains.
fn domain(limits: &DomainLimits) -> DomainIntent {
    DomainIntent { domains: limits.domains.iter().map(|domain| canonical(domain).into()).collect(), rates: limits.rates.clone() }
}

fn intent(spec: &SendingServerSpec, server: &ServerDecision, acknowledged_failures: u64, attached_bytes: u64) -> ServerIntent {
    let limits = spec.limits();
    ServerIntent {
        routed: server.routed,
        acknowledged_failures,
        is_on_trial: server.on_trial,
        provider: spec.provider.type_name(),
        host: host_of(&spec.provider.address()).into(),
        rates: server.status.effective.rates.clone(),
        per_domain: limits.per_domain.iter().map(domain).collect(),
        warmup_today: server.warmup.as_ref().and_then(Progress::limit),
        connections: limits.connections,
        in_flight_max: limits.in_flight,
        return_path: spec.identity.as_ref().and_then(|identity| identity.return_path.as_deref()).map(Into::into),
        names_messages: spec.feedback.as_ref().is_some_and(Feedback::is_read) && spec.provider.has_envelope(),
        signing: server.signing.as_slice().into(),
        stall_after: stall_after(spec.probe().timeout, attached_bytes, limits.connections),
    }
}

/// After how long without any answer a server is treated as failed: what its probe may take, and what large messages need on every
/// connection of a slow line.
fn stall_after(probe: Duration, attached_bytes: u64, connections: Option<u32>) -> Duration {
    let answer = u64::try_from(probe.as_millis().max(STALL_MIN_MS)).unwrap_or(STALL_MS);
    let together = attached_bytes.saturating_mul(connections.unwrap_or(CONNECTIONS_MAX).into());
    Duration::from_millis(answer + (together / LINE_SPEED).min(LARGE_MAX_MS))
}

/// The host of an address for display: `smtp.example.com` for `smtp.example.com:587, StartTls`.
fn host_of(address: &str) -> &str {
    let host = address.split([',', ' ', '/']).next().unwrap_or(address);
    host.rsplit_once(':').map_or(host, |(host, port)| if port.bytes().all(|byte| byte.is_ascii_digit()) { host } else { address })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::test_support::{campaign_intent, server_intent, work};

    #[test]
    fn large_messages_have_the_time_that_they_need() {
        let after = |bytes, connections| stall_after(Duration::from_secs(10), bytes, connections).as_millis();
        assert_eq!(after(0, None), 10_000);
        assert_eq!(after(1_400_000, Some(4)), 15_600);
        assert_eq!(after(11_000_000, Some(1)), 21_000);
        assert_eq!(after(u64::MAX, None), 310_000);
        assert_eq!(stall_after(Duration::from_millis(1), 0, None).as_millis(), 1_000);
    }

    #[test]
    fn a_host_is_an_address_without_port_and_encryption() {
        for (address, host) in [
            ("smtp.example.com:587, StartTls", "smtp.example.com"),
            ("api.eu.mailgun.net, shop.example", "api.eu.mailgun.net"),
            ("127.0.0.1:9000/mail", "127.0.0.1"),
            // Two programs on this machine count as one opinion as well.
            ("/usr/sbin/sendmail", ""),
            ("[2001:db8::1]:25, None", "[2001:db8::1]"),
        ] {
            assert_eq!(host_of(address), host, "{address}");
        }
    }

    #[test]
    fn what_is_wanted_can_be_written_down() {
        let (spring, relay) = (Key::new("shop", "spring"), Key::new("ops", "relay"));
        let mut campaign = campaign_intent(work(7));
        campaign.servers = [(relay.clone(), 3)].into();
        let routing =
            Routing { servers: BTreeMap::from([(relay, server_intent(&[]))]), campaigns: BTreeMap::from([(spring, Arc::new(campaign))]) };
        let json = serde_json::to_value(&routing).expect("plain data");
        assert_eq!(json["servers"]["ops/relay"]["routed"], true);
        assert_eq!(json["campaigns"]["shop/spring"]["work"]["workHash"], 7);
        assert_eq!(json["campaigns"]["shop/spring"]["servers"][0][1], 3);
    }
}
