//! What the proxies and the killer share: who lives, what is aimed at, and whether anything still moves.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::deed::Kind;
use crate::dice::Dice;
use crate::plan::{Aim, Fate};

/// The latency of every API: so many milliseconds from request to answer.
const LATENCY: (u64, u64) = (20, 200);

/// Of a hundred answers of the API server to named requests, so many are lost while it storms.
const LOST: u64 = 3;

/// Of a hundred POSTs, so many are sent twice while it storms, where that is found out in the end.
const DOUBLED: u64 = 3;

/// What the proxies and the killer share.
pub(crate) struct Lookout(Mutex<State>);

struct State {
    dice: Dice,
    /// The process of the operator that lives, by its number, and the end of its life.
    life: (u32, CancellationToken),
    aim: Option<(Aim, oneshot::Sender<()>)>,
    storms: bool,
    /// A proxy may send a POST twice.
    doubles: bool,
    /// Named requests that have not been answered yet.
    moving: u32,
    /// When the last named request was answered.
    moved: Instant,
}

/// How long a request takes there and back, and whose it is.
pub(crate) struct Passage {
    pub there: Duration,
    pub back: Duration,
    pub life: u32,
}

/// A request that was aimed at.
pub(crate) struct Hit {
    pub fate: Fate,
    tell: oneshot::Sender<()>,
    dead: CancellationToken,
}

impl Hit {
    /// Has the sender killed.
    pub(crate) fn strike(self) {
        let _ = self.tell.send(());
    }

    /// Has the sender killed, and waits until it is dead.
    pub(crate) async fn kill(self) {
        let _ = self.tell.send(());
        self.dead.cancelled().await;
    }
}

impl Lookout {
    pub(crate) fn new(seed: u64, doubles: bool) -> Self {
        Self(Mutex::new(State {
            dice: Dice::of(seed, "lookout"),
            life: (0, CancellationToken::new()),
            aim: None,
            storms: false,
            doubles,
            moving: 0,
            moved: Instant::now(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new process is about to be started.
    pub(crate) fn begin_life(&self) {
        let mut state = self.state();
        state.life = (state.life.0 + 1, CancellationToken::new());
    }

    /// The process is dead; what waited for that goes on.
    pub(crate) fn end_life(&self) {
        let mut state = self.state();
        state.aim = None;
        state.life.1.cancel();
    }

    /// How many processes there have been.
    pub(crate) fn lives(&self) -> u32 {
        self.state().life.0
    }

    pub(crate) fn storms(&self, storms: bool) {
        self.state().storms = storms;
    }

    /// Takes aim; the receiver hears when the request was seen.
    pub(crate) fn aim(&self, aim: Aim) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        self.state().aim = Some((aim, tell));
        told
    }

    pub(crate) fn passage(&self) -> Passage {
        let mut state = self.state();
        let whole = state.dice.millis(LATENCY.0, LATENCY.1);
        let there = whole * u32::try_from(state.dice.between(0, 4)).unwrap() / 4;
        Passage {
            there,
            back: whole.saturating_sub(there),
            life: state.life.0,
        }
    }

    /// Whether an answer of the API server gets lost.
    pub(crate) fn loses(&self) -> bool {
        let mut state = self.state();
        state.storms && state.dice.percent(LOST)
    }

    /// Whether a proxy sends a POST twice.
    pub(crate) fn doubles(&self) -> bool {
        let mut state = self.state();
        state.storms && state.doubles && state.dice.percent(DOUBLED)
    }

    /// A named request is seen: is it the one that is aimed at?
    pub(crate) fn sighted(&self, account: usize, kind: Kind) -> Option<Hit> {
        let mut state = self.state();
        let (aim, _) = state.aim.as_mut()?;
        if aim.account != account || aim.kind != kind {
            return None;
        }
        aim.nth = aim.nth.saturating_sub(1);
        if aim.nth > 0 {
            return None;
        }
        let dead = state.life.1.clone();
        let (aim, tell) = state.aim.take()?;
        Some(Hit {
            fate: aim.fate,
            tell,
            dead,
        })
    }

    /// Something moves until the answer is dropped.
    pub(crate) fn moving(&self) -> Moving<'_> {
        self.state().moving += 1;
        Moving(self)
    }

    /// For how long no named request has been on its way.
    pub(crate) fn still_for(&self) -> Duration {
        let state = self.state();
        if state.moving > 0 {
            Duration::ZERO
        } else {
            state.moved.elapsed()
        }
    }
}

/// A named request on its way.
pub(crate) struct Moving<'a>(&'a Lookout);

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.moving -= 1;
        state.moved = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_request_that_is_aimed_at_is_hit_and_waits_for_the_kill() {
        let lookout = Lookout::new(1, false);
        lookout.begin_life();
        let aim = Aim {
            account: 1,
            kind: Kind::Post,
            nth: 2,
            fate: Fate::Withheld,
        };
        let told = lookout.aim(aim);
        for (account, kind) in [(0, Kind::Post), (1, Kind::Open), (1, Kind::Post)] {
            assert!(lookout.sighted(account, kind).is_none());
        }
        let hit = lookout.sighted(1, Kind::Post).unwrap();
        assert!(lookout.sighted(1, Kind::Post).is_none());
        let killer = async {
            told.await.unwrap();
            lookout.end_life();
        };
        tokio::join!(hit.kill(), killer);
    }

    #[tokio::test]
    async fn nothing_is_still_while_a_request_is_on_its_way() {
        let lookout = Lookout::new(1, false);
        let moving = lookout.moving();
        assert_eq!(lookout.still_for(), Duration::ZERO);
        drop(moving);
        tokio::task::yield_now().await;
        assert!(lookout.still_for() > Duration::ZERO);
    }
}
