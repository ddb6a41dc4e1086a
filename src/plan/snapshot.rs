//! What is known of a PlatformToken, and how the outcome of a step changes it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::step::bound;
use super::{Minted, Moment, Note, Outcome, OwnSecret, Recovery, SecretFacts, Step, Trouble};
use crate::api::{
    Attempt, AttemptId, Dialect, Issued, MalformedRecord, Owner, PlatformTokenStatus, Reason,
    TokenHash, TokenId, TokenValue, UserId, names,
};

/// Everything that a decision rests on.
#[derive(Debug)]
pub struct Snapshot {
    /// The PlatformToken.
    pub token: TokenFacts,
    /// Its account.
    pub account: AccountFacts,
    /// The Secret of the wanted name, and every other one that names this PlatformToken as its owner.
    pub secrets: BTreeMap<String, SecretFacts>,
    /// What this process remembers from one run to the next.
    pub memory: Memory,
    /// A fresh id, should an attempt be opened.
    pub fresh: AttemptId,
    /// What this run has found out.
    pub run: Run,
}

/// The PlatformToken as it was read.
#[derive(Debug)]
pub struct TokenFacts {
    /// Cluster, namespace, name and uid.
    pub owner: Owner,
    /// Generation of the spec.
    pub generation: Option<i64>,
    /// What a write of the PlatformToken has to be based on.
    pub resource_version: String,
    /// It is being deleted.
    pub deleting: bool,
    /// Its finalizers, ours and others'.
    pub finalizers: Vec<String>,
    /// The name that its Secret shall have.
    pub secret_name: String,
    /// The attempt annotation.
    pub attempt: Result<Option<Attempt>, MalformedRecord>,
    /// The status as it stands.
    pub status: PlatformTokenStatus,
}

impl TokenFacts {
    /// Whether our finalizer holds it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.finalizers.iter().any(|f| f == names::FINALIZER)
    }
}

/// The account, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountFacts {
    /// It is about to be proven.
    Pending,
    /// It cannot be used.
    Broken(Trouble),
    /// It is proven.
    Ready(Identity),
}

/// Who an account was proven to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The platform.
    pub base_url: String,
    /// The user; unknown on a documented platform whose list is empty.
    pub user_id: Option<UserId>,
    /// The user's name, where the platform tells it.
    pub username: Option<String>,
    /// The dialect that the platform answers in.
    pub dialect: Dialect,
    /// The hash of the account's credential: a token with this hash is never revoked by us.
    pub credential: TokenHash,
    /// Whether new tokens are proven before they are Ready.
    pub verify: bool,
}

/// What one process remembers of a PlatformToken. Losing it loses no token: a crash does just that.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The attempt with the highest number seen, and what this process knows of it.
    pub attempt: Option<OpenAttempt>,
    /// A value that no Secret holds at the moment.
    pub held: Option<TokenValue>,
    /// The value that has answered since it was stored.
    pub verified: Option<TokenHash>,
    /// Tokens that are known to be revoked.
    pub revoked: BTreeSet<TokenId>,
    /// Tokens that could not revoke themselves.
    pub self_refused: BTreeSet<TokenId>,
    /// Runs that ended in trouble, in a row.
    pub failures: u32,
}

/// An attempt, and what this process knows of its POST.
#[derive(Debug, Clone)]
pub struct OpenAttempt {
    /// The attempt.
    pub attempt: Attempt,
    /// When this process first saw it, on its own monotonic clock.
    pub seen: Duration,
    /// What became of its POST.
    pub fate: Fate,
}

/// What became of an attempt's POST, as far as this process knows.
#[derive(Debug, Clone)]
pub enum Fate {
    /// We opened it and have not sent the POST.
    Unsent,
    /// The POST was not sent or was refused: it made nothing.
    Void,
    /// The POST made this token.
    Minted(Minted),
    /// The POST may have made a token.
    Unknown {
        /// When we last looked upstream and found none, on our monotonic clock.
        searched: Option<Duration>,
    },
}

/// What one run has found out, on top of what it began with.
#[derive(Debug, Default)]
pub struct Run {
    /// The dry run has passed.
    pub writable: bool,
    /// What the platform said of a lost value.
    pub recovery: Option<Recovery>,
    /// What we had read was out of date.
    pub stale: bool,
    /// What stands in the way.
    pub trouble: Option<Trouble>,
    /// What is worth an event.
    pub notes: Vec<Note>,
}

impl Snapshot {
    /// Puts together what was observed and what is remembered.
    #[must_use]
    pub fn new(
        token: TokenFacts,
        account: AccountFacts,
        secrets: BTreeMap<String, SecretFacts>,
        memory: Memory,
        fresh: AttemptId,
        now: Moment,
    ) -> Self {
        let mut snapshot = Self {
            token,
            account,
            secrets,
            memory,
            fresh,
            run: Run::default(),
        };
        snapshot.notice_attempt(now);
        snapshot
    }

    /// An attempt that this process has not seen before may have been sent by another: its fate is unknown. One of
    /// another owner is a copy's, and one with a lower number is history.
    fn notice_attempt(&mut self, now: Moment) {
        let Ok(Some(attempt)) = &self.token.attempt else {
            return;
        };
        let newest = self
            .memory
            .attempt
            .as_ref()
            .map_or(0, |known| known.attempt.at.number);
        if attempt.owner == self.token.owner && attempt.at.number > newest {
            let fate = Fate::Unknown { searched: None };
            self.memory.attempt = Some(OpenAttempt {
                attempt: attempt.clone(),
                seen: now.elapsed,
                fate,
            });
        }
    }

    /// The wanted Secret.
    #[must_use]
    pub fn wanted(&self) -> &SecretFacts {
        self.secrets
            .get(&self.token.secret_name)
            .unwrap_or(&SecretFacts::Absent)
    }

    /// Our Secrets of other names than the wanted one.
    pub(super) fn strays(&self) -> impl Iterator<Item = (&String, &OwnSecret)> {
        self.own_secrets()
            .filter(|(name, _)| **name != self.token.secret_name)
    }

    pub(super) fn own_secrets(&self) -> impl Iterator<Item = (&String, &OwnSecret)> {
        self.secrets.iter().filter_map(|(name, facts)| match facts {
            SecretFacts::Own(own) => Some((name, &**own)),
            _ => None,
        })
    }

    /// The present token: the one of the highest attempt that the status or a Secret of ours records.
    #[must_use]
    pub fn present(&self) -> Option<Issued> {
        let recorded = self.own_secrets().filter_map(|(_, own)| own.issued.clone());
        self.token
            .status
            .issued()
            .into_iter()
            .chain(recorded)
            .reduce(|best, other| {
                if other.attempt.number > best.attempt.number {
                    other
                } else {
                    best
                }
            })
    }

    /// The open attempt: newer than the present token. Once a Secret or the status bears it, it is closed.
    #[must_use]
    pub fn open_attempt(&self) -> Option<&OpenAttempt> {
        let present = self.present().map_or(0, |issued| issued.attempt.number);
        self.memory
            .attempt
            .as_ref()
            .filter(|open| open.attempt.at.number > present)
    }

    /// The number of the next attempt: higher than any that was seen.
    pub(super) fn next_number(&self) -> u32 {
        let present = self.present().map_or(0, |issued| issued.attempt.number);
        let opened = self
            .memory
            .attempt
            .as_ref()
            .map_or(0, |open| open.attempt.at.number);
        present.max(opened) + 1
    }

    /// The value of this token, from a Secret of ours or from memory; only ever one with its hash.
    #[must_use]
    pub fn value_of(&self, hash: &TokenHash) -> Option<TokenValue> {
        let secrets = self.own_secrets().map(|(_, own)| own.value.as_ref());
        let minted = self
            .memory
            .attempt
            .as_ref()
            .and_then(|open| match &open.fate {
                Fate::Minted(minted) => Some(&minted.value),
                _ => None,
            });
        secrets
            .chain([self.memory.held.as_ref(), minted])
            .find_map(|value| bound(value, hash))
    }

    /// The account, or what stands in the way of using it.
    pub(super) fn identity(&self) -> Result<&Identity, super::Halt> {
        match &self.account {
            AccountFacts::Ready(identity) => Ok(identity),
            AccountFacts::Pending => Err(super::Halt::Silent),
            AccountFacts::Broken(trouble) => Err(trouble.clone().into()),
        }
    }

    /// Takes in what came of a step.
    pub fn fold(&mut self, step: Step, outcome: Outcome, now: Moment) {
        match (step, outcome) {
            (_, Outcome::Failed(trouble)) => self.run.trouble = Some(trouble),
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
            (_, Outcome::Stale) => self.run.stale = true,
            (Step::ReadSecret { name }, Outcome::Secret(facts)) => {
                self.secrets.insert(name, facts);
            }
            (Step::Preflight { .. }, Outcome::Writable) => self.run.writable = true,
            (Step::Open(attempt), Outcome::Opened { resource_version }) => {
                self.token.resource_version = resource_version;
                if !self.token.is_held() {
                    self.token.finalizers.push(names::FINALIZER.into());
                }
                self.memory.attempt = Some(OpenAttempt {
                    attempt,
                    seen: now.elapsed,
                    fate: Fate::Unsent,
                });
            }
            (Step::Mint(_) | Step::FindMinted(_), Outcome::Minted(minted)) => {
                self.decide_fate(Fate::Minted(minted))
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
                self.memory.verified = Some(issued.hash)
            }
            (Step::Release { name, .. } | Step::Remove { name, .. }, Outcome::SecretGone) => {
                if let Some(SecretFacts::Own(own)) = self.secrets.insert(name, SecretFacts::Absent)
                    && own.value.is_some()
                {
                    self.memory.held = own.value;
                }
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
                self.token.finalizers.retain(|f| f != names::FINALIZER)
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

impl PlatformTokenStatus {
    /// The token that the status records, if it records one whole.
    #[must_use]
    pub fn issued(&self) -> Option<Issued> {
        Some(Issued {
            attempt: self.attempt.clone()?,
            token_id: self.token_id.clone()?,
            hash: self.token_hash.clone()?,
            issued_at: self.issued_at.as_ref()?.0,
            base_url: self.base_url.clone()?,
            user_id: self.user_id.clone()?,
        })
    }
}
