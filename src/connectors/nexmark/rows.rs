//! Nexmark events → columns. Which event is which row, and which of its fields go where.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, Int64Builder, RecordBatch, RecordBatchOptions, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, SchemaRef, TimeUnit};
use nexmark::EventGenerator;
use nexmark::event::{Event, EventType};

use super::Stream;
use crate::ConnectorError;
use crate::format::rows::type_name;
use crate::generator::RowGenerator;

/// What a column takes from an event of the source's type.
#[derive(Debug, Clone, Copy)]
pub(super) enum Column {
    Number(fn(&Event) -> usize),
    Text(fn(&Event) -> &str),
    /// When the event happens.
    Time,
    /// When the auction ends.
    Expires,
}

use Column::{Expires, Number, Text, Time};

macro_rules! field {
    ($kind:ident $variant:ident . $field:ident) => {
        $kind(|event| match event {
            Event::$variant(event) => field!(@$kind event.$field),
            _ => unreachable!("the generator makes one type of event"),
        })
    };
    (@Number $value:expr) => { $value };
    (@Text $value:expr) => { $value.as_str() };
}

const PERSON: &[(&str, Column)] = &[
    ("id", field!(Number Person.id)),
    ("name", field!(Text Person.name)),
    ("emailAddress", field!(Text Person.email_address)),
    ("creditCard", field!(Text Person.credit_card)),
    ("city", field!(Text Person.city)),
    ("state", field!(Text Person.state)),
    ("dateTime", Time),
    ("extra", field!(Text Person.extra)),
];
const AUCTION: &[(&str, Column)] = &[
    ("id", field!(Number Auction.id)),
    ("itemName", field!(Text Auction.item_name)),
    ("description", field!(Text Auction.description)),
    ("initialBid", field!(Number Auction.initial_bid)),
    ("reserve", field!(Number Auction.reserve)),
    ("dateTime", Time),
    ("expires", Expires),
    ("seller", field!(Number Auction.seller)),
    ("category", field!(Number Auction.category)),
    ("extra", field!(Text Auction.extra)),
];
const BID: &[(&str, Column)] = &[
    ("auction", field!(Number Bid.auction)),
    ("bidder", field!(Number Bid.bidder)),
    ("price", field!(Number Bid.price)),
    ("channel", field!(Text Bid.channel)),
    ("url", field!(Text Bid.url)),
    ("dateTime", Time),
    ("extra", field!(Text Bid.extra)),
];

fn fields(event_type: EventType) -> &'static [(&'static str, Column)] {
    match event_type {
        EventType::Person => PERSON,
        EventType::Auction => AUCTION,
        EventType::Bid => BID,
    }
}

/// `dateTime`, `date_time` and `datetime` are one name.
fn folded(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

impl Column {
    pub fn of_field(event_type: EventType, field: &Field) -> Result<Self, ConnectorError> {
        let known = fields(event_type);
        let at = known.iter().position(|(name, _)| folded(name) == folded(field.name()));
        let error = |expected: &str| ConnectorError::ColumnType {
            column: field.name().clone(),
            data_type: type_name(field.data_type()),
            expected: expected.into(),
        };
        let Some(at) = at else {
            return Err(ConnectorError::MissingColumn {
                column: field.name().clone(),
                path: format!("nexmark {event_type:?}"),
                found: known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
            });
        };
        let (fits, expected) = match known[at].1 {
            Number(_) => (*field.data_type() == DataType::Int64, "bigint"),
            Text(_) => (*field.data_type() == DataType::Utf8, "varchar"),
            Time | Expires => (matches!(field.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)), "timestamp"),
        };
        if fits { Ok(known[at].1) } else { Err(error(expected)) }
    }
}

pub(super) struct EventRows {
    stream: Stream,
    generator: EventGenerator,
    columns: Vec<Column>,
    schema: SchemaRef,
}

impl EventRows {
    pub fn new(stream: Stream, columns: Vec<Column>, schema: SchemaRef) -> Self {
        let generator = EventGenerator::new(stream.config.clone()).with_type_filter(stream.event_type);
        EventRows { generator: generator.with_step(stream.splits), stream, columns, schema }
    }

    /// Events per round, how many of them are ours, and how many come before ours.
    fn shares(&self) -> (u64, u64, u64) {
        let config = &self.stream.config;
        let (persons, auctions, bids) = (config.person_proportion, config.auction_proportion, config.bid_proportion);
        let (own, before) = match self.stream.event_type {
            EventType::Person => (persons, 0),
            EventType::Auction => (auctions, persons),
            EventType::Bid => (bids, persons + auctions),
        };
        ((persons + auctions + bids) as u64, own as u64, before as u64)
    }

    /// Event time of an event, microseconds; whole milliseconds after the base.
    fn time_us(&self, event: u64) -> i64 {
        let offset_ms = (u128::from(event) * u128::from(self.stream.interval_ns) + 500_000) / 1_000_000;
        self.stream.base_time_us.saturating_add(i64::try_from(offset_ms * 1_000).unwrap_or(i64::MAX))
    }
}

impl RowGenerator for EventRows {
    fn generate(&mut self, split: u64, from: u64, to: u64) -> RecordBatch {
        let rows = (to - from) as usize;
        let mut builders: Vec<Builder> =
            self.schema.fields().iter().map(|f| Builder::new(f.data_type(), rows)).collect();
        let events = self.generator.clone().with_offset(split + from * self.stream.splits);
        for (row, event) in (from..to).zip(events) {
            let time_us = self.time_us(self.event_of(split, row));
            for (builder, column) in builders.iter_mut().zip(&self.columns) {
                builder.push(*column, &event, time_us);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let arrays = builders.into_iter().map(Builder::finish).collect();
        RecordBatch::try_new_with_options(self.schema.clone(), arrays, &options)
            .expect("builders have the types of the schema")
    }

    fn event_of(&self, split: u64, row: u64) -> u64 {
        let (round, own, before) = self.shares();
        let nth = split.saturating_add(row.saturating_mul(self.stream.splits));
        (nth / own).saturating_mul(round).saturating_add(before + nth % own)
    }

    fn rows_before(&self, split: u64, event: u64) -> u64 {
        let (round, own, before) = self.shares();
        let ours = event / round * own + (event % round).saturating_sub(before).min(own);
        ours.saturating_sub(split).div_ceil(self.stream.splits)
    }
}

enum Builder {
    Number(Int64Builder),
    Text(StringBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl Builder {
    fn new(data_type: &DataType, rows: usize) -> Self {
        match data_type {
            DataType::Utf8 => Builder::Text(StringBuilder::with_capacity(rows, rows * 32)),
            DataType::Timestamp(..) => {
                Builder::Time(TimestampMicrosecondBuilder::with_capacity(rows).with_data_type(data_type.clone()))
            }
            _ => Builder::Number(Int64Builder::with_capacity(rows)),
        }
    }

    fn push(&mut self, column: Column, event: &Event, time_us: i64) {
        match (self, column) {
            (Builder::Number(builder), Number(get)) => builder.append_value(get(event) as i64),
            (Builder::Text(builder), Text(get)) => builder.append_value(get(event)),
            (Builder::Time(builder), Time) => builder.append_value(time_us),
            (Builder::Time(builder), Expires) => builder.append_value(time_us.saturating_add(length_us(event))),
            _ => unreachable!("types were checked when the source was configured"),
        }
    }

    fn finish(self) -> arrow::array::ArrayRef {
        match self {
            Builder::Number(mut builder) => ArrayBuilder::finish(&mut builder),
            Builder::Text(mut builder) => Arc::new(builder.finish()),
            Builder::Time(mut builder) => Arc::new(builder.finish()),
        }
    }
}

/// How long an auction lasts. The generator's own times only agree with ours up to rounding; this difference counts.
fn length_us(event: &Event) -> i64 {
    match event {
        Event::Auction(auction) => auction.expires.saturating_sub(auction.date_time) as i64 * 1_000,
        Event::Person(_) | Event::Bid(_) => unreachable!("only auctions expire"),
    }
}
