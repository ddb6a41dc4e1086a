//! A Kubernetes operator for Ace Data Cloud platform tokens: the map of the house.
//!
//! **A `PlatformToken` is a promise that exactly one live upstream token stands behind one Secret, from `kubectl apply`
//! to `kubectl delete`.** The platform's POST is anonymous and not idempotent, and its answer is the only sure copy of
//! the token; everything here serves that sentence.
//!
//! ```text
//!   api  <-  plan  <-  controller  ->  platform  ->  transport: HTTP, or the sandbox's door
//! ```
//!
//! | room | what is in it | what is not |
//! |---|---|---|
//! | [`api`] | the kinds, the names, the records that survive a crash | I/O |
//! | [`plan`] | every rule of a token's life, as pure functions: a snapshot in, one step out | clients, clocks |
//! | [`platform`] | the platform's API in both dialects, what failures mean, the throttle | Kubernetes |
//! | [`lease`] | who leads, as a pure candidate for a lease | clients, clocks |
//! | [`controller`] | the shell: observe, then plan, execute and fold until settled, then report | decisions |
//! | [`sandbox`] | the fake platform: a pure model, a fault script, two fronts | the operator |
//! | [`check`] | looks at an installation and says what is amiss | writes |
//! | [`telemetry`] | logs, metrics, probes | |
//! | [`clock`] | the one place that reads clocks | |
//! | [`cli`] | the command line | |
//!
//! To learn how a token comes to be, read [`plan`] from `issue.rs`; to learn what a step does to the world, read the
//! function of its name in `controller/execute/`. A new rule is a new arm in `plan` with a row in its tables; a new
//! effect is a new [`plan::Step`] with one function in `execute`.
//!
//! An issuance is: a dry run of the Secret ([`plan::Step::Preflight`]), the attempt and the finalizer written to the
//! `PlatformToken` by compare-and-swap ([`plan::Step::Open`]), the one POST of this attempt ([`plan::Step::Mint`]), the
//! Secret ([`plan::Step::Store`]), one call with the token's own value ([`plan::Step::Verify`]), and the status.

pub mod api;
mod cause;
pub mod check;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod lease;
pub mod plan;
pub mod platform;
pub mod sandbox;
pub mod telemetry;
