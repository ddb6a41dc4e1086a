//! Pages, and lists that change or lie.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use platform_token_operator::api::{AttemptId, AttemptRef, Dialect, Issued, TokenHash, TokenId};
use platform_token_operator::plan::{Identity, Listing, Moment, Shown};
use platform_token_operator::platform::transport::{Request, Response, SendError};
use platform_token_operator::platform::{Client, Error, Row, Transport};
use platform_token_operator::sandbox::{Config, Fault, Route, Shared, Verb, When};
use serde_json::json;

use super::{BEGIN, Platform, WAYS, Way, user};

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
fn arrive(shared: &Shared) -> TokenId {
    let made = shared.with(|sandbox, now| sandbox.model.stranger(&user(), Vec::new(), now));
    made.unwrap().id
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
                .list(dialect, Some(&user()), None, Some)
                .await
                .unwrap();
            let expected = live(&platform.shared).into_iter().collect();
            assert_eq!(distinct(&rows), expected);
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
    let listed = distinct(&client.list(dialect, Some(&user()), None, Some).await?);
    let after = live(&platform.shared);
    let mut throughout = before.iter().filter(|id| after.contains(id));
    Ok(throughout.all(|id| listed.contains(id)))
}

/// What the rules make of a list of 10,000 tokens, in pages of so many rows, while tokens come and go.
async fn take_stock(dialect: Dialect, page_cap: usize, changes: usize) {
    let config = Config {
        dialect,
        page_cap,
        ..Config::default()
    };
    let platform = Platform::new(Way::Door, config).await;
    for _ in 0..TOKENS {
        arrive(&platform.shared);
    }
    let pages = TOKENS.div_ceil(page_cap - 1);
    // Each time a token comes and another one goes, so that no count tells of it.
    let (shared, answers) = (platform.shared.clone(), AtomicUsize::new(0));
    let ever = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = ever.clone();
    ever.lock().unwrap().extend(live(&shared));
    let before = live(&platform.shared);
    let meddle = move || {
        let answer = answers.fetch_add(1, Relaxed);
        if (1..=changes).any(|n| answer == n * pages / (changes + 1)) {
            let newest = arrive(&shared);
            seen.lock().unwrap().insert(newest);
            let middle = live(&shared).swap_remove(TOKENS / 2);
            revoke(&shared, Some(middle));
        }
    };
    let meddled = Meddled {
        inner: platform.transport.clone(),
        meddle: Box::new(meddle),
    };
    let client = Client::new(
        Arc::new(meddled),
        (&platform.admin()).into(),
        platform.clock,
    );
    let begun = Moment {
        wall: platform.clock.now().wall + Duration::from_mins(2),
        elapsed: Duration::ZERO,
    };
    let keep = |row| Some(Shown::from(row).listed("cluster"));
    let rows = client.list(dialect, Some(&user()), None, keep).await;
    let rows = rows.unwrap();
    let after: BTreeSet<TokenId> = live(&platform.shared).into_iter().collect();
    let kept: BTreeSet<TokenId> = rows.iter().map(|row| row.id.clone()).collect();
    assert_eq!((kept.len(), rows.len()), (TOKENS + 1, TOKENS + 1));
    assert!(kept.is_subset(&ever.lock().unwrap()), "nothing was made up");
    let identity = Identity {
        base_url: "https://platform".into(),
        user_id: Some(user()),
        username: None,
        dialect,
        credential: TokenHash::recorded("credential"),
        verify: true,
        exclusive: None,
    };
    let listing = Listing::new(&identity, begun, rows);
    let issued = |id: &TokenId| Issued {
        attempt: AttemptRef {
            number: 1,
            id: AttemptId::parse("attempt").unwrap(),
        },
        token_id: id.clone(),
        hash: TokenHash::recorded("hash"),
        issued_at: BEGIN.parse().unwrap(),
        base_url: "https://platform".into(),
        user_id: user(),
    };
    for id in before {
        let missing = listing.missing(&issued(&id)).is_some();
        assert_eq!(missing, !kept.contains(&id), "{id}");
        // One that went after its row was read is found missing by the next list.
        assert!(!missing || !after.contains(&id), "{id} lived throughout");
    }
    // A change that shows ends its pass, and each page begins with the last row of the one before.
    let asked = usize::try_from(platform.calls(Verb::Get)).unwrap();
    assert!((pages..=2 * pages).contains(&asked), "{asked} requests");
    assert!(changes > 0 || asked == pages, "{asked} for {pages} pages");
}

/// How many tokens a large account has beside its credential.
const TOKENS: usize = 10_000;

#[tokio::test]
async fn of_ten_thousand_tokens_none_is_judged_missing_that_lived_throughout() {
    take_stock(Dialect::Current, 100, 0).await;
    take_stock(Dialect::Current, 100, 3).await;
    take_stock(Dialect::Documented, 100, 3).await;
}

#[tokio::test]
async fn ten_thousand_tokens_are_listed_though_a_page_has_ten_rows() {
    take_stock(Dialect::Current, 10, 1).await;
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
    let error = list_while(&platform, Dialect::Current, usize::MAX, |shared| {
        arrive(shared);
    })
    .await;
    assert!(matches!(error, Err(Error::Broken(_))), "{error:?}");
}

#[tokio::test]
async fn a_count_that_lies_does_no_harm() {
    let row = json!({"id": "a", "user_id": "u", "created_at": BEGIN});
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
            let listed = client
                .list(Dialect::Current, Some(&user()), None, Some)
                .await;
            let listed = listed
                .map(|rows| rows.len())
                .map_err(|error| platform.class(&error));
            assert_eq!(listed, outcome, "{way:?} count {count}, {rows} rows");
        }
    }
}
