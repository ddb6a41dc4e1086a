//! The kinds: served, and with every field that this version knows.

use std::collections::BTreeSet;

use kube::Client;
use serde_json::Value;

use super::{Finding, Topic, shown};
use crate::api::{crds, names};
use crate::controller::call;

/// How many missing fields a finding names.
const SHOWN: usize = 5;

pub(super) async fn examine(client: &Client) -> Vec<Finding> {
    let served = match served(client).await {
        Ok(served) => served,
        Err(error) => {
            let text = format!(
                "the API server does not serve {}: {error}; apply the CRDs: kubectl apply -k crds",
                names::GROUP
            );
            return vec![Topic::Crds.failure(text)];
        }
    };
    let findings: Vec<Finding> = known()
        .into_iter()
        .filter_map(|(kind, ours)| compare(&kind, &ours, served_schema(&served, &kind)))
        .collect();
    if findings.is_empty() {
        return vec![Topic::Crds.ok("the kinds are served as this version knows them")];
    }
    findings
}

/// What the API server publishes of our kinds, as every authenticated client may read it.
async fn served(client: &Client) -> Result<Value, String> {
    let path = format!("/openapi/v3/apis/{}/v1alpha1", names::GROUP);
    let request = http::Request::get(path)
        .body(Vec::new())
        .map_err(|error| error.to_string())?;
    let answer = call(client.request(request)).await;
    answer.map_err(|error| error.to_string())
}

/// The kinds of this version, each with its schema.
fn known() -> Vec<(String, Value)> {
    let kinds = crds().into_iter().filter_map(|(_, crd)| {
        let version = crd.spec.versions.into_iter().next()?;
        let schema = serde_json::to_value(version.schema?.open_api_v3_schema?).ok()?;
        Some((crd.spec.names.kind, schema))
    });
    kinds.collect()
}

fn served_schema<'a>(served: &'a Value, kind: &str) -> Option<&'a Value> {
    let schemas = served.pointer("/components/schemas")?.as_object()?;
    schemas.values().find(|schema| {
        let of = schema.pointer("/x-kubernetes-group-version-kind/0/kind");
        of.and_then(Value::as_str) == Some(kind)
    })
}

fn compare(kind: &str, ours: &Value, theirs: Option<&Value>) -> Option<Finding> {
    let Some(theirs) = theirs else {
        let text =
            format!("the API server does not serve {kind}; apply the CRDs: kubectl apply -k crds");
        return Some(Topic::Crds.failure(text));
    };
    let (ours, theirs) = (fields(ours), fields(theirs));
    let missing: Vec<&str> = ours.difference(&theirs).map(String::as_str).collect();
    if !missing.is_empty() {
        let text = format!(
            "the CRD of {kind} is older than this operator, it lacks {}; apply the CRDs of this version: kubectl apply \
             -k crds",
            shown(missing, SHOWN)
        );
        return Some(Topic::Crds.failure(text));
    }
    let extra: Vec<&str> = theirs.difference(&ours).map(String::as_str).collect();
    (!extra.is_empty()).then(|| {
        Topic::Crds.warning(format!(
            "the CRD of {kind} is newer than this operator, which ignores {}; upgrade the operator, or apply the CRDs of \
             its version",
            shown(extra, SHOWN)
        ))
    })
}

/// The paths of all fields below `spec` and `status`.
fn fields(schema: &Value) -> BTreeSet<String> {
    let mut paths = BTreeSet::new();
    for part in ["spec", "status"] {
        if let Some(schema) = schema.pointer(&format!("/properties/{part}")) {
            walk(schema, part, &mut paths);
        }
    }
    paths
}

fn walk(schema: &Value, path: &str, paths: &mut BTreeSet<String>) {
    paths.insert(path.to_owned());
    if let Some(items) = schema.get("items") {
        walk(items, &format!("{path}[]"), paths);
    }
    // The API server wraps a reference that has a description or a default.
    for wrapped in schema
        .get("allOf")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        walk(wrapped, path, paths);
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, schema) in properties.into_iter().flatten() {
        walk(schema, &format!("{path}.{name}"), paths);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::Verdict;

    #[test]
    fn a_field_that_is_missing_is_an_old_crd_and_one_too_many_a_new_one() {
        let schema = |fields: Value| json!({ "properties": { "spec": { "properties": fields } } });
        let ours = schema(json!({ "a": {}, "b": { "items": { "properties": { "c": {} } } } }));
        let same = compare("Kind", &ours, Some(&ours));
        assert_eq!(same, None);
        let older = compare("Kind", &ours, Some(&schema(json!({ "a": {}, "b": {} })))).unwrap();
        assert_eq!(older.verdict, Verdict::Failure);
        assert!(
            older.text.contains("lacks spec.b[], spec.b[].c;"),
            "{}",
            older.text
        );
        let newer = compare("Kind", &schema(json!({ "a": {} })), Some(&ours)).unwrap();
        assert_eq!(newer.verdict, Verdict::Warning);
        let unserved = compare("Kind", &ours, None).unwrap();
        assert_eq!(unserved.verdict, Verdict::Failure);
    }

    #[test]
    fn every_kind_of_this_version_has_fields_to_compare() {
        let known = known();
        assert_eq!(known.len(), 3);
        for (kind, schema) in known {
            let fields = fields(&schema);
            assert!(
                fields.contains("spec") && fields.contains("status.conditions[].type"),
                "{kind}: {fields:?}"
            );
        }
    }
}
