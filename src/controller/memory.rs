//! What outlives a run, for each PlatformToken.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::Store;

use super::secrets::Cached;
use super::tokens::Watched;
use crate::plan::{AccountFacts, Admission, Memory, Missing, Moment};

/// How long a cache may lag behind our own writes before it is believed all the same.
const BELIEVE_CACHE_AFTER: Duration = Duration::from_secs(20);

/// How long a cache may take to show our own writes at all.
const WAIT_FOR_CACHE: Duration = Duration::from_mins(10);

/// One memory per uid of a PlatformToken.
#[derive(Default)]
pub(super) struct Memories {
    remembered: Mutex<HashMap<String, Remembered>>,
    /// Those that a run is under way for.
    under_way: Mutex<HashSet<String>>,
    /// When the last ones that need us no more went.
    gone: Mutex<HashMap<String, Duration>>,
}

/// A run for one PlatformToken, until it is dropped.
pub(super) struct UnderWay<'a> {
    memories: &'a Memories,
    uid: String,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.memories.all_under_way().remove(&self.uid);
    }
}

/// What is remembered of one PlatformToken.
#[derive(Default)]
pub(super) struct Remembered {
    /// What the rules remember, if anything.
    pub rules: Option<Box<Memory>>,
    /// Our own last writes, so that a cache that has not seen them is not acted upon.
    pub written: Written,
    /// Status writes that failed, in a row.
    pub unwritten: u32,
    /// A run ended in trouble: until when it is not to be tried again.
    pub pause: Option<Box<Pause>>,
}

/// A wait that our own writes, which wake us as well, do not cut short. Whatever else changes does.
#[derive(PartialEq, Eq)]
pub(super) struct Pause {
    /// On the monotonic clock.
    pub until: Duration,
    /// What the run rested on.
    pub basis: Basis,
}

/// What a run rests on, as far as caches tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Basis {
    /// resourceVersion of the PlatformToken, our own last write included.
    pub token: u64,
    /// Its account.
    pub account: AccountFacts,
    /// Whether it may have a new token of that.
    pub admission: Admission,
    /// Its Secrets, by name.
    pub secrets: BTreeMap<String, Cached>,
    /// What its account's last stock lacked of it.
    pub missing: Option<Missing>,
}

impl Remembered {
    /// How long to wait still, if nothing has changed since the last run.
    pub(super) fn pause(&self, basis: &Basis, now: Moment) -> Option<Duration> {
        let pause = self.pause.as_ref().filter(|pause| pause.basis == *basis)?;
        pause
            .until
            .checked_sub(now.elapsed)
            .filter(|left| !left.is_zero())
    }
}

/// resourceVersions of our own last writes.
#[derive(Default, Clone, Copy)]
pub(super) struct Written {
    /// Of the PlatformToken.
    pub token: u64,
    /// Of any Secret of it.
    pub secret: u64,
    /// When, on the monotonic clock.
    at: Duration,
}

impl Written {
    /// Notes a write of the PlatformToken.
    pub(super) fn token(&mut self, version: u64, now: Moment) {
        self.token = self.token.max(version);
        self.at = now.elapsed;
    }

    /// Notes a write of a Secret.
    pub(super) fn secret(&mut self, version: u64, now: Moment) {
        self.secret = self.secret.max(version);
        self.at = now.elapsed;
    }

    /// Whether caches that have seen these versions lag behind what we wrote, and may catch up still: a Secret that lost
    /// its labels never shows.
    pub(super) fn is_ahead(&self, token: u64, secret: u64, now: Moment) -> bool {
        let lags = token < self.token || secret < self.secret;
        lags && now.elapsed.saturating_sub(self.at) < WAIT_FOR_CACHE
    }

    /// Whether they are to be waited for. Not for ever: a watch may have missed
    /// the event, and every rule that matters rests on live reads and compare-and-swap anyway.
    pub(super) fn outruns(&self, token: u64, secret: u64, now: Moment) -> bool {
        self.is_ahead(token, secret, now)
            && now.elapsed.saturating_sub(self.at) < BELIEVE_CACHE_AFTER
    }
}

impl Memories {
    /// Notes that a run begins. Never two at once for the same PlatformToken.
    pub(super) fn begin(&self, uid: &str) -> UnderWay<'_> {
        self.all_under_way().insert(uid.to_owned());
        UnderWay {
            memories: self,
            uid: uid.to_owned(),
        }
    }

    /// Whether a run is under way.
    pub(super) fn is_under_way(&self, uid: &str) -> bool {
        self.all_under_way().contains(uid)
    }

    /// Takes the memory out for a run. A run that never puts it back leaves us as a restart would.
    pub(super) fn take(&self, uid: &str) -> Remembered {
        self.lock().remove(uid).unwrap_or_default()
    }

    /// Puts it back after a run.
    pub(super) fn put(&self, uid: &str, remembered: Remembered) {
        self.lock().insert(uid.to_owned(), remembered);
    }

    /// Forgets PlatformTokens that vanished without us: nothing looks at them any more.
    pub(super) fn forget_vanished(&self, tokens: &Store<Watched>) {
        let mut remembered = self.lock();
        if remembered.len() > tokens.len() {
            let live: HashSet<String> = tokens
                .state()
                .iter()
                .filter_map(|token| token.uid())
                .collect();
            remembered.retain(|uid, _| live.contains(uid));
        }
    }

    /// It needs us no more; a cache may go on showing it for a while.
    pub(super) fn forget(&self, uid: &str, now: Moment) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|_, at| now.elapsed < *at + BELIEVE_CACHE_AFTER);
        gone.insert(uid.to_owned(), now.elapsed);
    }

    /// Whether it needed us no more a moment ago.
    pub(super) fn is_gone(&self, uid: &str, now: Moment) -> bool {
        let gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.get(uid)
            .is_some_and(|at| now.elapsed < *at + BELIEVE_CACHE_AFTER)
    }

    fn all_under_way(&self) -> MutexGuard<'_, HashSet<String>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Remembered>> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
