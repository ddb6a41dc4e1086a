//! Whose account is there: what is left of a PlatformToken that is gone names a platform and a user, and no account.

use std::sync::Arc;

use kube::core::DeserializeGuard;
use kube::runtime::reflector::Store;

use super::super::{Account, Session};
use super::{Accounts, Known};
use crate::api::{AccountKey, Reason, UserId};
use crate::plan::{AccountFacts, Trouble};

impl Accounts {
    /// An account of this user, whichever it is: one that is proven, or else what stands in the way. A user that is not
    /// known is that of the platform's one account.
    pub(in crate::controller) fn of_user(
        &self,
        base_url: &str,
        user: Option<&UserId>,
    ) -> (AccountFacts, Option<Arc<Session>>) {
        let known = self.lock();
        let mut sorted: Vec<(&AccountKey, &Known)> = known.iter().collect();
        sorted.sort_by_key(|(key, _)| *key);
        let current = |(key, known): &(&AccountKey, &Known)| {
            let revision = self.revision(key);
            revision.is_ok_and(|revision| revision == known.of) && !self.is_outdated(known)
        };
        let proven = sorted.iter().copied().filter(current);
        let proven = proven.filter_map(|(_, known)| known.proven.session.as_ref().ok());
        if let Some(session) = one_of(proven, base_url, user) {
            return (
                AccountFacts::Ready(session.identity.clone()),
                Some(session.clone()),
            );
        }
        let theirs = of_user(&self.namespaced, base_url, user);
        let theirs = theirs.or_else(|| of_user(&self.cluster, base_url, user));
        if let Some(key) = theirs {
            let text = format!("{key}, which is of the user of this token, cannot be used");
            let trouble = Trouble::transient(Reason::AccountPending, text);
            return (AccountFacts::Broken(trouble), None);
        }
        let whose = user.map_or("of its user", UserId::as_str);
        let text = format!(
            "there is no account of {whose} on {base_url}: apply one with a credential of that user, or revoke the token \
             in the console"
        );
        let trouble = Trouble::stalled(Reason::AccountNotFound, text);
        let last = sorted.iter().filter_map(|(_, known)| known.last.as_ref());
        match one_of(last, base_url, user) {
            Some(last) => {
                let identity = last.identity.clone();
                (AccountFacts::Left(identity, trouble), Some(last.clone()))
            }
            None => (AccountFacts::Broken(trouble), None),
        }
    }
}

/// The first session of this user; where the user is not known, the first if all are of one.
fn one_of<'a>(
    sessions: impl Iterator<Item = &'a Arc<Session>>,
    base_url: &str,
    user: Option<&UserId>,
) -> Option<&'a Arc<Session>> {
    let mut here = sessions.filter(|session| session.identity.base_url == base_url);
    if user.is_some() {
        return here.find(|session| session.identity.user_id.as_ref() == user);
    }
    let first = here.next()?;
    here.all(|other| other.identity.user_id == first.identity.user_id)
        .then_some(first)
}

/// An account that says that it is this user's.
fn of_user<K: Account>(
    store: &Store<DeserializeGuard<K>>,
    base_url: &str,
    user: Option<&UserId>,
) -> Option<AccountKey> {
    let accounts = store.state();
    let readable = accounts
        .iter()
        .filter_map(|account| account.0.as_ref().ok());
    let mut theirs = readable.filter(|account| {
        let said = account.status().and_then(|status| status.user_id.as_ref());
        account.settings().base_url == base_url && (user.is_none() || said == user)
    });
    theirs.next().map(Account::key)
}
