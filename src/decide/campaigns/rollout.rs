//! Where the rollout of a run is, and what comes next: the step is sent, then what comes back is waited for, then the next one begins
//! by itself or by a person's word. Pure.

use jiff::Timestamp;

use super::{run::Run, stop};
use crate::{
    decide::CampaignInput,
    feedback::Judged,
    resources::{
        Blocker, Key, Percent,
        bound::grouped,
        campaign::RecipientCounts,
        resume::token,
        rollout::{ANNOTATION, NextStep, Pause, Reached, RolloutState, RolloutStatus, RolloutStep, StepVerdict},
        stop_when::EffectiveStopWhen,
    },
    routing::RolloutIntent,
};

/// What the present step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// It is being sent.
    Sends,
    /// What comes back, until this time, milliseconds.
    Pauses(i64),
    /// A person: too few messages have an outcome for it to be judged.
    TooFew,
    /// A person, as its pause says.
    Asks,
    /// Nothing: the next one is due.
    Begins,
    /// All steps are over.
    Finished,
}

/// The rollout of a run that has begun with one.
pub(super) struct Rollout<'a> {
    key: &'a Key,
    reached: &'a Reached,
    /// The steps of the spec as it is now; empty if it has none any more.
    steps: &'a [RolloutStep],
    stop_when: EffectiveStopWhen,
    counts: RecipientCounts,
    total: Option<u64>,
    /// Whether the data plane has opened the run, and means the same step as the ledger: only then it is judged, and may end.
    is_settled: bool,
    promote: Option<String>,
    pub turn: Turn,
}

/// A person's request to promote that is not carried out yet.
pub(super) fn asked(input: &CampaignInput) -> Option<String> {
    let value = token(input.promote.as_deref()?);
    let handled = input.rollout.as_ref().is_some_and(|reached| reached.promote_handled.has(&value));
    (!value.is_empty() && !handled).then_some(value)
}

impl<'a> Rollout<'a> {
    /// The rollout of a run; `None` for one without.
    pub fn of(key: &'a Key, input: &'a CampaignInput, run: &Run<'a>, now_ms: i64) -> Option<Self> {
        let spec = &input.object.spec;
        let reached = input.rollout.as_ref()?;
        let in_data_plane = run.opened.and_then(|report| report.rollout.as_ref());
        let mut rollout = Self {
            key,
            reached,
            steps: spec.rollout.as_ref().map_or(&[], |rollout| &rollout.steps),
            stop_when: spec.stop_when(),
            counts: run.recipients(),
            total: run.recipients().total.or(run.expected().map(|expected| expected.recipients)),
            is_settled: in_data_plane.is_some_and(|known| known.is_at(reached))
                && run.resume.is_none()
                && run.handled.newest() == input.resume_handled.newest(),
            promote: asked(input),
            turn: Turn::Sends,
        };
        rollout.turn = rollout.turn_at(now_ms);
        Some(rollout)
    }

    /// What the data plane is told: `begins` that the next step may begin, since nothing else is in the way.
    pub fn intent(input: &CampaignInput, rollout: Option<&Self>, begins: bool) -> RolloutIntent {
        let steps = input.object.spec.rollout.as_ref().map(|rollout| &rollout.steps);
        RolloutIntent {
            first: steps.and_then(|steps| steps.first()).map(|step| step.percent.0),
            promote: asked(input),
            next: rollout.filter(|rollout| begins && rollout.begins()).map(Self::next_step),
        }
    }

    fn next_step(&self) -> NextStep {
        let Reached { share, bounced, complained, .. } = *self.reached;
        NextStep { from: share, to: self.next_share(), bounced, complained, promote: self.promote.clone() }
    }

    /// Whether the next step is due, and known to be.
    pub fn begins(&self) -> bool {
        self.turn == Turn::Begins && self.is_settled
    }

    /// Whether nothing happens any more until a person decides.
    pub fn waits_for_person(&self) -> bool {
        let open = self.counts.deferred + self.counts.held + self.counts.sending;
        matches!(self.turn, Turn::TooFew | Turn::Asks) && self.is_settled && open == 0
    }

    /// The place of the present step among those of the spec, from 0, and the step: the last one that is no larger than what was
    /// reached, since the spec may have changed meanwhile. None once all are over, or if there are none any more.
    fn step(&self) -> Option<(usize, &'a RolloutStep)> {
        if self.reached.is_all() {
            return None;
        }
        let at = self.steps.iter().rposition(|step| step.percent.0 <= self.reached.share).unwrap_or(0);
        self.steps.get(at).map(|step| (at, step))
    }

    /// The share of the step after this one.
    fn next_share(&self) -> Percent {
        self.steps.iter().map(|step| step.percent.0).find(|percent| *percent > self.reached.share).unwrap_or(Percent::ALL)
    }

    /// Outcomes below which a person decides.
    fn least(&self) -> u64 {
        let of_step = self.step().and_then(|(_, step)| step.min_messages);
        of_step.unwrap_or(self.stop_when.after_messages)
    }

    /// Messages of the step that were accepted or rejected.
    fn messages(&self) -> u64 {
        (self.counts.accepted + self.counts.rejected).saturating_sub(self.reached.ended_before)
    }

    fn turn_at(&self, now_ms: i64) -> Turn {
        if self.reached.is_all() {
            return Turn::Finished;
        }
        // Steps were removed, or the first one was made larger.
        let Some((_, step)) = self.step().filter(|(_, step)| step.percent.0 <= self.reached.share) else { return Turn::Begins };
        let Some(sent_ms) = self.reached.sent_ms else { return Turn::Sends };
        if self.promote.is_some() {
            return Turn::Begins;
        }
        if self.messages() < self.least() {
            return Turn::TooFew;
        }
        match &step.pause {
            None => Turn::Begins,
            Some(Pause { duration: None }) => Turn::Asks,
            Some(Pause { duration: Some(duration) }) => {
                let until = sent_ms.saturating_add(duration.as_millis());
                if now_ms < until { Turn::Pauses(until) } else { Turn::Begins }
            }
        }
    }

    // ── the guards ──

    /// What the step is judged by: its own messages, since it began or was resumed.
    fn judged(&self) -> Judged {
        let Judged { accepted, rejected, .. } = self.reached.judged_from;
        Judged {
            accepted: self.counts.accepted.saturating_sub(accepted),
            rejected: self.counts.rejected.saturating_sub(rejected),
            bounced: self.reached.bounced,
            complained: self.reached.complained,
        }
    }

    /// A step is judged once as many messages have an outcome as it needs: it may be smaller than what a whole run is judged from.
    fn thresholds(&self) -> EffectiveStopWhen {
        let after_messages = self.stop_when.after_messages.min(self.least());
        EffectiveStopWhen { after_messages, ..self.stop_when.clone() }
    }

    /// Why the step stops the run, if it does.
    pub fn blocker(&self) -> Option<Blocker> {
        if !self.is_settled {
            return None;
        }
        let others = match Percent::ALL.thousandths() - self.reached.share.thousandths() {
            0 => String::new(),
            others => format!(" {}% of the audience has not been mailed.", Percent::of_thousandths(others)),
        };
        let head = format!("{}: ", self.name());
        stop::judge(self.key, self.judged(), &self.thresholds(), (&head, &others))
    }

    fn verdict(&self) -> StepVerdict {
        let judged = self.judged();
        if judged.accepted + judged.rejected < self.thresholds().after_messages {
            return StepVerdict::Undecided;
        }
        let failed = stop::judge(self.key, judged, &self.thresholds(), ("", "")).is_some();
        if failed { StepVerdict::Failed } else { StepVerdict::Passing }
    }

    // ── words ──

    /// Of the recipients who need an outcome, how many may have one in this step.
    pub fn left(&self, left: u64) -> u64 {
        let Some(total) = self.total else { return left };
        left.min(self.reached.share.part_of(total).saturating_sub(self.counts.ended()))
    }

    /// `Step 1 of 2 (1%)`.
    fn name(&self) -> String {
        match self.step() {
            Some((at, _)) => format!("Step {} of {} ({}%)", at + 1, self.steps.len(), self.reached.share),
            None => "The rest, after the last step".to_owned(),
        }
    }

    /// Who is mailed next: `10%`, or `everybody`.
    fn next_words(&self) -> String {
        let next = self.next_share();
        if next == Percent::ALL { "everybody".to_owned() } else { format!("{next}%") }
    }

    fn sent_words(&self) -> String {
        let of = self.total.map_or_else(String::new, |total| format!(" of {}", grouped(total)));
        format!("{}: {}{of} sent", self.name(), grouped(self.counts.accepted))
    }

    /// Where it is and what comes next, in words.
    pub fn words(&self, is_stopped: bool) -> String {
        let sent = self.sent_words();
        let next = self.next_words();
        if is_stopped && self.turn != Turn::Finished {
            return format!("{sent}; stopped, and nobody else is mailed.");
        }
        match self.turn {
            Turn::Sends | Turn::Begins => {
                let pause = self.step().and_then(|(_, step)| step.pause.as_ref());
                let then = match (pause, &self.promote) {
                    _ if self.turn == Turn::Begins => format!("{next} next"),
                    (_, Some(_)) => format!("then {next}, which was already promoted"),
                    (None, None) => format!("then {next}"),
                    (Some(Pause { duration: None }), None) => "then it waits for a person".to_owned(),
                    (Some(Pause { duration: Some(duration) }), None) => format!("then it pauses for {duration}, then {next}"),
                };
                format!("{sent}; {then}.")
            }
            Turn::Pauses(until) => format!("{sent}; pauses until {}, then {next}.", clock(until)),
            Turn::Asks => format!("{sent}; waits for a person, then {next}."),
            Turn::TooFew => format!(
                "{sent}; only {} of this step have an outcome, too few to be judged (minMessages is {}); waits for a person, then {next}.",
                grouped(self.messages()),
                grouped(self.least())
            ),
            Turn::Finished => format!("{sent}; all steps are over, and everybody is mailed."),
        }
    }

    /// The same, and how a person lets it go on.
    pub fn asks(&self) -> String {
        let words = self.words(false);
        if !matches!(self.turn, Turn::Asks | Turn::TooFew) {
            return words;
        }
        format!(
            "{words} Look at what came back; `mailfleet promote {}`, or a new value of the annotation {ANNOTATION}, begins the next step.",
            self.key.as_arguments()
        )
    }

    /// What status says of it.
    pub fn status(&self, is_stopped: bool) -> RolloutStatus {
        let (steps, step) = (self.steps.len(), self.step().map_or(self.steps.len(), |(at, _)| at));
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        RolloutStatus {
            progress: self.step().map_or_else(|| "done".to_owned(), |(at, _)| format!("{}/{steps} ({}%)", at + 1, self.reached.share)),
            step: count(step + 1),
            steps: count(steps),
            percent: self.reached.share,
            state: match self.turn {
                Turn::Finished => RolloutState::Finished,
                _ if is_stopped => RolloutState::Stopped,
                Turn::Sends | Turn::Begins => RolloutState::Sending,
                Turn::Pauses(_) => RolloutState::Paused,
                Turn::TooFew | Turn::Asks => RolloutState::WaitingForPromotion,
            },
            verdict: self.verdict(),
            messages: self.messages(),
            bounced: self.reached.bounced,
            complained: self.reached.complained,
            began_at: at(self.reached.began_ms),
            pauses_until: if let Turn::Pauses(until) = self.turn { at(until) } else { None },
            last_handled_promote: self.reached.promote_handled.newest().map(str::to_owned),
            message: self.words(is_stopped),
        }
    }
}

/// A time in whole seconds, no earlier than it is.
fn at(ms: i64) -> Option<Timestamp> {
    Timestamp::from_second(ms.div_euclid(1000) + i64::from(ms.rem_euclid(1000) > 0)).ok()
}

fn clock(ms: i64) -> String {
    at(ms).map(|at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
