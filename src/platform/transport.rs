//! The wire between the platform's client and whatever answers it: HTTP in production, the sandbox's model in
//! simulations. It knows methods, paths and bytes; what an answer means is the client's business.

use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::api::Credential;

/// The methods that the platform's API uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// Read.
    Get,
    /// Create; never repeated by a transport.
    Post,
    /// Revoke.
    Delete,
}

impl Method {
    /// The method as HTTP spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Delete => "DELETE",
        }
    }
}

/// One request to the platform.
#[derive(Debug, Clone)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// Path and query below the base URL, e.g. `/api/v1/platform-tokens/?limit=100`; already percent-encoded.
    pub target: String,
    /// Who asks; sent as `authorization: Bearer …`.
    pub credential: Credential,
    /// JSON body, if the call has one.
    pub body: Option<Bytes>,
    /// How long the whole exchange may take, from the first byte sent to the last one read.
    pub deadline: Duration,
}

/// A complete answer: a cut one is a [`SendError::Lost`].
#[derive(Debug, Clone)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// The header `content-type`, if any.
    pub content_type: Option<String>,
    /// The header `retry-after`, if any, as it was sent.
    pub retry_after: Option<String>,
    /// The whole body, at most [`MAX_BODY`] bytes.
    pub body: Bytes,
}

/// The longest body that is read, in bytes; a longer one is a lost answer.
pub const MAX_BODY: usize = 4 << 20;

/// No complete answer came back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The request cannot have reached the platform: DNS, connect or TLS failed.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may have taken effect: timeout, reset, cut or oversized body.
    #[error("answer lost: {0}")]
    Lost(String),
}

/// Carries one request and its answer. It never retries, never follows a redirect, and is done by the deadline.
pub trait Transport: Send + Sync + 'static {
    /// Sends the request and reads the whole answer.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, SendError>>;
}
