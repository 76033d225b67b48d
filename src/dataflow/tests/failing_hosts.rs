//! Whatever call of an operator panics: its host says so once, and neither seals, cuts nor passes on anything after it.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use operators::{Cut, Operator, OperatorError, Output, Progress};
use types::{DeltaBatch, Epoch, EpochRecord, ErrorDelta, MemoryBudget, ObjectId, SqlState, Watermarks};

use super::harness::numbers;
use crate::command::Event;
use crate::container::Content;
use crate::host::{Host, HostContext, RecordQueue};
use crate::pace::Pace;

/// Panics in the second epoch when it comes to this call.
struct Panics {
    at: &'static str,
    sealed: u64,
}

impl Panics {
    fn call(&self, name: &str) {
        assert!(self.sealed == 0 || self.at != name, "{name} went wrong");
    }
}

impl Operator for Panics {
    fn on_batch(&mut self, _port: usize, batch: DeltaBatch, out: &mut Output) -> Result<(), OperatorError> {
        out.push(batch);
        self.call("on_batch");
        Ok(())
    }

    fn on_errors(&mut self, _errors: Vec<ErrorDelta>, _out: &mut Output) {
        self.call("on_errors");
    }

    fn on_seal(&mut self, _record: &EpochRecord, out: &mut Output) -> Result<Progress, OperatorError> {
        out.push(DeltaBatch::inserts(numbers(0..1)));
        self.call("on_seal");
        if self.sealed > 0 && self.at == "error" {
            return Err(OperatorError::internal("error went wrong"));
        }
        self.sealed += 1;
        Ok(Progress::DONE)
    }

    fn checkpoint(&mut self) -> Cut {
        assert!(self.sealed < 2 || self.at != "checkpoint", "checkpoint went wrong");
        Cut::default()
    }

    fn memory_bytes(&self) -> usize {
        assert!(self.sealed < 2 || self.at != "memory_bytes", "memory_bytes went wrong");
        1_000
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        assert_ne!(self.at, "on_seal", "nor can it be dropped");
    }
}

#[derive(Default)]
struct Seen {
    sealed: Vec<Epoch>,
    emitted: Vec<Epoch>,
}

fn context(events: Arc<Mutex<Vec<Event>>>, budget: &MemoryBudget) -> HostContext {
    HostContext {
        dataflow: ObjectId(7),
        operator_id: 3,
        worker: 0,
        records: Rc::new(RefCell::new(RecordQueue::default())),
        counters: Arc::default(),
        memory: budget.account(),
        pace: Pace { fuel: Duration::from_secs(3600), ..Pace::default() },
        events: Arc::new(move |event| events.lock().unwrap().push(event)),
        tap: None,
    }
}

fn run(host: &mut Host, complete: Epoch) -> Seen {
    let mut seen = Seen::default();
    let emit = |epoch, out: &mut Output| {
        if !out.rows.is_empty() {
            seen.emitted.push(epoch);
        }
        *out = Output::default();
    };
    host.run(Some(complete), emit, |epoch| seen.sealed.push(epoch));
    seen
}

#[test]
fn a_panic_in_any_call_stops_the_host_and_is_told_once() {
    for at in ["on_batch", "on_errors", "on_seal", "error", "checkpoint", "memory_bytes"] {
        let events: Arc<Mutex<Vec<Event>>> = Arc::default();
        let budget = MemoryBudget::new(usize::MAX);
        let context = context(events.clone(), &budget);
        let records = context.records.clone();
        let mut host = Host::new(Ok(Box::new(Panics { at, sealed: 0 })), context);
        for epoch in 1..=3 {
            let mut record = EpochRecord::new(epoch, 0, Watermarks::default());
            record.checkpoint = true;
            records.borrow_mut().push(Arc::new(record));
            host.receive(0, epoch, Content::Rows(DeltaBatch::inserts(numbers(0..3))));
            let error = ErrorDelta::new(SqlState::DivisionByZero, "division by zero", 1);
            host.receive(0, epoch, Content::Errors(vec![error]));
        }
        assert_eq!(run(&mut host, 2).sealed, [1], "{at}");
        let after = run(&mut host, 4);
        assert_eq!(after.sealed, [] as [Epoch; 0], "{at}");
        assert!(after.emitted.iter().all(|epoch| *epoch <= 2), "{at}");
        let again = run(&mut host, 4);
        assert!(again.sealed.is_empty() && again.emitted.is_empty(), "{at}");
        assert_eq!(budget.used_bytes(), 0, "{at}");
        let events = std::mem::take(&mut *events.lock().unwrap());
        let cuts = events.iter().filter(|event| matches!(event, Event::Cut { .. })).count();
        // The cut of the second epoch was whole when the operator was asked for its memory.
        assert_eq!(cuts, 1 + usize::from(at == "memory_bytes"), "{at}");
        let failed: Vec<String> = events
            .iter()
            .filter_map(|event| match event {
                Event::Failed { dataflow: ObjectId(7), operator: 3, error } => Some(error.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(failed, [format!("{at} went wrong")]);
    }
}

#[test]
fn an_operator_that_could_not_be_built_has_a_host_that_stands_still() {
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let context = context(events.clone(), &MemoryBudget::new(usize::MAX));
    let records = context.records.clone();
    let mut host = Host::new(Err(OperatorError::internal("no such table")), context);
    records.borrow_mut().push(Arc::new(EpochRecord::new(1, 0, Watermarks::default())));
    assert!(run(&mut host, 2).sealed.is_empty());
    assert_eq!(events.lock().unwrap().len(), 1);
}
