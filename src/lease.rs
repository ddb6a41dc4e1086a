//! Who leads, as pure rules: no client, no clock, no I/O.
//!
//! A [`Candidate`] is one process that wants the lease. [`Candidate::step`] says what to do next, the shell
//! (`controller/leadership.rs`) does it, [`Candidate::fold`] takes in what came of it. Three rules carry it:
//!
//! - **Others are judged by what is seen to change, never by their clocks.** Whoever holds the lease is believed to lead
//!   until this process has seen the same record for a whole lease on its own monotonic clock.
//! - **The API server decides between two.** A write replaces exactly the version that was read, or creates what was not
//!   there; of two that want the lease one gets a conflict, and looks again.
//! - **Oneself is judged more strictly.** A leader has lost when it has not renewed for [`Times::renew`], counted from the
//!   *start* of the last renewal that succeeded, on whichever clock says more. So it has stopped before anybody else may
//!   begin.
//!
//! - `times`: how long things take, and when a stretch of leadership is over. `record`: what stands in the lease.

mod record;
mod times;

use std::time::Duration;

pub use record::{Identity, Lease, Place, Record, Write};
pub use times::{Term, Times};

use crate::plan::Moment;

/// One process that wants the lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Who it is.
    pub identity: Identity,
    /// The times it keeps.
    pub times: Times,
    /// What it last saw; none: it has not looked yet.
    pub seen: Option<Seen>,
    /// How it stands.
    pub standing: Standing,
    /// Monotonic time before which it does not look again.
    pub look_at: Duration,
    /// Monotonic time before which it does not write again.
    pub write_at: Duration,
    /// The write that it has sent and has no answer to, and when it began.
    pub writing: Option<(Write, Moment)>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Read the lease, then fold.
    Read,
    /// Write the lease, then fold.
    Write(Write),
    /// Nothing for so long.
    Wait(Duration),
    /// The leadership is lost, for good: whatever it covered ends at once.
    Lost(Loss),
    /// After [`Candidate::resign`]: the lease is not held any more by this process.
    Released,
}

/// Why the leadership was lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Loss {
    /// It could not be renewed in time.
    NotRenewed,
    /// Somebody else holds the lease.
    TakenBy(Identity),
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    /// The lease as it is; none: there is none.
    Is(Option<Lease>),
    /// It was written, and this is its version.
    Written(String),
    /// It was not as the write supposed. Nothing was done.
    Conflict,
    /// There is no answer, or it says nothing: a write may have been done, or be done yet.
    Failed,
}

/// What was last seen of the lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Seen {
    /// The lease; none: there was none.
    pub lease: Option<Lease>,
    /// Monotonic time since which it has been seen to be so.
    pub since: Duration,
    /// How long after that somebody may still believe to lead by it.
    pub binds: Duration,
    /// Nothing that this process sent since then may have changed it.
    pub current: bool,
}

/// How this process stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It does not lead.
    By,
    /// It leads.
    Leads(Term),
    /// It led, and has lost.
    Lost(Loss),
    /// It wants the lease no more.
    Resigns,
}

impl Candidate {
    /// A process that has just started.
    #[must_use]
    pub fn new(identity: Identity, times: Times) -> Self {
        Self {
            identity,
            times,
            seen: None,
            standing: Standing::By,
            look_at: Duration::ZERO,
            write_at: Duration::ZERO,
            writing: None,
        }
    }

    /// The present stretch of leadership, be it over or not.
    #[must_use]
    pub fn term(&self) -> Option<Term> {
        match self.standing {
            Standing::Leads(term) => Some(term),
            _ => None,
        }
    }

    /// Who else holds the lease, as it was last seen.
    #[must_use]
    pub fn other_holder(&self) -> Option<&Identity> {
        let lease = self.seen.as_ref()?.lease.as_ref()?;
        let holder = lease.record.holder.as_ref()?;
        (*holder != self.identity).then_some(holder)
    }

    /// Says what to do next.
    #[must_use]
    pub fn step(&mut self, now: Moment) -> Action {
        if let Some(term) = self.term()
            && term.is_over(now)
        {
            self.standing = Standing::Lost(Loss::NotRenewed);
        }
        if let Standing::Lost(loss) = &self.standing {
            return Action::Lost(loss.clone());
        }
        let resigns = self.standing == Standing::Resigns;
        match &self.seen {
            // Whoever has never written holds nothing.
            None if resigns => Action::Released,
            Some(seen) if seen.current && resigns && self.is_mine() => {
                self.write(now, self.released(now))
            }
            Some(seen) if seen.current && resigns => Action::Released,
            Some(seen) if seen.current && (self.is_mine() || is_free(seen, now)) => {
                match self.wait(self.write_at, now) {
                    Some(wait) => wait,
                    None => self.write(now, self.held(now)),
                }
            }
            _ => self.wait(self.look_at, now).unwrap_or(Action::Read),
        }
    }

    /// Takes in what came of the last call.
    pub fn fold(&mut self, answer: Answer, now: Moment) {
        let written = self.writing.take();
        match (answer, written) {
            (Answer::Is(lease), _) => {
                self.look_at = now.elapsed + self.times.retry;
                self.see(lease, now);
            }
            (Answer::Written(version), Some((write, begun))) => {
                let record = write.record;
                self.see(Some(Lease { version, record }), now);
                let renewed = Term {
                    renewed: begun,
                    lasts: self.times.renew(),
                };
                // An answer that came too late is no leadership: it is written once more.
                let leads = matches!(self.standing, Standing::By | Standing::Leads(_));
                if leads && !renewed.is_over(now) {
                    self.standing = Standing::Leads(renewed);
                }
            }
            (Answer::Conflict, _) => {
                self.doubt();
                self.look_at = now.elapsed;
            }
            (Answer::Failed | Answer::Written(_), _) => {
                self.doubt();
                self.look_at = now.elapsed + self.times.retry;
            }
        }
    }

    /// Gives the lease back, now that nothing is done by it any more: the next steps release it, if it is held.
    pub fn resign(&mut self, now: Moment) {
        if !matches!(self.standing, Standing::Lost(_)) {
            self.standing = Standing::Resigns;
            self.look_at = now.elapsed;
        }
    }

    fn see(&mut self, lease: Option<Lease>, now: Moment) {
        let former = self.seen.take();
        let same = former.as_ref().filter(|seen| seen.lease == lease);
        let since = same.map_or(now.elapsed, |seen| seen.since);
        let holder = lease.as_ref().and_then(|lease| lease.record.holder.clone());
        let binds = match &lease {
            Some(lease) if holder.is_some() => lease.record.duration.max(self.times.lease()),
            Some(_) => Duration::ZERO,
            // To delete a lease is not to release it: whoever held it may lead still.
            None => former.map_or(Duration::ZERO, |seen| seen.binds),
        };
        if let (Standing::Leads(_), Some(other)) = (&self.standing, holder)
            && other != self.identity
        {
            self.standing = Standing::Lost(Loss::TakenBy(other));
        }
        self.seen = Some(Seen {
            lease,
            since,
            binds,
            current: true,
        });
    }

    /// The wait until then, if it is not over; a leader waits no longer than it leads.
    fn wait(&self, until: Duration, now: Moment) -> Option<Action> {
        let left = until.saturating_sub(now.elapsed);
        let leads = self.term().map_or(left, |term| term.left(now));
        (!left.is_zero()).then_some(Action::Wait(left.min(leads)))
    }

    /// What was seen may have changed.
    fn doubt(&mut self) {
        if let Some(seen) = &mut self.seen {
            seen.current = false;
        }
    }

    /// Whether the lease is this process's, as far as it saw. A leader's lease that was deleted is.
    fn is_mine(&self) -> bool {
        let lease = self.seen.as_ref().map(|seen| &seen.lease);
        match lease {
            Some(Some(lease)) => lease.record.holder.as_ref() == Some(&self.identity),
            Some(None) => matches!(self.standing, Standing::Leads(_)),
            None => false,
        }
    }

    /// Sends a write: until its answer is there, nothing is known.
    fn write(&mut self, now: Moment, record: Record) -> Action {
        let lease = self.seen.as_ref().and_then(|seen| seen.lease.as_ref());
        let over = lease.map(|lease| lease.version.clone());
        let write = Write { over, record };
        self.doubt();
        self.write_at = now.elapsed + self.times.retry;
        self.writing = Some((write.clone(), now));
        Action::Write(write)
    }

    /// The record by which this process holds the lease.
    fn held(&self, now: Moment) -> Record {
        let former = self.seen.as_ref().and_then(|seen| seen.lease.as_ref());
        let (acquired, transitions) = match former.map(|lease| &lease.record) {
            Some(record) if self.is_mine() => (record.acquired, record.transitions),
            Some(record) => (now.wall, record.transitions.saturating_add(1)),
            None => (now.wall, 0),
        };
        Record {
            holder: Some(self.identity.clone()),
            duration: self.times.lease(),
            acquired,
            renewed: now.wall,
            transitions,
        }
    }

    /// The record that anybody may replace at once.
    fn released(&self, now: Moment) -> Record {
        Record {
            holder: None,
            duration: Duration::from_secs(1),
            ..self.held(now)
        }
    }
}

/// Whether nobody can believe to lead by what was seen.
fn is_free(seen: &Seen, now: Moment) -> bool {
    now.elapsed.saturating_sub(seen.since) >= seen.binds
}

#[cfg(test)]
mod tests;
