//! The rules of a PlatformToken that is being deleted: revoke every token that it owes, then let go, in this order:
//! the tokens, the Secrets, the PlatformToken.

use super::issue::{find_out, read_secrets};
use super::step::bound;
use super::{AccountFacts, Fate, Moment, Plan, RevokeWith, Snapshot, Step};
use crate::api::{TokenHash, TokenId, TokenValue};

/// The next step of a PlatformToken that is being deleted.
pub(super) fn plan(s: &Snapshot, now: Moment) -> Plan {
    if !s.token.is_held() {
        return Ok(None);
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
        return Ok(Some(Step::Remove {
            name: name.clone(),
            version: own.version.clone(),
        }));
    }
    Ok(Some(Step::LiftFinalizer))
}

/// A token that has to be revoked before the PlatformToken may go.
struct Debt {
    token_id: TokenId,
    base_url: String,
    value: Option<TokenValue>,
}

/// Every token that this PlatformToken owes. An id that only an annotation names counts if the value of its hash is
/// beside it: anyone may write an annotation.
fn debts(s: &Snapshot) -> Vec<Debt> {
    let mut debts: Vec<Debt> = Vec::new();
    let mut owe =
        |token_id: &TokenId, base_url: &str, hash: &TokenHash, value: Option<TokenValue>| {
            let is_credential =
                matches!(&s.account, AccountFacts::Ready(identity) if identity.credential == *hash);
            if !is_credential && debts.iter().all(|debt| debt.token_id != *token_id) {
                debts.push(Debt {
                    token_id: token_id.clone(),
                    base_url: base_url.to_owned(),
                    value,
                });
            }
        };
    if let Some(issued) = s.token.status.issued() {
        owe(
            &issued.token_id,
            &issued.base_url,
            &issued.hash,
            s.value_of(&issued.hash),
        );
    }
    for (_, own) in s.own_secrets() {
        if let Some(issued) = &own.issued
            && let Some(value) = bound(own.value.as_ref(), &issued.hash)
        {
            owe(
                &issued.token_id,
                &issued.base_url,
                &issued.hash,
                Some(value),
            );
        }
    }
    if let Some(open) = s.open_attempt()
        && let Fate::Minted(minted) = &open.fate
    {
        let hash = minted.value.hash();
        owe(
            &minted.token_id,
            &open.attempt.account.base_url,
            &hash,
            Some(minted.value.clone()),
        );
    }
    debts
}

/// With its own value if we have it: accounts and credentials may have gone first.
fn revoke(s: &Snapshot, debt: Debt) -> Plan {
    let with = match debt.value {
        Some(value) if !s.memory.self_refused.contains(&debt.token_id) => {
            RevokeWith::ItsValue(value)
        }
        _ => {
            s.identity()?;
            RevokeWith::Account
        }
    };
    Ok(Some(Step::Revoke {
        token_id: debt.token_id,
        base_url: debt.base_url,
        with,
    }))
}
