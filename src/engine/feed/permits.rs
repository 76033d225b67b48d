//! Back-pressure of one feed: a chunk in the clock's queue holds a permit. Closing them is how a feed is stopped: nothing
//! of it reaches the clock any more, however long the read takes in which its thread is.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};

use crate::clock::ClockMessage;

/// A counting semaphore for chunks in the clock's queue.
pub struct Permits {
    state: Mutex<(usize, bool)>,
    freed: Condvar,
}

/// One taken permit; dropping it gives it back.
pub struct Permit {
    permits: Arc<Permits>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.permits.release();
    }
}

impl Permits {
    pub fn new(count: usize) -> Arc<Permits> {
        Arc::new(Permits { state: Mutex::new((count, false)), freed: Condvar::new() })
    }

    /// Waits for a permit; `None` once closed.
    pub fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let mut state = self.state.lock().expect("no panic while holding permits");
        while state.0 == 0 && !state.1 {
            state = self.freed.wait(state).expect("no panic while holding permits");
        }
        if state.1 {
            return None;
        }
        state.0 -= 1;
        Some(Permit { permits: self.clone() })
    }

    /// Sends unless closed; whether it did. After `close` has returned nothing is sent any more.
    pub fn send(&self, clock: &Sender<ClockMessage>, message: ClockMessage) -> bool {
        let state = self.state.lock().expect("no panic while holding permits");
        !state.1 && clock.send(message).is_ok()
    }

    fn release(&self) {
        self.state.lock().expect("no panic while holding permits").0 += 1;
        self.freed.notify_one();
    }

    pub fn close(&self) {
        self.state.lock().expect("no panic while holding permits").1 = true;
        self.freed.notify_all();
    }
}
