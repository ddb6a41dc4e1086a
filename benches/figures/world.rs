//! What one measurement has to itself: a control plane, a platform, accounts and the PlatformTokens that wait.

use std::fmt::Debug;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::PostParams;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource};
use platform_token_operator::api::{ClusterPlatformAccount, PlatformToken, PlatformTokenSpec};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use crate::control_plane::{ControlPlane, first_line};
use crate::process::Process;
use crate::settings::Settings;

/// The program that users run, as it is released.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_platform-token-operator");

/// The namespace of the PlatformTokens.
const NAMESPACE: &str = "bench";

/// The namespace of Secrets that are none of ours.
const OTHERS: &str = "others";

/// What one of those holds, in bytes.
const OTHERS_SIZE: usize = 5 * 1024;

/// How many objects are created at once before the clock starts.
const PREPARING: usize = 32;

/// How often to say how far that is.
const PROGRESS: Duration = Duration::from_secs(5);

/// What there is before the operator starts.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Population {
    pub(crate) accounts: usize,
    /// PlatformTokens that nobody cares for yet, spread over the accounts.
    pub(crate) tokens: usize,
    /// Secrets that are none of ours.
    pub(crate) others: usize,
}

/// What one measurement has to itself.
pub(crate) struct World {
    /// Of the control plane's admin, who is exempt from the API server's fairness.
    pub(crate) admin: Client,
    pub(crate) platform: Platform,
    /// The users of the platform, each with an account.
    pub(crate) users: Vec<Platform>,
    /// What waits to be issued.
    pub(crate) tokens: Vec<PlatformToken>,
    pub(crate) plane: ControlPlane,
    _sandbox: Process,
}

/// A platform and the credential of one account.
#[derive(Debug, Clone)]
pub(crate) struct Platform {
    pub(crate) base_url: String,
    pub(crate) user_id: String,
    pub(crate) credential: String,
}

impl World {
    /// Starts everything, and creates what there is to be.
    pub(crate) async fn with(there: Population, settings: &Settings) -> anyhow::Result<Self> {
        let (sandbox, users) = start_sandbox(there.accounts, settings)?;
        let plane = ControlPlane::start("bench");
        let admin = client(&plane.kubeconfig).await?;
        create_accounts(&admin, &users).await?;
        create_others(&admin, there.others).await?;
        let tokens = create_tokens(&admin, there).await?;
        let platform = users.first().context("there is no account")?.clone();
        Ok(Self {
            admin,
            platform,
            users,
            tokens,
            plane,
            _sandbox: sandbox,
        })
    }
}

/// A client that repeats nothing, as the operator's.
pub(crate) async fn client(kubeconfig: &Path) -> anyhow::Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let options = KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
    config.default_retry = false;
    Ok(ClientBuilder::try_from(config)?.build())
}

/// The name of an account, by its number: the first is the one that PlatformTokens use by default.
pub(crate) fn account_name(number: usize) -> String {
    match number {
        0 => "default".into(),
        _ => format!("account-{number:03}"),
    }
}

fn start_sandbox(accounts: usize, settings: &Settings) -> anyhow::Result<(Process, Vec<Platform>)> {
    #[derive(Deserialize)]
    struct Ready {
        url: String,
        accounts: Vec<Account>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Account {
        #[serde(rename = "userID")]
        user_id: String,
        credential: String,
    }
    let latency = format!("{}us", settings.latency.as_micros());
    let users = (0..accounts).map(|number| format!("--user=user-{number:03}"));
    let mut sandbox = Process::start(
        Command::new(PROGRAM)
            .args(["sandbox", "--listen=127.0.0.1:0", "--until-stdin-closes"])
            .args(["--latency", &latency])
            .args(users)
            .stdout(Stdio::piped()),
    )?;
    let line = first_line(&mut sandbox.0);
    let Ready { url, accounts } =
        serde_json::from_str(&line).with_context(|| format!("the sandbox said {line:?}"))?;
    let users = accounts.into_iter().map(|account| Platform {
        base_url: url.clone(),
        user_id: account.user_id,
        credential: account.credential,
    });
    Ok((sandbox, users.collect()))
}

/// One account for each user, with a rate limit that is out of the way.
async fn create_accounts(admin: &Client, users: &[Platform]) -> anyhow::Result<()> {
    create_namespace(admin, NAMESPACE).await?;
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), NAMESPACE);
    let accounts: Api<ClusterPlatformAccount> = Api::all(admin.clone());
    let with = PostParams::default();
    for (number, user) in users.iter().enumerate() {
        let (name, credentials) = (account_name(number), format!("credentials-{number:03}"));
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": credentials },
            "stringData": { "ACEDATACLOUD_PLATFORM_TOKEN": user.credential },
        }))?;
        let account: ClusterPlatformAccount = serde_json::from_value(json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "ClusterPlatformAccount",
            "metadata": { "name": name },
            "spec": {
                "baseURL": user.base_url,
                "credentialsSecretRef": { "namespace": NAMESPACE, "name": credentials },
                "rateLimit": { "requestsPerSecond": 100_000, "burst": 100_000 },
            },
        }))?;
        secrets.create(&with, &secret).await?;
        accounts.create(&with, &account).await?;
    }
    Ok(())
}

async fn create_others(admin: &Client, n: usize) -> anyhow::Result<()> {
    if n == 0 {
        return Ok(());
    }
    create_namespace(admin, OTHERS).await?;
    let data = "x".repeat(OTHERS_SIZE);
    let secret = |number: usize| -> anyhow::Result<Secret> {
        Ok(serde_json::from_value(json!({
            "metadata": { "name": format!("other-{number:05}") },
            "stringData": { "data": data },
        }))?)
    };
    create_all(admin, OTHERS, "Secrets of others", n, secret, |_| ()).await?;
    Ok(())
}

async fn create_tokens(admin: &Client, there: Population) -> anyhow::Result<Vec<PlatformToken>> {
    let token = |number: usize| {
        let mut spec = PlatformTokenSpec::default();
        spec.account_ref.name = account_name(number % there.accounts);
        Ok(PlatformToken::new(&format!("token-{number:05}"), spec))
    };
    let n = there.tokens;
    create_all(admin, NAMESPACE, "PlatformTokens", n, token, |token| token).await
}

async fn create_namespace(admin: &Client, name: &str) -> anyhow::Result<()> {
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": name } }))?;
    let namespaces = Api::all(admin.clone());
    namespaces
        .create(&PostParams::default(), &namespace)
        .await?;
    Ok(())
}

/// Creates `n` objects, many at once, and says how far it is. `keep` is what is left of each.
async fn create_all<K, T>(
    admin: &Client,
    namespace: &str,
    what: &str,
    n: usize,
    make: impl Fn(usize) -> anyhow::Result<K>,
    keep: impl Fn(K) -> T,
) -> anyhow::Result<Vec<T>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + Serialize
        + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(admin.clone(), namespace);
    let create = |number: usize| {
        let (api, object) = (&api, make(number));
        async move { anyhow::Ok(api.create(&PostParams::default(), &object?).await?) }
    };
    let mut created = stream::iter(0..n).map(create).buffered(PREPARING);
    let (mut kept, mut progress) = (Vec::with_capacity(n), Instant::now() + PROGRESS);
    while let Some(object) = created.next().await {
        kept.push(keep(
            object.with_context(|| format!("cannot create the {what}"))?,
        ));
        if Instant::now() > progress {
            eprintln!("    {} of {n} {what} are there", kept.len());
            progress += PROGRESS;
        }
    }
    Ok(kept)
}
