//! What has become of the owner that a Secret names, where that is not the PlatformToken that reads it, and who has its
//! token by now.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::Context;
use super::kubernetes::{KubeError, call_opt};
use crate::api::{Issued, Owner, PlatformToken, PlatformTokenStatus, TokenId, names};
use crate::plan::{Former, TokenFacts, other_owner};

impl Context {
    /// What has become of the owner that a Secret names. None if the caches cannot tell yet.
    pub(super) async fn former(
        &self,
        secret: &Secret,
        token: &TokenFacts,
    ) -> Result<Option<Former>, KubeError> {
        let reader = &token.owner;
        let said = other_owner(secret, reader);
        if said.is_none() && token.status.token_id == token_of(secret) {
            // Its own, as almost always.
            return Ok(Some(Former::Lives));
        }
        if !self.listed.initialized() {
            return Ok(None);
        }
        let successor = match said {
            Some(said) if said.cluster == self.cluster && self.lives(&said).await? => {
                return Ok(Some(Former::Lives));
            }
            Some(_) if self.is_owed(secret) => return Ok(Some(Former::Owed)),
            Some(said) => self.successor(secret, &said, reader),
            // Anyone may write its name on a Secret, and the name of its token on another.
            None => Issued::from_annotations(secret.annotations()).and_then(|issued| {
                let same = |token: &PlatformToken| {
                    let known = token.status.as_ref().and_then(PlatformTokenStatus::issued);
                    known.is_some_and(|known| known.hash == issued.hash)
                };
                self.holder(&issued.token_id, reader, same)
            }),
        };
        Ok(Some(successor.map_or(Former::Gone, Former::Succeeded)))
    }

    /// Whether a PlatformToken of this cluster lives. Anyone may write an owner: one that lives under another name is not
    /// gone.
    async fn lives(&self, owner: &Owner) -> Result<bool, KubeError> {
        Ok(self.lives_there(owner).await? || self.lives_elsewhere(owner))
    }

    /// Whether it lives under the name that is said, on a live look.
    pub(super) async fn lives_there(&self, owner: &Owner) -> Result<bool, KubeError> {
        let tokens: Api<PlatformToken> = Api::namespaced(self.client.clone(), &owner.namespace);
        let live = call_opt(tokens.get_metadata(&owner.name)).await?;
        Ok(live.is_some_and(|live| live.uid().as_ref() == Some(&owner.uid)))
    }

    /// Whether one of its uid lives under any name.
    pub(super) fn lives_elsewhere(&self, owner: &Owner) -> bool {
        let tokens = self.tokens.state();
        tokens
            .iter()
            .any(|token| token.uid().as_ref() == Some(&owner.uid))
    }

    /// Who else has the token of a Secret that `said` has left: a PlatformToken, or another Secret. Of two Secrets of one
    /// owner the one in his own namespace has it, unless a PlatformToken lives by the other.
    pub(super) fn successor(
        &self,
        secret: &Secret,
        said: &Owner,
        reader: &Owner,
    ) -> Option<String> {
        let id = token_of(secret)?;
        if let Some(holder) = self.holder(&id, reader, |_| true) {
            return Some(holder);
        }
        let this = (secret.namespace().unwrap_or_default(), secret.name_any());
        let at_home = said.namespace == this.0;
        let lives = |namespace: &str, name: &str| {
            let tokens = self.tokens.state();
            tokens.iter().any(|token| {
                token.namespace().as_deref() == Some(namespace) && token.name_any() == name
            })
        };
        let is_rival = |namespace: &str, owner: Option<&String>| match owner {
            Some(owner) if namespace == reader.namespace && *owner == reader.name => false,
            Some(owner) => !at_home || lives(namespace, owner),
            None => !at_home,
        };
        let named = self.secrets.naming(&id).into_iter();
        let mut others = named.filter(|(other, _)| *other != this);
        let rival = others.find(|((namespace, _), owner)| is_rival(namespace, owner.as_ref()));
        rival.map(|((namespace, name), _)| told("Secret", &namespace, &name, reader))
    }

    /// Whether the ledger has it that the token of a Secret is to be revoked.
    fn is_owed(&self, secret: &Secret) -> bool {
        let issued = Issued::from_annotations(secret.annotations());
        issued.is_some_and(|issued| self.ledger.owes(&issued.base_url, &issued.token_id))
    }

    /// Whether the status of another PlatformToken than this one says that the token is its.
    pub(super) fn is_held_by_another(&self, id: &TokenId, owner: &Owner) -> bool {
        self.holder(id, owner, |_| true).is_some()
    }

    /// The PlatformToken that has a token, as its status says, if it is another than the reader.
    fn holder(
        &self,
        id: &TokenId,
        reader: &Owner,
        is_it: impl Fn(&PlatformToken) -> bool,
    ) -> Option<String> {
        let has_it = |token: &PlatformToken| {
            let uid = token.metadata.uid.as_deref().unwrap_or_default();
            let status = token.status.as_ref().filter(|status| status.is_of(uid));
            let has = status.and_then(|status| status.token_id.as_ref()) == Some(id);
            uid != reader.uid && has && is_it(token)
        };
        let tokens = self.tokens.state();
        let mut readable = tokens.iter().filter_map(|token| token.0.as_ref().ok());
        let holder = readable.find(|token| has_it(token))?;
        let namespace = holder.namespace().unwrap_or_default();
        Some(told(
            "PlatformToken",
            &namespace,
            &holder.name_any(),
            reader,
        ))
    }
}

/// Names an object to the reader. What is in other namespaces is not this one's to know.
fn told(kind: &str, namespace: &str, name: &str, reader: &Owner) -> String {
    if namespace == reader.namespace {
        format!("{kind} {namespace}/{name}")
    } else {
        format!("a {kind} of another namespace")
    }
}

/// The token that a Secret records.
fn token_of(secret: &Secret) -> Option<TokenId> {
    TokenId::parse(secret.annotations().get(names::TOKEN_ID)?).ok()
}
