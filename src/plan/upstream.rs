//! What the platform's lists tell of an attempt: what it made, or what it may have made.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use super::{Minted, Outcome};
use crate::api::{Attempt, AttemptId, Owner, TokenHash, TokenId, TokenValue, UserId, cluster_tag};

/// How far the platform's clock may be behind ours.
pub(super) const CLOCK_SKEW: Duration = Duration::from_mins(5);

/// One token as a list shows it, without its value: what lists are compared by. Long ones are kept like this.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its id.
    pub id: TokenId,
    /// The hash of its value, if the platform shows that.
    pub hash: Option<TokenHash>,
    /// What its tags say, if they say that it was made for this cluster.
    pub ours: Option<Ours>,
    /// When the platform created it.
    pub created_at: Timestamp,
    /// When somebody last used it, as far as the platform knows.
    pub used_at: Option<Timestamp>,
}

/// What the tags of a token say that was made for this cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    /// The namespace of its PlatformToken.
    pub namespace: Option<String>,
    /// The uid of its PlatformToken.
    pub uid: Option<String>,
    /// The attempt that made it.
    pub attempt: Option<AttemptId>,
}

impl Listed {
    /// Whether its value, as far as it is shown, is one of these.
    #[must_use]
    pub fn has_value_of(&self, hashes: &BTreeSet<TokenHash>) -> bool {
        self.hash.as_ref().is_some_and(|hash| hashes.contains(hash))
    }
}

/// One token as the platform shows it, with its value: one that was just made, or that is looked for.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Its id.
    pub id: TokenId,
    /// The user that it belongs to.
    pub user_id: UserId,
    /// Its value, if the platform shows it.
    pub value: Option<TokenValue>,
    /// What it is tagged with.
    pub tags: Vec<String>,
    /// When the platform created it.
    pub created_at: Timestamp,
    /// When somebody last used it, as far as the platform knows.
    pub used_at: Option<Timestamp>,
}

impl Shown {
    /// What is kept of it in a long list; its value goes. `cluster` is the uid of the namespace `kube-system`.
    #[must_use]
    pub fn listed(self, cluster: &str) -> Listed {
        let is_ours = self.tags.contains(&cluster_tag(cluster));
        let tagged = |prefix| self.tags.iter().find_map(|tag| tag.strip_prefix(prefix));
        Listed {
            hash: self.value.as_ref().map(TokenValue::hash),
            ours: is_ours.then(|| Ours {
                namespace: tagged("namespace=").map(str::to_owned),
                uid: tagged("uid=").map(str::to_owned),
                attempt: tagged("attempt=").and_then(|id| AttemptId::parse(id).ok()),
            }),
            id: self.id,
            created_at: self.created_at,
            used_at: self.used_at,
        }
    }

    /// Whether it is this PlatformToken's: its tags say so, or its value has the recorded hash.
    #[must_use]
    pub fn is_of(&self, owner: &Owner, hash: Option<&TokenHash>) -> bool {
        let tagged = [owner.cluster_tag(), owner.namespace_tag(), owner.uid_tag()]
            .iter()
            .all(|tag| self.tags.contains(tag));
        let value = self.value.as_ref().map(TokenValue::hash);
        tagged || (value.is_some() && value.as_ref() == hash)
    }

    /// Whether its value, as far as it is shown, is one of these.
    #[must_use]
    pub fn has_value_of(&self, hashes: &BTreeSet<TokenHash>) -> bool {
        let value = self.value.as_ref();
        value.is_some_and(|value| hashes.contains(&value.hash()))
    }

    /// The token with its value, or its id where the value is withheld.
    pub fn minted(self) -> Result<Minted, TokenId> {
        match self.value {
            Some(value) => Ok(Minted {
                token_id: self.id,
                value,
                user_id: self.user_id,
                created_at: self.created_at,
            }),
            None => Err(self.id),
        }
    }
}

/// The tokens of an attempt: the newest whose value is shown is kept. The server's filter is a hint, so that every tag
/// has to match.
#[must_use]
pub fn claim(mut rows: Vec<Shown>, attempt: &Attempt) -> Outcome {
    let tags = attempt.tags();
    rows.retain(|row| tags.iter().all(|tag| row.tags.contains(tag)));
    rows.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
    let mut kept = None;
    let mut others = Vec::new();
    for row in rows {
        match row.minted() {
            Ok(minted) if kept.is_none() => kept = Some(minted),
            Ok(minted) => others.push(minted.token_id),
            Err(id) => others.push(id),
        }
    }
    match kept {
        Some(kept) => Outcome::Found { kept, others },
        None if others.is_empty() => Outcome::NoneMinted,
        None => Outcome::MintedWithheld(others),
    }
}

/// The tokens that an attempt may have made where the platform does not tell who made one: made since it was opened,
/// never used, named by nobody, and no account's credential; the newest first.
#[must_use]
pub fn suspects(
    mut rows: Vec<Listed>,
    attempt: &Attempt,
    named: &BTreeSet<TokenId>,
    credentials: &BTreeSet<TokenHash>,
) -> Vec<TokenId> {
    let since = attempt
        .opened_at
        .checked_sub(CLOCK_SKEW)
        .unwrap_or(Timestamp::MIN);
    rows.retain(|row| row.created_at >= since && row.used_at.is_none());
    rows.retain(|row| !named.contains(&row.id) && !row.has_value_of(credentials));
    rows.sort_by(|a, b| (b.created_at, &a.id).cmp(&(a.created_at, &b.id)));
    rows.into_iter().map(|row| row.id).collect()
}
