//! Looks at accounts and deletions as the operator does, and acts on nothing.

use std::collections::BTreeSet;
use std::fmt::Debug;

use futures::{StreamExt, stream};
use kube::api::{Api, ListParams};
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::Account;
use super::claims::claims;
use super::prove::{Proven, prove};
use super::stock::{compare, list};
use crate::api::{
    AccountKey, ClusterPlatformAccount, ConditionType, PlatformAccount, PlatformToken, Reason,
    Sweep, TokenHash,
};
use crate::controller::kubernetes::{KubeError, each};
use crate::controller::{Context, Operator};
use crate::plan::{Claims, Listing, Proof, Stock, Trouble};

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
    /// What the operator does with what is left of this cluster.
    pub sweep: Sweep,
}

/// A PlatformToken that is being deleted and is not gone.
pub(crate) struct Lingering {
    /// Its namespace and name.
    pub token: String,
    /// What its status says that stands in the way.
    pub says: Option<String>,
}

/// One account, as the platform has it.
struct Asked<K> {
    account: K,
    proven: Proven,
    /// Its tokens, if it is proven.
    listing: Option<Result<Listing, Trouble>>,
}

impl Operator {
    /// Every account that is served: proven and listed, then compared with the cluster. The platform comes first, as in
    /// every stock: what is claimed after the list cannot be missed.
    pub(crate) async fn inspect_accounts(&self) -> Result<Vec<Inspected>, KubeError> {
        let context = &*self.context;
        let mut namespaced = every::<PlatformAccount>(context).await?;
        namespaced.retain(|account| self.serves(account));
        let cluster = every::<ClusterPlatformAccount>(context).await?;
        let namespaced = ask_all(namespaced, context).await;
        let cluster = ask_all(cluster, context).await;
        let credentials = credentials(&namespaced)
            .chain(credentials(&cluster))
            .collect();
        let claims = claims(context).await?;
        let mut inspected = compare_all(namespaced, context, &claims, &credentials);
        inspected.extend(compare_all(cluster, context, &claims, &credentials));
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

async fn ask_all<K: Account>(
    accounts: Vec<DeserializeGuard<K>>,
    context: &Context,
) -> Vec<Result<Asked<K>, InvalidObject>> {
    let asked = stream::iter(accounts).map(|account| async {
        let account = account.0?;
        let proven = prove(&account, context).await;
        let listing = match &proven.session {
            Ok(session) => Some(list(context, session).await),
            Err(_) => None,
        };
        Ok(Asked {
            account,
            proven,
            listing,
        })
    });
    asked.buffered(AT_ONCE).collect().await
}

fn credentials<K>(asked: &[Result<Asked<K>, InvalidObject>]) -> impl Iterator<Item = TokenHash> {
    let asked = asked.iter().filter_map(|asked| asked.as_ref().ok());
    asked.filter_map(|asked| asked.proven.credential.clone())
}

fn compare_all<K: Account>(
    asked: Vec<Result<Asked<K>, InvalidObject>>,
    context: &Context,
    claims: &Claims,
    credentials: &BTreeSet<TokenHash>,
) -> Vec<Inspected> {
    let inspected = asked.into_iter().map(|asked| match asked {
        Ok(Asked {
            account,
            proven,
            listing,
        }) => {
            let compare = |listing| compare(&account, context, &listing, claims, credentials);
            Inspected {
                key: account.key(),
                proof: proven.facts(),
                warning: proven.warning,
                stock: listing.map(|listing| listing.map(compare)),
                exclusive: account.settings().exclusive,
                sweep: account.settings().sweep,
            }
        }
        Err(invalid) => unreadable::<K>(invalid),
    });
    inspected.collect()
}

fn unreadable<K: Account>(invalid: InvalidObject) -> Inspected {
    let text = format!("it cannot be read: {}; correct it", invalid.error);
    Inspected {
        key: AccountKey {
            kind: K::KIND,
            namespace: invalid.metadata.namespace,
            name: invalid.metadata.name.unwrap_or_default(),
        },
        proof: Err(Trouble::stalled(Reason::InvalidSpec, text)),
        warning: None,
        stock: None,
        exclusive: false,
        sweep: Sweep::Off,
    }
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::{Ready, ready};
    use std::sync::Arc;
    use std::time::Duration;

    use kube::Client;
    use kube::client::Body;
    use serde_json::json;

    use super::*;
    use crate::api::{AttemptId, DEFAULT_BASE_URL, names};
    use crate::clock::Clock;
    use crate::controller::{Platforms, Served, Settings};
    use crate::platform::Transport;
    use crate::sandbox::{Config, Door, Shared};

    #[tokio::test]
    async fn what_is_minted_while_the_cluster_is_read_is_not_unclaimed() {
        let clock = Clock::system();
        let (config, now) = (Config::default(), move || clock.now().wall);
        let user = config.accounts[0].user_id.clone();
        let platform = Shared::new(config, Arc::new(now));
        let credential =
            platform.with(|sandbox, _| sandbox.model.admin(&user).unwrap().expose().to_owned());
        let (minting, owner) = (platform.clone(), user.clone());
        // An API server with one account. While it lists Secrets, a token of this cluster is minted.
        let answer = move |request: http::Request<Body>| {
            let items = match request.uri().path() {
                "/api/v1/namespaces/ns/secrets/credentials" => {
                    let secret = json!({
                        "metadata": { "resourceVersion": "1" },
                        "data": { names::TOKEN_VARIABLE: base64(&credential) },
                    });
                    return answered(&secret);
                }
                "/api/v1/secrets" => {
                    minting.with(|sandbox, now| {
                        let tags = vec!["cluster=cluster".into(), "uid=nobody".into()];
                        let made = now - Duration::from_mins(10);
                        sandbox.model.stranger(&owner, tags, made).unwrap();
                    });
                    json!([])
                }
                path if path.ends_with("/platformaccounts") => json!([{
                    "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformAccount",
                    "metadata": { "namespace": "ns", "name": "main" },
                    "spec": { "credentialsSecretRef": { "name": "credentials" } },
                }]),
                _ => json!([]),
            };
            let list =
                json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items });
            answered(&list)
        };
        let door = Door::new(platform.clone());
        let connect = move |_: &str| -> Arc<dyn Transport> { Arc::new(door.clone()) };
        let settings = Settings {
            platforms: Platforms::new([DEFAULT_BASE_URL.parse().unwrap()], connect),
            concurrency: 1,
            served: Served::Everywhere,
            namespace: "ours".into(),
            instance: "test".into(),
            clock,
            fresh: Box::new(AttemptId::fresh),
        };
        let client = Client::new(tower::service_fn(answer), "default");
        let (operator, ..) = Operator::new(client, "cluster".into(), settings, Arc::default());
        let mut unclaimed = Vec::new();
        for _ in 0..2 {
            let inspected = operator.inspect_accounts().await.unwrap();
            let stock = inspected[0].stock.as_ref().unwrap().as_ref().unwrap();
            unclaimed.push(stock.unclaimed.len());
        }
        // The next look finds the one that the first one must not.
        assert_eq!(unclaimed, [0, 1]);
    }

    fn answered(body: &serde_json::Value) -> Ready<Result<http::Response<Body>, Infallible>> {
        let body = Body::from(body.to_string().into_bytes());
        ready(Ok(http::Response::new(body)))
    }

    fn base64(text: &str) -> serde_json::Value {
        serde_json::to_value(k8s_openapi::ByteString(text.as_bytes().to_vec())).unwrap()
    }
}
