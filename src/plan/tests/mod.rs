//! The rules as tables: a snapshot in, the next step or the verdict out.

mod listed;
mod protocol;
mod rest;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::api::{
    Attempt, AttemptAccount, AttemptId, AttemptRef, Dialect, Issued, Owner, PlatformTokenStatus,
    Reason, TokenHash, TokenId, TokenValue, UserId, names,
};

fn at(seconds: u64) -> Moment {
    let elapsed = Duration::from_secs(seconds);
    let wall = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap();
    Moment {
        wall: wall + elapsed,
        elapsed,
    }
}

fn owner(name: &str) -> Owner {
    Owner::parse(&format!("cluster/ns/{name}/uid-of-{name}")).unwrap()
}

fn value(text: &str) -> TokenValue {
    TokenValue::parse(&format!("platform-{text}")).unwrap()
}

fn attempt(number: u32) -> Attempt {
    Attempt {
        at: AttemptRef {
            number,
            id: AttemptId::parse(&format!("attempt-{number}")).unwrap(),
        },
        opened_at: at(0).wall,
        dialect: Dialect::Current,
        owner: owner("token"),
        account: AttemptAccount {
            base_url: "https://platform".into(),
            user_id: Some(user()),
        },
        given_up: vec![],
    }
}

/// An attempt that this process first saw at second 0.
fn open(attempt: Attempt, fate: Fate) -> OpenAttempt {
    OpenAttempt {
        attempt,
        seen: at(0),
        fate,
        others: BTreeSet::new(),
    }
}

fn id(text: &str) -> TokenId {
    TokenId::parse(&format!("id-{text}")).unwrap()
}

fn user() -> UserId {
    UserId::parse("user").unwrap()
}

fn issued(number: u32, text: &str) -> Issued {
    Issued {
        attempt: attempt(number).at,
        token_id: TokenId::parse(&format!("id-{text}")).unwrap(),
        hash: value(text).hash(),
        issued_at: at(0).wall,
        base_url: "https://platform".into(),
        user_id: user(),
    }
}

fn minted(text: &str) -> Minted {
    Minted {
        token_id: TokenId::parse(&format!("id-{text}")).unwrap(),
        value: value(text),
        user_id: user(),
        created_at: at(0).wall,
    }
}

fn version(resource_version: &str) -> Version {
    Version {
        uid: "s".into(),
        resource_version: resource_version.into(),
        other_finalizers: vec![],
    }
}

/// A Secret of ours as we write it.
fn own(number: u32, text: &str) -> OwnSecret {
    OwnSecret {
        version: version("7"),
        deleting: false,
        held: true,
        issued: Some(issued(number, text)),
        given_up: BTreeSet::new(),
        value: Some(value(text)),
        whole: true,
    }
}

fn identity() -> Identity {
    Identity {
        base_url: "https://platform".into(),
        user_id: Some(user()),
        username: None,
        dialect: Dialect::Current,
        credential: TokenHash::recorded("credential"),
        verify: true,
        exclusive: None,
    }
}

/// A status that says Ready of this token in the Secret `token` at resourceVersion 7.
fn ready(issued: &Issued) -> PlatformTokenStatus {
    let mut status = PlatformTokenStatus {
        attempt: Some(issued.attempt.clone()),
        token_id: Some(issued.token_id.clone()),
        token_hash: Some(issued.hash.clone()),
        user_id: Some(issued.user_id.clone()),
        base_url: Some(issued.base_url.clone()),
        issued_at: Some(Time(issued.issued_at)),
        secret_name: Some("token".into()),
        secret_resource_version: Some("7".into()),
        ..PlatformTokenStatus::default()
    };
    let told = report::Told {
        reason: Reason::Issued,
        message: String::new(),
    };
    status.conditions = report::conditions(&[], Ok(told), Some(1), at(0));
    status
}

/// What one row of a table begins with; every field has the value of a fresh PlatformToken on a good account.
#[derive(Debug)]
struct Given {
    account: AccountFacts,
    secrets: BTreeMap<String, SecretFacts>,
    status: PlatformTokenStatus,
    attempt: Option<Attempt>,
    deleting: bool,
    memory: Memory,
    credentials: BTreeSet<TokenHash>,
    /// Someone took our finalizer off.
    unheld: bool,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            account: AccountFacts::Ready(identity()),
            secrets: BTreeMap::new(),
            status: PlatformTokenStatus::default(),
            attempt: None,
            deleting: false,
            memory: Memory::default(),
            credentials: BTreeSet::new(),
            unheld: false,
        }
    }
}

impl Given {
    /// A token that was issued, and a Secret that was read.
    fn issued(secret: SecretFacts) -> Self {
        Self {
            status: ready(&issued(1, "a")),
            ..Self::default()
        }
        .secret("token", secret)
    }

    fn secret(mut self, name: &str, facts: SecretFacts) -> Self {
        self.secrets.insert(name.into(), facts);
        self
    }

    fn snapshot(self, now: Moment) -> Snapshot {
        let known = self.status.token_id.is_some() || self.attempt.is_some();
        let held = (known || self.memory.attempt.is_some()) && !self.unheld;
        let token = TokenFacts {
            owner: owner("token"),
            generation: Some(1),
            resource_version: "1".into(),
            deleting: self.deleting,
            finalizers: if held {
                vec![names::FINALIZER.into()]
            } else {
                vec![]
            },
            secret_name: "token".into(),
            attempt: Ok(self.attempt),
            status: self.status,
        };
        let fresh = AttemptId::parse("fresh").unwrap();
        let credentials = self.credentials;
        Snapshot::new(
            token,
            self.account,
            self.secrets,
            self.memory,
            credentials,
            fresh,
            now,
        )
    }

    /// The name of the first step, or the verdict in one word.
    fn next(self, now: Moment) -> String {
        word(&plan(&self.snapshot(now), now))
    }
}

fn word(next: &Next) -> String {
    match next {
        Next::Step(step) => step.name().into(),
        Next::Settled(Settled {
            verdict: Verdict::Trouble(trouble),
            requeue,
        }) => {
            assert!(
                requeue.is_some_and(|wait| !wait.is_zero()),
                "trouble is looked at again"
            );
            trouble.reason.as_str().into()
        }
        Next::Settled(settled) => format!("{:?}", settled.verdict),
    }
}

fn own_facts(own: OwnSecret) -> SecretFacts {
    SecretFacts::Own(Box::new(own))
}

/// What a world without faults answers.
fn fair_outcome(step: &Step) -> Outcome {
    match step {
        Step::ReadSecret { .. } => Outcome::Secret(SecretFacts::Absent),
        Step::Permit => Outcome::Permitted,
        Step::Preflight { .. } => Outcome::Writable,
        Step::Hold(_) => Outcome::Held {
            resource_version: "2".into(),
        },
        Step::Open(_) => Outcome::Opened {
            resource_version: "2".into(),
        },
        Step::Look => Outcome::Current,
        Step::Mint(_) => Outcome::Minted(minted("new")),
        Step::FindMinted(_) => Outcome::Found {
            kept: minted("new"),
            others: vec![],
        },
        Step::Recover(issued) => {
            let text = issued.token_id.as_str().trim_start_matches("id-");
            Outcome::Recovered(Recovery::Value(value(text)))
        }
        Step::Store { .. } => Outcome::Stored(version("8")),
        Step::Verify { .. } => Outcome::Verified,
        Step::Remove { .. } => Outcome::SecretDeleting(version("9")),
        Step::Release { .. } => Outcome::SecretGone,
        Step::Revoke { .. } => Outcome::Revoked,
        Step::LiftFinalizer => Outcome::Lifted,
    }
}

/// Every step until the run is settled, and the verdict.
fn story(snapshot: &mut Snapshot, now: Moment, outcome: impl Fn(&Step) -> Outcome) -> Vec<String> {
    let mut steps = Vec::new();
    for _ in 0..30 {
        let next = plan(snapshot, now);
        steps.push(word(&next));
        match next {
            Next::Step(step) => {
                let outcome = outcome(&step);
                snapshot.fold(step, outcome, now);
            }
            Next::Settled(_) => return steps,
        }
    }
    panic!("no rest: {steps:?}");
}

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
        whose: "is another's".into(),
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
        while let Next::Step(step) = plan(&snapshot, at(0)) {
            if step.name() == at_step {
                snapshot.fold(step, outcome, at(0));
                break;
            }
            let outcome = fair_outcome(&step);
            snapshot.fold(step, outcome, at(0));
        }
        assert_eq!(word(&plan(&snapshot, at(0))), expected, "after {at_step}");
    }
}

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
fn nothing_is_done_for_a_token_whose_secret_has_not_changed() {
    let unread = |version: &str| SecretFacts::Unread {
        resource_version: Some(version.into()),
    };
    let settled = || Given::issued(unread("7"));
    assert_eq!(settled().next(at(0)), "Ready");
    let broken = AccountFacts::Broken(Trouble::stalled(Reason::Unauthorized, "x"));
    assert_eq!(
        Given {
            account: broken,
            ..settled()
        }
        .next(at(0)),
        "Ready",
        "a broken account stops no token"
    );
    assert_eq!(Given::issued(unread("9")).next(at(0)), "read_secret");
    assert_eq!(
        settled().secret("other", unread("3")).next(at(0)),
        "read_secret",
        "a second Secret"
    );
    assert_eq!(
        Given {
            attempt: Some(attempt(2)),
            ..settled()
        }
        .next(at(0)),
        "read_secret"
    );
}

#[test]
fn a_secret_is_repaired_with_the_same_token() {
    let edited = OwnSecret {
        whole: false,
        ..own(1, "a")
    };
    let emptied = OwnSecret {
        whole: false,
        value: None,
        ..own(1, "a")
    };
    let deleted = OwnSecret {
        deleting: true,
        ..own(1, "a")
    };
    let steps = |facts| {
        story(
            &mut Given::issued(facts).snapshot(at(0)),
            at(0),
            fair_outcome,
        )
    };
    assert_eq!(
        steps(own_facts(edited)),
        ["look", "store", "verify", "Ready"]
    );
    assert_eq!(
        steps(own_facts(emptied)),
        ["recover", "look", "store", "verify", "Ready"]
    );
    assert_eq!(
        steps(own_facts(deleted)),
        ["look", "release", "store", "verify", "Ready"]
    );
    assert_eq!(
        steps(SecretFacts::Absent),
        ["recover", "look", "store", "verify", "Ready"]
    );
}

#[test]
fn only_a_token_whose_value_cannot_be_had_is_replaced_and_then_revoked_if_it_lives() {
    for (recovery, expected) in [
        (
            Recovery::Gone,
            [
                "recover",
                "permit",
                "preflight",
                "open",
                "mint",
                "store",
                "verify",
                "Ready",
            ]
            .as_slice(),
        ),
        (
            Recovery::Withheld,
            [
                "recover",
                "permit",
                "preflight",
                "open",
                "mint",
                "store",
                "verify",
                "revoke",
                "hold",
                "Ready",
            ]
            .as_slice(),
        ),
    ] {
        let outcome = |step: &Step| match step {
            Step::Recover(_) => Outcome::Recovered(recovery.clone()),
            step => fair_outcome(step),
        };
        let mut snapshot = Given::issued(SecretFacts::Absent).snapshot(at(0));
        assert_eq!(
            story(&mut snapshot, at(60), outcome),
            expected,
            "{recovery:?}"
        );
    }
}

#[test]
fn an_account_of_another_user_is_asked_nothing_about_a_token() {
    let other = Identity {
        user_id: Some(UserId::parse("another").unwrap()),
        ..identity()
    };
    let given = Given {
        account: AccountFacts::Ready(other),
        ..Given::issued(SecretFacts::Absent)
    };
    assert_eq!(given.next(at(0)), "AccountChanged");
}

#[test]
fn a_token_moves_to_another_secret_and_the_former_one_goes() {
    let mut status = ready(&issued(1, "a"));
    status.secret_name = Some("former".into());
    let given = Given {
        status,
        ..Given::default()
    };
    let mut snapshot = given
        .secret("former", own_facts(own(1, "a")))
        .snapshot(at(0));
    let steps = story(&mut snapshot, at(0), fair_outcome);
    assert_eq!(
        steps,
        ["look", "store", "verify", "remove", "release", "Ready"]
    );
    assert_eq!(snapshot.run.notes[0].reason, Reason::Moved);
}

#[test]
fn an_older_token_in_another_secret_is_revoked_before_the_secret_goes() {
    let given = Given::issued(own_facts(own(1, "a"))).secret("stray", own_facts(own(0, "old")));
    let steps = story(&mut given.snapshot(at(0)), at(0), fair_outcome);
    assert_eq!(steps, ["look", "revoke", "remove", "release", "Ready"]);
}

#[test]
fn a_deleted_token_is_revoked_then_it_goes_and_its_secret_follows() {
    let deleting = |given: Given| Given {
        deleting: true,
        ..given
    };
    let steps = |given| story(&mut deleting(given).snapshot(at(0)), at(0), fair_outcome);
    let issued = || Given::issued(own_facts(own(1, "a")));
    assert_eq!(
        steps(issued()),
        ["revoke", "remove", "lift_finalizer", "release", "Gone"]
    );
    assert_eq!(
        steps(Given::issued(SecretFacts::Absent)),
        ["revoke", "lift_finalizer", "Gone"]
    );
    assert_eq!(
        steps(Given::default()),
        ["Gone"],
        "what we never held goes at once"
    );
    let foreign = SecretFacts::Foreign {
        whose: "is another's".into(),
        dying: None,
    };
    assert_eq!(
        steps(Given::issued(foreign)),
        ["revoke", "lift_finalizer", "Gone"],
        "and stays"
    );
    let lost = Given {
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    assert_eq!(
        steps(lost),
        ["find_minted", "revoke", "lift_finalizer", "Gone"]
    );
}

#[test]
fn a_token_revokes_itself_and_only_if_it_cannot_the_account_does() {
    let next = |given: Given| {
        let mut snapshot = Given {
            deleting: true,
            ..given
        }
        .snapshot(at(0));
        let Next::Step(Step::Revoke { with, .. }) = plan(&snapshot, at(0)) else {
            panic!()
        };
        let first = matches!(with, RevokeWith::ItsValue(_));
        let Next::Step(step) = plan(&snapshot, at(0)) else {
            panic!()
        };
        snapshot.fold(step, Outcome::SelfRefused, at(0));
        (
            first,
            word(&plan(&snapshot, at(0))),
            matches!(
                plan(&snapshot, at(0)),
                Next::Step(Step::Revoke {
                    with: RevokeWith::AccountIfOurs { .. },
                    ..
                })
            ),
        )
    };
    assert_eq!(
        next(Given::issued(own_facts(own(1, "a")))),
        (true, "revoke".into(), true)
    );
    let broken = AccountFacts::Broken(Trouble::stalled(Reason::Unauthorized, "x"));
    let given = Given {
        account: broken,
        ..Given::issued(own_facts(own(1, "a")))
    };
    assert_eq!(next(given), (true, "Unauthorized".into(), false));
}

#[test]
fn an_id_without_its_value_beside_it_is_not_revoked_on_an_annotations_word() {
    let forged = OwnSecret {
        value: Some(value("mine")),
        whole: false,
        ..own(9, "someone-elses")
    };
    let given = Given {
        deleting: true,
        ..Given::issued(own_facts(forged))
    };
    let mut snapshot = given.snapshot(at(0));
    let mut revoked = Vec::new();
    while let Next::Step(step) = plan(&snapshot, at(0)) {
        if let Step::Revoke { token_id, .. } = &step {
            revoked.push(token_id.to_string());
        }
        let outcome = fair_outcome(&step);
        snapshot.fold(step, outcome, at(0));
    }
    assert_eq!(revoked, ["id-a"]);
}

#[test]
fn the_credential_of_the_account_is_never_revoked() {
    let broken = AccountFacts::Broken(Trouble::stalled(Reason::CredentialsMissing, "x"));
    let issued = || Given {
        deleting: true,
        ..Given::issued(own_facts(own(1, "a")))
    };
    let pending = Given {
        account: AccountFacts::Pending,
        ..issued()
    };
    assert_eq!(pending.next(at(0)), "Silent", "it is not known yet");
    let credentials = BTreeSet::from([value("a").hash()]);
    // Even while the account that uses it cannot be used.
    let given = Given {
        account: broken,
        credentials,
        ..issued()
    };
    let steps = story(&mut given.snapshot(at(0)), at(0), fair_outcome);
    assert_eq!(steps, ["remove", "lift_finalizer", "release", "Gone"]);
}

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
fn an_account_of_another_user_revokes_nothing() {
    let other = Identity {
        user_id: Some(UserId::parse("another").unwrap()),
        ..identity()
    };
    let account = AccountFacts::Ready(other);
    let given = Given {
        account,
        deleting: true,
        ..Given::issued(SecretFacts::Absent)
    };
    assert_eq!(given.next(at(0)), "AccountChanged");
}

#[test]
fn a_finalizer_that_someone_took_off_is_put_back() {
    let given = Given {
        unheld: true,
        ..Given::issued(own_facts(own(1, "a")))
    };
    let steps = story(&mut given.snapshot(at(0)), at(0), fair_outcome);
    assert_eq!(steps, ["hold", "Ready"]);
}

#[test]
fn a_token_whose_value_is_withheld_from_the_start_is_revoked_through_the_account() {
    let withheld = |step: &Step| match step {
        Step::FindMinted(_) => Outcome::MintedWithheld(vec![id("masked")]),
        step => fair_outcome(step),
    };
    let given = || Given {
        attempt: Some(attempt(1)),
        ..Given::default()
    };
    let steps = story(&mut given().snapshot(at(0)), at(0), withheld);
    assert_eq!(steps, ["find_minted", "ValueUnavailable"]);
    let deleting = Given {
        deleting: true,
        ..given()
    };
    let steps = story(&mut deleting.snapshot(at(0)), at(0), withheld);
    assert_eq!(steps, ["find_minted", "revoke", "lift_finalizer", "Gone"]);
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
fn a_forged_record_displaces_no_token() {
    // A higher number and somebody else's id, but no value that fits: the status goes on to name the real token.
    let forged = OwnSecret {
        value: None,
        whole: false,
        ..own(9, "someone-elses")
    };
    let given = Given::issued(own_facts(forged));
    let mut snapshot = given.snapshot(at(0));
    assert_eq!(snapshot.present(), Some(issued(1, "a")));
    let steps = story(&mut snapshot, at(0), fair_outcome);
    assert_eq!(steps, ["recover", "look", "store", "verify", "Ready"]);
    assert_eq!(snapshot.present(), Some(issued(1, "a")));
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
fn a_token_that_is_not_listed_yet_is_not_gone() {
    let gone = |step: &Step| match step {
        Step::Recover(_) => Outcome::Recovered(Recovery::Gone),
        step => fair_outcome(step),
    };
    let mut snapshot = Given::issued(SecretFacts::Absent).snapshot(at(59));
    assert_eq!(
        story(&mut snapshot, at(59), gone),
        ["recover", "ValueUnavailable"]
    );
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
fn a_secret_that_others_keep_is_waited_for() {
    let kept = OwnSecret {
        deleting: true,
        held: false,
        ..own(1, "a")
    };
    assert_eq!(
        Given::issued(own_facts(kept)).next(at(0)),
        "SecretNotWritable"
    );
}

#[test]
fn a_revocation_whose_answer_was_lost_is_done_when_the_token_no_longer_knows_itself() {
    let gone = Trouble::stalled(Reason::AccountNotFound, "x");
    let given = Given {
        deleting: true,
        account: AccountFacts::Broken(gone),
        ..Given::issued(own_facts(own(1, "a")))
    };
    let mut snapshot = given.snapshot(at(0));
    let lost = |step: &Step| match step {
        Step::Revoke { .. } => {
            Outcome::RevokeUnknown(Trouble::transient(Reason::Unreachable, "504"))
        }
        step => fair_outcome(step),
    };
    assert_eq!(story(&mut snapshot, at(0), lost), ["revoke", "Unreachable"]);
    snapshot.run = Run::default();
    let unknown = |step: &Step| match step {
        Step::Revoke { .. } => Outcome::SelfUnknown,
        step => fair_outcome(step),
    };
    let steps = story(&mut snapshot, at(1), unknown);
    assert_eq!(
        steps,
        ["revoke", "remove", "lift_finalizer", "release", "Gone"]
    );
}

#[test]
fn a_token_that_does_not_know_itself_is_not_taken_for_revoked_before_we_sent_a_revocation() {
    let unknown = |step: &Step| match step {
        Step::Revoke {
            with: RevokeWith::ItsValue(_),
            ..
        } => Outcome::SelfUnknown,
        step => fair_outcome(step),
    };
    let given = Given {
        deleting: true,
        ..Given::issued(own_facts(own(1, "a")))
    };
    let steps = story(&mut given.snapshot(at(0)), at(0), unknown);
    assert_eq!(
        steps,
        [
            "revoke",
            "revoke",
            "remove",
            "lift_finalizer",
            "release",
            "Gone"
        ],
        "the second time through the account"
    );
}
