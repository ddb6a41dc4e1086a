//! What is known of a PlatformToken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::step::bound;
use super::{
    Admission, Adopted, Fate, Memory, Moment, Note, OpenAttempt, OwnSecret, Policy, Recovery,
    SecretFacts, Trouble,
};
use crate::api::{
    Attempt, AttemptId, Dialect, Issued, MalformedRecord, Owner, PlatformTokenStatus, Reason,
    TokenHash, TokenId, TokenValue, UserId, names,
};

/// A watch that is well has shown a namespace by then.
const SEEN_WITHIN: Duration = Duration::from_secs(10);

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
    /// The hashes of every credential that an account uses, or used last: such a token is never revoked by us.
    pub credentials: BTreeSet<TokenHash>,
    /// The platforms that did not answer when they were last asked.
    pub silent: BTreeSet<String>,
    /// A fresh id, should an attempt be opened; none once it is used.
    pub fresh: Option<AttemptId>,
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
    /// When the API server created it.
    pub created_at: Timestamp,
    /// When it was deleted, by the clock of the API server; a finalizer still keeps it.
    pub deleted_at: Option<Timestamp>,
    /// Its finalizers, ours and others'.
    pub finalizers: Vec<String>,
    /// The name that its Secret shall have.
    pub secret_name: String,
    /// What becomes of its token and its Secret when it goes.
    pub policy: Policy,
    /// The token that it shall take over instead of having one minted.
    pub adopts: Option<TokenId>,
    /// Whether our finalizer goes on its Secrets.
    pub holds_secrets: bool,
    /// Whether it may have a new token of its account.
    pub admission: Admission,
    /// The owner in another cluster whose Secret it is told to take over.
    pub take_over: Option<String>,
    /// The attempt annotation.
    pub attempt: Result<Option<Attempt>, MalformedRecord>,
    /// The status as it stands.
    pub status: PlatformTokenStatus,
}

impl TokenFacts {
    /// Whether it is being deleted.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.deleted_at.is_some()
    }

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
    /// It is deleted, or its credentials Secret is. What it was serves deletions still, as long as this process remembers
    /// it: they may go first where a namespace goes.
    Left(Identity, Trouble),
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
    /// The hash of the credential that proved it: with another one, what was refused may be allowed.
    pub credential: TokenHash,
    /// Whether new tokens are proven before they are Ready.
    pub verify: bool,
    /// Nobody else mints on this account: when what was there before was written down.
    pub exclusive: Option<Timestamp>,
}

impl Identity {
    /// Whether a token or an attempt of this platform and user is this account's. An account whose user is not known yet
    /// is nobody's whose user is.
    pub(super) fn is_of(&self, base_url: &str, user: Option<&UserId>) -> bool {
        self.base_url == base_url && (user.is_none() || self.user_id.as_ref() == user)
    }
}

/// What one run has found out, on top of what it began with.
#[derive(Debug, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are independent of each other"
)]
pub struct Run {
    /// When the PlatformToken was last proven to be as it was read.
    pub proven: Option<Moment>,
    /// The PlatformToken is gone for good, or needs us no more.
    pub gone: bool,
    /// What cannot be revoked in time may be put off: there is a ledger that takes it.
    pub ledger: bool,
    /// The platform was asked in vain.
    pub failed: bool,
    /// A permit for the POST is taken.
    pub permitted: bool,
    /// The dry run has passed.
    pub writable: bool,
    /// What the platform said of a lost value.
    pub recovery: Option<Recovery>,
    /// The token that is to be adopted, as it was found fit.
    pub adopted: Option<Adopted>,
    /// No entry of the ledger says any more that the token is released.
    pub struck: bool,
    /// The Secret that stays was let go of.
    pub retained: bool,
    /// The token that is gone upstream, though its value is in the Secret.
    pub vanished: Option<TokenId>,
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
        credentials: BTreeSet<TokenHash>,
        fresh: AttemptId,
        now: Moment,
    ) -> Self {
        let mut snapshot = Self {
            token,
            account,
            secrets,
            memory,
            credentials,
            silent: BTreeSet::new(),
            fresh: Some(fresh),
            run: Run {
                ledger: true,
                ..Run::default()
            },
        };
        snapshot.notice_namespace(now);
        snapshot.notice_attempt(now);
        snapshot
    }

    /// The same for a PlatformToken that is gone for good, and left a Secret.
    #[must_use]
    pub fn gone(
        owner: Owner,
        account: AccountFacts,
        secret: (String, SecretFacts),
        credentials: BTreeSet<TokenHash>,
    ) -> Self {
        Self {
            token: TokenFacts {
                secret_name: secret.0.clone(),
                ..TokenFacts::gone(owner)
            },
            account,
            secrets: BTreeMap::from([secret]),
            memory: Memory::default(),
            credentials,
            silent: BTreeSet::new(),
            fresh: None,
            run: Run {
                gone: true,
                ledger: true,
                ..Run::default()
            },
        }
    }

    /// A namespace that stays unseen is one that no watch shows: somebody has to know.
    fn notice_namespace(&mut self, now: Moment) {
        let unseen = self.token.admission == Admission::Unknown;
        let since = *self.memory.unseen.get_or_insert(now.elapsed);
        self.memory.unseen.take_if(|_| !unseen);
        if unseen && now.elapsed.saturating_sub(since) >= SEEN_WITHIN {
            self.token.admission = Admission::unseen(&self.token.owner.namespace);
        }
    }

    /// An attempt that this process has not seen before may have been sent by another: its fate is unknown. One of
    /// another owner is a copy's, and one with a lower number is history.
    fn notice_attempt(&mut self, now: Moment) {
        let attempt = match &self.token.attempt {
            Ok(Some(attempt)) => attempt,
            // Whoever removes the annotation answers for the attempt; what this process knows for certain stays.
            // `kubectl replace` takes it off with our finalizer, and means neither.
            Ok(None) if !self.token.is_held() => return,
            Ok(None) => {
                let forgotten = |open: &mut OpenAttempt| {
                    !matches!(open.fate, Fate::Minted(_) | Fate::Withheld(_))
                };
                self.memory.attempt.take_if(forgotten);
                return;
            }
            Err(_) => return,
        };
        let newest = self
            .memory
            .attempt
            .as_ref()
            .map_or(0, |known| known.attempt.at.number);
        if attempt.owner == self.token.owner && attempt.at.number > newest {
            // It cannot be older than its PlatformToken, whatever someone wrote.
            let opened_at = attempt.opened_at.max(self.token.created_at);
            let opened = OpenAttempt {
                attempt: Attempt {
                    opened_at,
                    ..attempt.clone()
                },
                seen: now,
                fate: Fate::of_found(attempt),
                others: BTreeSet::new(),
            };
            // Whoever superseded our attempt cannot know what it made.
            if let Some(superseded) = self.memory.attempt.replace(opened) {
                self.memory.owe(superseded.debts());
            }
        }
    }

    /// Whether the PlatformToken is being deleted, or gone already.
    pub(super) fn goes(&self) -> bool {
        self.token.is_deleting() || self.run.gone
    }

    /// The attempt on the PlatformToken, if it is its own.
    pub(super) fn recorded_attempt(&self) -> Option<&Attempt> {
        let attempt = self.token.attempt.as_ref().ok()?.as_ref();
        attempt.filter(|attempt| attempt.owner == self.token.owner)
    }

    /// The wanted Secret.
    #[must_use]
    pub fn wanted(&self) -> &SecretFacts {
        self.secrets
            .get(&self.token.secret_name)
            .unwrap_or(&SecretFacts::Absent)
    }

    /// Whether a Secret is exactly as we write it.
    pub(super) fn is_whole(&self, own: &OwnSecret) -> bool {
        own.whole && own.held == self.token.holds_secrets
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

    /// The present token: the one of the highest attempt that the status, a Secret of ours or we ourselves know. Anyone
    /// may write an annotation: a Secret's record counts only beside the value that it speaks of.
    #[must_use]
    pub fn present(&self) -> Option<Issued> {
        let known = self.token.status.issued();
        // One value stands for one id: a record that gives our token another value, or our value another id, was edited.
        let forged = |issued: &Issued| {
            known.as_ref().is_some_and(|known| {
                (known.hash == issued.hash) != (known.token_id == issued.token_id)
            })
        };
        let proven = |own: &OwnSecret| {
            let issued = own.issued.clone().filter(|issued| !forged(issued))?;
            bound(own.value.as_ref(), &issued.hash).map(|_| issued)
        };
        let recorded = self.own_secrets().filter_map(|(_, own)| proven(own));
        let all = known
            .clone()
            .into_iter()
            .chain(recorded)
            .chain(self.memory.issued.clone());
        all.reduce(|best, other| {
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
        present.max(opened).saturating_add(1)
    }

    /// The value of this token, from a Secret of ours or from memory; only ever one with its hash.
    #[must_use]
    pub fn value_of(&self, hash: &TokenHash) -> Option<TokenValue> {
        let secrets = self.own_secrets().map(|(_, own)| own.value.as_ref());
        secrets
            .chain([self.memory.held.as_ref()])
            .find_map(|value| bound(value, hash))
    }

    /// The account, if it is the one that a token or an attempt belongs to.
    pub(super) fn identity_of(
        &self,
        what: &str,
        base_url: &str,
        user: Option<&UserId>,
    ) -> Result<&Identity, super::Halt> {
        let identity = self.identity()?;
        if identity.is_of(base_url, user) {
            return Ok(identity);
        }
        let user = user.map_or("(unknown)", UserId::as_str);
        let text = format!(
            "{what} belongs to user {user} on {base_url}, and the account is another one now; give the account its \
             former credential"
        );
        Err(self.of_account(Trouble::stalled(Reason::AccountChanged, text)))
    }

    /// The account, or what stands in the way of using it.
    pub(super) fn identity(&self) -> Result<&Identity, super::Halt> {
        match &self.account {
            AccountFacts::Ready(identity) => Ok(identity),
            AccountFacts::Pending => Err(super::Halt::Silent),
            AccountFacts::Left(identity, _) if self.goes() => Ok(identity),
            AccountFacts::Left(_, trouble) | AccountFacts::Broken(trouble) => {
                Err(self.of_account(trouble.clone()))
            }
        }
    }

    /// What ails the account is told where that serves. Elsewhere a PlatformToken that lives is told the refusal alone,
    /// whatever leads it to the account: anyone may write an attempt.
    pub(super) fn of_account(&self, trouble: Trouble) -> super::Halt {
        let granted = match &self.token.admission {
            admission if !self.goes() => admission.grant(),
            _ => Ok(()),
        };
        granted.err().unwrap_or_else(|| trouble.into())
    }
}
