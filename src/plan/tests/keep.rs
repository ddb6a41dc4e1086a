//! A token that was issued stays in its one Secret, with the same value.

use super::*;

#[test]
fn nothing_is_done_for_a_token_whose_secret_has_not_changed() {
    let unread = |version: &str| SecretFacts::Unread {
        resource_version: Some(version.into()),
    };
    let settled = || Given::issued(unread("7"));
    assert_eq!(settled().next(at(0)), "Ready");
    let broken = AccountFacts::Broken(Trouble::stalled(Reason::Unauthorized, "x"));
    assert_eq!(
        Given {
            account: broken,
            ..settled()
        }
        .next(at(0)),
        "Ready",
        "a broken account stops no token"
    );
    assert_eq!(Given::issued(unread("9")).next(at(0)), "read_secret");
    assert_eq!(
        settled().secret("other", unread("3")).next(at(0)),
        "read_secret",
        "a second Secret"
    );
    assert_eq!(
        Given {
            attempt: Some(attempt(2)),
            ..settled()
        }
        .next(at(0)),
        "read_secret"
    );
}

#[test]
fn a_secret_is_repaired_with_the_same_token() {
    let edited = OwnSecret {
        whole: false,
        ..own(1, "a")
    };
    let emptied = OwnSecret {
        whole: false,
        value: None,
        ..own(1, "a")
    };
    let deleted = OwnSecret {
        deleting: true,
        ..own(1, "a")
    };
    let steps = |facts| {
        story(
            &mut Given::issued(facts).snapshot(at(0)),
            at(0),
            fair_outcome,
        )
    };
    assert_eq!(
        steps(own_facts(edited)),
        ["look", "store", "verify", "Ready"]
    );
    assert_eq!(
        steps(own_facts(emptied)),
        ["recover", "look", "store", "verify", "Ready"]
    );
    assert_eq!(
        steps(own_facts(deleted)),
        ["look", "release", "store", "verify", "Ready"]
    );
    assert_eq!(
        steps(SecretFacts::Absent),
        ["recover", "look", "store", "verify", "Ready"]
    );
}

#[test]
fn only_a_token_whose_value_cannot_be_had_is_replaced_and_then_revoked_if_it_lives() {
    for (recovery, expected) in [
        (
            Recovery::Gone,
            [
                "recover",
                "permit",
                "preflight",
                "open",
                "mint",
                "store",
                "verify",
                "Ready",
            ]
            .as_slice(),
        ),
        (
            Recovery::Withheld,
            [
                "recover",
                "permit",
                "preflight",
                "open",
                "mint",
                "store",
                "verify",
                "revoke",
                "hold",
                "Ready",
            ]
            .as_slice(),
        ),
    ] {
        let outcome = |step: &Step| match step {
            Step::Recover(_) => Outcome::Recovered(recovery.clone()),
            step => fair_outcome(step),
        };
        let mut snapshot = Given::issued(SecretFacts::Absent).snapshot(at(0));
        assert_eq!(
            story(&mut snapshot, at(60), outcome),
            expected,
            "{recovery:?}"
        );
    }
}

#[test]
fn a_token_that_is_not_listed_yet_is_not_gone() {
    let gone = |step: &Step| match step {
        Step::Recover(_) => Outcome::Recovered(Recovery::Gone),
        step => fair_outcome(step),
    };
    let mut snapshot = Given::issued(SecretFacts::Absent).snapshot(at(59));
    assert_eq!(
        story(&mut snapshot, at(59), gone),
        ["recover", "ValueUnavailable"]
    );
}

#[test]
fn an_account_of_another_user_is_asked_nothing_about_a_token() {
    let other = Identity {
        user_id: Some(UserId::parse("another").unwrap()),
        ..identity()
    };
    let given = Given {
        account: AccountFacts::Ready(other),
        ..Given::issued(SecretFacts::Absent)
    };
    assert_eq!(given.next(at(0)), "AccountChanged");
}

#[test]
fn a_token_moves_to_another_secret_and_the_former_one_goes() {
    let mut status = ready(&issued(1, "a"));
    status.secret_name = Some("former".into());
    let given = Given {
        status,
        ..Given::default()
    };
    let mut snapshot = given
        .secret("former", own_facts(own(1, "a")))
        .snapshot(at(0));
    let steps = story(&mut snapshot, at(0), fair_outcome);
    assert_eq!(
        steps,
        ["look", "store", "verify", "remove", "release", "Ready"]
    );
    assert_eq!(snapshot.run.notes[0].reason, Reason::Moved);
}

#[test]
fn an_older_token_in_another_secret_is_revoked_before_the_secret_goes() {
    let given = Given::issued(own_facts(own(1, "a"))).secret("stray", own_facts(own(0, "old")));
    let steps = story(&mut given.snapshot(at(0)), at(0), fair_outcome);
    assert_eq!(steps, ["look", "revoke", "remove", "release", "Ready"]);
}

#[test]
fn a_finalizer_that_someone_took_off_is_put_back() {
    let given = Given {
        unheld: true,
        ..Given::issued(own_facts(own(1, "a")))
    };
    let steps = story(&mut given.snapshot(at(0)), at(0), fair_outcome);
    assert_eq!(steps, ["hold", "Ready"]);
}

#[test]
fn a_secret_that_others_keep_is_waited_for() {
    let kept = OwnSecret {
        deleting: true,
        held: false,
        ..own(1, "a")
    };
    assert_eq!(
        Given::issued(own_facts(kept)).next(at(0)),
        "SecretNotWritable"
    );
}

#[test]
fn in_a_namespace_that_is_going_no_secret_is_let_go() {
    let deleted = OwnSecret {
        deleting: true,
        ..own(1, "a")
    };
    let going = |step: &Step| match step {
        Step::Look => Outcome::NamespaceGoing,
        step => fair_outcome(step),
    };
    let given = Given::issued(own_facts(deleted));
    assert_eq!(steps(given, 0, going), ["look", "SecretNotWritable"]);
}

#[test]
fn a_secret_that_goes_before_the_status_names_its_token_is_written_again_with_the_same_token() {
    // The answer of its create was lost, a user deletes it, and only the Secret itself says what it holds.
    let deleting = OwnSecret {
        deleting: true,
        ..own(1, "a")
    };
    for fate in [Fate::Minted(minted("a")), Fate::Unknown { searched: None }] {
        let given = Given {
            attempt: Some(attempt(1)),
            memory: remembering(open(attempt(1), fate)),
            ..Given::default()
        };
        let unread = SecretFacts::Unread {
            resource_version: None,
        };
        let given = given.secret("token", unread);
        let read = |step: &Step| match step {
            Step::ReadSecret { .. } => Outcome::Secret(own_facts(deleting.clone())),
            step => fair_outcome(step),
        };
        let mut snapshot = given.snapshot(at(0));
        let steps = story(&mut snapshot, at(0), read);
        assert_eq!(
            steps,
            ["read_secret", "look", "release", "store", "verify", "Ready"]
        );
        assert_eq!(snapshot.present(), Some(issued(1, "a")));
    }
}

#[test]
fn a_secret_that_is_nobodys_is_let_go_when_it_is_deleted() {
    let nobodys = || SecretFacts::Foreign {
        trouble: Trouble::stalled(Reason::SecretNotWritable, "was not made by this operator"),
        dying: Some(version("7")),
    };
    assert_eq!(
        steps(Given::default().secret("token", nobodys()), 0, fair_outcome),
        [
            "release",
            "permit",
            "preflight",
            "open",
            "mint",
            "store",
            "verify",
            "Ready"
        ]
    );
    let deleting = Given {
        deleting: true,
        ..Given::issued(nobodys())
    };
    assert_eq!(
        steps(deleting, 0, fair_outcome),
        ["revoke", "release", "lift_finalizer", "Gone"]
    );
}

#[test]
fn a_forged_record_displaces_no_token() {
    // A higher number and somebody else's id, but no value that fits: the status goes on to name the real token.
    let forged = OwnSecret {
        value: None,
        whole: false,
        ..own(9, "someone-elses")
    };
    let given = Given::issued(own_facts(forged));
    let mut snapshot = given.snapshot(at(0));
    assert_eq!(snapshot.present(), Some(issued(1, "a")));
    let steps = story(&mut snapshot, at(0), fair_outcome);
    assert_eq!(steps, ["recover", "look", "store", "verify", "Ready"]);
    assert_eq!(snapshot.present(), Some(issued(1, "a")));
}

#[test]
fn a_record_that_gives_our_value_another_id_displaces_nothing() {
    let forged = OwnSecret {
        issued: Some(Issued {
            token_id: id("victim"),
            ..issued(999, "a")
        }),
        whole: true,
        ..own(999, "a")
    };
    let mut snapshot = Given::issued(own_facts(forged)).snapshot(at(100));
    assert_eq!(snapshot.present(), Some(issued(1, "a")));
    let steps = story(&mut snapshot, at(100), fair_outcome);
    assert_eq!(
        steps,
        ["look", "store", "verify", "Ready"],
        "the record is written anew"
    );
    let status = report(&snapshot, &Verdict::Ready, at(100)).unwrap();
    assert_eq!(status.token_id, Some(id("a")));
}

#[test]
fn a_repair_records_what_is_owed_on_the_account_of_its_token() {
    let edited = OwnSecret {
        whole: false,
        given_up: BTreeSet::from([id("other")]),
        ..own(1, "a")
    };
    let debt = |text: &str, base_url: &str, user: &str| Debt {
        token_id: id(text),
        base_url: base_url.into(),
        user_id: UserId::parse(user).ok(),
        hash: None,
        value: None,
        evidence: Evidence::Sure,
    };
    let given = Given {
        memory: Memory {
            surplus: vec![
                debt("twin", "https://platform", "user"),
                debt("another-users", "https://platform", "another"),
                debt("elsewhere", "https://another", "user"),
            ],
            ..Memory::default()
        },
        ..Given::issued(own_facts(edited))
    };
    let mut snapshot = given.snapshot(at(60));
    let mut stored = Vec::new();
    story(&mut snapshot, at(60), |step| {
        if let Step::Store { given_up, .. } = step {
            stored.push(given_up.clone());
        }
        fair_outcome(step)
    });
    assert_eq!(stored[0], ids(&["other", "twin"]));
}

#[test]
fn a_value_has_answered_only_if_this_very_secret_held_it() {
    let given = |text: &str, resource_version: &str| Given {
        memory: Memory {
            issued: Some(issued(1, "a")),
            verified: Some((value(text).hash(), resource_version.into())),
            ..Memory::default()
        },
        attempt: Some(attempt(1)),
        ..Given::default().secret("token", own_facts(own(1, "a")))
    };
    assert_eq!(given("a", "7").next(at(0)), "Ready");
    assert_eq!(given("a", "6").next(at(0)), "verify", "as it was before");
    assert_eq!(given("b", "7").next(at(0)), "verify", "another value");
}

#[test]
fn a_repair_replaces_exactly_the_secret_that_was_read() {
    let edited = OwnSecret {
        whole: false,
        ..own(1, "a")
    };
    let deleted = OwnSecret {
        deleting: true,
        ..own(1, "a")
    };
    for (facts, expected) in [
        (own_facts(edited), Some(version("7"))),
        (own_facts(deleted), None),
        (SecretFacts::Absent, None),
    ] {
        let mut snapshot = Given::issued(facts).snapshot(at(0));
        let mut replaced = Vec::new();
        story(&mut snapshot, at(0), |step| {
            if let Step::Store { over, .. } = step {
                replaced.push(over.clone());
            }
            fair_outcome(step)
        });
        assert_eq!(replaced, [expected]);
    }
}

#[test]
fn nothing_is_written_on_a_proof_of_fifteen_seconds_ago() {
    let edited = OwnSecret {
        whole: false,
        ..own(1, "a")
    };
    let mut snapshot = Given::issued(own_facts(edited)).snapshot(at(0));
    snapshot.fold(Step::Look, Outcome::Current, at(0));
    assert_eq!(word(&plan(&snapshot, at(14))), "store");
    assert_eq!(word(&plan(&snapshot, at(15))), "look");
}

#[test]
fn a_value_is_remembered_until_a_secret_that_stays_holds_it() {
    let deleted = OwnSecret {
        deleting: true,
        ..own(1, "a")
    };
    for (facts, remembered) in [
        (own_facts(own(1, "a")), false),
        (own_facts(own(1, "b")), true),
        (own_facts(deleted), true),
        (SecretFacts::Absent, true),
    ] {
        let memory = Memory {
            held: Some(value("a")),
            ..Memory::default()
        };
        let given = Given {
            memory,
            ..Given::issued(SecretFacts::Absent)
        };
        let mut snapshot = given.snapshot(at(0));
        let name = "token".into();
        let shown = format!("{facts:?}");
        snapshot.fold(Step::ReadSecret { name }, Outcome::Secret(facts), at(0));
        assert_eq!(snapshot.memory.held.is_some(), remembered, "{shown}");
    }
}

#[test]
fn of_two_records_the_higher_number_counts_and_of_one_number_the_status() {
    let given = |number| Given::issued(own_facts(own(number, "b")));
    let present = |number| given(number).snapshot(at(0)).present();
    assert_eq!(present(0), Some(issued(1, "a")));
    assert_eq!(present(1), Some(issued(1, "a")));
    assert_eq!(present(2), Some(issued(2, "b")), "the status comes last");
}

#[test]
fn a_write_that_failed_may_have_been_done() {
    let mut snapshot = Given::default().snapshot(at(0));
    let lost = |step: &Step| match step {
        Step::Store { .. } => {
            Outcome::Failed(Trouble::transient(Reason::KubernetesError, "no answer"))
        }
        step => fair_outcome(step),
    };
    story(&mut snapshot, at(0), lost);
    assert!(matches!(snapshot.wanted(), SecretFacts::Unread { .. }));
}

#[test]
fn a_record_that_gives_our_id_another_value_displaces_nothing() {
    let forged = OwnSecret {
        issued: Some(Issued {
            token_id: id("a"),
            ..issued(999, "theirs")
        }),
        ..own(999, "theirs")
    };
    let mut snapshot = Given::issued(own_facts(forged)).snapshot(at(100));
    assert_eq!(snapshot.present(), Some(issued(1, "a")));
    let steps = story(&mut snapshot, at(100), fair_outcome);
    assert_eq!(steps, ["recover", "look", "store", "verify", "Ready"]);
}

#[test]
fn a_secret_that_has_changed_is_proven_again() {
    let edited = OwnSecret {
        version: version("9"),
        ..own(1, "a")
    };
    let given = Given::issued(own_facts(edited));
    let steps = story(&mut given.snapshot(at(0)), at(0), fair_outcome);
    assert_eq!(steps, ["verify", "Ready"]);
}

/// What the list that was begun at this second lacks.
fn missing(text: &str, listed: u64) -> Missing {
    Missing {
        token_id: id(text),
        listed: at(listed).elapsed,
    }
}

/// A token that is Ready, and that the last list may lack.
fn listed_without(missing: impl Into<Option<Missing>>) -> Given {
    let memory = Memory {
        missing: missing.into(),
        ..Memory::default()
    };
    Given {
        memory,
        ..Given::issued(own_facts(own(1, "a")))
    }
}

fn unknown() -> Outcome {
    Outcome::ValueUnknown(Trouble::transient(Reason::VerificationFailed, "x"))
}

/// The platform does not know the value of the first token.
fn revoked_elsewhere(step: &Step) -> Outcome {
    match step {
        Step::Verify { issued, .. } if issued.token_id == id("a") => unknown(),
        step => fair_outcome(step),
    }
}

#[test]
fn a_token_that_a_complete_list_lacks_and_whose_value_is_unknown_is_minted_anew() {
    let mut snapshot = listed_without(missing("a", 0)).snapshot(at(90));
    let steps = story(&mut snapshot, at(90), revoked_elsewhere);
    let anew = [
        "verify", "permit", "open", "mint", "store", "verify", "Ready",
    ];
    assert_eq!(steps, anew, "and there is nothing to be revoked");
    assert_eq!(snapshot.present().unwrap().token_id, id("new"));
    let note = &snapshot.run.notes[0];
    assert_eq!(note.reason, Reason::Replaced);
    let says = "in place of id-a, which was revoked elsewhere";
    assert!(note.text.contains(says), "{}", note.text);
}

#[test]
fn neither_a_list_nor_a_refusal_alone_mints() {
    let failed = || Outcome::Failed(Trouble::transient(Reason::Unreachable, "x"));
    for (answer, expected) in [
        (Outcome::Verified, ["verify", "Ready"]),
        // No answer is no news.
        (failed(), ["verify", "Ready"]),
        (Outcome::Stale, ["verify", "Silent"]),
    ] {
        let what = format!("{answer:?}");
        let mut snapshot = listed_without(missing("a", 0)).snapshot(at(90));
        let mut answer = Some(answer);
        let steps = story(&mut snapshot, at(90), |_| answer.take().unwrap());
        assert_eq!(steps, expected, "{what}");
    }
    let mut unproven = listed_without(None);
    unproven.status.conditions.clear();
    let steps = steps(unproven, 90, revoked_elsewhere);
    assert_eq!(steps, ["verify", "VerificationFailed"], "no list lacks it");
}

#[test]
fn one_list_is_worth_one_try() {
    for answer in [
        || Outcome::Verified,
        || Outcome::Failed(Trouble::transient(Reason::Unreachable, "x")),
    ] {
        let mut snapshot = listed_without(missing("a", 0)).snapshot(at(90));
        story(&mut snapshot, at(90), |_| answer());
        let mut again = listed_without(missing("a", 0)).snapshot(at(91));
        again.memory.tried.clone_from(&snapshot.memory.tried);
        assert_eq!(word(&plan(&again, at(91))), "Ready");
        again.memory.missing = Some(missing("a", 600));
        assert_eq!(word(&plan(&again, at(91))), "verify", "a later list");
    }
}

#[test]
fn a_list_of_another_account_or_without_another_token_wakes_nobody() {
    let another = |identity: Identity| AccountFacts::Ready(identity);
    for account in [
        another(Identity {
            user_id: UserId::parse("another").ok(),
            ..identity()
        }),
        another(Identity {
            user_id: None,
            ..identity()
        }),
        another(Identity {
            base_url: "https://another".into(),
            ..identity()
        }),
        AccountFacts::Pending,
        AccountFacts::Broken(Trouble::stalled(Reason::Unauthorized, "x")),
    ] {
        let unread = SecretFacts::Unread {
            resource_version: Some("7".into()),
        };
        let given = Given {
            account: account.clone(),
            ..listed_without(missing("a", 0))
        };
        let given = given.secret("token", unread);
        assert_eq!(given.next(at(90)), "Ready", "{account:?}");
    }
    assert_eq!(listed_without(missing("b", 0)).next(at(90)), "Ready");
}
