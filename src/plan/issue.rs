//! The rules of a PlatformToken that lives, and how it comes to a token: an attempt is opened, sent, found out and stored.

use std::collections::BTreeSet;
use std::time::Duration;

use super::adopt::{self, adoptee};
use super::debts::{Debt, debts, leftovers, revoke, surplus};
use super::keep::{keep, let_go, may_be_gone, release};
use super::ownership::{inherit, inherit_stray};
use super::report::{is_ready, whole_seconds};
use super::upstream::CLOCK_SKEW;
use super::{
    AccountFacts, Fate, Halt, Identity, Minted, Moment, OpenAttempt, Plan, Reaction, SecretFacts,
    Snapshot, Step, Trouble,
};
use crate::api::{
    Attempt, AttemptAccount, AttemptRef, Dialect, Issued, Reason, TokenId, TokenValue, names,
};

/// A POST is not sent any more when its attempt has been open for so long.
const POST_WITHIN: Duration = Duration::from_secs(15);

/// Nothing rests any more on a proof of the PlatformToken that is so old.
const PROVEN_WITHIN: Duration = Duration::from_secs(15);

/// After this time a POST that was in flight elsewhere has ended: 15 s to be sent, 20 s to be answered, and a margin.
const POST_ENDED: Duration = Duration::from_secs(45);

/// The next step of a PlatformToken that lives.
pub(super) fn plan(s: &Snapshot, now: Moment) -> Plan {
    if is_settled_in_cache(s) {
        return Ok(None);
    }
    if (s.open_attempt().is_some() || s.present().is_some()) && !s.token.is_held() {
        // Someone took it off, for instance with `kubectl replace`; without it a deletion would leave the token behind.
        let open = s.open_attempt().map(|open| open.attempt.clone());
        return Ok(Some(Step::Hold(open)));
    }
    if let Err(malformed) = &s.token.attempt {
        let advice = "remove the annotation; if no Secret holds a token yet, look for an unused one on the account";
        return Err(
            Trouble::stalled(Reason::AttemptUnreadable, format!("{malformed}; {advice}")).into(),
        );
    }
    if let Some(step) = read_secrets(s) {
        return Ok(Some(step));
    }
    if let Some(debt) = superseded(s) {
        return revoke(s, debt);
    }
    if let Some(step) = let_go(s) {
        return Ok(Some(step));
    }
    if let Some(token_id) = adoptee(s) {
        return adopt::plan(s, &token_id, now);
    }
    match s.wanted() {
        SecretFacts::Foreign { trouble, .. } => return yield_to(s, trouble, now),
        SecretFacts::Left(left) => return inherit(s, left, now),
        _ => {}
    }
    if let Some(step) = inherit_stray(s, now)? {
        return Ok(Some(step));
    }
    match (s.open_attempt(), s.present()) {
        (Some(open), _) => finish(s, open, now),
        (None, Some(issued)) => keep(s, &issued, now),
        (None, None) => mint(s, now),
    }
}

/// The status says Ready of this very Secret, and neither has changed: nothing has to be read.
fn is_settled_in_cache(s: &Snapshot) -> bool {
    let status = &s.token.status;
    let unchanged = matches!(s.wanted(), SecretFacts::Unread { resource_version: Some(version) }
        if Some(version) == status.secret_resource_version.as_ref());
    unchanged
        && s.secrets.len() == 1
        && is_ready(status)
        && status.secret_name.as_ref() == Some(&s.token.secret_name)
        && s.open_attempt().is_none()
        && s.memory.holds_nothing()
        && leftovers(s).next().is_none()
        && s.present().is_none_or(|issued| !may_be_gone(s, &issued))
        && s.token.is_held()
        && s.token.attempt.is_ok()
}

/// A token that this process alone knows of, and that no Secret will ever hold. A POST or a store that is due goes first;
/// beside a token that is kept, [`keep`] sees to it.
fn superseded(s: &Snapshot) -> Option<Debt> {
    let waits = match s.open_attempt() {
        Some(open) => matches!(open.fate, Fate::Unsent | Fate::Minted(_)),
        None => s.present().is_some(),
    };
    let known = |debt: &Debt| {
        s.memory
            .surplus
            .iter()
            .any(|one| one.token_id == debt.token_id)
    };
    surplus(s).find(|debt| !waits && known(debt))
}

/// What only the cache knows is read live before anything rests on it.
pub(super) fn read_secrets(s: &Snapshot) -> Option<Step> {
    s.secrets.iter().find_map(|(name, facts)| match facts {
        SecretFacts::Unread { .. } => Some(Step::ReadSecret { name: name.clone() }),
        _ => None,
    })
}

/// The wanted Secret is somebody else's.
fn yield_to(s: &Snapshot, trouble: &Trouble, now: Moment) -> Plan {
    match forgo(s, trouble, now)? {
        Some(step) => Ok(Some(step)),
        None => Err(trouble.clone().into()),
    }
}

/// What an open attempt made for a Secret that is somebody else's is of no use to anyone, once no other process can be
/// about to store it under a former name. `None`: nothing of it is left.
pub(super) fn forgo(s: &Snapshot, trouble: &Trouble, now: Moment) -> Plan {
    let Some(open) = s.open_attempt() else {
        return Ok(None);
    };
    let waits = |reaction| {
        let text = format!(
            "{}; what attempt {} may have made is revoked, {} at the earliest",
            trouble.message,
            open.attempt.at.id,
            at_end(s, open)
        );
        Halt::Trouble(Trouble {
            reaction,
            ..Trouble::stalled(trouble.reason, text)
        })
    };
    if let Fate::Unknown { searched } = open.fate {
        match find_out(s, open, searched, now) {
            Ok(None) => {}
            // Whatever stands in the way of looking, the user has to know about the Secret.
            Err(Halt::Trouble(Trouble { reaction, .. })) => return Err(waits(reaction)),
            found => return found,
        }
    }
    let made: Vec<TokenId> = open.debts().into_iter().map(|debt| debt.token_id).collect();
    let mut owed = debts(s).into_iter();
    let Some(debt) = owed.find(|debt| made.contains(&debt.token_id)) else {
        return Ok(None);
    };
    let wait = ended(s, open).saturating_sub(now.elapsed);
    if open.attempt.dialect == Dialect::Current && !wait.is_zero() {
        return Err(waits(Reaction::Waiting(wait)));
    }
    if is_proven(s, now) {
        revoke(s, debt)
    } else {
        Ok(Some(Step::Look))
    }
}

/// No token yet, or none any more: prove that the Secret can be written, then open an attempt.
pub(super) fn mint(s: &Snapshot, now: Moment) -> Plan {
    // Before anything of the account shows: it is not this namespace's to know.
    s.token.admission.grant()?;
    let given_up = given_up(s);
    let identity = match s.recorded_attempt() {
        Some(former) if !given_up.is_empty() => {
            let what = format!(
                "token {}, which is given up and not yet revoked,",
                given_up[0]
            );
            let account = &former.account;
            s.identity_of(&what, &account.base_url, account.user_id.as_ref())?
        }
        _ => s.identity()?,
    };
    if s.fresh.is_none() {
        return Err(Halt::Silent);
    }
    if !s.run.permitted {
        return Ok(Some(Step::Permit));
    }
    if matches!(s.wanted(), SecretFacts::Absent) && !s.run.writable {
        return Ok(Some(Step::Preflight {
            name: s.token.secret_name.clone(),
        }));
    }
    open(s, identity, given_up, None, now)
}

/// Opens the next attempt: it mints, or it adopts a token.
pub(super) fn open(
    s: &Snapshot,
    identity: &Identity,
    given_up: Vec<TokenId>,
    adopts: Option<TokenId>,
    now: Moment,
) -> Plan {
    // No two attempts share an id: the next run has another.
    let id = s.fresh.clone().ok_or(Halt::Silent)?;
    let number = s.next_number();
    let at = AttemptRef { number, id };
    if !at.is_plausible() {
        let text = format!(
            "attempt {} is out of range, so a record was edited; remove the annotation {} from the PlatformToken",
            at.number,
            names::ATTEMPT
        );
        return Err(Trouble::stalled(Reason::AttemptUnreadable, text).into());
    }
    Ok(Some(Step::Open(Attempt {
        at,
        opened_at: now.wall,
        dialect: identity.dialect,
        owner: s.token.owner.clone(),
        account: AttemptAccount {
            base_url: identity.base_url.clone(),
            user_id: identity.user_id.clone(),
        },
        given_up,
        adopts,
    })))
}

/// What a new attempt takes the place of: tokens whose value cannot be had.
fn given_up(s: &Snapshot) -> Vec<TokenId> {
    let mut ids: BTreeSet<TokenId> = BTreeSet::new();
    if let Some(attempt) = s.recorded_attempt() {
        ids.extend(attempt.given_up.iter().cloned());
    }
    if let Some(open) = s.open_attempt() {
        ids.extend(open.attempt.given_up.iter().cloned());
        ids.extend(open.debts().into_iter().map(|debt| debt.token_id));
    }
    ids.extend(s.present().map(|issued| issued.token_id));
    ids.retain(|id| !s.memory.revoked.contains(id));
    ids.into_iter().collect()
}

/// An attempt is open: send its POST if that is still to be done, store what it made, or find out.
fn finish(s: &Snapshot, open: &OpenAttempt, now: Moment) -> Plan {
    match &open.fate {
        Fate::Unsent if now.since(open.seen) < POST_WITHIN => {
            Ok(Some(Step::Mint(open.attempt.clone())))
        }
        Fate::Unsent | Fate::Void => mint(s, now),
        Fate::Minted(minted) => store_minted(s, open, minted, now),
        Fate::Withheld(ids) => {
            // Another process may have the value, and store it yet.
            let wait = ended(s, open).saturating_sub(now.elapsed);
            if wait.is_zero() {
                return mint(s, now);
            }
            let text = format!(
                "attempt {} made token {}, and the platform does not show its value; a new attempt takes its place {}, \
                 then it is revoked",
                open.attempt.at.id,
                shown(ids),
                at_end(s, open)
            );
            Err(Trouble::waiting(wait, Reason::ValueUnavailable, text).into())
        }
        Fate::Unknown { searched } => match find_out(s, open, *searched, now)? {
            Some(step) => Ok(Some(step)),
            None => mint(s, now),
        },
    }
}

/// The value is in our hands: it goes into the Secret. A token of an older attempt in it is revoked first, while its
/// value is at hand; one whose revocation was begun is never stored.
fn store_minted(s: &Snapshot, open: &OpenAttempt, minted: &Minted, now: Moment) -> Plan {
    let older = s.present().map(|issued| issued.token_id);
    let is_due = |debt: &Debt| {
        let older = Some(&debt.token_id) == older.as_ref() && debt.value.is_some();
        let begun = s.memory.revoke_unknown.contains(&minted.token_id);
        older || (begun && debt.token_id == minted.token_id)
    };
    if let Some(debt) = debts(s).into_iter().find(is_due) {
        return revoke(s, debt);
    }
    if let SecretFacts::Own(own) = s.wanted()
        && own.deleting
    {
        return release(s, own, now);
    }
    let issued = Issued {
        attempt: open.attempt.at.clone(),
        token_id: minted.token_id.clone(),
        hash: minted.value.hash(),
        issued_at: whole_seconds(minted.created_at),
        base_url: open.attempt.account.base_url.clone(),
        user_id: minted.user_id.clone(),
    };
    let because = if s.present().is_some() {
        Reason::Replaced
    } else {
        Reason::Issued
    };
    let mut given_up = open.others.clone();
    if let SecretFacts::Own(own) = s.wanted() {
        given_up.extend(own.given_up.iter().cloned());
    }
    let value = minted.value.clone();
    Ok(Some(store(s, issued, given_up, value, because, now)))
}

/// Writes the wanted Secret, if the PlatformToken was proven to be as we know it just now: another process may have
/// superseded the attempt, and a PlatformToken that is gone has nobody to revoke what its Secret holds.
pub(super) fn store(
    s: &Snapshot,
    issued: Issued,
    given_up: BTreeSet<TokenId>,
    value: TokenValue,
    because: Reason,
    now: Moment,
) -> Step {
    if !is_proven(s, now) {
        return Step::Look;
    }
    Step::Store {
        name: s.token.secret_name.clone(),
        issued,
        given_up,
        value,
        over: over(s),
        because,
    }
}

/// The POST of this attempt may have made a token: look upstream, and give it up only when a POST in flight elsewhere
/// must have ended. `None`: there is nothing more to be found.
pub(super) fn find_out(
    s: &Snapshot,
    open: &OpenAttempt,
    searched: Option<Duration>,
    now: Moment,
) -> Plan {
    let (id, account) = (&open.attempt.at.id, &open.attempt.account);
    let ended = ended(s, open);
    let over = now.elapsed >= ended;
    if searched.is_some_and(|at| at >= ended) {
        return Ok(None);
    }
    let tagged = open.attempt.dialect == Dialect::Current;
    if over || (tagged && searched.is_none()) {
        let what = format!("attempt {id}, which may have made a token,");
        let identity = s.identity_of(&what, &account.base_url, account.user_id.as_ref());
        return match identity {
            // Where tags tell who made a token, nobody is suspected, whatever the attempt says of the dialect.
            Ok(identity) if !tagged && identity.dialect == Dialect::Current => Ok(None),
            // Where nobody else mints, the account finds what nobody claims.
            Ok(identity) if !tagged && is_newer_than_baseline(open, identity) => Ok(None),
            // A deletion does not use what is left of an account only to write something down.
            Ok(_) if !tagged && matches!(s.account, AccountFacts::Left(..)) => Ok(None),
            Ok(_) => Ok(Some(Step::FindMinted(open.attempt.clone()))),
            // There is nothing to find, only something to tell, and nobody is left to tell it.
            Err(Halt::Trouble(_)) if !tagged && s.is_left_alone() => Ok(None),
            Err(halt) => Err(halt),
        };
    }
    let found = if tagged {
        "none is listed so far"
    } else {
        "the platform does not tell who made one"
    };
    let then = if s.goes() {
        "then this PlatformToken goes"
    } else {
        "then a new attempt begins"
    };
    let text = format!(
        "whether attempt {id} made a token is not known yet: {found}; looking again {}, {then}",
        at_end(s, open)
    );
    let wait = ended.saturating_sub(now.elapsed);
    Err(Trouble::waiting(wait, Reason::CreateOutcomeUnknown, text).into())
}

/// Whether an exclusive account tells what this attempt made from what was there before.
fn is_newer_than_baseline(open: &OpenAttempt, identity: &Identity) -> bool {
    let since = identity.exclusive.map(|since| since + CLOCK_SKEW);
    since.is_some_and(|since| open.attempt.opened_at > since)
}

/// When a POST of this attempt must have ended, on our monotonic clock. Where outcomes stay unknown, each new attempt may
/// cost a token: the waits grow.
fn ended(s: &Snapshot, open: &OpenAttempt) -> Duration {
    open.seen.elapsed + POST_ENDED * (1 << s.memory.lost.saturating_sub(1).min(4))
}

/// The same for people, as the end of a clause.
fn at_end(s: &Snapshot, open: &OpenAttempt) -> String {
    let wait = ended(s, open).saturating_sub(open.seen.elapsed);
    let wall = open.seen.wall.checked_add(wait).unwrap_or(open.seen.wall);
    format!("at {}", whole_seconds(wall))
}

fn shown(ids: &[TokenId]) -> String {
    let ids: Vec<&str> = ids.iter().map(TokenId::as_str).collect();
    ids.join(", ")
}

/// Whether the PlatformToken was proven just now to be as we know it.
pub(super) fn is_proven(s: &Snapshot, now: Moment) -> bool {
    s.run.proven.is_some_and(|at| now.since(at) < PROVEN_WITHIN)
}

/// What a store replaces.
pub(super) fn over(s: &Snapshot) -> Option<super::Version> {
    match s.wanted() {
        SecretFacts::Own(own) => Some(own.version.clone()),
        SecretFacts::Retained(version) => Some(version.clone()),
        _ => s.run.adopted.as_ref()?.over.clone(),
    }
}
