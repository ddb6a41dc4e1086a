//! Leads while it holds the lease: carries out what [`Candidate`] says, and ends the work before anybody else may begin.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as LeaseObject, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Client, ResourceExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::kubernetes::{KubeError, call, call_opt};
use crate::api::names;
use crate::lease::{Action, Answer, Candidate, Identity, Lease, Loss, Place, Record, Times, Write};
use crate::plan::Moment;

/// How long the end waits for the lease to be released; whoever cannot lets it run out.
const RELEASE: Duration = Duration::from_secs(5);

/// How often a leader looks at its clocks, whatever it waits for: timers stand still while a machine sleeps.
const LOOK_AT_CLOCKS: Duration = Duration::from_secs(1);

/// What a process needs to stand for the lease.
pub struct Election {
    /// The API server.
    pub client: Client,
    /// Where the lease is.
    pub place: Place,
    /// Who this process is; no other has this name.
    pub identity: Identity,
    /// The clocks.
    pub now: Box<dyn Fn() -> Moment + Send + Sync>,
}

/// The leadership was lost, and the work was dropped.
#[derive(Debug, thiserror::Error)]
#[error(
    "lost the leadership, and dropped all work before anybody else can begin: {why}. To stand for it again, start anew"
)]
pub struct LostLeadership {
    why: String,
}

/// What this process does about the lease, told to whoever reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has read the lease, and somebody else leads.
    StandingBy,
    /// It leads.
    Leading,
    /// It has ended its work, or lost its leadership.
    Done,
}

/// Waits until this process leads, then does `work` while it does, and gives the lease back when that has ended. If
/// `stop` comes before, there is no work: none. `told` hears how it stands, each time that this changes.
pub async fn lead<T, W: Future<Output = T>>(
    election: Election,
    stop: &CancellationToken,
    told: impl Fn(Role),
    work: impl FnOnce() -> W,
) -> Result<Option<T>, LostLeadership> {
    let mut stand = Stand::new(election);
    let won = tokio::select! {
        biased;
        () = stop.cancelled() => false,
        () = stand.win(&told) => true,
    };
    let result = if won {
        let identity = stand.candidate.identity.as_str();
        tracing::info!(lease = %stand.place, identity, "leading");
        told(Role::Leading);
        tokio::select! {
            biased;
            // Looked at first: after a pause nothing goes on before the clocks were looked at.
            lost = stand.keep() => {
                told(Role::Done);
                return Err(lost);
            }
            result = work() => Some(result),
        }
    } else {
        None
    };
    told(Role::Done);
    stand.resign().await;
    Ok(result)
}

/// A candidate, and the lease that it stands for.
struct Stand {
    candidate: Candidate,
    api: Api<LeaseObject>,
    place: Place,
    now: Box<dyn Fn() -> Moment + Send + Sync>,
    /// The lease as it was last read or written: what others put beside the record stays.
    object: Option<LeaseObject>,
    /// Why the last call failed, if it did.
    trouble: Option<String>,
}

/// What came of a call: of a read, or of a write.
enum Reply {
    Read(Result<Option<LeaseObject>, KubeError>),
    Written(Result<LeaseObject, KubeError>),
}

impl Stand {
    fn new(election: Election) -> Self {
        Self {
            candidate: Candidate::new(election.identity, Times::SHIPPED),
            api: Api::namespaced(election.client, &election.place.namespace),
            place: election.place,
            now: election.now,
            object: None,
            trouble: None,
        }
    }

    /// Stands until this process leads.
    async fn win(&mut self, told: &impl Fn(Role)) {
        let mut leader = None;
        while self.candidate.term().is_none() {
            let step = self.candidate.step((self.now)());
            let reply = self.carry_out(step).await;
            self.fold(reply);
            let other = self.candidate.other_holder();
            if other.is_some() && other != leader.as_ref() {
                leader = other.cloned();
                let name = other.map_or("", Identity::as_str);
                tracing::info!(lease = %self.place, leader = name, "standing by");
                told(Role::StandingBy);
            }
        }
    }

    /// Renews the lease until it is lost.
    async fn keep(&mut self) -> LostLeadership {
        loop {
            let step = self.candidate.step((self.now)());
            if let Action::Lost(loss) = step {
                return self.lost(&loss);
            }
            tokio::select! {
                biased;
                () = self.is_over() => {}
                reply = self.carry_out(step) => self.fold(reply),
            }
        }
    }

    /// Gives the lease back, if it can be done soon.
    async fn resign(&mut self) {
        self.candidate.resign((self.now)());
        let released = async {
            loop {
                match self.candidate.step((self.now)()) {
                    Action::Released | Action::Lost(_) => break,
                    step => {
                        let reply = self.carry_out(step).await;
                        self.fold(reply);
                    }
                }
            }
        };
        if timeout(RELEASE, released).await.is_err() {
            let lease = &self.place;
            tracing::warn!(
                %lease,
                "the lease could not be released: the next leader waits until it has run out"
            );
        }
    }

    /// Waits until the present term is over, on either clock.
    async fn is_over(&self) {
        over(|| {
            let term = self.candidate.term();
            term.map_or(Duration::ZERO, |term| term.left((self.now)()))
        })
        .await;
    }

    async fn carry_out(&self, step: Action) -> Option<Reply> {
        let soon = Times::SHIPPED.call();
        let late = || KubeError::Failed(format!("no answer in {} s", soon.as_secs()));
        match step {
            Action::Read => {
                let read = timeout(soon, call_opt(self.api.get(&self.place.name))).await;
                Some(Reply::Read(read.unwrap_or_else(|_| Err(late()))))
            }
            Action::Write(write) => {
                let written = timeout(soon, self.write(&write)).await;
                Some(Reply::Written(written.unwrap_or_else(|_| Err(late()))))
            }
            Action::Wait(wait) => {
                sleep(wait).await;
                None
            }
            Action::Lost(_) | Action::Released => None,
        }
    }

    async fn write(&self, write: &Write) -> Result<LeaseObject, KubeError> {
        let mut object = self.object.clone().unwrap_or_default();
        object.metadata.name = Some(self.place.name.clone());
        object.metadata.resource_version.clone_from(&write.over);
        object.spec = Some(spec(&write.record));
        let parameters = PostParams {
            field_manager: Some(names::OPERATOR.into()),
            ..PostParams::default()
        };
        if write.over.is_some() {
            return call(self.api.replace(&self.place.name, &parameters, &object)).await;
        }
        object.metadata.uid = None;
        call(self.api.create(&parameters, &object)).await
    }

    fn fold(&mut self, reply: Option<Reply>) {
        let Some(reply) = reply else { return };
        let (answer, error) = match reply {
            Reply::Read(Ok(object)) => {
                self.object = object;
                (Answer::Is(self.object.as_ref().map(lease)), None)
            }
            Reply::Written(Ok(object)) => {
                let version = object.resource_version().unwrap_or_default();
                self.object = Some(object);
                (Answer::Written(version), None)
            }
            // Deleted since it was read, or created: a conflict as well.
            Reply::Written(Err(
                KubeError::Conflict(_) | KubeError::AlreadyExists(_) | KubeError::NotFound(_),
            )) => (Answer::Conflict, None),
            Reply::Read(Err(error)) | Reply::Written(Err(error)) => {
                (Answer::Failed, Some(error.to_string()))
            }
        };
        if let Some(error) = &error
            && self.trouble.as_ref() != Some(error)
        {
            tracing::warn!(lease = %self.place, %error, "the lease cannot be read or written");
        }
        self.trouble = error;
        self.candidate.fold(answer, (self.now)());
    }

    fn lost(&self, loss: &Loss) -> LostLeadership {
        let lease = &self.place;
        let why = match (loss, &self.trouble) {
            (Loss::TakenBy(other), _) => format!("{} holds the lease {lease}", other.as_str()),
            (Loss::NotRenewed, None) => {
                format!(
                    "the lease {lease} was not renewed in time; was this process paused, or its clock set?"
                )
            }
            (Loss::NotRenewed, Some(trouble)) => {
                let renew = Times::SHIPPED.renew().as_secs();
                format!("the lease {lease} could not be renewed for {renew} s: {trouble}")
            }
        };
        LostLeadership { why }
    }
}

/// Waits until nothing is `left`. Whatever wakes its task, it looks: a timer stands still while a machine sleeps, and what
/// is polled after it may not go on.
async fn over(left: impl Fn() -> Duration) {
    let mut timer = pin!(sleep(Duration::ZERO));
    poll_fn(|task| {
        loop {
            let left = left();
            if left.is_zero() {
                return Poll::Ready(());
            }
            if timer.as_mut().poll(task).is_pending() {
                return Poll::Pending;
            }
            timer
                .as_mut()
                .reset(Instant::now() + left.min(LOOK_AT_CLOCKS));
        }
    })
    .await;
}

/// The lease as rules see it.
fn lease(object: &LeaseObject) -> Lease {
    let spec = object.spec.clone().unwrap_or_default();
    let time = |time: Option<MicroTime>| time.map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let whole = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
    let duration = whole(spec.lease_duration_seconds).unwrap_or(0);
    Lease {
        version: object.resource_version().unwrap_or_default(),
        record: Record {
            holder: spec.holder_identity.and_then(Identity::read),
            duration: Duration::from_secs(duration.into()),
            acquired: time(spec.acquire_time),
            renewed: time(spec.renew_time),
            transitions: whole(spec.lease_transitions).unwrap_or(0),
        },
    }
}

/// The record as the API server keeps it.
fn spec(record: &Record) -> LeaseSpec {
    let holder = record.holder.as_ref();
    LeaseSpec {
        holder_identity: holder.map(|holder| holder.as_str().to_owned()),
        lease_duration_seconds: i32::try_from(record.duration.as_secs()).ok(),
        acquire_time: Some(MicroTime(record.acquired)),
        renew_time: Some(MicroTime(record.renewed)),
        lease_transitions: i32::try_from(record.transitions).ok(),
        ..LeaseSpec::default()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures::poll;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whatever_wakes_a_leader_that_slept_too_long_finds_its_term_over() {
        let left = Cell::new(Duration::from_secs(5));
        let mut over = pin!(over(|| left.get()));
        assert!(poll!(over.as_mut()).is_pending());
        // The machine slept: no timer has moved.
        left.set(Duration::ZERO);
        assert!(poll!(over.as_mut()).is_ready());
    }
}
