//! What can happen next, and how it changes the world. The unit is one effect: between any two, everything else may
//! happen.

use std::time::Duration;

use platform_token_operator::api::Reason;
use platform_token_operator::plan::Step;

use crate::claims::{Claim, broken_in};
use crate::effect::{secret_name, token_name, upstream_name};
use crate::rules::{Rest, Rules, Said};
use crate::world::{
    Answer, Cache, Facts, GROUP, Indexed, Leftover, Memory, Mind, PlatformToken, Process, Run,
    Secret, State, Status, Told, World,
};

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
            | Self::Tick
            | Self::Rest => true,
            Self::GoUnheard(..)
            | Self::LandUnheard(_)
            | Self::Linger(_)
            | Self::Vanish(_)
            | Self::Refuse(_)
            | Self::Repeat(_)
            | Self::Crash(_)
            | Self::Delete(_)
            | Self::Remove(_) => false,
        }
    }
}

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
            if self.stock(p) != process.leftovers {
                moves.push(Move::Stock(at));
            }
            if self.state.left.crashes > 0 {
                moves.push(Move::Crash(at));
            }
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
            if !mind.asleep && self.cached_tokens(p)[i].is_some() {
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
        let (slow, unheard) = match &*self.rules.next(i, memory, run) {
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
            ),
            Said::Settled(_) => (false, true),
        };
        if slow && self.world.slow {
            moves.push(Move::GoSlowly(at, of));
        }
        if unheard && self.state.left.lost > 0 {
            moves.push(Move::GoUnheard(at, of));
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

    /// Lets it happen.
    pub(crate) fn play(&mut self, happens: Move) {
        match happens {
            Move::Begin(p, i) => self.begin(p.into(), i.into()),
            Move::Finish(p, name) => self.finish(p.into(), name.into()),
            Move::Go(p, i) => self.go(p.into(), i.into()),
            Move::GoSlowly(p, i) => self.go_slowly(p.into(), i.into()),
            Move::GoUnheard(p, i) => self.go_unheard(p.into(), i.into()),
            Move::Hear(p, i) => self.hear(p.into(), i.into()),
            Move::Land(k) => self.land(k.into()),
            Move::LandUnheard(k) => {
                self.state.left.lost -= 1;
                let token = self.make(self.state.posts[usize::from(k)].attempt);
                self.tell(|| {
                    format!(
                        "the POST makes {}, and the answer is lost",
                        upstream_name(token)
                    )
                });
                let post = self.state.posts.remove(k.into());
                self.answer_post(post.sender, post.attempt, &Answer::MintUnknown);
            }
            Move::Linger(k) => {
                self.state.left.lost -= 1;
                self.tell(|| "the POST is given up by its sender, and is still on its way".into());
                let post = &mut self.state.posts[usize::from(k)];
                let (sender, attempt) = (post.sender.take(), post.attempt);
                self.answer_post(sender, attempt, &Answer::MintUnknown);
            }
            Move::Vanish(k) => {
                self.state.left.lost -= 1;
                self.tell(|| "the POST is lost on its way, and its sender cannot know".into());
                let post = self.state.posts.remove(k.into());
                self.answer_post(post.sender, post.attempt, &Answer::MintUnknown);
            }
            Move::Refuse(k) => {
                self.state.left.refused -= 1;
                self.tell(|| "the platform refuses the POST".into());
                let post = self.state.posts.remove(k.into());
                self.answer_post(post.sender, post.attempt, &Answer::NotMinted);
            }
            Move::Repeat(k) => {
                self.state.left.repeated -= 1;
                let token = self.make(self.state.posts[usize::from(k)].attempt);
                self.tell(|| {
                    format!(
                        "the POST makes {}, and a proxy sends it again",
                        upstream_name(token)
                    )
                });
            }
            Move::SeeToken(p, i) => self.see_token(p.into(), i.into()),
            Move::SeeSecrets(p) => self.see_secrets(p.into()),
            Move::Stock(p) => self.take_stock(p.into()),
            Move::Crash(p) => self.crash(p.into()),
            Move::Tick => self.tick(),
            Move::Rest => self.rest(),
            Move::Delete(i) => self.delete(i.into()),
            Move::Remove(name) => {
                self.state.left.removed -= 1;
                self.tell(|| format!("a user deletes Secret {}", secret_name(name.into())));
                let owner = self.state.secrets[usize::from(name)]
                    .as_ref()
                    .map(|secret| secret.owner);
                self.delete_secret(name.into());
                if let Some(owner) = owner {
                    self.wake(owner.into());
                }
            }
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
            && self.state.upstream.iter().all(|up| up.settled)
            && all().all(|p| self.stock(p) == self.state.processes[p].leftovers)
            && all().all(|p| !(0..2).any(|name| self.is_orphan(p, name)))
    }

    /// Whether a Secret hangs on our finalizer, and its PlatformToken is gone, as `controller/orphans.rs` finds it.
    fn is_orphan(&self, p: usize, name: usize) -> bool {
        let Some(secret) = &self.state.secrets[name] else {
            return false;
        };
        let i = usize::from(secret.owner);
        let gone = self.state.tokens[i].is_none() && self.cached_tokens(p)[i].is_none();
        let free = self.state.processes[p].minds[i].run.is_none();
        secret.deleting && secret.held && gone && free
    }

    pub(crate) fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.telling {
            self.told.push(what());
        }
    }

    // What processes do.

    pub(crate) fn run(&self, p: usize, i: usize) -> &Run {
        let run = &self.state.processes[p].minds[i].run;
        run.as_ref().expect("only a run takes steps")
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

    fn begin(&mut self, p: usize, i: usize) {
        let token = self.cached_tokens(p)[i]
            .clone()
            .expect("only what is cached is looked at");
        let secrets = self.observed(p, i, &token);
        self.tell(|| {
            format!(
                "begins a run for {}, as of rv {}",
                token_name(i),
                token.version
            )
        });
        let leftovers = self.state.processes[p].leftovers[i].clone();
        let mind = self.state.mind(p, i);
        mind.memory.leftovers = leftovers;
        let memory = mind.memory.clone();
        let (memory, run) = self.rules.begin(i, token, secrets, &memory);
        let mind = self.state.mind(p, i);
        mind.memory = memory;
        mind.run = Some(run);
        self.go_on(p, i);
    }

    fn finish(&mut self, p: usize, name: usize) {
        self.tell(|| format!("finishes Secret {}, which is an orphan", secret_name(name)));
        let secret = self.state.secrets[name].clone().expect("an orphan");
        let i = usize::from(secret.owner);
        let vanished = PlatformToken {
            version: 0,
            deleting: true,
            held: false,
            attempt: None,
            status: Status::default(),
        };
        let mut secrets = [None, None];
        secrets[name] = Some(self.facts(i, name, &secret, None));
        let mind = self.state.mind(p, i);
        mind.memory = Memory::default();
        mind.run = Some(Run {
            gone: true,
            ..Run::new(vanished, secrets)
        });
        self.go_on(p, i);
    }

    /// The Secrets that a run begins with, as `controller/observe.rs` has them.
    fn observed(&self, p: usize, i: usize, token: &PlatformToken) -> [Option<Facts>; 2] {
        let recorded = token.status.issued.is_some() || token.attempt.is_some() || token.deleting;
        let wanted = self.world.secret_of(i);
        let former = token.status.secret.filter(|_| recorded);
        let mut secrets = [None, None];
        for name in [Some(wanted), former].into_iter().flatten() {
            let facts = if recorded {
                Facts::Unread(None)
            } else {
                Facts::Absent
            };
            secrets[usize::from(name)] = Some(facts);
        }
        for (name, cached) in self.cached_secrets(p).iter().enumerate() {
            if let Some(indexed) = cached
                && usize::from(indexed.owner) == i
            {
                secrets[name] = Some(Facts::Unread(Some(indexed.version)));
            }
        }
        secrets
    }

    fn said(&mut self, p: usize, i: usize) -> std::rc::Rc<Said> {
        let Mind { memory, run, .. } = &self.state.processes[p].minds[i];
        let run = run.as_ref().expect("only a run is asked");
        self.rules.next(i, memory, run)
    }

    /// What has no effect happens at once: a permit, or the end of a run that has nothing to tell.
    fn go_on(&mut self, p: usize, i: usize) {
        loop {
            match &*self.said(p, i) {
                Said::Step(Step::Permit) => self.fold(p, i, &Answer::Permitted, 0),
                Said::Settled(rest) if rest.status.is_none() => {
                    self.end(p, i, rest, true);
                    return;
                }
                _ => return,
            }
        }
    }

    fn go(&mut self, p: usize, i: usize) {
        if let Some(answer) = self.act(p, i) {
            self.fold(p, i, &answer, 0);
            self.go_on(p, i);
        }
    }

    fn go_slowly(&mut self, p: usize, i: usize) {
        let answer = self.act(p, i).expect("a POST is slow by itself");
        self.tell(|| "the answer takes its time".into());
        if let Some(run) = &mut self.state.mind(p, i).run {
            run.answer = Some((answer, 0));
        }
    }

    fn go_unheard(&mut self, p: usize, i: usize) {
        self.state.left.lost -= 1;
        let said = self.said(p, i);
        if let Said::Settled(rest) = &*said {
            self.write_status(p, i, rest);
            self.tell(|| "the answer is lost".into());
            self.end(p, i, rest, false);
            return;
        }
        let answer = self.act(p, i);
        if answer.is_none() {
            return;
        }
        let lost = match &*said {
            Said::Step(Step::Revoke { .. }) => Answer::RevokeUnknown,
            _ => Answer::Failed(Reason::KubernetesError),
        };
        self.tell(|| "the answer is lost".into());
        self.fold(p, i, &lost, 0);
        self.go_on(p, i);
    }

    /// Carries out what is said; none if there is nothing to take in yet.
    fn act(&mut self, p: usize, i: usize) -> Option<Answer> {
        match &*self.said(p, i) {
            Said::Step(step) => self.effect(p, i, step),
            Said::Settled(rest) => {
                let told = self.write_status(p, i, rest);
                if self.state.tokens[i].is_none() && !self.run(p, i).gone {
                    self.retire_what_is_gone(p, i);
                    return None;
                }
                self.end(p, i, rest, told);
                None
            }
        }
    }

    /// The PlatformToken went under our hands: the run begins anew with a live look at it.
    fn retire_what_is_gone(&mut self, p: usize, i: usize) {
        if let Some(run) = &mut self.state.mind(p, i).run {
            *run = Run::new(run.token.clone(), run.secrets.clone());
        }
        self.fold(p, i, &Answer::TokenGone, 0);
        self.go_on(p, i);
    }

    fn hear(&mut self, p: usize, i: usize) {
        let (answer, age) = self.run(p, i).answer.clone().expect("an answer is due");
        self.tell(|| "hears the answer".into());
        self.fold(p, i, &answer, age);
        self.go_on(p, i);
    }

    fn fold(&mut self, p: usize, i: usize, answer: &Answer, ago: u8) {
        let Mind { memory, run, .. } = &self.state.processes[p].minds[i];
        let run = run.as_ref().expect("only a run takes answers in");
        let folded = self.rules.fold(i, memory, run, (answer, ago));
        let (memory, run) = (*folded).clone();
        let mind = self.state.mind(p, i);
        mind.memory = memory;
        mind.run = Some(run);
    }

    /// One patch at the resourceVersion that the run rests on. Whether it was heard to be done.
    fn write_status(&mut self, p: usize, i: usize, rest: &Rest) -> bool {
        let read = self.run(p, i).token.version;
        let Some(status) = rest.status.clone() else {
            return true;
        };
        let next = &mut self.state.next.token_version[i];
        match &mut self.state.tokens[i] {
            Some(token) if token.version == read => {
                token.version = *next;
                *next += 1;
                let concerns = token.status.issued != status.issued;
                token.status = status.clone();
                self.tell(|| format!("writes the status of {}: {}", token_name(i), rest.verdict));
                if concerns {
                    self.wake(i);
                }
                let stored = status.issued.map(|issued| issued.token);
                if status.told == Some(Told::Ready)
                    && !stored.is_some_and(|token| self.state.has_answered(token))
                {
                    self.broken = Some(Claim::ReadyAnswered);
                }
                true
            }
            None => {
                self.tell(|| {
                    format!(
                        "cannot write the status of {} ({}): it is gone",
                        token_name(i),
                        rest.verdict
                    )
                });
                false
            }
            Some(_) => {
                self.tell(|| {
                    format!(
                        "cannot write the status of {} ({}): it has changed",
                        token_name(i),
                        rest.verdict
                    )
                });
                false
            }
        }
    }

    fn end(&mut self, p: usize, i: usize, rest: &Rest, told: bool) {
        self.tell(|| format!("ends the run for {}: {}", token_name(i), rest.verdict));
        if rest.requeue == Some(Duration::ZERO) {
            self.broken = Some(Claim::NoBusyLoop);
        }
        let mind = self.state.mind(p, i);
        mind.run = None;
        mind.asleep = told && rest.requeue.is_none() && !mind.woken;
        mind.woken = false;
        if rest.gone {
            mind.memory = Memory::default();
        }
    }

    // What befalls them.

    fn land(&mut self, k: usize) {
        let attempt = self.state.posts[k].attempt;
        let token = self.make(attempt);
        let post = self.state.posts.remove(k);
        match post.sender {
            Some(_) => self.tell(|| {
                format!(
                    "the POST makes {}, and its sender hears so",
                    upstream_name(token)
                )
            }),
            None => self.tell(|| {
                format!(
                    "the POST that nobody waits for makes {}",
                    upstream_name(token)
                )
            }),
        }
        self.answer_post(post.sender, attempt, &Answer::Minted(token));
    }

    fn answer_post(&mut self, sender: Option<u8>, attempt: u8, answer: &Answer) {
        if let Some(p) = sender {
            let (p, i) = (p.into(), usize::from(attempt / GROUP));
            self.fold(p, i, answer, 0);
            self.go_on(p, i);
        }
    }

    fn see_token(&mut self, p: usize, i: usize) {
        self.tell(|| format!("hears of the change of {}", token_name(i)));
        let live = self.state.tokens[i].clone();
        let Some(cache) = &mut self.state.processes[p].cache else {
            return;
        };
        let concerns = concern(cache.tokens[i].as_ref()) != concern(live.as_ref());
        cache.tokens[i] = live;
        if concerns {
            self.state.wake(p, i);
        }
    }

    fn see_secrets(&mut self, p: usize) {
        self.tell(|| "hears of the change of a Secret".into());
        let live = cached(&self.state);
        let Some(cache) = &mut self.state.processes[p].cache else {
            return;
        };
        let former = std::mem::replace(&mut cache.secrets, live);
        for (was, is) in former.iter().zip(&live) {
            for indexed in was.iter().chain(is).filter(|_| was != is) {
                self.state.wake(p, indexed.owner.into());
            }
        }
    }

    /// What stock shows beside what is named; `plan::take_stock` in numbers, where tokens have tags.
    pub(crate) fn stock(&self, p: usize) -> [Vec<Leftover>; 2] {
        let mut leftovers = [vec![], vec![]];
        if self.world.dialect != platform_token_operator::api::Dialect::Current {
            return leftovers;
        }
        let (named, tokens) = (self.named(p), self.cached_tokens(p));
        for up in &self.state.upstream {
            let Some(attempt) = up
                .attempt
                .filter(|_| up.live && up.settled && !named.contains(&up.token))
            else {
                continue;
            };
            let i = usize::from(attempt / GROUP);
            let Some(token) = &tokens[i] else { continue };
            let closed = token.status.issued.map_or(0, |issued| issued.at.number);
            let open = token
                .attempt
                .as_ref()
                .filter(|open| open.at.number > closed);
            if open.is_none_or(|open| open.at.id != attempt) {
                leftovers[i].push(Leftover {
                    token: up.token,
                    attempt,
                });
            }
        }
        leftovers
    }

    fn take_stock(&mut self, p: usize) {
        self.tell(|| "takes stock of the account".into());
        let leftovers = self.stock(p);
        let any = leftovers.iter().any(|rows| !rows.is_empty());
        self.state.processes[p].leftovers = leftovers;
        for i in (0..2).filter(|_| any) {
            self.state.wake(p, i);
        }
    }

    fn crash(&mut self, p: usize) {
        self.state.left.crashes -= 1;
        self.tell(|| "dies, and starts anew".into());
        for post in &mut self.state.posts {
            post.sender = post.sender.filter(|sender| usize::from(*sender) != p);
        }
        let fresh = self.state.processes[p].cache.is_some().then(|| Cache {
            tokens: self.state.tokens.clone(),
            secrets: cached(&self.state),
        });
        self.state.processes[p] = Process {
            minds: [Mind::default(), Mind::default()],
            cache: fresh,
            leftovers: [vec![], vec![]],
        };
    }

    fn tick(&mut self) {
        let seconds = self.world.tick;
        self.tell(|| format!("{seconds} s pass"));
        self.pass(1);
    }

    fn rest(&mut self) {
        self.tell(|| "minutes pass".into());
        self.pass(100);
        for up in &mut self.state.upstream {
            up.settled = true;
        }
    }

    fn pass(&mut self, ticks: u8) {
        let caps = self.rules.caps;
        let later = |age: &mut u8| *age = age.saturating_add(ticks).min(caps.unknown);
        for post in &mut self.state.posts {
            later(&mut post.age);
        }
        for mind in self
            .state
            .processes
            .iter_mut()
            .flat_map(|process| &mut process.minds)
        {
            if let Some(open) = &mut mind.memory.attempt {
                later(&mut open.age);
            }
            if let Some(run) = &mut mind.run {
                if let Some(age) = &mut run.proven {
                    later(age);
                }
                if let Some((_, age)) = &mut run.answer {
                    later(age);
                }
            }
        }
    }

    fn delete(&mut self, i: usize) {
        self.state.to_delete = None;
        self.tell(|| format!("a user deletes {}", token_name(i)));
        let next = &mut self.state.next.token_version[i];
        if let Some(token) = &mut self.state.tokens[i] {
            token.version = *next;
            *next += 1;
            token.deleting = true;
            if !token.held {
                self.state.tokens[i] = None;
            }
        }
        self.wake(i);
    }

    /// A change of the PlatformToken that concerns the operator reaches every cache that does not lag.
    pub(crate) fn wake(&mut self, i: usize) {
        for p in 0..self.state.processes.len() {
            if self.state.processes[p].cache.is_none() {
                self.state.wake(p, i);
            }
        }
    }
}

/// What caches of Secrets that do not lag have.
fn cached(state: &State) -> [Option<Indexed>; 2] {
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

/// What of a PlatformToken wakes a process; `Operator::concern`.
fn concern(token: Option<&PlatformToken>) -> impl PartialEq {
    token.map(|token| {
        let stored = token.status.issued.map(|issued| issued.token);
        (token.deleting, token.held, token.attempt.clone(), stored)
    })
}
