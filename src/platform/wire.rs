//! What an answer of the platform says: rows, pages, and errors in the shapes that occur.

use k8s_openapi::jiff::Timestamp;
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use serde_json::Value;

use super::transport::Response;
use super::{Error, retry_after};
use crate::api::{Credential, Dialect, TokenId, TokenValue, UserId};

/// The longest text of an answer that enters a message, in characters.
const MAX_DETAIL: usize = 200;

/// One token in an answer. Fields that only one dialect has are empty in the other.
#[derive(Debug, Clone, Deserialize)]
pub struct Row {
    /// Its id.
    pub id: TokenId,
    /// The user that it belongs to.
    pub user_id: UserId,
    /// Its value, if the platform shows it and it is one.
    #[serde(default, deserialize_with = "shown_value")]
    pub token: Option<TokenValue>,
    /// What it is tagged with.
    #[serde(default)]
    pub tags: Vec<String>,
    /// When the platform created it.
    pub created_at: Timestamp,
    /// When it was last used, as far as the platform knows.
    #[serde(default)]
    pub used_at: Option<Timestamp>,
}

/// A masked value is no value: only what is a token counts as one.
fn shown_value<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<TokenValue>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.map(Zeroizing::new);
    Ok(text.and_then(|text| TokenValue::parse(&text).ok()))
}

/// One page of a list, in either dialect.
#[derive(Debug, Deserialize)]
#[serde(from = "RawPage")]
pub(super) struct Page {
    /// How many rows there are in all.
    pub count: usize,
    /// The rows of this page.
    pub rows: Vec<Row>,
    /// What the page is written in.
    pub dialect: Dialect,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPage {
    Current { count: usize, items: Vec<Row> },
    Documented { count: usize, results: Vec<Row> },
}

impl From<RawPage> for Page {
    fn from(page: RawPage) -> Self {
        match page {
            RawPage::Current { count, items } => Self {
                count,
                rows: items,
                dialect: Dialect::Current,
            },
            RawPage::Documented { count, results } => Self {
                count,
                rows: results,
                dialect: Dialect::Documented,
            },
        }
    }
}

/// Who a credential belongs to.
#[derive(Debug, Deserialize)]
pub(super) struct Me {
    pub id: UserId,
    #[serde(default)]
    pub username: Option<String>,
}

/// Reads a 2xx answer as `T`, or says what the failure means.
pub(super) fn read<T: for<'de> Deserialize<'de>>(
    response: &Response,
    asked_by: &Credential,
    now: Timestamp,
) -> Result<T, Error> {
    success(response, asked_by, now)?;
    serde_json::from_slice(&response.body).map_err(|e| {
        // serde quotes the offending value for wrong types, which may be a secret: say where, not what.
        let place = format!("line {} column {}", e.line(), e.column());
        let what = match e.classify() {
            serde_json::error::Category::Data => "JSON of another shape",
            _ => "not JSON",
        };
        Error::Broken(format!(
            "{} answered with {what} ({place})",
            response.status
        ))
    })
}

/// Reads the answer to a DELETE: none, or JSON. A proxy's page says nothing of what became of the token.
pub(super) fn deleted(
    response: &Response,
    asked_by: &Credential,
    now: Timestamp,
) -> Result<(), Error> {
    success(response, asked_by, now)?;
    if response.body.is_empty() || serde_json::from_slice::<Value>(&response.body).is_ok() {
        return Ok(());
    }
    Err(Error::Broken(format!(
        "{} with {}",
        response.status,
        foreign_detail(response)
    )))
}

/// Accepts any 2xx, or says what the failure means.
/// No message shows the credential that asked, even where the answer quotes it.
fn success(response: &Response, asked_by: &Credential, now: Timestamp) -> Result<(), Error> {
    let status = response.status;
    if (200..300).contains(&status) {
        return Ok(());
    }
    if (300..400).contains(&status) {
        return Err(Error::Broken(format!(
            "a redirect ({status}), which is never followed"
        )));
    }
    let own = own_detail(&response.body);
    let own = own.map(|detail| redact(asked_by.hide_in(&detail).trim_end_matches('.')));
    match (status, own) {
        (408 | 409 | 425 | 499 | 500.., own) => Err(Error::Unavailable {
            status,
            detail: own.unwrap_or_else(|| foreign_detail(response)),
        }),
        (429, _) => Err(Error::Throttled {
            retry_after: response
                .retry_after
                .as_deref()
                .and_then(|header| retry_after::parse(header, now)),
        }),
        (_, None) => Err(Error::Broken(format!(
            "{status} with {}",
            foreign_detail(response)
        ))),
        (401, Some(detail)) => Err(Error::Unauthorized(detail)),
        (403, Some(detail)) => Err(Error::Forbidden(detail)),
        (404, Some(detail)) => Err(Error::NotFound(detail)),
        (_, Some(detail)) => Err(Error::Refused { status, detail }),
    }
}

/// What the platform itself says of a failure: `{"detail"}`, the gateway's `{"error": {…}}`, or a map of fields.
/// Trace ids are left out: the same trouble has to read the same.
fn own_detail(body: &[u8]) -> Option<String> {
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else {
        return None;
    };
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let detail = if let Some(detail) = object.get("detail").and_then(text) {
        detail
    } else if let Some(error) = object.get("error").and_then(Value::as_object) {
        let code = error.get("code").and_then(text).unwrap_or_default();
        let message = error.get("message").and_then(text).unwrap_or_default();
        format!("{code}: {message}")
    } else {
        let fields = object
            .iter()
            .filter(|(_, value)| value.is_array() || value.is_string());
        let fields: Vec<String> = fields
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        if fields.is_empty() {
            return None;
        }
        fields.join("; ")
    };
    Some(detail)
}

fn foreign_detail(response: &Response) -> String {
    let kind = response
        .content_type
        .as_deref()
        .and_then(|kind| kind.split(';').next())
        .unwrap_or("no content type");
    format!("{} bytes of {}", response.body.len(), redact(kind))
}

/// Cuts long text and takes out control characters and whatever looks like a token.
pub(super) fn redact(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(crate::api::TOKEN_PREFIX) {
        let (before, from) = rest.split_at(at);
        let end = from
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'))
            .unwrap_or(from.len());
        out.push_str(before);
        // Words such as `platform-tokens` are no secret; values are long.
        out.push_str(if end >= 24 {
            "platform-…"
        } else {
            &from[..end]
        });
        rest = &from[end..];
    }
    out.push_str(rest);
    out.chars()
        .filter(|c| !c.is_control())
        .take(MAX_DETAIL)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Timestamp = Timestamp::UNIX_EPOCH;

    fn asker() -> Credential {
        Credential::parse("eyJhbGci.e30.c2ln").unwrap()
    }

    fn response(status: u16, body: &str) -> Response {
        let retry_after = (status == 429).then(|| "3".to_owned());
        Response {
            status,
            content_type: Some("text/html; x".into()),
            retry_after,
            body: body.to_owned().into(),
        }
    }

    #[test]
    fn each_failure_falls_into_the_class_that_says_what_to_do() {
        let html = "<html>platform-v1-0123456789abcdef0123456789abcdef</html>";
        for (status, body, class, definite) in [
            (401, r#"{"detail":"x"}"#, "unauthorized", true),
            (
                403,
                r#"{"error":{"code":"c","message":"m"},"trace_id":"t"}"#,
                "forbidden",
                true,
            ),
            (404, r#"{"detail":"Not found."}"#, "not_found", true),
            (404, html, "broken", false),
            (401, html, "broken", false),
            (400, r#"{"tags":["wrong"]}"#, "refused", true),
            (400, "{}", "broken", false),
            (422, "[]", "broken", false),
            (408, r#"{"detail":"x"}"#, "unavailable", false),
            (409, r#"{"detail":"x"}"#, "unavailable", false),
            (425, r#"{"detail":"x"}"#, "unavailable", false),
            (499, html, "unavailable", false),
            (429, html, "throttled", true),
            (500, r#"{"detail":"x"}"#, "unavailable", false),
            (503, html, "unavailable", false),
            (302, "", "broken", false),
        ] {
            let error = success(&response(status, body), &asker(), EPOCH).unwrap_err();
            assert_eq!(
                (error.class(), error.is_definite()),
                (class, definite),
                "{status} {body}"
            );
            assert!(!error.to_string().contains("0123456789abcdef"), "{error}");
        }
    }

    #[test]
    fn a_message_never_shows_a_token() {
        let body = format!(
            r#"{{"detail":"bad platform-v1-{} at /platform-tokens/"}}"#,
            "ab".repeat(32)
        );
        let error = success(&response(400, &body), &asker(), EPOCH).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the platform refused the request (400): bad platform-… at /platform-tokens/"
        );
        let error = read::<Page>(
            &response(200, r#"{"count":"platform-v1-abc","items":[]}"#),
            &asker(),
            EPOCH,
        );
        assert!(!error.unwrap_err().to_string().contains("v1-abc"));
    }

    #[test]
    fn a_message_never_shows_the_credential_that_asked() {
        let quoted = response(401, r#"{"detail":"unknown bearer eyJhbGci.e30.c2ln"}"#);
        let error = success(&quoted, &asker(), EPOCH).unwrap_err();
        assert_eq!(error, Error::Unauthorized("unknown bearer …".into()));
    }

    #[test]
    fn rows_of_both_dialects_read_and_a_masked_value_is_none() {
        let documented = r#"{"count":1,"results":[{"id":"a","user_id":"u","token":"platform-v1-0f","expiration":null,
            "used_at":null,"created_at":"2024-08-01T10:00:00.000000Z","updated_at":"2024-08-01T10:00:00.000000Z"}]}"#;
        let current = r#"{"count":1,"items":[{"id":"a","user_id":"u","token":"platform-v1-****","tags":["t"],
            "metadata":{},"used_at":"2024-08-01T10:00:00Z","created_at":"2024-08-01T10:00:00Z"}]}"#;
        let page: Page = read(&response(200, documented), &asker(), EPOCH).unwrap();
        assert_eq!((page.count, page.rows[0].token.is_some()), (1, true));
        let page: Page = read(&response(200, current), &asker(), EPOCH).unwrap();
        assert_eq!(
            (page.rows[0].token.is_none(), page.rows[0].tags.len()),
            (true, 1)
        );
    }
}
