//! Wakes accounts when their credentials Secret changes: one metadata watch for each such Secret, by name.

use std::collections::HashSet;

use futures::stream::FuturesUnordered;
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Operator;

/// Watches every Secret that is asked for, each until no account uses it any more.
pub(super) async fn watch_all(operator: &Operator, mut asked: UnboundedReceiver<(String, String)>) {
    let mut names: HashSet<(String, String)> = HashSet::new();
    let mut watches = FuturesUnordered::new();
    loop {
        tokio::select! {
            secret = asked.recv() => match secret {
                Some(secret) if names.insert(secret.clone()) => watches.push(watch(operator, secret)),
                Some(_) => {}
                None => return,
            },
            Some(ended) = watches.next() => {
                names.remove(&ended);
            }
        }
    }
}

/// Watches one Secret until no account uses it any more.
async fn watch(operator: &Operator, secret: (String, String)) -> (String, String) {
    let (namespace, name) = &secret;
    let client = operator.context.client.clone();
    let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, namespace);
    let scope = Config::default().fields(&format!("metadata.name={name}"));
    let events = watcher(api, scope).default_backoff();
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
        if !operator.credentials_changed(namespace, name, version.as_ref()) {
            break;
        }
    }
    secret
}
