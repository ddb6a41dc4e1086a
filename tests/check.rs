//! `check`: what it finds in a sound installation, and in one that is not.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{ControlPlane, World};
use platform_token_operator::sandbox::Config;

/// Runs `check` under a kubeconfig.
fn check(kubeconfig: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_platform-token-operator"))
        .arg("check")
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!said.is_empty(), "{errors}");
    said
}

#[tokio::test]
async fn a_sound_installation_passes() {
    let world = World::bare(Config::default()).await;
    let output = check(&world.plane.operator_kubeconfig, &[]);
    let said = text(&output);
    assert!(output.status.success(), "{said}");
    for line in [
        "ok       cluster      Kubernetes v1.",
        "ok       permissions  all ",
        "ok       crds",
    ] {
        assert!(said.contains(line), "{said}");
    }
    let output = check(&world.plane.operator_kubeconfig, &["-o", "json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let topics: Vec<&str> = said["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["topic"].as_str().unwrap())
        .collect();
    assert!(
        topics.starts_with(&["cluster", "permissions", "crds"]),
        "{topics:?}"
    );
}

#[test]
fn what_is_amiss_is_named_with_what_to_do() {
    let plane = ControlPlane::start("check");
    plane.kubectl(&["delete", "clusterrolebinding", "platform-token-operator"]);
    let output = check(&plane.operator_kubeconfig, &["--output=json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said:#}");
    let texts = |said: &Value, topic: &str| -> Vec<String> {
        let findings = said["findings"].as_array().unwrap().iter();
        let of = findings.filter(|found| found["topic"] == topic && found["result"] == "failure");
        of.map(|found| found["text"].as_str().unwrap().to_owned())
            .collect()
    };
    let refused = "the operator may not patch platformtokens/status (platform.acedata.cloud) in every namespace; apply the \
                   manifests of this version: kubectl apply -k deploy";
    assert!(
        texts(&said, "permissions")
            .iter()
            .any(|text| text == refused),
        "{said:#}"
    );

    let lacks = r#"[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/secret"}]"#;
    plane.kubectl(&[
        "patch",
        "crd",
        "platformtokens.platform.acedata.cloud",
        "--type=json",
        "-p",
        lacks,
    ]);
    plane.kubectl(&["delete", "crd", "platformaccounts.platform.acedata.cloud"]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_mins(1);
    loop {
        let output = check(&plane.operator_kubeconfig, &["--output=json"]);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let found = texts(&said, "crds");
        let old = found.iter().any(|text| {
            text.starts_with(
                "the CRD of PlatformToken is older than this operator, it lacks spec.secret",
            )
        });
        let gone = found
            .iter()
            .any(|text| text.starts_with("the API server does not serve PlatformAccount;"));
        if old && gone {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{said:#}");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
}

#[test]
fn a_cluster_that_does_not_answer_is_the_only_finding() {
    let dir = tempfile::tempdir().unwrap();
    let kubeconfig = dir.path().join("kubeconfig");
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{ "name": "c", "cluster": { "server": format!("http://{nobody}") } }],
        "users": [{ "name": "u", "user": {} }],
        "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
    });
    std::fs::write(&kubeconfig, config.to_string()).unwrap();
    let output = check(&kubeconfig, &[]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said.starts_with("failure  cluster      the Kubernetes API does not answer"),
        "{said}"
    );
    assert!(said.ends_with("1 failure, no warning\n"), "{said}");
}
