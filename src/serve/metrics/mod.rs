//! The metrics, made from what the engine shows when somebody asks: nothing is counted twice, so they say what statuses say.
//!
//! `catalog` is the table of all of them; `process`, `servers` and `campaigns` write their series, by way of `writing`; `answer` is the
//! response to a scrape. The number of series has a bound: beyond it, objects are counted in `mailfleet_objects_left_out` and not shown
//! one by one.

mod answer;
mod campaigns;
mod catalog;
mod process;
mod servers;
mod writing;

use std::{fmt, time::SystemTime};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, prometheus_text, text},
    registry::Registry,
};

pub(super) use answer::answer;
pub use catalog::{Kind, METRICS, Metric};

use self::{process::Usage, writing::Writer};
use super::{Health, ProcessPhase, disk::DiskUsage};
use crate::engine::View;

/// Servers that have series of their own.
const SERVERS_MAX: usize = 5000;
/// Plans that have series of their own.
const PLANS_MAX: usize = 1000;
/// Campaigns that have series of their own: those that have not ended come first.
const CAMPAIGNS_MAX: usize = 1000;

/// The two text forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus 0.0.4.
    Text,
}

/// What is shown of one moment.
pub(super) struct Moment {
    phase: ProcessPhase,
    view: View,
    disk: Option<DiskUsage>,
    usage: Option<Usage>,
    started_at: SystemTime,
    now: SystemTime,
}

impl Moment {
    /// Now.
    fn of(health: &Health) -> Self {
        Self {
            phase: health.phase(),
            view: health.view(),
            disk: health.disk(),
            usage: Some(Usage::now()),
            started_at: health.started_at(),
            now: SystemTime::now(),
        }
    }

    /// The whole text.
    fn text(self, format: Format) -> Result<String, fmt::Error> {
        let moment = std::sync::Arc::new(self);
        let mut ours = Registry::with_prefix(catalog::PREFIX);
        ours.register_collector(Box::new(Part { moment: moment.clone(), write: Moment::ours }));
        let mut common = Registry::default();
        common.register_collector(Box::new(Part { moment, write: Moment::common }));
        let mut written = String::new();
        for registry in [&ours, &common] {
            match format {
                Format::OpenMetrics => text::encode_registry(&mut written, registry)?,
                Format::Text => prometheus_text::encode(&mut written, registry)?,
            }
        }
        if format == Format::OpenMetrics {
            text::encode_eof(&mut written)?;
        }
        Ok(written)
    }

    fn ours(&self, writer: &mut Writer) -> fmt::Result {
        self.process(writer)?;
        self.deciding(writer)?;
        self.ledger(writer)?;
        self.servers(writer)?;
        self.plans(writer)?;
        self.campaigns(writer)
    }

    /// Objects without series of their own, by kind.
    fn left_out(&self) -> [(&'static str, usize); 3] {
        let decision = &self.view.decision;
        let campaigns = self.shown_campaigns().len();
        [
            ("SendingServer", decision.servers.len().saturating_sub(SERVERS_MAX)),
            ("Plan", decision.plans.len().saturating_sub(PLANS_MAX)),
            ("Campaign", decision.campaigns.len() - campaigns),
        ]
    }
}

/// A part of what is shown, as a registry takes it.
struct Part {
    moment: std::sync::Arc<Moment>,
    write: fn(&Moment, &mut Writer) -> fmt::Result,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

impl Collector for Part {
    fn encode(&self, encoder: DescriptorEncoder) -> fmt::Result {
        (self.write)(&self.moment, &mut Writer(encoder))
    }
}

#[cfg(test)]
mod tests;
