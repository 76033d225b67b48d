//! TUMBLE, HOP and CUMULATE: assigns each row to the fixed windows it belongs to.
//!
//! [`Windows`] is the arithmetic, shared with the aggregation that is fused with a window: time is cut into panes
//! such that every window is a whole number of panes; a row has one pane, a pane some windows. Stateless; closing
//! windows is `emit_on_close.rs` and `aggregate/`. Semantics: half-open intervals whose starts are the offset modulo
//! size (slide); times before 1970 floor like those after it; NULL times belong to no window.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use types::limits::{BATCH_ROWS_MAX, WINDOWS_PER_ROW_MAX};
use types::{DeltaBatch, EpochRecord, ErrorDelta, SqlState};

use crate::spec::{WindowKind, WindowSpec};
use crate::{Operator, OperatorError, Output, Progress};

/// `window_time` is this much before `window_end`, microseconds.
pub(crate) const WINDOW_TIME_LEAD_US: i64 = 1_000;

/// Window arithmetic of one kind, microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Windows {
    kind: WindowKind,
    pane_us: i64,
    offset_us: i64,
    /// Times outside (−limit, limit) have no representable window.
    limit_us: i64,
}

/// Windows of rows or panes, by index of the row or pane.
#[derive(Debug, Default)]
pub(crate) struct Assigned {
    pub indices: Vec<u32>,
    pub starts: Vec<i64>,
    pub ends: Vec<i64>,
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Windows {
    /// Errors: `Limit` for sizes that make no windows, or more than `WINDOWS_PER_ROW_MAX` per row.
    pub fn new(kind: WindowKind) -> Result<Self, OperatorError> {
        let invalid = |message: String| OperatorError::Limit { state: SqlState::InvalidParameterValue, message };
        let (pane_us, size_us, offset_us) = match kind {
            WindowKind::Tumble { size_us, offset_us } => (size_us, size_us, offset_us),
            WindowKind::Hop { slide_us, size_us, offset_us } => (gcd(size_us, slide_us), size_us, offset_us),
            WindowKind::Cumulate { step_us, size_us, offset_us } => (step_us, size_us, offset_us),
        };
        let shift_us = if let WindowKind::Hop { slide_us, .. } = kind { slide_us } else { pane_us };
        if size_us <= 0 || shift_us <= 0 || size_us > i64::MAX / 8 || shift_us > i64::MAX / 8 {
            return Err(invalid("the size and the step of a window must be positive".into()));
        }
        if matches!(kind, WindowKind::Cumulate { .. }) && size_us % pane_us != 0 {
            return Err(invalid("the size of a cumulating window must be a multiple of its step".into()));
        }
        if size_us / shift_us > WINDOWS_PER_ROW_MAX {
            return Err(invalid(format!("a row would belong to more than {WINDOWS_PER_ROW_MAX} windows")));
        }
        let offset_us = offset_us % if let WindowKind::Hop { slide_us, .. } = kind { slide_us } else { size_us };
        Ok(Windows { kind, pane_us, offset_us, limit_us: i64::MAX / 2 })
    }

    /// Start of the pane that holds `time_us`; `None` if its windows can't be represented.
    #[inline(always)]
    pub fn pane(&self, time_us: i64) -> Option<i64> {
        let inside = time_us > -self.limit_us && time_us < self.limit_us;
        inside.then(|| floor_to(time_us, self.pane_us, self.offset_us))
    }

    /// How many windows a pane has at most.
    pub fn per_pane_max(&self) -> usize {
        (match self.kind {
            WindowKind::Tumble { .. } => 1,
            WindowKind::Hop { slide_us, size_us, .. } => (size_us + slide_us - 1) / slide_us,
            WindowKind::Cumulate { step_us, size_us, .. } => size_us / step_us,
        }) as usize
    }

    /// All windows of each pane, ascending per pane.
    pub fn assign(&self, panes: impl Iterator<Item = (u32, i64)>) -> Assigned {
        let mut out = Assigned::default();
        let mut push = |index, start, end| {
            out.indices.push(index);
            out.starts.push(start);
            out.ends.push(end);
        };
        match self.kind {
            WindowKind::Tumble { size_us, .. } => panes.for_each(|(index, pane)| push(index, pane, pane + size_us)),
            WindowKind::Hop { slide_us, size_us, .. } => {
                for (index, pane) in panes {
                    let last = floor_to(pane, slide_us, self.offset_us);
                    // Windows start at or before the pane and reach to its end: empty in the gaps of slide > size.
                    let reach = size_us - self.pane_us - (pane - last);
                    let before = reach.div_euclid(slide_us);
                    for steps in (0..=before).rev() {
                        let start = last - steps * slide_us;
                        push(index, start, start + size_us);
                    }
                }
            }
            WindowKind::Cumulate { step_us, size_us, .. } => {
                for (index, pane) in panes {
                    let start = floor_to(pane, size_us, self.offset_us);
                    let mut end = pane + step_us;
                    while end <= start + size_us {
                        push(index, start, end);
                        end += step_us;
                    }
                }
            }
        }
        out
    }
}

#[inline(always)]
fn floor_to(time_us: i64, unit_us: i64, offset_us: i64) -> i64 {
    time_us - (time_us - offset_us).rem_euclid(unit_us)
}

/// A rows' panes: `None` where the time is NULL; times out of range become errors and have no pane either.
pub(crate) struct Panes {
    pub rows: Vec<u32>,
    pub panes: Vec<i64>,
}

/// The pane of every row of `delta` that has one.
pub(crate) fn panes_of(windows: &Windows, delta: &DeltaBatch, time_column: usize, out: &mut Output) -> Panes {
    let times = delta.rows().column(time_column).as_primitive::<TimestampMicrosecondType>();
    let mut found = Panes { rows: Vec::with_capacity(times.len()), panes: Vec::with_capacity(times.len()) };
    for (row, time) in times.values().iter().enumerate() {
        if times.is_null(row) {
            continue;
        }
        match windows.pane(*time) {
            Some(pane) => {
                found.rows.push(row as u32);
                found.panes.push(pane);
            }
            None => out.errors.push(time_out_of_range(delta.diff(row))),
        }
    }
    found
}

pub(crate) fn time_out_of_range(diff: i64) -> ErrorDelta {
    ErrorDelta::new(SqlState::DatetimeFieldOverflow, "timestamp out of range for a window", diff)
}

/// The three window columns a table function appends.
pub(crate) fn window_fields() -> [Field; 3] {
    ["window_start", "window_end", "window_time"].map(|name| Field::new(name, timestamp_type(), true))
}

pub(crate) fn timestamp_type() -> DataType {
    DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None)
}

pub(crate) fn timestamps(values: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(values))
}

/// `window_time` for window ends.
pub(crate) fn window_times(ends: &[i64]) -> Vec<i64> {
    ends.iter().map(|end| end - WINDOW_TIME_LEAD_US).collect()
}

/// Errors: `Internal` unless `column` is a timestamp(µs) of `schema`.
pub(crate) fn check_time_column(schema: &Schema, column: usize) -> Result<(), OperatorError> {
    match schema.fields().get(column).map(|f| f.data_type()) {
        Some(DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _)) => Ok(()),
        _ => Err(OperatorError::internal("the time column of a window is a timestamp in microseconds")),
    }
}

/// Appends the window columns; rows multiply for HOP and CUMULATE.
pub struct WindowOperator {
    windows: Windows,
    time_column: usize,
    /// Known from the first batch on.
    schema: Option<SchemaRef>,
}

impl WindowOperator {
    /// Errors: `Limit` (22023) for windows that make no sense.
    pub fn new(spec: &WindowSpec) -> Result<Self, OperatorError> {
        Ok(WindowOperator { windows: Windows::new(spec.kind)?, time_column: spec.time_column, schema: None })
    }

    fn schema(&mut self, input: &SchemaRef) -> Result<SchemaRef, OperatorError> {
        if self.schema.is_none() {
            check_time_column(input, self.time_column)?;
            let fields = input.fields().iter().map(|f| f.as_ref().clone()).chain(window_fields());
            self.schema = Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())));
        }
        Ok(self.schema.clone().expect("set above"))
    }

    fn emit(&self, batch: &DeltaBatch, assigned: Assigned, schema: &SchemaRef) -> Result<DeltaBatch, OperatorError> {
        let every_row_once = assigned.indices.len() == batch.num_rows()
            && assigned.indices.iter().enumerate().all(|(row, index)| row as u32 == *index);
        let taken = if every_row_once { batch.clone() } else { batch.take(&UInt32Array::from(assigned.indices)) };
        let mut columns = taken.rows().columns().to_vec();
        let times = window_times(&assigned.ends);
        columns.extend([timestamps(assigned.starts), timestamps(assigned.ends), timestamps(times)]);
        Ok(taken.with_rows(RecordBatch::try_new(schema.clone(), columns)?))
    }
}

impl Operator for WindowOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError> {
        let schema = self.schema(&batch.schema())?;
        let found = panes_of(&self.windows, &batch, self.time_column, out);
        let chunk = (BATCH_ROWS_MAX / self.windows.per_pane_max().max(1)).max(1);
        for (rows, panes) in found.rows.chunks(chunk).zip(found.panes.chunks(chunk)) {
            let assigned = self.windows.assign(rows.iter().copied().zip(panes.iter().copied()));
            out.push(self.emit(&batch, assigned, &schema)?);
        }
        Ok(())
    }

    fn on_seal(&mut self, _record: &EpochRecord, _out: &mut Output) -> Result<Progress, OperatorError> {
        Ok(Progress::DONE)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::changelog;

    const S: i64 = 1_000_000;

    fn check(kind: WindowKind, script: &str, expect: Expect) {
        let spec = WindowSpec { kind, time_column: 1 };
        changelog::check(move || Box::new(WindowOperator::new(&spec).unwrap()), script, expect);
    }

    #[test]
    fn tumble_appends_half_open_windows() {
        check(
            WindowKind::Tumble { size_us: 10 * S, offset_us: -3 * S },
            "v:int ts:ts
             + 1 6.999999
             + 2 7
             - 3 -3.000001
             + 4 null
             seal 1",
            expect![[r#"
                seal 1:
                + 1 6.999999 -3 7 6.999
                + 2 7 7 17 16.999
                - 3 -3.000001 -13 -3 -3.001
            "#]],
        );
    }

    #[test]
    fn hop_multiplies_rows_and_leaves_gaps_out() {
        check(
            WindowKind::Hop { slide_us: 5 * S, size_us: 10 * S, offset_us: S },
            "v:int ts:ts
             + 1 6
             seal 1",
            expect![[r#"
                seal 1:
                + 1 6 1 11 10.999
                + 1 6 6 16 15.999
            "#]],
        );
        check(
            WindowKind::Hop { slide_us: 10 * S, size_us: 4 * S, offset_us: 0 },
            "v:int ts:ts
             + 1 3
             + 2 4
             + 3 -7
             seal 1",
            expect![[r#"
                seal 1:
                + 1 3 0 4 3.999
                + 3 -7 -10 -6 -6.001
            "#]],
        );
    }

    #[test]
    fn times_without_a_window_are_errors_and_absurd_windows_are_refused() {
        let far = timestamps(vec![i64::MAX, 0]);
        let batch = RecordBatch::try_from_iter([("v", far.clone()), ("ts", far)]).unwrap();
        let spec = WindowSpec { kind: WindowKind::Tumble { size_us: S, offset_us: 0 }, time_column: 1 };
        let mut out = Output::default();
        WindowOperator::new(&spec).unwrap().on_batch(0, DeltaBatch::inserts(batch), &mut out).unwrap();
        assert_eq!((out.rows[0].num_rows(), out.errors[0].state), (1, SqlState::DatetimeFieldOverflow));
        let refused = [
            WindowKind::Tumble { size_us: 0, offset_us: 0 },
            WindowKind::Hop { slide_us: 1, size_us: 20_000, offset_us: 0 },
            WindowKind::Cumulate { step_us: 3, size_us: 10, offset_us: 0 },
        ];
        assert!(refused.into_iter().all(|kind| Windows::new(kind).is_err()));
    }
}
