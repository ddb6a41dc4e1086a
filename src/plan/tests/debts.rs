//! Where two processes, a proxy or a masked list make more than one token, each but one is revoked.

use super::*;

#[test]
fn a_token_whose_attempt_another_process_superseded_is_revoked_by_its_holder() {
    // We hold the token of attempt 1; the annotation shows attempt 2 of somebody else.
    let given = Given {
        attempt: Some(attempt(2)),
        memory: remembering(open(attempt(1), Fate::Minted(minted("mine")))),
        ..Given::default()
    };
    let none = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::NoneMinted,
        step => fair_outcome(step),
    };
    let mut snapshot = given.snapshot(at(1));
    assert_eq!(revoked(&mut snapshot, at(1), none), ["id-mine"]);
    assert!(snapshot.memory.holds_nothing());
}

#[test]
fn a_token_that_came_too_late_for_its_secret_is_revoked() {
    // Another process found its own row of our attempt and stored that.
    let given = Given {
        attempt: Some(attempt(1)),
        memory: remembering(open(attempt(1), Fate::Minted(minted("mine")))),
        ..Given::default()
    };
    let given = given.secret("token", own_facts(own(1, "theirs")));
    let mut snapshot = given.snapshot(at(0));
    assert_eq!(revoked(&mut snapshot, at(0), fair_outcome), ["id-mine"]);
    assert_eq!(snapshot.present(), Some(issued(1, "theirs")));
}

#[test]
fn the_token_of_an_older_attempt_is_revoked_before_its_secret_is_overwritten() {
    let given = Given {
        attempt: Some(attempt(2)),
        memory: remembering(open(attempt(2), Fate::Minted(minted("new")))),
        ..Given::default()
    };
    let given = given.secret("token", own_facts(own(1, "old")));
    assert_eq!(
        steps(given, 0, fair_outcome),
        ["revoke", "look", "store", "verify", "Ready"]
    );
}

#[test]
fn of_two_rows_of_an_attempt_one_is_kept_and_the_other_revoked_once_it_is_stored() {
    let two = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::Found {
            kept: minted("kept"),
            others: vec![id("other")],
        },
        step => fair_outcome(step),
    };
    let given = || Given {
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    assert_eq!(
        steps(given(), 0, two),
        [
            "find_minted",
            "look",
            "store",
            "verify",
            "revoke",
            "store",
            "verify",
            "Ready"
        ]
    );
    // A crash after the store: the Secret names what is owed.
    let given_up = BTreeSet::from([id("other")]);
    let secret = OwnSecret {
        given_up,
        ..own(1, "kept")
    };
    let given = given().secret("token", own_facts(secret));
    let mut snapshot = given.snapshot(at(60));
    assert_eq!(revoked(&mut snapshot, at(60), fair_outcome), ["id-other"]);
}

#[test]
fn a_token_whose_value_is_masked_is_waited_out_superseded_and_revoked() {
    let masked = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::MintedWithheld(vec![id("masked")]),
        step => fair_outcome(step),
    };
    let given = Given {
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    let mut snapshot = given.snapshot(at(0));
    assert_eq!(
        story(&mut snapshot, at(0), masked),
        ["find_minted", "ValueUnavailable"]
    );
    snapshot.run = Run::default();
    let mut opened = Vec::new();
    let steps = story(&mut snapshot, at(45), |step| {
        if let Step::Open(attempt) = step {
            opened.clone_from(&attempt.given_up);
        }
        masked(step)
    });
    assert_eq!(
        steps,
        [
            "permit",
            "preflight",
            "open",
            "mint",
            "store",
            "verify",
            "revoke",
            "hold",
            "Ready"
        ]
    );
    assert_eq!(opened, [id("masked")], "it stays owed");
}

#[test]
fn what_an_attempt_gave_up_stays_owed_after_a_restart_and_in_the_next_attempt() {
    let heir = Attempt {
        given_up: vec![id("masked")],
        ..attempt(2)
    };
    let given = || Given {
        attempt: Some(heir.clone()),
        ..Given::default()
    };
    let stored = given().secret("token", own_facts(own(2, "new")));
    let mut snapshot = stored.snapshot(at(60));
    assert_eq!(revoked(&mut snapshot, at(60), fair_outcome), ["id-masked"]);

    let none = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::NoneMinted,
        step => fair_outcome(step),
    };
    let mut snapshot = given().snapshot(at(0));
    story(&mut snapshot, at(0), none);
    snapshot.run = Run::default();
    let mut opened = Vec::new();
    story(&mut snapshot, at(45), |step| {
        if let Step::Open(attempt) = step {
            opened.push(attempt.given_up.clone());
        }
        none(step)
    });
    assert_eq!(opened, [[id("masked")]]);
}

#[test]
fn an_id_that_only_a_record_names_is_revoked_only_if_it_is_ours() {
    let forged = Attempt {
        given_up: vec![id("victim")],
        ..attempt(1)
    };
    let given = Given {
        attempt: Some(forged),
        deleting: true,
        ..Given::issued(own_facts(own(1, "a")))
    };
    let mut snapshot = given.snapshot(at(60));
    let mut asked = Vec::new();
    story(&mut snapshot, at(60), |step| match step {
        Step::Revoke { token_id, with, .. } if *token_id == id("victim") => {
            asked.push(matches!(with, RevokeWith::AccountIfOurs { hash: None, .. }));
            Outcome::NotOurs
        }
        step => fair_outcome(step),
    });
    assert_eq!(asked, [true], "once, and only if its tags say so");
    let left_alone = |note: &Note| note.warning && note.reason == Reason::NotOurs;
    assert!(snapshot.run.notes.iter().any(left_alone));
}

#[test]
fn what_the_accounts_list_shows_beside_the_present_token_is_revoked_unless_an_attempt_may_store_it()
{
    let leftover = |text: &str, number| Leftover {
        token_id: id(text),
        attempt: Some(attempt(number).at.id),
        base_url: "https://platform".into(),
        user_id: user(),
    };
    let given = |leftovers: Vec<Leftover>| Given {
        memory: Memory {
            leftovers,
            ..Memory::default()
        },
        ..Given::issued(SecretFacts::Unread {
            resource_version: Some("7".into()),
        })
    };
    let read = |step: &Step| match step {
        Step::ReadSecret { .. } => Outcome::Secret(own_facts(own(1, "a"))),
        step => fair_outcome(step),
    };
    assert_eq!(
        steps(given(vec![leftover("twin", 1)]), 0, read),
        ["read_secret", "look", "revoke", "Ready"]
    );
    assert_eq!(
        given(vec![leftover("a", 1)]).next(at(0)),
        "Ready",
        "the present one"
    );
    let opened = Given {
        attempt: Some(attempt(2)),
        ..given(vec![leftover("twin", 2)])
    };
    let mut snapshot = opened.snapshot(at(0));
    let none = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::NoneMinted,
        step => read(step),
    };
    assert_eq!(
        story(&mut snapshot, at(0), none),
        [
            "read_secret",
            "find_minted",
            "read_secret",
            "CreateOutcomeUnknown"
        ]
    );
}

#[test]
fn what_was_revoked_once_is_not_revoked_again() {
    let twin = Leftover {
        token_id: id("twin"),
        attempt: Some(attempt(1).at.id),
        base_url: "https://platform".into(),
        user_id: user(),
    };
    let memory = Memory {
        leftovers: vec![twin],
        revoked: BTreeSet::from([id("twin")]),
        ..Memory::default()
    };
    let given = Given {
        memory,
        ..Given::issued(SecretFacts::Unread {
            resource_version: Some("7".into()),
        })
    };
    assert_eq!(given.next(at(0)), "Ready");
}

#[test]
fn a_token_whose_revocation_was_begun_is_never_stored() {
    let given = Given {
        attempt: Some(attempt(1)),
        memory: Memory {
            revoke_unknown: BTreeSet::from([id("a")]),
            ..remembering(open(attempt(1), Fate::Minted(minted("a"))))
        },
        ..Given::default()
    };
    let mut snapshot = given.snapshot(at(0));
    let unknown = |step: &Step| match step {
        Step::Revoke { .. } => Outcome::SelfUnknown,
        step => fair_outcome(step),
    };
    let steps = story(&mut snapshot, at(0), unknown);
    assert_eq!(steps[..3], ["revoke", "permit", "preflight"]);
    let present = snapshot.present().unwrap();
    assert_eq!((present.attempt.number, present.token_id), (2, id("new")));
}

#[test]
fn a_token_that_this_process_alone_knows_is_not_left_where_the_status_says_ready() {
    let settled = |memory| Given {
        memory,
        ..Given::issued(SecretFacts::Unread {
            resource_version: Some("7".into()),
        })
    };
    let minted = open(attempt(1), Fate::Minted(minted("mine")));
    let superseded = Memory {
        surplus: minted.debts(),
        ..Memory::default()
    };
    assert_eq!(settled(Memory::default()).next(at(0)), "Ready");
    assert_eq!(settled(superseded).next(at(0)), "read_secret");
    let held = Memory {
        held: Some(value("a")),
        ..Memory::default()
    };
    assert_eq!(settled(held).next(at(0)), "read_secret");
    assert_eq!(settled(remembering(minted)).next(at(0)), "read_secret");
}

#[test]
fn what_a_record_names_waits_for_the_token_that_lives() {
    // A proxy repeated the POST; the Secret names the other token, and no account can revoke it now.
    let other = Debt {
        token_id: id("other"),
        base_url: "https://platform".into(),
        user_id: Some(user()),
        hash: None,
        value: None,
        evidence: Evidence::Sure,
    };
    let secret = OwnSecret {
        deleting: true,
        given_up: BTreeSet::from([id("other")]),
        ..own(1, "a")
    };
    let given = Given {
        account: AccountFacts::Broken(Trouble::stalled(Reason::Unauthorized, "x")),
        memory: Memory {
            surplus: vec![other],
            ..Memory::default()
        },
        ..Given::issued(own_facts(secret))
    };
    assert_eq!(
        steps(given, 0, fair_outcome),
        ["look", "release", "store", "verify", "Unauthorized"]
    );
}

#[test]
fn what_this_process_saw_made_is_revoked_on_its_own_word_when_a_new_attempt_takes_its_place() {
    let documented = AccountFacts::Ready(Identity {
        dialect: Dialect::Documented,
        ..identity()
    });
    let given = Given {
        account: documented,
        ..Given::default()
    };
    let mut snapshot = given.snapshot(at(0));
    story(&mut snapshot, at(0), |step| match step {
        Step::Mint(_) => Outcome::MintedWithheld(vec![id("masked")]),
        step => fair_outcome(step),
    });
    snapshot.run = Run::default();
    snapshot.fresh = AttemptId::parse("fresher").ok();
    let mut sure = Vec::new();
    story(&mut snapshot, at(45), |step| {
        if let Step::Revoke { token_id, with, .. } = step {
            sure.push((token_id.clone(), matches!(with, RevokeWith::Account)));
        }
        fair_outcome(step)
    });
    assert_eq!(
        sure,
        [(id("masked"), true)],
        "no tag and no value shows that it is ours"
    );
}

#[test]
fn other_tokens_of_an_attempt_stay_owed_though_the_secret_that_ends_it_does_not_say_so() {
    let made = OpenAttempt {
        others: ids(&["other"]),
        ..open(attempt(1), Fate::Minted(minted("a")))
    };
    let unread = SecretFacts::Unread {
        resource_version: None,
    };
    let given = Given {
        attempt: Some(attempt(1)),
        memory: remembering(made),
        ..Given::default().secret("token", unread)
    };
    let read = |step: &Step| match step {
        Step::ReadSecret { .. } => Outcome::Secret(own_facts(own(1, "a"))),
        step => fair_outcome(step),
    };
    let mut snapshot = given.snapshot(at(0));
    assert_eq!(revoked(&mut snapshot, at(0), read), ["id-other"]);
}

#[test]
fn what_a_deleted_secret_owes_is_recorded_in_the_one_that_takes_its_place() {
    let deleted = OwnSecret {
        deleting: true,
        given_up: ids(&["other"]),
        ..own(1, "a")
    };
    let mut snapshot = Given::issued(own_facts(deleted)).snapshot(at(60));
    let mut stored = Vec::new();
    story(&mut snapshot, at(60), |step| {
        if let Step::Store { given_up, .. } = step {
            stored.push(given_up.clone());
        }
        fair_outcome(step)
    });
    assert_eq!(stored, [ids(&["other"]), ids(&[])], "until it is revoked");
}

#[test]
fn what_a_process_alone_holds_is_revoked_when_another_has_superseded_it() {
    // Its Secret was let go to be written anew; meanwhile another process stored a token of its own.
    let given = Given {
        memory: Memory {
            issued: Some(issued(1, "mine")),
            held: Some(value("mine")),
            ..Memory::default()
        },
        status: ready(&issued(2, "theirs")),
        attempt: Some(attempt(2)),
        ..Given::default()
    };
    let unread = SecretFacts::Unread {
        resource_version: Some("7".into()),
    };
    let given = given.secret("token", unread);
    let mut snapshot = given.snapshot(at(0));
    let theirs = |step: &Step| match step {
        Step::ReadSecret { .. } => Outcome::Secret(own_facts(own(2, "theirs"))),
        step => fair_outcome(step),
    };
    assert_eq!(revoked(&mut snapshot, at(0), theirs), ["id-mine"]);
    assert!(snapshot.memory.holds_nothing());
}

#[test]
fn a_new_attempt_and_a_new_secret_inherit_what_is_owed() {
    let heir = || Attempt {
        given_up: vec![id("masked")],
        ..attempt(1)
    };
    let stored = Given {
        attempt: Some(heir()),
        ..Given::issued(SecretFacts::Absent)
    };
    // Somebody removed the annotation of an attempt whose token this process knows.
    let remembered = Given {
        memory: remembering(open(heir(), Fate::Withheld(vec![id("a")]))),
        ..Given::default()
    };
    for given in [stored, remembered] {
        let mut snapshot = given.snapshot(at(60));
        let mut opened = Vec::new();
        story(&mut snapshot, at(60), |step| match step {
            Step::Recover(_) => Outcome::Recovered(Recovery::Withheld),
            Step::Open(attempt) => {
                opened.push(attempt.given_up.clone());
                fair_outcome(step)
            }
            step => fair_outcome(step),
        });
        assert_eq!(opened, [[id("a"), id("masked")]]);
    }

    let emptied = OwnSecret {
        value: None,
        whole: false,
        given_up: ids(&["other"]),
        ..own(1, "a")
    };
    let given = Given {
        attempt: Some(attempt(2)),
        memory: remembering(open(attempt(2), Fate::Minted(minted("new")))),
        ..Given::issued(own_facts(emptied))
    };
    let mut snapshot = given.snapshot(at(60));
    let mut stored = Vec::new();
    story(&mut snapshot, at(60), |step| {
        if let Step::Store { given_up, .. } = step {
            stored.push(given_up.clone());
        }
        fair_outcome(step)
    });
    assert_eq!(stored[0], ids(&["other"]));
}
