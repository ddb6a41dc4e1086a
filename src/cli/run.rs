//! `run`: the operator.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::asked_to_stop;
use crate::api::{AttemptId, DEFAULT_BASE_URL};
use crate::clock::Clock;
use crate::controller::{self, BaseUrl, Platforms, Served, Settings};
use crate::platform::{Http, Transport};
use crate::telemetry::{self, LogFormat, Telemetry};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// A platform that accounts may name in `spec.baseURL`; may be given several times. Credentials are sent to no
    /// other host. It replaces the default: name that one as well if it is still to be allowed.
    #[arg(
        long,
        value_name = "URL",
        env = "PLATFORM_TOKEN_OPERATOR_ALLOW_BASE_URL",
        value_delimiter = ',',
        default_value = DEFAULT_BASE_URL
    )]
    allow_base_url: Vec<BaseUrl>,

    /// A namespace to serve; may be given several times. Left out, every namespace is served. Secrets are then reached by
    /// a Role in each of them, and generated ones bear no finalizer.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "PLATFORM_TOKEN_OPERATOR_WATCH_NAMESPACE",
        value_delimiter = ',',
        value_parser = super::namespace
    )]
    watch_namespace: Vec<String>,

    /// Where metrics and probes are served: `/metrics`, `/livez`, `/readyz`.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PLATFORM_TOKEN_OPERATOR_LISTEN",
        default_value = "0.0.0.0:8080"
    )]
    listen: SocketAddr,

    /// How many PlatformTokens are worked on at once.
    #[arg(
        long,
        value_name = "N",
        env = "PLATFORM_TOKEN_OPERATOR_CONCURRENCY",
        default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    concurrency: u16,

    /// Whether replicas elect a leader. Not built yet: only `false` is accepted, and there must be one replica.
    #[arg(
        long,
        value_name = "BOOL",
        env = "PLATFORM_TOKEN_OPERATOR_LEADER_ELECTION",
        default_value_t = false,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    leader_election: bool,

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
        anyhow::ensure!(
            !self.leader_election,
            "leader election is not built yet: run one replica with --leader-election=false"
        );
        // kube-client logs whole answers that it cannot parse, and one may be a Secret.
        let filter = EnvFilter::try_new(format!("{},kube_client=error", self.log))
            .with_context(|| format!("--log {:?} is no filter", self.log))?;
        telemetry::init_logs(self.log_format, filter);

        let (client, server) = super::kubernetes::client().await?;
        let pool = Http::pool()?;
        let platforms = Platforms::new(self.allow_base_url, move |base_url| {
            let transport: Arc<dyn Transport> = Arc::new(Http::new(pool.clone(), base_url));
            transport
        });
        let shutdown = CancellationToken::new();
        let listener = tokio::net::TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("cannot listen on {} for metrics and probes", self.listen))?;
        let telemetry = Arc::new(Telemetry::default());
        tracing::info!(
            version = super::VERSION,
            %server,
            platforms = platforms.allowed(),
            metrics = %listener.local_addr()?,
            "starting"
        );
        let settings = Settings {
            platforms,
            served: Served::these(self.watch_namespace),
            instance: std::env::var("HOSTNAME")
                .unwrap_or_else(|_| "platform-token-operator".into()),
            clock: Clock::system(),
            fresh: Box::new(AttemptId::fresh),
        };
        let controller = controller::run(
            client,
            settings,
            self.concurrency,
            telemetry.clone(),
            shutdown.clone(),
        );
        let server = telemetry::serve(listener, telemetry, shutdown.clone());
        let stop = async {
            let asked = asked_to_stop(self.until_stdin_closes).await;
            tracing::info!("stopping: running reconciliations end first");
            shutdown.cancel();
            asked.context("cannot wait for signals")
        };
        let (controller, server, stop) = tokio::join!(
            async {
                let result = Box::pin(controller).await;
                shutdown.cancel();
                result
            },
            server,
            async {
                tokio::select! {
                    result = stop => result,
                    () = shutdown.cancelled() => Ok(()),
                }
            }
        );
        controller?;
        server?;
        stop
    }
}
