use std::{sync::Arc, time::Duration as StdDuration};

use super::*;
use crate::{
    providers::Quota,
    resources::{Blocker, Duration},
};

fn rate(messages: u64, per_seconds: u64) -> Rate {
    Rate { messages, per: Duration::from_secs(per_seconds) }
}

fn spec(yaml: &str) -> SendingServerSpec {
    serde_saphyr::from_str(yaml).expect("a spec")
}

const DAY: u64 = 24 * 3600;

#[test]
fn a_spec_can_only_be_stricter_than_the_vendor() {
    let spec = spec("{provider: {outbox: {}}, limits: {rates: [{messages: 14, per: 1s}, {messages: 90000, per: 24h}]}}");
    let quotas = [rate(50_000, DAY), rate(20, 1), rate(7, 3600)];
    assert_eq!(rates_in_force(&spec, quotas), [rate(14, 1), rate(50_000, DAY), rate(7, 3600)]);
    assert_eq!(rates_in_force(&spec, []), [rate(14, 1), rate(90_000, DAY)]);
}

#[test]
fn what_others_used_of_an_account_is_not_ours_to_use() {
    let quota = |messages, used| Quota { rate: rate(messages, DAY), used };
    for (quota, ours, wanted) in [
        (quota(50_000, 0), 0, 50_000),
        // Others used 1,200.
        (quota(50_000, 1_500), 300, 48_800),
        // The vendor counts later than we do.
        (quota(50_000, 100), 300, 50_000),
        // Nothing is left: the vendor says so when one is tried.
        (quota(50_000, 60_000), 0, 1),
    ] {
        let mut observation = ServerObservation::default();
        observation.note_quotas(&[quota], |_| ours);
        assert_eq!(observation.quotas, [rate(wanted, DAY)], "{quota:?}, {ours} ours");
    }
    // What we sent in a longer window is not what we sent in this one.
    let month = Duration::from_secs(744 * 3600);
    let report = ServerReport { used: vec![(rate(1, DAY).per.as_millis(), 300), (month.as_millis(), 40_000)], ..ServerReport::default() };
    let mut observation = ServerObservation::default();
    observation.note_quotas(&[quota(50_000, 1_500), Quota { rate: Rate { messages: 1_000_000, per: month }, used: 50_000 }], |per| {
        report.used_in(per)
    });
    assert_eq!(observation.quotas, [rate(48_800, DAY), Rate { messages: 990_000, per: month }]);
}

fn failed(failure: Blocker, times: u32) -> ServerObservation {
    let mut observation = ServerObservation {
        probes_good: true,
        last_probe: Some(ProbeResult::Succeeded),
        last_probe_began_ms: 2_000,
        ..ServerObservation::default()
    };
    for _ in 0..times {
        observation.note_send_failure(failure.clone(), 1, 0, 1_000);
    }
    observation
}

#[test]
fn a_server_that_takes_no_more_for_now_rests_and_stays_active() {
    let probe = spec("{provider: {outbox: {}}}").probe();
    let broken = failed(Blocker::passing(Reason::ConnectionLost, "lost"), 1);
    assert_eq!(broken.readmit_at_ms(&probe), Some(1_000), "a server that answers again is used at once");
    let is_held_back = |observation: &ServerObservation| of_sends(observation.unproven(&probe, 0)).is_some();
    assert!(is_held_back(&failed(Blocker::passing(Reason::ConnectionLost, "lost"), 3)));

    let throttled = Blocker::passing(Reason::Throttled, "too fast");
    assert_eq!(failed(throttled.clone(), 1).readmit_at_ms(&probe), Some(11_000), "it would be asked again at once");
    let asked = throttled.after(Some(StdDuration::from_secs(120)));
    assert_eq!(failed(asked.clone(), 1).readmit_at_ms(&probe), Some(121_000));
    assert_eq!(failed(asked.clone(), 3).readmit_at_ms(&probe), Some(121_000));
    assert!(!is_held_back(&failed(asked, 9)), "it is not broken");
    assert!(!is_held_back(&failed(Blocker::passing(Reason::QuotaExceeded, "used up"), 9)));
}

#[test]
fn a_server_whose_sends_keep_failing_stays_inactive_until_a_message_was_taken() {
    let probe = spec("{provider: {outbox: {}}}").probe();
    let mut observation = failed(Blocker::passing(Reason::ServiceNotAvailable, "421 go away"), 3);
    let at = observation.readmit_at_ms(&probe).expect("a pause");
    assert!(observation.readmit(&probe, 0, at));
    assert!(observation.unproven(&probe, 0).is_some(), "probes alone prove nothing");
    assert!(observation.unproven(&probe, 1).is_none(), "a message was taken");
    observation.note_send_failure(Blocker::passing(Reason::ServiceNotAvailable, "421 go away"), 2, 0, at + 5);
    assert_eq!(observation.send_failure.as_ref().map(|failure| failure.in_a_row), Some(4));
}

#[test]
fn a_status_says_where_warm_up_is_and_what_domains_were_sent() {
    let yaml = "{provider: {outbox: {}}, limits: {perDomain: [{domains: [gmail.com], rates: [{messages: 5, per: 1s}, {messages: 100, per: 1h}]}, {domains: [yahoo.com], rates: [{messages: 1, per: 1s}]}]}, warmup: {startDate: 2025-11-22, schedule: [100, 200, 400]}}";
    let (key, now_ms) = (Key::new("default", "relay"), 1_764_000_000_000);
    let object = crate::resources::SendingServer {
        spec: Arc::new(spec(yaml)),
        ..serde_saphyr::from_str(
            "{apiVersion: mailfleet.dev/v1alpha1, kind: SendingServer, metadata: {name: relay}, spec: {provider: {outbox: {}}}}",
        )
        .expect("a server")
    };
    let input = ServerInput::new(std::sync::Arc::new(object), Ok(1));
    let mut observed = Observations::default();
    let domain = crate::report::DomainReport { used: vec![(3_600_000, 80)], exhausted_until: None };
    let mut report = crate::report::Report::default();
    report.servers.insert(
        key.clone(),
        ServerReport { domains: vec![domain, crate::report::DomainReport::default()], warmup_left: Some(150), ..ServerReport::default() },
    );
    // Two days before, of which one was used.
    let day = |day, messages| crate::report::DayUsed { day, messages };
    report.days = std::sync::Arc::new(BTreeMap::from([(key.clone(), vec![day(20_414, 100), day(20_415, 120)])]));
    observed.report = std::sync::Arc::new(report);
    let decided = decide(&key, &input, &BTreeMap::new(), &observed, false, now_ms);
    let warmup = decided.status.warmup.expect("it is warming up");
    assert_eq!((warmup.step, warmup.limit, warmup.used, warmup.days_not_counted), (2, 200, Some(50), 1));
    assert_eq!(decided.warmup.and_then(|warmup| warmup.limit()), Some(200));
    assert!(decided.wake_at_ms.is_some_and(|at| at <= 20_417 * 86_400_000), "the next day begins");
    let used: Vec<_> = decided.status.per_domain.iter().map(|domain| domain.used.as_deref()).collect();
    assert_eq!(used, [Some("80/100 per 1h"), None]);
}
