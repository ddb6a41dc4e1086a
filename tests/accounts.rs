//! An account says exactly what is wrong, on itself and on its tokens, and heals by itself.

use platform_token_operator::api::{Dialect, PlatformAccount, PlatformToken};
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Shape, Verb, When};
use serde_json::json;

use crate::support::{World, eventually, take_platform};

fn answer_me(status: u16, body: Shape) -> Rule {
    let fault = Fault::Status {
        when: When::Before,
        status,
        body,
        retry_after: None,
    };
    Rule::always(Match::on(Verb::Get, Route::Me), fault)
}

#[tokio::test]
async fn an_account_tells_who_it_is() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        let world = World::with(Config {
            dialect,
            ..Config::default()
        })
        .await;
        world.until_account("main", "Proven").await;
        let status = world
            .api::<PlatformAccount>()
            .get("main")
            .await
            .unwrap()
            .status
            .unwrap();
        assert_eq!(status.user_id.unwrap(), world.user);
        assert_eq!(status.dialect, Some(dialect));
        assert_eq!(status.username.is_some(), dialect == Dialect::Current);
    }
}

#[tokio::test]
async fn a_platform_that_refuses_or_fails_is_named_and_heals() {
    for (rule, reason) in [
        (answer_me(403, Shape::Detail), "Forbidden"),
        (answer_me(500, Shape::Gateway), "Unreachable"),
        (answer_me(401, Shape::Html), "BrokenAnswer"),
        (answer_me(200, Shape::Html), "BrokenAnswer"),
        (answer_me(429, Shape::Detail), "Throttled"),
        (
            Rule::always(
                Match::on(Verb::Get, Route::Me),
                Fault::Reset { when: When::Before },
            ),
            "Unreachable",
        ),
    ] {
        let world = World::bare(Config::default()).await;
        world.platform.script(vec![rule]);
        world
            .credentials("credentials", &world.admin_credential())
            .await;
        world
            .account("main", json!({ "resyncInterval": "10s" }))
            .await;
        world.token("waiting", json!({})).await;
        world.until_account("main", reason).await;
        world.until_trouble("waiting", reason).await;
        assert_eq!(world.minted(), 0);
        world.platform.script(vec![]);
        world.until_ready("waiting").await;
        assert_eq!(world.minted(), 1, "{reason}");
    }
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_unreachable() {
    let world = World::bare(Config::default()).await;
    let nobody = take_platform();
    let base_url = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    world.account("main", json!({ "baseURL": base_url })).await;
    let message = world.until_account("main", "Unreachable").await;
    assert!(
        message.contains(&base_url) && message.contains("check baseURL"),
        "{message}"
    );
}

#[tokio::test]
async fn a_platform_that_is_not_allowed_never_sees_the_credential() {
    let world = World::bare(Config::default()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    world.account("main", json!({ "baseURL": base_url })).await;
    world.token("waiting", json!({})).await;
    let message = world.until_account("main", "BaseURLNotAllowed").await;
    assert!(
        message.contains(&format!("--allow-base-url {base_url}")),
        "{message}"
    );
    world.until_trouble("waiting", "BaseURLNotAllowed").await;
    let nobody_called = tokio::select! {
        biased;
        _ = listener.accept() => false,
        () = std::future::ready(()) => true,
    };
    assert!(nobody_called);
}

#[tokio::test]
async fn an_account_of_the_cluster_serves_every_namespace() {
    let world = World::bare(Config::default()).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    let name = format!("{}-shared", world.namespace);
    let account = json!({
        "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "ClusterPlatformAccount",
        "metadata": { "name": name },
        "spec": {
            "baseURL": world.base_url,
            "credentialsSecretRef": { "namespace": world.namespace, "name": "credentials" },
        },
    });
    let output = world
        .try_kubectl(&["apply", "-f", "-"], &account.to_string())
        .await;
    assert!(output.status.success(), "{output:?}");
    world
        .token(
            "served",
            json!({ "accountRef": { "kind": "ClusterPlatformAccount", "name": name } }),
        )
        .await;
    world.until_ready("served").await;
    world.delete::<PlatformToken>("served").await;
    world.until_gone::<PlatformToken>("served").await;
    world
        .kubectl(&["delete", "clusterplatformaccount", &name])
        .await;
}

#[tokio::test]
async fn new_tokens_are_not_proven_where_the_account_says_so() {
    let world = World::bare(Config::default()).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    world.account("main", json!({ "verify": false })).await;
    world.ready_token("unproven").await;
    assert_eq!(world.live()[0].used_at, None);
}

#[tokio::test]
async fn a_token_that_does_not_answer_is_not_ready_and_not_replaced() {
    let world = World::new().await;
    world.until_account("main", "Proven").await;
    world.platform.script(vec![answer_me(401, Shape::Detail)]);
    world.token("mute", json!({})).await;
    world.until_trouble("mute", "VerificationFailed").await;
    assert_eq!(world.minted(), 1);
    world.platform.script(vec![]);
    world.until_ready("mute").await;
    assert_eq!(world.minted(), 1);
}

#[tokio::test]
async fn a_status_that_says_nothing_new_is_not_written() {
    let world = World::new().await;
    world.ready_token("quiet").await;
    let version = |name: &'static str| {
        let api = world.api::<PlatformToken>();
        async move { api.get(name).await.unwrap().metadata.resource_version }
    };
    let before = version("quiet").await;
    // Wakes the token twice; neither has anything to tell.
    for n in 0..2 {
        world
            .patch::<PlatformToken>(
                "quiet",
                json!({ "metadata": { "annotations": { "n": n.to_string() } } }),
            )
            .await;
    }
    let after_patches = version("quiet").await;
    assert_ne!(before, after_patches);
    world.ready_token("another").await;
    eventually("nothing was written", || async {
        (version("quiet").await == after_patches).then_some(())
    })
    .await;
}
