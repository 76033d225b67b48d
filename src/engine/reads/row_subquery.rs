//! Runs a subquery for every row of the query around it (`plan::RowSubquery`).
//!
//! The plan is optimised and executed once per distinct combination of arguments, on a thread of its own: a function
//! is called synchronously, and must not wait on the runtime whose thread it is called from.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StructArray, new_empty_array};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{DataFusionError, ParamValues, Result, ScalarValue};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature,
};
use datafusion::physical_plan::collect;
use plan::{RowSubquery, RowSubqueryKind};
use types::{SqlError, SqlState};

/// A subquery with providers under its scans.
#[derive(Debug)]
pub struct BoundSubquery {
    query: RowSubquery,
    plan: LogicalPlan,
    state: Arc<SessionState>,
}

impl PartialEq for BoundSubquery {
    fn eq(&self, other: &Self) -> bool {
        self.query == other.query
    }
}

impl Eq for BoundSubquery {}

impl Hash for BoundSubquery {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.query.hash(state);
    }
}

impl BoundSubquery {
    /// `plan`: that of `query`, ready to be read.
    pub fn new(query: RowSubquery, plan: LogicalPlan, state: Arc<SessionState>) -> Self {
        BoundSubquery { query, plan, state }
    }

    async fn run(&self, values: &[ScalarValue]) -> Result<ScalarValue> {
        let names = self.query.parameters.iter().map(|id| id.trim_start_matches('$').to_string());
        let values: HashMap<String, ScalarValue> = names.zip(values.iter().cloned()).collect();
        let plan = self.plan.clone().with_param_values(ParamValues::from(values))?;
        let physical = self.state.create_physical_plan(&plan).await?;
        let schema = physical.schema();
        let batches = collect(physical, self.state.task_ctx()).await?;
        let rows = concat_batches(&schema, &batches)?;
        self.value(&rows)
    }

    /// What all rows of the subquery are worth.
    fn value(&self, rows: &RecordBatch) -> Result<ScalarValue> {
        let field = self.query.field();
        match self.query.kind {
            RowSubqueryKind::Scalar => match rows.num_rows() {
                0 => ScalarValue::try_from(field.data_type()),
                1 => ScalarValue::try_from_array(rows.column(0), 0)?.cast_to(field.data_type()),
                _ => Err(DataFusionError::External(Box::new(SqlError::new(
                    SqlState::CardinalityViolation,
                    "more than one row returned by a subquery used as an expression",
                )))),
            },
            RowSubqueryKind::Array => list(rows.column(0).clone(), &field),
            RowSubqueryKind::Rows => {
                let DataType::List(item) = field.data_type() else { unreachable!("rows are a list") };
                let DataType::Struct(fields) = item.data_type() else { unreachable!("of structs") };
                list(Arc::new(structs(rows, fields)?), &field)
            }
        }
    }
}

fn structs(rows: &RecordBatch, fields: &Fields) -> Result<StructArray> {
    if rows.num_rows() == 0 {
        let empty = fields.iter().map(|field| new_empty_array(field.data_type())).collect();
        return Ok(StructArray::try_new(fields.clone(), empty, None)?);
    }
    Ok(StructArray::try_new(fields.clone(), rows.columns().to_vec(), None)?)
}

fn list(values: ArrayRef, field: &Field) -> Result<ScalarValue> {
    let DataType::List(item) = field.data_type() else { unreachable!("the field of a list") };
    let values = match values.data_type() == item.data_type() {
        true => values,
        false => arrow::compute::cast(&values, item.data_type())?,
    };
    Ok(SingleRowListArrayBuilder::new(values).with_field(item.as_ref()).build_list_scalar())
}

impl ScalarUDFImpl for BoundSubquery {
    fn name(&self) -> &str {
        self.query.name()
    }

    fn schema_name(&self, args: &[datafusion::logical_expr::Expr]) -> Result<String> {
        self.query.schema_name(args)
    }

    fn signature(&self) -> &Signature {
        self.query.signature()
    }

    fn return_type(&self, args: &[DataType]) -> Result<DataType> {
        self.query.return_type(args)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.query.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns = args.args.iter().map(|arg| arg.to_array(rows)).collect::<Result<Vec<_>>>()?;
        let results = std::thread::scope(|scope| {
            let worker = scope.spawn(|| self.run_all(&columns, rows));
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })?;
        match constant {
            true => Ok(ColumnarValue::Scalar(results.into_iter().next().expect("one row was asked for"))),
            false if results.is_empty() => Ok(ColumnarValue::Array(new_empty_array(args.return_field.data_type()))),
            false => Ok(ColumnarValue::Array(ScalarValue::iter_to_array(results)?)),
        }
    }
}

impl BoundSubquery {
    fn run_all(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<ScalarValue>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut known: HashMap<Vec<ScalarValue>, ScalarValue> = HashMap::new();
        let mut results = Vec::with_capacity(rows);
        for row in 0..rows {
            let values = columns.iter().map(|column| ScalarValue::try_from_array(column, row));
            let values = values.collect::<Result<Vec<_>>>()?;
            if let Some(result) = known.get(&values) {
                results.push(result.clone());
                continue;
            }
            let result = runtime.block_on(self.run(&values))?;
            known.insert(values, result.clone());
            results.push(result);
        }
        Ok(results)
    }
}
