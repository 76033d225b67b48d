//! The wall around an operator: a panic in it is an error of its dataflow and nobody else's.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::OperatorError;

/// Runs an operator's code. After an error what it worked on must not be used any more, neither read nor written:
/// it may be half changed.
///
/// Errors: its own, or `Panic`.
pub fn guarded<T>(run: impl FnOnce() -> Result<T, OperatorError>) -> Result<T, OperatorError> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| Err(OperatorError::Panic { message: text(&*payload) }))
}

/// What `panic!` was given.
fn text(payload: &(dyn Any + Send)) -> String {
    let message = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
    message.unwrap_or("it does not say why").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_that_says_what_the_panic_said() {
        let rows: Vec<u32> = vec![];
        let message = |result: Result<u32, OperatorError>| result.unwrap_err().to_string();
        assert_eq!(message(guarded(|| panic!("offset overflow"))), "offset overflow");
        assert_eq!(message(guarded(|| Ok(rows[7]))), "index out of bounds: the len is 0 but the index is 7");
        assert_eq!(message(guarded(|| std::panic::panic_any(7))), "it does not say why");
        assert_eq!(message(guarded(|| Err(OperatorError::internal("no rows")))), "no rows");
        assert_eq!(guarded(|| Ok(7)).unwrap(), 7);
    }
}
