//! Whether replicas elect a leader, and by which Lease.

use clap::Args;

use crate::api::names;
use crate::lease::Place;

/// Arguments of leader election.
#[derive(Debug, Args)]
pub(super) struct LeaderElection {
    /// Whether replicas elect a leader by a Lease, and the others stand by. Without it there must be one replica.
    #[arg(
        long = "leader-election",
        value_name = "BOOL",
        env = "PLATFORM_TOKEN_OPERATOR_LEADER_ELECTION",
        default_value_t = true,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    elect: bool,

    /// The name of the Lease.
    #[arg(
        long,
        value_name = "NAME",
        env = "PLATFORM_TOKEN_OPERATOR_LEASE_NAME",
        default_value = names::OPERATOR,
        value_parser = lease_name
    )]
    lease_name: String,

    /// The operator's own namespace, where the Lease is. If left out: that of the Pod, or else `platform-token-operator`.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "PLATFORM_TOKEN_OPERATOR_NAMESPACE",
        value_parser = super::namespace
    )]
    namespace: Option<String>,
}

impl LeaderElection {
    /// Where the Lease is; none: there is no election.
    pub(super) fn place(self) -> Option<Place> {
        self.elect.then(|| Place {
            namespace: self.own_namespace(),
            name: self.lease_name,
        })
    }

    /// The operator's own namespace, whether it elects or not.
    pub(super) fn own_namespace(&self) -> String {
        self.namespace.clone().unwrap_or_else(namespace_of_the_pod)
    }
}

/// The namespace of the Pod that this process runs in.
fn namespace_of_the_pod() -> String {
    let told = std::fs::read_to_string("/var/run/secrets/kubernetes.io/serviceaccount/namespace");
    let told = told.ok().map(|text| text.trim().to_owned());
    told.filter(|name| !name.is_empty())
        .unwrap_or_else(|| names::OPERATOR.into())
}

/// The name of a Lease: it goes into the path of requests.
fn lease_name(text: &str) -> Result<String, String> {
    if names::is_name(text) {
        return Ok(text.to_owned());
    }
    Err(
        "write the name of a Lease: lower-case letters, digits, '-' and '.', at most 253; each part between dots begins \
         and ends with a letter or digit"
            .into(),
    )
}
