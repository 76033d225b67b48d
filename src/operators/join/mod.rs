//! Hash join of two changelogs: inner, left, right, full, semi and anti, with a residual condition.
//!
//! Work happens at the seal, in four steps: left retractions, right retractions, left insertions, right insertions,
//! each probing the other side as the steps before left it. So no pair leaves that the same epoch takes back: what
//! leaves is the net change. Rows shown alone (NULL-padded, semi, anti) are netted at the end of the epoch (`outer`).
//! `side` keeps the rows, `waiting` those that are not worth an index yet, `probe` makes pairs, `expiry` says which rows
//! a watermark lets go.
//!
//! State tables: 0 left, 1 right rows with weights, by the vnode of their keys. Match counts are recomputed after a
//! restore, except for matches with rows that have expired: those are counted in the table.

mod expiry;
mod outer;
mod probe;
mod restore;
mod side;
mod waiting;

use std::collections::VecDeque;

use arrow::array::Array;
use arrow::datatypes::DataType;
use types::limits::BATCH_ROWS_MAX;
use types::{DeltaBatch, EpochRecord, WATERMARK_NONE};

use self::outer::{Alone, Shows, count_own};
use self::probe::{Cursor, Pairs, Residual, batch, delta, joined, joined_schema, next_pairs};
use self::side::{Probing, Side, by_sign, take_delta};
use self::waiting::can_wait;
use crate::arrangement::{Layout, net};
use crate::dirt::slices;
use crate::spec::{JoinKind, JoinSpec};
use crate::{Cut, Operator, OperatorError, Output, Progress, RestoredTable};

/// Pairs made at a time.
const PAIRS: usize = 8_192;
/// Rows of a counted side looked at a time when counts are recomputed.
const RECOUNT_ROWS: usize = 8_192;

const LEFT: usize = 0;

pub struct JoinOperator {
    spec: JoinSpec,
    sides: [Side; 2],
    /// What each side shows alone, where the kind of join has that.
    alone: [Option<Alone>; 2],
    residual: Option<Residual>,
    /// Whether joined pairs leave (not for semi and anti).
    emits_pairs: bool,
    pending: [Vec<DeltaBatch>; 2],
    seal: Option<Seal>,
    restored: bool,
}

/// A seal under way.
struct Seal {
    steps: VecDeque<(usize, DeltaBatch)>,
    current: Option<Step>,
    /// Rows shown alone, ready to leave; `None` until all steps are done.
    leaving: Option<VecDeque<DeltaBatch>>,
}

/// Rows of one side and one sign probing the other side.
struct Step {
    side: usize,
    probing: Probing,
    cursor: Cursor,
    counts: Vec<i64>,
}

impl JoinOperator {
    /// Errors: what compiling the residual condition says.
    pub fn new(spec: &JoinSpec) -> Result<Self, OperatorError> {
        let (left, right) = match spec.kind {
            JoinKind::Inner => (None, None),
            JoinKind::Left => (Some(Shows::Unmatched), None),
            JoinKind::Right => (None, Some(Shows::Unmatched)),
            JoinKind::Full => (Some(Shows::Unmatched), Some(Shows::Unmatched)),
            JoinKind::LeftSemi => (Some(Shows::Matched), None),
            JoinKind::LeftAnti => (Some(Shows::Unmatched), None),
        };
        let (left_expiry, right_expiry) = (spec.left_expiry.as_ref(), spec.right_expiry.as_ref());
        let can_wait = key_types(spec).all(|(left, right)| can_wait(left, right));
        let sides = [
            Side::new(&spec.left, &spec.left_keys, left.is_some(), right_expiry.is_some(), can_wait, left_expiry),
            Side::new(&spec.right, &spec.right_keys, right.is_some(), left_expiry.is_some(), can_wait, right_expiry),
        ];
        check_key_types(spec)?;
        let schema = joined_schema(&spec.left, &spec.right);
        Ok(JoinOperator {
            sides,
            alone: [left.map(Alone::new), right.map(Alone::new)],
            residual: spec.filter.as_ref().map(|f| Residual::new(f, schema)).transpose()?,
            emits_pairs: !matches!(spec.kind, JoinKind::LeftSemi | JoinKind::LeftAnti),
            pending: [vec![], vec![]],
            seal: None,
            restored: false,
            spec: spec.clone(),
        })
    }

    /// Nets the epoch's changes and lines the steps up.
    fn begin(&mut self) -> Result<Seal, OperatorError> {
        if std::mem::take(&mut self.restored) {
            self.finish_restore()?;
        }
        let mut by_step: [Vec<(usize, DeltaBatch)>; 4] = Default::default();
        for side in [0, 1] {
            let layout: &Layout = &self.sides[side].layout;
            for change in net(layout, std::mem::take(&mut self.pending[side]))? {
                let change = self.without_null_keys(side, change);
                let [added, removed] = by_sign(&change);
                by_step[side].extend(removed.iter().flat_map(slices).map(|d| (side, d)));
                by_step[2 + side].extend(added.iter().flat_map(slices).map(|d| (side, d)));
            }
        }
        Ok(Seal { steps: by_step.into_iter().flatten().collect(), current: None, leaving: None })
    }

    /// Rows with a NULL in the key can't match: they show alone if their side does, and go no further.
    fn without_null_keys(&mut self, side: usize, change: DeltaBatch) -> DeltaBatch {
        let keys = self.sides[side].keys.iter().map(|k| change.rows().column(*k));
        let nullable: Vec<_> = keys.filter(|k| k.logical_null_count() > 0).collect();
        if self.spec.null_equals_null || nullable.is_empty() {
            return change;
        }
        let nulls: Vec<_> = nullable.iter().filter_map(|k| k.logical_nulls()).collect();
        let (unmatchable, rest): (Vec<u32>, Vec<u32>) =
            (0..change.num_rows() as u32).partition(|row| nulls.iter().any(|n| n.is_null(*row as usize)));
        if let Some(alone) = &mut self.alone[side] {
            alone.unmatchable(take_delta(&change, &unmatchable));
        }
        take_delta(&change, &rest)
    }

    /// Makes some pairs of the current step; false when it has none left.
    fn advance(&mut self, step: &mut Step, out: &mut Output, fuel: &mut usize) -> Result<bool, OperatorError> {
        let other = 1 - step.side;
        let mut pairs = next_pairs(&step.probing, &self.sides[other], &mut step.cursor, PAIRS.min(*fuel))?;
        if pairs.is_empty() {
            return Ok(false);
        }
        *fuel -= pairs.len();
        let rows = self.matches(&step.probing, step.side, &mut pairs, Some(out))?;
        if self.alone[step.side].is_some() {
            count_own(&mut step.counts, &pairs, &self.sides[other]);
        }
        if let Some(alone) = &mut self.alone[other] {
            let weights = pairs.rows.iter().map(|row| step.probing.batch.diff(*row as usize));
            alone.matched_rows(&mut self.sides[other], &pairs.ids, weights);
        }
        if let Some(rows) = rows.filter(|_| self.emits_pairs) {
            let rows = batch(&self.spec.output, rows.columns().to_vec(), rows.num_rows())?;
            out.push(delta(rows, pairs.diffs));
        }
        Ok(true)
    }

    /// Drops the pairs that fail the residual condition. Returns their joined rows if there is a use for them.
    fn matches(
        &self,
        probing: &Probing,
        side: usize,
        pairs: &mut Pairs,
        out: Option<&mut Output>,
    ) -> Result<Option<arrow::array::RecordBatch>, OperatorError> {
        let stored = &self.sides[1 - side];
        match &self.residual {
            Some(residual) => {
                let rows = joined(&residual.schema, probing, stored, pairs, side == LEFT)?;
                // Without an output this is a second look: errors have left with the first.
                let mut unused = vec![];
                let errors = out.map_or(&mut unused, |out| &mut out.errors);
                residual.filter(pairs, rows, errors).map(Some)
            }
            None if self.emits_pairs && out.is_some() => {
                joined(&self.spec.output, probing, stored, pairs, side == LEFT).map(Some)
            }
            None => Ok(None),
        }
    }

    /// The step's own rows enter or leave their side.
    fn apply(&mut self, step: Step) -> Result<(), OperatorError> {
        let side = step.side;
        if let Some(alone) = &mut self.alone[side] {
            alone.own_rows(&step.probing, &step.counts);
        }
        let own = &mut self.sides[side];
        if step.probing.batch.diff(0) > 0 {
            return own.enter(&step.probing, &step.counts);
        }
        let matches = own.expired_matches_of(&step.probing)?;
        if !own.remove(&step.probing)?.is_empty() {
            return Err(OperatorError::internal("a join was told to retract a row it does not hold"));
        }
        own.note_dirt(&step.probing.batch, matches)
    }

    /// Drops what the watermarks let go, on both sides, and remembers matches of rows that stay.
    fn expire(&mut self, record: &EpochRecord) -> Result<(), OperatorError> {
        let mut dropped = [vec![], vec![]];
        for (side, dropped) in self.sides.iter_mut().zip(&mut dropped) {
            let bound = side.expiry.as_ref().map_or(WATERMARK_NONE, |e| e.spec.bound.at(&record.watermarks));
            *dropped = side.expire(bound)?;
        }
        for (side, dropped) in dropped.into_iter().enumerate() {
            if self.sides[1 - side].expired_matches.is_some() {
                dropped.into_iter().try_for_each(|dropped| self.remember_matches(side, dropped))?;
            }
        }
        Ok(())
    }

    /// `dropped`: rows of `side` that have expired, with negative weights.
    fn remember_matches(&mut self, side: usize, dropped: DeltaBatch) -> Result<(), OperatorError> {
        let other = 1 - side;
        let probing = self.sides[side].probing(dropped)?;
        let mut cursor = Cursor::default();
        loop {
            let mut pairs = next_pairs(&probing, &self.sides[other], &mut cursor, PAIRS)?;
            if pairs.is_empty() {
                return Ok(());
            }
            self.matches(&probing, side, &mut pairs, None)?;
            let kept = &mut self.sides[other];
            let column = kept.expired_matches.as_mut().expect("checked by the caller");
            let mut ids = pairs.ids.clone();
            ids.sort_unstable();
            ids.dedup();
            let before: Vec<i64> = ids.iter().map(|id| column[*id as usize]).collect();
            for (row, id) in pairs.rows.iter().zip(&pairs.ids) {
                column[*id as usize] -= probing.batch.diff(*row as usize);
            }
            let after: Vec<i64> = ids.iter().map(|id| column[*id as usize]).collect();
            let weights: Vec<i64> = ids.iter().map(|id| kept.rows.weight(*id)).collect();
            let rows = kept.rows_at(&ids);
            kept.note_dirt(&DeltaBatch::new(rows.clone(), weights.clone()).negate(), before)?;
            kept.note_dirt(&DeltaBatch::new(rows, weights), after)?;
        }
    }

    /// Recomputes match counts of restored rows.
    fn finish_restore(&mut self) -> Result<(), OperatorError> {
        for side in &mut self.sides {
            side.finish_restore()?;
        }
        for side in [0, 1] {
            if self.sides[side].counts.is_none() {
                continue;
            }
            let ids = self.sides[side].rows.live_ids();
            for ids in ids.chunks(RECOUNT_ROWS) {
                let rows = self.sides[side].rows_at(ids);
                let probing = self.sides[side].probing(DeltaBatch::inserts(rows))?;
                let mut counts = match &self.sides[side].expired_matches {
                    Some(column) => ids.iter().map(|id| column[*id as usize]).collect(),
                    None => vec![0; ids.len()],
                };
                let mut cursor = Cursor::default();
                loop {
                    let mut pairs = next_pairs(&probing, &self.sides[1 - side], &mut cursor, PAIRS)?;
                    if pairs.is_empty() {
                        break;
                    }
                    self.matches(&probing, side, &mut pairs, None)?;
                    count_own(&mut counts, &pairs, &self.sides[1 - side]);
                }
                let column = self.sides[side].counts.as_mut().expect("checked above");
                ids.iter().zip(counts).for_each(|(id, count)| column[*id as usize] = count);
            }
        }
        Ok(())
    }

    /// Net changes of the rows shown alone, left before right.
    fn take_alone(&mut self) -> Result<VecDeque<DeltaBatch>, OperatorError> {
        let padded = self.emits_pairs;
        let mut leaving = VecDeque::new();
        for side in [0, 1] {
            if let Some(alone) = &mut self.alone[side] {
                let padding = if padded { self.sides[1 - side].layout.columns.len() } else { 0 };
                leaving.extend(alone.take(&self.sides[side], &self.spec.output, padding, padded && side != LEFT)?);
            }
        }
        Ok(leaving)
    }

    /// Goes on with a seal until it is done or has used up its fuel.
    fn run(&mut self, seal: &mut Seal, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        let mut fuel = BATCH_ROWS_MAX;
        loop {
            if let Some(mut step) = seal.current.take() {
                while self.advance(&mut step, out, &mut fuel)? {
                    if fuel == 0 {
                        seal.current = Some(step);
                        return Ok(Progress::More);
                    }
                }
                self.apply(step)?;
            }
            let Some((side, batch)) = seal.steps.pop_front() else { break };
            let counts = if self.alone[side].is_some() { vec![0; batch.num_rows()] } else { vec![] };
            let probing = self.sides[side].probing(batch)?;
            self.sides[1 - side].before_probe()?;
            seal.current = Some(Step { side, probing, cursor: Cursor::default(), counts });
        }
        if seal.leaving.is_none() {
            seal.leaving = Some(self.take_alone()?);
        }
        let leaving = seal.leaving.as_mut().expect("set just now");
        while let Some(next) = leaving.pop_front() {
            if next.num_rows() > fuel {
                leaving.push_front(next);
                return Ok(Progress::More);
            }
            fuel -= next.num_rows();
            out.push(next);
        }
        self.expire(record)?;
        Ok(Progress::DONE)
    }
}

fn key_types(spec: &JoinSpec) -> impl Iterator<Item = (&DataType, &DataType)> {
    let pairs = spec.left_keys.iter().zip(&spec.right_keys);
    pairs.map(|(left, right)| (spec.left.field(*left).data_type(), spec.right.field(*right).data_type()))
}

/// Hashes and cells of both sides are compared as they are, so their types must agree.
fn check_key_types(spec: &JoinSpec) -> Result<(), OperatorError> {
    let agree = |l: &DataType, r: &DataType| match (l, r) {
        (DataType::Timestamp(a, _), DataType::Timestamp(b, _)) => a == b,
        _ => l == r,
    };
    for (left, right) in key_types(spec) {
        if !agree(left, right) {
            return Err(OperatorError::internal(format!("join keys of types {left} and {right} were not coerced")));
        }
    }
    Ok(())
}

impl Operator for JoinOperator {
    fn on_batch(&mut self, port: usize, batch: DeltaBatch, _out: &mut Output) -> Result<(), OperatorError> {
        if !batch.is_empty() {
            self.pending[port].push(batch);
        }
        Ok(())
    }

    fn on_seal(&mut self, record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        let mut seal = match self.seal.take() {
            Some(seal) => seal,
            None => self.begin()?,
        };
        let progress = self.run(&mut seal, record, out)?;
        if progress == Progress::More {
            self.seal = Some(seal);
        }
        Ok(progress)
    }

    fn checkpoint(&mut self) -> Cut {
        let mut cut = Cut::default();
        for (table, side) in self.sides.iter_mut().enumerate() {
            side.dirt.cut(&mut cut, table as u16, side.keys.clone());
        }
        cut
    }

    fn restore(&mut self, table: RestoredTable<'_>) -> Result<(), OperatorError> {
        self.restored = true;
        let side = self.sides.get_mut(table.table as usize);
        let side = side.ok_or_else(|| OperatorError::internal(format!("a join has no state table {}", table.table)))?;
        side.restore(table.batch)
    }

    fn memory_bytes(&self) -> usize {
        self.sides.iter().map(Side::memory_bytes).sum()
    }
}

#[cfg(test)]
mod tests;
