//! Proves each account and hands out its session.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::core::DeserializeGuard;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;

use super::Context;
use super::kubernetes::call_opt;
use super::report::{publish, report_unreadable, write_status};
use super::trouble::{PAUSE, of_kubernetes, of_platform};
use crate::api::{
    AccountKey, AccountKind, AccountSettings, AccountStatus, ClusterPlatformAccount, Credential,
    Dialect, PlatformAccount, PlatformToken, RateLimit, Reason, TokenHash,
};
use crate::plan::{AccountFacts, Identity, Note, Proof, Trouble, report_account};
use crate::platform::{Client, Error, Throttle};

/// How many times in a row a platform has to answer in the documented dialect before it is believed to have given up
/// the current one: a proxy's 404 is no change of dialect.
const ODD_ANSWERS: u32 = 3;

/// What the two account kinds have in common.
pub(super) trait Account:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
    /// Which kind it is.
    const KIND: AccountKind;
    /// Its settings.
    fn settings(&self) -> &AccountSettings;
    /// Where its credential is.
    fn credentials(&self) -> CredentialsKey;
    /// Its status.
    fn status(&self) -> Option<&AccountStatus>;
    /// The API that writes it.
    fn api(client: kube::Client, namespace: Option<&str>) -> Api<Self>;

    /// Its name in the cluster.
    fn key(&self) -> AccountKey {
        AccountKey {
            kind: Self::KIND,
            namespace: self.namespace(),
            name: self.name_any(),
        }
    }
}

/// Namespace, name and key of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CredentialsKey {
    pub namespace: String,
    pub name: String,
    pub key: String,
}

impl Account for PlatformAccount {
    const KIND: AccountKind = AccountKind::PlatformAccount;

    fn settings(&self) -> &AccountSettings {
        &self.spec.settings
    }

    fn credentials(&self) -> CredentialsKey {
        let reference = &self.spec.credentials_secret_ref;
        CredentialsKey {
            namespace: self.namespace().unwrap_or_default(),
            name: reference.name.clone(),
            key: reference.key.clone(),
        }
    }

    fn status(&self) -> Option<&AccountStatus> {
        self.status.as_ref()
    }

    fn api(client: kube::Client, namespace: Option<&str>) -> Api<Self> {
        Api::namespaced(client, namespace.unwrap_or_default())
    }
}

impl Account for ClusterPlatformAccount {
    const KIND: AccountKind = AccountKind::ClusterPlatformAccount;

    fn settings(&self) -> &AccountSettings {
        &self.spec.settings
    }

    fn credentials(&self) -> CredentialsKey {
        let reference = &self.spec.credentials_secret_ref;
        CredentialsKey {
            namespace: reference.namespace.clone(),
            name: reference.name.clone(),
            key: reference.key.clone(),
        }
    }

    fn status(&self) -> Option<&AccountStatus> {
        self.status.as_ref()
    }

    fn api(client: kube::Client, _: Option<&str>) -> Api<Self> {
        Api::all(client)
    }
}

/// The account that a PlatformToken names.
pub(super) fn account_key(token: &PlatformToken) -> AccountKey {
    let reference = &token.spec.account_ref;
    let namespace = match reference.kind {
        AccountKind::PlatformAccount => token.namespace(),
        AccountKind::ClusterPlatformAccount => None,
    };
    AccountKey {
        kind: reference.kind,
        namespace,
        name: reference.name.clone(),
    }
}

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

/// Every account of the cluster, as it was last proven.
pub(super) struct Accounts {
    known: Mutex<HashMap<AccountKey, Known>>,
    /// The caches tell which accounts there are.
    namespaced: Store<DeserializeGuard<PlatformAccount>>,
    cluster: Store<DeserializeGuard<ClusterPlatformAccount>>,
    /// Wakes the PlatformTokens of an account that has changed.
    wake_tokens: UnboundedSender<AccountKey>,
    /// Wakes an account that shall be proven anew.
    wake_account: UnboundedSender<AccountKey>,
}

/// What is known of one account.
struct Known {
    /// uid and generation that were proven; another one is not.
    of: Revision,
    throttle: (RateLimit, Arc<Throttle>),
    proven: Proven,
    /// Proofs that failed, in a row.
    failures: u32,
    /// Answers in the documented dialect, in a row, after one in the current.
    odd: u32,
}

/// What one proof has brought.
#[derive(Clone)]
struct Proven {
    session: Result<Arc<Session>, Trouble>,
    /// resourceVersion of the credentials Secret that was used.
    secret: Option<String>,
    /// The hash of the credential that was used; of the last one, if there is none now.
    credential: Option<TokenHash>,
    /// What the user should know although it works.
    warning: Option<&'static str>,
    /// The platform answered in the documented dialect, and had answered in the current one before.
    odd: bool,
}

impl Proven {
    fn broken(trouble: Trouble) -> Self {
        Self {
            session: Err(trouble),
            secret: None,
            credential: None,
            warning: None,
            odd: false,
        }
    }

    /// What it tells tokens.
    fn facts(&self) -> Proof {
        self.session
            .as_ref()
            .map(|session| session.identity.clone())
            .map_err(Trouble::clone)
    }
}

/// One state of one account's spec.
type Revision = (Option<String>, Option<i64>);

impl Accounts {
    pub(super) fn new(
        namespaced: Store<DeserializeGuard<PlatformAccount>>,
        cluster: Store<DeserializeGuard<ClusterPlatformAccount>>,
        wake_tokens: UnboundedSender<AccountKey>,
        wake_account: UnboundedSender<AccountKey>,
    ) -> Self {
        Self {
            known: Mutex::default(),
            namespaced,
            cluster,
            wake_tokens,
            wake_account,
        }
    }

    /// The account of this name, as far as it is known, and its session if it is proven.
    pub(super) fn look_up(&self, key: &AccountKey) -> (AccountFacts, Option<Arc<Session>>) {
        let Some(revision) = self.revision(key) else {
            let text = format!(
                "there is no {key}; create it, or correct spec.accountRef by creating the PlatformToken anew"
            );
            return (
                AccountFacts::Broken(Trouble::stalled(Reason::AccountNotFound, text)),
                None,
            );
        };
        match self
            .lock()
            .get(key)
            .filter(|known| known.of == revision)
            .map(|known| &known.proven.session)
        {
            None => (AccountFacts::Pending, None),
            Some(Ok(session)) => (
                AccountFacts::Ready(session.identity.clone()),
                Some(session.clone()),
            ),
            Some(Err(trouble)) => {
                let message = format!("{key} is not ready: {}", trouble.message);
                (
                    AccountFacts::Broken(Trouble {
                        message,
                        ..trouble.clone()
                    }),
                    None,
                )
            }
        }
    }

    /// The hashes of every credential that an account uses, or used last.
    pub(super) fn credentials(&self) -> BTreeSet<TokenHash> {
        let known = self.lock();
        known
            .values()
            .filter_map(|known| known.proven.credential.clone())
            .collect()
    }

    /// The platform refused this account's credential: prove it anew.
    pub(super) fn doubt(&self, key: &AccountKey) {
        let _ = self.wake_account.send(key.clone());
    }

    /// A credentials Secret changed: wakes the accounts that used another state of it. Whether any account uses it.
    pub(super) fn credentials_changed(
        &self,
        namespace: &str,
        name: &str,
        resource_version: Option<&String>,
    ) -> bool {
        let uses = |credentials: CredentialsKey| {
            credentials.namespace == namespace && credentials.name == name
        };
        let namespaced = self.namespaced.state();
        let cluster = self.cluster.state();
        let concerned: Vec<AccountKey> = namespaced
            .iter()
            .filter_map(|account| {
                account
                    .0
                    .as_ref()
                    .ok()
                    .filter(|account| uses(account.credentials()))
                    .map(Account::key)
            })
            .chain(cluster.iter().filter_map(|account| {
                account
                    .0
                    .as_ref()
                    .ok()
                    .filter(|a| uses(a.credentials()))
                    .map(Account::key)
            }))
            .collect();
        for key in &concerned {
            let proven_with = self
                .lock()
                .get(key)
                .and_then(|known| known.proven.secret.clone());
            if proven_with.as_ref() != resource_version {
                self.doubt(key);
            }
        }
        !concerned.is_empty()
    }

    fn revision(&self, key: &AccountKey) -> Option<Revision> {
        fn of<K: Account>(
            store: &Store<DeserializeGuard<K>>,
            key: &AccountKey,
        ) -> Option<Revision> {
            let mut reference = ObjectRef::new(&key.name);
            if let Some(namespace) = &key.namespace {
                reference = reference.within(namespace);
            }
            let account = store.get(&reference)?;
            Some((account.meta().uid.clone(), account.meta().generation))
        }
        match key.kind {
            AccountKind::PlatformAccount => of(&self.namespaced, key),
            AccountKind::ClusterPlatformAccount => of(&self.cluster, key),
        }
    }

    /// The throttle survives a new proof, so that a pause does too; a new limit begins anew.
    fn throttle(&self, key: &AccountKey, limit: RateLimit) -> Arc<Throttle> {
        match self.lock().get(key) {
            Some(known) if known.throttle.0 == limit => known.throttle.1.clone(),
            _ => Arc::new(Throttle::new(limit)),
        }
    }

    fn was_odd_enough(&self, key: &AccountKey) -> bool {
        self.lock()
            .get(key)
            .is_some_and(|known| known.odd + 1 >= ODD_ANSWERS)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AccountKey, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Proves one account and tells what came of it.
pub(super) async fn reconcile<K: Account>(
    account: Arc<DeserializeGuard<K>>,
    context: Arc<Context>,
) -> Result<Action, Infallible> {
    let account = match &account.0 {
        Ok(account) => account,
        Err(invalid) => {
            report_unreadable::<K>(&context, &invalid.metadata, &invalid.error).await;
            return Ok(Action::requeue(Duration::from_mins(5)));
        }
    };
    let key = account.key();
    context.credentials.watch(&context, &account.credentials());
    let proven = prove(account, &context).await;
    let proof = proven.facts();

    let nothing = AccountStatus::default();
    let former = account.status().unwrap_or(&nothing);
    let generation = account.meta().generation;
    let status = report_account(
        former,
        &proof,
        proven.warning,
        generation,
        context.clock.now(),
    );
    let wait = remember(account, &context, proven);
    let api = K::api(context.client.clone(), account.namespace().as_deref());
    if let Err(error) = write_status(&api, account, former, &status).await {
        tracing::warn!(%error, account = %key, "the status could not be written");
    }
    if let Err(trouble) = proof {
        let reason = trouble.reason;
        tracing::warn!(account = %key, reason = reason.as_str(), "{}", trouble.message);
        if former.conditions.first().map(|c| c.reason.as_str()) != Some(reason.as_str()) {
            let note = Note {
                warning: true,
                reason,
                text: trouble.message,
            };
            publish(&context, account, &note).await;
        }
    }
    Ok(Action::requeue(wait))
}

/// Keeps what a proof has brought, wakes the account's tokens if it makes a difference to them, and says when to prove
/// again.
fn remember<K: Account>(account: &K, context: &Context, mut proven: Proven) -> Duration {
    let accounts = &context.accounts;
    let (key, settings) = (account.key(), account.settings());
    let of = (account.uid(), account.meta().generation);
    let throttle = (
        settings.rate_limit,
        accounts.throttle(&key, settings.rate_limit),
    );
    let mut known = accounts.lock();
    let former = known.remove(&key);
    let same = former
        .as_ref()
        .is_some_and(|former| former.of == of && former.proven.facts() == proven.facts());
    let (mut failures, mut odd) = former
        .as_ref()
        .map_or((0, 0), |former| (former.failures, former.odd));
    odd = if proven.odd { odd + 1 } else { 0 };
    let resync = Duration::from(settings.resync_interval);
    let wait = match &proven.session {
        Ok(_) => {
            failures = 0;
            resync
        }
        Err(trouble) => {
            failures = failures.saturating_add(1);
            trouble.wait(failures - 1, &key.to_string()).min(resync)
        }
    };
    proven.credential = proven
        .credential
        .or_else(|| former.and_then(|former| former.proven.credential));
    known.insert(
        key.clone(),
        Known {
            of,
            throttle,
            proven,
            failures,
            odd,
        },
    );
    if !same {
        let _ = accounts.wake_tokens.send(key);
    }
    wait
}

/// Asks the platform who the credential belongs to.
async fn prove<K: Account>(account: &K, context: &Context) -> Proven {
    let settings = account.settings();
    let Some(transport) = context.platforms.connect(&settings.base_url) else {
        let text = context.platforms.refusal(&settings.base_url);
        return Proven::broken(Trouble::stalled(Reason::BaseURLNotAllowed, text));
    };
    let key = account.credentials();
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
    let secret = match call_opt(secrets.get(&key.name)).await {
        Ok(secret) => secret,
        Err(error) => return Proven::broken(of_kubernetes(&error)),
    };
    let version = secret.as_ref().and_then(ResourceExt::resource_version);
    let credential = match credential(secret, &key) {
        Ok(credential) => credential,
        Err(trouble) => {
            return Proven {
                secret: version,
                ..Proven::broken(trouble)
            };
        }
    };
    let hash = credential.hash();
    let warning = (!credential.is_platform_token()).then_some(
        "the credential is not a platform token (platform-…): a user token expires, and tokens can then be neither \
         created nor revoked",
    );
    let client = Client::new(transport, credential, context.clock);
    let throttle = context
        .accounts
        .throttle(&account.key(), settings.rate_limit);
    throttle.permit().await;
    let doing = format!(
        "asking {} who the credential in Secret {}/{} belongs to",
        settings.base_url, key.namespace, key.name
    );
    let answer = client.whoami().await;
    let odd = answer
        .as_ref()
        .is_ok_and(|who| denies_current(account, who.dialect));
    let session = match answer {
        Ok(_) if odd && !context.accounts.was_odd_enough(&account.key()) => {
            Err(Trouble::transient(
                Reason::BrokenAnswer,
                format!(
                    "{doing}: the answer is in the documented dialect, and former ones were in the current; asking again"
                ),
            ))
        }
        Ok(who) => {
            let identity = Identity {
                base_url: settings.base_url.clone(),
                user_id: who.user_id,
                username: who.username,
                dialect: who.dialect,
                verify: settings.verify,
            };
            Ok(Arc::new(Session {
                key: account.key(),
                identity,
                client,
                throttle,
            }))
        }
        Err(error) => {
            context.telemetry.platform_error(error.class());
            if let Error::Throttled { retry_after } = &error {
                throttle.pause(retry_after.unwrap_or(PAUSE));
            }
            Err(of_platform(&doing, &error))
        }
    };
    Proven {
        session,
        secret: version,
        credential: Some(hash),
        warning,
        odd,
    }
}

/// The status knows this very platform to speak the current dialect.
fn denies_current<K: Account>(account: &K, dialect: Dialect) -> bool {
    let known = account.status().is_some_and(|status| {
        status.dialect == Some(Dialect::Current)
            && status.observed_generation == account.meta().generation
    });
    known && dialect == Dialect::Documented
}

fn credential(secret: Option<Secret>, key: &CredentialsKey) -> Result<Credential, Trouble> {
    let CredentialsKey {
        namespace,
        name,
        key,
    } = key;
    let Some(secret) = secret else {
        let text = format!(
            "there is no Secret {name} in namespace {namespace}; create it with the key {key}"
        );
        return Err(Trouble::stalled(Reason::CredentialsMissing, text));
    };
    let data = secret.data.unwrap_or_default();
    let Some(bytes) = data.get(key) else {
        let there: Vec<&str> = data.keys().map(String::as_str).take(10).collect();
        let text = format!(
            "Secret {namespace}/{name} has no key {key} (it has: {}); add it, or name another in credentialsSecretRef.key",
            if there.is_empty() {
                "none".to_owned()
            } else {
                there.join(", ")
            }
        );
        return Err(Trouble::stalled(Reason::CredentialsKeyMissing, text));
    };
    let invalid = |why: &str| {
        let text =
            format!("the key {key} of Secret {namespace}/{name} {why}; put a platform token there");
        Trouble::stalled(Reason::CredentialsInvalid, text)
    };
    let text =
        std::str::from_utf8(&bytes.0).map_err(|_| invalid("is not one line of printable ASCII"))?;
    Credential::parse(text).map_err(|unusable| invalid(&unusable.to_string()))
}
