//! Which platforms did not answer when they were last asked, so that not every deletion finds that out anew.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Base URLs.
#[derive(Default)]
pub(super) struct Silences(Mutex<BTreeSet<String>>);

impl Silences {
    /// A platform answered a call, or it did not.
    pub(super) fn note(&self, base_url: &str, answered: bool) {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            silent.remove(base_url);
        } else if !silent.contains(base_url) {
            silent.insert(base_url.to_owned());
        }
    }

    pub(super) fn all(&self) -> BTreeSet<String> {
        let silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.clone()
    }
}
