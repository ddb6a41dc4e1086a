//! The API server: it answers, and is new enough.

use kube::Client;

use super::{Finding, Topic};
use crate::controller::call;

/// The oldest minor version of Kubernetes 1 that is supported.
const OLDEST_MINOR: u32 = 32;

pub(super) async fn examine(client: &Client) -> Vec<Finding> {
    let found = match call(client.apiserver_version()).await {
        Ok(version) => judge(&version.major, &version.minor, &version.git_version),
        Err(error) => Topic::Cluster.failure(format!(
            "the Kubernetes API does not answer: {error}; check the kubeconfig, or the service account and network of \
             the Pod"
        )),
    };
    vec![found]
}

fn judge(major: &str, minor: &str, version: &str) -> Finding {
    // Some vendors write `32+`.
    let minor: Option<u32> = minor.trim_end_matches('+').parse().ok();
    match (major, minor) {
        ("1", Some(minor)) if minor >= OLDEST_MINOR => {
            Topic::Cluster.ok(format!("Kubernetes {version} answers"))
        }
        ("1", Some(_)) => Topic::Cluster.failure(format!(
            "Kubernetes {version} answers; upgrade the cluster to 1.{OLDEST_MINOR} or later"
        )),
        _ => Topic::Cluster.warning(format!(
            "the API server says that it is version {version:?}; whether it is 1.{OLDEST_MINOR} or later is not known"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Verdict;

    #[test]
    fn versions_that_are_too_old_fail() {
        for (major, minor, verdict) in [
            ("1", "32", Verdict::Ok),
            ("1", "37+", Verdict::Ok),
            ("1", "31", Verdict::Failure),
            ("2", "0", Verdict::Warning),
            ("", "", Verdict::Warning),
        ] {
            assert_eq!(judge(major, minor, "v").verdict, verdict, "{major}.{minor}");
        }
    }
}
