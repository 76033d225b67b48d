//! Late rows of an INSERT: left out of the table with a warning, counted, and kept where `late_rows` says. All of it is
//! one journal entry with the rows that are in time.

use types::SqlState;

use super::write::Target;
use crate::keeper;
use crate::session::Session;
use crate::tables::{AdmittedRows, RowsWritten, Written};
use crate::time::now_us;

/// What else is written when rows of `target` are late.
pub(super) fn leave_out(session: &Session, target: &Target, admitted: &AdmittedRows) -> Vec<RowsWritten> {
    let late = admitted.late.num_rows();
    if late == 0 {
        return vec![];
    }
    let catalog = session.engine.shared.catalog();
    let keeping = target.body().late_rows.and_then(|id| catalog.get(id));
    let (table, rows) = (&target.object.name, if late == 1 { "row is" } else { "rows are" });
    let kept = match keeping {
        Some(keeping) => format!("kept in table \"{}\"", keeping.name),
        None => "see hw_catalog.late_rows".to_string(),
    };
    session.warning(SqlState::Warning, format!("{late} late {rows} outside table \"{table}\": {kept}"));
    let none = Written::Appended(admitted.late.slice(0, 0));
    let mut written = vec![RowsWritten { late: late as u64, ..target.written(none) }];
    written.extend(keeping.map(|keeping| {
        let schema = keeping.arrow_schema();
        let columns = keeper::late_columns(&schema, &admitted.late, table, None, &admitted.late_lines);
        let rows = keeper::with_seen(&schema, columns, vec![now_us(); late]);
        RowsWritten { table: keeping.id, keyed: false, kind: Written::Appended(rows), late: 0 }
    }));
    written
}
