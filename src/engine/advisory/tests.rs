//! The lock table step by step: order, modes, counts, owners, circles.

use super::table::{AdvisoryError, AdvisoryTable, Answer, Key, Mode, Scope, Ticket, Wanted};
use Mode::{Exclusive, Share};

const KEY: Key = Key::One(7);
const OTHER: Key = Key::Two(0, 7);
/// Granted by letting go.
const NOBODY: [Ticket; 0] = [];

fn wanted(session: u32, key: Key, mode: Mode) -> Wanted {
    Wanted { session, key, mode, scope: Scope::Session }
}

fn table(sessions: u32) -> AdvisoryTable {
    let mut table = AdvisoryTable::default();
    (1..=sessions).for_each(|session| table.open(session));
    table
}

fn waits(table: &mut AdvisoryTable, wanted: Wanted) -> Ticket {
    match table.request(wanted) {
        Ok(Answer::Waiting(ticket)) => ticket,
        other => panic!("{wanted:?}: {other:?}"),
    }
}

fn granted(table: &mut AdvisoryTable, wanted: Wanted) {
    assert_eq!(table.request(wanted), Ok(Answer::Granted), "{wanted:?}");
}

#[test]
fn requests_are_granted_in_order() {
    let mut table = table(5);
    granted(&mut table, wanted(1, KEY, Share));
    granted(&mut table, wanted(2, KEY, Share));
    let exclusive = waits(&mut table, wanted(3, KEY, Exclusive));
    // Nobody overtakes who waits, though the holders would let him.
    let shared = waits(&mut table, wanted(4, KEY, Share));
    assert_eq!(table.take(wanted(5, KEY, Share)), Ok(false));
    assert_eq!(table.take(wanted(5, OTHER, Exclusive)), Ok(true), "the two forms are different keys");
    assert_eq!(table.unlock(1, KEY, Share), Some(vec![]));
    assert_eq!(table.unlock(2, KEY, Share), Some(vec![exclusive]));
    let more = waits(&mut table, wanted(5, KEY, Share));
    assert_eq!(table.unlock(3, KEY, Exclusive), Some(vec![shared, more]));
}

#[test]
fn locks_are_counted_per_mode_and_undone_one_by_one() {
    let mut table = table(2);
    granted(&mut table, wanted(1, KEY, Exclusive));
    granted(&mut table, wanted(1, KEY, Exclusive));
    granted(&mut table, wanted(1, KEY, Share));
    let waiting = waits(&mut table, wanted(2, KEY, Share));
    assert_eq!(table.unlock(1, KEY, Exclusive), Some(vec![]));
    assert_eq!(table.unlock(1, KEY, Exclusive), Some(vec![waiting]), "what is left is shared");
    assert_eq!(table.unlock(1, KEY, Exclusive), None);
    assert_eq!(table.unlock(1, OTHER, Share), None);
    assert_eq!(table.unlock(1, KEY, Share), Some(vec![]));
    assert_eq!(table.unlock_all(2), NOBODY);
    assert!(table.is_empty());
}

#[test]
fn a_transactions_locks_end_with_it_and_only_then() {
    let mut table = table(2);
    let of = |number| Wanted { scope: Scope::Transaction(number), ..wanted(1, KEY, Exclusive) };
    granted(&mut table, of(0));
    assert_eq!(table.unlock(1, KEY, Exclusive), None);
    assert_eq!(table.unlock_all(1), NOBODY);
    let waiting = waits(&mut table, wanted(2, KEY, Exclusive));
    assert_eq!(table.end_transaction(1), vec![waiting]);
    // A statement that was cancelled may still be running elsewhere.
    assert_eq!(table.request(of(0)), Err(AdvisoryError::Ended));
    let next = of(table.transaction(1));
    waits(&mut table, next);
}

#[test]
fn a_savepoint_keeps_what_was_taken_before_it() {
    let mut table = table(2);
    let of_transaction = |key, mode| Wanted { scope: Scope::Transaction(0), ..wanted(1, key, mode) };
    granted(&mut table, of_transaction(KEY, Exclusive));
    granted(&mut table, of_transaction(OTHER, Share));
    let mark = table.mark(1);
    granted(&mut table, of_transaction(KEY, Exclusive));
    granted(&mut table, of_transaction(OTHER, Exclusive));
    granted(&mut table, wanted(1, OTHER, Share));
    let first = waits(&mut table, wanted(2, KEY, Share));
    let second = waits(&mut table, wanted(2, OTHER, Share));
    assert_eq!(table.roll_back(1, mark), vec![second]);
    assert_eq!(table.roll_back(1, mark), NOBODY);
    assert_eq!(table.end_transaction(1), vec![first]);
    assert_eq!(table.unlock(1, OTHER, Share), Some(vec![]));
}

#[test]
fn a_session_that_ends_lets_everything_go() {
    let mut table = table(4);
    granted(&mut table, wanted(1, KEY, Exclusive));
    granted(&mut table, Wanted { scope: Scope::Transaction(0), ..wanted(1, OTHER, Share) });
    granted(&mut table, wanted(2, Key::One(1), Share));
    waits(&mut table, wanted(1, Key::One(1), Exclusive));
    let behind = waits(&mut table, wanted(3, Key::One(1), Share));
    let waiting = waits(&mut table, wanted(4, KEY, Share));
    assert_eq!(table.close(1), vec![behind, waiting]);
    assert_eq!(table.request(wanted(1, KEY, Share)), Err(AdvisoryError::Ended));
    (2..=4).for_each(|session| assert_eq!(table.close(session), NOBODY));
    assert!(table.is_empty());
}

#[test]
fn who_would_wait_for_himself_is_refused() {
    let mut table = table(3);
    (1..=3).for_each(|session| granted(&mut table, wanted(session, Key::One(i64::from(session)), Exclusive)));
    waits(&mut table, wanted(1, Key::One(2), Share));
    waits(&mut table, wanted(2, Key::One(3), Exclusive));
    let circle = vec![(3, Key::One(1), Exclusive), (1, Key::One(2), Share), (2, Key::One(3), Exclusive)];
    assert_eq!(table.request(wanted(3, Key::One(1), Exclusive)), Err(AdvisoryError::Deadlock(circle)));
    assert_eq!(table.blockers(3), vec![]);
    assert_eq!(table.blockers(2), vec![(3, Key::One(3), Exclusive)]);
}

#[test]
fn two_who_share_and_both_want_more_are_a_circle() {
    let mut table = table(3);
    granted(&mut table, wanted(1, KEY, Share));
    granted(&mut table, wanted(2, KEY, Share));
    let behind = waits(&mut table, wanted(3, KEY, Exclusive));
    // A holder is not queued behind who waits for him.
    let upgrade = waits(&mut table, wanted(1, KEY, Exclusive));
    let circle = vec![(2, KEY, Exclusive), (1, KEY, Exclusive)];
    assert_eq!(table.request(wanted(2, KEY, Exclusive)), Err(AdvisoryError::Deadlock(circle)));
    assert_eq!(table.unlock(2, KEY, Share), Some(vec![upgrade]));
    assert_eq!(table.close(1), vec![behind]);
}

#[test]
fn a_request_taken_back_lets_those_behind_it_pass() {
    let mut table = table(3);
    granted(&mut table, wanted(1, KEY, Share));
    let exclusive = waits(&mut table, wanted(2, KEY, Exclusive));
    let shared = waits(&mut table, wanted(3, KEY, Share));
    assert_eq!(table.cancel(2, exclusive), vec![shared]);
    assert_eq!(table.cancel(2, exclusive), NOBODY);
    let shown: Vec<_> = table.read().into_iter().map(|lock| (lock.session, lock.mode, lock.granted)).collect();
    assert_eq!(shown, [(1, Share, true), (3, Share, true)]);
}

/// Against the rules said plainly: holders never conflict, and nobody waits who could go on.
#[test]
fn random_steps_keep_the_rules() {
    let mut state = 7u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut table = table(5);
    for _ in 0..20_000 {
        let session = next(5) as u32 + 1;
        let (key, mode) = (Key::One(next(3) as i64), if next(2) == 0 { Share } else { Exclusive });
        match next(6) {
            0..3 if table.blockers(session).is_empty() => {
                let scope = match next(2) {
                    0 => Scope::Session,
                    _ => Scope::Transaction(table.transaction(session)),
                };
                let _ = table.request(Wanted { session, key, mode, scope });
            }
            3 => drop(table.unlock(session, key, mode)),
            4 if next(2) == 0 => drop(table.roll_back(session, next(3) as usize)),
            4 => drop(table.end_transaction(session)),
            5 if next(4) == 0 => {
                table.close(session);
                table.open(session);
            }
            _ => {}
        }
        let locks = table.read();
        for lock in locks.iter().filter(|lock| lock.granted) {
            let conflicting = locks.iter().any(|other| {
                other.granted
                    && other.key == lock.key
                    && other.session != lock.session
                    && (other.mode == Exclusive || lock.mode == Exclusive)
            });
            assert!(!conflicting, "{locks:?}");
        }
        for waiter in locks.iter().filter(|lock| !lock.granted) {
            assert!(!table.blockers(waiter.session).is_empty(), "{locks:?}");
        }
    }
    (1..=5).for_each(|session| drop(table.close(session)));
    assert!(table.is_empty());
}
