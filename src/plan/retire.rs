//! The rules of a PlatformToken that is being deleted, or is gone already: revoke every token that it owes, or put that
//! off, then let go.
//! Its Secrets are deleted before it goes, and lose our finalizer after it: whatever is left by a crash between the two
//! still holds the value that revokes itself, and needs no account.

use super::debts::Debt;
use super::issue::read_secrets;
use super::keep::let_go;
use super::ledger::{find_out_or_put_off, pay};
use super::policy::{orphans, owed, release_token, retain, stays};
use super::{AccountFacts, Fate, Halt, Moment, OwnSecret, Plan, Snapshot, Step};

/// The next step of a PlatformToken that goes.
pub(super) fn plan(s: &Snapshot, now: Moment) -> Plan {
    if matches!(s.account, AccountFacts::Pending) && !s.may_put_off(now) {
        // Its credential is not known yet, and might be the very token that is to be revoked.
        return Err(Halt::Silent);
    }
    if let Some(step) = read_secrets(s) {
        return Ok(Some(step));
    }
    if !s.token.is_held() && !s.run.gone && !s.own_secrets().any(hangs) {
        // Whoever took our finalizer off answers for the token.
        return Ok(None);
    }
    let find = |wanted: &dyn Fn(&OwnSecret) -> bool| {
        let found = s.own_secrets().find(|(_, own)| wanted(own));
        found.map(|(name, own)| (name.clone(), own.version.clone()))
    };
    // Another one of this name may be about to take over what is left: what is being deleted is not left.
    if s.run.gone
        && !stays(s)
        && let Some((name, version)) = find(&|own| own.held && !own.deleting)
    {
        return Ok(Some(Step::Remove { name, version }));
    }
    let has_value = |debt: &Debt| debt.value.is_some();
    if let Some(debt) = owed(s).into_iter().find(has_value) {
        return pay(s, debt, now);
    }
    if let Some(open) = s.open_attempt()
        && let Fate::Unknown { searched } = open.fate
        && let Some(step) = find_out_or_put_off(s, open, searched, now)?
    {
        return Ok(Some(step));
    }
    if let Some(debt) = owed(s).into_iter().next() {
        return pay(s, debt, now);
    }
    if let Some(step) = release_token(s) {
        return Ok(Some(step));
    }
    if let Some(step) = let_go(s) {
        return Ok(Some(step));
    }
    if let Some(step) = retain(s) {
        return Ok(Some(step));
    }
    if let Some((name, version)) = find(&|own| !own.deleting) {
        return Ok(Some(Step::Remove { name, version }));
    }
    // Without its labels no watch would show what a crash leaves; and whoever finishes a Secret that is left revokes its
    // token.
    if let Some((name, version)) = find(&|own| own.held && (!own.whole || orphans(s))) {
        return Ok(Some(Step::Release { name, version }));
    }
    if s.token.is_held() && !s.run.gone {
        return Ok(Some(Step::LiftFinalizer));
    }
    Ok(find(&|own| own.held).map(|(name, version)| Step::Release { name, version }))
}

/// Whether a Secret is being deleted and our finalizer keeps it.
fn hangs((_, own): (&String, &OwnSecret)) -> bool {
    own.deleting && own.held
}
