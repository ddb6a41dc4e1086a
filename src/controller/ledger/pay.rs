//! How entries are paid: each by the rules of a PlatformToken that is gone and owes one thing.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Secret;
use tracing::Instrument;

use super::Known;
use super::live::delete;
use crate::api::{Entry, TokenValue, names};
use crate::controller::Operator;
use crate::controller::execute::Executor;
use crate::controller::kubernetes::{KubeError, call_opt};
use crate::controller::memory;
use crate::controller::tokens::settle;
use crate::plan::{Snapshot, Verdict};

/// The wait of an entry that cannot be paid doubles so often: to a minute.
const SLOWEST: u32 = 6;

impl Operator {
    /// The names of the entries that can be paid: of a platform that does not answer, one. Found in memory.
    #[must_use]
    pub fn entries(&self) -> Vec<String> {
        let context = &self.context;
        if !context.accounts.are_known(&context.served) {
            // A credential that is not known yet might be the very token that is to be revoked.
            return Vec::new();
        }
        let (now, ledger) = (context.clock.now(), &context.ledger);
        let silent = context.silences.all();
        let mut asked = BTreeSet::new();
        let entries = ledger.lock();
        let due = entries.known.iter().filter(|(name, known)| {
            let ours = known.entry.owner().cluster == context.cluster;
            let released = matches!(known.entry, Entry::Released(_));
            ours && !released && !ledger.tries.waits(name, now)
        });
        let due = due.filter(|(_, known)| {
            let (base_url, _) = known.entry.account();
            !silent.contains(base_url) || asked.insert(base_url.to_owned())
        });
        due.map(|(name, _)| name.clone()).collect()
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
        let span = tracing::info_span!("ledger", name, owner = %known.entry.owner());
        let paid = self.settle_entry(name, &known).instrument(span.clone());
        let paid = paid.await;
        let _entered = span.enter();
        let again = ledger.tries.have_failed(name);
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
