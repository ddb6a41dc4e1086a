//! Wakes accounts when their credentials Secret changes: one metadata watch for each such Secret, by name.

use std::collections::HashSet;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;

use super::Operator;

/// How often a watch that hears nothing looks whether any account uses its Secret still.
const LOOK_AGAIN: Duration = Duration::from_mins(1);

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
            // Who asked while it ended was not heard.
            Some(ended) = watches.next() => {
                operator.forget_credentials(&ended);
                if operator.uses_credentials(&ended) {
                    watches.push(watch(operator, ended));
                } else {
                    names.remove(&ended);
                }
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
    let mut listed = false;
    while let Some(event) = next(operator, &secret, &mut events).await {
        let version = match event {
            Ok(Event::Init) => {
                listed = false;
                continue;
            }
            Ok(Event::InitApply(secret)) => {
                listed = true;
                secret.metadata.resource_version
            }
            Ok(Event::InitDone) if listed => continue,
            Ok(Event::Apply(secret)) => secret.metadata.resource_version,
            // It may have gone before the watch began.
            Ok(Event::Delete(_) | Event::InitDone) => None,
            Err(error) => {
                tracing::warn!(%error, namespace, name, "the watch of a credentials Secret failed; it is begun anew");
                continue;
            }
        };
        operator.credentials_changed(&secret, version.as_ref());
    }
    secret
}

/// The next event, as long as any account uses the Secret.
async fn next<T>(
    operator: &Operator,
    secret: &(String, String),
    events: &mut (impl Stream<Item = T> + Unpin),
) -> Option<T> {
    while operator.uses_credentials(secret) {
        if let Ok(event) = timeout(LOOK_AGAIN, events.next()).await {
            return event;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use axum::body::Body;
    use bytes::Bytes;
    use futures::stream;
    use kube::core::DeserializeGuard;
    use serde_json::json;
    use tokio::sync::mpsc::unbounded_channel;
    use tokio::time::sleep;

    use super::*;
    use crate::api::{AttemptId, PlatformAccount};
    use crate::clock::Clock;
    use crate::controller::{Platforms, Served, Settings};
    use crate::platform::Transport;

    /// A watch that is open.
    struct Open(Arc<AtomicUsize>);

    impl Drop for Open {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Relaxed);
        }
    }

    /// An API server without Secrets, on which nothing happens; how many watches are open.
    fn quiet_server() -> (kube::Client, Arc<AtomicUsize>) {
        let open = Arc::new(AtomicUsize::new(0));
        let count = open.clone();
        let service = tower::service_fn(move |request: http::Request<kube::client::Body>| {
            let count = count.clone();
            async move {
                let query = request.uri().query().unwrap_or_default().to_owned();
                assert!(query.contains("metadata.name%3Dcredentials"), "{query}");
                let body = if query.contains("watch=true") {
                    count.fetch_add(1, Relaxed);
                    let open = Open(count);
                    Body::from_stream(stream::once(async move {
                        let _open = open;
                        std::future::pending::<Result<Bytes, std::io::Error>>().await
                    }))
                } else {
                    let list = json!({
                        "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                        "metadata": { "resourceVersion": "1" }, "items": [],
                    });
                    Body::from(list.to_string())
                };
                Ok::<_, std::io::Error>(http::Response::new(body))
            }
        });
        (kube::Client::new(service, "default"), open)
    }

    fn account() -> DeserializeGuard<PlatformAccount> {
        let account = json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformAccount",
            "metadata": { "namespace": "ns", "name": "main" },
            "spec": { "credentialsSecretRef": { "name": "credentials" } },
        });
        serde_json::from_value(account).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_ends_when_no_account_uses_its_secret_and_begins_again_with_the_next() {
        let (client, open) = quiet_server();
        let settings = Settings {
            platforms: Platforms::new([], |_| -> Arc<dyn Transport> { unreachable!() }),
            namespace: "ours".into(),
            instance: "test".into(),
            clock: Clock::system(),
            served: Served::Everywhere,
            concurrency: 1,
            fresh: Box::new(AttemptId::fresh),
        };
        let (operator, mut caches, _wakes) =
            Operator::new(client, "cluster".into(), settings, Arc::default());
        let (ask, asked) = unbounded_channel();
        let story = async {
            for _ in 0..2 {
                caches
                    .namespaced
                    .apply_watcher_event(&Event::Apply(account()));
                for _ in 0..2 {
                    ask.send(("ns".into(), "credentials".into())).unwrap();
                    sleep(3 * LOOK_AGAIN).await;
                    assert_eq!(open.load(Relaxed), 1, "one watch for each Secret");
                }
                caches
                    .namespaced
                    .apply_watcher_event(&Event::Delete(account()));
                sleep(2 * LOOK_AGAIN).await;
                assert_eq!(open.load(Relaxed), 0, "nobody uses it");
            }
        };
        tokio::select! {
            () = watch_all(&operator, asked) => unreachable!(),
            () = story => {}
        }
    }
}
