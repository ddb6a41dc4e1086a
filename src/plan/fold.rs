//! How the outcome of a step changes what is known.

use super::snapshot::{Fate, OpenAttempt, Snapshot};
use super::{Moment, Note, Outcome, OwnSecret, Recovery, SecretFacts, Step, Trouble};
use crate::api::{Issued, Reason, names};

impl Snapshot {
    /// Takes in what came of a step.
    pub fn fold(&mut self, step: Step, outcome: Outcome, now: Moment) {
        match (step, outcome) {
            (_, Outcome::Failed(trouble)) => self.run.trouble = Some(trouble),
            (Step::Hold | Step::Open(_) | Step::LiftFinalizer, Outcome::Stale) => {
                self.run.stale = true;
            }
            (Step::ReadSecret { name }, Outcome::Secret(facts)) => {
                self.secrets.insert(name, facts);
            }
            (Step::Preflight { .. }, Outcome::Writable) => self.run.writable = true,
            (Step::Hold, Outcome::Held { resource_version }) => self.hold(resource_version),
            (Step::Open(attempt), Outcome::Opened { resource_version }) => {
                self.hold(resource_version);
                self.memory.attempt = Some(OpenAttempt {
                    attempt,
                    seen: now.elapsed,
                    fate: Fate::Unsent,
                });
            }
            (Step::Mint(_) | Step::FindMinted(_), Outcome::Minted(minted)) => {
                self.decide_fate(Fate::Minted(minted));
            }
            (Step::FindMinted(_), Outcome::MintedWithheld(token_id)) => {
                self.decide_fate(Fate::Withheld(token_id));
            }
            (Step::Mint(_), Outcome::NotMinted(trouble)) => {
                self.decide_fate(Fate::Void);
                self.run.trouble = Some(trouble);
            }
            (Step::Mint(_), Outcome::MintUnknown(trouble)) => {
                self.decide_fate(Fate::Unknown { searched: None });
                self.note_warning(Reason::CreateOutcomeUnknown, trouble.message);
            }
            (Step::FindMinted(_), Outcome::NoneMinted) => {
                self.decide_fate(Fate::Unknown {
                    searched: Some(now.elapsed),
                });
            }
            (Step::Recover(_), Outcome::Recovered(recovery)) => {
                if let Recovery::Value(value) = &recovery {
                    self.memory.held = Some(value.clone());
                }
                self.run.recovery = Some(recovery);
            }
            (Step::Revoke { token_id, .. }, Outcome::Revoked) => {
                let text = format!("Revoked platform token {token_id}");
                self.run.notes.push(Note::normal(Reason::Revoked, text));
                self.memory.revoked.insert(token_id);
            }
            (Step::Revoke { token_id, .. }, Outcome::SelfRefused) => {
                self.memory.self_refused.insert(token_id);
            }
            (Step::LiftFinalizer, Outcome::Lifted) => {
                self.token.finalizers.retain(|f| f != names::FINALIZER);
            }
            (step, outcome) => self.fold_secret(step, outcome),
        }
    }

    /// What came of a step on a Secret. A write that came too late leaves the Secret to be read again.
    fn fold_secret(&mut self, step: Step, outcome: Outcome) {
        match (step, outcome) {
            (
                Step::Store { name, .. } | Step::Release { name, .. } | Step::Remove { name, .. },
                Outcome::Stale | Outcome::Exists,
            )
            | (Step::Preflight { name }, Outcome::Exists) => {
                self.run.writable = false;
                self.secrets.insert(
                    name,
                    SecretFacts::Unread {
                        resource_version: None,
                    },
                );
            }
            (
                Step::Store {
                    name,
                    issued,
                    value,
                    because,
                    ..
                },
                Outcome::Stored(version),
            ) => {
                self.note_stored(because, &name, &issued);
                self.memory.held = None;
                self.memory.verified = None;
                // The Secret bears the attempt now, which closes it; its value is remembered no longer.
                let closes = |open: &mut OpenAttempt| open.attempt.at == issued.attempt;
                self.memory.attempt.take_if(closes);
                let own = OwnSecret {
                    version,
                    deleting: false,
                    issued: Some(issued),
                    value: Some(value),
                    whole: true,
                };
                self.secrets.insert(name, SecretFacts::Own(Box::new(own)));
            }
            (Step::Verify { issued, .. }, Outcome::Verified) => {
                self.memory.verified = Some(issued.hash);
            }
            (Step::Remove { name, .. }, Outcome::SecretGone) => {
                self.secrets.insert(name, SecretFacts::Absent);
            }
            (Step::Release { name, .. }, Outcome::SecretGone) => {
                if let Some(SecretFacts::Own(own)) = self.secrets.insert(name, SecretFacts::Absent)
                    && own.value.is_some()
                {
                    self.memory.held = own.value;
                }
            }
            (step, outcome) => {
                let text = format!(
                    "step {} cannot come to {outcome:?}; please report this",
                    step.name()
                );
                self.run.trouble = Some(Trouble::transient(Reason::KubernetesError, text));
            }
        }
    }

    fn hold(&mut self, resource_version: String) {
        self.token.resource_version = resource_version;
        if !self.token.is_held() {
            self.token.finalizers.push(names::FINALIZER.into());
        }
    }

    fn decide_fate(&mut self, fate: Fate) {
        if let Some(open) = &mut self.memory.attempt {
            open.fate = fate;
        }
    }

    fn note_stored(&mut self, because: Reason, secret: &str, issued: &Issued) {
        let id = &issued.token_id;
        let text = match because {
            Reason::Issued => {
                format!("Created platform token {id} and stored it in Secret {secret}")
            }
            Reason::Replaced => format!(
                "Created platform token {id} in place of one that was gone upstream with its value, and stored it in \
                 Secret {secret}"
            ),
            Reason::Moved => format!("Moved platform token {id} to Secret {secret}"),
            _ => format!(
                "Wrote platform token {id} to Secret {secret} again, which had been deleted or edited"
            ),
        };
        self.run.notes.push(Note::normal(because, text));
    }

    pub(super) fn note_warning(&mut self, reason: Reason, text: String) {
        self.run.notes.push(Note {
            warning: true,
            reason,
            text,
        });
    }
}
