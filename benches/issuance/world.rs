//! What one measurement has to itself: a control plane, a platform, an account and the PlatformTokens that wait.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::PostParams;
use kube::client::ClientBuilder;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use platform_token_operator::api::{ClusterPlatformAccount, PlatformToken, PlatformTokenSpec};
use serde::Deserialize;
use serde_json::json;

use crate::control_plane::{ControlPlane, first_line};
use crate::process::Process;
use crate::settings::Settings;

/// The program that users run, as it is released.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_platform-token-operator");

/// The namespace of the PlatformTokens.
const NAMESPACE: &str = "bench";

/// How many objects are created at once before the clock starts.
const PREPARING: usize = 32;

/// What one measurement has to itself.
pub(crate) struct World {
    /// Of the control plane's admin, who is exempt from the API server's fairness.
    pub(crate) admin: Client,
    pub(crate) platform: Platform,
    /// What waits to be issued.
    pub(crate) tokens: Vec<PlatformToken>,
    pub(crate) plane: ControlPlane,
    _sandbox: Process,
}

/// A platform and the credential of its one account.
#[derive(Debug, Clone)]
pub(crate) struct Platform {
    pub(crate) base_url: String,
    pub(crate) user_id: String,
    pub(crate) credential: String,
}

impl World {
    /// Starts everything, and creates `n` PlatformTokens that nobody cares for yet.
    pub(crate) async fn with(n: usize, settings: &Settings) -> anyhow::Result<Self> {
        let (sandbox, platform) = start_sandbox(settings)?;
        let plane = ControlPlane::start("bench");
        let admin = client(&plane.kubeconfig).await?;
        create_account(&admin, &platform).await?;
        let tokens = create_tokens(&admin, n).await?;
        Ok(Self {
            admin,
            platform,
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

fn start_sandbox(settings: &Settings) -> anyhow::Result<(Process, Platform)> {
    #[derive(Deserialize)]
    struct Ready {
        url: String,
        accounts: [Account; 1],
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Account {
        #[serde(rename = "userID")]
        user_id: String,
        credential: String,
    }
    let latency = format!("{}us", settings.latency.as_micros());
    let mut sandbox = Process::start(
        Command::new(PROGRAM)
            .args(["sandbox", "--listen=127.0.0.1:0", "--until-stdin-closes"])
            .args(["--latency", &latency])
            .stdout(Stdio::piped()),
    )?;
    let line = first_line(&mut sandbox.0);
    let Ready { url, accounts } =
        serde_json::from_str(&line).with_context(|| format!("the sandbox said {line:?}"))?;
    let [
        Account {
            user_id,
            credential,
        },
    ] = accounts;
    let platform = Platform {
        base_url: url,
        user_id,
        credential,
    };
    Ok((sandbox, platform))
}

/// The account that PlatformTokens use by default, with a rate limit that is out of the way.
async fn create_account(admin: &Client, platform: &Platform) -> anyhow::Result<()> {
    let namespace: Namespace =
        serde_json::from_value(json!({ "metadata": { "name": NAMESPACE } }))?;
    let secret: Secret = serde_json::from_value(json!({
        "metadata": { "name": "platform-credentials" },
        "stringData": { "ACEDATACLOUD_PLATFORM_TOKEN": platform.credential },
    }))?;
    let account: ClusterPlatformAccount = serde_json::from_value(json!({
        "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "ClusterPlatformAccount",
        "metadata": { "name": "default" },
        "spec": {
            "baseURL": platform.base_url,
            "credentialsSecretRef": { "namespace": NAMESPACE, "name": "platform-credentials" },
            "rateLimit": { "requestsPerSecond": 100_000, "burst": 100_000 },
        },
    }))?;
    let with = PostParams::default();
    Api::all(admin.clone()).create(&with, &namespace).await?;
    let secrets: Api<Secret> = Api::namespaced(admin.clone(), NAMESPACE);
    secrets.create(&with, &secret).await?;
    Api::all(admin.clone()).create(&with, &account).await?;
    Ok(())
}

async fn create_tokens(admin: &Client, n: usize) -> anyhow::Result<Vec<PlatformToken>> {
    let api: Api<PlatformToken> = Api::namespaced(admin.clone(), NAMESPACE);
    let create = |number: usize| {
        let api = &api;
        async move {
            let token =
                PlatformToken::new(&format!("token-{number:05}"), PlatformTokenSpec::default());
            api.create(&PostParams::default(), &token).await
        }
    };
    let tokens = stream::iter(1..=n).map(create).buffered(PREPARING);
    tokens
        .try_collect()
        .await
        .context("cannot create the PlatformTokens")
}
