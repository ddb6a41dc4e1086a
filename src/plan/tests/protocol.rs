//! The protocol of attempts, where two processes, a proxy or a masked list make more than one token.

use super::*;

fn steps(given: Given, now: u64, outcome: impl Fn(&Step) -> Outcome) -> Vec<String> {
    story(&mut given.snapshot(at(now)), at(now), outcome)
}

fn remembering(attempt: OpenAttempt) -> Memory {
    Memory {
        attempt: Some(attempt),
        ..Memory::default()
    }
}

/// The ids that a story revokes, in order.
fn revoked(
    snapshot: &mut Snapshot,
    now: Moment,
    outcome: impl Fn(&Step) -> Outcome,
) -> Vec<String> {
    let mut ids = Vec::new();
    while let Next::Step(step) = plan(snapshot, now) {
        if let Step::Revoke { token_id, .. } = &step {
            ids.push(token_id.to_string());
        }
        let outcome = outcome(&step);
        snapshot.fold(step, outcome, now);
    }
    ids
}

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
    let opened = std::cell::RefCell::new(Vec::new());
    let steps = story(&mut snapshot, at(45), |step| {
        if let Step::Open(attempt) = step {
            opened.borrow_mut().clone_from(&attempt.given_up);
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
    assert_eq!(opened.into_inner(), [id("masked")], "it stays owed");
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
    while let Next::Step(step) = plan(&snapshot, at(45)) {
        if let Step::Open(attempt) = &step {
            assert_eq!(attempt.given_up, [id("masked")]);
            return;
        }
        let outcome = none(&step);
        snapshot.fold(step, outcome, at(45));
    }
    panic!("no attempt was opened");
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
    while let Next::Step(step) = plan(&snapshot, at(60)) {
        let outcome = match &step {
            Step::Revoke { token_id, with, .. } if *token_id == id("victim") => {
                asked.push(matches!(with, RevokeWith::AccountIfOurs { hash: None, .. }));
                Outcome::NotOurs
            }
            step => fair_outcome(step),
        };
        snapshot.fold(step, outcome, at(60));
    }
    assert_eq!(asked, [true], "once, and only if its tags say so");
    let left_alone = |note: &Note| note.warning && note.reason == Reason::NotOurs;
    assert!(snapshot.run.notes.iter().any(left_alone));
}

#[test]
fn nothing_is_stored_for_a_token_that_is_gone_and_what_it_minted_is_revoked() {
    let given = Given {
        attempt: Some(attempt(1)),
        memory: remembering(open(attempt(1), Fate::Minted(minted("mine")))),
        ..Given::default()
    };
    let gone = |step: &Step| match step {
        Step::Look => Outcome::TokenGone,
        step => fair_outcome(step),
    };
    assert_eq!(steps(given, 20, gone), ["look", "revoke", "Gone"]);
}

#[test]
fn a_post_is_not_sent_when_either_clock_says_that_its_attempt_is_old() {
    let given = || Given {
        attempt: Some(attempt(1)),
        memory: remembering(open(attempt(1), Fate::Unsent)),
        ..Given::default()
    };
    let slept = Moment {
        elapsed: at(1).elapsed,
        wall: at(15).wall,
    };
    let set_back = Moment {
        elapsed: at(15).elapsed,
        wall: at(0).wall,
    };
    assert_eq!(given().next(at(14)), "mint");
    assert_eq!(given().next(slept), "permit");
    assert_eq!(given().next(set_back), "permit");
}

#[test]
fn an_attempt_of_the_documented_dialect_tells_what_it_may_have_made_before_another_begins() {
    let documented = Attempt {
        dialect: Dialect::Documented,
        ..attempt(1)
    };
    let account = |exclusive| {
        AccountFacts::Ready(Identity {
            dialect: Dialect::Documented,
            exclusive,
            ..identity()
        })
    };
    let given = |exclusive| Given {
        account: account(exclusive),
        attempt: Some(documented.clone()),
        ..Given::default()
    };
    let suspects = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::Suspects(vec![id("suspect")]),
        step => fair_outcome(step),
    };
    let later = |given: Given| {
        let mut snapshot = given.snapshot(at(0));
        assert_eq!(word(&plan(&snapshot, at(0))), "CreateOutcomeUnknown");
        let steps = story(&mut snapshot, at(45), suspects);
        let told = snapshot
            .run
            .notes
            .iter()
            .any(|note| note.text.contains("id-suspect"));
        (steps[0].clone(), told)
    };
    assert_eq!(later(given(None)), ("find_minted".into(), true));
    assert_eq!(
        later(given(Some(at(0).wall))),
        ("find_minted".into(), true),
        "the platform's clock may be behind, and what it made look older than the baseline"
    );
    let long_ago = at(0).wall - Duration::from_mins(6);
    assert_eq!(
        later(given(Some(long_ago))),
        ("permit".into(), false),
        "the stock of an exclusive account finds it"
    );
    // A deletion does not wait for an account that is gone only to tell something.
    let gone = AccountFacts::Broken(Trouble::stalled(Reason::AccountNotFound, "x"));
    let deleting = Given {
        account: gone,
        deleting: true,
        ..given(None)
    };
    let snapshot = deleting.snapshot(at(0));
    assert_eq!(word(&plan(&snapshot, at(45))), "lift_finalizer");
}

#[test]
fn what_the_accounts_list_shows_beside_the_present_token_is_revoked_unless_an_attempt_may_store_it()
{
    let leftover = |text: &str, number| Leftover {
        token_id: id(text),
        tags: attempt(number).tags(),
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
fn a_stored_token_is_known_before_the_status_says_so() {
    let mut snapshot = Given::default().snapshot(at(0));
    story(&mut snapshot, at(0), fair_outcome);
    let given = Given {
        memory: snapshot.memory,
        ..Given::default()
    };
    // The status could not be written, and someone emptied the Secret.
    assert_eq!(given.next(at(1)), "hold");
}

#[test]
fn a_secret_that_bears_the_attempt_ends_it_though_the_answer_to_its_store_was_lost() {
    let given = Given {
        attempt: Some(attempt(1)),
        memory: remembering(open(attempt(1), Fate::Minted(minted("a")))),
        ..Given::default()
    };
    let given = given.secret(
        "token",
        SecretFacts::Unread {
            resource_version: None,
        },
    );
    let mut snapshot = given.snapshot(at(0));
    let stored = |step: &Step| match step {
        Step::ReadSecret { .. } => Outcome::Secret(own_facts(own(1, "a"))),
        step => fair_outcome(step),
    };
    assert_eq!(
        story(&mut snapshot, at(0), stored),
        ["read_secret", "verify", "Ready"]
    );
    assert!(snapshot.memory.holds_nothing());
}

#[test]
fn a_secret_that_is_nobodys_is_let_go_when_it_is_deleted() {
    let nobodys = || SecretFacts::Foreign {
        whose: "was not made by this operator".into(),
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
    snapshot.token.deleting = true;
    assert_eq!(revoked(&mut snapshot, at(11), fair_outcome), ["id-a"]);
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
fn what_was_revoked_once_is_not_revoked_again() {
    let twin = Leftover {
        token_id: id("twin"),
        tags: attempt(1).tags(),
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
fn what_an_attempt_of_another_account_gave_up_stops_the_next_one() {
    let heir = Attempt {
        given_up: vec![id("masked")],
        account: AttemptAccount {
            base_url: "https://another".into(),
            user_id: Some(user()),
        },
        ..attempt(1)
    };
    let given = Given {
        attempt: Some(heir.clone()),
        memory: remembering(open(heir, Fate::Void)),
        ..Given::default()
    };
    assert_eq!(given.next(at(0)), "AccountChanged");
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
fn what_was_minted_for_a_secret_that_turns_out_to_be_anothers_is_revoked() {
    let theirs = |step: &Step| match step {
        Step::Store { .. } => Outcome::Exists,
        Step::ReadSecret { .. } => Outcome::Secret(SecretFacts::Foreign {
            whose: "is another's".into(),
            dying: None,
        }),
        step => fair_outcome(step),
    };
    assert_eq!(
        steps(Given::default(), 0, theirs),
        [
            "permit",
            "preflight",
            "open",
            "mint",
            "store",
            "read_secret",
            "SecretNotWritable"
        ],
        "another process may store it yet, where the name was another"
    );
    let given = |fate| {
        let given = Given {
            attempt: Some(attempt(1)),
            memory: remembering(open(attempt(1), fate)),
            ..Given::default()
        };
        let resource_version = None;
        given.secret("token", SecretFacts::Unread { resource_version })
    };
    assert_eq!(
        steps(given(Fate::Minted(minted("a"))), 50, theirs),
        ["read_secret", "look", "revoke", "SecretNotWritable"]
    );
    // After a crash the token is found first.
    assert_eq!(
        steps(given(Fate::Unknown { searched: None }), 50, theirs),
        [
            "read_secret",
            "find_minted",
            "look",
            "revoke",
            "SecretNotWritable"
        ]
    );
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
fn no_two_attempts_of_one_run_share_an_id() {
    // The first POST hangs until it must have ended, all in one run.
    let mut snapshot = Given::default().snapshot(at(0));
    let unknown = |step: &Step| match step {
        Step::Mint(_) => Outcome::MintUnknown(Trouble::transient(Reason::Unreachable, "x")),
        Step::FindMinted(_) => Outcome::NoneMinted,
        step => fair_outcome(step),
    };
    let mut opened = Vec::new();
    let mut now = at(0);
    while let Next::Step(step) = plan(&snapshot, now) {
        if let Step::Open(attempt) = &step {
            opened.push(attempt.at.clone());
        }
        let outcome = unknown(&step);
        let slow = matches!(step, Step::Mint(_));
        snapshot.fold(step, outcome, now);
        if slow {
            now = at(50);
        }
    }
    assert_eq!(opened.len(), 1, "{opened:?}");
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
