//! `run`: the operator.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::asked_to_stop;
use super::election::LeaderElection;
use super::reach::Reach;
use crate::api::{AttemptId, names};
use crate::clock::Clock;
use crate::controller::{self, Election, Role, Settings};
use crate::lease::Identity;
use crate::telemetry::{self, LogFormat, Telemetry};

/// How long everything may take to end: a POST takes at most 20 s and its store 15 s, and then the lease is released.
/// `terminationGracePeriodSeconds` in `deploy/` is longer.
const DRAIN: Duration = Duration::from_secs(40);

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    #[command(flatten)]
    reach: Reach,

    /// Where metrics and probes are served: `/metrics`, `/livez`, `/readyz`.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PLATFORM_TOKEN_OPERATOR_LISTEN",
        default_value = "0.0.0.0:8080"
    )]
    listen: SocketAddr,

    /// How many PlatformTokens of one account are worked on at once, of those that stay, and as many that are being
    /// deleted; of all accounts together, four times as many.
    #[arg(
        long,
        value_name = "N",
        env = "PLATFORM_TOKEN_OPERATOR_CONCURRENCY",
        default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    concurrency: u16,

    #[command(flatten)]
    leader_election: LeaderElection,

    /// What is logged: a level, or `TARGET=LEVEL` pairs.
    #[arg(
        long,
        value_name = "FILTER",
        env = "PLATFORM_TOKEN_OPERATOR_LOG",
        default_value = "info"
    )]
    log: String,

    /// How log lines look.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "PLATFORM_TOKEN_OPERATOR_LOG_FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,

    /// Stop when standard input closes, so that the operator ends with the program that started it.
    #[arg(long)]
    until_stdin_closes: bool,
}

impl Run {
    pub(super) async fn execute(self) -> anyhow::Result<()> {
        // kube-client logs whole answers that it cannot parse, and one may be a Secret.
        let filter = EnvFilter::try_new(format!("{},kube_client=error", self.log))
            .with_context(|| format!("--log {:?} is no filter", self.log))?;
        telemetry::init_logs(self.log_format, filter);

        let (client, cluster) = super::kubernetes::client().await?;
        let (platforms, served) = self.reach.resolve()?;
        let shutdown = CancellationToken::new();
        let listener = tokio::net::TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("cannot listen on {} for metrics and probes", self.listen))?;
        let telemetry = Arc::new(Telemetry::default());
        tracing::info!(
            version = super::VERSION,
            server = %cluster,
            platforms = platforms.allowed(),
            metrics = %listener.local_addr()?,
            "starting"
        );
        let clock = Clock::system();
        let host = std::env::var("HOSTNAME").unwrap_or_else(|_| names::OPERATOR.into());
        let elect = |place| Election {
            client: client.clone(),
            place,
            identity: Identity::of(&host, uuid::Uuid::new_v4()),
            now: Box::new(move || clock.now()),
        };
        let namespace = self.leader_election.own_namespace();
        let election = self.leader_election.place().map(elect);
        let settings = Settings {
            platforms,
            served,
            namespace,
            concurrency: self.concurrency,
            instance: host,
            clock,
            fresh: Box::new(AttemptId::fresh),
        };
        let told = telemetry.clone();
        let operate = || controller::run(client, settings, telemetry.clone(), shutdown.clone());
        let work = async {
            if let Some(election) = election {
                let told = |role| match role {
                    Role::StandingBy => told.stands_by(),
                    Role::Leading => told.leads(),
                    Role::Done => told.has_led(),
                };
                let done = Box::pin(controller::lead(election, &shutdown, told, operate)).await?;
                done.transpose()?;
            } else {
                told.leads();
                Box::pin(operate()).await?;
            }
            anyhow::Ok(())
        };
        let probes = async {
            telemetry::serve(listener, telemetry.clone()).await?;
            std::future::pending().await
        };
        tokio::select! {
            result = work => result,
            result = probes => result,
            error = stopped(self.until_stdin_closes, &shutdown) => Err(error),
        }
    }
}

/// Asks for an end when this process is asked to end, and waits until that has to be enough; says why it was not.
async fn stopped(until_stdin_closes: bool, shutdown: &CancellationToken) -> anyhow::Error {
    if let Err(error) = asked_to_stop(until_stdin_closes).await {
        return anyhow::Error::new(error).context("cannot wait for signals");
    }
    tracing::info!("stopping: running reconciliations end first");
    shutdown.cancel();
    tokio::select! {
        _ = asked_to_stop(false) => anyhow::anyhow!("asked to stop twice: running reconciliations were cut short"),
        () = tokio::time::sleep(DRAIN) => {
            anyhow::anyhow!("running reconciliations did not end within {} s, and were cut short", DRAIN.as_secs())
        }
    }
}
