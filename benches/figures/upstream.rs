//! What the platform was asked for, by the sandbox's own count.

use std::collections::BTreeMap;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// What the platform was asked for.
#[derive(Debug, Serialize)]
pub(crate) struct Upstream {
    /// Tokens made since it began.
    pub(crate) minted: u64,
    /// Calls by method, route and status.
    pub(crate) calls: BTreeMap<String, u64>,
}

impl Upstream {
    /// Reads the sandbox's own count, which reading does not change.
    pub(crate) async fn so_far(http: &reqwest::Client, sandbox: &str) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct State {
            minted: u64,
            calls: Vec<Counted>,
        }
        #[derive(Deserialize)]
        struct Counted {
            call: Answered,
            times: u64,
        }
        #[derive(Deserialize)]
        struct Answered {
            method: String,
            route: String,
            status: Option<u16>,
        }
        let url = format!("{sandbox}/_sandbox/state");
        let body = http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .bytes()
            .await?;
        let state: State = serde_json::from_slice(&body).context("the sandbox's state")?;
        let name = |call: Answered| match call.status {
            Some(200..300) => format!("{} {}", call.method, call.route),
            Some(status) => format!("{} {} -> {status}", call.method, call.route),
            None => format!("{} {} -> no answer", call.method, call.route),
        };
        let mut calls = BTreeMap::new();
        for counted in state.calls {
            *calls.entry(name(counted.call)).or_default() += counted.times;
        }
        Ok(Self {
            minted: state.minted,
            calls,
        })
    }

    /// What was asked for since an earlier reading.
    pub(crate) fn since(self, earlier: &Self) -> Self {
        let before = |name: &String| earlier.calls.get(name).copied().unwrap_or_default();
        let calls = self.calls.into_iter().filter_map(|(name, times)| {
            let times = times - before(&name);
            (times > 0).then_some((name, times))
        });
        Self {
            minted: self.minted - earlier.minted,
            calls: calls.collect(),
        }
    }

    /// How often a call was answered with success.
    pub(crate) fn times(&self, name: &str) -> u64 {
        self.calls.get(name).copied().unwrap_or_default()
    }

    /// All calls of a method.
    pub(crate) fn such(&self, method: &str) -> u64 {
        let such = self
            .calls
            .iter()
            .filter(|(name, _)| name.starts_with(method));
        such.map(|(_, times)| times).sum()
    }

    /// All calls.
    pub(crate) fn total(&self) -> u64 {
        self.calls.values().sum()
    }
}
