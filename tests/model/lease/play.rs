//! What each move does to a lease and those who want it.

use platform_token_operator::lease::{Action, Answer, Lease, Standing, Write};

use super::moves::Move;
use super::{Call, Guard, Mind, NOW, Process, State, times};

/// Another version than any that is known; the canonical form gives it a short name.
const FRESH: &str = "fresh";

impl State {
    /// Lets it happen.
    pub(super) fn play(&mut self, happens: Move, without: Option<Guard>) {
        match happens {
            Move::Look(p) => self.look(p.into(), without),
            Move::Exchange(p) => {
                self.land(p.into(), without);
                self.hear(p.into(), without);
            }
            Move::Land(p) => self.land(p.into(), without),
            Move::Hear(p) => self.hear(p.into(), without),
            Move::GiveUp(p) => self.unheard(p.into()),
            Move::LandLate(k) => {
                let write = self.late.remove(k.into());
                self.write(write, without);
            }
            Move::Vanish(k) => {
                self.late.remove(k.into());
            }
            Move::Tick => self.tick(),
            Move::AnswerSlowly(p) => {
                self.land(p.into(), without);
                self.slow_down(p.into());
            }
            Move::ArriveSlowly(p) => self.slow_down(p.into()),
            Move::Lose(p) => {
                self.left.lost -= 1;
                self.unheard(p.into());
            }
            Move::LoseAnswer(p) => {
                self.left.lost -= 1;
                self.land(p.into(), without);
                self.unheard(p.into());
            }
            Move::Restart => {
                self.left.restarts -= 1;
                for p in [0, 1] {
                    // Whoever sleeps finds out when it wakes.
                    if self.processes[p].call.is_some() && self.processes[p].mind == Mind::Awake {
                        self.unheard(p);
                    }
                }
            }
            Move::Cut(p) => {
                self.left.cuts -= 1;
                self.processes[usize::from(p)].cut = true;
            }
            Move::Mend(p) => self.processes[usize::from(p)].cut = false,
            Move::Nap(p) => {
                self.left.naps -= 1;
                self.processes[usize::from(p)].mind = Mind::Asleep;
            }
            Move::Wake(p) => self.processes[usize::from(p)].mind = Mind::Woken,
            Move::Crash(p) => {
                self.left.crashes -= 1;
                self.begin_anew(p.into());
            }
            Move::Jump(p) => {
                self.left.jumps -= 1;
                self.processes[usize::from(p)].ahead += 3;
            }
        }
    }

    fn look(&mut self, p: usize, without: Option<Guard>) {
        let process = &mut self.processes[p];
        process.sabotage(without);
        process.mind = Mind::Awake;
        let led = process.acts;
        process.acts = process.leads();
        if led && !process.acts {
            return self.begin_anew(p);
        }
        if process.call.is_some() {
            return;
        }
        let now = process.now();
        match process.candidate.step(now) {
            action @ (Action::Read | Action::Write(_)) => {
                process.call = Some(Call {
                    action,
                    answer: None,
                    slow: false,
                    age: 0,
                });
            }
            Action::Wait(_) => {}
            Action::Lost(_) | Action::Released => self.begin_anew(p),
        }
    }

    fn land(&mut self, p: usize, without: Option<Guard>) {
        let call = self.processes[p].call.clone().unwrap();
        let answer = match call.action {
            Action::Write(write) => self.write(write, without),
            _ => Answer::Is(self.lease.clone()),
        };
        if let Some(call) = &mut self.processes[p].call {
            call.answer = Some(answer);
        }
    }

    fn slow_down(&mut self, p: usize) {
        self.left.slow -= 1;
        if let Some(call) = &mut self.processes[p].call {
            call.slow = true;
        }
    }

    /// The API server carries out a write.
    fn write(&mut self, write: Write, without: Option<Guard>) -> Answer {
        let version = self.lease.as_ref().map(|lease| &lease.version);
        if version != write.over.as_ref() && without != Some(Guard::CompareAndSwap) {
            return Answer::Conflict;
        }
        self.lease = Some(Lease {
            version: FRESH.into(),
            record: write.record,
        });
        Answer::Written(FRESH.into())
    }

    fn hear(&mut self, p: usize, without: Option<Guard>) {
        let process = &mut self.processes[p];
        let mut answer = process.call.take().and_then(|call| call.answer).unwrap();
        let now = process.now();
        if let Answer::Is(Some(lease)) = &mut answer
            && without == Some(Guard::ObservedChange)
            && lease.record.renewed + lease.record.duration <= now.wall
        {
            lease.record.holder = None;
        }
        let written = matches!(answer, Answer::Written(_));
        process.candidate.fold(answer, now);
        if let Standing::Leads(term) = &mut process.candidate.standing
            && without == Some(Guard::FromTheStart)
            && written
        {
            term.renewed = now;
        }
        process.acts = process.leads();
    }

    /// A process hears nothing; what it wrote is late, or lost.
    fn unheard(&mut self, p: usize) {
        let process = &mut self.processes[p];
        let now = process.now();
        let call = process.call.take();
        process.candidate.fold(Answer::Failed, now);
        self.late.extend(call.and_then(late));
    }

    /// A process ends, and another begins in its place. That bears another name; here the former one gets another.
    fn begin_anew(&mut self, p: usize) {
        let (cut, ahead) = (self.processes[p].cut, self.processes[p].ahead);
        let identity = self.processes[p].candidate.identity.clone();
        let call = self.processes[p].call.take();
        self.late.extend(call.and_then(late));
        self.forget(&identity);
        self.processes[p] = Process {
            cut,
            ahead,
            ..Process::new(identity)
        };
    }

    fn tick(&mut self) {
        for process in &mut self.processes {
            if let Some(call) = &mut process.call {
                call.age = 1;
            }
        }
        self.grow_older();
    }
}

impl Process {
    /// What this process believes without a guard.
    pub(super) fn sabotage(&mut self, without: Option<Guard>) {
        let now = self.now();
        if let Standing::Leads(term) = &mut self.candidate.standing {
            match without {
                Some(Guard::RenewDeadline) => term.lasts = times().lease(),
                Some(Guard::BothClocks) => {
                    let past = NOW.saturating_sub(term.renewed.elapsed);
                    term.renewed.wall = now.wall - past;
                }
                _ => {}
            }
        }
    }
}

/// The write that a call leaves behind, if it has not been carried out.
fn late(call: Call) -> Option<Write> {
    match call.action {
        Action::Write(write) if call.answer.is_none() => Some(write),
        _ => None,
    }
}
