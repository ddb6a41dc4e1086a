//! A PlatformToken that goes takes its token along.

use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::{Dialect, PlatformToken};
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Shape, Verb, When};
use serde_json::json;

use crate::support::{World, eventually, value};

#[tokio::test]
async fn deleting_a_token_revokes_it_and_removes_its_secret() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        let world = World::with(Config {
            dialect,
            ..Config::default()
        })
        .await;
        world.ready_token("short-lived").await;
        let token = value(&world.secret("short-lived").await.unwrap(), "token");
        world.delete::<PlatformToken>("short-lived").await;
        world.until_gone::<PlatformToken>("short-lived").await;
        world.until_gone::<Secret>("short-lived").await;
        assert_eq!(world.answers(&token).await, 401, "{dialect}");
        assert!(world.live().is_empty(), "{dialect}");
    }
}

#[tokio::test]
async fn a_token_that_may_not_revoke_itself_is_revoked_through_the_account() {
    let world = World::with(Config {
        refuse_self_deletion: true,
        ..Config::default()
    })
    .await;
    world.ready_token("refused").await;
    world.delete::<PlatformToken>("refused").await;
    world.until_gone::<PlatformToken>("refused").await;
    assert!(world.live().is_empty());
}

#[tokio::test]
async fn a_token_whose_value_is_lost_is_revoked_through_the_account() {
    let world = World::new().await;
    world.ready_token("blind").await;
    // The value is not shown any more, and no other token can be had in its place.
    world
        .platform
        .with(|sandbox, _| sandbox.model.config.mask_values = true);
    let refused = Fault::Status {
        when: When::Before,
        status: 400,
        body: Shape::Detail,
        retry_after: None,
    };
    let post = Match::on(Verb::Post, Route::Tokens);
    world.platform.script(vec![Rule::always(post, refused)]);
    world
        .patch::<Secret>("blind", crate::support::no_value())
        .await;
    world.until_trouble("blind", "Refused").await;
    world.delete::<PlatformToken>("blind").await;
    world.until_gone::<PlatformToken>("blind").await;
    assert!(world.live().is_empty());
}

#[tokio::test]
async fn a_revocation_whose_answer_is_lost_is_repeated_until_it_is_certain() {
    let world = World::new().await;
    world.ready_token("uncertain").await;
    let revocation = Match::on(Verb::Delete, Route::Token);
    world.platform.script(vec![Rule::once(
        revocation,
        Fault::Reset { when: When::After },
    )]);
    world.delete::<PlatformToken>("uncertain").await;
    world.until_gone::<PlatformToken>("uncertain").await;
    assert!(world.live().is_empty());
}

#[tokio::test]
async fn deletion_touches_no_other_token() {
    let world = World::new().await;
    let stranger = world
        .platform
        .with(|sandbox, now| sandbox.model.stranger(&world.user, vec![], now).unwrap());
    world.ready_token("one").await;
    world.ready_token("two").await;
    world.delete::<PlatformToken>("one").await;
    world.until_gone::<PlatformToken>("one").await;
    let left: Vec<_> = world.live().into_iter().map(|token| token.id).collect();
    let two = world
        .api::<PlatformToken>()
        .get("two")
        .await
        .unwrap()
        .status
        .unwrap()
        .token_id
        .unwrap();
    assert_eq!(left.len(), 2);
    assert!(left.contains(&stranger.id) && left.contains(&two));
}

#[tokio::test]
async fn the_accounts_own_credential_is_never_revoked() {
    let world = World::new().await;
    world.ready_token("root").await;
    let before = world.live()[0].used_at.unwrap();
    // From now on the generated token is the account's credential.
    let token = value(&world.secret("root").await.unwrap(), "token");
    world
        .patch::<Secret>(
            "credentials",
            json!({ "stringData": { "ACEDATACLOUD_PLATFORM_TOKEN": token } }),
        )
        .await;
    let uses = |_: &PlatformToken| {
        let mut live = world.live().into_iter();
        live.any(|t| t.hash.as_str() == hash(&token) && t.used_at > Some(before))
    };
    world
        .until_token("root", "the account uses the new credential", uses)
        .await;
    world.delete::<PlatformToken>("root").await;
    world.until_gone::<PlatformToken>("root").await;
    assert_eq!(world.answers(&token).await, 200, "the account still works");
}

fn hash(token: &str) -> String {
    platform_token_operator::api::TokenValue::parse(token)
        .unwrap()
        .hash()
        .as_str()
        .to_owned()
}

#[tokio::test]
async fn a_token_that_was_never_issued_goes_at_once() {
    let world = World::bare(Config::default()).await;
    world.token("unborn", json!({})).await;
    world.until_trouble("unborn", "AccountNotFound").await;
    world.delete::<PlatformToken>("unborn").await;
    world.until_gone::<PlatformToken>("unborn").await;
    assert_eq!(world.minted(), 0);
}

#[tokio::test]
async fn a_secret_without_a_platformtoken_is_finished_when_it_is_deleted() {
    let world = World::new().await;
    world.ready_token("vanished").await;
    // Nobody can revoke for now, and someone loses patience with the finalizer.
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
    world.delete::<PlatformToken>("vanished").await;
    world.until_trouble("vanished", "Unreachable").await;
    let no_finalizer = json!({ "metadata": { "finalizers": null } });
    world.patch::<PlatformToken>("vanished", no_finalizer).await;
    world.until_gone::<PlatformToken>("vanished").await;
    assert_eq!(world.live().len(), 1);

    world.platform.script(vec![]);
    world.delete::<Secret>("vanished").await;
    world.until_gone::<Secret>("vanished").await;
    // At once, or as a debt: the platform did not answer a moment ago.
    eventually("its token is revoked", || async {
        world.live().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_secret_that_names_nobody_is_let_go_when_it_is_deleted() {
    let world = World::new().await;
    let token = world.ready_token("robbed").await;
    let mut stripped = crate::support::no_value();
    stripped["metadata"] = json!({ "annotations": null });
    world.patch::<Secret>("robbed", stripped).await;
    world.until_trouble("robbed", "SecretNotWritable").await;
    world.delete::<Secret>("robbed").await;
    let again = world.until_ready("robbed").await;
    let id = |token: PlatformToken| token.status.unwrap().token_id;
    assert_eq!(id(again), id(token), "the platform knows the value");
    assert_eq!(world.minted(), 1);
}

#[tokio::test]
async fn a_secret_that_forges_the_uid_of_a_living_owner_is_let_go_when_it_is_deleted() {
    let world = World::new().await;
    world.ready_token("victim").await;
    let theirs = world.secret("victim").await.unwrap();
    let owner = &theirs.metadata.annotations.unwrap()["platform.acedata.cloud/owner"];
    let forged = owner.replace("/victim/", "/nobody/");
    let _: Secret = world
        .create(json!({
            "metadata": {
                "name": "forged",
                "labels": { "platform.acedata.cloud/managed": "true" },
                "annotations": {
                    "platform.acedata.cloud/owner": forged,
                    "platform.acedata.cloud/secret": "forged",
                },
                "finalizers": ["platform.acedata.cloud/revoke"],
            },
        }))
        .await;
    world.delete::<Secret>("forged").await;
    world.until_gone::<Secret>("forged").await;
    assert_eq!(world.live().len(), 1);
}
