//! The figures of the operator as it is released. `make bench` runs it:
//!
//! - `measure`: how fast `N` waiting PlatformTokens become Ready, and what they cost, beside a bare loop that makes only
//!   the necessary calls. `LATENCY`, `ROUNDS` and `IDLE` shape it.
//! - `fairness`: what one broken account does to the PlatformTokens of others: `FAIR` accounts with as many each.
//! - `scale`: memory, restart and cost of `SCALE` PlatformTokens, beside three times as many Secrets of others.
//! - `debts`: how fast `LEDGER` entries of the ledger are paid.
//!
//! Every measurement has a control plane and a sandbox of its own, so both sides meet servers of the same age, and
//! everything in the API server's counters is theirs. The sandbox and the operator are processes of their own; the
//! bench itself holds one watch while it measures and asks the API server for nothing else.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench prints its table, and how far it is"
)]

mod calls;
mod debts;
mod fairness;
mod floor;
mod measure;
mod operator;
mod process;
mod ready;
mod report;
mod scale;
mod settings;
mod table;
mod upstream;
mod world;

#[path = "../../tests/support/control_plane.rs"]
#[expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the tests' own, and fails as they do"
)]
mod control_plane;

use std::process::ExitCode;

use anyhow::Context;

use crate::debts::measure_debts;
use crate::fairness::measure_fairness;
use crate::measure::{measure_floor, measure_memory, measure_operator};
use crate::report::{Report, write};
use crate::scale::measure_scale;
use crate::settings::Settings;

/// The number of tokens that the aim for memory speaks of.
const MEMORY_AT: usize = 500;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every order made exactly one token. Speed is for the reader to judge: a busy machine is no failure.
fn run() -> anyhow::Result<bool> {
    let settings = Settings::from_environment()?;
    // Two providers are linked in; the operator picks the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let mut exact = true;
    if settings.tokens > 0 {
        let report = runtime.block_on(take(settings.clone()))?;
        println!("{}", report.table());
        println!("all figures: {}", report.write()?.display());
        exact &= report.is_exact();
    }
    if settings.fair > 0 {
        let fairness = runtime.block_on(measure_fairness(&settings))?;
        println!("{}", fairness.table());
        println!("all figures: {}", write("fairness", &fairness)?.display());
    }
    if settings.scale > 0 {
        let scale = runtime.block_on(measure_scale(&settings))?;
        println!("{}", scale.table());
        println!("all figures: {}", write("scale", &scale)?.display());
        exact &= scale.is_exact();
    }
    if settings.ledger > 0 {
        let debts = runtime.block_on(measure_debts(&settings))?;
        println!("{}", debts.table());
        println!("all figures: {}", write("debts", &debts)?.display());
        exact &= debts.is_exact();
    }
    Ok(exact)
}

async fn take(settings: Settings) -> anyhow::Result<Report> {
    let (mut floor, mut operator) = (Vec::new(), Vec::new());
    for round in 1..=settings.rounds {
        eprintln!("round {round} of {}", settings.rounds);
        floor.push(measure_floor(&settings).await?);
        // Idleness does not vary from round to round; the last one stands for all.
        let idle = (round == settings.rounds).then_some(settings.idle);
        operator.push(measure_operator(&settings, idle).await?);
    }
    let memory = match settings.tokens {
        MEMORY_AT => operator.last().map(|last| last.memory),
        n if n > MEMORY_AT => Some(measure_memory(&settings, MEMORY_AT).await?),
        _ => None,
    };
    Ok(Report {
        settings,
        floor,
        operator,
        memory,
    })
}
