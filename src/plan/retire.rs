//! The rules of a PlatformToken that is being deleted: revoke every token that it owes, then let go, in this order:
//! the tokens, the Secrets, the PlatformToken.

use super::issue::{find_out, read_secrets};
use super::step::bound;
use super::{AccountFacts, Fate, Halt, Moment, Plan, RevokeWith, Snapshot, Step};
use crate::api::{TokenHash, TokenId, TokenValue, UserId};

/// The next step of a PlatformToken that is being deleted.
pub(super) fn plan(s: &Snapshot, now: Moment) -> Plan {
    if !s.token.is_held() {
        return Ok(None);
    }
    if matches!(s.account, AccountFacts::Pending) {
        // Its credential is not known yet, and might be the very token that is to be revoked.
        return Err(Halt::Silent);
    }
    if let Some(step) = read_secrets(s) {
        return Ok(Some(step));
    }
    if let Some(open) = s.open_attempt()
        && let Fate::Unknown { searched } = open.fate
        && let Some(step) = find_out(s, open, searched, now)?
    {
        return Ok(Some(step));
    }
    if let Some(debt) = debts(s)
        .into_iter()
        .find(|debt| !s.memory.revoked.contains(&debt.token_id))
    {
        return revoke(s, debt);
    }
    if let Some((name, own)) = s.own_secrets().next() {
        let (name, version) = (name.clone(), own.version.clone());
        return Ok(Some(Step::Remove { name, version }));
    }
    Ok(Some(Step::LiftFinalizer))
}

/// A token that has to be revoked before the PlatformToken may go.
pub(super) struct Debt {
    pub token_id: TokenId,
    /// The platform that it lives on.
    pub base_url: String,
    /// The user that it belongs to, if that is known.
    pub user_id: Option<UserId>,
    /// Its value, if we have it.
    pub value: Option<TokenValue>,
}

/// Every token that this PlatformToken owes. An id that only an annotation names counts if the value of its hash is
/// beside it: anyone may write an annotation. A token that is some account's credential is left alone.
fn debts(s: &Snapshot) -> Vec<Debt> {
    let is_credential = |hash: &TokenHash| s.credentials.contains(hash);
    let mut debts: Vec<Debt> = Vec::new();
    let mut owe = |debt: Debt| {
        let known = |other: &Debt| {
            // One value stands for one id: another id beside it was written by someone else.
            let same_value = other.value.as_ref().zip(debt.value.as_ref());
            other.token_id == debt.token_id || same_value.is_some_and(|(a, b)| a.hash() == b.hash())
        };
        if !debts.iter().any(known) {
            debts.push(debt);
        }
    };
    let recorded = s
        .token
        .status
        .issued()
        .map(|issued| (s.value_of(&issued.hash), issued));
    let stored = s.own_secrets().filter_map(|(_, own)| {
        let issued = own.issued.clone()?;
        let value = bound(own.value.as_ref(), &issued.hash)?;
        Some((Some(value), issued))
    });
    for (value, issued) in recorded.into_iter().chain(stored) {
        if !is_credential(&issued.hash) {
            owe(Debt {
                token_id: issued.token_id,
                base_url: issued.base_url,
                user_id: Some(issued.user_id),
                value,
            });
        }
    }
    if let Some(open) = s.open_attempt() {
        let account = &open.attempt.account;
        let (token_id, user_id, value) = match &open.fate {
            Fate::Minted(minted) => (
                &minted.token_id,
                Some(&minted.user_id),
                Some(minted.value.clone()),
            ),
            Fate::Withheld(token_id) => (token_id, account.user_id.as_ref(), None),
            Fate::Unsent | Fate::Void | Fate::Unknown { .. } => return debts,
        };
        owe(Debt {
            token_id: token_id.clone(),
            base_url: account.base_url.clone(),
            user_id: user_id.cloned(),
            value,
        });
    }
    debts
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
            RevokeWith::Account
        }
    };
    Ok(Some(Step::Revoke {
        token_id: debt.token_id,
        base_url: debt.base_url,
        with,
    }))
}
