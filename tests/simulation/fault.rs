//! What befalls an effect on its way.

use std::time::Duration;

use super::chance::Chance;

/// What goes wrong with one request of ours, to the API server or to the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process dies, and the request was never sent.
    CrashBefore,
    /// The process dies when the request has taken effect.
    CrashAfter,
    /// It takes effect, and the connection breaks before the answer.
    Lost,
    /// There is no connection: it is not sent, and the process knows that.
    Unsent,
    /// It never arrives, and there is no answer until the process gives up.
    Hang,
    /// There is no answer until the process gives up, and soon after that it takes effect.
    Late,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] = [
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Lost,
        Self::Unsent,
        Self::Hang,
        Self::Late,
    ];
}

/// Which effects go wrong, and how slow the others are.
#[derive(Debug, Clone)]
pub(crate) enum Weather {
    /// Nothing goes wrong, but for this one effect.
    Fair { except: Option<(u32, Fault)> },
    /// Of a thousand effects so many go wrong, and so many are slow, until this time.
    Foul {
        faults: u64,
        slow: u64,
        until: Duration,
    },
}

/// What befalls one effect.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fate {
    pub fault: Option<Fault>,
    /// From the process to where it takes effect.
    pub there: Duration,
    /// And back.
    pub back: Duration,
}

/// How long a slow request is on its way, one way.
const SLOW: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(12));

/// How long after its deadline a late request takes effect, at most. Together with the 15 s within which a POST is sent
/// and the 20 s that it may take, it has ended within the 45 s that others wait.
const LATE: Duration = Duration::from_secs(5);

impl Weather {
    /// What befalls the effect of this number, sent at `now` with a deadline.
    pub(crate) fn decide(
        &self,
        number: u32,
        now: Duration,
        deadline: Duration,
        chance: &mut Chance,
    ) -> Fate {
        let quick = (Duration::from_millis(1), Duration::from_millis(4));
        let (fault, slow) = match self {
            Self::Fair { except } => {
                let fault = except.filter(|(n, _)| *n == number).map(|(_, fault)| fault);
                (fault, false)
            }
            Self::Foul {
                faults,
                slow,
                until,
            } if now < *until => {
                let fault = chance.per_mille(*faults).then(|| *chance.pick(&Fault::ALL));
                (fault, chance.per_mille(*slow))
            }
            Self::Foul { .. } => (None, false),
        };
        let (least, most) = if slow { SLOW } else { quick };
        let there = match fault {
            Some(Fault::Late) => deadline + chance.between(Duration::from_millis(1), LATE),
            _ => chance.between(least, most),
        };
        let back = chance.between(least, most);
        Fate { fault, there, back }
    }
}
