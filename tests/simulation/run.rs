//! One run from beginning to end: the story, then quiet, then the promises.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use platform_token_operator::api::Dialect;
use tokio::time::sleep;

use super::apiserver::Kind;
use super::fault::Weather;
use super::process;
use super::queue::RESYNC;
use super::trace::Trace;
use super::world::{Setup, World};

/// How long after the story everything may take to come to rest: the longest waits are minutes.
const HORIZON: Duration = Duration::from_hours(3);

/// How many times accounts are proven anew until everything has to be as promised: what one look at the list shows is
/// acted upon after the next, and an exclusive account looks twice.
const RESYNCS: u32 = 5;

/// What came of a run.
pub(crate) struct Outcome {
    /// How many effects it had before it came to rest.
    pub effects: usize,
    /// Promises that do not hold.
    pub broken: Vec<String>,
    pub trace: Trace,
}

/// Runs a story to its end.
pub(crate) fn run(setup: Setup, act: &dyn Fn(Arc<World>) -> BoxFuture<'static, ()>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing");
    let told = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let world = World::new(setup);
            let processes = 0..world.setup.processes;
            let processes: Vec<_> = processes
                .map(|process| tokio::spawn(process::run(world.clone(), process)))
                .collect();
            act(world.clone()).await;
            world.state().weather = Weather::Fair { except: None };
            world.remark("all is well from here on");
            let mut at_rest = come_to_rest(&world).await;
            for secret in world.left_behind() {
                world.delete(Kind::Secret, &secret);
                at_rest = come_to_rest(&world).await;
            }
            if world.waits_for_an_account().await {
                world.found_anew();
                at_rest = come_to_rest(&world).await;
            }
            let effects = world.state().trace.effects().count();
            let mut broken = world.broken_promises(at_rest);
            for _ in 0..RESYNCS {
                if broken.is_empty() || !at_rest {
                    break;
                }
                sleep(RESYNC + Duration::from_secs(30)).await;
                at_rest = come_to_rest(&world).await;
                broken = world.broken_promises(at_rest);
            }
            broken.extend(stays_quiet(&world).await);
            if processes.iter().any(tokio::task::JoinHandle::is_finished) {
                broken.push("a process panicked".into());
            }
            if !broken.is_empty() {
                world.remark_what_is_there();
            }
            let trace = world.state().trace.clone();
            Outcome {
                effects,
                broken,
                trace,
            }
        })
    }));
    told.unwrap_or_else(|_| Outcome {
        effects: 0,
        broken: vec!["the run panicked".into()],
        trace: Trace::default(),
    })
}

/// At rest an account is proven from time to time, its tokens are counted, and nothing else happens.
async fn stays_quiet(world: &World) -> Option<String> {
    let before = world.state().trace.effects().count();
    sleep(RESYNC + Duration::from_secs(30)).await;
    let state = world.state();
    let later = state.trace.effects().skip(before);
    let mut writes = later.filter(|effect| !effect.only_reads());
    // Known limit: without tags and values, what is left over looks like the work of others: told again, revoked late.
    let config = &world.setup.platform;
    if config.mask_values && config.dialect == Dialect::Documented {
        return None;
    }
    let usual = |what: &str| what.starts_with("PATCH status of platformaccounts");
    let noise = writes.find(|effect| !usual(&effect.what))?;
    Some(format!("at rest something happened: {noise}"))
}

async fn come_to_rest(world: &World) -> bool {
    let deadline = world.elapsed() + HORIZON;
    let mut restful = 0;
    while world.elapsed() < deadline {
        sleep(Duration::from_secs(5)).await;
        restful = if world.is_at_rest() { restful + 1 } else { 0 };
        if restful == 2 {
            return true;
        }
    }
    false
}
