//! What a process sees of the API server: each watch tells every change in order, but later than it happened. How much
//! later is chance.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::watcher::Event;
use platform_token_operator::api::names;
use serde_json::Value;
use tokio::time::Instant;

use super::apiserver::{Change, Kind};
use super::chance::Chance;
use super::world::{OWN_NAMESPACE, World};

/// What one watch is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every object of a kind.
    All(Kind),
    /// Generated Secrets, by their label.
    Generated,
    /// Entries of the ledger, by their label.
    Ledger,
    /// One Secret, by namespace and name.
    Secret(String, String),
}

impl Scope {
    fn covers(&self, namespace: &str, name: &str, kind: Kind, object: &Value) -> bool {
        match self {
            Self::All(all) => kind == *all,
            Self::Generated => {
                kind == Kind::Secret && object["metadata"]["labels"][names::MANAGED_LABEL] == "true"
            }
            Self::Ledger => {
                let label = &object["metadata"]["labels"][names::LEDGER_LABEL];
                kind == Kind::Secret && namespace == OWN_NAMESPACE && label.is_string()
            }
            Self::Secret(of, called) => kind == Kind::Secret && namespace == of && name == called,
        }
    }

    /// What a watch of this scope tells of a change.
    fn tell(&self, change: &Change) -> Option<Event<Arc<Value>>> {
        let key = &change.key;
        let covers = |object: &Value| self.covers(&key.namespace, &key.name, key.kind, object);
        let covered = change.before.as_ref().is_some_and(|before| covers(before));
        if !change.deleted && covers(&change.object) {
            Some(Event::Apply(change.object.clone()))
        } else if covered {
            Some(Event::Delete(change.object.clone()))
        } else {
            None
        }
    }
}

/// One watch of one process.
pub(crate) struct Watch {
    pub scope: Scope,
    chance: Chance,
    /// How many changes of the store it has looked at.
    seen: usize,
    /// The next event, and when it arrives.
    next: Option<(Instant, Event<Arc<Value>>)>,
    /// Events do not overtake each other.
    last: Instant,
}

/// Purpose of the chance that makes watches lag.
const LAG: u64 = 2;

impl Watch {
    /// Lists what there is, and watches from there. `stream` tells the watches of a run apart.
    pub(crate) fn begin(
        world: &World,
        scope: Scope,
        stream: &[u64],
    ) -> (Self, Vec<Event<Arc<Value>>>) {
        let store = world.store();
        let kind = match scope {
            Scope::All(kind) => kind,
            Scope::Generated | Scope::Ledger | Scope::Secret(..) => Kind::Secret,
        };
        let listed = store
            .all(kind)
            .filter(|(key, object)| scope.covers(&key.namespace, &key.name, key.kind, object))
            .map(|(_, object)| Event::InitApply(object.clone()));
        let events = std::iter::once(Event::Init)
            .chain(listed)
            .chain([Event::InitDone])
            .collect();
        let purpose: Vec<u64> = std::iter::once(LAG).chain(stream.iter().copied()).collect();
        let watch = Self {
            scope,
            chance: Chance::of(world.setup.seed, &purpose),
            seen: store.changes().len(),
            next: None,
            last: Instant::now(),
        };
        (watch, events)
    }

    /// When its next event arrives, if one is under way.
    pub(crate) fn due(&mut self, world: &World) -> Option<Instant> {
        if self.next.is_none() {
            let store = world.store();
            let told = store.changes()[self.seen..]
                .iter()
                .enumerate()
                .find_map(|(n, change)| Some((n, self.scope.tell(change)?)));
            match told {
                Some((skipped, event)) => {
                    self.seen += skipped + 1;
                    let lag = self
                        .chance
                        .between(Duration::from_millis(1), world.setup.lag);
                    self.last = self.last.max(Instant::now() + lag);
                    self.next = Some((self.last, event));
                }
                None => self.seen = store.changes().len(),
            }
        }
        self.next.as_ref().map(|(at, _)| *at)
    }

    /// The next event, if it has arrived.
    pub(crate) fn arrived(&mut self) -> Option<Event<Arc<Value>>> {
        let (_, event) = self.next.take_if(|(at, _)| *at <= Instant::now())?;
        Some(event)
    }
}
