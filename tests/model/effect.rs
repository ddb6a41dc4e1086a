//! What each step does to the world, and what comes of it: one arm for each, as `controller/execute.rs` has one function.

use platform_token_operator::api::Reason;
use platform_token_operator::plan::Step;

use crate::from_types::{attempt_back, entry_back};
use crate::mind::Answer;
use crate::names;
use crate::scene::Scene;

impl Scene<'_> {
    /// Carries out one step of the process `p` for the PlatformToken `i`. None: what comes of it comes later.
    pub(crate) fn effect(&mut self, p: usize, i: usize, step: &Step) -> Option<Answer> {
        if self.state.dark
            && let Some(answer) = unanswered(step)
        {
            self.tell(|| format!("{}: the platform does not answer", step.name()));
            return Some(answer);
        }
        Some(match step {
            Step::ReadSecret { name } => self.read_secret(p, i, number(name)),
            Step::Permit => Answer::Permitted,
            Step::Record(entry, value) => self.record(entry_back(entry, value.as_ref())),
            Step::Strike { token_id, .. } => self.look_up(names::token(token_id)),
            Step::Adopt { .. } => unreachable!("nothing is adopted here"),
            Step::Retain { .. } => unreachable!("nothing is retained here"),
            Step::Preflight { name } => self.preflight(number(name)),
            Step::Look => self.look(p, i),
            Step::Hold(open) => self.hold(p, i, open.as_ref().map(attempt_back)),
            Step::Open(attempt) => {
                let given_up = names::tokens(&attempt.given_up);
                self.open(p, i, attempt.at.number, given_up)
            }
            Step::Mint(attempt) => {
                self.post(p, i, names::at(&attempt.at).id);
                return None;
            }
            Step::FindMinted(attempt) => self.find_minted(p, names::at(&attempt.at).id),
            Step::Recover(issued) => self.recover(names::token(&issued.token_id)),
            Step::Store {
                name,
                issued,
                given_up,
                value: _,
                over,
                because: _,
            } => {
                let over = over
                    .as_ref()
                    .map(|version| names::number(&version.resource_version));
                let given_up = names::tokens(given_up);
                self.store(i, number(name), (names::issued(issued), given_up), over)
            }
            Step::Verify { issued, value: _ } => self.verify(names::token(&issued.token_id)),
            Step::Release { name, version } => {
                self.release(number(name), names::number(&version.resource_version))
            }
            Step::Remove { name, version } => {
                self.remove(number(name), names::number(&version.resource_version))
            }
            Step::Revoke {
                token_id,
                base_url: _,
                with,
            } => self.revoke(i, names::token(token_id), with),
            Step::LiftFinalizer => self.lift(p, i),
        })
    }
}

/// What comes of a step that needs a platform which does not answer; none if it needs none.
pub(crate) fn unanswered(step: &Step) -> Option<Answer> {
    match step {
        Step::Mint(_) => Some(Answer::NotMinted),
        Step::FindMinted(_) | Step::Recover(_) | Step::Verify { .. } => {
            Some(Answer::Failed(Reason::Unreachable))
        }
        Step::Revoke { .. } => Some(Answer::RevokeUnknown),
        _ => None,
    }
}

fn number(name: &str) -> usize {
    names::number(name).into()
}
