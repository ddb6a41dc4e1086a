//! The operator, run as its image runs it.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::process::Process;
use crate::world::{PROGRAM, World};

/// How many of its last log lines an error shows.
const LAST_LINES: usize = 20;

/// The operator of one world.
pub(crate) struct Operator {
    pub(crate) process: Process,
    log: PathBuf,
}

impl Operator {
    /// Starts it with the permissions that we ship and default settings: 32 PlatformTokens at once.
    pub(crate) fn start(world: &World) -> anyhow::Result<Self> {
        let log = world.plane.dir.join("operator.log");
        let process = Process::start(
            Command::new(PROGRAM)
                .args([
                    "run",
                    "--listen=127.0.0.1:0",
                    "--leader-election=false",
                    "--until-stdin-closes",
                ])
                .args(["--allow-base-url", &world.platform.base_url])
                .env("KUBECONFIG", &world.plane.operator_kubeconfig)
                .stderr(File::create(&log)?),
        )?;
        Ok(Self { process, log })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Adds the end of the operator's log to an error.
    pub(crate) fn explain<T>(&self, result: anyhow::Result<T>) -> anyhow::Result<T> {
        result.with_context(|| {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            format!("the operator's last words:\n{}\n", last.join("\n"))
        })
    }
}
