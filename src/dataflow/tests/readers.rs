//! A reader that comes, or goes, while a relation is publishing a big epoch gets each of its rows once.

use types::ObjectId;
use types::limits::BATCH_ROWS_MAX;

use super::harness::{Harness, copy_of, sum, with_worker};
use crate::command::Command;

const TABLE: ObjectId = ObjectId(1);
const FIRST: ObjectId = ObjectId(2);
const SECOND: ObjectId = ObjectId(3);
/// An epoch of so many rows is published in several parts.
const ROWS: i64 = 5 * BATCH_ROWS_MAX as i64 + 7;

fn rows_of(harness: &mut Harness<'_>, turns: usize, between: impl FnOnce(&mut Harness<'_>)) -> (usize, i64) {
    harness.epoch(10, TABLE, ROWS, &[TABLE]);
    (0..turns).for_each(|_| harness.turn());
    between(harness);
    let reader = harness.create(copy_of(SECOND, TABLE));
    harness.epoch(11, TABLE, 3, &[TABLE, SECOND]);
    harness.until(|harness| harness.sealed(SECOND) >= 11);
    (reader.row_count(), sum(&reader))
}

const ALL: (usize, i64) = (ROWS as usize + 3, ROWS * (ROWS - 1) / 2 + 3);

#[test]
fn a_reader_that_comes_while_an_epoch_is_published_gets_its_rows_once() {
    for turns in 0..12 {
        with_worker(move |harness| {
            let table = harness.create(copy_of(TABLE, TABLE));
            assert_eq!(rows_of(harness, turns, |_| {}), ALL, "after {turns} turns");
            assert_eq!(sum(&table), ALL.1);
        });
    }
}

#[test]
fn a_reader_that_follows_one_which_left_in_the_middle_gets_its_rows_once() {
    for turns in 0..12 {
        with_worker(move |harness| {
            harness.create(copy_of(TABLE, TABLE));
            harness.create(copy_of(FIRST, TABLE));
            let leave = |harness: &mut Harness<'_>| harness.send(Command::Drop { dataflow: FIRST });
            assert_eq!(rows_of(harness, turns, leave), ALL, "after {turns} turns");
        });
    }
}

#[test]
fn a_second_reader_takes_nothing_from_the_first() {
    for turns in 0..12 {
        with_worker(move |harness| {
            harness.create(copy_of(TABLE, TABLE));
            let first = harness.create(copy_of(FIRST, TABLE));
            harness.epoch(10, TABLE, ROWS, &[TABLE, FIRST]);
            (0..turns).for_each(|_| harness.turn());
            let second = harness.create(copy_of(SECOND, TABLE));
            harness.epoch(11, TABLE, 3, &[TABLE, FIRST, SECOND]);
            harness.until(|harness| harness.sealed(FIRST) >= 11 && harness.sealed(SECOND) >= 11);
            assert_eq!((sum(&first), sum(&second)), (ALL.1, ALL.1), "after {turns} turns");
        });
    }
}
