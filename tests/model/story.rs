//! The way to a broken claim, as plain sentences.

use crate::canon::canonical;
use crate::claims::Claim;
use crate::rules::Rules;
use crate::scene::{Move, Scene};
use crate::world::{State, World};

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
        text.push_str(&format!("{:3}. {who}{told}\n", n + 1));
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
        Move::Tick | Move::Rest | Move::Delete(_) | Move::Remove(_) => String::new(),
    }
}
