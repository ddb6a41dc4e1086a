//! Copies, restores and clones: whose a token is when objects come back, under which name, where and with which uid.

mod clones;
mod copies;
mod edits;
mod recreated;
mod restores;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::core::NamespaceResourceScope;
use platform_token_operator::api::{PlatformToken, names};
use platform_token_operator::sandbox::{Fault, Match, Route, Rule, Shape, Verb, When};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{World, eventually, value};

/// An object as `kubectl get -o yaml` shows it, without what the API server gives: what a backup holds.
async fn exported<K>(world: &World, name: &str) -> Value
where
    K: kube::Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + DeserializeOwned
        + Serialize
        + Clone
        + std::fmt::Debug,
{
    let object = world.api::<K>().get(name).await.unwrap();
    let mut object = serde_json::to_value(object).unwrap();
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata
        .retain(|key, _| ["name", "labels", "annotations", "finalizers"].contains(&key.as_str()));
    object.as_object_mut().unwrap().remove("status");
    object
}

/// A PlatformToken and its Secret.
struct Backup {
    token: Value,
    secret: Value,
}

impl Backup {
    async fn of(world: &World, name: &str) -> Self {
        Self {
            token: exported::<PlatformToken>(world, name).await,
            secret: exported::<Secret>(world, name).await,
        }
    }

    /// Secrets come first, as backup tools restore them.
    async fn restore(&self, world: &World) {
        world.create::<Secret>(self.secret.clone()).await;
        world.create::<PlatformToken>(self.token.clone()).await;
    }
}

/// Both go as if there had never been an operator; the token lives on.
async fn lose(world: &World, name: &str) {
    forsake(world, name).await;
    let unheld = json!({ "metadata": { "finalizers": null } });
    world.patch::<Secret>(name, unheld).await;
    world.delete::<Secret>(name).await;
    world.until_gone::<Secret>(name).await;
}

/// From now on the platform revokes nothing.
fn refuse_to_revoke(world: &World) {
    let unavailable = Fault::Status {
        when: When::Before,
        status: 503,
        body: Shape::Detail,
        retry_after: None,
    };
    let revocation = Match::on(Verb::Delete, Route::Token);
    let refuse = Rule::always(revocation, unavailable);
    world.platform.script(vec![refuse]);
}

/// The PlatformToken goes without having revoked anything: somebody loses patience with its finalizer while the platform
/// does not revoke. It leaves its Secret and its token.
async fn forsake(world: &World, name: &str) {
    refuse_to_revoke(world);
    world.delete::<PlatformToken>(name).await;
    world.until_trouble(name, "Unreachable").await;
    let unheld = json!({ "metadata": { "finalizers": null } });
    world.patch::<PlatformToken>(name, unheld).await;
    world.until_gone::<PlatformToken>(name).await;
    world.platform.script(vec![]);
}

fn id_of(token: &PlatformToken) -> String {
    let status = token.status.as_ref().unwrap();
    status.token_id.as_ref().unwrap().to_string()
}

fn lives(world: &World, id: &str) -> bool {
    world.live().iter().any(|token| token.id.as_str() == id)
}

/// The number of the attempt that a Secret records.
fn number(secret: &Secret) -> u32 {
    let attempt = &secret.annotations()[names::ATTEMPT];
    attempt.split_once('/').unwrap().0.parse().unwrap()
}

async fn owner_of(world: &World, name: &str) -> String {
    let secret = world.secret(name).await.unwrap();
    secret.annotations()[names::OWNER].clone()
}

/// Waits until an event with this reason tells of `what`.
async fn until_told(world: &World, name: &str, reason: &str, what: &str) {
    eventually(&format!("{reason} tells of {what}"), || async {
        let events = world.events(name).await;
        let mut events = events.iter();
        events
            .any(|(_, said, note)| said == reason && note.contains(what))
            .then_some(())
    })
    .await;
}

/// The token of a Secret answers.
async fn answers(world: &World, secret: &str) -> bool {
    let secret = world.secret(secret).await.unwrap();
    world.answers(&value(&secret, "token")).await == 200
}
