//! Many PlatformTokens at once.

use std::time::Duration;

use platform_token_operator::sandbox::Config;
use serde_json::json;

use super::{delete_namespace, populate, until_namespace_is_gone_within, until_nothing_is_left};
use crate::support::World;

/// PlatformTokens in one namespace, unless the variable `MANY` says otherwise: more would be at the cost of every other
/// test.
const MANY: usize = 100;

/// 500 take Kubernetes and the operator 18 s on two cores that do nothing else.
const GONE_WITHIN: Duration = Duration::from_mins(1);

#[tokio::test]
async fn a_namespace_goes_with_hundreds_of_platformtokens() {
    let many = std::env::var("MANY").map_or(MANY, |many| many.parse().unwrap());
    let world = World::bare(Config::default()).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    let limit = json!({ "requestsPerSecond": 100_000, "burst": 100_000 });
    world.account("main", json!({ "rateLimit": limit })).await;
    populate(&world, many).await;
    assert_eq!(world.live().len(), many);
    delete_namespace(&world).await;
    until_namespace_is_gone_within(&world, GONE_WITHIN).await;
    until_nothing_is_left(&world).await;
}
