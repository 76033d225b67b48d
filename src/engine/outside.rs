//! Looks at the outside world: whether a file is there, whether a directory can be listed. Such a call can hang (a network
//! mount that has gone), and whoever asked may be cancelled long before it returns. So each has a permit that comes back
//! with the call, not with the statement, and a statement that finds none is refused: what hangs costs a few threads,
//! never the pool that all statements share.

use std::sync::Arc;

use tokio::sync::Semaphore;
use types::{SqlError, SqlState, limits};

pub(crate) struct OutsideChecks {
    permits: Arc<Semaphore>,
}

impl Default for OutsideChecks {
    fn default() -> Self {
        OutsideChecks { permits: Arc::new(Semaphore::new(limits::OUTSIDE_CHECKS_MAX)) }
    }
}

impl OutsideChecks {
    /// Runs `check` on a thread that may block. Errors: 53000 while too many checks hang.
    pub async fn run<T: Send + 'static>(
        &self,
        check: impl FnOnce() -> Result<T, SqlError> + Send + 'static,
    ) -> Result<T, SqlError> {
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| {
            let message = "too many statements wait for the file system";
            SqlError::new(SqlState::InsufficientResources, message)
                .with_detail(format!("{} looks at files or directories have not returned.", limits::OUTSIDE_CHECKS_MAX))
                .with_hint("Check the mounts that sources were declared on, then try again.")
        })?;
        let checked = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            check()
        });
        checked.await.map_err(|e| SqlError::internal(e.to_string()))?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[tokio::test]
    async fn checks_that_hang_keep_their_permit_when_their_statement_is_cancelled() {
        let outside = OutsideChecks::default();
        let (release, held) = channel::<()>();
        let held = Arc::new(std::sync::Mutex::new(held));
        for _ in 0..limits::OUTSIDE_CHECKS_MAX {
            let held = held.clone();
            let mut hanging = Box::pin(outside.run(move || Ok(held.lock().expect("not poisoned").recv().is_ok())));
            // Begun, then dropped as a cancelled statement is.
            assert!(futures::poll!(&mut hanging).is_pending());
        }
        let refused = outside.run(|| Ok(())).await.unwrap_err();
        assert_eq!(refused.state, SqlState::InsufficientResources);
        drop(release);
        while outside.run(|| Ok(())).await.is_err() {
            tokio::task::yield_now().await;
        }
    }
}
