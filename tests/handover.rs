//! A token moves from one cluster to another, and its value stays the same: one lets go of it, the other adopts it.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use platform_token_operator::api::{Dialect, PlatformToken, names};
use platform_token_operator::sandbox::Config;
use serde_json::json;

use crate::support::{World, plane, scoped_plane, value};

#[tokio::test]
async fn a_token_moves_to_another_cluster_with_its_value() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        for masked in [false, true] {
            let config = Config {
                dialect,
                ..Config::default()
            };
            let here = World::on(scoped_plane(), config, Duration::ZERO).await;
            here.main_account().await;
            here.token(
                "moving",
                json!({ "deletionPolicy": "Orphan", "secret": { "deletionPolicy": "Retain" } }),
            )
            .await;
            let issued = here.until_ready("moving").await.status.unwrap();
            let id = issued.token_id.unwrap();
            let held = value(&here.secret("moving").await.unwrap(), "token");
            here.platform
                .with(|sandbox, _| sandbox.model.config.mask_values = masked);

            let there = here.elsewhere(plane()).await;
            there.main_account().await;
            here.delete::<PlatformToken>("moving").await;
            here.until_gone::<PlatformToken>("moving").await;
            if masked {
                // The Secret goes along, as `kubectl get -o yaml | kubectl apply` brings it.
                let mut secret = here.secret("moving").await.unwrap();
                secret.metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                    name: secret.metadata.name,
                    annotations: secret.metadata.annotations,
                    ..Default::default()
                };
                there.create::<Secret>(json!(secret)).await;
            }
            there.token("moving", json!({ "adoptTokenID": id })).await;
            let moved = there.until_ready("moving").await.status.unwrap();
            assert_eq!(moved.token_id.as_ref(), Some(&id));
            let secret = there.secret("moving").await.unwrap();
            assert_eq!(value(&secret, "token"), held, "{dialect} {masked}");
            assert_eq!(secret.finalizers(), [names::FINALIZER]);
            assert_eq!(here.answers(&held).await, 200);
            assert_eq!(here.minted(), 1, "{dialect} {masked}");

            // What stayed here is a Secret and no more: whoever deletes it takes nothing away.
            here.delete::<Secret>("moving").await;
            here.until_gone::<Secret>("moving").await;
            assert_eq!(here.answers(&held).await, 200);
            there.delete::<PlatformToken>("moving").await;
            there.until_gone::<PlatformToken>("moving").await;
            assert_eq!(here.answers(&held).await, 401);
        }
    }
}
