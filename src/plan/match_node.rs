//! MATCH_RECOGNIZE inside a logical plan: an extension node that carries the finished description of the pattern, over
//! exactly the columns that it needs. Views run it as recompute by key (`stream/match_recognize.rs`), ad-hoc queries as
//! a physical node around the same kernel.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::{DFSchema, DFSchemaRef, Result};
use datafusion_expr::{Expr, LogicalPlan, UserDefinedLogicalNodeCore};
use kernels::{MatchColumn, MatchSpec, RecomputeKind, RecomputeSpec};

/// Rows of `input` with equal key columns are one partition.
#[derive(Debug, Clone)]
pub struct MatchNode {
    pub input: Arc<LogicalPlan>,
    pub key: Vec<usize>,
    pub spec: Arc<MatchSpec>,
    /// The pattern as its author wrote it, for people.
    pub text: String,
    schema: DFSchemaRef,
}

impl MatchNode {
    /// `schema`: of the columns that `spec` names.
    pub fn new(input: LogicalPlan, key: Vec<usize>, spec: MatchSpec, text: String, schema: Schema) -> Result<Self> {
        let schema = Arc::new(DFSchema::try_from(schema)?);
        Ok(MatchNode { input: Arc::new(input), key, spec: Arc::new(spec), text, schema })
    }

    /// What the kernel is told.
    pub fn recompute(&self) -> RecomputeSpec {
        RecomputeSpec {
            key: self.key.clone(),
            kind: RecomputeKind::Match(Box::new(self.spec.as_ref().clone())),
            input: self.input_schema(),
            output: Arc::new(self.schema.as_arrow().clone()),
        }
    }

    pub fn input_schema(&self) -> SchemaRef {
        Arc::new(self.input.schema().as_arrow().clone())
    }
}

impl PartialEq for MatchNode {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key && self.spec == other.spec && self.schema == other.schema && self.input == other.input
    }
}

impl Eq for MatchNode {}

impl Hash for MatchNode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.key, &self.text, &self.input).hash(state);
    }
}

impl PartialOrd for MatchNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        if self == other { Some(Ordering::Equal) } else { None }
    }
}

impl UserDefinedLogicalNodeCore for MatchNode {
    fn name(&self) -> &str {
        "MatchRecognize"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// The columns of the partition. Conditions and measures are not expressions over the input.
    fn expressions(&self) -> Vec<Expr> {
        let column = |key: &usize| Expr::Column(self.input.schema().columns()[*key].clone());
        self.key.iter().map(column).collect()
    }

    /// A row that is left out changes the matches of its partition; whole partitions may be left out.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let of_key = |column: &MatchColumn| matches!(column, MatchColumn::Input(input) if self.key.contains(input));
        let fields = self.schema.fields().iter().zip(&self.spec.columns);
        fields.filter(|(_, column)| !of_key(column)).map(|(field, _)| field.name().clone()).collect()
    }

    fn fmt_for_explain(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MatchRecognize: {}", self.text)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, mut inputs: Vec<LogicalPlan>) -> Result<Self> {
        Ok(MatchNode { input: Arc::new(inputs.remove(0)), ..self.clone() })
    }

    /// All of them: the binder has left out what nobody reads.
    fn necessary_children_exprs(&self, _: &[usize]) -> Option<Vec<Vec<usize>>> {
        Some(vec![(0..self.input.schema().fields().len()).collect()])
    }
}
