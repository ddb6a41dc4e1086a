//! The rules as tables: a snapshot in, the next step or the verdict out.

mod admission;
mod adopt;
mod attempt;
mod debts;
mod issue;
mod keep;
mod ledger;
mod listed;
mod loose;
mod memory;
mod ownership;
mod policy;
mod report;
mod rest;
mod retire;
mod secret;
mod stock;
mod sweep;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::*;
use crate::api::{
    Attempt, AttemptAccount, AttemptId, AttemptRef, Dialect, Issued, Owner, PlatformTokenStatus,
    Reason, Sweep, TokenHash, TokenId, TokenValue, UserId, names,
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
        adopts: None,
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
    let told = super::report::Told {
        reason: Reason::Issued,
        message: String::new(),
    };
    status.conditions = super::report::conditions(&[], Ok(told), Some(1), at(0));
    status
}

/// What one row of a table begins with; every field has the value of a fresh PlatformToken on a good account.
#[derive(Debug)]
struct Given {
    account: AccountFacts,
    admission: Admission,
    secrets: BTreeMap<String, SecretFacts>,
    status: PlatformTokenStatus,
    attempt: Option<Attempt>,
    /// It was deleted just now.
    deleting: bool,
    /// It was deleted at this second.
    deleted: Option<u64>,
    /// When it was created, in seconds.
    created: u64,
    memory: Memory,
    credentials: BTreeSet<TokenHash>,
    /// Someone took our finalizer off.
    unheld: bool,
    /// Secrets bear no finalizer of ours.
    loose: bool,
    policy: Policy,
    adopts: Option<TokenId>,
}

impl Default for Given {
    fn default() -> Self {
        Self {
            account: AccountFacts::Ready(identity()),
            admission: Admission::Granted,
            secrets: BTreeMap::new(),
            status: PlatformTokenStatus::default(),
            attempt: None,
            deleting: false,
            deleted: None,
            created: 0,
            memory: Memory::default(),
            credentials: BTreeSet::new(),
            unheld: false,
            loose: false,
            policy: Policy::default(),
            adopts: None,
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
            created_at: at(self.created).wall,
            deleted_at: match self.deleted {
                Some(deleted) => Some(at(deleted).wall),
                None => self.deleting.then_some(now.wall),
            },
            finalizers: if held {
                vec![names::FINALIZER.into()]
            } else {
                vec![]
            },
            secret_name: "token".into(),
            policy: self.policy,
            adopts: self.adopts,
            holds_secrets: !self.loose,
            admission: self.admission,
            take_over: None,
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

/// A token that somebody made, as the platform lists it.
fn row(text: &str, created: u64) -> Shown {
    Shown {
        id: id(text),
        user_id: user(),
        value: Some(value(text)),
        tags: vec![],
        created_at: at(created).wall,
        used_at: None,
    }
}

/// One that an attempt of ours made.
fn tagged(text: &str, number: u32) -> Shown {
    Shown {
        tags: attempt(number).tags(),
        ..row(text, 0)
    }
}

fn masked(row: Shown) -> Shown {
    Shown { value: None, ..row }
}

/// One that somebody has used.
fn used(row: Shown) -> Shown {
    let used_at = Some(row.created_at);
    Shown { used_at, ..row }
}

/// What is kept of a list.
fn listed(rows: &[Shown]) -> Vec<Listed> {
    let rows = rows.iter().cloned();
    rows.map(|row| row.listed("cluster")).collect()
}

/// How an account of any namespace sweeps.
fn broom(sweep: Sweep) -> Broom {
    Broom {
        sweep,
        cluster: "cluster".into(),
        namespaces: None,
    }
}

fn ids(texts: &[&str]) -> BTreeSet<TokenId> {
    texts.iter().map(|text| id(text)).collect()
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
        Step::Adopt { token_id, .. } => Outcome::Adopted(Adopted {
            minted: minted(token_id.as_str().trim_start_matches("id-")),
            over: None,
        }),
        Step::Strike { .. } => Outcome::Struck,
        Step::Store { .. } => Outcome::Stored(version("8")),
        Step::Verify { .. } => Outcome::Verified,
        Step::Retain { .. } => Outcome::Retained(version("9")),
        Step::Remove { .. } => Outcome::SecretDeleting(version("9")),
        Step::Release { .. } => Outcome::SecretGone,
        Step::Revoke { .. } => Outcome::Revoked,
        Step::Record(..) => Outcome::Recorded,
        Step::LiftFinalizer => Outcome::Lifted,
    }
}

/// Every step until the run is settled, and the verdict.
fn story(
    snapshot: &mut Snapshot,
    now: Moment,
    mut outcome: impl FnMut(&Step) -> Outcome,
) -> Vec<String> {
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

/// The ids that a story revokes, in order.
fn revoked(
    snapshot: &mut Snapshot,
    now: Moment,
    outcome: impl Fn(&Step) -> Outcome,
) -> Vec<String> {
    let mut ids = Vec::new();
    story(snapshot, now, |step| {
        if let Step::Revoke { token_id, .. } = step {
            ids.push(token_id.to_string());
        }
        outcome(step)
    });
    ids
}

fn steps(given: Given, now: u64, outcome: impl Fn(&Step) -> Outcome) -> Vec<String> {
    story(&mut given.snapshot(at(now)), at(now), outcome)
}

fn remembering(attempt: OpenAttempt) -> Memory {
    Memory {
        attempt: Some(attempt),
        ..Memory::default()
    }
}
