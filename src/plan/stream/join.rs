//! Joins: equal keys become columns of both sides, the rest of the condition a residual filter.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion_common::{JoinType, NullEquality};
use datafusion_expr::{Expr, Join, LogicalPlan};
use kernels::{ScalarExpr, from_logical};
use operators::spec::{ExpirySpec, JoinKind, JoinSpec, OperatorSpec};

use super::expiry::{JoinTimes, join_times};
use super::graph::{Graph, Kept, Projected, field};
use super::properties::Properties;
use super::scalar::{show, substitute};
use super::text::{bound, columns};
use super::top_n::all_columns;
use crate::PlanError;

/// One side: its node with the key columns present.
struct Side {
    node: usize,
    keys: Vec<usize>,
    /// Columns of the logical input; helper key columns come after them.
    visible: usize,
}

pub(super) fn convert(graph: &mut Graph<'_>, join: &Join) -> Result<usize, PlanError> {
    if join.null_aware {
        return Err(PlanError::unsupported(
            "NOT IN over a subquery that may contain NULL is not supported in a materialized view",
            "Use NOT EXISTS (SELECT … WHERE inner.x = outer.x), which ignores NULLs.",
        ));
    }
    let (kind, swapped) = kind_of(join.join_type)?;
    let (left_plan, right_plan) = if swapped { (&join.right, &join.left) } else { (&join.left, &join.right) };
    let (left_on, right_on): (Vec<&Expr>, Vec<&Expr>) =
        join.on.iter().map(|(l, r)| if swapped { (r, l) } else { (l, r) }).unzip();
    let left = side(graph, left_plan, &left_on)?;
    let right = side(graph, right_plan, &right_on)?;
    let filter = residual(graph, join, left_plan, right_plan, &left)?;
    let node = push(graph, kind, &left, &right, filter, join.null_equality == NullEquality::NullEqualsNull);
    let semi = matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti);
    let offset = left.visible_offset(graph);
    let fields: Vec<_> = graph.schema(node).fields().iter().cloned().collect();
    let right_columns = if semi { 0 } else { right.visible };
    let shown = (0..left.visible).chain(offset..offset + right_columns);
    let names = join.schema.fields().iter();
    let projection: Vec<Projected> = shown
        .zip(names)
        .map(|(c, f)| (ScalarExpr::Column(c), field(f.name(), fields[c].data_type().clone())))
        .collect();
    Ok(graph.filter_project(node, None, Some(projection)))
}

impl Side {
    /// Where the right side's columns begin if this is the left.
    fn visible_offset(&self, graph: &Graph<'_>) -> usize {
        graph.schema(self.node).fields().len()
    }
}

/// Our kind, and whether left and right change places.
fn kind_of(join_type: JoinType) -> Result<(JoinKind, bool), PlanError> {
    Ok(match join_type {
        JoinType::Inner => (JoinKind::Inner, false),
        JoinType::Left => (JoinKind::Left, false),
        JoinType::Right => (JoinKind::Right, false),
        JoinType::Full => (JoinKind::Full, false),
        JoinType::LeftSemi => (JoinKind::LeftSemi, false),
        JoinType::LeftAnti => (JoinKind::LeftAnti, false),
        JoinType::RightSemi => (JoinKind::LeftSemi, true),
        JoinType::RightAnti => (JoinKind::LeftAnti, true),
        JoinType::LeftMark | JoinType::RightMark => {
            return Err(PlanError::unsupported(
                "EXISTS or IN inside OR or in the select list is not supported in a materialized view",
                "Write the subquery as a LEFT JOIN, or split the query with UNION.",
            ));
        }
    })
}

/// Converts one input and gives it its key expressions as columns.
fn side(graph: &mut Graph<'_>, plan: &LogicalPlan, on: &[&Expr]) -> Result<Side, PlanError> {
    let node = super::convert(graph, plan)?;
    let mut slots = all_columns(graph, node);
    let visible = plan.schema().fields().len();
    let same = |expr: &ScalarExpr| expr.clone();
    let keys = on.iter().map(|e| slots.add_logical(e, plan.schema(), &same)).collect::<Result<Vec<_>, _>>()?;
    let node = graph.filter_project(node, None, Some(slots.columns));
    Ok(Side { node, keys, visible })
}

/// The condition beside the keys, over all columns of the left node, then those of the right.
fn residual(
    graph: &Graph<'_>,
    join: &Join,
    left_plan: &LogicalPlan,
    right_plan: &LogicalPlan,
    left: &Side,
) -> Result<Option<ScalarExpr>, PlanError> {
    let Some(filter) = &join.filter else { return Ok(None) };
    let both = left_plan.schema().join(right_plan.schema())?;
    let filter = from_logical(filter, &both)?;
    let offset = left.visible_offset(graph);
    let place = |column: usize| match column.checked_sub(left.visible) {
        None => ScalarExpr::Column(column),
        Some(right) => ScalarExpr::Column(offset + right),
    };
    Ok(Some(substitute(&filter, &place)))
}

fn push(
    graph: &mut Graph<'_>,
    kind: JoinKind,
    left: &Side,
    right: &Side,
    filter: Option<ScalarExpr>,
    null_equals_null: bool,
) -> usize {
    let (left_schema, right_schema) = (graph.schema(left.node).clone(), graph.schema(right.node).clone());
    let (left_properties, right_properties) =
        (graph.properties[left.node].clone(), graph.properties[right.node].clone());
    let pairs: Vec<(usize, usize)> = left.keys.iter().copied().zip(right.keys.iter().copied()).collect();
    let left_width = left_schema.fields().len();
    let both: SchemaRef =
        Arc::new(Schema::new(left_schema.fields().iter().chain(right_schema.fields()).cloned().collect::<Vec<_>>()));
    let semi = matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti);
    let output = if semi { left_schema.clone() } else { both.clone() };
    let label = label(kind, left, right, &left_schema, &right_schema, filter.as_ref().map(|f| show(f, &both)));
    let JoinTimes { left_expiry, right_expiry, times } =
        join_times(kind, &left_properties, &right_properties, left_width, &pairs, filter.as_ref());
    if pairs.is_empty() {
        graph.notice(format!("\"{label}\" has no equal keys: it runs on one worker"));
    }
    let kept = kept(
        graph,
        &label,
        [(&left_schema, &left_expiry, &left_properties), (&right_schema, &right_expiry, &right_properties)],
    );
    let both_append = left_properties.append_only && right_properties.append_only;
    let properties = Properties {
        append_only: both_append && matches!(kind, JoinKind::Inner | JoinKind::LeftSemi),
        key: key(kind, left, right, &left_properties, &right_properties, left_width),
        times,
        distribution: match kind {
            JoinKind::Right => Some(right.keys.iter().map(|k| k + left_width).collect()),
            JoinKind::Full => None,
            _ => Some(left.keys.clone()),
        },
        endless: left_properties.endless || right_properties.endless,
    };
    let edges = vec![graph.exchanged(left.node, left.keys.clone()), graph.exchanged(right.node, right.keys.clone())];
    let spec = OperatorSpec::Join(JoinSpec {
        kind,
        left_keys: left.keys.clone(),
        right_keys: right.keys.clone(),
        null_equals_null,
        filter,
        left: left_schema,
        right: right_schema,
        output: output.clone(),
        left_expiry,
        right_expiry,
        left_append_only: left_properties.append_only,
        right_append_only: right_properties.append_only,
    });
    graph.operator(label, spec, edges, output, properties, kept)
}

/// A side whose key lies within its join keys adds at most one partner; otherwise both keys together identify a row.
fn key(
    kind: JoinKind,
    left: &Side,
    right: &Side,
    left_properties: &Properties,
    right_properties: &Properties,
    left_width: usize,
) -> Option<Vec<usize>> {
    if matches!(kind, JoinKind::LeftSemi | JoinKind::LeftAnti) {
        return left_properties.key.clone();
    }
    let shifted = right_properties.shifted(left_width).key;
    let unique = |properties: &Properties, keys: &[usize]| {
        properties.key.as_ref().is_some_and(|key| key.iter().all(|column| keys.contains(column)))
    };
    if unique(right_properties, &right.keys) && matches!(kind, JoinKind::Inner | JoinKind::Left) {
        return left_properties.key.clone();
    }
    if unique(left_properties, &left.keys) && matches!(kind, JoinKind::Inner | JoinKind::Right) {
        return shifted;
    }
    let (left_key, right_key) = (left_properties.key.clone()?, shifted?);
    Some(left_key.into_iter().chain(right_key).collect())
}

fn label(
    kind: JoinKind,
    left: &Side,
    right: &Side,
    left_schema: &Schema,
    right_schema: &Schema,
    filter: Option<String>,
) -> String {
    let name = match kind {
        JoinKind::Inner => "inner join",
        JoinKind::Left => "left join",
        JoinKind::Right => "right join",
        JoinKind::Full => "full join",
        JoinKind::LeftSemi => "semi join",
        JoinKind::LeftAnti => "anti join",
    };
    let mut text = match left.keys.is_empty() {
        true => format!("{name} of all pairs"),
        false => format!("{name} on {} = {}", columns(&left.keys, left_schema), columns(&right.keys, right_schema)),
    };
    if let Some(filter) = filter {
        text.push_str(&format!(" where {filter}"));
    }
    text
}

fn kept(graph: &mut Graph<'_>, label: &str, sides: [(&SchemaRef, &Option<ExpirySpec>, &Properties); 2]) -> Kept {
    let mut texts = vec![];
    let mut unbounded = vec![];
    for ((schema, expiry, properties), name) in sides.into_iter().zip(["left", "right"]) {
        match expiry {
            Some(expiry) => {
                let passed = if expiry.inclusive { "<=" } else { "<" };
                let column = schema.field(expiry.column).name();
                texts.push(format!("{name} rows until {column} {passed} {}", bound(&expiry.bound, graph.catalog)));
            }
            None => {
                texts.push(format!("{name} rows, for ever"));
                if properties.endless {
                    let all: Vec<usize> = (0..schema.fields().len()).collect();
                    unbounded.push(format!("{name} rows {}", columns(&all, schema)));
                }
            }
        }
    }
    if !unbounded.is_empty() {
        graph.notice(format!("the state of \"{label}\" grows without bound: it keeps all {}", unbounded.join(" and ")));
    }
    Kept { text: texts.join("; "), unbounded: !unbounded.is_empty() }
}
