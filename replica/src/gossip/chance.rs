//! Draws that a seed decides: whom to tell next, whom to refuse for teaching. Nothing else in the core is drawn.

/// A generator, as a value (Steele, Lea, Flood, *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014).
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// One of `0..bound`; 0 when there is none.
    pub(super) const fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        // The high half of the product: no division, and a bias that no bound here shows.
        (((z ^ (z >> 31)) >> 32) * bound) >> 32
    }

    /// These in another order.
    pub(super) fn shuffle<T>(&mut self, of: &mut [T]) {
        for end in (1..of.len()).rev() {
            let with = usize::try_from(self.below(end as u64 + 1)).unwrap_or(end);
            of.swap(end, with);
        }
    }
}
