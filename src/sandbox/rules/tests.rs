use super::*;
use crate::api::{Credential, TokenValue, UserId};
use crate::platform::transport::Method::{self, Delete, Get, Post};
use crate::sandbox::tests::request;
use crate::sandbox::{Account, Config, LiveToken, Verb};

const TOKENS: &str = "/api/v1/platform-tokens/";
const ME: &str = "/api/v1/platform-tokens/me/";
const APPLICATIONS: &str = "/api/v1/applications/";

/// A platform of alice and bob, where a second passes with each call.
struct Town {
    model: Model,
    now: Timestamp,
}

impl Town {
    fn new(mut config: Config) -> Self {
        let mut accounts = ["alice", "bob"].map(|name| Account::named(user(name)));
        accounts[0].user_token = Some(Credential::parse("login-of-alice").unwrap());
        config.accounts = accounts.to_vec();
        let now = Timestamp::from_second(1_722_506_400).unwrap();
        Self {
            model: Model::new(config, now),
            now,
        }
    }

    fn of(dialect: Dialect) -> Self {
        Self::new(Config {
            dialect,
            ..Config::default()
        })
    }

    fn exchange(&mut self, exchange: &Exchange) -> (u16, Value) {
        self.now = self
            .now
            .checked_add(std::time::Duration::from_secs(1))
            .unwrap();
        let reply = self.model.handle(exchange, self.now);
        let body = serde_json::from_slice(&reply.body).unwrap_or_default();
        (reply.status, body)
    }

    fn call(&mut self, method: Method, target: &str, who: &Credential) -> (u16, Value) {
        self.exchange(&Exchange::from(&request(method, target, who, None)))
    }

    fn order(&mut self, body: &str) -> (u16, Value) {
        let alice = self.admin("alice");
        self.exchange(&Exchange::from(&request(Post, TOKENS, &alice, Some(body))))
    }

    fn admin(&self, name: &str) -> Credential {
        self.model.admin(&user(name)).unwrap().into()
    }

    fn token(&self, id: &Value) -> Option<&LiveToken> {
        self.model.live().find(|token| token.id.as_str() == id)
    }
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

fn one(id: &Value) -> String {
    format!("{TOKENS}{}/", id.as_str().unwrap())
}

fn bearer(token: &Value) -> Credential {
    Credential::parse(token["token"].as_str().unwrap()).unwrap()
}

/// The ids of a list, whatever the dialect calls it.
fn ids(list: &Value) -> Vec<&Value> {
    let rows = list.get("items").or(list.get("results")).unwrap();
    rows.as_array()
        .unwrap()
        .iter()
        .map(|row| &row["id"])
        .collect()
}

fn keys(object: &Value) -> Vec<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

#[test]
fn each_dialect_answers_in_its_own_words() {
    let documented = [
        "created_at",
        "expiration",
        "id",
        "token",
        "updated_at",
        "used_at",
        "user_id",
    ];
    let current = [
        "created_at",
        "expiration",
        "id",
        "metadata",
        "tags",
        "token",
        "updated_at",
        "used_at",
        "user_id",
    ];
    for (dialect, rows_are, fields) in [
        (Dialect::Documented, "results", &documented[..]),
        (Dialect::Current, "items", &current[..]),
    ] {
        let mut town = Town::of(dialect);
        let (status, made) = town.order("");
        assert_eq!((status, keys(&made)), (201, fields.to_vec()), "{dialect}");
        let (status, list) = town.call(Get, &format!("{TOKENS}?user_id=alice"), &bearer(&made));
        assert_eq!((status, &list["count"]), (200, &json!(2)), "{dialect}");
        assert_eq!(keys(&list[rows_are][0]), fields, "{dialect}");
        let (status, none) = town.call(Get, APPLICATIONS, &bearer(&made));
        assert_eq!(
            (status, none),
            (200, json!({"count": 0, rows_are: []})),
            "{dialect}"
        );
    }
}

#[test]
fn a_new_token_is_what_the_page_promises() {
    let mut town = Town::of(Dialect::Documented);
    let (_, made) = town.order("");
    assert!(TokenValue::parse(made["token"].as_str().unwrap()).is_ok());
    assert_eq!(made["user_id"], "alice");
    assert_eq!(made["used_at"], Value::Null);
    assert_eq!(made["expiration"], Value::Null);
    assert_eq!(made["created_at"], "2024-08-01T10:00:01.000000Z");
    assert_eq!(made["updated_at"], made["created_at"]);
}

#[test]
fn only_the_current_dialect_knows_me_and_tags() {
    let mut town = Town::of(Dialect::Current);
    let alice = town.admin("alice");
    let me = json!({"id": "alice", "username": "alice", "email": "alice@example.com"});
    assert_eq!(town.call(Get, ME, &alice), (200, me));
    let (_, made) = town.order(r#"{"tags": ["a"], "metadata": {"b": 1}, "name": "ignored"}"#);
    assert_eq!(
        (&made["tags"], &made["metadata"]),
        (&json!(["a"]), &json!({"b": 1}))
    );

    let mut town = Town::of(Dialect::Documented);
    let alice = town.admin("alice");
    assert_eq!(
        town.call(Get, ME, &alice),
        (404, json!({"detail": "Not found."}))
    );
    let (_, made) = town.order(r#"{"tags": ["a"]}"#);
    assert_eq!(town.token(&made["id"]).unwrap().tags, [""; 0]);
}

#[test]
fn a_list_without_user_id_is_refused_once_its_page_shows_a_stranger() {
    let mut town = Town::of(Dialect::Current);
    let alice = town.admin("alice");
    for (query, status) in [
        ("", 403),
        ("?limit=1", 200),
        ("?limit=1&offset=1", 403),
        ("?limit=1&ordering=-created_at", 403),
        ("?user_id=alice", 200),
        ("?user_id=bob", 403),
        ("?user_id=nobody", 200),
    ] {
        assert_eq!(
            town.call(Get, &format!("{TOKENS}{query}"), &alice).0,
            status,
            "{query:?}"
        );
    }
    let mut town = Town::of(Dialect::Documented);
    let (status, list) = town.call(Get, TOKENS, &alice);
    assert_eq!((status, &list["count"]), (200, &json!(1)));
}

#[test]
fn lists_are_filtered_ordered_paged_and_counted() {
    let mut town = Town::new(Config {
        page_cap: 2,
        ..Config::default()
    });
    let alice = town.admin("alice");
    let mut made = Vec::new();
    for tags in ["[]", r#"["odd", "x"]"#, "[]", r#"["odd"]"#] {
        let (_, token) = town.order(&format!(r#"{{"tags": {tags}}}"#));
        made.push(token["id"].clone());
    }
    for (query, count, expected) in [
        ("&offset=1", 5, &[0, 1][..]),
        ("&offset=3&limit=100", 5, &[2, 3]),
        ("&offset=1&ordering=created_at&limit=1", 5, &[0]),
        ("&ordering=-created_at", 5, &[3, 2]),
        ("&ordering=-created_at&offset=2", 5, &[1, 0]),
        ("&offset=9", 5, &[]),
        ("&tag=odd", 2, &[1, 3]),
        ("&tag=x&limit=0&offset=-1", 1, &[1]),
        ("&tag=od", 0, &[]),
    ] {
        let (_, list) = town.call(Get, &format!("{TOKENS}?user_id=alice{query}"), &alice);
        let expected: Vec<_> = expected.iter().map(|&index| &made[index]).collect();
        assert_eq!(
            (&list["count"], ids(&list)),
            (&json!(count), expected),
            "{query}"
        );
    }
}

#[test]
fn every_call_that_a_token_bears_moves_its_used_at() {
    let mut town = Town::of(Dialect::Current);
    let (_, made) = town.order("");
    for (method, target) in [(Get, ME), (Get, APPLICATIONS), (Delete, ME), (Get, TOKENS)] {
        town.call(method, target, &bearer(&made));
        assert_eq!(
            town.token(&made["id"]).unwrap().used_at,
            Some(town.now),
            "{target}"
        );
    }
    let used = town.now;
    town.call(Get, "/api/v1/nowhere/", &bearer(&made));
    let alice = town.admin("alice");
    let (_, row) = town.call(Get, one(&made["id"]).trim_end_matches('/'), &alice);
    assert_eq!(row["used_at"], iso(used));
}

#[test]
fn tokens_are_deleted_once_and_then_answer_401() {
    for dialect in [Dialect::Documented, Dialect::Current] {
        let mut town = Town::of(dialect);
        let alice = town.admin("alice");
        let (_, made) = town.order("");
        assert_eq!(
            town.call(Delete, &one(&made["id"]), &alice),
            (204, Value::Null)
        );
        assert_eq!(town.call(Delete, &one(&made["id"]), &alice).0, 404);
        assert_eq!(town.call(Get, &one(&made["id"]), &alice).0, 404);
        let (status, body) = town.call(Get, APPLICATIONS, &bearer(&made));
        assert_eq!((status, keys(&body)), (401, vec!["detail"]));
        assert_eq!(town.model.revoked().len(), 1);
    }
}

#[test]
fn a_token_deletes_itself_unless_the_platform_refuses() {
    for (refuse_self_deletion, status, live) in [(false, 204, false), (true, 403, true)] {
        let mut town = Town::new(Config {
            refuse_self_deletion,
            ..Config::default()
        });
        let (_, made) = town.order("");
        assert_eq!(
            town.call(Delete, &one(&made["id"]), &bearer(&made)).0,
            status
        );
        assert_eq!(town.token(&made["id"]).is_some(), live);
    }
}

#[test]
fn an_account_cannot_touch_the_tokens_of_another() {
    let mut town = Town::of(Dialect::Current);
    let bob = town.admin("bob");
    let (_, made) = town.order("");
    for method in [Get, Delete] {
        assert_eq!(town.call(method, &one(&made["id"]), &bob).0, 403);
    }
    assert_eq!(town.order(r#"{"user_id": "bob"}"#).0, 403);
    assert_eq!(town.order(r#"{"user_id": "alice"}"#).0, 201);
    assert_eq!(town.model.minted(), 2);
}

#[test]
fn a_user_token_opens_the_account_and_is_listed_nowhere() {
    let mut town = Town::of(Dialect::Current);
    let login = Credential::parse("login-of-alice").unwrap();
    assert_eq!(town.call(Post, TOKENS, &login).0, 201);
    let (_, list) = town.call(Get, &format!("{TOKENS}?user_id=alice"), &login);
    assert_eq!(list["count"], 2);
}

#[test]
fn masked_values_are_shown_by_their_post_alone() {
    let mut town = Town::new(Config {
        mask_values: true,
        ..Config::default()
    });
    let alice = town.admin("alice");
    let (_, made) = town.order("");
    assert!(TokenValue::parse(made["token"].as_str().unwrap()).is_ok());
    let (_, row) = town.call(Get, &one(&made["id"]), &alice);
    let (_, list) = town.call(Get, &format!("{TOKENS}?user_id=alice"), &alice);
    for shown in [&row, &list["items"][0], &list["items"][1]] {
        assert!(TokenValue::parse(shown["token"].as_str().unwrap()).is_err());
    }
}

#[test]
fn a_lagging_list_misses_a_token_that_already_works() {
    let mut town = Town::new(Config {
        list_lag: std::time::Duration::from_secs(3),
        ..Config::default()
    });
    let (_, made) = town.order("");
    let mut listed = || {
        let (_, list) = town.call(Get, &format!("{TOKENS}?user_id=alice"), &bearer(&made));
        ids(&list).contains(&&made["id"])
    };
    assert_eq!([listed(), listed(), listed()], [false, false, true]);
}

#[test]
fn wrong_requests_are_refused_as_the_platform_does() {
    let alice = Town::of(Dialect::Current).admin("alice");
    let get = Exchange::from(&request(Get, TOKENS, &alice, None));
    let post = Exchange::from(&request(Post, TOKENS, &alice, Some("{}")));
    let header = |text: &str| Some(text.to_owned());
    let body = |text: &'static str| Exchange {
        body: Bytes::from_static(text.as_bytes()),
        ..post.clone()
    };
    let verb = |verb| Exchange {
        verb,
        ..get.clone()
    };
    let unknown = Credential::parse("platform-unknown");
    for (exchange, status, key) in [
        (
            Exchange {
                accept: None,
                ..get.clone()
            },
            406,
            "detail",
        ),
        (
            Exchange {
                accept: header("text/html"),
                ..get.clone()
            },
            406,
            "detail",
        ),
        (
            Exchange {
                content_type: None,
                ..post.clone()
            },
            415,
            "detail",
        ),
        (
            Exchange {
                content_type: header("text/plain"),
                ..post.clone()
            },
            415,
            "detail",
        ),
        (
            Exchange {
                credential: None,
                ..get.clone()
            },
            401,
            "detail",
        ),
        (
            Exchange {
                credential: unknown.ok(),
                ..get.clone()
            },
            401,
            "detail",
        ),
        (
            Exchange {
                target: Target::Unknown,
                ..get.clone()
            },
            404,
            "detail",
        ),
        (verb(Verb::Put), 405, "detail"),
        (verb(Verb::Patch), 405, "detail"),
        (verb(Verb::Delete), 405, "detail"),
        (verb(Verb::Other), 405, "detail"),
        (body("{"), 400, "detail"),
        (body("[]"), 400, "non_field_errors"),
        (body(r#"{"tags": "a"}"#), 400, "tags"),
        (body(r#"{"tags": [1]}"#), 400, "tags"),
        (body(r#"{"metadata": []}"#), 400, "metadata"),
        (body(r#"{"user_id": 1}"#), 400, "user_id"),
    ] {
        let mut town = Town::of(Dialect::Current);
        let (answered, body) = town.exchange(&exchange);
        assert_eq!((answered, keys(&body)), (status, vec![key]), "{exchange:?}");
        assert_eq!(town.model.minted(), 0);
    }
    let charset = header("application/json; charset=utf-8");
    let exchange = Exchange {
        content_type: charset,
        ..post
    };
    assert_eq!(Town::of(Dialect::Current).exchange(&exchange).0, 201);
}

#[test]
fn tokens_cannot_be_changed() {
    let mut town = Town::of(Dialect::Current);
    let alice = town.admin("alice");
    let (_, made) = town.order("");
    for verb in [Verb::Put, Verb::Patch] {
        let get = Exchange::from(&request(Get, &one(&made["id"]), &alice, Some("{}")));
        assert_eq!(town.exchange(&Exchange { verb, ..get }).0, 405);
    }
}

#[test]
fn a_call_is_described_by_the_tags_that_it_is_about() {
    let mut town = Town::of(Dialect::Current);
    let alice = town.admin("alice");
    let order = r#"{"tags": ["a", "b"]}"#;
    let (_, made) = town.order(order);
    for (method, target, body, tags) in [
        (Post, TOKENS, Some(order), &["a", "b"][..]),
        (Post, TOKENS, Some("{"), &[]),
        (Delete, &one(&made["id"]), None, &["a", "b"]),
        (Get, "/api/v1/platform-tokens/?tag=c", None, &["c"]),
        (Get, ME, None, &[]),
    ] {
        let call = town
            .model
            .describe(&Exchange::from(&request(method, target, &alice, body)));
        assert_eq!(call.tags, tags, "{method:?} {target}");
        assert_eq!(call.user_id, Some(user("alice")));
    }
}
