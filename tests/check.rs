//! `check`: what it finds in a sound installation, and in one that is not.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use platform_token_operator::api::PlatformToken;
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Shape, Verb, When};
use serde_json::{Value, json};

use crate::support::{ControlPlane, World};

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
    let output = check(
        &world.plane.operator_kubeconfig,
        &["-o", "json", "--cluster-only", "--strict"],
    );
    assert!(output.status.success());
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let topics: Vec<&str> = said["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["topic"].as_str().unwrap())
        .collect();
    assert_eq!(topics, ["cluster", "permissions", "crds"]);
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
    let deadline = std::time::Instant::now() + Duration::from_mins(1);
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
        std::thread::sleep(Duration::from_millis(200));
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
    let config = json!({
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

#[tokio::test]
async fn what_accounts_answer_and_what_is_left_to_do_is_told_and_nothing_is_done() {
    let world = World::new().await;
    world.credentials("wrong", "platform-v1-wrong").await;
    let wrong = json!({ "credentialsSecretRef": { "name": "wrong" } });
    world.account("broken", wrong).await;
    // The rest of a lost answer: it bears the tags of this cluster, and of nobody who lives.
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let cluster = namespaces.get("kube-system").await.unwrap().uid().unwrap();
    let tags = vec![format!("cluster={cluster}"), "uid=nobody".to_owned()];
    let rest = world.platform.with(|sandbox, now| {
        let made = now - Duration::from_mins(10);
        sandbox.model.stranger(&world.user, tags, made).unwrap()
    });
    let unavailable = Fault::Status {
        when: When::Before,
        status: 503,
        body: Shape::Detail,
        retry_after: None,
    };
    let revocation = Match::on(Verb::Delete, Route::Token);
    let unavailable = Rule::always(revocation, unavailable);
    world.platform.script(vec![unavailable]);
    world.ready_token("goes").await;
    world.delete::<PlatformToken>("goes").await;
    world.until_trouble("goes", "Unreachable").await;
    let before = world.live().len();

    let arguments = [
        format!("--watch-namespace={}", world.namespace),
        format!("--allow-base-url={}", world.base_url),
        "-ojson".to_owned(),
    ];
    let kubeconfig = world.plane.operator_kubeconfig.clone();
    let run = move || check(&kubeconfig, &arguments.each_ref().map(String::as_str));
    // The platform goes on answering meanwhile.
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let (namespace, id) = (&world.namespace, &rest.id);
    for (topic, result, text) in [
        (
            "accounts",
            "ok",
            format!("PlatformAccount {namespace}/main answers as sandbox, in the current dialect"),
        ),
        (
            "accounts",
            "warning",
            format!("PlatformAccount {namespace}/broken: Unauthorized: asking"),
        ),
        (
            "unclaimed",
            "warning",
            format!(
                "PlatformAccount {namespace}/main has 1 token that may be this operator's and that nothing in this cluster names ({id})"
            ),
        ),
        (
            "owed",
            "warning",
            format!(
                "PlatformToken {namespace}/goes is being deleted, and its token is not revoked yet: Unreachable: "
            ),
        ),
    ] {
        let mut findings = said["findings"].as_array().unwrap().iter();
        let found = findings.any(|found| {
            let says = found["text"].as_str().unwrap().starts_with(&text);
            found["topic"] == topic && found["result"] == result && says
        });
        assert!(found, "{topic} {result} {text}: {said:#}");
    }
    assert!(
        output.status.success(),
        "none of it keeps the operator from its work"
    );
    assert_eq!(world.live().len(), before);
    world.platform.script(vec![]);
    world.until_gone::<PlatformToken>("goes").await;
}
