//! The labels of namespaces, as the watch has them: what an account with a selector judges them by.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Namespace;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

use crate::plan::Labels;

/// The namespaces of the cluster.
#[derive(Default)]
pub(super) struct NamespaceIndex(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    labels: HashMap<String, Labels>,
    /// What a list in progress has brought so far; whatever else is known is gone when it ends.
    listing: Option<HashSet<String>>,
}

impl NamespaceIndex {
    /// Takes in one event of the watch; the namespace whose labels have changed with it. One that is gone wakes nobody:
    /// whatever was in it went first.
    pub(super) fn apply(&self, event: &Event<PartialObjectMeta<Namespace>>) -> Option<String> {
        let mut inner = self.lock();
        match event {
            Event::Init => inner.listing = Some(HashSet::new()),
            Event::InitApply(namespace) | Event::Apply(namespace) => return inner.put(namespace),
            Event::Delete(namespace) => {
                inner.labels.remove(&name_of(namespace));
            }
            Event::InitDone => {
                let listed = inner.listing.take().unwrap_or_default();
                inner.labels.retain(|name, _| listed.contains(name));
            }
        }
        None
    }

    /// The labels of a namespace; none if it was not seen.
    pub(super) fn labels(&self, namespace: &str) -> Option<Labels> {
        self.lock().labels.get(namespace).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn put(&mut self, namespace: &PartialObjectMeta<Namespace>) -> Option<String> {
        let name = name_of(namespace);
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        if let Some(listing) = &mut self.listing {
            listing.insert(name.clone());
        }
        let former = self.labels.insert(name.clone(), labels.clone());
        (former.as_ref() != Some(&labels)).then_some(name)
    }
}

fn name_of(namespace: &PartialObjectMeta<Namespace>) -> String {
    namespace.metadata.name.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str, team: &str) -> PartialObjectMeta<Namespace> {
        let mut namespace = PartialObjectMeta::default();
        namespace.metadata.name = Some(name.into());
        namespace.metadata.labels = Some([("team".into(), team.into())].into());
        namespace
    }

    #[test]
    fn only_other_labels_are_a_change_and_what_a_new_list_lacks_is_not_known_any_more() {
        let index = NamespaceIndex::default();
        assert_eq!(index.labels("a"), None);
        let apply = |team| index.apply(&Event::Apply(namespace("a", team)));
        assert_eq!(apply("x"), Some("a".into()));
        assert_eq!(apply("x"), None);
        assert_eq!(apply("y"), Some("a".into()));
        assert_eq!(
            index.labels("a"),
            Some([("team".into(), "y".into())].into())
        );
        index.apply(&Event::Init);
        index.apply(&Event::InitApply(namespace("b", "z")));
        assert!(index.labels("a").is_some(), "the list is not complete yet");
        index.apply(&Event::InitDone);
        assert_eq!(index.labels("a"), None);
        assert!(index.labels("b").is_some());
        index.apply(&Event::Delete(namespace("b", "z")));
        assert_eq!(index.labels("b"), None);
    }
}
