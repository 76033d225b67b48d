//! How large results may be, checked before memory is taken: a short call (`repeat('x', 2000000000)`) can ask for more
//! than there is.

use types::SqlState;
use types::limits::VALUE_BYTES_MAX;

use crate::KernelError;

/// Offsets of an array are `i32`.
const ARRAY_BYTES_MAX: u64 = i32::MAX as u64;

/// Adds up what the values of one array will take.
#[derive(Debug, Default)]
pub(super) struct ResultSize {
    bytes: u64,
}

impl ResultSize {
    /// `bytes`: of one value. Errors: 54000 if the value is too large; `TooLarge` if the values are together, where fewer rows may
    /// not be.
    pub fn add(&mut self, bytes: u64) -> Result<(), KernelError> {
        if bytes > VALUE_BYTES_MAX as u64 {
            return Err(KernelError::evaluation(SqlState::ProgramLimitExceeded, "requested length too large"));
        }
        self.bytes += bytes;
        match self.bytes > ARRAY_BYTES_MAX {
            true => Err(KernelError::TooLarge),
            false => Ok(()),
        }
    }

    /// Of all values so far.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }
}
