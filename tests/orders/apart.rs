//! Deletions while the operator, its kinds or its install are not there, or go as well.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use platform_token_operator::api::{PlatformAccount, PlatformToken};
use serde_json::json;

use super::install::Install;
use super::{
    SOME, delete_namespace, delete_tokens, name, populate, until_namespace_is_gone,
    until_namespace_is_gone_within, until_nothing_is_left, until_objects_are_gone,
};
use crate::support::{World, eventually, no_value};

const KINDS: [&str; 3] = [
    "crd/platformtokens.platform.acedata.cloud",
    "crd/platformaccounts.platform.acedata.cloud",
    "crd/clusterplatformaccounts.platform.acedata.cloud",
];

/// The namespace of the operator.
const OPERATOR: &str = "platform-token-operator";

/// What someone deletes while the operator is down.
#[derive(Debug, Clone, Copy)]
enum Meanwhile {
    Namespace,
    PlatformTokens,
    AccountAndCredentialsThenPlatformTokens,
    SecretsThenNamespace,
    ValuesThenNamespace,
    FinalizersOfPlatformTokensThenNamespace,
}

const MEANWHILE: [Meanwhile; 6] = [
    Meanwhile::Namespace,
    Meanwhile::PlatformTokens,
    Meanwhile::AccountAndCredentialsThenPlatformTokens,
    Meanwhile::SecretsThenNamespace,
    Meanwhile::ValuesThenNamespace,
    Meanwhile::FinalizersOfPlatformTokensThenNamespace,
];

impl Meanwhile {
    async fn befall(self, world: &World) {
        match self {
            Self::Namespace => {}
            Self::PlatformTokens => delete_tokens(world).await,
            Self::AccountAndCredentialsThenPlatformTokens => {
                world.delete::<PlatformAccount>("main").await;
                world.delete::<Secret>("credentials").await;
                delete_tokens(world).await;
            }
            Self::SecretsThenNamespace => {
                for n in 0..SOME {
                    world.delete::<Secret>(&name(n)).await;
                }
            }
            // With the account gone as well, only another one of the same user can revoke.
            Self::ValuesThenNamespace => {
                for n in 0..SOME {
                    world.patch::<Secret>(&name(n), no_value()).await;
                }
            }
            Self::FinalizersOfPlatformTokensThenNamespace => {
                let none = json!({ "metadata": { "finalizers": null } });
                for n in 0..SOME {
                    world.patch::<PlatformToken>(&name(n), none.clone()).await;
                }
            }
        }
        if self.takes_namespace() {
            delete_namespace(world).await;
        }
    }

    fn takes_namespace(self) -> bool {
        !matches!(
            self,
            Self::PlatformTokens | Self::AccountAndCredentialsThenPlatformTokens
        )
    }
}

#[tokio::test]
async fn what_is_deleted_while_the_operator_is_down_is_finished_when_it_is_back() {
    let mut install = Install::start().await;
    let mut places = Vec::new();
    for world in &install.worlds {
        for meanwhile in MEANWHILE {
            let place = world.neighbour().await;
            place.main_account().await;
            places.push((meanwhile, place));
        }
    }
    join_all(places.iter().map(|(_, place)| populate(place, SOME))).await;
    install.stop_operator().await;
    join_all(places.iter().map(|(what, place)| what.befall(place))).await;
    for (what, place) in places.iter().filter(|(what, _)| what.takes_namespace()) {
        // What Kubernetes deletes by itself is gone when only finalizers are left.
        let accounts = place.api::<PlatformAccount>();
        eventually(&format!("{what:?}: the account is gone"), || async {
            let account = accounts.get_opt("main").await.unwrap();
            account.is_none().then_some(())
        })
        .await;
    }
    let expected = SOME * (1 + MEANWHILE.len());
    for world in &install.worlds {
        assert_eq!(world.live().len(), expected, "nobody revokes meanwhile");
    }

    install.start_operator();
    for (what, place) in &places {
        eprintln!("{what:?}");
        if what.takes_namespace() {
            until_namespace_is_gone_within(place, Duration::from_mins(1)).await;
        }
        until_objects_are_gone(place).await;
    }
    for world in &install.worlds {
        eventually("those live that nobody deleted", || async {
            (world.live().len() == SOME).then_some(())
        })
        .await;
        delete_tokens(world).await;
        until_nothing_is_left(world).await;
    }
}

#[tokio::test]
async fn kinds_that_are_deleted_under_a_running_operator_take_their_tokens_along() {
    let mut install = Install::start().await;
    install
        .kubectl(&["delete", "-k", "crds", "--timeout=60s"])
        .await;
    for world in &install.worlds {
        until_nothing_is_left(world).await;
    }
    install.stop_operator().await;
}

#[tokio::test]
async fn an_uninstall_in_the_documented_order_leaves_nothing() {
    let mut install = Install::start().await;
    install
        .kubectl(&["delete", "platformtokens", "--all", "-A", "--timeout=60s"])
        .await;
    install.until_gone(&["platformtokens", "-A"]).await;
    install
        .until_gone(&["secrets", "-A", "-l", "platform.acedata.cloud/managed=true"])
        .await;
    install
        .until_gone(&[
            "secrets",
            "-A",
            "-l",
            "platform.acedata.cloud/ledger,platform.acedata.cloud/ledger!=released",
        ])
        .await;
    install
        .kubectl(&["delete", "-k", "deploy", "--timeout=60s"])
        .await;
    install.stop_operator().await;
    for world in &install.worlds {
        until_nothing_is_left(world).await;
    }
    for what in KINDS
        .into_iter()
        .chain(["namespace/platform-token-operator"])
    {
        install.until_gone(&[what]).await;
    }
}

#[tokio::test]
async fn what_waits_for_an_operator_that_went_first_ends_when_it_is_installed_again() {
    let mut install = Install::start().await;
    install.stop_operator().await;
    install
        .kubectl(&["delete", "-k", "deploy", "--wait=false"])
        .await;
    let [current, _] = &install.worlds;
    delete_namespace(current).await;
    install.until_gone(&["namespace", OPERATOR]).await;
    for world in &install.worlds {
        let tokens = world.api::<PlatformToken>();
        for n in 0..SOME {
            let name = name(n);
            eventually(&format!("{name} is Terminating"), || async {
                let token = tokens.get(&name).await.unwrap();
                token.metadata.deletion_timestamp.map(|_| ())
            })
            .await;
        }
        assert_eq!(world.live().len(), SOME, "nobody has revoked them");
    }

    install.apply().await;
    install.start_operator();
    let [current, documented] = &install.worlds;
    until_namespace_is_gone(current).await;
    until_nothing_is_left(current).await;
    until_nothing_is_left(documented).await;
    // Its deletion had been asked for; the other kinds went at once, and are there again.
    install.until_gone(&[KINDS[0]]).await;
    install
        .kubectl(&[
            "delete",
            "-k",
            "deploy",
            "--ignore-not-found",
            "--timeout=60s",
        ])
        .await;
    install.stop_operator().await;
}

#[tokio::test]
async fn what_an_impatient_uninstall_leaves_behind_is_revoked_when_kinds_and_operator_are_back() {
    let mut install = Install::start().await;
    install.stop_operator().await;
    // Whoever takes the finalizers off gets the kinds away, and leaves Secrets with live tokens.
    let none = json!({ "metadata": { "finalizers": null } });
    for world in &install.worlds {
        for n in 0..SOME {
            world.patch::<PlatformToken>(&name(n), none.clone()).await;
        }
    }
    install
        .kubectl(&["delete", "-k", "crds", "--timeout=60s"])
        .await;
    let [current, documented] = &install.worlds;
    delete_namespace(current).await;
    for n in 0..SOME {
        documented.delete::<Secret>(&name(n)).await;
    }

    install.apply().await;
    install.start_operator();
    let [current, documented] = &install.worlds;
    until_namespace_is_gone_within(current, Duration::from_mins(1)).await;
    until_nothing_is_left(current).await;
    until_nothing_is_left(documented).await;
}
