//! `check`: an installation, before the operator is trusted with it.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::election::LeaderElection;
use crate::check::{self, Scope, Verdict};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// How the findings are printed.
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: Format,

    /// A namespace that the operator is to serve; may be given several times. Left out, every namespace is.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "PLATFORM_TOKEN_OPERATOR_WATCH_NAMESPACE",
        value_delimiter = ',',
        value_parser = super::namespace
    )]
    watch_namespace: Vec<String>,

    #[command(flatten)]
    leader_election: LeaderElection,

    /// Fail on warnings as well.
    #[arg(long)]
    strict: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One line for each finding.
    Text,
    /// One JSON object.
    Json,
}

impl Check {
    pub(super) async fn execute(self) -> anyhow::Result<ExitCode> {
        let (client, _) = super::kubernetes::client().await?;
        let scope = Scope {
            namespaces: Some(self.watch_namespace).filter(|names| !names.is_empty()),
            lease: self.leader_election.place(),
        };
        let report = check::examine(&client, &scope).await;
        let mut out = std::io::stdout().lock();
        match self.output {
            Format::Text => write!(out, "{}", check::text(&report))?,
            Format::Json => writeln!(out, "{:#}", check::json(&report))?,
        }
        let tolerated = if self.strict {
            Verdict::Ok
        } else {
            Verdict::Warning
        };
        Ok(if report.verdict() <= tolerated {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}
