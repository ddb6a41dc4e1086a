//! The sweep: tokens that bear the tags of this cluster and that nothing in it names, the rest of a PlatformToken that
//! vanished, of an attempt that was given up, or of a POST that was repeated. [`stranded`] says which rows of a list may be
//! swept. [`Sweeping`] says which of them are due: found by two stocks in a row, used by nobody meanwhile, and no more in a
//! minute than the brake lets through.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::upstream::CLOCK_SKEW;
use super::{Listed, Moment, Note, Stock, Stocktaking};
use crate::api::{Entry, NamedToken, OwedToken, Owner, Reason, Sweep, TokenHash, TokenId};

/// A token that is younger may be about to be stored.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_mins(10);

/// So long a Secret has to be without its PlatformToken before it shields its token no more: that may come back.
const ABANDONED_AFTER: Duration = Duration::from_mins(10);

/// What the brake counts by.
const MINUTE: Duration = Duration::from_mins(1);

/// The name in an owner of whom tags tell all but that.
const NAMELESS: &str = "unknown";

/// How an account sweeps.
#[derive(Debug, Clone)]
pub struct Broom {
    /// What becomes of what is found.
    pub sweep: Sweep,
    /// uid of the namespace `kube-system`.
    pub cluster: String,
    /// The namespaces that it reaches; none: all.
    pub namespaces: Option<BTreeSet<String>>,
}

/// A token that bears the tags of this cluster and that nothing in it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranded {
    /// Which one, and whose it was as its tags say, which have no name.
    token: NamedToken,
    /// The hash of its value, if the platform shows that.
    hash: Option<TokenHash>,
    /// When somebody last used it, as far as the platform knows.
    used_at: Option<Timestamp>,
    /// A Secret holds it whose PlatformToken is gone.
    held: bool,
}

impl Stranded {
    /// The entry of the ledger that has it revoked.
    #[must_use]
    pub fn owed(&self) -> Entry {
        Entry::Owed(OwedToken {
            token: self.token.clone(),
            hash: self.hash.clone(),
            // It was listed, however young it is. Before it is revoked, its tags are looked at once more.
            before: Some(Timestamp::MIN),
        })
    }
}

/// Says that a token may be swept. What a PlatformToken, its Secret or the ledger names does not come here.
pub(super) fn stranded(row: &Listed, taking: &Stocktaking, now: Moment) -> Option<Stranded> {
    let (broom, claims) = (taking.broom, taking.claims);
    // Never a stranger's, nor another cluster's.
    let ours = row.ours.as_ref()?;
    let (namespace, uid) = ours.namespace.as_ref().zip(ours.uid.as_ref())?;
    let reached = broom.namespaces.as_ref();
    let elsewhere = reached.is_some_and(|reached| !reached.contains(namespace));
    // A PlatformToken that lives revokes what is left of it itself.
    let lives = claims.uids.contains(uid);
    let attempt = ours.attempt.as_ref();
    let awaited = attempt.is_some_and(|id| claims.open.contains_key(id));
    let credential = row.has_value_of(taking.credentials);
    let age = now.wall.duration_since(row.created_at);
    // Before there was a ledger, nobody wrote down what was let go on purpose.
    let recorded = claims.begun.is_some_and(|begun| {
        let begun = begun.checked_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX);
        row.created_at >= begun
    });
    let spared = broom.sweep == Sweep::Off
        || claims.unreadable
        || elsewhere
        || lives
        || awaited
        || credential
        || age < SETTLED_AFTER
        || !recorded;
    if spared {
        return None;
    }
    let owner = format!("{}/{namespace}/{NAMELESS}/{uid}", broom.cluster);
    let owner = Owner::parse(&owner).ok()?;
    Some(Stranded {
        token: NamedToken {
            owner,
            token_id: row.id.clone(),
            base_url: taking.listing.base_url.clone(),
            user_id: Some(taking.listing.user_id.clone()?),
        },
        hash: row.hash.clone(),
        used_at: row.used_at,
        held: claims.abandoned.contains(&row.id),
    })
}

/// What the sweep of one account remembers from stock to stock.
#[derive(Debug, Clone, Default)]
pub struct Sweeping {
    /// When it began, on the monotonic clock.
    begun: Option<Duration>,
    /// What the last stock found.
    found: BTreeMap<TokenId, Found>,
    /// How many tokens were written down, and when: in the last minute.
    spent: Vec<(Duration, usize)>,
    /// The brake holds some back.
    braked: bool,
}

/// A token that the last stock found.
#[derive(Debug, Clone)]
struct Found {
    /// When it was first found, of all stocks in a row that did.
    since: Duration,
    used_at: Option<Timestamp>,
    /// It was used since it was first found.
    used: bool,
    /// Since when only a Secret without its PlatformToken holds it.
    held: Option<Duration>,
}

impl Sweeping {
    /// Takes in one stock; the tokens that are due, which others in a row have found for so long. What a Secret has held for
    /// long without its PlatformToken is unclaimed from now on.
    pub fn note(&mut self, stock: &mut Stock, long: Duration, now: Moment) -> Vec<Stranded> {
        self.begun.get_or_insert(now.elapsed);
        let former = std::mem::take(&mut self.found);
        let mut due = Vec::new();
        let mut abandoned = Vec::new();
        for (id, stranded) in &stock.stranded {
            let former = former.get(id);
            let moved = |former: &Found| former.used || former.used_at != stranded.used_at;
            let since = || former.and_then(|former| former.held).unwrap_or(now.elapsed);
            let found = Found {
                since: former.map_or(now.elapsed, |former| former.since),
                used_at: stranded.used_at,
                used: former.is_some_and(moved),
                held: stranded.held.then(since),
            };
            let ripe = found
                .held
                .is_none_or(|since| now.elapsed >= since + ABANDONED_AFTER);
            if stranded.held && ripe {
                abandoned.push(id.clone());
            }
            let lasts = now.elapsed >= found.since + long;
            if lasts && ripe && !found.used {
                due.push(stranded.clone());
            }
            self.found.insert(id.clone(), found);
        }
        for id in abandoned {
            stock.abandon(id);
        }
        due
    }

    /// Those of the tokens that are due which the brake lets through. A sweep that has just begun lets none through for a
    /// minute: what one before it has spent is not known.
    pub fn brake(&mut self, mut due: Vec<Stranded>, most: u32, now: Moment) -> Vec<Stranded> {
        let within = |since: Duration| now.elapsed < since + MINUTE;
        self.spent.retain(|(at, _)| within(*at));
        let spent: usize = self.spent.iter().map(|(_, count)| count).sum();
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let left = match self.begun {
            Some(begun) if !within(begun) => most.saturating_sub(spent),
            _ => 0,
        };
        self.braked = due.len() > left;
        due.truncate(left);
        if !due.is_empty() {
            self.spent.push((now.elapsed, due.len()));
        }
        due
    }

    /// How soon the next stock is wanted, if the brake held something back.
    #[must_use]
    pub fn again(&self) -> Option<Duration> {
        self.braked.then_some(MINUTE)
    }
}

impl Stock {
    /// A Secret holds a token, and has been without its PlatformToken for long: nothing claims it.
    fn abandon(&mut self, id: TokenId) {
        if self.unclaimed.insert(id) {
            self.counts.managed = self.counts.managed.saturating_sub(1);
            self.counts.unclaimed += 1;
        }
    }

    /// These were written down to be revoked: the ledger names them now. What is worth an event.
    pub fn swept(&mut self, ids: &[TokenId]) -> Option<Note> {
        for id in ids {
            if self.unclaimed.remove(id) {
                self.counts.unclaimed = self.counts.unclaimed.saturating_sub(1);
                self.counts.managed += 1;
            }
        }
        let shown: Vec<&str> = ids.iter().take(20).map(TokenId::as_str).collect();
        let text = format!(
            "{} platform tokens of this cluster that nothing in it names, and that nobody has used between two stocks, are written down \
             and revoked: {}",
            ids.len(),
            shown.join(", ")
        );
        (!ids.is_empty()).then(|| Note::normal(Reason::Swept, text))
    }
}
