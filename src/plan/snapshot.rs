//! What is known of a PlatformToken.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::debts::{Debt, Evidence};
use super::step::bound;
use super::{Minted, Moment, Note, OwnSecret, Recovery, SecretFacts, Trouble};
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
    /// The hashes of every credential that an account uses, or used last: such a token is never revoked by us.
    pub credentials: BTreeSet<TokenHash>,
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
    /// The hash of the credential that proved it: with another one, what was refused may be allowed.
    pub credential: TokenHash,
    /// Whether new tokens are proven before they are Ready.
    pub verify: bool,
    /// Nobody else mints on this account.
    pub exclusive: bool,
}

/// What one process remembers of a PlatformToken. Losing it loses no token: a crash does just that.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The attempt with the highest number seen, and what this process knows of it.
    pub attempt: Option<OpenAttempt>,
    /// Tokens that this process holds of attempts which another process has superseded.
    pub surplus: Vec<Debt>,
    /// What the account's last stock showed of this PlatformToken beside what it names.
    pub leftovers: Vec<Leftover>,
    /// The token that this process stored last: the status may not say so yet.
    pub issued: Option<Issued>,
    /// A value that no Secret holds at the moment.
    pub held: Option<TokenValue>,
    /// The value that has answered since it was stored.
    pub verified: Option<TokenHash>,
    /// Tokens that are known to be revoked, or that turned out not to be ours.
    pub revoked: BTreeSet<TokenId>,
    /// Tokens that could not revoke themselves.
    pub self_refused: BTreeSet<TokenId>,
    /// Tokens whose revocation was sent, and its answer lost.
    pub revoke_unknown: BTreeSet<TokenId>,
    /// Attempts in a row whose outcome stayed unknown.
    pub lost: u32,
    /// Runs that ended in trouble, in a row.
    pub failures: u32,
}

/// A token that bears the tags of a PlatformToken which does not name it: a proxy repeated a POST, or one took effect
/// after it had been given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Its id.
    pub token_id: TokenId,
    /// Its tags.
    pub tags: Vec<String>,
    /// The platform that it lives on.
    pub base_url: String,
    /// The user that it belongs to.
    pub user_id: UserId,
}

/// An attempt, and what this process knows of its POST.
#[derive(Debug, Clone)]
pub struct OpenAttempt {
    /// The attempt.
    pub attempt: Attempt,
    /// When this process first saw it, or was about to open it.
    pub seen: Moment,
    /// What became of its POST.
    pub fate: Fate,
    /// What else the POST made: given up once one token is stored.
    pub others: BTreeSet<TokenId>,
}

impl Memory {
    /// Whether no token is known to this process alone.
    pub(super) fn holds_nothing(&self) -> bool {
        let open = self.attempt.as_ref();
        self.surplus.is_empty() && open.is_none_or(|open| open.debts().is_empty())
    }
}

impl OpenAttempt {
    /// What it is known to have made.
    pub(super) fn debts(&self) -> Vec<Debt> {
        let account = &self.attempt.account;
        let debt = |token_id: &TokenId| Debt {
            token_id: token_id.clone(),
            base_url: account.base_url.clone(),
            user_id: account.user_id.clone(),
            value: None,
            evidence: Evidence::Seen,
        };
        let made = match &self.fate {
            Fate::Minted(minted) => vec![Debt {
                user_id: Some(minted.user_id.clone()),
                value: Some(minted.value.clone()),
                ..debt(&minted.token_id)
            }],
            Fate::Withheld(ids) => ids.iter().map(debt).collect(),
            Fate::Unsent | Fate::Void | Fate::Unknown { .. } => vec![],
        };
        made.into_iter()
            .chain(self.others.iter().map(debt))
            .collect()
    }
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
    /// The POST made tokens, and the platform does not show their values.
    Withheld(Vec<TokenId>),
    /// The POST may have made a token.
    Unknown {
        /// When we last looked upstream and found none, on our monotonic clock.
        searched: Option<Duration>,
    },
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
    /// The PlatformToken is gone for good.
    pub gone: bool,
    /// A permit for the POST is taken.
    pub permitted: bool,
    /// The dry run has passed.
    pub writable: bool,
    /// A Secret was written.
    pub stored: bool,
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
            fresh,
            run: Run::default(),
        };
        snapshot.notice_attempt(now);
        snapshot
    }

    /// The same for a PlatformToken that is gone for good, and left a Secret.
    #[must_use]
    pub fn gone(
        owner: Owner,
        account: AccountFacts,
        secret: (String, SecretFacts),
        memory: Memory,
        credentials: BTreeSet<TokenHash>,
        fresh: AttemptId,
    ) -> Self {
        let token = TokenFacts {
            owner,
            generation: None,
            resource_version: String::new(),
            deleting: true,
            finalizers: Vec::new(),
            secret_name: secret.0.clone(),
            attempt: Ok(None),
            status: PlatformTokenStatus::default(),
        };
        Self {
            token,
            account,
            secrets: BTreeMap::from([secret]),
            memory,
            credentials,
            fresh,
            run: Run {
                gone: true,
                ..Run::default()
            },
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
            let opened = OpenAttempt {
                attempt: attempt.clone(),
                seen: now,
                fate: Fate::Unknown { searched: None },
                others: BTreeSet::new(),
            };
            // Whoever superseded our attempt cannot know what it made.
            if let Some(superseded) = self.memory.attempt.replace(opened) {
                self.memory.surplus.extend(superseded.debts());
            }
        }
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

    /// The present token: the one of the highest attempt that the status, a Secret of ours or we ourselves know. Anyone may write an
    /// annotation: a Secret's record counts only beside the value that it speaks of.
    #[must_use]
    pub fn present(&self) -> Option<Issued> {
        let proven = |own: &OwnSecret| {
            let issued = own.issued.clone()?;
            bound(own.value.as_ref(), &issued.hash).map(|_| issued)
        };
        let recorded = self.own_secrets().filter_map(|(_, own)| proven(own));
        let known = self.token.status.issued().into_iter();
        let all = known.chain(recorded).chain(self.memory.issued.clone());
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
        // An account whose user is not known yet is nobody's whose user is.
        let same = user.is_none() || identity.user_id.as_ref() == user;
        if identity.base_url == base_url && same {
            return Ok(identity);
        }
        let user = user.map_or("(unknown)", UserId::as_str);
        let text = format!(
            "{what} belongs to user {user} on {base_url}, and the account is another one now; give the account its \
             former credential"
        );
        Err(Trouble::stalled(Reason::AccountChanged, text).into())
    }

    /// The account, or what stands in the way of using it.
    pub(super) fn identity(&self) -> Result<&Identity, super::Halt> {
        match &self.account {
            AccountFacts::Ready(identity) => Ok(identity),
            AccountFacts::Pending => Err(super::Halt::Silent),
            AccountFacts::Broken(trouble) => Err(trouble.clone().into()),
        }
    }
}
