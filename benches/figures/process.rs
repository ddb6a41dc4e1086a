//! Processes that end with us, and what they use.

use std::process::{Child, Command, Stdio};

use anyhow::Context;
use serde::Serialize;

/// Ticks of `/proc/PID/stat` in a second: fixed by Linux's ABI, whatever the kernel's own.
const TICKS: f64 = 100.0;

/// A running program of ours. It ends when its standard input closes, which the kernel does even if we are killed.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    /// Starts `command` with the other end of its standard input in our hand.
    pub(crate) fn start(command: &mut Command) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::piped()).spawn();
        Ok(Self(
            child.with_context(|| format!("cannot start {command:?}"))?,
        ))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // `wait` closes standard input first.
        let _ = self.0.wait();
    }
}

/// The resident memory of a process, in KiB.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    /// At this moment.
    pub(crate) rss_kib: u64,
    /// The most that it ever was.
    pub(crate) peak_kib: u64,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> anyhow::Result<Self> {
        let status = read(pid, "status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|rest| rest.split_whitespace().next());
            number
                .and_then(|number| number.parse().ok())
                .with_context(|| format!("/proc/{pid}/status has no {name}"))
        };
        Ok(Self {
            rss_kib: field("VmRSS:")?,
            peak_kib: field("VmHWM:")?,
        })
    }
}

/// The CPU time of a process, user and system, from some moment on.
pub(crate) struct CpuTime {
    pid: u32,
    before: f64,
}

impl CpuTime {
    pub(crate) fn from_now(pid: u32) -> anyhow::Result<Self> {
        let before = cpu_seconds(pid)?;
        Ok(Self { pid, before })
    }

    pub(crate) fn from_birth(pid: u32) -> Self {
        Self { pid, before: 0.0 }
    }

    /// What it has used since, in seconds.
    pub(crate) fn used(&self) -> anyhow::Result<f64> {
        Ok(cpu_seconds(self.pid)? - self.before)
    }
}

fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = read(pid, "stat")?;
    // The second field is the name in parentheses, which may hold anything; user and system time are 14th and 15th.
    let (_, after_name) = stat.rsplit_once(')').unwrap_or_default();
    let ticks: Vec<f64> = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse().ok())
        .collect();
    anyhow::ensure!(ticks.len() == 2, "/proc/{pid}/stat does not read");
    Ok(ticks.iter().sum::<f64>() / TICKS)
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{file}");
    std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}
