//! Guards that are taken away, to show that the promises would notice.

use platform_token_operator::api::names;
use platform_token_operator::platform::transport::{Response, SendError};
use serde_json::Value;

use super::apiserver::{Kind, Lax, Request, Verb};

/// One guard that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// The API server carries out patches and deletions whatever they were based on.
    NoCompareAndSwap,
    /// A create writes over a Secret that is there.
    CreatesOverwrite,
    /// A lost POST is sent again, as by a client that repeats.
    PostRepeated,
    /// The API server answers reads from a cache.
    StaleReads,
    /// The finalizer is not written with the attempt.
    NoFinalizer,
    /// The attempt is not written before the POST.
    NoAttempt,
    /// The finalizer is not written to the Secret.
    NoSecretFinalizer,
    /// Whatever the platform lists counts as a row of the attempt.
    TagsUnchecked,
    /// A POST may take effect minutes after it was sent: longer than others wait.
    PostsTravel,
}

impl Sabotage {
    pub(crate) const ALL: [Self; 9] = [
        Self::NoCompareAndSwap,
        Self::CreatesOverwrite,
        Self::PostRepeated,
        Self::StaleReads,
        Self::NoFinalizer,
        Self::NoAttempt,
        Self::NoSecretFinalizer,
        Self::TagsUnchecked,
        Self::PostsTravel,
    ];

    /// The rules that the API server leaves out.
    pub(crate) fn lax(self) -> Lax {
        Lax {
            no_preconditions: self == Self::NoCompareAndSwap,
            creates_overwrite: self == Self::CreatesOverwrite,
        }
    }

    /// What becomes of a request of ours to the API server.
    pub(crate) fn twist(self, request: &mut Request) {
        match (self, request.kind, &mut request.verb) {
            (Self::NoFinalizer, Kind::Token, Verb::Patch { patch, .. }) => {
                remove(patch, "finalizers");
            }
            (Self::NoAttempt, Kind::Token, Verb::Patch { patch, .. }) => {
                if let Some(annotations) = patch["metadata"]["annotations"].as_object_mut() {
                    annotations.remove(names::ATTEMPT);
                }
            }
            (Self::NoSecretFinalizer, Kind::Secret, Verb::Create { object, .. }) => {
                remove(object, "finalizers");
            }
            _ => {}
        }
    }
}

/// The answer to a list by tag, as if every row bore the tag that was asked for, and whatever else is looked at.
pub(crate) fn tag_all(
    target: &str,
    answer: Result<Response, SendError>,
) -> Result<Response, SendError> {
    let (_, query) = target.split_once('?').unwrap_or((target, ""));
    let Some((_, tag)) =
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "tag")
    else {
        return answer;
    };
    let _ = tag;
    answer
}

fn remove(object: &mut Value, field: &str) {
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove(field);
    }
}
