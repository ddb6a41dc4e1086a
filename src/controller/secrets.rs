//! The index of generated Secrets: who owns which, at which resourceVersion. It holds no content; it only wakes us
//! and spares reads, and what matters is read live.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

use super::kubernetes::version;
use crate::api::{Owner, TokenId, names};

/// Namespace and name of a PlatformToken.
pub(super) type TokenName = (String, String);

/// Namespace and name of a Secret.
pub(super) type SecretName = (String, String);

/// A Secret as the watch has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cached {
    /// Its resourceVersion.
    pub version: String,
    /// Our finalizer is on it.
    pub held: bool,
}

/// The generated Secrets that are watched, by watch: that of one namespace, or of all. What one of them lists anew says
/// nothing of the others.
#[derive(Default)]
pub(super) struct SecretIndex(Mutex<HashMap<Option<String>, Inner>>);

/// What one watch has shown. There may be many Secrets, and each takes room for as long as it lives.
#[derive(Default)]
struct Inner {
    /// What each Secret names.
    named: HashMap<SecretName, Named>,
    /// The Secrets of each owner, by name: mostly one.
    secrets: HashMap<TokenName, Vec<(String, Cached)>>,
    /// Secrets that are being deleted and that our finalizer keeps.
    dying: HashMap<SecretName, Option<Owner>>,
    /// What a list in progress has brought so far; whatever else is known is gone when it ends.
    listing: Option<HashSet<SecretName>>,
    /// The newest resourceVersion seen in any event.
    newest: u64,
}

/// What a Secret names.
struct Named {
    /// The PlatformToken that is its owner, in the same namespace, by name.
    owner: Option<String>,
    /// The token that it holds.
    token: Option<TokenId>,
}

impl SecretIndex {
    /// Takes in one event of a watch; the PlatformTokens that it concerns, former owners included.
    pub(super) fn apply(
        &self,
        watch: Option<&str>,
        event: &Event<PartialObjectMeta<Secret>>,
    ) -> BTreeSet<TokenName> {
        let mut watches = self.lock();
        let inner = watches.entry(watch.map(str::to_owned)).or_default();
        match event {
            Event::Init => {
                inner.listing = Some(HashSet::new());
                BTreeSet::new()
            }
            Event::InitApply(secret) | Event::Apply(secret) => inner.put(secret),
            Event::Delete(secret) => {
                inner.see(secret);
                inner
                    .remove(&name_of(secret))
                    .into_iter()
                    .chain(owner_of(secret))
                    .collect()
            }
            Event::InitDone => {
                let listed = inner.listing.take().unwrap_or_default();
                inner.dying.retain(|name, _| listed.contains(name));
                let known = inner.named.keys();
                let gone: Vec<SecretName> = known
                    .filter(|name| !listed.contains(*name))
                    .cloned()
                    .collect();
                gone.iter().filter_map(|name| inner.remove(name)).collect()
            }
        }
    }

    /// The Secrets of one PlatformToken, by name.
    pub(super) fn of(&self, token: &TokenName) -> BTreeMap<String, Cached> {
        let watches = self.lock();
        let secrets = watch_of(&watches, &token.0).and_then(|inner| inner.secrets.get(token));
        secrets.into_iter().flatten().cloned().collect()
    }

    /// Every Secret that is being deleted and that our finalizer keeps, with the PlatformToken that it names.
    pub(super) fn dying(&self) -> Vec<(SecretName, Option<Owner>)> {
        let watches = self.lock();
        let dying = watches.values().flat_map(|inner| inner.dying.clone());
        dying.collect()
    }

    /// Every token that a Secret names, and the PlatformToken that the Secret names unless it is being deleted.
    pub(super) fn tokens(&self) -> Vec<(TokenId, Option<TokenName>)> {
        let watches = self.lock();
        let of_watch = |inner: &Inner| -> Vec<_> {
            let named = inner.named.iter().filter_map(|(secret, named)| {
                let owner = named.owner.as_ref();
                let owner = owner.filter(|_| !inner.dying.contains_key(secret));
                let owner = owner.map(|owner| (secret.0.clone(), owner.clone()));
                Some((named.token.clone()?, owner))
            });
            named.collect()
        };
        watches.values().flat_map(of_watch).collect()
    }

    /// The Secrets that name a token, each with the PlatformToken of its namespace that it names.
    pub(super) fn naming(&self, token: &TokenId) -> Vec<(SecretName, Option<String>)> {
        let watches = self.lock();
        let all = watches.values().flat_map(|inner| &inner.named);
        all.filter(|(_, named)| named.token.as_ref() == Some(token))
            .map(|(secret, named)| (secret.clone(), named.owner.clone()))
            .collect()
    }

    /// The newest resourceVersion that the watch of a namespace has shown of any Secret.
    pub(super) fn newest(&self, namespace: &str) -> u64 {
        watch_of(&self.lock(), namespace).map_or(0, |inner| inner.newest)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Option<String>, Inner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the watch that covers a namespace has shown.
fn watch_of<'a>(watches: &'a HashMap<Option<String>, Inner>, namespace: &str) -> Option<&'a Inner> {
    let of_all = || watches.get(&None);
    watches.get(&Some(namespace.to_owned())).or_else(of_all)
}

impl Inner {
    fn put(&mut self, secret: &PartialObjectMeta<Secret>) -> BTreeSet<TokenName> {
        self.see(secret);
        let name = name_of(secret);
        let former = self.remove(&name);
        let owner = owner_of(secret);
        let finalizers = secret.metadata.finalizers.as_deref().unwrap_or_default();
        let held = finalizers.iter().any(|f| f == names::FINALIZER);
        if let Some(owner) = &owner {
            let version = secret.metadata.resource_version.clone().unwrap_or_default();
            let secrets = self.secrets.entry(owner.clone()).or_default();
            secrets.reserve_exact(1);
            secrets.push((name.1.clone(), Cached { version, held }));
        }
        let named = Named {
            owner: owner.as_ref().map(|(_, owner)| owner.clone()),
            token: token_of(secret),
        };
        if named.owner.is_some() || named.token.is_some() {
            self.named.insert(name.clone(), named);
        }
        if secret.metadata.deletion_timestamp.is_some() && held {
            self.dying.insert(name.clone(), named_owner(secret));
        }
        if let Some(listing) = &mut self.listing {
            listing.insert(name);
        }
        former.into_iter().chain(owner).collect()
    }

    fn remove(&mut self, name: &SecretName) -> Option<TokenName> {
        self.dying.remove(name);
        let owner = (name.0.clone(), self.named.remove(name)?.owner?);
        if let Some(secrets) = self.secrets.get_mut(&owner) {
            secrets.retain(|(secret, _)| *secret != name.1);
            if secrets.is_empty() {
                self.secrets.remove(&owner);
            }
        }
        Some(owner)
    }

    fn see(&mut self, secret: &PartialObjectMeta<Secret>) {
        self.newest = self
            .newest
            .max(version(secret.metadata.resource_version.as_ref()));
    }
}

fn name_of(secret: &PartialObjectMeta<Secret>) -> SecretName {
    let metadata = &secret.metadata;
    (
        metadata.namespace.clone().unwrap_or_default(),
        metadata.name.clone().unwrap_or_default(),
    )
}

fn named_owner(secret: &PartialObjectMeta<Secret>) -> Option<Owner> {
    Owner::parse(secret.metadata.annotations.as_ref()?.get(names::OWNER)?).ok()
}

/// The PlatformToken that a Secret names, unless the Secret is being deleted: that one is finished in any case.
pub(super) fn keeper_of(secret: &PartialObjectMeta<Secret>) -> Option<Owner> {
    let owner = named_owner(secret)?;
    let here = Some(&owner.namespace) == secret.metadata.namespace.as_ref();
    (here && secret.metadata.deletion_timestamp.is_none()).then_some(owner)
}

/// The token that a Secret names.
pub(super) fn token_of(secret: &PartialObjectMeta<Secret>) -> Option<TokenId> {
    TokenId::parse(secret.metadata.annotations.as_ref()?.get(names::TOKEN_ID)?).ok()
}

/// The PlatformToken that a Secret names as its owner. A Secret cannot point into another namespace.
fn owner_of(secret: &PartialObjectMeta<Secret>) -> Option<TokenName> {
    let owner = named_owner(secret)?;
    (Some(&owner.namespace) == secret.metadata.namespace.as_ref())
        .then_some((owner.namespace, owner.name))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    use super::*;

    fn secret(name: &str, owner: Option<&str>, version: u64) -> PartialObjectMeta<Secret> {
        let mut secret = PartialObjectMeta::default();
        secret.metadata.namespace = Some("ns".into());
        secret.metadata.name = Some(name.into());
        secret.metadata.resource_version = Some(version.to_string());
        secret.metadata.annotations =
            owner.map(|owner| [(names::OWNER.into(), owner.into())].into());
        secret
    }

    fn token(name: &str) -> TokenName {
        ("ns".into(), name.into())
    }

    #[test]
    fn a_secret_that_loses_its_owner_wakes_the_former_one() {
        let index = SecretIndex::default();
        assert_eq!(
            index.apply(None, &Event::Apply(secret("s", Some("c/ns/a/u"), 7))),
            [token("a")].into()
        );
        let cached = Cached {
            version: "7".into(),
            held: false,
        };
        assert_eq!(index.of(&token("a")), [("s".into(), cached)].into());
        assert_eq!(
            index.apply(None, &Event::Apply(secret("s", None, 8))),
            [token("a")].into()
        );
        assert!(index.of(&token("a")).is_empty());
        assert_eq!(index.newest("ns"), 8);
    }

    #[test]
    fn a_new_list_replaces_what_was_known_and_wakes_the_owners_of_what_is_gone() {
        let index = SecretIndex::default();
        index.apply(None, &Event::Apply(secret("gone", Some("c/ns/a/u"), 1)));
        index.apply(None, &Event::Apply(secret("stays", Some("c/ns/b/u"), 2)));
        index.apply(None, &Event::Init);
        index.apply(
            None,
            &Event::InitApply(secret("stays", Some("c/ns/b/u"), 2)),
        );
        assert_eq!(index.apply(None, &Event::InitDone), [token("a")].into());
        assert!(index.of(&token("a")).is_empty());
        assert_eq!(index.of(&token("b")).len(), 1);
    }

    #[test]
    fn a_secret_cannot_claim_an_owner_in_another_namespace() {
        let index = SecretIndex::default();
        assert!(
            index
                .apply(None, &Event::Apply(secret("s", Some("c/other/a/u"), 1)))
                .is_empty()
        );
    }

    #[test]
    fn a_token_is_kept_by_the_owner_of_its_secret_unless_that_is_being_deleted() {
        let index = SecretIndex::default();
        let id = TokenId::parse("id").unwrap();
        let holding = |deleting: bool| {
            let mut secret = secret("s", Some("c/ns/a/u"), 3);
            let annotations = secret.metadata.annotations.as_mut().unwrap();
            annotations.insert(names::TOKEN_ID.into(), id.to_string());
            secret.metadata.finalizers = Some(vec![names::FINALIZER.into()]);
            if deleting {
                secret.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
            }
            secret
        };
        for (deleting, keeper) in [(false, Some(token("a"))), (true, None)] {
            index.apply(None, &Event::Apply(holding(deleting)));
            assert_eq!(index.tokens(), [(id.clone(), keeper)]);
        }
    }

    #[test]
    fn what_one_namespace_lists_anew_says_nothing_of_another() {
        let index = SecretIndex::default();
        let elsewhere = |version| {
            let mut secret = secret("s", Some("c/other/a/u"), version);
            secret.metadata.namespace = Some("other".into());
            secret
        };
        let other: TokenName = ("other".into(), "a".into());
        index.apply(Some("ns"), &Event::Apply(secret("s", Some("c/ns/a/u"), 3)));
        index.apply(Some("other"), &Event::Apply(elsewhere(9)));
        index.apply(Some("ns"), &Event::Init);
        assert_eq!(
            index
                .apply(Some("other"), &Event::Apply(elsewhere(10)))
                .len(),
            1
        );
        assert_eq!(
            index.apply(Some("ns"), &Event::InitDone),
            [token("a")].into()
        );
        assert!(index.of(&token("a")).is_empty());
        assert_eq!(index.of(&other).len(), 1);
        assert_eq!((index.newest("ns"), index.newest("other")), (3, 10));
        index.apply(Some("other"), &Event::Init);
        assert_eq!(index.apply(Some("other"), &Event::InitDone), [other].into());
    }
}
