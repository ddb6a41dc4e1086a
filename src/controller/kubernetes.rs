//! Calls to the API server: each under a deadline, each failure sorted by what it means.

use std::future::Future;
use std::time::Duration;

use crate::cause::innermost;

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// Why a call to the API server did not succeed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KubeError {
    /// There is no such object.
    #[error("not found: {0}")]
    NotFound(String),
    /// An object of that name exists already.
    #[error("already exists: {0}")]
    AlreadyExists(String),
    /// It has changed since it was read.
    #[error("conflict: {0}")]
    Conflict(String),
    /// Refused for good: permission, quota, admission, validation. Nothing was done.
    #[error("{0}")]
    Refused(String),
    /// It failed on the way or in the server; it may have been done.
    #[error("the Kubernetes API failed: {0}")]
    Failed(String),
}

/// Waits for a call, at most [`DEADLINE`].
pub(crate) async fn call<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, KubeError> {
    match tokio::time::timeout(DEADLINE, request).await {
        Ok(result) => result.map_err(sort),
        Err(_) => Err(KubeError::Failed(format!(
            "no answer in {} s",
            DEADLINE.as_secs()
        ))),
    }
}

/// Like [`call`], where a missing object is an answer.
pub(crate) async fn call_opt<T>(
    request: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, KubeError> {
    match call(request).await {
        Ok(object) => Ok(Some(object)),
        Err(KubeError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn sort(error: kube::Error) -> KubeError {
    match error {
        kube::Error::Api(status) => {
            let message = status.message.clone();
            if status.is_already_exists() {
                KubeError::AlreadyExists(message)
            } else if status.is_conflict() {
                KubeError::Conflict(message)
            } else if status.is_not_found() {
                KubeError::NotFound(message)
            } else if matches!(status.code, 400 | 403 | 405 | 413 | 415 | 422) {
                KubeError::Refused(message)
            } else {
                KubeError::Failed(message)
            }
        }
        other => KubeError::Failed(innermost(&other)),
    }
}

/// A resourceVersion as a number; they grow within one kind of object.
pub(crate) fn version(resource_version: Option<&String>) -> u64 {
    resource_version
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}
