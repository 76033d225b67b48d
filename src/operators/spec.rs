//! What the planner asks for, in a form that is persisted with the view: a restart never replans.
//! Fields are only ever added with a serde default; a changed meaning is a new variant.

use arrow::datatypes::{DataType, SchemaRef};
use kernels::{RecomputeSpec, ScalarExpr};
use serde::{Deserialize, Serialize};
use types::{EventTimeBound, ObjectId};

/// One operator. Port and schema conventions stand with each spec; schemas of inputs are those of the graph's edges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OperatorSpec {
    FilterProject(FilterProjectSpec),
    /// Appends window_start, window_end, window_time; rows multiply for HOP and CUMULATE.
    Window(WindowSpec),
    /// SESSION as a table function: input rows with their session's window columns; merges retract.
    Session(SessionSpec),
    /// First phase of an aggregation, before the exchange: one output row per group of a batch or epoch.
    PartialAggregate(AggregateSpec),
    /// Second phase: keeps the groups, emits net changes.
    Aggregate(AggregateSpec),
    /// SESSION fused with the GROUP BY on it: accumulators per interval, neighbours merge.
    SessionAggregate(SessionAggregateSpec),
    Join(JoinSpec),
    TopN(TopNSpec),
    /// Any number of ports, one schema.
    Union,
    /// Holds rows back until their window has closed (EMIT ON WINDOW CLOSE above operators that don't hold back).
    EmitOnClose(CloseSpec),
    /// Any other DataFusion operation by recomputing the touched keys.
    Recompute(RecomputeSpec),
    /// MATCH_RECOGNIZE with EMIT ON WINDOW CLOSE.
    MatchOnClose(MatchOnCloseSpec),
    /// Passes rows; errors end here: they are shown elsewhere (`on_error = 'dead_letter'` of the relation that is read).
    IgnoreErrors,
    /// Errors as rows; rows end here.
    ErrorRows(ErrorRowsSpec),
    /// Last node of a dataflow: keeps the relation readable.
    Materialize(MaterializeSpec),
}

/// Rows for which `predicate` is true, projected. `None` keeps all rows, all columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FilterProjectSpec {
    pub predicate: Option<ScalarExpr>,
    pub projection: Option<Vec<ScalarExpr>>,
    pub output: SchemaRef,
    /// `on_error = 'null'`: a failing expression gives NULL (a failing predicate drops the row) instead of an error.
    pub null_on_error: bool,
}

/// Microseconds throughout. Intervals are half-open; starts are `offset` modulo `size` (or `slide`, `step`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowKind {
    Tumble { size_us: i64, offset_us: i64 },
    Hop { slide_us: i64, size_us: i64, offset_us: i64 },
    Cumulate { step_us: i64, size_us: i64, offset_us: i64 },
}

/// Output: input columns, then window_start, window_end, window_time (= end − 1 ms), all timestamp(µs).
/// Rows whose time is NULL belong to no window and are dropped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WindowSpec {
    pub kind: WindowKind,
    pub time_column: usize,
}

/// Output as [`WindowSpec`]. A row exactly `gap_us` after the last still belongs; window_end = last + gap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionSpec {
    pub time_column: usize,
    pub gap_us: i64,
    pub partition_by: Vec<usize>,
    /// Closing bound; `None` without a watermark: sessions are kept for ever.
    pub close: Option<SessionClose>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionClose {
    /// A session closes when window_end < bound.
    pub bound: EventTimeBound,
    /// Its state goes when window_end < retain (= bound − allowed lateness).
    pub retain: EventTimeBound,
    pub emit_on_close: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupColumn {
    Input(usize),
    /// Columns of the fused window, see [`AggregateSpec::window`].
    WindowStart,
    WindowEnd,
    WindowTime,
}

/// GROUP BY with COUNT, SUM, AVG, MIN, MAX. Without calls it is DISTINCT. Without group columns it has exactly one
/// group, which exists from the first seal on (COUNT 0, others NULL).
///
/// Partial output: `aggregate::state_fields`, explained in `aggregate/layout.rs`. Final output: group columns, then one
/// column per call, of the call's return type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateSpec {
    pub group: Vec<GroupColumn>,
    pub calls: Vec<AggregateCall>,
    /// Window fused into the partial phase: rows are aggregated per pane (gcd of size and slide), panes expand to
    /// windows afterwards, so HOP never copies rows.
    pub window: Option<WindowSpec>,
    /// Schema of the rows that enter the partial phase.
    pub input: SchemaRef,
    /// Names and types of the final output.
    pub output: SchemaRef,
    pub append_only: bool,
    /// `column` counts in the final output and is one of the group columns.
    pub close: Option<CloseSpec>,
    /// `on_error = 'null'`: a result that leaves its type is NULL.
    #[serde(default)]
    pub null_on_error: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    pub function: AggregateFunction,
    /// Input column; `None` for COUNT(*).
    pub argument: Option<usize>,
    pub distinct: bool,
    /// Boolean input column: rows where it is not true don't count.
    pub filter: Option<usize>,
    pub return_type: DataType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AggregateFunction {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

/// When rows with a window end in `column` are final, and when their state may go.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CloseSpec {
    pub column: usize,
    pub bound: EventTimeBound,
    /// `bound` less the allowed lateness: state goes by this one.
    pub retain: EventTimeBound,
    /// true: closed at end ≤ bound (TUMBLE, HOP, CUMULATE); false: end < bound (SESSION).
    pub inclusive: bool,
    pub emit_on_close: bool,
}

impl CloseSpec {
    /// Whether a window ending at `end` is past `bound_us`.
    pub fn passed(&self, end: i64, bound_us: i64) -> bool {
        bound_us != types::WATERMARK_NONE && (end < bound_us || (self.inclusive && end == bound_us))
    }
}

/// GROUP BY partition columns and window columns over SESSION. Output: `group`, then calls. Input is the raw rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionAggregateSpec {
    pub session: SessionSpec,
    pub group: Vec<GroupColumn>,
    pub calls: Vec<AggregateCall>,
    pub input: SchemaRef,
    pub output: SchemaRef,
    pub append_only: bool,
    /// As in [`AggregateSpec`].
    #[serde(default)]
    pub null_on_error: bool,
}

/// Port 0 is left, port 1 right; both are exchanged by their keys. Output: left columns, then right columns
/// (semi and anti: left columns only).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JoinSpec {
    pub kind: JoinKind,
    pub left_keys: Vec<usize>,
    pub right_keys: Vec<usize>,
    /// NULL = NULL (INTERSECT, EXCEPT, IS NOT DISTINCT FROM).
    pub null_equals_null: bool,
    /// Residual condition over left columns then right columns.
    pub filter: Option<ScalarExpr>,
    pub left: SchemaRef,
    pub right: SchemaRef,
    pub output: SchemaRef,
    /// Rows of a side that can't match any future row of the other and won't change: dropped by this.
    pub left_expiry: Option<ExpirySpec>,
    pub right_expiry: Option<ExpirySpec>,
    pub left_append_only: bool,
    pub right_append_only: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    LeftSemi,
    LeftAnti,
}

/// Matches leave once, when no row to come can change them. Input is append-only; the pattern orders by `time_column`,
/// ascending, before anything else. Rows whose time is NULL are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MatchOnCloseSpec {
    /// Of kind `Match`.
    pub pattern: RecomputeSpec,
    pub time_column: usize,
    /// No row to come is before it.
    pub bound: EventTimeBound,
}

/// State rows go once `column` (timestamp µs) passes `bound`: `< bound`, or `≤ bound` if inclusive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExpirySpec {
    pub column: usize,
    pub bound: EventTimeBound,
    pub inclusive: bool,
}

/// The first `limit` rows after `offset` per partition. Ties: by the encoding of the whole row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopNSpec {
    pub partition_by: Vec<usize>,
    pub order_by: Vec<SortColumn>,
    pub offset: u64,
    /// `None`: all rows (ROW_NUMBER without a bound).
    pub limit: Option<u64>,
    /// Appends ROW_NUMBER as int8.
    pub with_row_number: bool,
    pub append_only: bool,
    pub input: SchemaRef,
    pub output: SchemaRef,
    pub close: Option<CloseSpec>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SortColumn {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

/// The readable relation. `key`: columns that identify a row (at most one live row per key), else whole rows with
/// their multiplicity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaterializeSpec {
    pub relation: ObjectId,
    pub key: Option<Vec<usize>>,
    pub schema: SchemaRef,
    pub append_only: bool,
    /// Its errors don't keep anybody from reading its rows (`on_error = 'dead_letter'`).
    #[serde(default)]
    pub errors_apart: bool,
}

/// Output: relation, sqlstate, message, failed_row, all text; one row per error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorRowsSpec {
    /// Name of the relation whose errors these are.
    pub relation: String,
    pub output: SchemaRef,
}
