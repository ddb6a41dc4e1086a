//! Tests on real parts: a real API server, the real binary under the RBAC that we ship, real HTTP to the sandbox.
//! They share one control plane and one operator, and each has a namespace and a platform of its own.

#![expect(
    clippy::disallowed_methods,
    reason = "a test owns its tasks and its time"
)]

mod support;

mod accounts;
mod bad_input;
mod cli;
mod client;
mod deletion;
mod deploy;
mod issuance;
mod kinds;
mod repair;
mod secrecy;
