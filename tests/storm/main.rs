//! A kill storm on real parts: the built binary and a real API server, with a sandbox for each dialect behind HTTP.
//!
//! PlatformTokens are created and deleted all the time, whole namespaces as well, accounts and their credentials are
//! taken away and come back, strangers use the same accounts, answers get lost, and the operator is killed with SIGKILL and started again: at random moments, and right after a request was seen that it was
//! waited for. Proxies before the API server and before the platforms see them; the operator is the one that ships,
//! and knows nothing of it. After each row of kills everything has to come to rest, and be counted exactly: no token
//! leaked, none double, none of a stranger touched.
//!
//! `make storm N=1000` runs a long one; in `make test` it is short. The plan of kills follows from the seed, what meets
//! what does not.
//!
//! | file | thought |
//! |---|---|
//! | `plan` | when to kill |
//! | `deed` | the requests that change something, by name |
//! | `lookout` | what proxies and killer share: who lives, what is aimed at |
//! | `proxy` | latency, holding back, losing |
//! | `operator` | the real binary |
//! | `home` | a namespace with an account, as users make and delete it |
//! | `account` | a platform, its proxy, its namespaces |
//! | `users`, `guests`, `outages`, `strangers`, `losses` | what goes on meanwhile |
//! | `storm` | rows of kills, and rests |
//! | `logbook` | what was seen of each attempt |
//! | `count`, `table` | what is there in the end, and how it is told |

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test owns its tasks and its time, says with a panic what does not hold, and prints its table"
)]

mod account;
mod count;
mod deed;
mod dice;
mod guests;
mod home;
mod logbook;
mod lookout;
mod losses;
mod operator;
mod outages;
mod plan;
mod proxy;
mod storm;
mod strangers;
mod table;
mod users;

#[path = "../support/control_plane.rs"]
#[expect(dead_code, reason = "a storm keeps its logs elsewhere")]
mod control_plane;

use tokio::time::Instant;

use crate::count::Count;
use crate::storm::Storm;
use crate::table::table;

/// How many kills there are between two rests.
const ROW: usize = 100;

/// A storm of so many kills has time for what takes minutes to be found out.
const LONG: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn whenever_it_is_killed_no_token_is_lost_or_double_and_no_stranger_is_touched() {
    let (times, seed) = (variable("N", 12), variable("SEED", 1));
    println!("a storm of {times} kills, seed {seed}");
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let began = Instant::now();
    let mut storm = Storm::gather(seed, times >= LONG).await;
    let plan = plan::kills(seed, usize::try_from(times).unwrap(), storm.accounts.len());
    let mut counts = Vec::new();
    for row in plan.chunks(ROW) {
        storm.blow(row).await;
        let blown = began.elapsed().as_secs();
        counts = storm.rest().await;
        let rested = began.elapsed().as_secs();
        println!(
            "{} kills after {blown} s, at rest after {rested} s",
            storm.kills.all()
        );
        if !counts.iter().all(Count::is_exact) {
            break;
        }
    }
    if counts.iter().all(Count::is_exact) {
        storm.end().await;
        counts = storm.rest().await;
    }
    let table = table(&storm, &counts, seed, began.elapsed());
    println!("\n{table}");
    std::fs::write(storm.dir.join("storm.md"), &table).unwrap();
    let wrong: Vec<_> = counts.iter().flat_map(Count::wrong).collect();
    let dir = storm.dir.display();
    assert!(wrong.is_empty(), "seed {seed}, logs in {dir}: {wrong:#?}");
}

fn variable(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text
            .parse()
            .unwrap_or_else(|_| panic!("{name}={text:?} is not a number")),
        _ => default,
    }
}
