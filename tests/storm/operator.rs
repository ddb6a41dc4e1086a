//! The real binary, killed and started again.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

/// How the operator is started, every time.
pub(crate) struct Operator {
    kubeconfig: PathBuf,
    platforms: String,
    log: File,
}

impl Operator {
    /// It will speak to the API server at `server`, and to these platforms. Its log is kept in `dir`.
    pub(crate) fn new(dir: &Path, server: &str, platforms: &[String]) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let kubeconfig = dir.join("kubeconfig");
        // No user: the proxy adds the operator's identity.
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "storm",
            "clusters": [{ "name": "c", "cluster": { "server": server } }],
            "contexts": [{ "name": "storm", "context": { "cluster": "c", "user": "" } }],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Self {
            kubeconfig,
            platforms: platforms.join(","),
            log: File::create(dir.join("operator.log")).unwrap(),
        }
    }

    /// Starts the next process; `about` is written to the log first.
    pub(crate) fn start(&mut self, about: &str) -> Process {
        writeln!(self.log, "== {about}").unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_platform-token-operator"))
            .args([
                "run",
                "--leader-election=false",
                "--listen=127.0.0.1:0",
                "--until-stdin-closes",
                "--log=debug,hyper_util=info,kube=info,tower=info",
            ])
            .env(
                "PLATFORM_TOKEN_OPERATOR_ALLOW_BASE_URL",
                self.platforms.as_str(),
            )
            .env("KUBECONFIG", &self.kubeconfig)
            .stdin(Stdio::piped())
            .stderr(self.log.try_clone().unwrap())
            .spawn();
        Process(child.unwrap())
    }
}

/// One process of the operator. It ends with us, whatever becomes of us: its standard input closes.
pub(crate) struct Process(Child);

impl Process {
    /// SIGKILL: it gets no moment to say or write anything.
    pub(crate) fn kill(mut self) {
        let ended = self.0.try_wait().unwrap();
        assert!(ended.is_none(), "the operator ended by itself: {ended:?}");
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
