//! The two account kinds: where tokens are minted, and with which credential.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::crd::{NAME, rule};
use super::{Dialect, GoDuration, NamespaceSelector, TokenId, UserId};

/// The platform that accounts live on unless they say otherwise.
pub const DEFAULT_BASE_URL: &str = "https://platform.acedata.cloud";

/// An account of the platform for the PlatformTokens of its own namespace.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "platform.acedata.cloud",
    version = "v1alpha1",
    kind = "PlatformAccount",
    plural = "platformaccounts",
    shortname = "pacc",
    category = "acedata",
    namespaced,
    status = "AccountStatus",
    derive = "PartialEq",
    doc = "An account of the platform, for the PlatformTokens of its own namespace.",
    selectable = ".spec.credentialsSecretRef.name",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "User", type_ = "string", json_path = ".status.username"),
    printcolumn(name = "Dialect", type_ = "string", json_path = ".status.dialect"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Base URL",
        type_ = "string",
        json_path = ".spec.baseURL",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct PlatformAccountSpec {
    /// The Secret, in the same namespace, that holds the account's credential.
    pub credentials_secret_ref: SecretKeyRef,
    /// Where the platform is and how it is treated.
    #[serde(flatten)]
    pub settings: AccountSettings,
}

/// An account of the platform for PlatformTokens of every namespace, or of those that it selects.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "platform.acedata.cloud",
    version = "v1alpha1",
    kind = "ClusterPlatformAccount",
    plural = "clusterplatformaccounts",
    shortname = "cpacc",
    category = "acedata",
    status = "AccountStatus",
    derive = "PartialEq",
    doc = "An account of the platform, for PlatformTokens of every namespace, or of those that it selects.",
    selectable = ".spec.credentialsSecretRef.namespace",
    selectable = ".spec.credentialsSecretRef.name",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(name = "User", type_ = "string", json_path = ".status.username"),
    printcolumn(name = "Dialect", type_ = "string", json_path = ".status.dialect"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Base URL",
        type_ = "string",
        json_path = ".spec.baseURL",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterPlatformAccountSpec {
    /// The Secret that holds the account's credential.
    pub credentials_secret_ref: NamespacedSecretKeyRef,
    /// The namespaces that may have new tokens of this account, by their labels: every namespace if it is left out, or
    /// empty. A namespace that does not fit any more keeps the tokens that it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<NamespaceSelector>,
    /// Where the platform is and how it is treated.
    #[serde(flatten)]
    pub settings: AccountSettings,
}

/// What both account kinds have in common.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccountSettings {
    /// Scheme and host of the platform, without a path. The credential goes to no other host, and only to one that the
    /// operator allows (`--allow-base-url`).
    #[serde(rename = "baseURL")]
    #[schemars(extend("x-kubernetes-validations" = rule("self.matches('^https?://([a-z0-9]([-a-z0-9.]*[a-z0-9])?|\\\\[[0-9a-f:.]+\\\\])(:[0-9]{1,5})?$')", "baseURL is scheme and lower-case host alone, without a path or a slash at the end; write for instance `https://platform.acedata.cloud`")))]
    #[schemars(length(max = 253))]
    pub base_url: String,
    /// How often the account is proven anew while all is well.
    #[schemars(extend("x-kubernetes-validations" = rule("duration(self) >= duration('10s') && duration(self) <= duration('24h')", "resyncInterval is out of range; write a duration from `10s` to `24h`, such as `10m`")))]
    pub resync_interval: GoDuration,
    /// How fast the operator may call the platform on behalf of this account.
    pub rate_limit: RateLimit,
    /// Prove each new token with one call before its PlatformToken is Ready.
    pub verify: bool,
    /// Nobody else makes tokens on this account. Then a token that was made since this was set, that nothing in this
    /// cluster names and nobody has used, is the rest of a lost answer, and is revoked. Do not set it where people or
    /// other clusters make tokens on the same account.
    pub exclusive: bool,
    /// What becomes of tokens that bear the tags of this cluster and that nothing in it names: `Off`, nothing, and none is
    /// reported. `Report`: they are reported. `Revoke`: those that nobody uses are revoked as well. In the documented
    /// dialect tokens bear no tags, and this makes no difference.
    pub sweep: Sweep,
    /// The most tokens that `sweep: Revoke` writes down to be revoked in any minute.
    #[schemars(extend("x-kubernetes-validations" = rule("self >= 1 && self <= 100000", "revocationsPerMinute is out of range; write a whole number from 1 to 100000, or `sweep: Report` to have nothing revoked")))]
    pub revocations_per_minute: u32,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self {
            base_url: DEFAULT_BASE_URL.into(),
            resync_interval: Duration::from_mins(10).into(),
            rate_limit: RateLimit::default(),
            verify: true,
            exclusive: false,
            sweep: Sweep::default(),
            revocations_per_minute: 60,
        }
    }
}

/// What becomes of tokens that bear the tags of this cluster and that nothing in it names.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sweep {
    /// Nothing.
    Off,
    /// They are reported.
    #[default]
    Report,
    /// They are reported, and revoked if nobody uses them.
    Revoke,
}

/// A token bucket: a steady rate and how much may come at once.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RateLimit {
    /// Calls a second, on average.
    #[schemars(extend("x-kubernetes-validations" = rule("self >= 1 && self <= 100000", "requestsPerSecond is out of range; write a whole number from 1 to 100000")))]
    pub requests_per_second: u32,
    /// Calls that may come at once after a pause.
    #[schemars(extend("x-kubernetes-validations" = rule("self >= 1 && self <= 100000", "burst is out of range; write a whole number from 1 to 100000")))]
    pub burst: u32,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self {
            requests_per_second: 10,
            burst: 20,
        }
    }
}

/// A key of a Secret in the same namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(extend("x-kubernetes-validations" = rule(&format!("self.matches('{NAME}')"), "credentialsSecretRef.name is not a name that a Secret can have; write the name of the Secret that holds the credential")))]
    #[schemars(length(max = 253))]
    pub name: String,
    /// Key of the credential in the Secret.
    #[serde(default = "credential_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A key of a Secret in a named namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamespacedSecretKeyRef {
    /// Namespace of the Secret.
    #[schemars(extend("x-kubernetes-validations" = rule("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')", "credentialsSecretRef.namespace is not a name that a namespace can have; write the namespace of the Secret that holds the credential")))]
    #[schemars(length(max = 63))]
    pub namespace: String,
    /// Name of the Secret.
    #[schemars(extend("x-kubernetes-validations" = rule(&format!("self.matches('{NAME}')"), "credentialsSecretRef.name is not a name that a Secret can have; write the name of the Secret that holds the credential")))]
    #[schemars(length(max = 253))]
    pub name: String,
    /// Key of the credential in the Secret.
    #[serde(default = "credential_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

fn credential_key() -> String {
    super::names::TOKEN_VARIABLE.into()
}

/// What the operator knows of an account.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccountStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The platform's id of the user that the credential belongs to.
    #[serde(rename = "userID", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub user_id: Option<UserId>,
    /// The user's name, where the platform tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The dialect that the platform answers in: `documented` or `current`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub dialect: Option<Dialect>,
    /// How many tokens the account has, at the last resync.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<TokenCounts>,
    /// Tokens that may be ours and that nothing in this cluster names, at most 100: the rest of a lost answer, of a
    /// POST that a proxy repeated, or of a PlatformToken that went without its finalizer.
    #[serde(rename = "unclaimedTokenIDs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub unclaimed_token_ids: Vec<TokenId>,
    /// What was there when the account became exclusive, for each user that it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<Baseline>,
    /// At least so many proofs have failed in a row since the operator was started: 1, 2, 4, 8 and so on, since it is
    /// written anew only when it has doubled. Absent after one that succeeded.
    #[serde(skip_serializing_if = "is_none")]
    pub failures: u32,
    /// `Ready`, and where they apply `Reconciling` and `Stalled`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the signature that serde asks for"
)]
fn is_none(failures: &u32) -> bool {
    *failures == 0
}

impl AccountStatus {
    /// The most ids of unclaimed tokens that a status bears.
    pub const MAX_UNCLAIMED: usize = 100;

    /// What was there when the account of this user became exclusive.
    #[must_use]
    pub fn baseline(&self, user_id: Option<&UserId>) -> Option<&Baseline> {
        let mut baselines = self.baselines.iter();
        // One that was taken before the user was known was taken of this account all the same.
        baselines
            .find(|baseline| baseline.user_id.is_none() || baseline.user_id.as_ref() == user_id)
    }
}

/// How many tokens an account has.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenCounts {
    /// All of them.
    pub upstream: u32,
    /// Those that a PlatformToken or a generated Secret of this cluster names.
    pub managed: u32,
    /// Those that may be ours and that nothing names.
    pub unclaimed: u32,
}

/// What was on an account when it became exclusive: whatever is newer is ours. Where it is lost it is taken anew, and
/// spares all that is older.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// The user whose account it was.
    #[serde(rename = "userID", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub user_id: Option<UserId>,
    /// When it was taken, or when the newest token was created if that is later.
    #[schemars(with = "String")]
    pub created_at: Timestamp,
    /// The tokens created at that very time.
    #[schemars(with = "Vec<String>")]
    pub ids: BTreeSet<TokenId>,
}

/// Which of the two kinds an account is.
#[derive(
    JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
pub enum AccountKind {
    /// Serves its own namespace.
    PlatformAccount,
    /// Serves every namespace, or those that it selects.
    ClusterPlatformAccount,
}

/// Names one account of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountKey {
    /// Which kind it is.
    pub kind: AccountKind,
    /// Its namespace; none for a cluster-scoped account.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl fmt::Display for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{:?} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{:?} {}", self.kind, self.name),
        }
    }
}
