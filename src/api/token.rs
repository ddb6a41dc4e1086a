//! `PlatformToken`: one upstream token behind one Secret.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::crd::{NAME, TOKEN_ID, rule};
use super::{AccountKind, AttemptRef, Issued, TokenHash, TokenId, UserId};

/// A platform token and the Secret that holds it. The operator mints the token, writes it into the Secret, keeps
/// both true, and revokes the token when this resource is deleted.
#[derive(CustomResource, JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "platform.acedata.cloud",
    version = "v1alpha1",
    kind = "PlatformToken",
    plural = "platformtokens",
    shortname = "ptok",
    category = "acedata",
    namespaced,
    status = "PlatformTokenStatus",
    derive = "PartialEq",
    doc = "A platform token and the Secret that holds it: minted, kept true and revoked by the operator.",
    selectable = ".spec.accountRef.kind",
    selectable = ".spec.accountRef.name",
    selectable = ".spec.adoptTokenID",
    selectable = ".status.secretName",
    selectable = ".status.tokenID",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Account",
        type_ = "string",
        json_path = ".spec.accountRef.name"
    ),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Token ID",
        type_ = "string",
        json_path = ".status.tokenID",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-validations" = rule("!has(self.adoptTokenID) || (has(oldSelf.adoptTokenID) && self.adoptTokenID == oldSelf.adoptTokenID)", "adoptTokenID can be removed later, and neither added nor changed; delete this PlatformToken, with deletionPolicy Orphan if its token is to live on, and create one that adopts the other token")))]
pub struct PlatformTokenSpec {
    /// The account that the token is minted on. It cannot be changed: a token belongs to one account for life.
    #[schemars(extend("x-kubernetes-validations" = rule("self == oldSelf", "accountRef cannot be changed; delete this PlatformToken and create one that names the other account")))]
    pub account_ref: AccountRef,
    /// The Secret that the token is written to.
    pub secret: SecretSpec,
    /// What becomes of the token when this PlatformToken is deleted: `Delete` revokes it, `Orphan` lets it live on.
    pub deletion_policy: DeletionPolicy,
    /// The platform's id of an existing token of the account, which is taken over instead of minting one. It can be
    /// removed later, which changes nothing for a token that was taken over.
    #[serde(rename = "adoptTokenID", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[schemars(extend("x-kubernetes-validations" = rule(&format!("self.matches('{TOKEN_ID}')"), "adoptTokenID is not an id that a token can have; write the id of an existing token of the account, as `status.tokenID` or the console shows it")))]
    #[schemars(length(max = 128))]
    pub adopt_token_id: Option<TokenId>,
}

/// What becomes of a token when its PlatformToken is deleted.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeletionPolicy {
    /// It is revoked.
    #[default]
    Delete,
    /// It lives on, and nothing of this operator revokes it any more.
    Orphan,
}

/// What becomes of a Secret when its PlatformToken is deleted.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SecretDeletionPolicy {
    /// It is deleted.
    #[default]
    Delete,
    /// It stays, and is nobody's.
    Retain,
}

/// Names the account that a token is minted on.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AccountRef {
    /// `ClusterPlatformAccount`, or `PlatformAccount` for one in the same namespace.
    pub kind: AccountKind,
    /// Name of the account.
    #[schemars(extend("x-kubernetes-validations" = rule(&format!("self.matches('{NAME}')"), "accountRef.name is not a name that an account can have; write the name of one, or leave it out for `default`")))]
    #[schemars(length(max = 253))]
    pub name: String,
}

impl Default for AccountRef {
    fn default() -> Self {
        Self {
            kind: AccountKind::ClusterPlatformAccount,
            name: "default".into(),
        }
    }
}

/// The Secret that a token is written to.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretSpec {
    /// Name of the Secret, in the namespace of the PlatformToken; the name of the PlatformToken if left out. A change
    /// moves the Secret and mints nothing. The name has to be free, or that of a Secret which was retained, which a
    /// PlatformToken that is gone has left, or which holds the token that is adopted: no other is ever written to.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = rule(&format!("self.matches('{NAME}')"), "secret.name is not a name that a Secret can have; write lower-case letters, digits, '-' and '.', such as `my-token`")))]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// What becomes of the Secret when this PlatformToken is deleted: `Delete` deletes it, `Retain` lets it stay as it
    /// is. With `deletionPolicy: Delete` of the token, what stays holds a revoked value.
    pub deletion_policy: SecretDeletionPolicy,
}

/// What the operator knows of a PlatformToken.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PlatformTokenStatus {
    /// The uid of the PlatformToken that this status speaks of. In a copy or a restored one it is another's, and the whole
    /// status counts for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The attempt that minted the present token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptRef>,
    /// Upstream id of the present token.
    #[serde(rename = "tokenID", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub token_id: Option<TokenId>,
    /// SHA-256 of the present token's value, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub token_hash: Option<TokenHash>,
    /// The platform's user that the token belongs to.
    #[serde(rename = "userID", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub user_id: Option<UserId>,
    /// The platform that the token lives on.
    #[serde(rename = "baseURL", skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// When the platform created the present token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Time>,
    /// The Secret that holds the present token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The resourceVersion of that Secret when it was last seen whole; spares reading it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_resource_version: Option<String>,
    /// `Ready`, and where they apply `Reconciling` and `Stalled`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

impl PlatformTokenStatus {
    /// Whether it speaks of the PlatformToken with this uid.
    #[must_use]
    pub fn is_of(&self, uid: &str) -> bool {
        self.uid.as_deref().is_none_or(|said| said == uid)
    }

    /// The token that the status records, if it records one whole.
    #[must_use]
    pub fn issued(&self) -> Option<Issued> {
        Some(Issued {
            attempt: self.attempt.clone()?,
            token_id: self.token_id.clone()?,
            hash: self.token_hash.clone()?,
            issued_at: self.issued_at.as_ref()?.0,
            base_url: self.base_url.clone()?,
            user_id: self.user_id.clone()?,
        })
    }
}
