//! GROUP BY with COUNT, SUM, AVG, MIN, MAX and their DISTINCT and FILTER forms, in two phases.
//!
//! `partial` adds up one epoch's input per group before the exchange; `operator` keeps the groups and emits net
//! changes. Between them rows have the columns that `layout` describes; the exchange is by the group columns only.
//!
//! Inside: `key_table` (keys ↔ dense ids), `slots` (state of all calls by id) with one `accumulator` per call
//! (`count`, `sum`, `float_sum`, `extreme`) and `value_set`s for what must remember values; `changes` (old and new
//! outputs), `closing` (windows), `checkpoint`. Sessions use the same slots.

mod accumulator;
mod changes;
mod checkpoint;
mod closing;
mod count;
mod extreme;
mod fixed;
mod fixed_keys;
mod float_sum;
mod key_table;
mod layout;
mod operator;
mod order_key;
mod partial;
mod row_keys;
mod slots;
mod sum;
#[cfg(test)]
pub(crate) mod tests;
mod value_set;

use arrow::datatypes::SchemaRef;

use crate::OperatorError;
use crate::spec::{AggregateCall, AggregateSpec};

pub(crate) use changes::{Outputs, diff_column};
pub(crate) use checkpoint::deletion;
pub(crate) use closing::window_ends;
pub(crate) use key_table::KeyTable;
pub(crate) use layout::Layout;
pub use operator::AggregateOperator;
pub use partial::PartialAggregateOperator;
pub(crate) use slots::{Scope, Slots};

/// Schema of the rows between the two phases.
///
/// Errors: `Limit` (0A000) for a call that the aggregation operators don't have; `Internal` for a malformed spec.
pub fn state_fields(spec: &AggregateSpec) -> Result<SchemaRef, OperatorError> {
    let (groups, null_on_error) = (spec.group.len(), spec.null_on_error);
    let layout = Layout::new(groups, &spec.calls, &spec.input, &spec.output, spec.append_only, null_on_error)?;
    Ok(layout.partial.clone())
}

/// Whether the aggregation operators can compute `call` over `input`. If not, it is for recompute.
pub fn supports(call: &AggregateCall, input: &SchemaRef) -> bool {
    let field = arrow::datatypes::Field::new("call", call.return_type.clone(), true);
    let output = std::sync::Arc::new(arrow::datatypes::Schema::new(vec![field]));
    Layout::new(0, std::slice::from_ref(call), input, &output, false, false).is_ok()
}
