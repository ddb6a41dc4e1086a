//! States by their digest.

use std::hash::{Hash, Hasher};

/// 128 bits of anything that can be hashed. Two states of a walk with the same 128 bits are taken for one: among 10^8
/// states, the chance that any two differ and collide is below 10^-22.
pub(crate) fn digest(what: &impl Hash) -> u128 {
    let mut bytes = Bytes(Vec::with_capacity(256));
    what.hash(&mut bytes);
    let (mut a, mut b) = (0x243f_6a88_85a3_08d3_u64, 0x1319_8a2e_0370_7344_u64);
    let mut take = |word: u64| {
        a = mix(a ^ word, 0xa076_1d64_78bd_642f);
        b = mix(
            b.rotate_left(29) ^ word ^ 0xe703_7ed1_a0b4_28db,
            0x8ebc_6af0_9c88_c6e3,
        ) ^ a;
    };
    let mut words = bytes.0.chunks_exact(8);
    for word in &mut words {
        take(u64::from_le_bytes(word.try_into().unwrap_or_default()));
    }
    for byte in words.remainder() {
        take(u64::from(*byte));
    }
    take(bytes.0.len() as u64);
    (u128::from(a) << 64) | u128::from(b)
}

fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product >> 64) as u64 ^ product as u64
}

/// Collects what is hashed. Lengths and variants are small numbers here.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn write_u8(&mut self, n: u8) {
        self.0.push(n);
    }

    fn write_usize(&mut self, n: usize) {
        self.0.push(n as u8);
    }

    fn write_isize(&mut self, n: isize) {
        self.0.push(n as u8);
    }

    fn finish(&self) -> u64 {
        unreachable!("the bytes are digested")
    }
}

/// A digest needs no other hash.
#[derive(Default)]
pub(crate) struct Folded(u64);

impl Hasher for Folded {
    fn write(&mut self, _: &[u8]) {
        unreachable!("digests are numbers");
    }

    fn write_u128(&mut self, n: u128) {
        self.0 = n as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
