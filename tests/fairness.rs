//! One broken account delays no PlatformToken of another.

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use kube::api::PostParams;
use platform_token_operator::api::{PlatformToken, UserId};
use platform_token_operator::sandbox::{Account, Config, Fault, Match, Route, Rule, Verb, When};
use serde_json::json;

use crate::support::{World, eventually};

/// More than all slots of the operator together, with the default of 32 for one account.
const WAITING: usize = 150;

#[tokio::test]
async fn an_account_that_hangs_delays_no_token_of_another() {
    let [healthy, broken] = ["healthy", "broken"].map(|name| UserId::parse(name).unwrap());
    let config = Config {
        accounts: vec![Account::named(healthy), Account::named(broken.clone())],
        ..Config::default()
    };
    let world = World::with(config).await;
    let credential = world
        .platform
        .with(|sandbox, _| sandbox.model.admin(&broken).unwrap().expose().to_owned());
    world.credentials("broken", &credential).await;
    let spec = json!({
        "credentialsSecretRef": { "name": "broken" },
        "rateLimit": { "requestsPerSecond": 1000, "burst": 1000 },
    });
    world.account("broken", spec).await;
    for account in ["main", "broken"] {
        world.until_account(account, "Proven").await;
    }
    let hang = Fault::Hang { when: When::Before };
    let of_broken = Match {
        user_id: Some(broken),
        ..Match::default()
    };
    world.platform.script(vec![Rule::always(of_broken, hang)]);
    create_on_broken(&world).await;
    eventually("calls of the broken account hang", || async {
        (posts(&world) >= 30).then_some(())
    })
    .await;

    // A POST that hangs takes 20 s.
    world.token("other", json!({})).await;
    let ready = world.until_ready("other");
    let ready = tokio::time::timeout(Duration::from_secs(10), ready).await;
    assert!(ready.is_ok(), "it waits for the broken account");
}

async fn create_on_broken(world: &World) {
    let api = world.api::<PlatformToken>();
    let create = |number: usize| {
        let token = json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformToken",
            "metadata": { "name": format!("broken-{number}") },
            "spec": { "accountRef": { "kind": "PlatformAccount", "name": "broken" } },
        });
        let token: PlatformToken = serde_json::from_value(token).unwrap();
        let api = api.clone();
        async move { api.create(&PostParams::default(), &token).await }
    };
    let created = stream::iter(0..WAITING).map(create).buffer_unordered(16);
    created.try_collect::<Vec<_>>().await.unwrap();
}

/// Calls to make a token, answered or not.
fn posts(world: &World) -> u64 {
    world.platform.with(|sandbox, _| {
        let calls = sandbox.calls().iter();
        let posts =
            calls.filter(|(call, _)| call.method == Verb::Post && call.route == Route::Tokens);
        posts.map(|(_, count)| count).sum()
    })
}
