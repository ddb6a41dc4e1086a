//! Every rule of a token's life, as pure functions: no client, no clock, no I/O.
//!
//! [`plan`] looks at a [`Snapshot`] and says the one [`Step`] to take next, or that the run is [`Settled`]. The shell
//! carries the step out, [`Snapshot::fold`]s the outcome back in, and asks again. [`report`] turns what is known at
//! the end into the status. So a run reads as a conversation, and each rule is tested as a table.
//!
//! - `issue`: the rules of a PlatformToken that lives, and how it comes to a token. `keep`: verify, repair, move, tidy.
//! - `admission`: whether an account gives new tokens to a namespace.
//! - `adopt`: how it comes to a token that there is already.
//! - `retire`: the rules of one that is being deleted: revoke, then let go. `debts`: what there is to revoke. `ledger`: what
//!   is put off, and how it is paid. `policy`: what is left behind on purpose.
//! - `ownership`: whose a Secret is, and when one that was left is taken over.
//! - `stock`: which tokens of an account are ours, and which may be and are named by nothing. `sweep`: which of these are
//!   revoked.
//! - `upstream`: what the platform's lists tell of an attempt.
//! - `snapshot`: what is known. `memory`: what a process remembers. `fold`: how the outcome of a step changes it.
//! - `secret`: what a generated Secret looks like, and how one is read back.
//! - `report`: conditions and status. `trouble`: what stands in the way and how to react.

mod account;
mod admission;
mod adopt;
mod debts;
mod fold;
mod issue;
mod keep;
mod ledger;
mod memory;
mod ownership;
mod policy;
mod report;
mod retire;
mod secret;
mod snapshot;
mod step;
mod stock;
mod sweep;
mod trouble;
mod upstream;

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

pub use account::{Proof, report_account};
pub use admission::{Admission, Labels};
pub use adopt::{Adopted, Adoption, Rival, adopt};
pub use debts::{Debt, Evidence};
pub use ledger::takes_the_place;
pub use memory::{Fate, Leftover, Memory, Missing, OpenAttempt};
pub use ownership::{Former, LeftSecret, Reader, other_owner};
pub use policy::Policy;
pub use report::{report, report_invalid};
pub use secret::{OwnSecret, SecretFacts, Version, read, recorded_value, render, render_preflight};
pub use snapshot::{AccountFacts, Identity, Run, Snapshot, TokenFacts};
pub use step::{Minted, Note, Outcome, Recovery, RevokeWith, Step};
pub use stock::{Claims, Listing, Stock, Stocktaking, Unclaimed, baseline, take_stock};
pub use sweep::{Broom, Stranded, Sweeping};
pub use trouble::{Reaction, Trouble, backoff, printable};
pub use upstream::{Listed, Ours, Shown, claim, suspects};

/// A moment, on the two clocks that rules need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Moment {
    /// Wall clock: what people read. Rules compare it with times of other machines only to wait longer, or to spare more.
    pub wall: Timestamp,
    /// Monotonic time since this process started: what waits are measured on.
    pub elapsed: Duration,
}

impl Moment {
    /// How long it is since then, on whichever clock says more: one of them stands still while a machine sleeps.
    pub(crate) fn since(self, then: Self) -> Duration {
        let wall = Duration::try_from(self.wall.duration_since(then.wall)).unwrap_or_default();
        self.elapsed.saturating_sub(then.elapsed).max(wall)
    }
}

/// What to do next.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum Next {
    /// Take this step, fold its outcome, ask again.
    Step(Step),
    /// Nothing more to do in this run.
    Settled(Settled),
}

/// The end of a run.
#[derive(Debug)]
pub struct Settled {
    /// What to tell the user.
    pub verdict: Verdict,
    /// When to look again if nothing wakes us before; none: only when something changes.
    pub requeue: Option<Duration>,
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The token is in its Secret and has answered.
    Ready,
    /// Something stands in the way.
    Trouble(Trouble),
    /// Nothing to tell: what we looked at was out of date, or the account is about to be known.
    Silent,
    /// The PlatformToken needs us no more.
    Gone,
}

/// How soon to look again where a change is expected to wake us anyway.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Says the next step for this snapshot, or that the run is over.
#[must_use]
pub fn plan(snapshot: &Snapshot, now: Moment) -> Next {
    let planned = match &snapshot.run.trouble {
        Some(trouble) => Err(Halt::Trouble(trouble.clone())),
        None if snapshot.run.stale => Err(Halt::Silent),
        None if snapshot.goes() => retire::plan(snapshot, now),
        None => issue::plan(snapshot, now),
    };
    let (verdict, requeue) = match planned {
        Ok(Some(step)) => return Next::Step(step),
        Ok(None) if snapshot.goes() => (Verdict::Gone, None),
        Ok(None) => (Verdict::Ready, None),
        Err(Halt::Silent) => (Verdict::Silent, Some(LOOK_AGAIN)),
        Err(Halt::Trouble(trouble)) => {
            let wait = trouble.wait(snapshot.memory.failures, &snapshot.token.owner.uid);
            let wait = wait.min(snapshot.until_put_off(now).unwrap_or(wait));
            (Verdict::Trouble(trouble), Some(wait))
        }
    };
    Next::Settled(Settled { verdict, requeue })
}

/// Why a plan ends before its goal.
enum Halt {
    /// Something stands in the way.
    Trouble(Trouble),
    /// What is known does not suffice, and what is missing is on its way.
    Silent,
}

impl From<Trouble> for Halt {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// A step, nothing left to do, or a halt.
type Plan = Result<Option<Step>, Halt>;

#[cfg(test)]
mod tests;
