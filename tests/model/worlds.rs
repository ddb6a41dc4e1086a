//! The worlds that are walked through. What two PlatformTokens share, and only that, is walked through with both: apart
//! from an account's list, whose rows bear their tags, PlatformTokens meet only where they want the same Secret.

use platform_token_operator::api::Dialect;

use crate::claims::Claim;
use crate::guards::Guard;
use crate::world::{Faults, World};

/// Both dialects of a world.
fn both(world: &World) -> [World; 2] {
    [Dialect::Current, Dialect::Documented].map(|dialect| World {
        dialect,
        ..world.clone()
    })
}

fn faults(crashes: u8, lost: u8) -> Faults {
    Faults {
        crashes,
        lost,
        ..World::CALM.faults
    }
}

fn dark(crashes: u8, lost: u8) -> Faults {
    Faults {
        dark: 1,
        ..faults(crashes, lost)
    }
}

/// Walked through by every `cargo test`.
pub(crate) fn small() -> Vec<World> {
    let one = World {
        name: "one process, a deletion, a crash, a lost answer",
        deleted: Some(0),
        faults: faults(1, 1),
        ..World::CALM
    };
    let two = World {
        name: "two processes",
        processes: 2,
        ..World::CALM
    };
    let neighbours = World {
        name: "two PlatformTokens, one is deleted",
        tokens: 2,
        deleted: Some(1),
        ..World::CALM
    };
    let slow = World {
        name: "slow answers",
        slow: true,
        tick: 5,
        faults: faults(1, 0),
        ..one.clone()
    };
    let revoked = World {
        name: "a token is revoked in the console, a crash",
        faults: Faults {
            revoked: 1,
            ..faults(1, 0)
        },
        ..World::CALM
    };
    let silent = World {
        name: "the platform stops answering, a deletion",
        deleted: Some(0),
        faults: dark(0, 0),
        ..World::CALM
    };
    let mut worlds: Vec<World> = [one, neighbours, slow, revoked, silent]
        .iter()
        .flat_map(both)
        .collect();
    worlds.push(two);
    worlds
}

/// Walked through by `make model`.
pub(crate) fn large() -> Vec<World> {
    let mut worlds: Vec<World> = [large_in_both_dialects(), silent()]
        .concat()
        .iter()
        .flat_map(both)
        .collect();
    worlds.extend(large_with_tags());
    worlds
}

fn large_in_both_dialects() -> Vec<World> {
    let deleted = World {
        deleted: Some(0),
        ..World::CALM
    };
    let removed = Faults {
        removed: 1,
        ..faults(1, 1)
    };
    let revoked = |faults: Faults| Faults {
        revoked: 1,
        ..faults
    };
    vec![
        World {
            name: "one process, two crashes, a lost answer",
            faults: faults(2, 1),
            ..deleted.clone()
        },
        World {
            name: "two PlatformTokens, two crashes, a lost answer",
            tokens: 2,
            deleted: Some(1),
            faults: faults(2, 1),
            ..World::CALM
        },
        World {
            name: "a refusal",
            faults: Faults {
                refused: 1,
                ..faults(2, 1)
            },
            ..deleted.clone()
        },
        World {
            name: "a user removes a Secret, a crash, a lost answer",
            faults: removed.clone(),
            ..World::CALM
        },
        World {
            name: "a user removes a Secret, a deletion, a crash, a lost answer",
            faults: removed,
            ..deleted.clone()
        },
        World {
            name: "a stale cache, a deletion, a crash, a lost answer",
            stale: true,
            faults: faults(1, 1),
            ..deleted.clone()
        },
        World {
            name: "a stale cache, a user removes a Secret, a deletion, a crash",
            stale: true,
            faults: Faults {
                removed: 1,
                ..faults(1, 0)
            },
            ..deleted.clone()
        },
        World {
            name: "slow answers, a deletion, a crash, a lost answer",
            slow: true,
            tick: 5,
            faults: faults(1, 1),
            ..deleted.clone()
        },
        World {
            name: "a token is revoked in the console, a deletion, a crash, a lost answer",
            faults: revoked(faults(1, 1)),
            ..deleted.clone()
        },
        World {
            name: "a token is revoked in the console, a stale cache, a user removes a Secret",
            stale: true,
            faults: revoked(Faults {
                removed: 1,
                ..faults(0, 0)
            }),
            ..World::CALM
        },
        World {
            name: "two rivals for one Secret",
            tokens: 2,
            deleted: Some(1),
            rivals: true,
            faults: faults(1, 1),
            ..World::CALM
        },
    ]
}

/// What a deletion leaves where the platform stops answering.
fn silent() -> Vec<World> {
    let deleted = World {
        deleted: Some(0),
        ..World::CALM
    };
    vec![
        World {
            name: "the platform stops answering, a deletion, a crash, a lost answer",
            faults: dark(1, 1),
            ..deleted.clone()
        },
        World {
            name: "the platform stops answering, a user removes a Secret, a deletion, a crash",
            faults: Faults {
                removed: 1,
                ..dark(1, 0)
            },
            ..deleted.clone()
        },
        World {
            name: "the platform stops answering, two PlatformTokens, one is deleted",
            tokens: 2,
            deleted: Some(1),
            faults: dark(0, 0),
            ..World::CALM
        },
    ]
}

/// Worlds that are too large, or promised less, where tokens bear no tags.
fn large_with_tags() -> Vec<World> {
    let deleted = World {
        deleted: Some(0),
        ..World::CALM
    };
    vec![
        World {
            name: "two processes, two crashes",
            processes: 2,
            faults: faults(2, 0),
            ..World::CALM
        },
        World {
            name: "two processes, one with a stale cache",
            processes: 2,
            stale: true,
            ..World::CALM
        },
        World {
            name: "two processes, a deletion, a crash, a lost answer",
            processes: 2,
            faults: faults(1, 1),
            ..deleted.clone()
        },
        World {
            name: "two processes, the platform stops answering, a deletion",
            processes: 2,
            faults: dark(0, 0),
            ..deleted.clone()
        },
        World {
            name: "two processes, a token is revoked in the console",
            processes: 2,
            faults: Faults {
                revoked: 1,
                ..World::CALM.faults
            },
            ..World::CALM
        },
        World {
            name: "a proxy that repeats a POST",
            faults: Faults {
                repeated: 1,
                ..faults(1, 1)
            },
            ..World::CALM
        },
        World {
            name: "two processes, a user removes a Secret",
            processes: 2,
            faults: Faults {
                removed: 1,
                ..World::CALM.faults
            },
            ..World::CALM
        },
        World {
            name: "two processes, slow answers",
            processes: 2,
            slow: true,
            tick: 5,
            ..World::CALM
        },
        World {
            name: "two processes, a crash, a lost answer",
            processes: 2,
            faults: faults(1, 1),
            ..World::CALM
        },
        World {
            name: "masked values",
            masked: true,
            faults: faults(2, 1),
            ..deleted
        },
    ]
}

/// For each guard, a world that needs it, and what breaks there without it.
pub(crate) fn sabotaged() -> Vec<(World, Claim)> {
    let two = World {
        processes: 2,
        ..World::CALM
    };
    let deleted = World {
        deleted: Some(0),
        ..World::CALM
    };
    let rivals = World {
        tokens: 2,
        rivals: true,
        ..World::CALM
    };
    let lost = World {
        faults: faults(0, 1),
        ..World::CALM
    };
    let crash = World {
        faults: faults(1, 0),
        ..deleted.clone()
    };
    let stale = World {
        stale: true,
        ..crash.clone()
    };
    let owing = World {
        faults: faults(0, 1),
        ..deleted.clone()
    };
    let silent = World {
        faults: dark(0, 0),
        ..deleted.clone()
    };
    [
        (Guard::CompareAndSwap, two, Claim::ReadyLives),
        (Guard::CreateOnly, rivals, Claim::NothingLost),
        (Guard::OnePost, lost, Claim::OnePost),
        (
            Guard::FinalizerFirst,
            deleted.clone(),
            Claim::HeldBeforePost,
        ),
        (Guard::LiveRead, stale, Claim::Comes),
        (Guard::WaitForPosts, crash.clone(), Claim::Named),
        (Guard::Search, crash, Claim::Named),
        (Guard::Verify, World::CALM, Claim::ReadyAnswered),
        (Guard::RevokeFirst, deleted, Claim::Named),
        (Guard::WriteDown, owing.clone(), Claim::Named),
        (Guard::WriteFirst, owing.clone(), Claim::Named),
        (Guard::PayFirst, owing, Claim::Named),
        (Guard::PutOff, silent, Claim::Comes),
    ]
    .map(|(guard, world, claim)| {
        let without = Some(guard);
        (World { without, ..world }, claim)
    })
    .into()
}
