//! How much one activation of an operator does before others get their turn; and, for a worker that a simulation steps by
//! hand, the faults that it wants to happen.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use types::ObjectId;
use types::limits::BATCH_ROWS_MAX;

/// Longest time one activation may take before other dataflows get their turn.
const FUEL: Duration = Duration::from_millis(2);

#[derive(Debug, Clone)]
pub struct Pace {
    pub fuel: Duration,
    /// Rows that leave a relation's last operator at a time.
    pub batch_rows: usize,
    /// Panics in an operator when it is told to; `None` on a real server.
    pub trip: Option<Trip>,
}

/// Makes one dataflow's next operator that runs panic.
#[derive(Debug, Clone, Default)]
pub struct Trip(Arc<Mutex<Option<ObjectId>>>);

impl Trip {
    pub fn set(&self, dataflow: ObjectId) {
        *self.0.lock().expect("nothing panics under it") = Some(dataflow);
    }

    fn fires(&self, dataflow: ObjectId) -> bool {
        self.0.lock().expect("nothing panics under it").take_if(|wanted| *wanted == dataflow).is_some()
    }
}

impl Default for Pace {
    fn default() -> Self {
        Pace { fuel: FUEL, batch_rows: BATCH_ROWS_MAX, trip: None }
    }
}

impl Pace {
    pub(crate) fn check(&self, dataflow: ObjectId) {
        if self.trip.as_ref().is_some_and(|trip| trip.fires(dataflow)) {
            panic!("the simulation lets an operator of relation {dataflow} panic");
        }
    }
}
