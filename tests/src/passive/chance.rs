//! Chance with a seed: the same seed, the same walk, on every machine.

/// Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014: two multiplications a number,
/// so that the cores, not the dice, take the time.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// All that follows is decided by `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `0..bound`; 0 when there is none.
    pub const fn below(&mut self, bound: usize) -> usize {
        // The high half of the product: no division. The bias is below one in a million for bounds like ours.
        (((self.bits() >> 32) * bound as u64) >> 32) as usize
    }

    /// One of `low..=high`.
    pub const fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Whether, with a chance of one in `n`.
    pub const fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }
}
