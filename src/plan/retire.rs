//! The rules of a PlatformToken that is being deleted, or is gone already: revoke every token that it owes, then let go.
//! Its Secrets are deleted before it goes, and lose our finalizer after it: whatever is left by a crash between the two
//! still holds the value that revokes itself, and needs no account.

use super::debts::{debts, revoke};
use super::issue::{find_out, read_secrets};
use super::keep::let_go;
use super::{AccountFacts, Fate, Halt, Moment, Plan, Snapshot, Step};

/// The next step of a PlatformToken that is being deleted.
pub(super) fn plan(s: &Snapshot, now: Moment) -> Plan {
    if !s.token.is_held() && !s.run.gone {
        return Ok(None);
    }
    if matches!(s.account, AccountFacts::Pending) && !s.run.gone {
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
    if let Some(debt) = debts(s).into_iter().next() {
        return revoke(s, debt);
    }
    if let Some(step) = let_go(s) {
        return Ok(Some(step));
    }
    let mut secrets = s.own_secrets();
    if let Some((name, own)) = secrets.find(|(_, own)| !own.deleting) {
        let (name, version) = (name.clone(), own.version.clone());
        return Ok(Some(Step::Remove { name, version }));
    }
    if !s.run.gone {
        return Ok(Some(Step::LiftFinalizer));
    }
    let mut secrets = s.own_secrets();
    Ok(secrets
        .find(|(_, own)| own.held)
        .map(|(name, own)| Step::Release {
            name: name.clone(),
            version: own.version.clone(),
        }))
}
