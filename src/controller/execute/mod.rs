//! Carries out steps: one function each, and no decisions. `kubernetes` has those on Secrets and the PlatformToken,
//! `platform` those on the platform.

mod kubernetes;
mod platform;

use std::sync::Arc;

use super::Context;
use super::accounts::Session;
use super::memory::Written;
use super::slots::Slot;
use crate::api::Reason;
use crate::plan::{Outcome, Snapshot, Step, render};

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
        let outcome = self.take(step, s).await;
        if let (Some(slot), Some(answered)) = (self.slot, answered(step, &outcome)) {
            slot.note(answered);
        }
        outcome
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
            Step::Verify { issued, value } => self.verify(issued, value).await,
            Step::Release { name, version } => self.release(s, name, version).await,
            Step::Remove { name, version } => self.remove(s, name, version).await,
            Step::Revoke {
                token_id,
                base_url,
                with,
            } => self.revoke(s, token_id, base_url, with).await,
            Step::LiftFinalizer => self.lift_finalizer(s).await,
        }
    }
}

/// Whether the platform answered in this step; none if it was not asked, or if something else went wrong.
fn answered(step: &Step, outcome: &Outcome) -> Option<bool> {
    let asks = matches!(
        step,
        Step::Mint(_)
            | Step::FindMinted(_)
            | Step::Recover(_)
            | Step::Verify { .. }
            | Step::Revoke { .. }
    );
    match outcome {
        _ if !asks => None,
        Outcome::Failed(trouble)
        | Outcome::NotMinted(trouble)
        | Outcome::MintUnknown(trouble)
        | Outcome::RevokeUnknown(trouble) => match trouble.reason {
            Reason::Unreachable => Some(false),
            Reason::Unauthorized | Reason::Forbidden | Reason::Refused | Reason::BrokenAnswer => {
                Some(true)
            }
            _ => None,
        },
        Outcome::Stale => None,
        _ => Some(true),
    }
}
