//! Controllers, queues and shutdown: what wakes what.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, PredicateConfig, WatchStreamExt, controller, predicates};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::accounts::Account;
use super::concerns::Concerns;
use super::kubernetes::{KubeError, call};
use super::slots::ACCOUNTS;
use super::tokens::Watched;
use super::watches::{watch_ledger, watch_namespaces, watch_secrets};
use super::{Operator, Settings, credentials};
use crate::api::{AccountKey, AccountKind, PlatformToken};
use crate::telemetry::Telemetry;

/// Runs at once, for each slot that an account has: all slots of those that stay and of those that go, and as much again as
/// one account has.
const RUNS: u16 = 1 + 2 * ACCOUNTS;

/// PlatformTokens that are looked at in one go, and how long it is to the next: 20,000 in a second.
const AT_A_TIME: usize = 200;
const PACE: Duration = Duration::from_millis(10);

/// Orphans, or entries of the ledger, that are finished at once.
const AT_ONCE: usize = 8;

/// The controller cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The cluster's identity cannot be read.
    #[error("cannot read the namespace kube-system, whose uid tells clusters apart: {0}")]
    Cluster(String),
}

/// Runs until `shutdown`, then lets running reconciliations end.
pub async fn run(
    client: Client,
    settings: Settings,
    telemetry: Arc<Telemetry>,
    shutdown: CancellationToken,
) -> Result<(), StartError> {
    let cluster = cluster_uid(&client)
        .await
        .map_err(|error| StartError::Cluster(error.to_string()))?;
    // Beside those who have a slot, there is always room to learn that there is none.
    let runs = settings.concurrency.saturating_mul(RUNS);
    let (operator, caches, wakes) = Operator::new(client, cluster, settings, telemetry);
    let (to_namespaced, to_cluster, split) = by_kind(wakes.accounts);
    let namespaced = caches.namespaced.as_reader();
    let accounts = run_accounts(
        &operator,
        caches.namespaced,
        to_namespaced,
        &shutdown,
        |operator, account| async move { operator.account(account).await },
    );
    let cluster_scoped = caches.cluster.as_reader();
    let cluster_accounts = run_accounts(
        &operator,
        caches.cluster,
        to_cluster,
        &shutdown,
        |operator, account| async move { operator.cluster_account(account).await },
    );
    let (wake_owner, woken_owners) = unbounded_channel();
    let wake_tenants = wake_owner.clone();
    let (secrets_listed, listed) = tokio::sync::oneshot::channel();
    let (ledger_listed, written) = tokio::sync::oneshot::channel();
    let tokens = async {
        // A PlatformToken is looked at only when what it depends on can be known: an account that is not in the cache
        // does not exist, and a Secret that is not there was not there when the watch began.
        let ready = async {
            (
                namespaced.wait_until_ready().await,
                cluster_scoped.wait_until_ready().await,
                listed.await,
                written.await,
            )
        };
        tokio::select! {
            _ = ready => {
                let woken = (wakes.tokens, woken_owners, wakes.called);
                tokio::join!(
                    run_tokens(&operator, runs, caches.tokens, woken, &shutdown),
                    finish_orphans(&operator, &shutdown),
                    pay_ledger(&operator, &shutdown),
                );
            }
            () = shutdown.cancelled() => {}
        }
    };
    let controllers = async { tokio::join!(accounts, cluster_accounts, tokens) };
    tokio::select! {
        _ = controllers => {}
        () = watch_secrets(&operator, wake_owner, secrets_listed) => {}
        () = watch_ledger(&operator, ledger_listed) => {}
        () = watch_namespaces(&operator, wake_tenants) => {}
        () = credentials::watch_all(&operator, wakes.credentials) => {}
        () = split => {}
    }
    Ok(())
}

/// What tells this cluster from others.
pub(crate) async fn cluster_uid(client: &Client) -> Result<String, KubeError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    Ok(call(namespaces.get("kube-system"))
        .await?
        .uid()
        .unwrap_or_default())
}

async fn run_accounts<K, F>(
    operator: &Operator,
    writer: Writer<DeserializeGuard<K>>,
    woken: UnboundedReceiver<AccountKey>,
    shutdown: &CancellationToken,
    look_at: fn(Operator, Arc<DeserializeGuard<K>>) -> F,
) where
    K: Account,
    DeserializeGuard<K>: Resource<DynamicType = ()>,
    F: Future<Output = Duration> + Send + 'static,
{
    let store = writer.as_reader();
    let unlisted = stopped_unlisted(store.clone(), shutdown);
    let changed = watch::<K>(&operator.context.client, writer)
        .applied_objects()
        .predicate_filter(predicates::generation, PredicateConfig::default());
    let woken = received(woken).map(|key| {
        let reference = ObjectRef::new(&key.name);
        key.namespace
            .as_ref()
            .map_or(reference.clone(), |namespace| reference.within(namespace))
    });
    let controller = Controller::for_stream(changed, store)
        .reconcile_on(woken)
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            move |account, operator| {
                let ended = shutdown.clone().cancelled_owned();
                let look = look_at(Operator::clone(&operator), account);
                async move {
                    // What a proof or a stock leaves undone the next one does: a long list holds up no end.
                    tokio::select! {
                        wait = look => Ok(Action::requeue(wait)),
                        () = ended => Ok(Action::await_change()),
                    }
                }
            },
            never,
            Arc::new(operator.clone()),
        )
        .for_each(|result| async { log(result.map(|_| ())) });
    tokio::select! {
        () = controller => {}
        () = unlisted => {}
    }
}

async fn run_tokens(
    operator: &Operator,
    runs: u16,
    writer: Writer<Watched>,
    (woken_accounts, woken_owners, called): (
        UnboundedReceiver<AccountKey>,
        UnboundedReceiver<ObjectRef<Watched>>,
        UnboundedReceiver<ObjectRef<Watched>>,
    ),
    shutdown: &CancellationToken,
) {
    let store = writer.as_reader();
    let unlisted = stopped_unlisted(store.clone(), shutdown);
    let mut concerns = Concerns::new(store.clone());
    let changed = watch::<PlatformToken>(&operator.context.client, writer).flat_map(move |event| {
        let event = event.map(|event| concerns.see(&event));
        paced(event.unwrap_or_else(|error| {
            log(Err(error));
            Vec::new()
        }))
    });
    // What wakes it is asked for below.
    let nothing = stream::empty::<Result<Watched, watcher::Error>>();
    let of = operator.clone();
    let of_account = received(woken_accounts).flat_map(move |key| paced(of.users(&key)));
    let listed = {
        let (store, operator) = (store.clone(), operator.clone());
        async move {
            if store.wait_until_ready().await.is_ok() {
                operator.all_is_listed();
                operator.context.telemetry.set_ready();
            }
        }
    };
    let controller = Controller::for_stream(nothing, store)
        .with_config(controller::Config::default().concurrency(runs))
        .reconcile_on(changed)
        .reconcile_on(of_account)
        .reconcile_on(received(woken_owners))
        .reconcile_on(received(called))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            |token, operator: Arc<Operator>| async move {
                let wait = operator.token(token).await;
                Ok(wait.map_or_else(Action::await_change, Action::requeue))
            },
            never,
            Arc::new(operator.clone()),
        )
        .for_each(|result| async { log(result.map(|_| ())) });
    tokio::select! {
        _ = async { tokio::join!(listed, controller) } => {}
        () = unlisted => {}
    }
}

/// Many at a time, but not all: the queue of a controller never gives back the room that its longest line took.
fn paced(tokens: Vec<ObjectRef<Watched>>) -> impl Stream<Item = ObjectRef<Watched>> + Send {
    stream::iter(tokens.into_iter().enumerate()).then(|(number, token)| async move {
        if number > 0 && number % AT_A_TIME == 0 {
            tokio::time::sleep(PACE).await;
        }
        token
    })
}

/// Ends at a shutdown that comes before all is listed: nothing runs yet, and a controller would wait for its list, which
/// it does not watch any more.
async fn stopped_unlisted<K>(store: Store<K>, shutdown: &CancellationToken)
where
    K: reflector::Lookup<DynamicType = ()> + Clone + 'static,
{
    tokio::select! {
        biased;
        _ = store.wait_until_ready() => std::future::pending().await,
        () = shutdown.cancelled() => {}
    }
}

/// Finishes Secrets that nobody else lets go.
async fn finish_orphans(operator: &Operator, shutdown: &CancellationToken) {
    let look = || {
        operator.forget_vanished();
        operator.orphans()
    };
    let finish = async |(namespace, name): &(String, String)| {
        operator.finish_orphan(namespace, name).await;
    };
    finish_all(operator, shutdown, look, finish).await;
}

/// Pays what was put off.
async fn pay_ledger(operator: &Operator, shutdown: &CancellationToken) {
    let pay = async |entry: &String| operator.pay(entry).await;
    finish_all(operator, shutdown, || operator.entries(), pay).await;
}

/// Looks for loose ends from time to time, and finishes each. Begins nothing after `shutdown`; what it is at is finished.
async fn finish_all<T: Clone + Eq + Hash>(
    operator: &Operator,
    shutdown: &CancellationToken,
    find: impl Fn() -> Vec<T>,
    finish: impl AsyncFn(&T),
) {
    // A PlatformToken that is not in the cache is gone only once all were listed.
    tokio::select! {
        () = shutdown.cancelled() => return,
        listed = operator.context.tokens.wait_until_ready() => if listed.is_err() { return },
    }
    let mut look = tokio::time::interval(Operator::LOOK_FOR_ORPHANS);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut waiting, mut under_way, mut stopping) = (Vec::new(), HashSet::new(), false);
    let mut finishing = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled(), if !stopping => {
                (stopping, waiting) = (true, Vec::new());
            }
            _ = look.tick(), if !stopping => {
                waiting = find();
                waiting.reverse();
            }
            Some(finished) = finishing.next() => {
                under_way.remove(&finished);
            }
            else => return,
        }
        // Several at once: one whose revocation hangs holds up no other.
        while finishing.len() < AT_ONCE
            && let Some(one) = waiting.pop()
        {
            if under_way.insert(one.clone()) {
                finishing.push(async {
                    finish(&one).await;
                    one
                });
            }
        }
    }
}

/// Every event of a kind, without what nobody reads, after a store took it in.
fn watch<K>(
    client: &Client,
    writer: Writer<DeserializeGuard<K>>,
) -> impl Stream<Item = Result<Event<DeserializeGuard<K>>, watcher::Error>> + Send + use<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    let api: Api<DeserializeGuard<K>> = Api::all(client.clone());
    watcher::watcher(api, watcher::Config::default())
        .default_backoff()
        .modify(|object| {
            let metadata = object.meta_mut();
            metadata.managed_fields = None;
            if let Some(annotations) = &mut metadata.annotations {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
        })
        .reflect(writer)
}

/// Splits what is asked for by kind; the future does so until its source ends.
fn by_kind(
    mut keys: UnboundedReceiver<AccountKey>,
) -> (
    UnboundedReceiver<AccountKey>,
    UnboundedReceiver<AccountKey>,
    impl Future<Output = ()>,
) {
    let (to_namespaced, namespaced) = unbounded_channel();
    let (to_cluster, cluster) = unbounded_channel();
    let split = async move {
        while let Some(key) = keys.recv().await {
            let _ = match key.kind {
                AccountKind::PlatformAccount => to_namespaced.send(key),
                AccountKind::ClusterPlatformAccount => to_cluster.send(key),
            };
        }
    };
    (namespaced, cluster, split)
}

fn received<T: Send + 'static>(
    receiver: UnboundedReceiver<T>,
) -> impl Stream<Item = T> + Send + 'static {
    stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

fn log<E: std::error::Error>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a watch or a queue reported");
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature of an error policy"
)]
fn never<K>(_: Arc<K>, error: &Infallible, _: Arc<Operator>) -> Action {
    match *error {}
}

#[cfg(test)]
mod tests {
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::api::AttemptId;
    use crate::clock::Clock;
    use crate::controller::{BaseUrl, Platforms, Served};

    /// Only the first question is answered, and nothing is listed.
    async fn answer(request: http::Request<Body>) -> Result<http::Response<Body>, Infallible> {
        if request.uri().path() != "/api/v1/namespaces/kube-system" {
            return std::future::pending().await;
        }
        let namespace = json!({ "metadata": { "name": "kube-system", "uid": "cluster" } });
        Ok(http::Response::new(Body::from(
            namespace.to_string().into_bytes(),
        )))
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_is_asked_for_before_all_is_listed_waits_for_nothing() {
        let shutdown = CancellationToken::new();
        let settings = Settings {
            platforms: Platforms::new(Vec::<BaseUrl>::new(), |_| unreachable!("nobody asks")),
            concurrency: 32,
            served: Served::these(vec![]),
            namespace: "ours".into(),
            instance: "test".into(),
            clock: Clock::system(),
            fresh: Box::new(AttemptId::fresh),
        };
        let client = Client::new(tower::service_fn(answer), "default");
        let telemetry = Arc::new(Telemetry::default());
        let running = run(client, settings, telemetry, shutdown.clone());
        let stop = async {
            tokio::time::sleep(Duration::from_secs(30)).await;
            shutdown.cancel();
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        tokio::select! {
            result = running => assert!(result.is_ok() && shutdown.is_cancelled()),
            () = stop => panic!("it waits for a list that it does not watch any more"),
        }
    }
}
