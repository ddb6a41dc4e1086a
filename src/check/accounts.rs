//! The accounts: whether they answer, which of their tokens nothing claims, and what is still to be revoked.

use std::sync::Arc;

use kube::Client;

use super::report::counted;
use super::{Finding, Scope, Topic, shown};
use crate::api::{AttemptId, Sweep, TokenId, UserId, names};
use crate::clock::Clock;
use crate::controller::{
    Inspected, KubeError, Lingering, Operator, Platforms, Settings, Written, cluster_uid,
};
use crate::plan::Stock;

/// How many ids or names a finding names.
const SHOWN: usize = 20;

pub(super) async fn examine(client: Client, scope: Scope, platforms: Platforms) -> Vec<Finding> {
    let operator = match operator(client, scope, platforms).await {
        Ok(operator) => operator,
        Err(error) => return vec![unasked(Topic::Accounts, &error)],
    };
    let mut findings = match operator.inspect_accounts().await {
        Ok(accounts) => judge(&accounts),
        Err(error) => vec![unasked(Topic::Accounts, &error)],
    };
    findings.extend(match operator.lingering().await {
        Ok(lingering) => owed(&lingering),
        Err(error) => vec![unasked(Topic::Owed, &error)],
    });
    findings.extend(match operator.written_down().await {
        Ok(written) => put_off(&written),
        Err(error) => vec![unasked(Topic::Owed, &error)],
    });
    findings
}

/// An operator that nothing wakes.
async fn operator(
    client: Client,
    scope: Scope,
    platforms: Platforms,
) -> Result<Operator, KubeError> {
    let cluster = cluster_uid(&client).await?;
    let settings = Settings {
        platforms,
        served: scope.served,
        namespace: scope.own,
        concurrency: 1,
        instance: names::OPERATOR.into(),
        clock: Clock::system(),
        fresh: Box::new(AttemptId::fresh),
    };
    let (operator, _, _) = Operator::new(client, cluster, settings, Arc::default());
    Ok(operator)
}

fn unasked(topic: Topic, error: &KubeError) -> Finding {
    topic.failure(format!(
        "the cluster does not tell: {error}; mend what is found above"
    ))
}

fn judge(accounts: &[Inspected]) -> Vec<Finding> {
    if accounts.is_empty() {
        let text = "there is no account; apply one, for instance examples/account.yaml";
        return vec![Topic::Accounts.warning(text)];
    }
    let proofs = accounts.iter().map(proof);
    let unclaimed = accounts.iter().filter_map(unclaimed);
    proofs.chain(unclaimed).collect()
}

fn proof(account: &Inspected) -> Finding {
    let key = &account.key;
    match (&account.proof, account.warning) {
        (Ok(identity), None) => {
            let who = identity.username.as_deref();
            let who = who.or(identity.user_id.as_ref().map(UserId::as_str));
            let who = who.unwrap_or("a user that its first token will tell");
            let dialect = identity.dialect;
            Topic::Accounts.ok(format!("{key} answers as {who}, in the {dialect} dialect"))
        }
        (Ok(_), Some(warning)) => Topic::Accounts.warning(format!("{key} answers; {warning}")),
        (Err(trouble), _) => {
            let text = format!("{key}: {}: {}", trouble.reason, trouble.message);
            Topic::Accounts.warning(text)
        }
    }
}

fn unclaimed(account: &Inspected) -> Option<Finding> {
    let key = &account.key;
    let stock = match account.stock.as_ref()? {
        Ok(stock) => stock,
        Err(trouble) => {
            let text = format!("{key} cannot be listed: {}", trouble.message);
            return Some(Topic::Unclaimed.warning(text));
        }
    };
    if let Some(found) = told(stock, account) {
        return Some(Topic::Unclaimed.warning(format!("{key} {found}")));
    }
    let (upstream, managed) = (stock.counts.upstream, stock.counts.managed);
    let text = format!(
        "{key} has {}, {managed} of them named in this cluster, and none that may be this operator's and is not",
        counted(upstream as usize, "token")
    );
    Some(Topic::Unclaimed.ok(text))
}

/// What nothing claims, and what becomes of it.
fn told(stock: &Stock, account: &Inspected) -> Option<String> {
    let ours = &stock.unclaimed;
    if ours.is_empty() {
        return None;
    }
    let (n, ids) = (ours.len(), shown(ours.iter().map(TokenId::as_str), SHOWN));
    let mut then = Vec::new();
    if account.exclusive && stock.strangers.is_empty() {
        let revoked = ours.intersection(&stock.revocable);
        then.push(format!(
            "the operator revokes {} of them at the second stock that finds them",
            revoked.count()
        ));
    } else {
        then.push("those with the tags of a PlatformToken that lives are revoked by it".to_owned());
    }
    let stranded = ours.iter().filter(|id| stock.stranded.contains_key(*id));
    match (stranded.count(), account.sweep) {
        (0, _) | (_, Sweep::Off) => {}
        (n, Sweep::Report) => then.push(format!("with `sweep: Revoke` {n} would be swept")),
        (n, Sweep::Revoke) => then.push(format!(
            "the sweep revokes {n}, once two stocks have found them and nobody has used them in between"
        )),
    }
    let then = then.join("; ");
    Some(format!(
        "has {} that may be this operator's and that nothing in this cluster names ({ids}); {then}; look at the others, \
         and revoke in the console what nobody needs",
        counted(n, "token")
    ))
}

fn owed(lingering: &[Lingering]) -> Vec<Finding> {
    if lingering.is_empty() {
        return vec![Topic::Owed.ok("no PlatformToken is being deleted")];
    }
    let each = lingering.iter().map(|one| {
        let says = one
            .says
            .as_deref()
            .unwrap_or("its deletion has just begun, or no operator is at work");
        Topic::Owed.warning(format!(
            "PlatformToken {} is being deleted, and its token is not revoked yet: {says}",
            one.token
        ))
    });
    each.collect()
}

/// What the ledger has.
fn put_off(written: &[Written]) -> Vec<Finding> {
    let of_kind = |kind| written.iter().filter(move |one| one.kind == kind);
    let released = of_kind("released").count();
    let mut findings = Vec::new();
    let oldest = |kind| of_kind(kind).filter_map(|one| one.since).min();
    for (kind, what) in [
        ("owed", "platform token"),
        ("unresolved", "attempt that may have made a token"),
    ] {
        let n = of_kind(kind).count();
        if n == 0 {
            continue;
        }
        let names = of_kind(kind).map(|one| one.what.as_str());
        let since =
            oldest(kind).map_or_else(String::new, |since| format!(", the oldest since {since}"));
        findings.push(Topic::Owed.warning(format!(
            "{} of PlatformTokens that are gone could not be revoked in time{since}: {}; the operator goes on trying, its \
             log says what stands in the way",
            counted(n, what),
            shown(names, SHOWN)
        )));
    }
    let foreign = of_kind("foreign").count();
    if foreign > 0 {
        findings.push(Topic::Owed.warning(format!(
            "{} of another cluster, or edited, in this operator's ledger: nothing is done about them; delete them here",
            counted(foreign, "entry")
        )));
    }
    if findings.is_empty() {
        let text = match released {
            0 => "nothing is written down that has to be revoked".to_owned(),
            n => format!(
                "nothing is written down that has to be revoked, and {} as released on purpose",
                counted(n, "token")
            ),
        };
        findings.push(Topic::Owed.ok(text));
    }
    findings
}
