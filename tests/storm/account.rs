//! One account: a platform of its own, the proxy before it, and a namespace whose PlatformTokens use it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Client, Config as KubeConfig};
use platform_token_operator::api::{Dialect, PlatformAccount, PlatformToken, TokenId, UserId};
use platform_token_operator::clock::Clock;
use platform_token_operator::sandbox::{self, Config, Shared};
use serde_json::json;
use tokio::net::TcpListener;

use crate::logbook::Logbook;
use crate::lookout::Lookout;
use crate::proxy::{self, Side};

/// What kind of account it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The platform of today: tokens bear tags.
    Current,
    /// The platform as documented: nothing tells who made a token.
    Documented,
    /// The same, where nobody else makes tokens.
    Exclusive,
}

/// One account and all that belongs to it.
pub(crate) struct Account {
    /// Its place among the accounts of the storm.
    pub index: usize,
    /// What the table calls it.
    pub label: &'static str,
    pub namespace: String,
    pub dialect: Dialect,
    /// Nobody else makes tokens on it.
    pub exclusive: bool,
    pub user: UserId,
    pub sandbox: Arc<Shared>,
    /// Where the operator reaches its platform: the proxy.
    pub base_url: String,
    admin: Client,
    log: Mutex<Logbook>,
    /// Tokens that strangers hold.
    strangers: Mutex<BTreeSet<TokenId>>,
}

impl Account {
    /// Starts the platform and its proxy; nothing is in the cluster yet.
    pub(crate) async fn start(
        index: usize,
        kind: Kind,
        seed: u64,
        admin: Client,
        lookout: Arc<Lookout>,
    ) -> Arc<Self> {
        let (label, dialect, exclusive) = match kind {
            Kind::Current => ("current", Dialect::Current, false),
            Kind::Documented => ("documented", Dialect::Documented, false),
            Kind::Exclusive => ("exclusive", Dialect::Documented, true),
        };
        let config = Config {
            dialect,
            seed: seed.wrapping_add(index as u64),
            ..Config::default()
        };
        let user = config.accounts[0].user_id.clone();
        let clock = Clock::system();
        let sandbox = Shared::new(config, Arc::new(move || clock.now().wall));
        let platform = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = format!("http://{}", platform.local_addr().unwrap());
        tokio::spawn(sandbox::http::serve(
            platform,
            sandbox.clone(),
            std::future::pending::<()>(),
        ));
        let upstream = Client::try_from(KubeConfig::new(upstream.parse().unwrap())).unwrap();
        let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let account = Arc::new(Self {
            index,
            label,
            namespace: format!("storm-{label}"),
            dialect,
            exclusive,
            user,
            sandbox,
            base_url: format!("http://{}", front.local_addr().unwrap()),
            admin,
            log: Mutex::default(),
            strangers: Mutex::default(),
        });
        proxy::serve(front, upstream, Side::Platform(account.clone()), lookout);
        account
    }

    /// Creates the namespace, the credentials and the PlatformAccount.
    pub(crate) async fn install(&self) {
        let credential = self
            .sandbox
            .with(|sandbox, _| sandbox.model.admin(&self.user).unwrap().expose().to_owned());
        let namespace: Namespace =
            serde_json::from_value(json!({ "metadata": { "name": self.namespace } })).unwrap();
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": "credentials" },
            "stringData": { "ACEDATACLOUD_PLATFORM_TOKEN": credential },
        }))
        .unwrap();
        // Proven often, as a storm has no time to wait, and with a limit that is out of the way.
        let account: PlatformAccount = serde_json::from_value(json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformAccount",
            "metadata": { "name": "main" },
            "spec": {
                "baseURL": self.base_url,
                "credentialsSecretRef": { "name": "credentials" },
                "resyncInterval": "10s",
                "exclusive": self.exclusive,
                "rateLimit": { "requestsPerSecond": 100_000, "burst": 100_000 },
            },
        }))
        .unwrap();
        let with = PostParams::default();
        let namespaces = Api::all(self.admin.clone());
        namespaces.create(&with, &namespace).await.unwrap();
        self.secrets().create(&with, &secret).await.unwrap();
        let accounts = Api::namespaced(self.admin.clone(), &self.namespace);
        accounts.create(&with, &account).await.unwrap();
    }

    /// Its PlatformTokens, as a user of the cluster sees them.
    pub(crate) fn tokens(&self) -> Api<PlatformToken> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Logbook> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn strangers(&self) -> MutexGuard<'_, BTreeSet<TokenId>> {
        self.strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The tokens that its status names as unclaimed.
    pub(crate) async fn reported(&self) -> BTreeSet<TokenId> {
        let accounts = Api::<PlatformAccount>::namespaced(self.admin.clone(), &self.namespace);
        let account = accounts.get("main").await.unwrap();
        let status = account.status.unwrap_or_default();
        status.unclaimed_token_ids.into_iter().collect()
    }

    /// Deletes Secrets whose PlatformToken is gone, as whoever finds them does; the operator has to let them go. Only a
    /// store that arrives when its sender has long been dead leaves one behind.
    pub(crate) async fn delete_orphans(&self, orphans: &[ObjectMeta]) {
        for ObjectMeta {
            name,
            uid,
            resource_version,
            ..
        } in orphans
        {
            let name = name.as_deref().unwrap_or_default();
            let exactly = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: uid.clone(),
                    // One that was about to go when it was listed is no orphan.
                    resource_version: resource_version.clone(),
                }),
                ..DeleteParams::default()
            };
            match self.secrets().delete(name, &exactly).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => continue,
                Err(error) => panic!("deleting Secret {name}: {error}"),
            }
            let mut log = self.log();
            log.orphans.extend(uid.clone());
            let late = log.late_stores();
            assert!(
                log.orphans.len() as u64 <= late,
                "Secret {name} is left behind after {late} late stores"
            );
        }
    }

    /// Someone revokes tokens that the account's status reports as unclaimed.
    pub(crate) fn revoke_by_hand(&self, ids: &[TokenId]) {
        self.log().unclaimed += ids.len() as u64;
        self.sandbox.with(|sandbox, _| {
            for id in ids {
                sandbox.model.revoke(id);
            }
        });
    }

    /// Whether anything can tell that a proxy sent a POST twice; that takes its time.
    pub(crate) fn tells_doubles(&self) -> bool {
        self.dialect == Dialect::Current || self.exclusive
    }

    /// The tags of a token that lives; none if it does not.
    pub(crate) fn tags_of(&self, id: &TokenId) -> Vec<String> {
        self.sandbox.with(|sandbox, _| {
            let mut live = sandbox.model.live();
            live.find(|token| token.id == *id)
                .map_or_else(Vec::new, |token| token.tags.clone())
        })
    }
}
