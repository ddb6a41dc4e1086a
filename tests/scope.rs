//! The install that serves some namespaces alone: on a control plane of its own, under exactly its Roles.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::rbac::v1::RoleBinding;
use kube::{Api, ResourceExt};
use platform_token_operator::api::{PlatformAccount, PlatformToken, names};
use platform_token_operator::sandbox::Config;
use serde_json::json;

use crate::support::{World, eventually, no_value, scoped_plane, value};

/// A namespace that is served, with the account `main`.
async fn served() -> World {
    let world = World::on(scoped_plane(), Config::default(), Duration::ZERO).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    world.account("main", json!({})).await;
    world
}

/// A namespace that is served, and an account of the cluster whose credentials lie where the operator is.
async fn served_by_the_cluster() -> (World, String) {
    let world = World::on(scoped_plane(), Config::default(), Duration::ZERO).await;
    let name = format!("{}-shared", world.namespace);
    let operator = "platform-token-operator";
    let credential = format!(
        "--from-literal=ACEDATACLOUD_PLATFORM_TOKEN={}",
        world.admin_credential()
    );
    world
        .kubectl(&[
            "create",
            "secret",
            "generic",
            &name,
            "-n",
            operator,
            &credential,
        ])
        .await;
    let account = json!({
        "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "ClusterPlatformAccount",
        "metadata": { "name": name },
        "spec": {
            "baseURL": world.base_url,
            "credentialsSecretRef": { "namespace": operator, "name": name },
        },
    });
    let output = world
        .try_kubectl(&["apply", "-f", "-"], &account.to_string())
        .await;
    assert!(output.status.success(), "{output:?}");
    (world, name)
}

async fn ready_on_cluster_account(world: &World, name: &str, account: &str) {
    token_on_cluster_account(world, name, account).await;
    world.until_ready(name).await;
}

async fn token_on_cluster_account(world: &World, name: &str, account: &str) {
    let account = json!({ "kind": "ClusterPlatformAccount", "name": account });
    world.token(name, json!({ "accountRef": account })).await;
}

async fn delete_namespace(world: &World) {
    world
        .kubectl(&["delete", "namespace", &world.namespace, "--timeout=60s"])
        .await;
}

fn id_of(token: &PlatformToken) -> String {
    let status = token.status.as_ref().unwrap();
    status.token_id.as_ref().unwrap().to_string()
}

#[tokio::test]
async fn under_roles_alone_a_token_is_made_repaired_moved_and_revoked() {
    let world = served().await;
    let id = id_of(&world.ready_token("local").await);
    let secret = world.secret("local").await.unwrap();
    assert_eq!(secret.finalizers(), [] as [&str; 0]);
    let token = world.api::<PlatformToken>().get("local").await.unwrap();
    assert_eq!(token.finalizers(), [names::FINALIZER]);
    let issued = |(_, reason, _): &(String, String, String)| reason == "Issued";
    assert!(world.events("local").await.iter().any(issued));

    // Edited, then deleted: the platform has its value still.
    world.patch::<Secret>("local", no_value()).await;
    let whole = || async {
        let now = world.secret("local").await?;
        (now.data == secret.data).then_some(())
    };
    eventually("the Secret is repaired", whole).await;
    world.delete::<Secret>("local").await;
    eventually("the Secret is back", whole).await;
    assert_eq!(id_of(&world.until_ready("local").await), id);

    world
        .patch::<PlatformToken>(
            "local",
            json!({ "spec": { "secret": { "name": "moved" } } }),
        )
        .await;
    world.until_gone::<Secret>("local").await;
    assert_eq!(id_of(&world.until_ready("local").await), id);
    assert_eq!(world.minted(), 1);

    let value = value(&world.secret("moved").await.unwrap(), "token");
    world.delete::<PlatformToken>("local").await;
    world.until_gone::<PlatformToken>("local").await;
    world.until_gone::<Secret>("moved").await;
    assert_eq!(world.answers(&value).await, 401);
    assert!(world.live().is_empty());
}

#[tokio::test]
async fn a_finalizer_from_an_install_of_the_whole_cluster_is_taken_off() {
    let world = served().await;
    let id = id_of(&world.ready_token("former").await);
    let held = json!({ "metadata": { "finalizers": [names::FINALIZER, "example.com/theirs"] } });
    world.patch::<Secret>("former", held).await;
    eventually("ours is taken off", || async {
        let secret = world.secret("former").await?;
        (secret.finalizers() == ["example.com/theirs"]).then_some(())
    })
    .await;
    let theirs = json!({ "metadata": { "finalizers": null } });
    world.patch::<Secret>("former", theirs).await;
    assert_eq!(id_of(&world.until_ready("former").await), id);
    assert_eq!(world.minted(), 1);
}

#[tokio::test]
async fn what_is_in_another_namespace_is_left_alone() {
    let (world, account) = served_by_the_cluster().await;
    let other = world.neighbour().await;
    other
        .credentials("credentials", &other.admin_credential())
        .await;
    other.account("main", json!({})).await;
    token_on_cluster_account(&other, "ignored", &account).await;
    // Whatever would be done for it was done by the time that these are Ready, and one is looked at again.
    for name in ["one", "two"] {
        ready_on_cluster_account(&world, name, &account).await;
    }
    let poke = json!({ "metadata": { "annotations": { "poke": "1" } } });
    other.patch::<PlatformToken>("ignored", poke).await;
    ready_on_cluster_account(&world, "three", &account).await;
    let token = other.api::<PlatformToken>().get("ignored").await.unwrap();
    assert_eq!((token.status.clone(), token.finalizers()), (None, &[][..]));
    assert!(!token.annotations().contains_key(names::ATTEMPT));
    let account = other.api::<PlatformAccount>().get("main").await.unwrap();
    assert_eq!(account.status, None);
    assert!(other.secret("ignored").await.is_none());
    assert_eq!(world.minted(), 3);
    other.delete::<PlatformToken>("ignored").await;
    other.until_gone::<PlatformToken>("ignored").await;
}

#[tokio::test]
async fn a_served_namespace_goes_with_its_account_and_all_that_is_in_it() {
    let world = served().await;
    for n in 0..5 {
        world.token(&format!("token-{n}"), json!({})).await;
    }
    for n in 0..5 {
        world.until_ready(&format!("token-{n}")).await;
    }
    delete_namespace(&world).await;
    assert!(world.live().is_empty(), "{:?}", world.live());
}

#[tokio::test]
async fn a_served_namespace_goes_with_all_that_is_in_it_while_the_account_is_elsewhere() {
    let (world, account) = served_by_the_cluster().await;
    for n in 0..5 {
        ready_on_cluster_account(&world, &format!("token-{n}"), &account).await;
    }
    delete_namespace(&world).await;
    assert!(world.live().is_empty(), "{:?}", world.live());
}

#[tokio::test]
async fn a_namespace_whose_role_went_first_does_not_hang() {
    let (world, account) = served_by_the_cluster().await;
    for name in ["one", "two"] {
        ready_on_cluster_account(&world, name, &account).await;
    }
    world
        .delete::<RoleBinding>("platform-token-operator-tokens")
        .await;
    // While the namespace stays, a Secret that cannot be read is no Secret that is gone.
    world.delete::<PlatformToken>("one").await;
    let message = world.until_trouble("one", "KubernetesError").await;
    assert!(
        message.contains("forbidden") && message.contains("check the operator's permissions"),
        "{message}"
    );
    assert_eq!(world.live().len(), 2);
    delete_namespace(&world).await;
    assert!(world.live().is_empty(), "{:?}", world.live());
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    assert!(
        namespaces
            .get_opt(&world.namespace)
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn the_roles_grant_secrets_where_they_are_served_and_nowhere_else() {
    let world = served().await;
    let served = world.namespace.as_str();
    let operator = "platform-token-operator";
    let account = format!("--as=system:serviceaccount:{operator}:{operator}");
    let tokens = "platformtokens.platform.acedata.cloud";
    for (verb, resource, namespace, allowed) in [
        ("patch", tokens, "kube-public", true),
        ("create", tokens, served, false),
        ("delete", tokens, served, false),
        ("watch", "namespaces", "", true),
        ("patch", "namespaces", "", false),
        ("delete", "namespaces", "", false),
        ("list", "secrets", served, true),
        ("watch", "secrets", served, true),
        ("create", "secrets", served, true),
        ("patch", "secrets", served, true),
        ("delete", "secrets", served, true),
        ("update", "secrets", served, false),
        ("deletecollection", "secrets", served, false),
        ("create", "events.events.k8s.io", served, true),
        ("get", "configmaps", served, false),
        ("get", "secrets", operator, true),
        ("watch", "secrets", operator, true),
        ("create", "secrets", operator, true),
        ("patch", "secrets", operator, true),
        ("delete", "secrets", operator, true),
        ("update", "secrets", operator, false),
        ("create", "events.events.k8s.io", "default", true),
        ("get", "secrets", "default", false),
        ("get", "secrets", "kube-system", false),
        ("list", "secrets", "kube-system", false),
        ("create", "events.events.k8s.io", "kube-system", false),
        (
            "escalate",
            "clusterroles.rbac.authorization.k8s.io",
            "",
            false,
        ),
    ] {
        let namespace = format!("--namespace={namespace}");
        let question = ["auth", "can-i", verb, resource, &account, &namespace];
        let output = world.try_kubectl(&question, "").await;
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            said.trim() == "yes",
            allowed,
            "{verb} {resource} {namespace}: {said}"
        );
    }
    let everywhere = ["auth", "can-i", "list", "secrets", &account, "-A"];
    let output = world.try_kubectl(&everywhere, "").await;
    assert_ne!(String::from_utf8(output.stdout).unwrap().trim(), "yes");
    // The operator's own question agrees.
    let check = std::process::Command::new(env!("CARGO_BIN_EXE_platform-token-operator"))
        .args(["check", "--watch-namespace", served])
        .env("KUBECONFIG", &world.plane.operator_kubeconfig)
        .output()
        .unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(check.status.success(), "{said}");
}
