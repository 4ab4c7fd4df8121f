//! Whether what comes back to a server is taken. Pure.

use crate::{
    providers::webhook::Tally,
    resources::{Blocker, Condition, ConditionStatus, ConditionType, Key, Reason},
};

/// Calls that are refused are news only when none was taken for so long, milliseconds: anybody can make calls that are refused.
const QUIET_MS: i64 = 60 * 60 * 1000;

/// What is known of a server's webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookObservation {
    /// What became of its calls since the process began, or the webhook was changed; or why they are all refused.
    pub calls: Result<Tally, Blocker>,
}

impl WebhookObservation {
    /// The condition that it makes.
    #[must_use]
    pub fn condition(&self, key: &Key, now_ms: i64) -> Condition {
        match &self.calls {
            Err(blocker) => said(ConditionStatus::False, blocker.reason, blocker.message.clone()),
            Ok(tally) => of_calls(tally, key, now_ms),
        }
    }
}

fn said(status: ConditionStatus, reason: Reason, message: String) -> Condition {
    Condition::new(ConditionType::FeedbackReady, status, reason, message)
}

fn of_calls(tally: &Tally, key: &Key, now_ms: i64) -> Condition {
    let is_quiet = tally.taken_at_ms.is_none_or(|at| now_ms - at > QUIET_MS);
    let path = format!("/feedback/{}/{}", key.namespace, key.name);
    match tally.refused_why.filter(|_| is_quiet && tally.refused > 0) {
        Some(why) => {
            let message = format!(
                "Webhook requests to {path} are refused, and none was accepted in the last hour; the latest: {why}. Compare feedback.webhook with the vendor's settings; if they agree, the requests come from someone else."
            );
            said(ConditionStatus::False, Reason::WebhookRefused, message)
        }
        None if tally.taken > 0 => said(ConditionStatus::True, Reason::WebhookReceiving, "Webhook requests are accepted.".to_owned()),
        None => {
            let message =
                format!("No webhook request has arrived yet. Configure the vendor to call the public address with the path {path}.");
            said(ConditionStatus::Unknown, Reason::WebhookWaiting, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_cannot_make_a_webhook_that_works_look_broken() {
        let key = Key::new("shop", "relay");
        let reason = |tally: Tally, now_ms| WebhookObservation { calls: Ok(tally) }.condition(&key, now_ms).reason;
        let fresh = Tally::default();
        assert_eq!(reason(fresh, 0), Reason::WebhookWaiting);
        let refused = Tally { refused: 1, refused_why: Some("its signature is wrong"), ..fresh };
        assert_eq!(reason(refused, 0), Reason::WebhookRefused);
        let taken = Tally { taken: 1, taken_at_ms: Some(0), ..refused };
        assert_eq!(reason(taken, QUIET_MS), Reason::WebhookReceiving);
        assert_eq!(reason(taken, QUIET_MS + 1), Reason::WebhookRefused, "the key may have been replaced at the vendor");
        let quiet = Tally { refused: 0, refused_why: None, ..taken };
        assert_eq!(reason(quiet, QUIET_MS * 100), Reason::WebhookReceiving, "nothing was sent");
    }
}
