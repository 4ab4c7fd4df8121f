//! The rules of a `SendingServer`.

use super::{Fault, RATE_WINDOW_MAX, check_bounds, check_exactly_one, check_rates, is_domain};
use crate::{
    providers::Provider,
    resources::{
        Duration, SendingServer,
        sending_server::{Identity, Probe, Warmup},
    },
};

/// Messages a day in a warm-up schedule, at most.
const SCHEDULE_DAY_MAX: u64 = 1_000_000_000;

/// Adds the faults of a server: limits, warm-up, identity, probe, and those of its provider.
pub fn check_server(server: &SendingServer, faults: &mut Vec<Fault>) {
    let spec = &server.spec;
    spec.provider.check(faults);
    if let Some(limits) = &spec.limits {
        check_rates(&limits.rates, "spec.limits.rates", faults);
    }
    if let Some(warmup) = &spec.warmup {
        check_warmup(warmup, faults);
    }
    if let Some(identity) = &spec.identity {
        check_identity(identity, faults);
    }
    if let Some(probe) = &spec.probe {
        check_probe(probe, faults);
    }
}

fn check_warmup(warmup: &Warmup, faults: &mut Vec<Fault>) {
    let given =
        [("exponential", warmup.exponential.is_some()), ("linear", warmup.linear.is_some()), ("schedule", warmup.schedule.is_some())];
    check_exactly_one(&given, "spec.warmup", faults);
    let mut check_target = |kind: &str, first_day: u64, target: u64| {
        if target < first_day {
            let message = format!("the target {target} is less than firstDay {first_day}; warm-up grows, so make it at least that");
            faults.push(Fault::new(format!("spec.warmup.{kind}.target"), message));
        }
    };
    if let Some(exponential) = &warmup.exponential {
        check_target("exponential", exponential.first_day, exponential.target);
    }
    if let Some(linear) = &warmup.linear {
        check_target("linear", linear.first_day, linear.target);
    }
    for (day, messages) in warmup.schedule.iter().flatten().enumerate() {
        if !(1..=SCHEDULE_DAY_MAX).contains(messages) {
            faults.push(Fault::new(
                format!("spec.warmup.schedule[{day}]"),
                format!("{messages} is out of range; 1 to 1,000,000,000 messages a day"),
            ));
        }
    }
}

fn check_identity(identity: &Identity, faults: &mut Vec<Fault>) {
    for (index, domain) in identity.domains.iter().enumerate() {
        check_domain(domain, &format!("spec.identity.domains[{index}]"), faults);
    }
    if let Some(return_path) = &identity.return_path {
        check_domain(return_path, "spec.identity.returnPath", faults);
    }
    if let Some(dkim) = &identity.dkim
        && !is_domain(&dkim.selector)
    {
        faults.push(Fault::new(
            "spec.identity.dkim.selector",
            format!("`{}` is not a selector; letters, digits and `-`, for example s1", dkim.selector),
        ));
    }
}

fn check_domain(domain: &str, path: &str, faults: &mut Vec<Fault>) {
    if let Some((_, after)) = domain.rsplit_once('@')
        && is_domain(after)
    {
        faults.push(Fault::new(path, format!("`{domain}` is an address; write the domain alone: {after}")));
    } else if !is_domain(domain) {
        faults.push(Fault::new(path, format!("`{domain}` is not a domain name; write it like news.example.com")));
    }
}

fn check_probe(probe: &Probe, faults: &mut Vec<Fault>) {
    let (ms100, second, day) = (Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(24 * 3600));
    check_bounds(probe.interval, "1s", second, "31d", RATE_WINDOW_MAX, "spec.probe.interval", faults);
    check_bounds(probe.timeout, "100ms", ms100, "10m", Duration::from_secs(600), "spec.probe.timeout", faults);
    check_bounds(probe.retry_after, "100ms", ms100, "24h", day, "spec.probe.retryAfter", faults);
}
