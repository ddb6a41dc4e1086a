//! A PlatformToken becomes a Secret.

use platform_token_operator::api::{Dialect, PlatformToken};
use platform_token_operator::sandbox::Config;

use crate::support::{World, condition, eventually, value};

#[tokio::test]
async fn a_token_becomes_a_secret_in_either_dialect() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        let world = World::with(Config {
            dialect,
            ..Config::default()
        })
        .await;
        let token = world.ready_token("hello").await;

        let live = world.live();
        assert_eq!(live.len(), 1, "{dialect}: exactly one token was made");
        let status = token.status.as_ref().unwrap();
        assert_eq!(status.token_id.as_ref(), Some(&live[0].id));
        assert_eq!(status.token_hash.as_ref(), Some(&live[0].hash));
        assert_eq!(status.observed_generation, token.metadata.generation);
        assert_eq!(status.secret_name.as_deref(), Some("hello"));

        let secret = world.secret("hello").await.unwrap();
        assert_eq!(
            secret.metadata.resource_version,
            status.secret_resource_version
        );
        assert_eq!(
            value(&secret, "token"),
            value(&secret, "ACEDATACLOUD_PLATFORM_TOKEN")
        );
        assert_eq!(world.answers(&value(&secret, "token")).await, 200);
        assert!(
            live[0].used_at.is_some(),
            "{dialect}: Ready means that the value has answered"
        );
        assert_eq!(
            secret.metadata.owner_references, None,
            "the garbage collector has no say"
        );
        assert!(
            condition(&token, "Reconciling").is_none() && condition(&token, "Stalled").is_none()
        );
    }
}

#[tokio::test]
async fn a_token_bears_its_tags_upstream() {
    let world = World::new().await;
    let token = world.ready_token("tagged").await;
    let tags = &world.live()[0].tags;
    let status = token.status.unwrap();
    for tag in [
        "platform-token-operator".to_owned(),
        format!("namespace={}", world.namespace),
        format!("uid={}", token.metadata.uid.unwrap()),
        format!("attempt={}", status.attempt.unwrap().id),
    ] {
        assert!(tags.contains(&tag), "{tag} is not among {tags:?}");
    }
}

#[tokio::test]
async fn one_event_tells_of_a_new_token() {
    let world = World::new().await;
    world.ready_token("told").await;
    let events = eventually("an event about the token", || async {
        Some(world.events("told").await).filter(|events| !events.is_empty())
    })
    .await;
    let (kind, reason, note) = &events[0];
    assert_eq!(
        (events.len(), kind.as_str(), reason.as_str()),
        (1, "Normal", "Issued")
    );
    assert!(note.contains("Created platform token"), "{note}");
}

#[tokio::test]
async fn a_change_of_the_secrets_name_moves_it_and_mints_nothing() {
    let world = World::new().await;
    world.ready_token("mover").await;
    let before = value(&world.secret("mover").await.unwrap(), "token");
    let spec = serde_json::json!({ "spec": { "secret": { "name": "moved" } } });
    world.patch::<PlatformToken>("mover", spec).await;
    world.until_ready("mover").await;
    assert_eq!(
        value(&world.secret("moved").await.unwrap(), "token"),
        before
    );
    assert!(
        world.secret("mover").await.is_none(),
        "the former Secret is gone"
    );
    assert_eq!(world.minted(), 1);
}

#[tokio::test]
async fn an_account_that_comes_later_wakes_its_tokens() {
    let world = World::bare(Config::default()).await;
    world.token("early", serde_json::json!({})).await;
    let message = world.until_trouble("early", "AccountNotFound").await;
    assert!(
        message.contains("main") && message.contains(&world.namespace),
        "{message}"
    );
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    world.account("main", serde_json::json!({})).await;
    world.until_ready("early").await;
    assert_eq!(world.minted(), 1);
}
