//! A token's value is in its Secret and on the wire, and nowhere else.

use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::PlatformToken;
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Shape, Verb, When};
use serde_json::json;

use crate::support::{World, no_value, operator_log, plane, value};

#[tokio::test]
async fn no_value_is_in_logs_events_status_or_metrics() {
    let world = World::bare(Config::default()).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    // An answer that shows the token in an error, which a careless message would repeat.
    let leak = format!("{{\"detail\": \"bad token {}\"}}", world.admin_credential());
    let me = Match::on(Verb::Get, Route::Me);
    world.platform.script(vec![Rule::once(
        me,
        Fault::Garbage {
            when: When::Before,
            status: 400,
            text: leak,
        },
    )]);
    world.account("main", json!({})).await;

    let mut values = vec![world.admin_credential()];
    for name in ["plain", "edited", "deleted"] {
        world.ready_token(name).await;
        values.push(value(&world.secret(name).await.unwrap(), "token"));
    }
    let post = Match::on(Verb::Post, Route::Tokens);
    let failed = Fault::Status {
        when: When::After,
        status: 500,
        body: Shape::Html,
        retry_after: None,
    };
    world.platform.script(vec![Rule::once(post, failed)]);
    world.ready_token("lost-answer").await;
    values.push(value(&world.secret("lost-answer").await.unwrap(), "token"));
    world.patch::<Secret>("edited", no_value()).await;
    world.delete::<PlatformToken>("deleted").await;
    world.until_gone::<PlatformToken>("deleted").await;
    world.until_ready("edited").await;

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let metrics = client
        .get(format!("{}/metrics", plane().metrics))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert!(
        metrics.contains("platform_token_operator_steps_total{step=\"mint\"}"),
        "{metrics}"
    );
    let namespace = world.namespace.as_str();
    let log = operator_log();
    let kinds = "platformtokens,platformaccounts,events,events.events.k8s.io";
    for (place, text) in [
        (
            "objects",
            world
                .kubectl(&[
                    "get",
                    kinds,
                    "-n",
                    namespace,
                    "-o=yaml",
                    "--show-managed-fields",
                ])
                .await,
        ),
        ("metrics", metrics),
        ("log", log.clone()),
    ] {
        for value in &values {
            // Not even the secret part of one.
            let secret = value.trim_start_matches("platform-v1-");
            assert!(!text.contains(secret), "a token's value is in the {place}");
        }
    }
    assert!(
        log.contains(namespace),
        "the log is the one of this operator"
    );
    assert!(!log.contains("panicked"), "the operator panicked");
}
