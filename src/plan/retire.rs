//! The rules of a PlatformToken that is being deleted, or is gone already: revoke every token that it owes, then let go,
//! in this order: the tokens, the Secrets, the PlatformToken.

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
    if let Some((name, own)) = s.own_secrets().next() {
        let (name, version) = (name.clone(), own.version.clone());
        return Ok(Some(Step::Remove { name, version }));
    }
    Ok((!s.run.gone).then_some(Step::LiftFinalizer))
}
