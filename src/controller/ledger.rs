//! The ledger in the operator's own namespace: an index of its entries, writing one, and paying it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;
use serde_json::json;
use tracing::Instrument;

use super::execute::Executor;
use super::kubernetes::{KubeError, call, call_opt, each};
use super::memory;
use super::tokens::settle;
use super::tries::Tries;
use super::trouble::of_ledger;
use super::{Context, Operator};
use crate::api::{AttemptAccount, AttemptId, Entry, TokenId, TokenValue, names};
use crate::plan::{Moment, Outcome, Snapshot, Verdict, takes_the_place};

/// The wait of an entry that cannot be paid doubles so often: to a minute.
const SLOWEST: u32 = 6;

/// An entry of our own that a list lacks may have been written while that was made.
const LISTED_WITHIN: Duration = Duration::from_mins(1);

/// What is known of the ledger, by the name of the entry.
pub(super) struct Ledger {
    /// The operator's own namespace.
    namespace: String,
    entries: Mutex<Entries>,
    /// When the ledger was begun, as this process has seen it: the age of its mark.
    begun: Mutex<Option<Timestamp>>,
    tries: Tries,
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
    /// The list that is being read has it.
    listed: bool,
}

impl Ledger {
    pub(super) fn new(namespace: String) -> Self {
        Self {
            namespace,
            entries: Mutex::default(),
            begun: Mutex::default(),
            tries: Tries::default(),
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
            Ok(entry) => self.keep(entry, now),
            Err(malformed) => {
                let name = metadata.name.as_deref().unwrap_or_default();
                tracing::warn!(name, %malformed, "an entry of the ledger was edited, and is left alone");
            }
        }
    }

    fn keep(&self, entry: Entry, now: Moment) {
        let mut entries = self.lock();
        let former = entries.remove(&entry.name());
        let seen = former.map_or(now, |former| former.seen);
        entries.insert(Known {
            entry,
            seen,
            listed: true,
        });
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

impl Executor<'_> {
    /// Writes an entry, unless there is one that says as much.
    pub(super) async fn record(&self, entry: &Entry, value: Option<&TokenValue>) -> Outcome {
        match write(self.context, entry, value).await {
            Ok(written) => {
                let ledger = &self.context.ledger;
                if written {
                    ledger.keep(entry.clone(), self.context.clock.now());
                }
                self.context.telemetry.ledger(&ledger.counts());
                Outcome::Recorded
            }
            Err(KubeError::Conflict(_)) => Outcome::Stale,
            Err(error) => Outcome::Failed(of_ledger(&self.context.ledger.namespace, &error)),
        }
    }

    /// Strikes the entry that says that a token is released, if there is one. What is owed stays.
    pub(super) async fn strike(&self, base_url: &str, token_id: &TokenId) -> Outcome {
        let context = self.context;
        let ledger = &context.ledger;
        let struck = async {
            let Some((secret, entry)) = standing(context, base_url, token_id).await? else {
                return Ok(Outcome::Struck);
            };
            if matches!(entry, Entry::Owed(_)) {
                return Ok(Outcome::Owed);
            }
            delete(context, &secret.metadata).await?;
            context.telemetry.ledger(&ledger.counts());
            Ok(Outcome::Struck)
        };
        match struck.await {
            Ok(outcome) => outcome,
            Err(KubeError::Conflict(_)) => Outcome::Stale,
            Err(error) => Outcome::Failed(of_ledger(&ledger.namespace, &error)),
        }
    }
}

impl Context {
    /// Writes an entry unless its token has one: whatever that says stays. What we owe is paid from then on.
    pub(super) async fn owe(&self, entry: &Entry) -> Result<(), KubeError> {
        let ledger = &self.ledger;
        let secret = entry.secret(&ledger.namespace, None);
        match call(ledger.secrets(self).create(&creating(), &secret)).await {
            Ok(_) => {
                ledger.keep(entry.clone(), self.clock.now());
                self.telemetry.ledger(&ledger.counts());
                Ok(())
            }
            Err(KubeError::AlreadyExists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Sees to it that the ledger has its mark, which is as old as the ledger: what is older than that, nobody may have
    /// written down. If that fails, nothing is swept.
    pub(super) async fn mark_ledger(&self) {
        let ledger = &self.ledger;
        if ledger.begun().is_some() {
            return;
        }
        let mark = Secret {
            metadata: ObjectMeta {
                name: Some(names::LEDGER_MARK.into()),
                namespace: Some(ledger.namespace.clone()),
                labels: Some([(names::MANAGED_BY_LABEL.into(), names::OPERATOR.into())].into()),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".into()),
            ..Secret::default()
        };
        let begun = match call(ledger.secrets(self).create(&creating(), &mark)).await {
            Ok(mark) => Ok(begun_of(&mark.metadata)),
            Err(KubeError::AlreadyExists(_)) => self.ledger_begun().await,
            Err(error) => Err(error),
        };
        match begun {
            Ok(begun) => *ledger.mark() = begun,
            Err(error) => {
                let namespace = &ledger.namespace;
                tracing::warn!(%error, namespace, "the ledger could not be begun, and nothing is swept");
            }
        }
    }

    /// When the ledger was begun, read live; none: it has no mark.
    pub(super) async fn ledger_begun(&self) -> Result<Option<Timestamp>, KubeError> {
        let secrets = self.ledger.secrets(self);
        let mark = call_opt(secrets.get_metadata(names::LEDGER_MARK)).await?;
        Ok(mark.and_then(|mark| begun_of(&mark.metadata)))
    }

    /// Every Secret of the ledger, read live.
    pub(super) async fn each_of_ledger(
        &self,
        mut see: impl FnMut(ObjectMeta),
    ) -> Result<(), KubeError> {
        let secrets = self.ledger.secrets(self);
        let list = |scope| async {
            let scope = scope;
            secrets.list_metadata(&scope).await
        };
        let scope = ListParams::default().labels(names::LEDGER_LABEL);
        each(scope, list, |secret: PartialObjectMeta<Secret>| {
            see(secret.metadata);
        })
        .await
    }
}

/// The age of a mark that is ours: the API server gave it, so that no backup brings back an old one.
fn begun_of(mark: &ObjectMeta) -> Option<Timestamp> {
    let maker = mark.labels.as_ref()?.get(names::MANAGED_BY_LABEL)?;
    let begun = mark.creation_timestamp.as_ref().map(|at| at.0);
    begun.filter(|_| maker == names::OPERATOR)
}

/// What the ledger says of a token, read live. An entry of another cluster came with a copy of the namespace and says
/// nothing.
pub(super) async fn standing(
    context: &Context,
    base_url: &str,
    token_id: &TokenId,
) -> Result<Option<(Secret, Entry)>, KubeError> {
    let name = Entry::name_of(base_url, token_id);
    let secret = call_opt(context.ledger.secrets(context).get(&name)).await?;
    let read = |secret: Secret| Some((Entry::parse(&secret.metadata).ok()?, secret));
    let standing = secret.and_then(read);
    let ours = standing.filter(|(entry, _)| entry.owner().cluster == context.cluster);
    Ok(ours.map(|(entry, secret)| (secret, entry)))
}

/// Deletes exactly this entry.
async fn delete(context: &Context, metadata: &ObjectMeta) -> Result<(), KubeError> {
    let name = metadata.name.as_deref().unwrap_or_default();
    let exactly = Preconditions {
        uid: metadata.uid.clone(),
        resource_version: metadata.resource_version.clone(),
    };
    let parameters = DeleteParams {
        preconditions: Some(exactly),
        ..DeleteParams::default()
    };
    match call(context.ledger.secrets(context).delete(name, &parameters)).await {
        Ok(_) | Err(KubeError::NotFound(_)) => {
            context.ledger.strike(Some(name));
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// Whether it was written.
async fn write(
    context: &Context,
    entry: &Entry,
    value: Option<&TokenValue>,
) -> Result<bool, KubeError> {
    let ledger = &context.ledger;
    let secrets = ledger.secrets(context);
    let secret = entry.secret(&ledger.namespace, value);
    let name = entry.name();
    match call(secrets.create(&creating(), &secret)).await {
        Err(KubeError::AlreadyExists(_)) => {}
        created => return created.map(|_| true),
    }
    let old = call(secrets.get(&name)).await?;
    let former = Entry::parse(&old.metadata).ok();
    let valued = old.data.as_ref().is_some_and(|data| !data.is_empty());
    if !takes_the_place((entry, value.is_some()), (former.as_ref(), valued)) {
        return Ok(false);
    }
    let patch = json!({
        "metadata": {
            "uid": old.metadata.uid,
            "resourceVersion": old.metadata.resource_version,
            "labels": secret.metadata.labels,
            "annotations": secret.metadata.annotations,
        },
        "data": secret.data,
    });
    call(secrets.patch(&name, &PatchParams::default(), &Patch::Merge(patch))).await?;
    Ok(true)
}

fn creating() -> PostParams {
    PostParams {
        field_manager: Some(names::OPERATOR.into()),
        ..PostParams::default()
    }
}

impl Operator {
    /// Takes in one event of the watch of the ledger.
    pub fn see_entry(&self, event: &Event<PartialObjectMeta<Secret>>) {
        let context = &self.context;
        context.ledger.apply(event, context.clock.now());
        context.telemetry.ledger(&context.ledger.counts());
    }

    /// Every entry, read live.
    pub(crate) async fn written_down(&self) -> Result<Vec<Written>, KubeError> {
        let context = &*self.context;
        let mut written = Vec::new();
        let see = |metadata: ObjectMeta| {
            let entry = Entry::parse(&metadata).ok();
            let ours = entry.filter(|entry| entry.owner().cluster == context.cluster);
            let since = metadata.creation_timestamp.map(|at| at.0);
            let name = metadata.name.unwrap_or_default();
            written.push(Written {
                kind: ours.as_ref().map_or("foreign", Entry::kind),
                what: match &ours {
                    Some(Entry::Unresolved(attempt)) => attempt.at.id.to_string(),
                    Some(entry) => entry.token_id().map_or(name, ToString::to_string),
                    None => name,
                },
                since,
            });
        };
        context.each_of_ledger(see).await?;
        Ok(written)
    }

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
        let paid = self.settle_entry(name, known.seen).instrument(span.clone());
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

    async fn settle_entry(&self, name: &str, seen: Moment) -> Result<Verdict, KubeError> {
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
        let (base_url, user) = entry.account();
        let (account, session) = context.accounts.of_user(base_url, user);
        let credentials = context.accounts.credentials();
        let value = value_of(&secret);
        let mut snapshot = Snapshot::of_entry(&entry, value, account, credentials, seen);
        let mut written = memory::Written::default();
        let mut executor = Executor {
            context,
            session,
            slot: None,
            written: &mut written,
        };
        let settled = settle(&mut executor, &mut snapshot).await;
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
