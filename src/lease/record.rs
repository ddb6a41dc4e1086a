//! The lease, and what stands in it.

use std::fmt;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use uuid::Uuid;

/// The name of one life of one process. No two are alike, so a record that bears it was written by this very process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity(String);

impl Identity {
    /// The name of a life of its own on a host.
    #[must_use]
    pub fn of(host: &str, life: Uuid) -> Self {
        Self(format!("{host}_{life}"))
    }

    /// As it stands in the lease. None for an empty text: such a lease was released.
    #[must_use]
    pub fn read(text: String) -> Option<Self> {
        (!text.is_empty()).then_some(Self(text))
    }

    /// As it stands in the lease.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a lease is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What stands in the lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Record {
    /// Who holds it; none: it was released.
    pub holder: Option<Identity>,
    /// How long it holds after each renewal.
    pub duration: Duration,
    /// When its holder took it, on the holder's clock.
    pub acquired: Timestamp,
    /// When it was last renewed, on the holder's clock. For people: no rule compares it with another clock.
    pub renewed: Timestamp,
    /// How often it has changed hands.
    pub transitions: u32,
}

/// The lease as the API server has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    /// The resourceVersion.
    pub version: String,
    /// What stands in it.
    pub record: Record,
}

/// A write of the lease that holds for exactly one state of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    /// The version that it replaces; none: it creates the lease, if there is none.
    pub over: Option<String>,
    /// What is to stand in it.
    pub record: Record,
}
