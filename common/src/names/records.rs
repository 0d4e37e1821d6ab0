use std::ops::Deref;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Record;

/// All records under one name: those up and confirmed first. Cheap to clone; on the wire a sequence of records.
#[derive(Clone, Debug)]
pub struct Records(Held);

/// Nearly every name has one record, and a million names are held at once: one record costs no list.
#[derive(Clone, Debug)]
enum Held {
    One(Arc<Record>),
    Several(Arc<Vec<Arc<Record>>>),
}

impl Deref for Records {
    type Target = [Arc<Record>];

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Held::One(record) => std::slice::from_ref(record),
            Held::Several(records) => records,
        }
    }
}

impl From<Vec<Arc<Record>>> for Records {
    fn from(records: Vec<Arc<Record>>) -> Self {
        match <[Arc<Record>; 1]>::try_from(records) {
            Ok([record]) => Self(Held::One(record)),
            Err(records) => Self(Held::Several(Arc::new(records))),
        }
    }
}

impl FromIterator<Arc<Record>> for Records {
    fn from_iter<I: IntoIterator<Item = Arc<Record>>>(records: I) -> Self {
        Vec::from_iter(records).into()
    }
}

impl PartialEq for Records {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Records {}

impl Serialize for Records {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Records {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::deserialize(from).map(Self::from)
    }
}
