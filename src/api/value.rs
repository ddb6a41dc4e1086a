//! Validated values that travel through the whole house: a token's value and hash, ids, credentials.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Prefix that the platform promises for every platform token.
pub const TOKEN_PREFIX: &str = "platform-";

/// The longest identifier that we accept from the platform, in bytes.
const MAX_ID: usize = 128;

/// The secret value of a platform token, `^platform-[A-Za-z0-9_-]+$`.
///
/// It is wiped when dropped, its `Debug` shows nothing, and it cannot be serialized: the only way out is
/// [`TokenValue::expose`], which is called where a value enters an HTTP header or a Secret.
#[derive(Clone)]
pub struct TokenValue(SecretString);

impl TokenValue {
    /// Accepts exactly what matches the pattern; surrounding white space is not trimmed.
    pub fn parse(text: &str) -> Result<Self, MalformedToken> {
        let rest = text.strip_prefix(TOKEN_PREFIX).ok_or(MalformedToken)?;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if rest.is_empty() || !rest.chars().all(word) {
            return Err(MalformedToken);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The hash that binds this value to its id.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.expose())
    }
}

impl fmt::Debug for TokenValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenValue(platform-…)")
    }
}

/// The text is not a platform token. It says nothing of the text, which may be a secret of another kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the value does not match ^platform-[A-Za-z0-9_-]+$")]
pub struct MalformedToken;

/// What authenticates a call: an account's credential or a token's own value.
#[derive(Clone)]
pub struct Credential(SecretString);

impl Credential {
    /// Takes the content of a credentials Secret: trimmed, not empty, printable ASCII (it becomes a header).
    pub fn parse(text: &str) -> Result<Self, UnusableCredential> {
        let text = text.trim();
        if text.is_empty() {
            return Err(UnusableCredential::Empty);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(UnusableCredential::NotPrintable);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// The value of the header `authorization`.
    #[must_use]
    pub fn bearer(&self) -> SecretString {
        SecretString::from(format!("Bearer {}", self.0.expose_secret()))
    }

    /// Takes this very credential out of a text, for instance of an answer that quotes it.
    #[must_use]
    pub fn hide_in(&self, text: &str) -> String {
        text.replace(self.0.expose_secret(), "…")
    }

    /// Whether this is a platform token; a user token expires.
    #[must_use]
    pub fn is_platform_token(&self) -> bool {
        TokenValue::parse(self.0.expose_secret()).is_ok()
    }

    /// The hash that tells whether a generated token is this very credential.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(self.0.expose_secret())
    }
}

impl From<&TokenValue> for Credential {
    fn from(value: &TokenValue) -> Self {
        Self(value.0.clone())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credential(…)")
    }
}

/// Why the content of a credentials Secret cannot be sent as a bearer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnusableCredential {
    /// Nothing but white space.
    #[error("is empty")]
    Empty,
    /// Binary, or several lines or words.
    #[error("is not one line of printable ASCII")]
    NotPrintable,
}

/// SHA-256 of a token's value, 64 lower-case hex digits: binds an id to its value without holding the value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenHash(String);

impl TokenHash {
    fn of(text: &str) -> Self {
        Self(hex(&Sha256::digest(text.as_bytes())))
    }

    /// Takes a recorded hash as it stands: a wrong one matches no value, which is all that matters.
    #[must_use]
    pub fn recorded(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Lower-case hex of some bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

/// An identifier is empty, too long, or would not survive a URL path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an identifier: 1 to 128 characters out of A-Z a-z 0-9 - _ are")]
pub struct MalformedId(String);

fn checked_id(text: &str) -> Result<String, MalformedId> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if text.is_empty() || text.len() > MAX_ID || !text.bytes().all(word) {
        return Err(MalformedId(text.chars().take(40).collect()));
    }
    Ok(text.to_owned())
}

macro_rules! identifier {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Accepts 1 to 128 characters out of `A-Z a-z 0-9 - _`.
            pub fn parse(text: &str) -> Result<Self, MalformedId> {
                checked_id(text).map(Self)
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = MalformedId;
            fn try_from(text: String) -> Result<Self, MalformedId> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

identifier! {
    /// The platform's id of a token. UUID-like, but nothing promises that.
    TokenId
}
identifier! {
    /// The platform's id of the user whose account a token belongs to.
    UserId
}
identifier! {
    /// Our id of one attempt to mint, a UUID; it tags the token upstream.
    AttemptId
}

impl AttemptId {
    /// A UUID that was never made before.
    #[must_use]
    pub fn fresh() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

/// Which of its two dialects a platform answers in; seen from its answers, never configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// The dialect of the public documentation: no tags, no `me`.
    Documented,
    /// The dialect that today's official clients speak: tags, `me`, filters.
    Current,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Documented => "documented",
            Self::Current => "current",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_token_is_one() {
        for good in ["platform-v1-00ff", "platform-x", "platform-a_b-C"] {
            assert!(TokenValue::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "platform-",
            "Platform-x",
            "user-1",
            "platform-a b",
            "platform-x\n",
            "platform-***",
            "platform-…",
        ] {
            assert_eq!(TokenValue::parse(bad).unwrap_err(), MalformedToken, "{bad}");
        }
    }

    #[test]
    fn debug_output_hides_every_secret() {
        let value = TokenValue::parse("platform-v1-5ec4e7").unwrap();
        let credential = Credential::from(&value);
        let shown = format!("{value:?} {credential:?} {:?}", credential.bearer());
        assert!(!shown.contains("5ec4e7"), "{shown}");
    }

    #[test]
    fn credentials_are_trimmed_and_refused_when_unusable() {
        assert!(
            Credential::parse(" platform-x\n")
                .unwrap()
                .is_platform_token()
        );
        assert!(
            !Credential::parse("eyJhbGciOi.J9")
                .unwrap()
                .is_platform_token()
        );
        assert_eq!(
            Credential::parse(" \n").unwrap_err(),
            UnusableCredential::Empty
        );
        assert_eq!(
            Credential::parse("a\nb").unwrap_err(),
            UnusableCredential::NotPrintable
        );
        assert_eq!(
            Credential::parse("\u{1}").unwrap_err(),
            UnusableCredential::NotPrintable
        );
    }

    #[test]
    fn an_id_that_would_change_a_url_is_refused() {
        for bad in ["", "a/b", "..", "a?b", "a b", &"x".repeat(129)] {
            assert!(TokenId::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(TokenId::parse("a1b2-c3").unwrap().as_str(), "a1b2-c3");
    }
}
