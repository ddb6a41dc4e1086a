//! A state in which something happens, and when nothing happens any more.

use crate::claims::{Claim, broken_in};
use crate::mind::{Indexed, Process};
use crate::moves::Move;
use crate::rules::Rules;
use crate::world::{PlatformToken, Secret, State, World};

/// A state in which something happens.
pub(crate) struct Scene<'a> {
    pub world: &'a World,
    pub rules: &'a mut Rules,
    pub state: State,
    /// What is told of it, if anybody listens.
    pub told: Vec<String>,
    pub telling: bool,
    /// The claim that it broke.
    pub broken: Option<Claim>,
}

impl<'a> Scene<'a> {
    pub(crate) fn new(world: &'a World, rules: &'a mut Rules, state: State) -> Self {
        Self {
            world,
            rules,
            state,
            told: vec![],
            telling: false,
            broken: None,
        }
    }

    /// Lets it happen.
    pub(crate) fn play(&mut self, happens: Move) {
        match happens {
            Move::Begin(p, i) => self.begin(p.into(), i.into()),
            Move::Finish(p, name) => self.finish(p.into(), name.into()),
            Move::Go(p, i) => self.go(p.into(), i.into()),
            Move::GoSlowly(p, i) => self.go_slowly(p.into(), i.into()),
            Move::GoUnheard(p, i) => self.go_unheard(p.into(), i.into()),
            Move::GoInVain(p, i) => self.go_in_vain(p.into(), i.into()),
            Move::Hear(p, i) => self.hear(p.into(), i.into()),
            Move::Land(k) => self.land(k.into()),
            Move::LandUnheard(k) => self.land_unheard(k.into()),
            Move::Linger(k) => self.linger(k.into()),
            Move::Vanish(k) => self.vanish(k.into()),
            Move::Refuse(k) => self.refuse(k.into()),
            Move::Repeat(k) => self.repeat(k.into()),
            Move::SeeToken(p, i) => self.see_token(p.into(), i.into()),
            Move::SeeSecrets(p) => self.see_secrets(p.into()),
            Move::Stock(p) => self.take_stock(p.into()),
            Move::Pay(p, k) => self.pay(p.into(), k.into(), true),
            Move::PayUnheard(p, k) => self.pay(p.into(), k.into(), false),
            Move::Prove(p) => self.prove(p.into()),
            Move::Darken => self.darken(),
            Move::Lighten => self.lighten(),
            Move::Crash(p) => self.crash(p.into()),
            Move::Tick => self.tick(),
            Move::Rest => self.rest(),
            Move::Delete(i) => self.delete(i.into()),
            Move::Remove(name) => self.remove_by_hand(name.into()),
            Move::Elsewhere(k) => self.revoke_elsewhere(k.into()),
        }
        if self.broken.is_none() {
            self.broken = broken_in(self);
        }
    }

    /// Nothing more happens by itself.
    pub(crate) fn is_at_rest(&self) -> bool {
        let sleeps = |p: usize, i: usize| {
            let mind = &self.state.processes[p].minds[i];
            mind.run.is_none() && (mind.asleep || self.cached_tokens(p)[i].is_none())
        };
        let up_to_date = |process: &Process| {
            let cache = process.cache.as_ref();
            cache.is_none_or(|cache| {
                cache.tokens == self.state.tokens && cache.secrets == cached(&self.state)
            })
        };
        let all = || 0..self.state.processes.len();
        self.state.posts.is_empty()
            && all().all(|p| (0..self.world.tokens).all(|i| sleeps(p, i)))
            && self.state.processes.iter().all(up_to_date)
            && self
                .state
                .processes
                .iter()
                .all(|process| process.payment.is_none())
            && all().all(|p| self.is_proven(p))
            && self.state.ledger.is_empty()
            && self.state.upstream.iter().all(|up| up.settled)
            && all().all(|p| self.stock(p) == self.state.processes[p].leftovers)
            && all().all(|p| self.missing(p) == self.state.processes[p].missing)
            && all().all(|p| !(0..2).any(|name| self.is_orphan(p, name)))
    }

    /// Whether a Secret hangs on our finalizer, and its PlatformToken is gone, as `controller/orphans.rs` finds it.
    pub(crate) fn is_orphan(&self, p: usize, name: usize) -> bool {
        let Some(secret) = &self.state.secrets[name] else {
            return false;
        };
        let i = usize::from(secret.owner);
        let gone = self.state.tokens[i].is_none() && self.cached_tokens(p)[i].is_none();
        let free = self.state.processes[p].minds[i].run.is_none() && self.pays(p);
        secret.deleting && secret.held && gone && free
    }

    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.telling {
            self.told.push(what());
        }
    }

    pub(crate) fn cached_tokens(&self, p: usize) -> &[Option<PlatformToken>; 2] {
        let cache = &self.state.processes[p].cache;
        cache
            .as_ref()
            .map_or(&self.state.tokens, |cache| &cache.tokens)
    }

    pub(crate) fn cached_secrets(&self, p: usize) -> [Option<Indexed>; 2] {
        let cache = &self.state.processes[p].cache;
        cache
            .as_ref()
            .map_or_else(|| cached(&self.state), |cache| cache.secrets)
    }
}

/// What caches of Secrets that do not lag have.
pub(crate) fn cached(state: &State) -> [Option<Indexed>; 2] {
    let indexed = |secret: &Secret| Indexed {
        owner: secret.owner,
        version: secret.version,
        token: secret.issued.token,
    };
    state
        .secrets
        .each_ref()
        .map(|secret| secret.as_ref().map(indexed))
}
