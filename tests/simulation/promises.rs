//! What has to hold, whatever happened.
//!
//! Some promises hold at every moment and are looked at after each write; the others hold when all is quiet again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use platform_token_operator::api::{Dialect, TokenId, TokenValue, names};
use platform_token_operator::sandbox::LiveToken;
use serde_json::Value;

use super::apiserver::{Change, Key, Kind, Store, finalizers, is_deleting};
use super::users::{is_ready, text_of};
use super::world::{OWN_NAMESPACE, World};

/// The most effects that an hour may have, for each PlatformToken and account and process.
const EFFECTS_AN_HOUR: usize = 700;

/// A generated Secret: what it says and what it holds.
struct Stored {
    name: String,
    owner_uid: String,
    id: Option<TokenId>,
    value: Option<TokenValue>,
    /// Its PlatformToken has let go of it, and nothing of ours keeps it.
    retained: bool,
}

impl World {
    /// Looks whether every promise that holds at all times still does.
    pub(crate) fn watch_promises(&self) {
        let strangers = self.state().strangers.clone();
        let wronged = self.platform.with(|sandbox, _| {
            let revoked = sandbox.model.revoked();
            let wronged = revoked.iter().find(|id| strangers.contains(*id));
            wronged.cloned()
        });
        if let Some(id) = wronged {
            self.state().strangers.remove(&id);
            self.violated(format!("token {id} was revoked, and it is a stranger's"));
        }
    }

    /// Looks whether every promise holds now that all is quiet; what does not.
    pub(crate) fn broken_promises(&self, at_rest: bool) -> Vec<String> {
        let mut broken = self.state().violations.clone();
        if !at_rest {
            broken.push("it does not come to rest".into());
        }
        self.tokens_are_in_secrets(&mut broken);
        self.ready_means_ready(&mut broken);
        self.nothing_is_stuck(&mut broken);
        self.posts_are_one_for_each_attempt(&mut broken);
        self.nothing_runs_hot(&mut broken);
        broken
    }

    /// Live upstream tokens = tokens in Secrets + strangers (+ suspects); one for each PlatformToken.
    fn tokens_are_in_secrets(&self, broken: &mut Vec<String>) {
        let stored = self.stored();
        let live: Vec<LiveToken> = self
            .platform
            .with(|sandbox, _| sandbox.model.live().cloned().collect());
        let strangers = self.state().strangers.clone();
        let mut suspects = self.suspects();
        suspects.extend(self.released());
        suspects.extend(self.repeated_unseen());
        suspects.extend(self.masked_without_tags());
        suspects.extend(self.struck_off());
        suspects.extend(self.lost_with_a_broken_account());
        let mut of_owner: BTreeMap<&str, BTreeSet<&TokenId>> = BTreeMap::new();
        for token in live.iter().filter(|token| !strangers.contains(&token.id)) {
            let held: Vec<&Stored> = stored
                .iter()
                .filter(|s| {
                    s.value
                        .as_ref()
                        .is_some_and(|value| value.hash() == token.hash)
                })
                .collect();
            let kept: Vec<&&Stored> = held.iter().filter(|secret| !secret.retained).collect();
            for secret in &kept {
                of_owner
                    .entry(&secret.owner_uid)
                    .or_default()
                    .insert(&token.id);
            }
            if held.is_empty() && !suspects.contains(&token.id) {
                broken.push(format!("token {} lives, and no Secret holds it", token.id));
            }
            if kept.len() > 1 {
                let names: Vec<&str> = kept.iter().map(|secret| secret.name.as_str()).collect();
                broken.push(format!(
                    "token {} is in several Secrets: {names:?}",
                    token.id
                ));
            }
        }
        for (owner, tokens) in of_owner {
            if tokens.len() > 1 {
                broken.push(format!(
                    "PlatformToken {owner} has {} live tokens",
                    tokens.len()
                ));
            }
        }
        for stranger in strangers {
            if !live.iter().any(|token| token.id == stranger) {
                broken.push(format!("a stranger's token {stranger} is gone"));
            }
        }
    }

    /// Tokens that an account reports as perhaps ours, and that may stay: where tokens bear no tags and others make them
    /// as well, nobody can tell who made the one of a lost answer. Where they bear tags, only if the PlatformToken is
    /// gone that they name.
    fn suspects(&self) -> BTreeSet<TokenId> {
        let store = self.store();
        if store.all(Kind::Account).next().is_none() || self.state().refounded {
            drop(store);
            return self.lost_with_the_account();
        }
        if self.setup.exclusive {
            return BTreeSet::new();
        }
        let owners: BTreeSet<String> = store
            .all(Kind::Token)
            .filter_map(|(_, token)| Some(format!("uid={}", token["metadata"]["uid"].as_str()?)))
            .collect();
        let has_owner: BTreeSet<TokenId> = self.platform.with(|sandbox, _| {
            let owned = |token: &&LiveToken| token.tags.iter().any(|tag| owners.contains(tag));
            let owned = sandbox.model.live().filter(owned);
            owned.map(|token| token.id.clone()).collect()
        });
        let reported = |account: &Value| -> Vec<TokenId> {
            let ids = account["status"]["unclaimedTokenIDs"].as_array();
            let ids = ids.into_iter().flatten();
            ids.filter_map(|id| TokenId::parse(id.as_str()?).ok())
                .collect()
        };
        let mut suspects: BTreeSet<TokenId> = store
            .all(Kind::Account)
            .flat_map(|(_, account)| reported(account))
            .collect();
        if self.setup.users_change || self.state().lists_lagged {
            // Known limits: what was reported of one user's account is not shown while it is another's, and a list that
            // lags for minutes strikes off what it lacks.
            let accounts = store.changes().iter();
            let accounts = accounts.filter(|change| change.key.kind == Kind::Account);
            suspects.extend(accounts.flat_map(|change| reported(&change.object)));
        }
        suspects.retain(|id| !has_owner.contains(id));
        if self.setup.sweeps && !self.setup.users_change {
            let spared = self.perhaps_older_than_the_ledger(&store);
            suspects.retain(|id| spared.contains(id));
        }
        suspects
    }

    /// What a sweep leaves alone: it has no tags, or nobody may have written down that it was let go on purpose.
    fn perhaps_older_than_the_ledger(&self, store: &Store) -> BTreeSet<TokenId> {
        let mark = Key::new(Kind::Secret, OWN_NAMESPACE, names::LEDGER_MARK);
        let begun = store.object(&mark).and_then(|mark| {
            let begun = mark["metadata"]["creationTimestamp"].as_str()?;
            begun.parse::<Timestamp>().ok()
        });
        let spared = |token: &&LiveToken| {
            let surely_younger = |begun| token.created_at > begun + SignedDuration::from_mins(5);
            token.tags.is_empty() || !begun.is_some_and(surely_younger)
        };
        self.platform.with(|sandbox, _| {
            let spared = sandbox.model.live().filter(spared);
            spared.map(|token| token.id.clone()).collect()
        })
    }

    /// Without tags, what a lost answer has made goes on where even the account was deleted that reported it.
    fn lost_with_the_account(&self) -> BTreeSet<TokenId> {
        if self.setup.platform.dialect == Dialect::Current {
            return BTreeSet::new();
        }
        self.lost_answers()
    }

    /// What was made by POSTs whose answer no living process has.
    fn lost_answers(&self) -> BTreeSet<TokenId> {
        let state = self.state();
        let lost = state.posts.iter().filter(|post| {
            let still_known = |(process, life): (usize, u32)| state.lives[process] == life;
            !post.answered.is_some_and(still_known)
        });
        lost.flat_map(|post| post.made.clone()).collect()
    }

    /// Known limit: without tags, nobody looks for what a lost answer made, if its PlatformToken goes while its account is
    /// broken.
    fn lost_with_a_broken_account(&self) -> BTreeSet<TokenId> {
        if self.setup.platform.dialect == Dialect::Current || self.setup.exclusive {
            return BTreeSet::new();
        }
        let store = self.store();
        let mut proven = false;
        let goes_unseen = |change: &Change| {
            match change.key.kind {
                Kind::Account => proven = !change.deleted && is_ready(&change.object),
                // Its status tells so a little later.
                Kind::Secret if change.key.name == "credentials" => proven = false,
                Kind::Token => return change.deleted && !proven,
                _ => {}
            }
            false
        };
        let unseen = store.changes().iter().any(goes_unseen);
        drop(store);
        if unseen {
            self.lost_answers()
        } else {
            BTreeSet::new()
        }
    }

    /// What a proxy made that repeated a POST and passed one answer on: without tags, and where others make tokens as
    /// well, there is nothing that could tell of it.
    fn repeated_unseen(&self) -> BTreeSet<TokenId> {
        if self.setup.platform.dialect == Dialect::Current || self.setup.exclusive {
            return BTreeSet::new();
        }
        let state = self.state();
        let repeated = state.posts.iter().filter(|post| post.made.len() > 1);
        repeated.flat_map(|post| post.made.clone()).collect()
    }

    /// Known limit: without tags, a stock strikes off what was written down and its list lacks.
    fn struck_off(&self) -> BTreeSet<TokenId> {
        let has_tags = self.setup.platform.dialect == Dialect::Current;
        if has_tags || self.setup.exclusive || !self.state().lagged {
            return BTreeSet::new();
        }
        self.lost_answers()
    }

    /// Known limit: neither tags nor value tell whose a token is, so that one whose value was lost is left alone.
    fn masked_without_tags(&self) -> BTreeSet<TokenId> {
        let config = &self.setup.platform;
        if config.dialect == Dialect::Current || !config.mask_values {
            return BTreeSet::new();
        }
        let state = self.state();
        let ours = state.posts.iter();
        ours.flat_map(|post| post.made.clone()).collect()
    }

    /// Secrets that name a PlatformToken which is no more: a store came too late. Nothing goes wrong with them, and they
    /// have to go with whoever deletes them.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let owners: BTreeSet<String> = self
            .tokens()
            .into_iter()
            .filter_map(|(_, token)| Some(token["metadata"]["uid"].as_str()?.to_owned()))
            .collect();
        let secrets = self.stored().into_iter();
        let left = secrets.filter(|secret| !secret.retained && !owners.contains(&secret.owner_uid));
        left.map(|secret| secret.name).collect()
    }

    /// A Ready PlatformToken has a Secret, whose value is that of a live token and has answered.
    fn ready_means_ready(&self, broken: &mut Vec<String>) {
        let stored = self.stored();
        for (name, token) in self.tokens() {
            if !is_ready(&token) {
                let why = &token["status"]["conditions"][0];
                broken.push(format!(
                    "{name} is not Ready: {} {}",
                    why["reason"], why["message"]
                ));
                continue;
            }
            let wanted = token["spec"]["secret"]["name"].as_str().unwrap_or(&name);
            let Some(secret) = stored.iter().find(|secret| secret.name == wanted) else {
                broken.push(format!("{name} is Ready without a Secret"));
                continue;
            };
            let uid = token["metadata"]["uid"].as_str().unwrap_or_default();
            if secret.owner_uid != uid {
                broken.push(format!("{name} is Ready with someone else's Secret"));
            }
            let id = secret.id.as_ref().map(TokenId::as_str);
            if token["status"]["tokenID"].as_str() != id {
                broken.push(format!("{name} says another token than its Secret"));
            }
            let hash = secret.value.as_ref().map(TokenValue::hash);
            let live = self.platform.with(|sandbox, _| {
                let mut live = sandbox.model.live();
                live.find(|token| Some(&token.hash) == hash.as_ref())
                    .cloned()
            });
            match live {
                None => broken.push(format!("{name} is Ready, and its token is dead")),
                Some(token) if token.used_at.is_none() => {
                    broken.push(format!("{name} is Ready, and its token has never answered"));
                }
                Some(token) if Some(token.id.as_str()) != id => {
                    broken.push(format!(
                        "{name} has the value of another token than it says"
                    ));
                }
                Some(_) => {}
            }
        }
    }

    /// Nothing waits to be deleted, and no Secret is left behind.
    fn nothing_is_stuck(&self, broken: &mut Vec<String>) {
        let store = self.store();
        for kind in [Kind::Token, Kind::Secret, Kind::Namespace] {
            for (key, object) in store.all(kind).filter(|(_, object)| is_deleting(object)) {
                let held: Vec<&str> = finalizers(object).collect();
                broken.push(format!(
                    "{} {} is not let go: {held:?}",
                    key.kind.plural(),
                    key.name
                ));
            }
        }
        drop(store);
        for name in self.left_behind() {
            broken.push(format!("Secret {name} outlives its PlatformToken"));
        }
    }

    fn posts_are_one_for_each_attempt(&self, broken: &mut Vec<String>) {
        let state = self.state();
        let (posts, opened) = (state.posts.len(), state.opened.len());
        if posts > opened {
            broken.push(format!("{posts} POSTs for {opened} attempts"));
        }
    }

    /// No hour has more effects than back-off allows.
    fn nothing_runs_hot(&self, broken: &mut Vec<String>) {
        let state = self.state();
        let times: Vec<Duration> = state.trace.effects().map(|effect| effect.sent).collect();
        let hour = Duration::from_hours(1);
        let mut begin = 0;
        let mut most = 0;
        for (end, time) in times.iter().enumerate() {
            while time.saturating_sub(times[begin]) > hour {
                begin += 1;
            }
            most = most.max(end - begin + 1);
        }
        if most > EFFECTS_AN_HOUR * self.setup.processes {
            broken.push(format!("{most} effects within an hour"));
        }
    }

    /// Notes what there is in the end, for who reads why a promise was broken.
    pub(crate) fn remark_what_is_there(&self) {
        let mut there = Vec::new();
        let store = self.store();
        for kind in [Kind::Account, Kind::Token, Kind::Secret] {
            for (key, object) in store.all(kind) {
                let mut object = (**object).clone();
                for noise in ["data", "apiVersion", "kind", "type"] {
                    object.as_object_mut().map(|object| object.remove(noise));
                }
                there.push(format!("{} {}: {object}", kind.plural(), key.name));
            }
        }
        drop(store);
        self.platform.with(|sandbox, _| {
            let live = sandbox.model.live();
            there.extend(live.map(|token| format!("upstream: {token:?}")));
        });
        for line in there {
            self.remark(line);
        }
    }

    fn tokens(&self) -> Vec<(String, std::sync::Arc<Value>)> {
        let store = self.store();
        let tokens = store.all(Kind::Token);
        tokens
            .map(|(key, token)| (key.name.clone(), token.clone()))
            .collect()
    }

    fn stored(&self) -> Vec<Stored> {
        let store = self.store();
        let secrets = store.all(Kind::Secret);
        secrets
            .filter_map(|(key, secret)| {
                let annotations = &secret["metadata"]["annotations"];
                let owner = annotations[names::OWNER].as_str()?;
                let id = annotations[names::TOKEN_ID].as_str();
                let value = text_of(secret, names::TOKEN_KEY);
                Some(Stored {
                    name: key.name.clone(),
                    owner_uid: owner.rsplit('/').next().unwrap_or_default().to_owned(),
                    id: id.and_then(|id| TokenId::parse(id).ok()),
                    value: value.and_then(|value| TokenValue::parse(&value).ok()),
                    retained: !annotations[names::RETAINED].is_null()
                        && finalizers(secret).next().is_none(),
                })
            })
            .collect()
    }
}
