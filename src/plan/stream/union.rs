//! UNION ALL. Types are equal after coercion; positions count, names come from the first input.

use std::sync::Arc;

use arrow::datatypes::Schema;
use dataflow::{Edge, Exchange};
use datafusion_expr::Union;
use kernels::ScalarExpr;
use operators::spec::OperatorSpec;

use super::graph::{Graph, Kept, field};
use super::properties::{Properties, TimeColumn};
use crate::PlanError;

pub(super) fn convert(graph: &mut Graph<'_>, union: &Union) -> Result<usize, PlanError> {
    let fields: Vec<_> = union.schema.fields().iter().map(|f| field(f.name(), f.data_type().clone())).collect();
    let mut inputs = vec![];
    for input in &union.inputs {
        let node = super::convert(graph, input)?;
        // Coercion has made the types equal, or else casts them here.
        let casts = input.schema().fields().iter().zip(&fields).enumerate().map(|(column, (from, to))| {
            let expr = ScalarExpr::Column(column);
            let expr = match from.data_type() == to.data_type() {
                true => expr,
                false => ScalarExpr::Cast { arg: Box::new(expr), to: to.data_type().clone(), try_cast: false },
            };
            (expr, to.clone())
        });
        inputs.push(graph.filter_project(node, None, Some(casts.collect())));
    }
    let all: Vec<&Properties> = inputs.iter().map(|node| &graph.properties[*node]).collect();
    let (first, rest) = all.split_first().ok_or_else(|| PlanError::internal("a union has inputs"))?;
    let mut times: Vec<TimeColumn> = first.times.clone();
    for other in rest {
        times.retain_mut(|time| match other.time(time.column) {
            Some(same) if same.role == time.role => {
                time.close = time.close.and(&same.close);
                time.retain = time.retain.and(&same.retain);
                time.inclusive &= same.inclusive;
                true
            }
            _ => false,
        });
    }
    let properties = Properties {
        append_only: all.iter().all(|p| p.append_only),
        key: None,
        times,
        distribution: None,
        endless: all.iter().any(|p| p.endless),
    };
    let edges = inputs.iter().map(|from| Edge { from: *from, exchange: Exchange::Pipeline }).collect();
    let schema = Arc::new(Schema::new(fields));
    Ok(graph.operator("union all".into(), OperatorSpec::Union, edges, schema, properties, Kept::nothing()))
}
