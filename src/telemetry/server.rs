//! `/metrics`, `/livez` and `/readyz`.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::Telemetry;

/// Serves metrics and probes as long as it is awaited.
pub async fn serve(listener: TcpListener, telemetry: Arc<Telemetry>) -> std::io::Result<()> {
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .with_state(telemetry);
    axum::serve(listener, routes).await
}

async fn metrics(State(telemetry): State<Arc<Telemetry>>) -> String {
    telemetry.render()
}

async fn ready(State(telemetry): State<Arc<Telemetry>>) -> (StatusCode, &'static str) {
    if telemetry.is_ready() {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "caches are filling")
    }
}
