//! How the outcome of a step changes what is known.

use std::collections::BTreeSet;
use std::time::Duration;

use super::debts::{Debt, LISTED_WITHIN};
use super::memory::{Fate, OpenAttempt};
use super::snapshot::Snapshot;
use super::step::bound;
use super::{
    Admission, Halt, Moment, Note, Outcome, OwnSecret, Recovery, SecretFacts, Step, Trouble,
};
use crate::api::{Attempt, Dialect, Issued, Reason, TokenId, TokenValue, names};

impl Snapshot {
    /// Takes in what came of a step that was begun at `now`.
    pub fn fold(&mut self, step: Step, outcome: Outcome, now: Moment) {
        match (step, outcome) {
            (Step::Verify { issued, .. }, outcome) => self.fold_proof(issued, outcome),
            (Step::Revoke { token_id, with, .. }, outcome)
                if !matches!(outcome, Outcome::Stale) =>
            {
                self.fold_revocation(token_id, &with, outcome, now);
            }
            // The account is too busy, or changes all the time: whoever goes has waited long enough.
            (Step::Revoke { .. } | Step::FindMinted(_), Outcome::Stale)
                if self.goes() && self.may_put_off(now) =>
            {
                self.run.failed = true;
            }
            (
                Step::FindMinted(_) | Step::Recover(_) | Step::Adopt { .. },
                Outcome::Failed(trouble),
            ) => {
                self.fail(trouble, now);
            }
            (Step::Record(entry, _), outcome) if !matches!(outcome, Outcome::Stale) => {
                self.fold_recorded(entry, outcome);
            }
            (step, Outcome::Failed(trouble)) => {
                // It may have been done all the same.
                if let Step::Store { name, .. }
                | Step::Release { name, .. }
                | Step::Retain { name, .. }
                | Step::Remove { name, .. } = step
                {
                    self.doubt_secret(name);
                }
                self.run.trouble = Some(trouble);
            }
            (
                step @ (Step::Preflight { .. }
                | Step::Store { .. }
                | Step::Release { .. }
                | Step::Retain { .. }
                | Step::Remove { .. }),
                outcome,
            ) => self.fold_secret(step, outcome),
            (_, Outcome::Stale) => self.run.stale = true,
            (Step::Permit, Outcome::Permitted) => self.run.permitted = true,
            (Step::ReadSecret { name }, Outcome::Secret(facts)) => {
                if let SecretFacts::Own(own) = &facts {
                    self.forget_stored(own);
                }
                self.secrets.insert(name, facts);
                self.remember_present();
            }
            (Step::Hold(attempt), Outcome::Held { resource_version }) => {
                self.hold(resource_version, now);
                if attempt.is_some() {
                    self.token.attempt = Ok(attempt);
                }
            }
            (Step::Open(attempt), Outcome::Opened { resource_version }) => {
                self.hold(resource_version, now);
                self.fresh = None;
                self.token.attempt = Ok(Some(attempt.clone()));
                let opened = OpenAttempt {
                    fate: Fate::of_new(&attempt),
                    attempt,
                    seen: now,
                    others: BTreeSet::new(),
                };
                if let Some(former) = self.memory.attempt.replace(opened) {
                    self.memory.owe(former.debts());
                }
            }
            (Step::Adopt { .. }, Outcome::Adopted(adopted)) => self.run.adopted = Some(adopted),
            (Step::Strike { .. }, Outcome::Struck) => self.run.struck = true,
            (Step::Strike { token_id, .. }, Outcome::Owed) => {
                let text = format!(
                    "token {token_id} is to be revoked, which is final; a new one takes its place when it is gone"
                );
                self.run.trouble = Some(Trouble::stalled(Reason::AdoptionRefused, text));
            }
            (Step::Look, Outcome::Current) => self.run.proven = Some(now),
            (Step::Look, Outcome::TokenGone) | (Step::LiftFinalizer, Outcome::Lifted) => {
                self.run.gone = true;
            }
            (Step::Look, Outcome::NamespaceGoing) => {
                let namespace = &self.token.owner.namespace;
                let text =
                    format!("namespace {namespace} is being deleted, and takes no Secret any more");
                let wait = Duration::from_secs(5);
                self.run.trouble = Some(Trouble::waiting(wait, Reason::SecretNotWritable, text));
            }
            (step @ (Step::Mint(_) | Step::FindMinted(_)), outcome) => {
                self.fold_attempt(step, outcome, now);
            }
            (Step::Recover(issued), Outcome::Recovered(recovery)) => {
                self.fold_recovery(issued, recovery, now);
            }
            (step, outcome) => self.fold_mismatch(&step, &outcome),
        }
    }

    /// What the platform said of a lost value.
    fn fold_recovery(&mut self, issued: Issued, recovery: Recovery, now: Moment) {
        match &recovery {
            Recovery::Value(value) => self.memory.held = Some(value.clone()),
            // A younger one may not be listed yet.
            Recovery::Gone if now.wall.duration_since(issued.issued_at) >= LISTED_WITHIN => {
                self.settle(issued.token_id);
            }
            Recovery::Gone | Recovery::Withheld => {}
        }
        self.run.recovery = Some(recovery);
    }

    /// What became of the POST of the open attempt.
    fn fold_attempt(&mut self, step: Step, outcome: Outcome, now: Moment) {
        match (step, outcome) {
            (Step::Mint(_), Outcome::Minted(minted)) => self.decide_fate(Fate::Minted(minted)),
            (Step::FindMinted(_), Outcome::Found { kept, others }) => {
                self.decide_fate(Fate::Minted(kept));
                if let Some(open) = &mut self.memory.attempt {
                    open.others.extend(others);
                }
            }
            // What the answer withholds, the list may show.
            (Step::Mint(attempt), Outcome::MintedWithheld(_))
                if attempt.dialect == Dialect::Current =>
            {
                self.memory.lost = self.memory.lost.saturating_add(1);
                self.decide_fate(Fate::Unknown { searched: None });
            }
            (Step::Mint(_), Outcome::MintedWithheld(ids)) => {
                self.memory.lost = self.memory.lost.saturating_add(1);
                self.decide_fate(Fate::Withheld(ids));
            }
            (Step::FindMinted(_), Outcome::MintedWithheld(ids)) => {
                self.decide_fate(Fate::Withheld(ids));
            }
            (Step::Mint(_), Outcome::NotMinted(trouble)) => {
                self.decide_fate(Fate::Void);
                self.run.trouble = Some(trouble);
            }
            (Step::Mint(_), Outcome::MintUnknown(trouble)) => {
                self.memory.lost = self.memory.lost.saturating_add(1);
                self.decide_fate(Fate::Unknown { searched: None });
                self.note_warning(Reason::CreateOutcomeUnknown, trouble.message);
            }
            (Step::FindMinted(_), Outcome::NoneMinted) => self.found_none(now),
            (Step::FindMinted(attempt), Outcome::Suspects(ids)) => {
                self.found_none(now);
                self.note_suspects(&attempt, &ids);
            }
            (step, outcome) => self.fold_mismatch(&step, &outcome),
        }
    }

    /// A search found no token of the attempt. It may have been stored since the Secrets were read.
    fn found_none(&mut self, now: Moment) {
        self.decide_fate(Fate::Unknown {
            searched: Some(now.elapsed),
        });
        let names: Vec<String> = self.secrets.keys().cloned().collect();
        for name in names {
            self.doubt_secret(name);
        }
    }

    /// A Secret is not known any more, and has to be read again.
    fn doubt_secret(&mut self, name: String) {
        let resource_version = None;
        self.secrets
            .insert(name, SecretFacts::Unread { resource_version });
    }

    /// What a Secret proves to be the present token is remembered: the Secret may go before the status says so.
    fn remember_present(&mut self) {
        let proven = |issued: &Issued| {
            let mut own = self.own_secrets();
            own.any(|(_, own)| bound(own.value.as_ref(), &issued.hash).is_some())
        };
        let Some(present) = self.present().filter(proven) else {
            return;
        };
        // Another process has superseded what this one had seen, and may never have known of it.
        let former = self.memory.issued.replace(present.clone());
        if let Some(former) = former.filter(|former| former.token_id != present.token_id) {
            let value = self.memory.held.take_if(|held| held.hash() == former.hash);
            self.memory.owe([Debt::of(former, value)]);
        }
    }

    /// A Secret that bears the attempt closes it: what it holds is remembered no longer.
    fn forget_stored(&mut self, own: &OwnSecret) {
        let in_secret = |held: &mut TokenValue| {
            own.value.as_ref().map(TokenValue::hash) == Some(held.hash()) && !own.deleting
        };
        self.memory.held.take_if(in_secret);
        let holds = |open: &mut OpenAttempt| match (&own.issued, &own.value, &open.fate) {
            (Some(issued), Some(_), Fate::Minted(minted)) => {
                issued.attempt == open.attempt.at && issued.token_id == minted.token_id
            }
            _ => false,
        };
        if let Some(closed) = self.memory.attempt.take_if(holds) {
            let present = own.issued.as_ref().map(|issued| &issued.token_id);
            let others = closed.debts().into_iter();
            let others = others.filter(|debt| Some(&debt.token_id) != present);
            self.memory.owe(others);
        }
    }

    /// What came of a step on a Secret. A write that came too late leaves the Secret to be read again.
    fn fold_secret(&mut self, step: Step, outcome: Outcome) {
        match (step, outcome) {
            (Step::Preflight { .. }, Outcome::Writable) => self.run.writable = true,
            (
                Step::Store { name, .. }
                | Step::Release { name, .. }
                | Step::Retain { name, .. }
                | Step::Remove { name, .. },
                Outcome::Stale | Outcome::Exists,
            )
            | (Step::Preflight { name }, Outcome::Exists) => {
                self.run.writable = false;
                self.run.adopted = None;
                self.doubt_secret(name);
            }
            (
                Step::Store {
                    name,
                    issued,
                    given_up,
                    value,
                    because,
                    ..
                },
                Outcome::Stored(version),
            ) => {
                self.note_stored(because, &name, &issued);
                self.memory.held = None;
                self.memory.verified = None;
                self.memory.lost = 0;
                self.memory.issued = Some(issued.clone());
                let own = OwnSecret {
                    version,
                    deleting: false,
                    held: self.token.holds_secrets,
                    issued: Some(issued),
                    given_up,
                    value: Some(value),
                    whole: true,
                };
                self.forget_stored(&own);
                self.secrets.insert(name, SecretFacts::Own(Box::new(own)));
            }
            (Step::Remove { name, .. }, Outcome::SecretDeleting(version)) => {
                if let Some(SecretFacts::Own(own)) = self.secrets.get_mut(&name) {
                    own.version = version;
                    own.deleting = true;
                }
            }
            (Step::Retain { name, .. }, Outcome::Retained(version)) => {
                self.secrets.insert(name, SecretFacts::Retained(version));
                self.run.retained = true;
            }
            (
                Step::Remove { name, .. } | Step::Release { name, .. } | Step::Retain { name, .. },
                Outcome::SecretGone,
            ) => {
                let wanted = name == self.token.secret_name;
                let former = self.secrets.insert(name, SecretFacts::Absent);
                if let Some(SecretFacts::Own(own)) = former
                    && wanted
                {
                    self.memory.owe(own.debts());
                    if own.value.is_some() {
                        self.memory.held = own.value;
                    }
                }
            }
            (step, outcome) => self.fold_mismatch(&step, &outcome),
        }
    }

    /// A call in the name of the account failed.
    pub(super) fn fail(&mut self, trouble: Trouble, now: Moment) {
        match self.of_account(trouble) {
            Halt::Trouble(trouble) => self.has_failed(trouble, now),
            Halt::Silent => self.run.stale = true,
        }
    }

    fn fold_mismatch(&mut self, step: &Step, outcome: &Outcome) {
        self.run.trouble = Some(mismatch(step.name(), outcome));
    }

    pub(super) fn note_revoked(&mut self, token_id: TokenId) {
        let text = format!("Revoked platform token {token_id}");
        self.run.notes.push(Note::normal(Reason::Revoked, text));
        self.settle(token_id);
    }

    /// There is nothing left to be done about this token.
    pub(super) fn settle(&mut self, token_id: TokenId) {
        self.memory.surplus.retain(|debt| debt.token_id != token_id);
        if let Some(open) = &mut self.memory.attempt
            && matches!(&open.fate, Fate::Minted(minted) if minted.token_id == token_id)
        {
            open.fate = Fate::Void;
        }
        let issued = self.memory.issued.as_ref();
        if issued.is_some_and(|issued| issued.token_id == token_id) {
            self.memory.held = None;
        }
        self.memory.revoked.insert(token_id);
    }

    fn hold(&mut self, resource_version: String, now: Moment) {
        self.token.resource_version = resource_version;
        self.run.proven = Some(now);
        if !self.token.is_held() {
            self.token.finalizers.push(names::FINALIZER.into());
        }
    }

    fn decide_fate(&mut self, fate: Fate) {
        if let Some(open) = &mut self.memory.attempt {
            open.fate = fate;
        }
    }

    fn note_stored(&mut self, because: Reason, secret: &str, issued: &Issued) {
        let id = &issued.token_id;
        let text = match because {
            // Only the record changed.
            Reason::Revoked => return,
            Reason::Issued => {
                format!("Created platform token {id} and stored it in Secret {secret}")
            }
            Reason::Adopted => {
                format!("Adopted platform token {id} and stored it in Secret {secret}")
            }
            Reason::Replaced => {
                let former = self.present().map(|issued| issued.token_id);
                let why = if self.run.vanished.is_some() && self.run.vanished == former {
                    ", which was revoked elsewhere"
                } else if self
                    .present()
                    .is_some_and(|issued| self.value_of(&issued.hash).is_none())
                {
                    ", whose value was lost"
                } else {
                    ""
                };
                let former = former.as_ref().map_or("another", TokenId::as_str);
                format!(
                    "Created platform token {id} in place of {former}{why}, and stored it in Secret {secret}"
                )
            }
            Reason::TakenOver => {
                let from = match self.secrets.get(secret) {
                    Some(SecretFacts::Left(left)) => left.from.to_string(),
                    _ => "another".into(),
                };
                format!(
                    "Took over platform token {id} and Secret {secret}, which PlatformToken {from} left"
                )
            }
            Reason::Moved => format!("Moved platform token {id} to Secret {secret}"),
            _ => format!(
                "Wrote platform token {id} to Secret {secret} again, which had been deleted or edited"
            ),
        };
        self.run.notes.push(Note::normal(because, text));
    }

    fn note_suspects(&mut self, attempt: &Attempt, ids: &[TokenId]) {
        // Where the account does not serve, its status alone says so.
        if ids.is_empty() || self.token.admission != Admission::Granted {
            return;
        }
        let shown: Vec<&str> = ids.iter().take(20).map(TokenId::as_str).collect();
        let text = format!(
            "Attempt {} may have made one of these tokens, which nobody uses: {}; they are listed in the status of the \
             account, revoke them there if no one else needs them",
            attempt.at.id,
            shown.join(", ")
        );
        self.note_warning(Reason::CreateOutcomeUnknown, text);
    }

    pub(super) fn note_warning(&mut self, reason: Reason, text: String) {
        self.run.notes.push(Note::warning(reason, text));
    }
}

pub(super) fn mismatch(step: &str, outcome: &Outcome) -> Trouble {
    let text = format!("step {step} cannot come to {outcome:?}; please report this");
    Trouble::transient(Reason::KubernetesError, text)
}
