//! What one process has of the PlatformTokens: what it remembers, the run in the middle of which it is, and what its watches
//! and lists have brought. Each record is one of `plan`, in small numbers.

use platform_token_operator::api::Reason;

use crate::world::{Attempt, Entry, Issued, PlatformToken};

/// One process of the operator.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub minds: [Mind; 2],
    /// What its watches have brought, if they may lag.
    pub cache: Option<Cache>,
    /// What its last stock of the account showed of each PlatformToken beside what it names.
    pub leftovers: [Vec<Leftover>; 2],
    /// What its last stock of the account lacked of each PlatformToken.
    pub missing: [Option<u8>; 2],
    /// What it knows of the account.
    pub account: Account,
    /// The entry of the ledger that it is paying.
    pub payment: Option<Payment>,
}

/// `plan::AccountFacts`, as far as this world knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Account {
    Pending,
    Broken,
    Proven,
}

/// An entry of the ledger that is being paid.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Payment {
    /// As it was read.
    pub entry: Entry,
    /// What the rules are asked about; none once it is paid and only to be struck.
    pub asked: Option<(Memory, Run)>,
}

/// What watches have brought.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Cache {
    pub tokens: [Option<PlatformToken>; 2],
    pub secrets: [Option<Indexed>; 2],
}

/// What the index of Secrets has of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Indexed {
    pub owner: u8,
    pub version: u8,
    pub token: u8,
}

/// What one process has of one PlatformToken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mind {
    pub memory: Memory,
    pub run: Option<Run>,
    /// Its last run asked for no other, and nothing has changed since.
    pub asleep: bool,
    /// Something has changed since its run began.
    pub woken: bool,
}

/// `plan::Memory`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Memory {
    pub attempt: Option<Open>,
    pub surplus: Vec<Debt>,
    pub leftovers: Vec<Leftover>,
    pub missing: Option<u8>,
    pub issued: Option<Issued>,
    pub held: Option<u8>,
    /// The token, and name and resourceVersion of its Secret.
    pub verified: Option<(u8, u8, u8)>,
    pub revoked: Vec<u8>,
    pub self_refused: Vec<u8>,
    pub revoke_unknown: Vec<u8>,
    pub lost: u8,
    /// Its last run ended in trouble.
    pub failed: bool,
}

/// `plan::OpenAttempt`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Open {
    pub attempt: Attempt,
    /// Ticks since this process first saw it.
    pub age: u8,
    pub fate: Fate,
    pub others: Vec<u8>,
}

/// `plan::Debt`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Debt {
    pub token: u8,
    /// The hash of its value is known.
    pub hash: bool,
    /// Its value is at hand.
    pub value: bool,
    /// This process saw it made; else a record names it.
    pub sure: bool,
}

/// `plan::Leftover`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Leftover {
    pub token: u8,
    pub attempt: u8,
}

/// `plan::Fate`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Fate {
    Unsent,
    Void,
    Minted(u8),
    Withheld(Vec<u8>),
    Unknown {
        /// The age of the attempt at the last search.
        searched: Option<u8>,
    },
}

/// A run in the middle: a `plan::Snapshot` without its memory.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "as `plan::Run` has them")]
pub(crate) struct Run {
    pub token: PlatformToken,
    pub secrets: [Option<Facts>; 2],
    /// Ticks since the PlatformToken was proven to be as it was read.
    pub proven: Option<u8>,
    pub gone: bool,
    pub account: Account,
    pub ledger: bool,
    /// The platform was asked in vain.
    pub failed: bool,
    pub permitted: bool,
    /// Nothing says any more that its token is released.
    pub struck: bool,
    pub writable: bool,
    pub stale: bool,
    pub recovery: Option<Recovery>,
    pub vanished: Option<u8>,
    pub trouble: Option<Trouble>,
    /// It has opened an attempt.
    pub opened: bool,
    /// What a step came to, on its way back.
    pub answer: Option<(Answer, u8)>,
}

/// `plan::SecretFacts`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Facts {
    Unread(Option<u8>),
    Absent,
    /// Its resourceVersion if only our finalizer keeps it.
    Foreign(Option<u8>),
    /// Its resourceVersion, and what it holds.
    Left(u8, Issued, Vec<u8>),
    Own(Own),
}

/// `plan::OwnSecret`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Own {
    pub version: u8,
    pub deleting: bool,
    pub held: bool,
    pub issued: Option<Issued>,
    pub given_up: Vec<u8>,
    pub value: Option<u8>,
    pub whole: bool,
}

/// `plan::Recovery`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Recovery {
    Value(u8),
    Gone,
    Withheld,
}

/// `plan::Trouble` without its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Trouble {
    pub reason: Reason,
    pub reaction: Reaction,
}

/// `plan::Reaction`, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reaction {
    Stalled,
    Transient,
    Waiting(u64),
}

/// `plan::Outcome`, as far as this world knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Secret(Facts),
    Writable,
    Exists,
    Held(u8),
    /// The attempt, and the resourceVersion of the PlatformToken.
    Opened(Attempt, u8),
    Permitted,
    Struck,
    Owed,
    Current,
    TokenGone,
    Minted(u8),
    Found {
        kept: u8,
        others: Vec<u8>,
    },
    MintedWithheld(Vec<u8>),
    NotMinted,
    MintUnknown,
    NoneMinted,
    Suspects(Vec<u8>),
    Recovered(Recovery),
    Stored(u8),
    Verified,
    ValueUnknown,
    /// The resourceVersion of the Secret.
    SecretDeleting(u8),
    SecretGone,
    Revoked,
    NotOurs,
    NotListed,
    RevokeUnknown,
    SelfUnknown,
    Recorded,
    Lifted,
    Stale,
    Failed(Reason),
}

impl Run {
    /// A run that has found nothing out yet.
    pub(crate) fn new(token: PlatformToken, secrets: [Option<Facts>; 2]) -> Self {
        Self {
            token,
            secrets,
            proven: None,
            gone: false,
            account: Account::Proven,
            ledger: true,
            failed: false,
            permitted: false,
            struck: false,
            writable: false,
            stale: false,
            recovery: None,
            vanished: None,
            trouble: None,
            opened: false,
            answer: None,
        }
    }
}
