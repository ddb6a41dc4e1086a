//! What the watches tell of credentials Secrets: whether a proof has read one as it is now.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::controller::kubernetes::version;

/// Namespace and name of a credentials Secret.
pub(in crate::controller) type SecretName = (String, String);

/// What was last told of each Secret that is watched. It outlives what is known of an account: a proof may have read the
/// Secret before it changed, and end after.
#[derive(Default)]
pub(super) struct Changes(Mutex<HashMap<SecretName, Change>>);

/// How a Secret is.
#[derive(Clone)]
enum Change {
    /// It has this resourceVersion.
    Is(String),
    /// It is gone.
    Gone,
}

impl Changes {
    /// A Secret has this resourceVersion now, or is gone.
    pub(super) fn tell(&self, secret: SecretName, resource_version: Option<&String>) {
        let change = resource_version.cloned().map_or(Change::Gone, Change::Is);
        self.lock().insert(secret, change);
    }

    /// Nobody watches it any more.
    pub(super) fn forget(&self, secret: &SecretName) {
        self.lock().remove(secret);
    }

    /// Whether whoever read this state of a Secret, if it was there, has not seen how it is now.
    pub(super) fn are_news(&self, secret: &SecretName, read: Option<&String>) -> bool {
        match self.lock().get(secret) {
            Some(Change::Is(now)) => version(Some(now)) > version(read),
            Some(Change::Gone) => read.is_some(),
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SecretName, Change>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_not_read_is_news() {
        let secret = ("ns".to_owned(), "name".to_owned());
        let changes = Changes::default();
        let text = |version: u32| version.to_string();
        for (told, read, expected) in [
            (None, Some(7), false),
            (Some(Some(7)), Some(7), false),
            (Some(Some(8)), Some(7), true),
            (Some(Some(8)), None, true),
            (Some(Some(8)), Some(9), false),
            (Some(None), Some(9), true),
            (Some(None), None, false),
        ] {
            if let Some(version) = told {
                changes.tell(secret.clone(), version.map(text).as_ref());
            }
            let news = changes.are_news(&secret, read.map(text).as_ref());
            assert_eq!(news, expected, "{told:?} {read:?}");
        }
        changes.forget(&secret);
        assert!(!changes.are_news(&secret, Some(&text(1))));
    }
}
