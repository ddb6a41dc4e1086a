//! What the user is told of an account.

use super::report::{Told, conditions};
use super::{Identity, Moment, Stock, Trouble};
use crate::api::{AccountStatus, Reason};

/// What came of proving an account.
pub type Proof = Result<Identity, Trouble>;

/// The status of an account after it was proven, or was not, for the `failures`th time in a row. Who it was stays on show
/// while it is broken.
#[must_use]
pub fn report_account(
    former: &AccountStatus,
    proof: &Proof,
    failures: u32,
    warning: Option<&str>,
    stock: Option<&Stock>,
    generation: Option<i64>,
    now: Moment,
) -> AccountStatus {
    let mut status = AccountStatus {
        observed_generation: generation,
        // Whoever looks wants to know whether it is one or many. Each number would be one write for each try.
        failures: failures.checked_ilog2().map_or(0, |power| 1 << power),
        ..former.clone()
    };
    let now_is = match proof {
        Ok(identity) => {
            status.user_id.clone_from(&identity.user_id);
            status.username.clone_from(&identity.username);
            status.dialect = Some(identity.dialect);
            let mut message = match (&identity.username, &identity.user_id) {
                (Some(name), _) => format!("the platform answers as user {name}"),
                (None, Some(id)) => format!("the platform answers as user {id}"),
                (None, None) => {
                    "the platform answers; its first token will tell the user".to_owned()
                }
            };
            if let Some(warning) = warning {
                message.push_str("; ");
                message.push_str(warning);
            }
            Ok(Told {
                reason: Reason::Proven,
                message,
            })
        }
        Err(trouble) => Err(trouble),
    };
    if let Some(stock) = stock {
        status.count(stock);
    }
    status.conditions = conditions(&former.conditions, now_is, generation, now);
    status
}
