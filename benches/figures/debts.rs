//! What a long ledger costs: `LEDGER` tokens that are owed, one entry each, are paid by an operator that is just started.

#![expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]

use std::time::Duration;

use anyhow::Context;
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::ResourceExt;
use kube::api::{Api, ListParams, PostParams};
use platform_token_operator::api::{
    Entry, NamedToken, OwedToken, Owner, TokenId, TokenValue, UserId, names,
};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::measure::Bench;
use crate::operator::Operator;
use crate::process::{CpuTime, Memory};
use crate::report::{cores, mib};
use crate::settings::Settings;
use crate::table::Table;
use crate::upstream::Upstream;
use crate::world::{Platform, Population};

/// The users that the tokens are spread over.
const ACCOUNTS: usize = 10;

/// How many entries are written at once before the clock starts.
const PREPARING: usize = 32;

/// How often to look whether the ledger is empty.
const LOOK: Duration = Duration::from_millis(250);

/// When to give up on that.
const DEADLINE: Duration = Duration::from_mins(20);

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Debts {
    settings: Settings,
    /// From the start of the operator until the ledger was empty, in seconds.
    paid: f64,
    cpu: f64,
    memory: Memory,
    upstream: Upstream,
}

pub(crate) async fn measure_debts(settings: &Settings) -> anyhow::Result<Debts> {
    eprintln!("ledger, {} entries: preparing", settings.ledger);
    let nobody = Population {
        accounts: ACCOUNTS,
        tokens: 0,
        others: 0,
    };
    let bench = Bench::prepare(nobody, settings).await?;
    let ledger: Api<Secret> = Api::namespaced(bench.world.admin.clone(), names::OPERATOR);
    let namespaces: Api<Namespace> = Api::all(bench.world.admin.clone());
    let cluster = namespaces.get("kube-system").await?.uid();
    let cluster = &cluster.context("the namespace kube-system has no uid")?;
    stream::iter(0..settings.ledger)
        .map(|number| {
            let user = &bench.world.users[number % ACCOUNTS];
            owe(&bench, &ledger, user, cluster, number)
        })
        .buffer_unordered(PREPARING)
        .try_collect::<()>()
        .await?;
    let upstream = bench.upstream().await?;
    eprintln!("    paying");
    let start = Instant::now();
    let operator = Operator::start(&bench.world)?;
    let cpu = CpuTime::from_birth(operator.pid());
    operator.explain(until_empty(&ledger, start).await)?;
    Ok(Debts {
        settings: settings.clone(),
        paid: start.elapsed().as_secs_f64(),
        cpu: cpu.used()?,
        memory: Memory::of(operator.pid())?,
        upstream: bench.upstream().await?.since(&upstream),
    })
}

/// Makes a token, and writes down that it is owed.
async fn owe(
    bench: &Bench,
    ledger: &Api<Secret>,
    user: &Platform,
    cluster: &str,
    number: usize,
) -> anyhow::Result<()> {
    #[derive(Deserialize)]
    struct Minted {
        id: TokenId,
        token: String,
    }
    let order = bench
        .http
        .post(format!("{}/api/v1/platform-tokens/", user.base_url))
        .bearer_auth(&user.credential)
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .body(r#"{"tags": []}"#);
    let body = order.send().await?.error_for_status()?.bytes().await?;
    let minted: Minted = serde_json::from_slice(&body)?;
    let value = TokenValue::parse(&minted.token)?;
    let entry = Entry::Owed(OwedToken {
        token: NamedToken {
            owner: Owner {
                cluster: cluster.to_owned(),
                namespace: "gone".into(),
                name: format!("token-{number:05}"),
                uid: format!("uid-{number:05}"),
            },
            token_id: minted.id,
            base_url: user.base_url.clone(),
            user_id: Some(UserId::parse(&user.user_id)?),
        },
        hash: Some(value.hash()),
        before: None,
    });
    let secret = entry.secret(names::OPERATOR, Some(&value));
    ledger.create(&PostParams::default(), &secret).await?;
    Ok(())
}

async fn until_empty(ledger: &Api<Secret>, start: Instant) -> anyhow::Result<()> {
    let scope = ListParams::default()
        .labels(names::LEDGER_LABEL)
        .match_any()
        .limit(1);
    loop {
        let page = ledger.list_metadata(&scope).await?;
        if page.items.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(
            start.elapsed() < DEADLINE,
            "entries are left after {DEADLINE:?}"
        );
        sleep(LOOK).await;
    }
}

impl Debts {
    /// Whether each token was revoked, once.
    pub(crate) fn is_exact(&self) -> bool {
        self.upstream.times("DELETE /platform-tokens/{id}/") == self.settings.ledger as u64
            && self.upstream.minted == 0
    }

    pub(crate) fn table(&self) -> Table {
        let n = self.settings.ledger;
        let title = format!(
            "{n} entries of the ledger on {ACCOUNTS} accounts, {:?} API latency, {} cores",
            self.settings.latency,
            cores()
        );
        let mut table = Table::new(&title, ["", "at its peak"]);
        let one = |figure: String| [figure, String::new()];
        table.row(
            "all are paid after, s",
            one(format!("{:.1}", self.paid)),
            "",
        );
        let rate = n as f64 / self.paid;
        table.row("entries a second", one(format!("{rate:.0}")), "");
        let cpu = self.cpu / n as f64 * 1e3;
        table.row(
            "CPU of the operator an entry, ms",
            one(format!("{cpu:.2}")),
            "",
        );
        table.row("memory in the end, MiB", mib(self.memory), "");
        for (name, times) in &self.upstream.calls {
            table.row(name, one(times.to_string()), "");
        }
        table
    }
}
