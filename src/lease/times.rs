//! How long things take.

use std::time::Duration;

use crate::plan::Moment;

/// How long things take: a lease is longer than what a leader allows itself, and that is longer than the wait between
/// two tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Times {
    lease: Duration,
    renew: Duration,
    /// Between two looks, or two writes.
    pub(super) retry: Duration,
}

impl Times {
    /// What ships: 15 s, 10 s, 2 s, as the controllers of Kubernetes have them.
    pub const SHIPPED: Self = Self {
        lease: Duration::from_secs(15),
        renew: Duration::from_secs(10),
        retry: Duration::from_secs(2),
    };

    /// Other times; none unless `lease > renew > retry > 0`.
    #[must_use]
    pub fn new(lease: Duration, renew: Duration, retry: Duration) -> Option<Self> {
        let ordered = lease > renew && renew > retry && !retry.is_zero();
        ordered.then_some(Self {
            lease,
            renew,
            retry,
        })
    }

    /// How long nobody else takes the lease after a renewal.
    #[must_use]
    pub const fn lease(self) -> Duration {
        self.lease
    }

    /// How long a leader leads after the start of a renewal.
    #[must_use]
    pub const fn renew(self) -> Duration {
        self.renew
    }

    /// How long one call may take: so that a leader whose renewal hangs has time for another.
    #[must_use]
    pub fn call(self) -> Duration {
        self.renew / 2
    }
}

/// A stretch of leadership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Term {
    /// When the last renewal that succeeded was begun.
    pub renewed: Moment,
    /// How long it leads after that.
    pub lasts: Duration,
}

impl Term {
    /// How much of it is left, on the clock that leaves less: one of them stands still while a machine sleeps.
    #[must_use]
    pub fn left(&self, now: Moment) -> Duration {
        self.lasts.saturating_sub(now.since(self.renewed))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self, now: Moment) -> bool {
        self.left(now).is_zero()
    }
}
