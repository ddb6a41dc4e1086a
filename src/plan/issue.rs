//! The rules of a PlatformToken that lives: exactly one token stands behind exactly one Secret.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;

use super::report::{is_ready, whole_seconds};
use super::retire::{Debt, revoke};
use super::{
    Fate, Halt, Moment, OpenAttempt, OwnSecret, Plan, Recovery, SecretFacts, Snapshot, Step,
    Trouble,
};
use crate::api::{Attempt, AttemptAccount, AttemptRef, Dialect, Issued, Reason, names};

/// A POST is not sent any more when its attempt has been open for so long.
const POST_WITHIN: Duration = Duration::from_secs(15);

/// After this time a POST that was in flight elsewhere has ended: 15 s to be sent, 20 s to be answered, and a margin.
const POST_ENDED: Duration = Duration::from_secs(45);

/// A token that is younger may be missing from a list that lags.
const LISTED_WITHIN: SignedDuration = SignedDuration::from_secs(60);

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
    if let SecretFacts::Foreign { whose } = s.wanted() {
        return Err(foreign_secret(&s.token.secret_name, whose));
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
        && s.token.is_held()
        && s.token.attempt.is_ok()
}

/// What only the cache knows is read live before anything rests on it.
pub(super) fn read_secrets(s: &Snapshot) -> Option<Step> {
    s.secrets.iter().find_map(|(name, facts)| match facts {
        SecretFacts::Unread { .. } => Some(Step::ReadSecret { name: name.clone() }),
        _ => None,
    })
}

fn foreign_secret(name: &str, whose: &str) -> Halt {
    Trouble::stalled(Reason::SecretNotWritable, format!("Secret {name} {whose}")).into()
}

/// No token yet, or none any more: prove that the Secret can be written, then open an attempt.
fn mint(s: &Snapshot, now: Moment) -> Plan {
    let identity = s.identity()?;
    if !s.run.permitted {
        return Ok(Some(Step::Permit));
    }
    if matches!(s.wanted(), SecretFacts::Absent) && !s.run.writable {
        return Ok(Some(Step::Preflight {
            name: s.token.secret_name.clone(),
        }));
    }
    let at = AttemptRef {
        number: s.next_number(),
        id: s.fresh.clone(),
    };
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
    })))
}

/// An attempt is open: send its POST if that is still to be done, store what it made, or find out.
fn finish(s: &Snapshot, open: &OpenAttempt, now: Moment) -> Plan {
    match &open.fate {
        Fate::Unsent if now.elapsed.saturating_sub(open.seen) < POST_WITHIN => {
            Ok(Some(Step::Mint(open.attempt.clone())))
        }
        Fate::Unsent | Fate::Void => mint(s, now),
        Fate::Minted(minted) => {
            let issued = Issued {
                attempt: open.attempt.at.clone(),
                token_id: minted.token_id.clone(),
                hash: minted.value.hash(),
                issued_at: whole_seconds(minted.created_at),
                base_url: open.attempt.account.base_url.clone(),
                user_id: minted.user_id.clone(),
            };
            if let SecretFacts::Own(own) = s.wanted()
                && own.deleting
            {
                return release(s, own);
            }
            Ok(Some(Step::Store {
                name: s.token.secret_name.clone(),
                issued,
                value: minted.value.clone(),
                over: over(s),
                because: if s.present().is_some() {
                    Reason::Replaced
                } else {
                    Reason::Issued
                },
            }))
        }
        Fate::Withheld(token_id) => {
            let text = format!(
                "attempt {} made token {token_id}, and the platform does not show its value; delete this \
                 PlatformToken, which revokes it, and create it anew",
                open.attempt.at.id
            );
            Err(Trouble::stalled(Reason::ValueUnavailable, text).into())
        }
        Fate::Unknown { searched } => match find_out(s, open, *searched, now)? {
            Some(step) => Ok(Some(step)),
            None => mint(s, now),
        },
    }
}

/// The POST of this attempt may have made a token: look for it by its tag, and give it up only when a POST in flight
/// elsewhere must have ended. `None`: there is nothing more to be found.
pub(super) fn find_out(
    s: &Snapshot,
    open: &OpenAttempt,
    searched: Option<Duration>,
    now: Moment,
) -> Plan {
    // Where outcomes stay unknown, each new attempt may cost a token: the waits grow.
    let ended = open.seen + POST_ENDED * (1 << s.memory.lost.saturating_sub(1).min(4));
    let id = &open.attempt.at.id;
    let wait = |text: String| {
        let left = ended.saturating_sub(now.elapsed);
        Halt::Trouble(Trouble::waiting(left, Reason::CreateOutcomeUnknown, text))
    };
    match open.attempt.dialect {
        Dialect::Current => {
            let account = &open.attempt.account;
            let what = format!("attempt {id}, which may have made a token,");
            s.identity_of(&what, &account.base_url, account.user_id.as_ref())?;
            match searched {
                Some(at) if at >= ended => Ok(None),
                Some(_) if now.elapsed < ended => Err(wait(format!(
                    "whether attempt {id} made a token is not known yet: none is listed so far; looking again, then a \
                     new attempt begins"
                ))),
                _ => Ok(Some(Step::FindMinted(open.attempt.clone()))),
            }
        }
        Dialect::Documented if now.elapsed < ended => Err(wait(format!(
            "whether attempt {id} made a token is not known, and the platform does not tell who made one: a new attempt \
             begins soon; an unused token may stay on the account"
        ))),
        Dialect::Documented => Ok(None),
    }
}

/// A token was issued: its value is in the wanted Secret, it answers, and no other Secret holds it.
fn keep(s: &Snapshot, issued: &Issued, now: Moment) -> Plan {
    match s.wanted() {
        SecretFacts::Own(own) if own.deleting => release(s, own),
        SecretFacts::Own(own) if own.whole && own.issued.as_ref() == Some(issued) => {
            if let Some(step) = verify(s, own, issued) {
                return Ok(Some(step));
            }
            tidy(s, issued)
        }
        _ => restore(s, issued, now),
    }
}

/// The wanted Secret lacks the token: write it again with the same value. Only a token that is gone is minted anew.
fn restore(s: &Snapshot, issued: &Issued, now: Moment) -> Plan {
    let name = &s.token.secret_name;
    if let Some(value) = s.value_of(&issued.hash) {
        let moved = s
            .token
            .status
            .secret_name
            .as_ref()
            .is_some_and(|former| former != name);
        let because = if moved {
            Reason::Moved
        } else {
            Reason::Repaired
        };
        return Ok(Some(Step::Store {
            name: name.clone(),
            issued: issued.clone(),
            value,
            over: over(s),
            because,
        }));
    }
    let what = format!(
        "Secret {name} lost the value of token {}, which",
        issued.token_id
    );
    s.identity_of(&what, &issued.base_url, Some(&issued.user_id))?;
    let lost = |text: String| Halt::Trouble(Trouble::stalled(Reason::ValueUnavailable, text));
    match &s.run.recovery {
        None => Ok(Some(Step::Recover(issued.clone()))),
        Some(Recovery::Gone) if now.wall.duration_since(issued.issued_at) < LISTED_WITHIN => {
            let text = format!(
                "token {} is not listed yet; asking again in a minute",
                issued.token_id
            );
            let wait = Duration::from_mins(1);
            Err(Trouble::waiting(wait, Reason::ValueUnavailable, text).into())
        }
        Some(Recovery::Gone) => mint(s, now),
        Some(Recovery::Value(_) | Recovery::Withheld) => Err(lost(format!(
            "Secret {name} lost the value of token {}, and the platform does not show it; put the value back, or delete \
             this PlatformToken and create it anew",
            issued.token_id
        ))),
    }
}

/// Ready means that the value has answered since it was stored; a status that says so of this very Secret will do.
fn verify(s: &Snapshot, own: &OwnSecret, issued: &Issued) -> Option<Step> {
    let wanted = !matches!(&s.account, super::AccountFacts::Ready(identity) if !identity.verify);
    let status = &s.token.status;
    let said = is_ready(status)
        && status.token_hash.as_ref() == Some(&issued.hash)
        && status.secret_name.as_ref() == Some(&s.token.secret_name)
        && !s.run.stored;
    if !wanted || said || s.memory.verified.as_ref() == Some(&issued.hash) {
        return None;
    }
    own.value.clone().map(|value| Step::Verify {
        issued: issued.clone(),
        value,
    })
}

/// Secrets of other names go; an older token that one still holds is revoked first.
fn tidy(s: &Snapshot, issued: &Issued) -> Plan {
    let Some((name, stray)) = s.strays().next() else {
        return Ok(None);
    };
    if let (Some(old), Some(value)) = (&stray.issued, &stray.value)
        && old.token_id != issued.token_id
        && old.hash == value.hash()
        && !s.memory.revoked.contains(&old.token_id)
        && !s.credentials.contains(&old.hash)
    {
        let debt = Debt {
            token_id: old.token_id.clone(),
            base_url: old.base_url.clone(),
            user_id: Some(old.user_id.clone()),
            value: Some(value.clone()),
        };
        return revoke(s, debt);
    }
    let (name, version) = (name.clone(), stray.version.clone());
    Ok(Some(Step::Remove { name, version }))
}

/// Lets a deleted Secret go; its value is remembered, and it is written anew. One that others keep has to wait for them.
fn release(s: &Snapshot, own: &OwnSecret) -> Plan {
    let name = &s.token.secret_name;
    if !own.held {
        let text = format!(
            "Secret {name} is being deleted, and is kept by finalizers of others ({}); it is written anew when they let go",
            own.version.other_finalizers.join(", ")
        );
        let wait = Duration::from_secs(30);
        return Err(Trouble::waiting(wait, Reason::SecretNotWritable, text).into());
    }
    Ok(Some(Step::Release {
        name: name.clone(),
        version: own.version.clone(),
    }))
}

/// What a store replaces.
fn over(s: &Snapshot) -> Option<super::Version> {
    match s.wanted() {
        SecretFacts::Own(own) => Some(own.version.clone()),
        _ => None,
    }
}
