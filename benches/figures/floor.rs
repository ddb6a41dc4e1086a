//! The floor: a bare loop that makes only the calls that an issuance needs, with the operator's permissions, clients
//! and bodies. What is left between it and the operator is what the operator adds.

use std::collections::BTreeSet;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource, ResourceExt};
use platform_token_operator::api::{
    Attempt, AttemptAccount, AttemptId, AttemptRef, Dialect, Issued, Owner, PlatformToken, TokenId,
    TokenValue, UserId, names,
};
use platform_token_operator::plan::{render, render_preflight};
use platform_token_operator::platform::Http;
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::world::{Platform, World, client};

/// How many PlatformTokens are worked on at once, as by the operator.
const CONCURRENCY: usize = 32;

const TOKENS: &str = "/api/v1/platform-tokens/";

/// The bare loop, ready to run.
pub(crate) struct Floor {
    client: Client,
    http: reqwest::Client,
    platform: Platform,
    user_id: UserId,
    /// uid of the namespace `kube-system`.
    cluster: String,
}

/// What the platform answers to a POST.
#[derive(Deserialize)]
struct Minted {
    id: TokenId,
    token: String,
    created_at: Timestamp,
}

impl Floor {
    pub(crate) async fn new(world: &World) -> anyhow::Result<Self> {
        let namespaces: Api<Namespace> = Api::all(world.admin.clone());
        let cluster = namespaces.get("kube-system").await?.uid();
        Ok(Self {
            client: client(&world.plane.operator_kubeconfig).await?,
            http: Http::pool()?,
            user_id: UserId::parse(&world.platform.user_id)?,
            platform: world.platform.clone(),
            cluster: cluster.context("the namespace kube-system has no uid")?,
        })
    }

    /// Issues all of them.
    pub(crate) async fn issue_all(&self, tokens: &[PlatformToken]) -> anyhow::Result<()> {
        stream::iter(tokens)
            .map(|token| self.issue(token))
            .buffer_unordered(CONCURRENCY)
            .try_collect()
            .await
    }

    /// Dry run, PATCH, POST, Secret, verification, status, event.
    async fn issue(&self, token: &PlatformToken) -> anyhow::Result<()> {
        let (name, namespace) = (token.name_any(), token.namespace().unwrap_or_default());
        let tokens: Api<PlatformToken> = Api::namespaced(self.client.clone(), &namespace);
        let secrets: Api<Secret> = Api::namespaced(self.client.clone(), &namespace);
        let (for_real, patch) = (post(), PatchParams::default());

        let attempt = self.attempt(token);
        let dry_run = PostParams {
            dry_run: true,
            ..post()
        };
        let placeholder = render_preflight(&attempt.owner, &name, true);
        secrets.create(&dry_run, &placeholder).await?;

        let open = json!({ "metadata": {
            "uid": token.uid(), "resourceVersion": token.resource_version(),
            "finalizers": [names::FINALIZER],
            "annotations": { names::ATTEMPT: serde_json::to_string(&attempt)? },
        }});
        tokens
            .patch_metadata(&name, &patch, &Patch::Merge(open))
            .await?;

        let order = self
            .http
            .post(self.url(TOKENS))
            .bearer_auth(&self.platform.credential);
        let body = json!({ "tags": attempt.tags() }).to_string();
        let minted: Minted =
            answer(order.header(CONTENT_TYPE, "application/json").body(body)).await?;

        let value = TokenValue::parse(&minted.token)?;
        let issued = self.issued(&attempt, &minted, &value);
        let secret = render(
            &attempt.owner,
            &name,
            &issued,
            &BTreeSet::new(),
            &value,
            true,
        );
        let secret = secrets.create(&for_real, &secret).await?;

        let me = self
            .http
            .get(self.url(&format!("{TOKENS}me/")))
            .bearer_auth(value.expose());
        let _: serde_json::Value = answer(me).await?;

        let ready = json!({ "metadata": { "uid": token.uid() }, "status": {
            "observedGeneration": token.metadata.generation,
            "attempt": issued.attempt, "tokenID": issued.token_id, "tokenHash": issued.hash,
            "userID": issued.user_id, "baseURL": issued.base_url, "issuedAt": issued.issued_at,
            "secretName": name, "secretResourceVersion": secret.resource_version(),
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "Issued",
                "message": format!("the token is in Secret {name} and has answered"),
                "observedGeneration": token.metadata.generation, "lastTransitionTime": now(),
            }],
        }});
        tokens
            .patch_status(&name, &patch, &Patch::Merge(ready))
            .await?;

        let events: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let event = event(token, &issued)?;
        events.create(&PostParams::default(), &event).await?;
        Ok(())
    }

    fn attempt(&self, token: &PlatformToken) -> Attempt {
        Attempt {
            at: AttemptRef {
                number: 1,
                id: AttemptId::fresh(),
            },
            opened_at: now(),
            dialect: Dialect::Current,
            owner: Owner {
                cluster: self.cluster.clone(),
                namespace: token.namespace().unwrap_or_default(),
                name: token.name_any(),
                uid: token.uid().unwrap_or_default(),
            },
            account: AttemptAccount {
                base_url: self.platform.base_url.clone(),
                user_id: Some(self.user_id.clone()),
            },
            given_up: vec![],
            adopts: None,
        }
    }

    fn issued(&self, attempt: &Attempt, minted: &Minted, value: &TokenValue) -> Issued {
        Issued {
            attempt: attempt.at.clone(),
            token_id: minted.id.clone(),
            hash: value.hash(),
            issued_at: minted.created_at,
            base_url: self.platform.base_url.clone(),
            user_id: self.user_id.clone(),
        }
    }

    fn url(&self, target: &str) -> String {
        format!("{}{target}", self.platform.base_url)
    }
}

async fn answer<T: DeserializeOwned>(request: RequestBuilder) -> anyhow::Result<T> {
    let response = request.header(ACCEPT, "application/json").send().await?;
    let body = response.error_for_status()?.bytes().await?;
    Ok(serde_json::from_slice(&body)?)
}

fn event(token: &PlatformToken, issued: &Issued) -> anyhow::Result<Event> {
    let (name, namespace) = (token.name_any(), token.namespace());
    Ok(serde_json::from_value(json!({
        "metadata": { "generateName": format!("{name}-"), "namespace": namespace },
        "type": "Normal", "reason": "Issued", "action": "Reconcile",
        "note": format!("issued token {} into Secret {name}", issued.token_id),
        "eventTime": format!("{:.6}", now()),
        "reportingController": format!("{}/{}", names::GROUP, names::OPERATOR),
        "reportingInstance": names::OPERATOR,
        "regarding": {
            "apiVersion": PlatformToken::api_version(&()), "kind": PlatformToken::kind(&()),
            "name": name, "namespace": namespace, "uid": token.uid(),
        },
    }))?)
}

fn post() -> PostParams {
    PostParams {
        field_manager: Some(names::OPERATOR.into()),
        ..PostParams::default()
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench lives in real time")]
fn now() -> Timestamp {
    Timestamp::now()
}
