//! The one Kubernetes client of a process.

use std::time::Duration;

use anyhow::Context;
use kube::Client;
use kube::client::ClientBuilder;

/// A client of the cluster of the kubeconfig, or of the Pod that this is, and the address of its API server.
pub(super) async fn client() -> anyhow::Result<(Client, http::Uri)> {
    let mut config = kube::Config::infer()
        .await
        .context("there is no kubeconfig, and this is not a Pod")?;
    // The rules decide what is tried again, and when; a retry below them would hide lost answers.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    let server = config.cluster_url.clone();
    let client = ClientBuilder::try_from(config)
        .context("the kubeconfig cannot be used")?
        .build();
    Ok((client, server))
}
