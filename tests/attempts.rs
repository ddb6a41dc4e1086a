//! A POST whose outcome is unknown: found, waited out or written down, and never blindly repeated.

use platform_token_operator::api::{Dialect, PlatformAccount, PlatformToken};
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Shape, Verb, When};

use crate::support::{World, condition, eventually};

fn post() -> Match {
    Match::on(Verb::Post, Route::Tokens)
}

/// What a gateway answers that has lost the platform's answer.
fn bad_gateway(status: u16) -> Fault {
    Fault::Status {
        when: When::After,
        status,
        body: Shape::Html,
        retry_after: None,
    }
}

fn not_a_token(text: &str) -> Fault {
    Fault::Garbage {
        when: When::After,
        status: 201,
        text: text.to_owned(),
    }
}

/// Waits until as many tokens live upstream as there are PlatformTokens.
async fn until_live(world: &World, expected: usize) {
    let what = format!("exactly {expected} live tokens");
    eventually(&what, || async {
        (world.live().len() == expected).then_some(())
    })
    .await;
}

/// How many POSTs the platform saw, with whatever outcome.
fn posts(world: &World) -> u64 {
    world.platform.with(|sandbox, _| {
        let calls = sandbox.calls().iter();
        let posts = calls.filter(|(call, _)| call.method == Verb::Post);
        posts.map(|(_, count)| count).sum()
    })
}

#[tokio::test]
async fn a_lost_answer_never_mints_twice() {
    let world = World::new().await;
    let faults = [
        Fault::Reset { when: When::After },
        Fault::Cut,
        bad_gateway(502),
        bad_gateway(409),
        bad_gateway(401),
        not_a_token("not json"),
        not_a_token("{}"),
        not_a_token(r#"{"id": "without-a-token", "user_id": "sandbox"}"#),
    ];
    for (n, fault) in faults.into_iter().enumerate() {
        let shown = format!("{fault:?}");
        world.platform.script(vec![Rule::once(post(), fault)]);
        world.ready_token(&format!("lost-{n}")).await;
        assert_eq!(world.live().len(), n + 1, "{shown}");
        assert_eq!(posts(&world), n as u64 + 1, "{shown}");
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_given_up_and_its_token_found() {
    let world = World::new().await;
    let hang = Fault::Hang { when: When::After };
    world.platform.script(vec![Rule::once(post(), hang)]);
    world.ready_token("patient").await;
    assert_eq!((world.minted(), world.live().len()), (1, 1));
}

#[tokio::test]
async fn what_a_proxy_minted_twice_is_stored_once_and_revoked_once() {
    let world = World::new().await;
    let twice = Fault::Twice { lost: true };
    world.platform.script(vec![Rule::once(post(), twice)]);
    world.ready_token("twin").await;
    until_live(&world, 1).await;
    assert_eq!(world.minted(), 2);
}

#[tokio::test]
async fn a_post_that_made_nothing_is_followed_by_another_only_when_it_must_have_ended() {
    let world = World::new().await;
    let before = Fault::Reset { when: When::Before };
    world.platform.script(vec![Rule::once(post(), before)]);
    world.token("waiting", serde_json::json!({})).await;
    let message = world.until_trouble("waiting", "CreateOutcomeUnknown").await;
    assert!(message.contains("looking again at 20"), "{message}");
    let token = world.api::<PlatformToken>().get("waiting").await.unwrap();
    assert!(condition(&token, "Reconciling").is_some());
    let warned = |(kind, reason, _): &(String, String, String)| {
        kind == "Warning" && reason == "CreateOutcomeUnknown"
    };
    eventually("an event tells of the open attempt", || async {
        let events = world.events("waiting").await;
        events.iter().any(warned).then_some(())
    })
    .await;
    assert_eq!(posts(&world), 1);

    let token = world.until_ready("waiting").await;
    assert_eq!((posts(&world), world.minted()), (2, 1));
    assert_eq!(token.status.unwrap().attempt.unwrap().number, 2);
}

#[tokio::test]
async fn a_masked_token_is_superseded_and_revoked() {
    let config = Config {
        mask_values: true,
        ..Config::default()
    };
    let world = World::with(config).await;
    let reset = Fault::Reset { when: When::After };
    world.platform.script(vec![Rule::once(post(), reset)]);
    world.token("masked", serde_json::json!({})).await;
    let message = world.until_trouble("masked", "ValueUnavailable").await;
    let masked = world.live()[0].id.clone();
    assert!(message.contains(masked.as_str()), "{message}");
    let token = world.until_ready("masked").await;
    until_live(&world, 1).await;
    assert_eq!(
        Some(&world.live()[0].id),
        token.status.unwrap().token_id.as_ref()
    );
    assert_ne!(world.live()[0].id, masked);
}

#[tokio::test]
async fn a_list_that_lags_delays_the_token_and_makes_no_second_one() {
    let config = Config {
        list_lag: std::time::Duration::from_secs(8),
        ..Config::default()
    };
    let world = World::with(config).await;
    let reset = Fault::Reset { when: When::After };
    world.platform.script(vec![Rule::once(post(), reset)]);
    world.ready_token("eventual").await;
    assert_eq!((world.minted(), world.live().len()), (1, 1));
}

#[tokio::test]
async fn where_tokens_have_no_tags_the_account_shows_what_an_attempt_may_have_made() {
    let config = Config {
        dialect: Dialect::Documented,
        ..Config::default()
    };
    let world = World::with(config).await;
    let stranger = world.platform.with(|sandbox, now| {
        let hour_ago = now.checked_sub(std::time::Duration::from_hours(1)).unwrap();
        sandbox
            .model
            .stranger(&world.user, vec![], hour_ago)
            .unwrap()
    });
    let reset = Fault::Reset { when: When::After };
    world.platform.script(vec![Rule::once(post(), reset)]);
    let token = world.ready_token("anonymous").await;
    let kept = token.status.unwrap().token_id.unwrap();
    let lost = world
        .live()
        .into_iter()
        .find(|token| token.used_at.is_none() && token.id != stranger.id)
        .map(|token| token.id)
        .unwrap();
    assert_ne!(lost, kept);
    let account = world.api::<PlatformAccount>().get("main").await.unwrap();
    assert_eq!(
        account.status.unwrap().unclaimed_token_ids,
        std::slice::from_ref(&lost)
    );
    let told = |(_, _, note): &(String, String, String)| note.contains(lost.as_str());
    assert!(world.events("anonymous").await.iter().any(told));
}
