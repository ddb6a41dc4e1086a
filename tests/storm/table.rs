//! What the storm did and what came of it, as a table in Markdown.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use platform_token_operator::api::Dialect;

use crate::count::Count;
use crate::deed::Kind;
use crate::plan::Fate;
use crate::storm::Storm;

/// The table of a storm, with the counts of its last rest.
pub(crate) fn table(storm: &Storm, counts: &[Count], seed: u64, took: Duration) -> String {
    let kills = &storm.kills;
    let mut table = format!(
        "{} kills (SIGKILL) in {} s, seed {seed}: {} at random moments, {} right after a named request, {} because that \
         request did not come in time. {} starts.\n\n",
        kills.all(),
        took.as_secs(),
        kills.random,
        kills.sighted,
        kills.in_vain,
        storm.lookout.lives(),
    );
    let mut table = Table(&mut table);
    table.row("", storm.accounts.iter().map(|account| account.label));
    table.row("---", storm.accounts.iter().map(|_| "---:"));
    for kind in Kind::ALL {
        let name = format!("killed at {kind}: {}", Fate::COLUMNS.join(" / "));
        table.row(
            &name,
            storm.accounts.iter().map(|account| {
                let kills = account.log().kills.get(&kind).copied();
                kills.unwrap_or_default().map(|n| n.to_string()).join(" / ")
            }),
        );
    }
    let users = || storm.users.iter();
    table.row("PlatformTokens created", users().map(|u| u.created));
    table.row("PlatformTokens deleted", users().map(|u| u.deleted));
    let guests = || storm.guests.iter();
    table.row("namespaces deleted meanwhile", guests().map(|g| g.left));
    table.row("PlatformTokens in them", guests().map(|g| g.created));
    let outages = || storm.outages.iter().map(|o| (o.accounts, o.credentials));
    table.row(
        "account / its credentials deleted for a while",
        outages().map(|(accounts, credentials)| format!("{accounts} / {credentials}")),
    );
    table.row("Secrets deleted or edited", users().map(|u| u.touched));
    table.row(
        "strangers' tokens made",
        storm.strangers.iter().map(|s| s.made),
    );
    let logs = || storm.accounts.iter().map(|account| account.log());
    table.row("answers lost besides", logs().map(|log| log.lost));
    table.row("POSTs", logs().map(|log| log.posts));
    let endings = || logs().map(|log| log.endings());
    table.row("attempts opened", endings().map(|e| e.opened));
    table.row(
        "stored by the process that opened it",
        endings().map(|e| e.stored),
    );
    table.row(
        "found and stored by a later process",
        endings().map(|e| e.found),
    );
    let tagged = |figure: u64, dialect| match dialect {
        Dialect::Current => figure.to_string(),
        Dialect::Documented => "–".into(),
    };
    let dialects = || storm.accounts.iter().map(|account| account.dialect);
    table.row(
        "revoked without having been stored",
        endings().zip(dialects()).map(|(e, d)| tagged(e.revoked, d)),
    );
    table.row(
        "its POST made nothing",
        endings()
            .zip(dialects())
            .map(|(e, d)| tagged(e.vanished, d)),
    );
    table.row(
        "no POST was sent",
        endings().zip(dialects()).map(|(e, d)| tagged(e.unsent, d)),
    );
    table.row(
        "outcome never known",
        endings().zip(dialects()).map(|(e, d)| match d {
            Dialect::Current => "–".into(),
            Dialect::Documented => (e.revoked + e.vanished + e.unsent).to_string(),
        }),
    );
    table.row("POSTs that a proxy sent twice", logs().map(|log| log.twice));
    table.row(
        "unclaimed, named in the account's status",
        logs().map(|log| log.unclaimed),
    );
    table.row(
        "Secrets of late stores, let go when deleted",
        logs().map(|log| log.orphans.len()),
    );
    for (name, figure) in [
        ("**leaked**", (|c| c.leaked.len()) as fn(&Count) -> usize),
        ("**double**", |c| c.doubled.len()),
        ("**strangers touched**", |c| c.touched.len()),
    ] {
        let figures = counts.iter().map(figure);
        table.row(name, figures.map(|figure| format!("**{figure}**")));
    }
    table.0.clone()
}

struct Table<'a>(&'a mut String);

impl Table<'_> {
    fn row(&mut self, name: &str, figures: impl Iterator<Item = impl Display>) {
        let _ = write!(self.0, "| {name} |");
        for figure in figures {
            let _ = write!(self.0, " {figure} |");
        }
        self.0.push('\n');
    }
}
