//! What is there when all is at rest: every live token upstream, held against every Secret.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use platform_token_operator::api::{
    Attempt, Dialect, Owner, PlatformToken, TokenHash, TokenId, TokenValue, names,
};
use platform_token_operator::sandbox::LiveToken;

use crate::account::Account;
use crate::logbook::attempt_of;

/// One account, counted. Every list names what is not as it should be.
#[derive(Debug, Default)]
pub(crate) struct Count {
    /// What is not at rest yet.
    pub restless: Vec<String>,
    /// Live tokens that nobody holds.
    pub leaked: Vec<LiveToken>,
    /// The same, named as unclaimed in the status of the account, where it can do no more.
    pub unclaimed: Vec<TokenId>,
    /// Live tokens that two Secrets hold, PlatformTokens that two live tokens stand behind, attempts with two POSTs.
    pub doubled: Vec<String>,
    /// Tokens of strangers that are gone, or that the operator asked to revoke.
    pub touched: Vec<String>,
    /// Generated Secrets whose PlatformToken is gone: what they hold counts as held by nobody.
    pub orphans: Vec<ObjectMeta>,
}

impl Count {
    /// Counts one account; `created` are the PlatformTokens that ought to be there.
    pub(crate) async fn take(account: &Account, created: &BTreeSet<String>) -> Self {
        let reported = account.reported().await;
        // In this order: whose owner is gone then was never made for one that is still to come.
        let secrets = account.secrets().await;
        let tokens = account.tokens().await;
        let (orphans, secrets): (Vec<_>, Vec<_>) = secrets
            .into_iter()
            .partition(|secret| is_orphan(secret, &tokens));
        // A process died between the last two steps of a deletion: the next one finishes what it left.
        let (going, orphans): (Vec<_>, Vec<_>) = orphans
            .into_iter()
            .partition(|secret| secret.metadata.deletion_timestamp.is_some());
        let live: Vec<LiveToken> = account.sandbox.with(|sandbox, _| {
            let admin = sandbox.model.admin(&account.user).unwrap().hash();
            let others = sandbox.model.live().filter(|token| token.hash != admin);
            others.cloned().collect()
        });
        let mut count = Self {
            orphans: orphans.into_iter().map(|secret| secret.metadata).collect(),
            ..Self::default()
        };
        let going = going.iter().map(ResourceExt::name_any);
        count
            .restless
            .extend(going.map(|name| format!("Secret {name} is to go")));
        let owed = account.ledger().await.into_iter();
        let owed = owed.map(|entry| format!("the ledger has {entry:?}"));
        count.restless.extend(owed);
        for home in account.homes() {
            if home.is_going().await {
                let text = format!("namespace {} is to go", home.namespace);
                count.restless.push(text);
            }
        }
        count.rest(&tokens, &secrets, &live, created);
        count.tokens(account, &secrets, &live);
        count.excuse(account, &tokens, &reported);
        let log = account.log();
        count.doubled.extend(log.repeated());
        count.touched.extend(log.touched.iter().cloned());
        let opened = log.endings().opened;
        if log.posts > opened {
            let text = format!("{} POSTs for {opened} attempts", log.posts);
            count.doubled.push(text);
        }
        count
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.restless.is_empty() && self.orphans.is_empty()
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.wrong().is_empty()
    }

    /// What must not be.
    pub(crate) fn wrong(&self) -> Vec<String> {
        let leaked = self.leaked.iter().map(|token| {
            let LiveToken {
                id,
                tags,
                created_at,
                used_at,
                ..
            } = token;
            format!("token {id} of {created_at}, {tags:?}, used {used_at:?}, is held by nobody")
        });
        let others = self.doubled.iter().chain(&self.touched).cloned();
        leaked.chain(others).collect()
    }

    /// Everything that is created is Ready with a token that lives, and nothing else is there.
    fn rest(
        &mut self,
        tokens: &[PlatformToken],
        secrets: &[Secret],
        live: &[LiveToken],
        created: &BTreeSet<String>,
    ) {
        let there: BTreeSet<String> = tokens.iter().map(ResourceExt::name_any).collect();
        for name in created.symmetric_difference(&there) {
            let what = if there.contains(name) {
                "is not gone yet"
            } else {
                "is not there"
            };
            self.restless.push(format!("{name} {what}"));
        }
        for token in tokens {
            if let Some(what) = unrest(token, secrets, live) {
                self.restless.push(format!("{} {what}", token.name_any()));
            }
        }
    }

    /// Every live token is a stranger's or in exactly one Secret.
    fn tokens(&mut self, account: &Account, secrets: &[Secret], live: &[LiveToken]) {
        let strangers = account.strangers();
        let mut holders: BTreeMap<TokenHash, Vec<String>> = BTreeMap::new();
        for secret in secrets {
            let held = held(secret).map(|hash| (hash, secret.name_any()));
            for (hash, name) in held.collect::<BTreeSet<_>>() {
                holders.entry(hash).or_default().push(name);
            }
        }
        let mut owners: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for token in live.iter().filter(|token| !strangers.contains(&token.id)) {
            let id = &token.id;
            for tag in &token.tags {
                if let Some(uid) = tag.strip_prefix("uid=") {
                    owners.entry(uid).or_default().push(id.to_string());
                }
            }
            match holders.get(&token.hash).map_or(&[][..], Vec::as_slice) {
                [_] => {}
                [] => self.leaked.push(token.clone()),
                several => self.doubled.push(format!("{id} is in {several:?}")),
            }
        }
        for (uid, ids) in owners.into_iter().filter(|(_, ids)| ids.len() > 1) {
            self.doubled
                .push(format!("uid {uid} has the live tokens {ids:?}"));
        }
        let gone = |id| !live.iter().any(|token| token.id == id);
        for id in strangers.iter().filter(|&id| gone(id.clone())) {
            self.touched
                .push(format!("the stranger's token {id} is gone"));
        }
    }

    /// A token that nobody can tell from a stranger's is reported and left alone; so is one that a proxy made by sending
    /// a POST twice, whose PlatformToken went before that was noticed, and one whose PlatformToken went with its
    /// namespace in the very moment in which its finalizer was written (kubernetes/kubernetes#77988).
    fn excuse(
        &mut self,
        account: &Account,
        tokens: &[PlatformToken],
        reported: &BTreeSet<TokenId>,
    ) {
        let log = account.log();
        let is_of = |token: &LiveToken, uid: &str| token.tags.contains(&format!("uid={uid}"));
        let lives = |token: &LiveToken| {
            let mut uids = tokens.iter().filter_map(ResourceExt::uid);
            uids.any(|uid| is_of(token, &uid))
        };
        let excused = |token: &LiveToken| {
            let untold = match account.dialect {
                Dialect::Documented => !account.home.exclusive,
                Dialect::Current => {
                    let attempt = attempt_of(&token.tags).unwrap_or_default();
                    let guest = log.guests.iter().any(|uid| is_of(token, uid));
                    (log.doubled.contains(attempt) || guest) && !lives(token)
                }
            };
            untold && reported.contains(&token.id)
        };
        let excused = self.leaked.extract_if(.., |token| excused(token));
        self.unclaimed = excused.map(|token| token.id).collect();
    }
}

/// Whether a PlatformToken says that it is Ready, and no attempt is open.
pub(crate) fn is_ready(token: &PlatformToken) -> bool {
    wait(token).is_none()
}

/// What a PlatformToken says that it waits for.
fn wait(token: &PlatformToken) -> Option<String> {
    if token.metadata.deletion_timestamp.is_some() {
        return Some("is being deleted".into());
    }
    let status = token.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
    match ready {
        Some(ready) if ready.status == "True" => {}
        Some(ready) => return Some(format!("is not Ready: {} {}", ready.reason, ready.message)),
        None => return Some("has no status".into()),
    }
    let attempt = token.annotations().get(names::ATTEMPT);
    let opened = attempt.and_then(|text| Attempt::parse(text).ok());
    let stored = status.attempt.as_ref().map_or(0, |attempt| attempt.number);
    let open = opened.is_some_and(|open| open.at.number > stored);
    open.then(|| "has an open attempt".into())
}

/// Why a PlatformToken is not at rest.
fn unrest(token: &PlatformToken, secrets: &[Secret], live: &[LiveToken]) -> Option<String> {
    if let Some(wait) = wait(token) {
        return Some(wait);
    }
    let status = token.status.clone().unwrap_or_default();
    let Some(token_id) = status.token_id else {
        return Some("names no token".into());
    };
    let Some(upstream) = live.iter().find(|token| token.id == token_id) else {
        return Some(format!("names token {token_id}, which does not live"));
    };
    if status.token_hash.as_ref() != Some(&upstream.hash) {
        return Some(format!("has another hash than token {token_id}"));
    }
    let name = token.name_any();
    let Some(secret) = secrets.iter().find(|secret| secret.name_any() == name) else {
        return Some("has no Secret".into());
    };
    let keys = [names::TOKEN_KEY, names::TOKEN_VARIABLE];
    let whole = held(secret).filter(|hash| *hash == upstream.hash).count() == keys.len();
    let recorded = secret
        .annotations()
        .get(names::TOKEN_ID)
        .map(String::as_str);
    let kept = secret.metadata.deletion_timestamp.is_none()
        && secret.finalizers().iter().any(|f| f == names::FINALIZER);
    (!whole || recorded != Some(token_id.as_str()) || !kept)
        .then(|| format!("has a Secret that is not whole ({whole}, {recorded:?}, {kept})"))
}

/// Whether a generated Secret names an owner that is gone.
fn is_orphan(secret: &Secret, tokens: &[PlatformToken]) -> bool {
    let owner = secret.annotations().get(names::OWNER);
    let owner = owner.and_then(|text| Owner::parse(text).ok());
    owner.is_some_and(|owner| {
        let mut uids = tokens.iter().filter_map(|t| t.metadata.uid.as_ref());
        uids.all(|uid| *uid != owner.uid)
    })
}

/// The hashes of the tokens in a generated Secret: one for each key that holds one.
fn held(secret: &Secret) -> impl Iterator<Item = TokenHash> {
    let is_generated = secret.annotations().contains_key(names::TOKEN_ID);
    let data = secret.data.iter().flatten().filter(move |_| is_generated);
    data.filter_map(|(_, value)| {
        let text = std::str::from_utf8(&value.0).ok()?;
        Some(TokenValue::parse(text).ok()?.hash())
    })
}
