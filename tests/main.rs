//! Tests on real parts: a real API server, the real binary under the RBAC that we ship, real HTTP to the sandbox.
//! They share one control plane and one operator, and each has a namespace and a platform of its own.

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test owns its tasks and its time, and says with a panic what does not hold"
)]

mod support;

mod accounts;
mod adoption;
mod attempts;
mod bad_input;
mod check;
mod cli;
mod client;
mod credentials;
mod deletion;
mod deploy;
mod docs;
mod elsewhere;
mod fairness;
mod fidelity;
mod handover;
mod issuance;
mod kinds;
mod leadership;
mod ledger;
mod orders;
mod ownership;
mod policies;
mod repair;
mod scope;
mod secrecy;
mod survival;
mod sweep;
mod tenancy;
