//! The ledger: an entry is written by whoever has to let go, and paid by any process. A payment is a run of the rules that
//! has nothing but its entry, and ends by striking it.

use std::rc::Rc;

use platform_token_operator::plan::{Step, takes_the_place};

use crate::claims::Claim;
use crate::guards::Guard;
use crate::mind::{Account, Answer, Payment};
use crate::rules::Said;
use crate::scene::Scene;
use crate::story::upstream_name;
use crate::world::{Entry, GROUP};

impl Scene<'_> {
    /// Creating an entry is the compare-and-swap; what is there stays, unless the rules know better.
    pub(crate) fn record(&mut self, new: Entry) -> Answer {
        self.tell(|| format!("writes to the ledger: {}", entry_name(&new)));
        if self.world.without == Some(Guard::WriteDown) {
            return Answer::Recorded;
        }
        let ledger = &mut self.state.ledger;
        let old = ledger.iter().position(|old| old.speaks_of(&new));
        let (entry, value) = self.rules.entry(&new);
        let old_entry = old.map(|k| self.rules.entry(&ledger[k]));
        let (former, valued) = match &old_entry {
            Some((former, value)) => (Some(former), value.is_some()),
            None => (None, false),
        };
        if takes_the_place((&entry, value.is_some()), (former, valued)) {
            old.map(|k| ledger.remove(k));
            ledger.push(new);
            ledger.sort_unstable();
        }
        Answer::Recorded
    }

    /// Nothing is released here, so there is nothing to strike; what is owed stays.
    pub(crate) fn look_up(&mut self, token: u8) -> Answer {
        let owed = |entry: &Entry| matches!(entry, Entry::Owed(debt) if debt.token == token);
        let owed = self.state.ledger.iter().any(owed);
        self.tell(|| {
            let told = if owed {
                "it is owed"
            } else {
                "it says nothing"
            };
            format!("asks the ledger about {}: {told}", upstream_name(token))
        });
        if owed { Answer::Owed } else { Answer::Struck }
    }

    /// Whether a process looks after the ledger: not before it knows every account.
    pub(crate) fn pays(&self, p: usize) -> bool {
        self.state.processes[p].account != Account::Pending
    }

    /// The payment that a process is at, or else would begin with this entry.
    fn payment(&self, p: usize, k: usize) -> Payment {
        let process = &self.state.processes[p];
        process.payment.clone().unwrap_or_else(|| {
            let entry = self.state.ledger[k].clone();
            let asked = self.rules.payment(&entry, p, process.account);
            Payment {
                entry: entry.unseen(),
                asked: Some(asked),
            }
        })
    }

    /// What the rules say of a payment; none if it is paid.
    fn said_of(&mut self, payment: &Payment) -> Option<Rc<Said>> {
        let (memory, run) = payment.asked.as_ref()?;
        Some(self.rules.next(payment.entry.owner(), memory, run))
    }

    /// Whether the next that a payment does is a DELETE.
    pub(crate) fn pays_by_revoking(&mut self, p: usize, k: usize) -> bool {
        let payment = self.payment(p, k);
        let said = self.said_of(&payment);
        matches!(said.as_deref(), Some(Said::Step(Step::Revoke { .. })))
    }

    /// The next of a payment: a call to the platform, or the end.
    pub(crate) fn pay(&mut self, p: usize, k: usize, heard: bool) {
        let mut payment = self.payment(p, k);
        self.tell(|| format!("pays {}", entry_name(&payment.entry)));
        if self.world.without == Some(Guard::PayFirst) {
            self.strike(&payment.entry);
        }
        let Some(said) = self.said_of(&payment) else {
            self.strike(&payment.entry);
            self.state.processes[p].payment = None;
            return;
        };
        if let Said::Step(step) = &*said {
            let answer = self.effect_of_payment(p, &payment.entry, step);
            let answer = if heard {
                answer
            } else {
                self.state.left.lost -= 1;
                self.tell(|| "the answer is lost".into());
                Answer::RevokeUnknown
            };
            let (memory, run) = payment.asked.expect("it was asked about");
            let owner = payment.entry.owner();
            let folded = self.rules.fold(owner, &memory, &run, (&answer, 0));
            payment.asked = Some((*folded).clone());
        }
        let ended = match self.said_of(&payment).as_deref() {
            Some(Said::Settled(rest)) => Some((rest.gone, rest.verdict.clone())),
            _ => None,
        };
        self.state.processes[p].payment = match ended {
            None => Some(payment),
            Some((true, _)) => Some(Payment {
                asked: None,
                ..payment
            }),
            Some((false, verdict)) => {
                self.tell(|| format!("puts it off: {verdict}"));
                None
            }
        };
    }

    fn effect_of_payment(&mut self, p: usize, entry: &Entry, step: &Step) -> Answer {
        let lived = self.state.upstream.clone();
        let answer = self.effect(p, entry.owner(), step);
        let revoked = lived
            .iter()
            .filter(|up| up.live && !self.state.lives(up.token));
        for up in revoked {
            if self.state.is_held(up.token) {
                self.broken = Some(Claim::NoStranger);
            }
        }
        answer.expect("no payment sends a POST")
    }

    /// Strikes exactly this entry: one that has changed meanwhile stays.
    fn strike(&mut self, paid: &Entry) {
        self.tell(|| format!("strikes {}", entry_name(paid)));
        self.state.ledger.retain(|entry| entry.unseen() != *paid);
    }
}

/// How the story calls an entry.
fn entry_name(entry: &Entry) -> String {
    match entry {
        Entry::Owed(debt) => format!(
            "{} is owed{}",
            upstream_name(debt.token),
            if debt.value {
                ", with its value"
            } else {
                ", without its value"
            }
        ),
        Entry::Unresolved { attempt, .. } => format!(
            "an attempt of {} is unresolved",
            ["x", "y"][usize::from(attempt / GROUP)]
        ),
    }
}
