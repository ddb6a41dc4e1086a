//! What has become of the owner that a Secret names, where that is not the PlatformToken that reads it.

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};

use super::Context;
use super::kubernetes::{KubeError, call_opt};
use crate::api::{Owner, PlatformToken, TokenId, names};
use crate::plan::{Former, other_owner};

impl Context {
    /// Whether the owner that a Secret names lives, on a live look, and else whether anybody has its token by now. None if
    /// the caches cannot tell yet.
    pub(super) async fn former(
        &self,
        secret: &Secret,
        reader: &Owner,
    ) -> Result<Option<Former>, KubeError> {
        let Some(said) = other_owner(secret, reader) else {
            return Ok(Some(Former::Lives));
        };
        if !self.listed.initialized() {
            return Ok(None);
        }
        if said.cluster == self.cluster && self.lives(&said).await? {
            return Ok(Some(Former::Lives));
        }
        let successor = self.successor(secret, &said, reader);
        Ok(Some(successor.map_or(Former::Gone, Former::Succeeded)))
    }

    /// Whether a PlatformToken of this cluster lives, on a live look. Anyone may write an owner: one that lives under another
    /// name is not gone.
    pub(super) async fn lives(&self, owner: &Owner) -> Result<bool, KubeError> {
        let tokens: Api<PlatformToken> = Api::namespaced(self.client.clone(), &owner.namespace);
        let live = call_opt(tokens.get_metadata(&owner.name)).await?;
        let is_it = |uid: Option<String>| uid.as_ref() == Some(&owner.uid);
        Ok(live.is_some_and(|live| is_it(live.uid()))
            || self.tokens.state().iter().any(|token| is_it(token.uid())))
    }

    /// Who else has the token that a Secret of `said` records: a PlatformToken whose status names it, or another Secret.
    /// Where two Secrets of one owner name it, the one in the owner's own namespace has it, unless a PlatformToken lives by
    /// the other.
    pub(super) fn successor(
        &self,
        secret: &Secret,
        said: &Owner,
        reader: &Owner,
    ) -> Option<String> {
        let id = TokenId::parse(secret.annotations().get(names::TOKEN_ID)?).ok()?;
        let tokens = self.tokens.state();
        let mut others = tokens
            .iter()
            .filter(|token| token.uid().as_ref() != Some(&reader.uid));
        let names_it = |token: &PlatformToken| {
            let status = token.status.as_ref();
            status.is_some_and(|status| {
                let own = token
                    .metadata
                    .uid
                    .as_deref()
                    .is_some_and(|uid| status.is_of(uid));
                own && status.token_id.as_ref() == Some(&id)
            })
        };
        let holder = others.find(|token| token.0.as_ref().is_ok_and(names_it));
        // What is in other namespaces is not this one's to know.
        let told = |kind: &str, namespace: &str, name: &str| {
            if namespace == reader.namespace {
                format!("{kind} {namespace}/{name}")
            } else {
                format!("a {kind} of another namespace")
            }
        };
        if let Some(holder) = holder {
            let namespace = holder.namespace().unwrap_or_default();
            return Some(told("PlatformToken", &namespace, &holder.name_any()));
        }
        let this = (secret.namespace().unwrap_or_default(), secret.name_any());
        let at_home = said.namespace == this.0;
        let lives = |namespace: &str, name: &str| {
            tokens.iter().any(|token| {
                token.namespace().as_deref() == Some(namespace) && token.name_any() == name
            })
        };
        let mut named = self.secrets.naming(&id).into_iter();
        let rival = named.find(|(secret, owner)| {
            let theirs = owner.as_ref().is_some_and(|owner| {
                (secret.0.as_str(), owner) != (reader.namespace.as_str(), &reader.name)
                    && lives(&secret.0, owner)
            });
            let mine = owner.as_ref() == Some(&reader.name) && secret.0 == reader.namespace;
            *secret != this && (theirs || (!at_home && !mine))
        });
        rival.map(|((namespace, name), _)| told("Secret", &namespace, &name))
    }
}
