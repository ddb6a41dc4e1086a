//! Objects that come back from a backup into the cluster that they are from: they have a new uid.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::{PlatformToken, names};
use platform_token_operator::sandbox::Config;
use serde_json::json;

use super::{
    Backup, answers, forsake, id_of, lives, lose, number, owner_of, refuse_to_revoke, until_told,
};
use crate::support::{World, eventually, is_ready, value};

#[tokio::test]
async fn a_restore_with_its_secret_keeps_the_token_and_proves_it() {
    let world = World::new().await;
    let first = id_of(&world.ready_token("token").await);
    let backup = Backup::of(&world, "token").await;
    lose(&world, "token").await;
    let used = || world.live()[0].used_at;
    let before = used();
    backup.restore(&world).await;
    let token = world.until_ready("token").await;
    assert_eq!(id_of(&token), first);
    assert!(used() > before, "its own value has answered");
    until_told(&world, "token", "TakenOver", &first).await;
    let uid = token.metadata.uid.unwrap();
    assert!(owner_of(&world, "token").await.ends_with(&uid));
    assert_eq!((world.minted(), world.live().len()), (1, 1));
    assert_eq!(number(&world.secret("token").await.unwrap()), 1);
    // It is this one's in every way: repaired with the same token, and revoked.
    world.delete::<Secret>("token").await;
    until_told(&world, "token", "Repaired", &first).await;
    assert_eq!(id_of(&world.until_ready("token").await), first);
    world.delete::<PlatformToken>("token").await;
    world.until_gone::<PlatformToken>("token").await;
    world.until_gone::<Secret>("token").await;
    assert!(world.live().is_empty());
    assert_eq!(world.minted(), 1);
}

#[tokio::test]
async fn a_restore_without_its_secret_mints_one_token() {
    let world = World::new().await;
    let first = id_of(&world.ready_token("token").await);
    let backup = Backup::of(&world, "token").await;
    world.delete::<PlatformToken>("token").await;
    world.until_gone::<PlatformToken>("token").await;
    world.create::<PlatformToken>(backup.token).await;
    assert_ne!(id_of(&world.until_ready("token").await), first);
    assert_eq!((world.minted(), world.live().len()), (2, 1));
    assert_eq!(
        number(&world.secret("token").await.unwrap()),
        1,
        "its own first attempt"
    );
}

#[tokio::test]
async fn a_restored_token_that_was_revoked_meanwhile_is_replaced_soon() {
    let world = World::behind(Config::default(), Duration::from_mins(2)).await;
    world.main_account().await;
    let first = id_of(&world.ready_token("token").await);
    let backup = Backup::of(&world, "token").await;
    world.delete::<PlatformToken>("token").await;
    world.until_gone::<PlatformToken>("token").await;
    world.until_gone::<Secret>("token").await;
    backup.restore(&world).await;
    let another = |token: &PlatformToken| is_ready(token) && id_of(token) != first;
    world.until_token("token", "another token", another).await;
    assert_eq!((world.minted(), world.live().len()), (2, 1));
    assert!(answers(&world, "token").await);
    assert_eq!(
        number(&world.secret("token").await.unwrap()),
        2,
        "numbers go on"
    );
}

#[tokio::test]
async fn a_restore_on_an_account_that_is_another_users_now_leaves_the_secret_as_it_is() {
    let world = World::new().await;
    let first = id_of(&world.ready_token("token").await);
    let mut backup = Backup::of(&world, "token").await;
    lose(&world, "token").await;
    backup.secret["metadata"]["annotations"][names::USER_ID] = json!("someone-else");
    backup.restore(&world).await;
    let message = world.until_trouble("token", "AccountChanged").await;
    assert!(
        message.contains(&format!("token {first}, which Secret token holds,")),
        "{message}"
    );
    assert_eq!(world.minted(), 1);
    world.delete::<PlatformToken>("token").await;
    world.until_gone::<PlatformToken>("token").await;
    assert!(world.secret("token").await.is_some() && lives(&world, &first));
}

#[tokio::test]
async fn a_backup_that_is_restored_into_another_namespace_keeps_its_token_once_the_original_is_gone()
 {
    let world = World::new().await;
    let first = id_of(&world.ready_token("token").await);
    let backup = Backup::of(&world, "token").await;
    lose(&world, "token").await;
    let mapped = world.neighbour().await;
    mapped.main_account().await;
    backup.restore(&mapped).await;
    assert_eq!(id_of(&mapped.until_ready("token").await), first);
    assert_eq!((world.minted(), world.live().len()), (1, 1));

    // Who restores it at home as well gets a copy: no two hold one token.
    backup.restore(&world).await;
    let message = world.until_trouble("token", "SecretNotWritable").await;
    assert!(
        message.contains("is a copy: a PlatformToken of another namespace has its token"),
        "{message}"
    );
    assert!(!message.contains(&mapped.namespace), "{message}");
    world.delete::<Secret>("token").await;
    let second = id_of(&world.until_ready("token").await);
    assert_ne!(second, first);
    assert!(lives(&world, &first) && answers(&mapped, "token").await);
    mapped.delete::<PlatformToken>("token").await;
    mapped.until_gone::<PlatformToken>("token").await;
    assert!(!lives(&world, &first) && lives(&world, &second));
    assert_eq!((world.minted(), world.live().len()), (2, 1));
}

#[tokio::test]
async fn of_two_restores_of_one_backup_the_one_at_home_has_the_token() {
    let world = World::new().await;
    let first = id_of(&world.ready_token("token").await);
    let backup = Backup::of(&world, "token").await;
    lose(&world, "token").await;
    let mapped = world.neighbour().await;
    mapped.main_account().await;
    // Both Secrets are there before any PlatformToken is.
    world.create::<Secret>(backup.secret.clone()).await;
    mapped.create::<Secret>(backup.secret).await;
    mapped.create::<PlatformToken>(backup.token.clone()).await;
    let message = mapped.until_trouble("token", "SecretNotWritable").await;
    assert!(
        message.contains("is a copy: a Secret of another namespace has its token"),
        "{message}"
    );
    world.create::<PlatformToken>(backup.token).await;
    assert_eq!(id_of(&world.until_ready("token").await), first);
    mapped.delete::<Secret>("token").await;
    assert_ne!(id_of(&mapped.until_ready("token").await), first);
    assert!(answers(&world, "token").await);
    assert_eq!((world.minted(), world.live().len()), (2, 2));
}

#[tokio::test]
async fn an_old_secret_over_that_of_a_token_that_lives_waits_for_a_person() {
    let world = World::new().await;
    let old = id_of(&world.ready_token("token").await);
    let backup = Backup::of(&world, "token").await;
    lose(&world, "token").await;
    // The PlatformToken comes first, and has a token of its own by the time that the Secret comes.
    world.create::<PlatformToken>(backup.token).await;
    let own = id_of(&world.until_ready("token").await);
    let before = value(&world.secret("token").await.unwrap(), "token");
    assert_ne!(own, old);
    let over = json!({ "metadata": backup.secret["metadata"], "data": backup.secret["data"] });
    world.patch::<Secret>("token", over).await;
    let message = world.until_trouble("token", "SecretNotWritable").await;
    let says = format!(
        "this PlatformToken has token {own} already; delete the Secret, and with it that token"
    );
    assert!(message.contains(&says), "{message}");
    assert!(lives(&world, &own) && lives(&world, &old));
    world.delete::<Secret>("token").await;
    assert_eq!(id_of(&world.until_ready("token").await), own);
    assert_eq!(
        value(&world.secret("token").await.unwrap(), "token"),
        before
    );
    assert_eq!((world.minted(), world.live().len()), (2, 1));
    assert!(!lives(&world, &old));
}

#[tokio::test]
async fn what_was_left_goes_with_its_namespace() {
    let world = World::new().await;
    world.ready_token("token").await;
    forsake(&world, "token").await;
    let namespace = &world.namespace;
    world
        .kubectl(&["delete", "namespace", namespace, "--timeout=60s"])
        .await;
    // At once, or as a debt: the platform did not answer a moment ago.
    eventually("its token is revoked", || async {
        world.live().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_restored_token_whose_revocation_is_owed_is_not_taken_over() {
    let world = World::new().await;
    let first = id_of(&world.ready_token("token").await);
    let backup = Backup::of(&world, "token").await;
    refuse_to_revoke(&world);
    world.delete::<PlatformToken>("token").await;
    world.until_gone::<PlatformToken>("token").await;
    world.until_gone::<Secret>("token").await;
    backup.restore(&world).await;
    let message = world.until_trouble("token", "SecretNotWritable").await;
    assert!(
        message.contains("its token is about to be revoked"),
        "{message}"
    );
    world.platform.script(vec![]);
    eventually("the debt is paid", || async {
        (!lives(&world, &first)).then_some(())
    })
    .await;
    world.delete::<Secret>("token").await;
    assert_ne!(id_of(&world.until_ready("token").await), first);
    assert_eq!((world.minted(), world.live().len()), (2, 1));
}
