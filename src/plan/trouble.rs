//! What stands in the way of a token, and how to react to it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::api::Reason;

/// The longest wait between two tries.
const SLOWEST: Duration = Duration::from_mins(5);

/// What stands in the way: becomes the conditions, the requeue, a warning and a label of a metric.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The word for it.
    pub reason: Reason,
    /// What happened and what to do; the same text for the same trouble, so that retries write no status.
    pub message: String,
    /// Who has to act, and when we try again.
    pub reaction: Reaction,
}

/// Who has to act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// A person. We look again with back-off, in case nothing wakes us.
    Stalled,
    /// We do, with back-off.
    Transient,
    /// We do, after this time.
    Waiting(Duration),
}

impl Trouble {
    /// A person has to act.
    pub fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: printable(&message.into()),
            reaction: Reaction::Stalled,
        }
    }

    /// It may pass; we try again with back-off.
    pub fn transient(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: printable(&message.into()),
            reaction: Reaction::Transient,
        }
    }

    /// We try again after `wait`.
    pub fn waiting(wait: Duration, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: printable(&message.into()),
            reaction: Reaction::Waiting(wait),
        }
    }

    /// How long to wait before the next try, after `failures` failed ones in a row. Never zero.
    #[must_use]
    pub fn wait(&self, failures: u32, seed: &str) -> Duration {
        match self.reaction {
            Reaction::Waiting(wait) => wait.clamp(Duration::from_millis(100), SLOWEST),
            Reaction::Stalled | Reaction::Transient => backoff(failures, seed),
        }
    }
}

/// Without control characters: a text may quote what anyone wrote, and logs and terminals obey some of it.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// Doubles from one second to five minutes; spread by up to a tenth, by `seed`, so that crowds do not move in step.
#[must_use]
pub fn backoff(failures: u32, seed: &str) -> Duration {
    let exact = Duration::from_secs(1)
        .saturating_mul(1 << failures.min(12))
        .min(SLOWEST);
    let mut hasher = DefaultHasher::new();
    (seed, failures).hash(&mut hasher);
    let tenths_of_percent = 900 + u32::try_from(hasher.finish() % 101).unwrap_or(0);
    exact * tenths_of_percent / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_doubles_and_ends_at_five_minutes() {
        let waits: Vec<f64> = (0..40).map(|n| backoff(n, "uid").as_secs_f64()).collect();
        assert!((0.9..=1.0).contains(&waits[0]), "{}", waits[0]);
        for (n, pair) in waits.windows(2).enumerate().take(8) {
            assert!(pair[1] > pair[0] * 1.6, "wait {n}: {pair:?}");
        }
        assert!(waits.iter().all(|&w| w <= 300.0));
        assert!(waits[39] >= 270.0);
        assert_ne!(backoff(3, "one"), backoff(3, "another"));
    }

    #[test]
    fn no_wait_is_zero() {
        let trouble = Trouble::waiting(Duration::ZERO, Reason::Throttled, "");
        assert!(trouble.wait(0, "") > Duration::ZERO);
    }
}
