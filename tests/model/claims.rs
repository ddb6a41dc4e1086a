//! What is never so, and what is to be in the end.

use std::fmt;

use platform_token_operator::api::{Dialect, Reason};

use crate::scene::Scene;
use crate::world::{Entry, Secret, State, Told, Upstream, World};

/// What has to hold, whatever happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    /// At most one POST is sent for an attempt.
    OnePost,
    /// A POST is sent only while the finalizer is on the PlatformToken, or the ledger has its attempt.
    HeldBeforePost,
    /// No token of a stranger or of another living PlatformToken is revoked, nor through the ledger of any living one.
    NoStranger,
    /// Every living token is named by its PlatformToken, a Secret, its tags or the ledger, or is told.
    Named,
    /// The token in the Secret of a PlatformToken that is Ready lives, unless somebody else has revoked it.
    ReadyLives,
    /// Ready is written only of a value that has answered.
    ReadyAnswered,
    /// No run asks for the next one at once.
    NoBusyLoop,
    /// At rest, at most one token lives for a PlatformToken.
    OneToken,
    /// At rest, every living token is in a Secret, a stranger's, or written down as unclaimed where tokens bear no tags.
    NothingLost,
    /// Without further faults, all comes to be as it shall be, and stays so.
    Comes,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnePost => "at most one POST is sent for an attempt",
            Self::HeldBeforePost => {
                "a POST is sent only while the finalizer is on the PlatformToken, or the ledger has its attempt"
            }
            Self::Named => {
                "every living token is named by its PlatformToken, a Secret, its tags or the ledger, or is told"
            }
            Self::NoStranger => "nobody else's token is revoked",
            Self::ReadyLives => "the token in the Secret of a PlatformToken that is Ready lives",
            Self::ReadyAnswered => "Ready is said only of a value that has answered",
            Self::NoBusyLoop => "no run asks for the next one at once",
            Self::OneToken => "at rest, at most one token lives for a PlatformToken",
            Self::NothingLost => {
                "at rest, every living token is in a Secret, or written down as unclaimed"
            }
            Self::Comes => "without further faults, all comes to be as it shall be, and stays so",
        })
    }
}

/// The claim that a state breaks.
pub(crate) fn broken_in(scene: &Scene) -> Option<Claim> {
    let (world, state) = (scene.world, &scene.state);
    if (0..world.tokens).any(|i| !ready_lives(world, state, i)) {
        return Some(Claim::ReadyLives);
    }
    if (0..world.tokens).any(|i| {
        state
            .live(i as u8)
            .any(|token| !is_named(world, state, i, token))
    }) {
        return Some(Claim::Named);
    }
    if !scene.is_at_rest() {
        return None;
    }
    for i in 0..world.tokens {
        let lost = |token: &u8| !is_told(world, state, *token);
        let live: Vec<u8> = state.live(i as u8).filter(lost).collect();
        if live.len() > 1 {
            return Some(Claim::OneToken);
        }
        if live.iter().any(|token| !is_stored(state, *token)) {
            return Some(Claim::NothingLost);
        }
    }
    None
}

fn ready_lives(world: &World, state: &State, i: usize) -> bool {
    let Some(token) = state.tokens[i].as_ref().filter(|token| !token.deleting) else {
        return true;
    };
    let secret = &state.secrets[usize::from(world.secret_of(i))];
    let Some(secret) = secret
        .as_ref()
        .filter(|secret| usize::from(secret.owner) == i)
    else {
        return true;
    };
    let mut upstream = state.upstream.iter();
    let is_true = |up: &Upstream| up.token == secret.issued.token && (up.live || up.elsewhere);
    token.status.told != Some(Told::Ready) || upstream.any(is_true)
}

/// Whoever has it: a PlatformToken may have taken over what another has left.
fn is_stored(state: &State, token: u8) -> bool {
    let mut secrets = state.secrets.iter().flatten();
    secrets.any(|secret| secret.issued.token == token)
}

/// Whether anything that survives every process names it.
fn is_named(world: &World, state: &State, i: usize, token: u8) -> bool {
    let mut upstream = state.upstream.iter();
    let made = upstream.find(|up| up.token == token);
    let made = made.and_then(|up| up.attempt);
    let by_token = state.tokens[i].as_ref().is_some_and(|holder| {
        let issued = holder.status.issued;
        let newest = issued.map_or(0, |issued| issued.at.number);
        let by_attempt = holder.attempt.as_ref().is_some_and(|open| {
            (open.at.number > newest && Some(open.at.id) == made) || open.given_up.contains(&token)
        });
        // The next stock finds it.
        let by_tags = world.dialect == Dialect::Current;
        by_tags || by_attempt || issued.is_some_and(|issued| issued.token == token)
    });
    let by_secret = state.secrets.iter().flatten().any(|secret| {
        usize::from(secret.owner) == i
            && (secret.issued.token == token || secret.given_up.contains(&token))
    });
    let by_ledger = state.ledger.iter().any(|entry| match entry {
        Entry::Owed(debt) => debt.token == token,
        Entry::Unresolved { attempt, .. } => Some(*attempt) == made,
    });
    by_token || by_secret || by_ledger || is_told(world, state, token)
}

/// Where tokens bear no tags, one that nobody knows can only be told of.
fn is_told(world: &World, state: &State, token: u8) -> bool {
    world.dialect == Dialect::Documented && state.suspects.contains(&token)
}

/// Whether all is as it shall be.
pub(crate) fn is_as_it_shall_be(world: &World, state: &State) -> bool {
    let mut all = 0..world.tokens;
    if state.dark {
        // A deletion waits for nobody, though its debts have to stay.
        return state.posts.is_empty() && all.all(|i| has_let_go(world, state, i));
    }
    let paid = state.ledger.is_empty() && state.posts.is_empty();
    paid && all.all(|i| is_one_as_it_shall_be(world, state, i))
}

/// Whether nothing of a PlatformToken that is deleted is left, whatever the platform does.
fn has_let_go(world: &World, state: &State, i: usize) -> bool {
    match &state.tokens[i] {
        Some(token) => !token.deleting,
        None => !state
            .secrets
            .iter()
            .flatten()
            .any(|secret| is_left(world, secret, i)),
    }
}

/// What another process stores too late stays; nobody needs its token, or it is told.
fn is_left(world: &World, secret: &Secret, i: usize) -> bool {
    let late = world.processes > 1 && !secret.deleting;
    usize::from(secret.owner) == i && !late
}

fn is_one_as_it_shall_be(world: &World, state: &State, i: usize) -> bool {
    let mut live = state
        .live(i as u8)
        .filter(|token| !is_told(world, state, *token));
    let Some(token) = &state.tokens[i] else {
        return live.next().is_none() && has_let_go(world, state, i);
    };
    let secret = state.secrets[usize::from(world.secret_of(i))].as_ref();
    if token.deleting {
        return false;
    }
    match secret {
        Some(secret) if usize::from(secret.owner) == i => {
            token.status.told == Some(Told::Ready)
                && token.held
                && secret.held
                && !secret.deleting
                && state.lives(secret.issued.token)
                && state.has_answered(secret.issued.token)
                && live.all(|token| token == secret.issued.token)
        }
        // The Secret that it wants is another's: it mints nothing.
        Some(_) => {
            world.rivals
                && token.status.told == Some(Told::Trouble(Reason::SecretNotWritable))
                && live.next().is_none()
        }
        None => false,
    }
}
