//! Reading a relation: which columns, and what its catalog entry promises about them.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use catalog::{Catalog, CatalogObject, ObjectBody, WatermarkEntry};
use dataflow::NodeKind;
use datafusion_expr::{LogicalPlan, TableScan};
use types::{EventTimeBound, ObjectId};

use super::errors;
use super::graph::{Graph, Kept};
use super::properties::{Properties, TimeColumn, TimeRole};
use crate::PlanError;
use crate::environment::relation_of;

pub(super) fn convert(graph: &mut Graph<'_>, plan: &LogicalPlan, scan: &TableScan) -> Result<usize, PlanError> {
    let relation = relation_of(plan).filter(|relation| relation.id >= ObjectId::FIRST_USER).ok_or_else(|| {
        PlanError::unsupported(
            format!("a view cannot read \"{}\"", scan.table_name.table()),
            "Views read sources, tables and views.",
        )
    })?;
    let object = graph
        .catalog
        .get(relation.id)
        .ok_or_else(|| PlanError::internal(format!("relation {} is not in the catalog", relation.id)))?;
    let width = relation.schema.fields().len();
    let mut columns = scan.projection.clone().unwrap_or_else(|| (0..width).collect());
    if columns.is_empty() && width > 0 {
        // Only the number of rows is wanted (`count(*)`); rows without columns are nobody's favourite.
        columns.push(0);
    }
    let fields = columns.iter().map(|c| relation.schema.field(*c).clone().with_nullable(true));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let properties = properties_of(object, &columns);
    let label = label(graph.catalog, relation.id, &schema);
    let kind = NodeKind::Input { relation: relation.id, columns };
    let input = graph.push(label, kind, vec![], schema, properties, Kept::nothing());
    Ok(if keeps_errors_apart(object) { errors::ignore(graph, input) } else { input })
}

/// Whether its errors are rows of another view.
fn keeps_errors_apart(object: &CatalogObject) -> bool {
    matches!(&object.body, ObjectBody::MaterializedView(view) if view.dead_letter.is_some())
}

pub(super) fn label(catalog: &Catalog, relation: ObjectId, schema: &Schema) -> String {
    let name = catalog.get(relation).map(|o| o.name.clone()).unwrap_or_else(|| relation.to_string());
    let columns: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    format!("input {name} [{}]", columns.join(", "))
}

/// Properties of `columns` of a relation.
fn properties_of(object: &CatalogObject, columns: &[usize]) -> Properties {
    let position = |column: usize| columns.iter().position(|c| *c == column);
    let all = |key: &Vec<usize>| key.iter().map(|c| position(*c)).collect::<Option<Vec<_>>>();
    let from_watermark = |watermark: &Option<WatermarkEntry>| -> Vec<TimeColumn> {
        let Some(watermark) = watermark else { return vec![] };
        let Some(column) = position(watermark.column) else { return vec![] };
        let close = EventTimeBound::of_source(object.id);
        let retain = close.delayed(watermark.allowed_lateness_us);
        vec![TimeColumn { column, close, retain, inclusive: false, role: TimeRole::Time }]
    };
    let (key, times, endless) = match &object.body {
        ObjectBody::Source(source) => (None, from_watermark(&source.watermark), !source.bounded),
        ObjectBody::Table(table) => {
            let key = (!table.primary_key.is_empty()).then(|| table.primary_key.clone());
            let endless = table.source.as_ref().is_some_and(|source| !source.bounded);
            (key, from_watermark(&table.watermark), endless)
        }
        ObjectBody::MaterializedView(view) => {
            let time = |(column, bound): &(usize, EventTimeBound)| {
                Some(TimeColumn {
                    column: position(*column)?,
                    close: bound.clone(),
                    retain: bound.clone(),
                    inclusive: false,
                    role: role_by_name(&object.columns[*column].name),
                })
            };
            // A view that never retracts over a stream that never ends is itself one.
            (view.key.clone(), view.bounds.iter().filter_map(time).collect(), view.append_only)
        }
        ObjectBody::View { .. } => unreachable!("plain views are expanded when bound"),
    };
    Properties {
        append_only: object.is_append_only(),
        key: key.as_ref().and_then(all),
        times,
        distribution: None,
        endless,
    }
}

/// The catalog keeps a view's bounds without what they are; the column's name tells, and only EMIT ON WINDOW CLOSE of
/// a view on a view depends on it.
fn role_by_name(name: &str) -> TimeRole {
    match name {
        "window_end" => TimeRole::WindowEnd,
        "window_start" => TimeRole::WindowStart,
        "window_time" => TimeRole::WindowTime,
        _ => TimeRole::Time,
    }
}
