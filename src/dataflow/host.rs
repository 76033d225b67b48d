//! Hosts one operator inside timely: holds back later epochs, seals in order, bounds the work per activation,
//! cuts checkpoints. Timely's frontier says when an epoch is complete; the epoch record says what it stands for.
//!
//! The host is also the wall around the operator. An operator that panics or gives up is dropped with its state, and its
//! host stops where it is: it seals nothing, hands over no cut and passes nothing on, so nothing behind it on any
//! worker can claim an epoch that was not worked out. The engine drops the dataflow when it has heard of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use operators::{Operator, OperatorError, Output, Progress, guarded};
use types::{DeltaBatch, Epoch, EpochRecord, ErrorDelta, MemoryUse, ObjectId};

use crate::command::Event;
use crate::container::Content;
use crate::pace::Pace;
use crate::stats::OperatorCounters;

/// The records that concern one dataflow on one worker, oldest first, shared by its hosts.
#[derive(Default)]
pub struct RecordQueue {
    records: VecDeque<Arc<EpochRecord>>,
    /// Sequence number of the front record.
    first: u64,
}

impl RecordQueue {
    pub fn push(&mut self, record: Arc<EpochRecord>) {
        assert!(self.records.back().is_none_or(|last| last.epoch < record.epoch), "epochs only grow");
        self.records.push_back(record);
    }

    fn get(&self, sequence: u64) -> Option<Arc<EpochRecord>> {
        self.records.get((sequence - self.first) as usize).cloned()
    }

    /// Forgets records before `sequence`: every host has sealed them.
    fn forget_before(&mut self, sequence: u64) {
        while self.first < sequence && self.records.pop_front().is_some() {
            self.first += 1;
        }
    }
}

/// Receives the output of a dataflow's last operator on this worker.
pub trait Tap {
    /// A part of what `epoch` has changed.
    fn publish(&mut self, epoch: Epoch, rows: Vec<DeltaBatch>, errors: Vec<ErrorDelta>);
    /// Everything of `epoch` has been published.
    fn sealed(&mut self, epoch: Epoch);
}

/// Identity and connections of a hosted operator.
pub struct HostContext {
    pub dataflow: ObjectId,
    pub operator_id: u32,
    pub worker: usize,
    pub records: Rc<RefCell<RecordQueue>>,
    pub counters: Arc<OperatorCounters>,
    pub memory: MemoryUse,
    /// Longest time one activation may take before other dataflows get their turn.
    pub pace: Pace,
    pub events: Arc<dyn Fn(Event) + Send + Sync>,
    /// Set on the last operator only.
    pub tap: Option<Rc<RefCell<dyn Tap>>>,
}

/// One operator with its input backlog.
pub struct Host {
    /// `None`: it has failed.
    operator: Option<Box<dyn Operator>>,
    context: HostContext,
    stash: BTreeMap<Epoch, Vec<(usize, Content)>>,
    /// Sequence number of the next record to seal.
    next: u64,
    out: Output,
}

/// What one activation of a host came to.
pub enum Turn {
    /// All that could be done is done; everything up to this epoch is sealed (none yet: `None`).
    Idle,
    /// Out of fuel: activate again.
    Again,
}

/// What working on one epoch came to.
enum Step {
    Sealed,
    /// For more input, or for ever.
    Waits,
    OutOfFuel,
}

impl Host {
    /// Hosts an operator, or the place of one that could not be built.
    pub fn new(operator: Result<Box<dyn Operator>, OperatorError>, context: HostContext) -> Self {
        let next = context.records.borrow().first;
        let mut host = Host { operator: None, context, stash: BTreeMap::new(), next, out: Output::default() };
        match operator {
            Ok(operator) => host.operator = Some(operator),
            Err(error) => host.fail(error),
        }
        host
    }

    pub fn receive(&mut self, port: usize, epoch: Epoch, content: Content) {
        if self.operator.is_some() {
            self.stash.entry(epoch).or_default().push((port, content));
        }
    }

    /// Works through what has arrived. `complete`: the least epoch that may still receive input.
    /// `emit(epoch, output)` is called with everything produced; `sealed(epoch)` after each seal.
    pub fn run(
        &mut self,
        complete: Option<Epoch>,
        mut emit: impl FnMut(Epoch, &mut Output),
        mut sealed: impl FnMut(Epoch),
    ) -> Turn {
        let start = Instant::now();
        let turn = loop {
            let record = self.context.records.borrow().get(self.next);
            let Some(record) = record else { break Turn::Idle };
            let step = self.step(&record, complete, &mut emit, start).unwrap_or_else(|error| {
                self.fail(error);
                Step::Waits
            });
            match step {
                Step::Sealed => sealed(record.epoch),
                Step::Waits => break Turn::Idle,
                Step::OutOfFuel => break Turn::Again,
            }
            if start.elapsed() >= self.context.pace.fuel {
                break Turn::Again;
            }
        };
        self.context.counters.busy_ns.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        turn
    }

    /// Works on one epoch, as far as it can.
    fn step(
        &mut self,
        record: &EpochRecord,
        complete: Option<Epoch>,
        emit: &mut impl FnMut(Epoch, &mut Output),
        start: Instant,
    ) -> Result<Step, OperatorError> {
        let Some(mut operator) = self.operator.take() else { return Ok(Step::Waits) };
        let step = guarded(|| {
            self.context.pace.check(self.context.dataflow);
            self.take_input(operator.as_mut(), record.epoch)?;
            emit(record.epoch, &mut self.out);
            if complete.is_some_and(|c| c <= record.epoch) {
                return Ok(Step::Waits);
            }
            if !self.seal(operator.as_mut(), record, emit, start)? {
                return Ok(Step::OutOfFuel);
            }
            self.finish_seal(operator.as_mut(), record);
            Ok(Step::Sealed)
        });
        match step {
            Ok(_) => self.operator = Some(operator),
            // Even that may panic.
            Err(_) => drop(guarded(|| {
                drop(operator);
                Ok(())
            })),
        }
        step
    }

    /// Gives the operator all stashed input at or below `epoch`.
    fn take_input(&mut self, operator: &mut dyn Operator, epoch: Epoch) -> Result<(), OperatorError> {
        while let Some(entry) = self.stash.first_entry() {
            if *entry.key() > epoch {
                break;
            }
            for (port, content) in entry.remove() {
                match content {
                    Content::Empty => {}
                    Content::Rows(batch) => {
                        self.context.counters.rows_in.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                        operator.on_batch(port, batch, &mut self.out)?;
                    }
                    Content::Errors(errors) => operator.on_errors(errors, &mut self.out),
                }
            }
        }
        Ok(())
    }

    /// Seals one epoch; false if fuel ran out before it was done.
    fn seal(
        &mut self,
        operator: &mut dyn Operator,
        record: &EpochRecord,
        emit: &mut impl FnMut(Epoch, &mut Output),
        start: Instant,
    ) -> Result<bool, OperatorError> {
        loop {
            let progress = operator.on_seal(record, &mut self.out)?;
            let rows: usize = self.out.rows.iter().map(DeltaBatch::num_rows).sum();
            self.context.counters.rows_out.fetch_add(rows as u64, Ordering::Relaxed);
            if let Some(tap) = &self.context.tap {
                let (rows, errors) = (std::mem::take(&mut self.out.rows), std::mem::take(&mut self.out.errors));
                tap.borrow_mut().publish(record.epoch, rows, errors);
            } else {
                emit(record.epoch, &mut self.out);
            }
            match progress {
                Progress::More if start.elapsed() >= self.context.pace.fuel => return Ok(false),
                Progress::More => {}
                Progress::Done { deadline_us } => {
                    if let Some(at_us) = deadline_us {
                        let HostContext { dataflow, operator_id: operator, worker, .. } = self.context;
                        (self.context.events)(Event::Deadline { dataflow, operator, worker, at_us });
                    }
                    return Ok(true);
                }
            }
        }
    }

    fn finish_seal(&mut self, operator: &mut dyn Operator, record: &EpochRecord) {
        self.next += 1;
        if record.checkpoint {
            let cut = operator.checkpoint();
            let HostContext { dataflow, operator_id: operator, worker, .. } = self.context;
            (self.context.events)(Event::Cut { dataflow, operator, worker, epoch: record.epoch, cut });
        }
        let bytes = operator.memory_bytes();
        self.context.counters.state_bytes.store(bytes as u64, Ordering::Relaxed);
        self.context.memory.set(bytes);
        if let Some(tap) = &self.context.tap {
            tap.borrow_mut().sealed(record.epoch);
            self.context.records.borrow_mut().forget_before(self.next);
        }
    }

    /// The operator is gone; so is what waits for it.
    fn fail(&mut self, error: OperatorError) {
        self.out = Output::default();
        self.stash.clear();
        self.context.counters.state_bytes.store(0, Ordering::Relaxed);
        self.context.memory.set(0);
        let HostContext { dataflow, operator_id: operator, .. } = self.context;
        (self.context.events)(Event::Failed { dataflow, operator, error });
    }
}
