//! The oracle alone: floors, pins, and whom a failure takes along.

use super::*;

const TABLE: ObjectId = ObjectId(1);
const VIEW: ObjectId = ObjectId(2);
const ABOVE: ObjectId = ObjectId(3);
const OTHER: ObjectId = ObjectId(4);

fn oracle() -> Arc<Oracle> {
    let oracle = Oracle::new(10);
    for (relation, inputs) in [(TABLE, vec![]), (VIEW, vec![TABLE]), (ABOVE, vec![VIEW, TABLE]), (OTHER, vec![TABLE])] {
        assert!(oracle.add(relation, inputs, 10, 10, true));
    }
    oracle
}

fn error() -> SqlError {
    SqlError::internal("materialized view \"v\" has failed")
}

#[test]
fn everything_that_reads_a_failed_relation_fails_with_it_and_nothing_else() {
    let oracle = oracle();
    assert_eq!(oracle.fail(VIEW, &error()), [VIEW, ABOVE]);
    assert_eq!(oracle.fail(VIEW, &SqlError::internal("again")), []);
    let failed = [TABLE, VIEW, ABOVE, OTHER].map(|id| oracle.failure(id).is_some());
    assert_eq!(failed, [false, true, true, false]);
    assert_eq!(oracle.failure(ABOVE), Some(error()));
    assert_eq!(oracle.fail(TABLE, &error()), [TABLE, OTHER]);
}

#[test]
fn what_is_made_over_a_failed_relation_has_failed() {
    let oracle = oracle();
    oracle.fail(VIEW, &error());
    assert!(!oracle.add(ObjectId(5), vec![ABOVE], 10, 10, true));
    assert_eq!(oracle.failure(ObjectId(5)), Some(error()));
    assert!(oracle.add(ObjectId(6), vec![OTHER], 10, 10, true));
}

#[test]
fn a_failed_relation_is_unavailable_until_it_is_healed_and_so_is_what_is_made_over_it() {
    let oracle = oracle();
    oracle.fail(VIEW, &error());
    oracle.remove(VIEW);
    assert!(oracle.add(VIEW, vec![TABLE], 0, 10, true));
    assert_eq!((oracle.failure(VIEW), oracle.dataflow_failure(VIEW)), (Some(error()), None));
    assert!(!oracle.add(ObjectId(5), vec![VIEW], 10, 10, true));
    // It fails once more while it is being built.
    assert_eq!(oracle.fail(VIEW, &error()), [VIEW]);
    assert_eq!(oracle.heal(VIEW), Err(error()));
    assert!(oracle.add(VIEW, vec![TABLE], 0, 10, true));
    assert_eq!(oracle.heal(VIEW), Ok(()));
    assert_eq!(oracle.failure(VIEW), None);
    oracle.set_unavailable(TABLE, error());
    assert_eq!(oracle.progress(TABLE), Some(Err(error())));
    oracle.forget(TABLE);
    assert_eq!(oracle.failure(TABLE), None);
}

#[test]
fn a_failed_relation_holds_nothing_back() {
    let oracle = oracle();
    for epoch in 11..=20 {
        oracle.open(epoch, &[TABLE, VIEW], 1_000);
        oracle.sealed(TABLE, epoch);
    }
    assert_eq!((oracle.in_flight(), oracle.retain_from()), ((10, 10_000), 10));
    oracle.fail(VIEW, &error());
    oracle.sealed(TABLE, 20);
    assert_eq!((oracle.in_flight(), oracle.retain_from()), ((0, 0), 20));
    assert_eq!(oracle.pin(&[TABLE, VIEW]).epoch(), 20);
}
