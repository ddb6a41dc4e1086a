//! The way to a broken claim, as plain sentences, and the names in them.

use std::fmt::Write;

use crate::canon::canonical;
use crate::claims::Claim;
use crate::moves::Move;
use crate::rules::Rules;
use crate::scene::Scene;
use crate::world::{GROUP, State, World};

/// Tells what happened, move by move.
pub(crate) fn story(world: &World, claim: Claim, way: &[Move]) -> String {
    let mut rules = Rules::new(world);
    let mut state = State::first(world);
    let mut text = format!("Broken: {claim}.\n");
    let mut names = ["A", "B"];
    for (n, happens) in way.iter().enumerate() {
        let mut scene = Scene::new(world, &mut rules, state);
        scene.telling = true;
        let who = who(&scene.state, names, *happens);
        scene.play(*happens);
        let told = scene.told.join("; ");
        writeln!(text, "{:3}. {who}{told}", n + 1).expect("a text takes it");
        state = scene.state;
        // The walk went on from the canonical form, in which processes may have changed places.
        if canonical(&mut state.clone(), world, rules.caps) {
            state.swap_processes();
            names.swap(0, 1);
        }
    }
    text
}

fn who(state: &State, names: [&str; 2], happens: Move) -> String {
    let process = |p: u8| format!("process {}: ", names[usize::from(p)]);
    match happens {
        Move::Begin(p, _)
        | Move::Finish(p, _)
        | Move::Go(p, _)
        | Move::GoSlowly(p, _)
        | Move::GoUnheard(p, _)
        | Move::GoInVain(p, _)
        | Move::Pay(p, _)
        | Move::PayUnheard(p, _)
        | Move::Prove(p)
        | Move::Hear(p, _)
        | Move::SeeToken(p, _)
        | Move::SeeSecrets(p)
        | Move::Stock(p)
        | Move::Crash(p) => process(p),
        Move::Land(k)
        | Move::LandUnheard(k)
        | Move::Linger(k)
        | Move::Vanish(k)
        | Move::Refuse(k)
        | Move::Repeat(k) => state.posts[usize::from(k)]
            .sender
            .map_or(String::new(), process),
        Move::Darken
        | Move::Lighten
        | Move::Tick
        | Move::Rest
        | Move::Delete(_)
        | Move::Remove(_)
        | Move::Elsewhere(_) => String::new(),
    }
}

/// How the story calls a PlatformToken.
pub(crate) fn token_name(i: usize) -> &'static str {
    ["x", "y"][i]
}

/// How the story calls a Secret.
pub(crate) fn secret_name(name: usize) -> &'static str {
    ["x", "y"][name]
}

/// How the story calls an upstream token.
pub(crate) fn upstream_name(token: u8) -> String {
    let no = token % GROUP + 1;
    match token / GROUP {
        0 => format!("token x{no}"),
        1 => format!("token y{no}"),
        _ => format!("the stranger's token {no}"),
    }
}
