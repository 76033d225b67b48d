//! The dataflow behind a table.

use catalog::ColumnEntry;
use dataflow::DataflowGraph;
use types::ObjectId;

use crate::stream;

/// What may happen to the rows of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableChanges {
    /// INSERT, UPDATE and DELETE bring deltas.
    Updatable,
    AppendOnly,
    /// A connector brings rows that replace the one with their key. Behind the table's columns stand two more, the
    /// row's partition and its position there: the last of them wins, whatever the order of arrival.
    Upsert,
}

/// The graph that keeps a table readable: rows admitted to it, exchanged and kept by primary key, or as whole rows with
/// their multiplicity where there is none.
pub fn plan_table(
    relation: ObjectId,
    name: &str,
    columns: &[ColumnEntry],
    primary_key: &[usize],
    changes: TableChanges,
) -> DataflowGraph {
    stream::table_graph(relation, name, columns, primary_key, changes)
}
