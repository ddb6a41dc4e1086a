//! One run for one PlatformToken: observe, then plan, execute and fold until settled, then report.

use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use kube::core::DeserializeGuard;
use tracing::Instrument;

use super::Context;
use super::execute::Executor;
use super::kubernetes::KubeError;
use super::memory::{Pause, Remembered};
use super::observe::{observe, snapshot};
use super::report::{publish, publish_if_new, report_unreadable, write_status};
use super::slots::Slot;
use crate::api::{PlatformToken, Reason};
use crate::plan::{
    Memory, Next, Run, Settled, Snapshot, Step, Trouble, Verdict, backoff, plan, report,
};

/// More steps than any run needs: a run that takes more is a defect, and stops.
const MAX_STEPS: usize = 100;

/// How soon to look again where a cache lags behind our own writes, or the status could not be written.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The kind as it is watched: an object that does not read must not stop the watch.
pub type Watched = DeserializeGuard<PlatformToken>;

/// Brings one PlatformToken to rest, if there is room. When to look again; none: only when something changes, or when it is
/// called.
pub(super) async fn reconcile(token: Arc<Watched>, context: &Context) -> Option<Duration> {
    match &token.0 {
        Ok(token) => {
            let slot = context.slots.enter(token)?;
            let metadata = &token.metadata;
            let span = tracing::info_span!(
                "platformtoken",
                namespace = metadata.namespace.as_deref().unwrap_or_default(),
                name = metadata.name.as_deref().unwrap_or_default(),
            );
            // On the heap: who waits for a slot needs no room for a run.
            Box::pin(run(token, &slot, context).instrument(span)).await
        }
        Err(invalid) => {
            report_unreadable::<PlatformToken>(context, &invalid.metadata, &invalid.error).await;
            Some(Duration::from_mins(5))
        }
    }
}

async fn run(token: &PlatformToken, slot: &Slot<'_>, context: &Context) -> Option<Duration> {
    let uid = token.metadata.uid.clone().unwrap_or_default();
    let now = context.clock.now();
    if context.memory.is_gone(&uid, now) {
        return None;
    }
    let _under_way = context.memory.begin(&uid);
    let remembered = context.memory.take(&uid);
    let observed = observe(context, token, remembered.written, now);
    let wait = if observed.lags {
        Some(LOOK_AGAIN)
    } else {
        remembered.pause(&observed.basis, now)
    };
    if let Some(wait) = wait {
        context.memory.put(&uid, remembered);
        return Some(wait);
    }
    let Remembered {
        rules,
        mut written,
        unwritten,
        ..
    } = remembered;
    let unwritten = unwritten.saturating_add(1);
    let mut basis = observed.basis.clone();
    let rules = rules.map_or_else(Memory::default, |rules| *rules);
    let mut snapshot = snapshot(context, token, observed.basis, rules, now);
    let mut executor = Executor {
        context,
        session: observed.session,
        slot: Some(slot),
        written: &mut written,
    };
    let mut settled = settle(&mut executor, &mut snapshot).await;
    snapshot.memory.failures = match settled.verdict {
        Verdict::Trouble(_) => snapshot.memory.failures.saturating_add(1),
        Verdict::Silent => snapshot.memory.failures,
        Verdict::Ready | Verdict::Gone => 0,
    };
    let mut told = tell(context, token, &snapshot, &settled.verdict).await;
    if let Err(KubeError::NotFound(_)) = told {
        // A deletion that began before our finalizer was there ends in spite of it (kubernetes/kubernetes#77988).
        look_again(&mut executor, &mut snapshot).await;
        settled = settle(&mut executor, &mut snapshot).await;
        told = Ok(None);
    }
    if let Ok(Some(version)) = told {
        written.token(version, context.clock.now());
    }
    context.telemetry.run(verdict_label(&settled.verdict));
    if settled.verdict == Verdict::Gone {
        context.memory.forget(&uid, context.clock.now());
    } else {
        // The cache is about to show our own writes; they are no reason to try again.
        basis.token = basis.token.max(written.token);
        let pause = settled.requeue.filter(|_| told.is_ok()).map(|wait| {
            let until = context.clock.now().elapsed + wait;
            Box::new(Pause { until, basis })
        });
        let rules = match settled.verdict {
            Verdict::Ready if told.is_ok() => snapshot.memory.at_rest(),
            _ => Some(snapshot.memory),
        };
        context.memory.put(
            &uid,
            Remembered {
                rules: rules.map(Box::new),
                written,
                unwritten: if told.is_err() { unwritten } else { 0 },
                pause,
            },
        );
    }
    if let Err(error) = told {
        // Nothing else would wake us: the status has to become true.
        tracing::warn!(%error, "the status could not be written");
        return Some(backoff(unwritten, &uid).min(LOOK_AGAIN * 10));
    }
    // What was believed of a cache that lags is looked at again.
    let lagging = observed.behind.then_some(LOOK_AGAIN * 10);
    settled.requeue.or(lagging)
}

/// Begins the run anew with a live look at the PlatformToken.
async fn look_again(executor: &mut Executor<'_>, snapshot: &mut Snapshot) {
    snapshot.run = Run {
        ledger: true,
        ..Run::default()
    };
    let begun = executor.context.clock.now();
    let outcome = executor.execute(&Step::Look, snapshot).await;
    snapshot.fold(Step::Look, outcome, begun);
}

/// Asks for steps and carries them out until there are none.
pub(super) async fn settle(executor: &mut Executor<'_>, snapshot: &mut Snapshot) -> Settled {
    let context = executor.context;
    for _ in 0..MAX_STEPS {
        let begun = context.clock.now();
        let step = match plan(snapshot, begun) {
            Next::Step(step) => step,
            Next::Settled(settled) => return settled,
        };
        tracing::debug!(step = step.name(), "taking a step");
        let outcome = executor.execute(&step, snapshot).await;
        context.telemetry.step(step.name());
        snapshot.fold(step, outcome, begun);
    }
    let text = format!("no rest after {MAX_STEPS} steps; please report this");
    let trouble = Trouble::stalled(Reason::KubernetesError, text);
    let requeue = Some(trouble.wait(12, &snapshot.token.owner.uid));
    Settled {
        verdict: Verdict::Trouble(trouble),
        requeue,
    }
}

/// Writes events and the status, which is one write at the state that the run rested on: whoever changed the
/// PlatformToken meanwhile is looked at first. The new resourceVersion, if the status was written.
async fn tell(
    context: &Context,
    token: &PlatformToken,
    snapshot: &Snapshot,
    verdict: &Verdict,
) -> Result<Option<u64>, KubeError> {
    // As it stands there, even if that is another's.
    let former = &token.status.clone().unwrap_or_default();
    let written = match report(snapshot, verdict, context.clock.now()) {
        Some(status) => {
            let api: Api<PlatformToken> = api(context, token.metadata.namespace.as_deref());
            let (owner, version) = (&snapshot.token.owner, &snapshot.token.resource_version);
            write_status(&api, &owner.name, version, former, &status).await
        }
        None => Ok(None),
    };
    for note in &snapshot.run.notes {
        tracing::info!(reason = note.reason.as_str(), "{}", note.text);
        publish(context, token, note).await;
    }
    if let Verdict::Trouble(trouble) = verdict
        && written.is_ok()
    {
        tracing::warn!(reason = trouble.reason.as_str(), "{}", trouble.message);
        publish_if_new(context, token, &former.conditions, trouble).await;
    }
    written
}

fn verdict_label(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Ready => "Ready",
        Verdict::Trouble(trouble) => trouble.reason.as_str(),
        Verdict::Silent => "Silent",
        Verdict::Gone => "Gone",
    }
}

fn api(context: &Context, namespace: Option<&str>) -> Api<PlatformToken> {
    Api::namespaced(context.client.clone(), namespace.unwrap_or_default())
}
