//! Looks at accounts and deletions as the operator does, and acts on nothing.

use std::collections::BTreeSet;
use std::fmt::Debug;

use futures::{StreamExt, stream};
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::Account;
use super::prove::{Proven, prove};
use super::stock::{claims, compare, list};
use crate::api::{
    AccountKey, ClusterPlatformAccount, ConditionType, PlatformAccount, PlatformToken, Reason,
    TokenHash,
};
use crate::controller::kubernetes::{KubeError, each};
use crate::controller::{Context, Operator};
use crate::plan::{Claims, Proof, Stock, Trouble};

/// Accounts to look at at once.
const AT_ONCE: usize = 8;

/// One account, as it is now.
pub(crate) struct Inspected {
    /// Which one.
    pub key: AccountKey,
    /// Who it belongs to, or what is amiss.
    pub proof: Proof,
    /// What the user should know although it works.
    pub warning: Option<&'static str>,
    /// What is on it, if it is proven.
    pub stock: Option<Result<Stock, Trouble>>,
    /// Whether the operator revokes what nothing claims.
    pub exclusive: bool,
}

/// A PlatformToken that is being deleted and is not gone.
pub(crate) struct Lingering {
    /// Its namespace and name.
    pub token: String,
    /// What its status says that stands in the way.
    pub says: Option<String>,
}

impl Operator {
    /// Every account that is served: proven, then its tokens compared with the cluster.
    pub(crate) async fn inspect_accounts(&self) -> Result<Vec<Inspected>, KubeError> {
        let context = &*self.context;
        let mut namespaced = every::<PlatformAccount>(context).await?;
        namespaced.retain(|account| self.serves(account));
        let cluster = every::<ClusterPlatformAccount>(context).await?;
        let namespaced = prove_all(namespaced, context).await;
        let cluster = prove_all(cluster, context).await;
        let credentials = credentials(&namespaced)
            .chain(credentials(&cluster))
            .collect();
        let claims = claims(context).await?;
        let mut inspected = compare_all(namespaced, context, &claims, &credentials).await;
        inspected.extend(compare_all(cluster, context, &claims, &credentials).await);
        Ok(inspected)
    }

    /// Every PlatformToken that is served and is being deleted.
    pub(crate) async fn lingering(&self) -> Result<Vec<Lingering>, KubeError> {
        let tokens = every::<PlatformToken>(&self.context).await?;
        let going = tokens
            .iter()
            .filter(|token| self.serves(*token) && token.meta().deletion_timestamp.is_some());
        let lingering = going.map(|token| Lingering {
            token: format!(
                "{}/{}",
                token.namespace().unwrap_or_default(),
                token.name_any()
            ),
            says: token.0.as_ref().ok().and_then(trouble_of),
        });
        Ok(lingering.collect())
    }
}

async fn prove_all<K: Account>(
    accounts: Vec<DeserializeGuard<K>>,
    context: &Context,
) -> Vec<(DeserializeGuard<K>, Option<Proven>)> {
    let proven = stream::iter(accounts).map(|account| async {
        let proven = match &account.0 {
            Ok(account) => Some(prove(account, context).await),
            Err(_) => None,
        };
        (account, proven)
    });
    proven.buffered(AT_ONCE).collect().await
}

fn credentials<K>(
    proven: &[(DeserializeGuard<K>, Option<Proven>)],
) -> impl Iterator<Item = TokenHash> {
    let proven = proven.iter().filter_map(|(_, proven)| proven.as_ref());
    proven.filter_map(|proven| proven.credential.clone())
}

async fn compare_all<K: Account>(
    accounts: Vec<(DeserializeGuard<K>, Option<Proven>)>,
    context: &Context,
    claims: &Claims,
    credentials: &BTreeSet<TokenHash>,
) -> Vec<Inspected> {
    let inspected = stream::iter(accounts).map(|(account, proven)| async move {
        match (&account.0, proven) {
            (Ok(account), Some(proven)) => {
                let stock = match &proven.session {
                    Ok(session) => {
                        let listing = list(context, session).await;
                        let compare =
                            |listing| compare(account, context, &listing, claims, credentials);
                        Some(listing.map(compare))
                    }
                    Err(_) => None,
                };
                Inspected {
                    key: account.key(),
                    proof: proven.facts(),
                    warning: proven.warning,
                    stock,
                    exclusive: account.settings().exclusive,
                }
            }
            (unreadable, _) => {
                let error = unreadable
                    .as_ref()
                    .err()
                    .map(|invalid| invalid.error.as_str());
                let text = format!(
                    "it cannot be read: {}; correct it",
                    error.unwrap_or_default()
                );
                Inspected {
                    key: AccountKey {
                        kind: K::KIND,
                        namespace: account.namespace(),
                        name: account.name_any(),
                    },
                    proof: Err(Trouble::stalled(Reason::InvalidSpec, text)),
                    warning: None,
                    stock: None,
                    exclusive: false,
                }
            }
        }
    });
    inspected.buffered(AT_ONCE).collect().await
}

fn trouble_of(token: &PlatformToken) -> Option<String> {
    let mut conditions = token.status.as_ref()?.conditions.iter();
    let ready = conditions.find(|c| c.type_ == ConditionType::Ready.as_str())?;
    (ready.status != "True").then(|| format!("{}: {}", ready.reason, ready.message))
}

/// Every object of a kind, also those that do not read.
async fn every<K>(context: &Context) -> Result<Vec<DeserializeGuard<K>>, KubeError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    let api: Api<DeserializeGuard<K>> = Api::all(context.client.clone());
    let list = |scope| async {
        let scope = scope;
        api.list(&scope).await
    };
    let mut all = Vec::new();
    each(ListParams::default(), list, |object| all.push(object)).await?;
    Ok(all)
}
