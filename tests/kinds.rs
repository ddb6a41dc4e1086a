//! What the API server accepts, what it refuses and says, and what users see of the kinds.

use platform_token_operator::api::PlatformToken;
use platform_token_operator::sandbox::Config;
use serde_json::{Value, json};

use crate::support::World;

fn token(spec: &Value) -> Value {
    json!({
        "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformToken",
        "metadata": { "name": "t" }, "spec": spec,
    })
}

fn account(settings: &Value) -> Value {
    let mut spec = json!({ "credentialsSecretRef": { "name": "c" } });
    spec.as_object_mut()
        .unwrap()
        .extend(settings.as_object().unwrap().clone());
    json!({
        "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformAccount",
        "metadata": { "name": "a" }, "spec": spec,
    })
}

fn cluster_account(credentials: &Value) -> Value {
    json!({
        "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "ClusterPlatformAccount",
        "metadata": { "name": "a" }, "spec": { "credentialsSecretRef": credentials },
    })
}

fn selecting(selector: &Value) -> Value {
    let mut account = cluster_account(&json!({ "namespace": "n", "name": "c" }));
    account["spec"]["namespaceSelector"] = selector.clone();
    account
}

/// Asks the API server for a dry run of this manifest; what it says.
async fn apply(world: &World, manifest: &Value) -> (bool, String) {
    let arguments = [
        "apply",
        "--dry-run=server",
        "--validate=strict",
        "-n",
        &world.namespace,
        "-f",
        "-",
    ];
    let output = world.try_kubectl(&arguments, &manifest.to_string()).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn good_manifests_are_accepted() {
    let world = World::bare(Config::default()).await;
    for manifest in [
        token(&json!({})),
        token(&json!({ "secret": { "name": "a.b-c" } })),
        token(&json!({ "accountRef": { "name": "other" } })),
        token(&json!({ "deletionPolicy": "Orphan", "secret": { "deletionPolicy": "Retain" } })),
        token(&json!({ "adoptTokenID": "904c7220-39d4-4e44-a617-8c16905e4ea8" })),
        token(&json!({ "accountRef": { "kind": "PlatformAccount", "name": "team" } })),
        account(&json!({})),
        account(&json!({ "baseURL": "http://127.0.0.1:8081" })),
        account(&json!({ "baseURL": "http://[::1]:8081" })),
        account(&json!({ "baseURL": "https://platform.acedata.cloud" })),
        account(&json!({ "resyncInterval": "1h30m" })),
        account(&json!({ "resyncInterval": "10s" })),
        account(&json!({ "rateLimit": { "requestsPerSecond": 1, "burst": 1 }, "verify": false })),
        account(&json!({ "sweep": "Revoke", "revocationsPerMinute": 1 })),
        cluster_account(&json!({ "namespace": "n", "name": "c" })),
        selecting(&json!({})),
        selecting(&json!({ "matchLabels": { "team": "a", "example.com/stage": "" } })),
        selecting(&json!({ "matchExpressions": [
            { "key": "team", "operator": "In", "values": ["a", "b.c_d"] },
            { "key": "example.com/off", "operator": "DoesNotExist" },
        ] })),
    ] {
        let (accepted, said) = apply(&world, &manifest).await;
        assert!(accepted, "{manifest}: {said}");
    }
}

#[tokio::test]
async fn bad_tokens_are_refused_with_what_to_write_instead() {
    let world = World::bare(Config::default()).await;
    for (manifest, says) in [
        (
            token(&json!({ "secret": { "name": "Upper" } })),
            "write lower-case letters, digits, '-' and '.'",
        ),
        (
            token(&json!({ "secret": { "name": "" } })),
            "write lower-case letters",
        ),
        (
            token(&json!({ "accountRef": { "name": "" } })),
            "leave it out for `default`",
        ),
        (
            token(&json!({ "accountRef": { "name": "\u{1b}[31mred" } })),
            "accountRef.name is not a name that an account can have",
        ),
        (
            token(&json!({ "accountRef": { "namespace": "other", "name": "a" } })),
            "unknown field \"spec.accountRef.namespace\"",
        ),
        (
            token(&json!({ "accountRef": { "kind": "Account", "name": "a" } })),
            "supported values: \"PlatformAccount\"",
        ),
        (
            token(&json!({ "secretName": "s" })),
            "unknown field \"spec.secretName\"",
        ),
        (
            token(&json!({ "deletionPolicy": "Retain" })),
            "supported values: \"Delete\", \"Orphan\"",
        ),
        (
            token(&json!({ "secret": { "deletionPolicy": "Orphan" } })),
            "supported values: \"Delete\", \"Retain\"",
        ),
        (
            token(&json!({ "adoptTokenID": "../x" })),
            "write the id of an existing token of the account",
        ),
        (
            token(&json!({ "adoptTokenID": "" })),
            "write the id of an existing token of the account",
        ),
    ] {
        let (accepted, said) = apply(&world, &manifest).await;
        assert!(!accepted && said.contains(says), "{manifest}: {said}");
    }
}

#[tokio::test]
async fn bad_accounts_are_refused_with_what_to_write_instead() {
    let world = World::bare(Config::default()).await;
    for (manifest, says) in [
        (
            account(&json!({ "baseURL": "platform.acedata.cloud" })),
            "write for instance `https://platform.acedata.cloud`",
        ),
        (
            account(&json!({ "baseURL": "https://x/" })),
            "without a path",
        ),
        (
            account(&json!({ "baseURL": "https://x/api" })),
            "without a path",
        ),
        (
            account(&json!({ "baseURL": "https://user@x" })),
            "scheme and lower-case host alone",
        ),
        (
            account(&json!({ "baseURL": "ftp://x" })),
            "scheme and lower-case host alone",
        ),
        (
            account(&json!({ "resyncInterval": "9s" })),
            "from `10s` to `24h`",
        ),
        (
            account(&json!({ "resyncInterval": "25h" })),
            "from `10s` to `24h`",
        ),
        (
            account(&json!({ "resyncInterval": "soon" })),
            "resyncInterval",
        ),
        (
            account(&json!({ "resyncInterval": "-10m" })),
            "resyncInterval",
        ),
        (
            account(&json!({ "rateLimit": { "requestsPerSecond": 0 } })),
            "from 1 to 100000",
        ),
        (
            account(&json!({ "rateLimit": { "burst": 100_001 } })),
            "from 1 to 100000",
        ),
        (
            account(&json!({ "revocationsPerMinute": 0 })),
            "revocationsPerMinute is out of range; write a whole number from 1 to 100000",
        ),
        (
            account(&json!({ "sweep": "revoke" })),
            "supported values: \"Off\", \"Report\", \"Revoke\"",
        ),
        (
            account(&json!({ "credentialsSecretRef": { "name": "" } })),
            "the name of the Secret that holds the credential",
        ),
        (
            account(&json!({ "credentialsSecretRef": { "name": "../../other/secrets/c" } })),
            "credentialsSecretRef.name is not a name that a Secret can have",
        ),
        (
            account(&json!({ "credentialsSecretRef": { "name": "c?watch=true" } })),
            "credentialsSecretRef.name is not a name that a Secret can have",
        ),
        (
            account(&json!({ "credentialsSecretRef": { "name": "c", "key": "" } })),
            "credentialsSecretRef.key",
        ),
        (
            account(&json!({ "credentialsSecretRef": { "name": "c", "namespace": "n" } })),
            "unknown field",
        ),
        (
            cluster_account(&json!({ "name": "c" })),
            "credentialsSecretRef.namespace: Required value",
        ),
        (
            cluster_account(&json!({ "namespace": "", "name": "c" })),
            "the namespace of the Secret",
        ),
    ] {
        let (accepted, said) = apply(&world, &manifest).await;
        assert!(!accepted && said.contains(says), "{manifest}: {said}");
    }
}

#[tokio::test]
async fn bad_selectors_are_refused_with_what_to_write_instead() {
    let world = World::bare(Config::default()).await;
    for (manifest, says) in [
        (
            cluster_account(&json!({ "namespace": "../n", "name": "c" })),
            "is not a name that a namespace can have",
        ),
        (
            selecting(&json!({ "matchExpressions": [{ "key": "team", "operator": "In" }] })),
            "write at least one under values",
        ),
        (
            selecting(
                &json!({ "matchExpressions": [{ "key": "team", "operator": "NotIn", "values": [] }] }),
            ),
            "write at least one under values",
        ),
        (
            selecting(
                &json!({ "matchExpressions": [{ "key": "team", "operator": "Exists", "values": ["a"] }] }),
            ),
            "leave values out",
        ),
        (
            selecting(
                &json!({ "matchExpressions": [{ "key": "team", "operator": "Equals", "values": ["a"] }] }),
            ),
            "supported values: \"In\"",
        ),
        (
            selecting(&json!({ "matchExpressions": [{ "key": "a b", "operator": "Exists" }] })),
            "a key of namespaceSelector is not one that a label can have",
        ),
        (
            selecting(
                &json!({ "matchExpressions": [{ "key": "team", "operator": "In", "values": ["a b"] }] }),
            ),
            "a value of namespaceSelector is not one that a label can have",
        ),
        (
            selecting(&json!({ "matchLabels": { "a/b/c": "a" } })),
            "a key of namespaceSelector is not one that a label can have",
        ),
        (
            selecting(&json!({ "matchLabels": { "team": "-a" } })),
            "a value of namespaceSelector is not one that a label can have",
        ),
        (
            selecting(&json!({ "matchLabel": { "team": "a" } })),
            "unknown field",
        ),
    ] {
        let (accepted, said) = apply(&world, &manifest).await;
        assert!(!accepted && said.contains(says), "{manifest}: {said}");
    }
}

/// Patches the spec of a PlatformToken; what is said if it is refused.
async fn refusal(world: &World, name: &str, spec: &Value) -> Option<String> {
    let patch = json!({ "spec": spec }).to_string();
    let namespace = world.namespace.as_str();
    let arguments = [
        "patch",
        "ptok",
        name,
        "-n",
        namespace,
        "--type=merge",
        "-p",
        &patch,
    ];
    let output = world.try_kubectl(&arguments, "").await;
    let said = String::from_utf8(output.stderr).unwrap();
    (!output.status.success()).then_some(said)
}

#[tokio::test]
async fn the_token_that_is_adopted_can_be_left_out_later_and_neither_added_nor_changed() {
    let world = World::bare(Config::default()).await;
    world
        .token("adopting", json!({ "adoptTokenID": "a" }))
        .await;
    world.token("minting", json!({})).await;
    let says = "create one that adopts the other token";
    for (name, id) in [("adopting", json!("b")), ("minting", json!("a"))] {
        let said = refusal(&world, name, &json!({ "adoptTokenID": id })).await;
        assert!(
            said.as_ref().is_some_and(|said| said.contains(says)),
            "{said:?}"
        );
    }
    for (name, spec) in [
        ("adopting", json!({ "adoptTokenID": "a" })),
        ("adopting", json!({ "adoptTokenID": null })),
        ("minting", json!({ "deletionPolicy": "Orphan" })),
        ("minting", json!({ "deletionPolicy": "Delete" })),
    ] {
        assert_eq!(refusal(&world, name, &spec).await, None, "{spec}");
    }
    let said = refusal(&world, "adopting", &json!({ "adoptTokenID": "b" })).await;
    assert!(
        said.is_some_and(|said| said.contains(says)),
        "nor after that"
    );
}

#[tokio::test]
async fn the_account_of_a_token_cannot_be_changed() {
    let world = World::bare(Config::default()).await;
    world.token("fixed", json!({})).await;
    let patch = json!({ "spec": { "accountRef": { "name": "other" } } }).to_string();
    let arguments = [
        "patch",
        "ptok",
        "fixed",
        "-n",
        &world.namespace,
        "--type=merge",
        "-p",
        &patch,
    ];
    let output = world.try_kubectl(&arguments, "").await;
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && said.contains("create one that names the other account"),
        "{said}"
    );
}

#[tokio::test]
async fn kubectl_shows_what_matters() {
    let world = World::new().await;
    world.ready_token("shown").await;
    let namespace = world.namespace.as_str();
    let table = world
        .kubectl(&["get", "platformtokens", "-n", namespace])
        .await;
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(
        lines.next().unwrap(),
        ["NAME", "READY", "REASON", "ACCOUNT", "SECRET", "AGE"]
    );
    assert_eq!(
        lines.next().unwrap()[..5],
        ["shown", "True", "Issued", "main", "shown"]
    );
    let wide = world
        .kubectl(&["get", "ptok", "-n", namespace, "-o", "wide"])
        .await;
    assert!(
        wide.contains(world.live()[0].id.as_str()) && wide.contains("the token is in Secret shown"),
        "{wide}"
    );
    let accounts = world.kubectl(&["get", "pacc", "-n", namespace]).await;
    assert!(
        accounts.contains("Proven") && accounts.contains("current"),
        "{accounts}"
    );
    let all = world.kubectl(&["get", "acedata", "-n", namespace]).await;
    assert!(
        all.contains("platformtoken.platform.acedata.cloud/shown"),
        "{all}"
    );

    let selector = "--field-selector=spec.accountRef.name=main,status.secretName=shown";
    let selected = world
        .kubectl(&["get", "ptok", "-n", namespace, "-o=name", selector])
        .await;
    assert!(selected.contains("shown"), "{selected}");
}

#[tokio::test]
async fn explain_reads_well() {
    let world = World::bare(Config::default()).await;
    let spec = world.kubectl(&["explain", "platformtoken.spec"]).await;
    for text in [
        "accountRef",
        "cannot be changed",
        "secret",
        "The Secret that the token is written to",
    ] {
        assert!(spec.contains(text), "{text}: {spec}");
    }
    let account = world
        .kubectl(&["explain", "clusterplatformaccount.spec", "--recursive"])
        .await;
    for text in [
        "baseURL",
        "credentialsSecretRef",
        "rateLimit",
        "requestsPerSecond",
        "resyncInterval",
        "sweep",
        "revocationsPerMinute",
        "verify",
    ] {
        assert!(account.contains(text), "{text}: {account}");
    }
}

#[tokio::test]
async fn an_object_that_does_not_read_says_so_and_stops_nobody_else() {
    let world = World::new().await;
    world.ready_token("odd").await;
    let nonsense = json!({ "status": { "tokenID": "not an id" } }).to_string();
    let namespace = world.namespace.clone();
    let patch = [
        "patch",
        "ptok",
        "odd",
        "-n",
        &namespace,
        "--type=merge",
        "--subresource=status",
        "-p",
        &nonsense,
    ];
    world.kubectl(&patch).await;
    world
        .kubectl(&["annotate", "ptok", "odd", "-n", &namespace, "look=again"])
        .await;
    let query = "-o=jsonpath={.status.conditions[?(@.type==\"Stalled\")].message}";
    crate::support::eventually("the object says that it does not read", || async {
        let said = world
            .kubectl(&["get", "ptok", "odd", "-n", &namespace, query])
            .await;
        said.contains("cannot be read").then_some(())
    })
    .await;
    world.ready_token("another").await;
    let mended = json!({ "status": { "tokenID": world.live()[0].id } }).to_string();
    world
        .kubectl(&[
            "patch",
            "ptok",
            "odd",
            "-n",
            &namespace,
            "--type=merge",
            "--subresource=status",
            "-p",
            &mended,
        ])
        .await;
    world
        .kubectl(&[
            "annotate",
            "ptok",
            "odd",
            "-n",
            &namespace,
            "look=once-more",
            "--overwrite",
        ])
        .await;
    world.until_ready("odd").await;
    world.delete::<PlatformToken>("odd").await;
    world.until_gone::<PlatformToken>("odd").await;
    assert_eq!(world.minted(), 2);
}
