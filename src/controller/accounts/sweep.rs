//! Sweeps an account: writes what is due to the ledger, which has it revoked.

use super::Account;
use crate::controller::report::publish;
use crate::controller::trouble::of_kubernetes;
use crate::controller::{Context, Served};
use crate::plan::{Broom, Stock, Stranded, Trouble};

/// Writes tokens down to be revoked, and leaves the rest to the ledger: nothing is lost if we die now.
pub(super) async fn sweep<K: Account>(
    account: &K,
    context: &Context,
    stock: &mut Stock,
    due: Vec<Stranded>,
) -> Result<(), Trouble> {
    let mut swept = Vec::new();
    let mut failed = Ok(());
    for stranded in due {
        let entry = stranded.owed();
        if let Err(error) = context.owe(&entry).await {
            failed = Err(of_kubernetes(&error));
            break;
        }
        swept.extend(entry.token_id().cloned());
    }
    if let Some(note) = stock.swept(&swept) {
        tracing::info!(account = %account.key(), reason = note.reason.as_str(), "{}", note.text);
        publish(context, account, &note).await;
    }
    failed
}

/// How an account sweeps: where it serves PlatformTokens, and the operator does.
pub(super) fn broom<K: Account>(account: &K, context: &Context) -> Broom {
    let namespaces = match (account.key().namespace, &context.served) {
        (Some(own), _) => Some([own].into()),
        (None, Served::Only(namespaces)) => Some(namespaces.clone()),
        (None, Served::Everywhere) => None,
    };
    Broom {
        sweep: account.settings().sweep,
        cluster: context.cluster.clone(),
        namespaces,
    }
}

#[cfg(test)]
mod tests {
    use kube::Client;
    use kube::client::Body;
    use serde_json::json;

    use super::super::stock::tests::operator;
    use super::*;
    use crate::api::{ClusterPlatformAccount, PlatformAccount};

    /// The namespaces that an account sweeps.
    fn swept<K: Account>(account: serde_json::Value, served: Served) -> Option<Vec<String>> {
        let nobody = tower::service_fn(|_: http::Request<Body>| async {
            std::future::pending::<kube::Result<http::Response<Body>>>().await
        });
        let operator = operator(Client::new(nobody, "default"), served);
        let account: K = serde_json::from_value(account).unwrap();
        let broom = broom(&account, &operator.context);
        Some(broom.namespaces?.into_iter().collect())
    }

    #[tokio::test]
    async fn an_account_sweeps_where_it_serves_and_the_operator_does() {
        let secret = json!({ "namespace": "n", "name": "c" });
        let of_one = json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformAccount",
            "metadata": { "namespace": "own", "name": "main" },
            "spec": { "credentialsSecretRef": { "name": "c" } },
        });
        let of_all = json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "ClusterPlatformAccount",
            "metadata": { "name": "main" }, "spec": { "credentialsSecretRef": secret },
        });
        let some = || Served::these(["a".to_owned(), "own".to_owned()]);
        for served in [Served::Everywhere, some()] {
            let swept = swept::<PlatformAccount>(of_one.clone(), served);
            assert_eq!(swept, Some(vec!["own".to_owned()]));
        }
        let swept_by_all = |served| swept::<ClusterPlatformAccount>(of_all.clone(), served);
        let both = vec!["a".to_owned(), "own".to_owned()];
        assert_eq!(swept_by_all(some()), Some(both));
        assert_eq!(swept_by_all(Served::Everywhere), None);
    }
}
