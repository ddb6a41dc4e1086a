//! Finalizers that someone takes off by hand: whoever does so answers for the token. What keeps its value behind a
//! finalizer still revokes it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::{PlatformAccount, PlatformToken};
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Shape, Verb, When};
use serde_json::{Value, json};

use super::{
    SOME, delete_namespace, in_both_dialects, name, until_namespace_is_gone_within,
    until_objects_are_gone,
};
use crate::support::{World, eventually};

fn no_finalizer() -> Value {
    json!({ "metadata": { "finalizers": null } })
}

/// From now on nothing can be revoked.
fn refuse_revocations(world: &World) {
    let unavailable = Fault::Status {
        when: When::Before,
        status: 503,
        body: Shape::Detail,
        retry_after: None,
    };
    let revocation = Match::on(Verb::Delete, Route::Token);
    world
        .platform
        .script(vec![Rule::always(revocation, unavailable)]);
}

/// Someone loses patience with PlatformTokens that wait for a platform that is down.
async fn lose_patience(world: &World) {
    refuse_revocations(world);
    for n in 0..SOME {
        world.delete::<PlatformToken>(&name(n)).await;
        world.until_trouble(&name(n), "Unreachable").await;
        world.patch::<PlatformToken>(&name(n), no_finalizer()).await;
        world.until_gone::<PlatformToken>(&name(n)).await;
    }
    assert_eq!(world.live().len(), SOME, "nobody has revoked them");
    world.platform.script(vec![]);
}

#[tokio::test]
async fn a_secret_that_a_platformtoken_without_its_finalizer_left_revokes_itself_when_it_goes() {
    in_both_dialects(async |world| {
        lose_patience(world).await;
        world.delete::<PlatformAccount>("main").await;
        for n in 0..SOME {
            world.delete::<Secret>(&name(n)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_namespace_goes_and_its_tokens_are_revoked_though_finalizers_were_taken_off() {
    in_both_dialects(async |world| {
        lose_patience(world).await;
        delete_namespace(world).await;
        // The operator looks for such Secrets every 10 s, and Kubernetes again after 8.
        until_namespace_is_gone_within(world, Duration::from_mins(1)).await;
    })
    .await;
}

#[tokio::test]
async fn whoever_takes_both_finalizers_off_answers_for_the_token_which_tags_list_as_unclaimed() {
    // Tokens are old enough to be judged at once.
    let world = World::behind(Config::default(), Duration::from_mins(3)).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    world
        .account("main", json!({ "resyncInterval": "10s" }))
        .await;
    world.ready_token("given-up").await;
    refuse_revocations(&world);
    world.delete::<PlatformToken>("given-up").await;
    world.until_trouble("given-up", "Unreachable").await;
    world
        .patch::<PlatformToken>("given-up", no_finalizer())
        .await;
    world.until_gone::<PlatformToken>("given-up").await;
    world.patch::<Secret>("given-up", no_finalizer()).await;
    world.delete::<Secret>("given-up").await;
    until_objects_are_gone(&world).await;
    world.platform.script(vec![]);

    let live = world.live();
    assert_eq!(live.len(), 1, "nothing is left to revoke it with");
    let accounts = world.api::<PlatformAccount>();
    eventually("the account lists it", || async {
        let status = accounts.get("main").await.unwrap().status?;
        let listed = status.unclaimed_token_ids.contains(&live[0].id);
        listed.then_some(())
    })
    .await;
}
