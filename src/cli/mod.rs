//! The command line: raw arguments, resolved into what each command needs.

mod check;
mod crd;
mod election;
mod kubernetes;
mod reach;
mod run;
mod sandbox;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::api::names;

/// Version and commit, e.g. `0.1.0 (1a2b3c4d5e6f)`.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("PLATFORM_TOKEN_OPERATOR_COMMIT"),
    ")"
);

/// Kubernetes operator for Ace Data Cloud platform tokens.
///
/// Apply a PlatformToken, and the operator mints the token, writes it into a Secret that Pods mount, keeps both true,
/// and revokes the token when the PlatformToken is deleted.
#[derive(Debug, Parser)]
#[command(version = VERSION, max_term_width = 110)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator against the cluster of the kubeconfig, or of the Pod that it runs in.
    Run(run::Run),
    /// Look at an installation: cluster, permissions, CRDs, accounts. Writes nothing.
    Check(check::Check),
    /// Print the CRDs, or write them into a directory.
    Crd(crd::Crd),
    /// Serve a fake platform for development and tests: nothing that it issues works anywhere else.
    Sandbox(sandbox::Sandbox),
}

impl Arguments {
    /// Does what the arguments say; how it went, for whoever called.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(run) => {
                let runtime = runtime()?;
                let result = runtime.block_on(run.execute());
                // Whoever lost the leadership waits for nothing, not even for a name that is being resolved.
                runtime.shutdown_background();
                result?;
            }
            Command::Check(check) => return runtime()?.block_on(check.execute()),
            Command::Crd(crd) => crd.execute()?,
            Command::Sandbox(sandbox) => runtime()?.block_on(sandbox.execute())?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
}

/// The name of a namespace.
fn namespace(text: &str) -> Result<String, String> {
    if names::is_namespace(text) {
        return Ok(text.to_owned());
    }
    Err("write the name of a namespace: lower-case letters, digits and '-', at most 63".into())
}

/// Ends on SIGTERM or SIGINT, and, if asked, when standard input closes: a parent that dies takes us along.
async fn asked_to_stop(until_stdin_closes: bool) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let stdin_closed = async {
        if !until_stdin_closes {
            return std::future::pending().await;
        }
        let (closed, close) = tokio::sync::oneshot::channel::<()>();
        // A thread of its own: a read that blocks in the runtime would hold up its end.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = closed.send(());
        });
        let _ = close.await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = stdin_closed => {}
    }
    Ok(())
}
