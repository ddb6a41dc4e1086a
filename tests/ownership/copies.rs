//! A copy has an original that lives: it gets a token of its own, and nothing of the original's.

use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::{PlatformToken, names};
use serde_json::json;

use super::{Backup, answers, id_of, lives, until_told};
use crate::support::World;

/// The copy has another token than the original, and takes it along alone.
async fn is_a_copy(original: (&World, &str), copy: (&World, &str)) {
    let api = original.0.api::<PlatformToken>();
    let first = id_of(&api.get(original.1).await.unwrap());
    let second = id_of(&copy.0.until_ready(copy.1).await);
    assert_ne!(first, second);
    copy.0.delete::<PlatformToken>(copy.1).await;
    copy.0.until_gone::<PlatformToken>(copy.1).await;
    copy.0.until_gone::<Secret>(copy.1).await;
    assert!(lives(original.0, &first) && !lives(original.0, &second));
    assert!(answers(original.0, original.1).await);
    assert_eq!(original.0.minted(), 2);
}

#[tokio::test]
async fn a_copy_with_a_copied_secret_waits_until_that_is_gone_and_leaves_the_originals_token_alone()
{
    let world = World::new().await;
    world.ready_token("original").await;
    let mut copy = Backup::of(&world, "original").await;
    for object in [&mut copy.token, &mut copy.secret] {
        object["metadata"]["name"] = json!("copy");
    }
    copy.restore(&world).await;
    let message = world.until_trouble("copy", "SecretNotWritable").await;
    let says = "Secret copy is a copy of Secret original; delete it, or set spec.secret.name";
    assert!(message.starts_with(says), "{message}");
    world.delete::<Secret>("copy").await;
    is_a_copy((&world, "original"), (&world, "copy")).await;
}

#[tokio::test]
async fn a_namespace_that_is_copied_while_the_original_lives_gets_tokens_of_its_own() {
    let world = World::new().await;
    world.ready_token("token").await;
    let backup = Backup::of(&world, "token").await;
    let mapped = world.neighbour().await;
    mapped.main_account().await;
    backup.restore(&mapped).await;
    let message = mapped.until_trouble("token", "SecretNotWritable").await;
    let says = format!(
        "is a copy of one that belongs to PlatformToken {}/token",
        world.namespace
    );
    assert!(message.contains(&says), "{message}");
    assert_eq!(world.minted(), 1);
    // Also a PlatformToken that goes as a copy does no harm.
    mapped.delete::<PlatformToken>("token").await;
    mapped.until_gone::<PlatformToken>("token").await;
    assert!(answers(&world, "token").await);
    mapped.create::<PlatformToken>(backup.token).await;
    mapped.delete::<Secret>("token").await;
    is_a_copy((&world, "token"), (&mapped, "token")).await;
}

#[tokio::test]
async fn a_copied_namespace_goes_without_a_word_to_the_original() {
    let world = World::new().await;
    world.ready_token("token").await;
    let mapped = world.neighbour().await;
    mapped.main_account().await;
    Backup::of(&world, "token").await.restore(&mapped).await;
    mapped.until_trouble("token", "SecretNotWritable").await;
    let namespace = &mapped.namespace;
    mapped
        .kubectl(&["delete", "namespace", namespace, "--timeout=60s"])
        .await;
    assert!(answers(&world, "token").await);
    assert_eq!((world.minted(), world.live().len()), (1, 1));
}

#[tokio::test]
async fn a_copied_status_counts_for_nothing() {
    let world = World::new().await;
    let original = world.ready_token("original").await;
    let mut copy = Backup::of(&world, "original").await.token;
    copy["metadata"] = json!({ "name": "copy" });
    world.create::<PlatformToken>(copy).await;
    // A backup tool that restores the status writes it after the object; who is first does not matter.
    let status = json!({ "status": original.status }).to_string();
    let patch = [
        "patch",
        "platformtoken",
        "copy",
        "-n",
        &world.namespace,
        "--subresource=status",
        "--type=merge",
        "-p",
        &status,
    ];
    world.kubectl(&patch).await;
    let poke = json!({ "metadata": { "annotations": { "poke": "1" } } });
    world.patch::<PlatformToken>("copy", poke).await;
    let own = |token: &PlatformToken| {
        let status = token.status.as_ref();
        let uid = status.and_then(|status| status.uid.as_ref());
        uid == token.metadata.uid.as_ref() && crate::support::is_ready(token)
    };
    world
        .until_token("copy", "its status is its own", own)
        .await;
    is_a_copy((&world, "original"), (&world, "copy")).await;
}

#[tokio::test]
async fn an_old_export_that_is_applied_over_a_living_token_changes_nothing() {
    let world = World::new().await;
    let first = id_of(&world.ready_token("token").await);
    let mut export = Backup::of(&world, "token").await.token;
    // The token is replaced since.
    world
        .platform
        .with(|sandbox, _| sandbox.model.config.mask_values = true);
    world
        .patch::<Secret>("token", crate::support::no_value())
        .await;
    let another = |token: &PlatformToken| crate::support::is_ready(token) && id_of(token) != first;
    let second = id_of(&world.until_token("token", "another token", another).await);
    until_told(&world, "token", "Revoked", &first).await;

    export["metadata"]["finalizers"] = json!(["example.com/keep"]);
    export["metadata"]["labels"] = json!({ "applied": "again" });
    let manifest = export.to_string();
    let apply = [
        "apply",
        "-n",
        &world.namespace,
        "--server-side",
        "--force-conflicts",
        "-f",
        "-",
    ];
    let output = world.try_kubectl(&apply, &manifest).await;
    assert!(output.status.success(), "{output:?}");
    let replace = json!({ "metadata": {
        "annotations": export["metadata"]["annotations"], "finalizers": ["example.com/keep"],
    }});
    world.patch::<PlatformToken>("token", replace).await;
    let held = |token: &PlatformToken| {
        let finalizers = token.metadata.finalizers.iter().flatten();
        finalizers.filter(|f| *f == names::FINALIZER).count() == 1
    };
    world
        .until_token("token", "our finalizer is back", held)
        .await;
    assert_eq!(id_of(&world.until_ready("token").await), second);
    assert_eq!((world.minted(), world.live().len()), (2, 1));

    // Numbers go on from the highest, and not from the annotation.
    world
        .patch::<Secret>("token", crate::support::no_value())
        .await;
    let another = |token: &PlatformToken| crate::support::is_ready(token) && id_of(token) != second;
    world.until_token("token", "a third token", another).await;
    assert_eq!(super::number(&world.secret("token").await.unwrap()), 3);
    until_told(&world, "token", "Revoked", &second).await;
    assert_eq!((world.minted(), world.live().len()), (3, 1));
    let theirs = json!({ "metadata": { "finalizers": [names::FINALIZER] } });
    world.patch::<PlatformToken>("token", theirs).await;
    world.delete::<PlatformToken>("token").await;
    world.until_gone::<PlatformToken>("token").await;
    assert!(world.live().is_empty());
}
