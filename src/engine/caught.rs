//! Walls around the engine's own threads. Three kinds: a job that panics fails as with any error; what serves one source
//! or one client ends with that; the threads without which nothing goes on end the process, which is better than
//! leaving everybody waiting: the disk has everything acknowledged, and a restart goes on from there.

use operators::guarded;
use types::SqlError;

/// Runs a job. Errors: its own, or XX000 if it panics.
pub(crate) fn caught<T>(what: &str, run: impl FnOnce() -> Result<T, SqlError>) -> Result<T, SqlError> {
    guarded(|| Ok(run())).unwrap_or_else(|panic| {
        tracing::error!(panic = %panic, "{what} panicked");
        Err(SqlError::internal(format!("{what} hit a bug in the server")).with_detail(panic.to_string()))
    })
}

/// Runs a thread that everybody depends on.
pub(crate) fn or_stop(thread: &str, run: impl FnOnce()) {
    let end = guarded(|| {
        run();
        Ok(())
    });
    if let Err(panic) = end {
        tracing::error!(panic = %panic, thread, "panicked; stopping so that a restart recovers");
        std::process::abort();
    }
}

#[cfg(test)]
mod tests {
    use types::SqlState;

    use super::*;

    #[test]
    fn a_job_that_panics_fails_as_with_an_error() {
        assert_eq!(caught("the job", || Ok(7)), Ok(7));
        let error = SqlError::new(SqlState::OutOfMemory, "no memory");
        assert_eq!(caught("the job", || Err::<(), _>(error.clone())), Err(error));
        let bug = caught("the job", || -> Result<(), SqlError> { panic!("index 3") }).unwrap_err();
        assert_eq!((bug.state, bug.detail.as_deref()), (SqlState::InternalError, Some("index 3")));
        assert_eq!(bug.message, "the job hit a bug in the server");
    }
}
