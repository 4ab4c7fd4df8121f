//! Writes the metrics of the table: their descriptions, and their series with labels.

use std::fmt;

use prometheus_client::{
    encoding::{
        DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabel as _, EncodeLabelSet, LabelSetEncoder, MetricEncoder,
        NoLabelSet,
    },
    metrics::exemplar::Exemplar,
};

use super::catalog::Metric;
use crate::report::Timing;

/// Where metrics are written to. Each is begun once, with all of its series after it.
pub(super) struct Writer<'a>(pub(super) DescriptorEncoder<'a>);

impl Writer<'_> {
    /// Begins a metric.
    pub(super) fn begin(&mut self, metric: &'static Metric) -> Result<Family<'_>, fmt::Error> {
        let encoder = self.0.encode_descriptor(metric.name, metric.help, metric.suffix(), metric.kind.in_text())?;
        Ok(Family { encoder, labels: metric.labels })
    }

    /// Writes a gauge that has one series.
    pub(super) fn gauge(&mut self, metric: &'static Metric, value: impl EncodeGaugeValue) -> fmt::Result {
        self.begin(metric)?.gauge(&[], value)
    }
}

/// A metric whose series are being written.
pub(super) struct Family<'a> {
    encoder: MetricEncoder<'a>,
    labels: &'static [&'static str],
}

impl Family<'_> {
    /// A series of a gauge; `values` are those of its labels, in the order of the table.
    pub(super) fn gauge(&mut self, values: &[&str], value: impl EncodeGaugeValue) -> fmt::Result {
        let labels = Labels { names: self.labels, values };
        self.encoder.encode_family(&labels)?.encode_gauge(&value)
    }

    /// One series for each of these words, 1 for the one that holds, after the labels that they share.
    pub(super) fn one_of<'w>(&mut self, shared: &[&'w str], words: impl IntoIterator<Item = (&'w str, bool)>) -> fmt::Result {
        let mut values: Vec<&str> = shared.to_vec();
        for (word, holds) in words {
            values.truncate(shared.len());
            values.push(word);
            self.gauge(&values, u32::from(holds))?;
        }
        Ok(())
    }

    /// A series of a counter.
    pub(super) fn counter(&mut self, values: &[&str], value: impl EncodeCounterValue) -> fmt::Result {
        let labels = Labels { names: self.labels, values };
        self.encoder.encode_family(&labels)?.encode_counter(&value, None::<&Exemplar<NoLabelSet, u64>>)
    }

    /// The series of a histogram.
    pub(super) fn histogram(&mut self, values: &[&str], timing: &Timing) -> fmt::Result {
        let labels = Labels { names: self.labels, values };
        let buckets: Vec<(f64, u64)> = timing.buckets().collect();
        self.encoder.encode_family(&labels)?.encode_histogram::<NoLabelSet>(timing.seconds(), timing.count(), &buckets, None)
    }

    /// Texts.
    pub(super) fn info(&mut self, values: &[&str]) -> fmt::Result {
        self.encoder.encode_info(&Labels { names: self.labels, values })
    }
}

/// The labels of one series.
struct Labels<'a> {
    names: &'static [&'static str],
    values: &'a [&'a str],
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        debug_assert_eq!(self.names.len(), self.values.len());
        self.names.iter().copied().zip(self.values.iter().copied()).try_for_each(|label| label.encode(encoder.encode_label()))
    }
}
