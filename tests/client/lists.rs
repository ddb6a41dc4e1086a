//! Pages, and lists that change or lie.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures::FutureExt;
use futures::future::BoxFuture;
use platform_token_operator::api::{Dialect, TokenId};
use platform_token_operator::platform::transport::{Request, Response, SendError};
use platform_token_operator::platform::{Client, Error, Row, Transport};
use platform_token_operator::sandbox::{Config, Fault, Route, Shared, Verb, When};
use serde_json::json;

use super::{Platform, WAYS, Way, user};

/// A platform with pages of ten rows, on which strangers have made tokens.
async fn crowded(way: Way, dialect: Dialect, tokens: usize) -> Platform {
    let config = Config {
        dialect,
        page_cap: 10,
        ..Config::default()
    };
    let platform = Platform::new(way, config).await;
    for _ in 0..tokens {
        arrive(&platform.shared);
    }
    platform
}

/// A stranger makes a token.
fn arrive(shared: &Shared) {
    shared.with(|sandbox, now| sandbox.model.stranger(&user(), Vec::new(), now));
}

/// Someone revokes a token.
fn revoke(shared: &Shared, id: Option<TokenId>) {
    assert!(shared.with(|sandbox, _| sandbox.model.revoke(&id.unwrap())));
}

/// The ids of all live tokens, newest first.
fn live(shared: &Shared) -> Vec<TokenId> {
    shared.with(|sandbox, _| {
        let mut live: Vec<_> = sandbox.model.live().collect();
        live.sort_by_key(|token| std::cmp::Reverse(token.created_at));
        live.into_iter().map(|token| token.id.clone()).collect()
    })
}

/// The ids of a list, each of which may occur once.
fn distinct(rows: &[Row]) -> BTreeSet<TokenId> {
    let ids: BTreeSet<_> = rows.iter().map(|row| row.id.clone()).collect();
    assert_eq!(ids.len(), rows.len(), "an id is listed twice");
    ids
}

/// A way on which something happens after each answer.
struct Meddled {
    inner: Arc<dyn Transport>,
    meddle: Box<dyn Fn() + Send + Sync>,
}

impl Transport for Meddled {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, SendError>> {
        let answer = self.inner.send(request);
        answer.inspect(|_| (self.meddle)()).boxed()
    }
}

#[tokio::test]
async fn all_rows_are_listed_though_the_server_sends_small_pages() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        for way in WAYS {
            let platform = crowded(way, dialect, 250).await;
            let rows = platform
                .client()
                .list(dialect, Some(&user()), None)
                .await
                .unwrap();
            let expected = live(&platform.shared).into_iter().collect();
            assert_eq!(distinct(&rows), expected);
            assert!(rows.is_sorted_by(|a, b| a.created_at >= b.created_at));
            assert_eq!(platform.calls(Verb::Get), 28, "{way:?} {dialect}");
        }
    }
}

/// Lists while something happens after each of the first `times` answers; whether all that lived throughout is listed.
async fn list_while(
    platform: &Platform,
    dialect: Dialect,
    times: usize,
    meddle: impl Fn(&Shared) + Send + Sync + 'static,
) -> Result<bool, Error> {
    // The first tokens and the last ones may go: the credential is one in between.
    let row = platform.client().create(dialect, &[]).await.unwrap();
    let value = row.token.unwrap();
    for _ in 0..30 {
        arrive(&platform.shared);
    }
    let (shared, left) = (platform.shared.clone(), AtomicUsize::new(times));
    let meddled = Meddled {
        inner: platform.transport.clone(),
        meddle: Box::new(move || {
            let took_one = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1));
            if took_one.is_ok() {
                meddle(&shared);
            }
        }),
    };
    let client = Client::new(Arc::new(meddled), (&value).into(), platform.clock);
    let before = live(&platform.shared);
    let listed = distinct(&client.list(dialect, Some(&user()), None).await?);
    let after = live(&platform.shared);
    let mut throughout = before.iter().filter(|id| after.contains(id));
    Ok(throughout.all(|id| listed.contains(id)))
}

/// A row that is left out counts as revoked, and a live token would get a twin.
#[tokio::test]
async fn a_list_that_changes_between_pages_is_begun_anew_until_it_is_whole() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        for way in WAYS {
            let come_and_go = |shared: &Shared| {
                arrive(shared);
                revoke(shared, live(shared).pop());
            };
            let first_ones_go = move |shared: &Shared| {
                let mut live = live(shared);
                // Documented lists begin with the oldest row.
                if dialect == Dialect::Documented {
                    live.reverse();
                }
                revoke(shared, live.into_iter().next());
            };
            for times in [1, 3, 8] {
                let platform = crowded(way, dialect, 60).await;
                let whole = list_while(&platform, dialect, times, come_and_go).await;
                assert_eq!(
                    whole,
                    Ok(true),
                    "{way:?} {dialect} {times}: rows come and go"
                );
                let platform = crowded(way, dialect, 60).await;
                let whole = list_while(&platform, dialect, times, first_ones_go).await;
                assert_eq!(
                    whole,
                    Ok(true),
                    "{way:?} {dialect} {times}: the first ones go"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_list_that_never_holds_still_is_an_error_and_not_a_guess() {
    let platform = crowded(Way::Door, Dialect::Current, 60).await;
    let error = list_while(&platform, Dialect::Current, usize::MAX, arrive).await;
    assert!(matches!(error, Err(Error::Broken(_))), "{error:?}");
}

#[tokio::test]
async fn a_count_that_lies_does_no_harm() {
    let row = json!({"id": "a", "user_id": "u", "created_at": super::BEGIN});
    for (count, rows, outcome) in [
        (json!(0), 0, Ok(0)),
        (json!(0), 1, Err("broken")),
        (json!(9), 0, Err("broken")),
        (json!(-1), 1, Err("broken")),
        (json!(1.5), 1, Err("broken")),
        (json!("1"), 1, Err("broken")),
        (json!(null), 1, Err("broken")),
        // The same page again and again.
        (json!(u32::MAX), 1, Err("broken")),
    ] {
        for way in WAYS {
            let platform = Platform::new(way, Config::default()).await;
            let text = json!({"count": count, "items": vec![&row; rows]}).to_string();
            let when = When::Before;
            let status = 200;
            platform.always(
                Verb::Get,
                Route::Tokens,
                Fault::Garbage { when, status, text },
            );
            let client = platform.client();
            let listed = client.list(Dialect::Current, Some(&user()), None).await;
            let listed = listed
                .map(|rows| rows.len())
                .map_err(|error| platform.class(&error));
            assert_eq!(listed, outcome, "{way:?} count {count}, {rows} rows");
        }
    }
}
