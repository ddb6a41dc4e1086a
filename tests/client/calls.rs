//! The calls, in both dialects.

use platform_token_operator::api::{Credential, Dialect, TokenId, UserId};
use platform_token_operator::platform::{Client, Found, Whoami};
use platform_token_operator::sandbox::{
    Account, Config, Fault, Match, Route, Rule, Shape, Verb, When,
};
use serde_json::json;

use super::{Platform, WAYS, user};

const DIALECTS: [Dialect; 2] = [Dialect::Current, Dialect::Documented];

fn speaking(dialect: Dialect) -> Config {
    Config {
        dialect,
        ..Config::default()
    }
}

fn status(status: u16, body: Shape) -> Fault {
    Fault::Status {
        when: When::Before,
        status,
        body,
        retry_after: None,
    }
}

fn garbage(text: &str) -> Fault {
    Fault::Garbage {
        when: When::Before,
        status: 200,
        text: text.to_owned(),
    }
}

#[tokio::test]
async fn the_dialect_and_the_user_are_learnt_from_the_answers() {
    let html = Rule::once(Match::on(Verb::Get, Route::Me), status(404, Shape::Html));
    for (dialect, script, username) in [
        (Dialect::Current, vec![], Some("sandbox".to_owned())),
        (Dialect::Documented, vec![], None),
        (Dialect::Documented, vec![html], None),
    ] {
        for way in WAYS {
            let platform = Platform::new(way, speaking(dialect)).await;
            platform.shared.script(script.clone());
            let expected = Whoami {
                dialect,
                user_id: Some(user()),
                username: username.clone(),
            };
            assert_eq!(platform.client().whoami().await, Ok(expected), "{way:?}");
        }
    }
}

#[tokio::test]
async fn a_documented_platform_without_tokens_does_not_tell_the_user() {
    let user_token = Credential::parse("a.user.token").unwrap();
    let account = Account {
        user_token: Some(user_token.clone()),
        ..Account::default()
    };
    for way in WAYS {
        let config = Config {
            accounts: vec![account.clone()],
            ..speaking(Dialect::Documented)
        };
        let platform = Platform::new(way, config).await;
        platform.shared.with(|sandbox, _| {
            let id = sandbox.model.live().next().unwrap().id.clone();
            sandbox.model.revoke(&id);
        });
        let client = Client::new(
            platform.transport.clone(),
            user_token.clone(),
            platform.clock,
        );
        let expected = Whoami {
            dialect: Dialect::Documented,
            user_id: None,
            username: None,
        };
        assert_eq!(client.whoami().await, Ok(expected), "{way:?}");
    }
}

#[tokio::test]
async fn a_failure_is_no_dialect() {
    for (dialect, route, fault, class) in [
        (
            Dialect::Current,
            Route::Me,
            status(401, Shape::Detail),
            "unauthorized",
        ),
        (
            Dialect::Current,
            Route::Me,
            status(403, Shape::Gateway),
            "forbidden",
        ),
        (
            Dialect::Current,
            Route::Me,
            status(502, Shape::Html),
            "unavailable",
        ),
        (
            Dialect::Current,
            Route::Me,
            status(302, Shape::Html),
            "broken",
        ),
        (Dialect::Current, Route::Me, garbage("{}"), "broken"),
        (Dialect::Current, Route::Me, Fault::Cut, "lost"),
        (
            Dialect::Documented,
            Route::Tokens,
            status(404, Shape::Html),
            "broken",
        ),
        (
            Dialect::Documented,
            Route::Tokens,
            status(503, Shape::Detail),
            "unavailable",
        ),
        (Dialect::Documented, Route::Tokens, garbage("{}"), "broken"),
    ] {
        for way in WAYS {
            let platform = Platform::new(way, speaking(dialect)).await;
            platform.once(Verb::Get, route, fault.clone());
            let error = platform.client().whoami().await.unwrap_err();
            assert_eq!(platform.class(&error), class, "{way:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_token_is_made_works_is_found_and_is_revoked_in_either_dialect() {
    for dialect in DIALECTS {
        for way in WAYS {
            let platform = Platform::new(way, speaking(dialect)).await;
            let (client, me) = (platform.client(), user());
            let tags = vec!["a b".to_owned(), "uid=1&2".to_owned()];

            let row = client.create(dialect, &tags).await.unwrap();
            let value = row.token.clone().unwrap();
            let written = match dialect {
                Dialect::Current => tags,
                Dialect::Documented => Vec::new(),
            };
            assert_eq!((&row.user_id, &row.tags), (&me, &written));
            platform.shared.with(|sandbox, _| {
                let made = sandbox.model.value(&row.id).unwrap();
                assert_eq!(made.expose(), value.expose());
            });
            let own = platform.client_with(&value);
            own.probe(dialect).await.unwrap();

            let listed = client.list(dialect, Some(&me), None, Some).await.unwrap();
            let ids: Vec<_> = listed.iter().map(|row| &row.id).collect();
            assert!(ids.len() == 2 && ids.contains(&&row.id), "{ids:?}");
            let found = client.find(dialect, Some(&me), &row.id).await.unwrap();
            assert!(matches!(found, Found::Row(found) if found.id == row.id));

            client.delete(&row.id).await.unwrap();
            let again = client.delete(&row.id).await.unwrap_err();
            assert_eq!(platform.class(&again), "not_found", "{way:?} {dialect}");
            let found = client.find(dialect, Some(&me), &row.id).await.unwrap();
            assert!(matches!(found, Found::Nothing), "{way:?} {dialect}");
            let refused = own.probe(dialect).await.unwrap_err();
            assert_eq!(platform.class(&refused), "unauthorized");
            assert_eq!(platform.minted(), 1);
        }
    }
}

#[tokio::test]
async fn only_the_post_shows_a_value_where_values_are_masked() {
    for dialect in DIALECTS {
        for way in WAYS {
            let config = Config {
                mask_values: true,
                ..speaking(dialect)
            };
            let client = Platform::new(way, config).await.client();
            let row = client.create(dialect, &[]).await.unwrap();
            let listed = client
                .list(dialect, Some(&user()), None, Some)
                .await
                .unwrap();
            assert!(listed.iter().all(|row| row.token.is_none()));
            let found = client.find(dialect, Some(&user()), &row.id).await.unwrap();
            assert!(matches!(found, Found::Row(row) if row.token.is_none()));
        }
    }
}

#[tokio::test]
async fn a_list_asks_for_its_own_user_and_one_tag() {
    for way in WAYS {
        let stranger = UserId::parse("stranger").unwrap();
        let config = Config {
            accounts: vec![Account::default(), Account::named(stranger)],
            ..Config::default()
        };
        let platform = Platform::new(way, config).await;
        let client = platform.client();
        let refused = client
            .list(Dialect::Current, None, None, Some)
            .await
            .unwrap_err();
        assert_eq!(platform.class(&refused), "forbidden");

        let tag = "uid=1&x y+z".to_owned();
        let row = client
            .create(Dialect::Current, std::slice::from_ref(&tag))
            .await
            .unwrap();
        for (tag, expected) in [(tag.as_str(), vec![row.id]), ("uid=1", vec![])] {
            let listed = client
                .list(Dialect::Current, Some(&user()), Some(tag), Some)
                .await
                .unwrap();
            let ids: Vec<_> = listed.into_iter().map(|row| row.id).collect();
            assert_eq!(ids, expected, "{way:?} {tag}");
        }
    }
}

#[tokio::test]
async fn rows_without_the_tag_are_left_out_though_the_server_sends_them() {
    let row = |id: &str, tag: &str| json!({"id": id, "user_id": "u", "tags": [tag], "created_at": super::BEGIN});
    let page = json!({"count": 2, "items": [row("a", "mine"), row("b", "yours")]});
    for way in WAYS {
        let platform = Platform::new(way, Config::default()).await;
        platform.once(Verb::Get, Route::Tokens, garbage(&page.to_string()));
        let listed = platform
            .client()
            .list(Dialect::Current, Some(&user()), Some("mine"), Some)
            .await
            .unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].id.as_str(), "a");
    }
}

#[tokio::test]
async fn another_token_is_not_the_one_asked_for_and_a_page_of_a_proxy_does_not_say_it_is_gone() {
    let other = json!({"id": "b", "user_id": "u", "created_at": super::BEGIN}).to_string();
    let id = TokenId::parse("a").unwrap();
    for fault in [garbage(&other), status(404, Shape::Html)] {
        for way in WAYS {
            let platform = Platform::new(way, Config::default()).await;
            platform.once(Verb::Get, Route::Token, fault.clone());
            let client = platform.client();
            let error = client
                .find(Dialect::Current, Some(&user()), &id)
                .await
                .unwrap_err();
            assert_eq!(platform.class(&error), "broken", "{way:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_probe_is_proof_only_if_the_api_answers_with_an_object() {
    for (dialect, route) in [
        (Dialect::Current, Route::Me),
        (Dialect::Documented, Route::Applications),
    ] {
        for text in ["<html>Log in</html>", "[]", "null", "\"ok\"", ""] {
            for way in WAYS {
                let platform = Platform::new(way, speaking(dialect)).await;
                platform.once(Verb::Get, route, garbage(text));
                let error = platform.client().probe(dialect).await.unwrap_err();
                assert_eq!(platform.class(&error), "broken", "{way:?} {text:?}");
            }
        }
    }
}
