//! What a failed call means. The classes differ in what may be done next, which is all that callers ask.

use std::time::Duration;

/// Why a call to the platform did not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// DNS, connect or TLS failed: nothing took effect. Try again with back-off.
    #[error("the platform cannot be reached: {0}")]
    NotSent(String),
    /// The platform knows no such bearer (401). A person has to renew the credential.
    #[error("the platform does not know the credential (401): {0}")]
    Unauthorized(String),
    /// The platform knows the bearer and refuses it this (403). A person has to act.
    #[error("the platform refuses the credential (403): {0}")]
    Forbidden(String),
    /// There is no such thing (404, in the platform's own JSON).
    #[error("the platform has no such thing (404): {0}")]
    NotFound(String),
    /// Too many calls (429): nothing took effect. Pause the account, for `retry_after` if it is known.
    #[error("the platform asks to slow down (429)")]
    Throttled {
        /// What the platform asked for, at most [`super::retry_after::LONGEST`].
        retry_after: Option<Duration>,
    },
    /// Any other 4xx in the platform's own JSON: nothing took effect, and sending it again will not help.
    #[error("the platform refused the request ({status}): {detail}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// What the platform says.
        detail: String,
    },
    /// Timeout, reset, cut answer: it may have taken effect.
    #[error("the platform's answer was lost: {0}")]
    Lost(String),
    /// The platform or a gateway failed (5xx, 408, 409, 425, 499): it may have taken effect.
    #[error("the platform failed ({status}): {detail}")]
    Unavailable {
        /// HTTP status.
        status: u16,
        /// What the answer says.
        detail: String,
    },
    /// A full answer that is not the platform's API: HTML of a proxy, a redirect, JSON of another shape. It may have
    /// taken effect.
    #[error("the answer is not the platform's API: {0}")]
    Broken(String),
}

impl Error {
    /// Whether the call has definitely not taken effect. Only then may a POST be followed by another.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        match self {
            Self::NotSent(_)
            | Self::Unauthorized(_)
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::Throttled { .. }
            | Self::Refused { .. } => true,
            Self::Lost(_) | Self::Unavailable { .. } | Self::Broken(_) => false,
        }
    }

    /// The class, as a label of a metric.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::NotSent(_) => "not_sent",
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::Throttled { .. } => "throttled",
            Self::Refused { .. } => "refused",
            Self::Lost(_) => "lost",
            Self::Unavailable { .. } => "unavailable",
            Self::Broken(_) => "broken",
        }
    }
}
