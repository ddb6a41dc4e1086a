//! The figures as a table for people and as JSON for programs.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use serde_json::json;

use crate::MEMORY_AT;
use crate::measure::{Idle, Issuance, Operated};
use crate::process::Memory;
use crate::settings::Settings;
use crate::table::{Table, median};
use crate::upstream::Upstream;

/// At most so many times as slow as the floor.
const AIM_RATIO: f64 = 1.2;

/// Less memory than this, in KiB, with [`MEMORY_AT`] tokens.
const AIM_MEMORY: u64 = 20 * 1024;

/// Calls that a start makes once, however many tokens there are: lists, the account and its credential.
const START: u64 = 20;

/// All that was measured.
pub(crate) struct Report {
    pub(crate) settings: Settings,
    /// One for each round.
    pub(crate) floor: Vec<Issuance>,
    /// One for each round.
    pub(crate) operator: Vec<Operated>,
    /// With [`MEMORY_AT`] tokens, if there are enough.
    pub(crate) memory: Option<Memory>,
}

impl Report {
    /// Whether every order made exactly one token.
    pub(crate) fn is_exact(&self) -> bool {
        let n = self.settings.tokens as u64;
        self.operator
            .iter()
            .all(|round| round.issuance.upstream.minted == n)
    }

    /// Writes all figures.
    pub(crate) fn write(&self) -> anyhow::Result<PathBuf> {
        let figures = json!({
            "settings": self.settings, "cores": cores(), "exact": self.is_exact(), "ratio": self.ratio(),
            "floor": self.floor, "operator": self.operator,
            "memory": self.memory.map(|memory| json!({ "tokens": MEMORY_AT, "with": memory })),
        });
        write("issuance", &figures)
    }

    /// The table. Times are medians over the rounds; calls are those of the last.
    pub(crate) fn table(&self) -> Table {
        let settings = &self.settings;
        let title = format!(
            "{} tokens waiting, {:?} API latency, {} round(s), {} cores",
            settings.tokens,
            settings.latency,
            settings.rounds,
            cores()
        );
        let mut table = Table::new(&title, ["operator", "floor"]);
        self.speed(&mut table);
        if let (Some(operator), Some(floor)) = (self.operator.last(), self.floor.last()) {
            let both = [&operator.issuance, floor];
            self.kubernetes(&mut table, both);
            self.upstream(&mut table, both);
            if let Some(idle) = &operator.idle {
                rest(&mut table, idle);
            }
            self.memory(&mut table, operator);
        }
        table
    }

    /// How many times as long as the floor the operator takes, by the medians.
    fn ratio(&self) -> f64 {
        self.operator(|round| round.last_ready) / self.floor(|round| round.last_ready)
    }

    fn floor(&self, figure: impl Fn(&Issuance) -> f64) -> f64 {
        median(self.floor.iter().map(figure))
    }

    fn operator(&self, figure: impl Fn(&Issuance) -> f64) -> f64 {
        median(self.operator.iter().map(|round| figure(&round.issuance)))
    }

    fn speed(&self, table: &mut Table) {
        let n = self.settings.tokens as f64;
        let both = |figure: fn(&Issuance) -> f64| [self.operator(figure), self.floor(figure)];
        let seconds = |pair: [f64; 2]| pair.map(|figure| format!("{figure:.2}"));
        let ratio = |[operator, floor]: [f64; 2]| format!("{:.2} x", operator / floor);
        let times = both(|round| round.last_ready);
        table.judged(
            "time to the last Ready, s",
            seconds(times),
            &format!("at most {AIM_RATIO} x the floor: {}", ratio(times)),
            self.ratio() <= AIM_RATIO,
        );
        let rounds = self.operator.iter().zip(&self.floor);
        for (round, (operator, floor)) in (1..).zip(rounds).filter(|_| self.settings.rounds > 1) {
            let times = [operator.issuance.last_ready, floor.last_ready];
            table.row(&format!("  round {round}"), seconds(times), &ratio(times));
        }
        let first = both(|round| round.first_ready);
        table.row("time to the first Ready, s", seconds(first), "");
        let rate = times.map(|seconds| format!("{:.0}", n / seconds));
        table.row("tokens a second", rate, "");
        let cpu = both(|round| round.cpu).map(|seconds| format!("{:.2}", seconds / n * 1e3));
        table.row(
            "CPU of its process a token, ms",
            cpu,
            "the floor's with the bench's",
        );
    }

    fn kubernetes(&self, table: &mut Table, both: [&Issuance; 2]) {
        let both = both.map(|side| &side.kubernetes);
        table.head("API server");
        self.budget(table, "writes", 3, both.map(|side| side.writes));
        self.budget(table, "dry runs", 1, both.map(|side| side.dry_runs));
        self.budget(table, "events", 1, both.map(|side| side.events));
        self.budget(table, "reads", 0, both.map(|side| side.reads));
        by_name(table, both.map(|side| &side.calls));
        let by_account = both.map(|side| side.by_account);
        table.row(
            "  all of its service account",
            by_account,
            "watches included",
        );
    }

    fn upstream(&self, table: &mut Table, both: [&Issuance; 2]) {
        let both = both.map(|side| &side.upstream);
        table.head("platform");
        self.budget(table, "calls", 2, both.map(Upstream::total));
        by_name(table, both.map(|side| &side.calls));
        let n = self.settings.tokens;
        let aim = format!("exactly {n} in every round");
        let minted = both.map(|side| side.minted);
        table.judged("tokens made", minted, &aim, self.is_exact());
    }

    /// A row of calls that may be so many for each token, and a few once.
    fn budget(&self, table: &mut Table, name: &str, a_token: u64, times: [u64; 2]) {
        let n = self.settings.tokens as u64;
        let budget = a_token * n;
        let passes = (budget..=budget + START).contains(&times[0]);
        let is = times[0] as f64 / n as f64;
        table.judged(name, times, &format!("{a_token} a token: {is:.3}"), passes);
    }

    fn memory(&self, table: &mut Table, last: &Operated) {
        let n = self.settings.tokens;
        table.head("memory of the operator, MiB: at rest, and at its peak");
        if n != MEMORY_AT {
            table.row(&format!("with {n} tokens"), mib(last.memory), "");
        }
        if let Some(memory) = self.memory {
            let aim = format!("under {} MiB", AIM_MEMORY / 1024);
            let name = format!("with {MEMORY_AT} tokens");
            table.judged(&name, mib(memory), &aim, memory.rss_kib < AIM_MEMORY);
        }
        if let Some(idle) = &last.idle {
            let name = format!("with {n} tokens, after idling");
            table.row(&name, mib(idle.memory), "");
        }
    }
}

/// Writes figures next to what cargo builds.
pub(crate) fn write(name: &str, figures: &impl Serialize) -> anyhow::Result<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let path = target.join(format!("{name}.json"));
    let text = serde_json::to_string_pretty(figures)?;
    std::fs::create_dir_all(&target)
        .and_then(|()| std::fs::write(&path, text))
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

fn rest(table: &mut Table, idle: &Idle) {
    table.head(&format!("operator without work, for {:.0} s", idle.seconds));
    let kubernetes = &idle.kubernetes;
    let writes = kubernetes.writes + kubernetes.dry_runs + kubernetes.events;
    for (name, times) in [
        ("writes", writes),
        ("reads", kubernetes.reads),
        ("all requests of its service account", kubernetes.by_account),
        ("calls of the platform", idle.upstream),
    ] {
        table.judged(name, [times.to_string(), String::new()], "none", times == 0);
    }
    let cpu = format!("{:.2}", idle.cpu / idle.seconds * 1e3);
    table.row("CPU, ms a second", [cpu.as_str(), ""], "");
}

fn by_name(table: &mut Table, both: [&BTreeMap<String, u64>; 2]) {
    let names: BTreeSet<&String> = both.iter().flat_map(|side| side.keys()).collect();
    for name in names {
        let times = both.map(|side| side.get(name).copied().unwrap_or_default());
        table.row(&format!("  {name}"), times, "");
    }
}

pub(crate) fn mib(memory: Memory) -> [String; 2] {
    [memory.rss_kib, memory.peak_kib].map(|kib| format!("{:.1}", kib as f64 / 1024.0))
}

pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
