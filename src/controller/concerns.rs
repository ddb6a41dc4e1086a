//! Which changes of PlatformTokens are worth a look: those of what concerns the operator, of which its own status writes
//! are few. What a list brings is looked at when the list is complete, so that what waits for a look does not lie between
//! what stays.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;

use super::Operator;
use super::tokens::Watched;

/// What concerned the operator of each PlatformToken when it was last seen. Two that should have the same key are looked
/// at too often.
pub(super) struct Concerns {
    seen: HashMap<u64, u64>,
    tokens: Store<Watched>,
}

impl Concerns {
    /// Nothing was seen yet; `tokens` takes in each event before this does.
    pub(super) fn new(tokens: Store<Watched>) -> Self {
        Self {
            seen: HashMap::new(),
            tokens,
        }
    }

    /// The PlatformTokens to look at.
    pub(super) fn see(&mut self, event: &Event<Watched>) -> Vec<ObjectRef<Watched>> {
        match event {
            Event::Init | Event::InitApply(_) => Vec::new(),
            Event::InitDone => {
                let all = self.tokens.state();
                let now: HashMap<u64, u64> = all
                    .iter()
                    .map(|token| (key(token), Operator::concern(token)))
                    .collect();
                let before = std::mem::replace(&mut self.seen, now);
                let changed = all.iter().filter(|token| {
                    let key = key(token);
                    before.get(&key) != self.seen.get(&key)
                });
                changed.map(|token| reference(token)).collect()
            }
            Event::Apply(token) => {
                let now = Operator::concern(token);
                let changed = self.seen.insert(key(token), now) != Some(now);
                changed.then(|| reference(token)).into_iter().collect()
            }
            Event::Delete(token) => {
                self.seen.remove(&key(token));
                Vec::new()
            }
        }
    }
}

/// An object of the same name may be another one.
fn key(token: &Watched) -> u64 {
    let metadata = token.meta();
    let mut hasher = DefaultHasher::new();
    (&metadata.namespace, &metadata.name, &metadata.uid).hash(&mut hasher);
    hasher.finish()
}

/// No more than what finds it.
fn reference(token: &Watched) -> ObjectRef<Watched> {
    let metadata = token.meta();
    let reference = ObjectRef::new(metadata.name.as_deref().unwrap_or_default());
    reference.within(metadata.namespace.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use kube::runtime::reflector;

    use super::*;
    use crate::api::{PlatformToken, PlatformTokenSpec};

    fn token(name: &str, uid: &str, generation: i64, version: &str) -> Watched {
        let mut token = PlatformToken::new(name, PlatformTokenSpec::default());
        token.metadata.namespace = Some("ns".into());
        token.metadata.uid = Some(uid.into());
        token.metadata.generation = Some(generation);
        token.metadata.resource_version = Some(version.into());
        DeserializeGuard(Ok(token))
    }

    #[test]
    fn a_change_is_looked_at_once_and_only_if_it_concerns_us() {
        let (reader, mut writer) = reflector::store();
        let mut concerns = Concerns::new(reader);
        for (event, looked_at) in [
            (Event::Init, vec![]),
            (Event::InitApply(token("a", "1", 1, "1")), vec![]),
            (Event::InitApply(token("b", "2", 1, "2")), vec![]),
            (Event::InitDone, vec!["a", "b"]),
            (Event::Apply(token("a", "1", 1, "3")), vec![]),
            (Event::Apply(token("a", "1", 2, "4")), vec!["a"]),
            (Event::Apply(token("c", "3", 1, "5")), vec!["c"]),
            // Deleted and created anew.
            (Event::Delete(token("b", "2", 1, "6")), vec![]),
            (Event::Apply(token("b", "4", 1, "7")), vec!["b"]),
            // A watch that was cut off begins anew: a has changed meanwhile, c is another one, and b is gone.
            (Event::Init, vec![]),
            (Event::InitApply(token("a", "1", 3, "8")), vec![]),
            (Event::InitApply(token("c", "5", 1, "9")), vec![]),
            (Event::InitApply(token("d", "6", 1, "9")), vec![]),
            (Event::InitDone, vec!["a", "c", "d"]),
            (Event::Init, vec![]),
            (Event::InitApply(token("d", "6", 1, "9")), vec![]),
            (Event::InitDone, vec![]),
            (Event::Apply(token("a", "1", 3, "9")), vec!["a"]),
        ] {
            writer.apply_watcher_event(&event);
            let mut names: Vec<String> = concerns
                .see(&event)
                .into_iter()
                .map(|token| token.name)
                .collect();
            names.sort();
            assert_eq!(names, looked_at, "{event:?}");
        }
    }
}
