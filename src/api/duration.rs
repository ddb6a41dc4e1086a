//! Durations as Kubernetes users write them.

use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A positive duration written as Go writes it, for instance `10m` or `1h30m`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GoDuration(kube::core::Duration);

impl From<Duration> for GoDuration {
    fn from(duration: Duration) -> Self {
        Self(duration.into())
    }
}

impl From<GoDuration> for Duration {
    /// A negative duration, which the schema refuses, counts as none at all.
    fn from(duration: GoDuration) -> Self {
        if duration.0.is_negative() {
            Self::ZERO
        } else {
            duration.0.into()
        }
    }
}

impl fmt::Debug for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GoDuration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$",
        })
    }
}
