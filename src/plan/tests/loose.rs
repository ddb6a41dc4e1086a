//! Where generated Secrets bear no finalizer: the Role that could lift it goes before them with the namespace.

use super::*;

fn loose(given: Given) -> Given {
    Given {
        loose: true,
        ..given
    }
}

/// A Secret as it is written here.
fn unheld() -> OwnSecret {
    OwnSecret {
        held: false,
        ..own(1, "a")
    }
}

fn run(given: Given, outcome: impl FnMut(&Step) -> Outcome) -> Vec<String> {
    story(&mut loose(given).snapshot(at(100)), at(100), outcome)
}

#[test]
fn a_secret_bears_the_finalizer_only_where_it_can_be_lifted() {
    let finalizers = |held| {
        let secret = render(
            &owner("token"),
            "token",
            &issued(1, "a"),
            &ids(&[]),
            &value("a"),
            held,
        );
        secret.metadata.finalizers.unwrap_or_default()
    };
    assert_eq!(finalizers(true), [names::FINALIZER]);
    assert_eq!(finalizers(false), [] as [&str; 0]);
    let dry = render_preflight(&owner("token"), "token", false);
    assert_eq!(dry.metadata.finalizers, None);
}

#[test]
fn a_new_token_is_ready_without_a_finalizer_on_its_secret() {
    let mut snapshot = loose(Given::default()).snapshot(at(0));
    let steps = story(&mut snapshot, at(0), fair_outcome);
    assert_eq!(steps.last().unwrap(), "Ready");
    let status = report(&snapshot, &Verdict::Ready, at(0)).unwrap();
    assert_eq!(status.secret_resource_version.as_deref(), Some("8"));
    assert!(matches!(snapshot.wanted(), SecretFacts::Own(own) if !own.held));
}

#[test]
fn a_secret_is_written_anew_when_its_finalizer_is_not_as_it_has_to_be() {
    assert_eq!(
        run(Given::issued(own_facts(unheld())), fair_outcome),
        ["Ready"]
    );
    let rewritten = ["look", "store", "verify", "Ready"];
    assert_eq!(
        run(Given::issued(own_facts(own(1, "a"))), fair_outcome),
        rewritten,
        "it is from an install of the whole cluster"
    );
    let held = Given::issued(own_facts(unheld()));
    assert_eq!(
        steps(held, 100, fair_outcome),
        rewritten,
        "the other way round"
    );
}

#[test]
fn a_secret_that_is_deleted_at_once_comes_back_with_the_same_token() {
    let given = Given::issued(SecretFacts::Absent);
    assert_eq!(
        run(given, fair_outcome),
        ["recover", "look", "store", "verify", "Ready"]
    );
    // One from an install of the whole cluster hangs on its finalizer still.
    let hanging = OwnSecret {
        deleting: true,
        ..own(1, "a")
    };
    assert_eq!(
        run(Given::issued(own_facts(hanging)), fair_outcome),
        ["look", "release", "store", "verify", "Ready"]
    );
}

#[test]
fn a_deletion_revokes_with_the_value_if_there_is_one_and_else_through_the_account() {
    let going = |secret| Given {
        deleting: true,
        ..Given::issued(secret)
    };
    let mut with = Vec::new();
    let mut outcome = |step: &Step| {
        if let Step::Revoke { with: how, .. } = step {
            with.push(format!("{how:?}").chars().take(9).collect::<String>());
        }
        match step {
            Step::Remove { .. } => Outcome::SecretGone,
            step => fair_outcome(step),
        }
    };
    assert_eq!(
        run(going(own_facts(unheld())), &mut outcome),
        ["revoke", "remove", "lift_finalizer", "Gone"]
    );
    assert_eq!(
        run(going(SecretFacts::Absent), &mut outcome),
        ["revoke", "lift_finalizer", "Gone"]
    );
    assert_eq!(with, ["ItsValue(", "AccountIf"]);
}

#[test]
fn a_token_that_does_not_know_itself_is_asked_about_with_what_is_left_of_the_account_if_that_can_be()
 {
    let another = Identity {
        user_id: UserId::parse("another").ok(),
        ..identity()
    };
    let refused = |reason| Outcome::Failed(Trouble::stalled(reason, "x"));
    let done: &[&str] = &["revoke", "revoke", "remove", "lift_finalizer", "Gone"];
    let alone: &[&str] = &["revoke", "remove", "lift_finalizer", "Gone"];
    let (deleted, missing) = (Reason::AccountNotFound, Reason::CredentialsMissing);
    let rows: [(_, _, &dyn Fn() -> Outcome, &[&str]); _] = [
        (identity(), deleted, &|| Outcome::Revoked, done),
        // Its credential is not known either.
        (identity(), deleted, &|| refused(Reason::Unauthorized), done),
        (identity(), deleted, &|| refused(Reason::Forbidden), done),
        // It may answer yet.
        (
            identity(),
            deleted,
            &|| refused(Reason::Unreachable),
            &["revoke", "revoke", "Unreachable"],
        ),
        // It is another user's, and would say that there is no such token.
        (another, deleted, &|| Outcome::Revoked, alone),
        (identity(), missing, &|| Outcome::Revoked, done),
        // Someone may bring its credentials back.
        (
            identity(),
            missing,
            &|| refused(Reason::Unauthorized),
            &["revoke", "revoke", "Unauthorized"],
        ),
    ];
    for (left, reason, answer, expected) in rows {
        let given = Given {
            account: AccountFacts::Left(left, Trouble::stalled(reason, "x")),
            deleting: true,
            ..Given::issued(own_facts(unheld()))
        };
        let steps = run(given, |step| match step {
            Step::Revoke {
                with: RevokeWith::ItsValue(_),
                ..
            } => Outcome::SelfUnknown,
            Step::Revoke { .. } => answer(),
            Step::Remove { .. } => Outcome::SecretGone,
            step => fair_outcome(step),
        });
        assert_eq!(steps, expected, "{reason}");
    }
}

#[test]
fn what_is_left_of_an_account_may_refuse_in_a_later_run_than_the_token_itself() {
    let deleted = Trouble::stalled(Reason::AccountNotFound, "x");
    let given = Given {
        account: AccountFacts::Left(identity(), deleted),
        deleting: true,
        ..Given::issued(own_facts(unheld()))
    };
    let mut snapshot = loose(given).snapshot(at(100));
    let run = |snapshot: &mut Snapshot, reason| {
        snapshot.run = Run::default();
        story(snapshot, at(100), |step| match step {
            Step::Revoke {
                with: RevokeWith::ItsValue(_),
                ..
            } => Outcome::SelfUnknown,
            Step::Revoke { .. } => Outcome::Failed(Trouble::stalled(reason, "x")),
            Step::Remove { .. } => Outcome::SecretGone,
            step => fair_outcome(step),
        })
    };
    assert_eq!(
        run(&mut snapshot, Reason::Throttled),
        ["revoke", "revoke", "Throttled"]
    );
    assert_eq!(
        run(&mut snapshot, Reason::Unauthorized),
        ["revoke", "remove", "lift_finalizer", "Gone"]
    );
}

#[test]
fn an_account_that_is_deleted_serves_deletions_and_nothing_else() {
    let gone = Trouble::stalled(Reason::AccountNotFound, "x");
    let left = || AccountFacts::Left(identity(), gone.clone());
    let given = |deleting, given: Given| Given {
        account: left(),
        deleting,
        ..given
    };
    assert_eq!(
        given(false, Given::default()).next(at(0)),
        "AccountNotFound"
    );
    let lost = || Given::issued(SecretFacts::Absent);
    assert_eq!(given(false, lost()).next(at(100)), "AccountNotFound");
    assert_eq!(
        run(given(true, lost()), fair_outcome),
        ["revoke", "lift_finalizer", "Gone"]
    );
    // Without tags there is only something to write down, and nothing to write it into.
    for (dialect, expected) in [
        (Dialect::Current, "find_minted"),
        (Dialect::Documented, "lift_finalizer"),
    ] {
        let lost = Attempt {
            dialect,
            ..attempt(1)
        };
        let unknown = Fate::Unknown { searched: None };
        let going = Given {
            attempt: Some(lost.clone()),
            memory: remembering(open(lost, unknown)),
            ..given(true, Given::default())
        };
        assert_eq!(going.next(at(100)), expected, "{dialect}");
    }
    let refused = |step: &Step| match step {
        Step::Revoke { .. } => Outcome::Failed(Trouble::stalled(Reason::Unauthorized, "x")),
        step => fair_outcome(step),
    };
    assert_eq!(
        run(given(true, lost()), refused),
        ["revoke", "Unauthorized"]
    );
}
