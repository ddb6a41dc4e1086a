//! The bytes that go out, and where they go.

use std::process::Command;

use platform_token_operator::api::{Dialect, TokenId, UserId};

use super::raw::{self, Raw, header};
use super::{CREDENTIAL, client_of};

const NOT_FOUND: &str = r#"{"detail":"Not found."}"#;

#[tokio::test]
async fn each_call_is_the_documented_request() {
    let server = Raw::saying(raw::json(404, NOT_FOUND));
    let client = client_of(&server.base_url);
    let (user, id) = (UserId::parse("u").unwrap(), TokenId::parse("a").unwrap());
    let tags = ["a b".to_owned(), "uid=\"1\"".to_owned()];
    let (user, tag) = (Some(&user), Some("uid=1&x y"));
    let (current, documented) = (Dialect::Current, Dialect::Documented);

    client.whoami().await.unwrap_err();
    client.probe(current).await.unwrap_err();
    client.probe(documented).await.unwrap_err();
    client.list(current, user, tag, Some).await.unwrap_err();
    client.list(current, user, None, Some).await.unwrap_err();
    client.list(documented, user, tag, Some).await.unwrap_err();
    client.find(current, user, &id).await.unwrap_err();
    client.find(documented, user, &id).await.unwrap_err();
    client.delete(&id).await.unwrap_err();
    client.create(current, &tags).await.unwrap_err();
    client.create(documented, &tags).await.unwrap_err();

    let heard = server.heard();
    let lines: Vec<&str> = heard
        .iter()
        .map(|request| request.lines().next().unwrap())
        .collect();
    let newest_first = "limit=100&offset=0&ordering=-created_at";
    let expected = [
        "GET /api/v1/platform-tokens/me/",
        "GET /api/v1/platform-tokens/?limit=1&offset=0",
        "GET /api/v1/platform-tokens/me/",
        "GET /api/v1/applications/",
        &format!("GET /api/v1/platform-tokens/?{newest_first}&user_id=u&tag=uid%3D1%26x+y"),
        &format!("GET /api/v1/platform-tokens/?{newest_first}&user_id=u"),
        &format!("GET /api/v1/platform-tokens/?{newest_first}"),
        "GET /api/v1/platform-tokens/a",
        // A 404 alone proves nothing.
        &format!("GET /api/v1/platform-tokens/?{newest_first}&user_id=u"),
        &format!("GET /api/v1/platform-tokens/?{newest_first}"),
        "DELETE /api/v1/platform-tokens/a/",
        "POST /api/v1/platform-tokens/",
        "POST /api/v1/platform-tokens/",
    ];
    assert_eq!(lines, expected.map(|line| format!("{line} HTTP/1.1")));

    for request in &heard {
        let user_agent = concat!("platform-token-operator/", env!("CARGO_PKG_VERSION"));
        assert_eq!(header(request, "user-agent"), Some(user_agent));
        assert_eq!(header(request, "accept"), Some("application/json"));
        let bearer = format!("Bearer {CREDENTIAL}");
        assert_eq!(header(request, "authorization"), Some(bearer.as_str()));
        assert_eq!(header(request, "host"), Some(server.authority()));
        assert_eq!(header(request, "cookie"), None);
    }
    let body = |request: &str| request.split_once("\r\n\r\n").unwrap().1.to_owned();
    let (with_tags, others) = (&heard[11], heard.iter().filter(|r| *r != &heard[11]));
    assert_eq!(body(with_tags), r#"{"tags":["a b","uid=\"1\""]}"#);
    assert_eq!(header(with_tags, "content-type"), Some("application/json"));
    for request in others {
        assert_eq!(
            (body(request).as_str(), header(request, "content-type")),
            ("", None)
        );
    }
}

#[tokio::test]
async fn the_bearer_does_not_follow_a_redirect() {
    let elsewhere = Raw::saying(raw::json(200, r#"{"id":"u"}"#));
    for status in [301, 302, 303, 307, 308] {
        for target in [&elsewhere.base_url, "/api/v1/platform-tokens/elsewhere/"] {
            let server = Raw::saying(format!(
                "HTTP/1.1 {status} Moved\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n"
            ));
            let client = client_of(&server.base_url);
            for error in [
                client.whoami().await.map(|_| ()).unwrap_err(),
                client
                    .create(Dialect::Current, &[])
                    .await
                    .map(|_| ())
                    .unwrap_err(),
                client
                    .delete(&TokenId::parse("a").unwrap())
                    .await
                    .unwrap_err(),
            ] {
                let says = (error.class(), error.is_definite());
                assert_eq!(says, ("broken", false), "{status} {target}");
            }
            assert_eq!(server.heard().len(), 3, "{status} {target}");
            assert_eq!(elsewhere.heard(), Vec::<String>::new(), "{status}");
        }
    }
}

/// The environment belongs to the whole process: this test starts itself anew for each case, and makes the one call
/// there that its variables ask for.
#[tokio::test]
async fn a_proxy_of_the_environment_carries_the_calls() {
    const PLATFORM: &str = "CLIENT_TEST_PLATFORM";
    const CLASS: &str = "CLIENT_TEST_CLASS";
    if let Ok(base_url) = std::env::var(PLATFORM) {
        let error = client_of(&base_url).whoami().await.unwrap_err();
        assert_eq!(error.class(), std::env::var(CLASS).unwrap(), "{error}");
        return;
    }

    let busy = || Raw::saying(raw::json(503, NOT_FOUND));
    for (base_url, variable, class, line) in [
        (
            "http://platform.invalid",
            "HTTP_PROXY",
            "unavailable",
            "GET http://platform.invalid/api/v1/platform-tokens/me/ HTTP/1.1",
        ),
        // The proxy of an encrypted call hears where it goes, and nothing of what is said.
        (
            "https://platform.invalid",
            "HTTPS_PROXY",
            "not_sent",
            "CONNECT platform.invalid:443 HTTP/1.1",
        ),
    ] {
        let (proxy, direct) = (busy(), busy());
        for (base_url, class) in [(base_url, class), (&direct.base_url, "unavailable")] {
            let child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "client::requests::a_proxy_of_the_environment_carries_the_calls",
                ])
                .env_clear()
                .env(PLATFORM, base_url)
                .env(CLASS, class)
                .env(variable, &proxy.base_url)
                .env("NO_PROXY", "127.0.0.1")
                .output()
                .unwrap();
            let stdout = String::from_utf8(child.stdout).unwrap();
            assert!(child.status.success(), "{base_url}: {stdout}");
            assert!(stdout.contains("1 passed"), "{stdout}");
        }
        let proxied = proxy.heard();
        assert_eq!(proxied.len(), 1, "{variable}");
        assert_eq!(proxied[0].lines().next(), Some(line));
        assert_eq!(proxied[0].contains(CREDENTIAL), variable == "HTTP_PROXY");
        assert_eq!(direct.heard_of("GET /api/v1/platform-tokens/me/"), 1);
    }
}
