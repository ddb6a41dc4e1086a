//! The built binary, as a person or a script meets it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use platform_token_operator::api::{Credential, Dialect};
use platform_token_operator::clock::Clock;
use platform_token_operator::platform::{Client, Http};
use serde_json::Value;

/// How long a command may take to end.
const DEADLINE: Duration = Duration::from_secs(30);

/// The binary with nothing of this process's environment: no kubeconfig, no Pod.
fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_platform-token-operator"));
    command.args(arguments).env_clear();
    command
}

/// What a command printed that ends by itself.
fn output(command: &mut Command) -> (Output, String, String) {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

/// What it prints on success.
fn stdout(arguments: &[&str]) -> String {
    let (output, stdout, stderr) = output(&mut command(arguments));
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    stdout
}

/// What it says when it refuses to begin.
fn refusal(command: &mut Command) -> String {
    let (output, stdout, stderr) = output(command);
    assert!(!output.status.success(), "{command:?} began");
    assert_eq!(stdout, "", "errors go to standard error");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

/// The long flags that a help text explains.
fn flags(help: &str) -> BTreeSet<&str> {
    let explained = help
        .lines()
        .map(str::trim_start)
        .filter(|line| line.starts_with('-'));
    let names =
        explained.filter_map(|line| line.split([' ', '=', '[']).find(|w| w.starts_with("--")));
    names.collect()
}

#[test]
fn help_names_every_flag_and_its_variable() {
    let run = [
        ("--allow-base-url", "PLATFORM_TOKEN_OPERATOR_ALLOW_BASE_URL"),
        (
            "--watch-namespace",
            "PLATFORM_TOKEN_OPERATOR_WATCH_NAMESPACE",
        ),
        ("--listen", "PLATFORM_TOKEN_OPERATOR_LISTEN"),
        ("--concurrency", "PLATFORM_TOKEN_OPERATOR_CONCURRENCY"),
        (
            "--leader-election",
            "PLATFORM_TOKEN_OPERATOR_LEADER_ELECTION",
        ),
        ("--lease-name", "PLATFORM_TOKEN_OPERATOR_LEASE_NAME"),
        ("--namespace", "PLATFORM_TOKEN_OPERATOR_NAMESPACE"),
        ("--log", "PLATFORM_TOKEN_OPERATOR_LOG"),
        ("--log-format", "PLATFORM_TOKEN_OPERATOR_LOG_FORMAT"),
        ("--until-stdin-closes", ""),
    ];
    let sandbox = [
        ("--listen", "PLATFORM_TOKEN_SANDBOX_LISTEN"),
        ("--dialect", "PLATFORM_TOKEN_SANDBOX_DIALECT"),
        ("--user", ""),
        ("--latency", "PLATFORM_TOKEN_SANDBOX_LATENCY"),
        ("--page-cap", ""),
        ("--seed", ""),
        ("--until-stdin-closes", ""),
    ];
    for (name, expected) in [
        ("run", &run[..]),
        ("crd", &[("--dir", "")]),
        ("sandbox", &sandbox),
    ] {
        let help = stdout(&[name, "--help"]);
        let known = expected.iter().map(|(flag, _)| *flag).chain(["--help"]);
        assert_eq!(flags(&help), known.collect(), "{name}: {help}");
        // Where a line ends is no matter.
        let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for (flag, variable) in expected.iter().filter(|(_, variable)| !variable.is_empty()) {
            let named = format!("[env: {variable}=]");
            assert!(
                words.contains(&named),
                "{name} {flag} without {named}: {help}"
            );
        }
    }
}

#[test]
fn help_shows_the_commands_and_none_is_an_error_that_teaches() {
    let help = stdout(&["--help"]);
    for line in [
        "Kubernetes operator for Ace Data Cloud",
        "  run ",
        "  crd ",
        "  sandbox ",
    ] {
        assert!(help.contains(line), "{line:?} is not in {help}");
    }
    assert!(refusal(&mut command(&[])).contains("Usage: platform-token-operator <COMMAND>"));
}

#[test]
fn the_version_tells_the_commit() {
    let line = stdout(&["--version"]);
    let version = concat!("platform-token-operator ", env!("CARGO_PKG_VERSION"), " (");
    let rest = line
        .strip_prefix(version)
        .unwrap_or_else(|| panic!("{line}"));
    let commit = rest.strip_suffix(")\n").unwrap_or_else(|| panic!("{line}"));
    let hex = commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    // A source archive knows no commit.
    assert!(
        hex || (commit == "unknown" && !Path::new(".git").exists()),
        "{line}"
    );
}

#[test]
fn the_committed_crds_are_those_of_the_types() {
    let fresh = tempfile::tempdir().unwrap();
    assert_eq!(
        stdout(&["crd", "--dir", fresh.path().to_str().unwrap()]),
        ""
    );
    let files = |dir: &Path| -> Vec<(String, String)> {
        let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
        let read = |entry: std::fs::DirEntry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        };
        let mut files: Vec<_> = entries.map(read).collect();
        files.sort();
        files
    };
    let (committed, fresh) = (files(Path::new("crds")), files(fresh.path()));
    assert!(
        committed == fresh,
        "crds/ is not what the types say: run `make crds`"
    );
}

#[test]
fn the_printed_crds_are_the_files_and_name_the_kinds() {
    let printed = stdout(&["crd"]);
    let documents: Vec<&str> = printed.split("---\n").skip(1).collect();
    let mut names = Vec::new();
    for document in documents {
        let crd: Value = serde_saphyr::from_str(document).unwrap();
        assert_eq!(crd["kind"], "CustomResourceDefinition");
        assert_eq!(crd["spec"]["group"], "platform.acedata.cloud");
        let plural = crd["spec"]["names"]["plural"].as_str().unwrap();
        let file = std::fs::read_to_string(format!("crds/{plural}.yaml")).unwrap();
        assert!(
            document == file,
            "crds/{plural}.yaml is old: run `make crds`"
        );
        names.push(plural.to_owned());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "clusterplatformaccounts",
            "platformaccounts",
            "platformtokens"
        ]
    );
}

#[test]
fn what_cannot_be_run_is_refused_with_what_to_write() {
    for (arguments, says) in [
        (
            &["run", "--leader-election=perhaps"][..],
            "possible values: true, false",
        ),
        (
            &["run", "--allow-base-url", "ftp://x"],
            "write scheme and host alone, such as https://platform.acedata.cloud",
        ),
        (
            &["run", "--allow-base-url", "https://x,https://x/api"],
            "\"https://x/api\" is not the base URL of a platform",
        ),
        (
            &["run", "--watch-namespace", "a,Team"],
            "write the name of a namespace: lower-case letters",
        ),
        (
            &["run", "--watch-namespace", ""],
            "write the name of a namespace",
        ),
        (
            &["check", "--watch-namespace", "../a"],
            "write the name of a namespace",
        ),
        (
            &["run", "--namespace", "../kube-system"],
            "write the name of a namespace",
        ),
        (
            &["check", "--namespace", ""],
            "write the name of a namespace",
        ),
        (
            &["run", "--lease-name", "a/../b"],
            "write the name of a Lease",
        ),
        (
            &["check", "--lease-name", "Lease"],
            "write the name of a Lease",
        ),
        (&["run", "--concurrency", "0"], "1..=1000"),
        (&["run", "--listen", "8080"], "--listen <ADDRESS>"),
        (&["run", "--log", "a=b=c"], "--log \"a=b=c\" is no filter"),
        (
            &["run", "--log-format", "xml"],
            "possible values: text, json",
        ),
        (&["run", "--color"], "unexpected argument '--color'"),
        (
            &["sandbox", "--dialect", "latin"],
            "write `current` or `documented`",
        ),
        (
            &["sandbox", "--user", "a/b"],
            "1 to 128 characters out of A-Z a-z 0-9 - _",
        ),
        (
            &["sandbox", "--listen", "256.0.0.1:1"],
            "--listen <ADDRESS>",
        ),
        (
            &["crd", "--dir", "/dev/null/crds"],
            "cannot create /dev/null/crds",
        ),
    ] {
        let said = refusal(&mut command(arguments));
        assert!(said.contains(says), "{arguments:?} says: {said}");
    }
    // An empty list is no list of all namespaces.
    let variable = "PLATFORM_TOKEN_OPERATOR_WATCH_NAMESPACE";
    let said = refusal(command(&["run"]).env(variable, ""));
    assert!(said.contains("write the name of a namespace"), "{said}");
}

#[test]
fn without_a_cluster_the_operator_says_where_it_looked() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("missing").to_str().unwrap().to_owned();
    let said = refusal(
        command(&["run"])
            .env("HOME", home.path())
            .env("KUBECONFIG", &missing),
    );
    for part in [
        "there is no kubeconfig, and this is not a Pod",
        missing.as_str(),
    ] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    let said = refusal(command(&["run"]).env("HOME", home.path()));
    assert!(said.contains("there is no kubeconfig"), "{said}");
}

/// A sandbox that runs, and what it announced.
struct Running {
    child: Child,
    announced: Value,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut child = command(&["sandbox", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let announced = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line:?}"));
        Self { child, announced }
    }

    /// A client of its account with this number.
    fn client(&self, account: usize) -> Client {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let credential = text(&self.announced["accounts"][account]["credential"]);
        let transport = Http::new(Http::pool().unwrap(), &text(&self.announced["url"]));
        let credential = Credential::parse(&credential).unwrap();
        Client::new(Arc::new(transport), credential, Clock::system())
    }

    /// How it ends of itself.
    fn end(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "it did not end within {DEADLINE:?}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_sandbox_announces_itself_answers_and_ends_with_its_parent() {
    let arguments = [
        "--until-stdin-closes",
        "--user",
        "ann",
        "--user",
        "bob",
        "--seed",
        "7",
    ];
    for dialect in [Dialect::Current, Dialect::Documented] {
        let name = dialect.to_string();
        let mut sandbox = Running::start(&[&arguments[..], &["--dialect", &name]].concat());
        for (account, user) in ["ann", "bob"].into_iter().enumerate() {
            assert_eq!(sandbox.announced["accounts"][account]["userID"], user);
            let whoami = sandbox.client(account).whoami().await.unwrap();
            assert_eq!(whoami.dialect, dialect);
            assert_eq!(whoami.user_id.unwrap().as_str(), user);
        }
        drop(sandbox.child.stdin.take());
        assert!(sandbox.end().success(), "{dialect}");
    }
}

#[tokio::test]
async fn the_sandbox_ends_on_a_signal_and_not_when_nobody_asked_about_stdin() {
    for signal in ["-TERM", "-INT"] {
        let mut sandbox = Running::start(&[]);
        drop(sandbox.child.stdin.take());
        // A connection that stays open does not hold it up.
        let client = sandbox.client(0);
        client.probe(Dialect::Current).await.unwrap();
        sandbox.signal(signal);
        assert!(sandbox.end().success(), "{signal}");
    }
}

#[test]
fn the_same_seed_gives_the_same_credentials_and_chance_others() {
    let credential = |arguments: &[&str]| Running::start(arguments).announced["accounts"].clone();
    let seeded = credential(&["--seed", "7"]);
    assert_eq!(seeded, credential(&["--seed", "7"]));
    assert_ne!(seeded, credential(&[]));
}
