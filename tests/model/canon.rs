//! The canonical form of a state: names are counted anew, and what nobody can tell apart is the same.
//!
//! Two states that differ only in how often something happened before have one canonical form, so the walk is finite.

use platform_token_operator::api::Dialect;

use crate::digest::digest;
use crate::mind::{
    Account, Answer, Facts, Fate, Leftover, Memory, Mind, Payment, Process, Recovery, Run,
};
use crate::world::{At, Attempt, Entry, GROUP, Issued, Next, PlatformToken, State, World};

/// What a number in a state names.
#[derive(Clone, Copy, PartialEq)]
enum Name {
    /// An upstream token.
    Token,
    /// One that is only remembered: it matters if something else names it.
    Remembered,
    Attempt,
    /// An attempt that is only remembered.
    Sent,
    /// The number of an attempt of this group.
    Number(u8),
    /// The resourceVersion of a PlatformToken.
    TokenVersion(usize),
    /// The resourceVersion of the Secret of this name.
    SecretVersion(usize),
}

/// How many ticks are told apart, by what became of an attempt.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caps {
    /// As long as its POST may be sent.
    pub unsent: u8,
    /// Until it may be given up.
    pub unknown: u8,
    /// As long as its token waits for a Secret that is another's.
    pub minted: u8,
    /// Until nothing rests any more on a proof of the PlatformToken.
    pub proven: u8,
    /// Until an entry may be given up.
    pub entry: u8,
}

impl Caps {
    /// How old an attempt of this fate gets.
    pub(crate) fn of(self, fate: &Fate, awaits_post: bool) -> u8 {
        match fate {
            Fate::Unsent if !awaits_post => self.unsent,
            Fate::Unsent | Fate::Unknown { .. } | Fate::Withheld(_) => self.unknown,
            Fate::Minted(_) => self.minted,
            Fate::Void => 0,
        }
    }
}

/// Gives a state its canonical form. Whether the two processes changed places: where nothing tells them apart, which of
/// them is which makes no difference.
pub(crate) fn canonical(state: &mut State, world: &World, caps: Caps) -> bool {
    forget(state, world, caps);
    let (mut tokens, mut attempts) = (Used::default(), Used::default());
    each(state, &mut |name, n| match name {
        Name::Token => tokens.note(*n),
        Name::Attempt => attempts.note(*n),
        _ => {}
    });
    state.upstream.retain_mut(|up| {
        if !up.live && !up.elsewhere {
            (up.attempt, up.used, up.settled) = (None, false, true);
        }
        up.live || tokens.has(up.token)
    });
    for up in &state.upstream {
        tokens.note(up.token);
        up.attempt
            .into_iter()
            .for_each(|attempt| attempts.note(attempt));
    }
    state.sent.retain(|id| attempts.has(*id));
    let upstream = &state.upstream;
    let lives = |token: &u8| upstream.iter().any(|up| up.live && up.token == *token);
    state.suspects.retain(lives);
    for memory in state.processes.iter_mut().flat_map(memories) {
        memory.revoked.retain(|token| tokens.has(*token));
        memory.self_refused.retain(|token| tokens.has(*token));
        memory.revoke_unknown.retain(|token| tokens.has(*token));
    }
    let (mut numbers, mut versions) = ([Used::default(); 3], [Used::default(); 2]);
    each(state, &mut |name, n| match name {
        Name::Number(group) => numbers[usize::from(group)].note(*n),
        Name::SecretVersion(secret) => versions[secret].note(*n),
        _ => {}
    });
    let live = state
        .tokens
        .each_ref()
        .map(|token| token.as_ref().map(|token| token.version));
    each(state, &mut |name, n| {
        *n = match name {
            Name::Token | Name::Remembered => tokens.in_group(*n),
            Name::Attempt | Name::Sent => attempts.in_group(*n),
            Name::Number(group) => numbers[usize::from(group)].rank(*n),
            Name::TokenVersion(token) => u8::from(live[token] == Some(*n)),
            Name::SecretVersion(secret) => versions[secret].rank(*n),
        };
    });
    state.sent.sort_unstable();
    state.suspects.sort_unstable();
    state.next = Next {
        upstream: [0, 1, 2].map(|group| tokens.of_group(group)),
        attempt: [0, 1].map(|group| attempts.of_group(group)),
        token_version: [2, 2],
        secret_version: versions.map(|used| used.rank(u8::MAX >> 1) + 1),
    };
    let swap = state.processes.len() == 2 && !world.stale && order(state, 1) < order(state, 0);
    if swap {
        state.swap_processes();
    }
    swap
}

/// Any order will do, as long as it does not depend on who is who.
fn order(state: &State, p: usize) -> u128 {
    let awaits = [0, 1].map(|i| state.awaits_post(p, i));
    let seen = state.ledger.iter().map(|entry| match entry {
        Entry::Owed(_) => 0,
        Entry::Unresolved { seen, .. } => seen[p],
    });
    digest(&(&state.processes[p], awaits, seen.collect::<Vec<u8>>()))
}

/// All that a process remembers.
fn memories(process: &mut Process) -> impl Iterator<Item = &mut Memory> {
    let minds = process.minds.iter_mut().map(|mind| &mut mind.memory);
    let payment = process.payment.iter_mut();
    minds.chain(payment.filter_map(|payment| Some(&mut payment.asked.as_mut()?.0)))
}

/// What cannot matter any more.
fn forget(state: &mut State, world: &World, caps: Caps) {
    for p in 0..state.processes.len() {
        for i in 0..2 {
            let waits = state.awaits_post(p, i);
            let process = &mut state.processes[p];
            let live = &state.tokens[i];
            let seen = process
                .cache
                .as_ref()
                .map_or(live, |cache| &cache.tokens[i]);
            let mind = &mut process.minds[i];
            // Only a deletion asks whether it is worth another try.
            let lives = live.as_ref().is_some_and(|token| !token.deleting);
            mind.memory.failed &= !lives || state.to_delete == Some(i as u8);
            if mind.run.is_none() && live.is_none() && seen.is_none() {
                *mind = Mind::default();
                continue;
            }
            let read = mind
                .run
                .as_ref()
                .map_or(seen.as_ref(), |run| Some(&run.token));
            let closed = is_closed(&mind.memory, read);
            if let Some(open) = &mut mind.memory.attempt {
                open.age = open.age.min(caps.of(&open.fate, waits));
                if closed {
                    open.age = 0;
                    if let Fate::Unknown { searched } = &mut open.fate {
                        *searched = None;
                    }
                }
            }
            if let Some(run) = &mut mind.run {
                run.proven = run.proven.filter(|age| *age < caps.proven);
            } else {
                // Each run begins with what the last stock showed.
                mind.memory.leftovers.clear();
                mind.memory.missing = None;
            }
        }
    }
    let goes = |token: &Option<PlatformToken>| token.as_ref().is_some_and(|token| token.deleting);
    let waits = state.to_delete.is_some() || !state.ledger.is_empty() || state.dark;
    let waits = waits
        || state.tokens.iter().any(goes)
        || state.secrets.iter().flatten().any(|secret| secret.deleting);
    for process in &mut state.processes {
        // What waits for the account to be known is a deletion, and what is left of one.
        let seen = process
            .cache
            .as_ref()
            .is_some_and(|cache| cache.tokens.iter().any(goes));
        if process.account == Account::Pending && !waits && !seen {
            process.account = Account::Proven;
        }
        if let Some(Payment {
            asked: Some((memory, _)),
            ..
        }) = &mut process.payment
            && let Some(open) = &mut memory.attempt
        {
            open.age = open.age.min(caps.of(&open.fate, false));
        }
    }
    for up in &mut state.upstream {
        up.settled |= world.dialect == Dialect::Documented;
    }
}

/// Whether the attempt that a process remembers is closed for good: numbers only grow.
pub(crate) fn is_closed(memory: &Memory, read: Option<&PlatformToken>) -> bool {
    let stored = read.and_then(|token| token.status.issued);
    let newest = stored
        .into_iter()
        .chain(memory.issued)
        .map(|issued| issued.at.number)
        .max();
    memory.attempt.as_ref().map(|open| open.attempt.at.number) <= newest
}

/// Which of up to 128 numbers are used.
#[derive(Clone, Copy, Default)]
struct Used(u128);

impl Used {
    fn note(&mut self, n: u8) {
        self.0 |= 1 << n;
    }

    fn has(self, n: u8) -> bool {
        self.0 & (1 << n) != 0
    }

    /// Its place among the used numbers, from 1.
    fn rank(self, n: u8) -> u8 {
        (self.0 & (u128::MAX >> (127 - n))).count_ones() as u8
    }

    /// Its group, and its place there from 0.
    fn in_group(self, n: u8) -> u8 {
        let first = n / GROUP * GROUP;
        first + (self.0 >> first & ((1 << (n - first)) - 1)).count_ones() as u8
    }

    /// How many of a group are used.
    fn of_group(self, group: u8) -> u8 {
        (self.0 >> (group * GROUP) & ((1 << GROUP) - 1)).count_ones() as u8
    }
}

/// Shows every number that names something, and lets it be changed.
fn each(state: &mut State, see: &mut impl FnMut(Name, &mut u8)) {
    for (i, token) in state.tokens.iter_mut().enumerate() {
        if let Some(token) = token {
            each_of_token(i, token, see);
        }
    }
    for (name, secret) in state.secrets.iter_mut().enumerate() {
        if let Some(secret) = secret {
            see(Name::SecretVersion(name), &mut secret.version);
            each_of_issued(&mut secret.issued, see);
            each_of_tokens(&mut secret.given_up, see);
        }
    }
    for token in &mut state.suspects {
        see(Name::Remembered, token);
    }
    for up in &mut state.upstream {
        see(Name::Remembered, &mut up.token);
        if let Some(attempt) = &mut up.attempt {
            see(Name::Sent, attempt);
        }
    }
    for entry in &mut state.ledger {
        each_of_entry(entry, see);
    }
    for post in &mut state.posts {
        see(Name::Attempt, &mut post.attempt);
    }
    for sent in &mut state.sent {
        see(Name::Sent, sent);
    }
    for process in &mut state.processes {
        for (i, mind) in process.minds.iter_mut().enumerate() {
            each_of_mind(i, mind, see);
        }
        if let Some(payment) = &mut process.payment {
            let i = payment.entry.owner();
            each_of_entry(&mut payment.entry, see);
            if let Some((memory, run)) = &mut payment.asked {
                each_of_memory(memory, see);
                each_of_run(i, run, see);
            }
        }
        for leftovers in &mut process.leftovers {
            each_of_leftovers(leftovers, see);
        }
        for token in process.missing.iter_mut().flatten() {
            see(Name::Token, token);
        }
        if let Some(cache) = &mut process.cache {
            for (i, token) in cache.tokens.iter_mut().enumerate() {
                if let Some(token) = token {
                    each_of_token(i, token, see);
                }
            }
            for (name, secret) in cache.secrets.iter_mut().enumerate() {
                if let Some(indexed) = secret {
                    see(Name::SecretVersion(name), &mut indexed.version);
                    see(Name::Token, &mut indexed.token);
                }
            }
        }
    }
}

fn each_of_entry(entry: &mut Entry, see: &mut impl FnMut(Name, &mut u8)) {
    match entry {
        Entry::Owed(debt) => see(Name::Token, &mut debt.token),
        Entry::Unresolved { attempt, .. } => see(Name::Attempt, attempt),
    }
}

fn each_of_token(i: usize, token: &mut PlatformToken, see: &mut impl FnMut(Name, &mut u8)) {
    see(Name::TokenVersion(i), &mut token.version);
    if let Some(attempt) = &mut token.attempt {
        each_of_attempt(attempt, see);
    }
    let status = &mut token.status;
    if let Some(issued) = &mut status.issued {
        each_of_issued(issued, see);
    }
    if let (Some(name), Some(version)) = (status.secret, &mut status.secret_version) {
        see(Name::SecretVersion(name.into()), version);
    }
}

fn each_of_tokens(tokens: &mut [u8], see: &mut impl FnMut(Name, &mut u8)) {
    for token in tokens {
        see(Name::Token, token);
    }
}

fn each_of_leftovers(leftovers: &mut [Leftover], see: &mut impl FnMut(Name, &mut u8)) {
    for leftover in leftovers {
        see(Name::Token, &mut leftover.token);
        see(Name::Attempt, &mut leftover.attempt);
    }
}

fn each_of_at(at: &mut At, see: &mut impl FnMut(Name, &mut u8)) {
    see(Name::Number(at.id / GROUP), &mut at.number);
    see(Name::Attempt, &mut at.id);
}

fn each_of_attempt(attempt: &mut Attempt, see: &mut impl FnMut(Name, &mut u8)) {
    each_of_at(&mut attempt.at, see);
    each_of_tokens(&mut attempt.given_up, see);
}

fn each_of_issued(issued: &mut Issued, see: &mut impl FnMut(Name, &mut u8)) {
    each_of_at(&mut issued.at, see);
    see(Name::Token, &mut issued.token);
}

fn each_of_mind(i: usize, mind: &mut Mind, see: &mut impl FnMut(Name, &mut u8)) {
    each_of_memory(&mut mind.memory, see);
    if let Some(run) = &mut mind.run {
        each_of_run(i, run, see);
    }
}

fn each_of_memory(memory: &mut Memory, see: &mut impl FnMut(Name, &mut u8)) {
    let Memory {
        attempt,
        surplus,
        leftovers,
        missing,
        issued,
        held,
        verified,
        revoked,
        self_refused,
        revoke_unknown,
        lost: _,
        failed: _,
    } = memory;
    if let Some(open) = attempt {
        each_of_attempt(&mut open.attempt, see);
        match &mut open.fate {
            Fate::Minted(token) => see(Name::Token, token),
            Fate::Withheld(tokens) => each_of_tokens(tokens, see),
            Fate::Unsent | Fate::Void | Fate::Unknown { .. } => {}
        }
        each_of_tokens(&mut open.others, see);
    }
    for debt in surplus {
        see(Name::Token, &mut debt.token);
    }
    each_of_leftovers(leftovers, see);
    if let Some(issued) = issued {
        each_of_issued(issued, see);
    }
    for token in [missing, held].into_iter().flatten() {
        see(Name::Token, token);
    }
    if let Some((token, name, version)) = verified {
        see(Name::Token, token);
        see(Name::SecretVersion((*name).into()), version);
    }
    for set in [revoked, self_refused, revoke_unknown] {
        for token in set {
            see(Name::Remembered, token);
        }
    }
}

fn each_of_run(i: usize, run: &mut Run, see: &mut impl FnMut(Name, &mut u8)) {
    let Run {
        token,
        secrets,
        proven: _,
        gone: _,
        account: _,
        ledger: _,
        failed: _,
        permitted: _,
        struck: _,
        writable: _,
        stale: _,
        recovery,
        vanished,
        trouble: _,
        answer,
        opened: _,
    } = run;
    each_of_token(i, token, see);
    for (name, facts) in secrets.iter_mut().enumerate() {
        if let Some(facts) = facts {
            each_of_facts(name, facts, see);
        }
    }
    if let Some(Recovery::Value(token)) = recovery {
        see(Name::Token, token);
    }
    if let Some(token) = vanished {
        see(Name::Token, token);
    }
    if let Some((answer, _)) = answer {
        each_of_answer(i, answer, see);
    }
}

fn each_of_facts(name: usize, facts: &mut Facts, see: &mut impl FnMut(Name, &mut u8)) {
    match facts {
        Facts::Unread(Some(version)) | Facts::Foreign(Some(version)) => {
            see(Name::SecretVersion(name), version);
        }
        Facts::Unread(None) | Facts::Absent | Facts::Foreign(None) => {}
        Facts::Left(version, issued, given_up) => {
            see(Name::SecretVersion(name), version);
            each_of_issued(issued, see);
            each_of_tokens(given_up, see);
        }
        Facts::Own(own) => {
            see(Name::SecretVersion(name), &mut own.version);
            if let Some(issued) = &mut own.issued {
                each_of_issued(issued, see);
            }
            each_of_tokens(&mut own.given_up, see);
            if let Some(token) = &mut own.value {
                see(Name::Token, token);
            }
        }
    }
}

/// Only the answers that can take their time: those that are folded at once never stand in a state.
fn each_of_answer(i: usize, answer: &mut Answer, see: &mut impl FnMut(Name, &mut u8)) {
    match answer {
        Answer::Opened(attempt, version) => {
            each_of_attempt(attempt, see);
            see(Name::TokenVersion(i), version);
        }
        Answer::Found { kept, others } => {
            see(Name::Token, kept);
            each_of_tokens(others, see);
        }
        Answer::MintedWithheld(tokens) | Answer::Suspects(tokens) => each_of_tokens(tokens, see),
        _ => {}
    }
}
