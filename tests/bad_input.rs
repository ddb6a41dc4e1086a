//! Bad input gets a reason and a message to act on; nothing is minted, nothing runs hot.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::{PlatformToken, names};
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Shape, Verb, When};
use serde_json::json;

use crate::support::{World, eventually, value};

fn on_post(fault: Fault) -> Vec<Rule> {
    vec![Rule::always(Match::on(Verb::Post, Route::Tokens), fault)]
}

#[tokio::test]
async fn a_secret_of_someone_else_is_never_touched() {
    let world = World::new().await;
    let theirs = json!({ "metadata": { "name": "taken" }, "stringData": { "token": "theirs" } });
    let before = world.create::<Secret>(theirs).await;
    world.token("taken", json!({})).await;
    let message = world.until_trouble("taken", "SecretNotWritable").await;
    assert!(
        message.contains("delete it, or set spec.secret.name"),
        "{message}"
    );
    assert_eq!(world.minted(), 0);
    assert_eq!(world.secret("taken").await.unwrap(), before);
    world.delete::<PlatformToken>("taken").await;
    world.until_gone::<PlatformToken>("taken").await;
    assert_eq!(
        world.secret("taken").await.unwrap(),
        before,
        "nor when the PlatformToken goes"
    );
}

#[tokio::test]
async fn a_token_waits_for_its_secrets_name_to_become_free() {
    let world = World::new().await;
    world
        .create::<Secret>(json!({ "metadata": { "name": "taken" } }))
        .await;
    world.token("taken", json!({})).await;
    world.until_trouble("taken", "SecretNotWritable").await;
    world.delete::<Secret>("taken").await;
    world.until_ready("taken").await;
    assert_eq!(world.minted(), 1);
}

#[tokio::test]
async fn two_tokens_that_want_one_secret_do_not_fight() {
    let world = World::new().await;
    world.ready_token("first").await;
    world
        .token("second", json!({ "secret": { "name": "first" } }))
        .await;
    let message = world.until_trouble("second", "SecretNotWritable").await;
    assert!(
        message.contains(&format!(
            "belongs to PlatformToken {}/first",
            world.namespace
        )),
        "{message}"
    );
    assert_eq!(world.minted(), 1);
    world.delete::<PlatformToken>("second").await;
    world.until_gone::<PlatformToken>("second").await;
    let secret = world.secret("first").await.unwrap();
    assert_eq!(world.answers(&value(&secret, "token")).await, 200);
}

#[tokio::test]
async fn a_secret_that_kubernetes_refuses_costs_no_token() {
    let world = World::new().await;
    world
        .create::<k8s_openapi::api::core::v1::ResourceQuota>(json!({
            "metadata": { "name": "none" }, "spec": { "hard": { "secrets": "1" } },
        }))
        .await;
    let quota = world.api::<k8s_openapi::api::core::v1::ResourceQuota>();
    eventually("the quota counts", || async {
        quota.get("none").await.unwrap().status?.used
    })
    .await;
    world.token("refused", json!({})).await;
    let message = world.until_trouble("refused", "SecretNotWritable").await;
    assert!(message.contains("exceeded quota"), "{message}");
    assert_eq!(world.minted(), 0);
    world
        .delete::<k8s_openapi::api::core::v1::ResourceQuota>("none")
        .await;
    world.until_ready("refused").await;
}

#[tokio::test]
async fn an_api_that_refuses_to_mint_is_told_and_asked_again_later() {
    for (status, body, reason) in [
        (400, Shape::Detail, "Refused"),
        (403, Shape::Gateway, "Forbidden"),
        (429, Shape::Html, "Throttled"),
    ] {
        let world = World::new().await;
        world.until_account("main", "Proven").await;
        let refusal = Fault::Status {
            when: When::Before,
            status,
            body,
            retry_after: Some("1".into()),
        };
        world.platform.script(on_post(refusal));
        world.token("refused", json!({})).await;
        world.until_trouble("refused", reason).await;
        assert_eq!(world.minted(), 0);
        world.platform.script(vec![]);
        world.until_ready("refused").await;
        assert_eq!((world.minted(), world.live().len()), (1, 1), "{status}");
    }
}

fn posts(world: &World) -> u64 {
    world.calls(Verb::Post, Route::Tokens)
}

#[tokio::test]
async fn trouble_does_not_run_hot() {
    let world = World::new().await;
    world.until_account("main", "Proven").await;
    let refusal = Fault::Status {
        when: When::Before,
        status: 400,
        body: Shape::Detail,
        retry_after: None,
    };
    world.platform.script(on_post(refusal));
    world.token("refused", json!({})).await;
    world.until_trouble("refused", "Refused").await;
    // Back-off goes 1, 2, 4, 8 seconds: six POSTs would take half a minute.
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(
        posts(&world) <= 4,
        "{} POSTs within five seconds",
        posts(&world)
    );
    let events = world.events("refused").await;
    assert_eq!(
        events
            .iter()
            .filter(|(_, reason, _)| reason == "Refused")
            .count(),
        1,
        "{events:?}"
    );
}

#[tokio::test]
async fn an_account_whose_list_is_refused_does_not_run_hot() {
    let world = World::new().await;
    world.until_account("main", "Proven").await;
    let refused = Fault::Status {
        when: When::Before,
        status: 403,
        body: Shape::Detail,
        retry_after: None,
    };
    let list = Match::on(Verb::Get, Route::Tokens);
    world.platform.script(vec![Rule::always(list, refused)]);
    let lists = || world.calls(Verb::Get, Route::Tokens);
    let before = lists();
    world.account("second", json!({})).await;
    world.until_account("second", "Proven").await;
    eventually("stock is taken", || async {
        (lists() > before).then_some(())
    })
    .await;
    // The account itself answers: nothing asks again before the next resync.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(lists(), before + 1);
}

#[tokio::test]
async fn an_attempt_that_was_edited_mints_nothing() {
    let world = World::new().await;
    let token = json!({
        "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformToken",
        "metadata": { "name": "edited", "annotations": { names::ATTEMPT: "{" } },
        "spec": { "accountRef": { "kind": "PlatformAccount", "name": "main" } },
    });
    world.create::<PlatformToken>(token).await;
    let message = world.until_trouble("edited", "AttemptUnreadable").await;
    assert!(
        message.contains(names::ATTEMPT) && message.contains("remove the annotation"),
        "{message}"
    );
    assert_eq!(world.minted(), 0);
    world
        .patch::<PlatformToken>(
            "edited",
            json!({ "metadata": { "annotations": { names::ATTEMPT: null } } }),
        )
        .await;
    world.until_ready("edited").await;
}

#[tokio::test]
async fn a_copy_of_a_token_gets_a_token_of_its_own() {
    let world = World::bare(Config::default()).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    world.account("main", json!({})).await;
    let original = world.ready_token("original").await;
    let mut copy = serde_json::to_value(&original).unwrap();
    copy["metadata"] = json!({ "name": "copy", "annotations": original.metadata.annotations });
    world.create::<PlatformToken>(copy).await;
    let copy = world.until_ready("copy").await;
    assert_ne!(
        copy.status.unwrap().token_id,
        original.status.unwrap().token_id
    );
    assert_eq!((world.minted(), world.live().len()), (2, 2));
}
