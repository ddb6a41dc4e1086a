//! The kinds that the double serves.

use serde_json::{Value, json};

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Namespace,
    Secret,
    Event,
    Token,
    Account,
    ClusterAccount,
    Lease,
}

/// How a kind is called and what the server does for it.
struct Traits {
    group: &'static str,
    version: &'static str,
    plural: &'static str,
    name: &'static str,
    namespaced: bool,
    /// Its objects have a generation and a status of its own.
    custom: bool,
}

const OURS: &str = "platform.acedata.cloud";

impl Kind {
    const ALL: [Self; 7] = [
        Self::Namespace,
        Self::Secret,
        Self::Event,
        Self::Token,
        Self::Account,
        Self::ClusterAccount,
        Self::Lease,
    ];

    fn traits(self) -> Traits {
        let core = |plural, name, namespaced| Traits {
            group: "",
            version: "v1",
            plural,
            name,
            namespaced,
            custom: false,
        };
        let ours = |plural, name, namespaced| Traits {
            group: OURS,
            version: "v1alpha1",
            plural,
            name,
            namespaced,
            custom: true,
        };
        match self {
            Self::Namespace => core("namespaces", "Namespace", false),
            Self::Secret => core("secrets", "Secret", true),
            Self::Event => Traits {
                group: "events.k8s.io",
                ..core("events", "Event", true)
            },
            Self::Lease => Traits {
                group: "coordination.k8s.io",
                ..core("leases", "Lease", true)
            },
            Self::Token => ours("platformtokens", "PlatformToken", true),
            Self::Account => ours("platformaccounts", "PlatformAccount", true),
            Self::ClusterAccount => {
                ours("clusterplatformaccounts", "ClusterPlatformAccount", false)
            }
        }
    }

    /// The kind that a path names.
    pub(super) fn of(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| {
            let traits = kind.traits();
            (traits.group, traits.version, traits.plural) == (group, version, plural)
        })
    }

    pub(super) fn namespaced(self) -> bool {
        self.traits().namespaced
    }

    /// Whether its objects have a generation, and a status that only the subresource writes.
    pub(super) fn is_custom(self) -> bool {
        self.traits().custom
    }

    /// Group and plural, as messages name it.
    pub(crate) fn resource(self) -> String {
        let Traits { group, plural, .. } = self.traits();
        if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        }
    }

    pub(crate) fn plural(self) -> &'static str {
        self.traits().plural
    }

    pub(super) fn name(self) -> &'static str {
        self.traits().name
    }

    pub(super) fn api_version(self) -> Value {
        let Traits { group, version, .. } = self.traits();
        if group.is_empty() {
            json!(version)
        } else {
            json!(format!("{group}/{version}"))
        }
    }
}
