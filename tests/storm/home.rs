//! A namespace with a PlatformAccount and its credentials, as users make and delete it.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, PostParams};
use kube::{Client, ResourceExt};
use platform_token_operator::api::{
    AccountKind, AccountRef, PlatformAccount, PlatformToken, PlatformTokenSpec, TokenId, TokenValue,
};
use serde_json::{Value, json};

/// The name of the PlatformAccount, and that of its credentials Secret.
const ACCOUNT: &str = "main";
const CREDENTIALS: &str = "credentials";

/// One namespace, whether it is there or not.
pub(crate) struct Home {
    pub namespace: String,
    /// Nobody else makes tokens on its account.
    pub exclusive: bool,
    pub base_url: String,
    pub credential: TokenValue,
    pub admin: Client,
}

impl Home {
    /// Makes the namespace, the credentials and the PlatformAccount.
    pub(crate) async fn make(&self) {
        self.make_namespace().await;
        self.make_credentials().await;
        self.make_account().await;
    }

    pub(crate) async fn make_namespace(&self) {
        let namespace: Namespace =
            serde_json::from_value(json!({ "metadata": { "name": self.namespace } })).unwrap();
        let namespaces = self.namespaces();
        namespaces
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap();
    }

    pub(crate) async fn make_credentials(&self) {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": { "name": CREDENTIALS },
            "stringData": { "ACEDATACLOUD_PLATFORM_TOKEN": self.credential.expose() },
        }))
        .unwrap();
        let secrets = self.secrets();
        secrets
            .create(&PostParams::default(), &secret)
            .await
            .unwrap();
    }

    pub(crate) async fn make_account(&self) {
        let mut spec = self.account_spec();
        spec["exclusive"] = json!(self.exclusive);
        spec["credentialsSecretRef"] = json!({ "name": CREDENTIALS });
        let account: PlatformAccount = serde_json::from_value(json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformAccount",
            "metadata": { "name": ACCOUNT }, "spec": spec,
        }))
        .unwrap();
        let accounts = self.accounts();
        accounts
            .create(&PostParams::default(), &account)
            .await
            .unwrap();
    }

    /// What every account on this platform says. It is proven often, as a storm has no time to wait, and with a limit
    /// that is out of the way.
    pub(crate) fn account_spec(&self) -> Value {
        json!({
            "baseURL": self.base_url,
            "resyncInterval": "10s",
            "rateLimit": { "requestsPerSecond": 100_000, "burst": 100_000 },
        })
    }

    /// Where an account of the cluster finds the credentials.
    pub(crate) fn credentials(&self) -> Value {
        json!({ "namespace": self.namespace, "name": CREDENTIALS })
    }

    pub(crate) async fn delete_credentials(&self) {
        let secrets = self.secrets();
        let deleted = secrets.delete(CREDENTIALS, &DeleteParams::default()).await;
        deleted.unwrap();
    }

    pub(crate) async fn delete_account(&self) {
        let accounts = self.accounts();
        let deleted = accounts.delete(ACCOUNT, &DeleteParams::default()).await;
        deleted.unwrap();
    }

    /// Deletes the namespace with all that is in it.
    pub(crate) async fn delete(&self) {
        let namespaces = self.namespaces();
        let deleted = namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await;
        deleted.unwrap();
    }

    /// Whether there is no such namespace, or none any more.
    pub(crate) async fn is_gone(&self) -> bool {
        let there = self.namespaces().get_opt(&self.namespace).await;
        there.unwrap().is_none()
    }

    /// Whether the namespace is being deleted.
    pub(crate) async fn is_going(&self) -> bool {
        let there = self.namespaces().get_opt(&self.namespace).await;
        let there = there.unwrap();
        there.is_some_and(|namespace| namespace.metadata.deletion_timestamp.is_some())
    }

    /// The PlatformAccount, as PlatformTokens name it.
    pub(crate) fn account() -> AccountRef {
        AccountRef {
            kind: AccountKind::PlatformAccount,
            name: ACCOUNT.into(),
        }
    }

    /// Makes a PlatformToken on this account; its uid. None: the one before it is still going.
    pub(crate) async fn make_token(&self, name: &str, account: AccountRef) -> Option<String> {
        let spec = PlatformTokenSpec {
            account_ref: account,
            ..PlatformTokenSpec::default()
        };
        let token = PlatformToken::new(name, spec);
        match self.tokens().create(&PostParams::default(), &token).await {
            Ok(token) => token.uid(),
            Err(kube::Error::Api(status)) if status.is_already_exists() => None,
            Err(error) => panic!("creating {name}: {error}"),
        }
    }

    /// The tokens that the status of the PlatformAccount names as unclaimed.
    pub(crate) async fn reported(&self) -> BTreeSet<TokenId> {
        let account = self.accounts().get_opt(ACCOUNT).await.unwrap();
        let status = account.and_then(|account| account.status);
        let status = status.unwrap_or_default();
        status.unclaimed_token_ids.into_iter().collect()
    }

    pub(crate) fn tokens(&self) -> Api<PlatformToken> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    fn accounts(&self) -> Api<PlatformAccount> {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    fn namespaces(&self) -> Api<Namespace> {
        Api::all(self.admin.clone())
    }
}
