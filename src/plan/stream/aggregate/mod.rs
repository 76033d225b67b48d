//! GROUP BY: COUNT, SUM, AVG, MIN and MAX in two phases around an exchange, fused with the window below where there is
//! one; any other aggregate by recompute of the touched groups.

mod call;
mod recompute;

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use dataflow::{Edge, Exchange};
use datafusion_common::DFSchema;
use datafusion_expr::{Aggregate, Expr, LogicalPlan};
use kernels::ScalarExpr;
use operators::spec::{
    AggregateCall, AggregateFunction, AggregateSpec, CloseSpec, GroupColumn, OperatorSpec, SessionAggregateSpec,
    SessionSpec, WindowSpec,
};

use super::graph::{Graph, Kept, field};
use super::properties::{Properties, TimeColumn, TimeRole};
use super::scalar::{as_column, through};
use super::text::{bound, columns, duration, keys as key_text};
use super::window::{self, Peeled, PeeledFunction};
use super::{Projected, Slots};
use crate::PlanError;
use call::{Call, Group};

pub(super) fn convert(graph: &mut Graph<'_>, aggregate: &Aggregate) -> Result<usize, PlanError> {
    if aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_))) {
        return Err(PlanError::unsupported(
            "GROUPING SETS, ROLLUP and CUBE are not supported in a materialized view",
            "Write one GROUP BY per grouping set and combine them with UNION ALL.",
        ));
    }
    let input = super::convert(graph, &aggregate.input)?;
    let schema = aggregate.input.schema();
    let output = output_schema(&aggregate.schema);
    let calls = aggregate.aggr_expr.iter().map(|expr| Call::of(expr, schema)).collect::<Result<Option<Vec<_>>, _>>()?;
    let Some(calls) = calls else { return recompute::convert(graph, input, aggregate, output) };
    let group = aggregate.group_expr.iter().map(|expr| Group::of(expr, schema)).collect::<Result<Vec<_>, _>>()?;
    let output = readable(output, &group, &calls);
    let plan = Grouping { group, calls, output };
    if let Some(peeled) = window::peel(graph, input)
        && let Some(node) = plan.fused(graph, &peeled)
    {
        return Ok(node);
    }
    Ok(plan.unfused(graph, input))
}

/// DISTINCT over all columns: groups without calls.
pub(super) fn distinct(graph: &mut Graph<'_>, input: &LogicalPlan) -> Result<usize, PlanError> {
    let node = super::convert(graph, input)?;
    let output = output_schema(input.schema());
    let group = input.schema().columns().into_iter().map(Expr::Column);
    let group = group.map(|expr| Group::of(&expr, input.schema())).collect::<Result<Vec<_>, _>>()?;
    Ok(Grouping { group, calls: vec![], output }.unfused(graph, node))
}

fn output_schema(schema: &DFSchema) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| field(f.name(), f.data_type().clone()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The output under names for people; readers go by position.
fn readable(output: SchemaRef, group: &[Group], calls: &[Call]) -> SchemaRef {
    let names = group.iter().map(|g| g.name.clone()).chain(calls.iter().map(Call::name));
    let fields = output.fields().iter().zip(names).map(|(f, name)| field(name, f.data_type().clone()));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

struct Grouping {
    group: Vec<Group>,
    calls: Vec<Call>,
    output: SchemaRef,
}

impl Grouping {
    fn unfused(&self, graph: &mut Graph<'_>, input: usize) -> usize {
        let mut slots = Slots::default();
        let group: Vec<usize> =
            self.group.iter().map(|g| slots.add(g.expr.clone(), &g.name, g.data_type.clone())).collect();
        let calls = self.call_specs(&mut slots, &|expr| expr.clone());
        let rows = graph.filter_project(input, None, Some(keep_one(slots, graph.schema(input))));
        let times = group.iter().enumerate().filter_map(|(position, column)| {
            graph.properties[rows].time(*column).map(|time| TimeColumn { column: position, ..time.clone() })
        });
        let times = times.collect();
        let group = group.into_iter().map(GroupColumn::Input).collect();
        self.two_phases(graph, rows, group, calls, None, times)
    }

    /// On top of the window itself, if everything but the window columns can be computed below it.
    fn fused(&self, graph: &mut Graph<'_>, peeled: &Peeled) -> Option<usize> {
        let over_window = |expr: &ScalarExpr| through(expr, peeled.projection.as_deref());
        let below_window = |expr: &ScalarExpr| over_window(expr).columns().iter().all(|c| *c < peeled.width);
        let mut roles = vec![];
        for group in &self.group {
            let expr = over_window(&group.expr);
            let role = match as_column(&expr).and_then(|c| c.checked_sub(peeled.width)) {
                Some(0) => Some(GroupColumn::WindowStart),
                Some(1) => Some(GroupColumn::WindowEnd),
                Some(_) => Some(GroupColumn::WindowTime),
                None if below_window(&group.expr) => None,
                None => return None,
            };
            roles.push(role);
        }
        let has_window = roles.iter().flatten().any(|r| matches!(r, GroupColumn::WindowStart | GroupColumn::WindowEnd));
        let arguments =
            self.calls.iter().flat_map(|c| c.argument.iter().map(|(e, ..)| e).chain(c.filter.iter().map(|(e, _)| e)));
        let predicate_below = peeled.predicate.iter().flat_map(|p| p.columns()).all(|c| c < peeled.width);
        if !has_window || !predicate_below || !arguments.into_iter().all(below_window) {
            return None;
        }
        match &peeled.function {
            PeeledFunction::Window(spec) => Some(self.fused_window(graph, peeled, spec, &roles, &over_window)),
            PeeledFunction::Session(spec) => self.fused_session(graph, peeled, spec, &roles, &over_window),
        }
    }

    fn fused_window(
        &self,
        graph: &mut Graph<'_>,
        peeled: &Peeled,
        spec: &WindowSpec,
        roles: &[Option<GroupColumn>],
        translate: &dyn Fn(&ScalarExpr) -> ScalarExpr,
    ) -> usize {
        let mut slots = Slots::default();
        let group = self.group_columns(&mut slots, roles, translate);
        let calls = self.call_specs(&mut slots, translate);
        let time_field = graph.schema(peeled.below).field(spec.time_column).clone();
        let time_column =
            slots.add(ScalarExpr::Column(spec.time_column), time_field.name(), time_field.data_type().clone());
        graph.truncate_after(peeled.below);
        let rows = graph.filter_project(peeled.below, peeled.predicate.clone(), Some(slots.columns));
        let positions = |wanted: GroupColumn| group.iter().position(|g| *g == wanted).unwrap_or(usize::MAX);
        let mut times = window::window_times(
            &graph.properties[rows],
            time_column,
            &spec.kind,
            [
                positions(GroupColumn::WindowStart),
                positions(GroupColumn::WindowEnd),
                positions(GroupColumn::WindowTime),
            ],
        );
        times.retain(|time| time.column != usize::MAX);
        self.two_phases(graph, rows, group, calls, Some(WindowSpec { kind: spec.kind, time_column }), times)
    }

    fn fused_session(
        &self,
        graph: &mut Graph<'_>,
        peeled: &Peeled,
        spec: &SessionSpec,
        roles: &[Option<GroupColumn>],
        translate: &dyn Fn(&ScalarExpr) -> ScalarExpr,
    ) -> Option<usize> {
        // A filter above would have to see which session a row belongs to before it is dropped.
        if peeled.predicate.is_some() {
            return None;
        }
        let grouped: Vec<Option<usize>> = self.group.iter().map(|g| as_column(&translate(&g.expr))).collect();
        let is_key = |column: &Option<usize>| column.is_some_and(|c| spec.partition_by.contains(&c));
        let all_keys = spec.partition_by.iter().all(|key| grouped.contains(&Some(*key)));
        let only_keys = grouped.iter().zip(roles).all(|(column, role)| role.is_some() || is_key(column));
        // Two sessions of a key never share a start or an end, so either identifies one.
        if !all_keys || !only_keys {
            return None;
        }
        let mut slots = Slots::default();
        let group = self.group_columns(&mut slots, roles, translate);
        let calls = self.call_specs(&mut slots, translate);
        let source = graph.schema(peeled.below).clone();
        let mut slot_of = |column: usize| {
            let f = source.field(column);
            slots.add(ScalarExpr::Column(column), f.name(), f.data_type().clone())
        };
        let partition_by: Vec<usize> = spec.partition_by.iter().map(|c| slot_of(*c)).collect();
        let time_column = slot_of(spec.time_column);
        graph.truncate_after(peeled.below);
        let rows = graph.filter_project(peeled.below, None, Some(slots.columns));
        Some(self.session_aggregate(graph, rows, group, calls, partition_by, time_column, spec.gap_us))
    }

    fn session_aggregate(
        &self,
        graph: &mut Graph<'_>,
        rows: usize,
        group: Vec<GroupColumn>,
        calls: Vec<AggregateCall>,
        partition_by: Vec<usize>,
        time_column: usize,
        gap_us: i64,
    ) -> usize {
        let input = graph.schema(rows).clone();
        let below = graph.properties[rows].clone();
        let close = window::session_close(&below, time_column);
        let label = format!(
            "session aggregate {} gap {} on {}: {}",
            columns(&partition_by, &input),
            duration(gap_us),
            input.field(time_column).name(),
            self.calls_text()
        );
        let position = |wanted: GroupColumn| group.iter().position(|g| *g == wanted).unwrap_or(usize::MAX);
        let positions = [GroupColumn::WindowStart, GroupColumn::WindowEnd, GroupColumn::WindowTime].map(position);
        let mut times = window::session_times(close.as_ref(), positions);
        times.retain(|time| time.column != usize::MAX);
        let kept = window::kept_by_session(graph, close.as_ref(), below.endless, &label, "accumulators");
        let distribution = partition_by.iter().map(|key| position(GroupColumn::Input(*key))).collect();
        let properties = Properties {
            append_only: false,
            key: Some((0..group.len()).collect()),
            times,
            distribution: Some(distribution),
            endless: below.endless,
        };
        let edge = graph.exchanged(rows, partition_by.clone());
        let session = SessionSpec { time_column, gap_us, partition_by, close };
        let spec = OperatorSpec::SessionAggregate(SessionAggregateSpec {
            session,
            group,
            calls,
            input,
            output: self.output.clone(),
            append_only: below.append_only,
            null_on_error: false,
        });
        graph.operator(label, spec, vec![edge], self.output.clone(), properties, kept)
    }

    fn group_columns(
        &self,
        slots: &mut Slots,
        roles: &[Option<GroupColumn>],
        translate: &dyn Fn(&ScalarExpr) -> ScalarExpr,
    ) -> Vec<GroupColumn> {
        let mut column = |g: &Group| slots.add(translate(&g.expr), &g.name, g.data_type.clone());
        let pairs = self.group.iter().zip(roles);
        pairs.map(|(g, role)| role.unwrap_or_else(|| GroupColumn::Input(column(g)))).collect()
    }

    fn call_specs(&self, slots: &mut Slots, translate: &dyn Fn(&ScalarExpr) -> ScalarExpr) -> Vec<AggregateCall> {
        let mut spec = |call: &Call| AggregateCall {
            function: call.function,
            argument: call
                .argument
                .as_ref()
                .map(|(expr, name, data_type)| slots.add(translate(expr), name, data_type.clone())),
            distinct: call.distinct,
            filter: call.filter.as_ref().map(|f| slots.add(translate(&f.0), &f.1, DataType::Boolean)),
            return_type: call.return_type.clone(),
        };
        self.calls.iter().map(&mut spec).collect()
    }

    fn calls_text(&self) -> String {
        let texts: Vec<String> = self.calls.iter().map(Call::name).collect();
        if texts.is_empty() { "distinct".into() } else { texts.join(", ") }
    }

    fn two_phases(
        &self,
        graph: &mut Graph<'_>,
        rows: usize,
        group: Vec<GroupColumn>,
        calls: Vec<AggregateCall>,
        window: Option<WindowSpec>,
        times: Vec<TimeColumn>,
    ) -> usize {
        let input = graph.schema(rows).clone();
        let below = graph.properties[rows].clone();
        let close = close_spec(&times);
        let keys: Vec<usize> = (0..group.len()).collect();
        let over = window.as_ref().map(|w| format!(" over {}", window::kind_text(&w.kind))).unwrap_or_default();
        let calls_text = self.calls_text();
        let label = format!("aggregate {}{over}: {calls_text}", key_text(&keys, &self.output));
        let kept = self.kept(graph, &label, close.as_ref(), &below, &calls);
        let spec = AggregateSpec {
            group,
            calls,
            window,
            input,
            output: self.output.clone(),
            append_only: below.append_only,
            close,
            null_on_error: false,
        };
        let partial_schema = partial_schema(&self.output, keys.len());
        let partial = graph.operator(
            format!("partial aggregate {}{over}: {calls_text}", key_text(&keys, &self.output)),
            OperatorSpec::PartialAggregate(spec.clone()),
            vec![Edge { from: rows, exchange: Exchange::Pipeline }],
            partial_schema,
            Properties { endless: below.endless, ..Properties::default() },
            Kept::nothing(),
        );
        let properties = Properties {
            append_only: false,
            key: Some(keys.clone()),
            times,
            distribution: Some(keys.clone()),
            endless: below.endless,
        };
        let edge = Edge { from: partial, exchange: Exchange::Hash(keys) };
        graph.operator(label, OperatorSpec::Aggregate(spec), vec![edge], self.output.clone(), properties, kept)
    }

    fn kept(
        &self,
        graph: &mut Graph<'_>,
        label: &str,
        close: Option<&CloseSpec>,
        below: &Properties,
        calls: &[AggregateCall],
    ) -> Kept {
        if let Some(close) = close {
            let name = self.output.field(close.column).name();
            let passed = if close.inclusive { "<=" } else { "<" };
            return Kept::bounded(format!(
                "one row per group, until {name} {passed} {}",
                bound(&close.retain, graph.catalog)
            ));
        }
        let extremes = |c: &AggregateCall| matches!(c.function, AggregateFunction::Min | AggregateFunction::Max);
        let keeps_values = calls.iter().any(|c| c.distinct || (extremes(c) && !below.append_only));
        let text = match (self.group.is_empty(), keeps_values) {
            (true, false) => return Kept::bounded("one row"),
            (true, true) => "one row and the distinct values".to_string(),
            (false, false) => "one row per group, for ever".to_string(),
            (false, true) => "one row per group and the distinct values, for ever".to_string(),
        };
        if below.endless {
            graph.notice(format!("the state of \"{label}\" grows without bound: nothing says when a group is done"));
        }
        Kept { text, unbounded: below.endless }
    }
}

/// Rows without columns are avoided: COUNT(*) without groups keeps one.
fn keep_one(slots: Slots, input: &Schema) -> Vec<Projected> {
    if slots.columns.is_empty() && !input.fields().is_empty() {
        return vec![(ScalarExpr::Column(0), input.fields()[0].clone())];
    }
    slots.columns
}

/// Closes by the window's end where it is grouped, else by whatever grouped column passes first.
fn close_spec(times: &[TimeColumn]) -> Option<CloseSpec> {
    let time = times.iter().find(|t| t.role == TimeRole::WindowEnd).or_else(|| times.first())?;
    Some(CloseSpec {
        column: time.column,
        bound: time.close.clone(),
        retain: time.retain.clone(),
        inclusive: time.inclusive,
        emit_on_close: false,
    })
}

/// The group columns; the operator appends its own state columns.
fn partial_schema(output: &Schema, groups: usize) -> SchemaRef {
    Arc::new(Schema::new(output.fields()[..groups].to_vec()))
}
