//! Output rows of sessions, and the net of what an epoch takes back and gives.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, take};
use types::{DeltaBatch, ErrorDelta, SqlState, consolidate, values_text};

use super::{SessionAggregateOperator, cut_into_batches};
use crate::OperatorError;
use crate::aggregate::Outputs;
use crate::spec::GroupColumn;
use crate::window::{WINDOW_TIME_LEAD_US, timestamps};

/// A session that has, had or will have an output: its key, bounds and the slots of its entries.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub key: u32,
    pub first: i64,
    pub last: i64,
    pub slots: Vec<u32>,
}

/// Counts by state, message and group.
type Errors = BTreeMap<(SqlState, &'static str, Option<String>), i64>;

impl SessionAggregateOperator {
    /// Turns the outputs remembered in this epoch and the new ones into net batches.
    pub(super) fn leave(&mut self, new: Outputs, sessions: &[Session]) -> Result<(), OperatorError> {
        let old_sessions = std::mem::take(&mut self.old_sessions);
        let old = std::mem::take(&mut self.old);
        let mut errors = Errors::new();
        let mut parts = vec![];
        for (outputs, sessions, diff) in [(old, &old_sessions[..], -1), (new, sessions, 1)] {
            if !sessions.is_empty() {
                parts.push(self.rows(outputs, sessions, diff, &mut errors)?);
            }
        }
        let net = if let [part] = &parts[..]
            && part.diffs().is_none()
        {
            // New sessions only: they are distinct already.
            part.clone()
        } else {
            consolidate(&DeltaBatch::concat(&self.layout.output, &parts))?
        };
        self.leaving = cut_into_batches(&net);
        let errors = errors.into_iter().filter(|(_, diff)| *diff != 0);
        self.unsaved.errors.extend(
            errors.map(|((state, message, row), diff)| ErrorDelta { row, ..ErrorDelta::new(state, message, diff) }),
        );
        Ok(())
    }

    fn rows(
        &self,
        mut outputs: Outputs,
        sessions: &[Session],
        diff: i64,
        errors: &mut Errors,
    ) -> Result<DeltaBatch, OperatorError> {
        let ids: Vec<u32> = sessions.iter().map(|s| s.key).collect();
        let keys = self.keys.columns(&ids)?;
        let mut columns: Vec<ArrayRef> = vec![];
        for (column, field) in self.group.iter().zip(self.layout.output.fields()) {
            let array = match column {
                GroupColumn::Input(column) => {
                    let place = self.partition_by.iter().position(|p| p == column);
                    keys[place.expect("checked when the operator was made")].clone()
                }
                GroupColumn::WindowStart => timestamps(sessions.iter().map(|s| s.first).collect()),
                GroupColumn::WindowEnd => timestamps(sessions.iter().map(|s| s.last + self.gap_us).collect()),
                GroupColumn::WindowTime => {
                    timestamps(sessions.iter().map(|s| s.last + self.gap_us - WINDOW_TIME_LEAD_US).collect())
                }
            };
            columns.push(if array.data_type() == field.data_type() { array } else { cast(&array, field.data_type())? });
        }
        columns.extend_from_slice(outputs.columns()?);
        let failures = outputs.failures();
        if !failures.is_empty() {
            let fields = self.layout.output.fields();
            for (session, failure) in failures {
                let group = &columns[..self.group.len()];
                let fields = fields.iter().map(AsRef::as_ref);
                let group = (!group.is_empty()).then(|| values_text(fields, group, *session));
                *errors.entry((failure.state, failure.message, group)).or_default() += diff;
            }
            let kept = (0..sessions.len()).filter(|i| !failures.contains_key(i)).map(|i| i as u32);
            let kept = UInt32Array::from_iter_values(kept);
            columns = columns.iter().map(|c| take(c, &kept, None)).collect::<Result<_, _>>()?;
        }
        let batch = RecordBatch::try_new(self.layout.output.clone(), columns)?;
        let rows = batch.num_rows();
        Ok(if diff == 1 { DeltaBatch::inserts(batch) } else { DeltaBatch::new(batch, vec![diff; rows]) })
    }
}
