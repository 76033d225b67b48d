//! Samples → Prometheus (OpenMetrics) text.

use std::collections::BTreeMap;
use std::fmt;

use engine::{MetricKind, MetricSample};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text of one scrape: families by name, samples of a family in the order given.
pub fn render(samples: Vec<MetricSample>) -> String {
    let mut families: BTreeMap<&'static str, Vec<MetricSample>> = BTreeMap::new();
    for sample in samples {
        families.entry(sample.name).or_default().push(sample);
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("strings grow");
    text
}

#[derive(Debug)]
struct Families(BTreeMap<&'static str, Vec<MetricSample>>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for (name, samples) in &self.0 {
            let first = samples.first().expect("a family has a sample");
            // The encoder itself appends `_total` to counters.
            let (name, kind) = match first.kind {
                MetricKind::Counter => (name.strip_suffix("_total").unwrap_or(name), MetricType::Counter),
                MetricKind::Gauge => (*name, MetricType::Gauge),
            };
            let mut family = encoder.encode_descriptor(name, first.help, None, kind)?;
            for sample in samples {
                if sample.labels.is_empty() {
                    encode_value(&mut family, sample)?;
                } else {
                    encode_value(&mut family.encode_family(&sample.labels)?, sample)?;
                }
            }
        }
        Ok(())
    }
}

fn encode_value(metric: &mut MetricEncoder<'_>, sample: &MetricSample) -> Result<(), fmt::Error> {
    match sample.kind {
        MetricKind::Counter => metric.encode_counter::<NoLabelSet, f64, u64>(&sample.value, None),
        MetricKind::Gauge => metric.encode_gauge(&sample.value),
    }
}
