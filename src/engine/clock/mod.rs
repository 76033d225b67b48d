//! The epoch clock's thread: it takes messages, lets the coordinator's driver handle them, and sleeps until the next is
//! due. What is decided stands in the crate `coordinator`; what is done with it in `ports.rs`.

mod ports;
mod writes;

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use coordinator::Driver;

pub use coordinator::{Readable, SourceOptions, SourceState};
pub use ports::{EnginePorts, PortsStart};
pub use writes::{TableRows, TableWrite};

use crate::history::SourceHistory;

pub type ClockMessage = coordinator::Message<EnginePorts>;
pub type JoinPoint = coordinator::JoinPoint<SourceHistory>;
pub type SourceEntry = coordinator::SourceEntry<SourceHistory>;

/// Longest sleep; every wake-up is a message or a known time.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// Shortest sleep, so that a time that has all but come does not make it spin.
const SLEEP_MIN: Duration = Duration::from_micros(50);

/// Runs until `Shutdown`.
pub fn run(mut driver: Driver<EnginePorts>, messages: Receiver<ClockMessage>) {
    loop {
        let sleep = driver.sleep().unwrap_or(SLEEP_MAX).max(SLEEP_MIN);
        match messages.recv_timeout(sleep) {
            Ok(message) => driver.handle(message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Ok(message) = messages.try_recv() {
            driver.handle(message);
        }
        if driver.stopping() {
            if let Some(reply) = driver.finish() {
                let _ = reply.send(());
            }
            return;
        }
        driver.tick();
    }
}
