//! The state of a campaign after an edit, a suspension, and the loss of its content.

use std::collections::BTreeMap;

use super::{
    super::{Decision, Observations, PlanInput, ProbeResult, ServerInput, ServerObservation, World},
    *,
};
use crate::{
    report::{CampaignReport, Expected, Phase, Waiting},
    resources::{
        Blocker, Campaign, ConditionStatus, ConditionType, Reason,
        bound::{MESSAGE_MAX, WHY_NOT_MAX},
        campaign::{CampaignStatus, RecipientCounts},
        condition,
        resume::Handled,
    },
    test_support::{object, work},
};

pub(super) const NOW_MS: i64 = 1_764_000_000_000;

/// One server, one plan, one campaign `spring` of generation 2 with a run in the ledger; the server is Active if `probed` is good.
pub(super) fn world(spec: &str, probed: Option<ProbeResult>) -> (World, Observations) {
    let key = |name: &str| Key::new("default", name);
    let mut world = World::default();
    let server = object("SendingServer", "relay", "{provider: {smtp: {host: relay.example.com, encryption: None}}}");
    world.servers.insert(key("relay"), ServerInput::new(Arc::new(server), Ok(1)));
    world.plans.insert(key("basic"), PlanInput { object: Arc::new(object("Plan", "basic", "{servers: [{name: relay}]}")), stale: None });
    let spec = format!(
        "{{planRef: {{name: basic}}, from: {{address: a@example.com}}, subject: Hi, content: {{text: Hi}}, audience: {{inline: [{{email: b@example.com}}]}}, {spec}}}"
    );
    let mut campaign: Campaign = object("Campaign", "spring", &spec);
    campaign.metadata.generation = Some(2);
    world.campaigns.insert(
        key("spring"),
        CampaignInput { in_ledger: crate::decide::InLedger::Begun, ..CampaignInput::new(Arc::new(campaign), Ok(Arc::new(work(22)))) },
    );
    let mut observed = Observations::default();
    let good = !matches!(probed, None | Some(ProbeResult::Failed(_)));
    observed.servers.insert(
        key("relay"),
        ServerObservation { server_hash: 1, last_probe: probed, last_probe_ms: NOW_MS, probes_good: good, ..ServerObservation::default() },
    );
    (world, observed)
}

pub(super) fn report(work_hash: u64, phase: Phase, blocker: Option<Blocker>) -> CampaignReport {
    CampaignReport {
        last_hours_ms: None,
        without_zone: None,
        without_variant: None,
        run: "first".to_owned(),
        work_hash,
        phase,
        counts: RecipientCounts::default(),
        accepted: BTreeMap::new(),
        expected: None,
        per_second: None,
        gap_ms: None,
        waiting: Waiting::No,
        blocker,
        unread_since_ms: None,
        started_ms: Some(NOW_MS),
        completed_ms: None,
        added_later: Some(0),
        reopen: 0,
        has_sent: true,
        bars: BTreeMap::new(),
        resume_handled: Handled::default(),
        rollout: None,
    }
}

pub(super) fn set_report(observed: &mut Observations, report: CampaignReport) {
    Arc::make_mut(&mut observed.report).campaigns.insert(Key::new("default", "spring"), report);
}

/// Decides, and remembers the status as the engine does.
fn turn(world: &mut World, observed: &Observations) -> CampaignDecision {
    let decision: Decision = super::super::decide(world, observed, NOW_MS);
    let campaign = decision.campaigns[&Key::new("default", "spring")].clone();
    world.campaigns.values_mut().for_each(|input| input.previous = Some(Arc::new(campaign.status.clone())));
    campaign
}

fn refused_alike(transient: bool) -> Option<Blocker> {
    Some(Blocker { needs_person: !transient, ..Blocker::lasting(Reason::RefusedAlike, "refused") })
}

#[test]
fn an_edit_mends_a_stop_though_the_report_is_still_of_the_spec_before() {
    let (mut world, mut observed) = world("", Some(ProbeResult::Succeeded));
    // The report of the previous generation: its hash was 21.
    set_report(&mut observed, report(21, Phase::Resting, refused_alike(false)));
    let edited = turn(&mut world, &observed);
    assert_eq!((edited.status.state, edited.intent.map(|intent| intent.hold)), (CampaignState::Sending, Some(false)));
    // The same blocker again, of this spec now: it stops, and stays stopped.
    set_report(&mut observed, report(22, Phase::Resting, refused_alike(false)));
    assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Stopped);
    set_report(&mut observed, report(22, Phase::Resting, None));
    assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Stopped);
}

#[test]
fn what_can_be_fixed_outside_the_spec_is_tried_again_after_a_restart() {
    for reason in [
        Reason::RenderFailed,
        Reason::TooManyRenderErrors,
        Reason::BadRows,
        Reason::TooManyBadRows,
        Reason::AudienceUnreadable,
        Reason::AddressNotAllowed,
        Reason::SecretInvalid,
    ] {
        let (mut world, mut observed) = world("", Some(ProbeResult::Succeeded));
        set_report(&mut observed, report(22, Phase::Resting, Some(Blocker::lasting(reason, "fix it"))));
        assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Stopped);
        observed.report = Arc::default();
        assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Sending, "{reason}");
    }
}

/// The finalizer of a campaign is kept for as long as its status says that messages are in flight.
#[test]
fn nothing_is_in_flight_of_a_run_that_the_data_plane_does_not_have() {
    let (mut world, mut observed) = world("", Some(ProbeResult::Succeeded));
    let counts = RecipientCounts { accepted: 5, sending: 3, total: Some(9), ..RecipientCounts::default() };
    set_report(&mut observed, CampaignReport { counts, ..report(22, Phase::Feeding, None) });
    assert_eq!(turn(&mut world, &observed).status.recipients.sending, 3);
    observed.report = Arc::default();
    for input in world.campaigns.values_mut() {
        (input.work, input.deleting) = (Err(Blocker::lasting(Reason::ConfigMapNotFound, "it is gone")), true);
    }
    let decided = turn(&mut world, &observed);
    assert!(decided.intent.is_none());
    let counts = &decided.status.recipients;
    assert_eq!((counts.accepted, counts.sending, counts.total), (5, 0, Some(9)));
}

#[test]
fn before_the_first_message_a_missing_server_is_no_stop() {
    let failed = || Some(ProbeResult::Failed(Blocker::lasting(Reason::AuthenticationFailed, "535 wrong")));
    let key = Key::new("default", "spring");
    let (mut world, mut observed) = world("", failed());
    let ready = |decision: &CampaignDecision| {
        let ready = condition::find(&decision.status.conditions, ConditionType::Ready).expect("Ready");
        (decision.status.state, ready.reason, ready.message.to_string())
    };
    let settle = |observed: &mut Observations, result| {
        let relay = observed.servers.get_mut(&Key::new("default", "relay")).expect("relay");
        (relay.last_probe, relay.probes_good, relay.failures) = (result, false, 9);
    };
    settle(&mut observed, failed());
    world.campaigns.get_mut(&key).expect("spring").in_ledger = crate::decide::InLedger::Absent;
    let (state, reason, message) = ready(&turn(&mut world, &observed));
    assert_eq!((state, reason), (CampaignState::Scheduled, Reason::NoEligibleServer), "{message}");
    assert!(message.contains("535 wrong") && message.contains("Nothing has been sent yet"), "{message}");
    // An older version wrote Stopped.
    let input = world.campaigns.get_mut(&key).expect("spring");
    Arc::make_mut(input.previous.as_mut().expect("a status")).state = CampaignState::Stopped;
    observed.servers.get_mut(&Key::new("default", "relay")).expect("relay").last_probe = Some(ProbeResult::Succeeded);
    observed.servers.get_mut(&Key::new("default", "relay")).expect("relay").probes_good = true;
    assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Sending);
    // Once a message has left, it stops, and says first how to resume it; the server's old error is not repeated.
    settle(&mut observed, failed());
    let input = world.campaigns.get_mut(&key).expect("spring");
    (input.in_ledger, input.has_sent) = (crate::decide::InLedger::Begun, true);
    let (state, reason, message) = ready(&turn(&mut world, &observed));
    assert_eq!((state, reason), (CampaignState::Stopped, Reason::NoEligibleServer), "{message}");
    assert!(message.starts_with("`mailfleet resume spring`") && message.contains("535 wrong"), "{message}");
    observed.servers.get_mut(&Key::new("default", "relay")).expect("relay").last_probe = Some(ProbeResult::Succeeded);
    observed.servers.get_mut(&Key::new("default", "relay")).expect("relay").probes_good = true;
    let (state, _, message) = ready(&turn(&mut world, &observed));
    assert_eq!(state, CampaignState::Stopped);
    assert!(message.contains("relay can be used now") && !message.contains("535"), "{message}");
}

#[test]
fn a_run_that_nobody_accepted_has_failed_however_small() {
    let (mut world, mut observed) = world("", Some(ProbeResult::Succeeded));
    let mut closed = report(22, Phase::Closed, None);
    (closed.counts.total, closed.counts.rejected) = (Some(1), 1);
    set_report(&mut observed, closed.clone());
    let ready = |decision: &CampaignDecision| condition::find(&decision.status.conditions, ConditionType::Ready).expect("Ready").reason;
    assert_eq!(ready(&turn(&mut world, &observed)), Reason::NobodyAccepted);
    (closed.counts.total, closed.counts.accepted) = (Some(2), 1);
    set_report(&mut observed, closed);
    assert_eq!(ready(&turn(&mut world, &observed)), Reason::Completed);
}

#[test]
fn a_completed_run_is_reopened_by_a_larger_number_only() {
    let (mut world, mut observed) = world("reopen: 2", Some(ProbeResult::Succeeded));
    let mut closed = report(22, Phase::Closed, None);
    (closed.reopen, closed.added_later) = (2, Some(3));
    let read = |decision: &CampaignDecision| {
        condition::find(&decision.status.conditions, ConditionType::AudienceRead).map(|condition| condition.reason)
    };
    set_report(&mut observed, closed.clone());
    let completed = turn(&mut world, &observed);
    assert_eq!((completed.status.state, read(&completed)), (CampaignState::Completed, Some(Reason::RowsAfterCompletion)));
    closed.reopen = 1;
    set_report(&mut observed, closed);
    let reopened = turn(&mut world, &observed);
    assert_eq!((reopened.status.state, read(&reopened)), (CampaignState::Sending, None), "what is being mailed did not come too late");
}

#[test]
fn an_unreadable_edit_does_not_wake_a_stopped_campaign() {
    let (mut world, mut observed) = world("", Some(ProbeResult::Succeeded));
    set_report(&mut observed, report(22, Phase::Resting, refused_alike(false)));
    turn(&mut world, &observed);
    set_report(&mut observed, report(22, Phase::Resting, None));
    // In a cluster the status is then about the version that cannot be read.
    let refuse = |input: &mut CampaignInput, stale: Option<String>| {
        input.stale = stale;
        Arc::make_mut(input.previous.as_mut().expect("a status")).observed_generation = input.object.generation() + 1;
    };
    world.campaigns.values_mut().for_each(|input| refuse(input, Some("unreadable".to_owned())));
    assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Stopped);
    // An edit that can be read is judged afresh.
    world.campaigns.values_mut().for_each(|input| refuse(input, None));
    assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Sending);
}

#[test]
fn a_suspended_campaign_is_held_whatever_its_source_does() {
    let (mut world, mut observed) = world("suspend: true", Some(ProbeResult::Succeeded));
    set_report(&mut observed, report(22, Phase::Resting, refused_alike(true)));
    let suspended = turn(&mut world, &observed);
    assert_eq!((suspended.status.state, suspended.intent.map(|intent| intent.hold)), (CampaignState::Suspended, Some(true)));
}

#[test]
fn a_completed_campaign_stays_so_over_a_restart_and_without_its_audience() {
    let (mut world, mut observed) = world("", None);
    set_report(&mut observed, report(22, Phase::Closed, None));
    assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Completed);
    // A restart: no server is probed and no run is opened yet; the ledger has the run closed.
    observed.report = Arc::default();
    world.campaigns.values_mut().for_each(|input| input.in_ledger = crate::decide::InLedger::Closed);
    assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Completed);
    // The audience is deleted after its use.
    world.campaigns.values_mut().for_each(|input| input.work = Err(Blocker::lasting(Reason::FileNotFound, "gone")));
    assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Completed);
    // The ledger has the last word.
    for input in world.campaigns.values_mut() {
        (input.work, input.in_ledger) = (Ok(Arc::new(work(22))), crate::decide::InLedger::Begun);
    }
    set_report(&mut observed, report(22, Phase::Resting, None));
    assert_ne!(turn(&mut world, &observed).status.state, CampaignState::Completed);
}

#[test]
fn a_campaign_whose_only_server_rests_says_so_and_not_that_it_is_tested() {
    let (mut world, mut observed) = world("suspend: false", Some(ProbeResult::Succeeded));
    let mut waiting = report(22, Phase::Feeding, None);
    waiting.waiting = Waiting::ForServer;
    set_report(&mut observed, waiting);
    let message = |decision: CampaignDecision| {
        let ready = condition::find(&decision.status.conditions, ConditionType::Ready).expect("Ready");
        (ready.reason, ready.message.clone())
    };
    // At a start: the data plane was handed no server yet, and nothing failed.
    assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Sending);
    let server = observed.servers.get_mut(&Key::new("default", "relay")).expect("a server");
    server.note_send_failure(Blocker::passing(Reason::ServiceNotAvailable, "421"), 1, 0, NOW_MS);
    let (reason, told) = message(turn(&mut world, &observed));
    assert_eq!((reason, told.starts_with("Sending through relay failed; it is being probed")), (Reason::WaitingForServer, true), "{told}");
    observed.servers.get_mut(&Key::new("default", "relay")).expect("a server").send_failure = None;
    let resting = crate::report::ServerReport { rests_since: Some("No answer came.".into()), ..Default::default() };
    Arc::make_mut(&mut observed.report).servers.insert(Key::new("default", "relay"), resting);
    let (reason, told) = message(turn(&mut world, &observed));
    let wanted = "The outcome of a message through relay is unknown; it is paused, and then tried with a single message.";
    assert_eq!((reason, &*told), (Reason::WaitingForServer, wanted));
}

#[test]
fn the_total_is_known_before_the_audience_was_read_and_marked_while_it_is_an_estimate() {
    // Not stopped by what is rejected.
    let (mut world, mut observed) = world("stopWhen: {bouncePercent: '100'}", Some(ProbeResult::Succeeded));
    let counts = |total| RecipientCounts { accepted: 200, rejected: 50, total, ..RecipientCounts::default() };
    let expected = |recipients, is_estimate| Some(Expected { recipients, is_estimate });
    for (total, expected, sent, left) in [
        (None, None, "200/?", None),
        (None, expected(1000, true), "200/~1000", Some("30s")),
        (None, expected(1000, false), "200/1000", Some("30s")),
        (Some(500), expected(1000, false), "200/500", Some("10s")),
    ] {
        // It began days ago, and was down since: only the recent rate counts.
        let (started_ms, per_second) = (Some(NOW_MS - 1_000_000_000), Some(25.0));
        set_report(
            &mut observed,
            CampaignReport { counts: counts(total), expected, started_ms, per_second, ..report(22, Phase::Feeding, None) },
        );
        let status = turn(&mut world, &observed).status;
        let shown = (&*status.sent, status.time_left.map(|left| left.to_string()));
        assert_eq!(shown, (sent, left.map(str::to_owned)));
        let of_status = total.map(|total| (total, false)).or(expected.map(|expected| (expected.recipients, expected.is_estimate)));
        assert_eq!(status.total(), of_status);
    }
}

#[test]
fn a_process_that_ends_leaves_nothing_that_is_being_sent() {
    let (mut world, mut observed) = world("", Some(ProbeResult::Succeeded));
    set_report(&mut observed, report(22, Phase::Feeding, None));
    let mut decision: Decision = super::super::decide(&world, &observed, NOW_MS);
    let status = |decision: &Decision| decision.campaigns[&Key::new("default", "spring")].status.clone();
    assert_eq!(status(&decision).state, CampaignState::Sending);
    decision.rest();
    let rested = status(&decision);
    let is = |kind, status, reason| condition::find(&rested.conditions, kind).is_some_and(|c| (c.status, c.reason) == (status, reason));
    assert_eq!(rested.state, CampaignState::Waiting);
    assert!(is(ConditionType::Ready, ConditionStatus::False, Reason::NotRunning), "{:?}", rested.conditions);
    assert!(is(ConditionType::Reconciling, ConditionStatus::True, Reason::NotRunning), "{:?}", rested.conditions);
    // The next process begins where it was.
    world.campaigns.values_mut().for_each(|input| input.previous = Some(Arc::new(rested.clone())));
    assert_eq!(turn(&mut world, &observed).status.state, CampaignState::Sending);
    // What a person has to act on stays.
    set_report(&mut observed, report(22, Phase::Resting, refused_alike(false)));
    let mut decision: Decision = super::super::decide(&world, &observed, NOW_MS);
    let stopped = status(&decision);
    decision.rest();
    assert_eq!((status(&decision), stopped.state), (stopped.clone(), CampaignState::Stopped));
}

#[test]
fn a_request_of_before_that_comes_back_is_none() {
    let (mut world, mut observed) = world("", Some(ProbeResult::Succeeded));
    let mut handled = Handled::default();
    ["a held=Retry", "b"].iter().for_each(|value| handled.note(value));
    let asked = |world: &mut World, observed: &Observations, value: &str| {
        world.campaigns.values_mut().for_each(|input| input.resume = Some(value.to_owned()));
        turn(world, observed).intent.and_then(|intent| intent.resume.clone()).map(|resume| resume.token)
    };
    for source in ["the ledger", "the dispatcher"] {
        if source == "the ledger" {
            world.campaigns.values_mut().for_each(|input| input.resume_handled = handled.clone());
        } else {
            set_report(&mut observed, CampaignReport { resume_handled: handled.clone(), ..report(22, Phase::Resting, None) });
        }
        for (value, wanted) in [("b", None), (" a  held=Retry", None), ("a held=Reject", Some("a held=Reject")), ("c", Some("c"))] {
            assert_eq!(asked(&mut world, &observed, value).as_deref(), wanted, "{value}, as {source} knows it");
        }
        assert_eq!(turn(&mut world, &observed).status.last_handled_resume.as_deref(), Some("b"));
    }
}

/// What campaigns of one plan have in common is held once, however many campaigns there are and however often they are decided on:
/// for each row of the table a campaign holds only the number of messages that the server accepted.
#[test]
fn campaigns_that_choose_alike_share_their_lists_over_the_turns() {
    let (mut world, mut observed) = world("", Some(ProbeResult::Succeeded));
    let first = world.campaigns[&Key::new("default", "spring")].clone();
    // Half of them choose differently, and the resulting lists are the same.
    for number in 0..20 {
        let mut campaign = (*first.object).clone();
        Arc::make_mut(&mut campaign.spec).from.address = format!("a@example-{}.com", number % 2);
        let input = CampaignInput { object: Arc::new(campaign), ..first.clone() };
        world.campaigns.insert(Key::new("default", format!("campaign-{number}")), input);
    }
    let lists = |world: &mut World, observed: &Observations| {
        let decision = super::super::decide(world, observed, NOW_MS);
        for (key, input) in &mut world.campaigns {
            input.previous = Some(Arc::new(decision.campaigns[key].status.clone()));
        }
        let addresses = decision.campaigns.values().map(|campaign| {
            let intent = campaign.intent.as_ref().expect("it is sent");
            (campaign.status.servers.shared_rows().as_ptr(), intent.servers.as_ptr(), intent.candidates.as_ptr())
        });
        let distinct: std::collections::BTreeSet<_> = addresses.collect();
        (distinct.len(), decision)
    };
    let (count, before) = lists(&mut world, &observed);
    assert_eq!(count, 1);
    let (count, after) = lists(&mut world, &observed);
    let rows = |decision: &Decision| decision.campaigns.values().next().map(|campaign| campaign.status.servers.shared_rows().clone());
    assert!(count == 1 && before == after && Arc::ptr_eq(&rows(&before).expect("rows"), &rows(&after).expect("rows")));
    // The counts of a campaign are its own, and cost no other row.
    let took = CampaignReport { accepted: BTreeMap::from([(Key::new("default", "relay"), 7)]), ..report(22, Phase::Feeding, None) };
    set_report(&mut observed, took);
    let (count, decision) = lists(&mut world, &observed);
    let accepted: Vec<u64> = decision.campaigns.values().map(|campaign| campaign.status.servers.accepted()).collect();
    assert_eq!((count, accepted.iter().sum::<u64>(), accepted.last()), (1, 7, Some(&7)));
    // A server that refuses one campaign has a different message in that campaign's row alone.
    let bar = crate::resources::Bar { reason: Reason::RefusedAlike, message: "no".to_owned(), work_hash: 22 };
    let bars = BTreeMap::from([(Key::new("default", "relay"), bar)]);
    set_report(&mut observed, CampaignReport { bars, ..report(22, Phase::Feeding, None) });
    let (count, decision) = lists(&mut world, &observed);
    let words =
        |name: &str| decision.campaigns[&Key::new("default", name)].status.servers.iter().map(|row| row.why_not).collect::<Vec<_>>();
    assert_eq!((count, &*words("campaign-0")[0]), (2, ""));
    assert!(words("spring")[0].starts_with("it refuses this campaign"), "{:?}", words("spring"));
}

#[test]
fn the_longest_statuses_fit_into_an_object() {
    let failed = ProbeResult::Failed(Blocker::passing(Reason::ConnectionRefused, "Why, and what to do. ".repeat(500)));
    let (mut world, mut observed) = world("", Some(failed.clone()));
    let template = world.servers[&Key::new("default", "relay")].clone();
    let names: Vec<String> = (0..1000).map(|number| format!("s{number:0252}")).collect();
    for name in &names {
        world.servers.insert(Key::new("default", name.as_str()), template.clone());
        let observation =
            ServerObservation { server_hash: 1, last_probe: Some(failed.clone()), last_probe_ms: NOW_MS, ..ServerObservation::default() };
        observed.servers.insert(Key::new("default", name.as_str()), observation);
    }
    let granted = names.iter().map(|name| format!("{{name: {name}, weight: 1000000}}")).collect::<Vec<_>>().join(", ");
    let plan = object("Plan", "basic", &format!("{{servers: [{granted}]}}"));
    world.plans.insert(Key::new("default", "basic"), PlanInput { object: Arc::new(plan), stale: None });
    let decision: Decision = super::super::decide(&world, &observed, NOW_MS);
    let (campaign, plan) = (&decision.campaigns[&Key::new("default", "spring")].status, &decision.plans[&Key::new("default", "basic")]);
    assert!(campaign.servers.iter().all(|row| row.why_not.starts_with("Inactive: Why") && row.why_not.len() <= WHY_NOT_MAX));
    // As an API server stores them, the namespaces at their longest, and every condition too.
    let longest = |servers: usize, status: String| {
        assert_eq!(servers, 1000);
        status.len() + servers * (63 - "default".len()) + 8 * MESSAGE_MAX
    };
    let sizes = [
        longest(campaign.servers.iter().count(), serde_json::to_string(campaign).expect("JSON")),
        longest(plan.servers.len(), serde_json::to_string(plan).expect("JSON")),
    ];
    assert!(sizes.iter().all(|size| *size < 1536 * 1024 - 4096), "{sizes:?}");
}

/// A second server `slow` beside `relay`, each with these limits, and a campaign of 10,400 people of whom 200 are done.
fn two_servers(weighting: &str, weights: (u32, u32), relay: &str, slow: &str, per_second: Option<f64>) -> CampaignStatus {
    let (mut world, mut observed) = world(&format!("weighting: {weighting}"), Some(ProbeResult::Succeeded));
    let key = |name: &str| Key::new("default", name);
    for (name, limits) in [("relay", relay), ("slow", slow)] {
        let (rates, warmup) =
            limits.split_once(" warmup: ").map_or((limits, String::new()), |(rates, warmup)| (rates, format!(", warmup: {warmup}")));
        let spec = format!("{{provider: {{smtp: {{host: relay.example.com, encryption: None}}}}, limits: {{rates: [{rates}]}}{warmup}}}");
        world.servers.insert(key(name), ServerInput::new(Arc::new(object("SendingServer", name, &spec)), Ok(1)));
    }
    let plan = format!("{{servers: [{{name: relay, weight: {}}}, {{name: slow, weight: {}}}]}}", weights.0, weights.1);
    world.plans.insert(key("basic"), PlanInput { object: Arc::new(object("Plan", "basic", &plan)), stale: None });
    let active = observed.servers[&key("relay")].clone();
    observed.servers.insert(key("slow"), active);
    let counts = RecipientCounts { accepted: 200, total: Some(10_400), ..RecipientCounts::default() };
    set_report(&mut observed, CampaignReport { counts, per_second, ..report(22, Phase::Feeding, None) });
    turn(&mut world, &observed).status
}

#[test]
fn the_server_that_paces_strict_shares_is_named_and_time_is_reckoned_by_it() {
    let (second, warmup) = ("{messages: 1, per: 1s}", " warmup: {startDate: 2025-11-24, schedule: [100, 200]}");
    for (weighting, weights, limits, per_second, paced_by, left) in [
        // Half of 10,200 at one per second; a burst of the fast one says nothing.
        ("Strict", (1, 1), ("", second), Some(900.0), Some("default/slow"), "1h25m"),
        ("Strict", (3, 1), ("", second), None, Some("default/slow"), "43m"),
        // The lowest limit for its share, not the lowest.
        ("Strict", (9, 1), ("{messages: 5, per: 1s}", second), Some(5.5), Some("default/relay"), "31m"),
        // 1,000 a day go at once, and 4,100 take four days more.
        ("Strict", (1, 1), ("", "{messages: 1000, per: 24h}"), Some(900.0), Some("default/slow"), "99h"),
        // 5,100 of a server that may send 100 today, 200 tomorrow, and then what it likes.
        ("Strict", (1, 1), ("", " warmup: {startDate: 2025-11-24, schedule: [100, 200]}"), Some(900.0), Some("default/slow"), "48h"),
        ("Strict", (1, 1), ("", ""), Some(10.0), None, "17m"),
        // Others take over: limits add up, and one without any has no bound.
        ("Overflow", (1, 1), ("", second), Some(10.0), None, "17m"),
        ("Overflow", (1, 1), ("{messages: 1, per: 1s}", second), Some(900.0), None, "1h25m"),
        // 200 in what is left of today (8 hours), 400 tomorrow, and then what they like.
        ("Overflow", (1, 1), (warmup, warmup), Some(900.0), None, "32h"),
        // The one that is warm takes over.
        ("Overflow", (1, 1), ("", warmup), Some(900.0), None, "12s"),
        // 100, and 8 h at one per second, are more than enough.
        ("Overflow", (1, 1), (warmup, second), Some(900.0), None, "3h"),
    ] {
        let status = two_servers(weighting, weights, limits.0, limits.1, per_second);
        let case = format!("{weighting} {weights:?} {limits:?}");
        assert_eq!(status.time_left.map(|left| left.to_string()).as_deref(), Some(left), "{case}");
        assert_eq!(status.paced_by.as_deref(), paced_by, "{case}");
        let kept = condition::find(&status.conditions, ConditionType::WeightsKept);
        assert_eq!(kept.map(|kept| (kept.status, kept.reason)), paced_by.map(|_| (ConditionStatus::True, Reason::PacedByServer)), "{case}");
        for row in status.servers.iter() {
            assert_eq!(row.why_not.starts_with("the others wait for it"), Some(&*row.server) == paced_by, "{case}: {}", row.why_not);
        }
    }
    let status = two_servers("Strict", (1, 1), "", second, None);
    let kept = condition::find(&status.conditions, ConditionType::WeightsKept).expect("it is said");
    assert_eq!(
        kept.message,
        "weighting is Strict, so default/slow sets the pace of the campaign: its limit is 1 per 1s, and its share is 50.0%, about 2 a second in all. Raise its limits, lower its weight, or set weighting to Overflow."
    );
}

/// What the limits that are not a server's windows say in a status.
#[test]
fn own_limits_and_those_for_domains_are_told() {
    let own = "limits: {rates: [{messages: 100, per: 1h}]}";
    let (mut world, mut observed) = world(own, Some(ProbeResult::Succeeded));
    let left = RecipientCounts { accepted: 100, total: Some(1_000), ..RecipientCounts::default() };
    let sending = CampaignReport { counts: left, per_second: Some(50.0), ..report(22, Phase::Feeding, None) };
    set_report(&mut observed, sending.clone());
    let decided = turn(&mut world, &observed);
    let intent = decided.intent.expect("it is sent");
    assert_eq!(intent.own_limits.as_ref().map(|limits| (&*limits.key, limits.rates.len())), Some(("campaign default/spring", 1)));
    assert_eq!(decided.status.time_left.map(|left| left.to_string()).as_deref(), Some("8h"), "900 at 100 an hour, of which 100 go at once");
    // Only people of a domain with a limit are left: one in ten seconds.
    set_report(&mut observed, CampaignReport { gap_ms: Some(40_000.0), ..sending.clone() });
    assert_eq!(turn(&mut world, &observed).status.time_left.map(|left| left.to_string()).as_deref(), Some("10h"));
    let waiting = Waiting::ForDomains { until_ms: NOW_MS + 3_600_000, domains: vec!["gmail.com".into(), "yahoo.com".into()] };
    set_report(&mut observed, CampaignReport { waiting, ..sending });
    let status = turn(&mut world, &observed).status;
    let ready = condition::find(&status.conditions, ConditionType::Ready).expect("it is said");
    assert_eq!((status.state, ready.reason), (CampaignState::Waiting, Reason::WaitingForLimits));
    assert!(ready.message.starts_with("All remaining recipients are at gmail.com, yahoo.com"), "{}", ready.message);
    assert!(ready.message.ends_with("sending resumes at 2025-11-24T17:00:00Z."), "{}", ready.message);
}

#[test]
fn outside_its_hours_it_waits_and_says_until_when() {
    // A Monday.
    let hours = |from: &str, to: &str| format!("sendingHours: {{zone: Europe/Berlin, days: [Mon, Tue], from: \"{from}\", to: \"{to}\"}}");
    let decided = |spec: &str, in_ledger| {
        let (mut world, observed) = world(spec, Some(ProbeResult::Succeeded));
        for input in world.campaigns.values_mut() {
            input.in_ledger = in_ledger;
            input.when = crate::zones::when(&input.object.spec).map_err(|fault| Blocker::lasting(Reason::InvalidSpec, fault.message));
        }
        let decision: Decision = super::super::decide(&world, &observed, NOW_MS);
        let campaign = decision.campaigns[&Key::new("default", "spring")].clone();
        let ready = condition::find(&campaign.status.conditions, ConditionType::Ready).expect("Ready");
        let hold = campaign.intent.map(|intent| intent.hold);
        (campaign.status.state, ready.reason, ready.message.to_string(), hold)
    };
    let (begun, new) = (crate::decide::InLedger::Begun, crate::decide::InLedger::Absent);
    // It is 17:00.
    let shut = decided(&hours("08:00", "17:00"), begun);
    let words = "Outside its sendingHours; sending resumes at 08:00 on Tue 2025-11-25 (Europe/Berlin).";
    assert_eq!((shut.0, shut.1, &*shut.2, shut.3), (CampaignState::Waiting, Reason::OutsideSendingHours, words, Some(true)));
    let open = decided(&hours("08:00", "18:00"), begun);
    assert_eq!((open.0, open.1, open.3), (CampaignState::Sending, Reason::Sending, Some(false)));
    // One that has not begun is not opened before.
    let shut = decided(&hours("20:00", "21:00"), new);
    let words = "Outside its sendingHours; sending begins at 20:00 on Mon 2025-11-24 (Europe/Berlin).";
    assert_eq!((shut.0, &*shut.2, shut.3), (CampaignState::Scheduled, words, None));
    // Its start is outside of its hours: the deadline counts from when it may first be sent.
    let late = |start: &str, from: &str| decided(&format!("startAt: \"{start}\", startingDeadline: 1h, {}", hours(from, "20:00")), new);
    let (state, _, words, ..) = late("2025-11-26T08:00[Europe/Berlin]", "08:00");
    let starts = "Starts at 08:00 on Mon 2025-12-01 (Europe/Berlin): its startAt (08:00 on Wed 2025-11-26 (Europe/Berlin)) is outside its sendingHours.";
    assert_eq!((state, &*words), (CampaignState::Scheduled, starts));
    assert_eq!(late("2025-11-24T07:00:00Z", "16:30").0, CampaignState::Sending);
    assert_eq!(late("2025-11-24T07:00:00Z", "15:30").1, Reason::StartingDeadlineExceeded);
    // A zone that does not exist is told before anything else.
    let (state, reason, words, ..) = decided("sendingHours: {zone: Europe/Berln, from: \"08:00\", to: \"17:00\"}", begun);
    assert_eq!((state, reason), (CampaignState::Waiting, Reason::InvalidSpec));
    assert!(words.ends_with("did you mean `Europe/Berlin`?"), "{words}");
}

#[test]
fn the_time_left_has_the_nights_in_it() {
    let spec = "sendingHours: {zone: UTC, from: \"12:00\", to: \"18:00\"}";
    let (mut world, mut observed) = world(spec, Some(ProbeResult::Succeeded));
    for input in world.campaigns.values_mut() {
        input.when = Ok(crate::zones::when(&input.object.spec).expect("good"));
    }
    // It is 16:00: two hours today, six tomorrow, and one on the day after.
    let left = RecipientCounts { total: Some(32_400), ..RecipientCounts::default() };
    set_report(&mut observed, CampaignReport { counts: left, per_second: Some(1.0), ..report(22, Phase::Feeding, None) });
    assert_eq!(turn(&mut world, &observed).status.time_left.map(|left| left.to_string()).as_deref(), Some("45h"));
}
