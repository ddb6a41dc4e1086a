//! What the two account kinds have in common.

use std::fmt::Debug;

use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::changes::SecretName;
use crate::api::{
    AccountKey, AccountKind, AccountSettings, AccountStatus, ClusterPlatformAccount,
    PlatformAccount, PlatformToken,
};

/// What the two account kinds have in common.
pub(in crate::controller) trait Account:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
    /// Which kind it is.
    const KIND: AccountKind;
    /// Its settings.
    fn settings(&self) -> &AccountSettings;
    /// Where its credential is.
    fn credentials(&self) -> CredentialsKey;
    /// Its status.
    fn status(&self) -> Option<&AccountStatus>;
    /// The API that writes it.
    fn api(client: kube::Client, namespace: Option<&str>) -> Api<Self>;

    /// Its name in the cluster.
    fn key(&self) -> AccountKey {
        AccountKey {
            kind: Self::KIND,
            namespace: self.namespace(),
            name: self.name_any(),
        }
    }
}

/// Namespace, name and key of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::controller) struct CredentialsKey {
    pub namespace: String,
    pub name: String,
    pub key: String,
}

impl CredentialsKey {
    /// The Secret.
    pub(super) fn secret(self) -> SecretName {
        (self.namespace, self.name)
    }
}

impl Account for PlatformAccount {
    const KIND: AccountKind = AccountKind::PlatformAccount;

    fn settings(&self) -> &AccountSettings {
        &self.spec.settings
    }

    fn credentials(&self) -> CredentialsKey {
        let reference = &self.spec.credentials_secret_ref;
        CredentialsKey {
            namespace: self.namespace().unwrap_or_default(),
            name: reference.name.clone(),
            key: reference.key.clone(),
        }
    }

    fn status(&self) -> Option<&AccountStatus> {
        self.status.as_ref()
    }

    fn api(client: kube::Client, namespace: Option<&str>) -> Api<Self> {
        Api::namespaced(client, namespace.unwrap_or_default())
    }
}

impl Account for ClusterPlatformAccount {
    const KIND: AccountKind = AccountKind::ClusterPlatformAccount;

    fn settings(&self) -> &AccountSettings {
        &self.spec.settings
    }

    fn credentials(&self) -> CredentialsKey {
        let reference = &self.spec.credentials_secret_ref;
        CredentialsKey {
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
            key: reference.key.clone(),
        }
    }

    fn status(&self) -> Option<&AccountStatus> {
        self.status.as_ref()
    }

    fn api(client: kube::Client, _: Option<&str>) -> Api<Self> {
        Api::all(client)
    }
}

/// The account that a PlatformToken names.
pub(in crate::controller) fn account_key(token: &PlatformToken) -> AccountKey {
    let reference = &token.spec.account_ref;
    let namespace = match reference.kind {
        AccountKind::PlatformAccount => token.namespace(),
        AccountKind::ClusterPlatformAccount => None,
    };
    AccountKey {
        kind: reference.kind,
        namespace,
        name: reference.name.clone(),
    }
}
