//! The oracle: which epochs exist, how far each relation has sealed, and which epoch a query reads.
//!
//! A query fixes its epoch once: the larger of the floor and the newest epoch that all its relations have sealed. The
//! floor is the highest epoch shown or acknowledged to anyone, so reads never go back and everyone reads their writes.
//! A relation that has failed answers with its failure, and so does everything that reads it: a dataflow behind it stands
//! still, and what it showed last is not the present any more. It holds nobody back: neither the floor nor the epochs in
//! flight count it.
//!
//! Invariant: floor, opened and every frontier only grow; deltas at or below `retain_from()` may be forgotten, unless the
//! relation's own `retain_history` keeps them (`retention.rs`).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::watch;
use types::{Epoch, ObjectId, SqlError, SqlState};

/// Shared by the clock (opens epochs), the workers (seal them) and all sessions (read at them).
#[derive(Debug)]
pub struct Oracle {
    inner: Mutex<Inner>,
    /// Bumped whenever any frontier moves.
    moved: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Inner {
    opened: Epoch,
    floor: Epoch,
    pins: BTreeMap<Epoch, usize>,
    relations: HashMap<ObjectId, Progress>,
    /// What readers of a relation are told that has failed, whatever is being done about it.
    unavailable: HashMap<ObjectId, SqlError>,
}

#[derive(Debug, Default)]
struct Progress {
    /// What its dataflow reads.
    inputs: Vec<ObjectId>,
    /// Epochs that concern the relation and are not sealed yet, with their row counts, oldest first.
    outstanding: VecDeque<(Epoch, usize)>,
    sealed: Epoch,
    /// The relation is not readable below this epoch (it is still being built).
    readable_from: Epoch,
    attached: bool,
    /// The dataflow that keeps it now has failed.
    failed: Option<SqlError>,
}

impl Progress {
    fn frontier(&self, opened: Epoch) -> Epoch {
        match self.outstanding.front() {
            Some((first, _)) => first - 1,
            None => opened,
        }
    }
}

/// Keeps an epoch readable until dropped. A subscription moves its pin.
#[derive(Debug)]
pub struct Pin {
    oracle: Arc<Oracle>,
    epoch: Epoch,
}

impl Pin {
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Moves the pin forward.
    pub fn advance(&mut self, epoch: Epoch) {
        assert!(epoch >= self.epoch, "a pin never goes back");
        let mut inner = self.oracle.lock();
        *inner.pins.entry(epoch).or_default() += 1;
        inner.unpin(self.epoch);
        self.epoch = epoch;
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.oracle.lock().unpin(self.epoch);
    }
}

impl Inner {
    fn unpin(&mut self, epoch: Epoch) {
        let count = self.pins.get_mut(&epoch).expect("a pin is counted");
        *count -= 1;
        if *count == 0 {
            self.pins.remove(&epoch);
        }
    }

    fn fail(&mut self, relation: ObjectId, error: &SqlError) -> Vec<ObjectId> {
        let mut failed = vec![];
        let mut open = VecDeque::from([relation]);
        while let Some(id) = open.pop_front() {
            let Some(progress) = self.relations.get_mut(&id).filter(|p| p.failed.is_none()) else { continue };
            progress.failed = Some(error.clone());
            self.unavailable.insert(id, error.clone());
            failed.push(id);
            let reads = |progress: &Progress| progress.inputs.contains(&id);
            open.extend(self.relations.iter().filter(|(_, p)| reads(p)).map(|(reader, _)| *reader));
        }
        // Readers have larger ids.
        failed.sort_unstable();
        failed
    }

    fn failure(&self, relation: ObjectId) -> Option<&SqlError> {
        let failed = || self.relations.get(&relation).and_then(|progress| progress.failed.as_ref());
        self.unavailable.get(&relation).or_else(failed)
    }

    fn retain_from(&self) -> Epoch {
        let oldest_pin = self.pins.keys().next().copied().unwrap_or(Epoch::MAX);
        self.floor.min(oldest_pin)
    }
}

impl Oracle {
    /// Starts at `epoch`: everything up to it is sealed.
    pub fn new(epoch: Epoch) -> Arc<Oracle> {
        let inner = Inner { opened: epoch, floor: epoch, ..Inner::default() };
        Arc::new(Oracle { inner: Mutex::new(inner), moved: watch::Sender::new(0) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no panic while holding the oracle")
    }

    pub fn opened(&self) -> Epoch {
        self.lock().opened
    }

    /// A relation that takes part from now on, reading `inputs`. `readable_from`: first epoch at which it is complete.
    /// False if one of its inputs has failed: then it has, too.
    pub fn add(
        &self,
        relation: ObjectId,
        inputs: Vec<ObjectId>,
        sealed: Epoch,
        readable_from: Epoch,
        attached: bool,
    ) -> bool {
        let mut inner = self.lock();
        let failed = inputs.iter().find_map(|id| inner.failure(*id)).cloned();
        let sound = failed.is_none();
        let progress = Progress { inputs, sealed, readable_from, attached, failed, ..Progress::default() };
        inner.relations.insert(relation, progress);
        sound
    }

    /// A catching-up relation is complete from `epoch` on, once sealed there.
    pub fn join(&self, relation: ObjectId, epoch: Epoch) {
        if let Some(progress) = self.lock().relations.get_mut(&relation) {
            progress.readable_from = epoch;
            progress.outstanding.push_back((epoch, 0));
        }
    }

    pub fn set_attached(&self, relation: ObjectId) {
        if let Some(progress) = self.lock().relations.get_mut(&relation) {
            progress.attached = true;
        }
    }

    /// Its dataflow is gone. If it had failed its readers are told so as before.
    pub fn remove(&self, relation: ObjectId) {
        self.lock().relations.remove(&relation);
        self.bump();
    }

    /// The relation is gone for good.
    pub fn forget(&self, relation: ObjectId) {
        self.lock().unavailable.remove(&relation);
        self.bump();
    }

    /// What readers of a relation are told from now on.
    pub fn set_unavailable(&self, relation: ObjectId, error: SqlError) {
        self.lock().unavailable.insert(relation, error);
        self.bump();
    }

    /// The relation can be read again, unless the dataflow that now keeps it has failed.
    pub fn heal(&self, relation: ObjectId) -> Result<(), SqlError> {
        let mut inner = self.lock();
        let failed = inner.relations.get(&relation).and_then(|progress| progress.failed.clone());
        if let Some(error) = failed {
            return Err(error);
        }
        inner.unavailable.remove(&relation);
        drop(inner);
        self.bump();
        Ok(())
    }

    /// A relation has failed, and with it what reads it, directly or not. Gives those that had not failed before, readers
    /// after what they read.
    pub fn fail(&self, relation: ObjectId, error: &SqlError) -> Vec<ObjectId> {
        let mut inner = self.lock();
        let failed = inner.fail(relation, error);
        drop(inner);
        self.bump();
        failed
    }

    /// The clock opens an epoch that concerns `relations` and carries `rows` rows.
    pub fn open(&self, epoch: Epoch, relations: &[ObjectId], rows: usize) {
        let mut inner = self.lock();
        assert!(epoch > inner.opened, "epochs only grow");
        inner.opened = epoch;
        for relation in relations {
            if let Some(progress) = inner.relations.get_mut(relation) {
                progress.outstanding.push_back((epoch, rows));
            }
        }
        drop(inner);
        self.bump();
    }

    /// A private or shared epoch was sealed by all workers. Returns whether the relation is complete there.
    pub fn sealed(&self, relation: ObjectId, epoch: Epoch) -> bool {
        let mut inner = self.lock();
        let complete = inner.relations.get(&relation).is_some_and(|p| p.readable_from <= epoch);
        if let Some(progress) = inner.relations.get_mut(&relation) {
            progress.sealed = progress.sealed.max(epoch);
            while progress.outstanding.front().is_some_and(|(e, _)| *e <= epoch) {
                progress.outstanding.pop_front();
            }
        }
        let opened = inner.opened;
        let counted = inner.relations.values().filter(|p| p.attached && p.failed.is_none());
        let lowest = counted.map(|p| p.frontier(opened)).min();
        inner.floor = inner.floor.max(lowest.unwrap_or(opened));
        drop(inner);
        self.bump();
        complete
    }

    /// The epoch from which readers need deltas.
    pub fn retain_from(&self) -> Epoch {
        self.lock().retain_from()
    }

    /// Raises the floor: `epoch` was acknowledged to a client.
    pub fn acknowledge(&self, epoch: Epoch) {
        let mut inner = self.lock();
        inner.floor = inner.floor.max(epoch);
    }

    /// Epochs and rows in flight at the slowest attached relation.
    pub fn in_flight(&self) -> (usize, usize) {
        let inner = self.lock();
        let attached = inner.relations.values().filter(|p| p.attached && p.failed.is_none());
        attached.fold((0, 0), |(epochs, rows), p| {
            (epochs.max(p.outstanding.len()), rows.max(p.outstanding.iter().map(|(_, r)| r).sum()))
        })
    }

    /// How far `relation` has sealed, and whether it is complete there.
    pub fn frontier(&self, relation: ObjectId) -> Option<Epoch> {
        let inner = self.lock();
        inner.relations.get(&relation).map(|p| p.frontier(inner.opened))
    }

    /// The last epoch sealed by the dataflow itself (private epochs included).
    pub fn sealed_epoch(&self, relation: ObjectId) -> Option<Epoch> {
        self.lock().relations.get(&relation).map(|p| p.sealed)
    }

    /// How far `relation` has sealed, or why it cannot be read; `None` if there is no such relation.
    pub fn progress(&self, relation: ObjectId) -> Option<Result<Epoch, SqlError>> {
        let inner = self.lock();
        if let Some(error) = inner.failure(relation) {
            return Some(Err(error.clone()));
        }
        inner.relations.get(&relation).map(|progress| Ok(progress.frontier(inner.opened)))
    }

    /// Why `relation` cannot be read.
    pub fn failure(&self, relation: ObjectId) -> Option<SqlError> {
        self.lock().failure(relation).cloned()
    }

    /// How far the dataflow that keeps `relation` has sealed, or why it stopped, whatever readers are told.
    pub fn dataflow_progress(&self, relation: ObjectId) -> Option<Result<Epoch, SqlError>> {
        let inner = self.lock();
        let progress = inner.relations.get(&relation)?;
        Some(progress.failed.clone().map_or(Ok(progress.frontier(inner.opened)), Err))
    }

    /// Why the dataflow that keeps `relation` stopped, whatever readers are told.
    pub fn dataflow_failure(&self, relation: ObjectId) -> Option<SqlError> {
        self.dataflow_progress(relation).and_then(Result::err)
    }

    /// Chooses and pins the epoch at which a query over `relations` reads. The caller then waits for it.
    pub fn pin(self: &Arc<Self>, relations: &[ObjectId]) -> Pin {
        let mut inner = self.lock();
        let opened = inner.opened;
        // The caller learns of a failure when it waits.
        let sound = relations.iter().filter(|relation| inner.failure(**relation).is_none());
        let known = sound.filter_map(|relation| inner.relations.get(relation));
        let complete = known.clone().map(|p| p.frontier(opened)).min().unwrap_or(opened);
        let readable = known.map(|p| p.readable_from).max().unwrap_or(0);
        let epoch = inner.floor.max(complete).max(readable);
        inner.floor = epoch;
        *inner.pins.entry(epoch).or_default() += 1;
        drop(inner);
        Pin { oracle: self.clone(), epoch }
    }

    /// Pins an epoch of the past. Whether `relation` still keeps it is the caller's to see, now that nothing more goes.
    ///
    /// Errors: 22023 if it lies ahead, 72000 if the relation was not yet complete then.
    pub fn pin_at(self: &Arc<Self>, relation: ObjectId, epoch: Epoch) -> Result<Pin, SqlError> {
        let mut inner = self.lock();
        let opened = inner.opened;
        if epoch > opened {
            let message = format!("epoch {epoch} has not been reached");
            return Err(SqlError::new(SqlState::InvalidParameterValue, message)
                .with_detail(format!("The newest epoch is {opened}.")));
        }
        let readable_from = inner.relations.get(&relation).map_or(0, |p| p.readable_from);
        if epoch < readable_from {
            return Err(too_old(epoch));
        }
        *inner.pins.entry(epoch).or_default() += 1;
        drop(inner);
        Ok(Pin { oracle: self.clone(), epoch })
    }

    /// A receiver that changes whenever a frontier moves.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Waits until all `relations` have sealed `epoch`.
    ///
    /// Errors: the failure of a relation that stopped; 42P01 if one was dropped meanwhile.
    pub async fn wait_sealed(&self, relations: &[ObjectId], epoch: Epoch) -> Result<(), SqlError> {
        let mut moved = self.subscribe();
        for relation in relations {
            loop {
                moved.borrow_and_update();
                if self.progress(*relation).ok_or_else(|| dropped(*relation))?? >= epoch {
                    break;
                }
                if moved.changed().await.is_err() {
                    return Err(SqlError::new(SqlState::AdminShutdown, "the server is shutting down"));
                }
            }
        }
        Ok(())
    }

    fn bump(&self) {
        self.moved.send_modify(|version| *version += 1);
    }
}

/// 72000: the changes since `epoch` are not kept.
pub fn too_old(epoch: Epoch) -> SqlError {
    SqlError::new(SqlState::SnapshotTooOld, format!("epoch {epoch} is not kept any more"))
        .with_detail(
            "History goes back as far as retain_history says, to the creation of the view and to the last restart.",
        )
        .with_hint(
            "Subscribe with a snapshot; keep more with CREATE MATERIALIZED VIEW … WITH (retain_history = '1 hour').",
        )
}

fn dropped(relation: ObjectId) -> SqlError {
    SqlError::new(SqlState::UndefinedTable, format!("relation with OID {relation} was dropped"))
}

#[cfg(test)]
mod tests;
