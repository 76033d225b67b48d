//! Keeps what is left out of a source in the tables that `late_rows` and `dead_letter` name.
//!
//! The chunk that leaves rows out feeds them to those tables in its own epoch. So table and source are always seen at
//! the same instant, their state and the source's offsets lie in the same checkpoint, and a repeated step brings the
//! same rows again, with their times: each row is there exactly once without being journaled. Only the shared feed
//! keeps; later views, which read the source's history, decide nothing and keep nothing.
//!
//! A source that keeps decodes all its columns for every reader, so that late rows are kept whole. Table definitions:
//! `statements/keeping_tables.rs`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, SchemaRef};
use catalog::{Catalog, CatalogObject, SourceBody};
use dataflow::FeedBatch;
use types::{DeltaBatch, ObjectId};

use crate::left_out::LeftOut;
use crate::logged::LoggedSteps;

/// Where one source's left-out rows go.
#[derive(Debug)]
pub struct Keeper {
    source: String,
    late_rows: Option<KeepingTable>,
    dead_letter: Option<KeepingTable>,
}

#[derive(Debug)]
struct KeepingTable {
    id: ObjectId,
    schema: SchemaRef,
}

/// Rows on their way into a table: all its columns but the last, and when each row was seen if that is known already.
pub struct KeptRows {
    table: ObjectId,
    schema: SchemaRef,
    columns: Vec<ArrayRef>,
    seen_us: Vec<Option<i64>>,
}

impl Keeper {
    /// `None` for a source that keeps nothing.
    pub fn of(source: &CatalogObject, body: &SourceBody, catalog: &Catalog) -> Option<Arc<Keeper>> {
        let table = |id: Option<ObjectId>| {
            let object = catalog.get(id?).expect("a source depends on the tables that it names");
            Some(KeepingTable { id: object.id, schema: object.arrow_schema() })
        };
        let (late_rows, dead_letter) = (table(body.keeps.late_rows), table(body.keeps.dead_letter));
        let any = late_rows.is_some() || dead_letter.is_some();
        any.then(|| Arc::new(Keeper { source: source.name.clone(), late_rows, dead_letter }))
    }

    /// Rows for the tables. `logged`: the steps that are being repeated.
    pub fn keep(&self, left_out: &LeftOut, logged: Option<&LoggedSteps>) -> Vec<KeptRows> {
        let seen = |position: &u64| logged.and_then(|logged| logged.time_of(&left_out.partition, *position));
        let mut kept = vec![];
        if let Some(table) = self.late_rows.as_ref().filter(|_| !left_out.late_positions.is_empty()) {
            let origin = Some((left_out.partition.as_str(), left_out.late_positions.as_slice()));
            let columns = late_columns(&table.schema, &left_out.late, &self.source, origin, &left_out.late_lines);
            kept.push(table.rows(columns, left_out.late_positions.iter().map(seen).collect()));
        }
        if let Some(table) = self.dead_letter.as_ref().filter(|_| !left_out.errors.is_empty()) {
            let seen = left_out.errors.iter().map(|error| seen(&error.position)).collect();
            kept.push(table.rows(self.dead_columns(left_out), seen));
        }
        kept
    }

    /// Source, partition, position, error, sqlstate, raw.
    fn dead_columns(&self, left_out: &LeftOut) -> Vec<ArrayRef> {
        let errors = &left_out.errors;
        vec![
            Arc::new(StringArray::from(vec![self.source.as_str(); errors.len()])),
            Arc::new(StringArray::from(vec![left_out.partition.as_str(); errors.len()])),
            Arc::new(Int64Array::from_iter_values(errors.iter().map(|e| e.position as i64))),
            Arc::new(StringArray::from_iter_values(errors.iter().map(|e| e.reason.as_str()))),
            Arc::new(StringArray::from_iter_values(errors.iter().map(|e| e.state.code()))),
            Arc::new(StringArray::from_iter_values(errors.iter().map(|e| raw_text(&e.raw)))),
        ]
    }
}

impl KeepingTable {
    fn rows(&self, columns: Vec<ArrayRef>, seen_us: Vec<Option<i64>>) -> KeptRows {
        KeptRows { table: self.id, schema: self.schema.clone(), columns, seen_us }
    }
}

/// The columns of a table of late rows but the last: those of `rows`, source, partition, position, watermark.
/// `origin`: partition and positions; rows of a table have none.
pub fn late_columns(
    schema: &SchemaRef,
    rows: &RecordBatch,
    source: &str,
    origin: Option<(&str, &[u64])>,
    lines: &[i64],
) -> Vec<ArrayRef> {
    let mut columns = rows.columns().to_vec();
    let (partition, positions) = origin.unzip();
    let zone = match schema.field(columns.len() + 3).data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        other => unreachable!("a watermark is a timestamp, not {other}"),
    };
    let position = |row: usize| positions.map(|positions| positions[row] as i64);
    columns.push(Arc::new(StringArray::from(vec![source; lines.len()])));
    columns.push(Arc::new(StringArray::from(vec![partition; lines.len()])));
    columns.push(Arc::new(Int64Array::from_iter((0..lines.len()).map(position))));
    columns.push(Arc::new(TimestampMicrosecondArray::from(lines.to_vec()).with_timezone_opt(zone)));
    columns
}

/// `columns` with the time at which each row was seen, as rows of a table.
pub fn with_seen(schema: &SchemaRef, mut columns: Vec<ArrayRef>, seen_us: Vec<i64>) -> RecordBatch {
    columns.push(Arc::new(TimestampMicrosecondArray::from(seen_us).with_timezone("UTC")));
    RecordBatch::try_new(schema.clone(), columns).expect("the table was checked to have these columns")
}

impl KeptRows {
    /// The table that they go into.
    pub fn table(&self) -> ObjectId {
        self.table
    }

    /// The rows for the epoch that takes their chunk.
    pub fn enter(self, now_us: i64) -> FeedBatch {
        let KeptRows { table, schema, columns, seen_us } = self;
        let seen_us = seen_us.into_iter().map(|seen| seen.unwrap_or(now_us)).collect();
        let rows = DeltaBatch::inserts(with_seen(&schema, columns, seen_us));
        let columns = Arc::new((0..schema.fields().len()).collect());
        FeedBatch { relation: table, columns, rows, errors: vec![] }
    }
}

/// Bytes as text: what is no UTF-8, and zero, which text can't hold, as `\x` and two digits.
pub fn raw_text(raw: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        text += &chunk.valid().replace('\0', "\\x00");
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_bytes_are_text_that_can_be_sent() {
        assert_eq!(raw_text("a,ü".as_bytes()), "a,ü");
        assert_eq!(raw_text(b"a\xff\xfeb\0"), "a\\xff\\xfeb\\x00");
    }
}
