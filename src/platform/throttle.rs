//! How fast one account may call the platform.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::RateLimit;

/// A token bucket in the form of a schedule: every permit reserves its moment, in order of arrival.
#[derive(Debug)]
pub struct Throttle {
    /// Time between two permits at the steady rate.
    interval: Duration,
    /// How far ahead of the steady rate a burst may run.
    credit: Duration,
    state: Mutex<Schedule>,
}

/// Why there is no permit now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The platform asked for a pause, which lasts so much longer.
    #[error("the platform asked for a pause")]
    Paused(Duration),
    /// Others are waiting for more permits than the account's rate has in time.
    #[error("the account's rate limit is used up")]
    Busy,
}

/// How long to pause where the platform asks to slow down and does not say for how long.
pub const PAUSE: Duration = Duration::from_secs(5);

impl Schedule {
    fn pause_left(&self, now: Instant) -> Option<Duration> {
        self.paused_until
            .checked_duration_since(now)
            .filter(|left| !left.is_zero())
    }
}

#[derive(Debug)]
struct Schedule {
    /// When the next permit is due at the steady rate.
    next: Instant,
    /// No permit before this moment: the platform asked for a pause.
    paused_until: Instant,
}

impl Throttle {
    /// A bucket that starts full.
    #[must_use]
    pub fn new(limit: RateLimit) -> Self {
        let interval = Duration::from_secs(1) / limit.requests_per_second.max(1);
        let credit = interval * limit.burst.saturating_sub(1);
        let now = Instant::now();
        Self {
            interval,
            credit,
            state: Mutex::new(Schedule {
                next: now.checked_sub(credit).unwrap_or(now),
                paused_until: now,
            }),
        }
    }

    /// Waits for a permit to make one call, at most `patience`; if it would take longer, nothing is reserved.
    pub async fn permit(&self, patience: Duration) -> Result<(), Denied> {
        let due = self.reserve(patience)?;
        tokio::time::sleep_until(due).await;
        // A pause that began while we slept holds for us as well.
        match self.lock().pause_left(Instant::now()) {
            Some(left) => Err(Denied::Paused(left)),
            None => Ok(()),
        }
    }

    /// Lets no call out for as long as the platform asks, or for [`PAUSE`] if it does not say.
    pub fn pause(&self, asked: Option<Duration>) {
        let until = Instant::now() + asked.unwrap_or(PAUSE);
        let mut state = self.lock();
        state.paused_until = state.paused_until.max(until);
    }

    fn reserve(&self, patience: Duration) -> Result<Instant, Denied> {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(left) = state.pause_left(now).filter(|left| *left > patience) {
            return Err(Denied::Paused(left));
        }
        // The bucket is full when `next` lies `credit` in the past, and never fuller.
        let earliest = now.checked_sub(self.credit).unwrap_or(now);
        let due = state.next.max(earliest);
        if due > now + patience {
            return Err(Denied::Busy);
        }
        state.next = due + self.interval;
        Ok(due.max(state.paused_until))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Schedule> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test owns its tasks")]

    use std::sync::Arc;

    use super::*;

    const PATIENCE: Duration = Duration::from_mins(1);

    async fn permits(throttle: &Throttle, n: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..n {
            throttle.permit(PATIENCE).await.unwrap();
        }
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_goes_at_once_and_the_rest_at_the_steady_rate() {
        let throttle = Throttle::new(RateLimit {
            requests_per_second: 10,
            burst: 5,
        });
        assert!(permits(&throttle, 5).await < Duration::from_millis(5));
        let rest = permits(&throttle, 20).await;
        assert!((1.99..2.05).contains(&rest.as_secs_f64()), "{rest:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everyone_even_those_who_wait_already() {
        let throttle = Arc::new(Throttle::new(RateLimit {
            requests_per_second: 1,
            burst: 1,
        }));
        throttle.permit(PATIENCE).await.unwrap();
        let waiting = tokio::spawn({
            let throttle = throttle.clone();
            async move { throttle.permit(PATIENCE).await }
        });
        tokio::task::yield_now().await;
        throttle.pause(Some(Duration::from_secs(30)));
        assert!(matches!(waiting.await.unwrap(), Err(Denied::Paused(_))));
        assert!(matches!(
            throttle.permit(Duration::ZERO).await,
            Err(Denied::Paused(_))
        ));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(throttle.permit(PATIENCE).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_would_wait_too_long_is_sent_away_and_reserves_nothing() {
        let throttle = Throttle::new(RateLimit {
            requests_per_second: 1,
            burst: 1,
        });
        throttle.permit(PATIENCE).await.unwrap();
        let impatient = Duration::from_millis(10);
        for _ in 0..100 {
            assert_eq!(throttle.permit(impatient).await, Err(Denied::Busy));
        }
        assert!(permits(&throttle, 1).await <= Duration::from_secs(1));
    }
}
