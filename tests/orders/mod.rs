//! Deletion in any order: whatever goes first, in the end no token lives and nothing is left that waits.

mod apart;
mod by_hand;
mod install;

mod many;

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{Api, ListParams};
use platform_token_operator::api::{Dialect, Entry, PlatformAccount, PlatformToken, names};
use platform_token_operator::sandbox::Config;
use serde_json::json;
use tokio::time::timeout;

use crate::support::{World, eventually, is_ready, no_value};

/// How long a namespace may take to go. Kubernetes itself takes 10 s where there are finalizers: it looks again after 8.
const GONE_WITHIN: Duration = Duration::from_secs(30);

/// PlatformTokens in a namespace, unless a test says otherwise.
const SOME: usize = 3;

/// Tells a story of a namespace with some Ready PlatformTokens, their account and its credentials, in both dialects at
/// once. Nothing may be left of it.
async fn in_both_dialects(story: impl AsyncFn(&World)) {
    join_all(
        [Dialect::Current, Dialect::Documented].map(async |dialect| {
            let world = World::with(Config {
                dialect,
                ..Config::default()
            })
            .await;
            populate(&world, SOME).await;
            story(&world).await;
            until_nothing_is_left(&world).await;
        }),
    )
    .await;
}

/// Makes so many PlatformTokens, and waits until they are Ready.
async fn populate(world: &World, tokens: usize) {
    join_all((0..tokens).map(|n| async move { world.token(&name(n), json!({})).await })).await;
    let all = ListParams::default();
    eventually("all are Ready", || async {
        let made = world.api::<PlatformToken>().list(&all).await.unwrap().items;
        (made.len() == tokens && made.iter().all(is_ready)).then_some(())
    })
    .await;
}

fn name(n: usize) -> String {
    format!("token-{n}")
}

/// Asks for the deletion of every PlatformToken.
async fn delete_tokens(world: &World) {
    world
        .kubectl(&[
            "delete",
            "platformtokens",
            "--all",
            "-n",
            &world.namespace,
            "--wait=false",
        ])
        .await;
}

/// Asks for the deletion of the namespace.
async fn delete_namespace(world: &World) {
    world
        .kubectl(&["delete", "namespace", &world.namespace, "--wait=false"])
        .await;
}

/// Waits until the namespace is gone, for no longer than that may take.
async fn until_namespace_is_gone(world: &World) {
    until_namespace_is_gone_within(world, GONE_WITHIN).await;
}

async fn until_namespace_is_gone_within(world: &World, most: Duration) {
    let namespaces: Api<Namespace> = Api::all(world.client.clone());
    let gone = eventually("the namespace is gone", || async {
        let there = namespaces.get_opt(&world.namespace).await.unwrap();
        there.is_none().then_some(())
    });
    if timeout(most, gone).await.is_err() {
        let there = namespaces.get_opt(&world.namespace).await.unwrap();
        let status = there.and_then(|namespace| namespace.status);
        panic!("it is not gone after {most:?}: {status:#?}");
    }
}

/// Waits until there is neither a PlatformToken nor a generated Secret, and no token lives. On a machine that is busy a
/// revocation may have been put off.
async fn until_nothing_is_left(world: &World) {
    until_objects_are_gone(world).await;
    eventually("no token lives, and none is owed", || async {
        let entries: Api<Secret> = Api::namespaced(world.client.clone(), names::OPERATOR);
        let all = ListParams::default().labels(names::LEDGER_LABEL);
        let entries = entries.list_metadata(&all).await.unwrap().items;
        let entries = entries.iter().map(|secret| Entry::parse(&secret.metadata));
        let here =
            |entry: Result<Entry, _>| entry.is_ok_and(|entry| entry.account().0 == world.base_url);
        (world.live().is_empty() && !entries.into_iter().any(here)).then_some(())
    })
    .await;
}

/// Waits until there is neither a PlatformToken nor a generated Secret.
async fn until_objects_are_gone(world: &World) {
    eventually("neither PlatformTokens nor Secrets are left", || async {
        let generated = ListParams::default().labels(&format!("{}=true", names::MANAGED_LABEL));
        let secrets = world.api::<Secret>().list_metadata(&generated).await;
        let all = ListParams::default();
        let tokens = world.api::<PlatformToken>().list_metadata(&all).await;
        let tokens = match tokens {
            Ok(tokens) => tokens.items,
            // Its kind may be gone as well.
            Err(kube::Error::Api(status)) if status.code == 404 => vec![],
            Err(error) => panic!("listing PlatformTokens: {error}"),
        };
        (secrets.unwrap().items.is_empty() && tokens.is_empty()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_namespace_goes_with_all_that_is_in_it() {
    in_both_dialects(async |world| {
        delete_namespace(world).await;
        until_namespace_is_gone(world).await;
    })
    .await;
}

#[tokio::test]
async fn a_namespace_goes_though_its_tokens_are_just_being_made() {
    in_both_dialects(async |world| {
        let minted = world.minted();
        for n in SOME..SOME + 12 {
            world.token(&name(n), json!({})).await;
        }
        let begun = || async { (world.minted() > minted + 2).then_some(()) };
        eventually("some are minted", begun).await;
        delete_namespace(world).await;
        until_namespace_is_gone(world).await;
    })
    .await;
}

#[tokio::test]
async fn platformtokens_go_when_their_account_went_first() {
    in_both_dialects(async |world| {
        world.delete::<PlatformAccount>("main").await;
        world.until_gone::<PlatformAccount>("main").await;
        delete_tokens(world).await;
    })
    .await;
}

#[tokio::test]
async fn platformtokens_go_when_the_credentials_went_first() {
    in_both_dialects(async |world| {
        world.delete::<Secret>("credentials").await;
        world.until_account("main", "CredentialsMissing").await;
        delete_tokens(world).await;
    })
    .await;
}

#[tokio::test]
async fn platformtokens_go_when_their_secrets_went_first() {
    in_both_dialects(async |world| {
        // The operator writes them anew, unless it sees the deletion of the PlatformToken before that.
        for n in 0..SOME {
            world.delete::<Secret>(&name(n)).await;
        }
        delete_tokens(world).await;
    })
    .await;
}

#[tokio::test]
async fn platformtokens_go_when_values_and_account_went_first_as_long_as_the_operator_runs() {
    in_both_dialects(async |world| {
        world.delete::<PlatformAccount>("main").await;
        world.until_gone::<PlatformAccount>("main").await;
        for n in 0..SOME {
            world.patch::<Secret>(&name(n), no_value()).await;
            world.until_trouble(&name(n), "AccountNotFound").await;
        }
        delete_tokens(world).await;
    })
    .await;
}

#[tokio::test]
async fn everything_goes_in_one_burst() {
    in_both_dialects(async |world| {
        let tokens = join_all((0..SOME).map(|n| async move {
            let name = name(n);
            tokio::join!(
                world.delete::<Secret>(&name),
                world.delete::<PlatformToken>(&name)
            )
        }));
        tokio::join!(
            world.delete::<PlatformAccount>("main"),
            world.delete::<Secret>("credentials"),
            tokens,
        );
        world.until_gone::<PlatformAccount>("main").await;
    })
    .await;
}

#[tokio::test]
async fn platformtokens_go_whatever_the_cascade() {
    for cascade in ["background", "foreground", "orphan"] {
        in_both_dialects(async |world| {
            let cascade = format!("--cascade={cascade}");
            world
                .kubectl(&[
                    "delete",
                    "platformtokens",
                    "--all",
                    "-n",
                    &world.namespace,
                    &cascade,
                    "--timeout=60s",
                ])
                .await;
        })
        .await;
    }
}
