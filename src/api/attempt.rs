//! The records that survive a crash: who owns, which attempt is open, what was issued.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{AttemptId, Dialect, TokenHash, TokenId, UserId, names};

/// The PlatformToken that a Secret or an attempt belongs to, told apart across clusters and re-creations.
///
/// Written as `CLUSTER/NAMESPACE/NAME/UID`, where `CLUSTER` is the uid of the namespace `kube-system`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Owner {
    /// uid of the cluster's namespace `kube-system`.
    pub cluster: String,
    /// Namespace of the PlatformToken.
    pub namespace: String,
    /// Name of the PlatformToken.
    pub name: String,
    /// uid of the PlatformToken.
    pub uid: String,
}

impl Owner {
    /// Reads `CLUSTER/NAMESPACE/NAME/UID`.
    pub fn parse(text: &str) -> Result<Self, MalformedRecord> {
        let malformed = || MalformedRecord {
            name: names::OWNER,
            problem: "it is not CLUSTER/NAMESPACE/NAME/UID".into(),
        };
        let parts: Vec<&str> = text.split('/').collect();
        let [cluster, namespace, name, uid] = parts[..] else {
            return Err(malformed());
        };
        // Whoever it names is looked for: no name leads elsewhere in the path of a request.
        let names = names::is_namespace(namespace) && names::is_name(name);
        if cluster.is_empty() || uid.is_empty() || !names {
            return Err(malformed());
        }
        Ok(Self {
            cluster: cluster.into(),
            namespace: namespace.into(),
            name: name.into(),
            uid: uid.into(),
        })
    }

    /// Whether both are of one namespace of one cluster.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        self.cluster == other.cluster && self.namespace == other.namespace
    }

    /// The tag that every token of its cluster bears upstream.
    #[must_use]
    pub fn cluster_tag(&self) -> String {
        cluster_tag(&self.cluster)
    }

    /// The tag that every token of its namespace bears upstream.
    #[must_use]
    pub fn namespace_tag(&self) -> String {
        format!("namespace={}", self.namespace)
    }

    /// The tag that every token of this PlatformToken bears upstream.
    #[must_use]
    pub fn uid_tag(&self) -> String {
        format!("uid={}", self.uid)
    }
}

/// The tag that every token of a cluster bears upstream.
#[must_use]
pub fn cluster_tag(cluster: &str) -> String {
    format!("cluster={cluster}")
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}/{}",
            self.cluster, self.namespace, self.name, self.uid
        )
    }
}

impl TryFrom<String> for Owner {
    type Error = MalformedRecord;
    fn try_from(text: String) -> Result<Self, MalformedRecord> {
        Self::parse(&text)
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.to_string()
    }
}

/// Number and id of an attempt. Numbers only grow, so the highest one seen is the present.
#[derive(JsonSchema, Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRef {
    /// 1 for the first attempt of a PlatformToken.
    pub number: u32,
    /// The UUID that tags the token upstream.
    #[schemars(with = "String")]
    pub id: AttemptId,
}

impl AttemptRef {
    /// No PlatformToken gets this far; a higher number was not written by us.
    const MAX_NUMBER: u32 = 1_000_000_000;

    /// Reads `NUMBER/ID`.
    pub fn parse(text: &str) -> Result<Self, MalformedRecord> {
        text.split_once('/')
            .and_then(|(number, id)| {
                let (number, id) = (number.parse().ok()?, AttemptId::parse(id).ok()?);
                Some(Self { number, id }).filter(Self::is_plausible)
            })
            .ok_or_else(|| MalformedRecord {
                name: names::ATTEMPT,
                problem: "it is not NUMBER/ID".into(),
            })
    }

    /// Whether this can be an attempt of ours.
    #[must_use]
    pub fn is_plausible(&self) -> bool {
        (1..=Self::MAX_NUMBER).contains(&self.number)
    }
}

impl fmt::Display for AttemptRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.id)
    }
}

/// An attempt to mint, written to the PlatformToken before the POST so that no crash can lose the token.
///
/// It is an annotation and not status because backups drop status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Number and id.
    #[serde(flatten)]
    pub at: AttemptRef,
    /// When it was opened, by the wall clock of the process that opened it. Rules compare it with times of the
    /// platform; waits are counted from when a process first saw the attempt.
    pub opened_at: Timestamp,
    /// The dialect that the POST is sent in: only a current one tags the token.
    pub dialect: Dialect,
    /// Whose attempt this is; in a copy of the PlatformToken it is another's.
    pub owner: Owner,
    /// The account that it mints on.
    pub account: AttemptAccount,
    /// Tokens that this attempt takes the place of, and that stay owed until they are revoked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given_up: Vec<TokenId>,
    /// The token that it takes over. Such an attempt sends no POST and makes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopts: Option<TokenId>,
}

impl Attempt {
    /// Reads the annotation [`names::ATTEMPT`] of a PlatformToken.
    pub fn parse(text: &str) -> Result<Self, MalformedRecord> {
        let malformed = |problem| MalformedRecord {
            name: names::ATTEMPT,
            problem,
        };
        let attempt: Self = serde_json::from_str(text).map_err(|e| malformed(e.to_string()))?;
        if !attempt.at.is_plausible() {
            return Err(malformed("its number is out of range".into()));
        }
        Ok(attempt)
    }

    /// The tags that the token bears upstream, where the dialect has tags.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        vec![
            names::OPERATOR.into(),
            self.owner.cluster_tag(),
            self.owner.namespace_tag(),
            self.owner.uid_tag(),
            self.tag(),
        ]
    }

    /// The tag that only this attempt's tokens bear.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("attempt={}", self.at.id)
    }
}

/// The account that an attempt mints on, as it was proven when the attempt was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptAccount {
    /// The platform.
    #[serde(rename = "baseURL")]
    pub base_url: String,
    /// The user; unknown on a documented platform whose list is empty.
    #[serde(rename = "userID", skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
}

/// A token that was issued: what its Secret and the status both record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The attempt that minted it.
    pub attempt: AttemptRef,
    /// Its upstream id.
    pub token_id: TokenId,
    /// The hash of its value.
    pub hash: TokenHash,
    /// When the platform created it, in whole seconds.
    pub issued_at: Timestamp,
    /// The platform that it lives on.
    pub base_url: String,
    /// The user that it belongs to.
    pub user_id: UserId,
}

impl Issued {
    /// The names of the annotations of a generated Secret that record a token.
    pub const RECORD: [&'static str; 6] = [
        names::ATTEMPT,
        names::TOKEN_ID,
        names::TOKEN_HASH,
        names::ISSUED_AT,
        names::BASE_URL,
        names::USER_ID,
    ];

    /// The annotations of a generated Secret that record this token.
    #[must_use]
    pub fn annotations(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            (names::ATTEMPT, self.attempt.to_string()),
            (names::TOKEN_ID, self.token_id.to_string()),
            (names::TOKEN_HASH, self.hash.as_str().into()),
            (names::ISSUED_AT, self.issued_at.to_string()),
            (names::BASE_URL, self.base_url.clone()),
            (names::USER_ID, self.user_id.to_string()),
        ])
    }

    /// Reads the annotations of a generated Secret; none if one is missing or malformed.
    #[must_use]
    pub fn from_annotations(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let text = |name: &str| annotations.get(name).map(String::as_str);
        Some(Self {
            attempt: AttemptRef::parse(text(names::ATTEMPT)?).ok()?,
            token_id: TokenId::parse(text(names::TOKEN_ID)?).ok()?,
            hash: TokenHash::recorded(text(names::TOKEN_HASH)?),
            issued_at: text(names::ISSUED_AT)?.parse().ok()?,
            base_url: text(names::BASE_URL)?.into(),
            user_id: UserId::parse(text(names::USER_ID)?).ok()?,
        })
    }
}

/// A record of ours does not read; someone edited it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the annotation {name} does not read: {problem}")]
pub struct MalformedRecord {
    /// Which annotation.
    pub name: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> Attempt {
        Attempt {
            at: AttemptRef {
                number: 3,
                id: AttemptId::parse("0b5e").unwrap(),
            },
            opened_at: "2026-01-02T03:04:05Z".parse().unwrap(),
            dialect: Dialect::Current,
            owner: Owner::parse("c/ns/name/u").unwrap(),
            account: AttemptAccount {
                base_url: "https://x".into(),
                user_id: None,
            },
            given_up: vec![],
            adopts: None,
        }
    }

    #[test]
    fn an_attempt_reads_back_as_written() {
        let text = serde_json::to_string(&attempt()).unwrap();
        assert_eq!(Attempt::parse(&text).unwrap(), attempt());
        let given_up = vec![TokenId::parse("t").unwrap()];
        let heir = Attempt {
            given_up,
            adopts: Some(TokenId::parse("a").unwrap()),
            ..attempt()
        };
        let text = serde_json::to_string(&heir).unwrap();
        assert_eq!(Attempt::parse(&text).unwrap(), heir);
        let absurd = text.replace("\"number\":3", "\"number\":4294967295");
        assert!(Attempt::parse(&absurd).is_err());
        assert!(AttemptRef::parse("4294967295/x").is_err() && AttemptRef::parse("0/x").is_err());
        assert!(
            Attempt::parse("{}")
                .unwrap_err()
                .to_string()
                .contains(names::ATTEMPT)
        );
    }

    #[test]
    fn an_issued_token_reads_back_from_its_annotations() {
        let issued = Issued {
            attempt: attempt().at,
            token_id: TokenId::parse("t").unwrap(),
            hash: TokenHash::recorded("ab"),
            issued_at: "2026-01-02T03:04:05.5Z".parse().unwrap(),
            base_url: "https://x".into(),
            user_id: UserId::parse("u").unwrap(),
        };
        let mut annotations: BTreeMap<String, String> = issued
            .annotations()
            .into_iter()
            .map(|(k, v)| (k.to_owned(), v))
            .collect();
        assert!(
            Issued::RECORD
                .iter()
                .all(|name| annotations.contains_key(*name))
        );
        assert_eq!(annotations.len(), Issued::RECORD.len());
        assert_eq!(Issued::from_annotations(&annotations), Some(issued));
        annotations.remove(names::TOKEN_ID);
        assert_eq!(Issued::from_annotations(&annotations), None);
    }

    #[test]
    fn an_owner_has_four_parts() {
        assert_eq!(Owner::parse("a/b/c/d").unwrap().to_string(), "a/b/c/d");
        for bad in [
            "",
            "a/b/c",
            "a/b//d",
            "a/b/c/d/e",
            "/b/c/d",
            "a/b/c/",
            "a/../c/d",
            "a/b/c?x/d",
            "a/B/c/d",
        ] {
            assert!(Owner::parse(bad).is_err(), "{bad}");
        }
    }
}
