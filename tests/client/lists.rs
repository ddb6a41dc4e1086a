//! Pages, and lists that change or lie.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use platform_token_operator::api::{Dialect, TokenId};
use platform_token_operator::platform::transport::{Request, Response, SendError};
use platform_token_operator::platform::{Client, Row, Transport};
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
            assert_eq!(platform.calls(Verb::Get), 26, "{way:?} {dialect}");
        }
    }
}

/// What a list shows while something happens between its pages, and what it should show: all that lived throughout.
async fn list_while(
    platform: &Platform,
    dialect: Dialect,
    meddle: impl Fn(&Shared) + Send + Sync + 'static,
) -> (BTreeSet<TokenId>, BTreeSet<TokenId>) {
    // The first tokens and the last ones may go: the credential is one in between.
    let (_, value) = platform.client().create(dialect, &[]).await.unwrap();
    for _ in 0..30 {
        arrive(&platform.shared);
    }
    let shared = platform.shared.clone();
    let meddled = Meddled {
        inner: platform.transport.clone(),
        meddle: Box::new(move || meddle(&shared)),
    };
    let client = Client::new(Arc::new(meddled), (&value).into(), platform.clock);
    let before = live(&platform.shared);
    let rows = client.list(dialect, Some(&user()), None).await.unwrap();
    let after = live(&platform.shared);
    let throughout = before.into_iter().filter(|id| after.contains(id)).collect();
    (distinct(&rows), throughout)
}

#[tokio::test]
async fn rows_that_come_and_go_between_pages_are_listed_at_most_once() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        for way in WAYS {
            let platform = crowded(way, dialect, 250).await;
            let (listed, throughout) = list_while(&platform, dialect, |shared| {
                arrive(shared);
                arrive(shared);
                revoke(shared, live(shared).pop());
            })
            .await;
            // `list_while` has seen that no id is there twice.
            assert!(
                listed.len() > 200 && throughout.len() > 200,
                "{way:?} {dialect}"
            );
        }
    }
}

/// A row that is left out counts as revoked: a live token would get a twin.
#[tokio::test]
async fn a_row_that_lives_throughout_is_listed_though_the_first_ones_go_between_pages() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        for way in WAYS {
            let platform = crowded(way, dialect, 60).await;
            let (listed, throughout) = list_while(&platform, dialect, move |shared| {
                let mut live = live(shared);
                // Documented lists begin with the oldest row.
                if dialect == Dialect::Documented {
                    live.reverse();
                }
                revoke(shared, live.into_iter().next());
            })
            .await;
            let left_out = throughout.difference(&listed).count();
            assert_eq!(left_out, 0, "{way:?} {dialect}: rows that nobody touched");
        }
    }
}

#[tokio::test]
async fn a_count_that_lies_does_no_harm() {
    let row = json!({"id": "a", "user_id": "u", "created_at": super::BEGIN});
    for (count, rows, outcome) in [
        (json!(0), 0, Ok(0)),
        (json!(0), 1, Ok(1)),
        (json!(9), 0, Ok(0)),
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
