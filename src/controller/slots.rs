//! Who is worked on at once, so that one broken account holds up no PlatformToken of another: each of its calls takes as
//! long as a deadline allows.
//!
//! - A run takes a slot of its account, of which there are `--concurrency`, and four times as many in all. What is being
//!   deleted has as many of its own, in all as well: nothing that stays and waits for an answer holds it up.
//! - Where there is none, the PlatformToken stands in line, and its run ends at once: what waits costs no more than a
//!   name. Whoever leaves a slot has the next one called: of the account with the fewest slots.
//! - An account that did not answer in time has one slot until it answers, and all such accounts have a quarter of all.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::ResourceExt;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc::UnboundedSender;

use super::accounts::account_key;
use super::tokens::Watched;
use crate::api::{AccountKey, PlatformToken};

/// So many accounts may use all of their slots at once.
pub(super) const ACCOUNTS: u16 = 4;

/// The slots of every account, and who waits for one.
pub(super) struct Slots {
    lines: Mutex<Lines<Arc<Name>>>,
    /// Wakes whoever has a slot now.
    call: UnboundedSender<ObjectRef<Watched>>,
}

/// Namespace and name of a PlatformToken.
type Name = (String, String);

/// Leave to work on one PlatformToken, until it is dropped.
pub(super) struct Slot<'a> {
    slots: &'a Slots,
    line: LineKey,
}

/// An account, and whether it is of those that are being deleted.
type LineKey = (AccountKey, bool);

fn line_of(token: &PlatformToken) -> LineKey {
    let goes = token.metadata.deletion_timestamp.is_some();
    (account_key(token), goes)
}

impl Slots {
    pub(super) fn new(of_account: u16, call: UnboundedSender<ObjectRef<Watched>>) -> Self {
        Self {
            lines: Mutex::new(Lines::new(of_account.into())),
            call,
        }
    }

    /// A slot, or none: then the PlatformToken stands in line, and is woken when it has one.
    pub(super) fn enter(&self, token: &PlatformToken) -> Option<Slot<'_>> {
        let name = Arc::new((token.namespace().unwrap_or_default(), token.name_any()));
        let line = line_of(token);
        let (entered, called) = {
            let mut lines = self.lock();
            // It may have stood in the other line: before it was deleted, or before it was created anew under its name.
            let other = (line.0.clone(), !line.1);
            let called = lines.forget_one(&other, &name);
            (lines.enter(&line, name), called)
        };
        self.wake(called);
        // Lazily: a slot that was never taken must not be given back.
        entered.then(|| Slot { slots: self, line })
    }

    /// Whoever is gone, or belongs in another line now, waits no more. To be called from time to time: one that was called
    /// and never came holds a slot.
    pub(super) fn forget_vanished(&self, tokens: &Store<Watched>) {
        let waits = |line: &LineKey, (namespace, name): &Name| {
            let token = tokens.get(&ObjectRef::new(name).within(namespace));
            let token = token.as_ref().and_then(|token| token.0.as_ref().ok());
            token.is_some_and(|token| line_of(token) == *line)
        };
        let called = self.lock().forget(|line, name| !waits(line, name));
        self.wake(called);
    }

    fn wake(&self, called: Vec<Arc<Name>>) {
        for token in called {
            let (namespace, name) = &*token;
            let _ = self.call.send(ObjectRef::new(name).within(namespace));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Lines<Arc<Name>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot<'_> {
    /// The platform answered a call for this account's PlatformToken, or it did not.
    pub(super) fn note(&self, answered: bool) {
        let called = self.slots.lock().note(&self.line, answered);
        self.slots.wake(called);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let called = self.slots.lock().leave(&self.line);
        self.slots.wake(called);
    }
}

/// The rule, for whatever stands in line. Nobody stands in line who may have a slot: everything that makes room calls.
struct Lines<T> {
    /// Slots of one account.
    of_account: usize,
    /// How many ever stood in line.
    arrivals: u64,
    accounts: BTreeMap<LineKey, Line<T>>,
}

/// Those of one account that stay, or that go.
struct Line<T> {
    /// Slots that are taken, those of `called` among them.
    taken: usize,
    /// Who has a slot and has not come yet.
    called: BTreeSet<T>,
    /// In the order of arrival.
    waiting: BTreeMap<u64, T>,
    places: HashMap<T, u64>,
    /// The last call was not answered in time.
    slow: bool,
}

/// What may still be taken, of those that stay or of those that go.
struct Room {
    /// How many an account may have.
    account: usize,
    /// How many are free.
    all: usize,
    /// How many are free for accounts that do not answer.
    slow: usize,
}

impl Room {
    fn is_for<T>(&self, line: &Line<T>) -> bool {
        let (of_account, free) = if line.slow {
            (1, self.slow.min(self.all))
        } else {
            (self.account, self.all)
        };
        free > 0 && line.taken < of_account
    }
}

impl<T> Default for Line<T> {
    fn default() -> Self {
        Self {
            taken: 0,
            called: BTreeSet::new(),
            waiting: BTreeMap::new(),
            places: HashMap::new(),
            slow: false,
        }
    }
}

impl<T: Clone + Ord + Hash> Lines<T> {
    fn new(of_account: usize) -> Self {
        Self {
            of_account,
            arrivals: 0,
            accounts: BTreeMap::new(),
        }
    }

    /// Whether it has a slot now; if not, it stands in line.
    fn enter(&mut self, line: &LineKey, token: T) -> bool {
        let room = self.room(line.1);
        let line = self.accounts.entry(line.clone()).or_default();
        if line.called.remove(&token) {
            return true;
        }
        if room.is_for(line) {
            line.taken += 1;
            return true;
        }
        self.arrivals += 1;
        line.stand(token, self.arrivals);
        false
    }

    /// Gives a slot back. Who has it now.
    fn leave(&mut self, line: &LineKey) -> Vec<T> {
        if let Some(line) = self.accounts.get_mut(line) {
            line.taken -= 1;
        }
        self.call()
    }

    /// Whether the account answered. Who has a slot now for it.
    fn note(&mut self, line: &LineKey, answered: bool) -> Vec<T> {
        let line = self.accounts.entry(line.clone()).or_default();
        let changed = line.slow == answered;
        line.slow = !answered;
        if changed { self.call() } else { Vec::new() }
    }

    /// Strikes one off that stands in another line from now on. Who has a slot now.
    fn forget_one(&mut self, line: &LineKey, token: &T) -> Vec<T> {
        let Some(line) = self.accounts.get_mut(line) else {
            return Vec::new();
        };
        if let Some(place) = line.places.remove(token) {
            line.waiting.remove(&place);
        }
        if !line.called.remove(token) {
            return Vec::new();
        }
        line.taken -= 1;
        self.call()
    }

    /// Strikes off whoever is gone. Who has a slot now.
    fn forget(&mut self, is_gone: impl Fn(&LineKey, &T) -> bool) -> Vec<T> {
        for (key, line) in &mut self.accounts {
            let waiting = line.places.extract_if(|token, _| is_gone(key, token));
            for (_, place) in waiting {
                line.waiting.remove(&place);
            }
            let called = line.called.len();
            line.called.retain(|token| !is_gone(key, token));
            let gone = called - line.called.len();
            line.taken -= gone;
        }
        self.call()
    }

    /// Gives slots to those who stand in line, as far as there is room.
    fn call(&mut self) -> Vec<T> {
        let mut called = Vec::new();
        while let Some(line) = self.next() {
            let Some((_, token)) = line.waiting.pop_first() else {
                break;
            };
            line.places.remove(&token);
            line.called.insert(token.clone());
            line.taken += 1;
            called.push(token);
        }
        self.accounts
            .retain(|_, line| line.taken > 0 || line.slow || !line.waiting.is_empty());
        called
    }

    /// Whose turn it is: of those with room, the line with the fewest slots; of several, the one whose first has come
    /// earlier.
    fn next(&mut self) -> Option<&mut Line<T>> {
        let (of_those_that_stay, of_those_that_go) = (self.room(false), self.room(true));
        let waiting = self.accounts.iter_mut().filter(|((_, goes), line)| {
            let room = if *goes {
                &of_those_that_go
            } else {
                &of_those_that_stay
            };
            room.is_for(line)
        });
        let placed = waiting.filter_map(|(_, line)| {
            let first = *line.waiting.keys().next()?;
            Some(((line.taken, first), line))
        });
        placed.min_by_key(|(place, _)| *place).map(|(_, line)| line)
    }

    /// Those that go have slots of their own, as many as those that stay.
    fn room(&self, goes: bool) -> Room {
        let (mut taken, mut slow) = (0, 0);
        for ((_, its), line) in &self.accounts {
            if *its == goes {
                taken += line.taken;
                slow += if line.slow { line.taken } else { 0 };
            }
        }
        Room {
            account: self.of_account,
            all: (self.of_account * usize::from(ACCOUNTS)).saturating_sub(taken),
            slow: self.of_account.saturating_sub(slow),
        }
    }
}

impl<T: Clone + Eq + Hash> Line<T> {
    /// Once in line, where it stood first.
    fn stand(&mut self, token: T, place: u64) {
        if let Entry::Vacant(vacant) = self.places.entry(token.clone()) {
            vacant.insert(place);
            self.waiting.insert(place, token);
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::DeserializeGuard;
    use kube::runtime::reflector;
    use kube::runtime::watcher::Event;
    use serde_json::json;
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::api::AccountKind;

    /// What happens, in the words of the table below: `+a1` enters as number 1 of account a, `+a1!` while it is being
    /// deleted, `-a` leaves a slot of account a, `-a!` one of those that are being deleted, `?a` no answer of a, `=a` an
    /// answer, `~a1` it has vanished.
    fn play(of_account: usize, story: &str) -> String {
        let mut lines: Lines<String> = Lines::new(of_account);
        let mut told = Vec::new();
        for word in story.split_whitespace() {
            let (deed, who) = word.split_at(1);
            let account = AccountKey {
                kind: AccountKind::ClusterPlatformAccount,
                namespace: None,
                name: who[..1].to_owned(),
            };
            let token = who.trim_end_matches('!').to_owned();
            let (stays, goes) = ((account.clone(), false), (account, true));
            let (line, other) = if who.ends_with('!') {
                (&goes, &stays)
            } else {
                (&stays, &goes)
            };
            let called = match deed {
                "+" => {
                    lines.forget_one(other, &token);
                    let entered = lines.enter(line, token);
                    told.push(if entered {
                        "in".to_owned()
                    } else {
                        "waits".to_owned()
                    });
                    continue;
                }
                "-" => lines.leave(line),
                "?" => lines.note(line, false),
                "=" => lines.note(line, true),
                _ => lines.forget(|_, name| *name == token),
            };
            told.push(if called.is_empty() {
                "-".to_owned()
            } else {
                called.join(",")
            });
        }
        told.join(" ")
    }

    #[test]
    fn an_account_has_its_slots_and_whoever_leaves_has_the_next_one_called() {
        for (of_account, story, told) in [
            (2, "+a1 +a2 +a3 +a4", "in in waits waits"),
            // In the order of arrival, and each once.
            (
                1,
                "+a1 +a2 +a3 +a2 -a +a2 -a +a3 -a",
                "in waits waits waits a2 in a3 in -",
            ),
            // Whoever was called has its slot, whoever comes meanwhile waits.
            (1, "+a1 +a2 -a +a3 +a2 -a", "in waits a2 waits in a3"),
            // Another account has slots of its own.
            (1, "+a1 +a2 +b1 -b -a", "in waits in - a2"),
            // Deletions have slots of their own, also those who stood in line before they were deleted.
            (
                1,
                "+a1 +a2 +a3 +a3! +a4! -a! -a -a",
                "in waits waits in waits a4 a2 -",
            ),
            (1, "+a1 +a2 -a +a2! -a!", "in waits a2 in -"),
            // One that was created anew under the name of one that was called.
            (1, "+a1! +a2! -a! +a2 +a3!", "in waits a2 in in"),
            (1, "+a1 +a2! ?a +a3 ?a! +a4!", "in in - waits - waits"),
        ] {
            assert_eq!(play(of_account, story), told, "{story}");
        }
    }

    #[test]
    fn in_all_four_accounts_may_use_all_their_slots_and_whoever_has_the_fewest_goes_first() {
        for (of_account, story, told) in [
            (1, "+a1 +b1 +c1 +d1 +e1 -a", "in in in in waits e1"),
            // a has the older ones in line, and e none at work.
            (
                2,
                "+a1 +a2 +b1 +b2 +c1 +c2 +d1 +d2 +a3 +a4 +e1 -a -a",
                "in in in in in in in in waits waits waits e1 a3",
            ),
        ] {
            assert_eq!(play(of_account, story), told, "{story}");
        }
    }

    #[test]
    fn deletions_have_as_many_slots_in_all_as_those_that_stay_also_where_nobody_answers() {
        for (of_account, story, told) in [
            (
                1,
                "+a1 +b1 +c1 +d1 +e1 +a2! +b2! +c2! +d2! +e2! -a -a!",
                "in in in in waits in in in in waits e1 e2",
            ),
            // A quarter of their own for accounts that do not answer.
            (
                1,
                "?a +a1 ?b +b1 ?b! +b2! ?c! +c2! -b!",
                "- in - waits - in - waits c2",
            ),
        ] {
            assert_eq!(play(of_account, story), told, "{story}");
        }
    }

    #[test]
    fn an_account_that_does_not_answer_has_one_slot_until_it_answers() {
        for (of_account, story, told) in [
            (
                3,
                "+a1 +a2 +a3 ?a +a4 +a5 -a -a -a +a4 -a +a5",
                "in in in - waits waits - - a4 in a5 in",
            ),
            (3, "+a1 ?a +a2 +a3 +a4 =a", "in - waits waits waits a2,a3"),
            // Of all such accounts together a quarter of all slots, in turn.
            (
                2,
                "+a1 ?a +b1 ?b +c1 ?c -c +c1 +a2 -a -b +c1",
                "in - in - in - - waits waits c1 a2 in",
            ),
            // They leave the others alone.
            (
                1,
                "+a1 ?a +b1 ?b +c1 +d1 +e1 -a",
                "in - in - in in waits e1",
            ),
        ] {
            assert_eq!(play(of_account, story), told, "{story}");
        }
    }

    #[test]
    fn who_vanishes_waits_no_more_and_holds_no_slot_that_it_was_called_to() {
        for (story, told) in [
            ("+a1 +a2 +a3 ~a2 -a", "in waits waits - a3"),
            ("+a1 +a2 +a3 -a ~a2 +a3", "in waits waits a2 a3 in"),
            ("+a1 +a2 -a ~a2 +a3", "in waits a2 - in"),
        ] {
            assert_eq!(play(1, story), told, "{story}");
        }
    }

    #[test]
    fn who_was_called_and_is_created_anew_under_its_name_holds_no_slot_of_the_deletions() {
        let token = |name: &str, goes: bool| {
            let deleted = goes.then_some("2026-01-01T00:00:00Z");
            let token: PlatformToken = serde_json::from_value(json!({
                "apiVersion": "platform.acedata.cloud/v1alpha1",
                "kind": "PlatformToken",
                "metadata": { "name": name, "namespace": "team", "deletionTimestamp": deleted },
                "spec": { "accountRef": { "name": "a" } },
            }))
            .unwrap();
            token
        };
        for comes in [false, true] {
            let slots = Slots::new(1, unbounded_channel().0);
            let (tokens, mut writer) = reflector::store();
            let first = slots.enter(&token("first", true));
            assert!(first.is_some() && slots.enter(&token("second", true)).is_none());
            drop(first);
            let anew = token("second", false);
            let came = comes.then(|| slots.enter(&anew));
            if came.is_none() {
                writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(anew))));
                slots.forget_vanished(&tokens);
            }
            let third = slots.enter(&token("third", true));
            assert!(third.is_some(), "second keeps its slot");
        }
    }
}
