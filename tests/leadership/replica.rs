//! One replica of the operator: the real binary.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use crate::leadership::wire::Wire;
use crate::support::{World, eventually};

/// One replica. It ends with us, whatever becomes of us: its standard input closes.
pub(super) struct Replica {
    process: Child,
    log: PathBuf,
    /// Where it serves metrics and probes.
    url: String,
}

impl Replica {
    /// Starts one that has the lease of this world.
    pub(super) async fn start(world: &World, name: &str) -> Self {
        Self::start_with(world, name, &world.plane.operator_kubeconfig).await
    }

    /// The same, with all that it says to the API server going over a wire.
    pub(super) async fn start_behind(world: &World, name: &str, wire: &Wire) -> Self {
        Self::start_with(world, name, &wire.kubeconfig(world)).await
    }

    async fn start_with(world: &World, name: &str, kubeconfig: &Path) -> Self {
        let log = world
            .plane
            .dir
            .join(format!("{}-{name}.log", world.namespace));
        let process = Command::new(env!("CARGO_BIN_EXE_platform-token-operator"))
            .args(["run", "--listen=127.0.0.1:0", "--until-stdin-closes"])
            .arg(format!("--namespace={}", world.namespace))
            .arg(format!("--watch-namespace={}", world.namespace))
            .arg(format!("--allow-base-url={}", world.base_url))
            .env("KUBECONFIG", kubeconfig)
            .env("HOSTNAME", name)
            .stdin(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn();
        let mut replica = Self {
            process: process.unwrap(),
            log,
            url: String::new(),
        };
        let said = replica.until_it_says("metrics=").await;
        let (_, address) = said.split_once("metrics=").unwrap();
        replica.url = format!("http://{}", address.split_whitespace().next().unwrap());
        replica
    }

    /// Whether it says that it leads.
    pub(super) async fn leads(&self) -> bool {
        let metrics = self.answer("/metrics").await;
        metrics.is_some_and(|(_, text)| text.contains("\nplatform_token_operator_leader 1\n"))
    }

    pub(super) async fn until_it_leads(&self) {
        self.until_it_says(" leading ").await;
        assert!(self.leads().await);
    }

    /// Waits until it stands by, and is ready.
    pub(super) async fn until_it_stands_by(&self) {
        self.until_it_says(" standing by ").await;
        let (status, _) = self.answer("/readyz").await.unwrap();
        assert_eq!(status, 200, "a rollout waits for it");
        assert!(!self.leads().await);
    }

    /// Waits until its log has these words; all of the log.
    pub(super) async fn until_it_says(&self, words: &str) -> String {
        let what = format!("{} says {words:?}", self.log.display());
        eventually(&what, || async {
            Some(self.said()).filter(|said| said.contains(words))
        })
        .await
    }

    pub(super) fn signal(&self, name: &str) {
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits until it has ended; how, and all of its log.
    pub(super) async fn ended(&mut self) -> (ExitStatus, String) {
        let process = std::sync::Mutex::new(&mut self.process);
        let status = eventually("the replica has ended", || async {
            process.lock().unwrap().try_wait().unwrap()
        })
        .await;
        (status, self.said())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    async fn answer(&self, path: &str) -> Option<(u16, String)> {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{}{path}", self.url)).send().await;
        let answer = answer.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
