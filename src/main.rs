//! Parses arguments and hands over to [`platform_token_operator::cli`].

use std::process::ExitCode;

use clap::Parser;
use platform_token_operator::cli::Arguments;

fn main() -> ExitCode {
    // kube and reqwest share one TLS provider; without one they refuse to start.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match Arguments::parse().execute() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
