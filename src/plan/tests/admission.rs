//! Which namespaces an account serves, and what becomes of tokens where it does not any more.

use super::*;
use crate::api::{AccountKey, AccountKind, LabelOperator, LabelRequirement, NamespaceSelector};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn requires(key: &str, operator: LabelOperator, values: &[&str]) -> NamespaceSelector {
    NamespaceSelector {
        match_expressions: vec![LabelRequirement {
            key: key.into(),
            operator,
            values: values.iter().map(|&value| value.into()).collect(),
        }],
        ..NamespaceSelector::default()
    }
}

fn judge(selector: Option<&NamespaceSelector>, of: Option<&Labels>) -> Admission {
    let account = AccountKey {
        kind: AccountKind::ClusterPlatformAccount,
        namespace: None,
        name: "shared".into(),
    };
    Admission::of(&account, selector, "ns", of)
}

fn refused() -> Admission {
    Admission::Refused(Trouble::stalled(Reason::NamespaceNotAdmitted, "x"))
}

#[test]
fn a_selector_means_what_kubernetes_means_by_it_and_its_refusal_says_which_label_is_wrong() {
    use LabelOperator::{DoesNotExist, Exists, In, NotIn};
    let by_label = |pairs| NamespaceSelector {
        match_labels: labels(pairs),
        ..NamespaceSelector::default()
    };
    let both = NamespaceSelector {
        match_labels: labels(&[("stage", "live")]),
        ..requires("team", Exists, &[])
    };
    let in_two = requires("team", In, &["a", "b"]);
    let here: &[(&str, &str)] = &[("team", "c"), ("empty", "")];
    for (selector, says) in [
        (NamespaceSelector::default(), None),
        (by_label(&[("team", "c")]), None),
        (by_label(&[("empty", "")]), None),
        (
            by_label(&[("team", "a")]),
            Some(r#"its label team is "c" and has to be "a""#),
        ),
        (
            by_label(&[("stage", "live")]),
            Some(r#"its label stage is missing and has to be "live""#),
        ),
        (requires("team", In, &["b", "c"]), None),
        (
            in_two,
            Some(r#"its label team is "c" and has to be one of "a", "b""#),
        ),
        (requires("team", NotIn, &["a"]), None),
        (requires("stage", NotIn, &["a"]), None),
        (
            requires("team", NotIn, &["b", "c"]),
            Some(r#"its label team is "c" and must not be"#),
        ),
        (requires("empty", Exists, &[]), None),
        (
            requires("stage", Exists, &[]),
            Some("its label stage is missing and has to be there"),
        ),
        (requires("stage", DoesNotExist, &[]), None),
        (
            requires("team", DoesNotExist, &[]),
            Some(r#"its label team is "c" and must not be there"#),
        ),
        (
            both,
            Some(r#"its label stage is missing and has to be "live""#),
        ),
        (requires("team", In, &[]), Some("is not clear")),
        (requires("team", NotIn, &[]), Some("is not clear")),
        (requires("team", Exists, &["c"]), Some("is not clear")),
        (
            requires("stage", DoesNotExist, &["c"]),
            Some("is not clear"),
        ),
    ] {
        match (judge(Some(&selector), Some(&labels(here))), says) {
            (Admission::Granted, None) => {}
            (Admission::Refused(trouble), Some(says)) => {
                let message = &trouble.message;
                let begin = "ClusterPlatformAccount shared gives no new token to namespace ns: ";
                assert!(message.starts_with(begin), "{message}");
                assert!(message.contains(says), "{message}");
                assert_eq!(trouble.reaction, Reaction::Stalled);
            }
            (admission, _) => panic!("{selector:?}: {admission:?}"),
        }
    }
}

#[test]
fn every_namespace_fits_where_there_is_no_selector_and_one_that_was_not_seen_fits_none() {
    assert_eq!(judge(None, None), Admission::Granted);
    let selector = NamespaceSelector::default();
    assert_eq!(judge(Some(&selector), None), Admission::Unknown);
    assert_eq!(
        judge(Some(&selector), Some(&Labels::new())),
        Admission::Granted
    );
}

#[test]
fn a_namespace_that_is_not_admitted_gets_no_new_token_and_is_told_before_anything_of_the_account() {
    let broken = Trouble::stalled(Reason::Unauthorized, "x");
    for account in [
        AccountFacts::Ready(identity()),
        AccountFacts::Broken(broken),
        AccountFacts::Pending,
    ] {
        for (admission, says) in [
            (refused(), "NamespaceNotAdmitted"),
            (Admission::Unknown, "Silent"),
        ] {
            let given = Given {
                account: account.clone(),
                admission,
                ..Given::default()
            };
            assert_eq!(given.next(at(0)), says);
        }
    }
}

#[test]
fn whatever_leads_a_refused_namespace_to_the_account_it_is_told_the_refusal_alone() {
    let trouble = || Trouble::stalled(Reason::Unauthorized, "of the account");
    let ready = || AccountFacts::Ready(identity());
    let another = AccountFacts::Ready(Identity {
        user_id: UserId::parse("another").ok(),
        ..identity()
    });
    // Anyone may write an attempt, and a Secret that is recorded.
    let attempted = |account| Given {
        account,
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    let stored = |account| Given {
        account,
        ..Given::issued(SecretFacts::Absent)
    };
    let failing = |step: &Step| match step {
        Step::FindMinted(_) | Step::Recover(_) => Outcome::Failed(trouble()),
        step => fair_outcome(step),
    };
    for (given, granted) in [
        (
            attempted as fn(AccountFacts) -> Given,
            ["Unauthorized", "AccountChanged", "Unauthorized"],
        ),
        (stored, ["Unauthorized", "AccountChanged", "Unauthorized"]),
    ] {
        let accounts = [AccountFacts::Broken(trouble()), another.clone(), ready()];
        for (account, granted) in accounts.into_iter().zip(granted) {
            let last = |admission| {
                let given = Given {
                    admission,
                    ..given(account.clone())
                };
                steps(given, 100, failing).pop().unwrap()
            };
            assert_eq!(last(Admission::Granted), granted);
            assert_eq!(last(refused()), "NamespaceNotAdmitted");
            assert_eq!(last(Admission::Unknown), "Silent");
        }
    }
}

#[test]
fn ids_of_suspects_are_told_only_where_the_account_serves() {
    for (admission, told) in [(Admission::Granted, 1), (refused(), 0)] {
        let documented = Attempt {
            dialect: Dialect::Documented,
            ..attempt(1)
        };
        let given = Given {
            account: AccountFacts::Ready(Identity {
                dialect: Dialect::Documented,
                ..identity()
            }),
            admission,
            attempt: Some(documented),
            ..Given::default()
        };
        let mut snapshot = given.snapshot(at(0));
        story(&mut snapshot, at(45), |step| match step {
            Step::FindMinted(_) => Outcome::Suspects(vec![id("suspect")]),
            step => fair_outcome(step),
        });
        let notes = snapshot.run.notes.iter();
        let naming = notes.filter(|note| note.text.contains("id-suspect"));
        assert_eq!(naming.count(), told);
    }
}

#[test]
fn a_namespace_that_stays_unseen_is_told_of_and_one_that_was_seen_is_not() {
    let run = |memory: Memory, admission, seconds| {
        let given = Given {
            admission,
            memory,
            ..Given::default()
        };
        let snapshot = given.snapshot(at(seconds));
        let Next::Settled(settled) = plan(&snapshot, at(seconds)) else {
            return (snapshot.memory, "step".to_owned());
        };
        let told = match settled.verdict {
            Verdict::Trouble(trouble) => {
                assert_eq!(trouble.reaction, Reaction::Transient);
                assert!(trouble.message.contains("platform-token-operator check"));
                trouble.reason.as_str().to_owned()
            }
            verdict => format!("{verdict:?}"),
        };
        (snapshot.memory, told)
    };
    let mut memory = Memory::default();
    for (seconds, admission, says) in [
        (100, Admission::Unknown, "Silent"),
        (109, Admission::Unknown, "Silent"),
        (110, Admission::Unknown, "NamespaceNotAdmitted"),
        (200, Admission::Unknown, "NamespaceNotAdmitted"),
        (201, Admission::Granted, "step"),
        (202, Admission::Unknown, "Silent"),
    ] {
        let told;
        (memory, told) = run(memory, admission, seconds);
        assert_eq!(told, says, "at {seconds}");
    }
}

#[test]
fn what_was_issued_is_kept_repaired_and_revoked_in_a_namespace_that_is_not_admitted_any_more() {
    let refused_and = |given: Given| Given {
        admission: refused(),
        ..given
    };
    let lives = |given: Given| {
        story(
            &mut refused_and(given).snapshot(at(100)),
            at(100),
            fair_outcome,
        )
    };
    let whole = || Given::issued(own_facts(own(1, "a")));
    assert_eq!(lives(whole()), ["Ready"]);
    let damaged = OwnSecret {
        whole: false,
        ..own(1, "a")
    };
    assert_eq!(
        lives(Given::issued(own_facts(damaged))),
        ["look", "store", "verify", "Ready"]
    );
    assert_eq!(
        lives(Given::issued(SecretFacts::Absent)),
        ["recover", "look", "store", "verify", "Ready"]
    );
    let going = Given {
        deleting: true,
        ..whole()
    };
    assert_eq!(
        lives(going),
        ["revoke", "remove", "lift_finalizer", "release", "Gone"]
    );
}

#[test]
fn a_token_that_is_lost_is_not_minted_anew_where_its_namespace_is_not_admitted() {
    let given = Given {
        admission: refused(),
        ..Given::issued(SecretFacts::Absent)
    };
    let gone = |step: &Step| match step {
        Step::Recover(_) => Outcome::Recovered(Recovery::Gone),
        step => fair_outcome(step),
    };
    assert_eq!(steps(given, 100, gone), ["recover", "NamespaceNotAdmitted"]);
}

#[test]
fn what_an_open_attempt_has_made_is_stored_though_its_namespace_is_not_admitted_any_more() {
    let given = Given {
        admission: refused(),
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    let steps = steps(given, 0, fair_outcome);
    assert_eq!(steps, ["find_minted", "look", "store", "verify", "Ready"]);
}
