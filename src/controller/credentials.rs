//! Wakes accounts when their credentials Secret changes: one metadata watch for each such Secret, by name.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};

use super::Context;
use super::accounts::CredentialsKey;

/// The credentials Secrets that are watched, by namespace and name.
#[derive(Default)]
pub(super) struct CredentialWatches(Mutex<HashSet<(String, String)>>);

impl CredentialWatches {
    /// Watches this Secret until no account uses it any more.
    pub(super) fn watch(&self, context: &Arc<Context>, key: &CredentialsKey) {
        let secret = (key.namespace.clone(), key.name.clone());
        if self.lock().insert(secret.clone()) {
            #[expect(
                clippy::disallowed_methods,
                reason = "this file owns the watches; each ends with its last account"
            )]
            tokio::spawn(watch(context.clone(), secret));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(String, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn watch(context: Arc<Context>, secret: (String, String)) {
    let (namespace, name) = &secret;
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(context.client.clone(), namespace);
    let events = watcher(
        api,
        Config::default().fields(&format!("metadata.name={name}")),
    )
    .default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        let version = match event {
            Ok(Event::Apply(secret) | Event::InitApply(secret)) => secret.metadata.resource_version,
            Ok(Event::Delete(_)) => None,
            Ok(Event::Init | Event::InitDone) => continue,
            Err(error) => {
                tracing::warn!(%error, namespace, name, "the watch of a credentials Secret failed; it is begun anew");
                continue;
            }
        };
        if !context
            .accounts
            .credentials_changed(namespace, name, version.as_ref())
        {
            break;
        }
    }
    context.credentials.lock().remove(&secret);
}
