//! The dataflow behind a table.

use catalog::ColumnEntry;
use dataflow::DataflowGraph;
use types::ObjectId;

use crate::stream;

/// The graph that keeps a table readable: rows admitted to it, exchanged and kept by primary key, or as whole rows with
/// their multiplicity where there is none.
pub fn plan_table(
    relation: ObjectId,
    name: &str,
    columns: &[ColumnEntry],
    primary_key: &[usize],
    append_only: bool,
) -> DataflowGraph {
    stream::table_graph(relation, name, columns, primary_key, append_only)
}
