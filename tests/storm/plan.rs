//! When the operator is killed: a plan that follows from the seed.

use std::fmt;
use std::time::Duration;

use crate::deed::Kind;
use crate::dice::Dice;

/// When one process of the operator is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kill {
    /// So long after it was started.
    After(Duration),
    /// Right after a request was seen.
    Sight(Aim),
}

/// The request that a kill waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Aim {
    /// Which account it is about, by its place among them.
    pub account: usize,
    pub kind: Kind,
    /// The how many-th of the process.
    pub nth: u64,
    pub fate: Fate,
}

/// What becomes of the request that a kill waits for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    /// It never arrives.
    Dropped,
    /// It arrives when its sender has long been dead.
    Late(Duration),
    /// It takes effect, and its answer is held back until its sender is dead.
    Withheld,
    /// It takes effect, and its sender is killed as the answer leaves.
    Answered,
}

impl Fate {
    /// What the table calls them, in the order of [`Fate::column`].
    pub(crate) const COLUMNS: [&str; 4] = ["dropped", "late", "answer withheld", "answered"];

    pub(crate) fn column(self) -> usize {
        match self {
            Self::Dropped => 0,
            Self::Late(_) => 1,
            Self::Withheld => 2,
            Self::Answered => 3,
        }
    }
}

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(time) => write!(f, "after {time:?}"),
            Self::Sight(aim) => {
                let fate = Fate::COLUMNS[aim.fate.column()];
                let Aim { kind, nth, .. } = aim;
                write!(f, "at {kind} {nth} of account {}, {fate}", aim.account)
            }
        }
    }
}

/// How long a process may live that is killed at a random moment: from within its start to well at work.
const LIFE: (u64, u64) = (50, 3000);

/// How long a request may be on its way; a POST of a dead sender has at most 20 s.
const LATE: (u64, u64) = (50, 15_000);

/// As many kills as asked for: a third at random moments, the others from a deck that holds every kind, fate and account.
pub(crate) fn kills(seed: u64, times: usize, accounts: usize) -> Vec<Kill> {
    let mut dice = Dice::of(seed, "kills");
    let mut deck = Vec::new();
    let mut kill = || {
        if dice.percent(33) {
            return Kill::After(dice.millis(LIFE.0, LIFE.1));
        }
        if deck.is_empty() {
            deck = every_aim(&mut dice, accounts);
        }
        Kill::Sight(deck.pop().unwrap())
    };
    (0..times).map(|_| kill()).collect()
}

/// All of them once, and twice what mints.
fn every_aim(dice: &mut Dice, accounts: usize) -> Vec<Aim> {
    let mut deck = Vec::new();
    for kind in Kind::ALL
        .into_iter()
        .chain([Kind::Open, Kind::Post, Kind::Store])
    {
        for account in 0..accounts {
            for fate in [
                Fate::Dropped,
                Fate::Late(dice.millis(LATE.0, LATE.1)),
                Fate::Withheld,
                Fate::Answered,
            ] {
                deck.push(Aim {
                    account,
                    kind,
                    nth: dice.between(1, 3),
                    fate,
                });
            }
        }
    }
    dice.shuffle(&mut deck);
    deck
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_make_equal_plans() {
        assert_eq!(kills(7, 100, 2), kills(7, 100, 2));
        assert_ne!(kills(7, 100, 2), kills(8, 100, 2));
    }

    #[test]
    fn a_long_plan_takes_aim_at_every_request_in_every_way() {
        let plan = kills(7, 300, 2);
        for kind in Kind::ALL {
            for column in 0..Fate::COLUMNS.len() {
                for account in 0..2 {
                    let wanted = |kill: &Kill| {
                        matches!(kill, Kill::Sight(aim) if aim.kind == kind
                            && aim.account == account && aim.fate.column() == column)
                    };
                    assert!(plan.iter().any(wanted), "{kind} {column} {account}");
                }
            }
        }
        assert!(plan.iter().any(|kill| matches!(kill, Kill::After(_))));
    }
}
