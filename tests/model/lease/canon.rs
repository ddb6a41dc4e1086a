//! States that nobody can tell apart are one: time is counted back from the present, and versions are named in the order
//! in which they are met.

use std::time::Duration;

use platform_token_operator::lease::{Action, Answer, Identity, Lease, Record, Standing, Write};
use platform_token_operator::plan::Moment;

use super::{Guard, Mind, NOW, Process, State, TICK, epoch, named, times};

impl State {
    /// A tick has passed: all else is a tick longer ago. For whoever sleeps the monotonic clock stands still.
    pub(super) fn grow_older(&mut self) {
        for process in &mut self.processes {
            let asleep = process.mind == Mind::Asleep;
            process.each_moment(&mut |moment| {
                moment.wall -= TICK;
                if !asleep {
                    moment.elapsed -= TICK;
                }
            });
            if !asleep {
                process.each_time(&mut |time| *time = time.saturating_sub(TICK));
            }
        }
        self.each(&mut |part| {
            if let Part::Record(record) = part {
                record.renewed -= TICK;
            }
        });
    }

    /// Nobody bears this name any more.
    pub(super) fn forget(&mut self, name: &Identity) {
        let gone = named("gone");
        self.each(&mut |part| {
            if let Part::Record(record) = part
                && record.holder.as_ref() == Some(name)
            {
                record.holder = Some(gone.clone());
            }
        });
    }

    pub(super) fn make_canonical(&mut self, without: Option<Guard>) {
        // Only without this guard anybody looks at the time in a record.
        let tells_time = without == Some(Guard::ObservedChange);
        let cap = times().lease();
        let oldest = NOW.saturating_sub(cap);
        self.each(&mut |part| {
            let Part::Record(record) = part else { return };
            record.acquired = epoch();
            record.transitions = 0;
            let wall = epoch() + NOW;
            record.renewed = if tells_time {
                record.renewed.max(wall - cap * 2)
            } else {
                epoch()
            };
        });
        for process in &mut self.processes {
            let now = process.now();
            process.each_moment(&mut |moment| {
                moment.elapsed = moment.elapsed.max(oldest);
                moment.wall = moment.wall.max(now.wall - cap);
            });
            process.candidate.look_at = process.candidate.look_at.max(NOW);
            process.candidate.write_at = process.candidate.write_at.max(NOW);
            let other = process.candidate.other_holder().is_some();
            if let Some(seen) = &mut process.candidate.seen {
                // How long ago somebody else was seen to renew counts until it is long enough, and nothing else does.
                let counts = other || seen.lease.is_none();
                seen.since = if counts { seen.since.max(oldest) } else { NOW };
            }
        }
        if without != Some(Guard::CompareAndSwap) {
            // Versions do not come back: such a write never does anything.
            let version = self.lease.as_ref().map(|lease| lease.version.clone());
            self.late.retain(|write| write.over == version);
        }
        self.name_versions();
        self.late.sort_by_key(|write| format!("{write:?}"));
        self.late.dedup();
    }

    fn name_versions(&mut self) {
        let mut known: Vec<String> = vec![];
        self.each(&mut |part| {
            let Part::Version(version) = part else {
                return;
            };
            let place = known.iter().position(|one| one == version);
            let place = place.unwrap_or_else(|| {
                known.push(version.clone());
                known.len() - 1
            });
            *version = place.to_string();
        });
    }

    /// Every version and every record that anybody knows, the API server's first.
    fn each(&mut self, visit: &mut impl FnMut(Part<'_>)) {
        if let Some(lease) = &mut self.lease {
            of_lease(lease, visit);
        }
        for process in &mut self.processes {
            let candidate = &mut process.candidate;
            if let Some(lease) = candidate.seen.as_mut().and_then(|seen| seen.lease.as_mut()) {
                of_lease(lease, visit);
            }
            if let Some((write, _)) = &mut candidate.writing {
                of_write(write, visit);
            }
            let Some(call) = &mut process.call else {
                continue;
            };
            if let Action::Write(write) = &mut call.action {
                of_write(write, visit);
            }
            match &mut call.answer {
                Some(Answer::Is(Some(lease))) => of_lease(lease, visit),
                Some(Answer::Written(version)) => visit(Part::Version(version)),
                _ => {}
            }
        }
        for write in &mut self.late {
            of_write(write, visit);
        }
    }
}

/// What has to be the same in all who know of it.
enum Part<'a> {
    Version(&'a mut String),
    Record(&'a mut Record),
}

fn of_lease(lease: &mut Lease, visit: &mut impl FnMut(Part<'_>)) {
    visit(Part::Version(&mut lease.version));
    visit(Part::Record(&mut lease.record));
}

fn of_write(write: &mut Write, visit: &mut impl FnMut(Part<'_>)) {
    if let Some(version) = &mut write.over {
        visit(Part::Version(version));
    }
    visit(Part::Record(&mut write.record));
}

impl Process {
    /// The moments that it remembers.
    fn each_moment(&mut self, change: &mut impl FnMut(&mut Moment)) {
        if let Standing::Leads(term) = &mut self.candidate.standing {
            change(&mut term.renewed);
        }
        if let Some((_, begun)) = &mut self.candidate.writing {
            change(begun);
        }
    }

    /// The monotonic times that it remembers.
    fn each_time(&mut self, change: &mut impl FnMut(&mut Duration)) {
        change(&mut self.candidate.look_at);
        change(&mut self.candidate.write_at);
        if let Some(seen) = &mut self.candidate.seen {
            change(&mut seen.since);
        }
    }
}
