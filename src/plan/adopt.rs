//! How a PlatformToken comes to a token that there is already, the one that its spec names, instead of minting one.
//!
//! An attempt claims the token by compare-and-swap, as one that mints would, but sends no POST and makes nothing, so that
//! a crash leaves nothing to find out. Then everything is looked at live: who else claims or holds the token, whether
//! it is owed, and its value. Until it is stored it is not ours: nothing is revoked, and it stays released.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;

use super::issue::{open, store};
use super::keep::release;
use super::report::{is_ready, whole_seconds};
use super::secret::{is_free, is_ours, recorded_value, value_of};
use super::{
    Halt, Minted, Moment, OpenAttempt, Outcome, Plan, SecretFacts, Shown, Snapshot, Step, Trouble,
    Version,
};
use crate::api::{Issued, Owner, Reason, TokenHash, TokenId, TokenValue, UserId};

/// Whoever was created in the same second as this PlatformToken, and may be the older one, is listed by then.
const ALL_LISTED: Duration = Duration::from_secs(2);

/// What to do instead.
const INSTEAD: &str = "remove adoptTokenID, and a new token is minted";

/// A token that was found fit to be adopted.
#[derive(Debug, Clone)]
pub struct Adopted {
    /// The token.
    pub minted: Minted,
    /// The Secret of the wanted name that holds it, and may be written over.
    pub over: Option<Version>,
}

/// The token that a PlatformToken without one adopts. An attempt that mints is finished first.
pub(super) fn adoptee(s: &Snapshot) -> Option<TokenId> {
    let mints = |open: &OpenAttempt| open.attempt.adopts.is_none();
    let has_one = s.present().is_some() || s.open_attempt().is_some_and(mints);
    s.token.adopts.clone().filter(|_| !has_one)
}

/// The next step of a PlatformToken that adopts this token.
pub(super) fn plan(s: &Snapshot, token_id: &TokenId, now: Moment) -> Plan {
    // Before anything of the account shows: it is not this namespace's to know.
    s.token.admission.grant()?;
    let claims = |open: &&OpenAttempt| open.attempt.adopts.as_ref() == Some(token_id);
    match s.open_attempt().filter(claims) {
        Some(claim) => finish(s, claim, token_id, now),
        None => open(s, s.identity()?, Vec::new(), Some(token_id.clone()), now),
    }
}

/// The claim is written: look at the token, and store it.
fn finish(s: &Snapshot, claim: &OpenAttempt, token_id: &TokenId, now: Moment) -> Plan {
    let what = format!("token {token_id}, which is to be adopted,");
    let account = &claim.attempt.account;
    s.identity_of(&what, &account.base_url, account.user_id.as_ref())?;
    if now.since(claim.seen) < ALL_LISTED {
        return Err(Halt::Silent);
    }
    if let SecretFacts::Own(own) = s.wanted()
        && own.deleting
    {
        return release(s, own, now);
    }
    let Some(adopted) = &s.run.adopted else {
        return Ok(Some(Step::Adopt {
            attempt: claim.attempt.clone(),
            token_id: token_id.clone(),
        }));
    };
    let Minted {
        token_id,
        value,
        user_id,
        created_at,
    } = adopted.minted.clone();
    let issued = Issued {
        attempt: claim.attempt.at.clone(),
        token_id,
        hash: value.hash(),
        issued_at: whole_seconds(created_at),
        base_url: account.base_url.clone(),
        user_id,
    };
    let nothing = BTreeSet::new();
    Ok(Some(store(s, issued, nothing, value, Reason::Adopted, now)))
}

/// Whether a token came from elsewhere than from an attempt of this PlatformToken that minted: then it has to answer before
/// it counts, whatever the account says of new ones.
pub(super) fn came_from_elsewhere(s: &Snapshot, issued: &Issued) -> bool {
    let minted = s
        .recorded_attempt()
        .filter(|attempt| attempt.adopts.is_none());
    minted.is_none_or(|attempt| attempt.at != issued.attempt)
}

/// Such a token is released no longer. That comes last: should its PlatformToken go before it is stored, it still is.
pub(super) fn strike(s: &Snapshot, issued: &Issued) -> Option<Step> {
    let is_due = came_from_elsewhere(s, issued) && !is_ready(&s.token.status) && !s.run.struck;
    is_due.then(|| Step::Strike {
        token_id: issued.token_id.clone(),
        base_url: issued.base_url.clone(),
    })
}

/// Another PlatformToken that has to do with the token.
#[derive(Debug, Clone)]
pub struct Rival {
    /// Which one.
    pub owner: Owner,
    /// When the API server created it.
    pub created_at: Timestamp,
    /// The token is stored for it; else it is about to adopt it as well.
    pub holds: bool,
}

/// All that is looked at, live, before a token is adopted.
#[derive(Debug)]
pub struct Adoption<'a> {
    /// Which token.
    pub token_id: &'a TokenId,
    /// For which PlatformToken.
    pub owner: &'a Owner,
    /// When the API server created that.
    pub created_at: Timestamp,
    /// Every other PlatformToken that holds the token or is about to adopt it.
    pub rivals: &'a [Rival],
    /// The ledger says that it is to be revoked.
    pub owed: bool,
    /// As the account shows it; none if it has no such token.
    pub row: Option<Shown>,
    /// The account's user, if that is known.
    pub user_id: Option<&'a UserId>,
    /// Name of the wanted Secret.
    pub secret_name: &'a str,
    /// The wanted Secret, if there is one.
    pub secret: Option<&'a Secret>,
    /// The hashes of every credential that an account uses.
    pub credentials: &'a BTreeSet<TokenHash>,
}

/// Decides whether a token may be adopted. Each rule is a reason against it, the surest first.
#[must_use]
pub fn adopt(look: &Adoption) -> Outcome {
    match fit(look) {
        Ok(adopted) => Outcome::Adopted(adopted),
        Err(why) => Outcome::Failed(Trouble::stalled(Reason::AdoptionRefused, why)),
    }
}

fn fit(look: &Adoption) -> Result<Adopted, String> {
    let id = look.token_id;
    if let Some(Rival { owner, .. }) = look.rivals.iter().find(|rival| rival.holds) {
        return Err(format!(
            "token {id} is that of {}; delete that one first, with deletionPolicy Orphan, or {INSTEAD}",
            told(owner, look.owner)
        ));
    }
    let age = |created_at: Timestamp, owner: &Owner| (created_at, owner.uid.clone());
    let own_age = age(look.created_at, look.owner);
    let older = |rival: &&Rival| age(rival.created_at, &rival.owner) < own_age;
    if let Some(Rival { owner, .. }) = look.rivals.iter().find(older) {
        return Err(format!(
            "token {id} is to be adopted by {} as well, which is older; {INSTEAD}",
            told(owner, look.owner)
        ));
    }
    if look.owed {
        return Err(format!(
            "token {id} is to be revoked: a PlatformToken that is gone has left it so, which is final; {INSTEAD}"
        ));
    }
    let Some(row) = &look.row else {
        return Err(format!(
            "the account has no token {id}; delete this PlatformToken and create it with the id of one that lives, or \
             {INSTEAD}"
        ));
    };
    if look.user_id.is_some_and(|user| *user != row.user_id) {
        return Err(format!(
            "token {id} belongs to user {} and the account to another one; name an account of that user, or {INSTEAD}",
            row.user_id
        ));
    }
    let proven = look.secret.and_then(|secret| recorded_value(secret, id));
    let Some(value) = row.value.clone().or(proven) else {
        return Err(format!(
            "the platform does not show the value of token {id}, and no Secret {} that this operator has made for it \
             holds it; bring that Secret here, or {INSTEAD}",
            look.secret_name
        ));
    };
    if look.credentials.contains(&value.hash()) {
        return Err(format!(
            "token {id} is the credential of an account, which needs it; {INSTEAD}"
        ));
    }
    let over = look.secret.map(|secret| writable(secret, look, &value));
    Ok(Adopted {
        over: over.transpose()?,
        minted: Minted {
            token_id: id.clone(),
            value,
            user_id: row.user_id.clone(),
            created_at: row.created_at,
        },
    })
}

/// Names a PlatformToken to another one. What is in other namespaces is not that one's to know.
fn told(owner: &Owner, to: &Owner) -> String {
    if owner.is_beside(to) {
        format!("PlatformToken {}/{}", owner.namespace, owner.name)
    } else {
        "a PlatformToken of another namespace".into()
    }
}

/// A Secret of someone else is written over only if it holds this very token, or was left empty.
fn writable(secret: &Secret, look: &Adoption, value: &TokenValue) -> Result<Version, String> {
    let (name, id) = (look.secret_name, look.token_id);
    let free = is_ours(secret, look.owner) || is_free(secret, look.owner);
    if !free && value_of(secret, &value.hash()).is_none() {
        return Err(format!(
            "Secret {name} exists and does not hold token {id}; delete it, or set spec.secret.name to a name that is free"
        ));
    }
    if secret.metadata.deletion_timestamp.is_some() {
        return Err(format!(
            "Secret {name} is being deleted; wait until it is gone, or set spec.secret.name to a name that is free"
        ));
    }
    Ok(Version::of(&secret.metadata))
}
