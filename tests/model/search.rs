//! Walks through a world completely: every state that can be reached, by the shortest way, and what can become of it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash};
use std::time::{Duration, Instant};

use crate::canon::canonical;
use crate::claims::{self, Claim};
use crate::digest::{Folded, digest};
use crate::moves::Move;
use crate::rules::Rules;
use crate::scene::Scene;
use crate::world::{State, World};

/// What can be walked through.
pub(crate) trait Walkable {
    type State: Hash;
    type Move: Copy;
    type Claim;

    /// That without further faults all comes to be as it shall be, and stays so.
    const COMES: Self::Claim;

    /// The state in which everything begins.
    fn first(&mut self) -> Self::State;

    /// All that can happen next.
    fn moves(&mut self, state: &Self::State) -> Vec<Self::Move>;

    /// What becomes of a state, in the form that all states have which nobody can tell apart, and the claim that broke.
    fn play(
        &mut self,
        state: &Self::State,
        happens: Self::Move,
    ) -> (Self::State, Option<Self::Claim>);

    /// Whether it happens without any fault.
    fn is_fair(happens: Self::Move) -> bool;

    /// Whether all is as it shall be.
    fn is_as_it_shall_be(&self, state: &Self::State) -> bool;
}

/// A world of tokens, with the rules asked about it.
struct Tokens<'a> {
    world: &'a World,
    rules: Rules,
}

impl Walkable for Tokens<'_> {
    type State = State;
    type Move = Move;
    type Claim = Claim;

    const COMES: Claim = Claim::Comes;

    fn first(&mut self) -> State {
        let mut first = State::first(self.world);
        canonical(&mut first, self.world, self.rules.caps);
        first
    }

    fn moves(&mut self, state: &State) -> Vec<Move> {
        Scene::new(self.world, &mut self.rules, state.clone()).moves()
    }

    fn play(&mut self, state: &State, happens: Move) -> (State, Option<Claim>) {
        let mut scene = Scene::new(self.world, &mut self.rules, state.clone());
        scene.play(happens);
        let (mut after, broken) = (scene.state, scene.broken);
        if broken.is_none() {
            canonical(&mut after, self.world, self.rules.caps);
        }
        (after, broken)
    }

    fn is_fair(happens: Move) -> bool {
        happens.is_fair()
    }

    fn is_as_it_shall_be(&self, state: &State) -> bool {
        claims::is_as_it_shall_be(self.world, state)
    }
}

/// What a walk came to.
#[derive(Debug)]
pub(crate) struct Walk<C, M> {
    pub states: usize,
    pub moves: usize,
    pub depth: usize,
    pub took: Duration,
    /// The shortest way to where a claim is broken.
    pub broken: Option<(C, Vec<M>)>,
}

/// Walks through a world of tokens.
pub(crate) fn walk(world: &World) -> Walk<Claim, Move> {
    let rules = Rules::new(world);
    walk_through(Tokens { world, rules })
}

/// Walks through all of it.
pub(crate) fn walk_through<W: Walkable>(mut world: W) -> Walk<W::Claim, W::Move> {
    let begun = Instant::now();
    let mut graph = Graph::default();
    let first = world.first();
    graph.seen.insert(digest(&first), 0);
    graph.came.push(None);
    let mut frontier = vec![(0_u32, first)];
    let (mut depth, mut moves) = (0, 0);
    let mut broken = None;
    'walk: while !frontier.is_empty() {
        let mut next = vec![];
        for (at, state) in frontier {
            graph.good.push(world.is_as_it_shall_be(&state));
            for happens in world.moves(&state) {
                let (after, claim) = world.play(&state, happens);
                moves += 1;
                if let Some(claim) = claim {
                    broken = Some((claim, graph.way(at, Some(happens))));
                    break 'walk;
                }
                let fresh = u32::try_from(graph.came.len()).expect("fewer than 2^32 states");
                let to = *graph.seen.entry(digest(&after)).or_insert(fresh);
                if to == fresh {
                    graph.came.push(Some((at, happens)));
                    next.push((to, after));
                }
                if W::is_fair(happens) && to != at {
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
        Some((W::COMES, graph.way(stuck, None)))
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
struct Graph<M> {
    seen: HashMap<u128, u32, BuildHasherDefault<Folded>>,
    /// From where each was found first, and by what; the first one from nowhere.
    came: Vec<Option<(u32, M)>>,
    /// Whether all is as it shall be.
    good: Vec<bool>,
    /// Where moves without a fault lead to, for one state after another.
    fair: Vec<u32>,
    /// Where these end.
    ends: Vec<usize>,
}

impl<M> Default for Graph<M> {
    fn default() -> Self {
        Self {
            seen: HashMap::default(),
            came: vec![],
            good: vec![],
            fair: vec![],
            ends: vec![],
        }
    }
}

impl<M: Copy> Graph<M> {
    fn way(&self, mut to: u32, last: Option<M>) -> Vec<M> {
        let mut way: Vec<M> = last.into_iter().collect();
        while let Some((from, happens)) = self.came[to as usize] {
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
