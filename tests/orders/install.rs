//! An install that a test takes away, as a whole or in parts: a control plane of its own, which one test has at a time.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use futures::future::join_all;
use platform_token_operator::api::Dialect;
use platform_token_operator::sandbox::Config;

use super::populate;
use crate::support::{ControlPlane, World, eventually};

/// The install of `deploy/`, with an account in each dialect that has Ready PlatformTokens.
pub(super) struct Install {
    /// One for each dialect.
    pub worlds: [World; 2],
    plane: &'static ControlPlane,
    operator: Option<Child>,
    _alone: tokio::sync::MutexGuard<'static, ()>,
}

impl Install {
    /// Installs it anew, and starts the operator.
    pub(super) async fn start() -> Self {
        static PLANE: LazyLock<ControlPlane> = LazyLock::new(|| ControlPlane::start("orders"));
        static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let alone = ALONE.lock().await;
        let plane = tokio::task::spawn_blocking(|| &*PLANE).await.unwrap();
        let worlds = [Dialect::Current, Dialect::Documented].map(|dialect| async move {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let config = Config {
                dialect,
                ..Config::default()
            };
            World::unserved(plane, listener, config).await
        });
        let worlds = join_all(worlds).await.try_into();
        let mut install = Self {
            worlds: worlds.unwrap_or_else(|_| unreachable!("there are two dialects")),
            plane,
            operator: None,
            _alone: alone,
        };
        install.apply().await;
        install.start_operator();
        for world in &install.worlds {
            world.main_account().await;
        }
        join_all(
            install
                .worlds
                .iter()
                .map(|world| populate(world, super::SOME)),
        )
        .await;
        install
    }

    /// Applies `deploy/`, as someone does who installs the operator, or installs it again.
    pub(super) async fn apply(&self) {
        let plane = self.plane;
        let install = tokio::task::spawn_blocking(|| plane.install("deploy"));
        install.await.unwrap();
    }

    /// Starts the operator; there is no node that would.
    pub(super) fn start_operator(&mut self) {
        let platforms: Vec<&str> = self.worlds.iter().map(|w| w.base_url.as_str()).collect();
        let log = self.plane.dir.join("operator.log");
        let log = OpenOptions::new().create(true).append(true).open(log);
        let operator = Command::new(env!("CARGO_BIN_EXE_platform-token-operator"))
            .args([
                "run",
                "--leader-election=false",
                "--listen=127.0.0.1:0",
                "--until-stdin-closes",
            ])
            .args(["--log=debug,hyper_util=info,kube=info,tower=info"])
            .env(
                "PLATFORM_TOKEN_OPERATOR_ALLOW_BASE_URL",
                platforms.join(","),
            )
            .env("KUBECONFIG", &self.plane.operator_kubeconfig)
            .stdin(Stdio::piped())
            .stderr(log.unwrap())
            .spawn();
        self.operator = Some(operator.unwrap());
    }

    /// Ends the operator, which has to be there still, and waits until it has ended.
    pub(super) async fn stop_operator(&mut self) {
        let mut operator = self.operator.take().unwrap();
        assert!(operator.try_wait().unwrap().is_none(), "it had ended");
        drop(operator.stdin.take());
        let operator = Mutex::new(operator);
        eventually("the operator has ended", || async {
            let mut operator = operator.lock().unwrap_or_else(PoisonError::into_inner);
            operator.try_wait().unwrap()
        })
        .await;
    }

    /// What `kubectl` prints as the admin; it has to succeed.
    pub(super) async fn kubectl(&self, arguments: &[&str]) -> String {
        self.worlds[0].kubectl(arguments).await
    }

    /// Waits until `kubectl get` finds nothing of these.
    pub(super) async fn until_gone(&self, arguments: &[&str]) {
        let arguments = [&["get", "--ignore-not-found", "-o", "name"], arguments].concat();
        eventually(&format!("{arguments:?} finds nothing"), || async {
            let Output { status, stdout, .. } = self.worlds[0].try_kubectl(&arguments, "").await;
            (status.success() && stdout.is_empty()).then_some(())
        })
        .await;
    }
}

impl Drop for Install {
    fn drop(&mut self) {
        if let Some(operator) = &mut self.operator {
            let _ = operator.kill();
            let _ = operator.wait();
        }
    }
}
