//! Watches, queues and shutdown: what wakes what.

use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use futures::{Stream, StreamExt, pin_mut};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::Api;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, Store, store::Writer};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{Controller, PredicateConfig, WatchStreamExt, controller, predicates};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::accounts::{self, Account, Accounts, account_key};
use super::credentials::CredentialWatches;
use super::kubernetes::{KubeError, call};
use super::memory::Memories;
use super::secrets::SecretIndex;
use super::tokens::{self, Watched};
use super::{Context, Platforms};
use crate::api::{
    AccountKey, AccountKind, ClusterPlatformAccount, PlatformAccount, PlatformToken, names,
};
use crate::clock::Clock;
use crate::telemetry::Telemetry;

/// How the controller is to run.
pub struct Settings {
    /// The platforms that it may speak to.
    pub platforms: Platforms,
    /// How many PlatformTokens are worked on at once.
    pub concurrency: u16,
    /// Name of this process in events.
    pub instance: String,
    /// The clocks.
    pub clock: Clock,
}

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
    let (namespaced, namespaced_writer) = reflector::store();
    let (cluster_scoped, cluster_writer) = reflector::store();
    let (wake_tokens, woken_tokens) = unbounded_channel();
    let (wake_account, woken_accounts) = unbounded_channel();
    let context = Arc::new(Context {
        client: client.clone(),
        cluster,
        clock: settings.clock,
        platforms: settings.platforms,
        accounts: Accounts::new(
            namespaced.clone(),
            cluster_scoped.clone(),
            wake_tokens,
            wake_account,
        ),
        credentials: CredentialWatches::default(),
        secrets: SecretIndex::default(),
        memory: Memories::default(),
        telemetry,
        instance: settings.instance,
    });
    let (to_namespaced, to_cluster) = split_by_kind(woken_accounts);
    let accounts = run_accounts::<PlatformAccount>(
        &context,
        namespaced.clone(),
        namespaced_writer,
        to_namespaced,
        &shutdown,
    );
    let cluster_accounts = run_accounts::<ClusterPlatformAccount>(
        &context,
        cluster_scoped.clone(),
        cluster_writer,
        to_cluster,
        &shutdown,
    );

    let (wake_owner, woken_owners) = unbounded_channel();
    let (secrets_listed, listed) = tokio::sync::oneshot::channel();
    let secrets = watch_secrets(&context, wake_owner, secrets_listed);
    let tokens = async {
        // A PlatformToken is looked at only when what it depends on can be known: an account that is not in the cache
        // does not exist, and a Secret that is not there was not there when the watch began.
        let ready = async {
            (
                namespaced.wait_until_ready().await,
                cluster_scoped.wait_until_ready().await,
                listed.await,
            )
        };
        tokio::select! {
            _ = ready => run_tokens(&context, settings.concurrency, woken_tokens, woken_owners, &shutdown).await,
            () = shutdown.cancelled() => {}
        }
    };
    let controllers = async { tokio::join!(accounts, cluster_accounts, tokens) };
    tokio::select! {
        _ = controllers => {}
        () = secrets => {}
    }
    Ok(())
}

async fn cluster_uid(client: &Client) -> Result<String, KubeError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    Ok(call(namespaces.get("kube-system"))
        .await?
        .uid()
        .unwrap_or_default())
}

async fn run_accounts<K: Account>(
    context: &Arc<Context>,
    store: Store<DeserializeGuard<K>>,
    writer: Writer<DeserializeGuard<K>>,
    woken: UnboundedReceiver<AccountKey>,
    shutdown: &CancellationToken,
) where
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    let changed = watch::<K>(&context.client, writer)
        .predicate_filter(predicates::generation, PredicateConfig::default());
    let woken = received(woken).map(|key| {
        let reference = ObjectRef::new(&key.name);
        key.namespace
            .as_ref()
            .map_or(reference.clone(), |namespace| reference.within(namespace))
    });
    Controller::for_stream(changed, store)
        .reconcile_on(woken)
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            accounts::reconcile::<K>,
            |_, error, _| match *error {},
            context.clone(),
        )
        .for_each(|result| async { log(result.map(|_| ())) })
        .await;
}

async fn run_tokens(
    context: &Arc<Context>,
    concurrency: u16,
    woken_accounts: UnboundedReceiver<AccountKey>,
    woken_owners: UnboundedReceiver<ObjectRef<Watched>>,
    shutdown: &CancellationToken,
) {
    let (store, writer) = reflector::store();
    let changed = watch::<PlatformToken>(&context.client, writer)
        .predicate_filter(concerns_us, PredicateConfig::default());
    let cache = store.clone();
    let of_account =
        received(woken_accounts).flat_map(move |key| futures::stream::iter(users(&cache, &key)));
    let listed = {
        let (store, telemetry) = (store.clone(), context.telemetry.clone());
        async move {
            if store.wait_until_ready().await.is_ok() {
                telemetry.set_ready();
            }
        }
    };
    let controller = Controller::for_stream(changed, store)
        .with_config(controller::Config::default().concurrency(concurrency))
        .reconcile_on(of_account)
        .reconcile_on(received(woken_owners))
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            tokens::reconcile,
            |_, error, _| match *error {},
            context.clone(),
        )
        .for_each(|result| async { log(result.map(|_| ())) });
    tokio::join!(listed, controller);
}

/// Watches the metadata of generated Secrets, keeps the index, and wakes their owners. A label that someone strips
/// looks like a deletion, and wakes the owner as well.
async fn watch_secrets(
    context: &Arc<Context>,
    wake: UnboundedSender<ObjectRef<Watched>>,
    listed: tokio::sync::oneshot::Sender<()>,
) {
    let api: Api<PartialObjectMeta<Secret>> = Api::all(context.client.clone());
    let scope = watcher::Config::default().labels(&format!("{}=true", names::MANAGED_LABEL));
    let events = watcher::watcher(api, scope).default_backoff();
    pin_mut!(events);
    let mut listed = Some(listed);
    while let Some(event) = events.next().await {
        let event = match event {
            Ok(event) => event,
            Err(error) => {
                tracing::warn!(%error, "the watch of Secrets failed; it is begun anew");
                continue;
            }
        };
        for (namespace, name) in context.secrets.apply(&event) {
            let _ = wake.send(ObjectRef::new(&name).within(&namespace));
        }
        if let Event::InitDone = event
            && let Some(listed) = listed.take()
        {
            let _ = listed.send(());
        }
    }
}

/// Every object of a kind, without what nobody reads, kept in a store.
fn watch<K>(
    client: &Client,
    writer: Writer<DeserializeGuard<K>>,
) -> impl Stream<Item = Result<DeserializeGuard<K>, watcher::Error>> + Send + use<K>
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
        .applied_objects()
}

/// What of a PlatformToken concerns us; our own status writes do not.
#[expect(clippy::unnecessary_wraps, reason = "the signature of a predicate")]
fn concerns_us(token: &Watched) -> Option<u64> {
    let metadata = token.meta();
    let mut hasher = DefaultHasher::new();
    (
        metadata.generation,
        &metadata.finalizers,
        &metadata.annotations,
        metadata.deletion_timestamp.is_some(),
    )
        .hash(&mut hasher);
    Some(hasher.finish())
}

/// The PlatformTokens of one account.
fn users(tokens: &Store<Watched>, key: &AccountKey) -> Vec<ObjectRef<Watched>> {
    let uses = |token: &Watched| {
        token
            .0
            .as_ref()
            .is_ok_and(|token| account_key(token) == *key)
    };
    tokens
        .state()
        .iter()
        .filter(|token| uses(token))
        .map(|token| ObjectRef::from_obj(&**token))
        .collect()
}

fn split_by_kind(
    mut keys: UnboundedReceiver<AccountKey>,
) -> (UnboundedReceiver<AccountKey>, UnboundedReceiver<AccountKey>) {
    let (to_namespaced, namespaced) = unbounded_channel();
    let (to_cluster, cluster) = unbounded_channel();
    #[expect(
        clippy::disallowed_methods,
        reason = "this file owns the queues; the task ends with the sender"
    )]
    tokio::spawn(async move {
        while let Some(key) = keys.recv().await {
            let _ = match key.kind {
                AccountKind::PlatformAccount => to_namespaced.send(key),
                AccountKind::ClusterPlatformAccount => to_cluster.send(key),
            };
        }
    });
    (namespaced, cluster)
}

fn received<T: Send + 'static>(
    receiver: UnboundedReceiver<T>,
) -> impl Stream<Item = T> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async {
        receiver.recv().await.map(|item| (item, receiver))
    })
}

fn log<E: std::error::Error>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a watch or a queue reported");
    }
}
