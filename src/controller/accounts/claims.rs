//! What the cluster claims of the tokens of an account: as the caches have it, or read live.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, ListParams};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::ObjectRef;

use crate::api::{Attempt, AttemptRef, Entry, Owner, PlatformToken, names};
use crate::controller::Context;
use crate::controller::kubernetes::{KubeError, each};
use crate::controller::secrets::{keeper_of, token_of};
use crate::plan::Claims;

/// What the caches know to be claimed: enough to count.
pub(super) fn cached_claims(context: &Context) -> Claims {
    let mut claims = Claims::default();
    for (token_id, keeper) in context.secrets.tokens() {
        match keeper {
            Some((namespace, name)) if !context.shows(&namespace, &name) => {
                claims.abandoned.insert(token_id);
            }
            _ => {
                claims.named.insert(token_id);
            }
        }
    }
    of_ledger_index(&mut claims, context);
    for token in context.tokens.state() {
        if let Ok(token) = &token.0 {
            claim(&mut claims, token, &BTreeMap::new());
        }
    }
    claims
}

/// What the cluster claims, read live: what rests on it cannot be undone.
pub(super) async fn claims(context: &Context) -> Result<Claims, KubeError> {
    let mut claims = Claims::default();
    let (mut stored, mut kept) = (BTreeMap::new(), Vec::new());
    of_ledger_index(&mut claims, context);
    for namespace in context.served.watches() {
        let client = context.client.clone();
        let secrets: Api<Secret> = match &namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let scope = ListParams::default().labels(&format!("{}=true", names::MANAGED_LABEL));
        let list = |scope| async {
            let scope = scope;
            secrets.list_metadata(&scope).await
        };
        let listed = each(scope, list, |secret: PartialObjectMeta<Secret>| {
            let keeper = keeper_of(&secret).filter(|owner| owner.cluster == context.cluster);
            match (token_of(&secret), keeper) {
                (Some(token_id), Some(keeper)) => kept.push((token_id, keeper)),
                (token_id, _) => claims.named.extend(token_id),
            }
            if let Some((uid, attempt)) = attempt_of(&secret) {
                let newest = stored.entry(uid).or_insert(0);
                *newest = attempt.max(*newest);
            }
        });
        match (listed.await, namespace) {
            // A namespace without its Role stops no account, and nothing is revoked that its Secrets may name.
            (Err(KubeError::Refused(_)), Some(_)) => claims.unreadable = true,
            (listed, _) => listed?,
        }
    }
    // Those of every namespace, served or not: what another operator makes on the same account is not unclaimed.
    let tokens: Api<DeserializeGuard<PlatformToken>> = Api::all(context.client.clone());
    let list = |scope| async {
        let scope = scope;
        tokens.list(&scope).await
    };
    each(
        ListParams::default(),
        list,
        |token: DeserializeGuard<PlatformToken>| match &token.0 {
            Ok(token) => claim(&mut claims, token, &stored),
            Err(_) => claims.unreadable = true,
        },
    )
    .await?;
    for (token_id, keeper) in kept {
        // One of the same name that was created anew may take the Secret over.
        let lives = claims.uids.contains(&keeper.uid);
        if lives || context.shows(&keeper.namespace, &keeper.name) {
            claims.named.insert(token_id);
        } else {
            claims.abandoned.insert(token_id);
        }
    }
    of_ledger(&mut claims, context).await?;
    Ok(claims)
}

/// What the ledger is known to claim. What we wrote is in its index at once.
fn of_ledger_index(claims: &mut Claims, context: &Context) {
    claims.named.extend(context.ledger.token_ids());
    claims.open.extend(context.ledger.attempts());
    claims.begun = context.ledger.begun();
}

/// What the ledger claims beside, read live: another process may have written it. It comes last, since what a PlatformToken
/// that goes has named is there before that is gone.
async fn of_ledger(claims: &mut Claims, context: &Context) -> Result<(), KubeError> {
    let written = context.each_of_ledger(|metadata| match Entry::parse(&metadata) {
        Ok(Entry::Unresolved(attempt)) => {
            claims.open.insert(attempt.at.id, attempt.account);
        }
        Ok(entry) => claims.named.extend(entry.token_id().cloned()),
        Err(_) => claims.unreadable = true,
    });
    let read = match written.await {
        Ok(()) => context.ledger_begun().await,
        Err(error) => Err(error),
    };
    claims.begun = match read {
        Ok(begun) => begun,
        // Whatever it has is not known, and nothing is revoked.
        Err(KubeError::Refused(_)) => {
            claims.unreadable = true;
            None
        }
        Err(error) => return Err(error),
    };
    Ok(())
}

/// What one PlatformToken claims, beside the attempts that Secrets bear, by uid of their owner.
fn claim(claims: &mut Claims, token: &PlatformToken, stored: &BTreeMap<String, u32>) {
    claims.uids.extend(token.uid());
    let status = token.status.as_ref();
    claims
        .named
        .extend(status.and_then(|status| status.token_id.clone()));
    claims.named.extend(token.spec.adopt_token_id.clone());
    let Some(text) = token.annotations().get(names::ATTEMPT) else {
        return;
    };
    match Attempt::parse(text) {
        Ok(attempt) => {
            let uid = token.uid().unwrap_or_default();
            let known = status.and_then(|status| status.attempt.as_ref());
            let known = known.map_or(0, |attempt| attempt.number);
            let newest = known.max(stored.get(&uid).copied().unwrap_or(0));
            if attempt.owner.uid == uid && attempt.at.number > newest {
                if let Some(adopts) = attempt.adopts {
                    claims.named.insert(adopts);
                    return;
                }
                claims.open.insert(attempt.at.id, attempt.account);
            }
        }
        Err(_) => claims.unreadable = true,
    }
}

impl Context {
    /// Whether the cache shows a PlatformToken of this name.
    fn shows(&self, namespace: &str, name: &str) -> bool {
        let token = ObjectRef::new(name).within(namespace);
        self.tokens.get(&token).is_some()
    }
}

/// Whose attempt a Secret bears.
fn attempt_of(secret: &PartialObjectMeta<Secret>) -> Option<(String, u32)> {
    let annotations = secret.metadata.annotations.as_ref()?;
    let owner = Owner::parse(annotations.get(names::OWNER)?).ok()?;
    let attempt = AttemptRef::parse(annotations.get(names::ATTEMPT)?).ok()?;
    Some((owner.uid, attempt.number))
}

#[cfg(test)]
mod tests {
    use kube::Client;
    use kube::client::Body;
    use serde_json::{Value, json};

    use super::super::stock::tests::operator;
    use super::*;
    use crate::api::{NamedToken, TokenId};
    use crate::controller::Served;

    const OWN: &str = "/api/v1/namespaces/ours/secrets";

    /// Asks an API server what is claimed that answers so.
    async fn told(
        served: Served,
        answer: impl Fn(&str) -> (u16, Value) + Clone + Send + 'static,
    ) -> Result<Claims, KubeError> {
        let answer = move |request: http::Request<Body>| {
            let (code, body) = answer(request.uri().path());
            let answer = http::Response::builder().status(code);
            let body = Body::from(body.to_string().into_bytes());
            async move { answer.body(body) }
        };
        let client = Client::new(tower::service_fn(answer), "default");
        claims(&operator(client, served).context).await
    }

    fn list(items: &Value) -> (u16, Value) {
        let body = json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items });
        (200, body)
    }

    fn refusal(code: u16) -> (u16, Value) {
        (code, json!({ "kind": "Status", "code": code }))
    }

    /// What is claimed where lists of Secrets in namespace `a`, or in all, are answered with this status, and namespace
    /// `b` has one Secret.
    async fn claimed(code: u16, served: Served) -> Result<Claims, KubeError> {
        let answer = move |path: &str| match path {
            "/api/v1/namespaces/b/secrets" => list(&json!([{ "metadata": {
                "name": "theirs",
                "annotations": { names::TOKEN_ID: "stored" },
            } }])),
            OWN => list(&json!([])),
            path if path.ends_with("/secrets") => refusal(code),
            path if path.starts_with(OWN) => mark("platform-token-operator"),
            _ => list(&json!([])),
        };
        told(served, answer).await
    }

    fn mark(maker: &str) -> (u16, Value) {
        let labels = json!({ names::MANAGED_BY_LABEL: maker });
        let created = "2026-01-01T00:00:00Z";
        let metadata = json!({ "name": "mark", "labels": labels, "creationTimestamp": created });
        (
            200,
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata }),
        )
    }

    #[tokio::test]
    async fn a_served_namespace_that_refuses_its_secrets_holds_revocations_off_and_stops_nothing() {
        let both = || Served::these(["a".into(), "b".into()]);
        let claims = claimed(403, both()).await.unwrap();
        assert!(claims.unreadable);
        assert!(claims.may_store("https://platform.example", None));
        assert!(claims.named.contains(&TokenId::parse("stored").unwrap()));
        let failed = claimed(503, both()).await;
        assert!(matches!(failed, Err(KubeError::Failed(_))), "{failed:?}");
        let refused = claimed(403, Served::Everywhere).await;
        assert!(matches!(refused, Err(KubeError::Refused(_))), "{refused:?}");
    }
    /// What is claimed of the token `id` by one Secret of this owner, beside one PlatformToken and this ledger.
    async fn claimed_by(owner: &str, deleting: bool, written: Value, mark: (u16, Value)) -> Claims {
        let deleted = deleting.then_some("2026-01-01T00:00:00Z");
        let secret = json!([{ "metadata": {
            "name": "kept", "namespace": "ns", "deletionTimestamp": deleted,
            "annotations": { names::TOKEN_ID: "id", names::OWNER: owner },
        } }]);
        let token = json!([{
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformToken",
            "metadata": { "namespace": "ns", "name": "lives", "uid": "live" }, "spec": {},
        }]);
        let answer = move |path: &str| match path {
            "/api/v1/secrets" => list(&secret),
            OWN => list(&written),
            path if path.starts_with(OWN) => mark.clone(),
            path if path.ends_with("/platformtokens") => list(&token),
            _ => list(&json!([])),
        };
        told(Served::Everywhere, answer).await.unwrap()
    }

    #[tokio::test]
    async fn a_secret_claims_its_token_for_a_platformtoken_that_lives_or_that_nobody_knows() {
        for (owner, deleting, named) in [
            ("cluster/ns/lives/live", false, true),
            ("cluster/ns/former/gone", false, false),
            // It is finished in any case.
            ("cluster/ns/former/gone", true, true),
            ("another/ns/former/gone", false, true),
            ("cluster/elsewhere/former/gone", false, true),
            ("nobody", false, true),
        ] {
            let mark = mark(names::OPERATOR);
            let claims = claimed_by(owner, deleting, json!([]), mark).await;
            let id = TokenId::parse("id").unwrap();
            let found = (claims.named.contains(&id), claims.abandoned.contains(&id));
            assert_eq!(found, (named, !named), "{owner} {deleting}");
            assert!(claims.begun.is_some() && !claims.unreadable);
        }
    }

    #[tokio::test]
    async fn the_ledger_claims_what_it_has_and_everything_if_it_does_not_read() {
        let owner = Owner::parse("cluster/ns/former/gone").unwrap();
        let released = |id: &str| {
            let entry = Entry::Released(NamedToken {
                owner: owner.clone(),
                token_id: TokenId::parse(id).unwrap(),
                base_url: "https://platform".into(),
                user_id: None,
            });
            json!(entry.secret("ours", None))
        };
        let by = |written, mark| claimed_by("nobody", false, written, mark);
        let claims = by(json!([released("let-go")]), mark(names::OPERATOR)).await;
        assert!(claims.named.contains(&TokenId::parse("let-go").unwrap()));
        assert!(claims.begun.is_some() && !claims.unreadable);

        let mut edited = released("let-go");
        edited["metadata"]["annotations"] = json!({});
        assert!(by(json!([edited]), mark(names::OPERATOR)).await.unreadable);
        let gone = json!({ "kind": "Status", "code": 404, "reason": "NotFound",
            "details": { "name": names::LEDGER_MARK, "kind": "secrets" } });
        for (mark, begun, unreadable) in [
            ((404, gone), false, false),
            (mark("somebody"), false, false),
            (refusal(403), false, true),
        ] {
            let claims = by(json!([]), mark).await;
            assert_eq!(
                (claims.begun.is_some(), claims.unreadable),
                (begun, unreadable)
            );
        }
    }
    #[test]
    fn what_is_to_be_adopted_is_named_and_holds_nothing_off() {
        let id = |text| TokenId::parse(text).unwrap();
        let attempt = json!({
            "number": 1, "id": "attempt", "openedAt": "2026-01-01T00:00:00Z", "dialect": "current",
            "owner": "cluster/ns/t/u", "account": { "baseURL": "https://x" }, "adopts": "by-attempt",
        });
        let token = serde_json::from_value(json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformToken",
            "metadata": {
                "name": "t", "namespace": "ns", "uid": "u",
                "annotations": { names::ATTEMPT: attempt.to_string() },
            },
            "spec": { "adoptTokenID": "by-spec" },
        }));
        let mut claims = Claims::default();
        claim(&mut claims, &token.unwrap(), &BTreeMap::new());
        assert_eq!(claims.named, [id("by-attempt"), id("by-spec")].into());
        assert!(claims.open.is_empty() && !claims.unreadable);
    }
}
