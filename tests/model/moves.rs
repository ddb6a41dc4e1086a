//! What can happen next. The unit is one effect: between any two, everything else may happen.

use platform_token_operator::plan::Step;

use crate::mind::Account;
use crate::rules::Said;
use crate::scene::{Scene, cached};
use crate::world::{GROUP, STRANGERS};

/// The longest that a POST is on its way, in seconds.
const POST_TIMEOUT: u64 = 20;

/// The longest that a call to the API server is waited for, in seconds.
const DEADLINE: u64 = 15;

/// One thing that happens. Processes, PlatformTokens, Secrets and POSTs are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Move {
    /// A process begins a run for a PlatformToken.
    Begin(u8, u8),
    /// A process begins to finish a Secret whose PlatformToken is gone.
    Finish(u8, u8),
    /// It carries out what the rules say next.
    Go(u8, u8),
    /// It does so, and the answer takes its time.
    GoSlowly(u8, u8),
    /// It does so, and the answer is lost.
    GoUnheard(u8, u8),
    /// It does not, and what it would have done fails.
    GoInVain(u8, u8),
    /// The answer arrives.
    Hear(u8, u8),
    /// A POST makes its token.
    Land(u8),
    /// A POST makes its token, and the answer is lost.
    LandUnheard(u8),
    /// A POST is given up by its sender, and may make its token still.
    Linger(u8),
    /// A POST is lost on its way.
    Vanish(u8),
    /// The platform refuses a POST.
    Refuse(u8),
    /// A POST makes its token, and a proxy sends it again.
    Repeat(u8),
    /// What changed of a PlatformToken reaches the cache that lags.
    SeeToken(u8, u8),
    /// What changed of Secrets reaches the cache that lags.
    SeeSecrets(u8),
    /// A process takes stock of the account.
    Stock(u8),
    /// A process takes an entry of the ledger, or goes on with that, and carries out what the rules say next.
    Pay(u8, u8),
    /// It does so, and the answer is lost.
    PayUnheard(u8, u8),
    /// A process tries to prove the account.
    Prove(u8),
    /// The platform stops answering.
    Darken,
    /// The platform answers again.
    Lighten,
    /// A process dies, and starts anew.
    Crash(u8),
    /// Time passes.
    Tick,
    /// More time passes than any rule waits for.
    Rest,
    /// A user deletes the PlatformToken.
    Delete(u8),
    /// A user deletes a Secret.
    Remove(u8),
    /// Someone revokes a token of ours in the console.
    Elsewhere(u8),
}

impl Move {
    /// Whether it happens without any fault, and without a user.
    pub(crate) fn is_fair(self) -> bool {
        match self {
            Self::Begin(..)
            | Self::Finish(..)
            | Self::Go(..)
            | Self::GoSlowly(..)
            | Self::Hear(..)
            | Self::Land(_)
            | Self::SeeToken(..)
            | Self::SeeSecrets(_)
            | Self::Stock(_)
            | Self::Pay(..)
            | Self::Prove(_)
            | Self::Tick
            | Self::Rest => true,
            Self::GoUnheard(..)
            | Self::GoInVain(..)
            | Self::PayUnheard(..)
            | Self::Darken
            | Self::Lighten
            | Self::LandUnheard(_)
            | Self::Linger(_)
            | Self::Vanish(_)
            | Self::Refuse(_)
            | Self::Repeat(_)
            | Self::Crash(_)
            | Self::Delete(_)
            | Self::Remove(_)
            | Self::Elsewhere(_) => false,
        }
    }
}

impl Scene<'_> {
    /// All that can happen next.
    pub(crate) fn moves(&mut self) -> Vec<Move> {
        let mut moves = Vec::with_capacity(16);
        for p in 0..self.state.processes.len() {
            for i in 0..self.world.tokens {
                self.moves_of(p, i, &mut moves);
            }
            let process = &self.state.processes[p];
            let at = p as u8;
            if let Some(cache) = &process.cache {
                for i in 0..self.world.tokens {
                    if cache.tokens[i] != self.state.tokens[i] {
                        moves.push(Move::SeeToken(at, i as u8));
                    }
                }
                if cache.secrets != cached(&self.state) {
                    moves.push(Move::SeeSecrets(at));
                }
            }
            for name in (0..2).filter(|name| self.is_orphan(p, *name)) {
                moves.push(Move::Finish(at, name as u8));
            }
            if self.takes_stock(p) {
                moves.push(Move::Stock(at));
            }
            if !self.is_proven(p) {
                moves.push(Move::Prove(at));
            }
            self.moves_of_ledger(p, &mut moves);
            if self.state.left.crashes > 0 {
                moves.push(Move::Crash(at));
            }
        }
        if self.state.dark {
            moves.push(Move::Lighten);
        } else if self.state.left.dark > 0 {
            moves.push(Move::Darken);
        }
        let (left, posts) = (&self.state.left, self.state.posts.len());
        for k in (0..posts).map(|k| k as u8) {
            moves.push(Move::Land(k));
            if self.state.posts[usize::from(k)].sender.is_some() {
                if left.lost > 0 {
                    moves.extend([Move::LandUnheard(k), Move::Linger(k), Move::Vanish(k)]);
                }
                if left.refused > 0 {
                    moves.push(Move::Refuse(k));
                }
            }
            if left.repeated > 0 {
                moves.push(Move::Repeat(k));
            }
        }
        if let Some(i) = self.state.to_delete {
            moves.push(Move::Delete(i));
        }
        for name in 0..2 {
            if left.removed > 0
                && self.state.secrets[name]
                    .as_ref()
                    .is_some_and(|secret| !secret.deleting)
            {
                moves.push(Move::Remove(name as u8));
            }
        }
        for (k, up) in self.state.upstream.iter().enumerate() {
            if left.revoked > 0 && up.live && up.token / GROUP != STRANGERS {
                moves.push(Move::Elsewhere(k as u8));
            }
        }
        if self.can_wait(self.world.tick) {
            moves.push(Move::Tick);
        }
        if self.state.upstream.iter().any(|up| !up.settled) && self.can_wait(u64::MAX) {
            moves.push(Move::Rest);
        }
        moves
    }

    fn moves_of(&mut self, p: usize, i: usize, moves: &mut Vec<Move>) {
        let (at, of) = (p as u8, i as u8);
        let mind = &self.state.processes[p].minds[i];
        let Some(run) = &mind.run else {
            let token = self.cached_tokens(p)[i].as_ref();
            // Who lives waits until the account is known.
            let known = self.state.processes[p].account != Account::Pending;
            if !mind.asleep && token.is_some_and(|token| known || token.deleting) {
                moves.push(Move::Begin(at, of));
            }
            return;
        };
        if run.answer.is_some() {
            moves.push(Move::Hear(at, of));
            return;
        }
        if self.state.awaits_post(p, i) {
            return;
        }
        moves.push(Move::Go(at, of));
        let memory = &mind.memory;
        let goes = run.token.deleting || run.gone;
        let (slow, unheard, in_vain) = match &*self.rules.next(i, memory, run) {
            Said::Step(step) => (
                matches!(step, Step::Open(_) | Step::FindMinted(_) | Step::Look),
                !matches!(
                    step,
                    Step::Mint(_)
                        | Step::Look
                        | Step::ReadSecret { .. }
                        | Step::Preflight { .. }
                        | Step::FindMinted(_)
                        | Step::Recover(_)
                        | Step::Verify { .. }
                ),
                goes && matches!(
                    step,
                    Step::Revoke { .. } | Step::FindMinted(_) | Step::Record(..)
                ),
            ),
            Said::Settled(_) => (false, true, false),
        };
        if slow && self.world.slow {
            moves.push(Move::GoSlowly(at, of));
        }
        if unheard && self.state.left.lost > 0 {
            moves.push(Move::GoUnheard(at, of));
        }
        if in_vain && self.state.left.lost > 0 {
            moves.push(Move::GoInVain(at, of));
        }
    }

    fn moves_of_ledger(&mut self, p: usize, moves: &mut Vec<Move>) {
        if !self.pays(p) {
            return;
        }
        let entries = match self.state.processes[p].payment {
            Some(_) => 1,
            None => self.state.ledger.len(),
        };
        for k in 0..entries {
            moves.push(Move::Pay(p as u8, k as u8));
            if self.state.left.lost > 0 && self.pays_by_revoking(p, k) {
                moves.push(Move::PayUnheard(p as u8, k as u8));
            }
        }
    }

    /// Whether so many seconds can pass before something has to happen.
    fn can_wait(&self, seconds: u64) -> bool {
        let past =
            |age: u8, most: u64| (u64::from(age) * self.world.tick).saturating_add(seconds) > most;
        let answers = self
            .state
            .processes
            .iter()
            .flat_map(|process| &process.minds);
        let mut answers = answers.filter_map(|mind| mind.run.as_ref()?.answer.as_ref());
        !self
            .state
            .posts
            .iter()
            .any(|post| past(post.age, POST_TIMEOUT))
            && !answers.any(|(_, age)| past(*age, DEADLINE))
    }
}
