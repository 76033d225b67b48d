//! The priority of threads that may take all of a core for seconds: epochs, reads and subscriptions go first.

use thread_priority::{ThreadPriority, ThreadPriorityValue, set_current_thread_priority};

/// On the scale of the crate (half of 100 is the usual one); niceness 10 on Linux.
const BACKGROUND: u8 = 22;

/// The calling thread steps back behind all others of the process.
pub(crate) fn step_back() {
    let priority = ThreadPriorityValue::try_from(BACKGROUND).expect("it is on the scale");
    if let Err(error) = set_current_thread_priority(ThreadPriority::Crossplatform(priority)) {
        tracing::debug!(?error, "a background thread has the priority of everything else");
    }
}
