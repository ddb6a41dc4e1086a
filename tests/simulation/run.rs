//! One run from beginning to end: the story, then quiet, then the promises.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::sleep;

use super::fault::Weather;
use super::process::lead;
use super::trace::Trace;
use super::world::{Setup, World};

/// How long after the story everything may take to come to rest: the longest waits are minutes.
const HORIZON: Duration = Duration::from_hours(3);

/// How long it is watched whether it stays at rest.
const WATCHED: Duration = Duration::from_mins(25);

/// What came of a run.
pub(crate) struct Outcome {
    /// How many effects it had before it came to rest.
    pub effects: u32,
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
            let leaders: Vec<_> = processes
                .map(|process| tokio::spawn(lead(world.clone(), process)))
                .collect();
            act(world.clone()).await;
            world.state().weather = Weather::Fair { except: None };
            world.remark("all is well from here on");
            let at_rest = come_to_rest(&world).await;
            let effects = world.state().number;
            if at_rest {
                sleep(WATCHED).await;
            }
            let mut broken = world.broken_promises(at_rest);
            if leaders.iter().any(tokio::task::JoinHandle::is_finished) {
                broken.push("a process panicked".into());
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
