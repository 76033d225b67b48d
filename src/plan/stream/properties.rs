//! What is inferred about the rows that leave a node: never retracted, key, event-time bounds, distribution.

use kernels::ScalarExpr;
use types::EventTimeBound;

use super::scalar::{as_column, column_plus_interval};

#[derive(Debug, Clone, Default)]
pub(super) struct Properties {
    pub append_only: bool,
    /// At most one live row per value of these columns. Empty: at most one row.
    pub key: Option<Vec<usize>>,
    pub times: Vec<TimeColumn>,
    /// The rows are already at the worker that owns the hash of these columns, in this order.
    pub distribution: Option<Vec<usize>>,
    /// Fed by an input that never ends, so that what is kept per row grows for ever.
    pub endless: bool,
}

/// A column by which rows become final.
#[derive(Debug, Clone)]
pub(super) struct TimeColumn {
    pub column: usize,
    /// Rows whose column has passed this are closed, …
    pub close: EventTimeBound,
    /// … and never change once it has passed this (`close` less the allowed lateness).
    pub retain: EventTimeBound,
    /// Passed at ≤ (window columns) rather than <.
    pub inclusive: bool,
    pub role: TimeRole,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeRole {
    Time,
    WindowStart,
    WindowEnd,
    WindowTime,
}

impl Properties {
    pub fn time(&self, column: usize) -> Option<&TimeColumn> {
        self.times.iter().find(|time| time.column == column)
    }

    /// The column by which windows close, if there is one.
    pub fn window_end(&self) -> Option<&TimeColumn> {
        self.times.iter().find(|time| time.role == TimeRole::WindowEnd)
    }

    /// After a projection to `exprs`.
    pub fn project(&self, exprs: &[ScalarExpr]) -> Properties {
        let position = |column: usize| exprs.iter().position(|e| as_column(e) == Some(column));
        let all = |columns: &Vec<usize>| columns.iter().map(|c| position(*c)).collect::<Option<Vec<_>>>();
        let mut times = vec![];
        for (column, expr) in exprs.iter().enumerate() {
            let Some((source, shift_us)) = column_plus_interval(expr) else { continue };
            let Some(time) = self.time(source) else { continue };
            // value = time + shift, so it passes when time does: at a bound that is larger by the shift.
            let (close, retain) = (time.close.delayed(-shift_us), time.retain.delayed(-shift_us));
            let role = if shift_us == 0 { time.role } else { TimeRole::Time };
            times.push(TimeColumn { column, close, retain, inclusive: time.inclusive, role });
        }
        Properties {
            append_only: self.append_only,
            key: self.key.as_ref().and_then(all),
            times,
            distribution: self.distribution.as_ref().and_then(all),
            endless: self.endless,
        }
    }

    /// With all column positions moved right by `by`.
    pub fn shifted(&self, by: usize) -> Properties {
        let all = |columns: &Vec<usize>| columns.iter().map(|c| c + by).collect();
        Properties {
            key: self.key.as_ref().map(all),
            times: self.times.iter().map(|t| TimeColumn { column: t.column + by, ..t.clone() }).collect(),
            distribution: self.distribution.as_ref().map(all),
            ..self.clone()
        }
    }
}
