//! Tells users: the status in one patch, events in the past tense.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime, ObjectMeta};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::Context;
use super::kubernetes::{KubeError, call, version};
use crate::api::{ConditionType, names};
use crate::plan::{Note, Trouble, printable, report_invalid};

/// The longest note that an event takes, in bytes.
const MAX_NOTE: usize = 1024;

/// Writes what differs between the former status and the new one, at the resourceVersion that was read; the new
/// resourceVersion, or none if nothing differs.
pub(super) async fn write_status<K, S>(
    api: &Api<K>,
    name: &str,
    resource_version: &str,
    former: &S,
    status: &S,
) -> Result<Option<u64>, KubeError>
where
    K: Clone + DeserializeOwned + std::fmt::Debug + Resource,
    S: Serialize,
{
    let Some(change) = difference(former, status) else {
        return Ok(None);
    };
    let patch = Patch::Merge(json!({
        "metadata": { "resourceVersion": resource_version },
        "status": change,
    }));
    let written = call(api.patch_status(name, &PatchParams::default(), &patch)).await?;
    Ok(Some(version(written.meta().resource_version.as_ref())))
}

/// Tells that an object does not read. What it said before is read live, since we cannot parse it as its kind.
pub(super) async fn report_unreadable<K>(context: &Context, metadata: &ObjectMeta, error: &str)
where
    K: Resource<DynamicType = ()>,
{
    let name = metadata.name.clone().unwrap_or_default();
    let error = &printable(error);
    tracing::warn!(kind = %K::kind(&()), namespace = metadata.namespace, name, error, "an object does not read");
    let raw: Api<DynamicObject> = match &metadata.namespace {
        Some(namespace) => Api::namespaced_with(
            context.client.clone(),
            namespace,
            &ApiResource::erase::<K>(&()),
        ),
        None => Api::all_with(context.client.clone(), &ApiResource::erase::<K>(&())),
    };
    let former = match call(raw.get(&name)).await {
        Ok(object) => object
            .data
            .pointer("/status/conditions")
            .cloned()
            .unwrap_or_default(),
        Err(_) => Value::Null,
    };
    let former: Vec<Condition> = serde_json::from_value(former).unwrap_or_default();
    let conditions = report_invalid(error, &former, metadata.generation, context.clock.now());
    if former == conditions {
        return;
    }
    let patch = Patch::Merge(
        json!({ "metadata": { "uid": metadata.uid }, "status": { "conditions": conditions } }),
    );
    if let Err(error) = call(raw.patch_status(&name, &PatchParams::default(), &patch)).await {
        tracing::warn!(%error, "the status could not be written");
    }
}

/// The merge patch from one status to another, with a null for what went; none if they are the same.
fn difference(former: &impl Serialize, status: &impl Serialize) -> Option<Map<String, Value>> {
    let object = |value| match value {
        Ok(Value::Object(object)) => object,
        _ => Map::new(),
    };
    let former = object(serde_json::to_value(former));
    let mut change = object(serde_json::to_value(status));
    let gone: Vec<String> = former
        .keys()
        .filter(|key| !change.contains_key(*key))
        .cloned()
        .collect();
    change.retain(|key, value| former.get(key) != Some(value));
    change.extend(gone.into_iter().map(|key| (key, Value::Null)));
    (!change.is_empty()).then_some(change)
}

/// Warns of what stands in the way, unless the former conditions say the same already.
pub(super) async fn publish_if_new<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    former: &[Condition],
    trouble: &Trouble,
) {
    let ready = former
        .iter()
        .find(|c| c.type_ == ConditionType::Ready.as_str());
    if ready.is_none_or(|ready| ready.reason != trouble.reason.as_str()) {
        let note = Note {
            warning: true,
            reason: trouble.reason,
            text: trouble.message.clone(),
        };
        publish(context, object, &note).await;
    }
}

/// Publishes one event. It never fails a run: an event that cannot be written is logged.
pub(super) async fn publish<K: Resource<DynamicType = ()>>(
    context: &Context,
    object: &K,
    note: &Note,
) {
    let metadata = object.meta();
    let namespace = metadata
        .namespace
        .clone()
        .unwrap_or_else(|| "default".into());
    let mut text = printable(&note.text);
    text.truncate(
        (0..=MAX_NOTE)
            .rev()
            .find(|&at| text.is_char_boundary(at))
            .unwrap_or(0),
    );
    let event = Event {
        metadata: ObjectMeta {
            generate_name: metadata.name.as_ref().map(|name| format!("{name}-")),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        type_: Some(if note.warning { "Warning" } else { "Normal" }.into()),
        reason: Some(note.reason.as_str().into()),
        action: Some("Reconcile".into()),
        note: Some(text),
        event_time: Some(MicroTime(context.clock.now().wall)),
        reporting_controller: Some(format!("{}/{}", names::GROUP, names::OPERATOR)),
        reporting_instance: Some(context.instance.clone()),
        regarding: Some(ObjectReference {
            api_version: Some(K::api_version(&()).into()),
            kind: Some(K::kind(&()).into()),
            name: metadata.name.clone(),
            namespace: metadata.namespace.clone(),
            uid: metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        ..Event::default()
    };
    let api: Api<Event> = Api::namespaced(Client::clone(&context.client), &namespace);
    if let Err(error) = call(api.create(&PostParams::default(), &event)).await {
        tracing::warn!(%error, reason = note.reason.as_str(), "an event could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_has_what_changed_and_a_null_for_what_went() {
        let former = json!({ "a": 1, "b": 2, "c": [1] });
        let change = difference(&former, &json!({ "a": 1, "c": [2], "d": 4 })).unwrap();
        assert_eq!(
            Value::Object(change),
            json!({ "b": null, "c": [2], "d": 4 })
        );
        assert_eq!(difference(&former, &former), None);
    }
}
