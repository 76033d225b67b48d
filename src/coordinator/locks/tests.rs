//! The lock table step by step, and random histories against its invariants.

use types::ObjectId;

use super::table::{LockTable, Mode, Request, Resource};
use Mode::{Exclusive, Share};

const TABLE: ObjectId = ObjectId(7);

fn row(n: u64) -> Resource {
    Resource::Row(TABLE, n)
}

fn waiting(request: Request) -> u64 {
    match request {
        Request::Waiting(ticket) => ticket,
        other => panic!("expected to wait, not {other:?}"),
    }
}

#[test]
fn a_row_has_one_holder_and_others_follow_in_order() {
    let mut locks = LockTable::default();
    assert_eq!(locks.request(1, row(1), Exclusive), Request::Granted);
    assert_eq!(locks.request(1, row(1), Exclusive), Request::Granted);
    assert_eq!(locks.request(2, row(2), Exclusive), Request::Granted);
    let second = waiting(locks.request(2, row(1), Exclusive));
    let third = waiting(locks.request(3, row(1), Exclusive));
    assert_eq!(locks.release_since(1, 0), [second]);
    assert_eq!(locks.release_since(2, 0), [third]);
    assert_eq!(locks.release_since(3, 0), [0u64; 0]);
    assert!(locks.is_empty());
}

#[test]
fn writers_share_a_table_and_a_definition_waits_for_them_and_holds_up_the_next() {
    let mut locks = LockTable::default();
    let table = Resource::Table(TABLE);
    assert_eq!(locks.request(1, table, Share), Request::Granted);
    assert_eq!(locks.request(2, table, Share), Request::Granted);
    let definition = waiting(locks.request(3, table, Exclusive));
    let late = waiting(locks.request(4, table, Share));
    // Who holds it is not queued behind.
    assert_eq!(locks.request(1, table, Share), Request::Granted);
    assert_eq!(locks.release_since(1, 0), [0u64; 0]);
    assert_eq!(locks.release_since(2, 0), [definition]);
    assert_eq!(locks.release_since(3, 0), [late]);
    assert_eq!(locks.release_since(4, 0), [0u64; 0]);
    assert!(locks.is_empty());
}

#[test]
fn who_shares_alone_may_have_it_alone() {
    let mut locks = LockTable::default();
    let table = Resource::Table(TABLE);
    assert_eq!(locks.request(1, table, Share), Request::Granted);
    assert_eq!(locks.request(1, table, Exclusive), Request::Granted);
    let other = waiting(locks.request(2, table, Share));
    assert_eq!(locks.release_since(1, 0), [other]);
    // Two that share and both want it alone.
    assert_eq!(locks.request(3, table, Share), Request::Granted);
    let upgrade = waiting(locks.request(2, table, Exclusive));
    assert_eq!(locks.request(3, table, Exclusive), Request::Deadlock(vec![(3, table), (2, table)]));
    assert_eq!(locks.release_since(3, 0), [upgrade]);
    assert_eq!(locks.release_since(2, 0), [0u64; 0]);
    assert!(locks.is_empty());
}

#[test]
fn who_closes_a_circle_is_refused_and_keeps_what_it_has() {
    let mut locks = LockTable::default();
    for owner in 1..=3 {
        assert_eq!(locks.request(owner, row(owner), Exclusive), Request::Granted);
    }
    let first = waiting(locks.request(1, row(2), Exclusive));
    waiting(locks.request(2, row(3), Exclusive));
    let circle = vec![(3, row(1)), (1, row(2)), (2, row(3))];
    assert_eq!(locks.request(3, row(1), Exclusive), Request::Deadlock(circle));
    assert_eq!(locks.mark(3), 1);
    // It rolls back: the others go on.
    assert_eq!(locks.release_since(3, 0).len(), 1);
    assert_eq!(locks.release_since(2, 0), [first]);
    assert_eq!(locks.release_since(1, 0), [0u64; 0]);
    assert!(locks.is_empty());
}

#[test]
fn a_circle_through_the_queue_is_found() {
    let mut locks = LockTable::default();
    let table = Resource::Table(TABLE);
    assert_eq!(locks.request(1, table, Share), Request::Granted);
    assert_eq!(locks.request(2, row(1), Exclusive), Request::Granted);
    // A definition waits for 1, 2 waits behind the definition, 1 waits for 2.
    waiting(locks.request(3, table, Exclusive));
    waiting(locks.request(2, table, Share));
    let circle = vec![(1, row(1)), (2, table), (3, table)];
    assert_eq!(locks.request(1, row(1), Exclusive), Request::Deadlock(circle));
}

#[test]
fn a_request_that_is_taken_back_lets_the_next_in() {
    let mut locks = LockTable::default();
    let table = Resource::Table(TABLE);
    assert_eq!(locks.request(1, table, Share), Request::Granted);
    let definition = waiting(locks.request(2, table, Exclusive));
    let writer = waiting(locks.request(3, table, Share));
    assert_eq!(locks.cancel(definition, table), [writer]);
    assert_eq!(locks.cancel(definition, table), [0u64; 0]);
    locks.release_since(1, 0);
    locks.release_since(3, 0);
    assert!(locks.is_empty());
}

#[test]
fn a_savepoint_lets_go_only_what_came_after_it() {
    let mut locks = LockTable::default();
    assert_eq!(locks.request(1, row(1), Exclusive), Request::Granted);
    let mark = locks.mark(1);
    assert_eq!(locks.request(1, row(2), Exclusive), Request::Granted);
    let two = waiting(locks.request(2, row(2), Exclusive));
    let one = waiting(locks.request(3, row(1), Exclusive));
    assert_eq!(locks.release_since(1, mark), [two]);
    assert_eq!(locks.release_since(1, 0), [one]);
}

/// Random requests, releases and cancels: holders never conflict, nobody waits without a reason, no circle stays, and
/// in the end nothing is left.
#[test]
fn random_histories_keep_the_invariants() {
    for seed in 0..300u64 {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = |below: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % below
        };
        let mut locks = LockTable::default();
        let mut tickets: Vec<Option<(u64, Resource)>> = vec![None; 6];
        for _ in 0..200 {
            let owner = next(6);
            let settle = |granted: Vec<u64>, tickets: &mut Vec<Option<(u64, Resource)>>| {
                for slot in tickets.iter_mut() {
                    if slot.is_some_and(|(ticket, _)| granted.contains(&ticket)) {
                        *slot = None;
                    }
                }
            };
            match (next(4), tickets[owner as usize]) {
                (0, waits) => {
                    if let Some((ticket, resource)) = waits {
                        let granted = locks.cancel(ticket, resource);
                        tickets[owner as usize] = None;
                        settle(granted, &mut tickets);
                    }
                    let mark = next(3) as usize;
                    let granted = locks.release_since(owner, mark);
                    settle(granted, &mut tickets);
                }
                (_, None) => {
                    let mode = if next(3) == 0 { Share } else { Exclusive };
                    let resource = row(next(4));
                    if let Request::Waiting(ticket) = locks.request(owner, resource, mode) {
                        tickets[owner as usize] = Some((ticket, resource));
                    }
                }
                (_, Some(_)) => {}
            }
            check(&locks, &tickets);
        }
        for owner in 0..6 {
            if let Some((ticket, resource)) = tickets[owner as usize].take() {
                locks.cancel(ticket, resource);
            }
            let granted = locks.release_since(owner, 0);
            tickets.iter_mut().for_each(|slot| {
                if slot.is_some_and(|(ticket, _)| granted.contains(&ticket)) {
                    *slot = None;
                }
            });
        }
        assert!(locks.is_empty(), "seed {seed}");
    }
}

fn check(locks: &LockTable, tickets: &[Option<(u64, Resource)>]) {
    let readings = locks.read();
    let granted: Vec<_> = readings.iter().filter(|reading| reading.granted).collect();
    for (at, one) in granted.iter().enumerate() {
        for other in &granted[at + 1..] {
            let conflict = one.mode == Exclusive || other.mode == Exclusive;
            assert!(one.resource != other.resource || !conflict, "{one:?} beside {other:?}");
        }
    }
    let waits: Vec<_> = readings.iter().filter(|reading| !reading.granted).collect();
    assert_eq!(waits.len(), tickets.iter().flatten().count());
    // Somebody who does not wait holds what everybody in the end waits for: no circle.
    for wait in &waits {
        let mut owners = vec![wait.owner];
        let mut free = false;
        while let Some(owner) = owners.pop() {
            match waits.iter().find(|w| w.owner == owner) {
                None => free = true,
                Some(w) => owners.extend(
                    granted.iter().filter(|g| g.resource == w.resource && g.owner != owner).map(|g| g.owner).take(1),
                ),
            }
            if free {
                break;
            }
        }
        assert!(free, "{wait:?} waits for ever");
    }
}
