//! Hosts one operator inside timely: holds back later epochs, seals in order, bounds the work per activation,
//! cuts checkpoints. Timely's frontier says when an epoch is complete; the epoch record says what it stands for.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use operators::{Operator, OperatorError, Output, Progress};
use types::{DeltaBatch, Epoch, EpochRecord, ErrorDelta, MemoryUse, ObjectId};

use crate::command::Event;
use crate::container::Content;
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
    pub fuel: Duration,
    pub events: Arc<dyn Fn(Event) + Send + Sync>,
    /// Set on the last operator only.
    pub tap: Option<Rc<RefCell<dyn Tap>>>,
}

/// One operator with its input backlog.
pub struct Host {
    operator: Box<dyn Operator>,
    context: HostContext,
    stash: BTreeMap<Epoch, Vec<(usize, Content)>>,
    /// Sequence number of the next record to seal.
    next: u64,
    out: Output,
    failed: bool,
}

/// What one activation of a host came to.
pub enum Turn {
    /// All that could be done is done; everything up to this epoch is sealed (none yet: `None`).
    Idle,
    /// Out of fuel: activate again.
    Again,
}

impl Host {
    pub fn new(operator: Box<dyn Operator>, context: HostContext) -> Self {
        let next = context.records.borrow().first;
        Host { operator, context, stash: BTreeMap::new(), next, out: Output::default(), failed: false }
    }

    pub fn receive(&mut self, port: usize, epoch: Epoch, content: Content) {
        self.stash.entry(epoch).or_default().push((port, content));
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
            if self.failed {
                self.stash.clear();
            }
            let record = self.context.records.borrow().get(self.next);
            let Some(record) = record else { break Turn::Idle };
            if let Err(error) = self.take_input(record.epoch) {
                self.fail(error);
            }
            emit(record.epoch, &mut self.out);
            if complete.is_some_and(|c| c <= record.epoch) {
                break Turn::Idle;
            }
            match self.seal(&record, &mut emit, start) {
                Some(()) => {
                    self.finish_seal(&record);
                    sealed(record.epoch);
                }
                None => break Turn::Again,
            }
            if start.elapsed() >= self.context.fuel {
                break Turn::Again;
            }
        };
        self.context.counters.busy_ns.fetch_add(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
        turn
    }

    /// Gives the operator all stashed input at or below `epoch`.
    fn take_input(&mut self, epoch: Epoch) -> Result<(), OperatorError> {
        while let Some(entry) = self.stash.first_entry() {
            if *entry.key() > epoch {
                break;
            }
            for (port, content) in entry.remove() {
                match content {
                    Content::Empty => {}
                    Content::Rows(batch) => {
                        self.context.counters.rows_in.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                        self.operator.on_batch(port, batch, &mut self.out)?;
                    }
                    Content::Errors(errors) => self.operator.on_errors(errors, &mut self.out),
                }
            }
        }
        Ok(())
    }

    /// Seals one epoch; `None` if fuel ran out before it was done.
    fn seal(&mut self, record: &EpochRecord, emit: &mut impl FnMut(Epoch, &mut Output), start: Instant) -> Option<()> {
        loop {
            if self.failed {
                return Some(());
            }
            let progress = self.operator.on_seal(record, &mut self.out);
            let rows: usize = self.out.rows.iter().map(DeltaBatch::num_rows).sum();
            self.context.counters.rows_out.fetch_add(rows as u64, Ordering::Relaxed);
            if let Some(tap) = &self.context.tap {
                let (rows, errors) = (std::mem::take(&mut self.out.rows), std::mem::take(&mut self.out.errors));
                tap.borrow_mut().publish(record.epoch, rows, errors);
            } else {
                emit(record.epoch, &mut self.out);
            }
            match progress {
                Ok(Progress::More) if start.elapsed() >= self.context.fuel => return None,
                Ok(Progress::More) => {}
                Ok(Progress::Done { deadline_us }) => {
                    if let Some(at_us) = deadline_us {
                        let HostContext { dataflow, operator_id: operator, worker, .. } = self.context;
                        (self.context.events)(Event::Deadline { dataflow, operator, worker, at_us });
                    }
                    return Some(());
                }
                Err(error) => self.fail(error),
            }
        }
    }

    fn finish_seal(&mut self, record: &EpochRecord) {
        self.next += 1;
        if record.checkpoint {
            let cut = if self.failed { Default::default() } else { self.operator.checkpoint() };
            (self.context.events)(Event::Cut {
                dataflow: self.context.dataflow,
                operator: self.context.operator_id,
                worker: self.context.worker,
                epoch: record.epoch,
                cut,
            });
        }
        let bytes = self.operator.memory_bytes();
        self.context.counters.state_bytes.store(bytes as u64, Ordering::Relaxed);
        self.context.memory.set(bytes);
        if let Some(tap) = &self.context.tap {
            tap.borrow_mut().sealed(record.epoch);
            self.context.records.borrow_mut().forget_before(self.next);
        }
    }

    fn fail(&mut self, error: OperatorError) {
        self.failed = true;
        self.out = Output::default();
        (self.context.events)(Event::Failed {
            dataflow: self.context.dataflow,
            operator: self.context.operator_id,
            error,
        });
    }
}
