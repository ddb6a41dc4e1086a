//! Somebody deletes the account, or its credentials, and makes it again a while later.

use std::sync::Arc;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::dice::Dice;

/// So many milliseconds it is there, and so many it is away.
const THERE: (u64, u64) = (1000, 12_000);
const AWAY: (u64, u64) = (50, 6000);

/// What happens to one account.
pub(crate) struct Outages {
    account: Arc<Account>,
    dice: Dice,
    /// How often the account was deleted, and its credentials were.
    pub accounts: u64,
    pub credentials: u64,
}

impl Outages {
    pub(crate) fn new(account: Arc<Account>, seed: u64) -> Self {
        Self {
            dice: Dice::of(seed, &format!("outages of {}", account.home.namespace)),
            account,
            accounts: 0,
            credentials: 0,
        }
    }

    /// Acts until told to stop; what was taken away is there again then.
    pub(crate) async fn act(mut self, stop: CancellationToken) -> Self {
        let account = self.account.clone();
        let home = &account.home;
        while !stop.is_cancelled() {
            sleep(self.dice.millis(THERE.0, THERE.1)).await;
            let away = self.dice.millis(AWAY.0, AWAY.1);
            // The baseline of an exclusive account goes with it, and what was made before the new one stays for good.
            if !home.exclusive && self.dice.percent(50) {
                home.delete_account().await;
                let _ = timeout(away, stop.cancelled()).await;
                home.make_account().await;
                self.accounts += 1;
            } else {
                home.delete_credentials().await;
                let _ = timeout(away, stop.cancelled()).await;
                home.make_credentials().await;
                self.credentials += 1;
            }
        }
        self
    }
}
