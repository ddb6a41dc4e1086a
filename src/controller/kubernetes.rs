//! Calls to the API server: each under a deadline, each failure sorted by what it means.

use std::future::Future;
use std::time::Duration;

use kube::api::ListParams;
use kube::core::{ObjectList, Status};

use crate::cause::innermost;
use crate::plan::printable;

/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(15);

/// Objects to ask for at once.
const PAGE: u32 = 500;

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

/// Lists everything, one page after the other; `take` gets each object.
pub(crate) async fn each<T, F>(
    scope: ListParams,
    list: impl Fn(ListParams) -> F,
    mut take: impl FnMut(T),
) -> Result<(), KubeError>
where
    T: Clone,
    F: Future<Output = kube::Result<ObjectList<T>>>,
{
    let mut scope = scope.limit(PAGE);
    loop {
        let page = call(list(scope.clone())).await?;
        page.items.into_iter().for_each(&mut take);
        let next = page.metadata.continue_.unwrap_or_default();
        if next.is_empty() {
            return Ok(());
        }
        scope = scope.continue_token(&next);
    }
}

fn sort(error: kube::Error) -> KubeError {
    match error {
        kube::Error::Api(status) => {
            let message = printable(&status.message);
            if status.is_already_exists() {
                KubeError::AlreadyExists(message)
            } else if status.is_conflict() {
                KubeError::Conflict(message)
            } else if names_what_is_missing(&status) {
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

/// A proxy, or an API server that does not serve the kind, says 404 as well: only one that names an object tells of it.
fn names_what_is_missing(status: &Status) -> bool {
    let named = status
        .details
        .as_ref()
        .is_some_and(|it| !it.name.is_empty());
    status.reason == "NotFound" && named
}

/// A resourceVersion as a number; they grow within one kind of object.
pub(crate) fn version(resource_version: Option<&String>) -> u64 {
    resource_version
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use kube::core::response::StatusDetails;

    use super::*;

    #[test]
    fn only_a_404_that_names_an_object_says_that_it_is_gone() {
        let answer = |reason: &str, name: Option<&str>| {
            let details = name.map(|name| StatusDetails {
                name: name.into(),
                group: String::new(),
                kind: String::new(),
                uid: String::new(),
                causes: Vec::new(),
                retry_after_seconds: 0,
            });
            let status = Status {
                code: 404,
                reason: reason.into(),
                details,
                ..Status::default()
            };
            sort(kube::Error::Api(Box::new(status)))
        };
        let gone = |error| matches!(error, KubeError::NotFound(_));
        assert!(gone(answer("NotFound", Some("a"))));
        assert!(!gone(answer("NotFound", None)), "the kind is not served");
        assert!(!gone(answer("NotFound", Some(""))));
        assert!(
            !gone(answer("Failed to parse error data", None)),
            "a proxy's page"
        );
    }
}
