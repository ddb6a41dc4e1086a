//! From HTTP to the calls that the operator makes. Anything else is refused, loudly.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use serde_json::Value;

use super::answer::Refusal;
use super::kind::Kind;

/// One call to the API server.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub kind: Kind,
    /// Empty for cluster-scoped objects, and for lists of all namespaces.
    pub namespace: String,
    /// Empty for lists and creations.
    pub name: String,
    pub verb: Verb,
    /// The answer shall be metadata alone.
    pub metadata_only: bool,
}

#[derive(Debug, Clone)]
pub(crate) enum Verb {
    Get,
    /// Objects with this label, of any value if it is empty, and with this text at a path of their fields, or all.
    List {
        label: Option<(String, String)>,
        field: Option<(String, String)>,
    },
    Create {
        object: Value,
        dry_run: bool,
    },
    /// Writes the whole object, at the version that it names.
    Replace {
        object: Value,
    },
    /// A merge patch, of the status or of everything else.
    Patch {
        status: bool,
        patch: Value,
    },
    Delete {
        uid: Option<String>,
        version: Option<String>,
    },
}

impl Request {
    /// Reads a request off the wire.
    pub(super) fn read(parts: &Parts, body: &Bytes) -> Result<Self, Refusal> {
        let unserved = || {
            let text = format!("the double does not serve {} {}", parts.method, parts.uri);
            Refusal::unserved(text)
        };
        let place = Place::of(parts.uri.path()).ok_or_else(unserved)?;
        let parameter = |name: &str| {
            let query = parts.uri.query().unwrap_or_default();
            url::form_urlencoded::parse(query.as_bytes())
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        let json = || serde_json::from_slice::<Value>(body).map_err(|_| unserved());
        let is_merge = || {
            let content_type = parts.headers.get(CONTENT_TYPE);
            content_type.is_some_and(|text| text == "application/merge-patch+json")
        };
        let whole_list = parameter("continue").is_none();
        let selector = |name: &str| {
            parameter(name).and_then(|text| {
                let (key, value) = text.split_once('=').unwrap_or((&text, ""));
                (!key.is_empty()).then(|| (key.to_owned(), value.to_owned()))
            })
        };
        let verb = match (parts.method.as_str(), place.name.is_empty()) {
            ("GET", false) if !place.status => Verb::Get,
            ("GET", true) if whole_list && parameter("watch").is_none() => Verb::List {
                label: selector("labelSelector"),
                field: selector("fieldSelector"),
            },
            ("POST", true) => Verb::Create {
                object: json()?,
                dry_run: parameter("dryRun").is_some_and(|text| text == "All"),
            },
            ("PUT", false) if !place.status => Verb::Replace { object: json()? },
            ("PATCH", false) if is_merge() => Verb::Patch {
                status: place.status,
                patch: json()?,
            },
            ("DELETE", false) if !place.status => {
                let options = if body.is_empty() {
                    Value::Null
                } else {
                    json()?
                };
                let precondition = |name: &str| {
                    let text = options["preconditions"][name].as_str();
                    text.map(str::to_owned)
                };
                Verb::Delete {
                    uid: precondition("uid"),
                    version: precondition("resourceVersion"),
                }
            }
            _ => return Err(unserved()),
        };
        let accept = parts
            .headers
            .get(ACCEPT)
            .and_then(|text| text.to_str().ok());
        Ok(Self {
            kind: place.kind,
            namespace: place.namespace,
            name: place.name,
            verb,
            // For lists as well: `PartialObjectMetadataList`.
            metadata_only: accept.is_some_and(|text| text.contains("as=PartialObjectMetadata")),
        })
    }

    /// Whether it changes nothing.
    pub(crate) fn only_reads(&self) -> bool {
        matches!(self.verb, Verb::Get | Verb::List { .. })
    }

    /// In a word or three, for the trace.
    pub(crate) fn describe(&self) -> String {
        let verb = match &self.verb {
            Verb::Get => "GET",
            Verb::List { .. } => "LIST",
            Verb::Create { dry_run: true, .. } => "CREATE (dry run)",
            Verb::Create { .. } => "CREATE",
            Verb::Replace { .. } => "PUT",
            Verb::Patch { status: true, .. } => "PATCH status of",
            Verb::Patch { .. } => "PATCH",
            Verb::Delete { .. } => "DELETE",
        };
        let created = match &self.verb {
            Verb::Create { object, .. } => {
                let metadata = &object["metadata"];
                let name = metadata["name"].as_str();
                name.or(metadata["generateName"].as_str()).unwrap_or("?")
            }
            _ => &self.name,
        };
        format!("{verb} {}/{}/{created}", self.kind.plural(), self.namespace)
    }
}

/// What a path names.
struct Place {
    kind: Kind,
    namespace: String,
    name: String,
    status: bool,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        let mut parts = path.trim_start_matches('/').split('/');
        let (group, version) = match parts.next()? {
            "api" => ("", parts.next()?),
            "apis" => (parts.next()?, parts.next()?),
            _ => return None,
        };
        let rest: Vec<&str> = parts.collect();
        let (namespace, rest) = match rest.as_slice() {
            ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
            rest => ("", rest),
        };
        let (plural, name, status) = match rest {
            [plural] => (plural, "", false),
            [plural, name] => (plural, *name, false),
            [plural, name, "status"] => (plural, *name, true),
            _ => return None,
        };
        let kind = Kind::of(group, version, plural)?;
        if status && !kind.is_custom() {
            return None;
        }
        Some(Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            status,
        })
    }
}
