//! What many PlatformTokens cost: memory, a restart with nothing to do, and the time for each of them, beside that of few.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::calls::Calls;
use crate::measure::{Bench, Issuance, Kubernetes};
use crate::operator::Operator;
use crate::process::Memory;
use crate::report::{cores, mib};
use crate::settings::Settings;
use crate::table::{Table, median};
use crate::upstream::Upstream;
use crate::world::Population;

/// The accounts that the PlatformTokens are spread over.
const ACCOUNTS: usize = 10;

/// Secrets of others, for each PlatformToken.
const OTHERS: usize = 3;

/// Few PlatformTokens.
const FEW: usize = 100;

/// How often few are measured: the median counts.
const ROUNDS_OF_FEW: usize = 3;

/// Less memory than this, in KiB.
const AIM_MEMORY: u64 = 60 * 1024;

/// A restart has to be over in this time, in seconds.
const AIM_RESTART: f64 = 30.0;

/// With many PlatformTokens each may cost so many times as much as with few.
const AIM_COST: f64 = 1.3;

/// The rows of an account's list that one more request shows: a page of 100 begins with the last row of the one before.
const ROWS_A_PAGE: usize = 99;

/// Whoever asks for nothing this long has come to rest.
const REST: Duration = Duration::from_secs(5);

/// When to give up on that.
const DEADLINE: Duration = Duration::from_mins(3);

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Scale {
    settings: Settings,
    there: Population,
    many: Issuance,
    /// When all were Ready.
    memory: Memory,
    restart: Restart,
    few: Vec<Issuance>,
}

/// The operator, started again with nothing to do.
#[derive(Debug, Serialize)]
struct Restart {
    /// From the start to the last request of any kind, in seconds.
    settled: f64,
    kubernetes: Kubernetes,
    upstream: Upstream,
    memory: Memory,
}

pub(crate) async fn measure_scale(settings: &Settings) -> anyhow::Result<Scale> {
    let population = |tokens: usize, others| Population {
        accounts: ACCOUNTS,
        tokens,
        others,
    };
    let mut few = Vec::new();
    for round in 1..=ROUNDS_OF_FEW {
        eprintln!("scale, {FEW} tokens, round {round} of {ROUNDS_OF_FEW}: preparing");
        let mut bench = Bench::prepare(population(FEW, 0), settings).await?;
        few.push(bench.operate(FEW).await?.1);
    }
    let there = population(settings.scale, settings.scale * OTHERS);
    eprintln!("scale, {} tokens: preparing", there.tokens);
    let mut bench = Bench::prepare(there, settings).await?;
    let (operator, many) = bench.operate(there.tokens).await?;
    let memory = Memory::of(operator.pid())?;
    drop(operator);
    eprintln!("    starting again, so that the accounts count what was made");
    restart(&bench).await?;
    eprintln!("    starting again, with nothing to do");
    let restart = restart(&bench).await?;
    Ok(Scale {
        settings: settings.clone(),
        there,
        many,
        memory,
        restart,
        few,
    })
}

async fn restart(bench: &Bench) -> anyhow::Result<Restart> {
    let (calls, upstream) = (
        Calls::so_far(&bench.world.admin).await?,
        bench.upstream().await?,
    );
    let start = Instant::now();
    let operator = Operator::start(&bench.world)?;
    let settled = operator.explain(until_settled(bench, start, &upstream).await)?;
    Ok(Restart {
        settled,
        kubernetes: Calls::so_far(&bench.world.admin)
            .await?
            .since(&calls)
            .into(),
        upstream: bench.upstream().await?.since(&upstream),
        memory: Memory::of(operator.pid())?,
    })
}

/// Waits until every account is proven and listed, and nothing was asked for in [`REST`].
async fn until_settled(bench: &Bench, start: Instant, before: &Upstream) -> anyhow::Result<f64> {
    let (mut last, mut known) = (start, None);
    loop {
        let upstream = bench.upstream().await?.since(before);
        let proven = upstream.times("GET /platform-tokens/me/") >= ACCOUNTS as u64;
        let listed = upstream.times("GET /platform-tokens/") >= ACCOUNTS as u64;
        let calls = Calls::so_far(&bench.world.admin).await?;
        let now = Some((upstream.total(), calls.by_account));
        if now != known {
            (last, known) = (Instant::now(), now);
        }
        if proven && listed && last.elapsed() > REST {
            return Ok(last.duration_since(start).as_secs_f64());
        }
        anyhow::ensure!(
            start.elapsed() < DEADLINE,
            "no rest in {DEADLINE:?}: {:?}",
            upstream.calls
        );
        sleep(Duration::from_millis(100)).await;
    }
}

impl Scale {
    /// Whether every order made exactly one token, and the restart none.
    pub(crate) fn is_exact(&self) -> bool {
        self.many.upstream.minted == self.there.tokens as u64 && self.restart.upstream.minted == 0
    }

    pub(crate) fn table(&self) -> Table {
        let Population {
            accounts,
            tokens,
            others,
        } = self.there;
        let title = format!(
            "{tokens} tokens on {accounts} accounts, {others} Secrets of others, {:?} API latency, {} cores",
            self.settings.latency,
            cores()
        );
        let mut table = Table::new(&title, ["", "at its peak"]);
        let judged_memory = |table: &mut Table, name, memory: Memory| {
            let aim = format!("under {} MiB", AIM_MEMORY / 1024);
            table.judged(name, mib(memory), &aim, memory.rss_kib < AIM_MEMORY);
        };
        judged_memory(&mut table, "memory when all are Ready, MiB", self.memory);
        judged_memory(
            &mut table,
            "memory after a restart, MiB",
            self.restart.memory,
        );
        self.restart(&mut table);
        self.cost(&mut table);
        table
    }

    fn restart(&self, table: &mut Table) {
        let Restart {
            settled,
            kubernetes,
            upstream,
            ..
        } = &self.restart;
        table.head("restart with nothing to do");
        let aim = format!("at most {AIM_RESTART} s");
        let figures = [format!("{settled:.1}"), String::new()];
        table.judged(
            "until the last request, s",
            figures,
            &aim,
            *settled <= AIM_RESTART,
        );
        let lists = (self.there.tokens / self.there.accounts).div_ceil(ROWS_A_PAGE);
        let lists = (lists * self.there.accounts) as u64;
        let writes = kubernetes.writes + kubernetes.dry_runs + kubernetes.events;
        for (name, times, most) in [
            ("writes of the API server", writes, 0),
            ("POSTs", upstream.such("POST"), 0),
            ("DELETEs", upstream.such("DELETE"), 0),
            (
                "pages of lists",
                upstream.times("GET /platform-tokens/"),
                lists,
            ),
        ] {
            let aim = match most {
                0 => "none".to_owned(),
                _ => format!("one list for each account: {most}"),
            };
            table.judged(
                name,
                [times.to_string(), String::new()],
                &aim,
                times <= most,
            );
        }
        table.row(
            "all calls of the platform",
            [upstream.total().to_string(), String::new()],
            "",
        );
        let by_account = kubernetes.by_account.to_string();
        table.row(
            "all requests of the API server",
            [by_account, String::new()],
            "watches included",
        );
    }

    fn cost(&self, table: &mut Table) {
        table.head(&format!(
            "a token, ms: with {}, and with {FEW}",
            self.there.tokens
        ));
        let both = |figure: &dyn Fn(&Issuance, f64) -> f64| {
            let few = self.few.iter().map(|few| figure(few, FEW as f64));
            [figure(&self.many, self.there.tokens as f64), median(few)]
        };
        let times = both(&|issuance, n| issuance.last_ready / n * 1e3);
        let shown = |figures: [f64; 2]| figures.map(|figure| format!("{figure:.2}"));
        let ratio = |[many, few]: [f64; 2]| many / few;
        table.judged(
            "from the start to the last Ready",
            shown(times),
            &format!("at most {AIM_COST} x: {:.2} x", ratio(times)),
            ratio(times) <= AIM_COST,
        );
        let first =
            both(&|issuance, n| (issuance.last_ready - issuance.first_ready) / (n - 1.0) * 1e3);
        table.row(
            "from the first Ready to the last",
            shown(first),
            &format!("{:.2} x", ratio(first)),
        );
        let cpu = both(&|issuance, n| issuance.cpu / n * 1e3);
        table.row(
            "CPU of the operator",
            shown(cpu),
            &format!("{:.2} x", ratio(cpu)),
        );
    }
}
