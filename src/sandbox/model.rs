//! What the platform holds: accounts and the tokens that live in them.
//!
//! Time is an argument and chance is a seed, so that the same calls always make the same ids, values and answers.
//! How calls are answered is in `rules`; what strangers do in the console, without a call, is here.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Account, Config};
use crate::api::{TokenHash, TokenId, TokenValue, UserId, hex};

/// The platform as a pure model.
#[derive(Debug)]
pub struct Model {
    /// How it behaves; all but the seed and the accounts may be changed while it runs.
    pub config: Config,
    /// Every live token.
    pub(super) tokens: BTreeMap<TokenId, Token>,
    /// Whom a bearer speaks for, by its hash.
    pub(super) bearers: BTreeMap<TokenHash, Caller>,
    /// The first token of each account, kept when it is revoked.
    admins: BTreeMap<UserId, TokenValue>,
    /// How many tokens were ever made; numbers the next one.
    made: u64,
    pub(super) minted: u64,
    pub(super) revoked: Vec<TokenId>,
}

/// What anyone but its holder may know of a live token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LiveToken {
    /// Its id.
    pub id: TokenId,
    /// The account that it opens.
    pub user_id: UserId,
    /// What its maker wrote on it; none if a call of the documented dialect made it.
    pub tags: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When a call last bore it.
    pub used_at: Option<Timestamp>,
    /// The hash of its value.
    pub hash: TokenHash,
}

#[derive(Debug)]
pub(super) struct Token {
    pub(super) seen: LiveToken,
    pub(super) value: TokenValue,
    pub(super) metadata: Map<String, Value>,
    /// Orders tokens of one instant.
    pub(super) number: u64,
}

/// Who makes a call.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    pub(super) user_id: UserId,
    /// The token that the call bears; a user token is none.
    pub(super) token: Option<TokenId>,
}

impl Model {
    /// The accounts of a configuration, each with its first token, made at `now`.
    #[must_use]
    pub fn new(config: Config, now: Timestamp) -> Self {
        let accounts = config.accounts.clone();
        let mut model = Self {
            config,
            tokens: BTreeMap::new(),
            bearers: BTreeMap::new(),
            admins: BTreeMap::new(),
            made: 0,
            minted: 0,
            revoked: Vec::new(),
        };
        for account in accounts {
            model.open(account, now);
        }
        model
    }

    fn open(&mut self, account: Account, now: Timestamp) {
        let user_id = account.user_id;
        if let Some(user_token) = account.user_token {
            let caller = Caller {
                user_id: user_id.clone(),
                token: None,
            };
            self.bearers.insert(user_token.hash(), caller);
        }
        let admin = self.make(user_id.clone(), Vec::new(), Map::new(), now);
        let value = admin.value.clone();
        self.admins.insert(user_id, value);
    }

    /// A stranger makes a token in the console; `None`: there is no such account.
    pub fn stranger(
        &mut self,
        user_id: &UserId,
        tags: Vec<String>,
        now: Timestamp,
    ) -> Option<LiveToken> {
        self.account(user_id)?;
        let token = self.make(user_id.clone(), tags, Map::new(), now);
        Some(token.seen.clone())
    }

    /// Someone revokes a token in the console; `false`: there was none.
    pub fn revoke(&mut self, id: &TokenId) -> bool {
        let gone = self.tokens.remove(id);
        if let Some(token) = &gone {
            self.bearers.remove(&token.seen.hash);
        }
        gone.is_some()
    }

    /// All live tokens, in the order of their ids.
    pub fn live(&self) -> impl Iterator<Item = &LiveToken> {
        self.tokens.values().map(|token| &token.seen)
    }

    /// The value of a live token, for whoever plays its holder.
    #[must_use]
    pub fn value(&self, id: &TokenId) -> Option<&TokenValue> {
        self.tokens.get(id).map(|token| &token.value)
    }

    /// The first token of an account, which is its credential unless it was revoked since.
    #[must_use]
    pub fn admin(&self, user_id: &UserId) -> Option<&TokenValue> {
        self.admins.get(user_id)
    }

    /// The account of a user.
    #[must_use]
    pub fn account(&self, user_id: &UserId) -> Option<&Account> {
        let mut accounts = self.config.accounts.iter();
        accounts.find(|account| account.user_id == *user_id)
    }

    /// How many POSTs took effect.
    #[must_use]
    pub fn minted(&self) -> u64 {
        self.minted
    }

    /// The ids that calls of the API revoked, in order.
    #[must_use]
    pub fn revoked(&self) -> &[TokenId] {
        &self.revoked
    }

    pub(super) fn make(
        &mut self,
        user_id: UserId,
        tags: Vec<String>,
        metadata: Map<String, Value>,
        now: Timestamp,
    ) -> &Token {
        let number = self.made;
        self.made += 1;
        let id = derived_id(self.config.seed, number);
        let value = derived_value(self.config.seed, number);
        let caller = Caller {
            user_id: user_id.clone(),
            token: Some(id.clone()),
        };
        self.bearers.insert(value.hash(), caller);
        let seen = LiveToken {
            id: id.clone(),
            user_id,
            tags,
            created_at: now,
            used_at: None,
            hash: value.hash(),
        };
        self.tokens.entry(id).or_insert(Token {
            seen,
            value,
            metadata,
            number,
        })
    }
}

fn derived_id(seed: u64, number: u64) -> TokenId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&derived(seed, "id", number)[..16]);
    let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
    TokenId::parse(&uuid.to_string()).unwrap_or_else(|_| unreachable!("a UUID is an id"))
}

fn derived_value(seed: u64, number: u64) -> TokenValue {
    let text = format!("platform-v1-{}", hex(&derived(seed, "value", number)));
    TokenValue::parse(&text).unwrap_or_else(|_| unreachable!("hex makes a value"))
}

fn derived(seed: u64, what: &str, number: u64) -> [u8; 32] {
    Sha256::digest(format!("{seed}/{what}/{number}")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserId {
        Account::default().user_id
    }

    fn model(seed: u64) -> Model {
        let config = Config {
            seed,
            ..Config::default()
        };
        Model::new(config, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn ids_and_values_follow_from_the_seed() {
        let tokens = |seed| -> Vec<LiveToken> {
            let mut model = model(seed);
            model.stranger(&user(), Vec::new(), Timestamp::UNIX_EPOCH);
            model.live().cloned().collect()
        };
        assert_eq!(tokens(1), tokens(1));
        assert!(tokens(1).iter().all(|token| !tokens(2).contains(token)));
    }

    #[test]
    fn ids_and_values_look_like_those_of_the_platform() {
        for number in 0..20 {
            assert!(uuid::Uuid::parse_str(derived_id(7, number).as_str()).is_ok());
            let value = derived_value(7, number);
            let digits = value.expose().strip_prefix("platform-v1-").unwrap();
            assert_eq!(digits.len(), 64);
            assert!(
                digits
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
            );
        }
    }

    #[test]
    fn a_stranger_mints_and_revokes_without_a_call() {
        let mut model = model(1);
        let tags = vec!["theirs".to_owned()];
        let token = model
            .stranger(&user(), tags, Timestamp::UNIX_EPOCH)
            .unwrap();
        assert_eq!(model.live().count(), 2);
        assert_eq!(model.value(&token.id).unwrap().hash(), token.hash);
        assert!(model.revoke(&token.id));
        assert!(!model.revoke(&token.id));
        assert_eq!((model.minted(), model.revoked()), (0, &[][..]));
    }

    #[test]
    fn there_are_no_strangers_in_an_account_that_does_not_exist() {
        let nobody = UserId::parse("nobody").unwrap();
        let made = model(1).stranger(&nobody, Vec::new(), Timestamp::UNIX_EPOCH);
        assert_eq!(made, None);
    }

    #[test]
    fn debug_output_of_the_whole_model_shows_no_value() {
        let model = model(1);
        let value = model.admin(&user()).unwrap();
        assert!(!format!("{model:?}").contains(&value.expose()[12..]));
    }
}
