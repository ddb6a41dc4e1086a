//! What a PlatformToken leaves behind on purpose when it is deleted: a token that lives on, a Secret that stays.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use platform_token_operator::api::{Dialect, PlatformAccount, PlatformToken, TokenId, names};
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Shape, Verb, When};
use serde_json::{Value, json};

use crate::support::{World, eventually, value};

const DIALECTS: [Dialect; 2] = [Dialect::Current, Dialect::Documented];

/// Every combination: of the token, of the Secret.
const POLICIES: [(&str, &str); 4] = [
    ("Delete", "Delete"),
    ("Delete", "Retain"),
    ("Orphan", "Delete"),
    ("Orphan", "Retain"),
];

fn policy(token: &str, secret: &str) -> Value {
    json!({ "deletionPolicy": token, "secret": { "deletionPolicy": secret } })
}

async fn world(dialect: Dialect) -> World {
    World::with(Config {
        dialect,
        ..Config::default()
    })
    .await
}

fn id_of(token: &PlatformToken) -> TokenId {
    let status = token.status.as_ref().unwrap();
    status.token_id.clone().unwrap()
}

/// A Secret that stayed: nothing of ours keeps it, or shows it to us.
fn assert_let_go(secret: &Secret, records: bool) {
    assert_eq!(secret.finalizers(), [] as [&str; 0]);
    assert!(secret.labels().is_empty(), "{:?}", secret.labels());
    assert!(secret.annotations().contains_key(names::RETAINED));
    assert_eq!(secret.annotations().contains_key(names::TOKEN_ID), records);
    assert!(!secret.annotations().contains_key(names::GIVEN_UP));
}

async fn until_gone(world: &World, name: &str) {
    world.delete::<PlatformToken>(name).await;
    world.until_gone::<PlatformToken>(name).await;
}

/// No revocation comes through.
fn revocations_fail(world: &World) {
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

#[tokio::test]
async fn what_is_left_behind_is_what_the_policies_say() {
    for dialect in DIALECTS {
        let world = world(dialect).await;
        for (n, (token, secret)) in POLICIES.into_iter().enumerate() {
            // Set from the start, or later.
            let early = n % 2 == 0;
            let name = format!("{}-{}", token.to_lowercase(), secret.to_lowercase());
            let spec = policy(token, secret);
            world
                .token(&name, if early { spec.clone() } else { json!({}) })
                .await;
            let id = id_of(&world.until_ready(&name).await);
            let held = value(&world.secret(&name).await.unwrap(), "token");
            if !early {
                world
                    .patch::<PlatformToken>(&name, json!({ "spec": spec }))
                    .await;
            }
            until_gone(&world, &name).await;
            let (lives, stays) = (token == "Orphan", secret == "Retain");
            let answer = if lives { 200 } else { 401 };
            assert_eq!(world.answers(&held).await, answer, "{dialect} {name}");
            assert_eq!(world.released().await.contains(&id), lives, "{name}");
            if stays {
                let left = world.secret(&name).await.unwrap();
                assert_let_go(&left, lives);
                assert_eq!(value(&left, "token"), held);
                // Whoever deletes it now deletes a Secret, and no more.
                world.delete::<Secret>(&name).await;
            }
            world.until_gone::<Secret>(&name).await;
            assert_eq!(world.answers(&held).await, answer, "{dialect} {name}");
        }
        assert_eq!(world.live().len(), 2, "{dialect}");
    }
}

#[tokio::test]
async fn a_deletion_that_waits_for_the_platform_need_not_when_its_token_is_to_live_on() {
    let world = World::new().await;
    let id = id_of(&world.ready_token("kept").await);
    revocations_fail(&world);
    world.delete::<PlatformToken>("kept").await;
    world.until_trouble("kept", "Unreachable").await;
    world
        .patch::<PlatformToken>("kept", json!({ "spec": policy("Orphan", "Retain") }))
        .await;
    world.until_gone::<PlatformToken>("kept").await;
    world.platform.script(vec![]);
    assert_let_go(&world.secret("kept").await.unwrap(), true);
    assert_eq!(world.released().await, std::slice::from_ref(&id));
    assert_eq!(world.live()[0].id, id);
}

#[tokio::test]
async fn a_token_that_lives_on_is_not_unclaimed() {
    // Old enough to be missed, and with the tags of a PlatformToken that is gone.
    let world = World::behind(Config::default(), Duration::from_mins(3)).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    world
        .account("main", json!({ "resyncInterval": "10s" }))
        .await;
    world.token("kept", policy("Orphan", "Delete")).await;
    let id = id_of(&world.until_ready("kept").await);
    until_gone(&world, "kept").await;
    world.until_gone::<Secret>("kept").await;
    let lists = || world.calls(Verb::Get, Route::Tokens);
    let before = lists();
    eventually("stock is taken twice", || async {
        (lists() >= before + 2).then_some(())
    })
    .await;
    let claimed = |account: PlatformAccount| {
        let status = account.status?;
        let tokens = status.tokens?;
        let unclaimed = status.unclaimed_token_ids;
        (tokens.managed == 1 && tokens.unclaimed == 0 && unclaimed.is_empty()).then_some(())
    };
    eventually("the stock is told", || async {
        claimed(world.api().get("main").await.unwrap())
    })
    .await;
    assert!(world.live().iter().any(|token| token.id == id));
}

#[tokio::test]
async fn a_secret_that_stayed_with_a_revoked_token_is_written_over() {
    for dialect in DIALECTS {
        let world = world(dialect).await;
        world.token("again", policy("Delete", "Retain")).await;
        let former = id_of(&world.until_ready("again").await);
        let uid = world.secret("again").await.unwrap().uid();
        until_gone(&world, "again").await;
        let token = world.ready_token("again").await;
        assert_ne!(id_of(&token), former, "{dialect}");
        let secret = world.secret("again").await.unwrap();
        assert_eq!(secret.uid(), uid, "it is the same Secret");
        assert_eq!(secret.finalizers(), [names::FINALIZER]);
        assert!(!secret.annotations().contains_key(names::RETAINED));
        assert_eq!(world.answers(&value(&secret, "token")).await, 200);
        until_gone(&world, "again").await;
        world.until_gone::<Secret>("again").await;
        assert!(world.live().is_empty(), "{dialect}");
    }
}

#[tokio::test]
async fn a_secret_that_stayed_with_its_token_is_taken_over_by_the_next_of_that_name() {
    let world = World::new().await;
    world.token("again", policy("Orphan", "Retain")).await;
    let id = id_of(&world.until_ready("again").await);
    until_gone(&world, "again").await;
    assert_eq!(world.released().await, std::slice::from_ref(&id));
    let token = world.ready_token("again").await;
    assert_eq!((id_of(&token), world.minted()), (id, 1));
    assert_eq!(world.released().await, [], "it is not released any more");
    let secret = world.secret("again").await.unwrap();
    assert_eq!(secret.finalizers(), [names::FINALIZER]);
    assert!(!secret.annotations().contains_key(names::RETAINED));
    until_gone(&world, "again").await;
    assert!(world.live().is_empty());
}

#[tokio::test]
async fn a_namespace_goes_whatever_was_to_stay() {
    let world = World::new().await;
    for (token, secret) in POLICIES {
        let name = format!("{}-{}", token.to_lowercase(), secret.to_lowercase());
        world.token(&name, policy(token, secret)).await;
        world.until_ready(&name).await;
    }
    world
        .kubectl(&["delete", "namespace", &world.namespace, "--timeout=60s"])
        .await;
    let mut live: Vec<TokenId> = world.live().into_iter().map(|token| token.id).collect();
    let mut released = world.released().await;
    live.sort();
    released.sort();
    assert_eq!(live, released);
    assert_eq!(live.len(), 2, "those that are to live on");
}

#[tokio::test]
async fn neither_a_rate_limit_nor_a_pause_holds_a_deletion_up() {
    let world = World::bare(Config::default()).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    let slow = json!({ "rateLimit": { "requestsPerSecond": 1, "burst": 1 } });
    world.account("main", slow).await;
    for n in 0..3 {
        world.ready_token(&format!("token-{n}")).await;
    }
    // The platform asks the account to pause, for longer than this test waits.
    let paused = Fault::Status {
        when: When::Before,
        status: 429,
        body: Shape::Detail,
        retry_after: Some("300".into()),
    };
    let post = Match::on(Verb::Post, Route::Tokens);
    world.platform.script(vec![Rule::always(post, paused)]);
    world.token("paused", json!({})).await;
    world.until_trouble("paused", "Throttled").await;
    // Others wait in line.
    for n in 0..10 {
        world.token(&format!("waiting-{n}"), json!({})).await;
    }
    let begun = Instant::now();
    for n in 0..3 {
        world.delete::<PlatformToken>(&format!("token-{n}")).await;
    }
    for n in 0..3 {
        world
            .until_gone::<PlatformToken>(&format!("token-{n}"))
            .await;
    }
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert!(world.live().is_empty());
    assert_eq!(world.calls(Verb::Delete, Route::Token), 3);
}
