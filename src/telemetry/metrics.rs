//! Counters of what the operator did, in the Prometheus text format.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Metrics and readiness of this process.
pub struct Telemetry {
    registry: Registry,
    runs: Family<Result, Counter>,
    steps: Family<Step, Counter>,
    platform_errors: Family<Class, Counter>,
    unclaimed_tokens: Counter,
    ledger: Family<Kind, Gauge>,
    leader: Gauge,
    ready: AtomicBool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Result {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Step {
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

impl Default for Telemetry {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("platform_token_operator");
        let (runs, steps, platform_errors) =
            (Family::default(), Family::default(), Family::default());
        let unclaimed_tokens = Counter::default();
        registry.register(
            "reconciliations",
            "Reconciliations of PlatformTokens by what they came to",
            runs.clone(),
        );
        registry.register(
            "steps",
            "Steps taken for PlatformTokens: reads and writes of Kubernetes and the platform",
            steps.clone(),
        );
        registry.register(
            "platform_errors",
            "Calls to the platform that failed, by class",
            platform_errors.clone(),
        );
        registry.register(
            "unclaimed_tokens",
            "Tokens found upstream that may be ours and that nothing in this cluster names",
            unclaimed_tokens.clone(),
        );
        let ledger = Family::default();
        registry.register(
            "ledger_entries",
            "Entries of the ledger, by kind: tokens that are owed, attempts that are unresolved, tokens that were released",
            ledger.clone(),
        );
        let leader = Gauge::default();
        registry.register(
            "leader",
            "Whether this process leads: 1, or 0 while it stands by",
            leader.clone(),
        );
        Self {
            registry,
            runs,
            steps,
            platform_errors,
            unclaimed_tokens,
            ledger,
            leader,
            ready: AtomicBool::new(false),
        }
    }
}

impl Telemetry {
    /// Counts one reconciliation; `result` is `Ready`, `Silent`, `Gone` or the reason of what stood in the way.
    pub fn run(&self, result: &'static str) {
        self.runs.get_or_create(&Result { result }).inc();
    }

    /// Counts one step.
    pub fn step(&self, step: &'static str) {
        self.steps.get_or_create(&Step { step }).inc();
    }

    /// Counts one call to the platform that failed, by the class of its error.
    pub fn platform_error(&self, class: &'static str) {
        self.platform_errors.get_or_create(&Class { class }).inc();
    }

    /// Counts tokens that were found, or written down, as unclaimed.
    pub fn unclaimed(&self, tokens: usize) {
        self.unclaimed_tokens
            .inc_by(u64::try_from(tokens).unwrap_or(u64::MAX));
    }

    /// How many entries the ledger has of each kind.
    pub fn ledger(&self, counts: &BTreeMap<&'static str, usize>) {
        for (&kind, &count) in counts {
            let entries = self.ledger.get_or_create(&Kind { kind });
            entries.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// This process stands by: there is nothing that it would have to fill first.
    pub fn stands_by(&self) {
        self.leader.set(0);
        self.set_ready();
    }

    /// This process leads from now on, and its caches are empty.
    pub fn leads(&self) {
        self.leader.set(1);
        self.ready.store(false, Ordering::Relaxed);
    }

    /// This process leads no more.
    pub fn has_led(&self) {
        self.leader.set(0);
    }

    /// All caches are filled.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Whether this process stands by, or leads and has filled all caches.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// All metrics, as Prometheus scrapes them.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
