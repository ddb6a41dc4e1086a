//! The ledger: what is known of tokens that nothing else in the cluster names. Each entry is one Secret in the operator's
//! own namespace, named after what it speaks of, so that creating it is the compare-and-swap.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Attempt, MalformedRecord, Owner, TokenHash, TokenId, TokenValue, UserId, hex, names};

/// How many bytes of its hash name an entry.
const NAME_BYTES: usize = 20;

/// One entry. Its value, where it is known, stands beside it in the data of the Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Entry {
    /// A token that has to be revoked. This is final: it is never taken back.
    Owed(OwedToken),
    /// An attempt that may have made a token, and whose PlatformToken is gone.
    Unresolved(Attempt),
    /// A token that lives on without its PlatformToken, as that asked for: never revoked as unclaimed.
    Released(NamedToken),
}

/// A token that has to be revoked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OwedToken {
    /// Which one.
    #[serde(flatten)]
    pub token: NamedToken,
    /// The hash of its value, if that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<TokenHash>,
    /// It was made before this time, as a record says that anyone may have written; none: the operator saw it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Timestamp>,
}

/// A token, and whose it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedToken {
    /// The PlatformToken that it was made for.
    pub owner: Owner,
    /// Its upstream id.
    #[serde(rename = "tokenID")]
    pub token_id: TokenId,
    /// The platform that it lives on.
    #[serde(rename = "baseURL")]
    pub base_url: String,
    /// The user that it belongs to, if that is known.
    #[serde(rename = "userID", skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
}

impl Entry {
    /// Every kind, as the label and the metric say it.
    pub const KINDS: [&str; 3] = ["owed", "unresolved", "released"];

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Owed(_) => "owed",
            Self::Unresolved(_) => "unresolved",
            Self::Released(_) => "released",
        }
    }

    /// The PlatformToken that it is left of.
    #[must_use]
    pub fn owner(&self) -> &Owner {
        match self {
            Self::Owed(owed) => &owed.token.owner,
            Self::Unresolved(attempt) => &attempt.owner,
            Self::Released(token) => &token.owner,
        }
    }

    /// The platform, and the user if that is known.
    #[must_use]
    pub fn account(&self) -> (&str, Option<&UserId>) {
        match self {
            Self::Owed(OwedToken { token, .. }) | Self::Released(token) => {
                (&token.base_url, token.user_id.as_ref())
            }
            Self::Unresolved(attempt) => {
                let account = &attempt.account;
                (&account.base_url, account.user_id.as_ref())
            }
        }
    }

    /// The token that it names, if it names one.
    #[must_use]
    pub fn token_id(&self) -> Option<&TokenId> {
        match self {
            Self::Owed(OwedToken { token, .. }) | Self::Released(token) => Some(&token.token_id),
            Self::Unresolved(_) => None,
        }
    }

    /// The name of its Secret: the same for whoever writes down the same token.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Owed(OwedToken { token, .. }) | Self::Released(token) => {
                Self::name_of(&token.base_url, &token.token_id)
            }
            Self::Unresolved(attempt) => {
                name(&attempt.account.base_url, "attempt", attempt.at.id.as_str())
            }
        }
    }

    /// The name of the entry of this token on this platform.
    #[must_use]
    pub fn name_of(base_url: &str, token_id: &TokenId) -> String {
        name(base_url, "token", token_id.as_str())
    }

    /// The Secret of this entry in the operator's namespace.
    #[must_use]
    pub fn secret(&self, namespace: &str, value: Option<&TokenValue>) -> Secret {
        let record = serde_json::json!(self).to_string();
        let data = value.map(|value| {
            let bytes = ByteString(value.expose().as_bytes().to_vec());
            BTreeMap::from([(names::TOKEN_KEY.to_owned(), bytes)])
        });
        Secret {
            metadata: ObjectMeta {
                name: Some(self.name()),
                namespace: Some(namespace.to_owned()),
                labels: Some(BTreeMap::from([
                    (names::MANAGED_BY_LABEL.into(), names::OPERATOR.into()),
                    (names::LEDGER_LABEL.into(), self.kind().into()),
                ])),
                annotations: Some([(names::LEDGER_ENTRY.into(), record)].into()),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".into()),
            data,
            ..Secret::default()
        }
    }

    /// Reads the metadata of such a Secret. One under another name than its own was copied, and does not read.
    pub fn parse(metadata: &ObjectMeta) -> Result<Self, MalformedRecord> {
        let malformed = |problem: String| MalformedRecord {
            name: names::LEDGER_ENTRY,
            problem,
        };
        let annotations = metadata.annotations.as_ref();
        let text = annotations.and_then(|all| all.get(names::LEDGER_ENTRY));
        let text = text.ok_or_else(|| malformed("it is missing".into()))?;
        let entry: Self = serde_json::from_str(text).map_err(|e| malformed(e.to_string()))?;
        if metadata.name.as_ref() != Some(&entry.name()) {
            return Err(malformed("it is another entry's".into()));
        }
        Ok(entry)
    }
}

fn name(base_url: &str, what: &str, id: &str) -> String {
    let digest = Sha256::digest(format!("{base_url}\n{what}\n{id}"));
    format!("ledger-{}", hex(&digest[..NAME_BYTES]))
}

#[cfg(test)]
mod tests {
    use super::super::{AttemptAccount, AttemptId, AttemptRef, Dialect};
    use super::*;

    fn token(id: &str) -> NamedToken {
        NamedToken {
            owner: Owner::parse("c/ns/name/u").unwrap(),
            token_id: TokenId::parse(id).unwrap(),
            base_url: "https://platform".into(),
            user_id: Some(UserId::parse("user").unwrap()),
        }
    }

    fn entries() -> Vec<Entry> {
        let owed = |id: &str, before: Option<&str>| OwedToken {
            token: token(id),
            hash: before.map(TokenHash::recorded),
            before: before.map(|_| "2026-01-02T03:04:05Z".parse().unwrap()),
        };
        let attempt = Attempt {
            at: AttemptRef {
                number: 3,
                id: AttemptId::parse("0b5e").unwrap(),
            },
            opened_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            dialect: Dialect::Current,
            owner: token("t").owner,
            account: AttemptAccount {
                base_url: "https://platform".into(),
                user_id: None,
            },
            given_up: vec![],
            adopts: None,
        };
        vec![
            Entry::Owed(owed("sure", None)),
            Entry::Owed(owed("recorded", Some("hash"))),
            Entry::Owed(OwedToken {
                before: Some(Timestamp::MIN),
                ..owed("listed", None)
            }),
            Entry::Unresolved(attempt),
            Entry::Released(token("released")),
        ]
    }

    #[test]
    fn an_entry_reads_back_from_its_secret_and_its_record_shows_no_value() {
        let value = TokenValue::parse("platform-secret").unwrap();
        for entry in entries() {
            let secret = entry.secret("ours", Some(&value));
            assert_eq!(Entry::parse(&secret.metadata).unwrap(), entry);
            let metadata = serde_json::to_string(&secret.metadata).unwrap();
            assert!(!metadata.contains(value.expose()), "{metadata}");
            let label = secret.metadata.labels.unwrap()[names::LEDGER_LABEL].clone();
            assert_eq!(label, entry.kind());
            assert!(Entry::KINDS.contains(&entry.kind()));
        }
    }

    #[test]
    fn a_token_has_one_entry_and_another_has_another() {
        let (owed, released) = (entries().remove(0), Entry::Released(token("sure")));
        assert_eq!(owed.name(), released.name());
        let mut names: Vec<String> = entries().iter().map(Entry::name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), entries().len());
        assert!(names.iter().all(|name| names::is_name(name)), "{names:?}");
        let elsewhere = NamedToken {
            base_url: "https://elsewhere".into(),
            ..token("sure")
        };
        assert_ne!(Entry::Released(elsewhere).name(), owed.name());
    }

    #[test]
    fn a_copy_of_an_entry_does_not_read() {
        let mut copy = entries().remove(0).secret("ours", None).metadata;
        copy.name = Some("copy".into());
        assert!(Entry::parse(&copy).is_err());
        assert!(Entry::parse(&ObjectMeta::default()).is_err());
    }
}
