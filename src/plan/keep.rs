//! The rules of a token that was issued: its value stays in the one wanted Secret, it answers, and no other token lives
//! beside it. One that is gone upstream is minted anew.

use std::collections::BTreeSet;
use std::time::Duration;

use super::adopt::{came_from_elsewhere, strike as strike_released};
use super::debts::{Debt, LISTED_WITHIN, revoke, surplus};
use super::fold::mismatch;
use super::issue::{is_proven, mint, store};
use super::report::is_ready;
use super::{
    AccountFacts, Moment, Outcome, OwnSecret, Plan, Recovery, SecretFacts, Snapshot, Step, Trouble,
};
use crate::api::{Issued, Reason, TokenHash};

/// A token was issued: its value is in the wanted Secret, it answers, and no other Secret holds it.
pub(super) fn keep(s: &Snapshot, issued: &Issued, now: Moment) -> Plan {
    if s.run.vanished.as_ref() == Some(&issued.token_id) {
        return mint(s, now);
    }
    match s.wanted() {
        SecretFacts::Own(own) if own.deleting => release(s, own, now),
        SecretFacts::Own(own) if s.is_whole(own) && own.issued.as_ref() == Some(issued) => {
            if let Some(step) = verify(s, own, issued) {
                return Ok(Some(step));
            }
            if let Some(step) = strike_released(s, issued) {
                return Ok(Some(step));
            }
            tidy(s, now)
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
        // What is owed beside it stays on record with it.
        let same_account = |debt: &Debt| {
            let same_user = debt.user_id.as_ref() == Some(&issued.user_id);
            debt.base_url == issued.base_url && same_user
        };
        let owed = surplus(s).filter(same_account);
        let given_up = owed.map(|debt| debt.token_id).collect();
        return Ok(Some(store(
            s,
            issued.clone(),
            given_up,
            value,
            because,
            now,
        )));
    }
    let what = format!(
        "Secret {name} lost the value of token {}, which",
        issued.token_id
    );
    s.identity_of(&what, &issued.base_url, Some(&issued.user_id))?;
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
        // Beyond recovery: a new token takes its place, then it is revoked.
        Some(Recovery::Gone | Recovery::Value(_) | Recovery::Withheld) => mint(s, now),
    }
}

/// A value that has not answered is proven, and so is one whose token may be gone.
fn verify(s: &Snapshot, own: &OwnSecret, issued: &Issued) -> Option<Step> {
    if has_answered(s, own, issued) && !may_be_gone(s, issued) {
        return None;
    }
    own.value.clone().map(|value| Step::Verify {
        issued: issued.clone(),
        value,
    })
}

/// Ready means that the value has answered since it was stored; a status that says so of this very Secret will do.
pub(super) fn has_answered(s: &Snapshot, own: &OwnSecret, issued: &Issued) -> bool {
    let trusted = matches!(&s.account, AccountFacts::Ready(identity) if !identity.verify);
    let wanted = !trusted || came_from_elsewhere(s, issued);
    let status = &s.token.status;
    let version = &own.version.resource_version;
    let said = is_ready(status)
        && status.token_hash.as_ref() == Some(&issued.hash)
        && status.secret_name.as_ref() == Some(&s.token.secret_name)
        && status.secret_resource_version.as_ref() == Some(version);
    let answered = |(hash, at): &(TokenHash, String)| *hash == issued.hash && at == version;
    !wanted || said || s.memory.verified.as_ref().is_some_and(answered)
}

/// Whether the last complete list of the account lacks the token, and its value was not tried since. A list may lag, and
/// an account that is another one now lists other tokens. Only where the platform does not know the value either is the
/// token gone: neither is enough alone.
pub(super) fn may_be_gone(s: &Snapshot, issued: &Issued) -> bool {
    let AccountFacts::Ready(identity) = &s.account else {
        return false;
    };
    let missing = s.memory.missing.as_ref();
    let missing = missing.filter(|missing| missing.token_id == issued.token_id);
    missing.is_some()
        && missing != s.memory.tried.as_ref()
        && identity.is_of(&issued.base_url, Some(&issued.user_id))
}

impl Snapshot {
    /// What the platform said to the token's own value. Each list is worth one try, unless that says that the token is
    /// gone: then the new one may have to wait for another run.
    pub(super) fn fold_proof(&mut self, issued: Issued, outcome: Outcome) {
        let may_be_gone = may_be_gone(self, &issued);
        let answered = match self.wanted() {
            SecretFacts::Own(own) => has_answered(self, own, &issued),
            _ => false,
        };
        match outcome {
            // A complete list lacks it, and its own value is not known.
            Outcome::ValueUnknown(_) if may_be_gone => {
                self.settle(issued.token_id.clone());
                self.run.vanished = Some(issued.token_id);
                return;
            }
            Outcome::Verified => {
                if let SecretFacts::Own(own) = self.wanted() {
                    let version = own.version.resource_version.clone();
                    self.memory.verified = Some((issued.hash, version));
                }
            }
            // It was asked for nothing but a list that may lag: what is no answer is no news.
            Outcome::Failed(_) if answered => {}
            Outcome::Failed(trouble) | Outcome::ValueUnknown(trouble) => {
                self.run.trouble = Some(trouble);
                return;
            }
            Outcome::Stale => {
                self.run.stale = true;
                return;
            }
            outcome => {
                self.run.trouble = Some(mismatch("verify", &outcome));
                return;
            }
        }
        if may_be_gone {
            self.memory.tried.clone_from(&self.memory.missing);
        }
    }
}

/// One token, one Secret: every other token is revoked, then Secrets of other names go.
fn tidy(s: &Snapshot, now: Moment) -> Plan {
    if let Some(debt) = surplus(s).next() {
        // Another process may have opened an attempt, whose token this may be.
        return if is_proven(s, now) {
            revoke(s, debt)
        } else {
            Ok(Some(Step::Look))
        };
    }
    if let Some(step) = strike(s) {
        return Ok(Some(step));
    }
    let step = |(name, stray): (&String, &OwnSecret)| {
        let (name, version) = (name.clone(), stray.version.clone());
        match (stray.deleting, stray.held) {
            (false, _) => Some(Step::Remove { name, version }),
            (true, true) => Some(Step::Release { name, version }),
            (true, false) => None,
        }
    };
    Ok(s.strays().find_map(step))
}

/// What was given up is paid: a deletion must not ask for it again when the account is gone.
fn strike(s: &Snapshot) -> Option<Step> {
    if let Some(attempt) = s.recorded_attempt()
        && !attempt.given_up.is_empty()
    {
        let mut attempt = attempt.clone();
        attempt.given_up.clear();
        return Some(Step::Hold(Some(attempt)));
    }
    let SecretFacts::Own(own) = s.wanted() else {
        return None;
    };
    let (issued, value) = (own.issued.clone()?, own.value.clone()?);
    (!own.given_up.is_empty()).then(|| Step::Store {
        name: s.token.secret_name.clone(),
        issued,
        given_up: BTreeSet::new(),
        value,
        over: Some(own.version.clone()),
        because: Reason::Revoked,
    })
}

/// Lets a deleted Secret go; its value is remembered, and it is written anew. One that others keep has to wait for them.
pub(super) fn release(s: &Snapshot, own: &OwnSecret, now: Moment) -> Plan {
    let name = &s.token.secret_name;
    if !own.held {
        let text = format!(
            "Secret {name} is being deleted, and is kept by finalizers of others ({}); it is written anew when they let go",
            own.version.other_finalizers.join(", ")
        );
        let wait = Duration::from_secs(30);
        return Err(Trouble::waiting(wait, Reason::SecretNotWritable, text).into());
    }
    if !is_proven(s, now) {
        // Where the namespace goes as well, no Secret could be written anew, and the value would be lost with a crash.
        return Ok(Some(Step::Look));
    }
    Ok(Some(Step::Release {
        name: name.clone(),
        version: own.version.clone(),
    }))
}

/// A Secret that is nobody's and is being deleted is kept by our finalizer alone.
pub(super) fn let_go(s: &Snapshot) -> Option<Step> {
    s.secrets.iter().find_map(|(name, facts)| match facts {
        SecretFacts::Foreign {
            dying: Some(version),
            ..
        } => Some(Step::Release {
            name: name.clone(),
            version: version.clone(),
        }),
        _ => None,
    })
}
