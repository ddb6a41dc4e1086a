//! Secrets of ours that are being deleted with no PlatformToken left to let them go: a copy, one of another cluster, one
//! whose PlatformToken lost its finalizer, or one that was written too late. Each is finished: its token is revoked if
//! it was this cluster's, then our finalizer is lifted. Without that a namespace would hang on it for ever.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};
use tracing::Instrument;

use super::execute::Executor;
use super::kubernetes::{KubeError, call_opt};
use super::ledger::standing;
use super::memory::Written;
use super::report::publish_if_new;
use super::tokens::settle;
use super::{Context, Operator};
use crate::api::{Entry, Issued, Owner, Reason, names};
use crate::plan::{
    AccountFacts, Former, Reader, SecretFacts, Snapshot, Trouble, Verdict, Version, read,
};

/// The wait of one that could not be finished doubles so often: to five minutes.
const SLOWEST: u32 = 9;

impl Operator {
    /// How often to ask for [`Operator::orphans`]. They are found in memory: no call is made where there are none.
    pub const LOOK_FOR_ORPHANS: Duration = Duration::from_secs(10);

    /// Namespace and name of every Secret that hangs on our finalizer and whose PlatformToken is not in the cache. A run
    /// that has just let its PlatformToken go is about to let the Secret go as well.
    #[must_use]
    pub fn orphans(&self) -> Vec<(String, String)> {
        if !self.context.accounts.are_known(&self.context.served) {
            // A credential that is not known yet might be the very token that is to be revoked.
            return Vec::new();
        }
        let lives = |owner: &Owner| {
            let token = ObjectRef::new(&owner.name).within(&owner.namespace);
            let token = self.context.tokens.get(&token);
            token.is_some_and(|token| token.uid().as_ref() == Some(&owner.uid))
                || self.context.memory.is_under_way(&owner.uid)
        };
        let mut orphans: Vec<_> = self
            .context
            .secrets
            .dying()
            .into_iter()
            // The owner of a Secret is in its namespace; one that names another is a copy.
            .filter(|((namespace, _), owner)| {
                let owner = owner.as_ref().filter(|owner| owner.namespace == *namespace);
                !owner.is_some_and(lives)
            })
            .map(|(secret, _)| secret)
            .collect();
        orphans.sort();
        orphans
    }

    /// Forgets PlatformTokens that vanished without us, and accounts. To be called as often as [`Operator::orphans`].
    pub fn forget_vanished(&self) {
        self.context.memory.forget_vanished(&self.context.tokens);
        self.context.slots.forget_vanished(&self.context.tokens);
        self.context.accounts.forget_vanished();
    }

    /// Finishes one such Secret, if it is one on a live look. Where that failed before, it is tried again with back-off.
    pub async fn finish_orphan(&self, namespace: &str, name: &str) {
        let tries = &self.context.orphans;
        let secret = key(namespace, name);
        if tries.waits(&secret, self.context.clock.now()) {
            return;
        }
        let span = tracing::info_span!("secret", namespace, name);
        let finished = self.finish(namespace, name).instrument(span.clone()).await;
        let _entered = span.enter();
        let failed = match finished {
            Ok(Some(Verdict::Trouble(trouble))) => {
                tracing::warn!(reason = trouble.reason.as_str(), "{}", trouble.message);
                true
            }
            Ok(Some(Verdict::Gone)) => {
                tracing::info!("let go of a Secret without a PlatformToken");
                false
            }
            Ok(_) => false,
            Err(error) => {
                tracing::warn!(%error, "a Secret without a PlatformToken was not let go");
                true
            }
        };
        tries.note(&secret, failed, SLOWEST, self.context.clock.now());
    }

    async fn finish(&self, namespace: &str, name: &str) -> Result<Option<Verdict>, KubeError> {
        let context = &*self.context;
        let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
        let Some(secret) = call_opt(secrets.get(name)).await? else {
            return Ok(None);
        };
        let held = secret.finalizers().iter().any(|f| f == names::FINALIZER);
        if secret.metadata.deletion_timestamp.is_none() || !held {
            return Ok(None);
        }
        let owner = secret.annotations().get(names::OWNER);
        let owner = owner
            .and_then(|text| Owner::parse(text).ok())
            .filter(|owner| owner.cluster == context.cluster && owner.namespace == namespace);
        let foreign = |whose: &str| SecretFacts::Foreign {
            trouble: Trouble::stalled(Reason::SecretNotWritable, format!("Secret {name} {whose}")),
            dying: Some(Version::of(&secret.metadata)),
        };
        let facts = match &owner {
            Some(owner) if context.lives_there(owner).await? => return Ok(None),
            // Whoever has forged its name is not to hold a namespace up.
            Some(owner) if context.lives_elsewhere(owner) => {
                foreign("names a PlatformToken that lives under another name")
            }
            Some(_) if is_released(context, &secret).await? => {
                foreign("holds a token that was released")
            }
            Some(owner) => {
                // What it was is somebody else's by now.
                let copy = |who| foreign(&format!("is a copy: {who} has its token"));
                let reader = Reader {
                    owner,
                    known: None,
                    take_over: None,
                };
                let read = || read(&secret, reader, &Former::Gone);
                let successor = context.successor(&secret, owner, owner);
                successor.map_or_else(read, copy)
            }
            None => foreign("names no PlatformToken of this cluster"),
        };
        let owner = owner.unwrap_or_else(|| Owner {
            cluster: context.cluster.clone(),
            namespace: namespace.to_owned(),
            name: String::new(),
            uid: String::new(),
        });
        let issued = Issued::from_annotations(secret.annotations());
        let (account, session) = if let Some(issued) = &issued {
            let user = Some(&issued.user_id);
            context.accounts.of_user(&issued.base_url, user)
        } else {
            let trouble = Trouble::stalled(Reason::AccountNotFound, "it names no user");
            (AccountFacts::Broken(trouble), None)
        };
        let credentials = context.accounts.credentials();
        let facts = (name.to_owned(), facts);
        let mut snapshot = Snapshot::gone(owner, account, facts, credentials);
        snapshot.silent = context.silences.all();
        let mut written = Written::default();
        let mut executor = Executor {
            context,
            session,
            slot: None,
            written: &mut written,
        };
        let settled = settle(&mut executor, &mut snapshot).await;
        if let Verdict::Trouble(trouble) = &settled.verdict
            && !context
                .orphans
                .have_failed(&key(namespace, name), context.clock.now())
        {
            publish_if_new(context, &secret, &[], trouble).await;
        }
        Ok(Some(settled.verdict))
    }
}

/// Whether the ledger says that the token of a Secret lives on.
async fn is_released(context: &Context, secret: &Secret) -> Result<bool, KubeError> {
    let Some(issued) = Issued::from_annotations(secret.annotations()) else {
        return Ok(false);
    };
    let standing = standing(context, &issued.base_url, &issued.token_id).await?;
    Ok(matches!(standing, Some((_, Entry::Released(_)))))
}

/// What [`Tries`] calls a Secret.
fn key(namespace: &str, name: &str) -> String {
    format!("{namespace}/{name}")
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use kube::client::Body;
    use kube::core::PartialObjectMeta;
    use kube::runtime::watcher::Event;

    use super::*;
    use crate::api::AttemptId;
    use crate::clock::Clock;
    use crate::controller::{BaseUrl, Platforms, Served, Settings};
    use crate::telemetry::Telemetry;

    #[tokio::test]
    async fn a_secret_is_no_orphan_while_the_run_that_let_its_platformtoken_go_is_under_way() {
        let settings = Settings {
            platforms: Platforms::new(Vec::<BaseUrl>::new(), |_| unreachable!("nobody asks")),
            concurrency: 1,
            served: Served::Everywhere,
            namespace: "ours".into(),
            instance: "test".into(),
            clock: Clock::system(),
            fresh: Box::new(AttemptId::fresh),
        };
        let silent = tower::service_fn(|_: http::Request<Body>| {
            std::future::pending::<Result<http::Response<Body>, Infallible>>()
        });
        let client = kube::Client::new(silent, "default");
        let (operator, _caches, _wakes) =
            Operator::new(client, "c".into(), settings, Arc::new(Telemetry::default()));
        let secret: PartialObjectMeta<Secret> = serde_json::from_value(serde_json::json!({
            "metadata": {
                "namespace": "ns", "name": "secret", "resourceVersion": "1",
                "deletionTimestamp": "2026-01-02T03:04:05Z", "finalizers": [names::FINALIZER],
                "annotations": { names::OWNER: "c/ns/token/uid" },
            }
        }))
        .unwrap();
        let _ = operator.see_secret(None, &Event::Apply(secret));
        let under_way = operator.context.memory.begin("uid");
        assert_eq!(operator.orphans(), []);
        drop(under_way);
        assert_eq!(operator.orphans(), [("ns".into(), "secret".into())]);
    }
}
