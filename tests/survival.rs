//! State that survives: whatever happens to records mints nothing, and the token stays the same.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use platform_token_operator::api::{Dialect, PlatformToken, names};
use platform_token_operator::sandbox::Config;
use serde_json::json;

use crate::support::{World, eventually, is_ready, value};

const NAME: &str = "survivor";

/// What someone does to a token's records.
#[derive(Debug, Clone, Copy)]
enum Mishap {
    StatusWiped,
    SecretDeleted,
    BothAtOnce,
    SecretGoneWithoutItsFinalizer,
    AttemptAnnotationRemoved,
    FinalizerRemoved,
    CrdApplied,
    LabelsOfTokenEdited,
    LabelsOfSecretStripped,
    RecordOfSecretStripped,
    SecretEmptied,
}

const MISHAPS: [Mishap; 11] = [
    Mishap::StatusWiped,
    Mishap::SecretDeleted,
    Mishap::BothAtOnce,
    Mishap::SecretGoneWithoutItsFinalizer,
    Mishap::AttemptAnnotationRemoved,
    Mishap::FinalizerRemoved,
    Mishap::CrdApplied,
    Mishap::LabelsOfTokenEdited,
    Mishap::LabelsOfSecretStripped,
    Mishap::RecordOfSecretStripped,
    Mishap::SecretEmptied,
];

impl Mishap {
    async fn befall(self, world: &World) {
        let secret = async |patch| {
            world.patch::<Secret>(NAME, patch).await;
        };
        let token = async |patch| {
            world.patch::<PlatformToken>(NAME, patch).await;
        };
        match self {
            Self::StatusWiped => wipe_status(world).await,
            Self::SecretDeleted => world.delete::<Secret>(NAME).await,
            Self::BothAtOnce => {
                wipe_status(world).await;
                world.delete::<Secret>(NAME).await;
            }
            Self::SecretGoneWithoutItsFinalizer => {
                secret(json!({ "metadata": { "finalizers": null } })).await;
                let _ = world
                    .try_kubectl(&["delete", "secret", NAME, "-n", &world.namespace], "")
                    .await;
            }
            Self::AttemptAnnotationRemoved => {
                token(json!({ "metadata": { "annotations": { names::ATTEMPT: null } } })).await;
            }
            Self::FinalizerRemoved => token(json!({ "metadata": { "finalizers": null } })).await,
            Self::CrdApplied => {
                world
                    .kubectl(&["apply", "--server-side", "--force-conflicts", "-k", "crds"])
                    .await;
            }
            Self::LabelsOfTokenEdited => {
                token(json!({ "metadata": { "labels": { "team": "another" } } })).await;
            }
            Self::LabelsOfSecretStripped => {
                secret(json!({ "metadata": { "labels": null } })).await;
            }
            Self::RecordOfSecretStripped => {
                secret(json!({ "metadata": { "annotations": null } })).await;
            }
            Self::SecretEmptied => secret(crate::support::no_value()).await,
        }
    }
}

async fn wipe_status(world: &World) {
    let patch = Patch::Merge(json!({ "status": null }));
    let api = world.api::<PlatformToken>();
    api.patch_status(NAME, &PatchParams::default(), &patch)
        .await
        .unwrap();
}

/// Waits until the PlatformToken is Ready on a whole Secret; the value in it.
async fn until_whole(world: &World, after: &str) -> String {
    let api = world.api::<PlatformToken>();
    eventually(&format!("Ready on a whole Secret, {after}"), || async {
        let token = api.get(NAME).await.unwrap();
        let secret = world.secret(NAME).await?;
        let version = &secret.metadata.resource_version;
        let known = token.status.as_ref()?.secret_resource_version == *version;
        let held = |finalizers: &Option<Vec<String>>| {
            finalizers.iter().flatten().any(|f| f == names::FINALIZER)
        };
        let labels = secret.metadata.labels.as_ref()?;
        let whole = held(&token.metadata.finalizers)
            && held(&secret.metadata.finalizers)
            && labels.contains_key(names::MANAGED_LABEL)
            && secret.metadata.deletion_timestamp.is_none()
            && value(&secret, "token").starts_with("platform-");
        (known && whole && is_ready(&token)).then(|| value(&secret, "token"))
    })
    .await
}

#[tokio::test]
async fn nothing_that_happens_to_records_mints_a_token() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        let config = Config {
            dialect,
            ..Config::default()
        };
        let world = World::with(config).await;
        world.ready_token(NAME).await;
        let token = until_whole(&world, "at first").await;
        for mishap in MISHAPS {
            mishap.befall(&world).await;
            let after = until_whole(&world, &format!("{dialect}, {mishap:?}")).await;
            assert_eq!(after, token, "{dialect}, {mishap:?}: another token");
            assert_eq!(world.minted(), 1, "{dialect}, {mishap:?}: minted");
        }
        world.delete::<PlatformToken>(NAME).await;
        world.until_gone::<PlatformToken>(NAME).await;
        assert!(
            world.live().is_empty(),
            "{dialect}: what was owed is known still"
        );
    }
}
