//! A world small enough to be walked through completely: what Kubernetes, the platform and the processes hold.
//!
//! Everything that has a name in reality has a small number here. A number below [`GROUP`] belongs to PlatformToken
//! `x`, the next group to `y`, the last to strangers; within a group numbers are counted in order of creation.

use platform_token_operator::api::{Dialect, Reason};

use crate::guards::Guard;
use crate::mind::{Account, Cache, Debt, Mind, Process};

/// Numbers of one PlatformToken's upstream tokens or attempts.
pub(crate) const GROUP: u8 = 32;

/// The group of what is nobody's.
pub(crate) const STRANGERS: u8 = 2;

/// What a world is made of, and what may go wrong in it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a truth of its own")]
pub(crate) struct World {
    /// What it is for, in a few words.
    pub name: &'static str,
    /// How the platform talks.
    pub dialect: Dialect,
    /// PlatformTokens, 1 or 2: `x` and `y`.
    pub tokens: usize,
    /// The PlatformToken that a user deletes, at any moment.
    pub deleted: Option<usize>,
    /// Processes, 1 or 2: `A` and `B`. Each acts whenever it likes: a change of leader at every moment, and worse.
    pub processes: usize,
    /// The caches of the last process may hold an older state, each for as long as it likes.
    pub stale: bool,
    /// An answer of the API server or a list may take its time: clocks go on meanwhile.
    pub slow: bool,
    /// The platform lists tokens without their values.
    pub masked: bool,
    /// `y` wants the Secret that `x` wants.
    pub rivals: bool,
    /// What may go wrong, and how often.
    pub faults: Faults,
    /// Seconds that pass at once.
    pub tick: u64,
    /// The guard that is taken away.
    pub without: Option<Guard>,
}

/// What may go wrong still.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Faults {
    /// A process dies between any two effects, and starts anew.
    pub crashes: u8,
    /// A call is carried out or not, and its answer is lost.
    pub lost: u8,
    /// The platform refuses a POST.
    pub refused: u8,
    /// A proxy repeats a POST.
    pub repeated: u8,
    /// A user deletes a Secret.
    pub removed: u8,
    /// Someone revokes a token of ours in the console.
    pub revoked: u8,
    /// The platform stops answering, for a while or for ever.
    pub dark: u8,
    /// Tokens of strangers on the account.
    pub strangers: u8,
}

impl World {
    /// One PlatformToken, one process, nothing goes wrong.
    pub(crate) const CALM: Self = Self {
        name: "calm",
        dialect: Dialect::Current,
        tokens: 1,
        deleted: None,
        processes: 1,
        stale: false,
        slow: false,
        masked: false,
        rivals: false,
        faults: Faults {
            crashes: 0,
            lost: 0,
            refused: 0,
            repeated: 0,
            removed: 0,
            revoked: 0,
            dark: 0,
            strangers: 1,
        },
        tick: 15,
        without: None,
    };

    /// The Secret that a PlatformToken wants.
    pub(crate) fn secret_of(&self, token: usize) -> u8 {
        u8::from(token == 1 && !self.rivals)
    }
}

/// All that is so at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub tokens: [Option<PlatformToken>; 2],
    pub secrets: [Option<Secret>; 2],
    pub upstream: Vec<Upstream>,
    /// Tokens that the status of the account lists as unclaimed.
    pub suspects: Vec<u8>,
    /// The entries of the ledger, in order.
    pub ledger: Vec<Entry>,
    /// The platform answers nobody.
    pub dark: bool,
    pub posts: Vec<Post>,
    /// Attempts that a POST was sent for.
    pub sent: Vec<u8>,
    pub processes: Vec<Process>,
    pub left: Faults,
    /// The PlatformToken that a user is still to delete.
    pub to_delete: Option<u8>,
    pub next: Next,
}

/// Where counting goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Next {
    pub upstream: [u8; 3],
    pub attempt: [u8; 2],
    pub token_version: [u8; 2],
    pub secret_version: [u8; 2],
}

/// A PlatformToken, as the API server has it or as someone read it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PlatformToken {
    pub version: u8,
    pub deleting: bool,
    /// Our finalizer is on it.
    pub held: bool,
    pub attempt: Option<Attempt>,
    pub status: Status,
}

/// Number and id of an attempt. Its owner is the group of its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct At {
    pub number: u8,
    pub id: u8,
}

/// The annotation of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Attempt {
    pub at: At,
    pub given_up: Vec<u8>,
}

/// What a status or a Secret records of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Issued {
    pub at: At,
    pub token: u8,
}

/// The status, as far as rules read it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Status {
    pub issued: Option<Issued>,
    pub secret: Option<u8>,
    pub secret_version: Option<u8>,
    pub told: Option<Told>,
}

/// What the conditions say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Ready,
    Trouble(Reason),
}

/// A Secret that the operator wrote. It records what it holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Secret {
    pub version: u8,
    pub owner: u8,
    pub deleting: bool,
    pub held: bool,
    pub issued: Issued,
    pub given_up: Vec<u8>,
}

/// A token on the platform.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "each is a truth of its own")]
pub(crate) struct Upstream {
    pub token: u8,
    /// The attempt that its tags name, also where the dialect has no tags.
    pub attempt: Option<u8>,
    pub live: bool,
    /// It has answered.
    pub used: bool,
    /// It is so old that stock is taken of it.
    pub settled: bool,
    /// Somebody else has revoked it.
    pub elsewhere: bool,
}

/// An entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Entry {
    /// A token that has to be revoked.
    Owed(Debt),
    /// An attempt that may have made a token.
    Unresolved {
        attempt: u8,
        /// Ticks since each process first saw it.
        seen: [u8; 2],
    },
}

impl Entry {
    /// The PlatformToken that it is left of.
    pub(crate) fn owner(&self) -> usize {
        let (Self::Owed(Debt { token: n, .. }) | Self::Unresolved { attempt: n, .. }) = self;
        usize::from(n / GROUP)
    }

    /// Whether another has the same name.
    pub(crate) fn speaks_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Owed(one), Self::Owed(other)) => one.token == other.token,
            (one, other) => one.unseen() == other.unseen(),
        }
    }

    /// What is written, whoever has seen it.
    pub(crate) fn unseen(&self) -> Self {
        match self {
            Self::Owed(debt) => Self::Owed(debt.clone()),
            Self::Unresolved { attempt, .. } => Self::Unresolved {
                attempt: *attempt,
                seen: [0, 0],
            },
        }
    }
}

/// A POST on its way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Post {
    pub attempt: u8,
    /// The process that waits for its answer, if it still lives.
    pub sender: Option<u8>,
    /// Ticks since it was sent.
    pub age: u8,
}

impl State {
    /// The world as it begins: PlatformTokens that were just applied.
    pub(crate) fn first(world: &World) -> Self {
        let fresh = PlatformToken {
            version: 1,
            deleting: false,
            held: false,
            attempt: None,
            status: Status::default(),
        };
        let second = (world.tokens == 2).then(|| fresh.clone());
        let tokens = [Some(fresh), second];
        let strangers = (0..world.faults.strangers).map(|n| Upstream {
            token: STRANGERS * GROUP + n,
            attempt: None,
            live: true,
            used: false,
            settled: true,
            elsewhere: false,
        });
        let processes = (1..=world.processes).map(|n| Process {
            minds: [Mind::default(), Mind::default()],
            cache: (world.stale && n == world.processes).then(|| Cache {
                tokens: tokens.clone(),
                secrets: [None, None],
            }),
            leftovers: [vec![], vec![]],
            missing: [None, None],
            account: Account::Proven,
            payment: None,
        });
        Self {
            secrets: [None, None],
            upstream: strangers.collect(),
            suspects: vec![],
            ledger: vec![],
            dark: false,
            posts: vec![],
            sent: vec![],
            processes: processes.collect(),
            left: Faults {
                strangers: 0,
                ..world.faults.clone()
            },
            to_delete: world.deleted.and_then(|token| u8::try_from(token).ok()),
            next: Next {
                upstream: [0, 0, world.faults.strangers],
                attempt: [0, 0],
                token_version: [2, 2],
                secret_version: [1, 1],
            },
            tokens,
        }
    }

    /// The tokens that live upstream and were made for this PlatformToken.
    pub(crate) fn live(&self, group: u8) -> impl Iterator<Item = u8> {
        let of = move |up: &&Upstream| up.live && up.token / GROUP == group;
        self.upstream.iter().filter(of).map(|up| up.token)
    }

    /// Whether a token has answered.
    pub(crate) fn has_answered(&self, token: u8) -> bool {
        self.upstream.iter().any(|up| up.token == token && up.used)
    }

    /// Something changed that concerns this PlatformToken, and the process `p` hears of it.
    pub(crate) fn wake(&mut self, p: usize, i: usize) {
        let mind = self.mind(p, i);
        mind.asleep = false;
        mind.woken = mind.run.is_some();
    }

    /// Whether a token lives upstream.
    pub(crate) fn lives(&self, token: u8) -> bool {
        self.upstream.iter().any(|up| up.token == token && up.live)
    }

    /// Whether the Secret of a PlatformToken that lives holds this token.
    pub(crate) fn is_held(&self, token: u8) -> bool {
        let mut secrets = self.secrets.iter().flatten();
        secrets.any(|secret| {
            let owner = self.tokens[usize::from(secret.owner)].as_ref();
            secret.issued.token == token && owner.is_some_and(|owner| !owner.deleting)
        })
    }

    /// What the process `p` has of the PlatformToken `i`.
    pub(crate) fn mind(&mut self, p: usize, i: usize) -> &mut Mind {
        &mut self.processes[p].minds[i]
    }

    /// The two processes change places.
    pub(crate) fn swap_processes(&mut self) {
        self.processes.swap(0, 1);
        for post in &mut self.posts {
            post.sender = post.sender.map(|p| 1 - p);
        }
        for entry in &mut self.ledger {
            if let Entry::Unresolved { seen, .. } = entry {
                seen.swap(0, 1);
            }
        }
    }

    /// Whether a POST of this process for this PlatformToken is on its way.
    pub(crate) fn awaits_post(&self, p: usize, i: usize) -> bool {
        self.posts
            .iter()
            .any(|post| post.sender == Some(p as u8) && usize::from(post.attempt / GROUP) == i)
    }
}
