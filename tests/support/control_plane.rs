//! A real control plane with our CRDs and RBAC applied, and nobody using it yet. It ends when its standard input
//! closes, which the kernel does for us whatever becomes of this process.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};

/// The namespace of the operator, and the name of its service account.
const OPERATOR: &str = "platform-token-operator";

/// One control plane.
pub(crate) struct ControlPlane {
    /// Of the admin.
    pub kubeconfig: PathBuf,
    /// Of the operator: exactly the permissions that we ship.
    pub operator_kubeconfig: PathBuf,
    /// Where it keeps its state; gone when it ends. Logs of others are welcome.
    pub dir: PathBuf,
    /// What the servers said when they were ready: their address, and how to trust it.
    ready: Value,
    binary: PathBuf,
    process: Child,
}

impl ControlPlane {
    /// Starts one in a directory of the temporary ones, called `name` and this process's id, with the install that
    /// serves the whole cluster.
    pub(crate) fn start(name: &str) -> Self {
        Self::start_with(name, |_| "deploy".into())
    }

    /// The same, with the install that `manifests` returns, a kustomization's path, when everything else is there.
    pub(crate) fn start_with(name: &str, manifests: impl FnOnce(&Self) -> PathBuf) -> Self {
        let binary = binary();
        let dir = std::env::temp_dir().join(format!("{OPERATOR}-{name}-{}", std::process::id()));
        let mut process = Command::new(&binary)
            .args(["up", "--remove", "--dir"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let line = first_line(&mut process);
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the control plane said {line:?}"));
        let plane = Self {
            kubeconfig: PathBuf::from(ready["kubeconfig"].as_str().unwrap()),
            operator_kubeconfig: dir.join("operator.kubeconfig"),
            dir,
            ready,
            binary,
            process,
        };
        let manifests = manifests(&plane);
        plane.install(manifests.to_str().unwrap());
        plane
    }

    /// Applies exactly what a user applies; there is no node, so the Deployment stays without Pods. To be called anew
    /// where it was deleted: the operator has another identity then.
    pub(crate) fn install(&self, kustomization: &str) {
        let ready = &self.ready;
        self.kubectl(&["apply", "--server-side", "-k", kustomization]);
        self.kubectl(&[
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=30s",
        ]);
        let token = self.kubectl(&[
            "create",
            "token",
            OPERATOR,
            "-n",
            OPERATOR,
            "--duration=10h",
        ]);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "operator",
            "clusters": [{ "name": "c", "cluster": { "server": ready["server"], "certificate-authority": ready["ca"] } }],
            "users": [{ "name": "operator", "user": { "token": token.trim() } }],
            "contexts": [{ "name": "operator", "context": { "cluster": "c", "user": "operator" } }],
        });
        std::fs::write(&self.operator_kubeconfig, config.to_string()).unwrap();
    }

    /// What `kubectl` prints; it has to succeed.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self.try_kubectl(arguments, "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `kubectl` as the admin, with `input`, whatever comes of it.
    pub(crate) fn try_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        use std::io::Write;
        let mut child = Command::new(&self.binary)
            .arg("kubectl")
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig)
            .env("KUBECACHEDIR", self.kubeconfig.with_file_name("kube-cache"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap();
        child.wait_with_output().unwrap()
    }
}

impl Drop for ControlPlane {
    /// Waits, so that whoever starts the next one has the machine to himself.
    fn drop(&mut self) {
        // `wait` closes standard input first.
        let _ = self.process.wait();
    }
}

/// The first line of a child's standard output: how our programs say that they are ready.
pub(super) fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    line
}

/// The cached binary of `tests/cluster`; `make` names it, else it is built now.
fn binary() -> PathBuf {
    if let Ok(path) = std::env::var("CONTROL_PLANE") {
        return path.into();
    }
    let output = Command::new("hack/control-plane")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "hack/control-plane failed");
    String::from_utf8(output.stdout).unwrap().trim().into()
}
