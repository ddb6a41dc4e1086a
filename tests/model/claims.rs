//! What is never so, and what is to be in the end.

use std::fmt;

use platform_token_operator::api::{Dialect, Reason};

use crate::scene::Scene;
use crate::world::{Secret, State, Told, Upstream, World};

/// What has to hold, whatever happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    /// At most one POST is sent for an attempt.
    OnePost,
    /// A POST is sent only while the finalizer is on the PlatformToken.
    HeldBeforePost,
    /// No token of a stranger or of another living PlatformToken is revoked.
    NoStranger,
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
                "a POST is sent only while the finalizer is on the PlatformToken"
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

/// Where tokens bear no tags, one that nobody knows can only be told of.
fn is_told(world: &World, state: &State, token: u8) -> bool {
    world.dialect == Dialect::Documented && state.suspects.contains(&token)
}

/// Whether all is as it shall be.
pub(crate) fn is_as_it_shall_be(world: &World, state: &State) -> bool {
    state.posts.is_empty() && (0..world.tokens).all(|i| is_one_as_it_shall_be(world, state, i))
}

fn is_one_as_it_shall_be(world: &World, state: &State, i: usize) -> bool {
    let mut live = state
        .live(i as u8)
        .filter(|token| !is_told(world, state, *token));
    let Some(token) = &state.tokens[i] else {
        // What another process stores too late stays; nobody needs its token, or it is told.
        let late = |secret: &Secret| world.processes > 1 && !secret.deleting;
        let left = |secret: &Secret| usize::from(secret.owner) == i && !late(secret);
        return live.next().is_none() && !state.secrets.iter().flatten().any(left);
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
