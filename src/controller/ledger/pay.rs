//! How entries are paid: each by the rules of a PlatformToken that is gone and owes one thing.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use tracing::Instrument;

use super::live::delete;
use super::{Known, Ledger};
use crate::api::{Entry, TokenValue, names};
use crate::controller::Operator;
use crate::controller::execute::Executor;
use crate::controller::kubernetes::{KubeError, call_opt};
use crate::controller::memory;
use crate::controller::tokens::settle;
use crate::plan::{Moment, Snapshot, Verdict};

/// The wait of an entry that cannot be paid doubles so often: to five minutes.
const SLOWEST: u32 = 9;

impl Ledger {
    /// The names of this cluster's entries that are to be paid now. Of a platform that is silent it is the next one after
    /// the one whose turn it was last, so that all get theirs.
    fn due(&self, cluster: &str, silent: &BTreeSet<String>, now: Moment) -> Vec<String> {
        let (entries, mut turns) = (self.lock(), self.turns());
        let (mut due, mut of_silent) = (Vec::new(), BTreeMap::new());
        for (name, known) in &entries.known {
            let ours = known.entry.owner().cluster == cluster;
            let released = matches!(known.entry, Entry::Released(_));
            if !ours || released || self.tries.waits(name, now) {
                continue;
            }
            let (base_url, _) = known.entry.account();
            if silent.contains(base_url) {
                let had_its_turn = turns.get(base_url).is_some_and(|last| name <= last);
                let turn = (had_its_turn, name);
                let first = of_silent.entry(base_url).or_insert(turn);
                *first = turn.min(*first);
            } else {
                due.push(name.clone());
            }
        }
        for (base_url, (_, name)) in of_silent {
            turns.insert(base_url.to_owned(), name.clone());
            due.push(name.clone());
        }
        due
    }

    /// Whatever is owed on a platform is paid as soon as may be.
    pub(in crate::controller) fn hasten(&self, base_url: &str, now: Moment) {
        let entries = self.lock();
        let known = entries.known.iter();
        let there = known.filter(|(_, known)| known.entry.account().0 == base_url);
        there.for_each(|(name, _)| self.tries.hasten(name, now));
    }

    fn has_its_turn(&self, base_url: &str, name: &str) -> bool {
        self.turns().get(base_url).is_some_and(|turn| turn == name)
    }
}

impl Operator {
    /// The names of the entries that can be paid: of a platform that does not answer, one. Found in memory.
    #[must_use]
    pub fn entries(&self) -> Vec<String> {
        let context = &self.context;
        if !context.accounts.are_known(&context.served) {
            // A credential that is not known yet might be the very token that is to be revoked.
            return Vec::new();
        }
        let (silent, now) = (context.silences.all(), context.clock.now());
        context.ledger.due(&context.cluster, &silent, now)
    }

    /// Whether any entry has to be paid.
    #[must_use]
    pub fn owes(&self) -> bool {
        let entries = self.context.ledger.lock();
        let mut ours = entries
            .known
            .values()
            .filter(|known| known.entry.owner().cluster == self.context.cluster);
        ours.any(|known| !matches!(known.entry, Entry::Released(_)))
    }

    /// Pays one entry, if it is there on a live look. Where that failed before, it is tried again with back-off.
    pub async fn pay(&self, name: &str) {
        let context = &self.context;
        let (ledger, now) = (&context.ledger, context.clock.now());
        if ledger.tries.waits(name, now) {
            return;
        }
        let Some(known) = ledger.get(name) else {
            return;
        };
        let (base_url, _) = known.entry.account();
        let silent = context.silences.all().contains(base_url);
        if silent && !ledger.has_its_turn(base_url, name) {
            // It fell silent since the entries were found.
            return;
        }
        let span = tracing::info_span!("ledger", name, owner = %known.entry.owner());
        let paid = self.settle_entry(name, &known).instrument(span.clone());
        let paid = paid.await;
        let _entered = span.enter();
        let again = ledger.tries.have_failed(name, now);
        let failed = match paid {
            Ok(Verdict::Trouble(trouble)) => {
                let reason = trouble.reason.as_str();
                if again {
                    tracing::debug!(reason, "still owed: {}", trouble.message);
                } else {
                    tracing::warn!(reason, "still owed: {}", trouble.message);
                }
                true
            }
            Ok(Verdict::Gone) => false,
            Ok(_) => true,
            Err(error) => {
                tracing::warn!(%error, "an entry of the ledger could not be read or struck");
                true
            }
        };
        let now = context.clock.now();
        ledger.tries.note(name, failed, SLOWEST, now);
    }

    async fn settle_entry(&self, name: &str, known: &Known) -> Result<Verdict, KubeError> {
        let context = &*self.context;
        let ledger = &context.ledger;
        let secrets = ledger.secrets(context);
        let Some(secret) = call_opt(secrets.get(name)).await? else {
            ledger.strike(Some(name));
            return Ok(Verdict::Gone);
        };
        let Ok(entry) = Entry::parse(&secret.metadata) else {
            return Ok(Verdict::Silent);
        };
        // It may have changed since the index saw it.
        if matches!(entry, Entry::Released(_)) || entry.owner().cluster != context.cluster {
            return Ok(Verdict::Silent);
        }
        let (base_url, user) = entry.account();
        let (account, session) = context.accounts.of_user(base_url, user);
        let credentials = context.accounts.credentials();
        let value = value_of(&secret);
        let mut snapshot = Snapshot::of_entry(&entry, value, account, credentials, known.seen);
        snapshot.memory.failures = known.unknown;
        let mut written = memory::Written::default();
        let mut executor = Executor {
            context,
            session,
            slot: None,
            written: &mut written,
        };
        let settled = settle(&mut executor, &mut snapshot).await;
        ledger.note_unknown(name, !snapshot.memory.self_unknown.is_empty());
        for note in &snapshot.run.notes {
            tracing::info!(reason = note.reason.as_str(), "{}", note.text);
        }
        if settled.verdict == Verdict::Gone {
            delete(context, &secret.metadata).await?;
            context.telemetry.ledger(&ledger.counts());
        }
        Ok(settled.verdict)
    }
}

fn value_of(secret: &Secret) -> Option<TokenValue> {
    let bytes = secret.data.as_ref()?.get(names::TOKEN_KEY)?;
    TokenValue::parse(std::str::from_utf8(&bytes.0).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use futures::FutureExt;
    use kube::Client;
    use kube::client::Body;

    use super::*;
    use crate::api::{AttemptId, NamedToken, OwedToken, Owner, TokenId};
    use crate::clock::Clock;
    use crate::controller::{Platforms, Served, Settings};

    const PLATFORM: &str = "https://platform";

    /// Owes these tokens on one platform; the names of the entries in their order.
    fn owe(ledger: &Ledger, tokens: &[&str]) -> Vec<String> {
        let now = Clock::system().now();
        for token in tokens {
            let token = NamedToken {
                owner: Owner::parse("cluster/team/app/uid").unwrap(),
                token_id: TokenId::parse(token).unwrap(),
                base_url: PLATFORM.into(),
                user_id: None,
            };
            let (hash, before) = (None, None);
            let owed = OwedToken {
                token,
                hash,
                before,
            };
            ledger.keep(Entry::Owed(owed), now);
        }
        ledger.lock().known.keys().cloned().collect()
    }

    #[test]
    fn every_entry_of_a_silent_platform_gets_its_turn_however_many_wait_again() {
        let ledger = Ledger::new("ours".into(), "cluster".into());
        let names = owe(&ledger, &["a", "b", "c", "d"]);
        let (silent, mut now) = (BTreeSet::from([PLATFORM.into()]), Clock::system().now());
        assert_eq!(ledger.due("cluster", &BTreeSet::new(), now), names);
        let mut tried = Vec::new();
        for _ in 0..8 {
            let due = ledger.due("cluster", &silent, now);
            let [one] = &*due else {
                panic!("one at a time: {due:?}");
            };
            assert!(ledger.has_its_turn(PLATFORM, one));
            ledger.tries.note(one, true, SLOWEST, now);
            tried.push(one.clone());
            // None waits any more.
            now.elapsed += Duration::from_mins(6);
        }
        assert_eq!(tried, [names.clone(), names].concat());
    }

    #[tokio::test]
    async fn what_is_owed_is_tried_every_five_minutes_and_at_once_when_a_silence_ends() {
        let nobody = tower::service_fn(|_: http::Request<Body>| async {
            std::future::pending::<kube::Result<http::Response<Body>>>().await
        });
        let settings = Settings {
            platforms: Platforms::new([], |_| unreachable!("nobody asks")),
            concurrency: 1,
            served: Served::Everywhere,
            namespace: "ours".into(),
            instance: "test".into(),
            clock: Clock::system(),
            fresh: Box::new(AttemptId::fresh),
        };
        let client = Client::new(nobody, "default");
        let operator = Operator::new(client, "cluster".into(), settings, Arc::default()).0;
        let context = &*operator.context;
        let (ledger, nobody_is_silent) = (&context.ledger, BTreeSet::new());
        let names = owe(ledger, &["a", "b", "c"]);
        let now = context.clock.now();
        for name in names.iter().cycle().take(60) {
            ledger.tries.note(name, true, SLOWEST, now);
        }
        let due = |minutes| {
            let mut then = now;
            then.elapsed += Duration::from_mins(minutes);
            ledger.due("cluster", &nobody_is_silent, then)
        };
        assert_eq!((due(4), due(5)), (vec![], names.clone()));
        context.hear(PLATFORM, true);
        assert!(due(1).is_empty(), "it was not silent");
        context.hear(PLATFORM, false);
        assert!(due(1).is_empty(), "it is silent");
        context.hear("https://another", true);
        assert!(due(1).is_empty(), "another one");
        context.hear(PLATFORM, true);
        assert_eq!(due(1), names);
        // It falls silent before the first is tried: not even the API server is asked, which never answers.
        context.hear(PLATFORM, false);
        for name in &names {
            let paid = operator.pay(name).now_or_never();
            assert!(paid.is_some(), "it is tried though nobody answers");
        }
        let now = context.clock.now();
        let turn = &ledger.due("cluster", &context.silences.all(), now)[0];
        assert!(
            operator.pay(turn).now_or_never().is_none(),
            "nobody is tried"
        );
    }
}
