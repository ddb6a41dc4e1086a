//! The steps that a run can take, and what can come of them.

use k8s_openapi::jiff::Timestamp;

use std::collections::BTreeSet;

use super::{Adopted, SecretFacts, Trouble, Version};
use crate::api::{Attempt, Entry, Issued, Reason, TokenHash, TokenId, TokenValue, UserId};

/// One effect on Kubernetes or the platform. Each is carried out by one function of the shell.
#[derive(Debug, Clone)]
pub enum Step {
    /// Read a Secret of this name live.
    ReadSecret {
        /// Its name.
        name: String,
    },
    /// Take a permit of the account's throttle, so that a POST which follows does not wait with its attempt open.
    Permit,
    /// Prove by a server-side dry run that a Secret of this name can be created.
    Preflight {
        /// Its name.
        name: String,
    },
    /// Put our finalizer, and the attempt if one is open, back on the PlatformToken, at the resourceVersion that was read.
    Hold(Option<Attempt>),
    /// Write the attempt and the finalizer to the PlatformToken, at the resourceVersion that was read.
    Open(Attempt),
    /// The one POST of this attempt.
    Mint(Attempt),
    /// Prove by live reads that the PlatformToken is still as it was read, and that its namespace is not going.
    Look,
    /// Look upstream for what an attempt has made whose answer this process does not have.
    FindMinted(Attempt),
    /// Ask the platform for the value of a token that no Secret holds any more.
    Recover(Issued),
    /// Look at a token that is to be adopted, and at all that speaks against that.
    Adopt {
        /// The attempt that claims it.
        attempt: Attempt,
        /// Which one.
        token_id: TokenId,
    },
    /// Strike the entry of the ledger that says that a token is released.
    Strike {
        /// Which one.
        token_id: TokenId,
        /// The platform that it lives on.
        base_url: String,
    },
    /// Write the Secret: create it, or replace what was read.
    Store {
        /// Its name.
        name: String,
        /// What it records.
        issued: Issued,
        /// What else the attempt made, which stays owed.
        given_up: BTreeSet<TokenId>,
        /// What it holds.
        value: TokenValue,
        /// Create if none; else replace exactly this one.
        over: Option<Version>,
        /// Why it is written, for the event.
        because: Reason,
    },
    /// Prove the value with one call of its own.
    Verify {
        /// Where it is to answer.
        issued: Issued,
        /// What proves itself.
        value: TokenValue,
    },
    /// Lift our finalizer from a Secret that is being deleted.
    Release {
        /// Its name.
        name: String,
        /// Exactly this one.
        version: Version,
    },
    /// Let go of a Secret that stays: nothing of ours keeps it or shows it to us any more.
    Retain {
        /// Its name.
        name: String,
        /// Exactly this one.
        version: Version,
        /// Its token lives on, and it goes on saying which one that is.
        lives: bool,
    },
    /// Delete a Secret; our finalizer keeps it.
    Remove {
        /// Its name.
        name: String,
        /// Exactly this one.
        version: Version,
    },
    /// Revoke a token upstream.
    Revoke {
        /// Which one, where.
        token_id: TokenId,
        /// The platform that it lives on.
        base_url: String,
        /// In whose name.
        with: RevokeWith,
    },
    /// Write an entry of the ledger, with its value if that is known.
    Record(Entry, Option<TokenValue>),
    /// Lift our finalizer from the PlatformToken.
    LiftFinalizer,
}

impl Step {
    /// The step's name, as logs and metrics show it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::ReadSecret { .. } => "read_secret",
            Self::Permit => "permit",
            Self::Preflight { .. } => "preflight",
            Self::Hold(_) => "hold",
            Self::Open(_) => "open",
            Self::Mint(_) => "mint",
            Self::Look => "look",
            Self::FindMinted(_) => "find_minted",
            Self::Recover(_) => "recover",
            Self::Adopt { .. } => "adopt",
            Self::Strike { .. } => "strike",
            Self::Store { .. } => "store",
            Self::Verify { .. } => "verify",
            Self::Release { .. } => "release",
            Self::Retain { .. } => "retain",
            Self::Remove { .. } => "remove",
            Self::Revoke { .. } => "revoke",
            Self::Record(..) => "record",
            Self::LiftFinalizer => "lift_finalizer",
        }
    }
}

/// In whose name a token is revoked.
#[derive(Debug, Clone)]
pub enum RevokeWith {
    /// Its own: it needs neither account nor credentials.
    ItsValue(TokenValue),
    /// The account's, for a token that is surely ours, and whose value is lost or that may not revoke itself.
    Account,
    /// The account's, for a token that only a record names, which anyone may have written: its tags have to name this
    /// PlatformToken, or its value has to have this hash.
    AccountIfOurs {
        /// The hash of its value, if that is known.
        hash: Option<TokenHash>,
        /// It was made before this time: a young one may not be listed yet.
        before: Timestamp,
    },
}

/// A token fresh from the platform.
#[derive(Debug, Clone)]
pub struct Minted {
    /// Its id.
    pub token_id: TokenId,
    /// Its value.
    pub value: TokenValue,
    /// The user that it belongs to.
    pub user_id: UserId,
    /// When the platform created it.
    pub created_at: Timestamp,
}

/// What came of a step.
#[derive(Debug)]
pub enum Outcome {
    /// The Secret, read live.
    Secret(SecretFacts),
    /// The Secret can be created.
    Writable,
    /// A Secret of that name exists already.
    Exists,
    /// Our finalizer is on the PlatformToken, which has this resourceVersion now.
    Held {
        /// Of the PlatformToken.
        resource_version: String,
    },
    /// The attempt is open; the PlatformToken has this resourceVersion now.
    Opened {
        /// Of the PlatformToken.
        resource_version: String,
    },
    /// A permit is taken.
    Permitted,
    /// The platform's answer to the POST.
    Minted(Minted),
    /// The PlatformToken is as it was read.
    Current,
    /// The namespace is being deleted, and takes nothing new.
    NamespaceGoing,
    /// There is no such PlatformToken any more.
    TokenGone,
    /// A token of the attempt is listed, and perhaps more: a proxy that repeats a POST makes several.
    Found {
        /// The one to keep.
        kept: Minted,
        /// The others.
        others: Vec<TokenId>,
    },
    /// The POST made these tokens, and no value is shown.
    MintedWithheld(Vec<TokenId>),
    /// The POST has definitely made nothing.
    NotMinted(Trouble),
    /// The POST may have made a token.
    MintUnknown(Trouble),
    /// No token of that attempt is listed.
    NoneMinted,
    /// The platform does not tell who made a token: any of these may be of that attempt. They are written down.
    Suspects(Vec<TokenId>),
    /// What the platform knows of a lost value.
    Recovered(Recovery),
    /// The token may be adopted, and how.
    Adopted(Adopted),
    /// No entry of the ledger says any more that the token is released.
    Struck,
    /// The ledger says that the token is to be revoked, which is final.
    Owed,
    /// The Secret is written.
    Stored(Version),
    /// The value answered.
    Verified,
    /// The platform does not know the value; what to tell if nothing else says that the token is gone.
    ValueUnknown(Trouble),
    /// The Secret is nobody's, and is this one now.
    Retained(Version),
    /// The Secret is marked as deleting, and is this one now.
    SecretDeleting(Version),
    /// The Secret is gone, or no concern of ours any more.
    SecretGone,
    /// The token is revoked, or was already.
    Revoked,
    /// The token is not this PlatformToken's: it was left alone.
    NotOurs,
    /// The platform lists no such token.
    NotListed,
    /// The DELETE may have revoked the token.
    RevokeUnknown(Trouble),
    /// The platform does not know the token's own value.
    SelfUnknown,
    /// The token may not revoke itself.
    SelfRefused,
    /// The ledger has the entry, or one that says more.
    Recorded,
    /// The finalizer is lifted.
    Lifted,
    /// What we had read is out of date, or others are before us; nothing was done.
    Stale,
    /// It failed; what to tell and when to try again.
    Failed(Trouble),
}

/// What the platform knows of a token whose value we lost.
#[derive(Debug, Clone)]
pub enum Recovery {
    /// Its value, checked against its hash.
    Value(TokenValue),
    /// There is no such token any more.
    Gone,
    /// The token lives, but its value is not shown, or is another's.
    Withheld,
}

/// Something worth an event, in the past tense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether it is a warning.
    pub warning: bool,
    /// One word for it.
    pub reason: Reason,
    /// One sentence, without any secret.
    pub text: String,
}

impl Note {
    pub(super) fn normal(reason: Reason, text: String) -> Self {
        Self {
            warning: false,
            reason,
            text,
        }
    }

    pub(super) fn warning(reason: Reason, text: String) -> Self {
        Self {
            warning: true,
            reason,
            text,
        }
    }
}

/// A value is only ever the id's whose hash it has.
pub(super) fn bound(value: Option<&TokenValue>, hash: &TokenHash) -> Option<TokenValue> {
    value.filter(|value| value.hash() == *hash).cloned()
}
