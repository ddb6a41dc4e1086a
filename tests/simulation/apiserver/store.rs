//! Objects, and the rules by which the API server lets them change.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::answer::Refusal;
use super::kind::Kind;
use super::merge::merge;
use super::request::{Request, Verb};

/// Names one object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub kind: Kind,
    /// Empty for a cluster-scoped object.
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// One change of one object, as watches tell it.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub key: Key,
    /// As it was; none: it was created.
    pub before: Option<Arc<Value>>,
    /// As it is; of a deleted one, as it was last, at the version of the deletion.
    pub object: Arc<Value>,
    pub deleted: bool,
}

/// What rules are left out, to show that each is needed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Lax {
    /// Any patch or deletion is carried out, whatever it was based on.
    pub no_preconditions: bool,
    /// A create writes over what is there.
    pub creates_overwrite: bool,
}

/// Everything that the server holds.
#[derive(Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    changes: Vec<Change>,
    /// The resourceVersion of the last change.
    version: u64,
    /// How many objects were made; makes their uids.
    made: u64,
    pub(crate) lax: Lax,
}

impl Store {
    /// Carries out one call, at `now`.
    pub(crate) fn handle(&mut self, request: &Request, now: Timestamp) -> Result<Value, Refusal> {
        let key = Key::new(request.kind, &request.namespace, &request.name);
        let answer = match &request.verb {
            Verb::Get => self.get(&key).map(|object| (*object).clone()),
            Verb::List { label, field } => {
                return Ok(self.list(request, label.as_ref(), field.as_ref()));
            }
            Verb::Create { object, dry_run } => self.create(&key, object, *dry_run, now),
            Verb::Replace { object } => self.replace(&key, object),
            Verb::Patch { status, patch } => self.patch(&key, *status, patch),
            Verb::Delete { uid, version } => {
                self.delete(&key, uid.as_deref(), version.as_deref(), now)
            }
        }?;
        Ok(if request.metadata_only {
            metadata_of(&answer)
        } else {
            answer
        })
    }

    /// Answers a read of one object as it was before its last change, and lists as they are: what a cache does.
    pub(crate) fn handle_stale(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let key = Key::new(request.kind, &request.namespace, &request.name);
        let last = self.changes.iter().rev().find(|change| change.key == key);
        match (&request.verb, last) {
            (Verb::Get, Some(last)) => match &last.before {
                Some(before) => Ok((**before).clone()),
                None => Err(Refusal::not_found(key.kind, &key.name)),
            },
            _ => self.handle(request, now),
        }
    }

    /// Everything that has changed so far, in order.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// One object as it is now.
    pub(crate) fn object(&self, key: &Key) -> Option<&Arc<Value>> {
        self.objects.get(key)
    }

    /// All objects of a kind, as they are now.
    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Arc<Value>)> {
        self.objects.iter().filter(move |(key, _)| key.kind == kind)
    }

    fn get(&self, key: &Key) -> Result<Arc<Value>, Refusal> {
        let object = self.objects.get(key).cloned();
        object.ok_or_else(|| Refusal::not_found(key.kind, &key.name))
    }

    fn list(
        &self,
        request: &Request,
        label: Option<&(String, String)>,
        field: Option<&(String, String)>,
    ) -> Value {
        let wanted = |key: &Key, object: &Value| {
            let here = request.namespace.is_empty() || request.namespace == key.namespace;
            let labelled = label.is_none_or(|(name, value)| {
                let there = &object["metadata"]["labels"][name];
                *there == value.as_str() || (value.is_empty() && there.is_string())
            });
            let says = field.is_none_or(|(path, value)| {
                let at = format!("/{}", path.replace('.', "/"));
                object.pointer(&at).and_then(Value::as_str) == Some(value.as_str())
            });
            here && labelled && says
        };
        let items: Vec<Value> = self
            .all(request.kind)
            .filter(|(key, object)| wanted(key, object))
            .map(|(_, object)| {
                if request.metadata_only {
                    metadata_of(object)
                } else {
                    (**object).clone()
                }
            })
            .collect();
        let metadata = json!({ "resourceVersion": self.version.to_string() });
        let (version, kind) = if request.metadata_only {
            (
                json!("meta.k8s.io/v1"),
                "PartialObjectMetadataList".to_owned(),
            )
        } else {
            let kind = format!("{}List", request.kind.name());
            (request.kind.api_version(), kind)
        };
        json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "items": items })
    }

    fn create(
        &mut self,
        place: &Key,
        object: &Value,
        dry_run: bool,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let mut object = object.clone();
        let kind = place.kind;
        let name = if let Some(name) = object["metadata"]["name"].as_str() {
            name.to_owned()
        } else {
            let prefix = object["metadata"]["generateName"].as_str();
            format!("{}{:05}", prefix.unwrap_or_default(), self.made % 100_000)
        };
        let key = Key {
            name,
            ..place.clone()
        };
        self.admit(&key)?;
        let former = self.objects.get(&key).cloned();
        if former.is_some() && !self.lax.creates_overwrite {
            return Err(Refusal::already_exists(kind, &key.name));
        }
        object["apiVersion"] = kind.api_version();
        object["kind"] = json!(kind.name());
        let metadata = &mut object["metadata"];
        metadata["name"] = json!(key.name);
        if kind.namespaced() {
            metadata["namespace"] = json!(key.namespace);
        }
        metadata["uid"] = json!(self.fresh_uid());
        metadata["creationTimestamp"] = json!(whole_seconds(now));
        remove(metadata, "deletionTimestamp");
        remove(metadata, "resourceVersion");
        if kind.is_custom() {
            metadata["generation"] = json!(1);
            remove(&mut object, "status");
        }
        if kind == Kind::Secret && object["type"].is_null() {
            object["type"] = json!("Opaque");
        }
        tidy(&mut object);
        if dry_run {
            return Ok(object);
        }
        Ok(self.write(key, former, object))
    }

    /// Nothing new enters a namespace that is not there, or is about to go.
    fn admit(&self, key: &Key) -> Result<(), Refusal> {
        if !key.kind.namespaced() {
            return Ok(());
        }
        let namespace = Key::new(Kind::Namespace, "", &key.namespace);
        let namespace = self.get(&namespace)?;
        if is_deleting(&namespace) {
            return Err(Refusal::terminating(key.kind, &key.name, &key.namespace));
        }
        Ok(())
    }

    fn patch(&mut self, key: &Key, status: bool, patch: &Value) -> Result<Value, Refusal> {
        let former = self.get(key)?;
        self.based_on(key, &former, patch)?;
        let mut merged = (*former).clone();
        merge(&mut merged, patch);
        if !self.lax.no_preconditions && merged["metadata"]["uid"] != former["metadata"]["uid"] {
            let why = "metadata.uid: Invalid value: field is immutable";
            return Err(Refusal::invalid(key.kind, &key.name, why));
        }
        let object = match (key.kind.is_custom(), status) {
            (true, true) => {
                let mut object = (*former).clone();
                replace(&mut object, "status", merged["status"].take());
                object
            }
            (true, false) => {
                replace(&mut merged, "status", former["status"].clone());
                merged
            }
            (false, _) => merged,
        };
        self.update(key, &former, object)
    }

    fn replace(&mut self, key: &Key, object: &Value) -> Result<Value, Refusal> {
        let Some(former) = self.objects.get(key).cloned() else {
            let why = "Precondition failed: UID in precondition: UID in object meta: ";
            return Err(Refusal::conflict(key.kind, &key.name, why));
        };
        self.based_on(key, &former, object)?;
        let mut object = object.clone();
        object["apiVersion"] = key.kind.api_version();
        object["kind"] = json!(key.kind.name());
        self.update(key, &former, object)
    }

    /// Whether a write names the version that there is, or none.
    fn based_on(&self, key: &Key, former: &Value, write: &Value) -> Result<(), Refusal> {
        let version = write["metadata"]["resourceVersion"].as_str();
        let other = version.is_some_and(|version| former["metadata"]["resourceVersion"] != version);
        if other && !self.lax.no_preconditions {
            let why = "the object has been modified; please apply your changes to the latest version and try again";
            return Err(Refusal::conflict(key.kind, &key.name, why));
        }
        Ok(())
    }

    /// The rules of any update.
    fn update(
        &mut self,
        key: &Key,
        former: &Arc<Value>,
        mut object: Value,
    ) -> Result<Value, Refusal> {
        for fixed in [
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "name",
            "namespace",
        ] {
            let value = former["metadata"][fixed].clone();
            replace(&mut object["metadata"], fixed, value);
        }
        tidy(&mut object);
        if is_deleting(former)
            && finalizers(&object).any(|one| !finalizers(former).any(|f| f == one))
        {
            let why = "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted";
            return Err(Refusal::invalid(key.kind, &key.name, why));
        }
        if key.kind == Kind::Secret && object["type"] != former["type"] {
            let why = "type: Invalid value: field is immutable";
            return Err(Refusal::invalid(key.kind, &key.name, why));
        }
        if object == **former {
            return Ok(object);
        }
        if is_deleting(&object) && finalizers(&object).next().is_none() {
            return Ok(self.remove(key, object));
        }
        if key.kind.is_custom() && spec_changed(former, &object) {
            bump_generation(&mut object);
        }
        Ok(self.write(key.clone(), Some(former.clone()), object))
    }

    fn delete(
        &mut self,
        key: &Key,
        uid: Option<&str>,
        version: Option<&str>,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        let former = self.get(key)?;
        for (precondition, name, field) in [
            (uid, "UID", "uid"),
            (version, "ResourceVersion", "resourceVersion"),
        ] {
            let actual = &former["metadata"][field];
            if let Some(expected) = precondition
                && actual != expected
                && !self.lax.no_preconditions
            {
                let why = format!(
                    "Precondition failed: {name} in precondition: {expected}, {name} in object meta: {actual}"
                );
                return Err(Refusal::conflict(key.kind, &key.name, &why));
            }
        }
        let mut object = (*former).clone();
        let is_held = finalizers(&former).next().is_some() || key.kind == Kind::Namespace;
        if is_held && is_deleting(&former) {
            return Ok(object);
        }
        if is_held {
            object["metadata"]["deletionTimestamp"] = json!(whole_seconds(now));
            object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            if key.kind.is_custom() {
                bump_generation(&mut object);
            }
            return Ok(self.write(key.clone(), Some(former), object));
        }
        let uid = former["metadata"]["uid"].clone();
        self.remove(key, object);
        Ok(json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": { "name": key.name, "kind": key.kind.plural(), "uid": uid },
        }))
    }

    fn write(&mut self, key: Key, before: Option<Arc<Value>>, mut object: Value) -> Value {
        self.stamp(&mut object);
        let object = Arc::new(object);
        self.objects.insert(key.clone(), object.clone());
        self.changes.push(Change {
            key,
            before,
            object: object.clone(),
            deleted: false,
        });
        (*object).clone()
    }

    /// Takes an object away for good.
    pub(crate) fn remove(&mut self, key: &Key, mut object: Value) -> Value {
        self.stamp(&mut object);
        let before = self.objects.remove(key);
        self.changes.push(Change {
            key: key.clone(),
            before,
            object: Arc::new(object.clone()),
            deleted: true,
        });
        object
    }

    fn stamp(&mut self, object: &mut Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
    }

    fn fresh_uid(&mut self) -> String {
        self.made += 1;
        format!("00000000-0000-4000-8000-{:012}", self.made)
    }
}

/// Whether it is being deleted.
pub(crate) fn is_deleting(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// The finalizers of an object.
pub(crate) fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers.into_iter().flatten().filter_map(Value::as_str)
}

fn metadata_of(object: &Value) -> Value {
    if object["kind"] == "Status" {
        return object.clone();
    }
    json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
    })
}

fn spec_changed(former: &Value, object: &Value) -> bool {
    let spec = |object: &Value| -> Map<String, Value> {
        let fields = object.as_object().into_iter().flatten();
        fields
            .filter(|(name, _)| !matches!(name.as_str(), "metadata" | "status"))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    spec(former) != spec(object)
}

fn bump_generation(object: &mut Value) {
    let generation = object["metadata"]["generation"].as_i64().unwrap_or(0);
    object["metadata"]["generation"] = json!(generation + 1);
}

/// Sets a field, or removes it where the value is null.
fn replace(object: &mut Value, field: &str, value: Value) {
    if value.is_null() {
        remove(object, field);
    } else {
        object[field] = value;
    }
}

fn remove(object: &mut Value, field: &str) {
    if let Some(object) = object.as_object_mut() {
        object.remove(field);
    }
}

/// What is empty is not kept.
fn tidy(object: &mut Value) {
    let empty = |value: &Value| match value {
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        other => other.is_null(),
    };
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|_, value| !empty(value));
    }
    if object["kind"] == "Secret" && empty(&object["data"]) {
        remove(object, "data");
    }
}

fn whole_seconds(now: Timestamp) -> String {
    let second = Timestamp::from_second(now.as_second());
    second.unwrap_or(now).to_string()
}
