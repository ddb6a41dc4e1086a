//! What could not be finished: how often that was tried, and until when it is not tried again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::plan::{Moment, backoff};

/// What nobody has tried since it was due so long ago is forgotten.
const FORGET_AFTER: Duration = Duration::from_mins(10);

/// So many are remembered without a look for those that are to be forgotten.
const FEW: usize = 64;

/// What has failed, by name.
#[derive(Default)]
pub(super) struct Tries(Mutex<Failed>);

#[derive(Default)]
struct Failed {
    by_name: HashMap<String, Failures>,
    /// How many there were after the last look for those that are to be forgotten.
    kept: usize,
}

#[derive(Clone, Copy, Default)]
struct Failures {
    /// In a row.
    count: u32,
    /// Until when to wait, on the monotonic clock.
    until: Duration,
}

impl Tries {
    pub(super) fn waits(&self, name: &str, now: Moment) -> bool {
        let failed = self.lock();
        let failures = failed.by_name.get(name);
        failures.is_some_and(|failures| now.elapsed < failures.until)
    }

    pub(super) fn have_failed(&self, name: &str, now: Moment) -> bool {
        let failed = self.lock();
        let failures = failed.by_name.get(name);
        failures.is_some_and(|failures| failures.count_still(now))
    }

    /// Takes in what came of one. The wait doubles after a failure, `slowest` times at most.
    pub(super) fn note(&self, name: &str, has_failed: bool, slowest: u32, now: Moment) {
        let mut failed = self.lock();
        if has_failed {
            let failures = failed.by_name.entry(name.to_owned()).or_default();
            if !failures.count_still(now) {
                *failures = Failures::default();
            }
            failures.until = now.elapsed + backoff(failures.count.min(slowest), name);
            failures.count = failures.count.saturating_add(1);
            failed.forget(now);
        } else {
            failed.by_name.remove(name);
        }
    }

    /// One may be tried again at once. If it fails, it waits as long as it would have next.
    pub(super) fn hasten(&self, name: &str, now: Moment) {
        if let Some(failures) = self.lock().by_name.get_mut(name) {
            failures.until = failures.until.min(now.elapsed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Failed> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failed {
    /// Strikes those off that are gone. Only when there are twice as many as were left the last time: there may be
    /// thousands, and each fails again and again.
    fn forget(&mut self, now: Moment) {
        if self.by_name.len() > 2 * self.kept.max(FEW) {
            self.by_name.retain(|_, failures| failures.count_still(now));
            self.kept = self.by_name.len();
        }
    }
}

impl Failures {
    fn count_still(self, now: Moment) -> bool {
        now.elapsed < self.until + FORGET_AFTER
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn at(minutes: u64) -> Moment {
        Moment {
            wall: Timestamp::UNIX_EPOCH,
            elapsed: Duration::from_mins(minutes),
        }
    }

    #[test]
    fn what_nobody_has_tried_for_long_is_forgotten() {
        let tries = Tries::default();
        for minute in 1..10_000 {
            tries.note(&minute.to_string(), true, 9, at(minute));
            let remembered = tries.lock().by_name.len();
            assert!(remembered <= 2 * FEW + 1, "{remembered}");
        }
        assert!(tries.have_failed("9999", at(10_000)));
        assert!(!tries.have_failed("9999", at(10_020)), "it counts as new");
    }

    #[test]
    fn what_is_hastened_waits_no_more_and_longer_after_the_next_failure() {
        let tries = Tries::default();
        for _ in 0..10 {
            tries.note("one", true, 9, at(1));
        }
        assert!(tries.waits("one", at(5)));
        tries.hasten("one", at(2));
        assert!(!tries.waits("one", at(2)) && tries.have_failed("one", at(2)));
        tries.note("one", true, 9, at(2));
        assert!(tries.waits("one", at(6)) && !tries.waits("one", at(7)));
    }
}
