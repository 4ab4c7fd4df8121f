//! The text against the table, against what was decided, and against its bounds.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::*;
use crate::{
    engine::{ConfigRead, ProbeOutcome},
    report::Answers,
    resources::{
        Condition, ConditionStatus, ConditionType, Duration as Span, Key, Percent, Rate, Reason,
        campaign::CampaignState,
        fate::Fate,
        plan::PlanStatus,
        rollout::{RolloutState, RolloutStatus, StepVerdict},
        sending_server::{CameBack, PausedNamespace, WarmupStatus},
    },
    serve::tests::view,
};

const DAY_MS: i64 = 86_400_000;

fn moment(view: View) -> Moment {
    let disk = DiskUsage { ledger: 4096, free: 1_000_000, size: 2_000_000 };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Moment { phase: ProcessPhase::Leading, view, disk: Some(disk), usage: Some(Usage::now()), started_at: now, now }
}

fn conditions(ready: ConditionStatus, reason: Reason) -> Vec<Condition> {
    vec![
        Condition::new(ConditionType::Ready, ready, reason, "."),
        Condition::new(ConditionType::Accepted, ConditionStatus::True, Reason::Active, "."),
        Condition::new(ConditionType::Probed, ConditionStatus::Unknown, Reason::NotProbedYet, "."),
        Condition::new(ConditionType::Routed, ready, reason, "."),
    ]
}

/// A view in which everything has a value that can have one.
fn full(servers: usize, campaigns: usize) -> View {
    let mut view = view(servers, campaigns);
    let mut decision = (*view.decision).clone();
    let mut report = (*view.report).clone();
    for server in decision.servers.values_mut() {
        let status = &mut server.status;
        status.conditions = conditions(ConditionStatus::False, Reason::ConnectionRefused);
        status.effective.rates = vec![Rate { messages: 500, per: Span::from_secs(86_400) }, Rate { messages: 5, per: Span::from_secs(1) }];
        status.warmup = Some(WarmupStatus {
            step: 2,
            steps: 30,
            limit: 2000,
            used: Some(70),
            needed: 1600,
            days_not_counted: 1,
            ahead: Vec::new(),
            over_on: jiff::civil::date(2027, 1, 1),
        });
        status.came_back = Some(CameBack {
            accepted: 100,
            rejected: 1,
            bounced: 4,
            complained: 1,
            bounce_percent: Percent::of_thousandths(4_950),
            complaint_percent: Percent::of_thousandths(1_000),
            paused: vec![PausedNamespace { namespace: "shop".to_owned(), reason: "BounceRateTooHigh".to_owned(), message: ".".to_owned() }],
            share: None,
        });
    }
    for server in report.servers.values_mut() {
        server.limit_left = Some(430);
        server.used = vec![(DAY_MS, 70)];
        server.answers = Answers { refused: 3, deferred: 2, failed: 1, unknown: 4 };
        server.rests = true;
    }
    report.round_trips.entry("smtp").or_default().note(Duration::from_millis(20));
    let rollout = RolloutStatus {
        progress: "1/2 (1%)".to_owned(),
        step: 1,
        steps: 2,
        percent: Percent::of_thousandths(1_000),
        state: RolloutState::Sending,
        verdict: StepVerdict::Passing,
        messages: 60,
        bounced: 0,
        complained: 0,
        began_at: None,
        pauses_until: None,
        last_handled_promote: None,
        message: ".".to_owned(),
    };
    let at = jiff::Timestamp::from_second(1_799_990_000).expect("a time");
    for campaign in decision.campaigns.values_mut() {
        let status = &mut campaign.status;
        status.conditions = conditions(ConditionStatus::True, Reason::Active);
        (status.started_at, status.completed_at) = (Some(at), Some(at));
        (status.time_left, status.rollout) = (Some(Span::from_secs(90)), Some(rollout.clone()));
        status.feedback.bounced = 7;
    }
    let plan = PlanStatus {
        observed_generation: 1,
        active: "1/2".to_owned(),
        servers_active: 1,
        servers_granted: 2,
        servers: Vec::new(),
        campaigns: 3,
        conditions: conditions(ConditionStatus::True, Reason::Active),
    };
    decision.plans.insert(Key::new("ops", "pro"), plan);
    view.measured.turned(Duration::from_millis(3));
    view.measured.probes.entry(("smtp", ProbeOutcome::Failed)).or_default().note(Duration::from_secs(2));
    view.config = ConfigRead {
        read_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(5)),
        good_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(4)),
        broken: BTreeMap::from([("Campaign", 1)]),
        faults: 2,
    };
    View { decision: Arc::new(decision), report: Arc::new(report), ..view }
}

/// The name of a line's series, without labels.
fn name(line: &str) -> &str {
    line.split(['{', ' ']).next().unwrap_or_default()
}

fn series(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

#[test]
fn the_text_has_every_metric_of_the_table_and_no_other() {
    for format in [Format::OpenMetrics, Format::Text] {
        let text = moment(full(2, 1)).text(format).expect("a text");
        let found: BTreeSet<&str> = series(&text).map(name).collect();
        let wanted: BTreeSet<String> = METRICS.iter().flat_map(|(_, metrics)| metrics.iter().flat_map(|metric| metric.series())).collect();
        // A container may have no limit of its own.
        let wanted: BTreeSet<&str> = wanted.iter().map(String::as_str).filter(|name| *name != "process_max_fds").collect();
        let found: BTreeSet<&str> = found.into_iter().filter(|name| *name != "process_max_fds").collect();
        assert_eq!(found, wanted, "{format:?}");
        let described: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        assert_eq!(described.len(), described.iter().collect::<BTreeSet<_>>().len(), "{described:?}");
    }
}

#[test]
fn values_are_those_that_were_decided_and_reported() {
    let text = moment(full(3, 2)).text(Format::OpenMetrics).expect("a text");
    for line in [
        concat!("mailfleet_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        "mailfleet_leader 1",
        "mailfleet_turn_duration_seconds_count 1",
        r#"mailfleet_turn_duration_seconds_bucket{le="0.0025"} 0"#,
        r#"mailfleet_turn_duration_seconds_bucket{le="0.005"} 1"#,
        r#"mailfleet_turn_duration_seconds_bucket{le="+Inf"} 1"#,
        "mailfleet_config_last_reload_timestamp_seconds 5.0",
        "mailfleet_config_last_reload_success_timestamp_seconds 4.0",
        "mailfleet_config_last_reload_successful 0",
        r#"mailfleet_config_broken_objects{kind="Campaign"} 1"#,
        "mailfleet_config_faults 2",
        "mailfleet_claims_unresolved 4",
        "mailfleet_ledger_commit_duration_seconds_sum 0.0025",
        "mailfleet_ledger_writable 1",
        "mailfleet_ledger_size_bytes 4096",
        "mailfleet_ledger_filesystem_free_bytes 1000000",
        r#"mailfleet_servers{state="Active"} 2"#,
        r#"mailfleet_servers{state="Inactive"} 1"#,
        r#"mailfleet_campaigns{state="Sending"} 1"#,
        r#"mailfleet_campaigns{state="Stopped"} 0"#,
        "mailfleet_backlog_recipients 39",
        r#"mailfleet_plans{ready="true"} 1"#,
        r#"mailfleet_plan_servers_active{plan="ops/pro"} 1"#,
        r#"mailfleet_plan_campaigns{plan="ops/pro"} 3"#,
        r#"mailfleet_objects_left_out{kind="SendingServer"} 0"#,
        r#"mailfleet_server_info{server="ops/server-00001",provider="smtp"} 1"#,
        r#"mailfleet_server_active{server="ops/server-00000"} 0"#,
        r#"mailfleet_server_active{server="ops/server-00002"} 1"#,
        r#"mailfleet_server_reason{server="ops/server-00000",reason="ConnectionRefused"} 1"#,
        r#"mailfleet_server_condition{server="ops/server-00000",condition="Probed",status="Unknown"} 1"#,
        r#"mailfleet_server_condition{server="ops/server-00000",condition="Probed",status="True"} 0"#,
        r#"mailfleet_server_messages_total{server="ops/server-00002",outcome="Accepted"} 20"#,
        r#"mailfleet_server_messages_total{server="ops/server-00002",outcome="Deferred"} 2"#,
        r#"mailfleet_server_failures_total{server="ops/server-00000"} 1"#,
        r#"mailfleet_server_in_flight{server="ops/server-00002"} 2"#,
        r#"mailfleet_server_throttled{server="ops/server-00002"} 1"#,
        r#"mailfleet_server_limit_messages{server="ops/server-00001",window="24h"} 500"#,
        r#"mailfleet_server_limit_messages{server="ops/server-00001",window="1s"} 5"#,
        r#"mailfleet_server_limit_used_messages{server="ops/server-00001",window="24h"} 70"#,
        r#"mailfleet_server_limit_left_messages{server="ops/server-00001"} 430"#,
        r#"mailfleet_server_warmup_limit_messages{server="ops/server-00001"} 2000"#,
        r#"mailfleet_server_warmup_used_messages{server="ops/server-00001"} 70"#,
        r#"mailfleet_server_bounce_ratio{server="ops/server-00001"} 0.0495"#,
        r#"mailfleet_server_paused_namespaces{server="ops/server-00001"} 1"#,
        r#"mailfleet_probe_duration_seconds_count{provider="smtp",result="Failed"} 1"#,
        r#"mailfleet_delivery_duration_seconds_bucket{le="0.025",provider="smtp"} 1"#,
        r#"mailfleet_campaign_state{campaign="shop/campaign-00001",state="Sending"} 1"#,
        r#"mailfleet_campaign_state{campaign="shop/campaign-00001",state="Waiting"} 0"#,
        r#"mailfleet_campaign_recipients{campaign="shop/campaign-00001",outcome="Accepted"} 60"#,
        r#"mailfleet_campaign_recipients{campaign="shop/campaign-00001",outcome="Pending"} 35"#,
        r#"mailfleet_campaign_recipients_expected{campaign="shop/campaign-00001",estimate="false"} 100"#,
        r#"mailfleet_campaign_backlog_recipients{campaign="shop/campaign-00001"} 39"#,
        r#"mailfleet_campaign_backlog_recipients{campaign="shop/campaign-00000"} 0"#,
        r#"mailfleet_campaign_feedback_messages{campaign="shop/campaign-00001",kind="Bounced"} 7"#,
        r#"mailfleet_campaign_stop_bounce_ratio{campaign="shop/campaign-00001"} 0.1"#,
        r#"mailfleet_campaign_time_left_seconds{campaign="shop/campaign-00001"} 90.0"#,
        r#"mailfleet_campaign_rollout_ratio{campaign="shop/campaign-00001"} 0.01"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    let nothing = moment(view(1, 0)).text(Format::OpenMetrics).expect("a text");
    assert!(!nothing.contains("mailfleet_server_limit_left_messages{"), "a limit that nobody has set");
    assert!(!nothing.contains("mailfleet_campaign_backlog_recipients{"), "{nothing}");
}

#[test]
fn what_is_read_by_nobody_leaves_and_the_number_of_series_has_a_bound() {
    let (servers, campaigns) = (SERVERS_MAX + 500, CAMPAIGNS_MAX + 300);
    let text = moment(full(servers, campaigns)).text(Format::Text).expect("a text");
    let count = |prefix: &str| series(&text).filter(|line| line.starts_with(prefix)).count();
    assert_eq!(count("mailfleet_server_active{"), SERVERS_MAX);
    assert_eq!(count("mailfleet_campaign_recipients{"), CAMPAIGNS_MAX * (Fate::ALL.len() + 1), "every fate, and who has none yet");
    for line in [
        r#"mailfleet_objects_left_out{kind="SendingServer"} 500"#.to_owned(),
        r#"mailfleet_objects_left_out{kind="Campaign"} 300"#.to_owned(),
        format!(r#"mailfleet_servers{{state="Active"}} {}"#, servers - 1),
        // The one that has not ended is shown, though it comes last by name.
        format!(r#"mailfleet_campaign_recipients{{campaign="shop/campaign-{:05}",outcome="Claimed"}} 4"#, campaigns - 1)
            .replace("Claimed", "Sending"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
    // Those that completed more than a day ago are only counted.
    let mut old = full(1, 3);
    let mut decision = (*old.decision).clone();
    let long_ago = jiff::Timestamp::from_second(1_800_000_000 - 86_401).expect("a time");
    decision.campaigns.values_mut().for_each(|campaign| campaign.status.completed_at = Some(long_ago));
    old.decision = Arc::new(decision);
    let text = moment(old).text(Format::Text).expect("a text");
    let shown: Vec<&str> = series(&text).filter(|line| line.starts_with("mailfleet_campaign_backlog_recipients{")).collect();
    assert_eq!(shown, [r#"mailfleet_campaign_backlog_recipients{campaign="shop/campaign-00002"} 39"#], "it sends again, or still");
    assert!(text.contains("mailfleet_objects_left_out{kind=\"Campaign\"} 2\n"), "{text}");
    assert!(text.contains(&format!("mailfleet_campaigns{{state=\"{:?}\"}} 2\n", CampaignState::Completed)), "{text}");
}

/// What docs/metrics.md says of a fleet of 5,000 servers and 1,000 campaigns, all with limits, warm-up and rollout.
#[test]
fn a_large_fleet_keeps_to_the_formula() {
    let view = full(5000, 1000);
    let began = std::time::Instant::now();
    let text = moment(view).text(Format::OpenMetrics).expect("a text");
    let took = began.elapsed();
    let all = series(&text).count();
    let by_server = series(&text).filter(|line| line.contains("{server=\"")).count();
    let by_campaign = series(&text).filter(|line| line.contains("{campaign=\"")).count();
    println!("{all} series, {} bytes, {} ms", text.len(), took.as_millis());
    // Of a server: 4, 3 for each of 4 conditions, 9 of those in use, a limit for each window and what is used of it, 7 for warm-up and pauses.
    assert!(by_server <= 5000 * (4 + 3 * 4 + 9 + 3 + 1 + 8), "{by_server} of servers");
    assert!(by_campaign <= 1000 * (6 + 1 + 3 * 4 + 11 + 2 + 3 + 5 + 2 + 3), "{by_campaign} of campaigns");
    assert!(all - by_server - by_campaign < 300, "{all} in all");
    assert!(text.len() < 30 << 20, "{} bytes", text.len());
}
