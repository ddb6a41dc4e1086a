//! Processes that elect a leader by the lease, with the shell that ships, and what keeps one from its lease: a pause, a
//! way to the API server that is cut, a wall clock that jumps.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use platform_token_operator::controller::{self, Election, Role};
use platform_token_operator::lease::{Identity, Place};
use platform_token_operator::plan::Moment;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::chance::Chance;
use super::network::Life;
use super::process::live;
use super::world::World;

/// What keeps a process from its lease.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ailment {
    /// It believes to lead.
    pub leads: bool,
    /// It stands still until then.
    paused: Duration,
    /// Nothing that it sends to the API server arrives until then.
    cut_off: Duration,
    /// How far its wall clock is off.
    wall: SignedDuration,
}

/// One life of a process that works only while it leads; ends when it has lost the lease.
pub(crate) async fn stand(world: &Arc<World>, life: &Arc<Life>) {
    let process = life.process;
    let of = world.clone();
    let number = (process as u128) << 64 | u128::from(life.number);
    let election = Election {
        client: world.kubernetes(life),
        place: Place {
            namespace: "default".into(),
            name: "platform-token-operator".into(),
        },
        identity: Identity::of("simulated", Uuid::from_u128(number)),
        now: Box::new(move || of.moment(process)),
    };
    let told = |role| {
        world.leads(process, role == Role::Leading);
        // A standby has nothing to do.
        world.state().resting[process] = role == Role::StandingBy;
    };
    let never = CancellationToken::new();
    let mut leads = pin!(controller::lead(election, &never, told, || live(
        world, life
    )));
    let pause = || {
        let paused = world.state().ailments[process].paused;
        paused.saturating_sub(world.elapsed())
    };
    loop {
        let paused = poll_fn(|_| {
            if pause().is_zero() {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        });
        tokio::select! {
            biased;
            () = paused => sleep(pause()).await,
            _ = &mut leads => return,
        }
    }
}

impl World {
    /// The time as a process has it.
    fn moment(&self, process: usize) -> Moment {
        Moment {
            wall: self.now() + self.state().ailments[process].wall,
            elapsed: self.elapsed(),
        }
    }

    /// A process leads, or does not any more. Of two that believe to lead, one is paused, and has yet to look at its clock.
    pub(crate) fn leads(&self, process: usize, leads: bool) {
        let now = self.elapsed();
        let mut state = self.state();
        state.ailments[process].leads = leads;
        let leaders = state.ailments.iter();
        let awake = leaders.filter(|one| one.leads && one.paused < now).count();
        drop(state);
        if leads {
            self.remark(format!("process {process} leads"));
        }
        if awake > 1 {
            self.violated("two processes lead at the same time");
        }
    }

    /// Whoever does not lead asks for nothing but the lease.
    pub(crate) fn watch_the_lease(&self, process: usize, what: &str) {
        let leads = !self.setup.elects || self.state().ailments[process].leads;
        if !leads && !what.contains(" leases/") {
            self.violated(format!("process {process}, which does not lead: {what}"));
        }
    }

    /// Whether a process cannot reach the API server.
    pub(crate) fn is_cut_off(&self, process: usize) -> bool {
        self.elapsed() < self.state().ailments[process].cut_off
    }

    /// Something keeps a process from its lease, for a while.
    pub(crate) fn ail(&self, chance: &mut Chance) {
        let now = self.elapsed();
        let until = now + chance.between(Duration::from_secs(1), Duration::from_secs(50));
        let jump = chance.below(120_000).cast_signed() - 60_000;
        let mut state = self.state();
        let processes = state.ailments.len() as u64;
        let process = usize::try_from(chance.below(processes)).unwrap_or(0);
        let ailment = &mut state.ailments[process];
        let what = match chance.below(3) {
            0 => {
                ailment.paused = until.max(ailment.paused);
                format!("process {process} stands still until {until:?}")
            }
            1 => {
                ailment.cut_off = until;
                format!("process {process} is cut off until {until:?}")
            }
            _ => {
                ailment.wall += SignedDuration::from_millis(jump);
                format!("the wall clock of process {process} jumps by {jump} ms")
            }
        };
        drop(state);
        self.remark(what);
    }
}
