//! How far an operator reaches: platforms and namespaces.

use std::sync::Arc;

use clap::Args;

use crate::api::DEFAULT_BASE_URL;
use crate::controller::{BaseUrl, Platforms, Served};
use crate::platform::{Http, HttpSetupError, Transport};

/// The same arguments for whoever acts, and for whoever looks whether it can.
#[derive(Debug, Args)]
pub(super) struct Reach {
    /// A platform that accounts may name in `spec.baseURL`; may be given several times. Credentials are sent to no
    /// other host. It replaces the default: name that one as well if it is still to be allowed.
    #[arg(
        long,
        value_name = "URL",
        env = "PLATFORM_TOKEN_OPERATOR_ALLOW_BASE_URL",
        value_delimiter = ',',
        default_value = DEFAULT_BASE_URL
    )]
    allow_base_url: Vec<BaseUrl>,

    /// A namespace to serve; may be given several times. Left out, every namespace is served. Secrets are then reached by
    /// a Role in each of them, and generated ones bear no finalizer.
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "PLATFORM_TOKEN_OPERATOR_WATCH_NAMESPACE",
        value_delimiter = ',',
        value_parser = super::namespace
    )]
    watch_namespace: Vec<String>,
}

impl Reach {
    /// The platforms that credentials may be sent to, and the namespaces that are served.
    pub(super) fn resolve(self) -> Result<(Platforms, Served), HttpSetupError> {
        let pool = Http::pool()?;
        let platforms = Platforms::new(self.allow_base_url, move |base_url| {
            let transport: Arc<dyn Transport> = Arc::new(Http::new(pool.clone(), base_url));
            transport
        });
        Ok((platforms, Served::these(self.watch_namespace)))
    }
}
