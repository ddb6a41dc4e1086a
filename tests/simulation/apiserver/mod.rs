//! A small double of the API server: only the requests that we make, by the rules that the real one has for them.
//!
//! It holds objects as JSON under one counter of resourceVersions and tells each change in order, which is what watches
//! are made of. A real `kube::Client` speaks to it, without a socket. It knows no time of its own and no chance. That
//! its rules are those of the real server is tested: `tests/support/expectations.rs` runs against both.
//!
//! | file | thought |
//! |---|---|
//! | `kind` | the kinds that it serves |
//! | `request` | from HTTP to a call |
//! | `store` | objects and the rules of their changes |
//! | `merge` | the merge patch |
//! | `answer` | refusals, and what goes over the wire |

mod answer;
mod kind;
mod merge;
mod request;
mod store;

use bytes::Bytes;
use kube::client::Body;
use serde_json::Value;

pub(crate) use answer::Refusal;
pub(crate) use kind::Kind;
pub(crate) use request::{Request, Verb};
pub(crate) use store::{Change, Key, Lax, Store, finalizers, is_deleting};

/// Takes a request off the wire.
pub(crate) async fn read(request: http::Request<Body>) -> Result<Request, Refusal> {
    let (parts, body) = request.into_parts();
    let body: Bytes = body.collect_bytes().await.unwrap_or_default();
    Request::read(&parts, &body)
}

/// Puts an answer on the wire.
pub(crate) fn write(answer: &Result<Value, Refusal>) -> http::Response<Body> {
    answer::response(answer)
}
