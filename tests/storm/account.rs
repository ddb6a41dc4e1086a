//! One account: a platform of its own, the proxy before it, and the namespaces whose PlatformTokens use it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, DeleteParams, ListParams, PostParams, Preconditions};
use kube::{Client, Config as KubeConfig};
use platform_token_operator::api::{
    ClusterPlatformAccount, Dialect, Entry, PlatformToken, TokenId, UserId, names,
};
use platform_token_operator::clock::Clock;
use platform_token_operator::sandbox::{self, Config, Shared};
use serde_json::json;
use tokio::net::TcpListener;

use crate::home::Home;
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
    /// Where its PlatformTokens are.
    pub home: Home,
    /// Where guests make some, and leave with all that they have.
    pub guests: Home,
    pub dialect: Dialect,
    pub user: UserId,
    pub sandbox: Arc<Shared>,
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
        let credential = sandbox.with(|sandbox, _| sandbox.model.admin(&user).unwrap().clone());
        // The operator reaches its platform through the proxy.
        let base_url = format!("http://{}", front.local_addr().unwrap());
        let home = |namespace, exclusive| Home {
            namespace,
            exclusive,
            base_url: base_url.clone(),
            credential: credential.clone(),
            admin: admin.clone(),
        };
        let account = Arc::new(Self {
            index,
            label,
            home: home(format!("storm-{label}"), exclusive),
            guests: home(format!("storm-{label}-guests"), false),
            dialect,
            user,
            sandbox,
            admin,
            log: Mutex::default(),
            strangers: Mutex::default(),
        });
        proxy::serve(front, upstream, Side::Platform(account.clone()), lookout);
        account
    }

    /// Makes its home, and an account of the cluster with the same credentials and the name of its namespace.
    pub(crate) async fn install(&self) {
        self.home.make().await;
        let mut spec = self.home.account_spec();
        spec["credentialsSecretRef"] = self.home.credentials();
        let account: ClusterPlatformAccount = serde_json::from_value(json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "ClusterPlatformAccount",
            "metadata": { "name": self.home.namespace }, "spec": spec,
        }))
        .unwrap();
        let accounts = self.cluster_accounts();
        accounts
            .create(&PostParams::default(), &account)
            .await
            .unwrap();
    }

    /// Both namespaces, whether they are there or not.
    pub(crate) fn homes(&self) -> [&Home; 2] {
        [&self.home, &self.guests]
    }

    /// Whether a namespace, or a platform, is its.
    pub(crate) fn has(&self, place: &str) -> bool {
        let mut homes = self.homes().into_iter();
        homes.any(|home| home.namespace == place || home.base_url == place)
    }

    /// What the ledger has about its platform.
    pub(crate) async fn ledger(&self) -> Vec<Entry> {
        let secrets: Api<Secret> = Api::namespaced(self.admin.clone(), names::OPERATOR);
        let entries = ListParams::default().labels(names::LEDGER_LABEL);
        let entries = secrets.list_metadata(&entries).await.unwrap().items;
        let entries = entries.iter().map(|secret| Entry::parse(&secret.metadata));
        let entries = entries.map(Result::unwrap);
        entries
            .filter(|entry| self.has(entry.account().0))
            .collect()
    }

    /// Every PlatformToken that uses it, as a user of the cluster sees them.
    pub(crate) async fn tokens(&self) -> Vec<PlatformToken> {
        let all = ListParams::default();
        let tokens = self.homes().map(Home::tokens);
        let tokens = join_all(tokens.iter().map(|tokens| tokens.list(&all))).await;
        tokens
            .into_iter()
            .flat_map(|list| list.unwrap().items)
            .collect()
    }

    /// Every Secret beside them.
    pub(crate) async fn secrets(&self) -> Vec<Secret> {
        let all = ListParams::default();
        let secrets = self.homes().map(Home::secrets);
        let secrets = join_all(secrets.iter().map(|secrets| secrets.list(&all))).await;
        secrets
            .into_iter()
            .flat_map(|list| list.unwrap().items)
            .collect()
    }

    fn cluster_accounts(&self) -> Api<ClusterPlatformAccount> {
        Api::all(self.admin.clone())
    }

    pub(crate) fn log(&self) -> MutexGuard<'_, Logbook> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn strangers(&self) -> MutexGuard<'_, BTreeSet<TokenId>> {
        self.strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The tokens that the status of an account names as unclaimed.
    pub(crate) async fn reported(&self) -> BTreeSet<TokenId> {
        let account = self.cluster_accounts().get(&self.home.namespace).await;
        let status = account.unwrap().status.unwrap_or_default();
        let mut reported: BTreeSet<_> = status.unclaimed_token_ids.into_iter().collect();
        for home in self.homes() {
            reported.extend(home.reported().await);
        }
        reported
    }

    /// Deletes Secrets whose PlatformToken is gone, as whoever finds them does; the operator has to let them go. Only a
    /// store that arrives when its sender has long been dead leaves one behind.
    pub(crate) async fn delete_orphans(&self, orphans: &[ObjectMeta]) {
        for ObjectMeta {
            name,
            namespace,
            uid,
            resource_version,
            ..
        } in orphans
        {
            let name = name.as_deref().unwrap_or_default();
            let namespace = namespace.as_deref().unwrap_or_default();
            let secrets: Api<Secret> = Api::namespaced(self.admin.clone(), namespace);
            let exactly = DeleteParams {
                preconditions: Some(Preconditions {
                    uid: uid.clone(),
                    // One that was about to go when it was listed is no orphan.
                    resource_version: resource_version.clone(),
                }),
                ..DeleteParams::default()
            };
            match secrets.delete(name, &exactly).await {
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
        self.dialect == Dialect::Current || self.home.exclusive
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
