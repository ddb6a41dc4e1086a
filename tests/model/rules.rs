//! The rules that ship, asked about small worlds: what `plan`, `fold` and `report` make of a state, remembered.
//!
//! Nothing of the operator is written again here. A mind is turned into the very `Snapshot` that the rules read, and
//! what comes of it is turned back; each question is asked once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use platform_token_operator::api::{Attempt, Dialect, PlatformTokenStatus, Reason, TokenId, names};
use platform_token_operator::plan::{
    self, AccountFacts, Identity, Moment, Next, OpenAttempt, Outcome, OwnSecret, SecretFacts,
    Settled, Snapshot, Step, TokenFacts, Verdict, Version,
};

use crate::canon::{Caps, digest, is_closed};
use crate::guards::{self, Guard};
use crate::names::{self as names_of, Names, PLATFORM};
use crate::world::{
    self, Answer, Debt, Facts, Fate, Leftover, Memory, Open, Own, PlatformToken, Reaction,
    Recovery, Run, Status, Told, Trouble, World,
};

/// What the rules say.
pub(crate) enum Said {
    /// Take this step.
    Step(Step),
    /// The run is over.
    Settled(Rest),
}

/// The end of a run.
pub(crate) struct Rest {
    pub gone: bool,
    pub requeue: Option<Duration>,
    /// The status to be written, if it is another than the one that was read.
    pub status: Option<Status>,
    /// What it came to, for the story.
    pub verdict: String,
}

/// The rules, and all that they have said so far.
pub(crate) struct Rules {
    pub names: Names,
    pub caps: Caps,
    dialect: Dialect,
    tick: Duration,
    secret_names: [u8; 2],
    without: Option<Guard>,
    said: HashMap<u128, Rc<Said>>,
    folded: HashMap<u128, Rc<(Memory, Run)>>,
}

/// All runs happen at this time of their process; what is older was seen before.
const NOW: Duration = Duration::from_secs(100_000);

/// Longer than any wait that rules know.
const LONG: Duration = Duration::from_secs(10_000);

impl Rules {
    pub(crate) fn new(world: &World) -> Self {
        let masked = if world.masked {
            world.faults.crashes + 1
        } else {
            0
        };
        let lost = world.faults.lost + masked;
        let ticks = |seconds: u64| u8::try_from(seconds.div_ceil(world.tick)).unwrap();
        let unknown = ticks(45 << lost.saturating_sub(1).min(4));
        Self {
            names: Names::new(),
            caps: Caps {
                unsent: ticks(15),
                unknown,
                minted: if world.rivals { unknown } else { 0 },
                proven: ticks(15),
            },
            dialect: world.dialect,
            tick: Duration::from_secs(world.tick),
            secret_names: [0, 1].map(|i| world.secret_of(i)),
            without: world.without,
            said: HashMap::new(),
            folded: HashMap::new(),
        }
    }

    /// A run begins with what caches know and this process remembers.
    pub(crate) fn begin(
        &self,
        i: usize,
        token: PlatformToken,
        secrets: [Option<Facts>; 2],
        memory: &Memory,
    ) -> (Memory, Run) {
        let run = Run::new(token, secrets);
        let mut snapshot = self.snapshot(i, &Memory::default(), &run);
        snapshot = Snapshot::new(
            snapshot.token,
            snapshot.account,
            snapshot.secrets,
            self.memory(memory),
            snapshot.credentials,
            self.names.fresh.clone(),
            self.now(0),
        );
        self.back(i, snapshot)
    }

    /// What to do next.
    pub(crate) fn next(&mut self, i: usize, memory: &Memory, run: &Run) -> Rc<Said> {
        let key = digest(&(i, memory, run));
        if let Some(said) = self.said.get(&key) {
            return said.clone();
        }
        self.check_caps(i, memory, run);
        let snapshot = self.snapshot(i, memory, run);
        let said = match guards::plan(self.without, &snapshot, self.now(0)) {
            Next::Step(step) => Said::Step(step),
            Next::Settled(settled) => Said::Settled(self.rest(run, &snapshot, settled)),
        };
        let said = Rc::new(said);
        self.said.insert(key, said.clone());
        said
    }

    /// Takes in what came of the step that the rules named, which was begun so many ticks ago.
    pub(crate) fn fold(
        &mut self,
        i: usize,
        memory: &Memory,
        run: &Run,
        (answer, ago): (&Answer, u8),
    ) -> Rc<(Memory, Run)> {
        let key = digest(&(i, memory, run, answer, ago));
        if let Some(folded) = self.folded.get(&key) {
            return folded.clone();
        }
        let step = self.answered(i, memory, run, answer);
        let mut snapshot = self.snapshot(i, memory, run);
        snapshot.fold(step, self.outcome(answer), self.now(ago));
        let folded = Rc::new(self.back(i, snapshot));
        self.folded.insert(key, folded.clone());
        folded
    }

    /// The step that came to this answer. Where that takes its time, the rules may say another by now.
    fn answered(&mut self, i: usize, memory: &Memory, run: &Run, answer: &Answer) -> Step {
        let open = || {
            let open = memory.attempt.as_ref().expect("an attempt is open");
            self.names.attempt(&open.attempt, self.dialect)
        };
        match answer {
            Answer::Opened(attempt, _) => Step::Open(self.names.attempt(attempt, self.dialect)),
            Answer::Current | Answer::TokenGone => Step::Look,
            Answer::Minted(_) | Answer::NotMinted | Answer::MintUnknown => Step::Mint(open()),
            Answer::Found { .. }
            | Answer::MintedWithheld(_)
            | Answer::NoneMinted
            | Answer::Suspects(_) => Step::FindMinted(open()),
            // That others were before us is the same to both that can be slow.
            Answer::Stale if run.answer.is_some() => Step::Look,
            _ => match &*self.next(i, memory, run) {
                Said::Step(step) => step.clone(),
                Said::Settled(_) => panic!("no step was named that could come to {answer:?}"),
            },
        }
    }

    /// The moment that was so many ticks ago.
    fn now(&self, ago: u8) -> Moment {
        let elapsed = NOW - self.tick * ago.into();
        Moment {
            wall: self.names.past + elapsed,
            elapsed,
        }
    }

    fn rest(&self, run: &Run, snapshot: &Snapshot, settled: Settled) -> Rest {
        let status = plan::report(snapshot, &settled.verdict, self.now(0))
            .map(|status| status_back(&status));
        let verdict = match &settled.verdict {
            Verdict::Trouble(trouble) => trouble.reason.to_string(),
            other => format!("{other:?}"),
        };
        Rest {
            gone: settled.verdict == Verdict::Gone,
            requeue: settled.requeue,
            status: status.filter(|status| *status != run.token.status),
            verdict,
        }
    }

    /// Ages beyond their cap are one to the walk, so they have to be one to the rules.
    fn check_caps(&self, i: usize, memory: &Memory, run: &Run) {
        let Some(open) = &memory.attempt else { return };
        let closed = is_closed(memory, Some(&run.token));
        if !closed && open.age < self.caps.of(&open.fate, false) {
            return;
        }
        let mut older = self.snapshot(i, memory, run);
        if let Some(open) = &mut older.memory.attempt {
            open.seen.elapsed -= LONG;
            open.seen.wall -= LONG;
            if let plan::Fate::Unknown { searched: Some(at) } = &mut open.fate {
                *at -= LONG;
            }
        }
        let now = self.now(0);
        let said = |snapshot: &Snapshot| match guards::plan(self.without, snapshot, now) {
            Next::Step(step) => format!("{step:?}"),
            Next::Settled(settled) => format!("{:?}", self.rest(run, snapshot, settled).status),
        };
        assert_eq!(
            said(&self.snapshot(i, memory, run)),
            said(&older),
            "the rules tell ages apart that the walk does not: raise the cap"
        );
    }

    // From small numbers to the types of the operator.

    fn snapshot(&self, i: usize, memory: &Memory, run: &Run) -> Snapshot {
        let token = &run.token;
        let facts = TokenFacts {
            owner: self.names.owners[i].clone(),
            generation: Some(1),
            resource_version: token.version.to_string(),
            deleting: token.deleting,
            finalizers: if token.held {
                vec![names::FINALIZER.to_owned()]
            } else {
                vec![]
            },
            secret_name: self.secret_names[i].to_string(),
            attempt: Ok(token
                .attempt
                .as_ref()
                .map(|attempt| self.names.attempt(attempt, self.dialect))),
            status: self.status(&token.status),
        };
        let identity = Identity {
            base_url: PLATFORM.into(),
            user_id: Some(self.names.user.clone()),
            username: None,
            dialect: self.dialect,
            credential: platform_token_operator::api::TokenHash::recorded("credential"),
            verify: true,
            exclusive: None,
        };
        let secrets = run.secrets.iter().enumerate().filter_map(|(name, facts)| {
            let facts = self.secret(facts.as_ref()?);
            Some((name.to_string(), facts))
        });
        let mut snapshot = Snapshot::new(
            facts,
            AccountFacts::Ready(identity),
            secrets.collect::<BTreeMap<_, _>>(),
            plan::Memory::default(),
            BTreeSet::new(),
            self.names.fresh.clone(),
            self.now(0),
        );
        if run.opened {
            snapshot.fresh = None;
        }
        snapshot.memory = self.memory(memory);
        snapshot.run = plan::Run {
            proven: run.proven.map(|ago| self.now(ago)),
            gone: run.gone,
            permitted: run.permitted,
            writable: run.writable,
            recovery: run
                .recovery
                .as_ref()
                .map(|recovery| self.recovery(recovery)),
            stale: run.stale,
            trouble: run.trouble.map(trouble),
            notes: vec![],
        };
        snapshot
    }

    fn memory(&self, memory: &Memory) -> plan::Memory {
        plan::Memory {
            attempt: memory.attempt.as_ref().map(|open| {
                let mut seen = self.now(open.age);
                let searched = match open.fate {
                    Fate::Unknown { searched } => {
                        searched.map(|age| seen.elapsed + self.tick * age.into())
                    }
                    _ => None,
                };
                if self.without == Some(Guard::WaitForPosts) && open.fate != Fate::Unsent {
                    seen = self.now(self.caps.unknown);
                }
                OpenAttempt {
                    attempt: self.names.attempt(&open.attempt, self.dialect),
                    seen,
                    fate: match &open.fate {
                        Fate::Unsent => plan::Fate::Unsent,
                        Fate::Void => plan::Fate::Void,
                        Fate::Minted(token) => plan::Fate::Minted(self.names.minted(*token)),
                        Fate::Withheld(tokens) => plan::Fate::Withheld(self.ids(tokens).collect()),
                        Fate::Unknown { .. } => plan::Fate::Unknown { searched },
                    },
                    others: self.ids(&open.others).collect(),
                }
            }),
            surplus: memory.surplus.iter().map(|debt| self.debt(debt)).collect(),
            leftovers: memory
                .leftovers
                .iter()
                .map(|row| self.leftover(row))
                .collect(),
            issued: memory.issued.map(|issued| self.names.issued(issued)),
            held: memory.held.map(|token| self.names.value(token).clone()),
            verified: memory
                .verified
                .map(|(token, _, version)| (self.names.hash(token).clone(), version.to_string())),
            revoked: self.ids(&memory.revoked).collect(),
            self_refused: self.ids(&memory.self_refused).collect(),
            revoke_unknown: self.ids(&memory.revoke_unknown).collect(),
            lost: memory.lost.into(),
            failures: 0,
        }
    }

    fn ids(&self, tokens: &[u8]) -> impl Iterator<Item = TokenId> {
        tokens.iter().map(|token| self.names.id(*token).clone())
    }

    fn debt(&self, debt: &Debt) -> plan::Debt {
        let Debt {
            token,
            hash,
            value,
            sure,
        } = *debt;
        plan::Debt {
            token_id: self.names.id(token).clone(),
            base_url: PLATFORM.into(),
            user_id: Some(self.names.user.clone()),
            hash: hash.then(|| self.names.hash(token).clone()),
            value: value.then(|| self.names.value(token).clone()),
            evidence: if sure {
                plan::Evidence::Sure
            } else {
                plan::Evidence::Recorded {
                    before: self.names.past,
                }
            },
        }
    }

    fn leftover(&self, row: &Leftover) -> plan::Leftover {
        plan::Leftover {
            token_id: self.names.id(row.token).clone(),
            tags: vec![format!("attempt={}", self.names.id_of_attempt(row.attempt))],
            base_url: PLATFORM.into(),
            user_id: self.names.user.clone(),
        }
    }

    fn secret(&self, facts: &Facts) -> SecretFacts {
        match facts {
            Facts::Unread(version) => SecretFacts::Unread {
                resource_version: version.map(|version| version.to_string()),
            },
            Facts::Absent => SecretFacts::Absent,
            Facts::Foreign(dying) => SecretFacts::Foreign {
                whose: "is another's".into(),
                dying: dying.map(version),
            },
            Facts::Own(own) => SecretFacts::Own(Box::new(OwnSecret {
                version: version(own.version),
                deleting: own.deleting,
                held: own.held,
                issued: own.issued.map(|issued| self.names.issued(issued)),
                given_up: self.ids(&own.given_up).collect(),
                value: own.value.map(|token| self.names.value(token).clone()),
                whole: own.whole,
            })),
        }
    }

    fn status(&self, status: &Status) -> PlatformTokenStatus {
        let issued = status.issued.map(|issued| self.names.issued(issued));
        let condition = status.told.map(|told| {
            let (is, reason) = match told {
                Told::Ready => ("True", Reason::Issued),
                Told::Trouble(reason) => ("False", reason),
            };
            Condition {
                type_: "Ready".into(),
                status: is.into(),
                reason: reason.as_str().into(),
                message: String::new(),
                observed_generation: Some(1),
                last_transition_time: Time(self.names.past),
            }
        });
        PlatformTokenStatus {
            observed_generation: status.told.map(|_| 1),
            attempt: issued.as_ref().map(|issued| issued.attempt.clone()),
            token_id: issued.as_ref().map(|issued| issued.token_id.clone()),
            token_hash: issued.as_ref().map(|issued| issued.hash.clone()),
            user_id: issued.as_ref().map(|issued| issued.user_id.clone()),
            base_url: issued.as_ref().map(|issued| issued.base_url.clone()),
            issued_at: issued.as_ref().map(|issued| Time(issued.issued_at)),
            secret_name: status.secret.map(|name| name.to_string()),
            secret_resource_version: status.secret_version.map(|version| version.to_string()),
            conditions: condition.into_iter().collect(),
        }
    }

    fn recovery(&self, recovery: &Recovery) -> plan::Recovery {
        match recovery {
            Recovery::Value(token) => plan::Recovery::Value(self.names.value(*token).clone()),
            Recovery::Gone => plan::Recovery::Gone,
            Recovery::Withheld => plan::Recovery::Withheld,
        }
    }

    fn outcome(&self, answer: &Answer) -> Outcome {
        let failed = |reason| plan::Trouble::transient(reason, "");
        match answer {
            Answer::Secret(facts) => Outcome::Secret(self.secret(facts)),
            Answer::Writable => Outcome::Writable,
            Answer::Exists => Outcome::Exists,
            Answer::Held(version) => Outcome::Held {
                resource_version: version.to_string(),
            },
            Answer::Opened(_, version) => Outcome::Opened {
                resource_version: version.to_string(),
            },
            Answer::Permitted => Outcome::Permitted,
            Answer::Current => Outcome::Current,
            Answer::TokenGone => Outcome::TokenGone,
            Answer::Minted(token) => Outcome::Minted(self.names.minted(*token)),
            Answer::Found { kept, others } => Outcome::Found {
                kept: self.names.minted(*kept),
                others: self.ids(others).collect(),
            },
            Answer::MintedWithheld(tokens) => Outcome::MintedWithheld(self.ids(tokens).collect()),
            Answer::Suspects(tokens) => Outcome::Suspects(self.ids(tokens).collect()),
            Answer::NotMinted => Outcome::NotMinted(failed(Reason::Throttled)),
            Answer::MintUnknown => Outcome::MintUnknown(failed(Reason::Unreachable)),
            Answer::NoneMinted => Outcome::NoneMinted,
            Answer::Recovered(recovery) => Outcome::Recovered(self.recovery(recovery)),
            Answer::Stored(written) => Outcome::Stored(version(*written)),
            Answer::Verified => Outcome::Verified,
            Answer::SecretDeleting(marked) => Outcome::SecretDeleting(version(*marked)),
            Answer::SecretGone => Outcome::SecretGone,
            Answer::Revoked => Outcome::Revoked,
            Answer::NotOurs => Outcome::NotOurs,
            Answer::NotListed => Outcome::NotListed,
            Answer::RevokeUnknown => Outcome::RevokeUnknown(failed(Reason::Unreachable)),
            Answer::SelfUnknown => Outcome::SelfUnknown,
            Answer::Lifted => Outcome::Lifted,
            Answer::Stale => Outcome::Stale,
            Answer::Failed(reason) => Outcome::Failed(failed(*reason)),
        }
    }

    // And back. What is not named here does not outlive a step: whatever the operator adds has to be named first.

    fn back(&self, i: usize, snapshot: Snapshot) -> (Memory, Run) {
        let Snapshot {
            token,
            account: _,
            secrets,
            memory,
            credentials: _,
            fresh,
            run,
        } = snapshot;
        let TokenFacts {
            owner: _,
            generation: _,
            resource_version,
            deleting,
            finalizers,
            secret_name: _,
            attempt,
            status,
        } = token;
        let plan::Run {
            proven,
            gone,
            permitted,
            writable,
            recovery,
            stale,
            trouble,
            notes: _,
        } = run;
        let mut facts = [None, None];
        for (name, secret) in &secrets {
            facts[usize::from(names_of::number(name))] = Some(secret_back(secret));
        }
        let run = Run {
            token: PlatformToken {
                version: names_of::number(&resource_version),
                deleting,
                held: finalizers.iter().any(|f| f == names::FINALIZER),
                attempt: attempt
                    .expect("annotations read here")
                    .map(|attempt| attempt_back(&attempt)),
                status: status_back(&status),
            },
            secrets: facts,
            proven: proven.map(|at| self.ticks(NOW - at.elapsed)),
            gone,
            permitted,
            writable,
            stale,
            recovery: recovery.map(|recovery| match recovery {
                plan::Recovery::Value(value) => Recovery::Value(names_of::token_of(&value)),
                plan::Recovery::Gone => Recovery::Gone,
                plan::Recovery::Withheld => Recovery::Withheld,
            }),
            trouble: trouble.map(|trouble| Trouble {
                reason: trouble.reason,
                reaction: match trouble.reaction {
                    plan::Reaction::Stalled => Reaction::Stalled,
                    plan::Reaction::Transient => Reaction::Transient,
                    plan::Reaction::Waiting(wait) => Reaction::Waiting(wait.as_secs()),
                },
            }),
            answer: None,
            opened: fresh.is_none(),
        };
        (self.memory_back(i, &memory), run)
    }

    fn memory_back(&self, i: usize, memory: &plan::Memory) -> Memory {
        let plan::Memory {
            attempt,
            surplus,
            leftovers,
            issued,
            held,
            verified,
            revoked,
            self_refused,
            revoke_unknown,
            lost,
            failures: _,
        } = memory;
        Memory {
            attempt: attempt.as_ref().map(|open| {
                let OpenAttempt {
                    attempt,
                    seen,
                    fate,
                    others,
                } = open;
                Open {
                    attempt: attempt_back(attempt),
                    age: self.ticks(NOW - seen.elapsed),
                    fate: match fate {
                        plan::Fate::Unsent => Fate::Unsent,
                        plan::Fate::Void => Fate::Void,
                        plan::Fate::Minted(minted) => {
                            Fate::Minted(names_of::token(&minted.token_id))
                        }
                        plan::Fate::Withheld(ids) => Fate::Withheld(names_of::tokens(ids)),
                        plan::Fate::Unknown { searched } => Fate::Unknown {
                            searched: searched.map(|at| self.ticks(at - seen.elapsed)),
                        },
                    },
                    others: names_of::tokens(others),
                }
            }),
            surplus: surplus.iter().map(debt_back).collect(),
            leftovers: leftovers.iter().map(leftover_back).collect(),
            issued: issued.as_ref().map(names_of::issued),
            held: held.as_ref().map(names_of::token_of),
            verified: verified.as_ref().map(|(hash, version)| {
                let token = self.names.number_of_hash(hash);
                (token, self.secret_names[i], names_of::number(version))
            }),
            revoked: names_of::tokens(revoked),
            self_refused: names_of::tokens(self_refused),
            revoke_unknown: names_of::tokens(revoke_unknown),
            lost: u8::try_from(*lost).expect("few answers are lost here"),
        }
    }

    fn ticks(&self, age: Duration) -> u8 {
        u8::try_from(age.as_secs() / self.tick.as_secs()).expect("ages are capped")
    }
}

/// The annotation of an attempt.
pub(crate) fn attempt_back(attempt: &Attempt) -> world::Attempt {
    let Attempt {
        at,
        opened_at: _,
        dialect: _,
        owner: _,
        account: _,
        given_up,
    } = attempt;
    world::Attempt {
        at: names_of::at(at),
        given_up: names_of::tokens(given_up),
    }
}

fn debt_back(debt: &plan::Debt) -> Debt {
    let plan::Debt {
        token_id,
        base_url: _,
        user_id: _,
        hash,
        value,
        evidence,
    } = debt;
    Debt {
        token: names_of::token(token_id),
        hash: hash.is_some(),
        value: value.is_some(),
        sure: matches!(evidence, plan::Evidence::Sure),
    }
}

fn leftover_back(row: &plan::Leftover) -> Leftover {
    let attempt = row.tags[0].trim_start_matches("attempt=");
    Leftover {
        token: names_of::token(&row.token_id),
        attempt: names_of::number(attempt),
    }
}

fn status_back(status: &PlatformTokenStatus) -> Status {
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
    Status {
        issued: status.issued().map(|issued| names_of::issued(&issued)),
        secret: status.secret_name.as_deref().map(names_of::number),
        secret_version: status
            .secret_resource_version
            .as_deref()
            .map(names_of::number),
        told: ready.map(|c| match c.status.as_str() {
            "True" => Told::Ready,
            _ => Told::Trouble(reason(&c.reason)),
        }),
    }
}

/// A Secret as a process reads it, by the rules that ship.
pub(crate) fn secret_back(facts: &SecretFacts) -> Facts {
    match facts {
        SecretFacts::Unread { resource_version } => {
            Facts::Unread(resource_version.as_deref().map(names_of::number))
        }
        SecretFacts::Absent => Facts::Absent,
        SecretFacts::Foreign { whose: _, dying } => {
            let version = |dying: &Version| names_of::number(&dying.resource_version);
            Facts::Foreign(dying.as_ref().map(version))
        }
        SecretFacts::Own(own) => {
            let OwnSecret {
                version,
                deleting,
                held,
                issued,
                given_up,
                value,
                whole,
            } = &**own;
            Facts::Own(Own {
                version: names_of::number(&version.resource_version),
                deleting: *deleting,
                held: *held,
                issued: issued.as_ref().map(names_of::issued),
                given_up: names_of::tokens(given_up),
                value: value.as_ref().map(names_of::token_of),
                whole: *whole,
            })
        }
    }
}

fn version(resource_version: u8) -> Version {
    Version {
        uid: "uid".into(),
        resource_version: resource_version.to_string(),
        other_finalizers: vec![],
    }
}

fn trouble(trouble: Trouble) -> plan::Trouble {
    plan::Trouble {
        reason: trouble.reason,
        message: String::new(),
        reaction: match trouble.reaction {
            Reaction::Stalled => plan::Reaction::Stalled,
            Reaction::Transient => plan::Reaction::Transient,
            Reaction::Waiting(seconds) => plan::Reaction::Waiting(Duration::from_secs(seconds)),
        },
    }
}

/// The reasons that a run can end with here.
fn reason(text: &str) -> Reason {
    [
        Reason::CreateOutcomeUnknown,
        Reason::KubernetesError,
        Reason::SecretNotWritable,
        Reason::Throttled,
        Reason::Unreachable,
        Reason::ValueUnavailable,
        Reason::VerificationFailed,
    ]
    .into_iter()
    .find(|reason| reason.as_str() == text)
    .unwrap_or_else(|| panic!("no run ends with {text} here"))
}
