//! The turns of a rollout, its judgement, and what an edit of its steps means.

use std::sync::Arc;

use super::*;
use crate::{
    decide::{self, CampaignDecision, World, campaigns::tests::*},
    report::{CampaignReport, Phase},
    resources::{ConditionType, Reason, campaign::CampaignState, condition, resume::Handled},
};

const STEPS: &str = "rollout: {steps: [{percent: 1, minMessages: 200, pause: {duration: 2h}}, {percent: 10, pause: {}}]}";
const HOUR_MS: i64 = 3_600_000;

fn percent(thousandths: u32) -> Percent {
    Percent::of_thousandths(thousandths)
}

/// What a run has reached and had come back.
#[derive(Clone)]
struct Case {
    spec: &'static str,
    reached: Reached,
    counts: RecipientCounts,
    promote: Option<&'static str>,
    now_ms: i64,
    is_opened: bool,
}

impl Case {
    /// The first step was sent: 1,000 of 100,000 people.
    fn sent() -> Self {
        let reached = Reached { share: percent(1_000), began_ms: NOW_MS, sent_ms: Some(NOW_MS), ..Reached::default() };
        let counts = RecipientCounts { accepted: 1_000, total: Some(100_000), ..RecipientCounts::default() };
        Self { spec: STEPS, reached, counts, promote: None, now_ms: NOW_MS + 1, is_opened: true }
    }

    fn decide(&self) -> CampaignDecision {
        let (mut world, mut observed): (World, _) = world(self.spec, Some(decide::ProbeResult::Succeeded));
        for input in world.campaigns.values_mut() {
            input.rollout = Some(self.reached.clone());
            input.promote = self.promote.map(str::to_owned);
            input.has_sent = true;
        }
        if self.is_opened {
            let report = CampaignReport {
                counts: self.counts.clone(),
                rollout: Some(self.reached.clone()),
                has_sent: true,
                started_ms: Some(NOW_MS),
                ..report(22, Phase::Feeding, None)
            };
            set_report(&mut observed, report);
        }
        let decision = decide::decide(&world, &observed, self.now_ms);
        decision.campaigns.into_values().next().expect("the campaign")
    }

    fn told(&self) -> (CampaignState, Reason, RolloutState, StepVerdict, Option<NextStep>) {
        let decided = self.decide();
        let rollout = decided.status.rollout.clone().expect("a rollout");
        let ready = condition::find(&decided.status.conditions, ConditionType::Ready).expect("ready");
        let next = decided.intent.as_ref().and_then(|intent| intent.rollout.next.clone());
        (decided.status.state, ready.reason, rollout.state, rollout.verdict, next)
    }
}

fn next(from: u32, to: u32) -> Option<NextStep> {
    Some(NextStep { from: percent(from), to: percent(to), bounced: 0, complained: 0, promote: None })
}

#[test]
fn a_step_is_sent_then_pauses_then_the_next_one_begins() {
    let mut case = Case::sent();
    case.reached.sent_ms = None;
    assert_eq!(case.told(), (CampaignState::Sending, Reason::Sending, RolloutState::Sending, StepVerdict::Passing, None));

    case.reached.sent_ms = Some(NOW_MS);
    assert_eq!(case.told(), (CampaignState::Waiting, Reason::RolloutPaused, RolloutState::Paused, StepVerdict::Passing, None));
    let decided = case.decide();
    let message = &decided.status.rollout.as_ref().expect("a rollout").message;
    assert_eq!(message, "Step 1 of 2 (1%): 1,000 of 100,000 sent; pauses until 2025-11-24T18:00:00Z, then 10%.");
    assert!(!decided.waits_for_person && decided.status.conditions.iter().all(|c| c.kind != ConditionType::Stalled));
    // Whoever is deferred is tried again meanwhile.
    assert!(decided.intent.as_ref().is_some_and(|intent| !intent.hold));

    case.now_ms = NOW_MS + 2 * HOUR_MS - 1;
    assert_eq!(case.told().2, RolloutState::Paused);
    case.now_ms += 1;
    assert_eq!(case.told().4, next(1_000, 10_000));
    // Before the data plane has opened the run, it is not known whether more came back.
    case.is_opened = false;
    assert_eq!(case.told().4, None);
}

#[test]
fn too_few_messages_or_an_open_pause_wait_for_a_person() {
    let mut case = Case::sent();
    case.counts.accepted = 199;
    case.now_ms = NOW_MS + 9 * HOUR_MS;
    assert_eq!(
        case.told(),
        (CampaignState::Waiting, Reason::RolloutWaiting, RolloutState::WaitingForPromotion, StepVerdict::Undecided, None)
    );
    let decided = case.decide();
    assert!(decided.waits_for_person);
    let message = &condition::find(&decided.status.conditions, ConditionType::Ready).expect("ready").message;
    assert!(message.contains("only 199 of this step") && message.contains("`mailfleet promote spring`"), "{message}");
    // Somebody of it is tried again first.
    case.counts.deferred = 1;
    assert!(!case.decide().waits_for_person);

    let mut case = Case::sent();
    case.reached = Reached { share: percent(10_000), ended_before: 1_000, ..case.reached };
    case.counts.accepted = 10_000;
    case.now_ms = NOW_MS + 9 * HOUR_MS;
    assert_eq!(
        case.told(),
        (CampaignState::Waiting, Reason::RolloutWaiting, RolloutState::WaitingForPromotion, StepVerdict::Passing, None)
    );
    case.promote = Some(" 2025-11-24T20:00:00Z ");
    let promoted = |from, to| Some(NextStep { promote: Some("2025-11-24T20:00:00Z".to_owned()), ..next(from, to).expect("a step") });
    assert_eq!(case.told().4, promoted(10_000, 100_000));
    // A value is acted on once.
    let mut handled = Handled::default();
    handled.note("2025-11-24T20:00:00Z");
    case.reached.promote_handled = handled;
    assert_eq!(case.told().4, None);
    // It ends a pause too; and what is still being sent is sent first.
    let mut case = Case { promote: Some("now"), ..Case::sent() };
    assert!(case.told().4.is_some_and(|next| next.promote.as_deref() == Some("now")));
    case.reached.sent_ms = None;
    assert_eq!(case.told().4, None);
}

#[test]
fn a_step_is_judged_by_its_own_messages_however_small_it_is() {
    // 1,000 went well before; of 300 in this step 45 bounced, which is 3.5% of the run.
    let mut case = Case::sent();
    case.spec = "rollout: {steps: [{percent: 1}, {percent: 2, minMessages: 20}]}";
    case.reached = Reached {
        share: percent(2_000),
        ended_before: 1_000,
        judged_from: Judged { accepted: 1_000, ..Judged::default() },
        bounced: 3,
        sent_ms: None,
        ..case.reached
    };
    for (accepted, bounced, stops) in [(1_019, 19, false), (1_020, 2, false), (1_020, 3, true), (1_300, 30, false), (1_300, 45, true)] {
        (case.counts.accepted, case.reached.bounced) = (accepted, bounced);
        let (state, reason, rollout, verdict, next) = case.told();
        let seen = (state == CampaignState::Stopped, reason == Reason::BounceRateTooHigh, rollout == RolloutState::Stopped);
        assert_eq!(seen, (stops, stops, stops), "{accepted} {bounced}");
        assert_eq!((verdict == StepVerdict::Failed, next), (stops, None), "{accepted} {bounced}");
    }
    let status = case.decide().status;
    let message = &condition::find(&status.conditions, ConditionType::Stalled).expect("stalled").message;
    assert!(message.starts_with("Step 2 of 2 (2%): 15% of 300 recipients cannot be reached (0 rejected, 45 bounced)"), "{message}");
    assert!(message.contains(" 98% of the audience has not been mailed."), "{message}");
    // Complaints; and a resumed step is judged by what came since, while what it has sent still counts for minMessages.
    (case.reached.bounced, case.reached.complained) = (0, 1);
    assert_eq!(case.told().1, Reason::ComplaintRateTooHigh);
    case.reached.complained = 0;
    case.reached.judged_from.accepted = 1_300;
    case.reached.sent_ms = Some(NOW_MS);
    assert_eq!(case.told().4, next(2_000, 100_000));
}

#[test]
fn steps_may_be_edited_and_nothing_goes_back() {
    let at = |share: u32, spec: &'static str, is_sent: bool| {
        let mut case = Case { spec, now_ms: NOW_MS + 9 * HOUR_MS, ..Case::sent() };
        case.reached.share = percent(share);
        case.reached.sent_ms = is_sent.then_some(NOW_MS);
        let decided = case.decide();
        let rollout = decided.status.rollout.clone().expect("a rollout");
        (rollout.progress, decided.intent.as_ref().and_then(|intent| intent.rollout.next.clone()).map(|next| next.to.thousandths()))
    };
    let cases: [(u32, &'static str, bool, &str, Option<u32>); 11] = [
        // The same share in another place: steps were added before or after.
        (1_000, "rollout: {steps: [{percent: '0.5'}, {percent: 1, pause: {}}, {percent: 10}]}", true, "2/3 (1%)", None),
        (1_000, "rollout: {steps: [{percent: 1, pause: {}}, {percent: 5}, {percent: 10}]}", true, "1/3 (1%)", None),
        (1_000, "rollout: {steps: [{percent: 1}, {percent: 5}, {percent: 10}]}", true, "1/3 (1%)", Some(5_000)),
        // The first step was made larger: its people follow, even before the smaller one was sent.
        (1_000, "rollout: {steps: [{percent: 5, pause: {}}, {percent: 10}]}", false, "1/2 (1%)", Some(5_000)),
        // A step that was sent was made smaller: nobody more is mailed before a person says so.
        (10_000, "rollout: {steps: [{percent: 1}, {percent: 5, pause: {}}, {percent: 20}]}", true, "2/3 (10%)", None),
        // It was made larger: what the step before waits for holds.
        (10_000, "rollout: {steps: [{percent: 1, pause: {}}, {percent: 20}]}", true, "1/2 (10%)", None),
        (10_000, "rollout: {steps: [{percent: 1}, {percent: 20}]}", true, "1/2 (10%)", Some(20_000)),
        // The first step was removed.
        (10_000, "rollout: {steps: [{percent: 10, pause: {}}]}", true, "1/1 (10%)", None),
        // All steps were removed.
        (1_000, "suspend: false", false, "done", Some(100_000)),
        (1_000, "suspend: true", false, "done", None),
        // Everybody was mailed: no step takes that back.
        (100_000, "rollout: {steps: [{percent: 1}]}", false, "done", None),
    ];
    for (share, spec, is_sent, progress, to) in cases {
        assert_eq!(at(share, spec, is_sent), (progress.to_owned(), to), "{share} {spec}");
    }
}

#[test]
fn nothing_begins_while_something_else_is_in_the_way() {
    let mut case = Case { now_ms: NOW_MS + 9 * HOUR_MS, ..Case::sent() };
    case.spec = "suspend: true, rollout: {steps: [{percent: 1}]}";
    assert_eq!((case.told().0, case.told().4), (CampaignState::Suspended, None));
    // The data plane and the ledger mean different steps: one of them has news.
    case.spec = "rollout: {steps: [{percent: 1}]}";
    assert!(case.told().4.is_some());
    let (mut world, mut observed) = world(case.spec, Some(decide::ProbeResult::Succeeded));
    world.campaigns.values_mut().for_each(|input| input.rollout = Some(case.reached.clone()));
    let elsewhere = Reached { sent_ms: None, ..case.reached.clone() };
    let counts = case.counts.clone();
    set_report(&mut observed, CampaignReport { counts, rollout: Some(elsewhere), ..report(22, Phase::Feeding, None) });
    let decision = decide::decide(&world, &observed, case.now_ms);
    assert!(decision.campaigns.values().all(|campaign| campaign.intent.as_ref().is_some_and(|intent| intent.rollout.next.is_none())));
    // A run without a rollout gets none by an edit.
    world.campaigns.values_mut().for_each(|input| input.rollout = None);
    let decision = decide::decide(&world, &observed, case.now_ms);
    let campaign = decision.campaigns.values().next().expect("the campaign");
    assert_eq!(campaign.status.rollout, None);
    assert!(Arc::ptr_eq(campaign.intent.as_ref().expect("sent"), &decision.routing.campaigns[&Key::new("default", "spring")]));
}
