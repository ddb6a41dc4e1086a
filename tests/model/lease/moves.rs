//! What can happen next to a lease and those who want it.

use platform_token_operator::lease::Action;

use super::{Call, Guard, Mind, Process, State};

/// One thing that happens. Processes and late writes are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// A process looks at its clock, and begins what is due.
    Look(u8),
    /// The API server takes in the call of a process, and the process hears the answer.
    Exchange(u8),
    /// The API server takes in the call of a process that is asleep.
    Land(u8),
    /// A process hears an answer that has come already.
    Hear(u8),
    /// It has waited long enough for one.
    GiveUp(u8),
    /// The API server takes in a write that nobody waits for.
    LandLate(u8),
    /// Such a write is lost.
    Vanish(u8),
    /// A tick passes.
    Tick,
    /// A call is carried out at once, and its answer takes a tick.
    AnswerSlowly(u8),
    /// A call takes a tick to arrive.
    ArriveSlowly(u8),
    /// A call is lost, or late.
    Lose(u8),
    /// A call is carried out, and its answer is lost.
    LoseAnswer(u8),
    /// There is none to any call.
    Restart,
    /// A process does not reach the API server any more.
    Cut(u8),
    /// It does again.
    Mend(u8),
    /// A process falls asleep.
    Nap(u8),
    /// It wakes.
    Wake(u8),
    /// A process dies, and another begins in its place.
    Crash(u8),
    /// The wall clock of a process jumps ahead.
    Jump(u8),
}

impl Move {
    /// Whether it happens without any fault. Whoever sleeps or is cut off may be so for ever: the other has to lead.
    pub(super) fn is_fair(self) -> bool {
        match self {
            Self::Look(_)
            | Self::Exchange(_)
            | Self::Land(_)
            | Self::Hear(_)
            | Self::GiveUp(_)
            | Self::LandLate(_)
            | Self::Vanish(_)
            | Self::Tick => true,
            Self::AnswerSlowly(_)
            | Self::ArriveSlowly(_)
            | Self::Lose(_)
            | Self::LoseAnswer(_)
            | Self::Restart
            | Self::Cut(_)
            | Self::Mend(_)
            | Self::Nap(_)
            | Self::Wake(_)
            | Self::Crash(_)
            | Self::Jump(_) => false,
        }
    }
}

impl State {
    /// All that can happen next.
    pub(super) fn moves(&self, without: Option<Guard>) -> Vec<Move> {
        let mut moves = vec![];
        for (process, p) in self.processes.iter().zip(0..) {
            match process.mind {
                Mind::Asleep => {
                    moves.push(Move::Wake(p));
                    // What it sent before goes its way.
                    moves.extend(process.can_land().then_some(Move::Land(p)));
                    continue;
                }
                Mind::Woken => {
                    moves.push(Move::Look(p));
                    continue;
                }
                Mind::Awake => {}
            }
            if process.has_to_look(without) {
                moves.push(Move::Look(p));
            }
            moves.extend(self.moves_of_call(process, p));
            moves.extend((!process.cut && self.left.cuts > 0).then_some(Move::Cut(p)));
            moves.extend(process.cut.then_some(Move::Mend(p)));
            moves.extend((self.left.naps > 0).then_some(Move::Nap(p)));
            moves.extend((self.left.crashes > 0).then_some(Move::Crash(p)));
            moves.extend((self.left.jumps > 0).then_some(Move::Jump(p)));
        }
        let late = u8::try_from(self.late.len()).unwrap();
        moves.extend((0..late).map(Move::LandLate));
        moves.extend((0..late).map(Move::Vanish));
        let under_way = self.processes.iter().any(|process| process.call.is_some());
        moves.extend((under_way && self.left.restarts > 0).then_some(Move::Restart));
        if self
            .processes
            .iter()
            .all(|process| process.is_idle(without))
        {
            moves.push(Move::Tick);
        }
        moves
    }

    /// What can become of the call of a process that is awake.
    fn moves_of_call(&self, process: &Process, p: u8) -> Vec<Move> {
        let Some(call) = &process.call else {
            return vec![];
        };
        let (slow, lost) = (self.left.slow > 0, self.left.lost > 0);
        let mut moves = vec![];
        if call.age > 0 {
            moves.push(Move::GiveUp(p));
        }
        if process.cut {
            return moves;
        }
        if call.answer.is_some() {
            // What is slow comes in the next tick.
            moves.extend((call.age > 0 || !call.slow).then_some(Move::Hear(p)));
        } else if call.age > 0 || !call.slow {
            moves.push(Move::Exchange(p));
            moves.extend(lost.then_some(Move::LoseAnswer(p)));
            moves.extend(lost.then_some(Move::Lose(p)));
            let slow = slow && call.age == 0;
            moves.extend(slow.then_some(Move::AnswerSlowly(p)));
            moves.extend(slow.then_some(Move::ArriveSlowly(p)));
        }
        moves
    }
}

impl Process {
    /// Whether its call can reach the API server.
    fn can_land(&self) -> bool {
        let call = self.call.as_ref();
        !self.cut && call.is_some_and(|call| call.answer.is_none())
    }

    /// Whether time may pass.
    fn is_idle(&self, without: Option<Guard>) -> bool {
        let may_wait = |call: &Call| call.age == 0 && (call.slow || self.cut);
        match self.mind {
            Mind::Asleep => true,
            Mind::Woken => false,
            Mind::Awake => !self.has_to_look(without) && self.call.as_ref().is_none_or(may_wait),
        }
    }

    /// Whether something is due: a call, or the end of what it does.
    fn has_to_look(&self, without: Option<Guard>) -> bool {
        let mut process = self.clone();
        process.sabotage(without);
        if process.call.is_some() {
            return process.acts && !process.leads();
        }
        let step = process.candidate.step(process.now());
        !matches!(step, Action::Wait(_))
    }
}
