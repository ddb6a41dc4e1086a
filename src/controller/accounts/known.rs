//! What is known of every account: as it was last proven, and what its last stock showed. `users`: whose account is there.

mod users;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use kube::core::DeserializeGuard;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc::UnboundedSender;

use super::changes::{Changes, SecretName};
use super::prove::Proven;
use super::stock::Inventory;
use super::{Account, Session};
use crate::api::{
    AccountKey, AccountKind, ClusterPlatformAccount, PlatformAccount, RateLimit, Reason, TokenHash,
};
use crate::controller::namespaces::NamespaceIndex;
use crate::controller::{Context, Served};
use crate::plan::{AccountFacts, Admission, Leftover, Missing, Moment, Proof, Trouble};
use crate::platform::Throttle;

/// How many times in a row a platform has to answer in the documented dialect before it is believed to have given up
/// the current one: a proxy's 404 is no change of dialect.
const ODD_ANSWERS: u32 = 3;

/// How many accounts that are gone are remembered.
const VANISHED: usize = 100;

/// How soon to prove an account again whose credentials Secret has changed while it was proven.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How long a proof is believed though a call is not answered: where some calls are answered and others are not, there are
/// no more proofs than this.
const BELIEVE_PROOF: Duration = Duration::from_secs(10);

/// How long a list is believed though a token does not know itself.
const BELIEVE_LIST: Duration = Duration::from_secs(30);

/// Every account of the cluster, as it was last proven.
pub(in crate::controller) struct Accounts {
    known: Mutex<HashMap<AccountKey, Known>>,
    throttles: Mutex<HashMap<AccountKey, (RateLimit, Arc<Throttle>)>>,
    changes: Changes,
    /// The caches tell which accounts there are.
    namespaced: Store<DeserializeGuard<PlatformAccount>>,
    cluster: Store<DeserializeGuard<ClusterPlatformAccount>>,
    /// Wakes the PlatformTokens of an account that has changed.
    wake_tokens: UnboundedSender<AccountKey>,
    /// Wakes an account that shall be proven anew.
    wake_account: UnboundedSender<AccountKey>,
}

/// What is known of one account.
struct Known {
    /// uid and generation that were proven; another one is not.
    of: Revision,
    proven: Proven,
    /// The last session that it had.
    last: Option<Arc<Session>>,
    /// When it was proven, on the monotonic clock.
    at: Duration,
    /// The credentials Secret of that spec.
    secret: SecretName,
    /// Proofs that failed, in a row.
    refused: u32,
    /// Rounds that ended without a session, in a row: what the back-off counts.
    failures: u32,
    /// Answers in the documented dialect, in a row, after one in the current.
    odd: u32,
    /// Status writes that failed, in a row.
    unwritten: u32,
    inventory: Inventory,
}

/// One state of one account's spec.
type Revision = (Option<String>, Option<i64>);

impl Accounts {
    pub(in crate::controller) fn new(
        namespaced: Store<DeserializeGuard<PlatformAccount>>,
        cluster: Store<DeserializeGuard<ClusterPlatformAccount>>,
        wake_tokens: UnboundedSender<AccountKey>,
        wake_account: UnboundedSender<AccountKey>,
    ) -> Self {
        Self {
            known: Mutex::default(),
            throttles: Mutex::default(),
            changes: Changes::default(),
            namespaced,
            cluster,
            wake_tokens,
            wake_account,
        }
    }

    /// The account of this name, as far as it is known, and its session if it is proven.
    pub(in crate::controller) fn look_up(
        &self,
        key: &AccountKey,
    ) -> (AccountFacts, Option<Arc<Session>>) {
        let revision = self.revision(key);
        let known = self.lock();
        let known = known.get(key);
        let revision = match revision {
            Ok(revision) => revision,
            Err(trouble) => return broken(known, trouble),
        };
        let proven = known.filter(|known| known.of == revision);
        let taken_back = known.is_some_and(|known| self.is_outdated(known));
        match proven.map(|known| &known.proven.session) {
            None => (AccountFacts::Pending, None),
            // Nothing is done with a credential that was taken back, nor with one that is not proven.
            Some(Ok(_)) if taken_back => (AccountFacts::Pending, None),
            Some(Ok(session)) => {
                let identity = session.identity.clone();
                (AccountFacts::Ready(identity), Some(session.clone()))
            }
            Some(Err(trouble)) => {
                let mut trouble = trouble.clone();
                trouble.message = format!("{key} is not ready: {}", trouble.message);
                broken(known, trouble)
            }
        }
    }

    /// Whether a namespace may have new tokens of an account. One that cannot be used says so itself.
    pub(in crate::controller) fn admission(
        &self,
        key: &AccountKey,
        namespace: &str,
        namespaces: &NamespaceIndex,
    ) -> Admission {
        let selected = match key.kind {
            AccountKind::PlatformAccount => None,
            AccountKind::ClusterPlatformAccount => self.cluster.get(&ObjectRef::new(&key.name)),
        };
        let account = selected
            .as_ref()
            .and_then(|account| account.0.as_ref().ok());
        let Some(selector) = account.and_then(|account| account.spec.namespace_selector.as_ref())
        else {
            return Admission::Granted;
        };
        let labels = namespaces.labels(namespace);
        Admission::of(key, Some(selector), namespace, labels.as_ref())
    }

    /// Whether every account that is served was looked at, so that its credential is known if it can be.
    pub(in crate::controller) fn are_known(&self, served: &Served) -> bool {
        fn keys<K: Account>(store: &Store<DeserializeGuard<K>>) -> Vec<AccountKey> {
            let accounts = store.state();
            let readable = accounts
                .iter()
                .filter_map(|account| account.0.as_ref().ok());
            readable.map(Account::key).collect()
        }
        let known = self.lock();
        let mut keys = keys(&self.namespaced)
            .into_iter()
            .chain(keys(&self.cluster));
        keys.all(|key| known.contains_key(&key) || !served.covers(key.namespace.as_deref()))
    }

    /// The hashes of every credential that an account uses, or used last.
    pub(in crate::controller) fn credentials(&self) -> BTreeSet<TokenHash> {
        let known = self.lock();
        known
            .values()
            .filter_map(|known| known.proven.credential.clone())
            .collect()
    }

    /// Whether an account is still what its `Session` was made of.
    pub(in crate::controller) fn is_current(&self, session: &Session) -> bool {
        let (_, current) = self.look_up(&session.key);
        current.is_some_and(|current| current.identity == session.identity)
    }

    /// The platform refused this account's credential: prove it anew.
    pub(in crate::controller) fn doubt(&self, key: &AccountKey) {
        let _ = self.wake_account.send(key.clone());
    }

    /// The platform did not answer a call with this account's credential: prove it anew, unless that was done a moment
    /// ago. If it is down, the account's PlatformTokens then know it without a call each.
    pub(in crate::controller) fn doubt_silence(&self, key: &AccountKey, now: Moment) {
        let proven = self.lock().get(key).map(|known| known.at);
        if proven.is_none_or(|at| now.elapsed >= at + BELIEVE_PROOF) {
            self.doubt(key);
        }
    }

    /// The platform does not know a token's own value: only a complete list tells whether it is gone, so stock is taken now,
    /// unless that was done a moment ago. Not on an exclusive account, where what two stocks find is revoked.
    pub(in crate::controller) fn doubt_token(&self, key: &AccountKey, now: Moment) {
        let mut known = self.lock();
        let Some(known) = known.get_mut(key) else {
            return;
        };
        let session = known.proven.session.as_ref();
        let exclusive = session.is_ok_and(|session| session.identity.exclusive.is_some());
        if !exclusive && known.inventory.is_older(BELIEVE_LIST, now) {
            known.inventory.hasten();
            self.doubt(key);
        }
    }

    /// A credentials Secret has this resourceVersion now, or is gone: the accounts that read another state of it are proven
    /// anew, and not used until then.
    pub(in crate::controller) fn credentials_changed(
        &self,
        secret: &SecretName,
        resource_version: Option<&String>,
    ) {
        let users = self.users_of(secret);
        let mut known = self.lock();
        let outdated = |known: &HashMap<AccountKey, Known>, key: &AccountKey| {
            known.get(key).is_some_and(|known| self.is_outdated(known))
        };
        let before: Vec<bool> = users.iter().map(|key| outdated(&known, key)).collect();
        self.changes.tell(secret.clone(), resource_version);
        for (key, was) in users.iter().zip(before) {
            match (was, outdated(&known, key)) {
                (_, true) => {
                    // Somebody has put another credential in its place.
                    if let Some(known) = known.get_mut(key).filter(|_| resource_version.is_some()) {
                        known.last = None;
                    }
                    self.doubt(key);
                }
                // It was read before the watch told of it.
                (true, false) => {
                    let _ = self.wake_tokens.send(key.clone());
                }
                (false, false) => {}
            }
        }
    }

    /// The watch of a credentials Secret has ended.
    pub(in crate::controller) fn forget_credentials(&self, secret: &SecretName) {
        self.changes.forget(secret);
    }

    /// Whether the credentials Secret is another one than when it was read.
    fn is_outdated(&self, known: &Known) -> bool {
        let read = known.proven.secret.as_ref();
        self.changes.are_news(&known.secret, read)
    }

    /// Whether any account uses this credentials Secret.
    pub(in crate::controller) fn use_credentials(&self, secret: &SecretName) -> bool {
        !self.users_of(secret).is_empty()
    }

    /// The accounts that use a credentials Secret.
    fn users_of(&self, secret: &SecretName) -> Vec<AccountKey> {
        fn users<K: Account>(
            store: &Store<DeserializeGuard<K>>,
            secret: &SecretName,
        ) -> Vec<AccountKey> {
            let uses = |account: &&K| account.credentials().secret() == *secret;
            let accounts = store.state();
            let readable = accounts
                .iter()
                .filter_map(|account| account.0.as_ref().ok());
            readable.filter(uses).map(Account::key).collect()
        }
        let mut concerned = users(&self.namespaced, secret);
        concerned.extend(users(&self.cluster, secret));
        concerned.sort();
        concerned
    }

    /// Which state of which account the caches have.
    fn revision(&self, key: &AccountKey) -> Result<Revision, Trouble> {
        fn of<K: Account>(
            store: &Store<DeserializeGuard<K>>,
            key: &AccountKey,
        ) -> Result<Revision, Trouble> {
            let mut reference = ObjectRef::new(&key.name);
            if let Some(namespace) = &key.namespace {
                reference = reference.within(namespace);
            }
            let Some(account) = store.get(&reference) else {
                let text = format!(
                    "there is no {key}: create it; if the name is wrong, delete this PlatformToken and create one that \
                     names the right account"
                );
                return Err(Trouble::stalled(Reason::AccountNotFound, text));
            };
            match &account.0 {
                Ok(account) => Ok((account.meta().uid.clone(), account.meta().generation)),
                Err(invalid) => {
                    let text = format!("{key} cannot be read: {}; correct it", invalid.error);
                    Err(Trouble::stalled(Reason::InvalidSpec, text))
                }
            }
        }
        match key.kind {
            AccountKind::PlatformAccount => of(&self.namespaced, key),
            AccountKind::ClusterPlatformAccount => of(&self.cluster, key),
        }
    }

    /// What stocktaking remembers of this state of an account.
    pub(super) fn inventory<K: Account>(&self, account: &K) -> Inventory {
        let of = (account.uid(), account.meta().generation);
        let known = self.lock();
        let same = known.get(&account.key()).filter(|known| known.of == of);
        same.map(|known| known.inventory.clone())
            .unwrap_or_default()
    }

    /// What the last stock of an account showed of one PlatformToken beside what it names.
    pub(in crate::controller) fn leftovers(&self, key: &AccountKey, uid: &str) -> Vec<Leftover> {
        let known = self.lock();
        let listed = known.get(key).map(|known| &known.inventory.leftovers);
        listed
            .and_then(|listed| listed.get(uid).cloned())
            .unwrap_or_default()
    }

    /// What the last stock of an account lacked of one PlatformToken.
    pub(in crate::controller) fn missing(
        &self,
        key: &AccountKey,
        uid: Option<&str>,
    ) -> Option<Missing> {
        let known = self.lock();
        known.get(key)?.inventory.missing.get(uid?).cloned()
    }

    /// Keeps what stocktaking remembers, and wakes whom it concerns.
    pub(super) fn keep(&self, key: &AccountKey, inventory: Inventory) {
        let concerns = !inventory.leftovers.is_empty() || !inventory.missing.is_empty();
        if let Some(known) = self.lock().get_mut(key) {
            known.inventory = inventory;
        }
        if concerns {
            let _ = self.wake_tokens.send(key.clone());
        }
    }

    /// Of accounts that are gone only the last are remembered: what they revoke with, and which credentials are spared.
    pub(in crate::controller) fn forget_vanished(&self) {
        let mut known = self.lock();
        let gone = known.iter().filter(|(key, _)| !self.exists(key));
        let mut gone: Vec<(Duration, AccountKey)> =
            gone.map(|(key, known)| (known.at, key.clone())).collect();
        gone.sort();
        gone.truncate(gone.len().saturating_sub(VANISHED));
        let mut throttles = self
            .throttles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (_, key) in gone {
            known.remove(&key);
            throttles.remove(&key);
        }
    }

    fn exists(&self, key: &AccountKey) -> bool {
        match key.kind {
            AccountKind::PlatformAccount => {
                let namespace = key.namespace.as_deref().unwrap_or_default();
                let reference = ObjectRef::new(&key.name).within(namespace);
                self.namespaced.get(&reference).is_some()
            }
            AccountKind::ClusterPlatformAccount => {
                self.cluster.get(&ObjectRef::new(&key.name)).is_some()
            }
        }
    }

    /// The throttle of an account survives every proof, so that a pause does too; a new limit begins anew.
    pub(super) fn throttle(&self, key: &AccountKey, limit: RateLimit) -> Arc<Throttle> {
        let fresh = || (limit, Arc::new(Throttle::new(limit)));
        let mut throttles = self
            .throttles
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let entry = throttles.entry(key.clone()).or_insert_with(fresh);
        if entry.0 != limit {
            *entry = fresh();
        }
        entry.1.clone()
    }

    /// Proofs of this account that have failed in a row, this one included.
    pub(super) fn refused<K: Account>(&self, account: &K, proof: &Proof) -> u32 {
        let known = self.lock();
        let same = known.get(&account.key());
        let same = same.filter(|known| known.of.0 == account.uid());
        match proof {
            Ok(_) => 0,
            Err(_) => same.map_or(0, |known| known.refused).saturating_add(1),
        }
    }

    /// Whether the status was written; how often in a row it was not.
    pub(super) fn note_written(&self, key: &AccountKey, written: bool) -> u32 {
        let mut known = self.lock();
        let Some(known) = known.get_mut(key) else {
            return u32::from(!written);
        };
        known.unwritten = if written {
            0
        } else {
            known.unwritten.saturating_add(1)
        };
        known.unwritten
    }

    pub(super) fn was_odd_enough(&self, key: &AccountKey) -> bool {
        self.lock()
            .get(key)
            .is_some_and(|known| known.odd + 1 >= ODD_ANSWERS)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountKey, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this says that an account, or what it needs, is deleted: nobody has put another in its place.
fn is_gone(trouble: &Trouble) -> bool {
    matches!(
        trouble.reason,
        Reason::AccountNotFound | Reason::CredentialsMissing
    )
}

/// What is left of an account that cannot be used.
fn broken(known: Option<&Known>, trouble: Trouble) -> (AccountFacts, Option<Arc<Session>>) {
    let last = known.and_then(|known| known.last.clone());
    match last.filter(|_| is_gone(&trouble)) {
        Some(last) => {
            let identity = last.identity.clone();
            (AccountFacts::Left(identity, trouble), Some(last))
        }
        None => (AccountFacts::Broken(trouble), None),
    }
}

/// Keeps what a proof has brought, wakes the account's tokens if it makes a difference to them, and says when to prove
/// again.
pub(super) fn remember<K: Account>(
    account: &K,
    context: &Context,
    mut proven: Proven,
    refused: u32,
    inventory: Inventory,
) -> Duration {
    let accounts = &context.accounts;
    let (key, settings) = (account.key(), account.settings());
    let of = (account.uid(), account.meta().generation);
    let mut known = accounts.lock();
    let former = known.remove(&key);
    let same = former.as_ref().is_some_and(|former| {
        let current = !accounts.is_outdated(former);
        current && former.of == of && former.proven.facts() == proven.facts()
    });
    let (mut failures, mut odd, unwritten) = former.as_ref().map_or((0, 0, 0), |former| {
        (former.failures, former.odd, former.unwritten)
    });
    odd = if proven.odd { odd + 1 } else { 0 };
    let resync = Duration::from(settings.resync_interval);
    let wait = match &proven.session {
        Ok(_) => {
            failures = 0;
            resync
        }
        Err(trouble) => {
            failures = failures.saturating_add(1);
            trouble.wait(failures - 1, &key.to_string()).min(resync)
        }
    };
    let (last, credential) = former.map_or((None, None), |former| {
        (former.last, former.proven.credential)
    });
    // Another credential that does not work has taken the place of the last one all the same.
    let replaced = |last: &Arc<Session>| {
        let read = proven.credential.as_ref();
        read.is_some_and(|read| *read != last.identity.credential)
    };
    let last = last.filter(|last| !replaced(last));
    let last = proven.session.as_ref().ok().cloned().or(last);
    proven.credential = proven.credential.or(credential);
    known.insert(
        key.clone(),
        Known {
            of,
            proven,
            last,
            at: context.clock.now().elapsed,
            secret: account.credentials().secret(),
            refused,
            failures,
            odd,
            unwritten,
            inventory,
        },
    );
    // What the watch told while the Secret was read may be newer.
    let outdated = known
        .get(&key)
        .is_some_and(|known| accounts.is_outdated(known));
    if !same {
        // What the ledger owes may have waited for just this account.
        let now = context.clock.now();
        context.ledger.hasten(&settings.base_url, now);
        let _ = accounts.wake_tokens.send(key);
    }
    if outdated { wait.min(LOOK_AGAIN) } else { wait }
}

#[cfg(test)]
mod tests;
