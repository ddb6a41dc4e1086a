//! A model check: small worlds, walked through completely with the rules that ship. Every interleaving of reads, effects,
//! crashes and processes is taken, by the shortest way first; a claim that breaks is told as a story.
//!
//! | file | thought |
//! |---|---|
//! | `worlds`, `world`, `mind` | the worlds that are walked through; what is in a world; what is in a process |
//! | `moves`, `scene` | what can happen next, and that it happens |
//! | `process`, `befall` | what processes do; what befalls them |
//! | `effect`, `kubernetes`, `platform`, `ledger` | what each step does to the world |
//! | `rules`, `to_types`, `from_types`, `names` | the real `plan`, `fold` and `report`, asked about small numbers |
//! | `canon`, `digest` | states that nobody can tell apart are one |
//! | `search`, `claims`, `story` | the walk, what has to hold, and how it broke |
//! | `lease` | who leads: a world of its own, with the real candidate |
//! | `guards` | what each guard is there for: without it a claim breaks |

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test owns its time, says with a panic what does not hold, and prints what it measured"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "numbers are small here"
)]

mod befall;
mod canon;
mod claims;
mod digest;
mod effect;
mod from_types;
mod guards;
mod kubernetes;
mod lease;
mod ledger;
mod mind;
mod moves;
mod names;
mod platform;
mod process;
mod rules;
mod scene;
mod search;
mod story;
mod to_types;
mod world;
mod worlds;

use search::walk;
use story::story;
use world::World;

fn report(world: &World) -> bool {
    let walk = walk(world);
    println!(
        "{:40} {:?} {} states, {} moves, depth {}, {:.1} s",
        world.name,
        world.dialect,
        walk.states,
        walk.moves,
        walk.depth,
        walk.took.as_secs_f64()
    );
    if let Some((claim, way)) = &walk.broken {
        println!("{}", story(world, *claim, way));
    }
    walk.broken.is_none()
}

#[test]
fn in_small_worlds_every_claim_holds() {
    assert_hold(&worlds::small());
}

/// `make model`: minutes, in the profile `simulate`. `WORLD=stale` walks only through those whose name has this word.
#[test]
#[ignore = "make model"]
fn in_large_worlds_every_claim_holds() {
    let mut worlds = worlds::large();
    if let Ok(word) = std::env::var("WORLD") {
        worlds.retain(|world| world.name.contains(&word));
    }
    assert_hold(&worlds);
}

#[test]
fn each_guard_matters() {
    for (world, claim) in worlds::sabotaged() {
        let walk = walk(&world);
        let (broken, way) = walk.broken.expect("a guard that nothing needs");
        println!(
            "Without {:?}. {}",
            world.without,
            story(&world, broken, &way)
        );
        assert_eq!(broken, claim, "without {:?}", world.without);
    }
}

fn assert_hold(worlds: &[World]) {
    let broken = worlds.iter().filter(|world| !report(world)).count();
    assert_eq!(broken, 0, "worlds in which a claim is broken");
}
