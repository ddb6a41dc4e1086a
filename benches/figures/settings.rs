//! What to measure, from the environment.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use kube::core::Duration as GoDuration;
use serde::Serialize;

/// What to measure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    /// How many PlatformTokens wait when the clock starts (`N`; 0 leaves this part out).
    pub(crate) tokens: usize,
    /// How long every answer of the platform takes (`LATENCY`).
    #[serde(serialize_with = "seconds")]
    pub(crate) latency: Duration,
    /// How many times floor and operator are measured, in turn (`ROUNDS`).
    pub(crate) rounds: usize,
    /// For how long the settled operator is watched doing nothing (`IDLE`).
    #[serde(serialize_with = "seconds")]
    pub(crate) idle: Duration,
    /// How many accounts are measured for fairness, each with as many PlatformTokens (`FAIR`; 0 leaves it out).
    pub(crate) fair: usize,
    /// How many PlatformTokens are measured for scale (`SCALE`; 0 leaves it out).
    pub(crate) scale: usize,
    /// How many entries the ledger has that are to be paid (`LEDGER`; 0 leaves it out).
    pub(crate) ledger: usize,
}

impl Settings {
    pub(crate) fn from_environment() -> anyhow::Result<Self> {
        let longest = |seconds| Duration::ZERO..=Duration::from_secs(seconds);
        Ok(Self {
            tokens: number("N", 1000, 0..=20_000)?,
            latency: duration("LATENCY", Duration::from_millis(20), longest(5))?,
            rounds: number("ROUNDS", 3, 1..=100)?,
            idle: duration("IDLE", Duration::from_mins(1), longest(3600))?,
            fair: number("FAIR", 100, 0..=200)?,
            scale: number("SCALE", 10_000, 0..=50_000)?,
            ledger: number("LEDGER", 10_000, 0..=50_000)?,
        })
    }
}

fn number(name: &str, default: usize, range: RangeInclusive<usize>) -> anyhow::Result<usize> {
    let Some(number) = variable::<usize>(name, "a number")? else {
        return Ok(default);
    };
    within(name, number, &range, usize::to_string)
}

fn duration(
    name: &str,
    default: Duration,
    range: RangeInclusive<Duration>,
) -> anyhow::Result<Duration> {
    let Some(duration) = variable::<GoDuration>(name, "a duration such as `20ms` or `1m`")? else {
        return Ok(default);
    };
    anyhow::ensure!(
        !duration.is_negative(),
        "{name} is negative; write a duration from 0s on"
    );
    within(name, duration.into(), &range, |d| format!("{d:?}"))
}

/// The variable's value; none if it is unset or empty.
fn variable<T: FromStr>(name: &str, kind: &str) -> anyhow::Result<Option<T>>
where
    T::Err: Display,
{
    match std::env::var(name) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => anyhow::bail!("{name}={text:?} is not {kind}: {error}"),
        },
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{name} cannot be read")),
    }
}

fn within<T: PartialOrd>(
    name: &str,
    value: T,
    range: &RangeInclusive<T>,
    show: impl Fn(&T) -> String,
) -> anyhow::Result<T> {
    anyhow::ensure!(
        range.contains(&value),
        "{name} is {}; it goes from {} to {}",
        show(&value),
        show(range.start()),
        show(range.end())
    );
    Ok(value)
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
