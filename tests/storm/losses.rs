//! The platform's part of the storm: a fault script that loses answers.

use platform_token_operator::sandbox::{Fault, Match, Route, Rule, Shape, Verb, When};

use crate::dice::Dice;

/// Of a hundred POSTs and DELETEs, so many answers are lost.
const LOST: u64 = 8;

/// Of a hundred lists, so many fail: they only delay what the operator finds out.
const LISTS: u64 = 4;

/// More calls of a kind than a row of kills sees; those after them pass.
const CALLS: u32 = 1000;

/// The script for one row of kills.
pub(crate) fn losses(dice: &mut Dice) -> Vec<Rule> {
    let mut script = Vec::new();
    for (method, route, chance) in [
        (Verb::Post, Route::Tokens, LOST),
        (Verb::Delete, Route::Token, LOST),
        (Verb::Get, Route::Tokens, LISTS),
    ] {
        for skip in 0..CALLS {
            if dice.percent(chance) {
                script.push(Rule {
                    call: Match::on(method, route),
                    skip,
                    times: Some(1),
                    fault: loss(dice),
                });
            }
        }
    }
    script
}

/// One way in which nobody knows what was done.
fn loss(dice: &mut Dice) -> Fault {
    let when = dice.pick(&[When::Before, When::After, When::After]);
    match dice.between(0, 5) {
        0 => Fault::Hang { when },
        1 => Fault::Late {
            ms: dice.between(100, 18_000),
        },
        2 => Fault::Cut,
        3 => Fault::Status {
            when,
            status: 502,
            body: Shape::Html,
            retry_after: None,
        },
        _ => Fault::Reset { when },
    }
}
