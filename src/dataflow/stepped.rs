//! A worker that its caller steps by hand: no thread, no sleep, and every operator gives way as often as it may, so that
//! a turn does the same whenever it runs. For simulations and tests, which decide by this what happens between two turns.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use types::MemoryBudget;

use crate::command::Event;
use crate::pace::Pace;
use crate::runtime::Runtime;
use crate::stats::StatsRegistry;
use crate::worker::{State, WorkerContext};

/// One worker and the runtime that commands it.
pub struct Stepped<'a> {
    runtime: Arc<Runtime>,
    state: State<'a>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Stepped<'_> {
    /// Runs `body` on a worker of its own, on this thread. Of `pace` all counts but the fuel: there is none.
    pub fn run<T: Send + 'static>(pace: Pace, body: impl FnOnce(&mut Stepped<'_>) -> T + Send + Sync + 'static) -> T {
        timely::execute_directly(move |worker| {
            let (commands, receiver) = channel();
            let events: Arc<Mutex<Vec<Event>>> = Arc::default();
            let (seen, stats) = (events.clone(), StatsRegistry::default());
            let context = WorkerContext {
                commands: receiver,
                events: Arc::new(move |event| seen.lock().expect("nothing panics under it").push(event)),
                stats: stats.clone(),
                budget: MemoryBudget::new(usize::MAX),
                pace: Pace { fuel: Duration::ZERO, ..pace },
            };
            let runtime = Arc::new(Runtime::of_one(commands, stats));
            let mut stepped = Stepped { runtime, state: State::new(worker, context), events };
            let result = body(&mut stepped);
            stepped.state.drop_all();
            result
        })
    }

    /// Commands wait here until the next turn.
    pub fn runtime(&self) -> Arc<Runtime> {
        self.runtime.clone()
    }

    /// Takes the commands that wait and lets every operator that has something to do run once.
    pub fn turn(&mut self) {
        self.state.turn(Duration::ZERO);
    }

    /// What was reported since the last call, in order.
    pub fn events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().expect("nothing panics under it"))
    }
}
