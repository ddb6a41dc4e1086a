//! Replicas of the real binary that elect a leader, under the Role that we ship. They have a control plane without any
//! other operator, and each test has a namespace of its own, the only one that its replicas serve.

mod replica;
mod wire;

use std::net::TcpListener;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, PostParams};
use platform_token_operator::api::PlatformToken;
use platform_token_operator::sandbox::{Config, Fault, Match, Route, Rule, Verb};
use serde_json::json;
use tokio::time::Instant;

use crate::support::{World, eventually, unserved_plane};
use replica::Replica;
use wire::Wire;

/// What a lease lasts, and how long the others wait between two looks at it.
const LEASE: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(2);

/// What a machine that is busy with other tests may add to any of them.
const SLACK: Duration = Duration::from_secs(6);

/// A namespace with an account and the permission for a lease.
async fn world() -> World {
    let platform = TcpListener::bind("127.0.0.1:0").unwrap();
    let world = World::unserved(unserved_plane().await, platform, Config::default()).await;
    let rbac = std::fs::read_to_string("deploy/rbac.yaml").unwrap();
    for document in rbac.split("\n---\n") {
        if document.contains("\nkind: Role\n") {
            let mut role: Role = serde_saphyr::from_str(document).unwrap();
            role.metadata.namespace = Some(world.namespace.clone());
            let roles: Api<Role> = world.api();
            roles.create(&PostParams::default(), &role).await.unwrap();
        } else if document.contains("\nkind: RoleBinding\n") {
            let mut binding: RoleBinding = serde_saphyr::from_str(document).unwrap();
            binding.metadata.namespace = Some(world.namespace.clone());
            let bindings: Api<RoleBinding> = world.api();
            let created = bindings.create(&PostParams::default(), &binding).await;
            created.unwrap();
        }
    }
    world.main_account().await;
    world
}

/// Who holds the lease.
async fn holder(world: &World) -> Option<String> {
    let lease = world.api::<Lease>().get("platform-token-operator").await;
    lease.unwrap().spec?.holder_identity
}

/// From now on the platform mints at once and answers a POST so much later.
fn slow_down(world: &World, by: Duration) {
    let ms = u64::try_from(by.as_millis()).unwrap();
    let posts = Match::on(Verb::Post, Route::Tokens);
    let rule = Rule::once(posts, Fault::Latency { ms });
    world.platform.script(vec![rule]);
}

async fn until_minted(world: &World, tokens: u64) {
    let what = format!("{tokens} tokens are minted");
    eventually(&what, || async { (world.minted() == tokens).then_some(()) }).await;
}

#[tokio::test]
async fn a_leader_that_is_asked_to_end_finishes_what_it_does_and_hands_over_at_once() {
    let world = world().await;
    let mut first = Replica::start(&world, "first").await;
    first.until_it_leads().await;
    let mut second = Replica::start(&world, "second").await;
    second.until_it_stands_by().await;
    assert!(holder(&world).await.unwrap().starts_with("first_"));

    slow_down(&world, Duration::from_secs(6));
    world.token("slow", json!({})).await;
    until_minted(&world, 1).await;
    let asked = Instant::now();
    first.signal("TERM");
    world.token("later", json!({})).await;
    let (status, said) = first.ended().await;
    let ended = Instant::now();
    assert!(status.success(), "{said}");
    assert!(
        ended - asked > Duration::from_secs(3),
        "what was in flight ended first"
    );
    assert!(world.secret("slow").await.is_some(), "{said}");
    assert!(
        world.secret("later").await.is_none() || second.leads().await,
        "nothing is begun any more"
    );

    second.until_it_leads().await;
    let wait = ended.elapsed();
    assert!(wait < RETRY + SLACK, "the lease was released, yet {wait:?}");
    assert!(holder(&world).await.unwrap().starts_with("second_"));
    for name in ["slow", "later"] {
        world.until_ready(name).await;
    }
    assert_eq!(world.minted(), 2, "one for each");

    second.signal("TERM");
    assert!(second.ended().await.0.success());
    assert_eq!(holder(&world).await, None);
}

#[tokio::test]
async fn a_standby_takes_over_when_the_lease_of_a_killed_leader_has_run_out() {
    let world = world().await;
    let mut first = Replica::start(&world, "first").await;
    first.until_it_leads().await;
    let second = Replica::start(&world, "second").await;
    second.until_it_stands_by().await;
    world.ready_token("before").await;

    first.signal("KILL");
    let killed = Instant::now();
    first.ended().await;
    world.token("after", json!({})).await;
    second.until_it_leads().await;
    let wait = killed.elapsed();
    assert!(wait + RETRY * 2 > LEASE, "the lease ran on, yet {wait:?}");
    assert!(wait < LEASE + RETRY * 2 + SLACK, "{wait:?}");
    world.until_ready("after").await;
    assert_eq!(world.minted(), 2);

    let mut third = Replica::start(&world, "third").await;
    third.until_it_stands_by().await;
    third.signal("TERM");
    assert!(
        third.ended().await.0.success(),
        "a standby has nothing to finish"
    );
    assert!(second.leads().await);
}

#[tokio::test]
async fn a_leader_without_the_api_server_ends_with_an_error_before_anybody_else_leads() {
    let world = world().await;
    let wire = Wire::to_the_api_server(&world).await;
    let mut first = Replica::start_behind(&world, "first", &wire).await;
    first.until_it_leads().await;
    let second = Replica::start(&world, "second").await;
    second.until_it_stands_by().await;
    world.ready_token("before").await;

    // Its POST is sent, and its answer would come long after it has lost the leadership.
    slow_down(&world, Duration::from_secs(18));
    world.token("between", json!({})).await;
    until_minted(&world, 2).await;
    wire.cut();
    let cut = Instant::now();
    let (status, said) = first.ended().await;
    let wait = cut.elapsed();
    assert!(
        !second.leads().await,
        "nobody else may lead before it has ended"
    );
    assert!(wait < LEASE, "{wait:?}");
    assert!(!status.success());
    for part in [
        "error: lost the leadership",
        "could not be renewed for 10 s: the Kubernetes API failed: no answer in 5 s",
    ] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }

    second.until_it_leads().await;
    world.token("after", json!({})).await;
    for name in ["after", "between"] {
        world.until_ready(name).await;
    }
    assert_eq!(
        world.minted(),
        3,
        "the token of the POST in flight was found"
    );
    assert_eq!(world.live().len(), 3);
}

#[tokio::test]
async fn who_is_asked_to_end_twice_ends_at_once() {
    let world = world().await;
    let mut only = Replica::start(&world, "only").await;
    only.until_it_leads().await;
    slow_down(&world, Duration::from_secs(18));
    world.token("slow", json!({})).await;
    until_minted(&world, 1).await;
    only.signal("TERM");
    only.until_it_says("stopping").await;
    let asked = Instant::now();
    only.signal("INT");
    let (status, said) = only.ended().await;
    let wait = asked.elapsed();
    assert!(wait < SLACK, "{wait:?}");
    assert!(!status.success());
    assert!(said.contains("asked to stop twice"), "{said}");
    assert!(
        holder(&world).await.is_some(),
        "what was cut short is not handed over at once"
    );
    let objects: Api<Secret> = world.api();
    assert!(objects.get_opt("slow").await.unwrap().is_none());
    let tokens: Api<PlatformToken> = world.api();
    assert!(tokens.get_opt("slow").await.unwrap().is_some());
}
