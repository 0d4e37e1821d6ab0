use common::names::PackedRecord;

/// The records under one lease, in the order of names. Nearly every process has one, and there may be a million of them:
/// one record costs no list.
#[derive(Clone, Debug)]
pub(super) enum Held {
    One(PackedRecord),
    #[expect(clippy::box_collection, reason = "a list's three words are more than the rest of this")]
    Several(Box<Vec<PackedRecord>>),
}

impl Held {
    pub(super) fn records(&self) -> &[PackedRecord] {
        match self {
            Self::One(record) => std::slice::from_ref(record),
            Self::Several(records) => records,
        }
    }

    pub(super) fn holds(&self, name: &str) -> bool {
        self.place(name).is_ok()
    }

    /// Where the record of that name is, or belongs.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.records().binary_search_by(|held| held.name_bytes().cmp(name.as_bytes()))
    }

    /// Adds a record, or puts it in place of the one of its name.
    pub(super) fn put(&mut self, record: &PackedRecord) {
        let place = self.place(record.name());
        match (&mut *self, place) {
            (Self::One(held), Ok(_)) => *held = record.clone(),
            (Self::One(held), Err(place)) => {
                let mut records = vec![held.clone()];
                records.insert(place, record.clone());
                *self = Self::Several(Box::new(records));
            }
            (Self::Several(records), Ok(place)) => records[place] = record.clone(),
            (Self::Several(records), Err(place)) => records.insert(place, record.clone()),
        }
    }

    /// What is left without that name; `None`: nothing.
    pub(super) fn without(mut self, name: &str) -> Option<Self> {
        let Ok(place) = self.place(name) else { return Some(self) };
        match &mut self {
            Self::One(_) => None,
            Self::Several(records) => {
                records.remove(place);
                (!records.is_empty()).then_some(self)
            }
        }
    }
}
