//! The shared feed of one source: a named thread that reads the connector, decides admission and hands chunks to the
//! epoch clock. It is the only one that reads the source live; later views replay its history instead.
//!
//! Back-pressure is by permits (`permits.rs`): a chunk holds one until the clock has put it into an epoch. At the memory
//! limit the feed pauses. A read that fails is tried again from where the last one stood (`reading.rs`); what cannot be
//! read again is given up, the rest goes on; either is shown in `hw_catalog.sources` as long as it lasts. Nobody waits for
//! the thread of a stopped feed (`threads.rs`): a read may hang.

mod chunk;
mod permits;
mod reading;
mod repeating;
#[cfg(test)]
mod tests;
mod threads;

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use connectors::admission::Admission;
use connectors::{Offsets, SourceConfig};
use coordinator::StopFeed;
use types::{MemoryBudget, ObjectId, SqlError, limits};

use crate::caught::caught;
use crate::clock::ClockMessage;
use crate::keeper::Keeper;
use crate::logged::LoggedSteps;
use crate::source_stats::SourceStats;
use permits::Permits;
use reading::Feed;

pub use chunk::FeedChunk;
pub use threads::FeedThreads;

pub enum FeedControl {
    /// Decode these columns (ascending) from now on, then put the marker into the clock's queue.
    Project {
        columns: Vec<usize>,
        marker: Sender<()>,
    },
    Stop,
}

/// Where a feed starts.
pub struct FeedStart {
    pub source: ObjectId,
    pub name: String,
    pub config: Arc<dyn SourceConfig>,
    /// As of `offsets`.
    pub admission: Admission,
    pub offsets: Offsets,
    /// Logged steps after `offsets` that must be repeated exactly before new decisions are taken.
    pub logged: LoggedSteps,
    /// Answered by the clock once the logged steps are in epochs.
    pub repeated: Option<Sender<()>>,
    /// Columns of the source, ascending, with the event-time column among them.
    pub columns: Vec<usize>,
    /// Event-time column of the source.
    pub time_column: Option<usize>,
    pub keeper: Option<Arc<Keeper>>,
    /// Counts what enters.
    pub stats: Arc<SourceStats>,
}

/// The clock's and the engine's end of a feed.
pub struct FeedHandle {
    pub control: Sender<FeedControl>,
    permits: Arc<Permits>,
}

impl StopFeed for FeedHandle {
    fn stop(self: Box<Self>) {
        // It may have ended by itself.
        let _ = self.control.send(FeedControl::Stop);
        self.permits.close();
    }
}

/// Starts the thread. Errors: too many threads of stopped feeds hang in a read.
pub fn start(
    start: FeedStart,
    clock: Sender<ClockMessage>,
    budget: MemoryBudget,
    threads: &FeedThreads,
) -> Result<FeedHandle, SqlError> {
    let (control, commands) = channel();
    let permits = Permits::new(limits::SOURCE_QUEUE_BATCHES_MAX);
    let name = start.name.clone();
    let mut feed = Feed::new(start, clock, commands, permits.clone(), budget);
    threads.start(&name, move || {
        let ended = caught("the source", || {
            feed.run();
            Ok(())
        });
        if let Err(error) = ended {
            feed.fail(error);
        }
    })?;
    Ok(FeedHandle { control, permits })
}
