//! The shell around the rules: it observes, carries out steps, and reports. It decides nothing.
//!
//! - `operator`: the operator without its watches: what a simulation drives as `wiring` does.
//! - `tokens`: one run for one PlatformToken: observe, then plan, execute and fold until settled, then report.
//! - `observe`: from caches to a snapshot. `execute`: one function per step. `report`: status and events.
//! - `accounts`: proves each account and hands out its session. `credentials`: wakes it when its Secret changes.
//! - `secrets`: the index of generated Secrets, metadata only. `namespaces`: the labels of namespaces. `memory`: what outlives a run.
//! - `served`: which namespaces are served. `platforms`: which platforms may be spoken to. `trouble`: what a failure means. `kubernetes`: calls with a deadline.
//! - `slots`: who is worked on at once, so that a broken account holds up no other.
//! - `concerns`: which changes of PlatformTokens are worth a look.
//! - `orphans`: Secrets of ours that are being deleted with no PlatformToken left to let them go. `ledger`: what was put off,
//!   and how it is paid. `tries`: when to try again. `silences`: which platforms do not answer.
//! - `owners`: whether the owner that a Secret names lives.
//! - `wiring`: controllers, queues and shutdown. `watches`: of Secrets and namespaces. `leadership`: the lease, and that nothing runs without it.

mod accounts;
mod concerns;
mod credentials;
mod execute;
mod kubernetes;
mod leadership;
mod ledger;
mod memory;
mod namespaces;
mod observe;
mod operator;
mod orphans;
mod owners;
mod platforms;
mod report;
mod secrets;
mod served;
mod silences;
mod slots;
mod tokens;
mod tries;
mod trouble;
mod watches;
mod wiring;

pub(crate) use accounts::{Inspected, Lingering};
pub(crate) use kubernetes::{KubeError, call};
pub use leadership::{Election, LostLeadership, Role, lead};
pub(crate) use ledger::Written;
pub use operator::{Caches, Operator, Settings, Wakes};
pub use platforms::{BaseUrl, MalformedBaseUrl, Platforms};
pub use served::Served;
pub use tokens::Watched;
pub(crate) use wiring::cluster_uid;
pub use wiring::{StartError, run};

use std::sync::Arc;

use kube::runtime::reflector::Store;
use tokio::sync::SetOnce;
use tokio::sync::mpsc::UnboundedSender;

use crate::api::AttemptId;
use crate::clock::Clock;
use crate::telemetry::Telemetry;

/// What every run needs.
pub(crate) struct Context {
    /// The API server.
    client: kube::Client,
    /// uid of the namespace `kube-system`: tells clusters apart.
    cluster: String,
    clock: Clock,
    platforms: Platforms,
    served: Served,
    accounts: accounts::Accounts,
    /// Every PlatformToken, as the watch has it.
    tokens: Store<Watched>,
    /// Set once the caches have shown every PlatformToken and generated Secret that there was at the start. A store's own
    /// `wait_until_ready` wakes only the last of several tasks that wait for it.
    listed: SetOnce<()>,
    /// Asks for a watch of a credentials Secret: namespace and name.
    watch_credentials: UnboundedSender<(String, String)>,
    secrets: secrets::SecretIndex,
    namespaces: namespaces::NamespaceIndex,
    memory: memory::Memories,
    slots: slots::Slots,
    orphans: tries::Tries,
    ledger: ledger::Ledger,
    silences: silences::Silences,
    telemetry: Arc<Telemetry>,
    /// Name of this process in events.
    instance: String,
    /// Makes the id of an attempt.
    fresh: Box<dyn Fn() -> AttemptId + Send + Sync>,
}
