//! All values of one name. The text itself is the crate `prometheus`'s.
//!
//! Not `prometheus-client`: it writes OpenMetrics, where a counter's name ends with `_total`,
//! and OpenFaaS has one that does not, `gateway_function_invocation_started`.

use prometheus::{
    Error, TextEncoder,
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

/// Labels with their values.
pub(super) type Labels<'a> = &'a [(&'a str, &'a str)];

/// An exposition that grows by a family at a time, so that only one is ever held besides.
#[derive(Default)]
pub(super) struct Text(String);

/// All values of one name.
pub(super) struct Family {
    head: MetricFamily,
    metrics: Vec<Metric>,
}

// === impl Text ===

impl Text {
    /// Adds a family. One without values is left out.
    pub(super) fn add(&mut self, family: Family) -> Result<(), Error> {
        let Family { mut head, metrics } = family;
        head.set_metric(metrics);
        self.add_collected(&[head])
    }

    /// Adds what the crate `prometheus` has counted itself.
    pub(super) fn add_collected(&mut self, families: &[MetricFamily]) -> Result<(), Error> {
        for family in families {
            if !family.get_metric().is_empty() {
                TextEncoder.encode_utf8(std::slice::from_ref(family), &mut self.0)?;
            }
        }
        Ok(())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0
    }
}

// === impl Family ===

impl Family {
    pub(super) fn counters(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::COUNTER)
    }

    pub(super) fn gauges(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::GAUGE)
    }

    pub(super) fn histograms(name: &str, help: &str) -> Self {
        Self::new(name, help, MetricType::HISTOGRAM)
    }

    fn new(name: &str, help: &str, kind: MetricType) -> Self {
        let mut head = MetricFamily::default();
        head.set_name(name.to_owned());
        head.set_help(help.to_owned());
        head.set_field_type(kind);
        Self {
            head,
            metrics: Vec::new(),
        }
    }

    /// Adds a value to a family of counters.
    pub(super) fn count(&mut self, labels: Labels<'_>, value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        self.metric(labels).set_counter(counter);
    }

    /// Adds a value to a family of gauges.
    pub(super) fn gauge(&mut self, labels: Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        self.metric(labels).set_gauge(gauge);
    }

    /// Adds a histogram: for each bucket its upper bound and what is in it alone, the sum of all
    /// values, and how many are in no bucket.
    pub(super) fn histogram(
        &mut self,
        labels: Labels<'_>,
        buckets: impl Iterator<Item = (f64, u64)>,
        sum: f64,
        beyond: u64,
    ) {
        let mut count = 0;
        let buckets = buckets.map(|(bound, within)| {
            count += within;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        let mut histogram = Histogram::default();
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count + beyond);
        histogram.set_sample_sum(sum);
        self.metric(labels).set_histogram(histogram);
    }

    fn metric(&mut self, labels: Labels<'_>) -> &mut Metric {
        let labels = labels.iter().map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        });
        self.metrics.push(Metric::from_label(labels.collect()));
        let last = self.metrics.len() - 1;
        &mut self.metrics[last]
    }
}

/// A count as Prometheus has it: all its values are floats, exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}
