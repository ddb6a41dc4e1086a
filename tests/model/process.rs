//! What processes do: they begin runs, ask the rules, carry out what these say, and write the status in the end.

use std::rc::Rc;
use std::time::Duration;

use platform_token_operator::api::Reason;
use platform_token_operator::plan::Step;

use crate::claims::Claim;
use crate::effect::unanswered;
use crate::mind::{Answer, Facts, Memory, Mind, Run};
use crate::rules::{Rest, Said};
use crate::scene::Scene;
use crate::story::{secret_name, token_name};
use crate::world::{PlatformToken, Status, Told};

impl Scene<'_> {
    pub(crate) fn run(&self, p: usize, i: usize) -> &Run {
        let run = &self.state.processes[p].minds[i].run;
        run.as_ref().expect("only a run takes steps")
    }

    pub(crate) fn begin(&mut self, p: usize, i: usize) {
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
        let process = &self.state.processes[p];
        let (leftovers, missing) = (process.leftovers[i].clone(), process.missing[i]);
        let mind = self.state.mind(p, i);
        (mind.memory.leftovers, mind.memory.missing) = (leftovers, missing);
        let memory = mind.memory.clone();
        let account = self.state.processes[p].account;
        let (memory, run) = self.rules.begin(i, token, secrets, account, &memory);
        let mind = self.state.mind(p, i);
        mind.memory = memory;
        mind.run = Some(run);
        self.go_on(p, i);
    }

    pub(crate) fn finish(&mut self, p: usize, name: usize) {
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
        let account = self.state.processes[p].account;
        let mind = self.state.mind(p, i);
        mind.memory = Memory::default();
        mind.run = Some(Run {
            gone: true,
            account,
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

    fn said(&mut self, p: usize, i: usize) -> Rc<Said> {
        let Mind { memory, run, .. } = &self.state.processes[p].minds[i];
        let run = run.as_ref().expect("only a run is asked");
        self.rules.next(i, memory, run)
    }

    /// What has no effect happens at once: a permit, or the end of a run that has nothing to tell.
    pub(crate) fn go_on(&mut self, p: usize, i: usize) {
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

    pub(crate) fn go(&mut self, p: usize, i: usize) {
        if let Some(answer) = self.act(p, i) {
            self.fold(p, i, &answer, 0);
            self.go_on(p, i);
        }
    }

    pub(crate) fn go_slowly(&mut self, p: usize, i: usize) {
        let answer = self.act(p, i).expect("a POST is slow by itself");
        self.tell(|| "the answer takes its time".into());
        if let Some(run) = &mut self.state.mind(p, i).run {
            run.answer = Some((answer, 0));
        }
    }

    pub(crate) fn go_unheard(&mut self, p: usize, i: usize) {
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

    /// It is not carried out, and fails.
    pub(crate) fn go_in_vain(&mut self, p: usize, i: usize) {
        self.state.left.lost -= 1;
        let said = self.said(p, i);
        let Said::Step(step) = &*said else { return };
        self.tell(|| format!("{}: in vain", step.name()));
        let answer = unanswered(step).unwrap_or(Answer::Failed(Reason::KubernetesError));
        self.fold(p, i, &answer, 0);
        self.go_on(p, i);
    }

    /// Carries out what is said; none if there is nothing to take in yet.
    fn act(&mut self, p: usize, i: usize) -> Option<Answer> {
        match &*self.said(p, i) {
            Said::Step(step) => self.effect(p, i, step),
            Said::Settled(rest) => {
                let told = self.write_status(p, i, rest);
                if self.state.tokens[i].is_none() && !self.run(p, i).gone {
                    self.note_failure(p, i, rest);
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
            *run = Run {
                account: run.account,
                ..Run::new(run.token.clone(), run.secrets.clone())
            };
        }
        self.fold(p, i, &Answer::TokenGone, 0);
        self.go_on(p, i);
    }

    pub(crate) fn hear(&mut self, p: usize, i: usize) {
        let (answer, age) = self.run(p, i).answer.clone().expect("an answer is due");
        self.tell(|| "hears the answer".into());
        self.fold(p, i, &answer, age);
        self.go_on(p, i);
    }

    pub(crate) fn fold(&mut self, p: usize, i: usize, answer: &Answer, ago: u8) {
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

    fn note_failure(&mut self, p: usize, i: usize, rest: &Rest) {
        let memory = &mut self.state.mind(p, i).memory;
        memory.failed = rest.failed.unwrap_or(memory.failed);
    }

    fn end(&mut self, p: usize, i: usize, rest: &Rest, told: bool) {
        self.tell(|| format!("ends the run for {}: {}", token_name(i), rest.verdict));
        if rest.requeue == Some(Duration::ZERO) {
            self.broken = Some(Claim::NoBusyLoop);
        }
        self.note_failure(p, i, rest);
        let memory = &self.state.processes[p].minds[i].memory;
        let forgets = rest.ready && told && self.rules.forgets(memory);
        let mind = self.state.mind(p, i);
        mind.run = None;
        mind.asleep = told && rest.requeue.is_none() && !mind.woken;
        mind.woken = false;
        if rest.gone || forgets {
            mind.memory = Memory::default();
        }
    }
}
