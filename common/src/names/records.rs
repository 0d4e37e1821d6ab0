use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{PackedRecord, Record};

/// A record in an answer. The name server sends the bytes that it keeps; who asked reads them into a [`Record`], and has
/// nothing else.
#[derive(Clone)]
pub struct Sent(Form);

#[derive(Clone)]
enum Form {
    Read(Arc<Record>),
    /// And as its sender reads it, which it hardly ever does.
    Packed(PackedRecord, OnceLock<Arc<Record>>),
}

impl Sent {
    /// The record, shared.
    pub fn record(&self) -> &Arc<Record> {
        match &self.0 {
            Form::Read(record) => record,
            Form::Packed(packed, read) => read.get_or_init(|| Arc::new(packed.read())),
        }
    }
}

impl Deref for Sent {
    type Target = Record;

    fn deref(&self) -> &Record {
        self.record()
    }
}

impl From<Arc<Record>> for Sent {
    fn from(record: Arc<Record>) -> Self {
        Self(Form::Read(record))
    }
}

impl From<PackedRecord> for Sent {
    fn from(packed: PackedRecord) -> Self {
        Self(Form::Packed(packed, OnceLock::new()))
    }
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.record().fmt(f)
    }
}

impl PartialEq for Sent {
    fn eq(&self, other: &Self) -> bool {
        self.record() == other.record()
    }
}

impl Eq for Sent {}

impl Serialize for Sent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Read(record) => record.serialize(to),
            Form::Packed(packed, _) => packed.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Record::deserialize(from).map(|record| Self::from(Arc::new(record)))
    }
}

/// All records under one name: those up and confirmed first. On the wire a sequence of records.
#[derive(Clone, Debug)]
pub struct Records(Held);

/// Nearly every name has one record: that costs no list.
#[derive(Clone, Debug)]
enum Held {
    One(Sent),
    Several(Vec<Sent>),
}

impl Deref for Records {
    type Target = [Sent];

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Held::One(record) => std::slice::from_ref(record),
            Held::Several(records) => records,
        }
    }
}

impl From<PackedRecord> for Records {
    fn from(record: PackedRecord) -> Self {
        Self(Held::One(record.into()))
    }
}

impl<T: Into<Sent>> FromIterator<T> for Records {
    fn from_iter<I: IntoIterator<Item = T>>(records: I) -> Self {
        let records: Vec<Sent> = records.into_iter().map(Into::into).collect();
        match <[Sent; 1]>::try_from(records) {
            Ok([record]) => Self(Held::One(record)),
            Err(records) => Self(Held::Several(records)),
        }
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
        Vec::<Sent>::deserialize(from).map(Self::from_iter)
    }
}
