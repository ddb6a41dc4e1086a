//! The words in conditions and events.

use std::fmt;

/// Types of conditions, after kstatus: `Ready` is always there, the others only while they are true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionType {
    /// The value in the Secret has answered since it was stored; of an account: proven and usable.
    Ready,
    /// The operator is at work, or waits to try again by itself.
    Reconciling,
    /// A person has to act.
    Stalled,
}

impl ConditionType {
    /// As it stands in `type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

/// Why a condition is what it is; also the reason of an event and a label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The token is minted, stored and proven.
    Issued,
    /// The account is proven.
    Proven,
    /// A token that there was already was taken over and stored.
    Adopted,
    /// A new token took the place of one that was gone upstream with its value.
    Replaced,
    /// The Secret was written again with the token that it had held.
    Repaired,
    /// The Secret has another name now; the token is the same.
    Moved,
    /// A Secret and its token, which another PlatformToken left, are this one's now.
    TakenOver,
    /// The token was revoked upstream.
    Revoked,
    /// The token could not be revoked in time: the ledger has it, and it is revoked when that can be done.
    RevocationOwed,
    /// The token lives on without its PlatformToken, as that asked for.
    Released,
    /// The spec cannot be read.
    InvalidSpec,
    /// There is no account of that name.
    AccountNotFound,
    /// The account has not been proven yet.
    AccountPending,
    /// The account gives no new tokens to this namespace.
    NamespaceNotAdmitted,
    /// The operator does not allow the account's platform.
    BaseURLNotAllowed,
    /// The credentials Secret does not exist.
    CredentialsMissing,
    /// The credentials Secret lacks the key.
    CredentialsKeyMissing,
    /// The credential cannot be sent: empty, or not one line of printable ASCII.
    CredentialsInvalid,
    /// The platform does not know the credential.
    Unauthorized,
    /// The platform knows the credential and refuses it this.
    Forbidden,
    /// The account's credential belongs to another user than the token or attempt.
    AccountChanged,
    /// The platform does not answer.
    Unreachable,
    /// The platform asks us to slow down.
    Throttled,
    /// The platform refused the request.
    Refused,
    /// The platform answered something that is not its API.
    BrokenAnswer,
    /// Whether the POST made a token is not known yet.
    CreateOutcomeUnknown,
    /// The attempt on the PlatformToken cannot be read.
    AttemptUnreadable,
    /// The Secret exists and is not ours, or Kubernetes refuses to have it written.
    SecretNotWritable,
    /// The Secret belongs to a PlatformToken of another cluster.
    OwnershipConflict,
    /// The token that is to be adopted is another's, or cannot be had.
    AdoptionRefused,
    /// The platform does not accept the token that it issued.
    VerificationFailed,
    /// The Secret lost the value and the platform does not show it.
    ValueUnavailable,
    /// Tokens that may be ours are named by nothing in this cluster.
    Unclaimed,
    /// Tokens of this cluster that nothing names were written down to be revoked.
    Swept,
    /// Somebody else makes tokens on an account that claims to be exclusive.
    NotExclusive,
    /// A record names a token that is another's.
    NotOurs,
    /// The Kubernetes API failed.
    KubernetesError,
}

impl Reason {
    /// As it stands in `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "Issued",
            Self::Proven => "Proven",
            Self::Adopted => "Adopted",
            Self::Replaced => "Replaced",
            Self::Repaired => "Repaired",
            Self::Moved => "Moved",
            Self::TakenOver => "TakenOver",
            Self::Revoked => "Revoked",
            Self::RevocationOwed => "RevocationOwed",
            Self::Released => "Released",
            Self::InvalidSpec => "InvalidSpec",
            Self::AccountNotFound => "AccountNotFound",
            Self::AccountPending => "AccountPending",
            Self::NamespaceNotAdmitted => "NamespaceNotAdmitted",
            Self::BaseURLNotAllowed => "BaseURLNotAllowed",
            Self::CredentialsMissing => "CredentialsMissing",
            Self::CredentialsKeyMissing => "CredentialsKeyMissing",
            Self::CredentialsInvalid => "CredentialsInvalid",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::AccountChanged => "AccountChanged",
            Self::Unreachable => "Unreachable",
            Self::Throttled => "Throttled",
            Self::Refused => "Refused",
            Self::BrokenAnswer => "BrokenAnswer",
            Self::CreateOutcomeUnknown => "CreateOutcomeUnknown",
            Self::AttemptUnreadable => "AttemptUnreadable",
            Self::SecretNotWritable => "SecretNotWritable",
            Self::OwnershipConflict => "OwnershipConflict",
            Self::AdoptionRefused => "AdoptionRefused",
            Self::VerificationFailed => "VerificationFailed",
            Self::ValueUnavailable => "ValueUnavailable",
            Self::Unclaimed => "Unclaimed",
            Self::Swept => "Swept",
            Self::NotExclusive => "NotExclusive",
            Self::NotOurs => "NotOurs",
            Self::KubernetesError => "KubernetesError",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
