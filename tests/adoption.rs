//! A token that there is already is put under a PlatformToken by its id, if it is nobody else's.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use platform_token_operator::api::{Dialect, PlatformToken, TokenId, names};
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Shape, Verb, When};
use serde_json::{Value, json};

use crate::support::{World, condition, eventually, value};

const DIALECTS: [Dialect; 2] = [Dialect::Current, Dialect::Documented];

/// A token that somebody made in the console: its id and its value.
fn stranger(world: &World) -> (TokenId, String) {
    world.platform.with(|sandbox, now| {
        let made = sandbox.model.stranger(&world.user, vec![], now).unwrap();
        let value = sandbox.model.value(&made.id).unwrap();
        (made.id, value.expose().to_owned())
    })
}

fn adopting(id: &TokenId) -> Value {
    json!({ "adoptTokenID": id })
}

fn id_of(token: &PlatformToken) -> TokenId {
    let status = token.status.as_ref().unwrap();
    status.token_id.clone().unwrap()
}

fn mask(world: &World) {
    world
        .platform
        .with(|sandbox, _| sandbox.model.config.mask_values = true);
}

/// Waits until its adoption is refused; why.
async fn until_refused(world: &World, name: &str) -> String {
    let message = world.until_trouble(name, "AdoptionRefused").await;
    let token = world.api::<PlatformToken>().get(name).await.unwrap();
    assert!(condition(&token, "Stalled").is_some());
    assert_eq!(world.minted(), 0, "{message}");
    message
}

async fn until_gone(world: &World, name: &str) {
    world.delete::<PlatformToken>(name).await;
    world.until_gone::<PlatformToken>(name).await;
}

#[tokio::test]
async fn an_existing_token_is_taken_over_proven_and_revoked_like_any_other() {
    for dialect in DIALECTS {
        let world = World::bare(Config {
            dialect,
            ..Config::default()
        })
        .await;
        world
            .credentials("credentials", &world.admin_credential())
            .await;
        // Whatever the account says of new tokens.
        world.account("main", json!({ "verify": false })).await;
        let (id, theirs) = stranger(&world);
        world.token("adopted", adopting(&id)).await;
        let token = world.until_ready("adopted").await;
        assert_eq!((id_of(&token), world.minted()), (id.clone(), 0));
        let secret = world.secret("adopted").await.unwrap();
        assert_eq!(value(&secret, "token"), theirs);
        assert_eq!(value(&secret, "ACEDATACLOUD_PLATFORM_TOKEN"), theirs);
        let used = |token: &&platform_token_operator::sandbox::LiveToken| token.used_at.is_some();
        let live = world.live();
        assert!(live.iter().find(used).is_some_and(|token| token.id == id));
        let adopted = |(_, reason, _): &(String, String, String)| reason == "Adopted";
        assert!(world.events("adopted").await.iter().any(adopted));

        // The field may go: nothing changes.
        let removed = json!({ "spec": { "adoptTokenID": null } });
        world.patch::<PlatformToken>("adopted", removed).await;
        assert_eq!(id_of(&world.until_ready("adopted").await), id);
        world.delete::<Secret>("adopted").await;
        eventually("the Secret is back", || async {
            let secret = world.secret("adopted").await?;
            let back = secret.metadata.deletion_timestamp.is_none();
            (back && value(&secret, "token") == theirs).then_some(())
        })
        .await;
        until_gone(&world, "adopted").await;
        assert!(world.live().is_empty(), "{dialect}");
        assert_eq!(world.minted(), 0);
    }
}

#[tokio::test]
async fn a_secret_that_holds_the_very_token_is_taken_over_and_any_other_is_left_alone() {
    let world = World::new().await;
    let (id, theirs) = stranger(&world);
    let (_, another) = stranger(&world);
    let made = world.credentials("handmade", &theirs).await;
    world.credentials("other", &another).await;
    let named = json!({ "adoptTokenID": id, "secret": { "name": "other" } });
    world.token("adopted", named).await;
    let message = until_refused(&world, "adopted").await;
    assert!(
        message.contains("Secret other exists and does not hold token"),
        "{message}"
    );
    let other = world.secret("other").await.unwrap();
    assert_eq!(value(&other, "ACEDATACLOUD_PLATFORM_TOKEN"), another);

    let right = json!({ "spec": { "secret": { "name": "handmade" } } });
    world.patch::<PlatformToken>("adopted", right).await;
    world.until_ready("adopted").await;
    let secret = world.secret("handmade").await.unwrap();
    assert_eq!(secret.uid(), made.uid());
    assert_eq!(value(&secret, "token"), theirs);
    assert_eq!(secret.finalizers(), [names::FINALIZER]);
    assert_eq!(world.minted(), 0);
}

#[tokio::test]
async fn a_value_that_the_platform_does_not_show_counts_only_beside_a_record_of_its_id() {
    for dialect in DIALECTS {
        let world = World::with(Config {
            dialect,
            ..Config::default()
        })
        .await;
        let (id, theirs) = stranger(&world);
        mask(&world);
        world.credentials("handmade", &theirs).await;
        world.token("handmade", adopting(&id)).await;
        let message = until_refused(&world, "handmade").await;
        assert!(
            message.contains("the platform does not show the value"),
            "{message}"
        );
        let secret = world.secret("handmade").await.unwrap();
        assert!(secret.finalizers().is_empty() && secret.labels().is_empty());
        assert_eq!(world.live().len(), 1);
    }
}

#[tokio::test]
async fn what_is_not_there_or_is_a_credential_is_not_adopted() {
    let world = World::new().await;
    world
        .token("typo", json!({ "adoptTokenID": "nothing" }))
        .await;
    let message = until_refused(&world, "typo").await;
    assert!(
        message.contains("the account has no token nothing"),
        "{message}"
    );
    let credential = world.platform.with(|sandbox, _| {
        let admin = sandbox.model.admin(&world.user).unwrap().hash();
        let mut live = sandbox.model.live();
        live.find(|token| token.hash == admin).unwrap().id.clone()
    });
    world.token("credential", adopting(&credential)).await;
    let message = until_refused(&world, "credential").await;
    assert!(
        message.contains("is the credential of an account"),
        "{message}"
    );
    // Without the field a token is minted, as the message says.
    let removed = json!({ "spec": { "adoptTokenID": null } });
    world.patch::<PlatformToken>("typo", removed).await;
    world.until_ready("typo").await;
    for name in ["typo", "credential"] {
        until_gone(&world, name).await;
    }
    assert!(world.live().is_empty());
    assert_eq!(world.answers(&world.admin_credential()).await, 200);
}

#[tokio::test]
async fn a_token_that_another_platformtoken_holds_is_not_adopted_until_that_lets_go() {
    let world = World::new().await;
    let neighbour = world.neighbour().await;
    neighbour.main_account().await;
    let (id, theirs) = stranger(&world);
    world.token("holder", adopting(&id)).await;
    world.until_ready("holder").await;
    neighbour.token("late", adopting(&id)).await;
    let message = until_refused(&neighbour, "late").await;
    assert!(
        message.contains("is that of a PlatformToken of another namespace")
            && !message.contains(&world.namespace),
        "{message}"
    );
    assert!(neighbour.secret("late").await.is_none());

    let orphan = json!({ "spec": { "deletionPolicy": "Orphan" } });
    world.patch::<PlatformToken>("holder", orphan).await;
    until_gone(&world, "holder").await;
    let released = neighbour.released().await;
    assert!(released.is_empty() || released == std::slice::from_ref(&id));
    neighbour.until_ready("late").await;
    assert_eq!(
        neighbour.released().await,
        [],
        "it is not released any more"
    );
    assert_eq!(world.answers(&theirs).await, 200);
    until_gone(&neighbour, "late").await;
    assert_eq!(world.answers(&theirs).await, 401);
}

#[tokio::test]
async fn of_two_that_adopt_one_token_the_older_has_it() {
    let world = World::new().await;
    let (id, _) = stranger(&world);
    // Both are there before either can adopt anything.
    let nowhere =
        json!({ "accountRef": { "kind": "PlatformAccount", "name": "later" }, "adoptTokenID": id });
    let mut tokens = Vec::new();
    for name in ["b", "a", "c"] {
        tokens.push(world.token(name, nowhere.clone()).await);
    }
    world.account("later", json!({})).await;
    tokens.sort_by_key(|token| (token.creation_timestamp().unwrap().0, token.uid()));
    let names: Vec<String> = tokens.iter().map(ResourceExt::name_any).collect();
    world.until_ready(&names[0]).await;
    for name in &names[1..] {
        let message = until_refused(&world, name).await;
        assert!(message.contains(&names[0]), "{message}");
        assert!(world.secret(name).await.is_none());
    }
    assert_eq!(world.live().len(), 1);
    for name in names.iter().rev() {
        until_gone(&world, name).await;
    }
    assert!(world.live().is_empty());
}

#[tokio::test]
async fn what_is_owed_is_never_adopted() {
    let world = World::new().await;
    let (id, theirs) = stranger(&world);
    world.token("owing", adopting(&id)).await;
    world.until_ready("owing").await;
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
    until_gone(&world, "owing").await;
    assert_eq!(world.answers(&theirs).await, 200);
    world.token("late", adopting(&id)).await;
    let message = until_refused(&world, "late").await;
    assert!(message.contains("is to be revoked"), "{message}");
    world.platform.script(vec![]);
    eventually("what was owed is paid", || async {
        world.live().is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_adopted_token_that_does_not_answer_is_neither_ready_nor_replaced() {
    let world = World::new().await;
    let (id, _) = stranger(&world);
    let unauthorized = Fault::Status {
        when: When::Before,
        status: 401,
        body: Shape::Detail,
        retry_after: None,
    };
    let me = Match::on(Verb::Get, Route::Me);
    world.token("adopted", adopting(&id)).await;
    // The account is proven; from now on nobody is known by `me`.
    world.until_account("main", "Proven").await;
    world.platform.script(vec![Rule::always(me, unauthorized)]);
    let failing = |token: &PlatformToken| {
        let ready = condition(token, "Ready");
        ready.is_some_and(|c| c.reason == "VerificationFailed" || c.reason == "Unauthorized")
    };
    world
        .until_token("adopted", "it does not answer", failing)
        .await;
    world.platform.script(vec![]);
    let token = world.until_ready("adopted").await;
    assert_eq!((id_of(&token), world.minted()), (id, 0));
}
