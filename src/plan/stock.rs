//! Taking stock of an account: which of its tokens are ours, and which may be ours and are named by nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::debts::LISTED_WITHIN;
use super::sweep::stranded;
use super::{Broom, Identity, Leftover, Listed, Missing, Moment, Note, Stranded};
use crate::api::{
    AccountStatus, AttemptAccount, AttemptId, Baseline, Issued, Reason, Sweep, TokenCounts,
    TokenHash, TokenId, UserId,
};

/// A token that is younger may be about to be stored.
const SETTLED_AFTER: Duration = Duration::from_mins(2);

/// How many times in a row a token has to be found unclaimed before it is revoked.
const PASSES: u32 = 2;

/// A complete list of an account. It shows what there was while it was read, and may lag.
#[derive(Debug)]
pub struct Listing {
    /// The platform.
    pub(super) base_url: String,
    /// The user; unknown on a documented platform whose list is empty.
    pub(super) user_id: Option<UserId>,
    /// Before its first page was asked for.
    begun: Moment,
    /// Every token, in the order of the ids.
    rows: Vec<Listed>,
}

impl Listing {
    /// The complete list of the account that was proven to be this one.
    #[must_use]
    pub fn new(identity: &Identity, begun: Moment, mut rows: Vec<Listed>) -> Self {
        rows.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        Self {
            base_url: identity.base_url.clone(),
            user_id: identity.user_id.clone(),
            begun,
            rows,
        }
    }

    /// The user; unknown on a documented platform whose list is empty.
    #[must_use]
    pub fn user_id(&self) -> Option<&UserId> {
        self.user_id.as_ref()
    }

    /// Says that a token may be gone: it is one of this very account, old enough to be listed, and is not.
    #[must_use]
    pub fn missing(&self, issued: &Issued) -> Option<Missing> {
        let here =
            self.base_url == issued.base_url && self.user_id.as_ref() == Some(&issued.user_id);
        let old = self.begun.wall.duration_since(issued.issued_at) >= LISTED_WITHIN;
        let row = |row: &Listed| row.id.cmp(&issued.token_id);
        (here && old && self.rows.binary_search_by(row).is_err()).then(|| Missing {
            token_id: issued.token_id.clone(),
            listed: self.begun.elapsed,
        })
    }
}

/// What is compared: a complete list of the platform, and what the cluster claims of it.
#[derive(Debug)]
pub struct Stocktaking<'a> {
    /// Every token of the account.
    pub listing: &'a Listing,
    /// What the cluster claims.
    pub claims: &'a Claims,
    /// The hashes of every credential that an account uses.
    pub credentials: &'a BTreeSet<TokenHash>,
    /// Tokens that were written down as unclaimed before.
    pub suspected: &'a [TokenId],
    /// Of an exclusive account.
    pub baseline: Option<&'a Baseline>,
    /// How it sweeps.
    pub broom: &'a Broom,
}

/// What PlatformTokens and generated Secrets claim.
#[derive(Debug, Default)]
pub struct Claims {
    /// The tokens that they name.
    pub named: BTreeSet<TokenId>,
    /// The tokens that only a Secret names whose PlatformToken is gone.
    pub abandoned: BTreeSet<TokenId>,
    /// The attempts whose tokens are neither stored nor given up, and the account of each.
    pub open: BTreeMap<AttemptId, AttemptAccount>,
    /// Something does not read: it may claim anything.
    pub unreadable: bool,
    /// The uids of all PlatformTokens.
    pub uids: BTreeSet<String>,
    /// When the ledger was begun, if there is one.
    pub begun: Option<Timestamp>,
}

impl Claims {
    /// Whether an attempt may be about to store a token of this account.
    #[must_use]
    pub fn may_store(&self, base_url: &str, user_id: Option<&UserId>) -> bool {
        let here = |account: &AttemptAccount| {
            let same_user = account.user_id.is_none() || account.user_id.as_ref() == user_id;
            account.base_url == base_url && same_user
        };
        self.unreadable || self.open.values().any(here)
    }

    /// The PlatformToken whose tags a token bears.
    fn uid_of(&self, row: &Listed) -> Option<String> {
        let uid = row.ours.as_ref()?.uid.as_ref()?;
        self.uids.get(uid).cloned()
    }
}

/// What there is on an account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stock {
    /// The counts.
    pub counts: TokenCounts,
    /// Tokens that may be ours, and that nothing names; each was never used, or bears our tags.
    pub unclaimed: BTreeSet<TokenId>,
    /// Those of them that were made since an exclusive account became so, and that nobody has used.
    pub revocable: BTreeSet<TokenId>,
    /// Those of them that bear the tags of a PlatformToken, by its uid.
    pub leftovers: BTreeMap<String, Vec<Leftover>>,
    /// Tokens that somebody else made and uses on an account that claims to be exclusive.
    pub strangers: BTreeSet<TokenId>,
    /// Tokens that may be swept.
    pub stranded: BTreeMap<TokenId, Stranded>,
    /// Of an exclusive account.
    pub baseline: Option<Baseline>,
}

impl Stock {
    /// Unclaimed tokens that the status does not show yet.
    #[must_use]
    pub fn found(&self, former: &AccountStatus) -> usize {
        let known = &former.unclaimed_token_ids;
        let new = self.unclaimed.iter().filter(|id| !known.contains(id));
        new.count()
    }

    /// What is worth an event: neither the former status nor the former stock, which had these `strangers`, says it.
    #[must_use]
    pub fn news(&self, former: &AccountStatus, strangers: &BTreeSet<TokenId>) -> Vec<Note> {
        let shown = |ids: &BTreeSet<TokenId>| {
            let ids: Vec<&str> = ids.iter().take(20).map(TokenId::as_str).collect();
            ids.join(", ")
        };
        let mut news = Vec::new();
        let full = former.unclaimed_token_ids.len() >= AccountStatus::MAX_UNCLAIMED;
        if self.found(former) > 0 && !full {
            let text = format!(
                "Found tokens that may be this operator's and that nothing in this cluster names: {}",
                shown(&self.unclaimed)
            );
            news.push(Note::warning(Reason::Unclaimed, text));
        }
        if !self.strangers.is_subset(strangers) {
            let text = format!(
                "Somebody else makes and uses tokens on this account, so that nothing is revoked as unclaimed; leave \
                 spec.exclusive out, or revoke them: {}",
                shown(&self.strangers)
            );
            news.push(Note::warning(Reason::NotExclusive, text));
        }
        news
    }

    /// A token that nothing claims was revoked.
    pub fn revoked(&mut self, id: &TokenId) {
        self.stranded.remove(id);
        if self.unclaimed.remove(id) {
            self.counts.unclaimed -= 1;
            self.counts.upstream -= 1;
        }
    }
}

/// Compares the platform with the cluster.
#[must_use]
pub fn take_stock(taking: &Stocktaking, now: Moment) -> Stock {
    let mut stock = Stock {
        baseline: taking.baseline.cloned(),
        ..Stock::default()
    };
    let listing = taking.listing;
    let settled = now.wall.checked_sub(SETTLED_AFTER);
    let settled = settled.unwrap_or(Timestamp::MIN);
    for row in &listing.rows {
        if taking.claims.named.contains(&row.id) {
            stock.counts.managed += 1;
            continue;
        }
        if let Some(stranded) = stranded(row, taking, now) {
            stock.stranded.insert(row.id.clone(), stranded);
        }
        if taking.claims.abandoned.contains(&row.id) {
            stock.counts.managed += 1;
            continue;
        }
        let is_credential = row.has_value_of(taking.credentials);
        let attempt = row.ours.as_ref().and_then(|ours| ours.attempt.as_ref());
        let awaited = attempt.is_some_and(|id| taking.claims.open.contains_key(id));
        let unused = row.used_at.is_none();
        let suspect = unused && taking.suspected.contains(&row.id);
        if is_credential || awaited || (row.created_at > settled && !suspect) {
            continue;
        }
        let newer = taking.baseline.is_some_and(|baseline| {
            row.created_at >= baseline.created_at && !baseline.ids.contains(&row.id)
        });
        if let (Some(uid), Some(user_id)) = (taking.claims.uid_of(row), &listing.user_id) {
            let leftover = Leftover {
                token_id: row.id.clone(),
                attempt: attempt.cloned(),
                base_url: listing.base_url.clone(),
                user_id: user_id.clone(),
            };
            stock.leftovers.entry(uid).or_default().push(leftover);
        }
        if newer && unused {
            stock.revocable.insert(row.id.clone());
        }
        let written = suspect || (newer && unused);
        if row.ours.is_some() || written {
            stock.counts.unclaimed += 1;
            if written || taking.broom.sweep != Sweep::Off {
                stock.unclaimed.insert(row.id.clone());
            }
        } else if newer {
            stock.strangers.insert(row.id.clone());
        }
    }
    stock.counts.upstream = u32::try_from(listing.rows.len()).unwrap_or(u32::MAX);
    stock
}

/// What was on an account when it became exclusive.
#[must_use]
pub fn baseline(listing: &Listing, now: Moment) -> Baseline {
    let rows = &listing.rows;
    // A list may lag: what was made until now is older, listed or not.
    let newest = rows.iter().map(|row| row.created_at).max();
    let created_at = newest.map_or(now.wall, |newest| newest.max(now.wall));
    let at_that_time = rows.iter().filter(|row| row.created_at == created_at);
    Baseline {
        user_id: listing.user_id.clone(),
        created_at,
        ids: at_that_time.map(|row| row.id.clone()).collect(),
    }
}

/// How often in a row each token was found unclaimed, on an exclusive account with no attempt open.
#[derive(Debug, Clone, Default)]
pub struct Unclaimed(BTreeMap<TokenId, u32>);

impl Unclaimed {
    /// Takes in one stock; the tokens that are to be revoked. None is while an attempt `may_store` one, nor where
    /// somebody else uses the account as well.
    pub fn note(&mut self, stock: &Stock, may_store: bool) -> Vec<TokenId> {
        let ours_alone = stock.baseline.is_some() && stock.strangers.is_empty();
        if !ours_alone {
            self.0.clear();
        }
        if !ours_alone || may_store {
            return Vec::new();
        }
        let passes = |id: &TokenId| self.0.get(id).copied().unwrap_or(0) + 1;
        self.0 = stock
            .revocable
            .iter()
            .map(|id| (id.clone(), passes(id)))
            .collect();
        let due = self.0.iter().filter(|(_, passes)| **passes >= PASSES);
        due.map(|(id, _)| id.clone()).collect()
    }
}

impl AccountStatus {
    /// Puts a stock into the status.
    pub(super) fn count(&mut self, stock: &Stock) {
        self.tokens = Some(stock.counts);
        let shown = stock.unclaimed.iter().take(Self::MAX_UNCLAIMED);
        self.unclaimed_token_ids = shown.cloned().collect();
        match &stock.baseline {
            None => self.baselines.clear(),
            Some(baseline) if !self.baselines.contains(baseline) => {
                self.baselines.push(baseline.clone());
            }
            Some(_) => {}
        }
    }

    /// Writes tokens down that may be ours. None takes the place of one that was written down before.
    #[must_use]
    pub fn with_unclaimed(mut self, ids: &[TokenId]) -> Self {
        let known = &mut self.unclaimed_token_ids;
        for id in ids {
            if !known.contains(id) && known.len() < Self::MAX_UNCLAIMED {
                known.push(id.clone());
            }
        }
        self
    }
}
