//! Window table functions inside a logical plan: input columns, then window_start, window_end, window_time.
//! An extension node, because DataFusion has no such operator; `stream/window.rs` and `batch/` give it its two
//! meanings. All times in microseconds; window columns are timestamp without time zone.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion_common::{DFSchema, DFSchemaRef, Result, TableReference};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use operators::spec::WindowKind;

/// Which windows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub enum WindowFunction {
    Tumble {
        size_us: i64,
        offset_us: i64,
    },
    Hop {
        slide_us: i64,
        size_us: i64,
        offset_us: i64,
    },
    Cumulate {
        step_us: i64,
        size_us: i64,
        offset_us: i64,
    },
    /// `partition_by` is `None` until known: given by PARTITION BY, else the GROUP BY above says it.
    Session {
        gap_us: i64,
        partition_by: Option<Vec<Expr>>,
    },
}

pub const WINDOW_COLUMNS: [&str; 3] = ["window_start", "window_end", "window_time"];

/// `window_time` is this much before `window_end`.
pub const WINDOW_TIME_BEFORE_END_US: i64 = 1_000;

pub fn window_column_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// A window table function over `input`. Rows whose time is NULL belong to no window.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowNode {
    pub function: WindowFunction,
    pub input: Arc<LogicalPlan>,
    /// A column of the input of a timestamp type.
    pub time: Expr,
    schema: DFSchemaRef,
}

impl WindowNode {
    pub fn try_new(function: WindowFunction, input: Arc<LogicalPlan>, time: Expr) -> Result<Self> {
        let mut fields: Vec<(Option<TableReference>, Arc<Field>)> =
            input.schema().iter().map(|(qualifier, field)| (qualifier.cloned(), field.clone())).collect();
        let window_field = |name: &&str| (None, Arc::new(Field::new(*name, window_column_type(), true)));
        fields.extend(WINDOW_COLUMNS.iter().map(window_field));
        let schema = Arc::new(DFSchema::new_with_metadata(fields, Default::default())?);
        Ok(WindowNode { function, input, time, schema })
    }

    /// The kind as operators know it; `None` for SESSION.
    pub fn kind(&self) -> Option<WindowKind> {
        match &self.function {
            WindowFunction::Tumble { size_us, offset_us } => {
                Some(WindowKind::Tumble { size_us: *size_us, offset_us: *offset_us })
            }
            WindowFunction::Hop { slide_us, size_us, offset_us } => {
                Some(WindowKind::Hop { slide_us: *slide_us, size_us: *size_us, offset_us: *offset_us })
            }
            WindowFunction::Cumulate { step_us, size_us, offset_us } => {
                Some(WindowKind::Cumulate { step_us: *step_us, size_us: *size_us, offset_us: *offset_us })
            }
            WindowFunction::Session { .. } => None,
        }
    }

    fn partition_by(&self) -> &[Expr] {
        match &self.function {
            WindowFunction::Session { partition_by: Some(columns), .. } => columns,
            _ => &[],
        }
    }

    fn function_name(&self) -> &'static str {
        match &self.function {
            WindowFunction::Tumble { .. } => "TUMBLE",
            WindowFunction::Hop { .. } => "HOP",
            WindowFunction::Cumulate { .. } => "CUMULATE",
            WindowFunction::Session { .. } => "SESSION",
        }
    }
}

impl PartialOrd for WindowNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.function.partial_cmp(&other.function) {
            Some(Ordering::Equal) => match self.time.partial_cmp(&other.time) {
                Some(Ordering::Equal) => self.input.partial_cmp(&other.input),
                unequal => unequal,
            },
            unequal => unequal,
        }
        .filter(|ordering| *ordering != Ordering::Equal || self == other)
    }
}

impl UserDefinedLogicalNodeCore for WindowNode {
    fn name(&self) -> &str {
        "Window"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        std::iter::once(&self.time).chain(self.partition_by()).cloned().collect()
    }

    /// Predicates on other columns mean the same before windows are assigned. Not so for sessions: a dropped row may
    /// split one, so only predicates on the partition move.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let mut fixed: HashSet<String> = match &self.function {
            WindowFunction::Session { .. } => self.schema.fields().iter().map(|f| f.name().clone()).collect(),
            _ => WINDOW_COLUMNS.iter().map(|name| name.to_string()).collect(),
        };
        for expr in self.partition_by() {
            if let Expr::Column(column) = expr {
                fixed.remove(&column.name);
            }
        }
        fixed
    }

    fn fmt_for_explain(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.function_name(), self.time)
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        let time = exprs.remove(0);
        let function = match &self.function {
            WindowFunction::Session { gap_us, partition_by: Some(_) } => {
                WindowFunction::Session { gap_us: *gap_us, partition_by: Some(exprs) }
            }
            other => other.clone(),
        };
        WindowNode::try_new(function, Arc::new(inputs.remove(0)), time)
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // Columns used by the node's own expressions are added by the caller.
        let width = self.input.schema().fields().len();
        Some(vec![output_columns.iter().copied().filter(|column| *column < width).collect()])
    }
}
