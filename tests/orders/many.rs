//! Many PlatformTokens at once.

use std::time::Duration;

use platform_token_operator::sandbox::Config;
use serde_json::json;

use super::{delete_namespace, populate, until_namespace_is_gone_within};
use crate::support::World;

/// So many take Kubernetes and the operator 18 s on two cores that do nothing else.
const GONE_WITHIN: Duration = Duration::from_mins(1);

/// PlatformTokens in one namespace.
const MANY: usize = 500;

#[tokio::test]
async fn a_namespace_goes_with_five_hundred_platformtokens() {
    let world = World::bare(Config::default()).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    let limit = json!({ "requestsPerSecond": 100_000, "burst": 100_000 });
    world.account("main", json!({ "rateLimit": limit })).await;
    populate(&world, MANY).await;
    assert_eq!(world.live().len(), MANY);
    delete_namespace(&world).await;
    until_namespace_is_gone_within(&world, GONE_WITHIN).await;
    assert!(world.live().is_empty(), "{} live", world.live().len());
}
