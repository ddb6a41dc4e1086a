//! What a process remembers from one run to the next.

use super::*;

#[test]
fn of_a_token_at_rest_only_what_nothing_else_tells_is_remembered() {
    let id = |text: &str| TokenId::parse(text).unwrap();
    let ids = || BTreeSet::from([id("a")]);
    let told = Memory {
        attempt: Some(open(attempt(1), Fate::Unknown { searched: None })),
        issued: Some(issued(1, "a")),
        verified: Some((value("a").hash(), "7".into())),
        ..Memory::default()
    };
    assert!(told.clone().at_rest().is_none(), "the status tells it all");
    let minted = OpenAttempt {
        others: ids(),
        ..open(attempt(1), Fate::Void)
    };
    for (what, memory) in [
        (
            "a token made",
            Memory {
                attempt: Some(minted),
                ..told.clone()
            },
        ),
        (
            "a value held",
            Memory {
                held: Some(value("a")),
                ..told.clone()
            },
        ),
        (
            "tokens gone",
            Memory {
                revoked: ids(),
                ..told.clone()
            },
        ),
        (
            "may not revoke itself",
            Memory {
                self_refused: ids(),
                ..told.clone()
            },
        ),
        (
            "perhaps gone",
            Memory {
                revoke_unknown: ids(),
                ..told.clone()
            },
        ),
        (
            "answers lost",
            Memory {
                lost: 1,
                ..told.clone()
            },
        ),
    ] {
        assert!(memory.at_rest().is_some(), "{what}");
    }
}
