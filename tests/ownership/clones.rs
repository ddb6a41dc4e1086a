//! Two clusters on one account: the second has the objects of the first. Each has an operator of its own, and the first
//! one's goes on.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::{PlatformToken, names};
use platform_token_operator::sandbox::Config;
use serde_json::{Value, json};

use super::{Backup, answers, id_of, lives, owner_of, until_told};
use crate::support::{World, condition, is_ready, plane, scoped_plane};

/// A namespace with the PlatformToken `token`, and one of the same name in another cluster with what a backup of the first
/// holds.
async fn clone() -> (World, World) {
    let first = World::on(scoped_plane(), Config::default(), Duration::ZERO).await;
    first.main_account().await;
    first.ready_token("token").await;
    let mut backup = Backup::of(&first, "token").await;
    // As it is where the operator serves the whole cluster.
    backup.secret["metadata"]["finalizers"] = json!([names::FINALIZER]);
    let second = first.elsewhere(plane()).await;
    second.main_account().await;
    backup.restore(&second).await;
    (first, second)
}

async fn annotate(world: &World, take_over: Value) {
    let annotations = json!({ "metadata": { "annotations": { names::TAKE_OVER: take_over } } });
    world.patch::<PlatformToken>("token", annotations).await;
}

/// The first cluster has what it had, and nothing was minted.
async fn is_unharmed(first: &World) {
    let token = first.api::<PlatformToken>().get("token").await.unwrap();
    assert!(is_ready(&token) && answers(first, "token").await);
    assert_eq!((first.minted(), first.live().len()), (1, 1));
}

#[tokio::test]
async fn a_clone_says_ownershipconflict_and_does_nothing_to_the_token() {
    let (first, second) = clone().await;
    let owner = owner_of(&first, "token").await;
    let before = second.secret("token").await.unwrap();
    let message = second.until_trouble("token", "OwnershipConflict").await;
    let says = format!("annotate it with {}: {owner};", names::TAKE_OVER);
    assert!(message.contains(&says), "{message}");
    let token = second.api::<PlatformToken>().get("token").await.unwrap();
    assert!(condition(&token, "Stalled").is_some());
    // Another owner than that of the Secret takes nothing over.
    annotate(&second, json!(format!("{owner}0"))).await;
    second.until_trouble("token", "OwnershipConflict").await;
    assert_eq!(
        second.secret("token").await.unwrap(),
        before,
        "its workloads go on"
    );
    assert_eq!(
        first
            .answers(&crate::support::value(&before, "token"))
            .await,
        200
    );
    is_unharmed(&first).await;

    second.delete::<PlatformToken>("token").await;
    second.until_gone::<PlatformToken>("token").await;
    is_unharmed(&first).await;
    second.delete::<Secret>("token").await;
    second.until_gone::<Secret>("token").await;
    is_unharmed(&first).await;
}

#[tokio::test]
async fn a_clone_that_is_told_so_takes_over_and_revokes_what_it_took() {
    let (first, second) = clone().await;
    second.until_trouble("token", "OwnershipConflict").await;
    let owner = owner_of(&first, "token").await;
    annotate(&second, json!(owner)).await;
    let token = second.until_ready("token").await;
    let id = id_of(&first.api::<PlatformToken>().get("token").await.unwrap());
    assert_eq!(id_of(&token), id);
    until_told(&second, "token", "TakenOver", &owner).await;
    assert!(
        owner_of(&second, "token")
            .await
            .ends_with(&token.metadata.uid.unwrap())
    );
    is_unharmed(&first).await;
    second.delete::<PlatformToken>("token").await;
    second.until_gone::<PlatformToken>("token").await;
    second.until_gone::<Secret>("token").await;
    assert!(!lives(&first, &id));
}

#[tokio::test]
async fn a_clones_namespace_goes_and_leaves_the_token_alone() {
    let (first, second) = clone().await;
    second.until_trouble("token", "OwnershipConflict").await;
    let namespace = &second.namespace;
    second
        .kubectl(&["delete", "namespace", namespace, "--timeout=60s"])
        .await;
    is_unharmed(&first).await;
}

#[tokio::test]
async fn a_clone_without_the_secret_has_a_token_of_its_own() {
    let (first, second) = clone().await;
    second.until_trouble("token", "OwnershipConflict").await;
    second.delete::<Secret>("token").await;
    let token = second.until_ready("token").await;
    let id = id_of(&first.api::<PlatformToken>().get("token").await.unwrap());
    assert_ne!(id_of(&token), id);
    second.delete::<PlatformToken>("token").await;
    second.until_gone::<PlatformToken>("token").await;
    assert!(lives(&first, &id) && answers(&first, "token").await);
    assert_eq!((first.minted(), first.live().len()), (2, 1));
}
