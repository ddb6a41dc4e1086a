//! The install that serves some namespaces alone, as a user writes it down: an overlay beside `deploy/`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::control_plane::ControlPlane;

/// Makes these namespaces, and an overlay that serves them.
pub(super) fn overlay(plane: &ControlPlane, namespaces: &[String]) -> PathBuf {
    let overlay = plane.dir.join("my-operator");
    for namespace in namespaces {
        plane.kubectl(&["create", "namespace", namespace]);
        let dir = overlay.join(namespace);
        let watched = format!("{}/namespaced/watched", deploy_from(&dir));
        let kustomization = json!({ "namespace": namespace, "resources": [watched] });
        write(&dir, &kustomization);
    }
    let deploy = deploy_from(&overlay);
    let resources = [deploy.clone()].into_iter().chain(namespaces.to_vec());
    let variable = json!({
        "name": "PLATFORM_TOKEN_OPERATOR_WATCH_NAMESPACE", "value": namespaces.join(","),
    });
    let operator = "platform-token-operator";
    let patch = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": operator, "namespace": operator },
        "spec": { "template": { "spec": { "containers": [{ "name": "operator", "env": [variable] }] } } },
    });
    let kustomization = json!({
        "resources": resources.collect::<Vec<_>>(),
        "components": [format!("{deploy}/namespaced")],
        "patches": [{ "patch": patch.to_string() }],
    });
    write(&overlay, &kustomization);
    overlay
}

/// `deploy/`, seen from an absolute directory: kustomize takes no absolute path of a base.
fn deploy_from(dir: &Path) -> String {
    let up = "../".repeat(dir.components().count() - 1);
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy");
    format!("{up}{}", deploy.to_str().unwrap().trim_start_matches('/'))
}

fn write(dir: &Path, kustomization: &Value) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("kustomization.yaml"), kustomization.to_string()).unwrap();
}
