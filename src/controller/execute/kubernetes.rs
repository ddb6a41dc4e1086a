//! The steps on Kubernetes: Secrets and the PlatformToken.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::Executor;
use crate::api::{Attempt, Issued, PlatformToken, names};
use crate::controller::kubernetes::{KubeError, call, call_opt, version};
use crate::controller::trouble::{of_kubernetes, of_secret};
use crate::plan::{Outcome, SecretFacts, Snapshot, Trouble, Version, read, render_preflight};

impl Executor<'_> {
    pub(super) async fn read_secret(&self, s: &Snapshot, name: &str) -> Outcome {
        match call_opt(self.secrets(s).get(name)).await {
            Ok(None) => Outcome::Secret(SecretFacts::Absent),
            Ok(Some(secret)) => match self.context.former(&secret, &s.token).await {
                Ok(Some(former)) => Outcome::Secret(read(&secret, s.token.reader(), &former)),
                Ok(None) => Outcome::Stale,
                Err(error) => Outcome::Failed(of_kubernetes(&error)),
            },
            // A Role that gave access to it may go before it with the namespace. It goes with that, too.
            Err(KubeError::Refused(_))
                if !s.token.holds_secrets
                    && matches!(self.look_at_namespace(s).await, Outcome::NamespaceGoing) =>
            {
                Outcome::Secret(SecretFacts::Absent)
            }
            Err(error) => Outcome::Failed(of_kubernetes(&error)),
        }
    }

    pub(super) async fn preflight(&self, s: &Snapshot, name: &str) -> Outcome {
        let parameters = PostParams {
            dry_run: true,
            ..post()
        };
        match call(self.secrets(s).create(
            &parameters,
            &render_preflight(&s.token.owner, name, s.token.holds_secrets),
        ))
        .await
        {
            Ok(_) => Outcome::Writable,
            Err(KubeError::AlreadyExists(_)) => Outcome::Exists,
            Err(error) => Outcome::Failed(of_secret(name, &error)),
        }
    }

    pub(super) async fn hold(&mut self, s: &Snapshot, open: Option<&Attempt>) -> Outcome {
        match self.patch_token(s, held(s, open)).await {
            Ok(resource_version) => Outcome::Held { resource_version },
            Err(error) => stale_or(error, of_kubernetes),
        }
    }

    pub(super) async fn open(&mut self, s: &Snapshot, attempt: &Attempt) -> Outcome {
        match self.patch_token(s, held(s, Some(attempt))).await {
            Ok(resource_version) => Outcome::Opened { resource_version },
            Err(error) => stale_or(error, of_kubernetes),
        }
    }

    pub(super) async fn look(&self, s: &Snapshot) -> Outcome {
        let api: Api<PlatformToken> =
            Api::namespaced(self.context.client.clone(), &s.token.owner.namespace);
        match call_opt(api.get_metadata(&s.token.owner.name)).await {
            Ok(None) => Outcome::TokenGone,
            Ok(Some(live)) if live.uid().as_ref() != Some(&s.token.owner.uid) => Outcome::TokenGone,
            Ok(Some(live))
                if live.resource_version().as_ref() == Some(&s.token.resource_version) =>
            {
                self.look_at_namespace(s).await
            }
            Ok(Some(_)) => Outcome::Stale,
            Err(error) => Outcome::Failed(of_kubernetes(&error)),
        }
    }

    async fn look_at_namespace(&self, s: &Snapshot) -> Outcome {
        let api: Api<Namespace> = Api::all(self.context.client.clone());
        match call(api.get_metadata(&s.token.owner.namespace)).await {
            Ok(namespace) if namespace.metadata.deletion_timestamp.is_some() => {
                Outcome::NamespaceGoing
            }
            Ok(_) => Outcome::Current,
            Err(error) => Outcome::Failed(of_kubernetes(&error)),
        }
    }

    pub(super) async fn store(
        &mut self,
        s: &Snapshot,
        name: &str,
        mut secret: Secret,
        over: Option<&Version>,
    ) -> Outcome {
        let api = self.secrets(s);
        let written = match over {
            None => call(api.create(&post(), &secret)).await,
            Some(version) => {
                secret.metadata.uid = Some(version.uid.clone());
                secret.metadata.resource_version = Some(version.resource_version.clone());
                secret
                    .metadata
                    .finalizers
                    .get_or_insert_default()
                    .extend(version.other_finalizers.clone());
                // `type` cannot change; what someone else set stays.
                secret.type_ = None;
                // A merge removes only what it says to be nothing.
                let mut patch = json!(secret);
                for name in [names::GIVEN_UP, names::RETAINED] {
                    let record = &mut patch["metadata"]["annotations"][name];
                    *record = record.take();
                }
                call(api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).await
            }
        };
        match written {
            Ok(secret) => {
                self.wrote_secret(&secret);
                Outcome::Stored(Version::of(&secret.metadata))
            }
            Err(KubeError::AlreadyExists(_)) => Outcome::Exists,
            Err(KubeError::NotFound(_)) if over.is_some() => Outcome::Stale,
            Err(error) => stale_or(error, |error| of_secret(name, error)),
        }
    }

    pub(super) async fn release(&mut self, s: &Snapshot, name: &str, version: &Version) -> Outcome {
        let patch = json!({ "metadata": {
            "uid": version.uid,
            "resourceVersion": version.resource_version,
            "finalizers": version.other_finalizers,
        }});
        match call(self.secrets(s).patch_metadata(
            name,
            &PatchParams::default(),
            &Patch::Merge(patch),
        ))
        .await
        {
            Ok(secret) => {
                self.wrote_secret(&secret);
                Outcome::SecretGone
            }
            Err(KubeError::NotFound(_)) => Outcome::SecretGone,
            Err(error) => stale_or(error, |error| of_secret(name, error)),
        }
    }

    pub(super) async fn retain(
        &mut self,
        s: &Snapshot,
        name: &str,
        version: &Version,
        lives: bool,
    ) -> Outcome {
        let mut annotations = json!({ names::RETAINED: "true", names::GIVEN_UP: null });
        if !lives {
            for name in Issued::RECORD {
                annotations[name] = Value::Null;
            }
        }
        let patch = json!({ "metadata": {
            "uid": version.uid,
            "resourceVersion": version.resource_version,
            "finalizers": version.other_finalizers,
            "labels": { names::MANAGED_LABEL: null, names::MANAGED_BY_LABEL: null },
            "annotations": annotations,
        }});
        match call(self.secrets(s).patch_metadata(
            name,
            &PatchParams::default(),
            &Patch::Merge(patch),
        ))
        .await
        {
            Ok(secret) => {
                self.wrote_secret(&secret);
                Outcome::Retained(Version::of(&secret.metadata))
            }
            Err(KubeError::NotFound(_)) => Outcome::SecretGone,
            Err(error) => stale_or(error, |error| of_secret(name, error)),
        }
    }

    pub(super) async fn remove(&self, s: &Snapshot, name: &str, version: &Version) -> Outcome {
        let exactly = Preconditions {
            uid: Some(version.uid.clone()),
            resource_version: Some(version.resource_version.clone()),
        };
        let parameters = DeleteParams {
            preconditions: Some(exactly),
            ..DeleteParams::default()
        };
        match call(self.secrets(s).delete(name, &parameters)).await {
            Ok(deleted) => deleted.left().map_or(Outcome::SecretGone, |secret| {
                Outcome::SecretDeleting(Version::of(&secret.metadata))
            }),
            Err(KubeError::NotFound(_)) => Outcome::SecretGone,
            Err(error) => stale_or(error, |error| of_secret(name, error)),
        }
    }

    pub(super) async fn lift_finalizer(&mut self, s: &Snapshot) -> Outcome {
        let others: Vec<&String> = s
            .token
            .finalizers
            .iter()
            .filter(|f| *f != names::FINALIZER)
            .collect();
        match self
            .patch_token(s, json!({ "metadata": { "finalizers": others } }))
            .await
        {
            Ok(_) | Err(KubeError::NotFound(_)) => Outcome::Lifted,
            Err(error) => stale_or(error, of_kubernetes),
        }
    }

    /// Compare-and-swap on the PlatformToken: the patch holds for exactly the object and state that were read.
    pub(super) async fn patch_token(
        &mut self,
        s: &Snapshot,
        mut patch: Value,
    ) -> Result<String, KubeError> {
        patch["metadata"]["uid"] = json!(s.token.owner.uid);
        patch["metadata"]["resourceVersion"] = json!(s.token.resource_version);
        let api: Api<PlatformToken> =
            Api::namespaced(self.context.client.clone(), &s.token.owner.namespace);
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        let token = call(api.patch_metadata(&s.token.owner.name, &parameters, &patch)).await?;
        self.wrote_token(&token);
        Ok(token.resource_version().unwrap_or_default())
    }

    pub(super) fn secrets(&self, s: &Snapshot) -> Api<Secret> {
        Api::namespaced(self.context.client.clone(), &s.token.owner.namespace)
    }

    fn wrote_token(&mut self, token: &PartialObjectMeta<PlatformToken>) {
        self.written.token(
            version(token.meta().resource_version.as_ref()),
            self.context.clock.now(),
        );
    }

    fn wrote_secret(&mut self, secret: &impl Resource) {
        self.written.secret(
            version(secret.meta().resource_version.as_ref()),
            self.context.clock.now(),
        );
    }
}

/// The patch that puts our finalizer, and an attempt, on the PlatformToken.
fn held(s: &Snapshot, attempt: Option<&Attempt>) -> Value {
    let mut finalizers = s.token.finalizers.clone();
    if !s.token.is_held() {
        finalizers.push(names::FINALIZER.into());
    }
    let mut patch = json!({ "metadata": { "finalizers": finalizers } });
    if let Some(attempt) = attempt {
        patch["metadata"]["annotations"] = json!({ names::ATTEMPT: json!(attempt).to_string() });
    }
    patch
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(names::OPERATOR.into()),
        ..PostParams::default()
    }
}

pub(super) fn stale_or(error: KubeError, trouble: impl Fn(&KubeError) -> Trouble) -> Outcome {
    match error {
        KubeError::Conflict(_) => Outcome::Stale,
        error => Outcome::Failed(trouble(&error)),
    }
}
