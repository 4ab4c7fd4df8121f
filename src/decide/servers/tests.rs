use std::time::Duration as StdDuration;

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
    assert_eq!(rates_in_force(&spec, &quotas), [rate(14, 1), rate(50_000, DAY), rate(7, 3600)]);
    assert_eq!(rates_in_force(&spec, &[]), [rate(14, 1), rate(90_000, DAY)]);
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
