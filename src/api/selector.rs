//! Which namespaces an account serves: a label selector as Kubernetes has it.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::crd::rule;

/// Namespaces by their labels. An empty selector means every namespace.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceSelector {
    /// Labels that the namespace has to have, with these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub match_labels: BTreeMap<String, String>,
    /// What else has to hold of its labels; all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic", "maxItems" = 16))]
    pub match_expressions: Vec<LabelRequirement>,
}

/// What has to hold of one label.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = requirement_rules()))]
pub struct LabelRequirement {
    /// The label.
    #[schemars(extend("x-kubernetes-validations" = rule(&format!("self.matches('{KEY}')"), KEY_MESSAGE)))]
    #[schemars(length(max = 317))]
    pub key: String,
    /// `In` and `NotIn` compare its value with `values`, `Exists` and `DoesNotExist` ask whether it is there.
    pub operator: LabelOperator,
    /// For `In` and `NotIn`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "values")]
    pub values: Vec<String>,
}

/// How one label is judged.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabelOperator {
    /// The label has one of the values.
    In,
    /// The label has none of the values, or is not there.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is not there.
    DoesNotExist,
}

/// The key of a label, with or without a prefix; as CEL, which takes a backslash twice.
const KEY: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";
const KEY_MESSAGE: &str = "a key of namespaceSelector is not one that a label can have; write for instance `team`, or `example.com/team`";
/// The value of a label; it may be empty.
const VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$";
const VALUE_MESSAGE: &str = "a value of namespaceSelector is not one that a label can have; write at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";

fn requirement_rules() -> serde_json::Value {
    serde_json::json!([
        {
            "rule": "self.operator in ['Exists', 'DoesNotExist'] || (has(self.values) && self.values.size() > 0)",
            "message": "the operators In and NotIn compare with values; write at least one under values, or use Exists or DoesNotExist",
        },
        {
            "rule": "self.operator in ['In', 'NotIn'] || !has(self.values) || self.values.size() == 0",
            "message": "the operators Exists and DoesNotExist take no values; leave values out, or use In or NotIn",
        },
    ])
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    let mut rules = rule(
        &format!("self.all(key, key.size() <= 317 && key.matches('{KEY}'))"),
        KEY_MESSAGE,
    );
    let of_values = rule(
        &format!("self.all(key, self[key].matches('{VALUE}'))"),
        VALUE_MESSAGE,
    );
    if let (Some(rules), Some(more)) = (rules.as_array_mut(), of_values.as_array()) {
        rules.extend(more.iter().cloned());
    }
    json_schema!({
        "type": "object",
        "maxProperties": 16,
        "additionalProperties": { "type": "string", "maxLength": 63 },
        "x-kubernetes-validations": rules,
    })
}

fn values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 64,
        "items": { "type": "string", "maxLength": 63 },
        "x-kubernetes-list-type": "atomic",
        "x-kubernetes-validations": rule(&format!("self.all(value, value.matches('{VALUE}'))"), VALUE_MESSAGE),
    })
}
