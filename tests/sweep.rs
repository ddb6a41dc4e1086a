//! The sweep: what a PlatformToken that vanished has left is reported, or revoked within the brake, and nothing else is.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::jiff::Timestamp;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};
use platform_token_operator::api::{
    AccountStatus, AttemptId, Entry, NamedToken, Owner, PlatformAccount, PlatformToken, TokenId,
};
use platform_token_operator::clock::Clock;
use platform_token_operator::controller::{Platforms, Served, Settings, run};
use platform_token_operator::platform::{Http, Transport};
use platform_token_operator::sandbox::Config;
use platform_token_operator::telemetry::Telemetry;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{World, eventually, unserved_plane};

/// How far the clock of the operator is ahead: only so a test sees tokens that are old and yet younger than the ledger.
const AHEAD: Duration = Duration::from_hours(1);

/// How old what is made now seems to it.
const OLD: Duration = Duration::from_mins(30);

async fn cluster(world: &World) -> String {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    namespaces
        .get("kube-system")
        .await
        .unwrap()
        .metadata
        .uid
        .unwrap()
}

/// The tags of a token that a PlatformToken of this namespace had made.
fn tags(cluster: &str, namespace: &str, uid: &str) -> Vec<String> {
    let tags = [("cluster", cluster), ("namespace", namespace), ("uid", uid)];
    tags.map(|(name, value)| format!("{name}={value}")).into()
}

/// A token with these tags that was made so long ago, as the platform sees it.
fn made(world: &World, tags: Vec<String>, ago: Duration) -> TokenId {
    world.platform.with(|sandbox, now| {
        let made = sandbox.model.stranger(&world.user, tags, now - ago);
        made.unwrap().id
    })
}

fn value_of(world: &World, id: &TokenId) -> String {
    let value = |token: Option<&platform_token_operator::api::TokenValue>| {
        token.unwrap().expose().to_owned()
    };
    world
        .platform
        .with(|sandbox, _| value(sandbox.model.value(id)))
}

fn lives(world: &World, id: &TokenId) -> bool {
    world
        .platform
        .with(|sandbox, _| sandbox.model.value(id).is_some())
}

async fn status(world: &World, account: &str) -> AccountStatus {
    let account = world.api::<PlatformAccount>().get(account).await.unwrap();
    account.status.unwrap_or_default()
}

/// Waits until the status of an account names exactly these.
async fn until_unclaimed(world: &World, account: &str, ids: &[&TokenId]) {
    let mut ids: Vec<TokenId> = ids.iter().map(|&id| id.clone()).collect();
    ids.sort();
    eventually("what nothing names is reported", || async {
        (status(world, account).await.unclaimed_token_ids == ids).then_some(())
    })
    .await;
}

/// The operator in this process, under the permissions that we ship. It serves the namespace of this world alone, and has
/// its ledger there.
struct Running {
    shutdown: CancellationToken,
    thread: JoinHandle<()>,
}

impl Running {
    fn start(world: &World) -> Self {
        let kubeconfig = Kubeconfig::read_from(&world.plane.operator_kubeconfig).unwrap();
        let pool = Http::pool().unwrap();
        let platforms = Platforms::new([world.base_url.parse().unwrap()], move |base_url| {
            let transport: Arc<dyn Transport> = Arc::new(Http::new(pool.clone(), base_url));
            transport
        });
        let settings = Settings {
            platforms,
            served: Served::these([world.namespace.clone()]),
            namespace: world.namespace.clone(),
            concurrency: 8,
            instance: "sweeping".into(),
            clock: Clock::simulated(Timestamp::now() + AHEAD),
            fresh: Box::new(AttemptId::fresh),
        };
        let shutdown = CancellationToken::new();
        let ended = shutdown.clone();
        let operate = async move || {
            let options = KubeConfigOptions::default();
            let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
            let client = Client::try_from(config.unwrap()).unwrap();
            let telemetry = Arc::new(Telemetry::default());
            Box::pin(run(client, settings, telemetry, ended))
                .await
                .unwrap();
        };
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        let thread = std::thread::spawn(move || runtime.block_on(operate()));
        Self { shutdown, thread }
    }

    async fn stop(self) {
        self.shutdown.cancel();
        let ended = move || self.thread.join().unwrap();
        tokio::task::spawn_blocking(ended).await.unwrap();
    }
}

/// A namespace whose account sweeps so, and a platform on which what is made seems [`OLD`].
async fn unserved(sweep: &str) -> World {
    let ahead = AHEAD.checked_sub(OLD).unwrap();
    let world = World::ahead(unserved_plane().await, ahead).await;
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    let spec = json!({ "resyncInterval": "10s", "sweep": sweep, "revocationsPerMinute": 2 });
    world.account("main", spec).await;
    world
}

/// A PlatformToken that goes without a trace while no operator is there to see it; the token that it leaves.
async fn vanished(world: &World, name: &str) -> TokenId {
    let running = Running::start(world);
    let token = world.ready_token(name).await;
    running.stop().await;
    let unheld = json!({ "metadata": { "finalizers": null } });
    world.patch::<PlatformToken>(name, unheld).await;
    world.delete::<PlatformToken>(name).await;
    world.until_gone::<PlatformToken>(name).await;
    world.delete::<Secret>(name).await;
    token.status.unwrap().token_id.unwrap()
}

/// Writes down that a token was let go on purpose.
async fn release(world: &World, cluster: &str, id: &TokenId) {
    let entry = Entry::Released(NamedToken {
        owner: Owner::parse(&format!("{cluster}/{}/former/former", world.namespace)).unwrap(),
        token_id: id.clone(),
        base_url: world.base_url.clone(),
        user_id: Some(world.user.clone()),
    });
    let secret = entry.secret(&world.namespace, None);
    world
        .create::<Secret>(serde_json::to_value(secret).unwrap())
        .await;
}

#[tokio::test]
async fn what_a_vanished_platformtoken_left_is_revoked_within_the_brake_and_nothing_else_is() {
    let world = unserved("Revoke").await;
    let own = cluster(&world).await;
    let here = world.namespace.as_str();
    let vanished = vanished(&world, "vanished").await;
    let lost = |uid| made(&world, tags(&own, here, uid), Duration::ZERO);
    let swept = [vanished, lost("one"), lost("two")];

    let released = lost("released");
    release(&world, &own, &released).await;
    let credential = lost("credential");
    world
        .credentials("generated", &value_of(&world, &credential))
        .await;
    let spec = json!({ "credentialsSecretRef": { "name": "generated" }, "sweep": "Off" });
    world.account("generated", spec).await;
    let kept = lost("kept");
    let annotations = json!({
        "platform.acedata.cloud/owner": format!("{own}/{here}/former/kept"),
        "platform.acedata.cloud/token-id": kept.as_str(),
    });
    let labels = json!({ "platform.acedata.cloud/managed": "true" });
    let metadata = json!({ "name": "kept", "annotations": annotations, "labels": labels });
    world
        .create::<Secret>(json!({ "metadata": metadata }))
        .await;
    let used = lost("used");
    let elsewhere = made(&world, tags(&own, "elsewhere", "one"), Duration::ZERO);
    let older = made(&world, tags(&own, here, "older"), AHEAD);
    let spared = [
        ("released", released),
        ("an account's credential", credential),
        ("a Secret holds it", kept),
        ("in use", used.clone()),
        ("of a namespace that is not served", elsewhere.clone()),
        ("older than the ledger", older.clone()),
        (
            "another cluster's",
            made(&world, tags("another", here, "one"), Duration::ZERO),
        ),
        ("a stranger's", made(&world, vec![], Duration::ZERO)),
    ];

    let running = Running::start(&world);
    let living = world.ready_token("lives").await;
    let value = value_of(&world, &used);
    let gone = || swept.iter().filter(|id| !lives(&world, id)).count();
    let reported = || async {
        assert_eq!(world.answers(&value).await, 200, "somebody uses it");
        let status = status(&world, "main").await;
        let names = |id: &TokenId| status.unclaimed_token_ids.contains(id);
        (swept.iter().all(names)).then_some(())
    };
    eventually("they are reported first", reported).await;
    assert_eq!(gone(), 0);
    let told = |reason: &'static str| {
        let world = &world;
        async move {
            let events = world.events("main").await;
            let mut told = events
                .into_iter()
                .filter(move |(_, told, _)| told == reason);
            told.next().map(|(_, _, note)| note)
        }
    };
    let note = eventually("some are written down", || async {
        world.answers(&value).await;
        told("Swept").await
    })
    .await;
    assert!(
        note.starts_with("2 platform tokens of this cluster"),
        "{note}"
    );
    eventually("these are revoked", || async {
        (gone() == 2).then_some(())
    })
    .await;
    let status = status(&world, "main").await;
    assert_eq!(gone(), 2, "the brake lets two through in a minute");
    for id in [&used, &elsewhere, &older] {
        assert!(
            status.unclaimed_token_ids.contains(id),
            "{id} is reported alone"
        );
    }
    for (whose, id) in spared {
        assert!(lives(&world, &id), "{whose}");
    }
    assert!(lives(&world, &living.status.unwrap().token_id.unwrap()));
    world.until_account("main", "Proven").await;
    running.stop().await;
}

#[tokio::test]
async fn what_nothing_names_is_reported_by_default_and_not_where_nothing_is_swept() {
    let world = World::bare(Config::default()).await;
    let own = cluster(&world).await;
    let tags = tags(&own, &world.namespace, "vanished");
    let left = made(&world, tags, Duration::from_mins(20));
    world
        .credentials("credentials", &world.admin_credential())
        .await;
    world
        .account("main", json!({ "resyncInterval": "10s" }))
        .await;
    world.account("off", json!({ "sweep": "Off" })).await;
    until_unclaimed(&world, "main", &[&left]).await;
    let counted = || async { status(&world, "off").await.tokens };
    let tokens = eventually("the other account has taken stock", counted).await;
    assert_eq!((tokens.upstream, tokens.unclaimed), (2, 1));
    assert!(status(&world, "off").await.unclaimed_token_ids.is_empty());
    let notes = |events: Vec<(String, String, String)>| {
        let mut notes = events.into_iter();
        notes.any(|(_, reason, note)| reason == "Unclaimed" && note.contains(left.as_str()))
    };
    assert!(notes(world.events("main").await));
    assert!(!notes(world.events("off").await));
    assert!(lives(&world, &left));
}
