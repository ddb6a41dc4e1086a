//! A Secret that someone deleted or edited comes back with the same token.

use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::{Dialect, PlatformToken, names};
use platform_token_operator::sandbox::Config;
use serde_json::json;

use crate::support::{World, eventually, is_ready, no_value, value};

/// Waits until the Secret is another state than `before` and the status knows that state; it holds the same token.
async fn until_repaired(world: &World, name: &str, before: &Secret) -> Secret {
    let api = world.api::<PlatformToken>();
    let repaired = eventually("the Secret is repaired and the status knows it", || async {
        let secret = world.secret(name).await?;
        let version = &secret.metadata.resource_version;
        let token = api.get(name).await.unwrap();
        let known = token
            .status
            .as_ref()
            .is_some_and(|status| status.secret_resource_version == *version);
        (known && is_ready(&token) && *version != before.metadata.resource_version)
            .then_some(secret)
    })
    .await;
    assert_eq!(value(&repaired, "token"), value(before, "token"));
    assert_eq!(
        value(&repaired, names::TOKEN_VARIABLE),
        value(before, "token")
    );
    for (key, text) in before.metadata.annotations.iter().flatten() {
        assert_eq!(
            repaired.metadata.annotations.as_ref().unwrap().get(key),
            Some(text)
        );
    }
    for (key, text) in before.metadata.labels.iter().flatten() {
        assert_eq!(
            repaired.metadata.labels.as_ref().unwrap().get(key),
            Some(text)
        );
    }
    repaired
}

#[tokio::test]
async fn a_deleted_secret_comes_back_with_the_same_token() {
    let world = World::new().await;
    world.ready_token("kept").await;
    let before = world.secret("kept").await.unwrap();
    world.delete::<Secret>("kept").await;
    let after = until_repaired(&world, "kept", &before).await;
    assert_ne!(after.metadata.uid, before.metadata.uid);
    assert_eq!((world.minted(), world.live().len()), (1, 1));
}

#[tokio::test]
async fn an_edited_secret_gets_the_same_token_again() {
    let world = World::new().await;
    for (n, edit) in [
        json!({ "data": { "token": "eA==" } }),
        json!({ "data": { "token": null } }),
        no_value(),
        json!({ "data": { "ACEDATACLOUD_PLATFORM_TOKEN": "eA==" } }),
        json!({ "metadata": { "annotations": { names::TOKEN_HASH: "00" } } }),
        json!({ "metadata": { "annotations": { names::OWNER: null } } }),
        json!({ "metadata": { "labels": { names::MANAGED_LABEL: null } } }),
        json!({ "metadata": { "finalizers": [] } }),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("edited-{n}");
        world.ready_token(&name).await;
        let before = world.secret(&name).await.unwrap();
        world.patch::<Secret>(&name, edit.clone()).await;
        let after = until_repaired(&world, &name, &before).await;
        assert_eq!(after.metadata.uid, before.metadata.uid, "{edit}");
        assert!(
            after
                .metadata
                .finalizers
                .is_some_and(|f| f == [names::FINALIZER]),
            "{edit}"
        );
        assert_eq!(
            world.minted(),
            u64::try_from(n).unwrap() + 1,
            "{edit} mints nothing"
        );
    }
}

#[tokio::test]
async fn a_value_that_no_secret_holds_comes_back_from_the_platform() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        let world = World::with(Config {
            dialect,
            ..Config::default()
        })
        .await;
        world.ready_token("gone").await;
        let before = world.secret("gone").await.unwrap();
        // Without its finalizer the Secret goes at once, and its value with it.
        world
            .patch::<Secret>("gone", json!({ "metadata": { "finalizers": [] } }))
            .await;
        world.delete::<Secret>("gone").await;
        until_repaired(&world, "gone", &before).await;
        assert_eq!((world.minted(), world.live().len()), (1, 1), "{dialect}");
    }
}

#[tokio::test]
async fn a_token_that_is_gone_with_its_value_is_minted_anew() {
    let world = World::new().await;
    world.ready_token("lost").await;
    let first = world.live().remove(0);
    world
        .platform
        .with(|sandbox, _| assert!(sandbox.model.revoke(&first.id)));
    world.patch::<Secret>("lost", no_value()).await;
    let renewed = |token: &PlatformToken| {
        token
            .status
            .as_ref()
            .is_some_and(|s| s.token_id.as_ref().is_some_and(|id| *id != first.id))
    };
    world
        .until_token("lost", "another token is there", renewed)
        .await;
    world.until_ready("lost").await;
    let secret = world.secret("lost").await.unwrap();
    assert_eq!(world.answers(&value(&secret, "token")).await, 200);
    assert_eq!((world.minted(), world.live().len()), (2, 1));
}

#[tokio::test]
async fn a_token_whose_value_is_beyond_recovery_is_replaced_and_then_revoked() {
    let world = World::new().await;
    world.ready_token("hidden").await;
    world
        .platform
        .with(|sandbox, _| sandbox.model.config.mask_values = true);
    world.patch::<Secret>("hidden", no_value()).await;
    let former = world.live()[0].id.clone();
    let replaced = |token: &PlatformToken| {
        let id = token
            .status
            .as_ref()
            .and_then(|status| status.token_id.as_ref());
        is_ready(token) && id.is_some_and(|id| *id != former)
    };
    world
        .until_token("hidden", "another token is Ready", replaced)
        .await;
    assert_eq!((world.minted(), world.live().len()), (2, 1));
    assert_ne!(world.live()[0].id, former);
}

#[tokio::test]
async fn what_users_add_to_a_secret_stays() {
    let world = World::new().await;
    world.ready_token("shared").await;
    let before = world.secret("shared").await.unwrap();
    let theirs = json!({
        "metadata": { "labels": { "team": "a" }, "annotations": { "note": "b" } },
        "data": { "extra": "eA==", "token": "eA==" },
    });
    world.patch::<Secret>("shared", theirs).await;
    let after = until_repaired(&world, "shared", &before).await;
    assert_eq!(value(&after, "extra"), "x");
    assert_eq!(after.metadata.labels.unwrap()["team"], "a");
    assert_eq!(after.metadata.annotations.unwrap()["note"], "b");
}
