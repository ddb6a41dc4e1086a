//! The operator without its watches. Whoever fills its caches, wakes it and carries its wishes out is either `wiring`,
//! with the watches of a real API server, or a simulation with a seeded schedule.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Resource;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::{self, ObjectRef, store::Writer};
use kube::runtime::watcher::Event;
use tokio::sync::SetOnce;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::accounts::{self, Accounts};
use super::ledger::Ledger;
use super::memory::Memories;
use super::namespaces::NamespaceIndex;
use super::secrets::SecretIndex;
use super::silences::Silences;
use super::slots::Slots;
use super::tokens::{self, Watched};
use super::tries::Tries;
use super::{Context, Platforms, Served};
use crate::api::{AccountKey, AttemptId, ClusterPlatformAccount, PlatformAccount};
use crate::clock::Clock;
use crate::telemetry::Telemetry;

/// When to look again at an account that is not served: nothing is done then, but a queue wants a time.
const UNSERVED: Duration = Duration::from_hours(24);

/// How the operator is to run.
pub struct Settings {
    /// The platforms that it may speak to.
    pub platforms: Platforms,
    /// The namespaces that it serves.
    pub served: Served,
    /// Its own namespace, where the ledger is.
    pub namespace: String,
    /// How many PlatformTokens of one account are worked on at once.
    pub concurrency: u16,
    /// Name of this process in events.
    pub instance: String,
    /// The clocks.
    pub clock: Clock,
    /// Makes the id of an attempt, a UUID that was never made before.
    pub fresh: Box<dyn Fn() -> AttemptId + Send + Sync>,
}

/// The operator, without its watches.
#[derive(Clone)]
pub struct Operator {
    pub(super) context: Arc<Context>,
}

/// The caches that a watch of each kind has to fill.
pub struct Caches {
    /// PlatformTokens.
    pub tokens: Writer<Watched>,
    /// Namespaced accounts.
    pub namespaced: Writer<DeserializeGuard<PlatformAccount>>,
    /// Cluster-scoped accounts.
    pub cluster: Writer<DeserializeGuard<ClusterPlatformAccount>>,
}

/// What the operator asks for.
pub struct Wakes {
    /// Look at every PlatformToken of this account.
    pub tokens: UnboundedReceiver<AccountKey>,
    /// Look at this PlatformToken: it stood in line, and it is its turn.
    pub called: UnboundedReceiver<ObjectRef<Watched>>,
    /// Look at this account.
    pub accounts: UnboundedReceiver<AccountKey>,
    /// Watch this Secret, by namespace and name, and call [`Operator::credentials_changed`].
    pub credentials: UnboundedReceiver<(String, String)>,
}

impl Operator {
    /// An operator of the cluster whose namespace `kube-system` has the uid `cluster`, with empty caches.
    #[must_use]
    pub fn new(
        client: kube::Client,
        cluster: String,
        settings: Settings,
        telemetry: Arc<Telemetry>,
    ) -> (Self, Caches, Wakes) {
        let (tokens, tokens_writer) = reflector::store();
        let (namespaced, namespaced_writer) = reflector::store();
        let (cluster_scoped, cluster_writer) = reflector::store();
        let (wake_tokens, woken_tokens) = unbounded_channel();
        let (wake_account, woken_accounts) = unbounded_channel();
        let (watch_credentials, credentials) = unbounded_channel();
        let (call, called) = unbounded_channel();
        let ledger = Ledger::new(settings.namespace, cluster.clone());
        let context = Context {
            client,
            cluster,
            clock: settings.clock,
            platforms: settings.platforms,
            served: settings.served,
            accounts: Accounts::new(namespaced, cluster_scoped, wake_tokens, wake_account),
            tokens,
            listed: SetOnce::new(),
            watch_credentials,
            secrets: SecretIndex::default(),
            namespaces: NamespaceIndex::default(),
            memory: Memories::default(),
            slots: Slots::new(settings.concurrency, call),
            orphans: Tries::default(),
            ledger,
            silences: Silences::default(),
            telemetry,
            instance: settings.instance,
            fresh: settings.fresh,
        };
        let caches = Caches {
            tokens: tokens_writer,
            namespaced: namespaced_writer,
            cluster: cluster_writer,
        };
        let wakes = Wakes {
            tokens: woken_tokens,
            called,
            accounts: woken_accounts,
            credentials,
        };
        let context = Arc::new(context);
        (Self { context }, caches, wakes)
    }

    /// To be called once the caches have shown all that there was at the start: accounts, generated Secrets, and
    /// PlatformTokens last.
    pub fn all_is_listed(&self) {
        let _ = self.context.listed.set(());
    }

    /// Brings one PlatformToken to rest, if there is room. When to look again; none: only when something changes, or when
    /// it is [called](Wakes::called). Never two at once for the same one.
    pub async fn token(&self, token: Arc<Watched>) -> Option<Duration> {
        if !self.serves(&*token) {
            return None;
        }
        tokens::reconcile(token, &self.context).await
    }

    /// Proves one namespaced account. When to look again. Never two at once for the same one.
    pub async fn account(&self, account: Arc<DeserializeGuard<PlatformAccount>>) -> Duration {
        if !self.serves(&*account) {
            return UNSERVED;
        }
        accounts::reconcile(account, &self.context).await
    }

    /// Proves one cluster-scoped account. When to look again. Never two at once for the same one.
    pub async fn cluster_account(
        &self,
        account: Arc<DeserializeGuard<ClusterPlatformAccount>>,
    ) -> Duration {
        accounts::reconcile(account, &self.context).await
    }

    /// Whether an object is in a namespace that is served. Everything that is done for one comes through here.
    pub(super) fn serves<K: Resource<DynamicType = ()>>(&self, object: &K) -> bool {
        let namespace = object.meta().namespace.as_deref();
        self.context.served.covers(namespace)
    }

    /// Takes in one event of a watch of generated Secrets, that of one namespace or of all; the PlatformTokens to look at.
    #[must_use]
    pub fn see_secret(
        &self,
        watch: Option<&str>,
        event: &Event<PartialObjectMeta<Secret>>,
    ) -> Vec<ObjectRef<Watched>> {
        let concerned = self.context.secrets.apply(watch, event);
        concerned
            .into_iter()
            .map(|(namespace, name)| ObjectRef::new(&name).within(&namespace))
            .collect()
    }

    /// Takes in one event of the watch of namespaces; the PlatformTokens to look at.
    #[must_use]
    pub fn see_namespace(
        &self,
        event: &Event<PartialObjectMeta<Namespace>>,
    ) -> Vec<ObjectRef<Watched>> {
        let Some(namespace) = self.context.namespaces.apply(event) else {
            return Vec::new();
        };
        self.tokens_that(|token| token.meta().namespace.as_ref() == Some(&namespace))
    }

    /// A credentials Secret, by namespace and name, has this resourceVersion now, or is gone.
    pub fn credentials_changed(
        &self,
        secret: &(String, String),
        resource_version: Option<&String>,
    ) {
        let accounts = &self.context.accounts;
        accounts.credentials_changed(secret, resource_version);
    }

    /// Whether any account uses a credentials Secret; its watch may end otherwise.
    #[must_use]
    pub fn uses_credentials(&self, secret: &(String, String)) -> bool {
        self.context.accounts.use_credentials(secret)
    }

    /// The watch of a credentials Secret has ended.
    pub fn forget_credentials(&self, secret: &(String, String)) {
        self.context.accounts.forget_credentials(secret);
    }

    /// The PlatformTokens of one account.
    #[must_use]
    pub fn users(&self, account: &AccountKey) -> Vec<ObjectRef<Watched>> {
        let uses = |token: &Watched| {
            token
                .0
                .as_ref()
                .is_ok_and(|token| accounts::account_key(token) == *account)
        };
        self.tokens_that(uses)
    }

    fn tokens_that(&self, concerned: impl Fn(&Watched) -> bool) -> Vec<ObjectRef<Watched>> {
        let tokens = self.context.tokens.state();
        let concerned = tokens.iter().filter(|token| concerned(token));
        let mut found: Vec<_> = concerned
            .map(|token| ObjectRef::from_obj(&**token))
            .collect();
        found.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        found
    }

    /// What of a PlatformToken concerns the operator, as a number that changes with it. Of the status only the token does,
    /// so that one that was wiped is written again.
    #[must_use]
    pub fn concern(token: &Watched) -> u64 {
        let metadata = token.meta();
        let status = token
            .0
            .as_ref()
            .ok()
            .and_then(|token| token.status.as_ref());
        let mut hasher = DefaultHasher::new();
        (
            status.and_then(|status| status.token_hash.as_ref()),
            metadata.generation,
            &metadata.finalizers,
            &metadata.annotations,
            metadata.deletion_timestamp.is_some(),
        )
            .hash(&mut hasher);
        hasher.finish()
    }
}
