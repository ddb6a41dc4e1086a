//! What the outside says, in the words of the rules: the one place where errors become a reason, a message and a
//! reaction, and where a row becomes a token that is shown.

use super::Context;
use super::kubernetes::KubeError;
use crate::api::Reason;
use crate::plan::{Shown, Trouble};
use crate::platform::{Denied, Error, PAUSE, Row, Throttle};

impl Context {
    /// What a failed call in the name of an account means. It is counted, and a pause that the platform asks for holds
    /// for the whole account.
    pub(super) fn call_failed(
        &self,
        throttle: Option<&Throttle>,
        doing: &str,
        error: &Error,
    ) -> Trouble {
        self.telemetry.platform_error(error.class());
        if let (Some(throttle), Error::Throttled { retry_after }) = (throttle, error) {
            throttle.pause(*retry_after);
        }
        of_platform(doing, error)
    }
}

impl From<Denied> for Trouble {
    fn from(denied: Denied) -> Self {
        let text = denied.to_string();
        match denied {
            Denied::Paused(left) => Self::waiting(left, Reason::Throttled, text),
            Denied::Busy => Self::transient(Reason::Throttled, text),
        }
    }
}

/// What a failed call to the platform means. `doing` completes "…: `error`".
fn of_platform(doing: &str, error: &Error) -> Trouble {
    let text = |advice: &str| format!("{doing}: {error}{advice}");
    match error {
        Error::NotSent(_) => Trouble::transient(
            Reason::Unreachable,
            text("; check baseURL, DNS and the network"),
        ),
        Error::Lost(_) | Error::Unavailable { .. } => {
            Trouble::transient(Reason::Unreachable, text(""))
        }
        Error::Unauthorized(_) => Trouble::stalled(
            Reason::Unauthorized,
            text("; put a valid platform token into the credentials Secret"),
        ),
        Error::Forbidden(_) => Trouble::stalled(
            Reason::Forbidden,
            text("; check that the account is active"),
        ),
        Error::Throttled { retry_after } => {
            Trouble::waiting(retry_after.unwrap_or(PAUSE), Reason::Throttled, text(""))
        }
        Error::NotFound(_) | Error::Refused { .. } => Trouble::stalled(Reason::Refused, text("")),
        Error::Broken(_) => Trouble::transient(
            Reason::BrokenAnswer,
            text("; check that baseURL names the platform, and proxies on the way"),
        ),
    }
}

impl From<Row> for Shown {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            user_id: row.user_id,
            value: row.token,
            tags: row.tags,
            created_at: row.created_at,
            used_at: row.used_at,
        }
    }
}

/// What a failed write of a Secret means.
pub(crate) fn of_secret(name: &str, error: &KubeError) -> Trouble {
    match error {
        KubeError::Refused(why) => Trouble::stalled(
            Reason::SecretNotWritable,
            format!("Kubernetes refuses to have Secret {name} written: {why}"),
        ),
        other => of_kubernetes(other),
    }
}

/// What a failed write of an entry of the ledger means.
pub(super) fn of_ledger(namespace: &str, error: &KubeError) -> Trouble {
    let why = match error {
        KubeError::Refused(why) | KubeError::NotFound(why) => why,
        other => return of_kubernetes(other),
    };
    let text = format!(
        "what could not be revoked in time cannot be written down in namespace {namespace}, so that the deletion waits: \
         {why}; check --namespace and the operator's permissions there"
    );
    Trouble::stalled(Reason::KubernetesError, text)
}

/// What any other failed call to the API server means.
pub(crate) fn of_kubernetes(error: &KubeError) -> Trouble {
    match error {
        KubeError::Refused(why) => Trouble::stalled(
            Reason::KubernetesError,
            format!("the Kubernetes API refused: {why}; check the operator's permissions"),
        ),
        other => Trouble::transient(Reason::KubernetesError, other.to_string()),
    }
}
