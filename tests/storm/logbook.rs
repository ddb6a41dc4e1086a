//! What was seen of every attempt on one account, and how each one ended.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use platform_token_operator::api::AttemptRef;

use crate::deed::Kind;
use crate::plan::{Aim, Fate};

/// What was seen on one account, from its two proxies.
#[derive(Debug, Default)]
pub(crate) struct Logbook {
    attempts: BTreeMap<String, Story>,
    /// Tokens that the operator asked for.
    pub posts: u64,
    /// Answers that never came, from the platform and from the API server, to living processes.
    pub lost: u64,
    /// Named requests that a kill waited for and saw: by kind, and what became of them.
    pub kills: BTreeMap<Kind, [u64; Fate::COLUMNS.len()]>,
    /// POSTs that a proxy sent a second time, and the attempts that they were seen to be of.
    pub twice: u64,
    pub doubled: BTreeSet<String>,
    /// The uids of PlatformTokens that guests have made.
    pub guests: BTreeSet<String>,
    /// Secrets that were left behind, by uid.
    pub orphans: BTreeSet<String>,
    /// Tokens that the account's status named as unclaimed, and that were revoked by hand.
    pub unclaimed: u64,
    /// Tokens of strangers that the operator asked to revoke.
    pub touched: Vec<String>,
}

/// One attempt.
#[derive(Debug)]
struct Story {
    opened_in: u32,
    posts: u64,
    stored_in: Option<u32>,
    revoked: bool,
}

/// How the attempts ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Endings {
    pub opened: u64,
    /// The process that opened it stored its token.
    pub stored: u64,
    /// A later process found its token and stored it.
    pub found: u64,
    /// Its token was revoked and never stored.
    pub revoked: u64,
    /// A POST went out, and no token of it was seen again.
    pub vanished: u64,
    /// No POST went out that was seen to be this attempt's.
    pub unsent: u64,
}

impl Logbook {
    /// The attempt was written to the PlatformToken.
    pub(crate) fn opened(&mut self, life: u32, attempt: &AttemptRef) {
        self.attempts
            .entry(attempt.id.to_string())
            .or_insert(Story {
                opened_in: life,
                posts: 0,
                stored_in: None,
                revoked: false,
            });
    }

    /// A POST with these tags goes to the platform.
    pub(crate) fn posted(&mut self, tags: &[String]) {
        self.posts += 1;
        if let Some(story) = self.of(tags) {
            story.posts += 1;
        }
    }

    /// A proxy sends the POST with these tags once more.
    pub(crate) fn doubled(&mut self, tags: &[String]) {
        self.twice += 1;
        self.doubled.extend(attempt_of(tags).map(str::to_owned));
    }

    /// A Secret with the token of this attempt was written.
    pub(crate) fn stored(&mut self, life: u32, attempt: &AttemptRef) {
        if let Some(story) = self.attempts.get_mut(attempt.id.as_str()) {
            story.stored_in.get_or_insert(life);
        }
    }

    /// The token with these tags was revoked.
    pub(crate) fn revoked(&mut self, tags: &[String]) {
        if let Some(story) = self.of(tags) {
            story.revoked = true;
        }
    }

    pub(crate) fn killed(&mut self, aim: &Aim) {
        let row = self.kills.entry(aim.kind).or_default();
        row[aim.fate.column()] += 1;
    }

    /// Writes of Secrets that arrived when their sender was dead.
    pub(crate) fn late_stores(&self) -> u64 {
        let stores = self.kills.get(&Kind::Store).copied().unwrap_or_default();
        stores[Fate::Late(Duration::ZERO).column()]
    }

    fn of(&mut self, tags: &[String]) -> Option<&mut Story> {
        self.attempts.get_mut(attempt_of(tags)?)
    }

    /// Attempts that asked for more than one token.
    pub(crate) fn repeated(&self) -> impl Iterator<Item = String> {
        let more = self.attempts.iter().filter(|(_, story)| story.posts > 1);
        more.map(|(id, story)| format!("attempt {id} sent {} POSTs", story.posts))
    }

    pub(crate) fn endings(&self) -> Endings {
        let mut endings = Endings::default();
        for story in self.attempts.values() {
            endings.opened += 1;
            *match story {
                Story {
                    stored_in: Some(life),
                    opened_in,
                    ..
                } if life == opened_in => &mut endings.stored,
                Story {
                    stored_in: Some(_), ..
                } => &mut endings.found,
                Story { revoked: true, .. } => &mut endings.revoked,
                Story { posts: 0, .. } => &mut endings.unsent,
                Story { .. } => &mut endings.vanished,
            } += 1;
        }
        endings
    }
}

/// The id of the attempt that a token was made by.
pub(crate) fn attempt_of(tags: &[String]) -> Option<&str> {
    tags.iter().find_map(|tag| tag.strip_prefix("attempt="))
}

#[cfg(test)]
mod tests {
    use platform_token_operator::api::AttemptId;

    use super::*;

    fn attempt(id: &str) -> AttemptRef {
        AttemptRef {
            number: 1,
            id: AttemptId::parse(id).unwrap(),
        }
    }

    #[test]
    fn every_attempt_has_one_ending() {
        let tags = |id: &str| vec!["x".to_owned(), format!("attempt={id}")];
        let mut log = Logbook::default();
        for id in ["own", "found", "revoked", "vanished", "unsent"] {
            log.opened(1, &attempt(id));
        }
        for id in ["own", "found", "revoked", "vanished"] {
            log.posted(&tags(id));
        }
        // The finalizer was put back, and with it the attempt, by a later process.
        log.opened(2, &attempt("own"));
        log.stored(1, &attempt("own"));
        log.stored(2, &attempt("found"));
        log.revoked(&tags("revoked"));
        log.revoked(&tags("own"));
        let endings = Endings {
            opened: 5,
            stored: 1,
            found: 1,
            revoked: 1,
            vanished: 1,
            unsent: 1,
        };
        assert_eq!(log.endings(), endings);
        assert_eq!(log.repeated().count(), 0);
        log.posted(&tags("own"));
        assert_eq!(log.repeated().count(), 1);
    }
}
