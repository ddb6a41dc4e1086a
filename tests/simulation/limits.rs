//! What is not promised, as `docs/guarantees.md` says it: broken promises that are known, and why. Everything else is
//! news.

use super::fault::Fault;
use super::run::Outcome;
use super::sweep::Case;
use super::world::Ground;

/// What a token leaves that no Secret holds.
const LEFT: &str = "lives, and no Secret holds it";

/// Takes out of the run of a story what is known.
pub(crate) fn excuse_story(case: &Case, mut outcome: Outcome) -> Outcome {
    let tags = case.ground == Ground::Current;
    let late = matches!(case.strike, Some((_, Fault::Late)));
    match case.scenario.name {
        // The account and the Secret are gone, and the process dies before it lets the PlatformToken go: nobody is left
        // who could say that the token is revoked.
        "the_namespace_goes"
            if outcome
                .broken
                .iter()
                .any(|text| text.contains("AccountNotFound")) =>
        {
            outcome.broken.clear();
        }
        // Without tags: a masked value cannot be told to be ours, and an account that changed is not asked.
        "values_are_masked" | "the_account_changes" if !tags => outcome.leave(LEFT),
        // Without tags, what takes effect after it was given up is found by nobody.
        _ if late && !tags => outcome.leave(LEFT),
        _ => {}
    }
    outcome
}

/// Takes out of a random schedule what is known. All of it happens in a schedule without tags: masked values, accounts
/// that are away when a PlatformToken goes, POSTs that take effect late.
pub(crate) fn excuse_schedule(ground: Ground, mut outcome: Outcome) -> Outcome {
    if ground != Ground::Current {
        outcome.leave(LEFT);
    }
    outcome
}

impl Outcome {
    fn leave(&mut self, known: &str) {
        self.broken.retain(|text| !text.contains(known));
    }
}
