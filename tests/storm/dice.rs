//! Chance that can be had again: equal seeds make equal throws.

use std::time::Duration;

/// A stream of throws (`SplitMix64`).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Dice of their own for `what`, so that one part's throws do not depend on how often another one throws.
    pub(crate) fn of(seed: u64, what: &str) -> Self {
        let mut dice = Self(seed);
        for byte in what.bytes() {
            dice.0 ^= u64::from(byte);
            dice.throw();
        }
        dice
    }

    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.throw() % (high - low + 1)
    }

    /// Whether something happens that does in so many of a hundred cases.
    pub(crate) fn percent(&mut self, chance: u64) -> bool {
        self.between(1, 100) <= chance
    }

    pub(crate) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// One of several; there has to be one.
    pub(crate) fn pick<T: Clone>(&mut self, of: &[T]) -> T {
        let index = self.between(1, of.len() as u64) - 1;
        of[usize::try_from(index).unwrap()].clone()
    }

    pub(crate) fn shuffle<T>(&mut self, deck: &mut [T]) {
        for last in (1..deck.len()).rev() {
            let other = usize::try_from(self.between(0, last as u64)).unwrap();
            deck.swap(last, other);
        }
    }
}

#[test]
fn equal_seeds_make_equal_throws_and_others_do_not() {
    let throws = |seed, what| {
        let mut dice = Dice::of(seed, what);
        [0; 8].map(|_| dice.between(0, 99))
    };
    assert_eq!(throws(7, "kills"), throws(7, "kills"));
    assert_ne!(throws(7, "kills"), throws(8, "kills"));
    assert_ne!(throws(7, "kills"), throws(7, "users"));
}
