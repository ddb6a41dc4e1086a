//! What crosses the wire, as plain data: an [`Exchange`] comes in, a [`Reply`] goes out.
//!
//! A call has two names. Its [`Target`] bears the id that it is about; its [`Route`] is the template that counters
//! and fault rules speak of.

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::api::{Credential, TokenId};
use crate::platform::transport::{Method, Request};

const JSON: &str = "application/json";

/// One request as the platform sees it: only what may change its answer.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// What to do.
    pub verb: Verb,
    /// What to do it to.
    pub target: Target,
    /// The query, percent-decoded, in the order sent.
    pub query: Vec<(String, String)>,
    /// The bearer of `authorization`, if there is a usable one.
    pub credential: Option<Credential>,
    /// The header `accept`.
    pub accept: Option<String>,
    /// The header `content-type`.
    pub content_type: Option<String>,
    /// The whole body, often empty.
    pub body: Bytes,
}

impl Exchange {
    /// Takes a request off a socket; `target` is its path and query.
    #[must_use]
    pub fn new(verb: Verb, target: &str, headers: &HeaderMap, body: Bytes) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let header = |name| {
            let text = headers.get(name)?.to_str().ok()?;
            Some(text.to_owned())
        };
        Self {
            verb,
            target: Target::of(verb, path),
            query: url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            credential: header(AUTHORIZATION)
                .and_then(|text| Credential::parse(text.strip_prefix("Bearer ")?).ok()),
            accept: header(ACCEPT),
            content_type: header(CONTENT_TYPE),
            body,
        }
    }

    /// The first value of a query parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let pair = self.query.iter().find(|(key, _)| key == name)?;
        Some(&pair.1)
    }

    /// Refuses what the API does not speak: an answer that is not JSON (406), a body that is not (415).
    pub(super) fn negotiate(&self) -> Result<(), Reply> {
        if !self
            .accept
            .as_deref()
            .is_some_and(|accept| accept.contains(JSON) || accept.contains("*/*"))
        {
            return Err(Reply::detail(
                406,
                "Could not satisfy the request Accept header.",
            ));
        }
        let declared = self.content_type.as_deref().unwrap_or_default();
        if !self.body.is_empty() && declared.split(';').next() != Some(JSON) {
            return Err(Reply::detail(415, "Unsupported media type in request."));
        }
        Ok(())
    }
}

impl From<&Request> for Exchange {
    /// Sets the headers that a correct transport sets.
    fn from(request: &Request) -> Self {
        let body = request.body.clone().unwrap_or_default();
        Self {
            credential: Some(request.credential.clone()),
            accept: Some(JSON.to_owned()),
            content_type: request.body.is_some().then(|| JSON.to_owned()),
            ..Self::new(
                request.method.into(),
                &request.target,
                &HeaderMap::new(),
                body,
            )
        }
    }
}

/// An HTTP method, as counters and fault rules spell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// Read.
    Get,
    /// Create.
    Post,
    /// Replace: refused, tokens are immutable.
    Put,
    /// Change: refused, tokens are immutable.
    Patch,
    /// Revoke.
    Delete,
    /// Any other: refused.
    Other,
}

impl From<&http::Method> for Verb {
    fn from(method: &http::Method) -> Self {
        match method.as_str() {
            "GET" => Self::Get,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            _ => Self::Other,
        }
    }
}

impl From<Method> for Verb {
    fn from(method: Method) -> Self {
        match method {
            Method::Get => Self::Get,
            Method::Post => Self::Post,
            Method::Delete => Self::Delete,
        }
    }
}

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// All tokens.
    Tokens,
    /// One token, which need not exist.
    Token(TokenId),
    /// The account of the caller.
    Me,
    /// The account's applications: the cheapest proof that a credential works.
    Applications,
    /// Nothing of the API's.
    Unknown,
}

impl Target {
    /// Paths end in a slash; only reading one token goes without.
    fn of(verb: Verb, path: &str) -> Self {
        let Some(path) = path.strip_prefix("/api/v1/") else {
            return Self::Unknown;
        };
        match path {
            "platform-tokens/" => Self::Tokens,
            "platform-tokens/me/" => Self::Me,
            "applications/" => Self::Applications,
            _ => Self::token(verb, path).map_or(Self::Unknown, Self::Token),
        }
    }

    fn token(verb: Verb, path: &str) -> Option<TokenId> {
        let rest = path.strip_prefix("platform-tokens/")?;
        let id = rest
            .strip_suffix('/')
            .or((verb == Verb::Get).then_some(rest))?;
        TokenId::parse(id).ok()
    }

    /// The template that this target is an instance of.
    #[must_use]
    pub fn route(&self) -> Route {
        match self {
            Self::Tokens => Route::Tokens,
            Self::Token(_) => Route::Token,
            Self::Me => Route::Me,
            Self::Applications => Route::Applications,
            Self::Unknown => Route::Unknown,
        }
    }
}

/// The template of a path, below `/api/v1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Route {
    /// All tokens.
    #[serde(rename = "/platform-tokens/")]
    Tokens,
    /// One token, with or without the last slash.
    #[serde(rename = "/platform-tokens/{id}/")]
    Token,
    /// The account of the caller.
    #[serde(rename = "/platform-tokens/me/")]
    Me,
    /// The account's applications.
    #[serde(rename = "/applications/")]
    Applications,
    /// Everything else.
    #[serde(rename = "*")]
    Unknown,
}

/// One answer, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// The header `content-type`; absent when there is no body.
    pub content_type: Option<&'static str>,
    /// The header `retry-after`, as it is to be sent.
    pub retry_after: Option<String>,
    /// The body, empty for 204.
    pub body: Bytes,
}

impl Reply {
    /// An answer in JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        Self::text(status, JSON, body.to_string())
    }

    /// A refusal in the shape of the management API: `{"detail": …}`.
    #[must_use]
    pub fn detail(status: u16, detail: &str) -> Self {
        Self::json(status, &json!({ "detail": detail }))
    }

    /// A 400 in the shape of validation: a map of a field to what is wrong with it.
    #[must_use]
    pub fn field(name: &str, wrong: &str) -> Self {
        Self::json(400, &json!({ name: [wrong] }))
    }

    /// 204, without a body.
    #[must_use]
    pub fn no_content() -> Self {
        Self {
            status: 204,
            content_type: None,
            retry_after: None,
            body: Bytes::new(),
        }
    }

    /// Any text under any type.
    #[must_use]
    pub fn text(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: Some(content_type),
            retry_after: None,
            body: body.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_its_target_only_in_the_spelling_of_the_api() {
        let token = |id| Target::Token(TokenId::parse(id).unwrap());
        for (verb, path, target) in [
            (Verb::Get, "/api/v1/platform-tokens/", Target::Tokens),
            (Verb::Post, "/api/v1/platform-tokens/", Target::Tokens),
            (Verb::Post, "/api/v1/platform-tokens", Target::Unknown),
            (Verb::Get, "/api/v1/platform-tokens/me/", Target::Me),
            (Verb::Get, "/api/v1/platform-tokens/a-1", token("a-1")),
            (Verb::Get, "/api/v1/platform-tokens/a-1/", token("a-1")),
            (Verb::Delete, "/api/v1/platform-tokens/a-1/", token("a-1")),
            (Verb::Delete, "/api/v1/platform-tokens/a-1", Target::Unknown),
            (Verb::Get, "/api/v1/platform-tokens/a/b/", Target::Unknown),
            (Verb::Get, "/api/v1/platform-tokens//", Target::Unknown),
            (Verb::Get, "/api/v1/applications/", Target::Applications),
            (Verb::Get, "/api/v1/applications", Target::Unknown),
            (Verb::Get, "/platform-tokens/", Target::Unknown),
        ] {
            assert_eq!(Target::of(verb, path), target, "{verb:?} {path}");
        }
    }

    #[test]
    fn a_query_is_decoded_and_its_first_value_counts() {
        let target = "/api/v1/platform-tokens/?tag=attempt%3D1&tag=b&limit=";
        let exchange = Exchange::new(Verb::Get, target, &HeaderMap::new(), Bytes::new());
        assert_eq!(exchange.target, Target::Tokens);
        assert_eq!(exchange.parameter("tag"), Some("attempt=1"));
        assert_eq!(exchange.parameter("limit"), Some(""));
        assert_eq!(exchange.parameter("offset"), None);
    }

    #[test]
    fn only_a_bearer_is_a_credential_and_no_debug_output_shows_it() {
        for (header, accepted) in [
            ("Bearer platform-5ec4e7", true),
            ("bearer platform-5ec4e7", false),
            ("Basic 5ec4e7", false),
            ("Bearer ", false),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, header.parse().unwrap())]);
            let exchange = Exchange::new(Verb::Get, "/", &headers, Bytes::new());
            assert_eq!(exchange.credential.is_some(), accepted, "{header}");
            assert!(!format!("{exchange:?}").contains("5ec4e7"));
        }
    }
}
