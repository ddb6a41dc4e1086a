//! What each small number is called in the types of the operator.

use std::collections::HashMap;

use k8s_openapi::jiff::Timestamp;
use platform_token_operator::api::{
    Attempt, AttemptAccount, AttemptId, AttemptRef, Dialect, Issued, Owner, TokenHash, TokenId,
    TokenValue, UserId,
};
use platform_token_operator::plan::Minted;

use crate::world::{self, GROUP};

/// The platform that everything happens on.
pub(crate) const PLATFORM: &str = "https://platform";

/// The id of an attempt that is still to be opened.
const FRESH: &str = "fresh";

/// All names, made once.
pub(crate) struct Names {
    pub owners: [Owner; 2],
    pub user: UserId,
    pub fresh: AttemptId,
    pub past: Timestamp,
    ids: Vec<TokenId>,
    values: Vec<TokenValue>,
    hashes: Vec<TokenHash>,
    by_hash: HashMap<String, u8>,
    attempts: Vec<AttemptId>,
}

impl Names {
    pub(crate) fn new() -> Self {
        let all = || 0..3 * GROUP;
        let values: Vec<TokenValue> = all()
            .map(|n| TokenValue::parse(&format!("platform-{n}")).unwrap())
            .collect();
        let hashes: Vec<TokenHash> = values.iter().map(TokenValue::hash).collect();
        let owner = |name: &str| Owner::parse(&format!("cluster/ns/{name}/uid-{name}")).unwrap();
        Self {
            owners: [owner("x"), owner("y")],
            user: UserId::parse("user").unwrap(),
            fresh: AttemptId::parse(FRESH).unwrap(),
            past: "2026-01-01T00:00:00Z".parse().unwrap(),
            ids: all()
                .map(|n| TokenId::parse(&n.to_string()).unwrap())
                .collect(),
            by_hash: hashes
                .iter()
                .map(|hash| hash.as_str().to_owned())
                .zip(0..)
                .collect(),
            values,
            hashes,
            attempts: all()
                .map(|n| AttemptId::parse(&n.to_string()).unwrap())
                .collect(),
        }
    }

    pub(crate) fn id(&self, token: u8) -> &TokenId {
        &self.ids[usize::from(token)]
    }

    pub(crate) fn value(&self, token: u8) -> &TokenValue {
        &self.values[usize::from(token)]
    }

    pub(crate) fn hash(&self, token: u8) -> &TokenHash {
        &self.hashes[usize::from(token)]
    }

    pub(crate) fn number_of_hash(&self, hash: &TokenHash) -> u8 {
        self.by_hash[hash.as_str()]
    }

    pub(crate) fn id_of_attempt(&self, attempt: u8) -> &AttemptId {
        &self.attempts[usize::from(attempt)]
    }

    pub(crate) fn attempt_ref(&self, at: world::At) -> AttemptRef {
        AttemptRef {
            number: at.number.into(),
            id: self.id_of_attempt(at.id).clone(),
        }
    }

    pub(crate) fn attempt(&self, attempt: &world::Attempt, dialect: Dialect) -> Attempt {
        Attempt {
            at: self.attempt_ref(attempt.at),
            opened_at: self.past,
            dialect,
            given_up: attempt
                .given_up
                .iter()
                .map(|token| self.id(*token).clone())
                .collect(),
            adopts: None,
            owner: self.owners[usize::from(attempt.at.id / GROUP)].clone(),
            account: AttemptAccount {
                base_url: PLATFORM.into(),
                user_id: Some(self.user.clone()),
            },
        }
    }

    pub(crate) fn issued(&self, issued: world::Issued) -> Issued {
        Issued {
            attempt: self.attempt_ref(issued.at),
            token_id: self.id(issued.token).clone(),
            hash: self.hash(issued.token).clone(),
            issued_at: self.past,
            base_url: PLATFORM.into(),
            user_id: self.user.clone(),
        }
    }

    pub(crate) fn minted(&self, token: u8) -> Minted {
        Minted {
            token_id: self.id(token).clone(),
            value: self.value(token).clone(),
            user_id: self.user.clone(),
            created_at: self.past,
        }
    }
}

/// The number of an upstream token.
pub(crate) fn token(id: &TokenId) -> u8 {
    number(id.as_str())
}

/// The numbers of upstream tokens, in order.
pub(crate) fn tokens<'a>(ids: impl IntoIterator<Item = &'a TokenId>) -> Vec<u8> {
    let mut numbers: Vec<u8> = ids.into_iter().map(token).collect();
    numbers.sort_unstable();
    numbers
}

/// The number of the token that a value belongs to.
pub(crate) fn token_of(value: &TokenValue) -> u8 {
    number(value.expose().trim_start_matches("platform-"))
}

/// A resourceVersion, or any other number that is written as itself.
pub(crate) fn number(text: &str) -> u8 {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} names nothing here"))
}

/// Number and id of an attempt that was opened.
pub(crate) fn at(at: &AttemptRef) -> world::At {
    world::At {
        number: u8::try_from(at.number).expect("numbers are small here"),
        id: number(at.id.as_str()),
    }
}

/// What is recorded of a token.
pub(crate) fn issued(issued: &Issued) -> world::Issued {
    world::Issued {
        at: at(&issued.attempt),
        token: token(&issued.token_id),
    }
}
