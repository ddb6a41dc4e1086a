//! What happens to an operator. Each scenario ends with everything as it should be for a token to be Ready: whatever
//! was broken is healed, so that all promises have to hold in the end.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use platform_token_operator::api::{Dialect, TokenId, names};
use platform_token_operator::sandbox::{Fault, Match, Route, Rule, Shape, Verb, When};
use serde_json::json;
use tokio::time::sleep;

use super::apiserver::Kind;
use super::queue::RESYNC;
use super::users::{base64, no_value};
use super::world::{Setup, World};

/// One story.
pub(crate) struct Scenario {
    pub name: &'static str,
    /// What is unusual from the beginning.
    pub setup: fn(&mut Setup),
    /// What happens.
    pub act: fn(Arc<World>) -> BoxFuture<'static, ()>,
}

macro_rules! scenarios {
    ($($name:ident $(: $setup:expr)?),* $(,)?) => {
        &[$(Scenario {
            name: stringify!($name),
            setup: scenarios!(@setup $($setup)?),
            act: |world| Box::pin($name(world)),
        }),*]
    };
    (@setup) => { |_| {} };
    (@setup $setup:expr) => { $setup };
}

/// All stories.
pub(crate) const ALL: &[Scenario] = scenarios![
    issue,
    the_account_comes_later,
    delete,
    delete_while_it_is_issued,
    recreate,
    repair,
    the_value_is_recovered,
    a_token_is_replaced,
    a_token_is_revoked_in_the_console,
    move_the_secret,
    the_account_breaks_and_heals,
    the_account_changes: |setup| setup.users_change = true,
    throttled,
    the_platform_fails,
    two_leaders: |setup| setup.processes = 2,
    stale_reads: |setup| setup.lag = Duration::from_secs(40),
    lists_that_lag_for_minutes,
    lists_that_lag: |setup| setup.platform.list_lag = Duration::from_secs(15),
    values_are_masked: |setup| setup.platform.mask_values = true,
    tokens_may_not_revoke_themselves: |setup| setup.platform.refuse_self_deletion = true,
    conflicting_writers,
    users_edit_secrets,
    a_strangers_secret,
    a_copy,
    what_was_left_is_taken_over,
    a_token_lives_on_and_is_adopted,
    a_secret_stays_with_its_token,
    a_secret_stays_without_its_token,
    two_adopt_one_token,
    the_namespace_goes,
    a_platformtoken_vanished: |setup| setup.sweeps = true,
];

async fn issue(world: Arc<World>) {
    world.stranger("alice");
    world.account();
    world.token("one");
    world.until_ready("one").await;
}

async fn the_account_comes_later(world: Arc<World>) {
    world.token("one");
    sleep(Duration::from_secs(3)).await;
    world.account();
    world.until_ready("one").await;
}

async fn delete(world: Arc<World>) {
    issue(world.clone()).await;
    world.delete(Kind::Token, "one");
    world.until_gone(Kind::Token, "one").await;
}

async fn delete_while_it_is_issued(world: Arc<World>) {
    world.account();
    for (name, wait) in [("one", 10), ("two", 25), ("three", 40)] {
        world.token(name);
        sleep(Duration::from_millis(wait)).await;
        world.delete(Kind::Token, name);
        world.until_gone(Kind::Token, name).await;
    }
}

async fn recreate(world: Arc<World>) {
    issue(world.clone()).await;
    world.delete(Kind::Token, "one");
    world.until_gone(Kind::Token, "one").await;
    world.token("one");
    world.until_ready("one").await;
}

/// Leaves the token, the Secret or both of `one` behind.
async fn leave(world: &World, token: &str, secret: &str) -> Option<TokenId> {
    world.account();
    let spec = json!({ "deletionPolicy": token, "secret": { "deletionPolicy": secret } });
    world.token_with("one", spec);
    world.until_ready("one").await;
    let id = world.token_id("one");
    world.delete(Kind::Token, "one");
    world.until_gone(Kind::Token, "one").await;
    id
}

fn adopting(id: Option<&TokenId>) -> serde_json::Value {
    json!({ "adoptTokenID": id, "secret": {} })
}

async fn a_token_lives_on_and_is_adopted(world: Arc<World>) {
    let id = leave(&world, "Orphan", "Delete").await;
    world.until_gone(Kind::Secret, "one").await;
    world.token_with("two", adopting(id.as_ref()));
    world.until_ready("two").await;
}

async fn a_secret_stays_with_its_token(world: Arc<World>) {
    let id = leave(&world, "Orphan", "Retain").await;
    world.token_with("one", adopting(id.as_ref()));
    world.until_ready("one").await;
}

async fn a_secret_stays_without_its_token(world: Arc<World>) {
    leave(&world, "Delete", "Retain").await;
    world.token("one");
    world.until_ready("one").await;
}

async fn two_adopt_one_token(world: Arc<World>) {
    let id = leave(&world, "Orphan", "Delete").await;
    world.until_gone(Kind::Secret, "one").await;
    world.token_with("two", adopting(id.as_ref()));
    sleep(Duration::from_millis(30)).await;
    world.token_with("three", adopting(id.as_ref()));
    world.until_ready("two").await;
    world.delete(Kind::Token, "three");
    world.until_gone(Kind::Token, "three").await;
}

async fn repair(world: Arc<World>) {
    issue(world.clone()).await;
    world.delete(Kind::Secret, "one");
    sleep(Duration::from_secs(1)).await;
    world.until_ready("one").await;
    world.patch(Kind::Secret, "one", no_value());
    sleep(Duration::from_secs(1)).await;
    world.until_ready("one").await;
}

async fn the_value_is_recovered(world: Arc<World>) {
    issue(world.clone()).await;
    world.patch(
        Kind::Secret,
        "one",
        json!({ "metadata": { "finalizers": null } }),
    );
    world.delete(Kind::Secret, "one");
    sleep(Duration::from_secs(2)).await;
    world.until_ready("one").await;
}

async fn a_token_is_replaced(world: Arc<World>) {
    issue(world.clone()).await;
    sleep(Duration::from_mins(2)).await;
    world.revoke_in_the_console("one");
    world.patch(Kind::Secret, "one", no_value());
    sleep(Duration::from_secs(2)).await;
    world.until_ready("one").await;
}

async fn a_token_is_revoked_in_the_console(world: Arc<World>) {
    issue(world.clone()).await;
    world.token("two");
    world.until_ready("two").await;
    sleep(Duration::from_mins(2)).await;
    let (one, two) = (world.token_id("one"), world.token_id("two"));
    world.revoke_in_the_console("one");
    let revoked = world.elapsed();
    let what = "a token is there that nobody has revoked";
    world
        .until(what, |world| world.token_id("one") != one)
        .await;
    world.until_ready("one").await;
    // One list may fail.
    if world.elapsed() > revoked + 2 * RESYNC + Duration::from_mins(1) {
        world.violated("a token that was revoked in the console is replaced too late");
    }
    if world.token_id("two") != two {
        world.violated("another token was replaced with it");
    }
}

async fn lists_that_lag_for_minutes(world: Arc<World>) {
    issue(world.clone()).await;
    let before = world.token_id("one");
    let lag = |lag| {
        world
            .platform
            .with(|sandbox, _| sandbox.model.config.list_lag = lag);
    };
    world.state().lists_lagged = true;
    lag(4 * RESYNC);
    world.state().lagged = true;
    sleep(3 * RESYNC).await;
    if world.token_id("one") != before || !world.is_ready("one") {
        world.violated("a list that lags replaced a token, or took Ready from it");
    }
    lag(Duration::ZERO);
}

async fn move_the_secret(world: Arc<World>) {
    issue(world.clone()).await;
    for name in ["other", "third"] {
        let spec = json!({ "spec": { "secret": { "name": name } } });
        world.patch(Kind::Token, "one", spec);
        world.until_ready("one").await;
    }
}

async fn the_account_breaks_and_heals(world: Arc<World>) {
    issue(world.clone()).await;
    world.credentials("platform-nobody");
    sleep(Duration::from_mins(12)).await;
    world.token("two");
    world.delete(Kind::Secret, "one");
    sleep(Duration::from_mins(1)).await;
    world.delete(Kind::Secret, "credentials");
    sleep(Duration::from_mins(1)).await;
    world.delete(Kind::Token, "one");
    sleep(Duration::from_mins(1)).await;
    world.credentials_of("alice");
    world.until_ready("two").await;
    world.until_gone(Kind::Token, "one").await;
}

async fn the_account_changes(world: Arc<World>) {
    world.account();
    world.token("one");
    sleep(Duration::from_millis(30)).await;
    world.credentials_of("bob");
    sleep(Duration::from_secs(5)).await;
    world.patch(Kind::Secret, "one", no_value());
    world.token("two");
    sleep(Duration::from_mins(3)).await;
    world.credentials_of("alice");
    world.until_ready("one").await;
    // What was minted on the other account belongs there, and so does what is left of a lost answer.
    world.credentials_of("bob");
    sleep(4 * RESYNC).await;
    world.until_ready("two").await;
    world.credentials_of("alice");
    world.until_ready("one").await;
}

async fn throttled(world: Arc<World>) {
    let slow_down = |retry_after: Option<&str>| Fault::Status {
        when: When::Before,
        status: 429,
        body: Shape::Detail,
        retry_after: retry_after.map(str::to_owned),
    };
    world.account();
    world.token("one");
    world.platform.script(vec![
        Rule::once(Match::on(Verb::Get, Route::Me), slow_down(Some("3"))),
        Rule::once(Match::on(Verb::Post, Route::Tokens), slow_down(Some("30"))),
        Rule {
            skip: 1,
            ..Rule::once(Match::on(Verb::Post, Route::Tokens), slow_down(None))
        },
        Rule::once(Match::on(Verb::Delete, Route::Token), slow_down(Some("7"))),
    ]);
    world.until_ready("one").await;
    world.delete(Kind::Token, "one");
    world.until_gone(Kind::Token, "one").await;
}

async fn the_platform_fails(world: Arc<World>) {
    let fails = |when, status, body| Fault::Status {
        when,
        status,
        body,
        retry_after: None,
    };
    let post = || Match::on(Verb::Post, Route::Tokens);
    world.platform.script(vec![
        Rule::once(post(), fails(When::Before, 503, Shape::Html)),
        Rule {
            skip: 1,
            ..Rule::once(post(), fails(When::After, 502, Shape::Gateway))
        },
        Rule {
            times: Some(3),
            ..Rule::once(
                Match::on(Verb::Delete, Route::Token),
                fails(When::After, 504, Shape::Html),
            )
        },
    ]);
    world.account();
    world.token("one");
    world.token("two");
    world.until_ready("one").await;
    world.until_ready("two").await;
    world.delete(Kind::Token, "one");
    world.until_gone(Kind::Token, "one").await;
}

async fn two_leaders(world: Arc<World>) {
    world.stranger("alice");
    world.account();
    world.token("one");
    world.token("two");
    world.until_ready("one").await;
    world.until_ready("two").await;
    world.delete(Kind::Secret, "one");
    world.patch(Kind::Secret, "two", no_value());
    sleep(Duration::from_secs(5)).await;
    world.until_ready("one").await;
    world.until_ready("two").await;
    world.delete(Kind::Token, "one");
    world.until_gone(Kind::Token, "one").await;
}

async fn stale_reads(world: Arc<World>) {
    issue(world.clone()).await;
    world.delete(Kind::Secret, "one");
    sleep(Duration::from_secs(1)).await;
    let spec = json!({ "spec": { "secret": { "name": "other" } } });
    world.patch(Kind::Token, "one", spec);
    sleep(Duration::from_secs(1)).await;
    world.patch(Kind::Secret, "one", no_value());
    world.until_ready("one").await;
    world.delete(Kind::Token, "one");
    sleep(Duration::from_secs(1)).await;
    world.token("one");
    world.until_gone(Kind::Token, "one").await;
    world.token("one");
    world.until_ready("one").await;
}

async fn lists_that_lag(world: Arc<World>) {
    issue(world.clone()).await;
    world.patch(Kind::Secret, "one", no_value());
    sleep(Duration::from_secs(3)).await;
    world.until_ready("one").await;
    world.delete(Kind::Token, "one");
    world.until_gone(Kind::Token, "one").await;
}

async fn values_are_masked(world: Arc<World>) {
    issue(world.clone()).await;
    world.delete(Kind::Secret, "one");
    sleep(Duration::from_secs(2)).await;
    world.until_ready("one").await;
    world.token("two");
    world.until_ready("two").await;
    world.delete(Kind::Token, "two");
    world.until_gone(Kind::Token, "two").await;
}

async fn tokens_may_not_revoke_themselves(world: Arc<World>) {
    delete(world).await;
}

async fn conflicting_writers(world: Arc<World>) {
    world.account();
    world.token("one");
    for n in 0..40 {
        let labels = json!({ "metadata": { "labels": { "n": n.to_string() } } });
        world.patch(Kind::Token, "one", labels);
        let annotations = json!({ "metadata": { "annotations": { "n": n.to_string() } } });
        world.patch(Kind::Secret, "one", annotations);
        sleep(Duration::from_millis(7)).await;
    }
    world.until_ready("one").await;
    world.delete(Kind::Token, "one");
    for n in 0..20 {
        let annotations = json!({ "metadata": { "annotations": { "m": n.to_string() } } });
        world.patch(Kind::Token, "one", annotations.clone());
        world.patch(Kind::Secret, "one", annotations);
        sleep(Duration::from_millis(7)).await;
    }
    world.until_gone(Kind::Token, "one").await;
}

async fn users_edit_secrets(world: Arc<World>) {
    issue(world.clone()).await;
    for edit in [
        json!({ "data": { names::TOKEN_KEY: base64("x") } }),
        json!({ "data": { names::TOKEN_VARIABLE: null } }),
        json!({ "metadata": { "annotations": { names::TOKEN_HASH: "00" } } }),
        json!({ "metadata": { "annotations": { names::OWNER: null } } }),
        json!({ "metadata": { "annotations": { names::TOKEN_ID: "nobody" } } }),
        json!({ "metadata": { "labels": { names::MANAGED_LABEL: null } } }),
        json!({ "metadata": { "finalizers": null } }),
        json!({ "metadata": { "annotations": { "note": "theirs" } } }),
    ] {
        world.patch(Kind::Secret, "one", edit);
        sleep(Duration::from_secs(4)).await;
    }
    world.until_ready("one").await;
    world.delete(Kind::Token, "one");
    world.until_gone(Kind::Token, "one").await;
}

async fn a_strangers_secret(world: Arc<World>) {
    let theirs = json!({ "metadata": { "name": "one" }, "data": { "token": base64("theirs") } });
    world.create(Kind::Secret, theirs);
    world.account();
    world.token("one");
    sleep(Duration::from_secs(20)).await;
    let same = world.object(Kind::Secret, "one").is_some_and(|secret| {
        secret["data"] == json!({ "token": base64("theirs") })
            && secret["metadata"]["annotations"].is_null()
    });
    if !same {
        world.violated("a Secret of someone else was written");
    }
    let spec = json!({ "spec": { "secret": { "name": "free" } } });
    world.patch(Kind::Token, "one", spec);
    world.until_ready("one").await;
}

async fn a_copy(world: Arc<World>) {
    issue(world.clone()).await;
    let Some(token) = world.object(Kind::Token, "one") else {
        return;
    };
    let mut copy = (*token).clone();
    copy["metadata"] = json!({
        "name": "copy", "annotations": token["metadata"]["annotations"],
        "finalizers": token["metadata"]["finalizers"],
    });
    world.create(Kind::Token, copy);
    if let Some(secret) = world.object(Kind::Secret, "one") {
        let mut copy = (*secret).clone();
        copy["metadata"] = json!({
            "name": "kept", "annotations": secret["metadata"]["annotations"],
            "labels": secret["metadata"]["labels"],
        });
        world.create(Kind::Secret, copy);
    }
    world.until_ready("copy").await;
    world.delete(Kind::Token, "copy");
    world.until_gone(Kind::Token, "copy").await;
    world.until_ready("one").await;
    world.delete(Kind::Secret, "kept");
}

async fn what_was_left_is_taken_over(world: Arc<World>) {
    issue(world.clone()).await;
    // Whatever struck before is over: what a process is about to do for the former one is not what is looked at here.
    sleep(Duration::from_mins(2)).await;
    let unheld = json!({ "metadata": { "finalizers": null } });
    world.patch(Kind::Token, "one", unheld);
    world.delete(Kind::Token, "one");
    sleep(Duration::from_secs(1)).await;
    world.token("one");
    world.until_ready("one").await;
    world.delete(Kind::Token, "one");
    world.until_gone(Kind::Token, "one").await;
}

async fn the_namespace_goes(world: Arc<World>) {
    issue(world.clone()).await;
    world.token("two");
    sleep(Duration::from_millis(20)).await;
    world.delete_namespace().await;
}

async fn a_platformtoken_vanished(world: Arc<World>) {
    issue(world.clone()).await;
    if world.setup.platform.dialect == Dialect::Current {
        // Else it might be older than the ledger.
        sleep(RESYNC).await;
        world.lost();
    }
    sleep(RESYNC).await;
}
