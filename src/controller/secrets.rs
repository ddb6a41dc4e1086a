//! The index of generated Secrets: who owns which, at which resourceVersion. It holds no content; it only wakes us
//! and spares reads, and what matters is read live.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

use super::kubernetes::version;
use crate::api::{Owner, names};

/// Namespace and name of a PlatformToken.
pub(super) type TokenName = (String, String);

/// The generated Secrets of the cluster, by owner.
#[derive(Default)]
pub(super) struct SecretIndex(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// resourceVersions by owner and by the Secret's name.
    by_owner: HashMap<TokenName, BTreeMap<String, String>>,
    /// What an initial list has brought so far; it replaces the rest when it ends.
    listing: Option<HashMap<TokenName, BTreeMap<String, String>>>,
    /// The newest resourceVersion seen in any event.
    newest: u64,
}

impl SecretIndex {
    /// Takes in one event of the watch.
    pub(super) fn apply(&self, event: &Event<PartialObjectMeta<Secret>>) {
        let mut inner = self.lock();
        if let Event::Apply(secret) | Event::InitApply(secret) | Event::Delete(secret) = event {
            inner.newest = inner
                .newest
                .max(version(secret.metadata.resource_version.as_ref()));
        }
        match event {
            Event::Init => inner.listing = Some(HashMap::new()),
            Event::InitDone => {
                if let Some(listing) = inner.listing.take() {
                    inner.by_owner = listing;
                }
            }
            Event::InitApply(secret) => {
                if let Some(listing) = &mut inner.listing {
                    insert(listing, secret);
                }
            }
            Event::Apply(secret) => insert(&mut inner.by_owner, secret),
            Event::Delete(secret) => {
                if let (Some(owner), Some(name)) = (owner_of(secret), &secret.metadata.name)
                    && let Some(secrets) = inner.by_owner.get_mut(&owner)
                {
                    secrets.remove(name);
                    if secrets.is_empty() {
                        inner.by_owner.remove(&owner);
                    }
                }
            }
        }
    }

    /// The Secrets of one PlatformToken: name and resourceVersion.
    pub(super) fn of(&self, token: &TokenName) -> BTreeMap<String, String> {
        self.lock().by_owner.get(token).cloned().unwrap_or_default()
    }

    /// The newest resourceVersion seen of any Secret.
    pub(super) fn newest(&self) -> u64 {
        self.lock().newest
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn insert(
    index: &mut HashMap<TokenName, BTreeMap<String, String>>,
    secret: &PartialObjectMeta<Secret>,
) {
    let metadata = &secret.metadata;
    if let (Some(owner), Some(name), Some(version)) =
        (owner_of(secret), &metadata.name, &metadata.resource_version)
    {
        index
            .entry(owner)
            .or_default()
            .insert(name.clone(), version.clone());
    }
}

/// The PlatformToken that a Secret names as its owner. A Secret cannot point into another namespace.
pub(super) fn owner_of(secret: &PartialObjectMeta<Secret>) -> Option<TokenName> {
    let owner = Owner::parse(secret.metadata.annotations.as_ref()?.get(names::OWNER)?).ok()?;
    (Some(&owner.namespace) == secret.metadata.namespace.as_ref())
        .then_some((owner.namespace, owner.name))
}
