//! `check`: an installation, before the operator is trusted with it.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::election::LeaderElection;
use super::reach::Reach;
use crate::check::{self, Scope, Verdict};

/// Arguments of `check`. Give it those of the `run` that it is to check.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// How the findings are printed.
    #[arg(long, short, value_name = "FORMAT", default_value = "text")]
    output: Format,

    #[command(flatten)]
    reach: Reach,

    #[command(flatten)]
    leader_election: LeaderElection,

    /// Look at cluster, permissions and CRDs alone, and ask the platform nothing: for an init container.
    #[arg(long)]
    cluster_only: bool,

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
        let (platforms, served) = self.reach.resolve()?;
        let scope = Scope {
            served,
            own: self.leader_election.own_namespace(),
            lease: self.leader_election.place().map(|place| place.name),
        };
        let platforms = (!self.cluster_only).then_some(platforms);
        let report = check::examine(client, scope, platforms).await;
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
