//! The watches of Secrets and of namespaces: metadata only, kept in the operator's own indexes.

use std::collections::HashSet;

use futures::{StreamExt, pin_mut, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event};
use tokio::sync::mpsc::UnboundedSender;

use super::Operator;
use super::tokens::Watched;
use crate::api::names;

/// Watches the metadata of generated Secrets, keeps the index, and wakes their owners. A label that someone strips
/// looks like a deletion, and wakes the owner as well. `listed` is told when each watch has listed what there is, or was
/// refused: a namespace that is not there, or is going, stops no other.
pub(super) async fn watch_secrets(
    operator: &Operator,
    wake: UnboundedSender<ObjectRef<Watched>>,
    listed: tokio::sync::oneshot::Sender<()>,
) {
    let watches = operator.context.served.watches();
    let mut begun: HashSet<Option<String>> = watches.iter().cloned().collect();
    let mut listed = Some(listed);
    let mut events = stream::select_all(watches.into_iter().map(|watch| {
        let client = operator.context.client.clone();
        let api: Api<PartialObjectMeta<Secret>> = match &watch {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let scope = watcher::Config::default().labels(&format!("{}=true", names::MANAGED_LABEL));
        let events = watcher::watcher(api, scope).default_backoff();
        events.map(move |event| (watch.clone(), event)).boxed()
    }));
    while let Some((watch, event)) = events.next().await {
        let settled = match &event {
            Ok(event) => {
                let concerned = operator.see_secret(watch.as_deref(), event);
                // Before all is listed nobody is looked at, and then everybody is.
                for token in concerned.into_iter().filter(|_| listed.is_none()) {
                    let _ = wake.send(token);
                }
                matches!(event, Event::InitDone)
            }
            Err(error) => {
                tracing::warn!(%error, namespace = watch, "the watch of Secrets failed; it is begun anew");
                is_refused(error)
            }
        };
        if settled {
            begun.remove(&watch);
        }
        if begun.is_empty()
            && let Some(listed) = listed.take()
        {
            let _ = listed.send(());
        }
    }
}

/// Watches the ledger. `listed` is told when all of it is known, or when it cannot be.
pub(super) async fn watch_ledger(operator: &Operator, listed: tokio::sync::oneshot::Sender<()>) {
    let client = operator.context.client.clone();
    let namespace = operator.context.ledger.namespace();
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, namespace);
    let scope = watcher::Config::default().labels(names::LEDGER_LABEL);
    let events = watcher::watcher(api, scope).default_backoff();
    pin_mut!(events);
    let mut listed = Some(listed);
    while let Some(event) = events.next().await {
        let settled = match &event {
            Ok(event) => {
                operator.see_entry(event);
                matches!(event, Event::InitDone)
            }
            Err(error) => {
                tracing::warn!(%error, namespace, "the watch of the ledger failed; it is begun anew");
                is_refused(error)
            }
        };
        if let Some(listed) = listed.take_if(|_| settled) {
            let _ = listed.send(());
        }
    }
}

/// Watches the metadata of namespaces, and wakes the PlatformTokens of one whose labels change.
pub(super) async fn watch_namespaces(
    operator: &Operator,
    wake: UnboundedSender<ObjectRef<Watched>>,
) {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(operator.context.client.clone());
    let events = watcher::watcher(api, watcher::Config::default()).default_backoff();
    pin_mut!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => {
                for token in operator.see_namespace(&event) {
                    let _ = wake.send(token);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the watch of namespaces failed; it is begun anew");
            }
        }
    }
}

/// Whether the API server does not let us list.
fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.is_forbidden())
}
