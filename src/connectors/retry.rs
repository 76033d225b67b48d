//! When a failed read is tried again: after pauses that double from one second to a minute, each a little different, so
//! that many inputs which failed together are not tried together.

use std::time::Duration;

use types::hash_bytes;

use crate::Retry;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// So much of a pause may be missing, in percent.
const JITTER_PERCENT: u64 = 25;

/// Failures of one input in a row.
#[derive(Debug, Clone)]
pub struct Backoff {
    /// Decides the jitter: another name, other pauses.
    name: String,
    attempts: u32,
}

impl Backoff {
    pub fn new(name: &str) -> Backoff {
        Backoff { name: name.to_string(), attempts: 0 }
    }

    /// Another failure.
    pub fn fail(&mut self) -> Retry {
        let doubled = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        let seed = format!("{} {}", self.name, self.attempts);
        let missing = hash_bytes(seed.as_bytes()) % (JITTER_PERCENT + 1);
        Retry { attempts: self.attempts, wait: doubled.mul_f64(1.0 - missing as f64 / 100.0) }
    }

    /// It works again. Whether it had failed.
    pub fn succeed(&mut self) -> bool {
        std::mem::take(&mut self.attempts) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new("orders");
        for longest in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let wait = backoff.fail().wait.as_secs_f64();
            assert!((longest as f64 * 0.75..=longest as f64).contains(&wait), "{wait} of {longest}");
        }
        assert!(backoff.succeed() && !backoff.succeed());
        assert_eq!(backoff.fail().attempts, 1);
        assert_ne!(Backoff::new("a").fail().wait, Backoff::new("b").fail().wait);
    }
}
