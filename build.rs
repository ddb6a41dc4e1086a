//! Tells `--version` the commit that was built.

use std::process::Command;

fn main() {
    // Every commit and checkout adds a line here. A source archive has no such file, and nothing to watch.
    let log = ".git/logs/HEAD";
    println!(
        "cargo::rerun-if-changed={}",
        if std::path::Path::new(log).exists() {
            log
        } else {
            "build.rs"
        }
    );
    println!("cargo::rerun-if-env-changed=PLATFORM_TOKEN_OPERATOR_COMMIT");
    let from_git = || {
        let output = Command::new("git")
            .args(["rev-parse", "--short=12", "HEAD"])
            .output()
            .ok()?;
        let commit = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && !commit.trim().is_empty()).then(|| commit.trim().to_owned())
    };
    let commit = std::env::var("PLATFORM_TOKEN_OPERATOR_COMMIT")
        .ok()
        .or_else(from_git);
    println!(
        "cargo::rustc-env=PLATFORM_TOKEN_OPERATOR_COMMIT={}",
        commit.as_deref().unwrap_or("unknown")
    );
}
