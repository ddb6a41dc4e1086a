//! What happened, in order: what a failing run prints, and what two runs of one seed have to agree on.

use std::fmt;
use std::time::Duration;

use super::fault::Fault;

/// Everything that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trace(Vec<Line>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Line {
    Effect(Effect),
    /// Somebody else did something, or a process died or began.
    Remark {
        at: Duration,
        text: String,
    },
}

/// One request of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Effect {
    pub number: u32,
    pub sent: Duration,
    /// Which process.
    pub who: String,
    pub what: String,
    pub fault: Option<Fault>,
    /// When it took effect.
    pub done: Option<Duration>,
    /// What was answered, whoever got it.
    pub answer: String,
}

impl Effect {
    /// Whether it changes nothing, whatever becomes of it.
    pub(crate) fn only_reads(&self) -> bool {
        ["GET ", "LIST "]
            .iter()
            .any(|verb| self.what.starts_with(verb))
    }

    /// The faults that make a difference to it: what only reads takes effect or not, and an event is not waited for.
    pub(crate) fn faults(&self) -> &'static [Fault] {
        if self.only_reads() {
            &[Fault::CrashBefore, Fault::Lost, Fault::Hang]
        } else if self.what.starts_with("CREATE events") {
            &[Fault::CrashAfter, Fault::Lost, Fault::Hang]
        } else {
            &Fault::ALL
        }
    }
}

impl Trace {
    /// Notes an effect that is sent; where to find it again.
    pub(crate) fn sent(&mut self, effect: Effect) -> usize {
        self.0.push(Line::Effect(effect));
        self.0.len() - 1
    }

    /// Notes what came of it.
    pub(crate) fn done(&mut self, at: usize, when: Duration, answer: String) {
        if let Some(Line::Effect(effect)) = self.0.get_mut(at) {
            effect.done = Some(when);
            effect.answer = answer;
        }
    }

    pub(crate) fn remark(&mut self, at: Duration, text: impl Into<String>) {
        let text = text.into();
        self.0.push(Line::Remark { at, text });
    }

    /// What was done for tokens: a lease is read and renewed for ever.
    pub(crate) fn effects(&self) -> impl Iterator<Item = &Effect> {
        self.0.iter().filter_map(|line| match line {
            Line::Effect(effect) if !effect.what.contains(" leases/") => Some(effect),
            _ => None,
        })
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.0 {
            match line {
                Line::Remark { at, text } => {
                    writeln!(f, "{:>10.3}       {text}", at.as_secs_f64())?;
                }
                Line::Effect(effect) => writeln!(f, "{effect}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number,
            sent,
            who,
            what,
            fault,
            done,
            answer,
        } = self;
        write!(f, "{:>10.3} #{number:<4} {who} {what}", sent.as_secs_f64())?;
        match done {
            Some(done) => write!(f, " -> {answer} at {:.3}", done.as_secs_f64())?,
            None => f.write_str(" -> nothing")?,
        }
        match fault {
            Some(fault) => write!(f, " [{fault:?}]"),
            None => Ok(()),
        }
    }
}
