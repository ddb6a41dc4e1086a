//! Others who use the same account: they make, use and revoke tokens that are none of the operator's.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HeaderMap};
use platform_token_operator::api::{TokenId, names};
use platform_token_operator::sandbox::{Exchange, Verb};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::dice::Dice;

/// Between so many milliseconds after one act comes the next.
const PACE: (u64, u64) = (200, 1500);

/// The most tokens that they hold.
const TOKENS: usize = 40;

/// As many tokens they hold before the operator comes; on an exclusive account no others are made.
const FIRST: usize = 8;

/// The strangers on one account.
pub(crate) struct Strangers {
    account: Arc<Account>,
    dice: Dice,
    /// Tokens that they ever made.
    pub made: u64,
}

impl Strangers {
    /// They hold some tokens from the beginning.
    pub(crate) fn new(account: Arc<Account>, seed: u64) -> Self {
        let mut strangers = Self {
            dice: Dice::of(seed, &format!("strangers of {}", account.home.namespace)),
            account,
            made: 0,
        };
        for _ in 0..FIRST {
            strangers.make();
        }
        strangers
    }

    /// Acts until told to stop.
    pub(crate) async fn act(mut self, stop: CancellationToken) -> Self {
        while !stop.is_cancelled() {
            let mine: Vec<TokenId> = self.account.strangers().iter().cloned().collect();
            match self.dice.between(0, 9) {
                0..=3 if mine.len() < TOKENS && !self.account.home.exclusive => self.make(),
                0..=4 if !mine.is_empty() => {
                    let id = self.dice.pick(&mine);
                    self.revoke(&id);
                }
                _ if !mine.is_empty() => {
                    let id = self.dice.pick(&mine);
                    self.use_it(&id);
                }
                _ => {}
            }
            sleep(self.dice.millis(PACE.0, PACE.1)).await;
        }
        self
    }

    /// Makes a token; some have the tags of an operator in another cluster.
    fn make(&mut self) {
        let (account, dice) = (&self.account, &mut self.dice);
        let other = format!("other-{}", self.made);
        let tags = dice.pick(&[
            vec![],
            vec!["theirs".to_owned()],
            vec![
                names::OPERATOR.to_owned(),
                "cluster=other".to_owned(),
                format!("namespace={}", account.home.namespace),
                format!("uid={other}"),
                format!("attempt={other}"),
            ],
        ]);
        let id = account.sandbox.with(|sandbox, now| {
            let token = sandbox.model.stranger(&account.user, tags, now);
            token.unwrap().id
        });
        account.strangers().insert(id);
        self.made += 1;
    }

    fn revoke(&self, id: &TokenId) {
        let account = &self.account;
        let mut strangers = account.strangers();
        let lived = account.sandbox.with(|sandbox, _| sandbox.model.revoke(id));
        // One that was gone already stays on the list: someone else revoked it.
        if lived {
            strangers.remove(id);
        }
    }

    fn use_it(&self, id: &TokenId) {
        self.account.sandbox.with(|sandbox, now| {
            let Some(value) = sandbox.model.value(id) else {
                return;
            };
            let mut headers = HeaderMap::new();
            let bearer = format!("Bearer {}", value.expose());
            headers.insert(AUTHORIZATION, bearer.parse().unwrap());
            headers.insert(ACCEPT, "application/json".parse().unwrap());
            let call = Exchange::new(Verb::Get, "/api/v1/applications/", &headers, Bytes::new());
            sandbox.model.handle(&call, now);
        });
    }
}
