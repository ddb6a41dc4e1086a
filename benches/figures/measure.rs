//! The measurements: one function each, every one in a world of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use platform_token_operator::platform::Http;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::calls::Calls;
use crate::floor::Floor;
use crate::operator::Operator;
use crate::process::{CpuTime, Memory};
use crate::ready::{Became, ReadyWatch};
use crate::settings::Settings;
use crate::upstream::Upstream;
use crate::world::{Population, World};

/// How long after the last Ready its event, and whatever else it causes, may take; calls up to then belong to the
/// issuance.
const SETTLE: Duration = Duration::from_secs(3);

/// How often to say how long the idling still takes.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What one issuance of all tokens took.
#[derive(Debug, Serialize)]
pub(crate) struct Issuance {
    /// From the start to the first Ready, in seconds.
    pub(crate) first_ready: f64,
    /// From the start to the last Ready, in seconds.
    pub(crate) last_ready: f64,
    /// CPU time of the process that issued, in seconds.
    pub(crate) cpu: f64,
    /// Calls to the API server.
    pub(crate) kubernetes: Kubernetes,
    /// Calls to the platform.
    pub(crate) upstream: Upstream,
}

/// Calls to the API server by operator or floor.
#[derive(Debug, Serialize)]
pub(crate) struct Kubernetes {
    /// Changes of objects; dry runs and events are counted apart.
    pub(crate) writes: u64,
    pub(crate) dry_runs: u64,
    pub(crate) events: u64,
    pub(crate) reads: u64,
    /// By verb, resource and, where it is no success, code.
    pub(crate) calls: BTreeMap<String, u64>,
    /// Requests by the service account, of whatever kind.
    pub(crate) by_account: u64,
}

impl From<Calls> for Kubernetes {
    fn from(calls: Calls) -> Self {
        Self {
            writes: calls.writes(),
            dry_runs: calls.dry_runs(),
            events: calls.events(),
            reads: calls.reads(),
            calls: calls.by_name(),
            by_account: calls.by_account,
        }
    }
}

/// What the operator took, and what it does when there is nothing to do.
#[derive(Debug, Serialize)]
pub(crate) struct Operated {
    #[serde(flatten)]
    pub(crate) issuance: Issuance,
    /// When all were Ready and it had come to rest.
    pub(crate) memory: Memory,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) idle: Option<Idle>,
}

/// What an operator without work does.
#[derive(Debug, Serialize)]
pub(crate) struct Idle {
    /// For how long it was watched, in seconds.
    pub(crate) seconds: f64,
    /// CPU time meanwhile, in seconds.
    pub(crate) cpu: f64,
    /// Memory in the end.
    pub(crate) memory: Memory,
    pub(crate) kubernetes: Kubernetes,
    /// Calls to the platform.
    pub(crate) upstream: u64,
}

/// The bare loop, which runs in this very process.
pub(crate) async fn measure_floor(settings: &Settings) -> anyhow::Result<Issuance> {
    eprintln!("  the floor: preparing");
    let mut bench = Bench::prepare(of_one_account(settings.tokens), settings).await?;
    let floor = Floor::new(&bench.world).await?;
    let start = bench.start().await?;
    let cpu = CpuTime::from_now(std::process::id())?;
    let ((), became) = tokio::try_join!(
        floor.issue_all(&bench.world.tokens),
        bench.ready.until(settings.tokens),
    )?;
    bench.end(&start, became, &cpu).await
}

/// The operator, from its start; then, if asked, how it does nothing for a while.
pub(crate) async fn measure_operator(
    settings: &Settings,
    idle: Option<Duration>,
) -> anyhow::Result<Operated> {
    eprintln!("  the operator: preparing");
    let mut bench = Bench::prepare(of_one_account(settings.tokens), settings).await?;
    let (operator, issuance) = bench.operate(settings.tokens).await?;
    let memory = Memory::of(operator.pid())?;
    let idle = match idle {
        Some(idle) if !idle.is_zero() => Some(bench.idle(operator.pid(), idle).await?),
        _ => None,
    };
    Ok(Operated {
        issuance,
        memory,
        idle,
    })
}

/// The memory of an operator that has issued `n` tokens.
pub(crate) async fn measure_memory(settings: &Settings, n: usize) -> anyhow::Result<Memory> {
    eprintln!("  the operator's memory with {n}: preparing");
    let mut bench = Bench::prepare(of_one_account(n), settings).await?;
    let (operator, _) = bench.operate(n).await?;
    Memory::of(operator.pid())
}

/// So many PlatformTokens of one account, and nothing else.
pub(crate) fn of_one_account(tokens: usize) -> Population {
    Population {
        accounts: 1,
        tokens,
        others: 0,
    }
}

/// A world whose PlatformTokens wait, watched.
pub(crate) struct Bench {
    pub(crate) world: World,
    pub(crate) ready: ReadyWatch,
    pub(crate) http: reqwest::Client,
}

/// The moment when the clock started.
struct Start {
    at: Instant,
    /// The API server's counters then.
    calls: Calls,
}

impl Bench {
    pub(crate) async fn prepare(there: Population, settings: &Settings) -> anyhow::Result<Self> {
        let world = World::with(there, settings).await?;
        Ok(Self {
            ready: ReadyWatch::begin(world.admin.clone()).await?,
            http: Http::pool()?,
            world,
        })
    }

    /// Starts the operator and waits until it has issued all `n` tokens.
    pub(crate) async fn operate(&mut self, n: usize) -> anyhow::Result<(Operator, Issuance)> {
        let start = self.start().await?;
        let operator = Operator::start(&self.world)?;
        let cpu = CpuTime::from_birth(operator.pid());
        let became = operator.explain(self.ready.until(n).await)?;
        let issuance = operator.explain(self.end(&start, became, &cpu).await)?;
        Ok((operator, issuance))
    }

    async fn start(&self) -> anyhow::Result<Start> {
        let calls = Calls::so_far(&self.world.admin).await?;
        eprintln!("    issuing");
        let at = Instant::now();
        Ok(Start { at, calls })
    }

    async fn end(&self, start: &Start, became: Became, cpu: &CpuTime) -> anyhow::Result<Issuance> {
        sleep(SETTLE).await;
        let cpu = cpu.used()?;
        let calls = Calls::so_far(&self.world.admin).await?;
        let since = |moment: Instant| moment.duration_since(start.at).as_secs_f64();
        Ok(Issuance {
            first_ready: since(became.first),
            last_ready: since(became.last),
            cpu,
            kubernetes: calls.since(&start.calls).into(),
            upstream: self.upstream().await?,
        })
    }

    /// Watches the operator having nothing to do.
    async fn idle(&self, pid: u32, idle: Duration) -> anyhow::Result<Idle> {
        let calls = Calls::so_far(&self.world.admin).await?;
        let upstream = self.upstream().await?.total();
        let (cpu, began) = (CpuTime::from_now(pid)?, Instant::now());
        let end = began + idle;
        while Instant::now() < end {
            let left = end.duration_since(Instant::now());
            eprintln!("    idle, {:.0} s to go", left.as_secs_f64());
            sleep(left.min(HEARTBEAT)).await;
        }
        Ok(Idle {
            seconds: began.elapsed().as_secs_f64(),
            cpu: cpu.used()?,
            memory: Memory::of(pid)?,
            kubernetes: Calls::so_far(&self.world.admin).await?.since(&calls).into(),
            upstream: self.upstream().await?.total() - upstream,
        })
    }

    pub(crate) async fn upstream(&self) -> anyhow::Result<Upstream> {
        Upstream::so_far(&self.http, &self.world.platform.base_url).await
    }
}
