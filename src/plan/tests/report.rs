//! What the user is told.

use super::*;

#[test]
fn conditions_follow_kstatus() {
    let conditions = |trouble: Trouble| {
        let snapshot = Given::default().snapshot(at(0));
        let status = report(&snapshot, &Verdict::Trouble(trouble), at(0)).unwrap();
        let shown = status
            .conditions
            .iter()
            .map(|c| format!("{}={}", c.type_, c.status));
        shown.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        conditions(Trouble::stalled(Reason::Refused, "x")),
        "Ready=False Stalled=True"
    );
    assert_eq!(
        conditions(Trouble::transient(Reason::Unreachable, "x")),
        "Ready=False Reconciling=True"
    );
    let ready = report(&Given::default().snapshot(at(0)), &Verdict::Ready, at(0)).unwrap();
    assert_eq!(
        (ready.conditions.len(), ready.conditions[0].status.as_str()),
        (1, "True")
    );
}

#[test]
fn the_same_news_changes_no_status() {
    let given = || Given::issued(own_facts(own(1, "a")));
    let first = report(&given().snapshot(at(0)), &Verdict::Ready, at(0)).unwrap();
    let again = Given {
        status: first.clone(),
        ..given()
    }
    .snapshot(at(100));
    assert_eq!(report(&again, &Verdict::Ready, at(100)), Some(first));
}
