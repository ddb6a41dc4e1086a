//! From small numbers to the types of the operator.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use platform_token_operator::api::{
    self, NamedToken, OwedToken, PlatformTokenStatus, Reason, TokenHash, TokenId, TokenValue, names,
};
use platform_token_operator::plan::{
    self, AccountFacts, Admission, Identity, LeftSecret, OpenAttempt, Outcome, OwnSecret,
    SecretFacts, Snapshot, TokenFacts, Version,
};

use crate::guards::Guard;
use crate::mind::{
    Account, Answer, Debt, Facts, Fate, Leftover, Memory, Reaction, Recovery, Run, Trouble,
};
use crate::names::PLATFORM;
use crate::rules::Rules;
use crate::world::{self, At, Entry, Status, Told};

impl Rules {
    pub(crate) fn snapshot(&self, i: usize, memory: &Memory, run: &Run) -> Snapshot {
        let token = &run.token;
        let facts = TokenFacts {
            owner: self.names.owners[i].clone(),
            generation: Some(1),
            resource_version: token.version.to_string(),
            created_at: self.names.past,
            deleted_at: token.deleting.then_some(Timestamp::MIN),
            finalizers: if token.held {
                vec![names::FINALIZER.to_owned()]
            } else {
                vec![]
            },
            secret_name: self.secret_names[i].to_string(),
            policy: plan::Policy::default(),
            adopts: None,
            holds_secrets: true,
            admission: Admission::Granted,
            take_over: None,
            attempt: Ok(token
                .attempt
                .as_ref()
                .map(|attempt| self.names.attempt(attempt, self.dialect))),
            status: self.status(&token.status),
        };
        let secrets = run.secrets.iter().enumerate().filter_map(|(name, facts)| {
            let facts = self.secret(facts.as_ref()?);
            Some((name.to_string(), facts))
        });
        let mut snapshot = Snapshot::new(
            facts,
            self.account(run.account),
            secrets.collect::<BTreeMap<_, _>>(),
            plan::Memory::default(),
            BTreeSet::new(),
            self.names.fresh.clone(),
            self.now(0),
        );
        if run.opened {
            snapshot.fresh = None;
        }
        snapshot.memory = self.memory(memory);
        snapshot.run = plan::Run {
            ledger: run.ledger && self.without != Some(Guard::PutOff),
            failed: run.failed,
            adopted: None,
            struck: run.struck,
            retained: false,
            proven: run.proven.map(|ago| self.now(ago)),
            gone: run.gone,
            permitted: run.permitted,
            writable: run.writable,
            recovery: run
                .recovery
                .as_ref()
                .map(|recovery| self.recovery(recovery)),
            vanished: run.vanished.map(|token| self.names.id(token).clone()),
            stale: run.stale,
            trouble: run.trouble.map(trouble),
            notes: vec![],
        };
        snapshot
    }

    pub(crate) fn account(&self, account: Account) -> AccountFacts {
        match account {
            Account::Pending => AccountFacts::Pending,
            Account::Broken => {
                AccountFacts::Broken(plan::Trouble::transient(Reason::Unreachable, ""))
            }
            Account::Proven => AccountFacts::Ready(Identity {
                base_url: PLATFORM.into(),
                user_id: Some(self.names.user.clone()),
                username: None,
                dialect: self.dialect,
                credential: TokenHash::recorded("credential"),
                verify: true,
                exclusive: None,
            }),
        }
    }

    /// An entry, and the value beside it.
    pub(crate) fn entry(&self, entry: &Entry) -> (api::Entry, Option<TokenValue>) {
        match entry {
            Entry::Owed(debt) => {
                let plan::Debt {
                    token_id,
                    base_url,
                    user_id,
                    hash,
                    value,
                    evidence,
                } = self.debt(debt);
                let token = NamedToken {
                    owner: self.names.owners[entry.owner()].clone(),
                    token_id,
                    base_url,
                    user_id,
                };
                let before = match evidence {
                    plan::Evidence::Sure => None,
                    plan::Evidence::Recorded { before } => Some(before),
                };
                let owed = OwedToken {
                    token,
                    hash,
                    before,
                };
                (api::Entry::Owed(owed), value)
            }
            Entry::Unresolved { attempt: id, .. } => {
                // Nobody asks for its number any more.
                let attempt = world::Attempt {
                    at: At { number: 1, id: *id },
                    given_up: vec![],
                };
                let attempt = self.names.attempt(&attempt, self.dialect);
                (api::Entry::Unresolved(attempt), None)
            }
        }
    }

    pub(crate) fn memory(&self, memory: &Memory) -> plan::Memory {
        plan::Memory {
            attempt: memory.attempt.as_ref().map(|open| {
                let mut seen = self.now(open.age);
                let searched = match open.fate {
                    Fate::Unknown { searched } => {
                        searched.map(|age| seen.elapsed + self.tick * age.into())
                    }
                    _ => None,
                };
                if self.without == Some(Guard::WaitForPosts) && open.fate != Fate::Unsent {
                    seen = self.now(self.caps.unknown);
                }
                OpenAttempt {
                    attempt: self.names.attempt(&open.attempt, self.dialect),
                    seen,
                    fate: match &open.fate {
                        Fate::Unsent => plan::Fate::Unsent,
                        Fate::Void => plan::Fate::Void,
                        Fate::Minted(token) => plan::Fate::Minted(self.names.minted(*token)),
                        Fate::Withheld(tokens) => plan::Fate::Withheld(self.ids(tokens).collect()),
                        Fate::Unknown { .. } => plan::Fate::Unknown { searched },
                    },
                    others: self.ids(&open.others).collect(),
                }
            }),
            surplus: memory.surplus.iter().map(|debt| self.debt(debt)).collect(),
            leftovers: memory
                .leftovers
                .iter()
                .map(|row| self.leftover(row))
                .collect(),
            missing: memory.missing.map(|token| plan::Missing {
                token_id: self.names.id(token).clone(),
                listed: Duration::ZERO,
            }),
            tried: None,
            issued: memory.issued.map(|issued| self.names.issued(issued)),
            held: memory.held.map(|token| self.names.value(token).clone()),
            verified: memory
                .verified
                .map(|(token, _, version)| (self.names.hash(token).clone(), version.to_string())),
            revoked: self.ids(&memory.revoked).collect(),
            self_refused: self.ids(&memory.self_refused).collect(),
            revoke_unknown: self.ids(&memory.revoke_unknown).collect(),
            self_unknown: BTreeSet::new(),
            unseen: None,
            lost: memory.lost.into(),
            failures: memory.failed.into(),
        }
    }

    fn ids(&self, tokens: &[u8]) -> impl Iterator<Item = TokenId> {
        tokens.iter().map(|token| self.names.id(*token).clone())
    }

    fn debt(&self, debt: &Debt) -> plan::Debt {
        let Debt {
            token,
            hash,
            value,
            sure,
        } = *debt;
        plan::Debt {
            token_id: self.names.id(token).clone(),
            base_url: PLATFORM.into(),
            user_id: Some(self.names.user.clone()),
            hash: hash.then(|| self.names.hash(token).clone()),
            value: value.then(|| self.names.value(token).clone()),
            evidence: if sure {
                plan::Evidence::Sure
            } else {
                plan::Evidence::Recorded {
                    before: self.names.past,
                }
            },
        }
    }

    fn leftover(&self, row: &Leftover) -> plan::Leftover {
        plan::Leftover {
            token_id: self.names.id(row.token).clone(),
            attempt: Some(self.names.id_of_attempt(row.attempt).clone()),
            base_url: PLATFORM.into(),
            user_id: self.names.user.clone(),
        }
    }

    fn secret(&self, facts: &Facts) -> SecretFacts {
        match facts {
            Facts::Unread(version) => SecretFacts::Unread {
                resource_version: version.map(|version| version.to_string()),
            },
            Facts::Absent => SecretFacts::Absent,
            Facts::Foreign(dying) => SecretFacts::Foreign {
                trouble: plan::Trouble::stalled(Reason::SecretNotWritable, "is another's"),
                dying: dying.map(version),
            },
            Facts::Left(written, issued, given_up) => SecretFacts::Left(Box::new(LeftSecret {
                version: version(*written),
                from: self.names.owners[0].clone(),
                issued: self.names.issued(*issued),
                given_up: self.ids(given_up).collect(),
                value: self.names.value(issued.token).clone(),
            })),
            Facts::Own(own) => SecretFacts::Own(Box::new(OwnSecret {
                version: version(own.version),
                deleting: own.deleting,
                held: own.held,
                issued: own.issued.map(|issued| self.names.issued(issued)),
                given_up: self.ids(&own.given_up).collect(),
                value: own.value.map(|token| self.names.value(token).clone()),
                whole: own.whole,
            })),
        }
    }

    fn status(&self, status: &Status) -> PlatformTokenStatus {
        let issued = status.issued.map(|issued| self.names.issued(issued));
        let condition = status.told.map(|told| {
            let (is, reason) = match told {
                Told::Ready => ("True", Reason::Issued),
                Told::Trouble(reason) => ("False", reason),
            };
            Condition {
                type_: "Ready".into(),
                status: is.into(),
                reason: reason.as_str().into(),
                message: String::new(),
                observed_generation: Some(1),
                last_transition_time: Time(self.names.past),
            }
        });
        PlatformTokenStatus {
            uid: None,
            observed_generation: status.told.map(|_| 1),
            attempt: issued.as_ref().map(|issued| issued.attempt.clone()),
            token_id: issued.as_ref().map(|issued| issued.token_id.clone()),
            token_hash: issued.as_ref().map(|issued| issued.hash.clone()),
            user_id: issued.as_ref().map(|issued| issued.user_id.clone()),
            base_url: issued.as_ref().map(|issued| issued.base_url.clone()),
            issued_at: issued.as_ref().map(|issued| Time(issued.issued_at)),
            secret_name: status.secret.map(|name| name.to_string()),
            secret_resource_version: status.secret_version.map(|version| version.to_string()),
            conditions: condition.into_iter().collect(),
        }
    }

    fn recovery(&self, recovery: &Recovery) -> plan::Recovery {
        match recovery {
            Recovery::Value(token) => plan::Recovery::Value(self.names.value(*token).clone()),
            Recovery::Gone => plan::Recovery::Gone,
            Recovery::Withheld => plan::Recovery::Withheld,
        }
    }

    pub(crate) fn outcome(&self, answer: &Answer) -> Outcome {
        let failed = |reason| plan::Trouble::transient(reason, "");
        match answer {
            Answer::Secret(facts) => Outcome::Secret(self.secret(facts)),
            Answer::Writable => Outcome::Writable,
            Answer::Exists => Outcome::Exists,
            Answer::Held(version) => Outcome::Held {
                resource_version: version.to_string(),
            },
            Answer::Opened(_, version) => Outcome::Opened {
                resource_version: version.to_string(),
            },
            Answer::Permitted => Outcome::Permitted,
            Answer::Struck => Outcome::Struck,
            Answer::Owed => Outcome::Owed,
            Answer::Current => Outcome::Current,
            Answer::TokenGone => Outcome::TokenGone,
            Answer::Minted(token) => Outcome::Minted(self.names.minted(*token)),
            Answer::Found { kept, others } => Outcome::Found {
                kept: self.names.minted(*kept),
                others: self.ids(others).collect(),
            },
            Answer::MintedWithheld(tokens) => Outcome::MintedWithheld(self.ids(tokens).collect()),
            Answer::Suspects(tokens) => Outcome::Suspects(self.ids(tokens).collect()),
            Answer::NotMinted => Outcome::NotMinted(failed(Reason::Throttled)),
            Answer::MintUnknown => Outcome::MintUnknown(failed(Reason::Unreachable)),
            Answer::NoneMinted => Outcome::NoneMinted,
            Answer::Recovered(recovery) => Outcome::Recovered(self.recovery(recovery)),
            Answer::Stored(written) => Outcome::Stored(version(*written)),
            Answer::Verified => Outcome::Verified,
            Answer::ValueUnknown => Outcome::ValueUnknown(failed(Reason::VerificationFailed)),
            Answer::SecretDeleting(marked) => Outcome::SecretDeleting(version(*marked)),
            Answer::SecretGone => Outcome::SecretGone,
            Answer::Revoked => Outcome::Revoked,
            Answer::NotOurs => Outcome::NotOurs,
            Answer::NotListed => Outcome::NotListed,
            Answer::RevokeUnknown => Outcome::RevokeUnknown(failed(Reason::Unreachable)),
            Answer::SelfUnknown => Outcome::SelfUnknown,
            Answer::Recorded => Outcome::Recorded,
            Answer::Lifted => Outcome::Lifted,
            Answer::Stale => Outcome::Stale,
            Answer::Failed(reason) => Outcome::Failed(failed(*reason)),
        }
    }
}

fn version(resource_version: u8) -> Version {
    Version {
        uid: "uid".into(),
        resource_version: resource_version.to_string(),
        other_finalizers: vec![],
    }
}

fn trouble(trouble: Trouble) -> plan::Trouble {
    plan::Trouble {
        reason: trouble.reason,
        message: String::new(),
        reaction: match trouble.reaction {
            Reaction::Stalled => plan::Reaction::Stalled,
            Reaction::Transient => plan::Reaction::Transient,
            Reaction::Waiting(seconds) => plan::Reaction::Waiting(Duration::from_secs(seconds)),
        },
    }
}
