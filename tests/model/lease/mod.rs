//! The lease as a world of its own: two processes, each a real [`Candidate`], and an API server. Requests are lost, late or
//! slow, processes sleep, crash and are cut off, wall clocks jump. It knows no tokens, and the worlds of tokens know no
//! lease: they have two processes that both believe to lead.
//!
//! Time is in ticks of a second, with a lease of 3, a renew deadline of 2 and a retry of 1. Within a tick everything is
//! taken in every order. A tick passes only when each process that is awake has looked at its clock and done what is due.

mod canon;
mod moves;
mod play;

use std::fmt;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use platform_token_operator::lease::{Action, Answer, Candidate, Identity, Lease, Times, Write};
use platform_token_operator::plan::Moment;

use crate::search::{Walk, Walkable, walk_through};
use moves::Move;

/// A guard that can be taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// A write replaces only the version that was read.
    CompareAndSwap,
    /// Others are judged by what is seen to change, not by the time that they wrote.
    ObservedChange,
    /// A leader gives up before the lease has run out.
    RenewDeadline,
    /// Its time counts from the start of the renewal, not from the answer.
    FromTheStart,
    /// A leader judges itself by the wall clock as well.
    BothClocks,
}

/// What has to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Claim {
    /// Of two processes that act as leaders, one has slept and has yet to look at its clock.
    OneLeader,
    /// Without further faults one process that is awake and reaches the API server leads in the end, and goes on leading.
    OneLeads,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OneLeader => "no two processes that are awake lead at the same time",
            Self::OneLeads => "a healthy process leads in the end",
        })
    }
}

/// How often what may go wrong, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Faults {
    /// A request has no answer; a write may be late, or lost.
    lost: u8,
    /// The API server restarts: all that is on its way to it or back is lost, or late.
    restarts: u8,
    /// An answer takes a tick.
    slow: u8,
    /// A process does not reach the API server any more, for as long as one likes.
    cuts: u8,
    /// A process sleeps, and its monotonic clock with it, for as long as one likes.
    naps: u8,
    /// A process dies, and starts anew.
    crashes: u8,
    /// The wall clock of a process jumps ahead by a whole lease.
    jumps: u8,
}

/// A world that is walked through.
#[derive(Debug)]
struct World {
    faults: Faults,
    without: Option<Guard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    lease: Option<Lease>,
    processes: [Process; 2],
    /// Writes that nobody waits for any more.
    late: Vec<Write>,
    left: Faults,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Process {
    candidate: Candidate,
    /// It does what only a leader may do.
    acts: bool,
    mind: Mind,
    /// It does not reach the API server.
    cut: bool,
    /// How many ticks its wall clock is ahead.
    ahead: u8,
    call: Option<Call>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Mind {
    Awake,
    Asleep,
    /// It was asleep, and has yet to look at its clock.
    Woken,
}

/// A call that a process waits for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Call {
    action: Action,
    /// What the API server said.
    answer: Option<Answer>,
    /// It, or its answer, takes a tick.
    slow: bool,
    /// In ticks.
    age: u8,
}

const TICK: Duration = Duration::from_secs(1);

/// The present of every process: what is older was before.
const NOW: Duration = Duration::from_secs(1000);

fn epoch() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn named(name: &str) -> Identity {
    Identity::read(name.into()).unwrap()
}

fn times() -> Times {
    Times::new(3 * TICK, 2 * TICK, TICK).unwrap()
}

impl Process {
    fn new(identity: Identity) -> Self {
        Self {
            candidate: Candidate::new(identity, times()),
            acts: false,
            mind: Mind::Awake,
            cut: false,
            ahead: 0,
            call: None,
        }
    }

    /// The present on its clocks.
    fn now(&self) -> Moment {
        Moment {
            wall: epoch() + NOW + TICK * self.ahead.into(),
            elapsed: NOW,
        }
    }

    fn leads(&self) -> bool {
        let term = self.candidate.term();
        term.is_some_and(|term| !term.is_over(self.now()))
    }
}

impl Walkable for World {
    type State = State;
    type Move = Move;
    type Claim = Claim;

    const COMES: Claim = Claim::OneLeads;

    fn first(&mut self) -> State {
        let mut first = State {
            lease: None,
            processes: ["A", "B"].map(|name| Process::new(named(name))),
            late: vec![],
            left: self.faults,
        };
        first.make_canonical(self.without);
        first
    }

    fn moves(&mut self, state: &State) -> Vec<Move> {
        state.moves(self.without)
    }

    fn play(&mut self, state: &State, happens: Move) -> (State, Option<Claim>) {
        let mut after = state.clone();
        after.play(happens, self.without);
        after.make_canonical(self.without);
        let acts = |process: &&Process| process.acts && process.mind == Mind::Awake;
        let two = after.processes.iter().filter(acts).count() > 1;
        (after, two.then_some(Claim::OneLeader))
    }

    fn is_fair(happens: Move) -> bool {
        happens.is_fair()
    }

    fn is_as_it_shall_be(&self, state: &State) -> bool {
        let well = |process: &&Process| process.mind == Mind::Awake && !process.cut;
        let mut healthy = state.processes.iter().filter(well).peekable();
        healthy.peek().is_none() || healthy.any(|process| process.acts)
    }
}

const CALM: Faults = Faults {
    lost: 0,
    restarts: 0,
    slow: 0,
    cuts: 0,
    naps: 0,
    crashes: 0,
    jumps: 0,
};

/// Walked through by every `cargo test`.
const SMALL: [(&str, Faults); 6] = [
    (
        "a late request, a crash",
        Faults {
            lost: 1,
            crashes: 1,
            ..CALM
        },
    ),
    ("a slow answer", Faults { slow: 1, ..CALM }),
    ("a nap", Faults { naps: 1, ..CALM }),
    ("a cut", Faults { cuts: 1, ..CALM }),
    (
        "a restart of the API server",
        Faults {
            restarts: 1,
            ..CALM
        },
    ),
    ("a jump of a clock", Faults { jumps: 1, ..CALM }),
];

/// Walked through by `make model`.
const LARGE: [(&str, Faults); 4] = [
    (
        "two late requests, two crashes",
        Faults {
            lost: 2,
            crashes: 2,
            ..CALM
        },
    ),
    (
        "a nap, a slow answer, a late request",
        Faults {
            naps: 1,
            slow: 1,
            lost: 1,
            ..CALM
        },
    ),
    (
        "a cut, a restart of the API server, a jump of a clock",
        Faults {
            cuts: 1,
            restarts: 1,
            jumps: 1,
            ..CALM
        },
    ),
    (
        "a nap, a cut, a crash",
        Faults {
            naps: 1,
            cuts: 1,
            crashes: 1,
            ..CALM
        },
    ),
];

/// For each guard, what has to go wrong for a claim to break without it.
const SABOTAGED: [(Guard, Faults); 5] = [
    (Guard::CompareAndSwap, CALM),
    (Guard::ObservedChange, Faults { jumps: 1, ..CALM }),
    (Guard::RenewDeadline, Faults { cuts: 1, ..CALM }),
    (
        Guard::FromTheStart,
        Faults {
            slow: 1,
            cuts: 1,
            ..CALM
        },
    ),
    (Guard::BothClocks, Faults { naps: 1, ..CALM }),
];

fn walk(name: &str, faults: Faults, without: Option<Guard>) -> Walk<Claim, Move> {
    let walk = walk_through(World { faults, without });
    println!(
        "{name:56} {} states, {} moves, depth {}, {:.1} s",
        walk.states,
        walk.moves,
        walk.depth,
        walk.took.as_secs_f64()
    );
    if let Some((claim, way)) = &walk.broken {
        println!("Broken: {claim}. {way:?}");
    }
    walk
}

fn assert_hold(worlds: &[(&str, Faults)]) {
    let holds = |(name, faults): &&(&str, Faults)| walk(name, *faults, None).broken.is_none();
    assert_eq!(worlds.iter().filter(holds).count(), worlds.len());
}

#[test]
fn no_two_lead_at_the_same_time_and_one_leads_in_the_end() {
    assert_hold(&SMALL);
}

/// `make model`: more that goes wrong at once.
#[test]
#[ignore = "make model"]
fn whatever_goes_wrong_no_two_lead_and_one_leads_in_the_end() {
    assert_hold(&LARGE);
}

#[test]
fn each_guard_of_the_lease_matters() {
    for (guard, faults) in SABOTAGED {
        let walk = walk(&format!("without {guard:?}"), faults, Some(guard));
        let (broken, _) = walk.broken.expect("a guard that nothing needs");
        assert_eq!(broken, Claim::OneLeader, "without {guard:?}");
    }
}
