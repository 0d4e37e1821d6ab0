use common::names::AnyName;

/// The names under one lease, in order. Nearly every process has one, and there may be a million of them: one name costs
/// no list.
#[derive(Clone, Debug)]
pub(super) enum Held {
    One(AnyName),
    #[expect(clippy::box_collection, reason = "a list's three words are more than the rest of this")]
    Several(Box<Vec<AnyName>>),
}

impl Held {
    pub(super) fn names(&self) -> &[AnyName] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }

    pub(super) fn holds(&self, name: &AnyName) -> bool {
        self.names().binary_search(name).is_ok()
    }

    pub(super) fn insert(&mut self, name: &AnyName) {
        match self {
            Self::One(held) if *held == *name => {}
            Self::One(held) => {
                let mut names = vec![held.clone(), name.clone()];
                names.sort_unstable();
                *self = Self::Several(Box::new(names));
            }
            Self::Several(names) => {
                if let Err(place) = names.binary_search(name) {
                    names.insert(place, name.clone());
                }
            }
        }
    }

    /// What is left without `name`; `None`: nothing.
    pub(super) fn without(self, name: &AnyName) -> Option<Self> {
        match self {
            Self::One(held) => (held != *name).then_some(Self::One(held)),
            Self::Several(mut names) => {
                if let Ok(place) = names.binary_search(name) {
                    names.remove(place);
                }
                (!names.is_empty()).then_some(Self::Several(names))
            }
        }
    }
}
