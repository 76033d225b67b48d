//! Makes a schedule that shows a difference small: acts and rows are left out as long as one of its kind is still seen.

use crate::play::{Difference, follow, lead};
use crate::schedule::Schedule;
use crate::side::Side;

/// Plays of one shrinking; what is left by then is small enough to read.
const PLAYS_MAX: usize = 200;

/// Plays the schedule on both; after a difference the second is as new.
pub async fn compare(postgres: &mut Side, other: &mut Side, schedule: &Schedule) -> Option<Difference> {
    let trace = lead(postgres, schedule).await;
    let difference = follow(other, schedule, &trace).await;
    if difference.is_some() {
        other.renew().await;
    }
    difference
}

/// The difference that the smallest schedule found shows, of the same kind.
pub async fn shrink(
    postgres: &mut Side,
    other: &mut Side,
    mut schedule: Schedule,
    mut difference: Difference,
) -> Difference {
    let mut plays = 0;
    let mut length = schedule.acts.len().div_ceil(2);
    while length > 0 && plays < PLAYS_MAX {
        let mut start = 0;
        let mut smaller = false;
        while start < schedule.acts.len() && plays < PLAYS_MAX {
            let mut candidate = schedule.clone();
            candidate.acts.drain(start..(start + length).min(schedule.acts.len()));
            plays += 1;
            match compare(postgres, other, &candidate).await {
                Some(found) if found.kind == difference.kind => {
                    (schedule, difference) = (candidate, found);
                    smaller = true;
                }
                _ => start += length,
            }
        }
        if !smaller || length > 1 {
            length /= 2;
        }
    }
    for index in (0..schedule.tables.len()).rev() {
        let mut candidate = schedule.clone();
        candidate.tables[index].rows.clear();
        if let Some(found) = compare(postgres, other, &candidate).await
            && found.kind == difference.kind
        {
            (schedule, difference) = (candidate, found);
        }
    }
    difference
}
