//! What all processes of one run share: the API server, the platform, the time, and what happened so far.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use platform_token_operator::api::{Dialect, TokenId, UserId};
use platform_token_operator::sandbox::{self, Account, Config, Shared};
use serde_json::json;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;

use super::apiserver::{Kind, Request, Store, Verb};
use super::election::Ailment;
use super::fault::Weather;
use super::sabotage::Sabotage;
use super::trace::Trace;

/// The platform of every world.
pub(crate) const BASE_URL: &str = "https://platform.test";

/// The namespace that users work in.
pub(crate) const NAMESPACE: &str = "apps";

/// The operator's own namespace, where its ledger is.
pub(crate) const OWN_NAMESPACE: &str = "platform-token-operator";

/// What a run begins with.
#[derive(Debug, Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "settings that are independent of each other"
)]
pub(crate) struct Setup {
    pub seed: u64,
    pub platform: Config,
    /// How many processes there are.
    pub processes: usize,
    /// They elect a leader. Else each believes that it leads.
    pub elects: bool,
    pub weather: Weather,
    /// How long watches lag at most.
    pub lag: Duration,
    pub sabotage: Option<Sabotage>,
    /// Nobody but us makes tokens on the account.
    pub exclusive: bool,
    /// What nothing names is revoked where tokens bear tags, not only reported.
    pub sweeps: bool,
    /// The credentials of the account become those of another user.
    pub users_change: bool,
}

/// What tells whose a token is: its tags, nothing, or that nobody else makes any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ground {
    Current,
    Documented,
    Exclusive,
}

impl Ground {
    pub(crate) const ALL: [Self; 3] = [Self::Current, Self::Documented, Self::Exclusive];
}

impl Setup {
    /// A platform with the accounts of two users, one process, and good weather.
    pub(crate) fn new(seed: u64, ground: Ground) -> Self {
        let dialect = match ground {
            Ground::Current => Dialect::Current,
            Ground::Documented | Ground::Exclusive => Dialect::Documented,
        };
        let account = |name| Account::named(UserId::parse(name).expect("a word is an id"));
        Self {
            seed,
            platform: Config {
                dialect,
                seed,
                accounts: vec![account("alice"), account("bob")],
                ..Config::default()
            },
            processes: 1,
            elects: false,
            weather: Weather::Fair { except: None },
            lag: Duration::from_millis(50),
            sabotage: None,
            exclusive: ground == Ground::Exclusive,
            sweeps: false,
            users_change: false,
        }
    }
}

/// One run.
pub(crate) struct World {
    pub setup: Setup,
    pub platform: Arc<Shared>,
    store: Mutex<Store>,
    state: Mutex<State>,
    started: Instant,
    /// Told of each change of the store. (The receivers of tokio's `watch` wake in random order.)
    changed: Notify,
}

/// What happened so far.
pub(crate) struct State {
    /// Number of the last effect.
    pub number: u32,
    pub weather: Weather,
    pub trace: Trace,
    /// Requests that are on their way and have not taken effect.
    pub travelling: u32,
    /// Every POST of ours.
    pub posts: Vec<Post>,
    /// Tokens that were made by no POST of ours.
    pub strangers: BTreeSet<TokenId>,
    /// Ids of the attempts that were written to a PlatformToken.
    pub opened: BTreeSet<String>,
    /// For each process, which of its lives this is.
    pub lives: Vec<u32>,
    /// For each process, whether it has nothing to do but to prove accounts from time to time.
    pub resting: Vec<bool>,
    /// For each process, what keeps it from its lease.
    pub ailments: Vec<Ailment>,
    /// Lists have lagged for minutes.
    pub lists_lagged: bool,
    /// The account was made again, after it had gone.
    pub refounded: bool,
    /// Lists lacked for minutes what was made.
    pub lagged: bool,
    /// What went wrong that no later look could tell.
    pub violations: Vec<String>,
}

/// One POST of ours, as the platform saw it.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    pub tags: Vec<String>,
    /// What it made, once it has taken effect: more than one where a proxy repeated it.
    pub made: Vec<TokenId>,
    /// The process has its answer; which process, and which life of it.
    pub answered: Option<(usize, u32)>,
}

impl World {
    /// A fresh world, in which nobody has done anything.
    pub(crate) fn new(setup: Setup) -> Arc<Self> {
        let started = Instant::now();
        let epoch: Timestamp = EPOCH.parse().expect("a time");
        // The platform is older than the run: lists that lag do not lack its first tokens.
        let founded = AtomicBool::new(false);
        let clock: sandbox::Clock = Arc::new(move || {
            let now = epoch + started.elapsed();
            if founded.swap(true, Ordering::Relaxed) {
                now
            } else {
                now - SignedDuration::from_hours(24)
            }
        });
        let platform = Shared::new(setup.platform.clone(), clock);
        let strangers = platform.with(|sandbox, _| {
            let live = sandbox.model.live();
            live.map(|token| token.id.clone()).collect()
        });
        let state = State {
            number: 0,
            weather: setup.weather.clone(),
            trace: Trace::default(),
            travelling: 0,
            posts: Vec::new(),
            strangers,
            opened: BTreeSet::new(),
            lives: vec![0; setup.processes],
            resting: vec![false; setup.processes],
            ailments: vec![Ailment::default(); setup.processes],
            lists_lagged: false,
            refounded: false,
            lagged: false,
            violations: Vec::new(),
        };
        let world = Self {
            setup,
            platform,
            store: Mutex::default(),
            state: Mutex::new(state),
            started,
            changed: Notify::new(),
        };
        for namespace in ["kube-system", "default", OWN_NAMESPACE, NAMESPACE] {
            let object = json!({ "metadata": { "name": namespace } });
            let dry_run = false;
            let request = Request {
                kind: Kind::Namespace,
                namespace: String::new(),
                name: String::new(),
                verb: Verb::Create { object, dry_run },
                metadata_only: false,
            };
            let created = world.change(|store, now| store.handle(&request, now));
            created.expect("a namespace can be created");
        }
        Arc::new(world)
    }

    /// How long the run has lasted.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The time on every clock.
    pub(crate) fn now(&self) -> Timestamp {
        let epoch: Timestamp = EPOCH.parse().expect("a time");
        epoch + self.elapsed()
    }

    /// Looks at the API server.
    pub(crate) fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the API server holds, and tells the watches.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Store, Timestamp) -> T) -> T {
        let result = change(&mut self.store(), self.now());
        self.changed.notify_waiters();
        result
    }

    /// The next change of the store: any that comes after this call.
    pub(crate) fn next_change(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// What happened so far.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that something happened.
    pub(crate) fn remark(&self, text: impl Into<String>) {
        let at = self.elapsed();
        self.state().trace.remark(at, text);
    }

    /// Notes that a promise was broken.
    pub(crate) fn violated(&self, text: impl Into<String>) {
        let text = text.into();
        let at = self.elapsed();
        let mut state = self.state();
        state.trace.remark(at, format!("VIOLATED: {text}"));
        state.violations.push(text);
    }

    /// Whether nothing is on its way and nobody has anything to do.
    pub(crate) fn is_at_rest(&self) -> bool {
        let state = self.state();
        let led = !self.setup.elects || state.ailments.iter().any(|one| one.leads);
        led && state.travelling == 0 && state.resting.iter().all(|resting| *resting)
    }
}

/// When every run begins.
const EPOCH: &str = "2026-01-01T00:00:00Z";
