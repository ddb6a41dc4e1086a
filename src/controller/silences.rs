//! Which platforms did not answer when they were last asked, so that not every deletion finds that out anew.
//! Every step and every proof of an account tells.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::Context;
use crate::api::Reason;
use crate::plan::Trouble;

/// Base URLs.
#[derive(Default)]
pub(super) struct Silences(Mutex<BTreeSet<String>>);

impl Silences {
    /// A platform answered a call, or it did not. Whether its silence ended.
    fn note(&self, base_url: &str, answered: bool) -> bool {
        let mut silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            return silent.remove(base_url);
        }
        if !silent.contains(base_url) {
            silent.insert(base_url.to_owned());
        }
        false
    }

    pub(super) fn all(&self) -> BTreeSet<String> {
        let silent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        silent.clone()
    }
}

impl Context {
    /// A platform answered a call, or it did not. What is owed to one that answers again is paid at once.
    pub(super) fn hear(&self, base_url: &str, answered: bool) {
        if self.silences.note(base_url, answered) {
            self.ledger.hasten(base_url, self.clock.now());
        }
    }
}

/// Whether the platform answered a call that failed; none if something else went wrong.
pub(super) fn answered(trouble: &Trouble) -> Option<bool> {
    match trouble.reason {
        Reason::Unreachable => Some(false),
        Reason::Unauthorized | Reason::Forbidden | Reason::Refused | Reason::BrokenAnswer => {
            Some(true)
        }
        _ => None,
    }
}
