//! What a generated Secret looks like, and how one is read back.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::ownership::of_another;
use super::{Former, LeftSecret, Reader, Trouble};
use crate::api::{Issued, Owner, Reason, TokenHash, TokenId, TokenValue, names};

/// What to do about a Secret that is not ours.
pub(super) const RENAME: &str = "set spec.secret.name to a name that is free";

/// What is known of one Secret in the namespace of a PlatformToken.
#[derive(Debug, Clone)]
pub enum SecretFacts {
    /// Only the cache knows of it, or nothing does yet: it has to be read before anything rests on it.
    Unread {
        /// As the cache has it; none if the cache knows no such Secret.
        resource_version: Option<String>,
    },
    /// There is none; before anything is minted, a create proves it.
    Absent,
    /// It is not this PlatformToken's: never written, never deleted.
    Foreign {
        /// Whose it seems to be, and what to do.
        trouble: Trouble,
        /// Nobody's: it is being deleted, and only our finalizer keeps it.
        dying: Option<Version>,
    },
    /// Its owner is gone: it is this PlatformToken's to take over.
    Left(Box<LeftSecret>),
    /// Nobody's: its PlatformToken has let go of it on purpose, and its token does not live. It may be written over.
    Retained(Version),
    /// It is this PlatformToken's.
    Own(Box<OwnSecret>),
}

/// A Secret of this PlatformToken, read live.
#[derive(Debug, Clone)]
pub struct OwnSecret {
    /// Exactly which one, and its finalizers.
    pub version: Version,
    /// Someone deleted it; a finalizer still keeps it.
    pub deleting: bool,
    /// Our finalizer is on it.
    pub held: bool,
    /// What its annotations record.
    pub issued: Option<Issued>,
    /// Other tokens of the same attempt, which its annotations record as owed.
    pub given_up: BTreeSet<TokenId>,
    /// The value with the recorded hash, if either key holds it still.
    pub value: Option<TokenValue>,
    /// It is exactly as we write it, our finalizer aside.
    pub whole: bool,
}

/// Exactly one state of one Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// The finalizers of others, which a write has to leave.
    pub other_finalizers: Vec<String>,
}

impl Version {
    /// The version that this metadata describes.
    #[must_use]
    pub fn of(metadata: &ObjectMeta) -> Self {
        let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            other_finalizers: finalizers
                .iter()
                .filter(|f| *f != names::FINALIZER)
                .cloned()
                .collect(),
        }
    }
}

/// The Secret of a token. The finalizer, if it is `held`, keeps its value until the token is revoked or stored anew.
#[must_use]
pub fn render(
    owner: &Owner,
    name: &str,
    issued: &Issued,
    given_up: &BTreeSet<TokenId>,
    value: &TokenValue,
    held: bool,
) -> Secret {
    let mut record = issued.annotations();
    if !given_up.is_empty() {
        let ids: Vec<&str> = given_up.iter().map(TokenId::as_str).collect();
        record.insert(names::GIVEN_UP, ids.join(","));
    }
    frame(owner, name, record, value.expose(), held)
}

/// A Secret of the same name, keys and size for a dry run, when there is no token yet.
#[must_use]
pub fn render_preflight(owner: &Owner, name: &str, held: bool) -> Secret {
    frame(owner, name, BTreeMap::new(), &"x".repeat(76), held)
}

fn frame(
    owner: &Owner,
    name: &str,
    record: BTreeMap<&str, String>,
    text: &str,
    held: bool,
) -> Secret {
    let annotations = record.into_iter().chain([
        (names::OWNER, owner.to_string()),
        (names::SECRET, name.to_owned()),
    ]);
    let labels = [
        (names::MANAGED_BY_LABEL, names::OPERATOR),
        (names::MANAGED_LABEL, "true"),
    ];
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(owner.namespace.clone()),
            labels: Some(
                labels
                    .map(|(key, text)| (key.to_owned(), text.to_owned()))
                    .into(),
            ),
            annotations: Some(
                annotations
                    .map(|(key, text)| (key.to_owned(), text))
                    .collect(),
            ),
            finalizers: held.then(|| vec![names::FINALIZER.into()]),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".into()),
        data: Some(keys(text)),
        ..Secret::default()
    }
}

fn keys(text: &str) -> BTreeMap<String, ByteString> {
    let bytes = || ByteString(text.as_bytes().to_vec());
    BTreeMap::from([
        (names::TOKEN_KEY.into(), bytes()),
        (names::TOKEN_VARIABLE.into(), bytes()),
    ])
}

/// Reads a Secret for a PlatformToken. It is the PlatformToken's if it says so; where it says nothing any more, if it holds
/// the very value that the status knows. Of one that names another owner, `former` says what has become of him.
#[must_use]
pub fn read(secret: &Secret, reader: Reader<'_>, former: &Former) -> SecretFacts {
    let nothing = BTreeMap::new();
    let annotations = secret.metadata.annotations.as_ref().unwrap_or(&nothing);
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    if is_free(secret, reader.owner) {
        return SecretFacts::Retained(Version::of(&secret.metadata));
    }
    let nobodys = |whose: &str| SecretFacts::Foreign {
        trouble: Trouble::stalled(
            Reason::SecretNotWritable,
            format!("Secret {name} {whose}; delete it, or {RENAME}"),
        ),
        dying: dying(secret),
    };
    if let Some(original) = annotations.get(names::SECRET)
        && original != name
    {
        return nobodys(&format!("is a copy of Secret {original}"));
    }
    let own = read_own(secret, annotations, reader);
    match annotations.get(names::OWNER).map(|text| Owner::parse(text)) {
        Some(Ok(said)) if said == *reader.owner => {
            if let Former::Succeeded(who) = former {
                return nobodys(&format!("holds a token that {who} has"));
            }
        }
        Some(Ok(said)) => return of_another(name, own, said, reader, former),
        Some(Err(_)) => return nobodys("bears an owner annotation that does not read"),
        None => {
            let hash = own.value.as_ref().map(TokenValue::hash);
            if hash.is_none() || hash.as_ref() != reader.known {
                return nobodys("was not made by this operator");
            }
        }
    }
    SecretFacts::Own(Box::new(own))
}

/// What a Secret says and holds, whosever it is.
fn read_own(
    secret: &Secret,
    annotations: &BTreeMap<String, String>,
    reader: Reader<'_>,
) -> OwnSecret {
    let issued = Issued::from_annotations(annotations);
    let given_up: BTreeSet<TokenId> = annotations
        .get(names::GIVEN_UP)
        .into_iter()
        .flat_map(|ids| ids.split(','))
        .filter_map(|id| TokenId::parse(id).ok())
        .collect();
    let recorded = issued.as_ref().map(|issued| &issued.hash);
    let value = [recorded, reader.known]
        .into_iter()
        .flatten()
        .find_map(|hash| value_of(secret, hash));
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let whole = match (&issued, &value) {
        (Some(issued), Some(value)) => {
            let wanted = render(reader.owner, name, issued, &given_up, value, false);
            value.hash() == issued.hash && includes(secret, &wanted)
        }
        _ => false,
    };
    OwnSecret {
        version: Version::of(&secret.metadata),
        deleting: secret.metadata.deletion_timestamp.is_some(),
        held: is_held(secret),
        issued,
        given_up,
        value,
        whole,
    }
}

/// Whether a PlatformToken of this namespace has let go of a Secret whose token does not live.
pub(super) fn is_free(secret: &Secret, reader: &Owner) -> bool {
    let Some(annotations) = &secret.metadata.annotations else {
        return false;
    };
    let here = annotations.get(names::SECRET) == secret.metadata.name.as_ref()
        && owner_of(secret).is_some_and(|said| said.is_beside(reader));
    let left = annotations.contains_key(names::RETAINED)
        && !annotations.contains_key(names::TOKEN_ID)
        && secret.metadata.deletion_timestamp.is_none();
    // One that cannot be changed is of no use to anyone.
    here && left && !is_held(secret) && secret.immutable != Some(true)
}

/// Whether a Secret names this PlatformToken as its owner.
pub(super) fn is_ours(secret: &Secret, owner: &Owner) -> bool {
    owner_of(secret).as_ref() == Some(owner)
}

fn owner_of(secret: &Secret) -> Option<Owner> {
    Owner::parse(secret.metadata.annotations.as_ref()?.get(names::OWNER)?).ok()
}

/// The value that a Secret records to be this token's.
#[must_use]
pub fn recorded_value(secret: &Secret, id: &TokenId) -> Option<TokenValue> {
    let issued = Issued::from_annotations(secret.metadata.annotations.as_ref()?)?;
    value_of(secret, &issued.hash).filter(|_| issued.token_id == *id)
}

/// The value with this hash, if it stands under either of the keys that we write: a user may have edited one.
pub(super) fn value_of(secret: &Secret, hash: &TokenHash) -> Option<TokenValue> {
    let data = secret.data.as_ref()?;
    [names::TOKEN_KEY, names::TOKEN_VARIABLE]
        .iter()
        .find_map(|key| {
            let text = std::str::from_utf8(&data.get(*key)?.0).ok()?;
            TokenValue::parse(text)
                .ok()
                .filter(|value| value.hash() == *hash)
        })
}

/// Whether `secret` has everything that `wanted` has; what users add beside it stays theirs.
fn includes(secret: &Secret, wanted: &Secret) -> bool {
    fn subset<V: PartialEq>(
        some: Option<&BTreeMap<String, V>>,
        all: Option<&BTreeMap<String, V>>,
    ) -> bool {
        some.is_none_or(|some| {
            some.iter()
                .all(|(key, value)| all.is_some_and(|all| all.get(key) == Some(value)))
        })
    }
    let (have, want) = (&secret.metadata, &wanted.metadata);
    subset(want.labels.as_ref(), have.labels.as_ref())
        && subset(want.annotations.as_ref(), have.annotations.as_ref())
        && subset(wanted.data.as_ref(), secret.data.as_ref())
}

fn dying(secret: &Secret) -> Option<Version> {
    let dying = secret.metadata.deletion_timestamp.is_some() && is_held(secret);
    dying.then(|| Version::of(&secret.metadata))
}

fn is_held(secret: &Secret) -> bool {
    let mut finalizers = secret.metadata.finalizers.iter().flatten();
    finalizers.any(|f| f == names::FINALIZER)
}
