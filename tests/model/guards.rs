//! The guards of the protocol, each of which can be taken away: around `plan`, or in what a step does to the world.

use platform_token_operator::plan::{self, Moment, Next, Snapshot, Step};

/// One thing that keeps the promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Guard {
    /// A PlatformToken is written only at the resourceVersion that was read.
    CompareAndSwap,
    /// A Secret that is there is not created over.
    CreateOnly,
    /// A POST whose outcome is unknown is not sent again.
    OnePost,
    /// The finalizer is written with the attempt, before the POST.
    FinalizerFirst,
    /// That there is no Secret is not believed from a cache.
    LiveRead,
    /// An attempt is given up only 45 s after it was first seen.
    WaitForPosts,
    /// An attempt is looked for before it is given up.
    Search,
    /// Ready is said only of a value that has answered.
    Verify,
    /// Tokens are revoked before the PlatformToken goes.
    RevokeFirst,
    /// A deletion does not wait for a platform that does not answer.
    PutOff,
    /// What is put off is written to the ledger.
    WriteDown,
    /// It is written there before the finalizer is lifted.
    WriteFirst,
    /// An entry is struck only when its token is revoked.
    PayFirst,
}

/// What the rules say, once this guard is gone.
pub(crate) fn plan(without: Option<Guard>, snapshot: &Snapshot, now: Moment) -> Next {
    match (without, plan::plan(snapshot, now)) {
        (Some(Guard::OnePost), Next::Step(Step::FindMinted(attempt))) => {
            Next::Step(Step::Mint(attempt))
        }
        (Some(Guard::WriteFirst), Next::Step(Step::Record(..)))
            if snapshot.token.is_held() && !snapshot.run.gone =>
        {
            Next::Step(Step::LiftFinalizer)
        }
        (_, said) => said,
    }
}
