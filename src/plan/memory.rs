//! What a process remembers of a PlatformToken from one run to the next: the attempt that may be open, what is known of
//! its POST, and what was found to be owed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::debts::{Debt, Evidence};
use super::{Minted, Moment};
use crate::api::{Attempt, AttemptId, Issued, TokenHash, TokenId, TokenValue, UserId};

/// What one process remembers of a PlatformToken. Losing it loses no token: a crash does just that.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// The attempt with the highest number seen, and what this process knows of it.
    pub attempt: Option<OpenAttempt>,
    /// Tokens that this process holds of attempts which another process has superseded.
    pub surplus: Vec<Debt>,
    /// What the account's last stock showed of this PlatformToken beside what it names.
    pub leftovers: Vec<Leftover>,
    /// What the account's last stock lacked of this PlatformToken.
    pub missing: Option<Missing>,
    /// What such a stock lacked when the token's own value was last tried for it.
    pub tried: Option<Missing>,
    /// The token that a Secret was last seen to hold: the status may not say so yet.
    pub issued: Option<Issued>,
    /// A value that no Secret holds at the moment.
    pub held: Option<TokenValue>,
    /// The value that has answered since it was stored, and the resourceVersion of the Secret that holds it.
    pub verified: Option<(TokenHash, String)>,
    /// Tokens that are known to be revoked, that turned out not to be ours, or that the ledger has.
    pub revoked: BTreeSet<TokenId>,
    /// Tokens that could not revoke themselves.
    pub self_refused: BTreeSet<TokenId>,
    /// Tokens whose revocation was sent, and its answer lost.
    pub revoke_unknown: BTreeSet<TokenId>,
    /// Tokens whose own value the platform does not know, and that an account which was left is asked about.
    pub self_unknown: BTreeSet<TokenId>,
    /// Since when the namespace has not been seen, on our monotonic clock.
    pub unseen: Option<Duration>,
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
    /// The attempt that made it.
    pub attempt: Option<AttemptId>,
    /// The platform that it lives on.
    pub base_url: String,
    /// The user that it belongs to.
    pub user_id: UserId,
}

/// A token that its PlatformToken names and a complete list of the account lacks: it may be gone, or the list lags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its id.
    pub token_id: TokenId,
    /// Which list that was: when it was begun, on the monotonic clock.
    pub listed: Duration,
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
    /// Takes debts down, each token once, with its value if any of them has it.
    pub(super) fn owe(&mut self, debts: impl IntoIterator<Item = Debt>) {
        for debt in debts {
            let mut known = self.surplus.iter_mut();
            match known.find(|known| known.token_id == debt.token_id) {
                None => self.surplus.push(debt),
                Some(known) if known.value.is_none() => *known = debt,
                Some(_) => {}
            }
        }
    }

    /// What is worth remembering of a PlatformToken that is Ready, and whose status says so: only what status, Secret and
    /// annotation do not tell a later run as well. Mostly that is nothing, and there may be many.
    #[must_use]
    pub fn at_rest(self) -> Option<Self> {
        let known = [&self.revoked, &self.self_refused, &self.revoke_unknown];
        let told = self.holds_nothing()
            && self.lost == 0
            && self.tried.is_none()
            && known.iter().all(|ids| ids.is_empty());
        (!told).then_some(self)
    }

    /// Whether no token is known to this process alone.
    pub(super) fn holds_nothing(&self) -> bool {
        let open = self.attempt.as_ref();
        let made_nothing = open.is_none_or(|open| open.debts().is_empty());
        self.held.is_none() && self.surplus.is_empty() && made_nothing
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
            hash: None,
            value: None,
            evidence: Evidence::Sure,
        };
        let made = match &self.fate {
            Fate::Minted(minted) => vec![Debt {
                user_id: Some(minted.user_id.clone()),
                hash: Some(minted.value.hash()),
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

impl Fate {
    /// Of an attempt that was just opened. One that adopts a token sends no POST.
    pub(super) fn of_new(attempt: &Attempt) -> Self {
        if attempt.adopts.is_some() {
            Self::Void
        } else {
            Self::Unsent
        }
    }

    /// Of an attempt that another process may have opened.
    pub(super) fn of_found(attempt: &Attempt) -> Self {
        if attempt.adopts.is_some() {
            Self::Void
        } else {
            Self::Unknown { searched: None }
        }
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
