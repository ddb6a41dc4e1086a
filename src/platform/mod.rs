//! The platform's API: one client for both dialects, over any [`Transport`].
//!
//! - `client`: the calls, and which dialect they are made in. Decided from the answers, never configured.
//! - `wire`: what an answer says. `error`: what a failure means, above all for a POST. `retry_after`: when to come back.
//! - `throttle`: how fast an account may call. `http`: the transport of production.

mod client;
mod error;
mod http;
mod retry_after;
mod throttle;
pub mod transport;
mod wire;

pub use client::{Client, Found, Whoami};
pub use error::Error;
pub use http::{Http, HttpSetupError};
pub use throttle::{Denied, PAUSE, Throttle};
pub use transport::Transport;
pub use wire::Row;
