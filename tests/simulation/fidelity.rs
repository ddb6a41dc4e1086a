//! The double keeps to the rules of the real API server: the same list of expectations runs against either
//! (`tests/fidelity.rs`).

use std::future::ready;
use std::sync::{Arc, Mutex};

use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::client::Body;
use kube::core::ApiResource;
use kube::{Client, Resource};
use platform_token_operator::api::PlatformToken;
use serde_json::json;

use super::apiserver::{self, Store};
use super::expectations::{self, Place};

#[tokio::test(start_paused = true)]
async fn the_double_meets_every_expectation() {
    let client = double();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({ "metadata": { "name": "expected" } })).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let place = Place {
        client,
        namespace: "expected".into(),
        tokens: ApiResource::erase::<PlatformToken>(&()),
    };
    for (claim, look) in expectations::ALL {
        eprintln!("{claim}");
        look(place.clone()).await;
    }
}

/// A client of a double that answers at once.
fn double() -> Client {
    let store = Arc::new(Mutex::new(Store::default()));
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let store = store.clone();
        async move {
            let answer = match apiserver::read(request).await {
                Ok(request) => {
                    let now: Timestamp = "2026-01-01T00:00:00.5Z".parse().unwrap();
                    store.lock().unwrap().handle(&request, now)
                }
                Err(refusal) => Err(refusal),
            };
            ready(Ok::<_, std::io::Error>(apiserver::write(&answer))).await
        }
    });
    Client::new(service, "default")
}

#[test]
fn the_double_serves_the_kind_that_we_ship() {
    assert_eq!(PlatformToken::plural(&()), apiserver::Kind::Token.plural());
}
