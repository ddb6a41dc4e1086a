//! A token that somebody revokes in the console is replaced: once a complete list lacks it and the platform does not
//! know its value. Neither is enough alone.

use std::time::Duration;

use platform_token_operator::api::{Dialect, PlatformToken, TokenId};
use platform_token_operator::sandbox::{
    Config, Fault, Match, Route, Rule, Sandbox, Shape, Verb, When,
};
use serde_json::json;

use crate::support::{World, eventually, is_ready, value};

const DIALECTS: [Dialect; 2] = [Dialect::Current, Dialect::Documented];

/// A platform whose new tokens are old enough to be listed, and an account of which stock is taken every 10 s.
async fn world(dialect: Dialect) -> World {
    let config = Config {
        dialect,
        ..Config::default()
    };
    let world = World::behind(config, Duration::from_mins(2)).await;
    let credential = world.admin_credential();
    world.credentials("credentials", &credential).await;
    world
        .account("main", json!({ "resyncInterval": "10s" }))
        .await;
    world
}

fn token_id(token: &PlatformToken) -> TokenId {
    let status = token.status.as_ref().unwrap();
    status.token_id.clone().unwrap()
}

/// Waits until stock was taken twice more.
async fn until_listed_twice(world: &World, dialect: Dialect) {
    let lists = || world.calls(Verb::Get, Route::Tokens);
    // A proof lists as well in the documented dialect.
    let more = if dialect == Dialect::Current { 2 } else { 4 };
    let before = lists();
    eventually("the account is listed again", || async {
        (lists() >= before + more).then_some(())
    })
    .await;
}

async fn a_token_is_revoked(dialect: Dialect) {
    let world = world(dialect).await;
    let kept = token_id(&world.ready_token("kept").await);
    let former = token_id(&world.ready_token("lost").await);
    let revoke = |sandbox: &mut Sandbox, _| sandbox.model.revoke(&former);
    assert!(world.platform.with(revoke));
    let renewed = |token: &PlatformToken| is_ready(token) && token_id(token) != former;
    world.until_token("lost", "another token", renewed).await;
    let secret = world.secret("lost").await.unwrap();
    assert_eq!(world.answers(&value(&secret, "token")).await, 200);
    let says = format!("in place of {former}, which was revoked elsewhere");
    eventually("an event tells so", || async {
        let events = world.events("lost").await;
        let mut events = events.iter();
        let told = events.any(|(_, reason, note)| reason == "Replaced" && note.contains(&says));
        told.then_some(())
    })
    .await;
    until_listed_twice(&world, dialect).await;
    let api = world.api::<PlatformToken>();
    assert_eq!(token_id(&api.get("kept").await.unwrap()), kept);
    assert_eq!((world.minted(), world.live().len()), (3, 2), "{dialect}");
}

#[tokio::test]
async fn a_token_that_is_revoked_in_the_console_is_minted_anew() {
    let both = DIALECTS.map(a_token_is_revoked);
    futures::future::join_all(both).await;
}

async fn a_list_lags(dialect: Dialect) {
    let world = world(dialect).await;
    let former = token_id(&world.ready_token("there").await);
    let probes = || world.calls(Verb::Get, Route::Applications);
    let proven = probes();
    let lag = |sandbox: &mut Sandbox, _| sandbox.model.config.list_lag = Duration::from_hours(1);
    world.platform.with(lag);
    until_listed_twice(&world, dialect).await;
    // A page of a proxy in the place of an answer: only in the documented dialect the account is proven without it.
    let page = Fault::Status {
        when: When::Before,
        status: 401,
        body: Shape::Html,
        retry_after: None,
    };
    let probe = Match::on(Verb::Get, Route::Applications);
    world.platform.script(vec![Rule::always(probe, page)]);
    until_listed_twice(&world, dialect).await;
    let token = world.api::<PlatformToken>().get("there").await.unwrap();
    assert!(is_ready(&token), "{dialect}: no answer is no news");
    assert_eq!((token_id(&token), world.minted()), (former, 1), "{dialect}");
    let asked = dialect == Dialect::Documented;
    assert_eq!(probes() > proven + 1, asked, "its own value was asked");
}

#[tokio::test]
async fn a_list_that_lags_mints_nothing_whatever_a_proxy_says() {
    let both = DIALECTS.map(a_list_lags);
    futures::future::join_all(both).await;
}
