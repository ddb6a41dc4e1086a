//! One control plane, one operator, for all tests of this process. Both end when their standard input closes, which
//! the kernel does for us whatever becomes of this process.

use std::net::TcpListener;
use std::ops::Deref;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::control_plane::ControlPlane;
use super::serving::overlay;

/// How many tests can have a platform of their own.
const PLATFORMS: usize = 320;

/// The ports of platforms that no test has taken yet. The operators of all planes may speak to all of them.
static PLATFORMS_LEFT: LazyLock<Mutex<Vec<TcpListener>>> = LazyLock::new(|| {
    let ports = (0..PLATFORMS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    Mutex::new(ports.collect())
});

/// Every platform that there ever is.
static ALLOWED: LazyLock<String> = LazyLock::new(|| {
    let platforms = PLATFORMS_LEFT
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let allowed: Vec<String> = platforms.iter().map(base_url).collect();
    allowed.join(",")
});

/// The control plane of this process.
pub(crate) fn plane() -> &'static Plane {
    static PLANE: LazyLock<Plane> = LazyLock::new(Plane::start);
    &PLANE
}

/// How many tests can have a namespace that is served under Roles.
const NAMESPACES: usize = 16;

/// Another control plane, whose operator serves some namespaces alone.
pub(crate) fn scoped_plane() -> &'static Plane {
    static PLANE: LazyLock<Plane> = LazyLock::new(Plane::start_scoped);
    &PLANE
}

/// One without an operator, for tests that start their own.
pub(crate) async fn unserved_plane() -> &'static ControlPlane {
    static PLANE: LazyLock<ControlPlane> = LazyLock::new(|| ControlPlane::start("unserved"));
    tokio::task::spawn_blocking(|| &*PLANE).await.unwrap()
}

/// Everything that the operator has logged so far.
pub(crate) fn operator_log() -> String {
    std::fs::read_to_string(plane().dir.join("operator.log")).unwrap()
}

/// A port that the operators may speak to; nobody else has it.
pub(crate) fn take_platform() -> TcpListener {
    LazyLock::force(&ALLOWED);
    let mut platforms = PLATFORMS_LEFT
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let taken = platforms.pop();
    taken.expect("raise PLATFORMS: there are more tests than ports")
}

/// A control plane, and the operator running against it.
pub(crate) struct Plane {
    /// Where the operator serves its metrics.
    pub metrics: String,
    kubernetes: ControlPlane,
    /// Where the operator serves some namespaces alone, those that no test has taken yet.
    namespaces: Mutex<Vec<String>>,
    /// Holds the other end of the pipe that keeps the operator alive.
    _operator: Child,
}

impl Plane {
    fn start() -> Self {
        Self::around(ControlPlane::start("test"), vec![])
    }

    fn start_scoped() -> Self {
        let namespaces: Vec<String> = (0..NAMESPACES).map(|n| format!("served-{n}")).collect();
        let control_plane = ControlPlane::start_with("scope", |plane| overlay(plane, &namespaces));
        Self::around(control_plane, namespaces)
    }

    /// Starts the operator as its Deployment says.
    fn around(control_plane: ControlPlane, namespaces: Vec<String>) -> Self {
        let variable = "PLATFORM_TOKEN_OPERATOR_WATCH_NAMESPACE";
        let path = format!("-o=jsonpath={{..env[?(@.name==\"{variable}\")].value}}");
        let deployment = "deployment/platform-token-operator";
        let served =
            control_plane.kubectl(&["get", deployment, "-n=platform-token-operator", &path]);
        let served = (!served.is_empty()).then_some((variable, served));
        let log = control_plane.dir.join("operator.log");
        let operator = Command::new(env!("CARGO_BIN_EXE_platform-token-operator"))
            .args([
                "run",
                "--leader-election=false",
                "--listen=127.0.0.1:0",
                "--until-stdin-closes",
            ])
            .args(["--log=debug,hyper_util=info,kube=info,tower=info"])
            .env("PLATFORM_TOKEN_OPERATOR_ALLOW_BASE_URL", &*ALLOWED)
            .env("KUBECONFIG", &control_plane.operator_kubeconfig)
            .envs(served)
            .stdin(Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            metrics: wait_for_metrics(&log),
            kubernetes: control_plane,
            namespaces: Mutex::new(namespaces),
            _operator: operator,
        }
    }

    /// A namespace that the operator was told to serve; nobody else has it.
    pub(super) fn take_namespace(&self) -> Option<String> {
        let mut namespaces = self
            .namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        namespaces.pop()
    }
}

impl Deref for Plane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        &self.kubernetes
    }
}

/// Scheme, host and port of a listener.
pub(super) fn base_url(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().unwrap())
}

fn wait_for_metrics(log: &Path) -> String {
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
