//! Connector `nexmark`: the auction benchmark's stream (persons, auctions, bids), one table per source.
//! Options carry RisingWave's names; the event data are those of the crate `nexmark` with `state` in upper case.
//!
//! The stream is one sequence of events; a source holds those of its type, dealt out to its splits in turn. A position
//! is a row number within the split. Event n happens at base time + n × interval. A paced stream starts its event time
//! at CREATE, which is written into the resolved options, so that every later reader sees the same times.

mod rows;

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use nexmark::config::NexmarkConfig;
use nexmark::event::EventType;

use crate::generator::{self, GeneratorPlan, GeneratorReader, Pace};
use crate::options::OptionBag;
use crate::{ConnectorError, OpenRequest, SourceConfig, SourceReader};
use rows::{Column, EventRows};

/// 2024-01-01 00:00:00 UTC.
const BASE_TIME_US: i64 = 1_704_067_200_000_000;
/// 10,000 events a second, as RisingWave has it.
const GAP_NS: u64 = 100_000;
const CHUNK_ROWS: u64 = 8_192;
const SPLITS_MAX: u64 = 1_024;

#[derive(Debug, Clone)]
pub(crate) struct NexmarkSource {
    schema: SchemaRef,
    columns: Vec<Column>,
    events: Option<u64>,
    pace: Option<Pace>,
    chunk_rows: u64,
    stream: Stream,
}

/// Which events, and what is in them.
#[derive(Debug, Clone)]
struct Stream {
    event_type: EventType,
    splits: u64,
    base_time_us: i64,
    interval_ns: u64,
    config: NexmarkConfig,
}

impl NexmarkSource {
    /// Takes the options; adds to `resolved` those whose default depends on the moment of creation.
    pub fn take(
        bag: &mut OptionBag,
        schema: SchemaRef,
        resolved: &mut Vec<(String, String)>,
    ) -> Result<Self, ConnectorError> {
        use EventType::*;
        let table = bag.choice("nexmark.table.type", &[("Person", Person), ("Auction", Auction), ("Bid", Bid)])?;
        let missing = || {
            let (connector, name) = (bag.connector().to_string(), "nexmark.table.type".to_string());
            ConnectorError::MissingOption { connector, name }
        };
        let event_type = table.ok_or_else(missing)?;
        let events = bag.integer("nexmark.event.num")?.and_then(|n| u64::try_from(n).ok());
        let splits = bag.parsed("nexmark.split.num", "an integer from 1 to 1024", |v| {
            v.parse().ok().filter(|n| (1..=SPLITS_MAX).contains(n))
        })?;
        let gap_ns = bag.integer_from("nexmark.min.event.gap.in.ns", 0)?;
        let rate = bag.parsed("nexmark.rate", "events per second, from 1 to 1000000000", |v| {
            v.parse::<u64>().ok().filter(|n| (1..=1_000_000_000).contains(n))
        })?;
        // Who limits the number wants them all; who doesn't wants a stream.
        let default_gap_ns = if events.is_some() { 0 } else { GAP_NS };
        let gap_ns = rate.map(|rate| 1_000_000_000 / rate).or(gap_ns).unwrap_or(default_gap_ns);
        let interval = bag.duration_us("nexmark.event.interval")?;
        let interval_ns = match interval {
            Some(interval_us) => interval_us.unsigned_abs().saturating_mul(1_000),
            None if gap_ns > 0 => gap_ns,
            None => GAP_NS,
        };
        let base_time_us = generator::resolved_time(bag, "nexmark.base.time", gap_ns > 0, BASE_TIME_US, resolved)?;
        let start_us = generator::resolved_time(bag, "nexmark.start.time", gap_ns > 0, 0, resolved)?;
        let pace = (gap_ns > 0).then_some(Pace { start_us, gap_ns });
        let chunk_rows = bag.integer_from("nexmark.max.chunk.size", 1)?.unwrap_or(CHUNK_ROWS);
        let config = take_config(bag, interval_ns)?;
        let columns = schema.fields().iter().map(|f| Column::of_field(event_type, f)).collect::<Result<_, _>>()?;
        let stream = Stream { event_type, splits: splits.unwrap_or(1), base_time_us, interval_ns, config };
        Ok(NexmarkSource { schema, columns, events, pace, chunk_rows: chunk_rows.min(65_536), stream })
    }
}

/// The options that shape the data.
fn take_config(bag: &mut OptionBag, interval_ns: u64) -> Result<NexmarkConfig, ConnectorError> {
    let mut config = NexmarkConfig::default();
    let fields: [(&str, &mut usize); 18] = [
        ("nexmark.active.people", &mut config.active_people),
        ("nexmark.in.flight.auctions", &mut config.in_flight_auctions),
        ("nexmark.avg.person.byte.size", &mut config.avg_person_byte_size),
        ("nexmark.avg.auction.byte.size", &mut config.avg_auction_byte_size),
        ("nexmark.avg.bid.byte.size", &mut config.avg_bid_byte_size),
        ("nexmark.hot.seller.ratio", &mut config.hot_seller_ratio),
        ("nexmark.hot.auction.ratio", &mut config.hot_auction_ratio),
        ("nexmark.hot.bidder.ratio", &mut config.hot_bidder_ratio),
        ("nexmark.hot.channel.ratio", &mut config.hot_channel_ratio),
        ("nexmark.num.categories", &mut config.num_categories),
        ("nexmark.auction.id.lead", &mut config.auction_id_lead),
        ("nexmark.person.id.lead", &mut config.person_id_lead),
        ("nexmark.person.proportion", &mut config.person_proportion),
        ("nexmark.auction.proportion", &mut config.auction_proportion),
        ("nexmark.bid.proportion", &mut config.bid_proportion),
        ("nexmark.first.auction.id", &mut config.first_auction_id),
        ("nexmark.first.person.id", &mut config.first_person_id),
        ("nexmark.first.category.id", &mut config.first_category_id),
    ];
    for (name, field) in fields {
        let value = bag
            .parsed(name, "an integer from 1 to 1000000", |v| v.parse().ok().filter(|n| (1..=1_000_000).contains(n)))?;
        *field = value.unwrap_or(*field);
    }
    // Times are computed exactly in `rows`; the crate's are only compared with each other, and start from 0.
    config.base_time = 0;
    config.us_per_unit = usize::try_from(interval_ns).unwrap_or(usize::MAX).max(1);
    (config.first_rate, config.next_rate) = (1_000, 1_000);
    config.us_states.iter_mut().for_each(|state| state.make_ascii_uppercase());
    Ok(config)
}

impl SourceConfig for NexmarkSource {
    fn connector(&self) -> &str {
        "nexmark"
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn bounded(&self) -> bool {
        self.events.is_some()
    }

    fn validate(&self) -> Result<(), ConnectorError> {
        Ok(())
    }

    fn open(&self, request: OpenRequest) -> Result<Box<dyn SourceReader>, ConnectorError> {
        let columns = request.projection.iter().map(|column| self.columns[*column]).collect();
        let schema = Arc::new(self.schema.project(&request.projection).expect("columns of the schema"));
        let plan = GeneratorPlan {
            generator: EventRows::new(self.stream.clone(), columns, schema),
            splits: self.stream.splits,
            events: self.events,
            pace: self.pace,
            chunk_rows: self.chunk_rows,
        };
        Ok(Box::new(GeneratorReader::open(plan, &request)?))
    }
}

#[cfg(test)]
mod tests;
