//! Whose a Secret is, and what becomes of one that its owner has left.

use k8s_openapi::api::core::v1::Secret;

use super::secret::{annotate, delete, edited, put, read_by_token};
use super::*;

const GONE: &str = "cluster/ns/gone/uid-of-gone";
const ELSEWHERE: &str = "another/ns/token/uid-there";

/// The Secret `token`, of another owner.
fn owned_by(owner: &str) -> Secret {
    edited(|secret| annotate(secret, names::OWNER, Some(owner)))
}

fn read_as(secret: &Secret, take_over: Option<&str>, former: &Former) -> SecretFacts {
    let reader = Reader {
        owner: &owner("token"),
        known: None,
        take_over,
    };
    read(secret, reader, former)
}

/// What was left with this token by an attempt of this number.
fn left(number: u32, text: &str) -> SecretFacts {
    SecretFacts::Left(Box::new(LeftSecret {
        version: version("7"),
        from: Owner::parse(GONE).unwrap(),
        issued: issued(number, text),
        given_up: BTreeSet::new(),
        value: value(text),
    }))
}

#[test]
fn a_secret_is_left_only_if_its_owner_is_gone_and_it_holds_its_token() {
    let without_value = {
        let mut secret = owned_by(GONE);
        secret.data = None;
        secret
    };
    let with_another_value = {
        let mut secret = owned_by(GONE);
        put(&mut secret, names::TOKEN_KEY, &value("b"));
        put(&mut secret, names::TOKEN_VARIABLE, &value("b"));
        secret
    };
    let without_record = {
        let mut secret = owned_by(GONE);
        annotate(&mut secret, names::TOKEN_ID, None);
        secret
    };
    let renamed = {
        let mut secret = owned_by(GONE);
        secret.metadata.name = Some("copy".into());
        secret
    };
    let mapped = "cluster/original/token/uid";
    let by = Former::Succeeded("PlatformToken ns/heir".into());
    for (secret, take_over, former, words) in [
        (owned_by(GONE), None, Former::Gone, "left"),
        (owned_by(mapped), None, Former::Gone, "left"),
        (owned_by(ELSEWHERE), Some(ELSEWHERE), Former::Gone, "left"),
        (
            owned_by(GONE),
            None,
            Former::Lives,
            "belongs to PlatformToken ns/gone (uid uid-of-gone); set",
        ),
        (
            owned_by(GONE),
            Some(GONE),
            Former::Lives,
            "belongs to PlatformToken ns/gone",
        ),
        (
            owned_by(mapped),
            None,
            Former::Lives,
            "is a copy of one that belongs to PlatformToken original/token",
        ),
        (
            owned_by(GONE),
            None,
            by.clone(),
            "is a copy: PlatformToken ns/heir has its token",
        ),
        (
            owned_by(GONE),
            None,
            Former::Owed,
            "its token is about to be revoked",
        ),
        (
            owned_by(ELSEWHERE),
            Some(ELSEWHERE),
            by,
            "is a copy: PlatformToken ns/heir",
        ),
        (renamed, None, Former::Gone, "is a copy of Secret token"),
        (
            without_value,
            None,
            Former::Gone,
            "does not hold the token that it records",
        ),
        (
            with_another_value,
            None,
            Former::Gone,
            "does not hold the token that it records",
        ),
        (
            without_record,
            None,
            Former::Gone,
            "does not hold the token that it records",
        ),
    ] {
        let message = match read_as(&secret, take_over, &former) {
            SecretFacts::Left(left) => {
                assert_eq!(left.issued, issued(1, "a"));
                "left".to_owned()
            }
            SecretFacts::Foreign { trouble, dying } => {
                assert_eq!((trouble.reason, dying), (Reason::SecretNotWritable, None));
                trouble.message
            }
            facts => panic!("{words}: {facts:?}"),
        };
        assert!(message.contains(words), "{words}: {message}");
    }
}

#[test]
fn a_record_beside_another_value_is_not_taken_over_though_the_status_knows_that_value() {
    let mut secret = owned_by(GONE);
    put(&mut secret, names::TOKEN_KEY, &value("b"));
    put(&mut secret, names::TOKEN_VARIABLE, &value("b"));
    let facts = read_by_token(&secret, Some(&value("b").hash()), &Former::Gone);
    assert!(matches!(facts, SecretFacts::Foreign { .. }), "{facts:?}");
}

#[test]
fn a_secret_of_another_cluster_is_left_alone_until_the_user_names_its_owner_exactly() {
    let longer = format!("{ELSEWHERE}-");
    for take_over in [
        None,
        Some(""),
        Some(GONE),
        Some(longer.as_str()),
        Some("another/ns/token"),
    ] {
        let facts = read_as(&owned_by(ELSEWHERE), take_over, &Former::Gone);
        let SecretFacts::Foreign {
            trouble,
            dying: None,
        } = facts
        else {
            panic!("{facts:?}")
        };
        assert_eq!(trouble.reason, Reason::OwnershipConflict);
        let says = format!("annotate it with platform.acedata.cloud/take-over: {ELSEWHERE};");
        assert!(trouble.message.contains(&says), "{}", trouble.message);
    }
}

#[test]
fn what_is_being_deleted_is_waited_for_and_never_taken_over() {
    for owner in [GONE, ELSEWHERE] {
        let mut secret = owned_by(owner);
        delete(&mut secret);
        let facts = read_as(&secret, Some(owner), &Former::Gone);
        let SecretFacts::Foreign {
            trouble,
            dying: None,
        } = facts
        else {
            panic!("{facts:?}")
        };
        assert!(
            matches!(trouble.reaction, Reaction::Waiting(_)),
            "{trouble:?}"
        );
    }
    let mut alive = owned_by(GONE);
    delete(&mut alive);
    let facts = read_by_token(&alive, None, &Former::Lives);
    let SecretFacts::Foreign { trouble, .. } = facts else {
        panic!("{facts:?}")
    };
    assert_eq!(
        trouble.reaction,
        Reaction::Stalled,
        "its owner may want it back"
    );
}

#[test]
fn what_was_left_is_taken_over_proven_and_nothing_is_minted() {
    let mut snapshot = Given::default()
        .secret("token", left(3, "a"))
        .snapshot(at(0));
    let mut stored = None;
    let steps = story(&mut snapshot, at(0), |step| {
        if let Step::Store {
            issued,
            over,
            because,
            given_up,
            ..
        } = step
        {
            assert_eq!(*because, Reason::TakenOver);
            assert_eq!(over.as_ref(), Some(&version("7")), "exactly what was read");
            assert!(given_up.is_empty());
            stored.get_or_insert_with(|| issued.clone());
        }
        fair_outcome(step)
    });
    assert_eq!(steps, ["hold", "store", "verify", "strike", "Ready"]);
    assert_eq!(
        stored,
        Some(issued(3, "a")),
        "the old attempt's number continues"
    );
    let status = report(&snapshot, &Verdict::Ready, at(0)).unwrap();
    assert_eq!(
        (status.token_id, status.attempt),
        (Some(id("a")), Some(attempt(3).at))
    );
    let told = snapshot
        .run
        .notes
        .iter()
        .find(|note| note.reason == Reason::TakenOver);
    assert!(told.unwrap().text.contains(GONE), "{told:?}");
    assert_eq!(snapshot.next_number(), 4);
}

#[test]
fn what_stands_in_the_way_of_taking_over_leaves_the_secret_as_it_is() {
    let another = Identity {
        user_id: Some(UserId::parse("another").unwrap()),
        ..identity()
    };
    let elsewhere = Identity {
        base_url: "https://elsewhere".into(),
        ..identity()
    };
    let refused = Admission::Refused(Trouble::stalled(Reason::NamespaceNotAdmitted, "x"));
    let broken = Trouble::stalled(Reason::Unauthorized, "x");
    let ready = AccountFacts::Ready;
    for (given, expected) in [
        (
            Given {
                account: ready(another.clone()),
                ..Given::default()
            },
            "AccountChanged",
        ),
        (
            Given {
                account: ready(elsewhere),
                ..Given::default()
            },
            "AccountChanged",
        ),
        (
            Given {
                account: AccountFacts::Pending,
                ..Given::default()
            },
            "Silent",
        ),
        (
            Given {
                account: AccountFacts::Broken(broken),
                ..Given::default()
            },
            "Unauthorized",
        ),
        // Whether it is the account's user is not told.
        (
            Given {
                admission: refused.clone(),
                ..Given::default()
            },
            "NamespaceNotAdmitted",
        ),
        (
            Given {
                admission: refused,
                account: ready(another),
                ..Given::default()
            },
            "NamespaceNotAdmitted",
        ),
        // It has a token: which of the two is to live is for a person to say.
        (
            Given {
                status: ready_status(2, "b"),
                ..Given::default()
            },
            "SecretNotWritable",
        ),
        (
            Given {
                deleting: true,
                ..Given::default()
            },
            "Gone",
        ),
    ] {
        assert_eq!(
            steps(given.secret("token", left(3, "a")), 0, fair_outcome),
            [expected]
        );
    }
    let deleting = Given {
        deleting: true,
        status: ready_status(1, "b"),
        ..Given::default()
    };
    assert_eq!(
        steps(deleting.secret("token", left(3, "a")), 0, fair_outcome),
        ["revoke", "lift_finalizer", "Gone"],
        "its own token goes, and not what it has not taken over"
    );
}

fn ready_status(number: u32, text: &str) -> PlatformTokenStatus {
    ready(&issued(number, text))
}

#[test]
fn its_own_token_under_the_name_of_one_that_is_gone_is_repaired() {
    let given = Given {
        status: ready_status(3, "a"),
        ..Given::default()
    };
    let steps = steps(given.secret("token", left(3, "a")), 0, fair_outcome);
    assert_eq!(steps, ["look", "store", "verify", "Ready"]);
}

#[test]
fn an_attempt_that_was_opened_for_a_free_name_is_seen_to_before_a_secret_is_taken_over() {
    let given = |fate| Given {
        attempt: Some(attempt(5)),
        memory: remembering(open(attempt(5), fate)),
        ..Given::default().secret("token", left(3, "a"))
    };
    let minted = Fate::Minted(minted("b"));
    assert_eq!(
        steps(given(minted.clone()), 1, fair_outcome),
        ["SecretNotWritable"],
        "another may store it yet"
    );
    let taken = ["look", "revoke", "store", "verify", "strike", "Ready"];
    assert_eq!(steps(given(minted), 50, fair_outcome), taken);
    let none = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::NoneMinted,
        Step::ReadSecret { .. } => Outcome::Secret(left(3, "a")),
        step => fair_outcome(step),
    };
    let mut snapshot = given(Fate::Unknown { searched: None }).snapshot(at(0));
    snapshot.memory = remembering(open(attempt(5), Fate::Unknown { searched: None }));
    let steps = story(&mut snapshot, at(50), none);
    assert_eq!(
        steps,
        [
            "find_minted",
            "read_secret",
            "look",
            "store",
            "verify",
            "strike",
            "Ready"
        ],
        "nothing is minted"
    );
    assert_eq!(
        snapshot.present().unwrap().attempt.number,
        6,
        "no attempt has a higher number"
    );
}

#[test]
fn a_secret_that_was_left_under_another_name_is_taken_over_and_moved() {
    let given = || {
        Given::default()
            .secret("token", SecretFacts::Absent)
            .secret("former", left(3, "a"))
    };
    let moved = [
        "hold", "store", "store", "verify", "strike", "remove", "release", "Ready",
    ];
    assert_eq!(steps(given(), 0, fair_outcome), moved);
    // One of another user is none of its business, and stays.
    let another = Identity {
        user_id: Some(UserId::parse("another").unwrap()),
        ..identity()
    };
    let given = Given {
        account: AccountFacts::Ready(another),
        ..given()
    };
    assert_eq!(steps(given, 0, fair_outcome).last().unwrap(), "Ready");
}

#[test]
fn a_status_of_another_platformtoken_counts_for_nothing() {
    let status = |uid: Option<&str>| PlatformTokenStatus {
        uid: uid.map(str::to_owned),
        ..PlatformTokenStatus::default()
    };
    for (said, is_of) in [(None, true), (Some("mine"), true), (Some("theirs"), false)] {
        assert_eq!(status(said).is_of("mine"), is_of, "{said:?}");
    }
}
