//! Proves each account and hands out its session.
//!
//! `kind`: what the two account kinds have in common. `prove`: from a spec to a session. `stock`: what is on the account,
//! and what of it nothing claims. `claims`: what the cluster claims. `sweep`: what is written down to be revoked. `known`: what is known of every account. `changes`: what became of credentials Secrets. `inspect`: the same looks without the acts.
//! Here: one run for one account.

mod changes;
mod claims;
mod inspect;
mod kind;
mod known;
mod prove;
mod stock;
mod sweep;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::core::DeserializeGuard;

pub(crate) use self::inspect::{Inspected, Lingering};
use self::kind::CredentialsKey;
pub(super) use self::kind::{Account, account_key};
pub(super) use self::known::Accounts;
use self::known::remember;
use self::prove::prove;
use super::Context;
use super::kubernetes::KubeError;
use super::report::{publish_if_new, report_unreadable, write_status};
use crate::api::{
    AccountKey, AccountKind, AccountStatus, ClusterPlatformAccount, PlatformAccount, Reason,
    TokenId,
};
use crate::plan::{Identity, Trouble, backoff, report_account};
use crate::platform::{Client, Throttle};

/// The longest wait where the status could not be written.
const WRITE_AGAIN: Duration = Duration::from_secs(20);

/// A proven account, ready to be used.
pub(super) struct Session {
    /// Which account.
    pub key: AccountKey,
    /// Who it was proven to be.
    pub identity: Identity,
    /// Calls the platform with the very credential that was proven.
    pub client: Client,
    /// How fast it may be called.
    pub throttle: Arc<Throttle>,
}

/// Proves one account and tells what came of it; when to look again.
pub(super) async fn reconcile<K: Account>(
    account: Arc<DeserializeGuard<K>>,
    context: &Context,
) -> Duration {
    let account = match &account.0 {
        Ok(account) => account,
        Err(invalid) => {
            report_unreadable::<K>(context, &invalid.metadata, &invalid.error).await;
            return Duration::from_mins(5);
        }
    };
    let key = account.key();
    let mut proven = prove(account, context).await;
    let proof = proven.facts();

    let refused = context.accounts.refused(account, &proof);

    let nothing = AccountStatus::default();
    let former = account.status().unwrap_or(&nothing);
    let mut inventory = context.accounts.inventory(account);
    // What is made on an exclusive account before its baseline is kept would be taken for older than it.
    let waits = match &proof {
        Ok(identity) => account.settings().exclusive && identity.exclusive.is_none(),
        Err(_) => false,
    };
    let remembered =
        (!waits).then(|| remember(account, context, proven.clone(), refused, inventory.clone()));
    let stock = match &proven.session {
        Ok(session) => inventory.take(account, context, session).await,
        Err(_) => None,
    };
    let generation = account.meta().generation;
    let status = report_account(
        former,
        &proof,
        refused,
        proven.warning,
        stock.as_ref(),
        generation,
        context.clock.now(),
    );
    let api = K::api(context.client.clone(), account.namespace().as_deref());
    let version = account.resource_version().unwrap_or_default();
    let written = write_status(&api, &key.name, &version, former, &status).await;
    if let Err(error) = &written {
        tracing::warn!(%error, account = %key, "the status could not be written");
        inventory.forget();
    }
    let again = inventory.again();
    let wait = if let Some(wait) = remembered {
        context.accounts.keep(&key, inventory);
        again.map_or(wait, |again| wait.min(again))
    } else {
        let text = "what was on the account before it became exclusive is being written down";
        proven.session = Err(Trouble::transient(Reason::AccountPending, text));
        remember(account, context, proven, refused, inventory)
    };
    // A watch tells first how the Secret is, so that a change since it was read shows.
    let _ = context
        .watch_credentials
        .send(account.credentials().secret());
    let unwritten = context.accounts.note_written(&key, written.is_ok());
    let wait = match unwritten {
        0 => wait,
        _ => wait.min(backoff(unwritten, &key.to_string()).min(WRITE_AGAIN)),
    };
    if let Err(trouble) = proof {
        let reason = trouble.reason;
        tracing::warn!(account = %key, reason = reason.as_str(), "{}", trouble.message);
        publish_if_new(context, account, &former.conditions, &trouble).await;
    }
    wait
}

impl Context {
    /// Every token that a PlatformToken or a generated Secret of the cluster names, as the caches know it.
    pub(super) fn named(&self) -> BTreeSet<TokenId> {
        let mut claims = claims::cached_claims(self);
        claims.named.append(&mut claims.abandoned);
        claims.named
    }

    /// Writes tokens down in the status of an account, before anything else is done about them.
    pub(super) async fn write_down(
        &self,
        account: &AccountKey,
        ids: &[TokenId],
    ) -> Result<(), KubeError> {
        let (client, namespace) = (self.client.clone(), account.namespace.as_deref());
        match account.kind {
            AccountKind::PlatformAccount => {
                let api = PlatformAccount::api(client, namespace);
                stock::write_down(&api, &account.name, ids).await
            }
            AccountKind::ClusterPlatformAccount => {
                let api = ClusterPlatformAccount::api(client, namespace);
                stock::write_down(&api, &account.name, ids).await
            }
        }
    }
}
