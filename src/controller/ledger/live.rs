//! Entries as they are read and written live.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use serde_json::json;

use super::Written;
use crate::api::{Entry, TokenId, TokenValue, names};
use crate::controller::execute::Executor;
use crate::controller::kubernetes::{KubeError, call, call_opt, each};
use crate::controller::trouble::of_ledger;
use crate::controller::{Context, Operator};
use crate::plan::{Outcome, takes_the_place};

/// How often in a row it is tried to mark the ledger; the next stock tries again.
const MARK_TRIES: u32 = 3;

impl Executor<'_> {
    /// Writes an entry, unless there is one that says as much.
    pub(in crate::controller) async fn record(
        &self,
        entry: &Entry,
        value: Option<&TokenValue>,
    ) -> Outcome {
        match write(self.context, entry, value).await {
            Ok(written) => {
                let ledger = &self.context.ledger;
                if written {
                    ledger.keep(entry.clone(), self.context.clock.now());
                }
                self.context.telemetry.ledger(&ledger.counts());
                Outcome::Recorded
            }
            Err(KubeError::Conflict(_)) => Outcome::Stale,
            Err(error) => Outcome::Failed(of_ledger(&self.context.ledger.namespace, &error)),
        }
    }

    /// Strikes the entry that says that a token is released, if there is one. What is owed stays.
    pub(in crate::controller) async fn strike(
        &self,
        base_url: &str,
        token_id: &TokenId,
    ) -> Outcome {
        let context = self.context;
        let ledger = &context.ledger;
        let struck = async {
            let Some((secret, entry)) = standing(context, base_url, token_id).await? else {
                return Ok(Outcome::Struck);
            };
            if matches!(entry, Entry::Owed(_)) {
                return Ok(Outcome::Owed);
            }
            delete(context, &secret.metadata).await?;
            context.telemetry.ledger(&ledger.counts());
            Ok(Outcome::Struck)
        };
        match struck.await {
            Ok(outcome) => outcome,
            Err(KubeError::Conflict(_)) => Outcome::Stale,
            Err(error) => Outcome::Failed(of_ledger(&ledger.namespace, &error)),
        }
    }
}

impl Context {
    /// Writes an entry unless its token has one: whatever that says stays. What we owe is paid from then on.
    pub(in crate::controller) async fn owe(&self, entry: &Entry) -> Result<(), KubeError> {
        let ledger = &self.ledger;
        let secret = entry.secret(&ledger.namespace, None);
        match call(ledger.secrets(self).create(&creating(), &secret)).await {
            Ok(_) => {
                ledger.keep(entry.clone(), self.clock.now());
                self.telemetry.ledger(&ledger.counts());
                Ok(())
            }
            Err(KubeError::AlreadyExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that the ledger has its mark, which is as old as the ledger: what is older than that, nobody may have
    /// written down. If that fails, nothing is swept.
    pub(in crate::controller) async fn mark_ledger(&self) {
        let ledger = &self.ledger;
        if ledger.begun().is_some() {
            return;
        }
        let mark = Secret {
            metadata: ObjectMeta {
                name: Some(names::LEDGER_MARK.into()),
                namespace: Some(ledger.namespace.clone()),
                labels: Some([(names::MANAGED_BY_LABEL.into(), names::OPERATOR.into())].into()),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".into()),
            ..Secret::default()
        };
        for _ in 0..MARK_TRIES {
            let begun = match call(ledger.secrets(self).create(&creating(), &mark)).await {
                Ok(mark) => Ok(begun_of(&mark.metadata)),
                Err(KubeError::AlreadyExists(_)) => self.ledger_begun().await,
                Err(error) => Err(error),
            };
            match begun {
                Ok(begun) => {
                    *ledger.mark() = begun;
                    return;
                }
                Err(error) => {
                    let namespace = &ledger.namespace;
                    tracing::warn!(%error, namespace, "the ledger could not be begun, and nothing is swept");
                }
            }
        }
    }

    /// When the ledger was begun, read live; none: it has no mark.
    pub(in crate::controller) async fn ledger_begun(&self) -> Result<Option<Timestamp>, KubeError> {
        let secrets = self.ledger.secrets(self);
        let mark = call_opt(secrets.get_metadata(names::LEDGER_MARK)).await?;
        Ok(mark.and_then(|mark| begun_of(&mark.metadata)))
    }

    /// Every Secret of the ledger, read live.
    pub(in crate::controller) async fn each_of_ledger(
        &self,
        mut see: impl FnMut(ObjectMeta),
    ) -> Result<(), KubeError> {
        let secrets = self.ledger.secrets(self);
        let list = |scope| async {
            let scope = scope;
            secrets.list_metadata(&scope).await
        };
        let scope = ListParams::default().labels(names::LEDGER_LABEL);
        each(scope, list, |secret: PartialObjectMeta<Secret>| {
            see(secret.metadata);
        })
        .await
    }
}

/// The age of a mark that is ours: the API server gave it, so that no backup brings back an old one.
fn begun_of(mark: &ObjectMeta) -> Option<Timestamp> {
    let maker = mark.labels.as_ref()?.get(names::MANAGED_BY_LABEL)?;
    let begun = mark.creation_timestamp.as_ref().map(|at| at.0);
    begun.filter(|_| maker == names::OPERATOR)
}

/// What the ledger says of a token, read live. An entry of another cluster came with a copy of the namespace and says
/// nothing.
pub(in crate::controller) async fn standing(
    context: &Context,
    base_url: &str,
    token_id: &TokenId,
) -> Result<Option<(Secret, Entry)>, KubeError> {
    let name = Entry::name_of(base_url, token_id);
    let secret = call_opt(context.ledger.secrets(context).get(&name)).await?;
    let read = |secret: Secret| Some((Entry::parse(&secret.metadata).ok()?, secret));
    let standing = secret.and_then(read);
    let ours = standing.filter(|(entry, _)| entry.owner().cluster == context.cluster);
    Ok(ours.map(|(entry, secret)| (secret, entry)))
}

/// Deletes exactly this entry.
pub(super) async fn delete(context: &Context, metadata: &ObjectMeta) -> Result<(), KubeError> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let exactly = Preconditions {
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
    };
    let parameters = DeleteParams {
        preconditions: Some(exactly),
        ..DeleteParams::default()
    };
    match call(context.ledger.secrets(context).delete(name, &parameters)).await {
        Ok(_) | Err(KubeError::NotFound(_)) => {
            context.ledger.strike(Some(name));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Whether it was written.
async fn write(
    context: &Context,
    entry: &Entry,
    value: Option<&TokenValue>,
) -> Result<bool, KubeError> {
    let ledger = &context.ledger;
    let secrets = ledger.secrets(context);
    let secret = entry.secret(&ledger.namespace, value);
    let name = entry.name();
    match call(secrets.create(&creating(), &secret)).await {
        Err(KubeError::AlreadyExists(_)) => {}
        created => return created.map(|_| true),
    }
    let old = call(secrets.get(&name)).await?;
    let former = Entry::parse(&old.metadata).ok();
    let valued = old.data.as_ref().is_some_and(|data| !data.is_empty());
    if !takes_the_place((entry, value.is_some()), (former.as_ref(), valued)) {
        return Ok(false);
    }
    let patch = json!({
        "metadata": {
            "uid": old.metadata.uid,
            "resourceVersion": old.metadata.resource_version,
            "labels": secret.metadata.labels,
            "annotations": secret.metadata.annotations,
        },
        "data": secret.data,
    });
    call(secrets.patch(&name, &PatchParams::default(), &Patch::Merge(patch))).await?;
    Ok(true)
}

fn creating() -> PostParams {
    PostParams {
        field_manager: Some(names::OPERATOR.into()),
        ..PostParams::default()
    }
}

impl Operator {
    /// Every entry, read live.
    pub(crate) async fn written_down(&self) -> Result<Vec<Written>, KubeError> {
        let context = &*self.context;
        let mut written = Vec::new();
        let see = |metadata: ObjectMeta| {
            let entry = Entry::parse(&metadata).ok();
            let ours = entry.filter(|entry| entry.owner().cluster == context.cluster);
            let since = metadata.creation_timestamp.map(|at| at.0);
            let name = metadata.name.unwrap_or_default();
            written.push(Written {
                kind: ours.as_ref().map_or("foreign", Entry::kind),
                what: match &ours {
                    Some(Entry::Unresolved(attempt)) => attempt.at.id.to_string(),
                    Some(entry) => entry.token_id().map_or(name, ToString::to_string),
                    None => name,
                },
                since,
            });
        };
        context.each_of_ledger(see).await?;
        Ok(written)
    }
}
