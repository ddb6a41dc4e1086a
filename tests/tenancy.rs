//! What a tenant tries who may write PlatformTokens, PlatformAccounts and Secrets in a namespace of his own, and what
//! comes of it: his neighbour's tokens live on, and nothing is minted, sent or shown that is not his.
//!
//! More of it: `bad_input` (Secrets of others, copies), `deletion` (ids of others), `accounts` (platforms that are not
//! allowed), `client::requests` (redirects).

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{Api, ResourceExt};
use platform_token_operator::api::{
    ClusterPlatformAccount, PlatformAccount, PlatformToken, TokenValue, UserId, names,
};
use platform_token_operator::sandbox::{Account, Config, Fault, Match, Route, Rule, Verb, When};
use serde_json::{Value, json};

use crate::support::{World, condition, eventually, is_ready, operator_log, value};

/// A ClusterPlatformAccount on the world's platform that serves namespaces with the label `team` of this value.
async fn selecting(world: &World, team: &str) -> String {
    let name = format!("{}-shared", world.namespace);
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    let account = json!({
        "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "ClusterPlatformAccount",
        "metadata": { "name": name },
        "spec": {
            "baseURL": world.base_url,
            "credentialsSecretRef": { "namespace": world.namespace, "name": "credentials" },
            "namespaceSelector": { "matchLabels": { "team": team } },
        },
    });
    apply(world, &account).await;
    name
}

async fn apply(world: &World, manifest: &Value) {
    let output = world
        .try_kubectl(
            &["apply", "-n", &world.namespace, "-f", "-"],
            &manifest.to_string(),
        )
        .await;
    assert!(output.status.success(), "{output:?}");
}

async fn label(world: &World, label: &str) {
    world
        .kubectl(&["label", "namespace", &world.namespace, "--overwrite", label])
        .await;
}

async fn token_of(world: &World, name: &str, account: &str) {
    let account = json!({ "kind": "ClusterPlatformAccount", "name": account });
    world.token(name, json!({ "accountRef": account })).await;
}

/// How often a PlatformToken was refused, as the log tells.
fn looks_in_vain(world: &World, name: &str) -> usize {
    let needle = format!("namespace=\"{}\" name=\"{name}\"", world.namespace);
    let log = operator_log();
    let lines = log.lines().filter(|line| line.contains(&needle));
    lines
        .filter(|line| line.contains("NamespaceNotAdmitted"))
        .count()
}

fn id_of(token: &PlatformToken) -> String {
    let status = token.status.as_ref().unwrap();
    status.token_id.as_ref().unwrap().to_string()
}

fn lives(world: &World, id: &str) -> bool {
    world.live().iter().any(|token| token.id.as_str() == id)
}

/// Whether nobody has ever called this listener.
async fn is_untouched(listener: &tokio::net::TcpListener) -> bool {
    tokio::select! {
        biased;
        _ = listener.accept() => false,
        () = std::future::ready(()) => true,
    }
}

#[tokio::test]
async fn only_a_selected_namespace_gets_new_tokens_and_relabelling_takes_none_away() {
    let world = World::bare(Config::default()).await;
    let account = selecting(&world, "a").await;
    token_of(&world, "first", &account).await;
    let message = world.until_trouble("first", "NamespaceNotAdmitted").await;
    let namespace = &world.namespace;
    let says = format!(
        "ClusterPlatformAccount {account} gives no new token to namespace {namespace}: its label team is missing and \
         has to be \"a\"; have the namespace labelled so"
    );
    assert!(message.starts_with(&says), "{message}");
    let token = world.api::<PlatformToken>().get("first").await.unwrap();
    assert!(condition(&token, "Stalled").is_some());
    assert_eq!(token.finalizers(), [] as [&str; 0], "it goes at once");
    assert_eq!(world.minted(), 0);

    label(&world, "team=a").await;
    let first = id_of(&world.until_ready("first").await);
    label(&world, "team=b").await;
    token_of(&world, "second", &account).await;
    let message = world.until_trouble("second", "NamespaceNotAdmitted").await;
    assert!(
        message.contains("team is \"b\" and has to be \"a\""),
        "{message}"
    );

    // What was issued is kept, repaired and revoked as before.
    world.delete::<Secret>("first").await;
    let repaired = |(_, reason, _): &(String, String, String)| reason == "Repaired";
    eventually("the Secret is repaired", || async {
        world
            .events("first")
            .await
            .iter()
            .any(repaired)
            .then_some(())
    })
    .await;
    assert_eq!(id_of(&world.until_ready("first").await), first);
    assert_eq!(world.minted(), 1);
    world.delete::<PlatformToken>("first").await;
    world.until_gone::<PlatformToken>("first").await;
    assert!(world.live().is_empty());
    world.delete::<PlatformToken>("second").await;
    world.until_gone::<PlatformToken>("second").await;
    assert_eq!(world.minted(), 1);
    world
        .kubectl(&["delete", "clusterplatformaccount", &account])
        .await;
}

#[tokio::test]
async fn a_selector_that_is_narrowed_or_widened_counts_from_then_on() {
    let world = World::bare(Config::default()).await;
    label(&world, "team=a").await;
    let account = selecting(&world, "a").await;
    token_of(&world, "first", &account).await;
    world.until_ready("first").await;
    let selector = |selector: Value| {
        let patch = json!({ "spec": { "namespaceSelector": selector } }).to_string();
        let (world, account) = (&world, &account);
        async move {
            let what = [
                "patch",
                "clusterplatformaccount",
                account,
                "--type=merge",
                "-p",
                &patch,
            ];
            world.kubectl(&what).await;
        }
    };
    let off = json!([{ "key": "team", "operator": "NotIn", "values": ["a"] }]);
    selector(json!({ "matchLabels": null, "matchExpressions": off })).await;
    token_of(&world, "second", &account).await;
    let message = world.until_trouble("second", "NamespaceNotAdmitted").await;
    assert!(
        message.contains("team is \"a\" and must not be"),
        "{message}"
    );
    let first = world.api::<PlatformToken>().get("first").await.unwrap();
    assert!(is_ready(&first));
    assert_eq!(world.minted(), 1);
    selector(json!({ "matchExpressions": null })).await;
    world.until_ready("second").await;
    for name in ["first", "second"] {
        world.delete::<PlatformToken>(name).await;
        world.until_gone::<PlatformToken>(name).await;
    }
    world
        .kubectl(&["delete", "clusterplatformaccount", &account])
        .await;
}

#[tokio::test]
async fn a_label_wakes_a_token_that_has_backed_off_at_once() {
    let world = World::bare(Config::default()).await;
    let account = selecting(&world, "a").await;
    token_of(&world, "sleepy", &account).await;
    world.until_trouble("sleepy", "NamespaceNotAdmitted").await;
    // Each look in vain doubles the wait: after seven of them it is a minute or more.
    let looks = || looks_in_vain(&world, "sleepy");
    for n in 0..7 {
        let before = looks();
        let poke = json!({ "metadata": { "annotations": { "poke": n.to_string() } } });
        world.patch::<PlatformToken>("sleepy", poke).await;
        eventually("it is looked at", || async {
            (looks() > before).then_some(())
        })
        .await;
    }
    label(&world, "team=a").await;
    let ready = tokio::time::timeout(Duration::from_secs(15), world.until_ready("sleepy"));
    ready.await.expect("the label wakes it");
    world.delete::<PlatformToken>("sleepy").await;
    world.until_gone::<PlatformToken>("sleepy").await;
    world
        .kubectl(&["delete", "clusterplatformaccount", &account])
        .await;
}

#[tokio::test]
async fn a_refused_namespace_learns_nothing_of_the_account() {
    let world = World::bare(Config::default()).await;
    let account = selecting(&world, "a").await;
    world.delete::<Secret>("credentials").await;
    let accounts: Api<ClusterPlatformAccount> = Api::all(world.client.clone());
    eventually("the account is in trouble", || async {
        let status = accounts.get(&account).await.unwrap().status?;
        let ready = status.conditions.into_iter().find(|c| c.type_ == "Ready")?;
        (ready.reason == "CredentialsMissing").then_some(())
    })
    .await;
    let tenant = world.neighbour().await;
    token_of(&tenant, "curious", &account).await;
    let message = tenant
        .until_trouble("curious", "NamespaceNotAdmitted")
        .await;
    for secret in [&world.base_url, &world.namespace, "credentials"] {
        assert!(!message.replace(&account, "").contains(secret), "{message}");
    }
    // Nor does an attempt lead there that it writes itself.
    let curious = tenant.api::<PlatformToken>().get("curious").await.unwrap();
    let namespaces: Api<Namespace> = Api::all(tenant.client.clone());
    let cluster = namespaces.get("kube-system").await.unwrap().uid().unwrap();
    let owner = [
        &cluster,
        &tenant.namespace,
        "curious",
        &curious.uid().unwrap(),
    ]
    .join("/");
    let forged = json!({
        "number": 1, "id": "forged", "openedAt": "2026-01-01T00:00:00Z", "dialect": "current",
        "owner": owner, "account": { "baseURL": world.base_url },
    });
    let edited = json!({ "metadata": { "annotations": { names::ATTEMPT: forged.to_string() } } });
    tenant.patch::<PlatformToken>("curious", edited).await;
    eventually("the attempt is believed", || async {
        let curious = tenant.api::<PlatformToken>().get("curious").await.unwrap();
        (!curious.finalizers().is_empty()).then_some(())
    })
    .await;
    let refusals = looks_in_vain(&tenant, "curious");
    eventually("and refused", || async {
        (looks_in_vain(&tenant, "curious") > refusals).then_some(())
    })
    .await;
    let same = tenant
        .until_trouble("curious", "NamespaceNotAdmitted")
        .await;
    assert_eq!(same, message);
    world
        .kubectl(&["delete", "clusterplatformaccount", &account])
        .await;
}

#[tokio::test]
async fn a_namespaced_account_and_its_credentials_serve_their_own_namespace_only() {
    let owner = World::new().await;
    owner.ready_token("mine").await;
    let tenant = owner.neighbour().await;
    tenant.token("theirs", json!({})).await;
    let message = tenant.until_trouble("theirs", "AccountNotFound").await;
    let no_such = format!("there is no PlatformAccount {}/main", tenant.namespace);
    assert!(message.starts_with(&no_such), "{message}");

    // An account of the same name, on a Secret that only the neighbour has.
    tenant.account("main", json!({})).await;
    let message = tenant.until_account("main", "CredentialsMissing").await;
    let no_such = format!(
        "there is no Secret credentials in namespace {}",
        tenant.namespace
    );
    assert!(message.starts_with(&no_such), "{message}");
    tenant.until_trouble("theirs", "CredentialsMissing").await;
    assert_eq!(owner.minted(), 1);
}

#[tokio::test]
async fn a_foreign_secret_is_neither_taken_nor_touched_when_a_token_is_moved_to_it() {
    let world = World::new().await;
    let token = world.ready_token("mover").await;
    let stranger = world
        .platform
        .with(|sandbox, now| sandbox.model.stranger(&world.user, vec![], now).unwrap());
    // It looks like one of ours, and holds a value that would work.
    let bait = json!({
        "metadata": { "name": "bait", "labels": { names::MANAGED_LABEL: "true" } },
        "stringData": { "token": world.admin_credential() },
    });
    let before = world.create::<Secret>(bait).await;
    world
        .patch::<PlatformToken>("mover", json!({ "spec": { "secret": { "name": "bait" } } }))
        .await;
    world.until_trouble("mover", "SecretNotWritable").await;
    assert_eq!(world.secret("bait").await.unwrap(), before);
    assert!(
        world.secret("mover").await.is_some(),
        "the token is where it was"
    );
    world.delete::<PlatformToken>("mover").await;
    world.until_gone::<PlatformToken>("mover").await;
    assert_eq!(world.secret("bait").await.unwrap(), before);
    assert!(!lives(&world, &id_of(&token)) && lives(&world, stranger.id.as_str()));
    assert_eq!(world.answers(&world.admin_credential()).await, 200);
    assert_eq!(world.minted(), 1);
}

#[tokio::test]
async fn no_spelling_of_a_base_url_sends_a_credential_elsewhere() {
    let world = World::bare(Config::default()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    for (n, base_url) in [
        format!("http://127.0.0.1:{port}"),
        format!("http://127.1:{port}"),
        format!("http://2130706433:{port}"),
        format!("http://0x7f000001:{port}"),
        format!("http://0177.0.0.1:{port}"),
        format!("http://localhost:{port}"),
        format!("http://[::ffff:127.0.0.1]:{port}"),
        format!("http://[::ffff:7f00:1]:{port}"),
        format!("https://127.0.0.1:{port}"),
        "http://kubernetes.default.svc".to_owned(),
        "https://kubernetes.default.svc:443".to_owned(),
        "http://169.254.169.254".to_owned(),
        "http://[fe80::1]".to_owned(),
        "https://platform.acedata.cloud:8443".to_owned(),
        "http://platform.acedata.cloud".to_owned(),
        "https://platform.acedata.cloud.evil".to_owned(),
        "https://xn--80ak6aa92e.com".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let name = format!("account-{n}");
        world.account(&name, json!({ "baseURL": base_url })).await;
        let message = world.until_account(&name, "BaseURLNotAllowed").await;
        assert!(message.contains(base_url.as_str()), "{message}");
    }
    // These are no base URLs at all.
    for base_url in [
        format!("{}@127.0.0.1:{port}", world.base_url),
        format!("https://platform.acedata.cloud@127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}#{}", world.base_url),
        format!("http://127.0.0.1:{port}?{}", world.base_url),
        format!("http://127.0.0.1:{port}\\@platform.acedata.cloud"),
        format!("HTTP://127.0.0.1:{port}"),
        "https://Platform.acedata.cloud".to_owned(),
        "https://platform.acedata.cloud.".to_owned(),
        "https://platform.acedata.cloud/".to_owned(),
        "https://ⓟlatform.acedata.cloud".to_owned(),
        "https://platform.acedata.cloud\n".to_owned(),
        "file:///etc/passwd".to_owned(),
        String::new(),
    ] {
        let account = json!({
            "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformAccount",
            "metadata": { "name": "bad" },
            "spec": { "baseURL": base_url, "credentialsSecretRef": { "name": "credentials" } },
        });
        let output = world
            .try_kubectl(
                &["apply", "-n", &world.namespace, "-f", "-"],
                &account.to_string(),
            )
            .await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{base_url:?}");
        assert!(
            said.contains("baseURL is scheme and lower-case host alone"),
            "{said}"
        );
    }
    assert!(is_untouched(&listener).await);
}

#[tokio::test]
async fn a_forged_platform_on_a_secret_gets_no_token() {
    let world = World::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("http://{}", listener.local_addr().unwrap());
    world.ready_token("lured").await;
    let forged = json!({ "metadata": { "annotations": { names::BASE_URL: elsewhere } } });
    world.patch::<Secret>("lured", forged).await;
    eventually("the record is written anew", || async {
        let secret = world.secret("lured").await?;
        (secret.annotations()[names::BASE_URL] == world.base_url).then_some(())
    })
    .await;
    world.until_ready("lured").await;
    world.delete::<PlatformToken>("lured").await;
    world.until_gone::<PlatformToken>("lured").await;
    assert!(world.live().is_empty());
    assert!(is_untouched(&listener).await);
}

#[tokio::test]
async fn an_attempt_that_is_edited_to_give_up_a_neighbours_token_leaves_it_alone() {
    let neighbour = World::new().await;
    let theirs = id_of(&neighbour.ready_token("theirs").await);
    let tenant = neighbour.neighbour().await;
    tenant
        .credentials("credentials", &tenant.admin_credential())
        .await;
    tenant.account("main", json!({})).await;
    let forger = tenant.ready_token("forger").await;
    let mut attempt: Value = serde_json::from_str(&forger.annotations()[names::ATTEMPT]).unwrap();
    attempt["givenUp"] = json!([theirs]);
    let edited = json!({ "metadata": { "annotations": { names::ATTEMPT: attempt.to_string() } } });
    tenant.patch::<PlatformToken>("forger", edited).await;
    // Nothing has to be done for a Ready token whose Secret has not changed: any edit of it shows the record.
    tenant
        .patch::<Secret>(
            "forger",
            json!({ "metadata": { "labels": { "look": "again" } } }),
        )
        .await;
    let not_ours = |(_, reason, note): &(String, String, String)| {
        reason == "NotOurs" && note.contains(&theirs)
    };
    eventually("the forged id is told of", || async {
        tenant
            .events("forger")
            .await
            .iter()
            .any(not_ours)
            .then_some(())
    })
    .await;
    tenant.delete::<PlatformToken>("forger").await;
    tenant.until_gone::<PlatformToken>("forger").await;
    assert!(lives(&neighbour, &theirs));
    assert_eq!((neighbour.minted(), neighbour.live().len()), (2, 1));
}

#[tokio::test]
async fn a_forged_secret_that_names_a_neighbours_token_revokes_nothing() {
    let neighbour = World::new().await;
    let theirs = id_of(&neighbour.ready_token("theirs").await);
    let tenant = neighbour.neighbour().await;
    // The PlatformToken waits for its account, so that nothing has a status yet.
    let forger = tenant.token("forger", json!({})).await;
    tenant.until_trouble("forger", "AccountNotFound").await;
    let own = neighbour.secret("theirs").await.unwrap();
    let cluster = own.annotations()[names::OWNER]
        .split('/')
        .next()
        .unwrap()
        .to_owned();
    let uid = forger.uid().unwrap();
    let made_up = TokenValue::parse(&format!("platform-v1-{}", "0".repeat(64))).unwrap();
    let secret = json!({
        "metadata": {
            "name": "forger",
            "labels": { names::MANAGED_LABEL: "true" },
            "annotations": {
                names::OWNER: format!("{cluster}/{}/forger/{uid}", tenant.namespace),
                names::SECRET: "forger",
                names::ATTEMPT: "7/forged",
                names::TOKEN_ID: theirs,
                names::TOKEN_HASH: made_up.hash().as_str(),
                names::BASE_URL: tenant.base_url,
                names::USER_ID: tenant.user.as_str(),
                names::ISSUED_AT: "2026-01-01T00:00:00Z",
            },
        },
        "stringData": { "token": made_up.expose(), "ACEDATACLOUD_PLATFORM_TOKEN": made_up.expose() },
    });
    tenant.create::<Secret>(secret).await;
    tenant
        .credentials("credentials", &tenant.admin_credential())
        .await;
    tenant.account("main", json!({})).await;
    tenant.until_trouble("forger", "VerificationFailed").await;
    tenant.delete::<PlatformToken>("forger").await;
    tenant.until_gone::<PlatformToken>("forger").await;
    assert!(lives(&neighbour, &theirs));
    assert_eq!(neighbour.minted(), 1);
}

#[tokio::test]
async fn an_attempt_that_is_copied_from_a_living_neighbour_is_nobodys() {
    let neighbour = World::new().await;
    let original = neighbour.ready_token("same").await;
    let tenant = neighbour.neighbour().await;
    tenant
        .credentials("credentials", &tenant.admin_credential())
        .await;
    tenant.account("main", json!({})).await;
    let mut copy = serde_json::to_value(&original).unwrap();
    copy["metadata"] = json!({ "name": "same", "annotations": original.annotations() });
    tenant.create::<PlatformToken>(copy).await;
    let copy = tenant.until_ready("same").await;
    assert_ne!(id_of(&copy), id_of(&original));
    tenant.delete::<PlatformToken>("same").await;
    tenant.until_gone::<PlatformToken>("same").await;
    assert!(lives(&neighbour, &id_of(&original)));
    assert_eq!((neighbour.minted(), neighbour.live().len()), (2, 1));
}

#[tokio::test]
async fn marks_of_other_tools_stay_where_they_are() {
    let world = World::new().await;
    let labels = json!({
        "app.kubernetes.io/instance": "shop", "app.kubernetes.io/managed-by": "Helm",
        "kustomize.toolkit.fluxcd.io/name": "apps", "helm.toolkit.fluxcd.io/name": "shop",
    });
    let annotations = json!({
        "argocd.argoproj.io/tracking-id": "shop:platform.acedata.cloud/PlatformToken:ns/tracked",
        "argocd.argoproj.io/sync-wave": "1", "meta.helm.sh/release-name": "shop",
        "kustomize.toolkit.fluxcd.io/prune": "enabled",
    });
    let token = json!({
        "apiVersion": "platform.acedata.cloud/v1alpha1", "kind": "PlatformToken",
        "metadata": { "name": "tracked", "labels": labels, "annotations": annotations },
        "spec": { "accountRef": { "kind": "PlatformAccount", "name": "main" } },
    });
    world.create::<PlatformToken>(token).await;
    world.until_ready("tracked").await;
    let secret = world.secret("tracked").await.unwrap();
    let labels: Vec<&str> = secret.labels().keys().map(String::as_str).collect();
    assert_eq!(labels, [names::MANAGED_BY_LABEL, names::MANAGED_LABEL]);
    assert_eq!(secret.labels()[names::MANAGED_BY_LABEL], names::OPERATOR);
    let foreign = |key: &&String| !key.starts_with(names::GROUP);
    assert_eq!(secret.annotations().keys().find(foreign), None);

    // What a user puts on the Secret is the user's, also when the rest is repaired.
    let mut edit = crate::support::no_value();
    edit["metadata"] = json!({
        "labels": { "team": "shop" }, "annotations": { "reloader": "auto", names::TOKEN_ID: "x" },
    });
    edit["data"]["token"] = json!(secret.data.as_ref().unwrap()["token"]);
    world.patch::<Secret>("tracked", edit).await;
    let repaired = eventually("the Secret is repaired", || async {
        let now = world.secret("tracked").await?;
        (now.data == secret.data && now.annotations()[names::TOKEN_ID] != "x").then_some(now)
    })
    .await;
    assert_eq!(repaired.labels()["team"], "shop");
    assert_eq!(repaired.annotations()["reloader"], "auto");
}

/// What would turn a terminal red, forge a line of a log, and fill a screen.
const HOSTILE: &str = "\u{1b}[31mred\u{7}\r\n2026-01-01T00:00:00Z ERROR forged\u{9b}2J";

fn is_printable(text: &str) -> bool {
    !text.chars().any(char::is_control)
}

#[tokio::test]
async fn what_others_write_reaches_nobodys_terminal_as_it_is() {
    let mut config = Config::default();
    config.accounts[0] = Account {
        username: format!("{HOSTILE}{}", "long ".repeat(1000)),
        ..config.accounts[0].clone()
    };
    let world = World::with(config).await;
    let message = world.until_account("main", "Proven").await;
    let account = world.api::<PlatformAccount>().get("main").await.unwrap();
    let username = account.status.unwrap().username.unwrap();
    for text in [&message, &username] {
        assert!(is_printable(text) && text.len() < 1024, "{text:?}");
    }
    let detail = json!({ "detail": format!("{HOSTILE}{}", "long ".repeat(1000)) }).to_string();
    let refusal = Fault::Garbage {
        when: When::Before,
        status: 400,
        text: detail,
    };
    let post = Match::on(Verb::Post, Route::Tokens);
    world.platform.script(vec![Rule::always(post, refusal)]);
    world.token("refused", json!({})).await;
    let message = world.until_trouble("refused", "Refused").await;
    assert!(message.contains("ERROR forged"), "it is shown: {message}");
    assert!(
        is_printable(&message) && message.len() <= 1024,
        "{message:?}"
    );
    let event = eventually("an event tells of it", || async {
        let events = world.events("refused").await;
        events
            .into_iter()
            .find(|(_, reason, _)| reason == "Refused")
    })
    .await;
    assert!(is_printable(&event.2) && event.2.len() <= 1024, "{event:?}");
    // The names of a key and of an account are the tenant's own words as well.
    let key = json!({ "credentialsSecretRef": { "name": "credentials", "key": HOSTILE } });
    world.account("odd", key).await;
    let message = world.until_account("odd", "CredentialsKeyMissing").await;
    assert!(is_printable(&message), "{message:?}");

    let log = operator_log();
    assert!(log.contains(&world.namespace) && log.contains("ERROR forged"));
    for line in log.lines() {
        assert!(is_printable(line), "{line:?}");
        assert!(
            !line.starts_with("2026-01-01T00:00:00Z ERROR forged"),
            "{line:?}"
        );
    }
}

#[tokio::test]
async fn a_token_that_is_the_credential_of_another_account_outlives_its_platformtoken() {
    let world = World::new().await;
    world.ready_token("root").await;
    let credential = value(&world.secret("root").await.unwrap(), "token");
    world.credentials("derived", &credential).await;
    world
        .account(
            "second",
            json!({ "credentialsSecretRef": { "name": "derived" } }),
        )
        .await;
    world.until_account("second", "Proven").await;
    world
        .token(
            "leaf",
            json!({ "accountRef": { "kind": "PlatformAccount", "name": "second" } }),
        )
        .await;
    world.until_ready("leaf").await;
    world.delete::<PlatformToken>("root").await;
    world.until_gone::<PlatformToken>("root").await;
    assert_eq!(world.answers(&credential).await, 200);
    world.delete::<PlatformToken>("leaf").await;
    world.until_gone::<PlatformToken>("leaf").await;
    assert_eq!(world.live().len(), 1, "the credential alone");
}

#[tokio::test]
async fn an_exclusive_account_of_a_tenant_spares_what_a_neighbour_on_the_same_user_holds() {
    let neighbour = World::new().await;
    let tenant = neighbour.neighbour().await;
    tenant
        .credentials("credentials", &tenant.admin_credential())
        .await;
    tenant
        .account(
            "main",
            json!({ "exclusive": true, "resyncInterval": "10s" }),
        )
        .await;
    tenant.until_account("main", "Proven").await;
    // Made after the baseline, and never used but by its own proof.
    let theirs = id_of(&neighbour.ready_token("theirs").await);
    let managed = |account: PlatformAccount| account.status?.tokens.map(|tokens| tokens.managed);
    let accounts = tenant.api::<PlatformAccount>();
    eventually("a stock counts it as named", || async {
        let account = accounts.get("main").await.unwrap();
        (managed(account) == Some(1)).then_some(())
    })
    .await;
    assert!(lives(&neighbour, &theirs));
    let events = tenant.events("main").await;
    let revoked = |(_, reason, _): &(String, String, String)| reason == "Revoked";
    assert!(!events.iter().any(revoked), "{events:?}");
}

#[tokio::test]
async fn tenants_on_accounts_of_their_own_cannot_reach_each_other() {
    let config = Config {
        accounts: ["alice", "bob"]
            .map(|user| Account::named(UserId::parse(user).unwrap()))
            .into(),
        ..Config::default()
    };
    let alice = World::with(config).await;
    alice.ready_token("hers").await;
    let hers = value(&alice.secret("hers").await.unwrap(), "token");
    let mut bob = alice.neighbour().await;
    bob.user = UserId::parse("bob").unwrap();
    bob.credentials("credentials", &bob.admin_credential())
        .await;
    bob.account(
        "main",
        json!({ "exclusive": true, "resyncInterval": "10s" }),
    )
    .await;
    let his = id_of(&bob.ready_token("his").await);
    // His token does whatever it can: it sees his own account alone, and cannot delete hers.
    let token = value(&bob.secret("his").await.unwrap(), "token");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let id = id_of(&alice.api::<PlatformToken>().get("hers").await.unwrap());
    let url = format!("{}/api/v1/platform-tokens/{id}/", alice.base_url);
    let answer = client
        .delete(url)
        .bearer_auth(&token)
        .header("accept", "application/json")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 403);
    assert_eq!(alice.answers(&hers).await, 200);
    assert!(lives(&alice, &id) && lives(&alice, &his));
}
