//! Takes stock of an account: lists it, compares it with the cluster, on an exclusive account revokes what nothing claims,
//! and writes down what is swept. The platform is listed before the cluster: what is made meanwhile is not in the list, and
//! what is in the list was made by an attempt that the cluster shows, be it open, stored or given up.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use super::claims::{cached_claims, claims};
use super::sweep::{broom, sweep};
use super::{Account, Session, account_key};
use crate::api::{AccountKey, AccountStatus, Dialect, Reason, Sweep, TokenHash, TokenId};
use crate::controller::Context;
use crate::controller::kubernetes::{KubeError, call};
use crate::controller::report::publish;
use crate::controller::trouble::of_kubernetes;
use crate::plan::{
    Claims, Leftover, Listing, Missing, Moment, Note, Shown, Stock, Stocktaking, Sweeping, Trouble,
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
    sweeping: Sweeping,
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
        self.sweeping = Sweeping::default();
    }

    /// How soon the next stock is wanted, if that is before the next resync.
    pub(super) fn again(&self) -> Option<Duration> {
        self.sweeping.again()
    }

    /// Takes stock if that is due. A failure is no news of the account's: it is tried again at the next resync.
    pub(super) async fn take<K: Account>(
        &mut self,
        account: &K,
        context: &Context,
        session: &Session,
    ) -> Option<Stock> {
        let resync = Duration::from(account.settings().resync_interval);
        let resync = self.again().map_or(resync, |again| again.min(resync));
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
        context.mark_ledger().await;
        let listing = list(context, session).await?;
        self.missing = missing(&account.key(), context, &listing);
        let settings = account.settings();
        // Only there tokens bear tags.
        let has_tags = session.identity.dialect == Dialect::Current;
        let sweeps = settings.sweep == Sweep::Revoke && has_tags;
        let claims = if settings.exclusive || sweeps {
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
        // A stock may come early.
        let (long, now) = (
            Duration::from(settings.resync_interval) / 2,
            context.clock.now(),
        );
        let due = self.sweeping.note(&mut stock, long, now);
        if sweeps {
            let most = settings.revocations_per_minute;
            let due = self.sweeping.brake(due, most, now);
            sweep(account, context, &mut stock, due).await?;
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
        broom: &broom(account, context),
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

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::api::AttemptId;
    use crate::clock::Clock;
    use crate::controller::{Operator, Platforms, Served, Settings};
    use kube::Client;
    use kube::client::Body;

    pub(in super::super) fn operator(client: Client, served: Served) -> Operator {
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
