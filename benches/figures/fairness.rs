//! What one broken account does to the PlatformTokens of all others: how long they take to become Ready, with and
//! without it. The broken one is proven; it is the calls for its PlatformTokens that go wrong.

use std::fmt;

use anyhow::Context;
use platform_token_operator::api::UserId;
use platform_token_operator::sandbox::{Fault, Match, Rule, Shape, Verb, When};
use serde::Serialize;
use tokio::time::Instant;

use crate::measure::Bench;
use crate::operator::Operator;
use crate::report::cores;
use crate::settings::Settings;
use crate::table::Table;
use crate::world::{Population, account_name};

/// At most so many times as long as with all accounts healthy, for 99 in 100.
const AIM_RATIO: f64 = 1.5;

/// How the broken account is measured: in the middle of two measurements without one.
const RUNS: [Broken; 5] = [
    Broken::None,
    Broken::Hangs,
    Broken::Fails,
    Broken::Refuses,
    Broken::None,
];

/// What the platform does when the broken account makes a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Broken {
    /// No account is broken.
    None,
    /// It does not answer.
    Hangs,
    /// It answers with 500.
    Fails,
    /// It answers with 401.
    Refuses,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Fairness {
    settings: Settings,
    runs: Vec<Run>,
}

/// How long the PlatformTokens of healthy accounts took from the operator's start, in seconds.
#[derive(Debug, Serialize)]
struct Run {
    broken: Broken,
    half: f64,
    ninety_nine: f64,
    last: f64,
}

pub(crate) async fn measure_fairness(settings: &Settings) -> anyhow::Result<Fairness> {
    let mut runs = Vec::new();
    for broken in RUNS {
        eprintln!("fairness, {broken}: preparing");
        runs.push(measure(broken, settings).await?);
    }
    Ok(Fairness {
        settings: settings.clone(),
        runs,
    })
}

async fn measure(broken: Broken, settings: &Settings) -> anyhow::Result<Run> {
    let n = settings.fair;
    let there = Population {
        accounts: n,
        tokens: n * n,
        others: 0,
    };
    let mut bench = Bench::prepare(there, settings).await?;
    let sick = bench.world.users.last().context("there is no account")?;
    let script = script(broken, &sick.user_id)?;
    let url = format!("{}/_sandbox/faults", bench.world.platform.base_url);
    let request = bench
        .http
        .put(url)
        .header("content-type", "application/json");
    let script = serde_json::to_vec(&script)?;
    request.body(script).send().await?.error_for_status()?;
    eprintln!("    issuing");
    let start = Instant::now();
    let operator = Operator::start(&bench.world)?;
    // Of the account that may be broken, none is counted, whether it is or not.
    let sick = account_name(n - 1);
    let healthy = bench
        .ready
        .until_such(n * (n - 1), |token| token.spec.account_ref.name != sick);
    operator.explain(healthy.await)?;
    let mut times: Vec<f64> = bench
        .ready
        .moments()
        .map(|at| at.duration_since(start).as_secs_f64())
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times.get((times.len() * percent).div_ceil(100).max(1) - 1);
    let at = |percent| at(percent).copied().unwrap_or(f64::NAN);
    Ok(Run {
        broken,
        half: at(50),
        ninety_nine: at(99),
        last: at(100),
    })
}

fn script(broken: Broken, user: &str) -> anyhow::Result<Vec<Rule>> {
    let status = |status| Fault::Status {
        when: When::Before,
        status,
        body: Shape::Detail,
        retry_after: None,
    };
    let fault = match broken {
        Broken::None => return Ok(vec![]),
        Broken::Hangs => Fault::Hang { when: When::Before },
        Broken::Fails => status(500),
        Broken::Refuses => status(401),
    };
    let call = Match {
        method: Some(Verb::Post),
        user_id: Some(UserId::parse(user)?),
        ..Match::default()
    };
    Ok(vec![Rule::always(call, fault)])
}

impl Fairness {
    pub(crate) fn table(&self) -> Table {
        let n = self.settings.fair;
        let title = format!(
            "{n} accounts with {n} tokens each, {:?} API latency, {} cores: healthy accounts, s",
            self.settings.latency,
            cores()
        );
        let mut table = Table::new(&title, ["half", "99 in 100"]);
        let (half, most) = (
            self.healthy(|run| run.half),
            self.healthy(|run| run.ninety_nine),
        );
        for run in &self.runs {
            let figures = [run.half, run.ninety_nine].map(|seconds| format!("{seconds:.2}"));
            let name = format!("{}", run.broken);
            let ratio = run.ninety_nine / most;
            if run.broken == Broken::None {
                table.row(&name, figures, "");
            } else {
                let half = run.half / half;
                let aim = format!("at most {AIM_RATIO} x without: {half:.2}, {ratio:.2} x");
                table.judged(&name, figures, &aim, ratio <= AIM_RATIO);
            }
        }
        table
    }

    /// A figure with all accounts healthy: the mean of before and after.
    #[expect(clippy::cast_precision_loss, reason = "there are two")]
    fn healthy(&self, figure: impl Fn(&Run) -> f64) -> f64 {
        let healthy = self.runs.iter().filter(|run| run.broken == Broken::None);
        let figures: Vec<f64> = healthy.map(figure).collect();
        figures.iter().sum::<f64>() / figures.len() as f64
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "all accounts healthy",
            Self::Hangs => "POSTs of one account hang",
            Self::Fails => "POSTs of one account get 500",
            Self::Refuses => "POSTs of one account get 401",
        })
    }
}
