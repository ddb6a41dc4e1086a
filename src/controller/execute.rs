//! Carries out steps: one function each, and no decisions.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::Context;
use super::accounts::Session;
use super::kubernetes::{KubeError, call, call_opt, version};
use super::memory::Written;
use super::trouble::{of_kubernetes, of_platform, of_secret};
use crate::api::{
    Attempt, Credential, Dialect, Issued, PlatformToken, Reason, TokenId, TokenValue, names,
};
use crate::plan::{
    Identity, Minted, Outcome, Recovery, RevokeWith, Snapshot, Step, Trouble, Version, read,
    render, render_preflight,
};
use crate::platform::{Client, Denied, Error, Found, Row};

/// How long new work may wait for a permit before it gives its place to other accounts' work.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long the end of work that has begun may wait for a permit.
const FOLLOW_UP: Duration = Duration::from_secs(30);

/// Carries out steps for one PlatformToken during one run.
pub(super) struct Executor<'a> {
    pub context: &'a Context,
    /// The session that the snapshot's account stands for: a POST goes out with no other credential.
    pub session: Option<Arc<Session>>,
    /// Our own writes, for the next run.
    pub written: &'a mut Written,
}

impl Executor<'_> {
    /// Carries out one step.
    pub(super) async fn execute(&mut self, step: &Step, s: &Snapshot) -> Outcome {
        match step {
            Step::ReadSecret { name } => self.read_secret(s, name).await,
            Step::Preflight { name } => self.preflight(s, name).await,
            Step::Permit => match self.permit(PATIENCE).await {
                Ok(_) => Outcome::Permitted,
                Err(outcome) => outcome,
            },
            Step::Hold(open) => self.hold(s, open.as_ref()).await,
            Step::Open(attempt) => self.open(s, attempt).await,
            Step::Mint(attempt) => self.mint(attempt).await,
            Step::FindMinted(attempt) => self.find_minted(attempt).await,
            Step::Recover(issued) => self.recover(issued).await,
            Step::Store {
                name,
                issued,
                value,
                over,
                ..
            } => self.store(s, name, issued, value, over.as_ref()).await,
            Step::Verify { issued, value } => self.verify(issued, value).await,
            Step::Release { name, version } => self.release(s, name, version).await,
            Step::Remove { name, version } => self.remove(s, name, version).await,
            Step::Revoke {
                token_id,
                base_url,
                with,
            } => self.revoke(token_id, base_url, with).await,
            Step::LiftFinalizer => self.lift_finalizer(s).await,
        }
    }

    async fn read_secret(&self, s: &Snapshot, name: &str) -> Outcome {
        let known = s.token.status.token_hash.as_ref();
        match call_opt(self.secrets(s).get(name)).await {
            Ok(None) => Outcome::Secret(crate::plan::SecretFacts::Absent),
            Ok(Some(secret)) => Outcome::Secret(read(&secret, &s.token.owner, known)),
            Err(error) => Outcome::Failed(of_kubernetes(&error)),
        }
    }

    async fn preflight(&self, s: &Snapshot, name: &str) -> Outcome {
        let parameters = PostParams {
            dry_run: true,
            ..post()
        };
        match call(
            self.secrets(s)
                .create(&parameters, &render_preflight(&s.token.owner, name)),
        )
        .await
        {
            Ok(_) => Outcome::Writable,
            Err(KubeError::AlreadyExists(_)) => Outcome::Exists,
            Err(error) => Outcome::Failed(of_secret(name, &error)),
        }
    }

    async fn hold(&mut self, s: &Snapshot, open: Option<&Attempt>) -> Outcome {
        match self.patch_token(s, held(s, open)).await {
            Ok(resource_version) => Outcome::Held { resource_version },
            Err(error) => stale_or(error, of_kubernetes),
        }
    }

    async fn open(&mut self, s: &Snapshot, attempt: &Attempt) -> Outcome {
        match self.patch_token(s, held(s, Some(attempt))).await {
            Ok(resource_version) => Outcome::Opened { resource_version },
            Err(error) => stale_or(error, of_kubernetes),
        }
    }

    async fn mint(&self, attempt: &Attempt) -> Outcome {
        let Some(session) = &self.session else {
            return Outcome::NotMinted(no_session());
        };
        match session
            .client
            .create(attempt.dialect, &attempt.tags())
            .await
        {
            Ok(row) => {
                if session.identity.user_id.is_none() {
                    // Only now the platform has told the user.
                    self.context.accounts.doubt(&session.key);
                }
                minted(row).map_or_else(Outcome::MintedWithheld, Outcome::Minted)
            }
            Err(error) => {
                let trouble = self.platform_trouble("creating a token", &error);
                if error.is_definite() {
                    Outcome::NotMinted(trouble)
                } else {
                    Outcome::MintUnknown(trouble)
                }
            }
        }
    }

    async fn find_minted(&self, attempt: &Attempt) -> Outcome {
        let session = match self.permit(PATIENCE).await {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        let user = session.identity.user_id.as_ref();
        let listed = session
            .client
            .list(attempt.dialect, user, Some(&attempt.tag()))
            .await;
        match listed {
            Ok(rows) => claim(rows, attempt),
            Err(error) => {
                let doing = "looking for the token of an open attempt";
                Outcome::Failed(self.platform_trouble(doing, &error))
            }
        }
    }

    async fn recover(&self, issued: &Issued) -> Outcome {
        let session = match self.permit(PATIENCE).await {
            Ok(session) => session,
            Err(outcome) => return outcome,
        };
        let Identity {
            dialect, user_id, ..
        } = &session.identity;
        match session
            .client
            .find(*dialect, user_id.as_ref(), &issued.token_id)
            .await
        {
            Ok(Found::Nothing) => Outcome::Recovered(Recovery::Gone),
            Ok(Found::Row(row)) => {
                let value = row.token.filter(|value| value.hash() == issued.hash);
                Outcome::Recovered(value.map_or(Recovery::Withheld, Recovery::Value))
            }
            Err(error) => {
                Outcome::Failed(self.platform_trouble("asking for the value of the token", &error))
            }
        }
    }

    async fn store(
        &mut self,
        s: &Snapshot,
        name: &str,
        issued: &Issued,
        value: &TokenValue,
        over: Option<&Version>,
    ) -> Outcome {
        let mut secret = render(&s.token.owner, name, issued, value);
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
                call(api.patch(name, &PatchParams::default(), &Patch::Merge(secret))).await
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

    async fn verify(&self, issued: &Issued, value: &TokenValue) -> Outcome {
        let doing = format!("proving token {}", issued.token_id);
        let Some(client) = self.with_own_value(&issued.base_url, value) else {
            return Outcome::Failed(self.not_allowed(&issued.base_url));
        };
        let dialect = match &self.session {
            Some(_) => match self.permit(FOLLOW_UP).await {
                Ok(session) => session.identity.dialect,
                Err(outcome) => return outcome,
            },
            None => Dialect::Documented,
        };
        match client.probe(dialect).await {
            Ok(()) => Outcome::Verified,
            Err(error @ (Error::Unauthorized(_) | Error::Forbidden(_))) => {
                Outcome::Failed(Trouble::transient(
                    Reason::VerificationFailed,
                    format!(
                        "{doing}: {error}; it is kept in its Secret and proven again with back-off"
                    ),
                ))
            }
            Err(error) => Outcome::Failed(self.platform_trouble(&doing, &error)),
        }
    }

    async fn release(&mut self, s: &Snapshot, name: &str, version: &Version) -> Outcome {
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

    /// Deletes first, so that nobody can see the Secret without its finalizer and not deleting.
    async fn remove(&mut self, s: &Snapshot, name: &str, version: &Version) -> Outcome {
        let exactly = Preconditions {
            uid: Some(version.uid.clone()),
            resource_version: Some(version.resource_version.clone()),
        };
        let parameters = DeleteParams {
            preconditions: Some(exactly),
            ..DeleteParams::default()
        };
        let deleted = match call(self.secrets(s).delete(name, &parameters)).await {
            Ok(either) => either.left(),
            Err(KubeError::NotFound(_)) => return Outcome::SecretGone,
            Err(error) => return stale_or(error, |error| of_secret(name, error)),
        };
        match deleted {
            Some(secret) => self.release(s, name, &Version::of(&secret.metadata)).await,
            None => Outcome::SecretGone,
        }
    }

    async fn revoke(&self, token_id: &TokenId, base_url: &str, with: &RevokeWith) -> Outcome {
        let doing = format!("revoking token {token_id}");
        let answer = match with {
            RevokeWith::ItsValue(value) => match self.with_own_value(base_url, value) {
                Some(client) => client.delete(token_id).await,
                None => return Outcome::Failed(self.not_allowed(base_url)),
            },
            RevokeWith::Account => match self.permit(FOLLOW_UP).await {
                Ok(session) => session.client.delete(token_id).await,
                Err(outcome) => return outcome,
            },
        };
        let error = match answer {
            Ok(()) | Err(Error::NotFound(_)) => return Outcome::Revoked,
            Err(error) => error,
        };
        let own = matches!(with, RevokeWith::ItsValue(_));
        match error {
            Error::Unauthorized(_) if own => Outcome::SelfUnknown,
            Error::Forbidden(_) if own => Outcome::SelfRefused,
            error if error.is_definite() => Outcome::Failed(self.platform_trouble(&doing, &error)),
            error => Outcome::RevokeUnknown(self.platform_trouble(&doing, &error)),
        }
    }

    async fn lift_finalizer(&mut self, s: &Snapshot) -> Outcome {
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
    async fn patch_token(&mut self, s: &Snapshot, mut patch: Value) -> Result<String, KubeError> {
        patch["metadata"]["uid"] = json!(s.token.owner.uid);
        patch["metadata"]["resourceVersion"] = json!(s.token.resource_version);
        let api: Api<PlatformToken> =
            Api::namespaced(self.context.client.clone(), &s.token.owner.namespace);
        let (parameters, patch) = (PatchParams::default(), Patch::Merge(patch));
        let token = call(api.patch_metadata(&s.token.owner.name, &parameters, &patch)).await?;
        self.wrote_token(&token);
        Ok(token.resource_version().unwrap_or_default())
    }

    /// The one way to the account: a permit of its throttle, and the session that the snapshot rests on, if it still is
    /// what the account is.
    async fn permit(&self, patience: Duration) -> Result<&Session, Outcome> {
        let Some(session) = &self.session else {
            return Err(Outcome::Failed(no_session()));
        };
        match session.throttle.permit(patience).await {
            Ok(()) if self.context.accounts.is_current(session) => Ok(session),
            Ok(()) | Err(Denied::Busy) => Err(Outcome::Stale),
            Err(denied @ Denied::Paused(left)) => {
                let text = denied.to_string();
                Err(Outcome::Failed(Trouble::waiting(
                    left,
                    Reason::Throttled,
                    text,
                )))
            }
        }
    }

    fn secrets(&self, s: &Snapshot) -> Api<Secret> {
        Api::namespaced(self.context.client.clone(), &s.token.owner.namespace)
    }

    /// A client that acts as the token itself, if its platform is allowed.
    fn with_own_value(&self, base_url: &str, value: &TokenValue) -> Option<Client> {
        let transport = self.context.platforms.connect(base_url)?;
        Some(Client::new(
            transport,
            Credential::from(value),
            self.context.clock,
        ))
    }

    fn not_allowed(&self, base_url: &str) -> Trouble {
        Trouble::stalled(
            Reason::BaseURLNotAllowed,
            self.context.platforms.refusal(base_url),
        )
    }

    /// What a failure means; one that concerns the whole account is told to it as well.
    fn platform_trouble(&self, doing: &str, error: &Error) -> Trouble {
        self.context.telemetry.platform_error(error.class());
        if let Some(session) = &self.session {
            match error {
                Error::Throttled { retry_after } => {
                    session.throttle.pause(*retry_after);
                }
                Error::Unauthorized(_) | Error::Forbidden(_) => {
                    self.context.accounts.doubt(&session.key);
                }
                _ => {}
            }
        }
        of_platform(doing, error)
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

/// The rows of an attempt: the server's filter is a hint, every tag has to match.
fn claim(rows: Vec<Row>, attempt: &Attempt) -> Outcome {
    let tags = attempt.tags();
    let mut own = rows
        .into_iter()
        .filter(|row| tags.iter().all(|tag| row.tags.contains(tag)));
    let Some(first) = own.next() else {
        return Outcome::NoneMinted;
    };
    let others = own.map(|row| row.id).collect();
    match minted(first) {
        Ok(kept) => Outcome::Found { kept, others },
        Err(token_id) => Outcome::MintedWithheld(token_id),
    }
}

/// A row with its value, or the id of one that is withheld.
fn minted(row: Row) -> Result<Minted, TokenId> {
    match row.token {
        Some(value) => Ok(Minted {
            token_id: row.id,
            value,
            user_id: row.user_id,
            created_at: row.created_at,
        }),
        None => Err(row.id),
    }
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(names::OPERATOR.into()),
        ..PostParams::default()
    }
}

fn stale_or(error: KubeError, trouble: impl Fn(&KubeError) -> Trouble) -> Outcome {
    match error {
        KubeError::Conflict(_) => Outcome::Stale,
        error => Outcome::Failed(trouble(&error)),
    }
}

fn no_session() -> Trouble {
    Trouble::transient(
        Reason::AccountPending,
        "the account is not proven at the moment",
    )
}
