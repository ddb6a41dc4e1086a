//! Takes stock of an account: lists it, compares it with the cluster, and on an exclusive account revokes what nothing
//! claims. The platform is listed before the cluster: what is made meanwhile is not in the list, and what is in the
//! list was made by an attempt that the cluster shows, be it open, stored or given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::{DeserializeGuard, PartialObjectMeta};
use serde_json::json;

use super::{Account, Session, account_key};
use crate::api::{
    AccountKey, AccountStatus, Attempt, AttemptRef, Owner, PlatformToken, Reason, TokenHash,
    TokenId, names,
};
use crate::controller::Context;
use crate::controller::kubernetes::{KubeError, call, each};
use crate::controller::report::publish;
use crate::controller::secrets::token_of;
use crate::controller::trouble::of_kubernetes;
use crate::plan::{
    Claims, Leftover, Listing, Missing, Moment, Note, Shown, Stock, Stocktaking, Trouble,
    Unclaimed, baseline, take_stock,
};
use crate::platform::{Error, Row};

/// How long a stock waits, after a start, until all PlatformTokens are listed.
const PATIENCE: Duration = Duration::from_secs(20);

/// What stocktaking remembers.
#[derive(Clone, Default)]
pub(super) struct Inventory {
    /// When stock was last taken, on the monotonic clock.
    taken: Option<Duration>,
    unclaimed: Unclaimed,
    /// Of an account that claims to be exclusive and is not.
    strangers: BTreeSet<TokenId>,
    /// What PlatformTokens have to look at, by their uid.
    pub(super) leftovers: BTreeMap<String, Vec<Leftover>>,
    /// Tokens that may be gone, by the uid of their PlatformToken.
    pub(super) missing: BTreeMap<String, Missing>,
}

impl Inventory {
    /// Whether the last stock was taken so long ago or longer.
    pub(super) fn is_older(&self, age: Duration, now: Moment) -> bool {
        self.taken.is_none_or(|taken| now.elapsed >= taken + age)
    }

    /// The next stock is due now.
    pub(super) fn hasten(&mut self) {
        self.taken = None;
    }

    /// The status that tells of the last stock could not be written: it counts for nothing.
    pub(super) fn forget(&mut self) {
        self.taken = None;
        self.unclaimed = Unclaimed::default();
    }

    /// Takes stock if that is due. A failure is no news of the account's: it is tried again at the next resync.
    pub(super) async fn take<K: Account>(
        &mut self,
        account: &K,
        context: &Context,
        session: &Session,
    ) -> Option<Stock> {
        let resync = Duration::from(account.settings().resync_interval);
        let now = context.clock.now().elapsed;
        // Nothing is minted on an exclusive account before its baseline is taken, of whichever user it is now.
        let awaited = account.settings().exclusive && session.identity.exclusive.is_none();
        if !awaited && self.taken.is_some_and(|taken| now < taken + resync) {
            return None;
        }
        self.taken = Some(now);
        match self.count(account, context, session).await {
            Ok(mut stock) => {
                self.leftovers = std::mem::take(&mut stock.leftovers);
                Some(stock)
            }
            Err(trouble) => {
                let reason = trouble.reason.as_str();
                tracing::warn!(account = %account.key(), reason, "{}", trouble.message);
                if account
                    .status()
                    .is_none_or(|status| status.tokens.is_none())
                {
                    self.taken = None;
                }
                None
            }
        }
    }

    async fn count<K: Account>(
        &mut self,
        account: &K,
        context: &Context,
        session: &Session,
    ) -> Result<Stock, Trouble> {
        are_listed(context).await?;
        let listing = list(context, session).await?;
        self.missing = missing(&account.key(), context, &listing);
        let claims = if account.settings().exclusive {
            claims(context)
                .await
                .map_err(|error| of_kubernetes(&error))?
        } else {
            cached_claims(context)
        };
        let nothing = AccountStatus::default();
        let former = account.status().unwrap_or(&nothing);
        let credentials = context.accounts.credentials();
        let mut stock = compare(account, context, &listing, &claims, &credentials);
        let identity = &session.identity;
        let may_store = claims.may_store(&identity.base_url, identity.user_id.as_ref());
        for token_id in self.unclaimed.note(&stock, may_store) {
            revoke(account, context, session, &token_id).await?;
            stock.revoked(&token_id);
        }
        context.telemetry.unclaimed(stock.found(former));
        for note in stock.news(former, &self.strangers) {
            tracing::warn!(account = %account.key(), reason = note.reason.as_str(), "{}", note.text);
            publish(context, account, &note).await;
        }
        self.strangers.clone_from(&stock.strangers);
        Ok(stock)
    }
}

/// The complete list of an account.
pub(super) async fn list(context: &Context, session: &Session) -> Result<Listing, Trouble> {
    session.throttle.background_permit().await?;
    let identity = &session.identity;
    let (user, begun) = (identity.user_id.as_ref(), context.clock.now());
    let keep = |row: Row| {
        let is_theirs = user.is_some_and(|user| row.user_id != *user);
        (!is_theirs).then(|| Shown::from(row).listed(&context.cluster))
    };
    let rows = session
        .client
        .list(identity.dialect, user, None, keep)
        .await
        // The account is not doubted for it: its proof would ask for the next stock at once.
        .map_err(|error| {
            let doing = "taking stock of the account";
            context.call_failed(Some(&session.throttle), doing, &error)
        })?;
    Ok(Listing::new(identity, begun, rows))
}

/// What there is on an account, beside what the cluster claims of it.
pub(super) fn compare<K: Account>(
    account: &K,
    context: &Context,
    listing: &Listing,
    claims: &Claims,
    credentials: &BTreeSet<TokenHash>,
) -> Stock {
    let now = context.clock.now();
    let nothing = AccountStatus::default();
    let former = account.status().unwrap_or(&nothing);
    let baseline = account.settings().exclusive.then(|| {
        let known = former.baseline(listing.user_id()).cloned();
        known.unwrap_or_else(|| baseline(listing, now))
    });
    let taking = Stocktaking {
        listing,
        claims,
        credentials,
        suspected: &former.unclaimed_token_ids,
        baseline: baseline.as_ref(),
    };
    take_stock(&taking, now)
}

/// Waits until the caches have shown all that there was at the start: whatever they lack would count as unclaimed.
async fn are_listed(context: &Context) -> Result<(), Trouble> {
    let listed = tokio::time::timeout(PATIENCE, context.listed.wait());
    if listed.await.is_ok() {
        return Ok(());
    }
    let text = "the PlatformTokens are not listed yet, and stock is left out";
    Err(Trouble::transient(Reason::KubernetesError, text))
}

/// The tokens that PlatformTokens of an account name and its list lacks.
fn missing(key: &AccountKey, context: &Context, listing: &Listing) -> BTreeMap<String, Missing> {
    let tokens = context.tokens.state();
    let readable = tokens.iter().filter_map(|token| token.0.as_ref().ok());
    let found = readable
        .filter(|token| account_key(token) == *key)
        .filter_map(|token| {
            let issued = token.status.as_ref()?.issued()?;
            Some((token.uid()?, listing.missing(&issued)?))
        });
    found.collect()
}

async fn revoke<K: Account>(
    account: &K,
    context: &Context,
    session: &Session,
    token_id: &TokenId,
) -> Result<(), Trouble> {
    session.throttle.background_permit().await?;
    if !context.accounts.is_current(session) {
        let text = format!(
            "the credential of {} has changed; taking stock anew",
            session.key
        );
        return Err(Trouble::transient(Reason::AccountPending, text));
    }
    match session.client.delete(token_id).await {
        Ok(()) | Err(Error::NotFound(_)) => {}
        Err(error) => {
            let doing = format!("revoking token {token_id}, which nothing claims");
            return Err(context.call_failed(Some(&session.throttle), &doing, &error));
        }
    }
    let text = format!(
        "Revoked platform token {token_id}: it was made since the account is exclusive, nobody has used it, and \
         nothing names it"
    );
    tracing::info!(reason = Reason::Revoked.as_str(), "{text}");
    let note = Note {
        warning: false,
        reason: Reason::Revoked,
        text,
    };
    publish(context, account, &note).await;
    Ok(())
}

/// Adds tokens to those in the status of an account.
pub(super) async fn write_down<K: Account>(
    api: &Api<K>,
    name: &str,
    ids: &[TokenId],
) -> Result<(), KubeError> {
    let account = call(api.get(name)).await?;
    let former = account.status().cloned().unwrap_or_default();
    let status = former.clone().with_unclaimed(ids);
    if status == former {
        return Ok(());
    }
    let patch = Patch::Merge(json!({
        "metadata": { "resourceVersion": account.resource_version() },
        "status": { "unclaimedTokenIDs": status.unclaimed_token_ids },
    }));
    call(api.patch_status(name, &PatchParams::default(), &patch)).await?;
    Ok(())
}

/// What the caches know to be claimed: enough to count.
pub(super) fn cached_claims(context: &Context) -> Claims {
    let mut claims = Claims::default();
    claims.named.extend(context.secrets.token_ids());
    of_ledger(&mut claims, context);
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
    let mut stored = BTreeMap::new();
    of_ledger(&mut claims, context);
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
            claims.named.extend(token_of(&secret));
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
    Ok(claims)
}

/// What the ledger claims. Nobody but us writes it, and what we wrote is in its index at once.
fn of_ledger(claims: &mut Claims, context: &Context) {
    claims.named.extend(context.ledger.token_ids());
    claims.open.extend(context.ledger.attempts());
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

/// Whose attempt a Secret bears.
fn attempt_of(secret: &PartialObjectMeta<Secret>) -> Option<(String, u32)> {
    let annotations = secret.metadata.annotations.as_ref()?;
    let owner = Owner::parse(annotations.get(names::OWNER)?).ok()?;
    let attempt = AttemptRef::parse(annotations.get(names::ATTEMPT)?).ok()?;
    Some((owner.uid, attempt.number))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kube::Client;
    use kube::client::Body;
    use serde_json::Value;

    use super::*;
    use crate::api::AttemptId;
    use crate::clock::Clock;
    use crate::controller::{Operator, Platforms, Served, Settings};

    fn operator(client: Client, served: Served) -> Operator {
        let settings = Settings {
            platforms: Platforms::new([], |_| unreachable!("nobody asks")),
            concurrency: 1,
            served,
            namespace: "ours".into(),
            instance: "test".into(),
            clock: Clock::system(),
            fresh: Box::new(AttemptId::fresh),
        };
        Operator::new(client, "cluster".into(), settings, Arc::default()).0
    }

    /// What is claimed where lists of Secrets in namespace `a`, or in all, are answered with this status, and namespace
    /// `b` has one Secret.
    async fn claimed(code: u16, served: Served) -> Result<Claims, KubeError> {
        let answer = move |request: http::Request<Body>| async move {
            let list = |items: Value| {
                let body =
                    json!({ "kind": "List", "apiVersion": "v1", "metadata": {}, "items": items });
                (200, body)
            };
            let (code, body) = match request.uri().path() {
                "/api/v1/namespaces/b/secrets" => list(json!([{ "metadata": {
                    "name": "theirs",
                    "annotations": { names::TOKEN_ID: "stored" },
                } }])),
                path if path.ends_with("/secrets") => {
                    (code, json!({ "kind": "Status", "code": code }))
                }
                _ => list(json!([])),
            };
            let answer = http::Response::builder().status(code);
            answer.body(Body::from(body.to_string().into_bytes()))
        };
        let client = Client::new(tower::service_fn(answer), "default");
        let operator = operator(client, served);
        claims(&operator.context).await
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

    #[tokio::test(start_paused = true)]
    async fn a_stock_waits_until_all_platformtokens_are_listed() {
        let nobody = tower::service_fn(|_: http::Request<Body>| async {
            std::future::pending::<kube::Result<http::Response<Body>>>().await
        });
        let client = Client::new(nobody, "default");
        let operator = operator(client, Served::Everywhere);
        let left_out = are_listed(&operator.context).await;
        assert!(left_out.is_err(), "what is not listed would be unclaimed");
        // Every account has a task of its own.
        let mut waiting = tokio::task::JoinSet::new();
        for _ in 0..3 {
            let context = operator.context.clone();
            waiting.spawn(async move { are_listed(&context).await });
        }
        tokio::task::yield_now().await;
        let begun = tokio::time::Instant::now();
        operator.all_is_listed();
        for listed in waiting.join_all().await {
            assert!(listed.is_ok());
        }
        assert_eq!(begun.elapsed(), Duration::ZERO, "one of them was not woken");
    }
}
