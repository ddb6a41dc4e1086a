//! The CRDs as files: what `platform-token-operator crd` prints and `crds/` holds.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde::Serialize;
use serde_json::{Value, json};

use super::{ClusterPlatformAccount, PlatformAccount, PlatformToken};

/// The CRDs, each with the name of its file.
#[must_use]
pub fn crds() -> Vec<(&'static str, CustomResourceDefinition)> {
    vec![
        ("platformtokens.yaml", PlatformToken::crd()),
        ("platformaccounts.yaml", PlatformAccount::crd()),
        (
            "clusterplatformaccounts.yaml",
            ClusterPlatformAccount::crd(),
        ),
    ]
}

/// The kustomization beside them, so that `kubectl apply -k` takes the directory.
#[must_use]
pub fn kustomization() -> String {
    let mut text = String::from(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n",
    );
    for (file, _) in crds() {
        text.push_str("  - ");
        text.push_str(file);
        text.push('\n');
    }
    text
}

/// The name of an object, as CEL, which takes a backslash twice.
pub(super) const NAME: &str =
    "^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// The id of a token, as CEL.
pub(super) const TOKEN_ID: &str = "^[A-Za-z0-9_-]+$";

/// A CEL rule of a field and what to write instead when it does not hold, as `x-kubernetes-validations` wants them.
pub(super) fn rule(rule: &str, message: &str) -> Value {
    json!([{ "rule": rule, "message": message }])
}

/// One object as YAML.
pub fn to_yaml<T: Serialize>(object: &T) -> Result<String, serde_saphyr::ser_error::Error> {
    serde_saphyr::to_string(object)
}
