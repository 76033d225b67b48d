//! An operation that gives NULL where it would fail. Wrapped around each operation by itself, so that what is computed
//! from a failing one goes on with NULL as SQL does (`coalesce(1 / x, 0)`), however the plan has merged expressions.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Schema};
use datafusion_common::Result;
use datafusion_expr::ColumnarValue;
use datafusion_physical_expr::PhysicalExpr;

use crate::KernelError;

#[derive(Debug, Clone, Eq)]
pub(crate) struct NullOnError {
    inner: Arc<dyn PhysicalExpr>,
    data_type: DataType,
}

impl NullOnError {
    pub fn new(inner: Arc<dyn PhysicalExpr>, data_type: DataType) -> Self {
        NullOnError { inner, data_type }
    }

    /// Halves the rows until the failing ones stand alone.
    fn isolate(&self, batch: &RecordBatch, pieces: &mut Vec<ArrayRef>) -> Result<()> {
        let rows = batch.num_rows();
        match self.inner.evaluate(batch).and_then(|value| value.into_array(rows)) {
            Ok(values) => pieces.push(values),
            Err(error) => match KernelError::from_evaluation(error) {
                KernelError::Evaluation { .. } | KernelError::TooLarge if rows <= 1 => {
                    pieces.push(new_null_array(&self.data_type, rows))
                }
                KernelError::Evaluation { .. } | KernelError::TooLarge => {
                    self.isolate(&batch.slice(0, rows / 2), pieces)?;
                    self.isolate(&batch.slice(rows / 2, rows - rows / 2), pieces)?;
                }
                other => return Err(other.into_datafusion()),
            },
        }
        Ok(())
    }
}

impl PartialEq for NullOnError {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Hash for NullOnError {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for NullOnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "null_on_error({})", self.inner)
    }
}

impl PhysicalExpr for NullOnError {
    fn data_type(&self, _input: &Schema) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn nullable(&self, _input: &Schema) -> Result<bool> {
        Ok(true)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        if let Ok(value) = self.inner.evaluate(batch) {
            return Ok(value);
        }
        let mut pieces = vec![];
        self.isolate(batch, &mut pieces)?;
        let pieces: Vec<&dyn Array> = pieces.iter().map(|piece| piece.as_ref()).collect();
        Ok(ColumnarValue::Array(concat(&pieces)?))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(NullOnError::new(children[0].clone(), self.data_type.clone())))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
