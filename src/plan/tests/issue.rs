//! How a PlatformToken comes to its token, and what stands in its way.

use super::*;

#[test]
fn a_new_token_takes_one_dry_run_one_post_and_two_writes_before_its_status() {
    let mut snapshot = Given::default().snapshot(at(0));
    let steps = story(&mut snapshot, at(0), fair_outcome);
    assert_eq!(
        steps,
        [
            "permit",
            "preflight",
            "open",
            "mint",
            "store",
            "verify",
            "Ready"
        ]
    );
    let reasons: Vec<Reason> = snapshot.run.notes.iter().map(|note| note.reason).collect();
    assert_eq!(reasons, [Reason::Issued], "one event");
    assert!(
        snapshot.memory.attempt.is_none(),
        "the value is remembered no longer than needed"
    );
    let status = report(&snapshot, &Verdict::Ready, at(0)).unwrap();
    assert_eq!(status.token_id, Some(TokenId::parse("id-new").unwrap()));
    assert_eq!(status.secret_resource_version.as_deref(), Some("8"));
}

#[test]
fn what_stands_in_the_way_of_a_new_token_stops_it_before_the_post() {
    let broken = Trouble::stalled(Reason::Unauthorized, "x");
    let foreign = || SecretFacts::Foreign {
        trouble: Trouble::stalled(Reason::SecretNotWritable, "is another's"),
        dying: None,
    };
    for (given, expected) in [
        (
            Given {
                account: AccountFacts::Broken(broken),
                ..Given::default()
            },
            "Unauthorized",
        ),
        (
            Given {
                account: AccountFacts::Pending,
                ..Given::default()
            },
            "Silent",
        ),
        (
            Given::default().secret("token", foreign()),
            "SecretNotWritable",
        ),
        (
            Given::default().secret(
                "token",
                SecretFacts::Unread {
                    resource_version: None,
                },
            ),
            "read_secret",
        ),
    ] {
        assert_eq!(given.next(at(0)), expected);
    }
    for (at_step, outcome, expected) in [
        (
            "preflight",
            Outcome::Failed(Trouble::stalled(Reason::SecretNotWritable, "quota")),
            "SecretNotWritable",
        ),
        ("preflight", Outcome::Exists, "read_secret"),
        ("open", Outcome::Stale, "Silent"),
        (
            "mint",
            Outcome::NotMinted(Trouble::stalled(Reason::Refused, "400")),
            "Refused",
        ),
    ] {
        let mut snapshot = Given::default().snapshot(at(0));
        let mut outcome = Some(outcome);
        let steps = story(&mut snapshot, at(0), |step| {
            let hit = (step.name() == at_step).then(|| outcome.take());
            hit.flatten().unwrap_or_else(|| fair_outcome(step))
        });
        let mut after = steps.iter().skip_while(|step| *step != at_step);
        assert_eq!(after.nth(1).unwrap(), expected, "after {at_step}");
    }
}

#[test]
fn numbers_that_were_pushed_to_the_limit_open_nothing() {
    let last = Attempt {
        at: AttemptRef {
            number: 1_000_000_000,
            ..attempt(1).at
        },
        dialect: Dialect::Documented,
        ..attempt(1)
    };
    let memory = Memory {
        attempt: Some(open(last.clone(), Fate::Void)),
        ..Memory::default()
    };
    let given = Given {
        attempt: Some(last),
        memory,
        ..Given::default()
    };
    let steps = story(&mut given.snapshot(at(0)), at(0), fair_outcome);
    assert_eq!(steps, ["permit", "preflight", "AttemptUnreadable"]);
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
fn what_was_minted_for_a_secret_that_turns_out_to_be_anothers_is_revoked() {
    let theirs = |step: &Step| match step {
        Step::Store { .. } => Outcome::Exists,
        Step::ReadSecret { .. } => Outcome::Secret(SecretFacts::Foreign {
            trouble: Trouble::stalled(Reason::SecretNotWritable, "is another's"),
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
fn of_a_secret_that_is_anothers_the_user_is_told_while_the_attempt_is_waited_for() {
    let documented = Attempt {
        dialect: Dialect::Documented,
        ..attempt(1)
    };
    for open in [
        // Nothing can be looked for yet.
        open(documented, Fate::Unknown { searched: None }),
        // Another process may store it yet, under a former name.
        open(attempt(1), Fate::Minted(minted("a"))),
    ] {
        let theirs = SecretFacts::Foreign {
            trouble: Trouble::stalled(Reason::SecretNotWritable, "is another's"),
            dying: None,
        };
        let given = Given {
            attempt: Some(open.attempt.clone()),
            memory: remembering(open),
            ..Given::default().secret("token", theirs)
        };
        let Next::Settled(settled) = plan(&given.snapshot(at(1)), at(1)) else {
            panic!("it is waited for")
        };
        let Verdict::Trouble(trouble) = settled.verdict else {
            panic!("{settled:?}")
        };
        assert_eq!(trouble.reason, Reason::SecretNotWritable);
        assert_eq!(settled.requeue, Some(Duration::from_secs(44)));
    }
}
