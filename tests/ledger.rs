//! No deletion waits for a platform that does not answer: what is owed is in the ledger, and is paid when it can be.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use platform_token_operator::api::{
    Dialect, Entry, NamedToken, OwedToken, Owner, PlatformAccount, PlatformToken, TokenId, names,
};
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Shape, Verb, When};
use serde_json::json;

use crate::support::{World, eventually, no_value, plane, value};

/// How long `kubectl delete` of one PlatformToken may take, whatever the platform does: 15 s, and more where other tests
/// use the same two cores.
const PROMISED: Duration = Duration::from_secs(20);

/// As many deletions at once as are twice the slots of an account.
const MANY: usize = 64;

/// The operator's own namespace.
const OWN: &str = "platform-token-operator";

fn ledger(world: &World) -> Api<Secret> {
    Api::namespaced(world.client.clone(), OWN)
}

/// The entries about the platform of this world, and whether each has a value.
async fn entries(world: &World) -> Vec<(Entry, bool)> {
    let scope = ListParams::default().labels(names::LEDGER_LABEL);
    let secrets = ledger(world).list(&scope).await.unwrap();
    // Another test has one that does not read.
    let entries = secrets.items.into_iter().filter_map(|secret| {
        let entry = Entry::parse(&secret.metadata).ok()?;
        Some((entry, secret.data.is_some()))
    });
    let here = entries.filter(|(entry, _)| entry.account().0 == world.base_url);
    here.collect()
}

/// Everything goes wrong like this.
fn always(fault: Fault) -> Vec<Rule> {
    vec![Rule::always(Match::default(), fault)]
}

fn unavailable() -> Fault {
    Fault::Status {
        when: When::Before,
        status: 500,
        body: Shape::Html,
        retry_after: None,
    }
}

fn hangs() -> Fault {
    Fault::Hang { when: When::Before }
}

fn refused() -> Fault {
    Fault::Reset { when: When::Before }
}

/// Deletes a PlatformToken, which has to be gone in time.
async fn delete_in_time(world: &World, name: &str) {
    world.delete::<PlatformToken>(name).await;
    let gone = world.until_gone::<PlatformToken>(name);
    let gone = tokio::time::timeout(PROMISED, gone).await;
    gone.unwrap_or_else(|_| panic!("{name} is not gone after {PROMISED:?}"));
}

/// The platform is well again: what is owed is paid, and struck.
async fn until_paid(world: &World) {
    world.platform.script(vec![]);
    eventually("the ledger is empty", || async {
        entries(world).await.is_empty().then_some(())
    })
    .await;
    assert_eq!(world.live().len(), 0);
}

#[tokio::test]
async fn no_deletion_waits_for_a_platform_that_is_down_hangs_or_fails() {
    for (fault, dialect) in [
        (refused(), Dialect::Current),
        (hangs(), Dialect::Current),
        (unavailable(), Dialect::Current),
        (hangs(), Dialect::Documented),
    ] {
        let world = World::with(Config {
            dialect,
            ..Config::default()
        })
        .await;
        world.ready_token("one").await;
        let secret = world.secret("one").await.unwrap();
        world.platform.script(always(fault));
        delete_in_time(&world, "one").await;
        world.until_gone::<Secret>("one").await;
        let owed = entries(&world).await;
        let [(Entry::Owed(owed), true)] = &owed[..] else {
            panic!("{owed:?}");
        };
        assert_eq!(world.live()[0].id, owed.token.token_id);
        let told = world.events("one").await;
        let told = told.iter().any(|(kind, reason, note)| {
            kind == "Warning"
                && reason == "RevocationOwed"
                && note.contains(owed.token.token_id.as_str())
                && !note.contains(&value(&secret, "token"))
        });
        assert!(told);
        until_paid(&world).await;
    }
}

#[tokio::test]
async fn a_deletion_that_comes_while_the_platform_hangs_does_not_wait_for_that_call() {
    let world = World::new().await;
    world.until_account("main", "Proven").await;
    // The token is made and stored, and never answers.
    let of = |method| Match {
        method: Some(method),
        ..Match::default()
    };
    let silent = [Verb::Get, Verb::Delete].map(|method| Rule::always(of(method), hangs()));
    world.platform.script(silent.to_vec());
    world.token("one", json!({})).await;
    eventually("it is stored", || async { world.secret("one").await }).await;
    delete_in_time(&world, "one").await;
    until_paid(&world).await;
}

#[tokio::test]
async fn many_deletions_wait_no_longer_than_one() {
    let world = World::new().await;
    for n in 0..MANY {
        world.token(&format!("token-{n}"), json!({})).await;
    }
    for n in 0..MANY {
        world.until_ready(&format!("token-{n}")).await;
    }
    world.platform.script(always(hangs()));
    for n in 0..MANY {
        world.delete::<PlatformToken>(&format!("token-{n}")).await;
    }
    let gone = async {
        for n in 0..MANY {
            world
                .until_gone::<PlatformToken>(&format!("token-{n}"))
                .await;
        }
    };
    let gone = tokio::time::timeout(PROMISED * 2, gone).await;
    assert!(gone.is_ok(), "they are not gone after {:?}", PROMISED * 2);
    assert_eq!(entries(&world).await.len(), MANY);
    until_paid(&world).await;
}

#[tokio::test]
async fn what_needs_an_account_that_is_gone_is_paid_when_there_is_one_again() {
    let world = World::with(Config {
        refuse_self_deletion: true,
        ..Config::default()
    })
    .await;
    world.ready_token("refused").await;
    world.ready_token("lost").await;
    let account = world.api::<PlatformAccount>().get("main").await.unwrap();
    world.delete::<PlatformAccount>("main").await;
    world.delete::<Secret>("credentials").await;
    // Nothing is left that could be asked: the credential is dead as well.
    let model = |change: &dyn Fn(&mut platform_token_operator::sandbox::Model)| {
        world.platform.with(|sandbox, _| change(&mut sandbox.model));
    };
    let admin = world.admin_credential();
    model(&|model| model.config.mask_values = true);
    world.patch::<Secret>("lost", no_value()).await;
    let forbidden = Fault::Status {
        when: When::Before,
        status: 403,
        body: Shape::Detail,
        retry_after: None,
    };
    world.platform.script(always(forbidden));
    delete_in_time(&world, "refused").await;
    delete_in_time(&world, "lost").await;
    assert_eq!(world.live().len(), 2);
    assert_eq!(entries(&world).await.len(), 2);
    world.platform.script(vec![]);
    world.credentials("credentials", &admin).await;
    world
        .account(
            "main",
            serde_json::to_value(&account.spec.settings).unwrap(),
        )
        .await;
    until_paid(&world).await;
}

#[tokio::test]
async fn what_a_lost_post_made_is_looked_for_when_its_platformtoken_is_long_gone() {
    let world = World::new().await;
    let post = Match::on(Verb::Post, Route::Tokens);
    let list = Match::on(Verb::Get, Route::Tokens);
    world.platform.script(vec![
        Rule::once(post, Fault::Reset { when: When::After }),
        Rule::always(list, hangs()),
    ]);
    world.token("one", json!({})).await;
    world.until_trouble("one", "Unreachable").await;
    delete_in_time(&world, "one").await;
    let unresolved = entries(&world).await;
    let [(Entry::Unresolved(_), false)] = &unresolved[..] else {
        panic!("{unresolved:?}");
    };
    assert_eq!(world.live().len(), 1);
    until_paid(&world).await;
}

#[tokio::test]
async fn the_ledger_shows_in_metrics_and_in_check() {
    let world = World::new().await;
    world.ready_token("one").await;
    let id = world.live()[0].id.clone();
    world.platform.script(always(refused()));
    delete_in_time(&world, "one").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let metrics = client
        .get(format!("{}/metrics", plane().metrics))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let line = "platform_token_operator_ledger_entries{kind=\"owed\"} ";
    let owed = metrics.lines().find_map(|text| text.strip_prefix(line));
    assert!(owed.unwrap().parse::<u32>().unwrap() > 0, "{metrics}");
    let (kubeconfig, base_url) = (
        world.plane.operator_kubeconfig.clone(),
        world.base_url.clone(),
    );
    let check = move || {
        std::process::Command::new(env!("CARGO_BIN_EXE_platform-token-operator"))
            .args(["check", "--allow-base-url", &base_url])
            .env_clear()
            .env("KUBECONFIG", kubeconfig)
            .output()
            .unwrap()
    };
    let output = tokio::task::spawn_blocking(check).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let owed = said
        .lines()
        .find(|line| line.contains("could not be revoked in time"));
    assert!(owed.is_some_and(|line| line.contains("owed")), "{said}");
    assert!(owed.unwrap().contains(id.as_str()) || owed.unwrap().contains(" more"));
    until_paid(&world).await;
}

#[tokio::test]
async fn an_entry_of_another_cluster_or_an_edited_one_is_left_alone() {
    let world = World::new().await;
    let stranger = world
        .platform
        .with(|sandbox, now| sandbox.model.stranger(&world.user, vec![], now).unwrap());
    let cluster: k8s_openapi::api::core::v1::Namespace = Api::all(world.client.clone())
        .get("kube-system")
        .await
        .unwrap();
    let owner = |cluster: &str| Owner::parse(&format!("{cluster}/ns/name/uid")).unwrap();
    let entry = |cluster: &str, id: &TokenId| {
        Entry::Owed(OwedToken {
            token: NamedToken {
                owner: owner(cluster),
                token_id: id.clone(),
                base_url: world.base_url.clone(),
                user_id: Some(world.user.clone()),
            },
            hash: None,
            before: None,
        })
    };
    let foreign = entry("another-cluster", &stranger.id);
    let mut edited = entry(
        cluster.metadata.uid.as_deref().unwrap(),
        &TokenId::parse("whatever").unwrap(),
    )
    .secret(OWN, None);
    let theirs = entry(cluster.metadata.uid.as_deref().unwrap(), &stranger.id);
    let annotations = edited.metadata.annotations.as_mut().unwrap();
    annotations.insert(names::LEDGER_ENTRY.into(), json!(theirs).to_string());
    let api = ledger(&world);
    for secret in [&foreign.secret(OWN, None), &edited] {
        api.create(&PostParams::default(), secret).await.unwrap();
    }
    // One that is ours is paid meanwhile.
    let ours = world
        .platform
        .with(|sandbox, now| sandbox.model.stranger(&world.user, vec![], now).unwrap());
    let owed = entry(cluster.metadata.uid.as_deref().unwrap(), &ours.id);
    api.create(&PostParams::default(), &owed.secret(OWN, None))
        .await
        .unwrap();
    eventually("ours is paid", || async {
        let live = world.live();
        (!live.iter().any(|token| token.id == ours.id)).then_some(())
    })
    .await;
    assert!(world.live().iter().any(|token| token.id == stranger.id));
    for name in [foreign.name(), edited.metadata.name.unwrap()] {
        api.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}
