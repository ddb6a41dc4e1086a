//! The rules that ship, asked about small worlds: what `plan`, `fold` and `report` make of a state, remembered.
//!
//! Nothing of the operator is written again here. A mind is turned into the very `Snapshot` that the rules read, and
//! what comes of it is turned back; each question is asked once.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

use platform_token_operator::api::Dialect;
use platform_token_operator::plan::{self, Moment, Next, Settled, Snapshot, Step, Verdict};

use crate::canon::{Caps, is_closed};
use crate::digest::digest;
use crate::from_types::status_back;
use crate::guards::{self, Guard};
use crate::mind::{Account, Answer, Facts, Memory, Run};
use crate::names::Names;
use crate::world::{Entry, PlatformToken, Status, World};

/// What the rules say.
#[expect(clippy::large_enum_variant, reason = "each is kept once")]
pub(crate) enum Said {
    /// Take this step.
    Step(Step),
    /// The run is over.
    Settled(Rest),
}

/// The end of a run.
pub(crate) struct Rest {
    pub gone: bool,
    /// It is Ready.
    pub ready: bool,
    /// Whether it counts as a failure; none: as much as before.
    pub failed: Option<bool>,
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
    pub dialect: Dialect,
    pub tick: Duration,
    pub secret_names: [u8; 2],
    pub without: Option<Guard>,
    said: HashMap<u128, Rc<Said>>,
    folded: HashMap<u128, Rc<(Memory, Run)>>,
}

/// All runs happen at this time of their process; what is older was seen before.
pub(crate) const NOW: Duration = Duration::from_secs(100_000);

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
                entry: ticks(45),
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
        account: Account,
        memory: &Memory,
    ) -> (Memory, Run) {
        let run = Run {
            account,
            ..Run::new(token, secrets)
        };
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

    /// A payment begins with an entry, and with when the process `p` first saw it.
    pub(crate) fn payment(&self, written: &Entry, p: usize, account: Account) -> (Memory, Run) {
        let (entry, value) = self.entry(written);
        let seen = match written {
            Entry::Owed(_) => 0,
            Entry::Unresolved { seen, .. } => seen[p],
        };
        let snapshot = Snapshot::of_entry(
            &entry,
            value,
            self.account(account),
            BTreeSet::new(),
            self.now(seen),
        );
        self.back(written.owner(), snapshot)
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
            Next::Settled(settled) => Said::Settled(self.rest(run, &snapshot, &settled)),
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
    pub(crate) fn now(&self, ago: u8) -> Moment {
        let elapsed = NOW.saturating_sub(self.tick * ago.into());
        Moment {
            wall: self.names.past + elapsed,
            elapsed,
        }
    }

    fn rest(&self, run: &Run, snapshot: &Snapshot, settled: &Settled) -> Rest {
        let status = plan::report(snapshot, &settled.verdict, self.now(0))
            .map(|status| status_back(&status));
        let verdict = match &settled.verdict {
            Verdict::Trouble(trouble) => trouble.reason.to_string(),
            other => format!("{other:?}"),
        };
        Rest {
            gone: settled.verdict == Verdict::Gone,
            ready: settled.verdict == Verdict::Ready,
            failed: match settled.verdict {
                Verdict::Trouble(_) => Some(true),
                Verdict::Silent => None,
                Verdict::Ready | Verdict::Gone => Some(false),
            },
            requeue: settled.requeue,
            status: status.filter(|status| *status != run.token.status),
            verdict,
        }
    }

    /// Whether a process forgets this once the PlatformToken is Ready.
    pub(crate) fn forgets(&self, memory: &Memory) -> bool {
        self.memory(memory).at_rest().is_none()
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
            Next::Settled(settled) => format!("{:?}", self.rest(run, snapshot, &settled).status),
        };
        assert_eq!(
            said(&self.snapshot(i, memory, run)),
            said(&older),
            "the rules tell ages apart that the walk does not: raise the cap"
        );
    }
}
