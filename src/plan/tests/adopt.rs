//! A token that there is already is taken over, by its id or with the Secret that holds it, and only if it is nobody's.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::*;
use crate::plan::adopt;

fn adopting() -> Given {
    Given {
        adopts: Some(id("a")),
        ..Given::default()
    }
}

fn claim(number: u32) -> Attempt {
    Attempt {
        adopts: Some(id("a")),
        ..attempt(number)
    }
}

/// The claim was opened at second 0 by another process, or by this one.
fn claimed() -> Given {
    Given {
        attempt: Some(claim(1)),
        memory: remembering(open(claim(1), Fate::Void)),
        ..adopting()
    }
}

const STORED: [&str; 5] = ["adopt", "look", "store", "verify", "strike"];

#[test]
fn a_token_is_claimed_by_an_attempt_then_stored_proven_and_released_no_longer() {
    assert_eq!(
        steps(adopting(), 0, fair_outcome),
        ["open", "Silent"],
        "whoever is older is listed by then"
    );
    let steps = steps(claimed(), 2, fair_outcome);
    assert_eq!(steps[..5], STORED);
    assert_eq!(steps[5..], ["Ready"]);
}

#[test]
fn an_adoption_sends_no_post_and_makes_nothing_whatever_comes_of_it() {
    let failed = Trouble::transient(Reason::Unreachable, "down");
    let outcomes = [
        Outcome::Failed(Trouble::stalled(Reason::AdoptionRefused, "no")),
        Outcome::Failed(failed),
        Outcome::Stale,
    ];
    for outcome in outcomes {
        let mut outcome = Some(outcome);
        let mut snapshot = claimed().snapshot(at(2));
        let words = story(&mut snapshot, at(2), |_| outcome.take().unwrap());
        assert_eq!(words[0], "adopt");
        assert_eq!(words.len(), 2, "{words:?}");
        assert!(snapshot.memory.holds_nothing());
        snapshot.token.deleted_at = Some(at(2).wall);
        snapshot.run = Run::default();
        let words = story(&mut snapshot, at(2), fair_outcome);
        assert_eq!(
            words,
            ["read_secret", "lift_finalizer", "Gone"][3 - words.len()..],
            "what was not stored is not ours"
        );
    }
}

#[test]
fn a_store_that_comes_too_late_looks_at_the_token_anew() {
    let mut late = true;
    let words = story(&mut claimed().snapshot(at(2)), at(2), |step| match step {
        Step::Store { .. } if std::mem::take(&mut late) => Outcome::Exists,
        step => fair_outcome(step),
    });
    let anew = ["adopt", "look", "store", "read_secret", "adopt", "store"];
    assert_eq!(words[..6], anew);
}

#[test]
fn a_crash_in_the_middle_of_an_adoption_begins_it_anew() {
    let given = Given {
        attempt: Some(claim(1)),
        ..adopting()
    };
    let mut snapshot = given.snapshot(at(100));
    let words = story(&mut snapshot, at(100), fair_outcome);
    assert_eq!(words, ["Silent"], "this process has just seen it");
    assert_eq!(
        story(&mut snapshot, at(102), fair_outcome)[..5],
        STORED,
        "then it looks again"
    );
    // It was stored, and the status does not say so.
    let stored = Given {
        attempt: Some(claim(1)),
        ..adopting()
    };
    let stored = stored.secret("token", own_facts(own(1, "a")));
    assert_eq!(
        steps(stored, 0, fair_outcome),
        ["verify", "strike", "Ready"]
    );
}

#[test]
fn nothing_is_adopted_where_the_account_does_not_serve_the_namespace() {
    let refusal = Trouble::stalled(Reason::NamespaceNotAdmitted, "label team");
    let given = Given {
        admission: Admission::Refused(refusal),
        ..adopting()
    };
    assert_eq!(given.next(at(0)), "NamespaceNotAdmitted");
}

#[test]
fn an_adopted_token_has_to_answer_whatever_the_account_says_of_new_ones() {
    let trusting = AccountFacts::Ready(Identity {
        verify: false,
        ..identity()
    });
    let stored = Given {
        account: trusting.clone(),
        attempt: Some(claim(1)),
        ..adopting()
    };
    let stored = stored.secret("token", own_facts(own(1, "a")));
    assert_eq!(stored.next(at(0)), "verify");
    let minted = Given {
        account: trusting,
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    assert_eq!(
        minted.secret("token", own_facts(own(1, "a"))).next(at(0)),
        "Ready"
    );
}

#[test]
fn an_adopted_token_that_is_gone_upstream_is_minted_anew_and_one_that_does_not_answer_is_not() {
    let stored = || Given {
        attempt: Some(claim(1)),
        adopts: Some(id("a")),
        ..Given::issued(own_facts(own(1, "a")))
    };
    let unknown = |step: &Step| match step {
        Step::Verify { .. } => {
            Outcome::ValueUnknown(Trouble::transient(Reason::VerificationFailed, "401"))
        }
        step => fair_outcome(step),
    };
    let changed = OwnSecret {
        version: version("8"),
        ..own(1, "a")
    };
    let edited = stored().secret("token", own_facts(changed));
    assert_eq!(steps(edited, 0, unknown), ["verify", "VerificationFailed"]);
    let memory = Memory {
        missing: Some(Missing {
            token_id: id("a"),
            listed: Duration::ZERO,
        }),
        ..Memory::default()
    };
    let gone = Given { memory, ..stored() };
    let steps = steps(gone, 0, |step| match step {
        Step::Verify { issued, .. } if issued.token_id == id("new") => Outcome::Verified,
        step => unknown(step),
    });
    assert_eq!(steps[..4], ["verify", "permit", "open", "mint"]);
    assert_eq!(steps.last().unwrap(), "Ready");
}

#[test]
fn a_spec_that_adopts_no_longer_has_a_token_minted_and_nothing_revoked() {
    let given = Given {
        adopts: None,
        ..claimed()
    };
    let mut revocations = 0;
    let mut snapshot = given.snapshot(at(2));
    let steps = story(&mut snapshot, at(2), |step| {
        revocations += usize::from(matches!(step, Step::Revoke { .. }));
        if let Step::Open(attempt) = step {
            assert_eq!((attempt.at.number, &attempt.adopts), (2, &None));
            assert!(attempt.given_up.is_empty());
        }
        fair_outcome(step)
    });
    assert_eq!(steps[..4], ["permit", "preflight", "open", "mint"]);
    assert_eq!(revocations, 0);
}

#[test]
fn a_claim_is_never_sent_nor_looked_for() {
    let mut snapshot = adopting().snapshot(at(0));
    assert_eq!(
        story(&mut snapshot, at(0), fair_outcome),
        ["open", "Silent"]
    );
    snapshot.token.adopts = None;
    snapshot.run = Run::default();
    snapshot.fresh = Some(AttemptId::parse("fresher").unwrap());
    assert_eq!(
        story(&mut snapshot, at(1), fair_outcome)[..4],
        ["permit", "preflight", "open", "mint"]
    );
    let found = Given {
        attempt: Some(claim(1)),
        deleted: Some(0),
        ..adopting()
    };
    assert_eq!(steps(found, 0, fair_outcome), ["lift_finalizer", "Gone"]);
}

#[test]
fn a_retained_secret_whose_token_is_gone_is_written_over() {
    let retained = || SecretFacts::Retained(version("9"));
    let over = |step: &Step| match step {
        Step::Store { over, .. } => {
            assert_eq!(over.as_ref().unwrap().resource_version, "9");
            Outcome::Stored(version("10"))
        }
        step => fair_outcome(step),
    };
    let minted = Given::default().secret("token", retained());
    assert_eq!(
        steps(minted, 0, over)[..5],
        ["permit", "open", "mint", "store", "verify"]
    );
    let adopted = claimed().secret("token", retained());
    assert_eq!(steps(adopted, 2, over)[..5], STORED);
    let former = Given {
        status: ready(&issued(1, "a")),
        ..Given::default()
    };
    let moved = former
        .secret("token", retained())
        .secret("former", own_facts(own(1, "a")));
    assert_eq!(steps(moved, 0, over)[..2], ["look", "store"]);
}

#[test]
fn only_a_token_that_came_from_elsewhere_is_struck_from_the_ledger() {
    let taken_over = Given::default().secret("token", own_facts(own(1, "a")));
    assert_eq!(
        steps(taken_over, 0, fair_outcome),
        ["hold", "verify", "strike", "Ready"]
    );
    let minted = Given {
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    let minted = minted.secret("token", own_facts(own(1, "a")));
    assert_eq!(steps(minted, 0, fair_outcome), ["verify", "Ready"]);
}

#[test]
fn a_token_is_struck_only_after_it_is_stored() {
    let owed = |step: &Step| match step {
        Step::Strike { .. } => Outcome::Owed,
        step => fair_outcome(step),
    };
    let steps = steps(claimed(), 2, owed);
    assert_eq!(steps[..5], STORED);
    assert_eq!(steps[5..], ["AdoptionRefused"]);
}

/// What is looked at, with everything in favour.
struct Look {
    rivals: Vec<Rival>,
    owed: bool,
    row: Option<Shown>,
    secret: Option<Secret>,
    credentials: BTreeSet<TokenHash>,
}

impl Default for Look {
    fn default() -> Self {
        Self {
            rivals: vec![],
            owed: false,
            row: Some(row("a", 0)),
            secret: None,
            credentials: BTreeSet::new(),
        }
    }
}

impl Look {
    fn outcome(self) -> Result<Adopted, String> {
        let (me, token_id, user) = (owner("token"), id("a"), user());
        let look = Adoption {
            token_id: &token_id,
            owner: &me,
            created_at: at(50).wall,
            rivals: &self.rivals,
            owed: self.owed,
            row: self.row,
            user_id: Some(&user),
            secret_name: "token",
            secret: self.secret.as_ref(),
            credentials: &self.credentials,
        };
        match adopt(&look) {
            Outcome::Adopted(adopted) => Ok(adopted),
            Outcome::Failed(trouble) => {
                assert_eq!(trouble.reason, Reason::AdoptionRefused);
                assert_eq!(trouble.reaction, Reaction::Stalled);
                Err(trouble.message)
            }
            outcome => panic!("{outcome:?}"),
        }
    }
}

fn rival(name: &str, created: u64, holds: bool) -> Rival {
    Rival {
        owner: owner(name),
        created_at: at(created).wall,
        holds,
    }
}

/// A Secret of the wanted name that holds this value, as `of` wrote it.
fn secret(of: &Owner, issued: &Issued, text: &str) -> Secret {
    let nothing = BTreeSet::new();
    let mut secret = render(of, "token", issued, &nothing, &value(text), false);
    secret.metadata.uid = Some("s".into());
    secret
}

/// One that somebody made by hand.
fn handmade(text: &str) -> Secret {
    let bytes = ByteString(value(text).expose().as_bytes().to_vec());
    Secret {
        data: Some([(names::TOKEN_VARIABLE.to_owned(), bytes)].into()),
        ..Secret::default()
    }
}

#[expect(clippy::too_many_lines, reason = "a table")]
#[test]
fn a_token_is_adopted_only_if_nothing_speaks_against_it() {
    let look = Look::default;
    let rivals = |rivals| Look { rivals, ..look() };
    let another = Shown {
        user_id: UserId::parse("another").unwrap(),
        ..row("a", 0)
    };
    let credentials: BTreeSet<TokenHash> = [value("a").hash()].into();
    let masked = || Some(masked(row("a", 0)));
    let stranger = Owner::parse("elsewhere/ns/token/uid").unwrap();
    let theirs = |issued: &Issued, text: &str| Some(secret(&stranger, issued, text));
    let refused = [
        (
            rivals(vec![rival("b", 90, true)]),
            "is that of PlatformToken ns/b",
        ),
        (
            rivals(vec![Rival {
                owner: Owner::parse("cluster/theirs/b/u").unwrap(),
                ..rival("b", 90, true)
            }]),
            "is that of a PlatformToken of another namespace",
        ),
        (
            rivals(vec![rival("older", 49, false)]),
            "ns/older as well, which is older",
        ),
        (
            rivals(vec![rival("a", 50, false)]),
            "ns/a as well, which is older",
        ),
        (
            Look {
                owed: true,
                ..look()
            },
            "is to be revoked",
        ),
        (
            Look {
                row: None,
                ..look()
            },
            "the account has no token",
        ),
        (
            Look {
                row: Some(another),
                ..look()
            },
            "belongs to user another",
        ),
        (
            Look {
                credentials: credentials.clone(),
                ..look()
            },
            "is the credential of an account",
        ),
        (
            Look {
                row: masked(),
                ..look()
            },
            "does not show the value",
        ),
        (
            Look {
                row: masked(),
                secret: Some(handmade("a")),
                ..look()
            },
            "does not show the value",
        ),
        (
            Look {
                row: masked(),
                secret: theirs(&issued(1, "b"), "b"),
                ..look()
            },
            "does not show the value",
        ),
        (
            Look {
                row: masked(),
                secret: theirs(&issued(1, "a"), "b"),
                ..look()
            },
            "does not show the value",
        ),
        (
            Look {
                row: masked(),
                secret: theirs(&issued(1, "a"), "a"),
                credentials,
                ..look()
            },
            "is the credential of an account",
        ),
        (
            Look {
                secret: Some(handmade("b")),
                ..look()
            },
            "exists and does not hold token",
        ),
    ];
    for (look, says) in refused {
        let said = look.outcome().unwrap_err();
        assert!(said.contains(says), "{says}: {said}");
        assert!(
            said.contains("remove adoptTokenID") || said.contains("set spec.secret.name"),
            "it says what to do: {said}"
        );
    }
    let fit = [
        (look(), false),
        (rivals(vec![rival("younger", 51, false)]), false),
        (rivals(vec![rival("zz", 50, false)]), false),
        (
            Look {
                secret: Some(handmade("a")),
                ..look()
            },
            true,
        ),
        (
            Look {
                row: masked(),
                secret: theirs(&issued(1, "a"), "a"),
                ..look()
            },
            true,
        ),
    ];
    for (look, over) in fit {
        let adopted = look.outcome().unwrap();
        assert_eq!(adopted.minted.value.hash(), value("a").hash());
        assert_eq!(adopted.over.is_some(), over);
    }
}

#[test]
fn a_secret_that_goes_is_not_written_over() {
    let mut going = handmade("a");
    going.metadata.deletion_timestamp = Some(Time(at(0).wall));
    let look = Look {
        secret: Some(going),
        ..Look::default()
    };
    assert!(look.outcome().unwrap_err().contains("is being deleted"));
}

#[test]
fn a_retained_secret_that_holds_another_token_is_not_written_over() {
    let left = |of: &Owner, text: &str, record: bool| {
        let mut secret = secret(of, &issued(1, text), text);
        secret.metadata.labels = None;
        let annotations = secret.metadata.annotations.as_mut().unwrap();
        annotations.insert(names::RETAINED.into(), "true".into());
        if !record {
            for name in Issued::RECORD {
                annotations.remove(name);
            }
        }
        Look {
            secret: Some(secret),
            ..Look::default()
        }
    };
    let former = owner("former");
    assert!(left(&former, "a", true).outcome().is_ok());
    assert!(left(&former, "b", false).outcome().is_ok());
    for of in ["cluster/elsewhere/former/u", "elsewhere/ns/former/u"] {
        let of = Owner::parse(of).unwrap();
        let said = left(&of, "b", false).outcome().unwrap_err();
        assert!(said.contains("does not hold token"), "{said}");
    }
    let said = left(&former, "b", true).outcome().unwrap_err();
    assert!(said.contains("does not hold token"), "{said}");
}
