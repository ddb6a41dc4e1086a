//! How the API server refuses, and how answers look on the wire.

use kube::client::Body;
use serde_json::{Value, json};

use super::kind::Kind;

/// An answer that is an error: a `Status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub code: u16,
    pub reason: &'static str,
    /// The name of the object.
    pub name: String,
    pub message: String,
}

impl Refusal {
    fn new(code: u16, reason: &'static str, name: &str, message: String) -> Self {
        Self {
            code,
            reason,
            name: name.to_owned(),
            message,
        }
    }

    pub(super) fn not_found(kind: Kind, name: &str) -> Self {
        let text = format!("{} {name:?} not found", kind.resource());
        Self::new(404, "NotFound", name, text)
    }

    pub(super) fn already_exists(kind: Kind, name: &str) -> Self {
        let text = format!("{} {name:?} already exists", kind.resource());
        Self::new(409, "AlreadyExists", name, text)
    }

    pub(super) fn conflict(kind: Kind, name: &str, why: &str) -> Self {
        let text = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            kind.resource()
        );
        Self::new(409, "Conflict", name, text)
    }

    pub(super) fn invalid(kind: Kind, name: &str, why: &str) -> Self {
        let text = format!("{} {name:?} is invalid: {why}", kind.name());
        Self::new(422, "Invalid", name, text)
    }

    pub(super) fn terminating(kind: Kind, name: &str, namespace: &str) -> Self {
        let text = format!(
            "{} {name:?} is forbidden: unable to create new content in namespace {namespace} because it is being \
             terminated",
            kind.resource()
        );
        Self::new(403, "Forbidden", name, text)
    }

    /// The double is smaller than what was asked of it: a defect of the simulation.
    pub(super) fn unserved(message: String) -> Self {
        Self::new(501, "NotImplemented", "", message)
    }

    fn status(&self) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
            "details": { "name": self.name },
        })
    }
}

/// What goes over the wire.
pub(super) fn response(answer: &Result<Value, Refusal>) -> http::Response<Body> {
    let (code, body) = match answer {
        Ok(object) => (200, object.to_string()),
        Err(refusal) => (refusal.code, refusal.status().to_string()),
    };
    let body = Body::from(body.into_bytes());
    http::Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(body)
        .expect("a status and a body make a response")
}
