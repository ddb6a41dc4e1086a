//! And back. What is not named here does not outlive a step: whatever the operator adds has to be named first.

use std::time::Duration;

use platform_token_operator::api::{self, Attempt, PlatformTokenStatus, Reason, TokenValue, names};
use platform_token_operator::plan::{
    self, AccountFacts, LeftSecret, OpenAttempt, OwnSecret, SecretFacts, Snapshot, TokenFacts,
    Version,
};

use crate::mind::{
    Account, Debt, Facts, Fate, Leftover, Memory, Open, Own, Reaction, Recovery, Run, Trouble,
};
use crate::names as names_of;
use crate::rules::{NOW, Rules};
use crate::world::{self, Entry, PlatformToken, Status, Told};

impl Rules {
    pub(crate) fn back(&self, i: usize, snapshot: Snapshot) -> (Memory, Run) {
        let Snapshot {
            token,
            account,
            secrets,
            memory,
            credentials: _,
            silent: _,
            fresh,
            run,
        } = snapshot;
        let TokenFacts {
            owner: _,
            generation: _,
            resource_version,
            created_at: _,
            deleted_at,
            finalizers,
            secret_name: _,
            policy: _,
            adopts: _,
            holds_secrets: _,
            admission: _,
            take_over: _,
            attempt,
            status,
        } = token;
        let plan::Run {
            proven,
            gone,
            ledger,
            failed,
            permitted,
            writable,
            recovery,
            // Nothing is adopted here.
            adopted: _,
            struck,
            retained: _,
            vanished,
            stale,
            trouble,
            notes: _,
        } = run;
        let mut facts = [None, None];
        for (name, secret) in &secrets {
            facts[usize::from(names_of::number(name))] = Some(secret_back(secret));
        }
        let run = Run {
            token: PlatformToken {
                version: version_back(&resource_version),
                deleting: deleted_at.is_some(),
                held: finalizers.iter().any(|f| f == names::FINALIZER),
                attempt: attempt
                    .expect("annotations read here")
                    .map(|attempt| attempt_back(&attempt)),
                status: status_back(&status),
            },
            secrets: facts,
            proven: proven.map(|at| self.ticks(NOW.abs_diff(at.elapsed))),
            gone,
            account: match account {
                AccountFacts::Pending => Account::Pending,
                AccountFacts::Broken(_) => Account::Broken,
                AccountFacts::Ready(_) => Account::Proven,
                AccountFacts::Left(..) => panic!("no account is deleted here"),
            },
            ledger,
            failed,
            permitted,
            struck,
            writable,
            stale,
            recovery: recovery.map(|recovery| match recovery {
                plan::Recovery::Value(value) => Recovery::Value(names_of::token_of(&value)),
                plan::Recovery::Gone => Recovery::Gone,
                plan::Recovery::Withheld => Recovery::Withheld,
            }),
            vanished: vanished.as_ref().map(names_of::token),
            trouble: trouble.map(|trouble| Trouble {
                reason: trouble.reason,
                reaction: match trouble.reaction {
                    plan::Reaction::Stalled => Reaction::Stalled,
                    plan::Reaction::Transient => Reaction::Transient,
                    plan::Reaction::Waiting(wait) => Reaction::Waiting(wait.as_secs()),
                },
            }),
            answer: None,
            opened: fresh.is_none(),
        };
        (self.memory_back(i, &memory), run)
    }

    fn memory_back(&self, i: usize, memory: &plan::Memory) -> Memory {
        let plan::Memory {
            attempt,
            surplus,
            leftovers,
            missing,
            tried,
            issued,
            held,
            verified,
            revoked,
            self_refused,
            revoke_unknown,
            // It says something only where an account is gone.
            self_unknown: _,
            unseen,
            lost,
            failures,
        } = memory;
        assert_eq!(*tried, None, "no list lags here");
        assert_eq!(*unseen, None, "no account selects here");
        Memory {
            attempt: attempt.as_ref().map(|open| {
                let OpenAttempt {
                    attempt,
                    seen,
                    fate,
                    others,
                } = open;
                Open {
                    attempt: attempt_back(attempt),
                    age: self.ticks(NOW.abs_diff(seen.elapsed)),
                    fate: match fate {
                        plan::Fate::Unsent => Fate::Unsent,
                        plan::Fate::Void => Fate::Void,
                        plan::Fate::Minted(minted) => {
                            Fate::Minted(names_of::token(&minted.token_id))
                        }
                        plan::Fate::Withheld(ids) => Fate::Withheld(names_of::tokens(ids)),
                        plan::Fate::Unknown { searched } => Fate::Unknown {
                            searched: searched.map(|at| self.ticks(at.abs_diff(seen.elapsed))),
                        },
                    },
                    others: names_of::tokens(others),
                }
            }),
            surplus: surplus.iter().map(debt_back).collect(),
            leftovers: leftovers.iter().map(leftover_back).collect(),
            missing: missing
                .as_ref()
                .map(|missing| names_of::token(&missing.token_id)),
            issued: issued.as_ref().map(names_of::issued),
            held: held.as_ref().map(names_of::token_of),
            verified: verified.as_ref().map(|(hash, version)| {
                let token = self.names.number_of_hash(hash);
                (token, self.secret_names[i], names_of::number(version))
            }),
            revoked: names_of::tokens(revoked),
            self_refused: names_of::tokens(self_refused),
            revoke_unknown: names_of::tokens(revoke_unknown),
            lost: u8::try_from(*lost).expect("few answers are lost here"),
            failed: *failures > 0,
        }
    }

    fn ticks(&self, age: Duration) -> u8 {
        u8::try_from(age.as_secs() / self.tick.as_secs()).expect("ages are capped")
    }
}

/// The resourceVersion of a PlatformToken; what is gone has none.
fn version_back(text: &str) -> u8 {
    match text {
        "" => 0,
        text => names_of::number(text),
    }
}

/// An entry of the ledger, as it was just written.
pub(crate) fn entry_back(entry: &api::Entry, value: Option<&TokenValue>) -> Entry {
    let entry_of = |entry: Entry, owner: &api::Owner| {
        let number = entry.owner();
        assert_eq!(owner.name, ["x", "y"][number], "whose {entry:?} is");
        entry
    };
    match entry {
        api::Entry::Owed(api::OwedToken {
            token,
            hash,
            before,
        }) => {
            let debt = Debt {
                token: names_of::token(&token.token_id),
                hash: hash.is_some(),
                value: value.is_some(),
                sure: before.is_none(),
            };
            entry_of(Entry::Owed(debt), &token.owner)
        }
        api::Entry::Unresolved(attempt) => {
            let unresolved = Entry::Unresolved {
                attempt: names_of::number(attempt.at.id.as_str()),
                seen: [0, 0],
            };
            entry_of(unresolved, &attempt.owner)
        }
        api::Entry::Released(_) => panic!("nothing is released here"),
    }
}

/// The annotation of an attempt.
pub(crate) fn attempt_back(attempt: &Attempt) -> world::Attempt {
    let Attempt {
        at,
        opened_at: _,
        dialect: _,
        owner: _,
        account: _,
        given_up,
        adopts: _,
    } = attempt;
    world::Attempt {
        at: names_of::at(at),
        given_up: names_of::tokens(given_up),
    }
}

fn debt_back(debt: &plan::Debt) -> Debt {
    let plan::Debt {
        token_id,
        base_url: _,
        user_id: _,
        hash,
        value,
        evidence,
    } = debt;
    Debt {
        token: names_of::token(token_id),
        hash: hash.is_some(),
        value: value.is_some(),
        sure: matches!(evidence, plan::Evidence::Sure),
    }
}

fn leftover_back(row: &plan::Leftover) -> Leftover {
    let attempt = row.attempt.as_ref().expect("attempts make tokens here");
    Leftover {
        token: names_of::token(&row.token_id),
        attempt: names_of::number(attempt.as_str()),
    }
}

pub(crate) fn status_back(status: &PlatformTokenStatus) -> Status {
    let ready = status.conditions.iter().find(|c| c.type_ == "Ready");
    Status {
        issued: status.issued().map(|issued| names_of::issued(&issued)),
        secret: status.secret_name.as_deref().map(names_of::number),
        secret_version: status
            .secret_resource_version
            .as_deref()
            .map(names_of::number),
        told: ready.map(|c| match c.status.as_str() {
            "True" => Told::Ready,
            _ => Told::Trouble(reason(&c.reason)),
        }),
    }
}

/// A Secret as a process reads it, by the rules that ship.
pub(crate) fn secret_back(facts: &SecretFacts) -> Facts {
    match facts {
        SecretFacts::Unread { resource_version } => {
            Facts::Unread(resource_version.as_deref().map(names_of::number))
        }
        SecretFacts::Absent => Facts::Absent,
        SecretFacts::Left(left) => {
            let LeftSecret {
                version,
                from: _,
                issued,
                given_up,
                value: _,
            } = &**left;
            Facts::Left(
                names_of::number(&version.resource_version),
                names_of::issued(issued),
                names_of::tokens(given_up),
            )
        }
        // What is told of it is told again when it is read again.
        SecretFacts::Foreign { trouble: _, dying } => {
            let version = |dying: &Version| names_of::number(&dying.resource_version);
            Facts::Foreign(dying.as_ref().map(version))
        }
        SecretFacts::Retained(_) => unreachable!("nothing is retained here"),
        SecretFacts::Own(own) => {
            let OwnSecret {
                version,
                deleting,
                held,
                issued,
                given_up,
                value,
                whole,
            } = &**own;
            Facts::Own(Own {
                version: names_of::number(&version.resource_version),
                deleting: *deleting,
                held: *held,
                issued: issued.as_ref().map(names_of::issued),
                given_up: names_of::tokens(given_up),
                value: value.as_ref().map(names_of::token_of),
                whole: *whole,
            })
        }
    }
}

/// The reasons that a run can end with here.
fn reason(text: &str) -> Reason {
    [
        Reason::AdoptionRefused,
        Reason::CreateOutcomeUnknown,
        Reason::KubernetesError,
        Reason::SecretNotWritable,
        Reason::Throttled,
        Reason::Unreachable,
        Reason::ValueUnavailable,
        Reason::VerificationFailed,
    ]
    .into_iter()
    .find(|reason| reason.as_str() == text)
    .unwrap_or_else(|| panic!("no run ends with {text} here"))
}
