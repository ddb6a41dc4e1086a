//! What befalls processes: answers and changes that arrive, time, crashes, users.

use platform_token_operator::api::Dialect;

use crate::mind::{Account, Answer, Cache, Leftover, Mind, Process};
use crate::scene::{Scene, cached};
use crate::story::{secret_name, token_name, upstream_name};
use crate::world::{Entry, GROUP, PlatformToken};

impl Scene<'_> {
    pub(crate) fn land(&mut self, k: usize) {
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

    pub(crate) fn land_unheard(&mut self, k: usize) {
        let token = self.make(self.state.posts[k].attempt);
        self.tell(|| {
            format!(
                "the POST makes {}, and the answer is lost",
                upstream_name(token)
            )
        });
        self.lose_answer(k);
    }

    pub(crate) fn vanish(&mut self, k: usize) {
        self.tell(|| "the POST is lost on its way, and its sender cannot know".into());
        self.lose_answer(k);
    }

    fn lose_answer(&mut self, k: usize) {
        self.state.left.lost -= 1;
        let post = self.state.posts.remove(k);
        self.answer_post(post.sender, post.attempt, &Answer::MintUnknown);
    }

    pub(crate) fn linger(&mut self, k: usize) {
        self.state.left.lost -= 1;
        self.tell(|| "the POST is given up by its sender, and is still on its way".into());
        let post = &mut self.state.posts[k];
        let (sender, attempt) = (post.sender.take(), post.attempt);
        self.answer_post(sender, attempt, &Answer::MintUnknown);
    }

    pub(crate) fn refuse(&mut self, k: usize) {
        self.state.left.refused -= 1;
        self.tell(|| "the platform refuses the POST".into());
        let post = self.state.posts.remove(k);
        self.answer_post(post.sender, post.attempt, &Answer::NotMinted);
    }

    pub(crate) fn repeat(&mut self, k: usize) {
        self.state.left.repeated -= 1;
        let token = self.make(self.state.posts[k].attempt);
        self.tell(|| {
            format!(
                "the POST makes {}, and a proxy sends it again",
                upstream_name(token)
            )
        });
    }

    fn answer_post(&mut self, sender: Option<u8>, attempt: u8, answer: &Answer) {
        if let Some(p) = sender {
            let (p, i) = (p.into(), usize::from(attempt / GROUP));
            self.fold(p, i, answer, 0);
            self.go_on(p, i);
        }
    }

    pub(crate) fn see_token(&mut self, p: usize, i: usize) {
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

    pub(crate) fn see_secrets(&mut self, p: usize) {
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

    /// What stock lacks of what a status names; `plan::Listing::missing` in numbers. Lists do not lag here.
    pub(crate) fn missing(&self, p: usize) -> [Option<u8>; 2] {
        let named = |token: &Option<PlatformToken>| Some(token.as_ref()?.status.issued?.token);
        let gone = |token: &u8| !self.state.lives(*token);
        let tokens = self.cached_tokens(p).each_ref();
        tokens.map(|token| named(token).filter(gone))
    }

    /// What stock shows beside what is named; `plan::take_stock` in numbers, where tokens have tags.
    pub(crate) fn stock(&self, p: usize) -> [Vec<Leftover>; 2] {
        let mut leftovers = [vec![], vec![]];
        if self.world.dialect != Dialect::Current {
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

    /// Whether a stock would tell a process something new.
    pub(crate) fn takes_stock(&self, p: usize) -> bool {
        let process = &self.state.processes[p];
        let listed = !self.state.dark && process.account == Account::Proven;
        listed && (self.stock(p) != process.leftovers || self.missing(p) != process.missing)
    }

    pub(crate) fn take_stock(&mut self, p: usize) {
        self.tell(|| "takes stock of the account".into());
        let (leftovers, missing) = (self.stock(p), self.missing(p));
        let any = leftovers.iter().any(|rows| !rows.is_empty()) || missing != [None, None];
        let process = &mut self.state.processes[p];
        (process.leftovers, process.missing) = (leftovers, missing);
        for i in (0..2).filter(|_| any) {
            self.state.wake(p, i);
        }
    }

    /// Whether a process knows of the account what there is to know.
    pub(crate) fn is_proven(&self, p: usize) -> bool {
        self.state.processes[p].account == self.proof()
    }

    /// What comes of proving the account.
    fn proof(&self) -> Account {
        if self.state.dark {
            Account::Broken
        } else {
            Account::Proven
        }
    }

    pub(crate) fn prove(&mut self, p: usize) {
        let proof = self.proof();
        self.tell(|| format!("proves the account: {proof:?}"));
        self.state.processes[p].account = proof;
        for i in 0..self.world.tokens {
            self.state.wake(p, i);
        }
    }

    pub(crate) fn darken(&mut self) {
        self.state.left.dark -= 1;
        self.state.dark = true;
        self.tell(|| "the platform stops answering".into());
    }

    pub(crate) fn lighten(&mut self) {
        self.state.dark = false;
        self.tell(|| "the platform answers again".into());
    }

    pub(crate) fn crash(&mut self, p: usize) {
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
            missing: [None, None],
            // Where nothing is ever deleted, nobody does anything before it is known.
            account: match self.world.deleted {
                Some(_) => Account::Pending,
                None => Account::Proven,
            },
            payment: None,
        };
        for entry in &mut self.state.ledger {
            if let Entry::Unresolved { seen, .. } = entry {
                seen[p] = 0;
            }
        }
    }

    pub(crate) fn tick(&mut self) {
        let seconds = self.world.tick;
        self.tell(|| format!("{seconds} s pass"));
        self.pass(1);
    }

    pub(crate) fn rest(&mut self) {
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
        let processes = self.state.processes.len();
        for entry in &mut self.state.ledger {
            if let Entry::Unresolved { seen, .. } = entry {
                let seen = seen.iter_mut().take(processes);
                seen.for_each(|age| *age = age.saturating_add(ticks).min(caps.entry));
            }
        }
        for payment in self.state.processes.iter_mut().flat_map(|p| &mut p.payment) {
            if let Some((memory, _)) = &mut payment.asked
                && let Some(open) = &mut memory.attempt
            {
                later(&mut open.age);
            }
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

    pub(crate) fn revoke_elsewhere(&mut self, k: usize) {
        self.state.left.revoked -= 1;
        let up = &mut self.state.upstream[k];
        (up.live, up.elsewhere) = (false, true);
        let token = up.token;
        self.tell(|| format!("someone revokes {} in the console", upstream_name(token)));
    }

    pub(crate) fn delete(&mut self, i: usize) {
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

    pub(crate) fn remove_by_hand(&mut self, name: usize) {
        self.state.left.removed -= 1;
        self.tell(|| format!("a user deletes Secret {}", secret_name(name)));
        let owner = self.state.secrets[name].as_ref().map(|secret| secret.owner);
        self.delete_secret(name);
        if let Some(owner) = owner {
            self.wake(owner.into());
        }
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

/// What of a PlatformToken wakes a process; `Operator::concern`.
fn concern(token: Option<&PlatformToken>) -> impl PartialEq {
    token.map(|token| {
        let stored = token.status.issued.map(|issued| issued.token);
        (token.deleting, token.held, token.attempt.clone(), stored)
    })
}
