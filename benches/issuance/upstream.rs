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

    /// All calls.
    pub(crate) fn total(&self) -> u64 {
        self.calls.values().sum()
    }
}
