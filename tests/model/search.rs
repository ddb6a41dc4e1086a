//! Walks through a world completely: every state that can be reached, by the shortest way, and what can become of it.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::time::{Duration, Instant};

use crate::canon::canonical;
use crate::claims::{Claim, is_as_it_shall_be};
use crate::digest::{Folded, digest};
use crate::moves::Move;
use crate::rules::Rules;
use crate::scene::Scene;
use crate::world::{State, World};

/// What a walk came to.
#[derive(Debug)]
pub(crate) struct Walk {
    pub states: usize,
    pub moves: usize,
    pub depth: usize,
    pub took: Duration,
    /// The shortest way to where a claim is broken.
    pub broken: Option<(Claim, Vec<Move>)>,
}

/// Walks through the world.
pub(crate) fn walk(world: &World) -> Walk {
    let begun = Instant::now();
    let mut rules = Rules::new(world);
    let mut graph = Graph::default();
    let mut first = State::first(world);
    canonical(&mut first, world, rules.caps);
    graph.seen.insert(digest(&first), 0);
    graph.came.push((0, Move::Tick));
    let mut frontier = vec![(0_u32, first)];
    let (mut depth, mut moves) = (0, 0);
    let mut broken = None;
    'walk: while !frontier.is_empty() {
        let mut next = vec![];
        for (at, state) in frontier {
            graph.good.push(is_as_it_shall_be(world, &state));
            let mut scene = Scene::new(world, &mut rules, state.clone());
            let all = scene.moves();
            for happens in all {
                let mut scene = Scene::new(world, &mut rules, state.clone());
                scene.play(happens);
                let (mut after, claim) = (scene.state, scene.broken);
                moves += 1;
                if let Some(claim) = claim {
                    broken = Some((claim, graph.way(at, Some(happens))));
                    break 'walk;
                }
                canonical(&mut after, world, rules.caps);
                let fresh = u32::try_from(graph.came.len()).expect("fewer than 2^32 states");
                let to = *graph.seen.entry(digest(&after)).or_insert(fresh);
                if to == fresh {
                    graph.came.push((at, happens));
                    next.push((to, after));
                }
                if happens.is_fair() && to != at {
                    graph.fair.push(to);
                }
            }
            graph.ends.push(graph.fair.len());
        }
        frontier = next;
        depth += 1;
    }
    let broken = broken.or_else(|| {
        let stuck = graph.first_stuck()?;
        Some((Claim::Comes, graph.way(stuck, None)))
    });
    Walk {
        states: graph.came.len(),
        moves,
        depth,
        took: begun.elapsed(),
        broken,
    }
}

/// All states, numbered in the order in which they were found.
#[derive(Default)]
struct Graph {
    seen: HashMap<u128, u32, BuildHasherDefault<Folded>>,
    /// From where each was found first, and by what.
    came: Vec<(u32, Move)>,
    /// Whether all is as it shall be.
    good: Vec<bool>,
    /// Where moves without a fault lead to, for one state after another.
    fair: Vec<u32>,
    /// Where these end.
    ends: Vec<usize>,
}

impl Graph {
    fn way(&self, mut to: u32, last: Option<Move>) -> Vec<Move> {
        let mut way: Vec<Move> = last.into_iter().collect();
        while to != 0 {
            let (from, happens) = self.came[to as usize];
            way.push(happens);
            to = from;
        }
        way.reverse();
        way
    }

    /// The first state from which no fair way leads to where all is as it shall be, and stays so on every fair way. There
    /// is none if and only if every terminal component of the graph without faults is as it shall be.
    fn first_stuck(&self) -> Option<u32> {
        let mut stays = self.good.clone();
        self.sweep(|at, to| {
            let leaves = stays[at] && !to.iter().all(|to| stays[*to as usize]);
            stays[at] &= !leaves;
            leaves
        });
        let mut reaches = stays;
        self.sweep(|at, to| {
            let arrives = !reaches[at] && to.iter().any(|to| reaches[*to as usize]);
            reaches[at] |= arrives;
            arrives
        });
        let stuck = reaches.iter().position(|reaches| !reaches)?;
        u32::try_from(stuck).ok()
    }

    /// Looks at every state and where its fair moves lead, the last one first, until nothing changes any more.
    fn sweep(&self, mut change: impl FnMut(usize, &[u32]) -> bool) {
        loop {
            let mut changed = false;
            for at in (0..self.ends.len()).rev() {
                let begin = if at == 0 { 0 } else { self.ends[at - 1] };
                changed |= change(at, &self.fair[begin..self.ends[at]]);
            }
            if !changed {
                return;
            }
        }
    }
}
