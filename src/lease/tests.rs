use k8s_openapi::jiff::Timestamp;

use super::*;

const LEASE: u64 = 15;
const RENEW: u64 = 10;
const RETRY: u64 = 2;

/// So many seconds after the start, on both clocks.
fn at(seconds: u64) -> Moment {
    let elapsed = Duration::from_secs(seconds);
    let wall: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    Moment {
        wall: wall + elapsed,
        elapsed,
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn candidate() -> Candidate {
    let identity = Identity::read("me".into()).unwrap();
    Candidate::new(identity, Times::SHIPPED)
}

/// A lease of someone, or of nobody.
fn lease(version: &str, holder: &str) -> Lease {
    Lease {
        version: version.into(),
        record: Record {
            holder: Identity::read(holder.into()),
            duration: secs(LEASE),
            acquired: at(0).wall,
            renewed: at(0).wall,
            transitions: 3,
        },
    }
}

/// A candidate that saw this at that time, and nothing before.
fn saw(lease: Option<Lease>, now: Moment) -> Candidate {
    let mut candidate = candidate();
    assert_eq!(candidate.step(now), Action::Read);
    candidate.fold(Answer::Is(lease), now);
    candidate
}

/// The write that it wants to make.
fn written(candidate: &mut Candidate, now: Moment) -> Write {
    match candidate.step(now) {
        Action::Write(write) => write,
        other => panic!("{other:?} is no write"),
    }
}

/// A candidate whose first write began at `begun` and was answered at `now`.
fn leader(begun: Moment, now: Moment) -> Candidate {
    let mut candidate = saw(None, begun);
    written(&mut candidate, begun);
    candidate.fold(Answer::Written("1".into()), now);
    candidate
}

#[test]
fn times_that_would_let_two_lead_cannot_be_built() {
    for (lease, renew, retry, fine) in [
        (15, 10, 2, true),
        (3, 2, 1, true),
        (10, 10, 2, false),
        (10, 15, 2, false),
        (15, 10, 10, false),
        (15, 10, 0, false),
    ] {
        let times = Times::new(secs(lease), secs(renew), secs(retry));
        assert_eq!(times.is_some(), fine, "{lease} > {renew} > {retry}");
    }
    assert_eq!(
        Times::new(secs(LEASE), secs(RENEW), secs(RETRY)),
        Some(Times::SHIPPED)
    );
    assert_eq!(Identity::read(String::new()), None, "nobody is no holder");
}

#[test]
fn what_nobody_holds_is_taken_at_once() {
    for (found, over, transitions) in [
        (None, None, 0),
        (Some(lease("7", "")), Some("7".to_owned()), 4),
    ] {
        let mut candidate = saw(found, at(100));
        let write = written(&mut candidate, at(100));
        assert_eq!(write.over, over);
        assert_eq!(write.record.holder.as_ref(), Some(&candidate.identity));
        assert_eq!(write.record.duration, secs(LEASE));
        assert_eq!(write.record.transitions, transitions);
        assert_eq!(candidate.term(), None, "what is asked for is not had");
        candidate.fold(Answer::Written("8".into()), at(101));
        let term = candidate.term().unwrap();
        assert_eq!(term.renewed, at(100), "from the start of the write");
    }
}

#[test]
fn another_holder_is_waited_out_on_our_own_clock() {
    // Whatever the record's own times say: it seems to have been renewed long ago.
    let theirs = lease("7", "other");
    let mut candidate = saw(Some(theirs.clone()), at(100));
    for now in (102..115).step_by(2) {
        assert_eq!(candidate.step(at(now)), Action::Read, "at {now}");
        candidate.fold(Answer::Is(Some(theirs.clone())), at(now));
        assert_eq!(candidate.step(at(now)), Action::Wait(secs(RETRY)));
    }
    let write = written(&mut candidate, at(115));
    assert_eq!(write.over, Some("7".into()));
    assert_eq!(write.record.acquired, at(115).wall);
}

#[test]
fn any_change_of_the_record_begins_the_wait_anew() {
    let theirs = lease("7", "other");
    let change = |change: fn(&mut Lease)| {
        let mut lease = theirs.clone();
        change(&mut lease);
        lease
    };
    for (what, changed) in [
        ("version", change(|lease| lease.version = "8".into())),
        ("renewal", change(|lease| lease.record.renewed = at(1).wall)),
        (
            "holder",
            change(|lease| lease.record.holder = Identity::read("third".into())),
        ),
        ("transitions", change(|lease| lease.record.transitions = 9)),
    ] {
        let mut candidate = saw(Some(theirs.clone()), at(100));
        candidate.fold(Answer::Is(Some(changed.clone())), at(114));
        candidate.fold(Answer::Is(Some(changed)), at(128));
        assert_eq!(candidate.step(at(128)), Action::Wait(secs(RETRY)), "{what}");
        written(&mut candidate, at(129));
    }
}

#[test]
fn a_longer_lease_of_theirs_is_respected_and_a_shorter_one_is_not() {
    for (theirs, until) in [(3600, 3600), (1, LEASE)] {
        let mut found = lease("7", "other");
        found.record.duration = secs(theirs);
        let mut candidate = saw(Some(found), at(100));
        assert_eq!(candidate.step(at(99 + until)), Action::Read);
        written(&mut candidate, at(100 + until));
    }
}

#[test]
fn a_lease_that_someone_deletes_was_not_released() {
    let mut candidate = saw(Some(lease("7", "other")), at(100));
    candidate.fold(Answer::Is(None), at(102));
    assert_eq!(candidate.step(at(116)), Action::Read, "it binds as it did");
    assert_eq!(written(&mut candidate, at(117)).over, None);

    // The leader writes it anew.
    let mut leader = leader(at(0), at(0));
    written(&mut leader, at(2));
    leader.fold(Answer::Conflict, at(2));
    assert_eq!(leader.step(at(2)), Action::Read);
    leader.fold(Answer::Is(None), at(2));
    assert_eq!(leader.step(at(3)), Action::Wait(secs(1)));
    let write = written(&mut leader, at(4));
    assert_eq!(write.over, None);
    leader.fold(Answer::Written("9".into()), at(4));
    assert_eq!(leader.term().unwrap().renewed, at(4));
}

#[test]
fn a_leader_renews_what_it_wrote_last() {
    let mut leader = leader(at(0), at(1));
    assert_eq!(leader.step(at(1)), Action::Wait(secs(1)));
    let write = written(&mut leader, at(2));
    assert_eq!(write.over, Some("1".into()));
    assert_eq!(write.record.acquired, at(0).wall);
    assert_eq!(write.record.renewed, at(2).wall);
    assert_eq!(write.record.transitions, 0);
    leader.fold(Answer::Written("2".into()), at(3));
    assert_eq!(leader.term().unwrap().renewed, at(2));
    assert_eq!(written(&mut leader, at(4)).over, Some("2".into()));
}

#[test]
fn leadership_ends_after_the_start_of_the_last_renewal_that_succeeded() {
    let mut candidate = leader(at(0), at(4));
    written(&mut candidate, at(4));
    candidate.fold(Answer::Failed, at(9));
    assert_eq!(candidate.step(at(9)), Action::Wait(secs(1)));
    assert_eq!(candidate.step(at(10)), Action::Lost(Loss::NotRenewed));
    // It is over for good, whatever is heard later.
    candidate.fold(Answer::Is(None), at(11));
    candidate.resign(at(11));
    assert_eq!(candidate.step(at(11)), Action::Lost(Loss::NotRenewed));
}

#[test]
fn a_leader_is_judged_by_the_clock_that_says_more() {
    let mut jumped = at(3);
    jumped.wall = at(RENEW).wall;
    assert_eq!(
        leader(at(0), at(1)).step(jumped),
        Action::Lost(Loss::NotRenewed),
        "the monotonic clock stood still while the machine slept"
    );
    let mut back = at(RENEW);
    back.wall = at(0).wall;
    assert_eq!(
        leader(at(0), at(1)).step(back),
        Action::Lost(Loss::NotRenewed),
        "the wall clock was set back"
    );
    let mut candidate = saw(Some(lease("7", "other")), at(0));
    assert_eq!(
        candidate.step(jumped),
        Action::Read,
        "others are not judged by the wall clock"
    );
    let mut year = at(3);
    year.wall = at(31_536_000).wall;
    assert_eq!(candidate.step(year), Action::Read);
}

#[test]
fn an_answer_that_comes_too_late_is_no_leadership() {
    let mut candidate = leader(at(0), at(RENEW));
    assert_eq!(candidate.term(), None);
    // The record is this process's, so it may write it again.
    assert_eq!(written(&mut candidate, at(RENEW)).over, Some("1".into()));
    candidate.fold(Answer::Written("2".into()), at(RENEW));
    assert_eq!(candidate.term().unwrap().renewed, at(RENEW));
}

#[test]
fn a_write_without_an_answer_is_looked_at() {
    let mut candidate = saw(None, at(0));
    written(&mut candidate, at(0));
    candidate.fold(Answer::Failed, at(5));
    assert_eq!(candidate.step(at(5)), Action::Wait(secs(RETRY)));
    assert_eq!(candidate.step(at(7)), Action::Read);
    let mine = lease("1", "me");
    candidate.fold(Answer::Is(Some(mine)), at(7));
    assert_eq!(candidate.term(), None, "nobody knows when it was written");
    assert_eq!(written(&mut candidate, at(7)).over, Some("1".into()));
    candidate.fold(Answer::Written("2".into()), at(7));
    assert_eq!(candidate.term().unwrap().renewed, at(7));
}

#[test]
fn a_conflict_is_looked_at_at_once_and_written_no_more_often_than_else() {
    let mut leader = leader(at(0), at(0));
    written(&mut leader, at(2));
    leader.fold(Answer::Conflict, at(2));
    assert_eq!(leader.step(at(2)), Action::Read);
    leader.fold(Answer::Is(Some(lease("5", "me"))), at(2));
    assert_eq!(leader.step(at(2)), Action::Wait(secs(RETRY)));
    assert_eq!(written(&mut leader, at(4)).over, Some("5".into()));
    leader.fold(Answer::Conflict, at(4));
    leader.fold(Answer::Is(Some(lease("6", "other"))), at(4));
    let taken = Loss::TakenBy(Identity::read("other".into()).unwrap());
    assert_eq!(leader.step(at(4)), Action::Lost(taken));
}

#[test]
fn who_resigns_releases_what_it_holds_and_nothing_else() {
    let mut holder = leader(at(0), at(0));
    holder.resign(at(1));
    let write = written(&mut holder, at(1));
    assert_eq!(write.over, Some("1".into()));
    assert_eq!(write.record.holder, None);
    assert_eq!(holder.term(), None, "nothing is covered any more");
    // A renewal that was under way was first.
    holder.fold(Answer::Conflict, at(1));
    assert_eq!(holder.step(at(1)), Action::Read);
    holder.fold(Answer::Is(Some(lease("2", "me"))), at(1));
    assert_eq!(written(&mut holder, at(1)).over, Some("2".into()));
    holder.fold(Answer::Written("3".into()), at(1));
    assert_eq!(holder.step(at(1)), Action::Released);

    let mut standby = saw(Some(lease("7", "other")), at(100));
    standby.resign(at(101));
    assert_eq!(standby.step(at(101)), Action::Released);
    let mut fresh = candidate();
    fresh.resign(at(0));
    assert_eq!(fresh.step(at(0)), Action::Released);

    let mut dropped = leader(at(0), at(0));
    written(&mut dropped, at(2));
    dropped.resign(at(3));
    assert_eq!(dropped.step(at(3)), Action::Read, "a write is under way");
}
