//! The transport of production: HTTP, one pool of connections for all accounts.

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use secrecy::ExposeSecret;

use crate::cause::innermost;

use super::transport::{MAX_BODY, Method, Request, Response, SendError, Transport};

/// Speaks to one base URL. Proxies are taken from the environment (`HTTPS_PROXY`, `NO_PROXY`).
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    base_url: String,
}

/// The HTTP client cannot be set up, for instance because the machine has no CA certificates.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot set up the HTTP client: {0}; CA certificates are read from the system or SSL_CERT_FILE"
)]
pub struct HttpSetupError(String);

impl Http {
    /// A pool of connections, to be shared: it follows no redirects, so that the bearer does not travel, and repeats
    /// nothing.
    pub fn pool() -> Result<reqwest::Client, HttpSetupError> {
        reqwest::Client::builder()
            .user_agent(concat!(
                "platform-token-operator/",
                env!("CARGO_PKG_VERSION")
            ))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(std::time::Duration::from_secs(5))
            .pool_idle_timeout(std::time::Duration::from_secs(30))
            .build()
            .map_err(|e| HttpSetupError(innermost(&e)))
    }

    /// A transport to `base_url`, scheme and host without a path.
    #[must_use]
    pub fn new(pool: reqwest::Client, base_url: &str) -> Self {
        Self {
            client: pool,
            base_url: base_url.to_owned(),
        }
    }

    async fn exchange(&self, request: Request) -> Result<Response, SendError> {
        let method = match request.method {
            Method::Get => reqwest::Method::GET,
            Method::Post => reqwest::Method::POST,
            Method::Delete => reqwest::Method::DELETE,
        };
        let mut bearer = HeaderValue::from_str(request.credential.bearer().expose_secret())
            .map_err(|_| SendError::NotSent("the credential does not fit into a header".into()))?;
        bearer.set_sensitive(true);
        let mut builder = self
            .client
            .request(method, format!("{}{}", self.base_url, request.target))
            .header(ACCEPT, "application/json")
            .header(AUTHORIZATION, bearer)
            .timeout(request.deadline);
        if let Some(body) = request.body {
            builder = builder.header(CONTENT_TYPE, "application/json").body(body);
        }
        let mut response = builder.send().await.map_err(|e| classify(&e))?;
        let status = response.status().as_u16();
        let text = |headers: &HeaderMap, name| {
            headers
                .get(name)
                .and_then(|v: &HeaderValue| v.to_str().ok())
                .map(str::to_owned)
        };
        let (content_type, retry_after) = (
            text(response.headers(), CONTENT_TYPE),
            text(response.headers(), RETRY_AFTER),
        );
        let mut body = BytesMut::new();
        while let Some(chunk) = response
            .chunk()
            .await
            .map_err(|e| SendError::Lost(innermost(&e)))?
        {
            if body.len() + chunk.len() > MAX_BODY {
                return Err(SendError::Lost(format!(
                    "the body is longer than {MAX_BODY} bytes"
                )));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response {
            status,
            content_type,
            retry_after,
            body: Bytes::from(body),
        })
    }
}

impl Transport for Http {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, SendError>> {
        Box::pin(self.exchange(request))
    }
}

/// Only what failed before a connection stood was definitely not sent.
fn classify(error: &reqwest::Error) -> SendError {
    if error.is_connect() || error.is_builder() {
        SendError::NotSent(innermost(error))
    } else if error.is_timeout() {
        SendError::Lost("no answer in time".into())
    } else {
        SendError::Lost(innermost(error))
    }
}
