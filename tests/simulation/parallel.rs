//! Runs are independent of each other: they share the machine's cores.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What `run` makes of each case, in the order of the cases.
pub(crate) fn each<C: Clone + Sync + Send, T: Send>(
    cases: &[C],
    run: impl Fn(&C) -> T + Sync,
) -> Vec<(C, T)> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::with_capacity(cases.len()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some((at, case)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(at).map(|case| (at, case))
                } {
                    let result = run(case);
                    let mut results = results.lock().unwrap_or_else(PoisonError::into_inner);
                    results.push((at, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_by_key(|(at, _)| *at);
    let cases = cases.iter().cloned();
    cases
        .zip(results.into_iter().map(|(_, result)| result))
        .collect()
}

/// The first thing that `look` finds; which one that is depends on the machine.
pub(crate) fn first<C: Clone + Sync + Send, T: Send>(
    cases: &[C],
    look: impl Fn(&C) -> Option<T> + Sync,
) -> Option<T> {
    let found = AtomicBool::new(false);
    let all = each(cases, |case| {
        if found.load(Ordering::Relaxed) {
            return None;
        }
        let result = look(case)?;
        found.store(true, Ordering::Relaxed);
        Some(result)
    });
    all.into_iter().find_map(|(_, result)| result)
}
