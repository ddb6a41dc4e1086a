//! The ledger in the operator's own namespace. `live`: entries as they are read and written. `pay`: how they are paid. Here:
//! the index, which a watch fills.

mod live;
mod pay;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

pub(super) use self::live::standing;
use super::tries::Tries;
use super::{Context, Operator};
use crate::api::{AttemptAccount, AttemptId, Entry, TokenId};
use crate::plan::Moment;

/// An entry of our own that a list lacks may have been written while that was made.
const LISTED_WITHIN: Duration = Duration::from_mins(1);

/// What is known of the ledger, by the name of the entry.
pub(super) struct Ledger {
    /// The operator's own namespace.
    namespace: String,
    /// The cluster whose entries count: others came with a copy.
    cluster: String,
    entries: Mutex<Entries>,
    /// When the ledger was begun, as this process has seen it: the age of its mark.
    begun: Mutex<Option<Timestamp>>,
    tries: Tries,
    /// The entry of each platform whose turn it was last, while that was silent.
    turns: Mutex<BTreeMap<String, String>>,
}

/// The entries by name, and how many there are of each kind.
#[derive(Default)]
struct Entries {
    known: BTreeMap<String, Known>,
    counts: BTreeMap<&'static str, usize>,
}

/// An entry of the ledger, as `check` tells of it.
pub(crate) struct Written {
    /// The kind of the entry; `foreign` if it is another cluster's, or does not read.
    pub kind: &'static str,
    /// The token, or else the attempt or the entry.
    pub what: String,
    /// When it was written.
    pub since: Option<Timestamp>,
}

#[derive(Clone)]
struct Known {
    entry: Entry,
    /// When this process first saw it.
    seen: Moment,
    /// How often in a row the platform did not know its value.
    unknown: u32,
    /// The list that is being read has it.
    listed: bool,
}

impl Ledger {
    pub(super) fn new(namespace: String, cluster: String) -> Self {
        Self {
            namespace,
            cluster,
            entries: Mutex::default(),
            begun: Mutex::default(),
            tries: Tries::default(),
            turns: Mutex::default(),
        }
    }

    /// Where it is.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Takes in one event of the watch.
    fn apply(&self, event: &Event<PartialObjectMeta<Secret>>, now: Moment) {
        match event {
            Event::Init => {
                let mut entries = self.lock();
                let known = entries.known.values_mut();
                known.for_each(|known| known.listed = false);
            }
            Event::Apply(secret) | Event::InitApply(secret) => self.put(&secret.metadata, now),
            Event::Delete(secret) => self.strike(secret.metadata.name.as_deref()),
            Event::InitDone => self
                .lock()
                .retain(|known| known.listed || now.elapsed < known.seen.elapsed + LISTED_WITHIN),
        }
    }

    fn put(&self, metadata: &ObjectMeta, now: Moment) {
        match Entry::parse(metadata) {
            Ok(entry) if entry.owner().cluster == self.cluster => self.keep(entry, now),
            Ok(_) => {}
            Err(malformed) => {
                let name = metadata.name.as_deref().unwrap_or_default();
                tracing::warn!(name, %malformed, "an entry of the ledger was edited, and is left alone");
            }
        }
    }

    fn keep(&self, entry: Entry, now: Moment) {
        let mut entries = self.lock();
        let former = entries.remove(&entry.name());
        let (seen, unknown) = former.map_or((now, 0), |former| (former.seen, former.unknown));
        entries.insert(Known {
            entry,
            seen,
            unknown,
            listed: true,
        });
    }

    /// The platform did not know the value of an entry, or it did.
    fn note_unknown(&self, name: &str, unknown: bool) {
        if let Some(known) = self.lock().known.get_mut(name) {
            known.unknown = if unknown {
                known.unknown.saturating_add(1)
            } else {
                0
            };
        }
    }

    fn strike(&self, name: Option<&str>) {
        self.lock().remove(name.unwrap_or_default());
    }

    /// When the ledger was begun, as far as that is known.
    pub(super) fn begun(&self) -> Option<Timestamp> {
        *self.mark()
    }

    fn mark(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many entries there are of each kind.
    pub(super) fn counts(&self) -> BTreeMap<&'static str, usize> {
        let mut counts: BTreeMap<_, _> = Entry::KINDS.into_iter().map(|kind| (kind, 0)).collect();
        counts.extend(&self.lock().counts);
        counts
    }

    /// Every token that an entry names.
    pub(super) fn token_ids(&self) -> Vec<TokenId> {
        let entries = self.lock();
        let known = entries.known.values();
        let ids = known.filter_map(|known| known.entry.token_id());
        ids.cloned().collect()
    }

    /// The attempts that may have made a token, and the account of each.
    pub(super) fn attempts(&self) -> Vec<(AttemptId, AttemptAccount)> {
        let entries = self.lock();
        let attempts = entries
            .known
            .values()
            .filter_map(|known| match &known.entry {
                Entry::Unresolved(attempt) => {
                    Some((attempt.at.id.clone(), attempt.account.clone()))
                }
                _ => None,
            });
        attempts.collect()
    }

    /// Whether this token is to be revoked.
    pub(super) fn owes(&self, base_url: &str, token_id: &TokenId) -> bool {
        let known = self.get(&Entry::name_of(base_url, token_id));
        known.is_some_and(|known| matches!(known.entry, Entry::Owed(_)))
    }

    fn get(&self, name: &str) -> Option<Known> {
        self.lock().known.get(name).cloned()
    }

    fn secrets(&self, context: &Context) -> Api<Secret> {
        Api::namespaced(context.client.clone(), &self.namespace)
    }

    fn turns(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entries {
    fn insert(&mut self, known: Known) {
        *self.counts.entry(known.entry.kind()).or_default() += 1;
        self.known.insert(known.entry.name(), known);
    }

    fn remove(&mut self, name: &str) -> Option<Known> {
        let removed = self.known.remove(name)?;
        *self.counts.entry(removed.entry.kind()).or_default() -= 1;
        Some(removed)
    }

    fn retain(&mut self, stays: impl Fn(&Known) -> bool) {
        let gone = self.known.extract_if(.., |_, known| !stays(known));
        for (_, gone) in gone {
            *self.counts.entry(gone.entry.kind()).or_default() -= 1;
        }
    }
}

impl Operator {
    /// Takes in one event of the watch of the ledger.
    pub fn see_entry(&self, event: &Event<PartialObjectMeta<Secret>>) {
        let context = &self.context;
        context.ledger.apply(event, context.clock.now());
        context.telemetry.ledger(&context.ledger.counts());
    }
}
