//! What the sweep spares, what it finds, and how many it lets through.

use super::*;
use crate::api::{Baseline, Entry, TokenCounts};

/// When stock is taken, unless a row says otherwise.
const NOW: u64 = 2000;

/// For so long stocks have to find a token.
const LONG: Duration = Duration::from_mins(5);

/// What one row of a table begins with: a token that may be swept.
struct Given {
    row: Shown,
    claims: Claims,
    broom: Broom,
    now: u64,
}

impl Given {
    fn new() -> Self {
        let claims = Claims {
            begun: Some(at(0).wall),
            ..Claims::default()
        };
        Self {
            row: made(400, "lost"),
            claims,
            broom: broom(Sweep::Revoke),
            now: NOW,
        }
    }

    fn stock(&self) -> Stock {
        self.stock_beside(None)
    }

    fn stock_beside(&self, baseline: Option<&Baseline>) -> Stock {
        let identity = identity();
        let rows = listed(std::slice::from_ref(&self.row));
        let taking = Stocktaking {
            listing: &Listing::new(&identity, at(self.now), rows),
            claims: &self.claims,
            credentials: &BTreeSet::from([value("credential").hash()]),
            suspected: &[],
            baseline,
            broom: &self.broom,
        };
        take_stock(&taking, at(self.now))
    }
}

/// A token of this cluster that was made at this second.
fn made(second: u64, text: &str) -> Shown {
    Shown {
        created_at: at(second).wall,
        ..tagged(text, 1)
    }
}

fn used_at(second: u64, row: &Shown) -> Shown {
    Shown {
        used_at: Some(at(second).wall),
        ..row.clone()
    }
}

/// The ids that may be swept.
fn stranded(given: &Given) -> Vec<String> {
    let stock = given.stock();
    stock.stranded.keys().map(ToString::to_string).collect()
}

type Change = fn(&mut Given);

#[test]
fn what_bears_our_tags_and_is_named_by_nothing_may_be_swept() {
    let found: &[(&str, Change)] = &[
        ("as it is", |_| {}),
        ("it is reported alone", |given| {
            given.broom.sweep = Sweep::Report;
        }),
        ("the platform shows no values", |given| {
            given.row = masked(given.row.clone());
        }),
        ("it was used", |given| {
            given.row = used_at(500, &given.row);
        }),
        ("of a namespace that is reached", |given| {
            given.broom.namespaces = Some(["ns".to_owned()].into());
        }),
        ("another attempt is open", |given| {
            let open = attempt(7);
            given.claims.open.insert(open.at.id, open.account);
        }),
        ("another PlatformToken lives", |given| {
            given.claims.uids.insert(owner("another").uid);
        }),
        ("ten minutes old", |given| given.row = made(1400, "lost")),
        ("five minutes younger than the ledger", |given| {
            given.row = made(300, "lost");
        }),
        (
            "only a Secret holds it whose PlatformToken is gone",
            |given| {
                given.claims.abandoned.insert(id("lost"));
            },
        ),
    ];
    for (what, change) in found {
        let mut given = Given::new();
        change(&mut given);
        assert_eq!(stranded(&given), ["id-lost"], "{what}");
    }
}

#[test]
fn what_is_claimed_or_not_surely_ours_is_spared() {
    let spared: &[(&str, Change)] = &[
        (
            "a PlatformToken, a Secret or the ledger names it",
            |given| {
                given.claims.named.insert(id("lost"));
            },
        ),
        ("the row of an open attempt", |given| {
            let open = attempt(1);
            given.claims.open.insert(open.at.id, open.account);
        }),
        ("its PlatformToken lives, and revokes it itself", |given| {
            given.claims.uids.insert(owner("token").uid);
        }),
        ("something does not read, and may claim it", |given| {
            given.claims.unreadable = true;
        }),
        ("an account's credential", |given| {
            given.row.value = Some(value("credential"));
        }),
        ("a stranger's", |given| given.row.tags.clear()),
        ("another cluster's", |given| {
            given.row.tags = Attempt {
                owner: Owner {
                    cluster: "another".into(),
                    ..owner("token")
                },
                ..attempt(1)
            }
            .tags();
        }),
        ("no tag says of which namespace", |given| {
            given.row.tags.retain(|tag| !tag.starts_with("namespace="));
        }),
        ("no tag says of which PlatformToken", |given| {
            given.row.tags.retain(|tag| !tag.starts_with("uid="));
        }),
        ("its tags name no namespace that can be", |given| {
            given.row.tags = Attempt {
                owner: Owner {
                    namespace: "a/b".into(),
                    ..owner("token")
                },
                ..attempt(1)
            }
            .tags();
        }),
        ("of a namespace that is not reached", |given| {
            given.broom.namespaces = Some(["another".to_owned()].into());
        }),
        ("not ten minutes old", |given| {
            given.row = made(1401, "lost");
        }),
        ("from the future, by the platform's clock", |given| {
            given.row = made(3000, "lost");
        }),
        ("perhaps older than the ledger", |given| {
            given.row = made(299, "lost");
        }),
        ("nobody knows how old the ledger is", |given| {
            given.claims.begun = None;
        }),
        ("nothing is swept", |given| given.broom.sweep = Sweep::Off),
    ];
    for (what, change) in spared {
        let mut given = Given::new();
        change(&mut given);
        assert_eq!(stranded(&given), [] as [&str; 0], "{what}");
    }
}

/// Takes these rows in as stocks in a row, five minutes apart; how many are due at each.
fn due(rows: &[Shown], change: Change) -> Vec<usize> {
    let mut sweeping = Sweeping::default();
    let stocks = rows.iter().enumerate().map(|(n, row)| {
        let now = NOW + 300 * n as u64;
        let mut given = Given {
            row: row.clone(),
            now,
            ..Given::new()
        };
        change(&mut given);
        sweeping.note(&mut given.stock(), LONG, at(now)).len()
    });
    stocks.collect()
}

#[test]
fn what_two_stocks_in_a_row_find_is_due_unless_somebody_uses_it() {
    let lost = made(400, "lost");
    let used = |second| used_at(second, &lost);
    let gone = Shown {
        tags: vec![],
        ..lost.clone()
    };
    for (rows, expected) in [
        (vec![lost.clone(); 3], vec![0, 1, 1]),
        (vec![used(500); 3], vec![0, 1, 1]),
        (
            vec![lost.clone(), gone, lost.clone(), lost.clone()],
            vec![0, 0, 0, 1],
        ),
        // It moves: somebody has it. A pause tells nothing.
        (
            vec![lost.clone(), used(2200), used(2200), used(2200)],
            vec![0, 0, 0, 0],
        ),
        (vec![used(500), used(2200), used(2500)], vec![0, 0, 0]),
    ] {
        assert_eq!(due(&rows, |_| {}), expected, "{rows:?}");
    }
}

#[test]
fn a_stock_that_comes_early_makes_nothing_due() {
    let mut sweeping = Sweeping::default();
    let stocks = [0, 30, 299, 300].map(|second| {
        let mut stock = Given::new().stock();
        sweeping.note(&mut stock, LONG, at(second)).len()
    });
    assert_eq!(stocks, [0, 0, 0, 1]);
}

#[test]
fn a_secret_shields_its_token_for_ten_minutes_without_its_platformtoken() {
    let lost = vec![made(400, "lost"); 5];
    let abandoned = |given: &mut Given| {
        given.claims.abandoned.insert(id("lost"));
    };
    assert_eq!(due(&lost, abandoned), [0, 0, 1, 1, 1]);
    // It was back in between.
    let with_pause = |given: &mut Given| {
        if given.now == NOW + 600 {
            given.claims.named.insert(id("lost"));
        } else {
            given.claims.abandoned.insert(id("lost"));
        }
    };
    assert_eq!(due(&lost, with_pause), [0, 0, 0, 0, 0]);
}

#[test]
fn what_a_secret_has_held_for_long_without_its_platformtoken_is_unclaimed() {
    let mut given = Given::new();
    given.claims.abandoned.insert(id("lost"));
    let counts = |managed, unclaimed| TokenCounts {
        upstream: 1,
        managed,
        unclaimed,
    };
    let mut sweeping = Sweeping::default();
    for (now, expected) in [(NOW, counts(1, 0)), (NOW + 600, counts(0, 1))] {
        given.now = now;
        let mut stock = given.stock();
        sweeping.note(&mut stock, LONG, at(now));
        assert_eq!(stock.counts, expected);
        assert_eq!(stock.unclaimed.len(), expected.unclaimed as usize);
    }
}

/// So many tokens that are due.
fn many(count: usize) -> Vec<Stranded> {
    let stock = Given::new().stock();
    vec![stock.stranded[&id("lost")].clone(); count]
}

#[test]
fn the_brake_lets_so_many_through_in_any_minute_and_wants_the_next_stock_in_one() {
    let mut sweeping = Sweeping::default();
    let mut stock = Given::new().stock();
    sweeping.note(&mut stock, LONG, at(0));
    for (second, due, passed, again) in [
        // What a sweep before this one has spent is not known.
        (0, 5, 0, true),
        (59, 5, 0, true),
        (60, 5, 2, true),
        (100, 3, 0, true),
        (119, 3, 0, true),
        (120, 1, 1, false),
        (150, 2, 1, true),
        (180, 1, 1, false),
        (200, 0, 0, false),
        (1000, 2, 2, false),
    ] {
        let let_through = sweeping.brake(many(due), 2, at(second));
        assert_eq!(let_through.len(), passed, "at second {second}");
        let minute = again.then_some(Duration::from_mins(1));
        assert_eq!(sweeping.again(), minute, "at second {second}");
    }
}

#[test]
fn what_is_swept_is_owed_by_whom_its_tags_name_and_is_looked_at_once_more() {
    let stock = Given::new().stock();
    let Entry::Owed(owed) = stock.stranded[&id("lost")].owed() else {
        panic!("it is owed");
    };
    let Owner { name, .. } = owed.token.owner.clone();
    assert_eq!(
        owed.token.owner,
        Owner {
            name,
            ..owner("token")
        }
    );
    assert_eq!(owed.token.token_id, id("lost"));
    assert_eq!(owed.hash, Some(value("lost").hash()));
    // It reads back, and is paid through the account, which looks at its tags first.
    let entry = Entry::Owed(owed);
    let secret = entry.secret("ours", None);
    assert_eq!(Entry::parse(&secret.metadata).unwrap(), entry);
    let account = AccountFacts::Ready(identity());
    let mut snapshot = Snapshot::of_entry(&entry, None, account, BTreeSet::new(), at(0));
    let mut asked = false;
    let steps = story(&mut snapshot, at(0), |step| {
        let looks = |with: &RevokeWith| matches!(with, RevokeWith::AccountIfOurs { .. });
        asked |= matches!(step, Step::Revoke { with, .. } if looks(with));
        fair_outcome(step)
    });
    assert_eq!(
        (steps.as_slice(), asked),
        (&["revoke".to_owned(), "Gone".to_owned()][..], true)
    );
}

#[test]
fn what_is_swept_counts_as_managed_and_what_is_not_reported_is_counted_all_the_same() {
    let counts = |managed, unclaimed| TokenCounts {
        upstream: 1,
        managed,
        unclaimed,
    };
    let mut stock = Given::new().stock();
    assert_eq!(stock.counts, counts(0, 1));
    assert_eq!(stock.swept(&[]), None);
    let note = stock.swept(&[id("lost")]).unwrap();
    assert!(note.text.ends_with(": id-lost"), "{}", note.text);
    assert_eq!((stock.counts, &stock.unclaimed), (counts(1, 0), &ids(&[])));

    let off = |row| Given {
        row,
        broom: broom(Sweep::Off),
        ..Given::new()
    };
    let stock = off(made(400, "lost")).stock();
    assert_eq!((stock.counts, &stock.unclaimed), (counts(0, 1), &ids(&[])));
    // What an exclusive account revokes is no matter of the sweep.
    let older = Listing::new(&identity(), at(0), vec![]);
    let stock = off(row("lost", 400)).stock_beside(Some(&baseline(&older, at(0))));
    assert_eq!(stock.unclaimed, ids(&["lost"]));
}

#[test]
fn what_an_exclusive_account_has_revoked_is_not_swept_as_well() {
    let older = Listing::new(&identity(), at(0), vec![]);
    let mut stock = Given::new().stock_beside(Some(&baseline(&older, at(0))));
    assert_eq!((stock.revocable.len(), stock.stranded.len()), (1, 1));
    stock.revoked(&id("lost"));
    assert!(stock.stranded.is_empty());
}
