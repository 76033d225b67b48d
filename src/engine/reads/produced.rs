//! Rows that a task of its own makes while a client reads them.
//!
//! That no more rows come is said by the task's result, never by its silence: a channel also closes when the task
//! panics or is aborted, and rows that end early would be taken for the whole answer.

use std::future::Future;

use arrow::array::RecordBatch;
use futures::StreamExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use types::{SqlError, SqlState, ToSqlState};

use crate::api::RowStream;

/// Where a producer puts its batches; an error means that nobody wants more of them.
pub(crate) type RowSender = mpsc::Sender<RecordBatch>;

/// The stream of what `produce` sends, on a task of `handle`. It ends where `produce` returns `Ok`; an error or a panic
/// of `produce` is its last item. Dropping the stream cancels the task. `queue_batches`: may wait for a slow client.
pub(crate) fn produced<F>(handle: &Handle, queue_batches: usize, produce: impl FnOnce(RowSender) -> F) -> RowStream
where
    F: Future<Output = Result<(), SqlError>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(queue_batches);
    let task = AbortOnDrop(handle.spawn(produce(sender)));
    let stream = futures::stream::unfold(Some((receiver, task)), |state| async move {
        let (mut receiver, task) = state?;
        if let Some(batch) = receiver.recv().await {
            return Some((Ok(batch), Some((receiver, task))));
        }
        match task.joined().await {
            Ok(Ok(())) => None,
            Ok(Err(error)) | Err(error) => Some((Err(error), None)),
        }
    });
    stream.boxed()
}

/// A spawned task that ends when nobody waits for it any more.
pub(crate) struct AbortOnDrop<T>(pub JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    /// What the task returns. Errors: that of its panic.
    pub async fn joined(mut self) -> Result<T, SqlError> {
        (&mut self.0).await.map_err(|error| match error.try_into_panic() {
            Ok(panic) => bug(panic_text(panic.as_ref())),
            Err(cancelled) => task_failed(&cancelled),
        })
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A task that did not come to its end, as a client of its statement sees it.
pub(crate) fn task_failed(error: &JoinError) -> SqlError {
    match error.is_panic() {
        // Shared errors don't give their payload away; their text has it.
        true => bug(&error.to_string()),
        false => SqlError::new(SqlState::AdminShutdown, "terminating connection due to administrator command"),
    }
}

fn bug(what: &str) -> SqlError {
    // Arrays end at 2 GB, and their builders by panic.
    if what.contains("offset overflow") {
        return kernels::KernelError::TooLarge.to_sql_error();
    }
    SqlError::internal("the statement hit a bug in the server").with_detail(what)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let owned = panic.downcast_ref::<String>().map(String::as_str);
    owned.or(panic.downcast_ref::<&str>().copied()).unwrap_or("The panic has no text.")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int32Array;

    use super::*;

    fn batch(value: i32) -> RecordBatch {
        let column: arrow::array::ArrayRef = Arc::new(Int32Array::from(vec![value]));
        RecordBatch::try_from_iter([("a", column)]).expect("one column")
    }

    /// Batches read, and the error that ended the stream.
    async fn read(mut stream: RowStream) -> (usize, Option<SqlError>) {
        let (mut batches, mut failure) = (0, None);
        while let Some(item) = stream.next().await {
            assert!(failure.is_none(), "nothing comes after an error");
            match item {
                Ok(_) => batches += 1,
                Err(error) => failure = Some(error),
            }
        }
        (batches, failure)
    }

    #[tokio::test]
    async fn a_result_ends_the_rows() {
        let rows = produced(&Handle::current(), 1, |sender| async move {
            for value in 0..3 {
                sender.send(batch(value)).await.expect("they are read");
            }
            Ok(())
        });
        assert_eq!(read(rows).await, (3, None));
    }

    #[tokio::test]
    async fn an_error_comes_after_the_rows_before_it() {
        let rows = produced(&Handle::current(), 4, |sender| async move {
            sender.send(batch(1)).await.expect("they are read");
            Err(SqlError::new(SqlState::DivisionByZero, "division by zero"))
        });
        let (batches, failure) = read(rows).await;
        assert_eq!((batches, failure.map(|e| e.state)), (1, Some(SqlState::DivisionByZero)));
    }

    #[tokio::test]
    async fn a_panic_is_an_error_with_its_text() {
        let rows = produced(&Handle::current(), 4, |sender| async move {
            sender.send(batch(1)).await.expect("they are read");
            panic!("as asked")
        });
        let (batches, failure) = read(rows).await;
        let failure = failure.expect("rows that end by panic are not all rows");
        assert_eq!((batches, failure.state), (1, SqlState::InternalError));
        assert_eq!(failure.detail.as_deref(), Some("as asked"));
    }

    #[tokio::test]
    async fn an_array_that_ends_is_a_limit() {
        let rows = produced(&Handle::current(), 4, |_| async move { panic!("byte array offset overflow") });
        assert_eq!(read(rows).await.1.map(|e| e.state), Some(SqlState::ProgramLimitExceeded));
    }

    #[tokio::test]
    async fn an_aborted_producer_is_an_error() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        let rows = produced(runtime.handle(), 4, |sender| async move {
            sender.send(batch(1)).await.expect("they are read");
            std::future::pending().await
        });
        runtime.shutdown_background();
        let (_, failure) = read(rows).await;
        assert_eq!(failure.map(|e| e.state), Some(SqlState::AdminShutdown));
    }

    #[tokio::test]
    async fn dropping_the_rows_ends_the_producer() {
        let (alive, ended) = tokio::sync::oneshot::channel::<()>();
        let rows = produced(&Handle::current(), 1, |sender| async move {
            let _alive = alive;
            let _sender = sender;
            std::future::pending().await
        });
        drop(rows);
        assert!(ended.await.is_err(), "the producer's values are dropped");
    }
}
