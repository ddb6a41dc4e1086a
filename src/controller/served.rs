//! The namespaces that the operator serves.

use std::collections::BTreeSet;

/// The namespaces whose PlatformTokens and PlatformAccounts are served. Those of others are known, since what they name
/// is claimed, and are left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Served {
    /// All of them.
    #[default]
    Everywhere,
    /// These alone. Secrets are reached by a Role in each of them.
    Only(BTreeSet<String>),
}

impl Served {
    /// These namespaces; all of them if none is named.
    #[must_use]
    pub fn these(namespaces: impl IntoIterator<Item = String>) -> Self {
        let namespaces: BTreeSet<String> = namespaces.into_iter().collect();
        if namespaces.is_empty() {
            Self::Everywhere
        } else {
            Self::Only(namespaces)
        }
    }

    /// Whether what is in this namespace is served. What is in none is.
    #[must_use]
    pub fn covers(&self, namespace: Option<&str>) -> bool {
        match (self, namespace) {
            (Self::Everywhere, _) | (_, None) => true,
            (Self::Only(namespaces), Some(namespace)) => namespaces.contains(namespace),
        }
    }

    /// Where Secrets are listed and watched: each in a namespace, or once in all of them.
    #[must_use]
    pub fn watches(&self) -> Vec<Option<String>> {
        match self {
            Self::Everywhere => vec![None],
            Self::Only(namespaces) => namespaces.iter().cloned().map(Some).collect(),
        }
    }

    /// Whether our finalizer goes on generated Secrets. A Role goes before them when its namespace is deleted, and nobody
    /// could lift it then.
    #[must_use]
    pub fn holds_secrets(&self) -> bool {
        matches!(self, Self::Everywhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_served_and_nothing_else() {
        let some = Served::these(["a".to_owned(), "b".to_owned(), "a".to_owned()]);
        assert!(some.covers(Some("a")) && !some.covers(Some("c")) && some.covers(None));
        assert_eq!(some.watches(), [Some("a".to_owned()), Some("b".to_owned())]);
        assert!(!some.holds_secrets());
        let all = Served::these([]);
        assert!(all.covers(Some("c")) && all.holds_secrets());
        assert_eq!(all.watches(), [None]);
    }
}
