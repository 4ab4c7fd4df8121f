//! Why a run stops or does not complete though nothing is wrong with its servers: rows and templates. Pure.

use super::CampaignRun;
use crate::resources::{
    Blocker, CountOrPercent, Reason,
    bound::{counted, grouped},
    campaign::{WhenRenderFails, WhenRowIsBad},
};

impl CampaignRun {
    /// The blocker if more templates have failed so far than the campaign allows.
    #[must_use]
    pub fn too_many_render_errors(&self) -> Option<Blocker> {
        let failed = self.tally.render_failed_so_far();
        if failed == 0 {
            return None;
        }
        let (met, max) = (self.tally.met() + self.backlog.messages as u64, self.intent.work.max_render_errors);
        max.is_exceeded_so_far(failed, met).then(|| self.render_errors_over(max, failed, met))
    }

    fn render_errors_over(&self, max: CountOrPercent, failed: u64, met: u64) -> Blocker {
        let message = format!(
            "The templates failed for {} of {} recipients, and content.maxRenderErrors is {max}; the last error: {}. Fix the template or the data, or raise content.maxRenderErrors; these recipients and the rest are then mailed.",
            grouped(failed),
            grouped(met),
            self.tally.last_render_error
        );
        Blocker::lasting(Reason::TooManyRenderErrors, message)
    }

    /// Why a run does not complete though nothing of it is in progress: rows or templates that a person has to fix, or accept.
    #[must_use]
    pub fn unfinished(&self) -> Option<Blocker> {
        self.has_bad_rows().or_else(|| self.has_failed_templates())
    }

    fn has_bad_rows(&self) -> Option<Blocker> {
        let (work, bad) = (&self.intent.work, self.tally.counts.bad_rows);
        if bad == 0 {
            return None;
        }
        let all = self.tally.counts.total.unwrap_or(0) + self.tally.counts.duplicates + self.tally.counts.excluded + bad;
        let named = &self.audience.bad_rows_named;
        let command = format!("`mailfleet get campaigns {} --problems`", self.key.as_arguments());
        if work.when_row_is_bad == WhenRowIsBad::Stop {
            let message = format!(
                "{} could not be used: {named}. All other recipients have an outcome. Fix the audience, and exactly these are mailed; or set audience.whenRowIsBad to Skip to complete without them. {command} names them.",
                counted(bad, "row of the audience", "rows of the audience")
            );
            return Some(Blocker::lasting(Reason::BadRows, message));
        }
        work.max_bad_rows.is_exceeded(bad, all).then(|| {
            let message = format!(
                "{} of {} rows of the audience could not be used, and audience.maxBadRows is {}: {named}. Fix them, or raise audience.maxBadRows; exactly their recipients are then mailed. {command} names them.",
                grouped(bad),
                grouped(all),
                work.max_bad_rows
            );
            Blocker::lasting(Reason::TooManyBadRows, message)
        })
    }

    fn has_failed_templates(&self) -> Option<Blocker> {
        let (work, failed) = (&self.intent.work, self.tally.counts.render_failed);
        if failed == 0 {
            return None;
        }
        if work.when_render_fails == WhenRenderFails::Stop {
            let message = format!(
                "The template failed for {}, who got nothing; the last error: {}. All other recipients have an outcome. Fix the template or the data, and exactly these are mailed; or set content.whenRenderFails to Skip to complete without them. `mailfleet get campaigns {} --recipients` shows them as RenderFailed.",
                counted(failed, "recipient", "recipients"),
                self.tally.last_render_error,
                self.key.as_arguments()
            );
            return Some(Blocker::lasting(Reason::RenderFailed, message));
        }
        let (met, max) = (self.tally.met(), work.max_render_errors);
        max.is_exceeded(failed, met).then(|| self.render_errors_over(max, failed, met))
    }
}
