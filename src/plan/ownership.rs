//! Whose a Secret is, and when a PlatformToken takes over one that another has left.
//!
//! A Secret names its owner: cluster, namespace, name and uid. A PlatformToken that is restored, or created anew, has
//! another uid, so the Secret of its name names somebody else. If that one lives, the Secret is his. If he is gone, the
//! Secret is taken over with its token. If he is of another cluster, nobody here can tell: the user says so.

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;

use super::issue::{forgo, is_proven};
use super::secret::RENAME;
use super::{
    AccountFacts, Moment, OwnSecret, Plan, SecretFacts, Snapshot, Step, TokenFacts, Trouble,
    Version,
};
use crate::api::{AttemptRef, Issued, Owner, Reason, TokenHash, TokenId, TokenValue, names};

/// Who reads a Secret.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The PlatformToken.
    pub owner: &'a Owner,
    /// The hash of the value that its status knows.
    pub known: Option<&'a TokenHash>,
    /// The owner in another cluster whose Secret it is told to take over.
    pub take_over: Option<&'a str>,
}

impl TokenFacts {
    /// As it reads Secrets.
    #[must_use]
    pub fn reader(&self) -> Reader<'_> {
        Reader {
            owner: &self.owner,
            known: self.status.token_hash.as_ref(),
            take_over: self.take_over.as_deref(),
        }
    }
}

/// What has become of the owner that a Secret names, where that is not the PlatformToken that reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Former {
    /// It lives.
    Lives,
    /// It is gone, or nobody here can tell.
    Gone,
    /// This one has the Secret's token by now, whosever the Secret is.
    Succeeded(String),
    /// He is gone, and the Secret's token is to be revoked: that is final.
    Owed,
}

/// A Secret that its owner has left, with the very value that its record speaks of.
#[derive(Debug, Clone)]
pub struct LeftSecret {
    /// Exactly which one, and its finalizers.
    pub version: Version,
    /// Who has left it.
    pub from: Owner,
    /// What its annotations record.
    pub issued: Issued,
    /// Other tokens, which its annotations record as owed.
    pub given_up: BTreeSet<TokenId>,
    /// The value with the recorded hash.
    pub value: TokenValue,
}

/// The owner that a Secret names, if that is another than the one who reads it.
#[must_use]
pub fn other_owner(secret: &Secret, reader: &Owner) -> Option<Owner> {
    let text = secret.metadata.annotations.as_ref()?.get(names::OWNER)?;
    let said = Owner::parse(text).ok()?;
    (said != *reader).then_some(said)
}

/// A Secret that names another owner.
pub(super) fn of_another(
    name: &str,
    own: OwnSecret,
    said: Owner,
    reader: Reader<'_>,
    former: &Former,
) -> SecretFacts {
    let foreign = |trouble| SecretFacts::Foreign {
        trouble,
        dying: None,
    };
    let taken = |whose: String| {
        let text = format!("Secret {name} {whose}");
        foreign(Trouble::stalled(Reason::SecretNotWritable, text))
    };
    let here = said.cluster == reader.owner.cluster;
    let who = named(&said);
    if here && *former == Former::Lives {
        return taken(if said.namespace == reader.owner.namespace {
            format!("belongs to {who}; {RENAME}")
        } else {
            format!("is a copy of one that belongs to {who}, which lives; delete it, or {RENAME}")
        });
    }
    if own.deleting {
        let text = format!(
            "Secret {name}, which belonged to {who}, is being deleted; its name is waited for"
        );
        let wait = Duration::from_secs(5);
        return foreign(Trouble::waiting(wait, Reason::SecretNotWritable, text));
    }
    if !here && reader.take_over != Some(said.to_string().as_str()) {
        let text = format!(
            "Secret {name} belongs to PlatformToken {}/{} of another cluster, and is left as it is; if its token is to be \
             this PlatformToken's from now on, annotate it with {}: {said}; else delete the Secret, or {RENAME}",
            said.namespace,
            said.name,
            names::TAKE_OVER
        );
        return foreign(Trouble::stalled(Reason::OwnershipConflict, text));
    }
    if *former == Former::Owed {
        return taken(format!(
            "was left by {who}, and its token is about to be revoked; delete it, or {RENAME}"
        ));
    }
    if let Former::Succeeded(who) = former {
        return taken(format!(
            "is a copy: {who} has its token; delete it, or {RENAME}"
        ));
    }
    let bound =
        |issued: &Issued| own.value.as_ref().map(TokenValue::hash) == Some(issued.hash.clone());
    match (own.issued.filter(bound), own.value.clone()) {
        (Some(issued), Some(value)) => SecretFacts::Left(Box::new(LeftSecret {
            version: own.version,
            from: said,
            issued,
            given_up: own.given_up,
            value,
        })),
        _ => taken(format!(
            "was left by {who}, and does not hold the token that it records; delete it, or {RENAME}"
        )),
    }
}

fn named(owner: &Owner) -> String {
    let Owner {
        namespace,
        name,
        uid,
        ..
    } = owner;
    format!("PlatformToken {namespace}/{name} (uid {uid})")
}

/// The wanted Secret was left: it is taken over, unless this PlatformToken has a token already.
pub(super) fn inherit(s: &Snapshot, left: &LeftSecret, now: Moment) -> Plan {
    let name = &s.token.secret_name;
    let LeftSecret { issued, from, .. } = left;
    let who = named(from);
    let present = s
        .present()
        .filter(|present| present.token_id != issued.token_id);
    let text = match &present {
        Some(present) => format!(
            "Secret {name} holds token {}, which {who} has left, and this PlatformToken has token {} already; delete the \
             Secret, and with it that token, or {RENAME}",
            issued.token_id, present.token_id
        ),
        None => format!("Secret {name}, which {who} has left, is taken over"),
    };
    let trouble = Trouble::stalled(Reason::SecretNotWritable, text);
    // An attempt that was opened for a free name is seen to first.
    if let Some(step) = forgo(s, &trouble, now)? {
        return Ok(Some(step));
    }
    match present {
        Some(_) => Err(trouble.into()),
        None => take_over(s, name, left, now),
    }
}

/// A Secret of another name that was left by a PlatformToken of this name, where there is no token yet: taken over, and
/// then moved.
pub(super) fn inherit_stray(s: &Snapshot, now: Moment) -> Plan {
    let (AccountFacts::Ready(identity), None, None) = (&s.account, s.open_attempt(), s.present())
    else {
        return Ok(None);
    };
    let left = s.secrets.iter().find_map(|(name, facts)| match facts {
        SecretFacts::Left(left)
            if identity.is_of(&left.issued.base_url, Some(&left.issued.user_id)) =>
        {
            Some((name, left))
        }
        _ => None,
    });
    left.map_or(Ok(None), |(name, left)| take_over(s, name, left, now))
}

/// Writes this PlatformToken's name on a Secret that was left, by compare-and-swap: of two that want it one succeeds. Its
/// token is the present one from then on: no attempt has a higher number.
fn take_over(s: &Snapshot, name: &str, left: &LeftSecret, now: Moment) -> Plan {
    let issued = &left.issued;
    // An account tells nothing to a namespace that it does not serve, not even whose it is.
    s.token.admission.grant()?;
    let what = format!("token {}, which Secret {name} holds,", issued.token_id);
    s.identity_of(&what, &issued.base_url, Some(&issued.user_id))?;
    if !s.token.is_held() {
        return Ok(Some(Step::Hold(None)));
    }
    if !is_proven(s, now) {
        return Ok(Some(Step::Look));
    }
    let opened = s
        .open_attempt()
        .map_or(0, |open| open.attempt.at.number + 1);
    let present = s.present().map_or(0, |present| present.attempt.number);
    let number = issued.attempt.number.max(present).max(opened);
    Ok(Some(Step::Store {
        name: name.to_owned(),
        issued: Issued {
            attempt: AttemptRef {
                number,
                id: issued.attempt.id.clone(),
            },
            ..issued.clone()
        },
        given_up: left.given_up.clone(),
        value: left.value.clone(),
        over: Some(left.version.clone()),
        because: Reason::TakenOver,
    }))
}
