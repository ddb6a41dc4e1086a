//! What becomes of an attempt until a Secret bears it: at most one POST, and no other attempt before its end is known.

use super::*;

#[test]
fn an_open_attempt_never_posts_twice() {
    let unknown = |dialect| Given {
        attempt: Some(Attempt {
            dialect,
            ..attempt(1)
        }),
        ..Given::default()
    };
    // Another process, or this one before a crash, may have sent the POST.
    assert_eq!(unknown(Dialect::Current).next(at(0)), "find_minted");
    assert_eq!(
        unknown(Dialect::Documented).next(at(0)),
        "CreateOutcomeUnknown"
    );

    let with = |fate| {
        let attempt = Some(open(attempt(1), fate));
        Given {
            memory: Memory {
                attempt,
                ..Memory::default()
            },
            ..unknown(Dialect::Current)
        }
    };
    let searched = |at| Fate::Unknown {
        searched: Some(Duration::from_secs(at)),
    };
    for (fate, now, expected) in [
        (Fate::Unsent, 14, "mint"),
        // Too late to be sent, and nothing was: a new attempt.
        (Fate::Unsent, 15, "permit"),
        (Fate::Void, 0, "permit"),
        // The PlatformToken may be gone by now, or another process may have superseded the attempt.
        (Fate::Minted(minted("a")), 100, "look"),
        (Fate::Unknown { searched: None }, 0, "find_minted"),
        (searched(1), 44, "CreateOutcomeUnknown"),
        (searched(1), 45, "find_minted"),
        (searched(45), 45, "permit"),
    ] {
        let shown = format!("{fate:?} at {now}");
        assert_eq!(with(fate).next(at(now)), expected, "{shown}");
    }
}

#[test]
fn attempts_of_others_and_of_the_past_count_for_nothing() {
    let copied = Attempt {
        owner: owner("original"),
        ..attempt(5)
    };
    assert_eq!(
        Given {
            attempt: Some(copied),
            ..Given::default()
        }
        .next(at(0)),
        "permit"
    );
    // An old export, applied again, turns no time back.
    let given = Given {
        attempt: Some(attempt(1)),
        status: ready(&issued(2, "b")),
        ..Given::default()
    };
    let given = given.secret("token", own_facts(own(2, "b")));
    assert_eq!(given.next(at(0)), "Ready");
}

#[test]
fn another_attempt_gets_a_higher_number() {
    let mut snapshot = Given {
        attempt: Some(attempt(3)),
        ..Given::default()
    }
    .snapshot(at(0));
    let none_found = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::NoneMinted,
        step => fair_outcome(step),
    };
    assert_eq!(
        story(&mut snapshot, at(0), none_found).last().unwrap(),
        "CreateOutcomeUnknown"
    );
    let steps = story(&mut snapshot, at(45), none_found);
    assert_eq!(
        steps,
        [
            "find_minted",
            "permit",
            "preflight",
            "open",
            "mint",
            "store",
            "verify",
            "Ready"
        ]
    );
    assert_eq!(snapshot.present().unwrap().attempt.number, 4);
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
fn outcomes_that_stay_unknown_are_waited_for_longer_each_time() {
    let waits = [0, 1, 2, 3].map(|lost| {
        let fate = Fate::Unknown { searched: None };
        let documented = Attempt {
            dialect: Dialect::Documented,
            ..attempt(1)
        };
        let memory = Memory {
            attempt: Some(open(documented.clone(), fate)),
            lost,
            ..Memory::default()
        };
        let given = Given {
            account: AccountFacts::Ready(Identity {
                dialect: Dialect::Documented,
                ..identity()
            }),
            attempt: Some(documented),
            memory,
            ..Given::default()
        };
        let snapshot = given.snapshot(at(0));
        (0..1000)
            .find(|&seconds| word(&plan(&snapshot, at(seconds))) == "find_minted")
            .unwrap()
    });
    assert_eq!(waits, [45, 45, 90, 180]);
}

#[test]
fn a_wait_tells_for_what_and_until_when() {
    for (fate, told) in [
        (
            Fate::Unknown {
                searched: Some(at(1).elapsed),
            },
            "attempt-1",
        ),
        (Fate::Withheld(vec![id("one"), id("two")]), "id-one, id-two"),
    ] {
        let given = Given {
            attempt: Some(attempt(1)),
            memory: remembering(open(attempt(1), fate)),
            ..Given::default()
        };
        let Next::Settled(Settled {
            verdict: Verdict::Trouble(trouble),
            requeue,
        }) = plan(&given.snapshot(at(2)), at(2))
        else {
            panic!("it is waited for")
        };
        assert!(trouble.message.contains(told), "{}", trouble.message);
        assert!(
            trouble.message.contains("at 2026-01-01T00:00:45Z"),
            "{}",
            trouble.message
        );
        assert_eq!(requeue, Some(Duration::from_secs(43)));
    }
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
        later(given(Some(at(0).wall - Duration::from_mins(5)))),
        ("find_minted".into(), true),
        "the platform's clock may be behind, and what it made look older than the baseline"
    );
    let long_ago = at(0).wall - Duration::from_secs(301);
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
fn an_attempt_is_given_up_unsearched_only_where_a_search_finds_nothing_and_nobody_is_left_to_tell()
{
    let another = AccountFacts::Ready(Identity {
        user_id: UserId::parse("another").ok(),
        ..identity()
    });
    let broken = AccountFacts::Broken(Trouble::stalled(Reason::Unauthorized, "x"));
    let gone = AccountFacts::Broken(Trouble::stalled(Reason::AccountNotFound, "x"));
    for (dialect, deleting, account, expected) in [
        (Dialect::Documented, true, &gone, "lift_finalizer"),
        (Dialect::Documented, true, &broken, "record"),
        (Dialect::Documented, true, &another, "record"),
        (Dialect::Documented, false, &gone, "AccountNotFound"),
        (Dialect::Documented, false, &broken, "Unauthorized"),
        (Dialect::Documented, false, &another, "AccountChanged"),
        (Dialect::Current, true, &gone, "record"),
        (Dialect::Current, true, &broken, "record"),
        (Dialect::Current, true, &another, "record"),
    ] {
        let given = Given {
            account: account.clone(),
            attempt: Some(Attempt {
                dialect,
                ..attempt(1)
            }),
            deleting,
            ..Given::default()
        };
        let next = plan(&given.snapshot(at(0)), at(45));
        assert_eq!(word(&next), expected, "{dialect:?}, deleting: {deleting}");
    }
}

#[test]
fn nobody_is_suspected_where_tags_tell_who_made_a_token_nor_of_what_is_older_than_the_platformtoken()
 {
    for (dialect, expected) in [
        (Dialect::Current, None),
        (Dialect::Documented, Some(at(1000).wall)),
    ] {
        let forged = Attempt {
            dialect: Dialect::Documented,
            ..attempt(1)
        };
        let given = Given {
            account: AccountFacts::Ready(Identity {
                dialect,
                ..identity()
            }),
            attempt: Some(forged),
            created: 1000,
            ..Given::default()
        };
        let mut since = None;
        let mut snapshot = given.snapshot(at(2000));
        let steps = story(&mut snapshot, at(2045), |step| match step {
            Step::FindMinted(attempt) => {
                since = Some(attempt.opened_at);
                Outcome::Suspects(vec![])
            }
            step => fair_outcome(step),
        });
        assert_eq!(since, expected, "{dialect:?}");
        assert_eq!(steps.last().unwrap(), "Ready", "{steps:?}");
    }
}

#[test]
fn a_value_that_the_answer_withholds_is_looked_for_where_the_list_may_show_it() {
    for (dialect, then) in [
        (Dialect::Current, "find_minted"),
        (Dialect::Documented, "ValueUnavailable"),
    ] {
        let account = AccountFacts::Ready(Identity {
            dialect,
            ..identity()
        });
        let given = Given {
            account,
            ..Given::default()
        };
        let withheld = |step: &Step| match step {
            Step::Mint(_) => Outcome::MintedWithheld(vec![id("masked")]),
            step => fair_outcome(step),
        };
        let mut snapshot = given.snapshot(at(0));
        let steps = story(&mut snapshot, at(0), withheld);
        assert_eq!(steps[..4], ["permit", "preflight", "open", "mint"]);
        assert_eq!(steps[4], then, "{dialect:?}");
    }
}

#[test]
fn an_attempt_whose_annotation_someone_removed_is_forgotten() {
    let fate = Fate::Unknown { searched: None };
    let attempt = Some(open(attempt(1), fate));
    let memory = Memory {
        attempt,
        ..Memory::default()
    };
    assert_eq!(
        Given {
            memory,
            ..Given::default()
        }
        .next(at(0)),
        "permit"
    );
}

#[test]
fn an_attempt_whose_annotation_went_with_the_finalizer_is_written_back() {
    let unknown = Fate::Unknown { searched: None };
    let given = Given {
        memory: remembering(open(attempt(1), unknown)),
        unheld: true,
        ..Given::default()
    };
    let Next::Step(Step::Hold(Some(held))) = plan(&given.snapshot(at(0)), at(0)) else {
        panic!("`kubectl replace` answers for no attempt")
    };
    assert_eq!(held, attempt(1));
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
fn a_secret_ends_an_attempt_only_if_it_bears_that_attempt_and_its_token() {
    for (number, text, ended) in [(1, "mine", true), (1, "theirs", false), (0, "mine", false)] {
        let unread = SecretFacts::Unread {
            resource_version: None,
        };
        let given = Given {
            attempt: Some(attempt(1)),
            memory: remembering(open(attempt(1), Fate::Minted(minted("mine")))),
            ..Given::default().secret("token", unread)
        };
        let mut snapshot = given.snapshot(at(0));
        let Next::Step(step) = plan(&snapshot, at(0)) else {
            panic!("the Secret is read first")
        };
        let read = Outcome::Secret(own_facts(own(number, text)));
        snapshot.fold(step, read, at(0));
        let row = format!("{text} of attempt {number}");
        assert_eq!(snapshot.memory.attempt.is_none(), ended, "{row}");
    }
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
    for _ in 0..30 {
        let Next::Step(step) = plan(&snapshot, now) else {
            break;
        };
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
fn lost_answers_are_counted_until_a_token_is_stored() {
    let unknown = || Outcome::MintUnknown(Trouble::transient(Reason::Unreachable, "x"));
    let withheld = || Outcome::MintedWithheld(vec![id("masked")]);
    let refused = || Outcome::NotMinted(Trouble::stalled(Reason::Refused, "x"));
    for (dialect, answer, lost) in [
        (Dialect::Current, &unknown as &dyn Fn() -> Outcome, 3),
        (Dialect::Current, &withheld, 3),
        (Dialect::Documented, &withheld, 3),
        (Dialect::Current, &refused, 2),
    ] {
        let account = AccountFacts::Ready(Identity {
            dialect,
            ..identity()
        });
        let memory = Memory {
            lost: 2,
            ..Memory::default()
        };
        let given = Given {
            account,
            memory,
            ..Given::default()
        };
        let mut snapshot = given.snapshot(at(0));
        story(&mut snapshot, at(0), |step| match step {
            Step::Mint(_) => answer(),
            Step::FindMinted(_) => Outcome::NoneMinted,
            step => fair_outcome(step),
        });
        assert_eq!(snapshot.memory.lost, lost, "{dialect:?}: {:?}", answer());
        snapshot.run = Run::default();
        snapshot.fresh = AttemptId::parse("fresher").ok();
        let steps = story(&mut snapshot, at(600), fair_outcome);
        assert!(steps.contains(&"store".to_owned()), "{steps:?}");
        assert_eq!(snapshot.memory.lost, 0, "a stored token ends the row");
    }
}

#[test]
fn a_refused_post_is_not_sent_again_in_the_name_of_its_attempt() {
    let mut snapshot = Given::default().snapshot(at(0));
    let refused = |step: &Step| match step {
        Step::Mint(_) => Outcome::NotMinted(Trouble::stalled(Reason::Refused, "x")),
        step => fair_outcome(step),
    };
    let steps = story(&mut snapshot, at(0), refused);
    assert_eq!(steps, ["permit", "preflight", "open", "mint", "Refused"]);
    snapshot.run = Run::default();
    snapshot.fresh = AttemptId::parse("fresher").ok();
    let steps = story(&mut snapshot, at(1), refused);
    assert_eq!(steps, ["permit", "preflight", "open", "mint", "Refused"]);
    assert_eq!(snapshot.next_number(), 3);
}

#[test]
fn a_lost_answer_is_told_and_the_next_write_rests_on_what_was_opened() {
    let mut snapshot = Given::default().snapshot(at(0));
    let lost = |step: &Step| match step {
        Step::Mint(_) => Outcome::MintUnknown(Trouble::transient(Reason::Unreachable, "reset")),
        Step::FindMinted(_) => Outcome::NoneMinted,
        step => fair_outcome(step),
    };
    story(&mut snapshot, at(0), lost);
    let told = |note: &Note| note.warning && note.text == "reset";
    assert!(
        snapshot.run.notes.iter().any(told),
        "{:?}",
        snapshot.run.notes
    );
    assert_eq!(snapshot.token.resource_version, "2");
}
