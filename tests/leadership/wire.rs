//! A wire to the API server that can be cut: nothing goes over it any more, and nobody is told.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::World;

/// A wire.
pub(super) struct Wire {
    address: SocketAddr,
    cut: CancellationToken,
}

impl Wire {
    pub(super) async fn to_the_api_server(world: &World) -> Self {
        let config = std::fs::read_to_string(&world.plane.operator_kubeconfig).unwrap();
        let config: Value = serde_json::from_str(&config).unwrap();
        let server = config["clusters"][0]["cluster"]["server"].as_str();
        let server = server.unwrap().trim_start_matches("https://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let cut = CancellationToken::new();
        let is_cut = cut.clone();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (server, is_cut) = (server.clone(), is_cut.clone());
                tokio::spawn(async move {
                    let carry = async {
                        if let Ok(mut far) = TcpStream::connect(&server).await {
                            let _ = copy_bidirectional(&mut near, &mut far).await;
                        }
                    };
                    tokio::select! {
                        biased;
                        // Both ends stay open, and hear nothing.
                        () = is_cut.cancelled() => std::future::pending().await,
                        () = carry => {}
                    }
                });
            }
        });
        Self { address, cut }
    }

    /// From now on nothing arrives.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// A kubeconfig of the operator that leads over it.
    pub(super) fn kubeconfig(&self, world: &World) -> PathBuf {
        let config = std::fs::read_to_string(&world.plane.operator_kubeconfig).unwrap();
        let mut config: Value = serde_json::from_str(&config).unwrap();
        config["clusters"][0]["cluster"]["server"] = format!("https://{}", self.address).into();
        let path = world.plane.dir.join(format!("{}.wire", world.namespace));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }
}
