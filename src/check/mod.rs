//! Looks at an installation before the operator is trusted with it, and says of everything that is amiss what to do.
//! It writes nothing, and sends the platform reads only.
//!
//! - `cluster`: the API server answers and is new enough. `permissions`: each one is granted.
//! - `crds`: the kinds are served as this version knows them. `accounts`: they answer, and what is left to be done.
//! - `report`: the findings as text or JSON.

mod accounts;
mod cluster;
mod crds;
mod permissions;
mod report;

pub use permissions::{Permission, needed};
pub use report::{Report, json, text};

use kube::Client;

use crate::controller::{Platforms, Served};

/// What an operator would work on.
#[derive(Debug, Clone)]
pub struct Scope {
    /// The namespaces whose PlatformTokens it would serve.
    pub served: Served,
    /// Its own namespace: its Lease and its ledger are there, and where it serves some namespaces alone, the credentials of
    /// ClusterPlatformAccounts.
    pub own: String,
    /// The name of the Lease by which it elects a leader, if it does.
    pub lease: Option<String>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub topic: Topic,
    /// How it is.
    pub verdict: Verdict,
    /// One sentence: what was found, and where it is not well, what to do.
    pub text: String,
}

/// What is looked at, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The API server.
    Cluster,
    /// What the operator may do.
    Permissions,
    /// The kinds.
    Crds,
    /// The accounts.
    Accounts,
    /// Tokens that nothing claims.
    Unclaimed,
    /// What is still to be revoked.
    Owed,
}

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// The operator works, and something in its care does not.
    Warning,
    /// The operator cannot do its work.
    Failure,
}

impl Topic {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Permissions => "permissions",
            Self::Crds => "crds",
            Self::Accounts => "accounts",
            Self::Unclaimed => "unclaimed",
            Self::Owed => "owed",
        }
    }
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

impl Topic {
    fn ok(self, text: impl Into<String>) -> Finding {
        self.find(Verdict::Ok, text)
    }

    fn warning(self, text: impl Into<String>) -> Finding {
        self.find(Verdict::Warning, text)
    }

    fn failure(self, text: impl Into<String>) -> Finding {
        self.find(Verdict::Failure, text)
    }

    fn find(self, verdict: Verdict, text: impl Into<String>) -> Finding {
        Finding {
            topic: self,
            verdict,
            text: text.into(),
        }
    }
}

/// Looks at everything; at accounts only if there are platforms to be asked. What cannot be asked without what failed
/// before it is left out.
pub async fn examine(client: Client, scope: Scope, platforms: Option<Platforms>) -> Report {
    let mut findings = cluster::examine(&client).await;
    if is_sound(&findings) {
        findings.extend(permissions::examine(&client, &scope).await);
        findings.extend(crds::examine(&client).await);
    }
    if is_sound(&findings)
        && let Some(platforms) = platforms
    {
        findings.extend(accounts::examine(client, scope, platforms).await);
    }
    Report { findings }
}

fn is_sound(findings: &[Finding]) -> bool {
    let mut verdicts = findings.iter().map(|found| found.verdict);
    verdicts.all(|verdict| verdict < Verdict::Failure)
}

/// The first `most` of some names, and how many there are beside.
fn shown<'a>(names: impl IntoIterator<Item = &'a str>, most: usize) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match names.split_at_checked(most) {
        Some((shown, more)) if !more.is_empty() => {
            format!("{} and {} more", shown.join(", "), more.len())
        }
        _ => names.join(", "),
    }
}
