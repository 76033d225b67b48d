//! Advisory locks and who waits for whom. Those that wait for a lock are in `waiting.rs`.

use types::{SqlError, SqlState};

use super::scalar::Returns::{Bool, Int4List, TextAs};
use super::scalar::{Call, Function, VOID, acting, strict};
use crate::advisory::{Key, Mode, Scope, Wanted};
use crate::system::SessionView;
use crate::system::table::Cell;

pub const FUNCTIONS: &[Function] = &[
    acting("pg_try_advisory_lock", (1, 2), Bool, |call| try_lock(call, Mode::Exclusive, false)),
    acting("pg_try_advisory_lock_shared", (1, 2), Bool, |call| try_lock(call, Mode::Share, false)),
    acting("pg_try_advisory_xact_lock", (1, 2), Bool, |call| try_lock(call, Mode::Exclusive, true)),
    acting("pg_try_advisory_xact_lock_shared", (1, 2), Bool, |call| try_lock(call, Mode::Share, true)),
    acting("pg_advisory_unlock", (1, 2), Bool, |call| unlock(call, Mode::Exclusive)),
    acting("pg_advisory_unlock_shared", (1, 2), Bool, |call| unlock(call, Mode::Share)),
    acting("pg_advisory_unlock_all", (0, 0), TextAs(VOID), |call| {
        call.view.shared.advisory.unlock_all(call.view.session_id);
        Ok("".into())
    }),
    strict("pg_blocking_pids", (1, 1), Int4List, |call| {
        Ok(call.oid(0).map(|session| blockers(call.view, session)).unwrap_or_default().into())
    }),
];

/// Who holds what a session waits for, and who asked for an advisory lock before it.
fn blockers(view: &SessionView, session: u32) -> Vec<u32> {
    let locks = view.shared.locks.read();
    let waits_for = locks.iter().find(|(of, lock)| *of == session && !lock.granted).map(|(_, lock)| lock.resource);
    let holders = locks.iter().filter(|(of, lock)| *of != session && lock.granted && Some(lock.resource) == waits_for);
    let mut blockers = view.shared.advisory.blockers(session);
    blockers.extend(holders.map(|(of, _)| *of));
    blockers.sort_unstable();
    blockers.dedup();
    blockers
}

/// The lock that a call asks for. `of_transaction`: until the transaction ends, not until it is unlocked.
pub fn wanted(call: &Call, mode: Mode, of_transaction: bool) -> Result<Wanted, SqlError> {
    let scope = match of_transaction {
        true => Scope::Transaction(call.view.transaction),
        false => Scope::Session,
    };
    Ok(Wanted { session: call.view.session_id, key: key(call)?, mode, scope })
}

/// One bigint, or two integers.
fn key(call: &Call) -> Result<Key, SqlError> {
    let numbers: Option<Vec<i64>> = (0..call.arguments.len()).map(|at| call.int(at)).collect();
    match numbers.as_deref() {
        Some([key]) => Ok(Key::One(*key)),
        Some([class, object]) => {
            let integer = |number: i64| {
                i32::try_from(number)
                    .map_err(|_| SqlError::new(SqlState::NumericValueOutOfRange, "integer out of range"))
            };
            Ok(Key::Two(integer(*class)?, integer(*object)?))
        }
        _ => Err(SqlError::new(SqlState::UndefinedFunction, "advisory locks take one bigint or two integers")),
    }
}

fn try_lock(call: &Call, mode: Mode, of_transaction: bool) -> Result<Cell, SqlError> {
    Ok(call.view.shared.advisory.try_lock(wanted(call, mode, of_transaction)?)?.into())
}

fn unlock(call: &Call, mode: Mode) -> Result<Cell, SqlError> {
    let Wanted { session, key, mode, .. } = wanted(call, mode, false)?;
    let held = call.view.shared.advisory.unlock(session, key, mode);
    if !held {
        call.view.notices.warning(SqlState::Warning, format!("you don't own a lock of type {}", mode.name()));
    }
    Ok(held.into())
}
