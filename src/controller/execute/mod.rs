//! Carries out steps: one function each, and no decisions. `kubernetes` has those on Secrets and the PlatformToken,
//! `platform` those on the platform.

mod adopt;
mod kubernetes;
mod platform;

use std::sync::Arc;
use std::time::Duration;

use kube::Resource;
use kube::runtime::reflector::ObjectRef;

use super::Context;
use super::accounts::Session;
use super::memory::Written;
use super::silences;
use super::slots::Slot;
use crate::api::Reason;
use crate::plan::{Outcome, Snapshot, Step, TokenFacts, Trouble, render};

/// How often to look whether a PlatformToken is being deleted while the platform is waited for.
const LOOK_FOR_DELETION: Duration = Duration::from_millis(500);

/// Carries out steps for one PlatformToken during one run.
pub(super) struct Executor<'a> {
    pub context: &'a Context,
    /// The session that the snapshot's account stands for: a POST goes out with no other credential.
    pub session: Option<Arc<Session>>,
    /// Where the run is one for a PlatformToken, its slot: it depends on what the platform answers.
    pub slot: Option<&'a Slot<'a>>,
    /// Our own writes, for the next run.
    pub written: &'a mut Written,
}

impl Executor<'_> {
    /// Carries out one step.
    pub(super) async fn execute(&mut self, step: &Step, s: &Snapshot) -> Outcome {
        let outcome = self.take_in_time(step, s).await;
        if let Some(answered) = answered(step, &outcome) {
            if let Some(slot) = self.slot {
                slot.note(answered);
            }
            if let Some(base_url) = platform_of(step) {
                self.context.hear(base_url, answered);
            }
        }
        outcome
    }

    /// A deletion waits for the platform only so long: in its own run, and in one that it comes into. A POST that was sent
    /// is waited for: its answer is the only sure copy.
    async fn take_in_time(&mut self, step: &Step, s: &Snapshot) -> Outcome {
        let context = self.context;
        let interruptible = asks(step) && !matches!(step, Step::Mint(_));
        if !interruptible {
            return self.take(step, s).await;
        }
        let patience = s.patience(context.clock.now());
        let enough = async {
            match patience {
                Some(patience) => tokio::time::sleep(patience).await,
                None if s.run.gone => std::future::pending().await,
                None => context.is_deleted(&s.token).await,
            }
        };
        tokio::select! {
            biased;
            outcome = self.take(step, s) => outcome,
            () = enough => unanswered(step, patience.is_some()),
        }
    }

    async fn take(&mut self, step: &Step, s: &Snapshot) -> Outcome {
        match step {
            Step::ReadSecret { name } => self.read_secret(s, name).await,
            Step::Preflight { name } => self.preflight(s, name).await,
            Step::Permit => self.take_permit().await,
            Step::Hold(open) => self.hold(s, open.as_ref()).await,
            Step::Open(attempt) => self.open(s, attempt).await,
            Step::Look => self.look(s).await,
            Step::Mint(attempt) => self.mint(attempt).await,
            Step::FindMinted(attempt) => self.find_minted(s, attempt).await,
            Step::Recover(issued) => self.recover(issued).await,
            Step::Adopt { attempt, token_id } => self.adopt(s, attempt, token_id).await,
            Step::Strike { token_id, base_url } => self.strike(base_url, token_id).await,
            Step::Store {
                name,
                issued,
                given_up,
                value,
                over,
                ..
            } => {
                let secret = render(
                    &s.token.owner,
                    name,
                    issued,
                    given_up,
                    value,
                    s.token.holds_secrets,
                );
                self.store(s, name, secret, over.as_ref()).await
            }
            Step::Verify { issued, value } => self.verify(s, issued, value).await,
            Step::Release { name, version } => self.release(s, name, version).await,
            Step::Retain {
                name,
                version,
                lives,
            } => self.retain(s, name, version, *lives).await,
            Step::Remove { name, version } => self.remove(s, name, version).await,
            Step::Revoke {
                token_id,
                base_url,
                with,
            } => self.revoke(s, token_id, base_url, with).await,
            Step::Record(entry, value) => self.record(entry, value.as_ref()).await,
            Step::LiftFinalizer => self.lift_finalizer(s).await,
        }
    }
}

impl Context {
    /// Waits until the cache shows that a PlatformToken is being deleted, or is gone.
    async fn is_deleted(&self, token: &TokenFacts) {
        let owner = &token.owner;
        let reference = ObjectRef::new(&owner.name).within(&owner.namespace);
        let stays = || {
            let known = self.tokens.get(&reference);
            known.is_some_and(|known| {
                let metadata = known.meta();
                metadata.uid.as_ref() == Some(&owner.uid) && metadata.deletion_timestamp.is_none()
            })
        };
        while stays() {
            tokio::time::sleep(LOOK_FOR_DELETION).await;
        }
    }
}

/// Whether the platform is asked in this step.
fn asks(step: &Step) -> bool {
    platform_of(step).is_some()
}

/// The platform that is asked in this step.
fn platform_of(step: &Step) -> Option<&str> {
    match step {
        Step::Mint(attempt) | Step::FindMinted(attempt) | Step::Adopt { attempt, .. } => {
            Some(&attempt.account.base_url)
        }
        Step::Recover(issued) | Step::Verify { issued, .. } => Some(&issued.base_url),
        Step::Revoke { base_url, .. } => Some(base_url),
        _ => None,
    }
}

/// What comes of a step that took too long for a deletion: one that has waited itself, or one that has just begun.
fn unanswered(step: &Step, waited: bool) -> Outcome {
    let text = "the platform did not answer in time";
    let trouble = Trouble::transient(Reason::Unreachable, text);
    match step {
        Step::Revoke { .. } => Outcome::RevokeUnknown(trouble),
        _ if waited => Outcome::Failed(trouble),
        _ => Outcome::Stale,
    }
}

/// Whether the platform answered in this step; none if it was not asked, or if something else went wrong.
fn answered(step: &Step, outcome: &Outcome) -> Option<bool> {
    match outcome {
        _ if !asks(step) => None,
        Outcome::Failed(trouble)
        | Outcome::NotMinted(trouble)
        | Outcome::MintUnknown(trouble)
        | Outcome::RevokeUnknown(trouble) => silences::answered(trouble),
        Outcome::Stale => None,
        _ => Some(true),
    }
}
