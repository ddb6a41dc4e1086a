//! The kinds and the names: what a user writes, what a user reads, and the words that both sides share.
//!
//! Nothing here does I/O. [`PlatformToken`] and the two account kinds are the CRDs; [`names`] holds labels,
//! annotations and the finalizer; [`Attempt`], [`Issued`] and [`Entry`] are the records that survive a crash; [`value`] holds
//! the types that make a wrong string impossible.

mod account;
mod attempt;
mod crd;
mod duration;
mod ledger;
pub mod names;
mod reason;
mod selector;
mod token;
mod value;

pub use account::{
    AccountKey, AccountKind, AccountSettings, AccountStatus, Baseline, ClusterPlatformAccount,
    ClusterPlatformAccountSpec, DEFAULT_BASE_URL, NamespacedSecretKeyRef, PlatformAccount,
    PlatformAccountSpec, RateLimit, SecretKeyRef, Sweep, TokenCounts,
};
pub use attempt::{
    Attempt, AttemptAccount, AttemptRef, Issued, MalformedRecord, Owner, cluster_tag,
};
pub use crd::{crds, kustomization, to_yaml};
pub use duration::GoDuration;
pub use ledger::{Entry, NamedToken, OwedToken};
pub use reason::{ConditionType, Reason};
pub use selector::{LabelOperator, LabelRequirement, NamespaceSelector};
pub use token::{
    AccountRef, DeletionPolicy, PlatformToken, PlatformTokenSpec, PlatformTokenStatus,
    SecretDeletionPolicy, SecretSpec,
};
pub use value::{
    AttemptId, Credential, Dialect, MalformedId, MalformedToken, TOKEN_PREFIX, TokenHash, TokenId,
    TokenValue, UnusableCredential, UserId, hex,
};
