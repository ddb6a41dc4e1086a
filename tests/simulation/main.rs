//! Deterministic simulation: our own observe, plan, execute and report, under a seeded schedule and paused time, against
//! a small double of the API server and the sandbox's model of the platform. No sockets. The same seed makes the same
//! run, effect for effect.
//!
//! | file | thought |
//! |---|---|
//! | `apiserver` | the double of the API server |
//! | `world` | what the processes of one run share |
//! | `network`, `fault` | the way of each request of ours, and what befalls it |
//! | `process`, `queue`, `watches` | a process: what wakes it, when it looks at what |
//! | `election` | processes that elect a leader, and what keeps one from its lease |
//! | `users` | what users, strangers and other programs do |
//! | `promises` | what has to hold, whatever happened |
//! | `scenarios`, `run` | the stories, and one run of one |
//! | `sabotage` | guards that are taken away |
//! | `trace`, `chance` | what happened; seeded chance |

#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test owns its tasks and its time, and says with a panic what does not hold"
)]

mod apiserver;
mod chance;
mod election;
#[path = "../support/expectations.rs"]
mod expectations;
mod fault;
mod fidelity;
mod network;
mod parallel;
mod process;
mod promises;
mod queue;
mod random;
mod run;
mod sabotage;
mod scenarios;
mod stock;
mod sweep;
mod trace;
mod users;
mod watches;
mod world;
