//! What cannot be revoked in time is written to the ledger, so that nobody waits for a platform that does not answer. An
//! entry is paid by the rules of a PlatformToken that is gone and owes one thing; only that it cannot be put off again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::debts::{Debt, Evidence, revoke};
use super::issue::find_out;
use super::{
    AccountFacts, Admission, Fate, Memory, Moment, OpenAttempt, Outcome, Plan, Policy, Run,
    Snapshot, Step, TokenFacts, Trouble,
};
use crate::api::{
    Attempt, Entry, NamedToken, OwedToken, Owner, PlatformTokenStatus, Reason, TokenHash,
    TokenValue,
};

/// How long a deletion waits for the platform.
const PATIENCE: Duration = Duration::from_secs(10);

/// So long the platform has to answer a call, even if a deletion has waited long enough.
const SHORTEST_CALL: Duration = Duration::from_secs(2);

/// So many failures in a row take as long; a deletion may be dated by a clock that is ahead of ours.
const ENOUGH_FAILURES: u32 = 4;

impl Snapshot {
    /// What an entry owes, as a PlatformToken that is gone for good. `seen` is when this process first saw it; `value` is
    /// the one beside it.
    #[must_use]
    pub fn of_entry(
        entry: &Entry,
        value: Option<TokenValue>,
        account: AccountFacts,
        credentials: BTreeSet<TokenHash>,
        seen: Moment,
    ) -> Self {
        let mut memory = Memory::default();
        match entry {
            Entry::Owed(owed) => memory.surplus.push(Debt::owed(owed, value)),
            Entry::Unresolved(attempt) => {
                memory.attempt = Some(OpenAttempt {
                    attempt: attempt.clone(),
                    seen,
                    fate: Fate::Unknown { searched: None },
                    others: BTreeSet::new(),
                });
            }
            Entry::Released(_) => {}
        }
        Self {
            token: TokenFacts::gone(entry.owner().clone()),
            account,
            secrets: BTreeMap::new(),
            memory,
            credentials,
            silent: BTreeSet::new(),
            fresh: None,
            run: Run {
                gone: true,
                ..Run::default()
            },
        }
    }

    /// Whether what it owes may be put off: nobody is to wait for it any longer.
    pub(super) fn may_put_off(&self, now: Moment) -> bool {
        self.run.ledger && self.left(now).is_none()
    }

    /// How long the deletion may wait still.
    fn left(&self, now: Moment) -> Option<Duration> {
        let since = self.token.deleted_at?;
        let age = Duration::try_from(now.wall.duration_since(since)).unwrap_or_default();
        let left = PATIENCE.checked_sub(age).filter(|left| !left.is_zero());
        left.filter(|_| !self.run.gone && self.memory.failures < ENOUGH_FAILURES)
    }

    /// How long the platform has to answer, where a deletion waits for it.
    #[must_use]
    pub fn patience(&self, now: Moment) -> Option<Duration> {
        let waits = self.goes() && self.run.ledger;
        waits.then(|| self.left(now).unwrap_or_default().max(SHORTEST_CALL))
    }

    /// When to look again at a deletion that failed: as soon as what it owes may be put off.
    pub(super) fn until_put_off(&self, now: Moment) -> Option<Duration> {
        if !self.goes() || !self.run.ledger {
            return None;
        }
        match self.left(now) {
            Some(left) => Some(left),
            None => (self.memory.failures == 0).then_some(Duration::from_millis(100)),
        }
    }

    /// A call to the platform failed. A deletion that has waited long enough does not end its run for that.
    pub(super) fn has_failed(&mut self, trouble: Trouble, now: Moment) {
        if self.goes() && self.may_put_off(now) {
            self.run.failed = true;
        } else {
            self.run.trouble = Some(trouble);
        }
    }

    /// Whether the platform is not worth another try.
    fn is_hopeless(&self, base_url: &str) -> bool {
        self.run.failed || self.memory.failures > 0 || self.silent.contains(base_url)
    }

    /// What came of writing an entry.
    pub(super) fn fold_recorded(&mut self, entry: Entry, outcome: Outcome) {
        match (entry, outcome) {
            (Entry::Owed(owed), Outcome::Recorded) => {
                let id = owed.token.token_id;
                let text = format!(
                    "Platform token {id} could not be revoked in time: it is written down, and is revoked as soon as \
                     the platform allows it"
                );
                self.note_warning(Reason::RevocationOwed, text);
                self.settle(id);
            }
            (Entry::Unresolved(attempt), Outcome::Recorded) => {
                let text = format!(
                    "Whether attempt {} made a platform token could not be found out in time: it is written down, and \
                     what it made is revoked as soon as the platform tells",
                    attempt.at.id
                );
                self.note_warning(Reason::RevocationOwed, text);
                if let Some(open) = &mut self.memory.attempt {
                    open.fate = Fate::Void;
                }
            }
            (Entry::Released(token), Outcome::Recorded) => self.note_released(token.token_id),
            // Nothing lets go of it before that is written down.
            (Entry::Released(_), Outcome::Failed(trouble)) => self.run.trouble = Some(trouble),
            // Then the deletion has to wait after all.
            (_, Outcome::Failed(trouble)) => {
                self.note_warning(trouble.reason, trouble.message);
                self.run.ledger = false;
            }
            (entry, outcome) => {
                self.run.trouble = Some(super::fold::mismatch(entry.kind(), &outcome));
            }
        }
    }
}

impl TokenFacts {
    /// What there is to say of one that is gone for good.
    pub(super) fn gone(owner: Owner) -> Self {
        Self {
            owner,
            generation: None,
            resource_version: String::new(),
            created_at: Timestamp::MIN,
            deleted_at: Some(Timestamp::MIN),
            finalizers: Vec::new(),
            secret_name: String::new(),
            policy: Policy::default(),
            adopts: None,
            holds_secrets: true,
            admission: Admission::Unknown,
            take_over: None,
            attempt: Ok(None),
            status: PlatformTokenStatus::default(),
        }
    }
}

/// Revokes what a PlatformToken that goes owes, or puts it off.
pub(super) fn pay(s: &Snapshot, debt: Debt, now: Moment) -> Plan {
    if !s.may_put_off(now) {
        return revoke(s, debt);
    }
    // Its credential is not known yet, and might be the very token that is to be revoked.
    let unknown = matches!(s.account, AccountFacts::Pending);
    let hopeless = unknown || s.is_hopeless(&debt.base_url);
    match revoke(s, debt.clone()) {
        Ok(step) if !hopeless => Ok(step),
        _ => Ok(Some(debt.put_off(&s.token.owner))),
    }
}

/// Finds out what an attempt made whose PlatformToken goes, or puts that off.
pub(super) fn find_out_or_put_off(
    s: &Snapshot,
    open: &OpenAttempt,
    searched: Option<Duration>,
    now: Moment,
) -> Plan {
    let found = find_out(s, open, searched, now);
    if !s.may_put_off(now) {
        return found;
    }
    let unresolved = |attempt: &Attempt| Step::Record(Entry::Unresolved(attempt.clone()), None);
    match found {
        Ok(None) => Ok(None),
        Ok(step) if !s.is_hopeless(&open.attempt.account.base_url) => Ok(step),
        _ => Ok(Some(unresolved(&open.attempt))),
    }
}

impl Debt {
    /// What an entry says.
    fn owed(owed: &OwedToken, value: Option<TokenValue>) -> Self {
        let evidence = match owed.before {
            Some(before) => Evidence::Recorded { before },
            None => Evidence::Sure,
        };
        let value = value.filter(|value| owed.hash.as_ref() == Some(&value.hash()));
        Self {
            token_id: owed.token.token_id.clone(),
            base_url: owed.token.base_url.clone(),
            user_id: owed.token.user_id.clone(),
            hash: owed.hash.clone(),
            value,
            evidence,
        }
    }

    /// The entry that says so.
    fn put_off(self, owner: &Owner) -> Step {
        let owed = OwedToken {
            token: NamedToken {
                owner: owner.clone(),
                token_id: self.token_id,
                base_url: self.base_url,
                user_id: self.user_id,
            },
            hash: self.hash,
            before: match self.evidence {
                Evidence::Sure => None,
                Evidence::Recorded { before } => Some(before),
            },
        };
        Step::Record(Entry::Owed(owed), self.value)
    }
}

/// Whether an entry is written where there is another of the same token, and a value beside that or not: what is owed is
/// final, and a value is worth having. One of another cluster came with a copy.
#[must_use]
pub fn takes_the_place(new: (&Entry, bool), old: (Option<&Entry>, bool)) -> bool {
    let (Some(entry), valued) = old else {
        return true;
    };
    let elsewhere = entry.owner().cluster != new.0.owner().cluster;
    let was_owed = matches!(entry, Entry::Owed(_));
    let is_owed = matches!(new.0, Entry::Owed(_));
    elsewhere || (is_owed && (!was_owed || (new.1 && !valued)))
}
