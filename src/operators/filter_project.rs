//! Filter and projection: stateless, and emits as it receives. Rows on which an expression fails go to the error
//! collection with their diff.

use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use kernels::{CompiledExpr, KernelError, OnError, evaluate_delta};
use types::{DeltaBatch, EpochRecord};

use crate::spec::FilterProjectSpec;
use crate::{Operator, OperatorError, Output, Progress};

#[derive(Debug)]
pub struct FilterProjectOperator {
    predicate: Option<CompiledExpr>,
    /// `None`: all columns pass.
    projection: Option<Vec<CompiledExpr>>,
    input: SchemaRef,
    output: SchemaRef,
    on_error: OnError,
}

impl FilterProjectOperator {
    /// Errors: `Kernel` if an expression has no kernel; `Internal` if the spec does not fit `input`.
    pub fn new(spec: &FilterProjectSpec, input: SchemaRef) -> Result<Self, OperatorError> {
        let predicate = spec.predicate.as_ref().map(|expr| CompiledExpr::compile(expr, &input)).transpose()?;
        if predicate.as_ref().is_some_and(|p| !matches!(p.data_type(), DataType::Boolean | DataType::Null)) {
            return Err(OperatorError::internal("a filter's predicate is not boolean"));
        }
        let compile = |exprs: &Vec<_>| {
            exprs.iter().map(|expr| CompiledExpr::compile(expr, &input)).collect::<Result<Vec<_>, KernelError>>()
        };
        let projection = spec.projection.as_ref().map(compile).transpose()?;
        let found: Vec<DataType> = match &projection {
            Some(exprs) => exprs.iter().map(CompiledExpr::data_type).collect(),
            None => input.fields().iter().map(|field| field.data_type().clone()).collect(),
        };
        let planned: Vec<DataType> = spec.output.fields().iter().map(|field| field.data_type().clone()).collect();
        if found != planned {
            return Err(OperatorError::internal(format!("a projection gives {found:?} where {planned:?} was planned")));
        }
        // A failing expression gives NULL whatever the plan knows about the expression.
        let output = if spec.null_on_error { nullable(&spec.output) } else { spec.output.clone() };
        let on_error = if spec.null_on_error { OnError::Null } else { OnError::Fail };
        Ok(FilterProjectOperator { predicate, projection, input, output, on_error })
    }

    /// The rows for which the predicate is true.
    fn filter(&self, batch: DeltaBatch, out: &mut Output) -> Result<DeltaBatch, OperatorError> {
        let Some(predicate) = &self.predicate else { return Ok(batch) };
        let evaluated = evaluate_delta(std::slice::from_ref(predicate), &batch, &self.input, self.on_error)?;
        out.errors.extend(evaluated.errors);
        let [verdict] = evaluated.columns.as_slice() else { unreachable!("one expression gives one column") };
        let chosen = match verdict.data_type() {
            DataType::Boolean => chosen_rows(verdict.as_boolean(), evaluated.kept.as_ref()),
            // A predicate that is nothing but NULL.
            _ => UInt32Array::from(Vec::<u32>::new()),
        };
        Ok(if chosen.len() == batch.num_rows() { batch } else { batch.take(&chosen) })
    }

    /// Values that don't fit into one array go on in several batches.
    fn project(&self, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError> {
        let rows = batch.num_rows();
        match self.project_at_once(batch.clone(), out) {
            Ok(projected) => out.push(projected),
            Err(OperatorError::Kernel(KernelError::TooLarge)) if rows > 1 => {
                self.project(batch.slice(0, rows / 2), out)?;
                self.project(batch.slice(rows / 2, rows - rows / 2), out)?;
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }

    fn project_at_once(&self, batch: DeltaBatch, out: &mut Output) -> Result<DeltaBatch, OperatorError> {
        let options = |rows| RecordBatchOptions::new().with_row_count(Some(rows));
        let Some(projection) = &self.projection else {
            let columns = batch.rows().columns().to_vec();
            let rows = RecordBatch::try_new_with_options(self.output.clone(), columns, &options(batch.num_rows()))?;
            return Ok(batch.with_rows(rows));
        };
        let evaluated = evaluate_delta(projection, &batch, &self.input, self.on_error)?;
        out.errors.extend(evaluated.errors);
        let batch = match &evaluated.kept {
            Some(kept) => batch.take(kept),
            None => batch,
        };
        let rows =
            RecordBatch::try_new_with_options(self.output.clone(), evaluated.columns, &options(batch.num_rows()))?;
        Ok(batch.with_rows(rows))
    }
}

fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Rows of the input whose verdict is true; `kept` maps verdicts to rows if some failed.
fn chosen_rows(verdict: &BooleanArray, kept: Option<&UInt32Array>) -> UInt32Array {
    let true_at: Vec<u32> = match verdict.null_count() {
        0 => verdict.values().set_indices().map(|i| i as u32).collect(),
        _ => (verdict.values() & verdict.nulls().expect("some are null").inner())
            .set_indices()
            .map(|i| i as u32)
            .collect(),
    };
    match kept {
        Some(kept) => true_at.into_iter().map(|i| kept.value(i as usize)).collect(),
        None => true_at.into(),
    }
}

impl Operator for FilterProjectOperator {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError> {
        let filtered = self.filter(batch, out)?;
        if !filtered.is_empty() {
            self.project(filtered, out)?;
        }
        Ok(())
    }

    fn on_seal(&mut self, _record: &EpochRecord, _out: &mut Output) -> Result<Progress, OperatorError> {
        Ok(Progress::DONE)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use kernels::{Literal, ScalarExpr};

    use super::*;
    use crate::changelog::{check, schema};

    fn int(value: i64) -> ScalarExpr {
        ScalarExpr::Literal(Literal::Int { value, data_type: DataType::Int64 })
    }

    fn column(index: usize) -> ScalarExpr {
        ScalarExpr::Column(index)
    }

    fn build(spec: FilterProjectSpec, input: &str) -> impl Fn() -> Box<dyn Operator> {
        let input = schema(input);
        move || Box::new(FilterProjectOperator::new(&spec, input.clone()).unwrap())
    }

    fn divide(null_on_error: bool) -> FilterProjectSpec {
        FilterProjectSpec {
            predicate: Some(ScalarExpr::binary(">", column(1), int(0))),
            projection: Some(vec![column(0), ScalarExpr::binary("/", int(100), column(0))]),
            output: schema("k:int q:int"),
            null_on_error,
        }
    }

    const SCRIPT: &str = "
        k:int v:int
        + 5 1
        +3 2 7
        - 4 1
        + 1 0
        + 1 null
        + 0 1
        -2 0 2
        seal 1";

    #[test]
    fn keeps_true_rows_and_their_diffs() {
        check(
            build(divide(false), "k:int v:int"),
            SCRIPT,
            expect![[r#"
                seal 1:
                - 4 25
                + 5 20
                +3 2 50
                error +1 22012 division by zero (k: 0, v: 1)
                error -2 22012 division by zero (k: 0, v: 2)
            "#]],
        );
    }

    #[test]
    fn failing_expressions_become_null_on_request() {
        check(
            build(divide(true), "k:int v:int"),
            SCRIPT,
            expect![[r#"
                seal 1:
                - 0 null
                - 4 25
                + 5 20
                +3 2 50
            "#]],
        );
    }

    #[test]
    fn failing_predicates_drop_the_row() {
        let spec = |null_on_error| FilterProjectSpec {
            predicate: Some(ScalarExpr::binary(">", ScalarExpr::binary("/", int(10), column(0)), int(3))),
            projection: None,
            output: schema("k:int"),
            null_on_error,
        };
        let script = "
            k:int
            + 0
            + 1
            + 9
            +2 2
            seal 1";
        let expect = expect![[r#"
            seal 1:
            + 1
            +2 2
            error +1 22012 division by zero (k: 0)
        "#]];
        check(build(spec(false), "k:int"), script, expect);
        let expect = expect![[r#"
            seal 1:
            + 1
            +2 2
        "#]];
        check(build(spec(true), "k:int"), script, expect);
    }

    #[test]
    fn all_columns_pass_without_a_copy() {
        let input = schema("k:int v:text");
        let spec = FilterProjectSpec {
            predicate: None,
            projection: None,
            output: schema("a:int b:text"),
            null_on_error: false,
        };
        let mut operator = FilterProjectOperator::new(&spec, input.clone()).unwrap();
        let batch = crate::changelog::rows(&input, &[(vec!["1".into(), "x".into()], 1)]);
        let mut out = Output::default();
        operator.on_batch(0, batch.clone(), &mut out).unwrap();
        assert!(Arc::ptr_eq(out.rows[0].rows().column(1), batch.rows().column(1)));
        assert_eq!(out.rows[0].schema(), spec.output);
    }

    #[test]
    fn a_projection_must_give_what_was_planned() {
        let spec = FilterProjectSpec {
            predicate: None,
            projection: Some(vec![column(0)]),
            output: schema("a:text"),
            null_on_error: false,
        };
        assert!(FilterProjectOperator::new(&spec, schema("k:int")).is_err());
    }
}
