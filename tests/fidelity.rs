//! The rules that simulations rest on are those of the real API server: it meets every expectation that the double
//! meets (`tests/simulation/fidelity.rs`).

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, PostParams};
use kube::core::{ApiResource, CustomResourceExt, GroupVersionKind};
use platform_token_operator::api::PlatformToken;
use platform_token_operator::sandbox::Config;

use crate::support::expectations::{self, Place};
use crate::support::{World, eventually};

/// The group of a kind like PlatformToken, of which the operator knows nothing.
const GROUP: &str = "fidelity.example.com";

#[tokio::test]
async fn the_real_api_server_meets_every_expectation() {
    let world = World::bare(Config::default()).await;
    let tokens = like_platformtokens(&world).await;
    let place = Place {
        client: world.client.clone(),
        namespace: world.namespace.clone(),
        tokens,
    };
    for (claim, look) in expectations::ALL {
        eprintln!("{claim}");
        look(place.clone()).await;
    }
}

/// A kind with the very schema of PlatformToken that nobody but this test writes.
async fn like_platformtokens(world: &World) -> ApiResource {
    let mut definition = PlatformToken::crd();
    let names = &mut definition.spec.names;
    names.plural = "likenesses".into();
    names.singular = Some("likeness".into());
    names.kind = "Likeness".into();
    names.list_kind = None;
    names.short_names = None;
    names.categories = None;
    definition.spec.group = GROUP.into();
    definition.metadata.name = Some(format!("likenesses.{GROUP}"));
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    definitions
        .create(&PostParams::default(), &definition)
        .await
        .unwrap();
    let kind = GroupVersionKind::gvk(GROUP, "v1alpha1", "Likeness");
    let resource = ApiResource::from_gvk_with_plural(&kind, "likenesses");
    let objects: Api<kube::core::DynamicObject> =
        Api::namespaced_with(world.client.clone(), &world.namespace, &resource);
    eventually("the kind is served", || async {
        objects.get_opt("nobody").await.ok().filter(Option::is_none)
    })
    .await;
    resource
}
