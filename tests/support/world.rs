//! What one test has: a namespace, a platform, and the means to wait.

use std::fmt::Debug;
use std::future::Future;
use std::net::TcpListener;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::SignedDuration;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use platform_token_operator::api::{Entry, PlatformAccount, PlatformToken, TokenId, UserId, names};
use platform_token_operator::clock::Clock;
use platform_token_operator::sandbox::{self, Config, LiveToken, Route, Shared, Verb};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::plane::{Plane, base_url, plane, take_platform};

/// How long anything may take to become true before a test fails.
const DEADLINE: Duration = Duration::from_secs(100);

/// How much older the first tokens of a platform are.
const DAY: Duration = Duration::from_hours(24);

/// Waits until `look` finds something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "waited {DEADLINE:?} in vain: {what}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What one test has of the plane.
pub(crate) struct World {
    pub plane: &'static ControlPlane,
    pub client: Client,
    pub namespace: String,
    pub platform: Arc<Shared>,
    pub base_url: String,
    /// The platform's first user, whose account tests use.
    pub user: UserId,
    /// Live tokens at the beginning: the account's own credential.
    before: usize,
}

impl World {
    /// A namespace and a platform, without an account.
    pub(crate) async fn bare(config: Config) -> Self {
        Self::behind(config, Duration::ZERO).await
    }

    /// The same, on a platform whose clock is so far behind: its tokens are as much older.
    pub(crate) async fn behind(config: Config, behind: Duration) -> Self {
        Self::on(plane(), config, behind).await
    }

    /// The same on another plane.
    pub(crate) async fn on(plane: &'static Plane, config: Config, behind: Duration) -> Self {
        let namespace = plane.take_namespace();
        let ahead = -SignedDuration::try_from(behind).unwrap();
        Self::of(plane, namespace, take_platform(), config, ahead).await
    }

    /// The same on a control plane without an operator, with the platform behind this port.
    pub(crate) async fn unserved(
        plane: &'static ControlPlane,
        listener: TcpListener,
        config: Config,
    ) -> Self {
        Self::of(plane, None, listener, config, SignedDuration::ZERO).await
    }

    /// The same, on a platform whose clock is so far ahead.
    pub(crate) async fn ahead(plane: &'static ControlPlane, ahead: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ahead = SignedDuration::try_from(ahead).unwrap();
        Self::of(plane, None, listener, Config::default(), ahead).await
    }

    async fn of(
        plane: &'static ControlPlane,
        namespace: Option<String>,
        listener: TcpListener,
        config: Config,
        ahead: SignedDuration,
    ) -> Self {
        let base_url = base_url(&listener);
        listener.set_nonblocking(true).unwrap();
        let clock = Clock::system();
        let config = Config {
            seed: rand_seed(),
            ..config
        };
        let user = config.accounts[0].user_id.clone();
        // The platform is older than the test: lists that lag do not lack its first tokens.
        let founded = AtomicBool::new(false);
        let now = move || {
            let old = !founded.swap(true, Ordering::Relaxed);
            let age = if old { DAY } else { Duration::ZERO };
            clock.now().wall + ahead - age
        };
        let platform = Shared::new(config, Arc::new(now));
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        tokio::spawn(sandbox::http::serve(
            listener,
            platform.clone(),
            std::future::pending::<()>(),
        ));

        let client = client(plane).await;
        let namespace = match namespace {
            Some(namespace) => namespace,
            None => create_namespace(&client).await,
        };
        let before = platform.with(|sandbox, _| sandbox.model.live().count());
        Self {
            plane,
            client,
            namespace,
            platform,
            base_url,
            user,
            before,
        }
    }

    /// Another namespace, whose tenant uses the same platform.
    pub(crate) async fn neighbour(&self) -> Self {
        let namespace = create_namespace(&self.client).await;
        Self {
            plane: self.plane,
            client: self.client.clone(),
            namespace,
            platform: self.platform.clone(),
            base_url: self.base_url.clone(),
            user: self.user.clone(),
            before: self.before,
        }
    }

    /// A namespace of this name on another plane, which uses the same platform.
    pub(crate) async fn elsewhere(&self, plane: &'static Plane) -> Self {
        let client = client(plane).await;
        create_namespace_called(&client, &self.namespace).await;
        Self {
            plane,
            client,
            namespace: self.namespace.clone(),
            platform: self.platform.clone(),
            base_url: self.base_url.clone(),
            user: self.user.clone(),
            before: self.before,
        }
    }

    /// The same, with the PlatformAccount `main` and its credentials Secret.
    pub(crate) async fn with(config: Config) -> Self {
        let world = Self::bare(config).await;
        world.main_account().await;
        world
    }

    /// Creates the PlatformAccount `main` and its credentials Secret.
    pub(crate) async fn main_account(&self) {
        self.credentials("credentials", &self.admin_credential())
            .await;
        self.account("main", json!({})).await;
    }

    /// The same, in the current dialect.
    pub(crate) async fn new() -> Self {
        Self::with(Config::default()).await
    }

    /// The credential of the platform's one account.
    pub(crate) fn admin_credential(&self) -> String {
        self.platform
            .with(|sandbox, _| sandbox.model.admin(&self.user).unwrap().expose().to_owned())
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object of this namespace.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Serialize
            + Clone
            + Debug,
    {
        let object: K = serde_json::from_value(object).unwrap();
        self.api::<K>()
            .create(&PostParams::default(), &object)
            .await
            .unwrap()
    }

    pub(crate) async fn patch<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug,
    {
        self.api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap()
    }

    pub(crate) async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug,
    {
        self.api::<K>()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    /// A Secret with a credential under the default key.
    pub(crate) async fn credentials(&self, name: &str, value: &str) -> Secret {
        self.create(json!({
            "metadata": { "name": name },
            "stringData": { "ACEDATACLOUD_PLATFORM_TOKEN": value },
        }))
        .await
    }

    /// A PlatformAccount on this world's platform; `spec` adds to it or overrides.
    pub(crate) async fn account(&self, name: &str, spec: Value) -> PlatformAccount {
        let mut whole =
            json!({ "baseURL": self.base_url, "credentialsSecretRef": { "name": "credentials" } });
        merge(&mut whole, spec);
        self.create(json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformAccount",
            "metadata": { "name": name }, "spec": whole,
        }))
        .await
    }

    /// A PlatformToken on the account `main`; `spec` adds to it or overrides.
    pub(crate) async fn token(&self, name: &str, spec: Value) -> PlatformToken {
        let mut whole = json!({ "accountRef": { "kind": "PlatformAccount", "name": "main" } });
        merge(&mut whole, spec);
        self.create(json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformToken",
            "metadata": { "name": name }, "spec": whole,
        }))
        .await
    }

    /// A PlatformToken that has become Ready.
    pub(crate) async fn ready_token(&self, name: &str) -> PlatformToken {
        self.token(name, json!({})).await;
        self.until_ready(name).await
    }

    pub(crate) async fn until_ready(&self, name: &str) -> PlatformToken {
        self.until_token(name, &format!("{name} is Ready"), is_ready)
            .await
    }

    /// Waits until `holds` of the PlatformToken.
    pub(crate) async fn until_token(
        &self,
        name: &str,
        what: &str,
        holds: impl Fn(&PlatformToken) -> bool,
    ) -> PlatformToken {
        let api = self.api::<PlatformToken>();
        let last = std::sync::Mutex::new(None);
        let found = tokio::time::timeout(DEADLINE, async {
            loop {
                let token = api.get(name).await.unwrap();
                if holds(&token) {
                    return token;
                }
                *last.lock().unwrap() = Some(token);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        found
            .await
            .unwrap_or_else(|_| panic!("waited {DEADLINE:?} in vain: {what}; it is {last:#?}"))
    }

    /// Waits until Ready is False for this reason; the message.
    pub(crate) async fn until_trouble(&self, name: &str, reason: &str) -> String {
        let holds =
            |token: &PlatformToken| condition(token, "Ready").is_some_and(|c| c.reason == reason);
        let token = self
            .until_token(name, &format!("{name} has the reason {reason}"), holds)
            .await;
        let ready = condition(&token, "Ready").unwrap();
        assert_eq!(ready.status, "False");
        ready.message.clone()
    }

    /// Waits until the account's Ready has this reason; its message.
    pub(crate) async fn until_account(&self, name: &str, reason: &str) -> String {
        let api = self.api::<PlatformAccount>();
        eventually(
            &format!("account {name} has the reason {reason}"),
            || async {
                let status = api.get(name).await.unwrap().status?;
                let ready = status.conditions.into_iter().find(|c| c.type_ == "Ready")?;
                (ready.reason == reason).then_some(ready.message)
            },
        )
        .await
    }

    pub(crate) async fn secret(&self, name: &str) -> Option<Secret> {
        self.api::<Secret>().get_opt(name).await.unwrap()
    }

    /// Waits until the object is gone.
    pub(crate) async fn until_gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + DeserializeOwned
            + Clone
            + Debug,
    {
        let api = self.api::<K>();
        eventually(&format!("{name} is gone"), || async {
            api.get_opt(name).await.unwrap().is_none().then_some(())
        })
        .await;
    }

    /// What `kubectl` prints as the admin; it has to succeed. The platform goes on answering meanwhile.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments, "").await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `kubectl` as the admin, with `input`, whatever comes of it.
    pub(crate) async fn try_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        let (plane, input) = (self.plane, input.to_owned());
        let run = move || {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            plane.try_kubectl(&arguments, &input)
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    }

    /// The tokens that live upstream beside the account's credential.
    pub(crate) fn live(&self) -> Vec<LiveToken> {
        self.platform.with(|sandbox, _| {
            let mut live: Vec<LiveToken> = sandbox.model.live().cloned().collect();
            live.sort_by_key(|a| a.created_at);
            live.split_off(self.before)
        })
    }

    /// How many POSTs took effect.
    pub(crate) fn minted(&self) -> u64 {
        self.platform.with(|sandbox, _| sandbox.model.minted())
    }

    /// How many calls of this kind came.
    pub(crate) fn calls(&self, method: Verb, route: Route) -> u64 {
        self.platform.with(|sandbox, _| {
            let calls = sandbox.calls().iter();
            let calls = calls.filter(|(call, _)| call.method == method && call.route == route);
            calls.map(|(_, count)| count).sum()
        })
    }

    /// The tokens of this platform that the ledger says are released.
    pub(crate) async fn released(&self) -> Vec<TokenId> {
        let ledger: Api<Secret> = Api::namespaced(self.client.clone(), names::OPERATOR);
        let scope = ListParams::default().labels(names::LEDGER_LABEL);
        let entries = ledger.list_metadata(&scope).await.unwrap();
        let entries = entries.iter().map(|secret| Entry::parse(&secret.metadata));
        // Another test has one that does not read.
        let released = entries.filter_map(|entry| match entry.ok()? {
            Entry::Released(token) if token.base_url == self.base_url => Some(token.token_id),
            _ => None,
        });
        released.collect()
    }

    /// The events about an object: type, reason, note.
    pub(crate) async fn events(&self, name: &str) -> Vec<(String, String, String)> {
        let events = self
            .api::<Event>()
            .list(&ListParams::default())
            .await
            .unwrap();
        let about = |event: &Event| {
            event
                .regarding
                .as_ref()
                .is_some_and(|object| object.name.as_deref() == Some(name))
        };
        let text = |text: Option<String>| text.unwrap_or_default();
        events
            .items
            .into_iter()
            .filter(about)
            .map(|e| (text(e.type_), text(e.reason), text(e.note)))
            .collect()
    }

    /// What the platform answers to a bearer.
    pub(crate) async fn answers(&self, bearer: &str) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/api/v1/applications/", self.base_url);
        let request = client
            .get(url)
            .bearer_auth(bearer)
            .header("accept", "application/json");
        request.send().await.unwrap().status().as_u16()
    }
}

/// A client of the admin.
async fn client(plane: &ControlPlane) -> Client {
    let kubeconfig = Kubeconfig::read_from(&plane.kubeconfig).unwrap();
    let options = KubeConfigOptions::default();
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options);
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    Client::try_from(config.await.unwrap()).unwrap()
}

pub(super) async fn create_namespace(client: &Client) -> String {
    let name = fresh_name("test");
    create_namespace_called(client, &name).await;
    name
}

async fn create_namespace_called(client: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let object = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
    namespaces
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
}

/// The value under a key of a Secret.
pub(crate) fn value(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.as_ref().unwrap()[key].0.clone()).unwrap()
}

pub(crate) fn condition<'a>(token: &'a PlatformToken, kind: &str) -> Option<&'a Condition> {
    token
        .status
        .as_ref()?
        .conditions
        .iter()
        .find(|c| c.type_ == kind)
}

/// Ready, and for the generation that it has now.
pub(crate) fn is_ready(token: &PlatformToken) -> bool {
    condition(token, "Ready")
        .is_some_and(|c| c.status == "True" && c.observed_generation == token.metadata.generation)
}

/// A name that no other test of this run has.
pub(crate) fn fresh_name(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn rand_seed() -> u64 {
    uuid::Uuid::new_v4().as_u64_pair().0
}

fn merge(whole: &mut Value, part: Value) {
    let Value::Object(part) = part else { return };
    whole.as_object_mut().unwrap().extend(part);
}

/// The patch that takes the value out of a generated Secret.
pub(crate) fn no_value() -> Value {
    json!({ "data": { "token": "eA==", "ACEDATACLOUD_PLATFORM_TOKEN": "eA==" } })
}
