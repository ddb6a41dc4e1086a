//! What a bad answer means, and whether the call has taken effect.

use std::time::Duration;

use platform_token_operator::api::{Credential, Dialect, TokenId};
use platform_token_operator::platform::transport::MAX_BODY;
use platform_token_operator::platform::{Client, Error, Row};
use platform_token_operator::sandbox::{Config, Fault, Route, Shape, Verb, When};
use serde_json::{Value, json};

use super::{CREDENTIAL, Platform, WAYS, user};

const OWN: [Shape; 2] = [Shape::Detail, Shape::Gateway];

async fn post(client: &Client) -> Result<Row, Error> {
    client.create(Dialect::Current, &[]).await
}

fn garbage(status: u16, text: impl Into<String>) -> Fault {
    Fault::Garbage {
        when: When::Before,
        status,
        text: text.into(),
    }
}

/// The row of a token as a platform may answer a POST, with a few fields set anew.
fn made(changes: Value) -> String {
    let mut row =
        json!({"id": "a", "user_id": "u", "token": CREDENTIAL, "created_at": super::BEGIN});
    let Value::Object(changes) = changes else {
        unreachable!("a row's fields are an object")
    };
    row.as_object_mut().unwrap().extend(changes);
    row.as_object_mut()
        .unwrap()
        .retain(|_, value| *value != json!("absent"));
    row.to_string()
}

#[tokio::test]
async fn each_status_says_what_may_be_done_next() {
    // A refusal counts as one only in the platform's own words.
    let refusal = |class| (class, "broken", true);
    let always = |class, definite| (class, class, definite);
    let platforms = Platform::both().await;
    for (status, (own, html, definite)) in [
        (302, always("broken", false)),
        (400, refusal("refused")),
        (401, refusal("unauthorized")),
        (403, refusal("forbidden")),
        (404, refusal("not_found")),
        (405, refusal("refused")),
        (408, always("unavailable", false)),
        (409, always("unavailable", false)),
        (422, refusal("refused")),
        (425, always("unavailable", false)),
        (429, always("throttled", true)),
        (499, always("unavailable", false)),
        (500, always("unavailable", false)),
        (502, always("unavailable", false)),
        (503, always("unavailable", false)),
        (504, always("unavailable", false)),
    ] {
        let shapes = OWN.map(|shape| (shape, own, definite));
        let page = (Shape::Html, html, definite && html != "broken");
        for (body, class, definite) in shapes.into_iter().chain([page]) {
            for (way, platform) in &platforms {
                let sent =
                    || [Verb::Post, Verb::Get, Verb::Delete].map(|verb| platform.calls(verb));
                let before = sent();
                let client = platform.client();
                let fault = Fault::Status {
                    when: When::Before,
                    status,
                    body,
                    retry_after: None,
                };
                let says = |error: &Error| (platform.class(error), error.is_definite());
                platform.once(Verb::Post, Route::Tokens, fault.clone());
                let posted = post(&client).await.unwrap_err();
                platform.once(Verb::Get, Route::Tokens, fault.clone());
                let listed = client
                    .list(Dialect::Current, Some(&user()), None, Some)
                    .await;
                platform.once(Verb::Delete, Route::Token, fault);
                let deleted = client.delete(&TokenId::parse("a").unwrap()).await;
                for error in [posted, listed.unwrap_err(), deleted.unwrap_err()] {
                    assert_eq!(says(&error), (class, definite), "{way:?} {status} {body:?}");
                }
                assert_eq!(sent(), before.map(|calls| calls + 1), "each is sent once");
                assert_eq!(platform.minted(), 0);
            }
        }
    }
}

#[tokio::test]
async fn a_page_of_a_proxy_does_not_say_that_a_token_is_revoked() {
    for way in WAYS {
        let platform = Platform::new(way, Config::default()).await;
        let client = platform.client();
        let row = post(&client).await.unwrap();
        let page = garbage(200, "<html>welcome</html>");
        platform.once(Verb::Delete, Route::Token, page);
        let deleted = client.delete(&row.id).await.unwrap_err();
        assert_eq!(platform.class(&deleted), "broken", "{way:?}");
        assert!(!deleted.is_definite(), "{way:?}");
        platform.once(Verb::Delete, Route::Token, garbage(200, "{}"));
        client.delete(&row.id).await.unwrap();
    }
}

#[tokio::test]
async fn a_post_is_sent_once_whatever_becomes_of_it() {
    let failing = |when, status| Fault::Status {
        when,
        status,
        body: Shape::Html,
        retry_after: Some("0".into()),
    };
    let (before, after) = (When::Before, When::After);
    for (fault, outcome, minted) in [
        (Fault::Reset { when: before }, Err("lost"), 0),
        (Fault::Reset { when: after }, Err("lost"), 1),
        (Fault::Cut, Err("lost"), 1),
        (Fault::Latency { ms: 30 }, Ok(()), 1),
        (Fault::Slow { ms: 30 }, Ok(()), 1),
        (failing(before, 408), Err("unavailable"), 0),
        (failing(before, 425), Err("unavailable"), 0),
        (failing(before, 429), Err("throttled"), 0),
        (failing(after, 500), Err("unavailable"), 1),
        (failing(before, 502), Err("unavailable"), 0),
        (failing(after, 503), Err("unavailable"), 1),
        (failing(after, 504), Err("unavailable"), 1),
        (garbage(201, "{"), Err("broken"), 0),
    ] {
        for way in WAYS {
            let platform = Platform::new(way, Config::default()).await;
            let client = platform.client();
            // A connection that has been of use is one that a transport might try again on.
            client.probe(Dialect::Current).await.unwrap();
            platform.once(Verb::Post, Route::Tokens, fault.clone());
            let posted = post(&client).await;
            if let Err(error) = &posted {
                assert_eq!(
                    error.is_definite(),
                    matches!(error, Error::Throttled { .. })
                );
            }
            let posted = posted.map(|_| ()).map_err(|error| platform.class(&error));
            assert_eq!(posted, outcome, "{way:?} {fault:?}");
            let counted = (platform.calls(Verb::Post), platform.minted());
            assert_eq!(counted, (1, minted), "{way:?} {fault:?}");
        }
    }
}

#[tokio::test]
async fn every_form_of_retry_after_arrives() {
    let seconds = |n| Some(Duration::from_secs(n));
    let longest = seconds(300);
    let platforms = Platform::both().await;
    for (header, expected) in [
        (None, None),
        (Some("0"), seconds(0)),
        (Some("7"), seconds(7)),
        (Some("1.5"), Some(Duration::from_millis(1500))),
        (Some("86400"), longest),
        (Some("1e300"), longest),
        (Some("Fri, 02 Jan 2026 03:06:05 GMT"), seconds(120)),
        (Some("Fri, 02 Jan 2026 03:00:00 GMT"), seconds(0)),
        (Some("Sat, 02 Jan 2027 03:04:05 GMT"), longest),
        (Some("-1"), None),
        (Some("NaN"), None),
        (Some("inf"), None),
        (Some("soon"), None),
        (Some(""), None),
    ] {
        for (way, platform) in &platforms {
            let fault = Fault::Status {
                when: When::Before,
                status: 429,
                body: Shape::Html,
                retry_after: header.map(str::to_owned),
            };
            platform.once(Verb::Post, Route::Tokens, fault);
            let Err(Error::Throttled { retry_after }) = post(&platform.client()).await else {
                panic!("{header:?} is not throttled");
            };
            // The clock moves on while the answer travels.
            let slack = Duration::from_secs(header.is_some_and(|h| h.contains(',')).into()) * 60;
            let holds = match (retry_after, expected) {
                (Some(asked), Some(expected)) => asked <= expected && asked + slack >= expected,
                (asked, expected) => asked == expected,
            };
            assert!(holds, "{way:?} {header:?}: {retry_after:?}");
        }
    }
}

#[tokio::test]
async fn a_success_that_is_no_token_is_broken_and_may_have_made_one() {
    let platforms = Platform::both().await;
    for text in [
        String::new(),
        "{".into(),
        "[]".into(),
        "null".into(),
        "<html>Welcome</html>".into(),
        format!(r#"{{"data": {}}}"#, made(json!({}))),
        format!("[{}]", made(json!({}))),
        format!("{} {CREDENTIAL}", made(json!({}))),
        made(json!({"id": "absent"})),
        made(json!({"id": null})),
        made(json!({"id": 7})),
        made(json!({"id": ""})),
        made(json!({"id": "../me"})),
        made(json!({"id": CREDENTIAL.repeat(2)})),
        made(json!({"user_id": "absent"})),
        made(json!({"created_at": CREDENTIAL})),
        made(json!({"tags": CREDENTIAL})),
        made(json!({"token": 7})),
        made(json!({"token": [CREDENTIAL]})),
    ] {
        for status in [200, 201, 202, 204] {
            // A 204 has no body on the wire.
            let text = if status == 204 { "" } else { &text };
            for (way, platform) in &platforms {
                platform.once(Verb::Post, Route::Tokens, garbage(status, text));
                let error = post(&platform.client()).await.unwrap_err();
                assert_eq!(platform.class(&error), "broken", "{way:?} {status} {text}");
                assert!(!error.is_definite());
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains(&CREDENTIAL[12..]), "{shown}");
            }
        }
    }
}

/// Its id is what counts then: the token was made.
#[tokio::test]
async fn an_answer_without_a_usable_value_still_tells_the_id() {
    for token in [
        json!("absent"),
        json!(null),
        json!("platform-"),
        json!("platform-v1-****"),
        json!(format!("{CREDENTIAL}\n")),
        json!(CREDENTIAL.replace("platform-", "user-")),
    ] {
        for (way, platform) in Platform::both().await {
            let text = made(json!({"token": token}));
            platform.once(Verb::Post, Route::Tokens, garbage(201, text));
            let row = post(&platform.client()).await.unwrap();
            assert_eq!(
                (row.id.as_str(), row.token.is_none()),
                ("a", true),
                "{way:?} {token}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_is_accepted_with_200_and_with_the_least_that_is_promised() {
    for status in [200, 201] {
        for way in WAYS {
            let platform = Platform::new(way, Config::default()).await;
            let text = made(
                json!({"token": "platform-x_Y-9", "created_at": "2026-01-02T03:04:05.123456Z"}),
            );
            platform.once(Verb::Post, Route::Tokens, garbage(status, text));
            let row = post(&platform.client()).await.unwrap();
            let value = row.token.unwrap();
            assert_eq!((row.id.as_str(), value.expose()), ("a", "platform-x_Y-9"));
        }
    }
}

#[tokio::test]
async fn the_longest_body_is_read_and_one_byte_more_is_lost() {
    let row = made(json!({}));
    for (length, outcome) in [(MAX_BODY, Ok(())), (MAX_BODY + 1, Err("lost"))] {
        for way in WAYS {
            let platform = Platform::new(way, Config::default()).await;
            platform.once(
                Verb::Post,
                Route::Tokens,
                garbage(201, row.clone() + &" ".repeat(length - row.len())),
            );
            let posted = post(&platform.client()).await.map(|_| ());
            assert_eq!(
                posted.map_err(|error| error.class()),
                outcome,
                "{way:?} {length}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_that_the_platform_quotes_enters_no_message() {
    let platform = Platform::new(super::Way::Http, Config::default()).await;
    for status in [400, 401, 403, 404, 409, 422, 500, 503] {
        for body in [
            json!({"detail": format!("no such bearer: {CREDENTIAL}!")}),
            json!({"detail": format!("{} {CREDENTIAL}", "long ".repeat(30))}),
            json!({"error": {"code": CREDENTIAL, "message": CREDENTIAL}, "trace_id": CREDENTIAL}),
            json!({"token": [CREDENTIAL], CREDENTIAL: ["unknown field"]}),
            json!(CREDENTIAL),
        ] {
            platform.once(Verb::Post, Route::Tokens, garbage(status, body.to_string()));
            let error = post(&platform.client()).await.unwrap_err();
            let shown = format!("{error} {error:?}");
            // Not even the first half of it.
            assert!(!shown.contains(&CREDENTIAL[12..40]), "{shown}");
        }
    }
}

#[tokio::test]
async fn a_credential_of_any_kind_that_the_platform_quotes_enters_no_message() {
    for credential in [
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.c2lnbmF0dXJl",
        "platform-0f1e2d3c4b",
    ] {
        let platform = Platform::new(super::Way::Door, Config::default()).await;
        let text = json!({"detail": format!("no such bearer: {credential}")}).to_string();
        platform.once(Verb::Post, Route::Tokens, garbage(401, text));
        let bearer = Credential::parse(credential).unwrap();
        let client = Client::new(platform.transport.clone(), bearer, platform.clock);
        let error = post(&client).await.unwrap_err().to_string();
        assert!(!error.contains(credential), "{error}");
    }
}
