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

    /// Waits for a permit to make one call.
    pub async fn permit(&self) {
        let mut due = self.reserve();
        loop {
            tokio::time::sleep_until(due).await;
            // A pause that began while we slept holds for us as well.
            let paused_until = self.lock().paused_until;
            if paused_until <= due || paused_until <= Instant::now() {
                return;
            }
            due = paused_until;
        }
    }

    /// Lets no call out for `pause`, whoever asks.
    pub fn pause(&self, pause: Duration) {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        state.paused_until = state.paused_until.max(until);
    }

    fn reserve(&self) -> Instant {
        let now = Instant::now();
        let mut state = self.lock();
        // The bucket is full when `next` lies `credit` in the past, and never fuller.
        let earliest = now.checked_sub(self.credit).unwrap_or(now);
        let due = state.next.max(earliest);
        state.next = due + self.interval;
        due.max(state.paused_until)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Schedule> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test owns its tasks")]

    use super::*;

    async fn permits(throttle: &Throttle, n: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..n {
            throttle.permit().await;
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
        let throttle = std::sync::Arc::new(Throttle::new(RateLimit {
            requests_per_second: 1,
            burst: 1,
        }));
        throttle.permit().await;
        let waiting = tokio::spawn({
            let throttle = throttle.clone();
            async move { permits(&throttle, 1).await }
        });
        tokio::task::yield_now().await;
        throttle.pause(Duration::from_secs(30));
        assert!(waiting.await.unwrap() >= Duration::from_secs(30));
    }
}
