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

/// The generated Secrets of the cluster, by owner.
#[derive(Default)]
pub(super) struct SecretIndex(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Whom each Secret names as its owner.
    owners: HashMap<SecretName, TokenName>,
    /// The Secrets of each owner: name and resourceVersion.
    secrets: HashMap<TokenName, BTreeMap<String, String>>,
    /// The token that each Secret names.
    tokens: HashMap<SecretName, TokenId>,
    /// Secrets that are being deleted and that our finalizer keeps.
    dying: HashMap<SecretName, Option<Owner>>,
    /// What a list in progress has brought so far; whatever else is known is gone when it ends.
    listing: Option<HashSet<SecretName>>,
    /// The newest resourceVersion seen in any event.
    newest: u64,
}

impl SecretIndex {
    /// Takes in one event of the watch; the PlatformTokens that it concerns, former owners included.
    pub(super) fn apply(&self, event: &Event<PartialObjectMeta<Secret>>) -> BTreeSet<TokenName> {
        let mut inner = self.lock();
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
                inner.tokens.retain(|name, _| listed.contains(name));
                inner.dying.retain(|name, _| listed.contains(name));
                let gone: Vec<SecretName> = inner
                    .owners
                    .keys()
                    .filter(|name| !listed.contains(*name))
                    .cloned()
                    .collect();
                gone.iter().filter_map(|name| inner.remove(name)).collect()
            }
        }
    }

    /// The Secrets of one PlatformToken: name and resourceVersion.
    pub(super) fn of(&self, token: &TokenName) -> BTreeMap<String, String> {
        self.lock().secrets.get(token).cloned().unwrap_or_default()
    }

    /// Every Secret that is being deleted and that our finalizer keeps, with the PlatformToken that it names.
    pub(super) fn dying(&self) -> Vec<(SecretName, Option<Owner>)> {
        let dying = self.lock().dying.clone();
        dying.into_iter().collect()
    }

    /// Every token that a Secret names.
    pub(super) fn token_ids(&self) -> Vec<TokenId> {
        self.lock().tokens.values().cloned().collect()
    }

    /// The newest resourceVersion seen of any Secret.
    pub(super) fn newest(&self) -> u64 {
        self.lock().newest
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, secret: &PartialObjectMeta<Secret>) -> BTreeSet<TokenName> {
        self.see(secret);
        let name = name_of(secret);
        let former = self.remove(&name);
        let owner = owner_of(secret);
        if let Some(owner) = &owner {
            let version = secret.metadata.resource_version.clone().unwrap_or_default();
            self.secrets
                .entry(owner.clone())
                .or_default()
                .insert(name.1.clone(), version);
            self.owners.insert(name.clone(), owner.clone());
        }
        let finalizers = secret.metadata.finalizers.as_deref().unwrap_or_default();
        if secret.metadata.deletion_timestamp.is_some()
            && finalizers.iter().any(|f| f == names::FINALIZER)
        {
            self.dying.insert(name.clone(), named_owner(secret));
        }
        if let Some(token_id) = token_of(secret) {
            self.tokens.insert(name.clone(), token_id);
        }
        if let Some(listing) = &mut self.listing {
            listing.insert(name);
        }
        former.into_iter().chain(owner).collect()
    }

    fn remove(&mut self, name: &SecretName) -> Option<TokenName> {
        self.tokens.remove(name);
        self.dying.remove(name);
        let owner = self.owners.remove(name)?;
        if let Some(secrets) = self.secrets.get_mut(&owner) {
            secrets.remove(&name.1);
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
            index.apply(&Event::Apply(secret("s", Some("c/ns/a/u"), 7))),
            [token("a")].into()
        );
        assert_eq!(index.of(&token("a")), [("s".into(), "7".into())].into());
        assert_eq!(
            index.apply(&Event::Apply(secret("s", None, 8))),
            [token("a")].into()
        );
        assert!(index.of(&token("a")).is_empty());
        assert_eq!(index.newest(), 8);
    }

    #[test]
    fn a_new_list_replaces_what_was_known_and_wakes_the_owners_of_what_is_gone() {
        let index = SecretIndex::default();
        index.apply(&Event::Apply(secret("gone", Some("c/ns/a/u"), 1)));
        index.apply(&Event::Apply(secret("stays", Some("c/ns/b/u"), 2)));
        index.apply(&Event::Init);
        index.apply(&Event::InitApply(secret("stays", Some("c/ns/b/u"), 2)));
        assert_eq!(index.apply(&Event::InitDone), [token("a")].into());
        assert!(index.of(&token("a")).is_empty());
        assert_eq!(index.of(&token("b")).len(), 1);
    }

    #[test]
    fn a_secret_cannot_claim_an_owner_in_another_namespace() {
        let index = SecretIndex::default();
        assert!(
            index
                .apply(&Event::Apply(secret("s", Some("c/other/a/u"), 1)))
                .is_empty()
        );
    }
}
