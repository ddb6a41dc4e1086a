//! Whose tokens the sandbox holds, and which of the possible platforms it is.

use std::time::Duration;

use serde::Serialize;

use crate::api::{Credential, Dialect, UserId};

/// How the sandbox behaves. What public facts leave open is a field: the operator has to live with either truth.
///
/// ```
/// use platform_token_operator::api::Dialect;
/// use platform_token_operator::sandbox::Config;
///
/// let config = Config { dialect: Dialect::Documented, page_cap: 10, ..Config::default() };
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The dialect that it answers in.
    pub dialect: Dialect,
    /// All ids and values follow from it.
    pub seed: u64,
    /// Whose tokens it holds.
    pub accounts: Vec<Account>,
    /// The most rows of a page, however many are asked for.
    pub page_cap: usize,
    /// Whether a token that deletes itself gets 403.
    pub refuse_self_deletion: bool,
    /// Whether values are shown only by the POST that makes them.
    pub mask_values: bool,
    /// How long a new token is missing from lists.
    pub list_lag: Duration,
    /// How long every answer takes.
    pub latency: Duration,
}

impl Default for Config {
    /// The platform of today with one account.
    fn default() -> Self {
        Self {
            dialect: Dialect::Current,
            seed: 0,
            accounts: vec![Account::default()],
            page_cap: 100,
            refuse_self_deletion: false,
            mask_values: false,
            list_lag: Duration::ZERO,
            latency: Duration::ZERO,
        }
    }
}

/// An account. It starts with one platform token, its credential: [`Model::admin`].
#[derive(Debug, Clone, Serialize)]
pub struct Account {
    /// The id of its user.
    pub user_id: UserId,
    /// The name of its user.
    pub username: String,
    /// The address of its user.
    pub email: String,
    /// A credential beside the platform tokens, as a login to the console gives.
    #[serde(skip)]
    pub user_token: Option<Credential>,
}

impl Account {
    /// The account of a user whose name is also the user's id.
    #[must_use]
    pub fn named(user_id: UserId) -> Self {
        Self {
            username: user_id.to_string(),
            email: format!("{user_id}@example.com"),
            user_id,
            user_token: None,
        }
    }
}

impl Default for Account {
    fn default() -> Self {
        let user_id = UserId::parse("sandbox");
        Self::named(user_id.unwrap_or_else(|_| unreachable!("a word is an id")))
    }
}
