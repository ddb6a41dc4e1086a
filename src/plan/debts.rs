//! What a PlatformToken owes: every token that it made or recorded, in whose name each is revoked, and what comes of that.

use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::fold::mismatch;
use super::step::bound;
use super::{
    AccountFacts, Moment, OpenAttempt, Outcome, OwnSecret, Plan, RevokeWith, Snapshot, Step,
    Trouble,
};
use crate::api::{Issued, Reason, TokenHash, TokenId, TokenValue, UserId};

/// A token that is younger may be missing from a list that lags.
pub(super) const LISTED_WITHIN: SignedDuration = SignedDuration::from_secs(60);

/// So often in a row a value in the ledger has to be unknown: with its back-off, more than an hour.
const SURE_AFTER: u32 = 20;

/// A token that has to be revoked some time.
#[derive(Debug, Clone)]
pub struct Debt {
    /// Which one.
    pub token_id: TokenId,
    /// The platform that it lives on.
    pub base_url: String,
    /// The user that it belongs to, if that is known.
    pub user_id: Option<UserId>,
    /// The hash of its value, if that is known.
    pub hash: Option<TokenHash>,
    /// Its value, if we have it.
    pub value: Option<TokenValue>,
    /// Why we believe that it is ours.
    pub evidence: Evidence,
}

impl Debt {
    /// A token that a record tells of.
    pub(super) fn of(issued: Issued, value: Option<TokenValue>) -> Self {
        Self {
            token_id: issued.token_id,
            base_url: issued.base_url,
            user_id: Some(issued.user_id),
            hash: Some(issued.hash),
            value,
            evidence: Evidence::Recorded {
                before: issued.issued_at,
            },
        }
    }

    /// A token of which a record has no more than the id, and that was made before this time.
    fn named(
        token_id: &TokenId,
        base_url: &str,
        user_id: Option<&UserId>,
        before: Timestamp,
    ) -> Self {
        Self {
            token_id: token_id.clone(),
            base_url: base_url.to_owned(),
            user_id: user_id.cloned(),
            hash: None,
            value: None,
            evidence: Evidence::Recorded { before },
        }
    }
}

/// Why we believe that a token is ours.
#[derive(Debug, Clone)]
pub enum Evidence {
    /// This process saw it made.
    Sure,
    /// A record names it, which anyone may have written.
    Recorded {
        /// It was made before this time.
        before: Timestamp,
    },
}

/// Every token that is not known to be revoked; the present one is among them. A token that is some account's
/// credential is left alone.
pub(super) fn debts(s: &Snapshot) -> Vec<Debt> {
    let mut debts: Vec<Debt> = Vec::new();
    for debt in known(s) {
        // One value stands for one id: another id beside it was written by someone else, whether it is revoked or not.
        let same = |other: &Debt| {
            let same_value = other.value.as_ref().zip(debt.value.as_ref());
            other.token_id == debt.token_id || same_value.is_some_and(|(a, b)| a.hash() == b.hash())
        };
        if !debts.iter().any(same) {
            debts.push(debt);
        }
    }
    debts.retain(|debt| {
        let hash = debt.hash.as_ref();
        let credential = hash.is_some_and(|hash| s.credentials.contains(hash));
        !credential && !s.memory.revoked.contains(&debt.token_id)
    });
    debts
}

/// Every token but the present one.
pub(super) fn surplus(s: &Snapshot) -> impl Iterator<Item = Debt> + use<> {
    let present = s.present();
    let is_present = move |debt: &Debt| {
        present.as_ref().is_some_and(|issued| {
            issued.token_id == debt.token_id || Some(&issued.hash) == debt.hash.as_ref()
        })
    };
    debts(s).into_iter().filter(move |debt| !is_present(debt))
}

/// All that is known, the best known first.
fn known(s: &Snapshot) -> impl Iterator<Item = Debt> {
    let told = |issued: Issued| {
        let value = s.value_of(&issued.hash);
        Debt::of(issued, value)
    };
    let issued = s.token.status.issued().map(told);
    // A Secret's record counts only beside the value that it speaks of.
    let stored = s.own_secrets().filter_map(|(_, own)| {
        let issued = own.issued.clone()?;
        let value = bound(own.value.as_ref(), &issued.hash)?;
        Some(Debt::of(issued, Some(value)))
    });
    let remembered = s.memory.issued.clone().map(told);
    let made = s.memory.attempt.iter().flat_map(OpenAttempt::debts);
    issued
        .into_iter()
        .chain(stored)
        .chain(remembered)
        .chain(made)
        .chain(s.memory.surplus.iter().cloned())
        .chain(given_up(s))
        .chain(leftovers(s))
}

/// What the account's list shows of us beside what we name; what an open attempt made may be stored yet.
pub(super) fn leftovers(s: &Snapshot) -> impl Iterator<Item = Debt> {
    let open = s.open_attempt().map(|open| open.attempt.at.id.clone());
    let present = s.present().map(|issued| issued.token_id);
    let listed = s.memory.leftovers.iter();
    listed
        .filter(move |row| Some(&row.token_id) != present.as_ref())
        .filter(|row| !s.memory.revoked.contains(&row.token_id))
        .filter(move |row| open.is_none() || row.attempt != open)
        .map(|row| {
            // It was listed, however young it is.
            let before = Timestamp::MIN;
            Debt::named(&row.token_id, &row.base_url, Some(&row.user_id), before)
        })
}

/// What attempts and Secrets record as given up.
fn given_up(s: &Snapshot) -> impl Iterator<Item = Debt> {
    let attempt = s.recorded_attempt();
    let by_attempt = attempt.into_iter().flat_map(|attempt| {
        let account = &attempt.account;
        attempt.given_up.iter().map(|token_id| {
            let (user_id, before) = (account.user_id.as_ref(), attempt.opened_at);
            Debt::named(token_id, &account.base_url, user_id, before)
        })
    });
    let by_secret = s.own_secrets().flat_map(|(_, own)| own.debts());
    by_attempt.chain(by_secret)
}

impl OwnSecret {
    /// What it records as given up.
    pub(super) fn debts(&self) -> Vec<Debt> {
        let Some(issued) = &self.issued else {
            return Vec::new();
        };
        let (user_id, before) = (Some(&issued.user_id), issued.issued_at);
        let debt = |token_id| Debt::named(token_id, &issued.base_url, user_id, before);
        self.given_up.iter().map(debt).collect()
    }
}

/// With its own value if we have it: accounts and credentials may have gone first.
pub(super) fn revoke(s: &Snapshot, debt: Debt) -> Plan {
    let with = match debt.value {
        Some(value) if !s.memory.self_refused.contains(&debt.token_id) => {
            RevokeWith::ItsValue(value)
        }
        _ => {
            // The platform of another user would say that there is no such token.
            let what = format!("token {}, which is to be revoked,", debt.token_id);
            s.identity_of(&what, &debt.base_url, debt.user_id.as_ref())?;
            match debt.evidence {
                Evidence::Sure => RevokeWith::Account,
                Evidence::Recorded { before } => RevokeWith::AccountIfOurs {
                    hash: debt.hash,
                    before,
                },
            }
        }
    };
    Ok(Some(Step::Revoke {
        token_id: debt.token_id,
        base_url: debt.base_url,
        with,
    }))
}

impl Snapshot {
    /// What came of revoking a token.
    pub(super) fn fold_revocation(
        &mut self,
        token_id: TokenId,
        with: &RevokeWith,
        outcome: Outcome,
        now: Moment,
    ) {
        match outcome {
            Outcome::NotListed => match with {
                RevokeWith::AccountIfOurs { before, .. }
                    if now.wall.duration_since(*before) < LISTED_WITHIN =>
                {
                    let text = format!(
                        "token {token_id} is to be revoked, and is not listed yet; looking for it again"
                    );
                    let wait = Duration::from_secs(10);
                    let trouble = Trouble::waiting(wait, Reason::CreateOutcomeUnknown, text);
                    self.has_failed(trouble, now);
                }
                _ => self.note_revoked(token_id),
            },
            Outcome::Revoked => {
                self.note_revoked(token_id);
            }
            Outcome::NotOurs => {
                let text = format!(
                    "A record of this PlatformToken names token {token_id}, which is not its: it was left alone"
                );
                self.note_warning(Reason::NotOurs, text);
                self.settle(token_id);
            }
            Outcome::RevokeUnknown(trouble) => {
                self.memory.revoke_unknown.insert(token_id);
                self.has_failed(trouble, now);
            }
            // A DELETE of ours whose answer was lost has taken effect: the token does not know itself any more.
            Outcome::SelfUnknown if self.memory.revoke_unknown.contains(&token_id) => {
                self.note_revoked(token_id);
            }
            // Nobody is left to ask: it was revoked by a process that died, or by someone else.
            Outcome::SelfUnknown
                if self.is_left_alone() && !self.can_ask(&token_id) && self.is_sure() =>
            {
                self.settle(token_id);
            }
            Outcome::SelfUnknown => {
                self.memory.self_unknown.insert(token_id.clone());
                self.memory.self_refused.insert(token_id);
            }
            Outcome::SelfRefused => {
                self.memory.self_refused.insert(token_id);
            }
            // What was left of the account is refused as well, and nobody brings it back.
            Outcome::Failed(trouble)
                if is_refusal(&trouble)
                    && self.is_left_alone()
                    && self.memory.self_unknown.contains(&token_id) =>
            {
                self.settle(token_id);
            }
            Outcome::Failed(trouble) => self.fail(trouble, now),
            outcome => self.run.trouble = Some(mismatch("revoke", &outcome)),
        }
    }

    /// Whether that the platform does not know a value is believed though nobody else can be asked. Nobody waits for what
    /// is in the ledger, and a platform whose door is broken says so of every value.
    fn is_sure(&self) -> bool {
        self.run.ledger || self.memory.failures >= SURE_AFTER
    }

    /// Whether nobody brings back the account that a token is to be revoked through.
    pub(super) fn is_left_alone(&self) -> bool {
        let (AccountFacts::Broken(trouble) | AccountFacts::Left(_, trouble)) = &self.account else {
            return false;
        };
        (self.run.gone || self.token.is_deleting()) && trouble.reason == Reason::AccountNotFound
    }

    /// Whether what is left of the account can be asked about a token all the same: it is of the same user.
    fn can_ask(&self, token_id: &TokenId) -> bool {
        let AccountFacts::Left(identity, _) = &self.account else {
            return false;
        };
        let mut owed = debts(self).into_iter();
        let debt = owed.find(|debt| debt.token_id == *token_id);
        debt.is_some_and(|debt| identity.is_of(&debt.base_url, debt.user_id.as_ref()))
    }
}

/// Whether the platform does not accept the account's credential.
fn is_refusal(trouble: &Trouble) -> bool {
    matches!(trouble.reason, Reason::Unauthorized | Reason::Forbidden)
}
