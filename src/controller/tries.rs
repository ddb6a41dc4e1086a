//! What could not be finished: how often that was tried, and until when it is not tried again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::plan::{Moment, backoff};

/// What nobody has asked for since it was due so long ago is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(10);

/// Failures in a row, and until when to wait, on the monotonic clock.
#[derive(Default)]
pub(super) struct Tries(Mutex<HashMap<String, (u32, Duration)>>);

impl Tries {
    pub(super) fn waits(&self, name: &str, now: Moment) -> bool {
        let tries = self.lock();
        tries
            .get(name)
            .is_some_and(|(_, until)| now.elapsed < *until)
    }

    pub(super) fn have_failed(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// Takes in what came of one. The wait doubles after a failure, `slowest` times at most.
    pub(super) fn note(&self, name: &str, failed: bool, slowest: u32, now: Moment) {
        let mut tries = self.lock();
        if failed {
            let (failures, until) = tries.entry(name.to_owned()).or_default();
            *until = now.elapsed + backoff((*failures).min(slowest), name);
            *failures = failures.saturating_add(1);
        } else {
            tries.remove(name);
        }
        // Nobody has asked for these any more: they are gone.
        tries.retain(|_, (_, until)| now.elapsed < *until + FORGET_AFTER);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (u32, Duration)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
