//! A PlatformToken that is created anew finds what the former one of its name has left.

use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::PlatformToken;
use serde_json::json;

use super::{answers, forsake, id_of, lives, owner_of, until_told};
use crate::support::{World, condition};

#[tokio::test]
async fn a_token_that_is_deleted_and_created_anew_is_another_one() {
    let world = World::new().await;
    let first = world.ready_token("again").await;
    let delete = [
        "delete",
        "platformtoken",
        "again",
        "-n",
        &world.namespace,
        "--cascade=orphan",
    ];
    world.kubectl(&delete).await;
    let second = world.ready_token("again").await;
    assert_ne!(id_of(&first), id_of(&second));
    assert_eq!((world.minted(), world.live().len()), (2, 1));
    assert!(answers(&world, "again").await);
}

#[tokio::test]
async fn a_secret_that_is_still_going_is_waited_for() {
    let world = World::new().await;
    let first = world.ready_token("again").await;
    let kept = json!({ "metadata": { "finalizers": ["platform.acedata.cloud/revoke", "example.com/keep"] } });
    world.patch::<Secret>("again", kept).await;
    world.until_ready("again").await;
    world.delete::<PlatformToken>("again").await;
    world.until_gone::<PlatformToken>("again").await;
    world.token("again", json!({})).await;
    let message = world.until_trouble("again", "SecretNotWritable").await;
    assert!(
        message.contains("is being deleted; its name is waited for"),
        "{message}"
    );
    let token = world.api::<PlatformToken>().get("again").await.unwrap();
    assert!(
        condition(&token, "Reconciling").is_some(),
        "nobody has to act"
    );
    assert_eq!((world.minted(), world.live().len()), (1, 0));
    let released = json!({ "metadata": { "finalizers": null } });
    world.patch::<Secret>("again", released).await;
    assert_ne!(id_of(&world.until_ready("again").await), id_of(&first));
    assert_eq!((world.minted(), world.live().len()), (2, 1));
}

#[tokio::test]
async fn what_a_platformtoken_left_without_its_finalizer_is_taken_over_by_the_next() {
    // The next one has the same name, the same name and another Secret, or wants that Secret by another name.
    for (name, secret) in [
        ("again", None),
        ("again", Some("moved")),
        ("heir", Some("again")),
    ] {
        let world = World::new().await;
        let first = id_of(&world.ready_token("again").await);
        forsake(&world, "again").await;
        let spec = secret.map_or(json!({}), |secret| json!({ "secret": { "name": secret } }));
        world.token(name, spec).await;
        let heir = world.until_ready(name).await;
        assert_eq!(id_of(&heir), first, "{name} {secret:?}");
        until_told(&world, name, "TakenOver", &first).await;
        let secret = secret.unwrap_or("again");
        let uid = heir.metadata.uid.as_ref().unwrap();
        let owner = owner_of(&world, secret).await;
        assert!(owner.ends_with(&format!("/{name}/{uid}")), "{owner}");
        assert_eq!((world.minted(), world.live().len()), (1, 1));
        world.delete::<PlatformToken>(name).await;
        world.until_gone::<PlatformToken>(name).await;
        for secret in [secret, "again"] {
            world.until_gone::<Secret>(secret).await;
        }
        assert!(world.live().is_empty());
    }
}

#[tokio::test]
async fn of_two_that_want_what_was_left_one_has_it() {
    let world = World::new().await;
    let first = id_of(&world.ready_token("again").await);
    forsake(&world, "again").await;
    let wanted = json!({ "secret": { "name": "again" } });
    world.token("one", wanted.clone()).await;
    world.token("two", wanted).await;
    let (heir, other) = tokio::select! {
        _ = world.until_ready("one") => ("one", "two"),
        _ = world.until_ready("two") => ("two", "one"),
    };
    let message = world.until_trouble(other, "SecretNotWritable").await;
    let says = format!("belongs to PlatformToken {}/{heir}", world.namespace);
    assert!(message.contains(&says), "{message}");
    world.delete::<PlatformToken>(other).await;
    world.until_gone::<PlatformToken>(other).await;
    assert_eq!(id_of(&world.until_ready(heir).await), first);
    assert!(answers(&world, "again").await);
    assert_eq!((world.minted(), world.live().len()), (1, 1));
}

#[tokio::test]
async fn what_was_left_without_its_value_is_not_taken_over() {
    let world = World::new().await;
    let first = id_of(&world.ready_token("again").await);
    forsake(&world, "again").await;
    world
        .patch::<Secret>("again", crate::support::no_value())
        .await;
    world.token("again", json!({})).await;
    let message = world.until_trouble("again", "SecretNotWritable").await;
    assert!(
        message.contains("does not hold the token that it records"),
        "{message}"
    );
    assert_eq!(world.minted(), 1);
    // Whoever deletes the Secret frees the name; by a record alone nothing is revoked.
    world.delete::<Secret>("again").await;
    assert_ne!(id_of(&world.until_ready("again").await), first);
    assert!(lives(&world, &first));
}
