//! Guests: they make a namespace with some PlatformTokens, and later delete it as a whole, again and again.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::api::ListParams;
use platform_token_operator::api::{AccountKind, AccountRef, Dialect};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::count::is_ready;
use crate::dice::Dice;
use crate::home::Home;

/// Between so many milliseconds after one look comes the next.
const PACE: (u64, u64) = (200, 1500);

/// So many PlatformTokens they make.
const TOKENS: (u64, u64) = (2, 6);

/// The guests of one account.
pub(crate) struct Guests {
    account: Arc<Account>,
    dice: Dice,
    stay: Stay,
    /// Their PlatformTokens, as long as nobody has deleted their namespace.
    pub living: BTreeSet<String>,
    pub created: u64,
    /// Namespaces that were deleted.
    pub left: u64,
}

/// Where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// There is no namespace.
    Away,
    /// Their PlatformTokens use an account of the cluster, which stays: they leave when they please.
    WithTheirTokens,
    /// Their account and its credentials are in the namespace as well. They leave when all is Ready: nobody could find
    /// out any more what an attempt has made when its account is gone for good.
    WithAllTheyHave,
    /// The namespace is going.
    Leaving,
}

impl Guests {
    pub(crate) fn new(account: Arc<Account>, seed: u64) -> Self {
        Self {
            dice: Dice::of(seed, &format!("guests of {}", account.home.namespace)),
            account,
            stay: Stay::Away,
            living: BTreeSet::new(),
            created: 0,
            left: 0,
        }
    }

    /// Acts until told to stop.
    pub(crate) async fn act(mut self, stop: CancellationToken) -> Self {
        while !stop.is_cancelled() {
            match self.stay {
                Stay::Away => self.arrive().await,
                Stay::WithTheirTokens => self.leave().await,
                Stay::WithAllTheyHave if self.are_ready().await => self.leave().await,
                Stay::Leaving if self.account.guests.is_gone().await => self.stay = Stay::Away,
                Stay::WithAllTheyHave | Stay::Leaving => {}
            }
            sleep(self.dice.millis(PACE.0, PACE.1)).await;
        }
        self
    }

    /// Deletes the namespace, if there is one that is not going.
    pub(crate) async fn leave(&mut self) {
        if matches!(self.stay, Stay::Away | Stay::Leaving) {
            return;
        }
        self.account.guests.delete().await;
        self.living.clear();
        self.stay = Stay::Leaving;
        self.left += 1;
    }

    async fn arrive(&mut self) {
        let guests = &self.account.guests;
        let tagged = self.account.dialect == Dialect::Current;
        let (stay, account) = if tagged && self.dice.percent(50) {
            guests.make_namespace().await;
            let account = AccountRef {
                kind: AccountKind::ClusterPlatformAccount,
                name: self.account.home.namespace.clone(),
            };
            (Stay::WithTheirTokens, account)
        } else {
            guests.make().await;
            (Stay::WithAllTheyHave, Home::account())
        };
        for _ in 0..self.dice.between(TOKENS.0, TOKENS.1) {
            let name = format!("guest-{}", self.created);
            let uid = guests.make_token(&name, account.clone()).await.unwrap();
            self.account.log().guests.insert(uid);
            self.living.insert(name);
            self.created += 1;
        }
        self.stay = stay;
    }

    async fn are_ready(&self) -> bool {
        let tokens = self.account.guests.tokens();
        let tokens = tokens.list(&ListParams::default()).await.unwrap().items;
        tokens.iter().all(is_ready)
    }
}
