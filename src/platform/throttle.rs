//! How fast one account may call the platform, and who goes first.
//!
//! - What a PlatformToken waits for, the foreground, stands in one line and is served in the order of arrival.
//! - New work joins the line only while it is short, so that what ends begun work (a verification, a revocation) has at
//!   most so much of it ahead: see the patience that each caller brings along.
//! - Background work goes when nobody stands in line, and joins the line when it has given way for five seconds.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::api::RateLimit;

/// A token bucket in the form of a schedule: whoever stands in line has a moment reserved.
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

/// Whoever meets a longer pause comes back after it: waiting in line is worth more patience than waiting for the platform.
const PAUSE_TO_SIT_OUT: Duration = Duration::from_secs(2);

/// How long to pause where the platform asks to slow down and does not say for how long.
pub const PAUSE: Duration = Duration::from_secs(5);

/// How long background work gives way before it stands in line like all the others.
const GIVES_WAY: Duration = Duration::from_secs(5);

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

    /// Waits for a permit that nobody else waits for. After [`GIVES_WAY`] it joins the line, however long that is: others
    /// join none that is longer than their patience.
    pub async fn background_permit(&self) -> Result<(), Denied> {
        let joins = Instant::now() + GIVES_WAY;
        loop {
            let now = Instant::now();
            let until_then = joins.saturating_duration_since(now);
            let free = {
                let mut state = self.lock();
                if let Some(left) = state.pause_left(now).filter(|left| *left > until_then) {
                    return Err(Denied::Paused(left));
                }
                let due = self.free(&state, now);
                let free = due.max(state.paused_until);
                if free <= now {
                    state.next = due + self.interval;
                    return Ok(());
                }
                free
            };
            if until_then.is_zero() {
                return self.permit(Duration::MAX).await;
            }
            tokio::time::sleep_until(free.min(joins)).await;
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
        let longest = patience.min(PAUSE_TO_SIT_OUT);
        if let Some(left) = state.pause_left(now).filter(|left| *left > longest) {
            return Err(Denied::Paused(left));
        }
        let due = self.free(&state, now);
        if due.saturating_duration_since(now) > patience {
            return Err(Denied::Busy);
        }
        state.next = due + self.interval;
        Ok(due.max(state.paused_until))
    }

    /// The first moment that nobody has reserved, as far as the rate goes.
    fn free(&self, state: &Schedule, now: Instant) -> Instant {
        // The bucket is full when `next` lies `credit` in the past, and never fuller.
        let earliest = now.checked_sub(self.credit).unwrap_or(now);
        state.next.max(earliest)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Schedule> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "a test owns its tasks")]

    use std::collections::VecDeque;
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

    /// A line of so many that wait, behind a bucket that is empty.
    async fn line(throttle: &Arc<Throttle>, waiting: usize) -> Vec<tokio::task::JoinHandle<()>> {
        throttle.permit(PATIENCE).await.unwrap();
        let wait = || {
            let throttle = throttle.clone();
            tokio::spawn(async move { throttle.permit(PATIENCE).await.unwrap() })
        };
        let line = std::iter::repeat_with(wait).take(waiting).collect();
        tokio::task::yield_now().await;
        line
    }

    #[tokio::test(start_paused = true)]
    async fn background_work_goes_when_nobody_stands_in_line_and_never_starves() {
        // (how many stand in line at one a second, when the background gets its permit)
        for (waiting, at) in [(0, 1), (1, 2), (3, 4), (4, 5), (10, 11), (40, 41)] {
            let throttle = Arc::new(Throttle::new(RateLimit {
                requests_per_second: 1,
                burst: 1,
            }));
            let line = line(&throttle, waiting).await;
            let start = Instant::now();
            throttle.background_permit().await.unwrap();
            assert_eq!(start.elapsed().as_secs(), at, "{waiting} in line");
            assert!(line.iter().all(tokio::task::JoinHandle::is_finished));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_while_background_work_gives_way_goes_first_until_it_joins_the_line() {
        let throttle = Arc::new(Throttle::new(RateLimit {
            requests_per_second: 1,
            burst: 1,
        }));
        throttle.permit(PATIENCE).await.unwrap();
        let stand = || {
            let throttle = throttle.clone();
            tokio::spawn(async move { throttle.permit(PATIENCE).await.unwrap() })
        };
        let background = tokio::spawn({
            let throttle = throttle.clone();
            async move { throttle.background_permit().await }
        });
        // There is always someone in line.
        let (mut line, mut served) = (VecDeque::from([stand(), stand()]), 0);
        while !background.is_finished() {
            line.pop_front().unwrap().await.unwrap();
            line.push_back(stand());
            served += 1;
            tokio::task::yield_now().await;
        }
        assert!((5..=8).contains(&served), "{served} went before it");
        assert_eq!(background.await.unwrap(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn background_work_keeps_a_pause_and_leaves_a_full_bucket_as_it_is() {
        let limit = RateLimit {
            requests_per_second: 1,
            burst: 3,
        };
        let throttle = Throttle::new(limit);
        throttle.background_permit().await.unwrap();
        assert!(
            permits(&throttle, 2).await < Duration::from_millis(5),
            "it took one permit of the burst"
        );
        let throttle = Throttle::new(limit);
        throttle.pause(Some(GIVES_WAY * 2));
        let denied = throttle.background_permit().await;
        assert!(matches!(denied, Err(Denied::Paused(_))), "{denied:?}");
        tokio::time::advance(GIVES_WAY * 2).await;
        throttle.background_permit().await.unwrap();
    }
}
