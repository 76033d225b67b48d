//! UNION ALL: rows of every port pass as they are, under the output's schema. Stateless.

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use types::{DeltaBatch, EpochRecord};

use crate::{Operator, OperatorError, Output, Progress};

pub struct UnionOperator {
    schema: SchemaRef,
}

impl UnionOperator {
    /// `schema`: of the output; inputs have the same types, names and nullability may differ.
    pub fn new(schema: SchemaRef) -> Self {
        UnionOperator { schema }
    }
}

impl Operator for UnionOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError> {
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let columns = batch.rows().columns().to_vec();
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)?;
        out.push(batch.with_rows(rows));
        Ok(())
    }

    fn on_seal(&mut self, _record: &EpochRecord, _out: &mut Output) -> Result<Progress, OperatorError> {
        Ok(Progress::DONE)
    }
}

/// One schema for all inputs: the first one's names, nullable where any input is.
pub(crate) fn union_schema(inputs: &[SchemaRef]) -> Option<SchemaRef> {
    let first = inputs.first()?;
    let field = |(column, field): (usize, &arrow::datatypes::FieldRef)| {
        let nullable = inputs.iter().any(|i| i.fields().get(column).is_none_or(|f| f.is_nullable()));
        field.as_ref().clone().with_nullable(nullable)
    };
    let fields: Vec<_> = first.fields().iter().enumerate().map(field).collect();
    Some(std::sync::Arc::new(arrow::datatypes::Schema::new(fields)))
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::changelog;

    #[test]
    fn rows_of_all_ports_pass_under_one_schema() {
        let inputs = [changelog::schema("a:int"), changelog::schema("b:int")];
        let schema = union_schema(&inputs).unwrap();
        changelog::check(
            || Box::new(UnionOperator::new(schema.clone())),
            "
              a:int
            + 1
            port 1
              b:int
            + 2
            - 1
            seal 1
            ",
            expect![[r#"
                seal 1:
                + 2
            "#]],
        );
    }
}
