//! COMMIT: what a transaction has written becomes one journal entry and enters in one epoch.
//!
//! The transaction is given to a task of its own, which nobody can cancel: a statement that ends early leaves either
//! nothing in the journal, or a commit that goes on, with all its locks held until later writers can see what it did.

use std::collections::BTreeSet;
use std::sync::Arc;

use types::{Epoch, ObjectId, SqlError, SqlState};

use super::written::changes_of;
use crate::engine::Shared;
use crate::work::Work;

/// Commits and waits until the writes are durable and in an epoch. Dropping the future does not stop the commit.
pub(crate) async fn commit(shared: &Arc<Shared>, work: Work) -> Result<(), SqlError> {
    if !work.has_writes() {
        return Ok(());
    }
    let shared = shared.clone();
    let task = tokio::spawn(async move { carry_out(&shared, work).await });
    task.await.map_err(|e| SqlError::internal(format!("the commit ended early: {e}")))?.map(|_| ())
}

async fn carry_out(shared: &Shared, work: Work) -> Result<Epoch, SqlError> {
    check_tables(shared, &work)?;
    let ticket = super::append(shared, changes_of(work.writes()))?;
    let stopping = |_| SqlError::new(SqlState::AdminShutdown, "the server is shutting down");
    let epoch = ticket.admitted.await.map_err(stopping)?;
    shared.recent.record(epoch, work.writes());
    // A table may have been quicker than its notes.
    let tables: BTreeSet<ObjectId> = work.writes().iter().map(|write| write.table).collect();
    for table in tables {
        if let Some(sealed) = shared.oracle.sealed_epoch(table) {
            shared.recent.sealed(table, sealed);
        }
    }
    // From here on others may change the rows: they find the notes.
    drop(work);
    Ok(epoch)
}

/// The tables must still be there.
fn check_tables(shared: &Shared, work: &Work) -> Result<(), SqlError> {
    let catalog = shared.catalog();
    for write in work.writes() {
        if catalog.get(write.table).is_none() {
            let message = format!("relation with OID {} does not exist", write.table);
            return Err(SqlError::new(SqlState::UndefinedTable, message)
                .with_detail("A table that this transaction has written was dropped meanwhile; nothing was written."));
        }
    }
    Ok(())
}
