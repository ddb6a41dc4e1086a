//! The one place that reads clocks. Everything else is handed a [`Moment`].

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::plan::Moment;

/// Wall clock and monotonic clock of this process. The monotonic one stands still where tokio's time is paused, and
/// the wall clock moves with it, so that a simulation sees one time.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    epoch: Option<Timestamp>,
}

impl Clock {
    /// The clocks of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self {
            started: Instant::now(),
            epoch: None,
        }
    }

    /// A wall clock that begins at `epoch` and moves with tokio's time.
    #[must_use]
    pub fn simulated(epoch: Timestamp) -> Self {
        Self {
            started: Instant::now(),
            epoch: Some(epoch),
        }
    }

    /// This moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        let elapsed = self.started.elapsed();
        let wall = match self.epoch {
            Some(epoch) => epoch.checked_add(elapsed).unwrap_or(Timestamp::MAX),
            None => wall_clock(),
        };
        Moment { wall, elapsed }
    }
}

#[expect(clippy::disallowed_methods, reason = "this file owns the wall clock")]
fn wall_clock() -> Timestamp {
    Timestamp::now()
}
