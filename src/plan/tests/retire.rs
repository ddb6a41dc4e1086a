//! A deletion revokes what is ours, and nothing else, before it lets go.

use super::*;

#[test]
fn a_deleted_token_is_revoked_then_it_goes_and_its_secret_follows() {
    let deleting = |given: Given| Given {
        deleting: true,
        ..given
    };
    let steps = |given| story(&mut deleting(given).snapshot(at(0)), at(0), fair_outcome);
    let issued = || Given::issued(own_facts(own(1, "a")));
    assert_eq!(
        steps(issued()),
        ["revoke", "remove", "lift_finalizer", "release", "Gone"]
    );
    assert_eq!(
        steps(Given::issued(SecretFacts::Absent)),
        ["revoke", "lift_finalizer", "Gone"]
    );
    assert_eq!(
        steps(Given::default()),
        ["Gone"],
        "what we never held goes at once"
    );
    let foreign = SecretFacts::Foreign {
        trouble: Trouble::stalled(Reason::SecretNotWritable, "is another's"),
        dying: None,
    };
    assert_eq!(
        steps(Given::issued(foreign)),
        ["revoke", "lift_finalizer", "Gone"],
        "and stays"
    );
    let lost = Given {
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    assert_eq!(
        steps(lost),
        ["find_minted", "revoke", "lift_finalizer", "Gone"]
    );
}

#[test]
fn a_token_revokes_itself_and_only_if_it_cannot_the_account_does() {
    let next = |given: Given| {
        let mut snapshot = Given {
            deleting: true,
            ..given
        }
        .snapshot(at(0));
        let Next::Step(Step::Revoke { with, .. }) = plan(&snapshot, at(0)) else {
            panic!()
        };
        let first = matches!(with, RevokeWith::ItsValue(_));
        let Next::Step(step) = plan(&snapshot, at(0)) else {
            panic!()
        };
        snapshot.fold(step, Outcome::SelfRefused, at(0));
        (
            first,
            word(&plan(&snapshot, at(0))),
            matches!(
                plan(&snapshot, at(0)),
                Next::Step(Step::Revoke {
                    with: RevokeWith::AccountIfOurs { .. },
                    ..
                })
            ),
        )
    };
    assert_eq!(
        next(Given::issued(own_facts(own(1, "a")))),
        (true, "revoke".into(), true)
    );
    let broken = AccountFacts::Broken(Trouble::stalled(Reason::Unauthorized, "x"));
    let given = Given {
        account: broken,
        ..Given::issued(own_facts(own(1, "a")))
    };
    assert_eq!(next(given), (true, "Unauthorized".into(), false));
}

#[test]
fn a_revocation_whose_answer_was_lost_is_done_when_the_token_no_longer_knows_itself() {
    let refused = Trouble::stalled(Reason::Unauthorized, "x");
    let given = Given {
        deleting: true,
        account: AccountFacts::Broken(refused),
        ..Given::issued(own_facts(own(1, "a")))
    };
    let mut snapshot = given.snapshot(at(0));
    let lost = |step: &Step| match step {
        Step::Revoke { .. } => {
            Outcome::RevokeUnknown(Trouble::transient(Reason::Unreachable, "504"))
        }
        step => fair_outcome(step),
    };
    assert_eq!(story(&mut snapshot, at(0), lost), ["revoke", "Unreachable"]);
    snapshot.run = Run::default();
    let unknown = |step: &Step| match step {
        Step::Revoke { .. } => Outcome::SelfUnknown,
        step => fair_outcome(step),
    };
    let steps = story(&mut snapshot, at(1), unknown);
    assert_eq!(
        steps,
        ["revoke", "remove", "lift_finalizer", "release", "Gone"]
    );
}

#[test]
fn a_token_that_does_not_know_itself_is_not_taken_for_revoked_before_we_sent_a_revocation() {
    let unknown = |step: &Step| match step {
        Step::Revoke {
            with: RevokeWith::ItsValue(_),
            ..
        } => Outcome::SelfUnknown,
        step => fair_outcome(step),
    };
    let given = Given {
        deleting: true,
        ..Given::issued(own_facts(own(1, "a")))
    };
    let steps = story(&mut given.snapshot(at(0)), at(0), unknown);
    assert_eq!(
        steps,
        [
            "revoke",
            "revoke",
            "remove",
            "lift_finalizer",
            "release",
            "Gone"
        ],
        "the second time through the account"
    );
}

#[test]
fn a_token_that_knows_itself_no_more_is_done_where_the_account_went_first() {
    let given = |account| Given {
        account,
        deleting: true,
        ..Given::issued(own_facts(own(1, "a")))
    };
    let unknown = |step: &Step| match step {
        Step::Revoke { .. } => Outcome::SelfUnknown,
        step => fair_outcome(step),
    };
    let broken = |reason| AccountFacts::Broken(Trouble::stalled(reason, "x"));
    assert_eq!(
        steps(given(broken(Reason::AccountNotFound)), 0, unknown),
        ["revoke", "remove", "lift_finalizer", "release", "Gone"],
        "a process that died has revoked it"
    );
    assert_eq!(
        steps(given(broken(Reason::Unauthorized)), 0, unknown),
        ["revoke", "Unauthorized"],
        "the account may come back, and is asked then"
    );
}

#[test]
fn a_revocation_that_finds_no_row_is_done_once_the_token_must_be_listed() {
    let given = || Given {
        deleting: true,
        ..Given::issued(SecretFacts::Absent)
    };
    let missing = |step: &Step| match step {
        Step::Revoke { .. } => Outcome::NotListed,
        step => fair_outcome(step),
    };
    assert_eq!(
        steps(given(), 59, missing),
        ["revoke", "CreateOutcomeUnknown"]
    );
    assert_eq!(
        steps(given(), 60, missing),
        ["revoke", "lift_finalizer", "Gone"]
    );
}

#[test]
fn a_young_token_that_is_not_listed_stays_owed() {
    let mut snapshot = Given::issued(SecretFacts::Absent).snapshot(at(10));
    let gone = |step: &Step| match step {
        Step::Recover(_) => Outcome::Recovered(Recovery::Gone),
        step => fair_outcome(step),
    };
    assert_eq!(
        story(&mut snapshot, at(10), gone),
        ["recover", "ValueUnavailable"]
    );
    snapshot.run = Run::default();
    snapshot.token.deleted_at = Some(at(0).wall);
    assert_eq!(revoked(&mut snapshot, at(11), fair_outcome), ["id-a"]);
}

#[test]
fn an_account_of_another_user_revokes_nothing() {
    let other = Identity {
        user_id: Some(UserId::parse("another").unwrap()),
        ..identity()
    };
    let account = AccountFacts::Ready(other);
    let given = Given {
        account,
        deleting: true,
        ..Given::issued(SecretFacts::Absent)
    };
    assert_eq!(given.next(at(0)), "AccountChanged");
}

#[test]
fn the_credential_of_the_account_is_never_revoked() {
    let broken = AccountFacts::Broken(Trouble::stalled(Reason::CredentialsMissing, "x"));
    let issued = || Given {
        deleting: true,
        ..Given::issued(own_facts(own(1, "a")))
    };
    let pending = Given {
        account: AccountFacts::Pending,
        ..issued()
    };
    assert_eq!(pending.next(at(0)), "Silent", "it is not known yet");
    let credentials = BTreeSet::from([value("a").hash()]);
    // Even while the account that uses it cannot be used.
    let given = Given {
        account: broken,
        credentials,
        ..issued()
    };
    let mut released = Vec::new();
    let steps = story(&mut given.snapshot(at(0)), at(0), |step| {
        if let Step::Record(entry, _) = step {
            released.push((entry.kind(), entry.token_id().cloned()));
        }
        fair_outcome(step)
    });
    assert_eq!(
        steps,
        ["record", "remove", "lift_finalizer", "release", "Gone"]
    );
    let released_ids = [("released", Some(id("a")))];
    assert_eq!(released, released_ids, "so that nothing sweeps it");
}

#[test]
fn an_id_without_its_value_beside_it_is_not_revoked_on_an_annotations_word() {
    let forged = OwnSecret {
        value: Some(value("mine")),
        whole: false,
        ..own(9, "someone-elses")
    };
    let given = Given {
        deleting: true,
        ..Given::issued(own_facts(forged))
    };
    let mut snapshot = given.snapshot(at(0));
    assert_eq!(revoked(&mut snapshot, at(0), fair_outcome), ["id-a"]);
}

#[test]
fn another_id_beside_the_value_of_our_token_is_not_ours() {
    // Whoever edits the record of a Secret could have a victim revoked in the name of our own token.
    let forged = OwnSecret {
        issued: Some(Issued {
            token_id: id("victim"),
            ..issued(1, "a")
        }),
        ..own(1, "a")
    };
    let given = Given {
        deleting: true,
        ..Given::issued(own_facts(forged))
    };
    let mut snapshot = given.snapshot(at(100));
    assert_eq!(revoked(&mut snapshot, at(100), fair_outcome), ["id-a"]);
}

#[test]
fn a_token_whose_value_is_withheld_from_the_start_is_revoked_through_the_account() {
    let withheld = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::MintedWithheld(vec![id("masked")]),
        step => fair_outcome(step),
    };
    let given = || Given {
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    let steps = story(&mut given().snapshot(at(0)), at(0), withheld);
    assert_eq!(steps, ["find_minted", "ValueUnavailable"]);
    let deleting = Given {
        deleting: true,
        ..given()
    };
    let steps = story(&mut deleting.snapshot(at(0)), at(0), withheld);
    assert_eq!(steps, ["find_minted", "revoke", "lift_finalizer", "Gone"]);
}

#[test]
fn a_token_that_was_stored_while_it_was_looked_for_is_not_given_up() {
    let given = Given {
        deleting: true,
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    let stored = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::Suspects(vec![]),
        Step::ReadSecret { .. } => Outcome::Secret(own_facts(own(1, "late"))),
        step => fair_outcome(step),
    };
    let given = given.secret("token", SecretFacts::Absent);
    let mut snapshot = given.snapshot(at(0));
    assert_eq!(revoked(&mut snapshot, at(50), stored), ["id-late"]);
}

#[test]
fn a_secret_that_goes_before_the_status_names_its_token_leaves_a_debt_to_a_deletion() {
    let given = Given {
        deleting: true,
        attempt: Some(attempt(1)),
        memory: Memory {
            issued: Some(issued(1, "a")),
            ..Memory::default()
        },
        ..Given::default()
    };
    let mut snapshot = given.snapshot(at(100));
    assert_eq!(revoked(&mut snapshot, at(100), fair_outcome), ["id-a"]);
}

#[test]
fn what_a_platformtoken_that_is_gone_left_in_its_secret_is_revoked_before_the_secret_goes() {
    let broken = Trouble::stalled(Reason::AccountNotFound, "x");
    let mut snapshot = Snapshot::gone(
        owner("token"),
        AccountFacts::Broken(broken),
        ("token".into(), own_facts(own(1, "a"))),
        BTreeSet::new(),
    );
    let steps = story(&mut snapshot, at(0), fair_outcome);
    assert_eq!(
        steps,
        ["remove", "revoke", "release", "Gone"],
        "nobody takes over what is being deleted"
    );
}

#[test]
fn a_secret_hangs_on_our_finalizer_though_its_platformtoken_is_let_go_and_is_finished() {
    // Somebody else's finalizer holds the PlatformToken; a process died after it had lifted ours.
    let unheld = |secret| Given {
        deleting: true,
        unheld: true,
        ..Given::issued(own_facts(secret))
    };
    let hanging = OwnSecret {
        deleting: true,
        ..own(1, "a")
    };
    assert_eq!(
        steps(unheld(hanging), 0, fair_outcome),
        ["revoke", "release", "Gone"]
    );
    assert_eq!(steps(unheld(own(1, "a")), 0, fair_outcome), ["Gone"]);
}

#[test]
fn a_secret_that_no_watch_shows_is_released_before_its_platformtoken_goes() {
    let unlabelled = OwnSecret {
        whole: false,
        ..own(1, "a")
    };
    let given = Given {
        deleting: true,
        ..Given::issued(own_facts(unlabelled))
    };
    assert_eq!(
        steps(given, 0, fair_outcome),
        ["revoke", "remove", "release", "lift_finalizer", "Gone"]
    );
}

#[test]
fn what_has_a_value_is_revoked_before_anything_is_looked_for() {
    let given = Given {
        deleting: true,
        attempt: Some(attempt(2)),
        account: AccountFacts::Broken(Trouble::stalled(Reason::Unauthorized, "x")),
        ..Given::issued(own_facts(own(1, "a")))
    };
    assert_eq!(steps(given, 0, fair_outcome), ["revoke", "Unauthorized"]);
}

#[test]
fn a_secret_is_let_go_as_it_is_after_it_was_deleted_and_the_revocation_is_told() {
    let given = Given {
        deleting: true,
        ..Given::issued(own_facts(own(1, "a")))
    };
    let mut snapshot = given.snapshot(at(0));
    let mut released = Vec::new();
    story(&mut snapshot, at(0), |step| {
        if let Step::Release { version, .. } = step {
            released.push(version.clone());
        }
        fair_outcome(step)
    });
    assert_eq!(
        released,
        [version("9")],
        "deletion gave it a new resourceVersion"
    );
    let told = snapshot.run.notes.iter().map(|note| note.text.as_str());
    assert_eq!(told.collect::<Vec<_>>(), ["Revoked platform token id-a"]);
}

#[test]
fn a_value_is_forgotten_once_its_token_is_revoked() {
    let given = Given {
        deleting: true,
        memory: Memory {
            issued: Some(issued(1, "a")),
            held: Some(value("a")),
            ..Memory::default()
        },
        ..Given::issued(SecretFacts::Absent)
    };
    let mut snapshot = given.snapshot(at(0));
    assert_eq!(revoked(&mut snapshot, at(0), fair_outcome), ["id-a"]);
    assert!(snapshot.memory.holds_nothing());
}
