//! One control plane, one operator, for all tests of this process. Both end when their standard input closes, which
//! the kernel does for us whatever becomes of this process.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use serde_json::Value;

/// How many tests can have a platform of their own.
const PLATFORMS: usize = 80;

/// The control plane of this process.
pub fn plane() -> &'static Plane {
    static PLANE: LazyLock<Plane> = LazyLock::new(Plane::start);
    &PLANE
}

/// Everything that the operator has logged so far.
pub fn operator_log() -> String {
    std::fs::read_to_string(plane().dir.join("operator.log")).unwrap()
}

/// A control plane with our CRDs and RBAC applied, and the operator running against it.
pub struct Plane {
    pub kubeconfig: PathBuf,
    pub operator_kubeconfig: PathBuf,
    pub metrics: String,
    binary: PathBuf,
    dir: PathBuf,
    platforms: Mutex<Vec<TcpListener>>,
    /// Hold the other ends of the pipes that keep both alive.
    _lifelines: [Child; 2],
}

impl Plane {
    fn start() -> Self {
        let binary = control_plane_binary();
        let dir = std::env::temp_dir().join(format!(
            "platform-token-operator-test-{}",
            std::process::id()
        ));
        let mut control_plane = Command::new(&binary)
            .args(["up", "--remove", "--dir"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let line = first_line(&mut control_plane);
        let ready: Value = serde_json::from_str(&line)
            .unwrap_or_else(|_| panic!("the control plane said {line:?}"));
        let kubeconfig = PathBuf::from(ready["kubeconfig"].as_str().unwrap());

        let platforms: Vec<_> = (0..PLATFORMS)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        let allowed: Vec<_> = platforms
            .iter()
            .map(|listener| base_url(listener))
            .collect();
        let operator_kubeconfig = dir.join("operator.kubeconfig");
        let kubectl = |arguments: &[&str]| kubectl(&binary, &kubeconfig, arguments);
        // Exactly what a user applies; there is no node, so the Deployment stays without Pods.
        kubectl(&["apply", "--server-side", "-k", "deploy"]);
        kubectl(&[
            "wait",
            "--for=condition=Established",
            "crd",
            "--all",
            "--timeout=30s",
        ]);
        let namespace = "platform-token-operator";
        let token = kubectl(&[
            "create",
            "token",
            namespace,
            "-n",
            namespace,
            "--duration=10h",
        ]);
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "operator",
            "clusters": [{ "name": "c", "cluster": { "server": ready["server"], "certificate-authority": ready["ca"] } }],
            "users": [{ "name": "operator", "user": { "token": token.trim() } }],
            "contexts": [{ "name": "operator", "context": { "cluster": "c", "user": "operator" } }],
        });
        std::fs::write(&operator_kubeconfig, config.to_string()).unwrap();

        let log = dir.join("operator.log");
        let operator = Command::new(env!("CARGO_BIN_EXE_platform-token-operator"))
            .args([
                "run",
                "--leader-election=false",
                "--listen=127.0.0.1:0",
                "--until-stdin-closes",
            ])
            .args(["--log=debug,hyper_util=info,kube=info,tower=info"])
            .env("PLATFORM_TOKEN_OPERATOR_ALLOW_BASE_URL", allowed.join(","))
            .env("KUBECONFIG", &operator_kubeconfig)
            .stdin(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let metrics = wait_for_metrics(&log);
        let (_lifelines, platforms) = ([control_plane, operator], Mutex::new(platforms));
        Self {
            kubeconfig,
            operator_kubeconfig,
            metrics,
            binary,
            dir,
            platforms,
            _lifelines,
        }
    }

    /// A port that the operator may speak to; nobody else has it.
    pub fn take_platform(&self) -> TcpListener {
        let taken = self
            .platforms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        taken.expect("raise PLATFORMS: there are more tests than ports")
    }

    /// What `kubectl` prints; it has to succeed.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        kubectl(&self.binary, &self.kubeconfig, arguments)
    }

    /// Runs `kubectl` as the admin, with `input`, whatever comes of it.
    pub fn try_kubectl(&self, arguments: &[&str], input: &str) -> Output {
        try_kubectl(&self.binary, &self.kubeconfig, arguments, input)
    }
}

/// Scheme, host and port of a listener.
pub(super) fn base_url(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

/// The cached binary of `tests/cluster`; `make` names it, else it is built now.
fn control_plane_binary() -> PathBuf {
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

fn kubectl(binary: &PathBuf, kubeconfig: &PathBuf, arguments: &[&str]) -> String {
    let output = try_kubectl(binary, kubeconfig, arguments, "");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

fn try_kubectl(binary: &PathBuf, kubeconfig: &PathBuf, arguments: &[&str], input: &str) -> Output {
    use std::io::Write;
    let mut child = Command::new(binary)
        .arg("kubectl")
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env("KUBECACHEDIR", kubeconfig.with_file_name("kube-cache"))
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

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    line
}

fn wait_for_metrics(log: &PathBuf) -> String {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let text = std::fs::read_to_string(log).unwrap();
        if let Some((_, rest)) = text.split_once("metrics=") {
            return format!("http://{}", rest.split_whitespace().next().unwrap());
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the operator did not start:\n{text}"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}
