//! What the user is told.

use super::*;
use crate::plan::report::conditions;

#[test]
fn conditions_follow_kstatus() {
    let conditions = |trouble: Trouble| {
        let snapshot = Given::default().snapshot(at(0));
        let status = report(&snapshot, &Verdict::Trouble(trouble), at(0)).unwrap();
        let shown = status
            .conditions
            .iter()
            .map(|c| format!("{}={}", c.type_, c.status));
        shown.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        conditions(Trouble::stalled(Reason::Refused, "x")),
        "Ready=False Stalled=True"
    );
    assert_eq!(
        conditions(Trouble::transient(Reason::Unreachable, "x")),
        "Ready=False Reconciling=True"
    );
    let ready = report(&Given::default().snapshot(at(0)), &Verdict::Ready, at(0)).unwrap();
    assert_eq!(
        (ready.conditions.len(), ready.conditions[0].status.as_str()),
        (1, "True")
    );
}

#[test]
fn the_same_news_changes_no_status() {
    let given = || Given::issued(own_facts(own(1, "a")));
    let first = report(&given().snapshot(at(0)), &Verdict::Ready, at(0)).unwrap();
    let again = Given {
        status: first.clone(),
        ..given()
    }
    .snapshot(at(100));
    assert_eq!(report(&again, &Verdict::Ready, at(100)), Some(first));
}

#[test]
fn each_store_is_told_in_its_own_words_and_a_record_alone_is_not() {
    let told = |given: Given, outcome: fn(&Step) -> Outcome| {
        let mut snapshot = given.snapshot(at(60));
        story(&mut snapshot, at(60), outcome);
        let stored = snapshot.run.notes.into_iter();
        let stored = stored.filter(|note| !note.text.starts_with("Revoked "));
        stored.map(|note| note.text).collect::<Vec<_>>()
    };
    let gone = |step: &Step| match step {
        Step::Recover(_) => Outcome::Recovered(Recovery::Gone),
        step => fair_outcome(step),
    };
    let mut moved = Given::default().secret("former", own_facts(own(1, "a")));
    moved.status = ready(&issued(1, "a"));
    moved.status.secret_name = Some("former".into());
    let owing = OwnSecret {
        given_up: BTreeSet::from([id("other")]),
        ..own(1, "a")
    };
    for (given, outcome, words) in [
        (
            Given::default(),
            fair_outcome as fn(&Step) -> Outcome,
            "Created platform token id-new and stored it in Secret token",
        ),
        (
            Given::issued(SecretFacts::Absent),
            gone,
            "Created platform token id-new in place of id-a, whose value was lost,",
        ),
        (
            Given::issued(SecretFacts::Absent),
            fair_outcome,
            "Wrote platform token id-a to Secret token again",
        ),
        (
            moved,
            fair_outcome,
            "Moved platform token id-a to Secret token",
        ),
    ] {
        let told = told(given, outcome);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with(words), "{told:?}");
    }
    let struck = told(Given::issued(own_facts(owing)), fair_outcome);
    assert_eq!(struck, Vec::<String>::new(), "what was owed is paid");
}

#[test]
fn an_outcome_that_no_step_can_have_ends_the_run_and_says_so() {
    let name = || "token".to_owned();
    for (step, outcome) in [
        (Step::Permit, Outcome::Lifted),
        (Step::Mint(attempt(1)), Outcome::NoneMinted),
        (Step::FindMinted(attempt(1)), Outcome::Verified),
        (Step::Preflight { name: name() }, Outcome::Permitted),
        (
            Step::Revoke {
                token_id: id("a"),
                base_url: String::new(),
                with: RevokeWith::Account,
            },
            Outcome::Permitted,
        ),
    ] {
        let mut snapshot = Given::default().snapshot(at(0));
        let shown = format!("{} {outcome:?}", step.name());
        snapshot.fold(step, outcome, at(0));
        assert_eq!(word(&plan(&snapshot, at(0))), "KubernetesError", "{shown}");
        let trouble = snapshot.run.trouble.unwrap();
        assert!(trouble.message.contains("report this"), "{shown}");
    }
}

#[test]
fn a_time_of_transition_is_kept_while_its_condition_stays_and_only_then() {
    let times = |former: &PlatformTokenStatus, verdict: &Verdict, now| {
        let given = Given {
            status: former.clone(),
            ..Given::default()
        };
        let status = report(&given.snapshot(at(now)), verdict, at(now)).unwrap();
        let times = status.conditions.iter().map(|c| c.last_transition_time.0);
        (times.collect::<Vec<_>>(), status)
    };
    let stalled = Verdict::Trouble(Trouble::stalled(Reason::Refused, "x"));
    let retried = Verdict::Trouble(Trouble::transient(Reason::Unreachable, "x"));
    let (first, status) = times(&PlatformTokenStatus::default(), &stalled, 1);
    assert_eq!(first, [at(1).wall, at(1).wall]);
    let (second, status) = times(&status, &retried, 2);
    assert_eq!(
        second,
        [at(1).wall, at(2).wall],
        "still not Ready, but another kind of trouble"
    );
    let (third, _) = times(&status, &Verdict::Ready, 3);
    assert_eq!(third, [at(3).wall]);
}

#[test]
fn times_are_whole_seconds_and_messages_have_no_line_breaks() {
    let split = Moment {
        wall: at(1).wall + Duration::from_millis(700),
        elapsed: at(1).elapsed,
    };
    let verdict = Verdict::Trouble(Trouble::stalled(Reason::Refused, "one\ntwo"));
    let snapshot = Given::default().snapshot(split);
    let status = report(&snapshot, &verdict, split).unwrap();
    let ready = &status.conditions[0];
    assert_eq!(ready.last_transition_time.0, at(1).wall);
    assert_eq!(ready.message, "onetwo");
    assert_eq!(
        (ready.observed_generation, status.observed_generation),
        (Some(1), Some(1))
    );
}

#[test]
fn of_an_object_that_does_not_read_only_the_conditions_speak() {
    let conditions = report_invalid("missing field x", &[], Some(3), at(0));
    let shown = conditions
        .iter()
        .map(|c| format!("{}={} {}", c.type_, c.status, c.reason));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        ["Ready=False InvalidSpec", "Stalled=True InvalidSpec"]
    );
    assert!(conditions[0].message.contains("missing field x"));
    assert_eq!(conditions[0].observed_generation, Some(3));
}

#[test]
fn a_status_is_believed_only_where_it_says_ready() {
    let given = |conditions| {
        let mut status = ready(&issued(1, "a"));
        status.conditions = conditions;
        let settled = Given::issued(SecretFacts::Unread {
            resource_version: Some("7".into()),
        });
        Given { status, ..settled }
    };
    let trouble = Trouble::stalled(Reason::VerificationFailed, "x");
    let troubled = conditions(&[], Err(&trouble), Some(1), at(0));
    assert_eq!(
        given(ready(&issued(1, "a")).conditions).next(at(0)),
        "Ready"
    );
    assert_eq!(given(vec![]).next(at(0)), "read_secret");
    assert_eq!(
        given(troubled[..1].to_vec()).next(at(0)),
        "read_secret",
        "Ready=False"
    );
    assert_eq!(
        given(troubled[1..].to_vec()).next(at(0)),
        "read_secret",
        "Stalled=True"
    );
}

#[test]
fn an_account_shows_who_it_is_and_who_it_was_while_it_is_broken() {
    use crate::api::{AccountStatus, TokenCounts};
    let told = |identity: Identity, warning| {
        let proof = Ok(identity);
        let status = report_account(
            &AccountStatus::default(),
            &proof,
            0,
            warning,
            None,
            Some(2),
            at(0),
        );
        (status.conditions[0].message.clone(), status)
    };
    let (message, status) = told(identity(), None);
    assert_eq!(message, "the platform answers as user user");
    assert_eq!(status.user_id, Some(user()));
    assert_eq!(status.dialect, Some(Dialect::Current));
    assert_eq!(status.observed_generation, Some(2));
    let named = Identity {
        username: Some("alice".into()),
        ..identity()
    };
    let (message, named) = told(named, Some("it expires"));
    assert_eq!(message, "the platform answers as user alice; it expires");
    assert_eq!(named.username.as_deref(), Some("alice"));
    let nobody = Identity {
        user_id: None,
        ..identity()
    };
    let (message, _) = told(nobody, None);
    assert!(
        message.contains("its first token will tell the user"),
        "{message}"
    );

    let broken = Err(Trouble::stalled(Reason::Unauthorized, "refused"));
    let counts = TokenCounts {
        upstream: 3,
        ..TokenCounts::default()
    };
    let stock = Stock {
        counts,
        ..Stock::default()
    };
    let status = report_account(&named, &broken, 1, None, Some(&stock), Some(3), at(1));
    assert_eq!(
        (&status.user_id, &status.username),
        (&named.user_id, &named.username)
    );
    assert_eq!(status.tokens, Some(counts));
    assert_eq!(status.observed_generation, Some(3));
    let shown = status
        .conditions
        .iter()
        .map(|c| format!("{}={} {}", c.type_, c.status, c.reason));
    assert_eq!(
        shown.collect::<Vec<_>>(),
        ["Ready=False Unauthorized", "Stalled=True Unauthorized"]
    );
}

#[test]
fn an_account_counts_its_failures_in_powers_of_two_and_not_after_a_success() {
    use crate::api::AccountStatus;
    let broken = Err(Trouble::stalled(Reason::Unauthorized, "refused"));
    let mut status = AccountStatus::default();
    let mut writes = 0;
    for failures in 1..=100 {
        let next = report_account(&status, &broken, failures, None, None, Some(1), at(0));
        writes += u32::from(next != status);
        status = next;
        assert!(
            status.failures <= failures && failures < 2 * status.failures,
            "{failures} in a row are told as {}",
            status.failures
        );
    }
    assert_eq!(writes, 7, "1, 2, 4, 8, 16, 32, 64");
    let proof = Ok(identity());
    let healed = report_account(&status, &proof, 0, None, None, Some(1), at(0));
    assert_eq!(healed.failures, 0);
}

#[test]
fn a_status_records_all_that_is_known_of_the_present_token() {
    let mut snapshot = Given::default().snapshot(at(0));
    story(&mut snapshot, at(0), fair_outcome);
    let status = report(&snapshot, &Verdict::Ready, at(0)).unwrap();
    let present = snapshot.present();
    assert!(present.is_some());
    assert_eq!(status.issued(), present);
}

#[test]
fn a_former_secret_stays_on_record_until_it_is_gone() {
    let recorded = |secrets: &[&str]| {
        let mut given = Given {
            status: ready(&issued(1, "a")),
            ..Given::default()
        };
        given.status.secret_name = Some("former".into());
        for name in secrets {
            given = given.secret(name, own_facts(own(1, "a")));
        }
        let status = report(&given.snapshot(at(0)), &Verdict::Ready, at(0)).unwrap();
        (status.secret_name.unwrap(), status.secret_resource_version)
    };
    let moved = ("token".to_owned(), Some("7".to_owned()));
    assert_eq!(recorded(&["token", "former"]), ("former".to_owned(), None));
    assert_eq!(recorded(&["token", "another"]), moved);
    assert_eq!(recorded(&["token"]), moved);
}
