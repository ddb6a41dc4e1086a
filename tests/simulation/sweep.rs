//! Every story, with a fault at every effect: the process dies before it or after it, its answer is lost, it hangs.
//! `ALL=1` (`make simulate`) tries every fault at every effect, `cargo test` one in turn at every second effect.

use std::fmt;

use super::fault::{Fault, Weather};
use super::parallel::each;
use super::run::{Outcome, run};
use super::sabotage::Sabotage;
use super::scenarios::{self, Scenario};
use super::world::{Ground, Setup};

/// The seed of every run: what varies is where the fault strikes.
const SEED: u64 = 1;

/// How many runs that fail are named.
const SHOWN: usize = 100;

/// One run of the sweep.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub scenario: &'static Scenario,
    pub ground: Ground,
    /// Which effect goes wrong, and how.
    pub strike: Option<(u32, Fault)>,
}

impl Case {
    pub(crate) fn run(&self, sabotage: Option<Sabotage>) -> Outcome {
        let mut setup = Setup::new(SEED, self.ground);
        setup.sabotage = sabotage;
        (self.scenario.setup)(&mut setup);
        setup.weather = Weather::Fair {
            except: self.strike,
        };
        run(setup, &self.scenario.act)
    }
}

/// What replays it.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SCENARIO={} GROUND={:?}",
            self.scenario.name, self.ground
        )?;
        match self.strike {
            Some((n, fault)) => write!(f, " N={n} FAULT={fault:?}"),
            None => Ok(()),
        }
    }
}

/// How many of the faults that make a difference strike each effect.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Strikes {
    /// All of them.
    All,
    /// One at every second effect, which changes from effect to effect and from ground to ground.
    InTurn,
}

/// Every story as it is, then with a fault at every effect.
pub(crate) fn cases(strikes: Strikes) -> Vec<Case> {
    let calm = each(&calm_cases(), |case| case.run(None));
    let mut cases: Vec<Case> = calm.iter().map(|(case, _)| *case).collect();
    for (turn, (case, outcome)) in calm.iter().enumerate() {
        for (n, effect) in outcome.trace.effects().take(outcome.effects).enumerate() {
            let faults = effect.faults();
            let place = turn + n;
            let faults = match strikes {
                Strikes::All => faults,
                Strikes::InTurn if place.is_multiple_of(2) => {
                    std::slice::from_ref(&faults[place / 2 % faults.len()])
                }
                Strikes::InTurn => &[],
            };
            cases.extend(faults.iter().map(|fault| Case {
                strike: Some((effect.number, *fault)),
                ..*case
            }));
        }
    }
    cases
}

fn calm_cases() -> Vec<Case> {
    let on = |ground| {
        scenarios::ALL.iter().map(move |scenario| Case {
            scenario,
            ground,
            strike: None,
        })
    };
    Ground::ALL.into_iter().flat_map(on).collect()
}

#[test]
fn every_story_ends_well_whatever_effect_goes_wrong() {
    let strikes = match std::env::var_os("ALL") {
        Some(_) => Strikes::All,
        None => Strikes::InTurn,
    };
    let runs = each(&cases(strikes), |case| {
        let outcome = case.run(None);
        (!outcome.broken.is_empty()).then_some(outcome)
    });
    let count = runs.len();
    let failed = runs
        .into_iter()
        .filter_map(|(case, outcome)| Some((case, outcome?)));
    let failed: Vec<(Case, Outcome)> = failed.collect();
    for (case, outcome) in failed.iter().take(SHOWN) {
        println!("{case}: {:?}", outcome.broken);
    }
    println!("{count} runs, {} failed", failed.len());
    if let Some((case, outcome)) = failed.first() {
        println!("\n{case}:\n{}", outcome.trace);
        panic!("{} of {count} runs break a promise", failed.len());
    }
}

#[test]
fn replay() {
    let variable = |name| std::env::var(name).ok();
    let Some(wanted) = variable("SCENARIO") else {
        return;
    };
    log();
    let ground = variable("GROUND").unwrap_or_else(|| "Current".into());
    let mut grounds = Ground::ALL.into_iter();
    let ground = grounds.find(|one| format!("{one:?}") == ground);
    let fault = variable("FAULT").map(|wanted| {
        let mut all = Fault::ALL.into_iter();
        all.find(|fault| format!("{fault:?}") == wanted)
            .expect("a fault of this name")
    });
    let n = variable("N").map(|n| n.parse().expect("a number"));
    let scenario = scenarios::ALL
        .iter()
        .find(|scenario| scenario.name == wanted);
    let case = Case {
        scenario: scenario.expect("a scenario of this name"),
        ground: ground.expect("a ground of this name"),
        strike: n.zip(fault),
    };
    let outcome = case.run(None);
    println!("{}\n{:?}", outcome.trace, outcome.broken);
}

/// Shows what the operator logs, if `LOG` says so, for instance `LOG=platform_token_operator=debug`.
pub(crate) fn log() {
    if let Ok(filter) = std::env::var("LOG") {
        let logs = tracing_subscriber::fmt().without_time().with_ansi(false);
        logs.with_env_filter(filter).with_test_writer().init();
    }
}
