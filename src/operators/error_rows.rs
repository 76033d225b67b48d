//! The two ends of `on_error = 'dead_letter'`: the view's errors as the rows of a relation beside it, and the view's rows
//! without them for everyone else. Stateless: an error that is taken back takes its row back.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use types::{DeltaBatch, EpochRecord, ErrorDelta};

use crate::spec::ErrorRowsSpec;
use crate::{Operator, OperatorError, Output, Progress};

/// Passes rows; errors end here.
pub struct IgnoreErrorsOperator;

impl Operator for IgnoreErrorsOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError> {
        out.push(batch);
        Ok(())
    }

    fn on_errors(&mut self, _errors: Vec<ErrorDelta>, _out: &mut Output) {}

    fn on_seal(&mut self, _record: &EpochRecord, _out: &mut Output) -> Result<Progress, OperatorError> {
        Ok(Progress::DONE)
    }
}

/// Passes errors, as rows; rows end here.
pub struct ErrorRowsOperator {
    spec: ErrorRowsSpec,
}

impl ErrorRowsOperator {
    pub fn new(spec: &ErrorRowsSpec) -> Self {
        ErrorRowsOperator { spec: spec.clone() }
    }
}

impl Operator for ErrorRowsOperator {
    fn on_batch(&mut self, _port: usize, _batch: DeltaBatch, _out: &mut Output) -> Result<(), OperatorError> {
        Ok(())
    }

    fn on_errors(&mut self, errors: Vec<ErrorDelta>, out: &mut Output) {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(vec![self.spec.relation.as_str(); errors.len()])),
            Arc::new(StringArray::from_iter_values(errors.iter().map(|e| e.state.code()))),
            Arc::new(StringArray::from_iter_values(errors.iter().map(|e| &e.message))),
            Arc::new(StringArray::from_iter(errors.iter().map(|e| e.row.as_deref()))),
        ];
        let rows = RecordBatch::try_new(self.spec.output.clone(), columns).expect("four texts were planned");
        out.push(DeltaBatch::new(rows, errors.iter().map(|e| e.diff).collect::<Vec<i64>>()));
    }

    fn on_seal(&mut self, _record: &EpochRecord, _out: &mut Output) -> Result<Progress, OperatorError> {
        Ok(Progress::DONE)
    }
}

#[cfg(test)]
mod tests {
    use types::SqlState;

    use super::*;
    use crate::changelog;

    fn errors() -> Vec<ErrorDelta> {
        let error = |row: Option<&str>, diff| ErrorDelta {
            row: row.map(Into::into),
            ..ErrorDelta::new(SqlState::DivisionByZero, "division by zero", diff)
        };
        vec![error(Some("(x: 0)"), 2), error(None, -1)]
    }

    #[test]
    fn errors_become_rows_with_their_diffs_and_rows_end() {
        let output = changelog::schema("relation:text sqlstate:text message:text failed_row:text");
        let mut operator = ErrorRowsOperator::new(&ErrorRowsSpec { relation: "v".into(), output });
        let mut out = Output::default();
        let row = changelog::rows(&changelog::schema("x:int"), &[(vec!["1".into()], 1)]);
        operator.on_batch(0, row, &mut out).unwrap();
        operator.on_errors(errors(), &mut out);
        assert!(out.errors.is_empty() && out.rows.len() == 1);
        assert_eq!(out.rows[0].diffs_to_vec(), [2, -1]);
        assert_eq!(
            types::row_text(out.rows[0].rows(), 0),
            "(relation: v, sqlstate: 22012, message: division by zero, failed_row: (x: 0))"
        );
        assert!(types::row_text(out.rows[0].rows(), 1).ends_with("failed_row: NULL)"));
    }

    #[test]
    fn rows_pass_and_errors_end() {
        let mut out = Output::default();
        let row = changelog::rows(&changelog::schema("x:int"), &[(vec!["1".into()], -1)]);
        IgnoreErrorsOperator.on_batch(0, row, &mut out).unwrap();
        IgnoreErrorsOperator.on_errors(errors(), &mut out);
        assert_eq!((out.rows.len(), out.errors.len()), (1, 0));
    }
}
