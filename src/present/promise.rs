//! One line on a campaign: what was promised to its recipients, and what holds of it. Pure.

use crate::{
    meta::bound::grouped,
    resources::{
        campaign::{CampaignState, CampaignStatus, WhenOutcomeIsUnknown},
        fate::Fate,
    },
};

/// `At most once (whenOutcomeIsUnknown: Skip): 19,905 accepted once; 95 rejected: --only Rejected names them; 100 left.`
///
/// `campaign` is what names it on a command line.
pub fn promise(status: &CampaignStatus, campaign: &str) -> String {
    let counts = &status.recipients;
    let mut parts = vec![format!("{} accepted{}", grouped(counts.accepted), if counts.resent == 0 { " once" } else { "" })];
    if counts.resent > 0 {
        parts.push(format!("{} sent again after an unknown outcome, perhaps received twice", grouped(counts.resent)));
    }
    let rows = if counts.bad_rows == 1 { "bad row" } else { "bad rows" };
    let unknown = format!("unknown, not sent again until `mailfleet resume {campaign} --unknown Resend`");
    let held = format!("held, not mailed until `mailfleet resume {campaign}`");
    // Whoever was not mailed is named, whatever the reason.
    let what = |fate| match fate {
        Fate::Accepted | Fate::Claimed | Fate::Deferred => None,
        Fate::Unknown => Some(&*unknown),
        Fate::Held => Some(&*held),
        Fate::Rejected => Some("rejected"),
        Fate::Expired => Some("given up after all attempts"),
        Fate::RenderFailed => Some("not mailed, the template failed"),
        Fate::Withdrawn => Some("not mailed, removed from the audience"),
        Fate::Suppressed => Some("not mailed, on the suppression list"),
    };
    let mut named = |count: u64, what: &str, option: &str| {
        if count > 0 {
            let names = if count == 1 { "names it" } else { "names them" };
            parts.push(format!("{} {what}: {option} {names}", grouped(count)));
        }
    };
    for fate in Fate::ALL {
        if let Some(what) = what(fate) {
            named(counts.of(fate), what, &format!("--only {}", fate.as_str()));
        }
    }
    named(counts.bad_rows, rows, "--problems");
    if counts.excluded > 0 {
        parts.push(format!("{} excluded (audience.exclude)", grouped(counts.excluded)));
    }
    if status.state != CampaignState::Completed {
        parts.push(status.total().map_or_else(
            || "the rest is not counted yet".to_owned(),
            |(total, is_estimate)| {
                let left = total.saturating_sub(counts.ended().saturating_sub(counts.withdrawn) + counts.held);
                format!("{}{} left", if is_estimate { "~" } else { "" }, grouped(left))
            },
        ));
    }
    let promised = match status.effective.when_outcome_is_unknown {
        WhenOutcomeIsUnknown::Skip => "At most once (whenOutcomeIsUnknown: Skip)",
        WhenOutcomeIsUnknown::Resend => "At least once (whenOutcomeIsUnknown: Resend)",
    };
    format!("{promised}: {}.", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(state: &str, rule: &str, more: &Value, counts: &Value) -> CampaignStatus {
        let mut recipients = json!({"resent": 0, "duplicates": 0, "badRows": 0});
        let mut status = json!({
            "observedGeneration": 1, "state": state, "run": "first", "servers": [], "conditions": [],
            "effective": {
                "weighting": "Strict", "whenNoServerIsActive": "Stop", "whenOutcomeIsUnknown": rule, "maxRenderErrors": 100,
                "retry": {"attempts": 5, "initialDelay": "1m", "deadline": "120h"},
            },
        });
        for (of, with) in [(&mut recipients, counts), (&mut status, more)] {
            of.as_object_mut().expect("an object").extend(with.as_object().expect("an object").clone());
        }
        status["recipients"] = recipients;
        serde_json::from_value(status).expect("a status")
    }

    #[test]
    fn it_says_what_was_promised_and_what_holds() {
        for (state, rule, more, counts, expected) in [
            (
                "Completed",
                "Skip",
                json!({}),
                json!({"total": 20_000, "accepted": 19_904, "unknown": 95, "suppressed": 1}),
                "At most once (whenOutcomeIsUnknown: Skip): 19,904 accepted once; 95 unknown, not sent again until `mailfleet resume spring -n shop --unknown Resend`: --only Unknown names them; 1 not mailed, on the suppression list: --only Suppressed names it.",
            ),
            (
                "Completed",
                "Resend",
                json!({}),
                json!({"total": 2000, "accepted": 1999, "resent": 95, "rejected": 1, "badRows": 2, "excluded": 1200}),
                "At least once (whenOutcomeIsUnknown: Resend): 1,999 accepted; 95 sent again after an unknown outcome, perhaps received twice; 1 rejected: --only Rejected names it; 2 bad rows: --problems names them; 1,200 excluded (audience.exclude).",
            ),
            (
                "Sending",
                "Skip",
                json!({"expectedTotal": 60_000, "expectedTotalIsEstimate": true}),
                json!({"accepted": 1710, "held": 10, "renderFailed": 1, "badRows": 1}),
                "At most once (whenOutcomeIsUnknown: Skip): 1,710 accepted once; 1 not mailed, the template failed: --only RenderFailed names it; 10 held, not mailed until `mailfleet resume spring -n shop`: --only Held names them; 1 bad row: --problems names it; ~58,279 left.",
            ),
            (
                "Scheduled",
                "Skip",
                json!({}),
                json!({}),
                "At most once (whenOutcomeIsUnknown: Skip): 0 accepted once; the rest is not counted yet.",
            ),
        ] {
            assert_eq!(promise(&status(state, rule, &more, &counts), "spring -n shop"), expected);
        }
    }
}
