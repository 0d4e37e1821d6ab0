use std::borrow::Borrow;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use common::names::{PackedRecord, Records};

/// All records under one name: those up and confirmed first. Cheap to clone, and found by the name that is in them: a
/// key beside them would be kept again in each index of a million names.
#[derive(Clone, Debug)]
pub struct Kept(Held);

/// Nearly every name has one record: that costs no list.
#[derive(Clone, Debug)]
enum Held {
    One(PackedRecord),
    Several(Arc<Vec<PackedRecord>>),
}

impl Kept {
    /// These records, which are of one name; `None` when there is none.
    pub(super) fn new(mut records: Vec<PackedRecord>) -> Option<Self> {
        if records.len() > 1 {
            records.sort_by_cached_key(|record| {
                let record = record.view();
                (record.readiness as u8, record.standing as u8, record.instance)
            });
            return Some(Self(Held::Several(Arc::new(records))));
        }
        records.pop().map(|record| Self(Held::One(record)))
    }

    /// Their name.
    pub fn name(&self) -> &str {
        self.first().name()
    }

    fn first(&self) -> &PackedRecord {
        self.0.records().first().expect("a name on the shelf has records")
    }
}

impl Held {
    fn records(&self) -> &[PackedRecord] {
        match self {
            Self::One(record) => std::slice::from_ref(record),
            Self::Several(records) => records,
        }
    }
}

impl Deref for Kept {
    type Target = [PackedRecord];

    fn deref(&self) -> &[PackedRecord] {
        self.0.records()
    }
}

impl From<Kept> for Records {
    fn from(kept: Kept) -> Self {
        match kept.0 {
            Held::One(record) => Self::from(record),
            Held::Several(records) => records.iter().cloned().collect(),
        }
    }
}

impl Borrow<[u8]> for Kept {
    fn borrow(&self) -> &[u8] {
        self.first().name_bytes()
    }
}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.first().name_bytes().hash(state);
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Kept {}

impl PartialOrd for Kept {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Kept {
    fn cmp(&self, other: &Self) -> Ordering {
        self.first().name_bytes().cmp(other.first().name_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_two_words_in_each_index() {
        assert_eq!(size_of::<Kept>(), 2 * size_of::<usize>());
    }
}
