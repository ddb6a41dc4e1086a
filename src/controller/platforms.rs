//! Which platforms may be spoken to.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::api::DEFAULT_BASE_URL;
use crate::platform::Transport;
use url::Url;

/// Scheme and host of a platform, as an operator allows it; compared in one canonical form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct BaseUrl(String);

/// The text is not scheme and host alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not the base URL of a platform: write scheme and host alone, such as https://platform.acedata.cloud"
)]
pub struct MalformedBaseUrl(String);

impl FromStr for BaseUrl {
    type Err = MalformedBaseUrl;

    fn from_str(text: &str) -> Result<Self, MalformedBaseUrl> {
        let malformed = || MalformedBaseUrl(text.to_owned());
        let url = Url::parse(text).map_err(|_| malformed())?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !bare || !anonymous {
            return Err(malformed());
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

type Connect = dyn Fn(&str) -> Arc<dyn Transport> + Send + Sync;

/// The platforms that the operator was told to trust with credentials, and how to speak to one.
pub struct Platforms {
    allowed: BTreeSet<BaseUrl>,
    connect: Box<Connect>,
}

impl Platforms {
    /// Only `allowed` is ever connected to.
    pub fn new(
        allowed: impl IntoIterator<Item = BaseUrl>,
        connect: impl Fn(&str) -> Arc<dyn Transport> + Send + Sync + 'static,
    ) -> Self {
        Self {
            allowed: allowed.into_iter().collect(),
            connect: Box::new(connect),
        }
    }

    /// A way to speak to this platform; none if it is not allowed.
    #[must_use]
    pub fn connect(&self, base_url: &str) -> Option<Arc<dyn Transport>> {
        let base_url: BaseUrl = base_url.parse().ok()?;
        self.allowed
            .contains(&base_url)
            .then(|| (self.connect)(&base_url.0))
    }

    /// Why this platform is not spoken to, and what to do.
    #[must_use]
    pub fn refusal(&self, base_url: &str) -> String {
        format!(
            "this operator may not speak to {base_url} ({DEFAULT_BASE_URL} is what spec.baseURL is if left out): \
             correct spec.baseURL, or add --allow-base-url {base_url} to the arguments of the operator; it may speak \
             to {}",
            self.allowed()
        )
    }

    /// The allowed ones, for a message.
    #[must_use]
    pub fn allowed(&self) -> String {
        self.allowed
            .iter()
            .map(BaseUrl::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_scheme_and_host_alone() {
        for (text, canonical) in [
            (
                "https://platform.acedata.cloud",
                "https://platform.acedata.cloud",
            ),
            (
                "https://Platform.acedata.cloud:443/",
                "https://platform.acedata.cloud",
            ),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(
                text.parse::<BaseUrl>().unwrap().to_string(),
                canonical,
                "{text}"
            );
        }
        for bad in [
            "",
            "platform",
            "ftp://x",
            "https://x/api",
            "https://u:p@x",
            "https://x?y",
            "https://x#y",
        ] {
            assert!(bad.parse::<BaseUrl>().is_err(), "{bad}");
        }
    }
}
