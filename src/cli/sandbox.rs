//! `sandbox`: the fake platform, over HTTP.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use kube::core::Duration as GoDuration;
use serde_json::json;

use super::asked_to_stop;
use crate::api::{Dialect, UserId};
use crate::clock::Clock;
use crate::sandbox::{Account, Config, Shared, http};

/// Arguments of `sandbox`.
#[derive(Debug, Args)]
pub(super) struct Sandbox {
    /// Where to listen. Port 0 takes a free one. It has no authentication of its own: keep it on loopback.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "PLATFORM_TOKEN_SANDBOX_LISTEN",
        default_value = "127.0.0.1:8081"
    )]
    listen: SocketAddr,

    /// The dialect that it answers in: `current`, or `documented`.
    #[arg(
        long,
        value_name = "DIALECT",
        env = "PLATFORM_TOKEN_SANDBOX_DIALECT",
        default_value = "current",
        value_parser = dialect
    )]
    dialect: Dialect,

    /// A user of the platform with an account of its own; may be given several times.
    #[arg(long, value_name = "USER_ID", default_value = "sandbox", value_parser = UserId::parse)]
    user: Vec<UserId>,

    /// How long every answer takes, e.g. `20ms`.
    #[arg(
        long,
        value_name = "DURATION",
        env = "PLATFORM_TOKEN_SANDBOX_LATENCY",
        default_value = "0s"
    )]
    latency: GoDuration,

    /// The most rows of one page, whatever is asked for.
    #[arg(long, value_name = "ROWS", default_value_t = 100)]
    page_cap: usize,

    /// What ids and tokens are made from: the same seed gives the same ones. Drawn by chance if left out.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Stop when standard input closes, so that the sandbox ends with the program that started it.
    #[arg(long)]
    until_stdin_closes: bool,
}

impl Sandbox {
    pub(super) async fn execute(self) -> anyhow::Result<()> {
        let clock = Clock::system();
        let config = Config {
            dialect: self.dialect,
            seed: self
                .seed
                .unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0),
            accounts: self.user.into_iter().map(Account::named).collect(),
            page_cap: self.page_cap,
            latency: Duration::from(self.latency),
            ..Config::default()
        };
        let shared = Shared::new(config, Arc::new(move || clock.now().wall));
        let listener = tokio::net::TcpListener::bind(self.listen)
            .await
            .with_context(|| format!("cannot listen on {}", self.listen))?;
        announce(&shared, listener.local_addr()?)?;
        http::serve(listener, shared, async move {
            if let Err(error) = asked_to_stop(self.until_stdin_closes).await {
                tracing::error!(%error, "cannot wait for signals");
            }
        })
        .await?;
        Ok(())
    }
}

/// Prints one line of JSON with the address and each account's credential: they are what a user needs to begin.
fn announce(shared: &Shared, address: SocketAddr) -> anyhow::Result<()> {
    use std::io::Write as _;
    let accounts: Vec<_> = shared.with(|sandbox, _| {
        let account = |account: &Account| {
            json!({
                "userID": account.user_id,
                "username": account.username,
                "credential": sandbox.model.admin(&account.user_id).map(|value| value.expose().to_owned()),
            })
        };
        sandbox.model.config.accounts.iter().map(account).collect()
    });
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{}",
        json!({ "url": format!("http://{address}"), "accounts": accounts })
    )?;
    Ok(out.flush()?)
}

fn dialect(text: &str) -> Result<Dialect, String> {
    match text {
        "current" => Ok(Dialect::Current),
        "documented" => Ok(Dialect::Documented),
        _ => Err("write `current` or `documented`".into()),
    }
}
