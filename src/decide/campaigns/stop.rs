//! Whether too much of a campaign comes back. Pure.

use crate::{
    feedback::Judged,
    resources::{Blocker, Key, Percent, Reason, stop_when::EffectiveStopWhen},
};

/// Why the run stops, if it does. `around`: what is said before, of what is judged, and after, of whom else that concerns.
pub(super) fn judge(key: &Key, judged: Judged, stop: &EffectiveStopWhen, around: (&str, &str)) -> Option<Blocker> {
    let (head, others) = around;
    let Judged { accepted, rejected, bounced, complained } = judged;
    let ended = accepted + rejected;
    if ended < stop.after_messages {
        return None;
    }
    let resume = format!("run `mailfleet resume {}`, which continues the run and judges it anew from then on", key.as_arguments());
    let failed = rejected + bounced;
    if stop.bounce_percent.is_exceeded(failed, ended) {
        let share = Percent::share(failed, ended);
        let message = format!(
            "{head}{share}% of {ended} recipients cannot be reached ({rejected} rejected, {bounced} bounced); stopWhen.bouncePercent is {}. Nothing more is sent: mailbox providers block senders of such lists.{others} Clean the audience, then {resume}. `mailfleet get campaigns {} --recipients --only Rejected` shows the replies.",
            stop.bounce_percent,
            key.as_arguments()
        );
        return Some(Blocker::lasting(Reason::BounceRateTooHigh, message));
    }
    stop.complaint_percent.is_exceeded(complained, accepted).then(|| {
        let share = Percent::share(complained, accepted);
        let message = format!(
            "{head}{share}% of {accepted} recipients reported the message as spam ({complained}); stopWhen.complaintPercent is {}. Nothing more is sent.{others} Check whether these people asked for it, and how they can unsubscribe; then {resume}.",
            stop.complaint_percent
        );
        Blocker::lasting(Reason::ComplaintRateTooHigh, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::stop_when::StopWhen;

    fn told(judged: (u64, u64, u64, u64), stop: &StopWhen) -> Option<(Reason, String)> {
        let (accepted, rejected, bounced, complained) = judged;
        let judged = Judged { accepted, rejected, bounced, complained };
        judge(&Key::new("shop", "spring"), judged, &stop.effective(), ("", "")).map(|blocker| (blocker.reason, blocker.message))
    }

    #[test]
    fn thresholds_are_judged_from_enough_messages_on() {
        let defaults = StopWhen::default();
        for well in [(0, 0, 0, 0), (0, 199, 0, 0), (180, 20, 0, 0), (190, 10, 10, 0), (1_000, 0, 0, 3), (5, 0, 0, 5)] {
            assert_eq!(told(well, &defaults), None, "{well:?}");
        }
        let (reason, message) = told((179, 21, 0, 0), &defaults).expect("too many");
        assert_eq!(reason, Reason::BounceRateTooHigh);
        assert!(message.starts_with("10.5% of 200 recipients cannot be reached (21 rejected, 0 bounced)"), "{message}");
        assert!(message.contains("`mailfleet resume spring -n shop`"), "{message}");
        assert_eq!(told((190, 10, 11, 0), &defaults).expect("too many").0, Reason::BounceRateTooHigh);
        let (reason, message) = told((1_000, 0, 0, 4), &defaults).expect("too many");
        assert!(reason == Reason::ComplaintRateTooHigh && message.starts_with("0.4% of 1000 recipients reported"), "{message}");
        let percent = |text: &str| Some(Percent::parse(text).expect("good"));
        let never = StopWhen { bounce_percent: percent("100"), complaint_percent: percent("100"), after_messages: Some(1) };
        assert_eq!(told((0, 500, 0, 0), &never), None);
        let strict = StopWhen { bounce_percent: percent("0"), after_messages: Some(1), ..StopWhen::default() };
        assert!(told((9, 1, 0, 0), &strict).is_some() && told((9, 0, 0, 0), &strict).is_none());
    }
}
