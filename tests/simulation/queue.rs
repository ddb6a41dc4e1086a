//! What a process has to look at, and when: as kube-runtime's scheduler has it. Of several times for one object the
//! earliest counts, and no object is looked at twice at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use platform_token_operator::api::AccountKey;
use tokio::time::Instant;

/// One object to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Item {
    Account(AccountKey),
    /// Namespace and name.
    Token(String, String),
    /// A Secret without a PlatformToken: namespace and name.
    Orphan(String, String),
    /// An entry of the ledger.
    Entry(String),
}

/// A wait that only asks an account from time to time whether all is well; whoever waits shorter is up to something.
pub(crate) const RESYNC: Duration = Duration::from_mins(6);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// When each is due, and how long the wait was.
    due: BTreeMap<Item, (Instant, Duration)>,
    running: BTreeSet<Item>,
    /// Due while it is running: to be run again after that.
    held: BTreeSet<Item>,
}

impl Queue {
    /// Have this looked at now.
    pub(crate) fn wake(&mut self, item: Item) {
        self.after(item, Duration::ZERO);
    }

    /// Have this looked at after a wait, unless it is to be looked at earlier.
    pub(crate) fn after(&mut self, item: Item, wait: Duration) {
        if self.held.contains(&item) {
            return;
        }
        let at = Instant::now() + wait;
        let entry = self.due.entry(item).or_insert((at, wait));
        if at <= entry.0 {
            *entry = (at, wait);
        }
    }

    /// When the next one is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.values().map(|(at, _)| *at).min()
    }

    /// Takes what is due now and not running already.
    pub(crate) fn start(&mut self) -> Vec<Item> {
        let now = Instant::now();
        let due: Vec<Item> = self
            .due
            .extract_if(.., |_, (at, _)| *at <= now)
            .map(|(item, _)| item)
            .collect();
        let mut started = Vec::new();
        for item in due {
            if self.running.insert(item.clone()) {
                started.push(item);
            } else {
                self.held.insert(item);
            }
        }
        started
    }

    /// It has been looked at.
    pub(crate) fn finish(&mut self, item: &Item, wait: Option<Duration>) {
        self.running.remove(item);
        if self.held.remove(item) {
            self.wake(item.clone());
        } else if let Some(wait) = wait {
            self.after(item.clone(), wait);
        }
    }

    /// Nothing runs, and nothing is due but accounts that are well.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.running.is_empty() && self.due.values().all(|(_, wait)| *wait >= RESYNC)
    }
}
