//! The order between the journal and the clock: whoever journals something that the clock must see appends and sends
//! under this gate, so that journal order is arrival order and a checkpoint knows what lies below a position.

use std::sync::Mutex;
use std::sync::mpsc::Sender;

use state::{Journal, StateError};

use crate::clock::ClockMessage;

#[derive(Debug, Default)]
pub struct JournalGate {
    lock: Mutex<()>,
}

impl JournalGate {
    /// Appends an entry and sends the message made from its position; neither waits for the disk.
    pub fn append(
        &self,
        journal: &Journal,
        clock: &Sender<ClockMessage>,
        kind: u8,
        payload: &[u8],
        message: impl FnOnce(u64) -> ClockMessage,
    ) -> Result<u64, StateError> {
        let _held = self.lock.lock().expect("nothing panics under the gate");
        let position = journal.append(kind, payload)?;
        // The clock outlives all writers but the last moments of a shutdown.
        let _ = clock.send(message(position));
        Ok(position)
    }

    /// Like [`append`](Self::append), for what need not be on disk soon.
    pub fn append_lazy(
        &self,
        journal: &Journal,
        clock: &Sender<ClockMessage>,
        kind: u8,
        payload: &[u8],
        message: impl FnOnce(u64) -> ClockMessage,
    ) -> Result<u64, StateError> {
        let _held = self.lock.lock().expect("nothing panics under the gate");
        let position = journal.append_lazy(kind, payload)?;
        let _ = clock.send(message(position));
        Ok(position)
    }
}
