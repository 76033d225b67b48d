//! Admission to append-only tables with a watermark: which rows of an INSERT are late.

use std::collections::HashMap;
use std::sync::Mutex;

use arrow::array::RecordBatch;
use catalog::{CatalogObject, ObjectBody, WatermarkEntry};
use types::{ObjectId, SqlError, WATERMARK_NONE};

/// Watermarks of append-only tables: what has been appended, whether or not it is in an epoch yet.
#[derive(Default)]
pub struct TableLines {
    lines: Mutex<HashMap<ObjectId, i64>>,
}

impl TableLines {
    /// The watermark of an append-only table, as far as its rows have been appended.
    pub fn line(&self, table: ObjectId) -> i64 {
        self.lines.lock().expect("not poisoned").get(&table).copied().unwrap_or(WATERMARK_NONE)
    }

    pub fn raise(&self, table: ObjectId, watermark: i64) {
        let mut lines = self.lines.lock().expect("not poisoned");
        let line = lines.entry(table).or_insert(watermark);
        *line = watermark.max(*line);
    }

    pub fn forget(&self, table: ObjectId) {
        self.lines.lock().expect("not poisoned").remove(&table);
    }
}

/// Rows of an INSERT after admission.
pub struct AdmittedRows {
    pub rows: RecordBatch,
    pub late: RecordBatch,
    /// The table's watermark when each late row came.
    pub late_lines: Vec<i64>,
}

/// Tells apart which rows of an append-only table with a watermark are late: lateness is decided here, at admission.
/// `line` is the table's watermark so far.
pub fn admit(entry: &WatermarkEntry, line: i64, rows: &RecordBatch) -> Result<AdmittedRows, SqlError> {
    use arrow::array::{Array, AsArray, BooleanArray};
    let times = rows.column(entry.column).as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
    let mut line = line;
    let mut late_lines = vec![];
    let mut is_late = |row: usize| {
        if times.is_null(row) {
            return false;
        }
        let (time, before) = (times.value(row), line);
        line = line.max(time.saturating_sub(entry.delay_us));
        let late = before != WATERMARK_NONE && time < before.saturating_sub(entry.allowed_lateness_us);
        if late {
            late_lines.push(before);
        }
        late
    };
    let late: Vec<bool> = (0..times.len()).map(&mut is_late).collect();
    let chosen = |flags: Vec<bool>| {
        arrow::compute::filter_record_batch(rows, &BooleanArray::from(flags))
            .map_err(|e| SqlError::internal(format!("filtering failed: {e}")))
    };
    Ok(AdmittedRows { rows: chosen(late.iter().map(|late| !late).collect())?, late: chosen(late)?, late_lines })
}

/// The watermark that `rows` alone would give.
pub fn watermark_of(object: &CatalogObject, rows: &RecordBatch) -> Option<i64> {
    let ObjectBody::Table(body) = &object.body else { return None };
    let entry = body.watermark.as_ref()?;
    let highest = max_time(entry, rows)?;
    Some(highest.saturating_sub(entry.delay_us))
}

fn max_time(entry: &WatermarkEntry, rows: &RecordBatch) -> Option<i64> {
    use arrow::array::AsArray;
    let times = rows.column(entry.column).as_primitive_opt::<arrow::datatypes::TimestampMicrosecondType>()?;
    arrow::compute::max(times)
}
