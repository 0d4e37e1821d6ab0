use std::borrow::Borrow;
use std::ops::Bound;

use super::kept::Kept;

/// Names in one block: few enough to move along when one comes between them, and so many that the list of the blocks of
/// a million names is short.
const BLOCK: usize = 128;

/// The names in their order, in blocks. A search tree would keep its nodes half empty where names come in order
/// (`client.1`, `client.2`, ...), as they mostly do: twice the memory, for each of a million.
#[derive(Debug, Default)]
pub(super) struct Ordered {
    /// None is empty, and none has more than [`BLOCK`].
    blocks: Vec<Vec<Kept>>,
    names: usize,
}

impl Ordered {
    pub(super) fn len(&self) -> usize {
        self.names
    }

    /// Puts `kept` in place of what has its name, and gives that back.
    pub(super) fn replace(&mut self, kept: Kept) -> Option<Kept> {
        match self.place(kept.borrow()) {
            Ok((block, at)) => Some(std::mem::replace(&mut self.blocks[block][at], kept)),
            Err((block, at)) => {
                self.insert(block, at, kept);
                None
            }
        }
    }

    /// Takes out what has this name.
    pub(super) fn take(&mut self, name: &[u8]) -> Option<Kept> {
        let (block, at) = self.place(name).ok()?;
        let taken = self.blocks[block].remove(at);
        self.names -= 1;
        if self.blocks[block].is_empty() {
            self.blocks.remove(block);
        } else {
            self.join(block);
            self.join(block.saturating_sub(1));
        }
        Some(taken)
    }

    /// Makes one of a block and the next, when both together are no more than half of one.
    fn join(&mut self, block: usize) {
        if let [names, next, ..] = &mut self.blocks[block..]
            && names.len() + next.len() <= BLOCK / 2
        {
            names.append(next);
            self.blocks.remove(block + 1);
        }
    }

    /// All from `start` on, in order.
    pub(super) fn from(&self, start: Bound<&[u8]>) -> impl Iterator<Item = &Kept> {
        let (block, at) = match start {
            Bound::Included(name) => self.place(name).unwrap_or_else(|belongs| belongs),
            Bound::Excluded(name) => {
                self.place(name).map_or_else(|belongs| belongs, |(block, at)| (block, at + 1))
            }
            Bound::Unbounded => (0, 0),
        };
        let first = self.blocks.get(block).map_or(&[][..], |names| &names[at..]);
        first.iter().chain(self.blocks.iter().skip(block + 1).flatten())
    }

    /// In which block a name is, and where in it; else where it belongs.
    fn place(&self, name: &[u8]) -> Result<(usize, usize), (usize, usize)> {
        let order = |kept: &Kept| Borrow::<[u8]>::borrow(kept).cmp(name);
        // The last one that does not begin after it.
        let begun = self.blocks.partition_point(|names| order(&names[0]).is_le());
        let block = begun.saturating_sub(1);
        let Some(names) = self.blocks.get(block) else { return Err((0, 0)) };
        match names.binary_search_by(order) {
            Ok(at) => Ok((block, at)),
            Err(at) => Err((block, at)),
        }
    }

    fn insert(&mut self, block: usize, at: usize, kept: Kept) {
        self.names += 1;
        match self.blocks.get_mut(block) {
            None => self.blocks.push(vec![kept]),
            Some(names) if names.len() < BLOCK => names.insert(at, kept),
            // What comes in order leaves full blocks behind.
            Some(_) if at == BLOCK => self.blocks.insert(block + 1, vec![kept]),
            Some(names) => {
                let mut rest = names.split_off(BLOCK / 2);
                match at.checked_sub(BLOCK / 2) {
                    None => names.insert(at, kept),
                    Some(at) => rest.insert(at, kept),
                }
                self.blocks.insert(block + 1, rest);
            }
        }
    }
}

/// Of names that are in order already.
impl FromIterator<Kept> for Ordered {
    fn from_iter<I: IntoIterator<Item = Kept>>(names: I) -> Self {
        let mut ordered = Self::default();
        for kept in names {
            match ordered.blocks.last_mut().filter(|names| names.len() < BLOCK) {
                Some(names) => names.push(kept),
                None => ordered.blocks.push(vec![kept]),
            }
            ordered.names += 1;
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use common::ids::InstanceId;
    use common::names::{
        Lifetime, NameEpoch, PackedRecord, Readiness, RecordRef, Revision, Sharing, Standing, TargetRef,
        Weight,
    };
    use proptest::prelude::*;

    use super::*;

    fn kept(number: usize) -> Kept {
        let record = PackedRecord::from(&RecordRef {
            name: &format!("n{number:04}"),
            sharing: Sharing::Exclusive,
            instance: InstanceId::from_u128(1),
            epoch: NameEpoch(Revision(1)),
            target: TargetRef::Pyro { uri: "PYRO:a@b:1" },
            tags: Vec::new(),
            readiness: Readiness::Up,
            standing: Standing::Confirmed,
            weight: Weight::default(),
            lifetime: Lifetime::Permanent,
        });
        Kept::new(vec![record]).unwrap()
    }

    fn check(ordered: &Ordered, expected: &BTreeSet<Kept>) {
        assert_eq!(ordered.len(), expected.len());
        assert!(ordered.from(Bound::Unbounded).eq(expected), "{ordered:?}");
        assert!(ordered.blocks.iter().all(|names| (1..=BLOCK).contains(&names.len())));
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_set(
            changes in prop::collection::vec((prop::bool::weighted(0.7), 0..800_usize), 1..2_000),
            starts in prop::collection::vec(0..800_usize, 10),
        ) {
            let (mut ordered, mut expected) = (Ordered::default(), BTreeSet::new());
            for (comes, number) in changes {
                let kept = kept(number);
                if comes {
                    prop_assert_eq!(ordered.replace(kept.clone()), expected.replace(kept));
                } else {
                    prop_assert_eq!(ordered.take(kept.borrow()), expected.take(&kept));
                }
            }
            check(&ordered, &expected);
            for start in starts {
                let start = kept(start);
                for bound in [Bound::Included, Bound::Excluded] {
                    let range = (bound(start.borrow()), Bound::Unbounded);
                    prop_assert!(ordered.from(range.0).eq(expected.range::<[u8], _>(range)));
                }
            }
            check(&ordered.from(Bound::Unbounded).cloned().collect(), &expected);
        }
    }

    #[test]
    fn what_comes_in_order_fills_its_blocks_and_what_goes_leaves_no_crumbs() {
        let mut ordered = Ordered::default();
        for number in 0..BLOCK * 10 {
            ordered.replace(kept(number));
        }
        assert_eq!(ordered.blocks.len(), 10);
        for number in (0..BLOCK * 10).filter(|number| number % 64 != 0) {
            ordered.take(kept(number).borrow());
        }
        assert_eq!((ordered.len(), ordered.blocks.len()), (20, 1));
    }
}
