//! What a PlatformToken leaves behind on purpose when it goes: its token, which is released, and its Secret, which is
//! retained. What counts is what its spec says when each step is taken. Tokens that were never the user's, because they
//! were given up, came beside the present one or were never stored, are revoked whatever it says.

use super::debts::{Debt, debts, surplus};
use super::{Note, OwnSecret, SecretFacts, Snapshot, Step};
use crate::api::{
    DeletionPolicy, Entry, Issued, NamedToken, Reason, SecretDeletionPolicy, TokenId, TokenValue,
};

/// What the spec says of a deletion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of the token.
    pub token: DeletionPolicy,
    /// What becomes of the Secret.
    pub secret: SecretDeletionPolicy,
}

/// What a PlatformToken that goes has to revoke.
pub(super) fn owed(s: &Snapshot) -> Vec<Debt> {
    if orphans(s) {
        surplus(s).collect()
    } else {
        debts(s)
    }
}

/// Whether its token lives on.
pub(super) fn orphans(s: &Snapshot) -> bool {
    s.token.policy.token == DeletionPolicy::Orphan
}

/// Whether its token lives on, or its Secret stays.
pub(super) fn stays(s: &Snapshot) -> bool {
    orphans(s) || s.token.policy.secret == SecretDeletionPolicy::Retain
}

/// A token that lives on is written down as released before anything lets go of it.
pub(super) fn release_token(s: &Snapshot) -> Option<Step> {
    // A credential lives on as well.
    let issued = s.present()?;
    if !orphans(s) && !s.credentials.contains(&issued.hash) {
        return None;
    }
    let is_settled = s.memory.revoked.contains(&issued.token_id);
    let released = NamedToken {
        owner: s.token.owner.clone(),
        token_id: issued.token_id,
        base_url: issued.base_url,
        user_id: Some(issued.user_id),
    };
    (!is_settled).then(|| Step::Record(Entry::Released(released), None))
}

impl Snapshot {
    /// The ledger says that a token lives on.
    pub(super) fn note_released(&mut self, token_id: TokenId) {
        let text = format!("Released platform token {token_id}: it lives on");
        self.run.notes.push(Note::normal(Reason::Released, text));
        self.settle(token_id);
    }
}

/// The Secret that stays: the wanted one, or else one that holds the present token. One that is being deleted goes, and
/// so does one whose namespace goes.
pub(super) fn retain(s: &Snapshot) -> Option<Step> {
    let is_done = s.run.retained || matches!(s.wanted(), SecretFacts::Retained(_));
    if s.token.policy.secret != SecretDeletionPolicy::Retain || is_done {
        return None;
    }
    let present = s.present();
    let hash = present.as_ref().map(|issued| &issued.hash);
    let holds_it = |own: &OwnSecret| {
        let value = own.value.as_ref().map(TokenValue::hash);
        value.is_some() && value.as_ref() == hash
    };
    let stay = || s.own_secrets().filter(|(_, own)| !own.deleting);
    let wanted = stay().find(|(name, _)| **name == s.token.secret_name);
    let (name, own) = wanted.or_else(|| stay().find(|(_, own)| holds_it(own)))?;
    let lives = |issued: &Issued| {
        let is_present = present.as_ref() == Some(issued);
        is_present && (orphans(s) || s.credentials.contains(&issued.hash))
    };
    Some(Step::Retain {
        name: name.clone(),
        version: own.version.clone(),
        lives: own.issued.as_ref().is_some_and(lives),
    })
}
