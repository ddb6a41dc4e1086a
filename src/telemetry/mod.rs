//! What the operator says of itself: logs, metrics and probes.

mod logs;
mod metrics;
mod server;

pub use logs::{LogFormat, init as init_logs};
pub use metrics::Telemetry;
pub use server::serve;
