//! When rows kept by a join may go: from equal event-time keys and from conditions that hold two times together
//! (`a.ts BETWEEN b.ts - x AND b.ts`).

use kernels::ScalarExpr;
use operators::spec::{ExpirySpec, JoinKind};

use super::properties::{Properties, TimeColumn, TimeRole};
use super::scalar::{column_plus_interval, conjuncts};

/// What a join knows about time.
pub(super) struct JoinTimes {
    pub left_expiry: Option<ExpirySpec>,
    pub right_expiry: Option<ExpirySpec>,
    /// Of the output, positions in left columns then right columns.
    pub times: Vec<TimeColumn>,
}

/// A row with `column = t` on one side can only meet rows of the other side whose `other` is at most t + `reach_us`.
struct Reach {
    column: usize,
    other: usize,
    reach_us: i64,
}

/// `filter` is over left columns then right columns.
pub(super) fn join_times(
    kind: JoinKind,
    left: &Properties,
    right: &Properties,
    left_width: usize,
    keys: &[(usize, usize)],
    filter: Option<&ScalarExpr>,
) -> JoinTimes {
    let mut from_left: Vec<Reach> = vec![];
    let mut from_right: Vec<Reach> = vec![];
    for (l, r) in keys {
        from_left.push(Reach { column: *l, other: *r, reach_us: 0 });
        from_right.push(Reach { column: *r, other: *l, reach_us: 0 });
    }
    for part in filter.into_iter().flat_map(conjuncts) {
        match reach_of(part, left_width) {
            Some((true, reach)) => from_left.push(reach),
            Some((false, reach)) => from_right.push(reach),
            None => {}
        }
    }
    let finals = |reaches: &[Reach], own: &Properties, other: &Properties, shift: usize| -> Vec<TimeColumn> {
        reaches.iter().filter_map(|reach| final_time(reach, own, other, shift)).collect()
    };
    let left_finals = finals(&from_left, left, right, 0);
    let right_finals = finals(&from_right, right, left, left_width);
    let keeps_left = !matches!(kind, JoinKind::Right | JoinKind::Full);
    let keeps_right = matches!(kind, JoinKind::Inner | JoinKind::Right);
    let mut times = vec![];
    let visible = left_finals.iter().filter(|_| keeps_left).chain(right_finals.iter().filter(|_| keeps_right));
    for time in visible {
        if !times.iter().any(|t: &TimeColumn| t.column == time.column) {
            times.push(time.clone());
        }
    }
    JoinTimes { left_expiry: expiry(&from_left, left, right), right_expiry: expiry(&from_right, right, left), times }
}

/// (is it the left side's reach, reach) of a comparison between a left and a right time.
fn reach_of(part: &ScalarExpr, left_width: usize) -> Option<(bool, Reach)> {
    let ScalarExpr::Binary { op, left, right } = part else { return None };
    let smaller_first = match op.as_str() {
        "<" | "<=" => true,
        ">" | ">=" => false,
        _ => return None,
    };
    let (small, large) = if smaller_first { (left, right) } else { (right, left) };
    let ((small, small_plus), (large, large_plus)) = (column_plus_interval(small)?, column_plus_interval(large)?);
    // small + s ≤ large + l: from a row of `large`, the other side is at most large + (l − s).
    let reach_us = large_plus.checked_sub(small_plus)?;
    match (small < left_width, large < left_width) {
        (false, true) => Some((true, Reach { column: large, other: small - left_width, reach_us })),
        (true, false) => Some((false, Reach { column: large - left_width, other: small, reach_us })),
        _ => None,
    }
}

/// State of `own` goes once the other side can bring no partner, and, if own rows may be retracted, they won't be.
fn expiry(reaches: &[Reach], own: &Properties, other: &Properties) -> Option<ExpirySpec> {
    // Of several, the one that lets go first: an end rather than a start.
    let by_end = |reach: &&Reach| other.time(reach.other).is_none_or(|time| time.role != TimeRole::WindowEnd);
    let mut reaches: Vec<&Reach> = reaches.iter().collect();
    reaches.sort_by_key(by_end);
    reaches.into_iter().find_map(|reach| {
        let partner = other.time(reach.other)?;
        let no_partner = partner.retain.delayed(reach.reach_us);
        let (bound, inclusive) = match (own.append_only, own.time(reach.column)) {
            (true, _) => (no_partner, partner.inclusive),
            (false, Some(time)) => (no_partner.and(&time.retain), partner.inclusive && time.inclusive),
            (false, None) => return None,
        };
        Some(ExpirySpec { column: reach.column, bound, inclusive })
    })
}

/// Joined rows are final once neither side brings a row for that time.
fn final_time(reach: &Reach, own: &Properties, other: &Properties, shift: usize) -> Option<TimeColumn> {
    let time = own.time(reach.column)?;
    let partner = other.time(reach.other)?;
    let same = reach.reach_us == 0 && time.role == partner.role;
    Some(TimeColumn {
        column: reach.column + shift,
        close: time.close.and(&partner.close.delayed(reach.reach_us)),
        retain: time.retain.and(&partner.retain.delayed(reach.reach_us)),
        inclusive: time.inclusive && partner.inclusive,
        role: if same { time.role } else { TimeRole::Time },
    })
}
