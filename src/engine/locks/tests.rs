//! Statements that wait for locks.

use std::sync::Arc;
use std::time::Duration;

use coordinator::locks::{Mode, Resource};
use types::{ObjectId, ToSqlState};

use super::handle::Locks;
use Mode::Exclusive;

const TABLE: ObjectId = ObjectId(7);

fn row(n: u64) -> Resource {
    Resource::Row(TABLE, n)
}

#[tokio::test]
async fn a_statement_waits_until_the_other_transaction_ends() {
    let locks = Arc::new(Locks::default());
    let (first, second) = (locks.owner(1), locks.owner(2));
    assert!(!first.lock(&[(row(1), Exclusive)], None).await.unwrap());
    let wanted = [(row(2), Exclusive), (row(1), Exclusive)];
    let mut blocked = Box::pin(second.lock(&wanted, None));
    assert!(futures::poll!(&mut blocked).is_pending());
    assert_eq!(locks.read().iter().filter(|(session, reading)| *session == 2 && !reading.granted).count(), 1);
    drop(first);
    assert!(blocked.await.unwrap());
}

#[tokio::test]
async fn a_dropped_statement_waits_no_longer() {
    let locks = Arc::new(Locks::default());
    let (first, second, third) = (locks.owner(1), locks.owner(2), locks.owner(3));
    let wanted = [(row(1), Exclusive)];
    first.lock(&wanted, None).await.unwrap();
    let mut blocked = Box::pin(second.lock(&wanted, None));
    assert!(futures::poll!(&mut blocked).is_pending());
    let mut behind = Box::pin(third.lock(&wanted, None));
    assert!(futures::poll!(&mut behind).is_pending());
    drop(blocked);
    drop(first);
    assert!(behind.await.unwrap());
    drop(second);
}

#[tokio::test]
async fn waiting_ends_with_the_lock_timeout_and_a_deadlock_at_once() {
    let locks = Arc::new(Locks::default());
    let (first, second) = (locks.owner(11), locks.owner(12));
    first.lock(&[(row(1), Exclusive)], None).await.unwrap();
    second.lock(&[(row(2), Exclusive)], None).await.unwrap();
    let late = first.lock(&[(row(2), Exclusive)], Some(Duration::from_millis(1))).await.unwrap_err().to_sql_error();
    assert_eq!((late.state.code(), late.message.as_str()), ("55P03", "canceling statement due to lock timeout"));
    let wanted = [(row(2), Exclusive)];
    let mut blocked = Box::pin(first.lock(&wanted, None));
    assert!(futures::poll!(&mut blocked).is_pending());
    let deadlock = second.lock(&[(row(1), Exclusive)], None).await.unwrap_err().to_sql_error();
    assert_eq!((deadlock.state.code(), deadlock.message.as_str()), ("40P01", "deadlock detected"));
    let detail = "Process 12 waits for a row of relation 7; blocked by process 11.
Process 11 waits for a row of relation 7; blocked by process 12.";
    assert_eq!(deadlock.detail.as_deref(), Some(detail));
    drop(second);
    assert!(blocked.await.unwrap());
}
