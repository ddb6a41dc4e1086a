//! The requests that change something: what the proxies name, count and take aim at.

use std::fmt;

use http::{Method, Uri};
use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::{Attempt, AttemptRef, Entry, TokenId, names};
use serde_json::Value;

/// One request that changes something, and what it is about.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Deed {
    /// The attempt is written to the PlatformToken.
    Open(Box<Attempt>),
    /// The platform is to make a token; its tags, where the dialect has them.
    Post(Vec<String>),
    /// A Secret is written with the token of this attempt.
    Store(AttemptRef),
    /// What became of the PlatformToken is told.
    Status,
    /// A deleted Secret is let go.
    Release,
    /// A deleted PlatformToken is let go.
    Lift,
    /// What a deletion owes is written down.
    Record,
    /// The platform is to revoke a token.
    Delete(TokenId),
}

/// Which of them a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Open,
    Post,
    Store,
    Status,
    Release,
    Lift,
    Record,
    Delete,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Open,
        Self::Post,
        Self::Store,
        Self::Status,
        Self::Release,
        Self::Lift,
        Self::Record,
        Self::Delete,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Post => "POST",
            Self::Store => "store",
            Self::Status => "status",
            Self::Release => "release of a Secret",
            Self::Lift => "lift of the finalizer",
            Self::Record => "record in the ledger",
            Self::Delete => "DELETE",
        })
    }
}

impl Deed {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Open(_) => Kind::Open,
            Self::Post(_) => Kind::Post,
            Self::Store(_) => Kind::Store,
            Self::Status => Kind::Status,
            Self::Release => Kind::Release,
            Self::Lift => Kind::Lift,
            Self::Record => Kind::Record,
            Self::Delete(_) => Kind::Delete,
        }
    }

    /// What a request to the API server is, and where: in which namespace, or about which platform.
    pub(crate) fn of_kubernetes(method: &Method, uri: &Uri, body: &[u8]) -> Option<(String, Self)> {
        let path: Vec<&str> = uri.path().split('/').skip(1).collect();
        let (namespace, deed) = match path[..] {
            ["api", "v1", "namespaces", names::OPERATOR, "secrets"] if method == Method::POST => {
                return recorded(body).map(|platform| (platform, Self::Record));
            }
            ["api", "v1", "namespaces", namespace, "secrets"] if method == Method::POST => {
                (namespace, secret_created(uri, body)?)
            }
            ["api", "v1", "namespaces", namespace, "secrets", _] if method == Method::PATCH => {
                (namespace, secret_patched(body)?)
            }
            [
                "apis",
                names::GROUP,
                _,
                "namespaces",
                namespace,
                "platformtokens",
                _,
            ] if method == Method::PATCH => (namespace, token_patched(body)?),
            [
                "apis",
                names::GROUP,
                _,
                "namespaces",
                namespace,
                "platformtokens",
                _,
                "status",
            ] => (namespace, Self::Status),
            _ => return None,
        };
        Some((namespace.to_owned(), deed))
    }

    /// What a request to the platform is.
    pub(crate) fn of_platform(method: &Method, uri: &Uri, body: &[u8]) -> Option<Self> {
        let rest = uri.path().strip_prefix("/api/v1/platform-tokens/")?;
        if rest.is_empty() && method == Method::POST {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            let tags = serde_json::from_value(body["tags"].clone());
            return Some(Self::Post(tags.unwrap_or_default()));
        }
        let id = rest
            .strip_suffix('/')
            .filter(|_| method == Method::DELETE)?;
        TokenId::parse(id).ok().map(Self::Delete)
    }
}

/// The platform that an entry of the ledger is about.
fn recorded(body: &[u8]) -> Option<String> {
    let secret: Secret = serde_json::from_slice(body).ok()?;
    let entry = Entry::parse(&secret.metadata).ok()?;
    Some(entry.account().0.to_owned())
}

/// A dry run changes nothing.
fn secret_created(uri: &Uri, body: &[u8]) -> Option<Deed> {
    let is_dry = uri.query().is_some_and(|query| query.contains("dryRun"));
    let secret: Value = serde_json::from_slice(body).ok()?;
    stored(&secret).filter(|_| !is_dry)
}

fn secret_patched(body: &[u8]) -> Option<Deed> {
    let patch: Value = serde_json::from_slice(body).ok()?;
    stored(&patch).or_else(|| {
        patch["metadata"]["finalizers"]
            .is_array()
            .then_some(Deed::Release)
    })
}

fn stored(secret: &Value) -> Option<Deed> {
    let attempt = secret["metadata"]["annotations"][names::ATTEMPT].as_str()?;
    AttemptRef::parse(attempt).ok().map(Deed::Store)
}

fn token_patched(body: &[u8]) -> Option<Deed> {
    let patch: Value = serde_json::from_slice(body).ok()?;
    let metadata = &patch["metadata"];
    if let Some(attempt) = metadata["annotations"][names::ATTEMPT].as_str() {
        return Attempt::parse(attempt).ok().map(|a| Deed::Open(a.into()));
    }
    let finalizers = metadata["finalizers"].as_array()?;
    let ours = finalizers.iter().any(|f| f == names::FINALIZER);
    (!ours).then_some(Deed::Lift)
}

#[cfg(test)]
mod tests {
    use platform_token_operator::api::{NamedToken, Owner};
    use serde_json::json;

    use super::*;

    const SECRETS: &str = "/api/v1/namespaces/ns/secrets";
    const TOKEN: &str = "/apis/platform.acedata.cloud/v1alpha1/namespaces/ns/platformtokens/a";

    fn kubernetes(method: &str, uri: &str, body: &Value) -> Option<Kind> {
        let (method, uri) = (method.parse().unwrap(), uri.parse().unwrap());
        let (namespace, deed) = Deed::of_kubernetes(&method, &uri, body.to_string().as_bytes())?;
        assert_eq!(namespace, "ns");
        Some(deed.kind())
    }

    #[test]
    fn writes_of_secrets_are_told_apart_from_dry_runs_and_reads() {
        let secret = json!({ "metadata": { "annotations": { names::ATTEMPT: "3/x" } } });
        let released = json!({ "metadata": { "finalizers": [] } });
        for (method, uri, body, kind) in [
            ("POST", SECRETS, &secret, Some(Kind::Store)),
            (
                "POST",
                &format!("{SECRETS}?&dryRun=All&fieldManager=x"),
                &secret,
                None,
            ),
            (
                "PATCH",
                &format!("{SECRETS}/a?"),
                &secret,
                Some(Kind::Store),
            ),
            (
                "PATCH",
                &format!("{SECRETS}/a?"),
                &released,
                Some(Kind::Release),
            ),
            ("GET", &format!("{SECRETS}/a"), &json!(null), None),
        ] {
            assert_eq!(kubernetes(method, uri, body), kind, "{method} {uri}");
        }
    }

    #[test]
    fn an_entry_of_the_ledger_is_about_a_platform() {
        let owner = Owner::parse("c/ns/a/u").unwrap();
        let entry = Entry::Released(NamedToken {
            owner,
            token_id: TokenId::parse("x").unwrap(),
            base_url: "http://x".into(),
            user_id: None,
        });
        let body = json!(entry.secret(names::OPERATOR, None)).to_string();
        let uri = format!("/api/v1/namespaces/{}/secrets", names::OPERATOR);
        let deed = Deed::of_kubernetes(&Method::POST, &uri.parse().unwrap(), body.as_bytes());
        assert_eq!(deed, Some(("http://x".into(), Deed::Record)));
    }

    #[test]
    fn writes_of_a_platformtoken_are_an_attempt_a_status_or_its_end() {
        let attempt = json!({
            "number": 1, "id": "x", "openedAt": "2026-01-02T03:04:05Z", "dialect": "current",
            "owner": "c/ns/a/u", "account": { "baseURL": "https://x" },
        });
        let finalizers = json!([names::FINALIZER]);
        let opened = json!({ "metadata": {
            "finalizers": finalizers, "annotations": { names::ATTEMPT: attempt.to_string() },
        } });
        let held = json!({ "metadata": { "finalizers": finalizers } });
        let lifted = json!({ "metadata": { "finalizers": ["other"] } });
        let status = format!("{TOKEN}/status?");
        for (uri, body, kind) in [
            (TOKEN, &opened, Some(Kind::Open)),
            (TOKEN, &held, None),
            (TOKEN, &lifted, Some(Kind::Lift)),
            (status.as_str(), &json!({}), Some(Kind::Status)),
        ] {
            assert_eq!(kubernetes("PATCH", uri, body), kind, "{body}");
        }
    }

    #[test]
    fn calls_of_the_platform_make_or_revoke_or_change_nothing() {
        let platform = |method: &str, uri: &str, body: &str| {
            let (method, uri) = (method.parse().unwrap(), uri.parse().unwrap());
            Deed::of_platform(&method, &uri, body.as_bytes())
        };
        let tokens = "/api/v1/platform-tokens/";
        let tagged = Deed::Post(vec!["attempt=x".into()]);
        assert_eq!(
            platform("POST", tokens, r#"{"tags":["attempt=x"]}"#),
            Some(tagged)
        );
        assert_eq!(platform("POST", tokens, ""), Some(Deed::Post(Vec::new())));
        let one = format!("{tokens}x/");
        let id = TokenId::parse("x").unwrap();
        assert_eq!(platform("DELETE", &one, ""), Some(Deed::Delete(id)));
        for (method, uri) in [
            ("GET", tokens),
            ("GET", &one),
            ("GET", "/api/v1/applications/"),
        ] {
            assert_eq!(platform(method, uri, ""), None, "{method} {uri}");
        }
    }
}
