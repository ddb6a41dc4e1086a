//! What is left behind on purpose: a token that lives on, a Secret that stays.

use super::*;
use crate::api::{DeletionPolicy, Entry, SecretDeletionPolicy};

const ORPHAN: Policy = Policy {
    token: DeletionPolicy::Orphan,
    secret: SecretDeletionPolicy::Delete,
};

const RETAIN: Policy = Policy {
    token: DeletionPolicy::Delete,
    secret: SecretDeletionPolicy::Retain,
};

const BOTH: Policy = Policy {
    token: DeletionPolicy::Orphan,
    secret: SecretDeletionPolicy::Retain,
};

fn going(policy: Policy, given: Given) -> Given {
    Given {
        policy,
        deleted: Some(0),
        ..given
    }
}

fn issued_and_read() -> Given {
    Given::issued(own_facts(own(1, "a")))
}

/// Whether the token of each retained Secret lives on.
fn kept(given: Given) -> Vec<bool> {
    let mut kept = vec![];
    story(&mut given.snapshot(at(0)), at(0), |step| {
        if let Step::Retain { lives, .. } = step {
            kept.push(*lives);
        }
        fair_outcome(step)
    });
    kept
}

#[test]
fn each_policy_says_what_is_left_behind() {
    for (policy, expected) in [
        (
            Policy::default(),
            vec!["revoke", "remove", "lift_finalizer", "release", "Gone"],
        ),
        (
            ORPHAN,
            // Released before the PlatformToken goes: nobody who finishes a Secret that is left may revoke its token.
            vec!["record", "remove", "release", "lift_finalizer", "Gone"],
        ),
        (RETAIN, vec!["revoke", "retain", "lift_finalizer", "Gone"]),
        (BOTH, vec!["record", "retain", "lift_finalizer", "Gone"]),
    ] {
        let given = going(policy, issued_and_read());
        assert_eq!(steps(given, 0, fair_outcome), expected, "{policy:?}");
    }
}

#[test]
fn a_token_is_released_before_anything_lets_go_of_it() {
    let released = |step: &Step| match step {
        Step::Record(Entry::Released(token), None) => token.token_id == id("a"),
        _ => false,
    };
    let mut snapshot = going(ORPHAN, issued_and_read()).snapshot(at(0));
    let Next::Step(step) = plan(&snapshot, at(0)) else {
        panic!()
    };
    assert!(released(&step), "{step:?}");
    let denied = Trouble::stalled(Reason::KubernetesError, "no ledger");
    snapshot.fold(step, Outcome::Failed(denied), at(0));
    assert_eq!(word(&plan(&snapshot, at(0))), "KubernetesError");
}

#[test]
fn what_was_never_the_users_is_revoked_whatever_the_policy() {
    let heir = Attempt {
        given_up: vec![id("given-up")],
        ..attempt(2)
    };
    let stored = OwnSecret {
        given_up: ids(&["double"]),
        ..own(2, "b")
    };
    let surplus = Debt::of(issued(1, "surplus"), None);
    let memory = Memory {
        surplus: vec![surplus],
        ..Memory::default()
    };
    let given = Given {
        status: ready(&issued(2, "b")),
        attempt: Some(heir),
        memory,
        ..Given::default()
    };
    let given = going(BOTH, given.secret("token", own_facts(stored)));
    let ids = revoked(&mut given.snapshot(at(0)), at(0), fair_outcome);
    assert_eq!(ids, ["id-surplus", "id-given-up", "id-double"]);
}

#[test]
fn what_an_open_attempt_made_is_revoked_though_the_token_lives_on() {
    for fate in [
        Fate::Minted(minted("new")),
        Fate::Unknown { searched: None },
    ] {
        let given = Given {
            attempt: Some(attempt(2)),
            memory: remembering(open(attempt(2), fate)),
            ..issued_and_read()
        };
        let ids = revoked(&mut going(BOTH, given).snapshot(at(0)), at(0), fair_outcome);
        assert_eq!(ids, ["id-new"]);
    }
}

#[test]
fn a_retained_secret_records_only_a_token_that_lives_on() {
    let is_credential = Given {
        credentials: [value("a").hash()].into(),
        ..issued_and_read()
    };
    let older = Given {
        status: ready(&issued(2, "b")),
        ..Given::default()
    };
    let older = older.secret("token", own_facts(own(1, "a")));
    for (policy, given, lives) in [
        (BOTH, issued_and_read(), true),
        (RETAIN, issued_and_read(), false),
        (RETAIN, is_credential, true),
        (BOTH, older, false),
    ] {
        assert_eq!(kept(going(policy, given)), [lives]);
    }
}

#[test]
fn one_secret_is_retained_the_wanted_one_or_else_the_one_that_holds_the_token() {
    let retained = |given: Given| {
        let mut names = Vec::new();
        let mut snapshot = going(BOTH, given).snapshot(at(0));
        let words = story(&mut snapshot, at(0), |step| {
            if let Step::Retain { name, .. } = step {
                names.push(name.clone());
            }
            fair_outcome(step)
        });
        assert_eq!(words.last().unwrap(), "Gone");
        names
    };
    let moved = issued_and_read().secret("former", own_facts(own(1, "a")));
    assert_eq!(retained(moved), ["token"]);
    let moving = Given::issued(SecretFacts::Absent).secret("former", own_facts(own(1, "a")));
    assert_eq!(retained(moving), ["former"]);
    let going = OwnSecret {
        deleting: true,
        ..own(1, "a")
    };
    let nothing: [&str; 0] = [];
    assert_eq!(
        retained(Given::issued(own_facts(going))),
        nothing,
        "nothing hangs where the Secret goes as well"
    );
    assert_eq!(retained(Given::issued(SecretFacts::Absent)), nothing);
}

#[test]
fn the_policy_counts_that_stands_when_a_step_is_taken() {
    let mut snapshot = going(RETAIN, issued_and_read()).snapshot(at(0));
    let Next::Step(step) = plan(&snapshot, at(0)) else {
        panic!()
    };
    snapshot.fold(step, Outcome::Revoked, at(0));
    snapshot.token.policy = ORPHAN;
    assert_eq!(
        story(&mut snapshot, at(0), fair_outcome),
        ["remove", "release", "lift_finalizer", "Gone"],
        "what is revoked is not released"
    );
    let unreachable = |step: &Step| match step {
        Step::Revoke { .. } => {
            Outcome::RevokeUnknown(Trouble::transient(Reason::Unreachable, "down"))
        }
        step => fair_outcome(step),
    };
    let mut snapshot = going(Policy::default(), issued_and_read()).snapshot(at(0));
    assert_eq!(story(&mut snapshot, at(0), unreachable)[0], "revoke");
    snapshot.run = Run::default();
    snapshot.token.policy = BOTH;
    assert_eq!(
        story(&mut snapshot, at(1), unreachable),
        ["record", "retain", "lift_finalizer", "Gone"]
    );
}

#[test]
fn what_a_crash_leaves_of_a_retained_secret_is_retained_again() {
    // Its finalizer and its labels are gone already.
    let left = OwnSecret {
        held: false,
        whole: false,
        ..own(1, "a")
    };
    let given = going(BOTH, Given::issued(own_facts(left)));
    assert_eq!(
        steps(given, 0, fair_outcome),
        ["record", "retain", "lift_finalizer", "Gone"]
    );
    let free = Given::issued(SecretFacts::Retained(version("9")));
    assert_eq!(
        steps(going(RETAIN, free), 0, fair_outcome),
        ["revoke", "lift_finalizer", "Gone"]
    );
}
