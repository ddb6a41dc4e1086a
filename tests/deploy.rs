//! What we ship can be applied, and grants no more than it says.

use k8s_openapi::api::core::v1::{Pod, Secret};
use platform_token_operator::sandbox::Config;

use crate::support::{World, eventually};

#[tokio::test]
async fn everything_in_deploy_and_crds_applies() {
    let world = World::bare(Config::default()).await;
    for folder in ["crds", "deploy"] {
        let said = world
            .kubectl(&["apply", "--server-side", "--dry-run=server", "-k", folder])
            .await;
        assert!(
            said.contains("customresourcedefinition.apiextensions.k8s.io/platformtokens"),
            "{said}"
        );
    }
    let namespace = "platform-token-operator";
    let deployment = world
        .kubectl(&["get", "deployment", namespace, "-n", namespace, "-o=json"])
        .await;
    let deployment: serde_json::Value = serde_json::from_str(&deployment).unwrap();
    assert_eq!(deployment["spec"]["strategy"]["type"], "RollingUpdate");
    assert_eq!(deployment["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_pod_of_the_deployment_passes_the_restricted_pod_security() {
    let world = World::bare(Config::default()).await;
    let namespace = "platform-token-operator";
    let warned = world
        .try_kubectl(
            &[
                "apply",
                "--server-side",
                "--dry-run=server",
                "-f",
                "deploy/deployment.yaml",
            ],
            "",
        )
        .await;
    let said = String::from_utf8(warned.stderr).unwrap();
    assert!(
        warned.status.success() && !said.contains("violate PodSecurity"),
        "{said}"
    );
    // The ReplicaSet has made a Pod: admission let it in, though no node runs it.
    let pods: kube::Api<Pod> = kube::Api::namespaced(world.client.clone(), namespace);
    eventually("the Pod is admitted", || async {
        let pods = pods.list(&kube::api::ListParams::default()).await.unwrap();
        (!pods.items.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_role_grants_what_is_needed_and_no_more() {
    let world = World::bare(Config::default()).await;
    let account = "--as=system:serviceaccount:platform-token-operator:platform-token-operator";
    for (verb, resource, allowed) in [
        ("patch", "platformtokens.platform.acedata.cloud", true),
        ("update", "platformtokens.platform.acedata.cloud", false),
        ("create", "platformtokens.platform.acedata.cloud", false),
        ("delete", "platformtokens.platform.acedata.cloud", false),
        (
            "patch",
            "platformtokens.platform.acedata.cloud status",
            true,
        ),
        (
            "patch",
            "clusterplatformaccounts.platform.acedata.cloud",
            false,
        ),
        (
            "patch",
            "clusterplatformaccounts.platform.acedata.cloud status",
            true,
        ),
        ("create", "secrets", true),
        ("patch", "secrets", true),
        ("update", "secrets", false),
        ("deletecollection", "secrets", false),
        ("create", "events.events.k8s.io", true),
        ("list", "events.events.k8s.io", false),
        ("get", "namespaces/kube-system", true),
        ("get", "namespaces/default", true),
        ("list", "namespaces", true),
        ("patch", "namespaces", false),
        ("get", "pods", false),
        ("create", "pods", false),
        ("get", "configmaps", false),
        ("escalate", "clusterroles.rbac.authorization.k8s.io", false),
    ] {
        let (resource, subresource) = resource.split_once(' ').unwrap_or((resource, ""));
        let subresource = format!("--subresource={subresource}");
        let question = ["auth", "can-i", verb, resource, &subresource, account, "-A"];
        let output = world.try_kubectl(&question, "").await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.trim() == "yes", allowed, "{verb} {resource}: {said}");
    }
    let own = "platform-token-operator";
    for (verb, lease, namespace, allowed) in [
        ("get", format!("leases/{own}"), own, true),
        ("update", format!("leases/{own}"), own, true),
        ("create", "leases".into(), own, true),
        ("patch", format!("leases/{own}"), own, false),
        ("delete", format!("leases/{own}"), own, false),
        ("update", "leases/another".into(), own, false),
        ("list", "leases".into(), own, false),
        ("update", format!("leases/{own}"), "kube-system", false),
        ("create", "leases".into(), "default", false),
    ] {
        let question = ["auth", "can-i", verb, &lease, account, "-n", namespace];
        let output = world.try_kubectl(&question, "").await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.trim() == "yes", allowed, "{verb} {lease} {namespace}");
    }
}

#[tokio::test]
async fn every_example_applies() {
    let world = World::bare(Config::default()).await;
    let accounts: kube::Api<k8s_openapi::api::core::v1::ServiceAccount> = world.api();
    eventually("Pods can be created", || async {
        accounts.get_opt("default").await.unwrap()
    })
    .await;
    let mut applied = Vec::new();
    for file in std::fs::read_dir("examples").unwrap() {
        let path = file.unwrap().path();
        let path = path.to_str().unwrap();
        world
            .kubectl(&["apply", "-n", &world.namespace, "-f", path])
            .await;
        applied.push(path.to_owned());
    }
    assert!(applied.len() >= 5, "{applied:?}");
    // This operator may not speak to the real platform: each says so, and neither a token nor a Secret comes of it.
    world.until_trouble("hello", "BaseURLNotAllowed").await;
    world.until_trouble("team-token", "BaseURLNotAllowed").await;
    let message = world
        .until_trouble("tenant-token", "NamespaceNotAdmitted")
        .await;
    assert!(message.contains("example.com/tenant"), "{message}");
    let secrets = world
        .api::<Secret>()
        .list(&kube::api::ListParams::default())
        .await
        .unwrap();
    assert!(secrets.items.is_empty());
    for path in &applied {
        world
            .kubectl(&[
                "delete",
                "-n",
                &world.namespace,
                "-f",
                path,
                "--grace-period=0",
                "--force",
            ])
            .await;
    }
}
