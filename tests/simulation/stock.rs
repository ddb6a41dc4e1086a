//! What taking stock costs: one list of an account in each resync, whatever the number of its PlatformTokens, and one
//! after a restart.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::sleep;

use super::fault::{Fault, Weather};
use super::queue::RESYNC;
use super::run::run;
use super::world::{Ground, Setup, World};

/// By then all is Ready.
const BEGIN: Duration = Duration::from_hours(1);

/// How many resyncs are looked at.
const RESYNCS: u32 = 10;

/// What the process asks the platform for, from [`BEGIN`] on.
fn asked(ground: Ground, tokens: usize, restart: bool) -> Vec<String> {
    let outcome = run(Setup::new(7, ground), &|world: Arc<World>| {
        async move {
            world.account();
            let names: Vec<String> = (0..tokens).map(|n| format!("token-{n}")).collect();
            for name in &names {
                world.token(name);
            }
            for name in &names {
                world.until_ready(name).await;
            }
            sleep(BEGIN.saturating_sub(world.elapsed())).await;
            if restart {
                let next = world.state().number + 1;
                let except = Some((next, Fault::CrashBefore));
                world.state().weather = Weather::Fair { except };
            }
            sleep(RESYNCS * RESYNC).await;
        }
        .boxed()
    });
    assert_eq!(outcome.broken, Vec::<String>::new());
    let window = BEGIN..BEGIN + RESYNCS * RESYNC;
    let effects = outcome.trace.effects();
    let within = effects.filter(|effect| window.contains(&effect.sent));
    let asked = within.map(|effect| effect.what.clone());
    asked.filter(|what| what.contains(" /api/v1/")).collect()
}

#[test]
fn an_account_is_listed_once_in_each_resync_whatever_the_number_of_its_platformtokens() {
    for ground in Ground::ALL {
        for (tokens, restart) in [(1, false), (12, false), (12, true)] {
            let asked = asked(ground, tokens, restart);
            let is_list =
                |what: &&String| what.starts_with("GET /api/v1/platform-tokens/?limit=100&");
            let lists = asked.iter().filter(is_list).count();
            let case = format!("{ground:?}, {tokens} PlatformTokens, restart: {restart}");
            assert_eq!(lists, 10, "{case}: {asked:#?}");
            let is_proof = |what: &&String| what.ends_with("/me/") || what.contains("?limit=1&");
            let proofs = asked.iter().filter(is_proof).count();
            assert_eq!(lists + proofs, asked.len(), "{case}: {asked:#?}");
        }
    }
}
