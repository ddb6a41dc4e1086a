//! What the platform's lists tell of an attempt.

use super::*;

#[test]
fn an_attempt_claims_only_rows_that_bear_all_its_tags() {
    let shown = |rows: Vec<Shown>| format!("{:?}", claim(rows, &attempt(1)));
    assert_eq!(shown(vec![]), "NoneMinted");
    assert_eq!(
        shown(vec![row("stranger", 0), tagged("b", 2)]),
        "NoneMinted"
    );
    for missing in 0..attempt(1).tags().len() {
        let mut row = tagged("a", 1);
        row.tags.remove(missing);
        assert_eq!(shown(vec![row]), "NoneMinted", "without tag {missing}");
    }
    let newer = Shown {
        created_at: at(9).wall,
        ..masked(tagged("newer", 1))
    };
    let Outcome::Found { kept, others } = claim(
        vec![tagged("a", 1), tagged("b", 1), newer.clone()],
        &attempt(1),
    ) else {
        panic!()
    };
    assert_eq!(kept.token_id, id("b"), "the newest whose value is shown");
    assert_eq!(others, [id("newer"), id("a")]);
    let Outcome::MintedWithheld(withheld) = claim(vec![newer], &attempt(1)) else {
        panic!()
    };
    assert_eq!(withheld, [id("newer")]);
}

#[test]
fn a_suspect_is_recent_unused_and_named_by_nobody() {
    let opened = Attempt {
        opened_at: at(1000).wall,
        ..attempt(1)
    };
    let rows = [
        row("suspect", 1001),
        row("skewed", 701),
        row("old", 600),
        row("named", 1001),
        row("credential", 1001),
        used(row("used", 1001)),
    ];
    let credentials = BTreeSet::from([value("credential").hash()]);
    let found = suspects(listed(&rows), &opened, &ids(&["named"]), &credentials);
    assert_eq!(found, [id("suspect"), id("skewed")]);
}

#[test]
fn a_token_is_ours_if_its_tags_or_its_value_say_so() {
    let hash = value("a").hash();
    let other_cluster = Owner {
        cluster: "another".into(),
        ..owner("token")
    };
    for (row, owner, hash, ours) in [
        (tagged("a", 1), owner("token"), None, true),
        (masked(tagged("a", 1)), owner("token"), None, true),
        (tagged("a", 1), owner("original"), None, false),
        (tagged("a", 1), other_cluster, None, false),
        (row("a", 0), owner("token"), None, false),
        (row("a", 0), owner("token"), Some(&hash), true),
        (row("b", 0), owner("token"), Some(&hash), false),
        (masked(row("a", 0)), owner("token"), Some(&hash), false),
    ] {
        assert_eq!(row.is_of(&owner, hash), ours, "{row:?}");
    }
}

#[test]
fn a_long_list_keeps_what_rules_compare_and_neither_values_nor_the_tags_of_others() {
    let kept = used(tagged("a", 1)).listed("cluster");
    let ours = Ours {
        namespace: Some("ns".into()),
        uid: Some(owner("token").uid),
        attempt: Some(attempt(1).at.id),
    };
    assert_eq!((&kept.id, kept.hash), (&id("a"), Some(value("a").hash())));
    assert_eq!((kept.ours, kept.used_at), (Some(ours), Some(at(0).wall)));
    let theirs = masked(tagged("a", 1)).listed("another cluster");
    assert_eq!((theirs.hash, theirs.ours), (None, None));
}
