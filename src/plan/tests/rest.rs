//! From any snapshot, whatever the world answers, a run comes to rest, and some things never happen on the way.

use proptest::prelude::*;

use super::*;
use crate::api::{DeletionPolicy, SecretDeletionPolicy};

/// More steps than a run can need when nothing is answered twice the same way.
const MAX_STEPS: usize = 60;

fn any_secret() -> impl Strategy<Value = SecretFacts> {
    let own = (
        1..4_u32,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(number, deleting, whole, has_value, recorded)| {
            own_facts(OwnSecret {
                deleting,
                whole: whole && has_value && recorded,
                value: has_value.then(|| value(&format!("t{number}"))),
                issued: recorded.then(|| issued(number, &format!("t{number}"))),
                ..own(number, &format!("t{number}"))
            })
        });
    prop_oneof![
        Just(SecretFacts::Absent),
        Just(SecretFacts::Unread {
            resource_version: None
        }),
        Just(SecretFacts::Unread {
            resource_version: Some("7".into())
        }),
        Just(SecretFacts::Foreign {
            trouble: Trouble::stalled(Reason::SecretNotWritable, "is another's"),
            dying: None
        }),
        (1..4_u32).prop_map(|number| SecretFacts::Left(Box::new(LeftSecret {
            version: version("7"),
            from: owner("gone"),
            issued: issued(number, &format!("t{number}")),
            given_up: BTreeSet::new(),
            value: value(&format!("t{number}")),
        }))),
        Just(SecretFacts::Retained(version("7"))),
        own,
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let token = prop_oneof![Just(DeletionPolicy::Delete), Just(DeletionPolicy::Orphan)];
    let secret = prop_oneof![
        Just(SecretDeletionPolicy::Delete),
        Just(SecretDeletionPolicy::Retain)
    ];
    (token, secret).prop_map(|(token, secret)| Policy { token, secret })
}

fn any_account() -> impl Strategy<Value = AccountFacts> {
    let broken = Trouble::stalled(Reason::Unauthorized, "x");
    let another = Identity {
        user_id: Some(UserId::parse("another").unwrap()),
        ..identity()
    };
    prop_oneof![
        4 => Just(AccountFacts::Ready(identity())),
        1 => Just(AccountFacts::Ready(another)),
        1 => Just(AccountFacts::Pending),
        1 => Just(AccountFacts::Broken(broken)),
    ]
}

fn any_attempt() -> impl Strategy<Value = Option<Attempt>> {
    let dialect = prop_oneof![Just(Dialect::Current), Just(Dialect::Documented)];
    let owner = prop_oneof![4 => Just(owner("token")), 1 => Just(owner("original"))];
    let adopts = prop_oneof![2 => Just(None), 1 => Just(Some(id("t1")))];
    let some = (1..5_u32, dialect, owner, adopts);
    let some = some.prop_map(|(number, dialect, owner, adopts)| Attempt {
        dialect,
        owner,
        adopts,
        ..attempt(number)
    });
    prop::option::of(some)
}

prop_compose! {
    fn any_snapshot()(
        account in any_account(),
        wanted in any_secret(),
        stray in prop::option::of(any_secret()),
        status in prop::option::of(1..4_u32),
        attempt in any_attempt(),
        deleting in any::<bool>(),
        unheld in any::<bool>(),
        missing in prop::option::of(1..4_u32),
        policy in any_policy(),
        adopts in any::<bool>(),
    ) -> Given {
        let adopts = adopts.then(|| id("t1"));
        let status = status.map(|n| ready(&issued(n, &format!("t{n}")))).unwrap_or_default();
        let missing = missing.map(|n| Missing { token_id: id(&format!("t{n}")), listed: Duration::ZERO });
        let memory = Memory { missing, ..Memory::default() };
        let given = Given { account, status, attempt, deleting, memory, unheld, policy, adopts, ..Given::default() };
        let given = given.secret("token", wanted);
        match stray {
            Some(facts) => given.secret("stray", facts),
            None => given,
        }
    }
}

/// One of the things that can come of a step, chosen by `die`.
fn outcome(step: &Step, die: u8) -> Outcome {
    let failed = || Outcome::Failed(Trouble::transient(Reason::Unreachable, "x"));
    match (step, die % 4) {
        (Step::ReadSecret { .. }, 0) => Outcome::Secret(own_facts(own(1, "t1"))),
        (Step::ReadSecret { .. }, 1) => Outcome::Secret(SecretFacts::Foreign {
            trouble: Trouble::stalled(Reason::SecretNotWritable, "x"),
            dying: None,
        }),
        (Step::Preflight { .. }, 0) => Outcome::Exists,
        (Step::Mint(_), 0) => Outcome::NotMinted(Trouble::stalled(Reason::Refused, "x")),
        (Step::Mint(_), 2) if die > 200 => Outcome::MintedWithheld(vec![id("masked")]),
        (Step::Revoke { .. }, 1) => {
            Outcome::RevokeUnknown(Trouble::transient(Reason::Unreachable, "x"))
        }
        (Step::Mint(_), 1) => Outcome::MintUnknown(Trouble::transient(Reason::Unreachable, "x")),
        (Step::FindMinted(_), 0) => Outcome::NoneMinted,
        (Step::FindMinted(_), 1) => Outcome::MintedWithheld(vec![id("masked")]),
        (Step::Adopt { .. }, 0) => Outcome::Failed(Trouble::stalled(Reason::AdoptionRefused, "x")),
        (Step::Adopt { .. }, 1) => Outcome::Adopted(Adopted {
            minted: minted("t1"),
            over: Some(version("7")),
        }),
        (Step::Strike { .. }, 0) => Outcome::Owed,
        (Step::Retain { .. }, 1) => Outcome::SecretGone,
        (Step::Look, 1) => Outcome::TokenGone,
        (Step::FindMinted(_), 2) => Outcome::Suspects(vec![id("suspect")]),
        (Step::Verify { .. }, 0) => {
            Outcome::ValueUnknown(Trouble::transient(Reason::VerificationFailed, "x"))
        }
        (Step::Recover(_), 0) => Outcome::Recovered(Recovery::Gone),
        (Step::Recover(_), 1) => Outcome::Recovered(Recovery::Withheld),
        (
            Step::Revoke {
                with: RevokeWith::ItsValue(_),
                ..
            },
            0,
        ) => Outcome::SelfRefused,
        (
            Step::Store { .. }
            | Step::Release { .. }
            | Step::Remove { .. }
            | Step::Retain { .. }
            | Step::Open(_)
            | Step::Hold(_)
            | Step::Permit
            | Step::Look
            | Step::LiftFinalizer,
            0,
        ) => Outcome::Stale,
        (_, 3) => failed(),
        _ => fair_outcome(step),
    }
}

proptest! {
    #[test]
    fn every_run_comes_to_rest(given in any_snapshot(), dice in prop::collection::vec(any::<u8>(), MAX_STEPS)) {
        let mut snapshot = given.snapshot(at(0));
        let (mut posts, mut opened) = (0, 0);
        let mut unknown = BTreeSet::new();
        for die in dice {
            let step = match plan(&snapshot, at(0)) {
                Next::Settled(settled) => {
                    prop_assert!(settled.requeue != Some(Duration::ZERO));
                    return Ok(());
                }
                Next::Step(step) => step,
            };
            match &step {
                Step::Open(attempt) => {
                    opened += 1;
                    let present = snapshot.present().map_or(0, |issued| issued.attempt.number);
                    prop_assert!(attempt.at.number > present, "attempts are numbered upwards");
                    prop_assert!(!snapshot.token.is_deleting(), "nothing is opened for what is being deleted");
                    if let (SecretFacts::Own(own), Some(present), None) = (snapshot.wanted(), snapshot.present(), snapshot.open_attempt())
                        && own.whole && own.issued.as_ref() == Some(&present)
                    {
                        let missing = snapshot.memory.missing.as_ref().map(|missing| &missing.token_id);
                        prop_assert!(missing == Some(&present.token_id), "a list lacks what is minted anew");
                        prop_assert!(unknown.contains(&present.token_id), "and its value is unknown");
                    }
                }
                Step::Mint(attempt) => {
                    posts += 1;
                    prop_assert!(attempt.adopts.is_none(), "an adoption sends no POST");
                    prop_assert!(posts <= opened, "at most one POST for each attempt that this run opened");
                    prop_assert!(snapshot.token.is_held(), "the finalizer comes before the POST");
                }
                Step::Store { issued, value, .. } => {
                    prop_assert_eq!(&value.hash(), &issued.hash, "an id and its value are bound");
                    let foreign = matches!(snapshot.wanted(), SecretFacts::Foreign { .. });
                    let adopted = snapshot.run.adopted.is_some();
                    prop_assert!(!foreign || adopted, "a Secret of someone else is never written");
                }
                Step::Revoke { token_id, .. } if snapshot.goes() && snapshot.token.policy.token == DeletionPolicy::Orphan => {
                    let present = snapshot.present().map(|issued| issued.token_id);
                    prop_assert!(present.as_ref() != Some(token_id), "it is to live on");
                }
                Step::Remove { name, .. } => {
                    let stays = snapshot.goes() && snapshot.token.policy.secret == SecretDeletionPolicy::Retain;
                    prop_assert!(!stays || *name != snapshot.token.secret_name, "it is to stay");
                }
                Step::LiftFinalizer => prop_assert!(snapshot.token.is_deleting()),
                _ => {}
            }
            let outcome = outcome(&step, die);
            if let (Step::Verify { issued, .. }, Outcome::ValueUnknown(_)) = (&step, &outcome) {
                unknown.insert(issued.token_id.clone());
            }
            snapshot.fold(step, outcome, at(0));
        }
        prop_assert!(false, "no rest after {} steps", MAX_STEPS);
    }
}
