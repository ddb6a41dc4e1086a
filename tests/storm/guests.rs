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

/// At so many of a hundred looks they leave, if they may.
const LEAVE: u64 = 50;

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
    There,
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
                Stay::There if self.dice.percent(LEAVE) && self.may_leave().await => {
                    self.leave().await;
                }
                Stay::Leaving if self.account.guests.is_gone().await => self.stay = Stay::Away,
                Stay::There | Stay::Leaving => {}
            }
            sleep(self.dice.millis(PACE.0, PACE.1)).await;
        }
        self
    }

    /// Deletes the namespace, if there is one that is not going.
    pub(crate) async fn leave(&mut self) {
        if self.stay != Stay::There {
            return;
        }
        self.account.guests.delete().await;
        self.living.clear();
        self.stay = Stay::Leaving;
        self.left += 1;
    }

    /// Their account is in the namespace as well, or one of the cluster, which stays.
    async fn arrive(&mut self) {
        let guests = &self.account.guests;
        let account = if self.dice.percent(50) {
            guests.make_namespace().await;
            AccountRef {
                kind: AccountKind::ClusterPlatformAccount,
                name: self.account.home.namespace.clone(),
            }
        } else {
            guests.make().await;
            Home::account()
        };
        for _ in 0..self.dice.between(TOKENS.0, TOKENS.1) {
            let name = format!("guest-{}", self.created);
            let uid = guests.make_token(&name, account.clone()).await.unwrap();
            self.account.log().guests.insert(uid);
            self.living.insert(name);
            self.created += 1;
        }
        self.stay = Stay::There;
    }

    /// A deletion of a namespace may remove a PlatformToken in spite of a finalizer that is written in the same moment.
    /// Where there are no tags, nothing tells of its token if the operator dies then; so they wait until none is made.
    async fn may_leave(&self) -> bool {
        if self.account.dialect == Dialect::Current {
            return true;
        }
        let tokens = self.account.guests.tokens();
        let tokens = tokens.list(&ListParams::default()).await.unwrap().items;
        tokens.iter().all(is_ready)
    }
}
