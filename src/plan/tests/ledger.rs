//! Nobody waits for a platform that does not answer: what is owed is written down in time, and paid when it can be.

use super::*;
use crate::api::{Entry, NamedToken, OwedToken};

fn down() -> Trouble {
    Trouble::transient(Reason::Unreachable, "down")
}

fn broken() -> AccountFacts {
    AccountFacts::Broken(down())
}

fn deleting(given: Given) -> Given {
    Given {
        deleted: Some(0),
        ..given
    }
}

fn issued_and_read() -> Given {
    deleting(Given::issued(own_facts(own(1, "a"))))
}

/// The platform does not answer; Kubernetes does.
fn unanswered(step: &Step) -> Outcome {
    match step {
        Step::Revoke { .. } => Outcome::RevokeUnknown(down()),
        Step::FindMinted(_) => Outcome::Failed(down()),
        step => fair_outcome(step),
    }
}

const LET_GO: [&str; 5] = ["record", "remove", "lift_finalizer", "release", "Gone"];

#[test]
fn a_deletion_waits_ten_seconds_for_the_platform_and_no_longer() {
    let early = |now| steps(issued_and_read(), now, unanswered);
    assert_eq!(early(0), ["revoke", "Unreachable"]);
    assert_eq!(early(9), ["revoke", "Unreachable"]);
    let late = early(10);
    assert_eq!(late[0], "revoke", "one try is always made");
    assert_eq!(late[1..], LET_GO);
}

#[test]
fn a_failed_deletion_looks_again_as_soon_as_it_need_not_wait() {
    for (now, failures, expected) in [(1, 3, 9.0), (8, 3, 2.0), (12, 0, 0.1)] {
        let memory = Memory {
            failures,
            ..Memory::default()
        };
        let given = Given {
            memory,
            ..issued_and_read()
        };
        let mut snapshot = given.snapshot(at(now));
        snapshot.run.trouble = Some(down());
        let Next::Settled(settled) = plan(&snapshot, at(now)) else {
            panic!()
        };
        let wait = settled.requeue.unwrap().as_secs_f64();
        assert!(wait <= expected, "{wait} s at {now} s");
    }
}

#[test]
fn what_is_known_to_be_hopeless_is_not_tried_again() {
    let failed = Memory {
        failures: 1,
        ..Memory::default()
    };
    let given = Given {
        memory: failed,
        ..issued_and_read()
    };
    assert_eq!(steps(given, 10, unanswered), LET_GO);
    let mut silent = issued_and_read().snapshot(at(10));
    silent.silent.insert("https://platform".into());
    assert_eq!(story(&mut silent, at(10), unanswered), LET_GO);
    let mut elsewhere = issued_and_read().snapshot(at(10));
    elsewhere.silent.insert("https://elsewhere".into());
    assert_eq!(story(&mut elsewhere, at(10), fair_outcome)[0], "revoke");
}

#[test]
fn a_clock_that_is_ahead_holds_no_deletion() {
    let failed = |failures| Memory {
        failures,
        ..Memory::default()
    };
    let next = |failures| {
        let mut snapshot = Given {
            memory: failed(failures),
            ..issued_and_read()
        }
        .snapshot(at(0));
        snapshot.token.deleted_at = Some(at(3600).wall);
        word(&plan(&snapshot, at(0)))
    };
    assert_eq!(next(3), "revoke");
    assert_eq!(next(4), "record");
}

#[test]
fn without_its_account_a_token_whose_value_is_lost_is_owed_in_time() {
    for account in [broken(), AccountFacts::Pending] {
        let given = || {
            deleting(Given {
                account: account.clone(),
                ..Given::issued(SecretFacts::Absent)
            })
        };
        assert_ne!(steps(given(), 9, unanswered)[0], "record");
        assert_eq!(
            steps(given(), 10, unanswered),
            ["record", "lift_finalizer", "Gone"],
            "{account:?}"
        );
    }
}

#[test]
fn a_value_is_not_used_while_it_may_be_a_credential_and_goes_with_the_entry() {
    let given = Given {
        account: AccountFacts::Pending,
        ..issued_and_read()
    };
    let Next::Step(Step::Record(Entry::Owed(owed), value)) = plan(&given.snapshot(at(10)), at(10))
    else {
        panic!()
    };
    assert_eq!(owed.token.token_id, id("a"));
    assert_eq!(owed.hash, value.map(|value| value.hash()));
}

#[test]
fn an_open_attempt_is_left_to_the_ledger_in_time() {
    for dialect in [Dialect::Current, Dialect::Documented] {
        let given = || {
            deleting(Given {
                attempt: Some(Attempt {
                    dialect,
                    ..attempt(1)
                }),
                ..Given::default()
            })
        };
        let early = steps(given(), 9, unanswered);
        assert!(!early.contains(&"record".into()), "{early:?}");
        let late = steps(given(), 10, unanswered);
        assert_eq!(
            late[late.len() - 3..],
            ["record", "lift_finalizer", "Gone"],
            "{dialect:?}: {late:?}"
        );
        let found = steps(given(), 10, |step| match step {
            Step::FindMinted(_) => Outcome::NoneMinted,
            step => fair_outcome(step),
        });
        assert_eq!(
            found[found.len() - 3..],
            ["record", "lift_finalizer", "Gone"]
        );
    }
}

#[test]
fn everything_that_is_owed_is_written_down_before_anything_is_let_go() {
    let mut secret = own(1, "a");
    secret.given_up = ids(&["b"]);
    let given = deleting(Given::issued(own_facts(secret)));
    let mut owed = Vec::new();
    let steps = story(&mut given.snapshot(at(10)), at(10), |step| {
        if let Step::Record(entry, _) = step {
            owed.push(entry.token_id().unwrap().to_string());
        }
        unanswered(step)
    });
    assert_eq!(owed, ["id-a", "id-b"]);
    assert_eq!(steps[1..3], ["record", "record"], "{steps:?}");
}

#[test]
fn a_ledger_that_takes_nothing_makes_the_deletion_wait() {
    let mut tries = 0;
    let mut snapshot = issued_and_read().snapshot(at(10));
    let steps = story(&mut snapshot, at(10), |step| match step {
        Step::Record(..) => {
            tries += 1;
            Outcome::Failed(Trouble::stalled(
                Reason::KubernetesError,
                "no such namespace",
            ))
        }
        step => unanswered(step),
    });
    assert_eq!(steps, ["revoke", "record", "revoke", "Unreachable"]);
    assert_eq!(tries, 1);
    let told = snapshot
        .run
        .notes
        .iter()
        .any(|note| note.text.contains("no such namespace"));
    assert!(told, "{:?}", snapshot.run.notes);
}

#[test]
fn an_entry_that_somebody_else_changes_meanwhile_is_looked_at_again() {
    let mut snapshot = issued_and_read().snapshot(at(10));
    let steps = story(&mut snapshot, at(10), |step| match step {
        Step::Record(..) => Outcome::Stale,
        step => unanswered(step),
    });
    assert_eq!(steps, ["revoke", "record", "Silent"]);
}

#[test]
fn a_living_token_is_never_put_off() {
    let memory = Memory {
        surplus: vec![sure("b")],
        failures: 9,
        ..Memory::default()
    };
    let given = Given {
        memory,
        ..Given::issued(own_facts(own(1, "a")))
    };
    let steps = steps(given, 1000, unanswered);
    assert!(!steps.contains(&"record".into()), "{steps:?}");
}

#[test]
fn an_orphan_is_put_off_at_its_first_failure() {
    let orphan = || {
        let facts = ("token".to_owned(), own_facts(own(1, "a")));
        Snapshot::gone(owner("token"), broken(), facts, BTreeSet::new())
    };
    assert_eq!(
        story(&mut orphan(), at(0), unanswered),
        ["remove", "revoke", "record", "release", "Gone"]
    );
}

fn sure(text: &str) -> Debt {
    Debt {
        token_id: id(text),
        base_url: "https://platform".into(),
        user_id: Some(user()),
        hash: Some(value(text).hash()),
        value: Some(value(text)),
        evidence: Evidence::Sure,
    }
}

fn named(text: &str) -> NamedToken {
    NamedToken {
        owner: owner("token"),
        token_id: id(text),
        base_url: "https://platform".into(),
        user_id: Some(user()),
    }
}

fn owed(text: &str, before: Option<u64>) -> Entry {
    Entry::Owed(OwedToken {
        token: named(text),
        hash: Some(value(text).hash()),
        before: before.map(|seconds| at(seconds).wall),
    })
}

fn entry(entry: &Entry, value: Option<TokenValue>, account: AccountFacts) -> Snapshot {
    Snapshot::of_entry(entry, value, account, BTreeSet::new(), at(0))
}

fn good() -> AccountFacts {
    AccountFacts::Ready(identity())
}

#[test]
fn an_entry_is_paid_with_its_value_or_through_the_account() {
    let next = |value, account| {
        let snapshot = entry(&owed("a", Some(0)), value, account);
        plan(&snapshot, at(0))
    };
    let with = |next: Next| match next {
        Next::Step(Step::Revoke { with, .. }) => format!("{with:?}"),
        next => word(&next),
    };
    assert!(with(next(Some(value("a")), broken())).starts_with("ItsValue"));
    assert!(with(next(None, good())).starts_with("AccountIfOurs"));
    assert_eq!(with(next(None, broken())), "Unreachable");
    let other = next(Some(value("b")), good());
    assert!(
        with(other).starts_with("AccountIfOurs"),
        "another's value is not its"
    );
    let snapshot = entry(&owed("a", None), None, good());
    assert!(with(plan(&snapshot, at(0))).starts_with("Account"));
}

#[test]
fn an_entry_is_struck_when_it_is_paid_and_not_before() {
    let mut paid = entry(&owed("a", Some(0)), Some(value("a")), good());
    assert_eq!(story(&mut paid, at(0), fair_outcome), ["revoke", "Gone"]);
    let mut unpaid = entry(&owed("a", Some(0)), Some(value("a")), good());
    assert_eq!(
        story(&mut unpaid, at(1000), unanswered),
        ["revoke", "Unreachable"],
        "there is no other ledger"
    );
    let unlisted = |now| {
        let mut entry = entry(&owed("a", Some(0)), None, good());
        story(&mut entry, at(now), |_| Outcome::NotListed)
    };
    assert_eq!(
        unlisted(59),
        ["revoke", "CreateOutcomeUnknown"],
        "a list may lag"
    );
    assert_eq!(unlisted(60), ["revoke", "Gone"]);
}

#[test]
fn a_value_that_is_not_known_pays_an_entry_only_if_nobody_else_can_be_asked() {
    let story_after = |account, failures| {
        let mut entry = entry(&owed("a", Some(0)), Some(value("a")), account);
        entry.memory.failures = failures;
        story(&mut entry, at(100), |step| match step {
            Step::Revoke {
                with: RevokeWith::ItsValue(_),
                ..
            } => Outcome::SelfUnknown,
            _ => Outcome::NotListed,
        })
    };
    let story = |account| story_after(account, 100);
    assert_eq!(story(good()), ["revoke", "revoke", "Gone"]);
    assert_eq!(story(broken()), ["revoke", "Unreachable"], "it comes back");
    let gone = AccountFacts::Broken(Trouble::stalled(Reason::AccountNotFound, "gone"));
    assert_eq!(
        story_after(gone.clone(), 19),
        ["revoke", "AccountNotFound"],
        "a platform whose door is broken says so of every value"
    );
    assert_eq!(story(gone), ["revoke", "Gone"]);
}

#[test]
fn a_credential_in_the_ledger_is_left_alone() {
    let credentials = BTreeSet::from([value("a").hash()]);
    let mut snapshot = Snapshot::of_entry(
        &owed("a", None),
        Some(value("a")),
        good(),
        credentials,
        at(0),
    );
    assert_eq!(story(&mut snapshot, at(0), fair_outcome), ["Gone"]);
}

#[test]
fn what_an_unresolved_attempt_made_is_looked_for_until_it_must_have_ended() {
    let unresolved = Entry::Unresolved(attempt(1));
    let at_second = |now, found: fn(&Step) -> Outcome| {
        let mut snapshot = entry(&unresolved, None, good());
        story(&mut snapshot, at(now), found)
    };
    let none: fn(&Step) -> Outcome = |_| Outcome::NoneMinted;
    assert_eq!(at_second(0, none), ["find_minted", "CreateOutcomeUnknown"]);
    assert_eq!(at_second(45, none), ["find_minted", "Gone"]);
    assert_eq!(
        at_second(0, fair_outcome),
        ["find_minted", "revoke", "Gone"]
    );
}

#[test]
fn an_unresolved_attempt_without_tags_waits_for_an_account_that_may_come_back() {
    let unresolved = Entry::Unresolved(Attempt {
        dialect: Dialect::Documented,
        ..attempt(1)
    });
    let later = |account| {
        let mut snapshot = entry(&unresolved, None, account);
        story(&mut snapshot, at(45), |step| match step {
            Step::FindMinted(_) => Outcome::Suspects(vec![]),
            step => fair_outcome(step),
        })
    };
    let documented = AccountFacts::Ready(Identity {
        dialect: Dialect::Documented,
        ..identity()
    });
    let gone = AccountFacts::Broken(Trouble::stalled(Reason::AccountNotFound, "gone"));
    assert_eq!(later(documented), ["find_minted", "Gone"]);
    assert_eq!(later(broken()), ["Unreachable"]);
    assert_eq!(later(gone), ["Gone"], "there is nowhere to tell it");
}

#[test]
fn what_is_owed_is_final() {
    let released = Entry::Released(named("a"));
    let elsewhere = {
        let mut token = named("a");
        token.owner.cluster = "elsewhere".into();
        Entry::Released(token)
    };
    let owed = owed("a", None);
    for (new, old, expected) in [
        ((&owed, false), None, true),
        ((&owed, false), Some((&owed, true)), false),
        ((&owed, true), Some((&owed, false)), true),
        ((&owed, true), Some((&owed, true)), false),
        ((&owed, false), Some((&released, false)), true),
        ((&released, false), Some((&owed, false)), false),
        ((&released, false), Some((&released, false)), false),
        ((&owed, false), Some((&elsewhere, true)), true),
        ((&released, false), Some((&elsewhere, false)), true),
    ] {
        let old = old.map_or((None, false), |(old, value)| (Some(old), value));
        assert_eq!(takes_the_place(new, old), expected, "{new:?} {old:?}");
    }
}

#[test]
fn a_deletion_that_gets_no_place_at_a_busy_account_is_put_off_as_well() {
    let given = || deleting(Given::issued(SecretFacts::Absent));
    let busy = |step: &Step| match step {
        Step::Revoke { .. } => Outcome::Stale,
        step => fair_outcome(step),
    };
    assert_eq!(steps(given(), 9, busy), ["revoke", "Silent"]);
    assert_eq!(
        steps(given(), 10, busy),
        ["revoke", "record", "lift_finalizer", "Gone"]
    );
}
