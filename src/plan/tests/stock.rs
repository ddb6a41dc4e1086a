//! What the list of a whole account tells: which tokens are ours, which may be, and which are revoked.

use super::*;
use crate::api::{AccountStatus, Baseline, TokenCounts, cluster_tag};

/// A complete list of the account, begun at second 1000.
fn listing(rows: &[Shown]) -> Listing {
    Listing::new(&identity(), at(1000), listed(rows))
}

/// The baseline of an account that has these tokens.
fn baseline_of(user: Option<&UserId>, rows: &[Shown], now: u64) -> Baseline {
    let identity = Identity {
        user_id: user.cloned(),
        ..identity()
    };
    baseline(&Listing::new(&identity, at(now), listed(rows)), at(now))
}

fn taken(rows: &[Shown], claims: &Claims, baseline: Option<&Baseline>, now: u64) -> Stock {
    let credentials = BTreeSet::from([value("credential").hash()]);
    let taking = Stocktaking {
        listing: &listing(rows),
        claims,
        credentials: &credentials,
        suspected: &[id("suspect"), id("used-suspect")],
        baseline,
        broom: &broom(Sweep::Report),
    };
    take_stock(&taking, at(now))
}

#[test]
fn stock_counts_what_is_ours_and_what_nothing_names() {
    let other_cluster = Shown {
        tags: vec![cluster_tag("another")],
        ..row("other-cluster", 0)
    };
    let rows = [
        tagged("managed", 1),
        used(tagged("replayed", 1)),
        tagged("awaited", 7),
        row("stranger", 0),
        row("credential", 0),
        // Written down a moment ago: it must not get lost for being young.
        row("suspect", 1000),
        used(row("used-suspect", 0)),
        other_cluster,
        Shown {
            created_at: at(1000).wall,
            ..tagged("young", 1)
        },
    ];
    let claims = Claims {
        named: ids(&["managed"]),
        open: BTreeMap::from([(attempt(7).at.id, attempt(7).account)]),
        uids: BTreeSet::from([owner("token").uid]),
        ..Claims::default()
    };
    let stock = taken(&rows, &claims, None, 1000);
    assert_eq!(stock.unclaimed, ids(&["replayed", "suspect"]));
    let counts = TokenCounts {
        upstream: 9,
        managed: 1,
        unclaimed: 2,
    };
    assert_eq!(stock.counts, counts);
    assert!(stock.strangers.is_empty());
    let leftovers = &stock.leftovers[&owner("token").uid];
    let ids: Vec<&TokenId> = leftovers.iter().map(|row| &row.token_id).collect();
    assert_eq!(ids, [&id("replayed")], "of a PlatformToken that lives");
}

#[test]
fn on_an_exclusive_account_what_is_newer_than_the_baseline_is_ours_until_someone_uses_it() {
    let before = [row("old", 5), row("same-time", 10)];
    let baseline = baseline_of(Some(&user()), &before, 7);
    assert_eq!(
        (baseline.created_at, &baseline.ids),
        (at(10).wall, &ids(&["same-time"]))
    );
    let claims = Claims::default();
    let used = used(row("used", 20));
    let rows = [&before[..], &[row("lost", 10), row("credential", 20)]].concat();
    let stock = taken(&rows, &claims, Some(&baseline), 1000);
    assert_eq!(stock.unclaimed, ids(&["lost"]));
    let stock = taken(
        &[&rows[..], &[used]].concat(),
        &claims,
        Some(&baseline),
        1000,
    );
    assert_eq!(stock.strangers, ids(&["used"]));
}

#[test]
fn unclaimed_tokens_are_revoked_at_the_second_pass_unless_an_attempt_is_open_or_a_stranger_shows() {
    let stock = |strangers: &[&str]| Stock {
        revocable: ids(&["lost"]),
        strangers: ids(strangers),
        baseline: Some(baseline_of(None, &[], 0)),
        ..Stock::default()
    };
    let mut unclaimed = Unclaimed::default();
    assert!(unclaimed.note(&stock(&[]), false).is_empty());
    assert!(unclaimed.note(&stock(&[]), true).is_empty(), "not now");
    assert_eq!(unclaimed.note(&stock(&[]), false), [id("lost")]);
    let mut unclaimed = Unclaimed::default();
    assert!(
        unclaimed.note(&stock(&[]), false).is_empty(),
        "counted anew"
    );
    assert!(unclaimed.note(&stock(&["used"]), false).is_empty());
    assert!(
        unclaimed.note(&stock(&[]), false).is_empty(),
        "counted anew"
    );
    let shared = Stock {
        baseline: None,
        ..stock(&[])
    };
    assert!(unclaimed.note(&shared, false).is_empty(), "not exclusive");
    assert!(
        unclaimed.note(&stock(&[]), false).is_empty(),
        "not in a row"
    );
    assert_eq!(unclaimed.note(&stock(&[]), false), [id("lost")]);
}

#[test]
fn what_is_written_down_is_there_once_and_is_not_pushed_out() {
    let few = [id("a"), id("b")];
    let status = AccountStatus::default().with_unclaimed(&few);
    let status = status.with_unclaimed(&[id("new"), id("b")]);
    assert_eq!(status.unclaimed_token_ids, [id("a"), id("b"), id("new")]);
    let many: Vec<TokenId> = (0..100).map(|n| id(&n.to_string())).collect();
    let full = AccountStatus::default().with_unclaimed(&many);
    let status = full.with_unclaimed(&[id("new"), id("5")]);
    assert_eq!(status.unclaimed_token_ids, many);
}

#[test]
fn an_open_attempt_holds_the_revocations_of_its_own_account_alone() {
    let open = |account: AttemptAccount| Claims {
        open: BTreeMap::from([(attempt(1).at.id, account)]),
        ..Claims::default()
    };
    let account = attempt(1).account;
    let another = UserId::parse("another").ok();
    let may_store = |claims: &Claims| claims.may_store("https://platform", Some(&user()));
    assert!(may_store(&open(account.clone())));
    for (account, expected) in [
        (
            AttemptAccount {
                user_id: None,
                ..account.clone()
            },
            true,
        ),
        (
            AttemptAccount {
                user_id: another,
                ..account.clone()
            },
            false,
        ),
        (
            AttemptAccount {
                base_url: "https://another".into(),
                ..account
            },
            false,
        ),
    ] {
        assert_eq!(may_store(&open(account)), expected);
    }
    assert!(!may_store(&Claims::default()));
    let unreadable = Claims {
        unreadable: true,
        ..Claims::default()
    };
    assert!(may_store(&unreadable));
}

fn found(unclaimed: &[&str], strangers: &[&str]) -> Stock {
    Stock {
        unclaimed: ids(unclaimed),
        strangers: ids(strangers),
        ..Stock::default()
    }
}

#[test]
fn a_stock_is_news_only_by_what_neither_status_nor_former_stock_showed() {
    let shown = |texts: &[&str]| AccountStatus {
        unclaimed_token_ids: ids(texts).into_iter().collect(),
        ..AccountStatus::default()
    };
    let full: Vec<String> = (0..AccountStatus::MAX_UNCLAIMED)
        .map(|n| format!("full{n}"))
        .collect();
    let full: Vec<&str> = full.iter().map(String::as_str).collect();
    for (stock, former, strangers, expected) in [
        (found(&[], &[]), shown(&[]), ids(&[]), vec![]),
        (found(&["a"], &[]), shown(&["a"]), ids(&[]), vec![]),
        (
            found(&["a", "b"], &[]),
            shown(&["a"]),
            ids(&[]),
            vec![Reason::Unclaimed],
        ),
        // A status that is full cannot show what else there is, and would tell it again each time.
        (found(&["a"], &[]), shown(&full), ids(&[]), vec![]),
        (
            found(&["a"], &[]),
            shown(&full[1..]),
            ids(&[]),
            vec![Reason::Unclaimed],
        ),
        (found(&[], &["x"]), shown(&[]), ids(&["x", "y"]), vec![]),
        (
            found(&[], &["x"]),
            shown(&[]),
            ids(&["y"]),
            vec![Reason::NotExclusive],
        ),
    ] {
        let news = stock.news(&former, &strangers);
        let reasons: Vec<Reason> = news.iter().map(|note| note.reason).collect();
        assert_eq!(reasons, expected, "{stock:?}");
    }
    assert_eq!(found(&["a", "b", "c"], &[]).found(&shown(&["b"])), 2);
}

#[test]
fn a_token_that_was_revoked_is_counted_no_more() {
    let mut stock = taken(
        &[tagged("lost", 1), row("stranger", 0)],
        &Claims::default(),
        None,
        1000,
    );
    let counts = |upstream, unclaimed| TokenCounts {
        upstream,
        managed: 0,
        unclaimed,
    };
    assert_eq!(stock.counts, counts(2, 1));
    stock.revoked(&id("stranger"));
    assert_eq!(stock.counts, counts(2, 1), "it was not unclaimed");
    stock.revoked(&id("lost"));
    assert_eq!((stock.counts, &stock.unclaimed), (counts(1, 0), &ids(&[])));
}

#[test]
fn a_token_of_two_minutes_is_settled_and_a_younger_one_may_be_stored_yet() {
    let rows = [
        Shown {
            created_at: at(880).wall,
            ..tagged("settled", 1)
        },
        Shown {
            created_at: at(881).wall,
            ..tagged("young", 1)
        },
    ];
    let stock = taken(&rows, &Claims::default(), None, 1000);
    assert_eq!(stock.unclaimed, ids(&["settled"]));
}

#[test]
fn a_token_that_somebody_uses_or_that_is_older_than_the_baseline_is_never_revoked() {
    let baseline = baseline_of(Some(&user()), &[], 10);
    let rows = [
        row("old", 9),
        used(row("used-old", 9)),
        row("lost", 10),
        used(row("used", 10)),
        used(tagged("used-ours", 1)),
    ];
    let stock = taken(&rows, &Claims::default(), Some(&baseline), 1000);
    assert_eq!(stock.revocable, ids(&["lost"]));
    assert_eq!(stock.strangers, ids(&["used"]));
    assert_eq!(stock.baseline, Some(baseline), "it stays");
    assert!(
        taken(&rows, &Claims::default(), None, 1000)
            .revocable
            .is_empty()
    );
}

#[test]
fn a_status_shows_the_last_stock_and_the_baselines_of_every_user_while_it_is_exclusive() {
    let of = |user: &str| baseline_of(UserId::parse(user).ok().as_ref(), &[], 0);
    let stock = |user: &str| Stock {
        baseline: Some(of(user)),
        counts: TokenCounts {
            upstream: 7,
            managed: 4,
            unclaimed: 1,
        },
        ..found(&["lost"], &[])
    };
    let mut status = AccountStatus {
        unclaimed_token_ids: vec![id("former")],
        ..AccountStatus::default()
    };
    for (user, expected) in [
        ("one", vec![of("one")]),
        ("one", vec![of("one")]),
        ("two", vec![of("one"), of("two")]),
    ] {
        status.count(&stock(user));
        assert_eq!(status.baselines, expected);
    }
    assert_eq!(status.unclaimed_token_ids, [id("lost")]);
    assert_eq!(status.tokens, Some(stock("one").counts));
    status.count(&Stock::default());
    assert_eq!(status.baselines, [], "it is shared now");
}

#[test]
fn a_complete_list_says_that_a_token_may_be_gone_if_it_is_of_this_account_and_a_minute_old() {
    let missing = Some(Missing {
        token_id: id("a"),
        listed: at(1000).elapsed,
    });
    let there = [row("a", 0)];
    let of = |issued_at: u64| Issued {
        issued_at: at(issued_at).wall,
        ..issued(1, "a")
    };
    let user_id = UserId::parse("another").unwrap();
    let base_url = "https://another".to_owned();
    for (rows, issued, expected) in [
        (&there[..0], of(0), missing.clone()),
        (&there[..], of(0), None),
        (&there[..0], of(940), missing),
        (&there[..0], of(941), None),
        (&there[..0], of(2000), None),
        (&there[..0], Issued { user_id, ..of(0) }, None),
        (&there[..0], Issued { base_url, ..of(0) }, None),
    ] {
        assert_eq!(listing(rows).missing(&issued), expected, "{issued:?}");
    }
    let unknown = Identity {
        user_id: None,
        ..identity()
    };
    let listing = Listing::new(&unknown, at(1000), vec![]);
    assert_eq!(listing.missing(&of(0)), None, "a user who is not known");
}
