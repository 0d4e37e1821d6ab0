use std::fmt;
use std::sync::Arc;

use bincode::config::standard;
use serde::ser::SerializeTuple as _;
use serde::{Deserialize, Serialize, Serializer};

use super::{
    Address, AnyName, Lifetime, NameEpoch, Readiness, Record, Revision, Sharing, Standing, Target, Weight,
};
use crate::ids::InstanceId;

/// A [`Record`] as the bytes that it has on the wire and on a disk. A name server holds a million of these: one
/// allocation each, and an answer is a copy of it. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedRecord(Arc<[u8]>);

/// A [`Record`] whose texts lie elsewhere: in a [`PackedRecord`], or with whoever is about to make one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of `Record`, in its order")]
pub struct RecordRef<'a> {
    pub name: &'a str,
    pub sharing: Sharing,
    pub instance: InstanceId,
    pub epoch: NameEpoch,
    #[serde(borrow)]
    pub target: TargetRef<'a>,
    #[serde(borrow)]
    pub tags: Vec<&'a str>,
    pub readiness: Readiness,
    pub standing: Standing,
    pub weight: Weight,
    pub lifetime: Lifetime,
    pub changed: Revision,
}

/// The first fields of a [`RecordRef`], which say whose registration it is.
#[derive(Deserialize)]
struct Head<'a> {
    _name: &'a [u8],
    _sharing: Sharing,
    instance: InstanceId,
    epoch: NameEpoch,
}

/// A [`Target`] whose texts lie elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of `Target`, in its order")]
pub enum TargetRef<'a> {
    Service { address: Address, object: &'a str, contract: &'a str },
    Pyro { uri: &'a str },
}

impl PackedRecord {
    /// The record in `bytes`; `None` when they are not one, whole and alone.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let decoded = bincode::serde::borrow_decode_from_slice::<RecordRef<'_>, _>(bytes, standard());
        let (record, used) = decoded.ok()?;
        (used == bytes.len() && AnyName::check(record.name).is_ok()).then(|| Self(bytes.into()))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        str::from_utf8(self.name_bytes()).expect("packed from text")
    }

    /// Its name's bytes, whose order is that of names.
    pub fn name_bytes(&self) -> &[u8] {
        // bincode's lengths: one byte up to 250, else a mark and two bytes.
        match &*self.0 {
            [251, low, high, rest @ ..] => &rest[..usize::from(u16::from_le_bytes([*low, *high]))],
            [length, rest @ ..] => &rest[..usize::from(*length)],
            [] => unreachable!("a record begins with its name"),
        }
    }

    /// The process that registered it.
    pub fn instance(&self) -> InstanceId {
        self.head().instance
    }

    /// The fencing token of its registration.
    pub fn epoch(&self) -> NameEpoch {
        self.head().epoch
    }

    /// What comes first, for those who need no more.
    fn head(&self) -> Head<'_> {
        let decoded = bincode::serde::borrow_decode_from_slice(&self.0, standard());
        decoded.expect("packed from a record").0
    }

    /// All of it, its texts where they lie.
    pub fn view(&self) -> RecordRef<'_> {
        let decoded = bincode::serde::borrow_decode_from_slice(&self.0, standard());
        decoded.expect("packed from a record").0
    }

    /// All of it, with texts of its own.
    pub fn read(&self) -> Record {
        let decoded = bincode::serde::decode_from_slice(&self.0, standard());
        decoded.expect("packed from a record").0
    }

    /// How many bytes it has.
    #[expect(clippy::len_without_is_empty, reason = "none is empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Most records have fewer bytes: room for one in the making.
const BYTES_MOSTLY: usize = 256;

impl From<&RecordRef<'_>> for PackedRecord {
    fn from(record: &RecordRef<'_>) -> Self {
        let mut bytes = Vec::with_capacity(BYTES_MOSTLY);
        bincode::serde::encode_into_std_write(record, &mut bytes, standard())
            .expect("plain data encodes into memory");
        Self(bytes.as_slice().into())
    }
}

impl From<&Record> for PackedRecord {
    fn from(record: &Record) -> Self {
        Self::from(&RecordRef::from(record))
    }
}

impl<'a> From<&'a Record> for RecordRef<'a> {
    fn from(record: &'a Record) -> Self {
        Self {
            name: record.name.as_str(),
            sharing: record.sharing,
            instance: record.instance,
            epoch: record.epoch,
            target: TargetRef::from(&record.target),
            tags: record.tags.iter().collect(),
            readiness: record.readiness,
            standing: record.standing,
            weight: record.weight,
            lifetime: record.lifetime,
            changed: record.changed,
        }
    }
}

impl RecordRef<'_> {
    /// Its name, to keep.
    pub fn to_name(&self) -> AnyName {
        self.name.parse().expect("a record stands under a good name")
    }
}

impl<'a> From<&'a Target> for TargetRef<'a> {
    fn from(target: &'a Target) -> Self {
        match target {
            Target::Service { address, object, contract } => Self::Service {
                address: address.clone(),
                object: object.as_str(),
                contract: contract.as_str(),
            },
            Target::Pyro { uri } => Self::Pyro { uri: uri.as_str() },
        }
    }
}

impl TargetRef<'_> {
    /// Where it listens, when that is for us to dial.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Service { address, .. } => Some(address),
            Self::Pyro { .. } => None,
        }
    }
}

impl Serialize for PackedRecord {
    /// Writes the bytes as they are. Of all that serde knows bincode writes only numbers without a head of its own, and
    /// of these only floats are many bytes as they are: so eight at a time, and the rest one by one.
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() {
            return self.view().serialize(to);
        }
        let (eights, rest) = self.0.as_chunks();
        let mut bytes = to.serialize_tuple(eights.len() + rest.len())?;
        for eight in eights {
            bytes.serialize_element(&f64::from_le_bytes(*eight))?;
        }
        for byte in rest {
            bytes.serialize_element(byte)?;
        }
        bytes.end()
    }
}

impl fmt::Debug for PackedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.view().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::{ContractName, Host, ObjectName, PyroUri, Tags};
    use super::*;

    fn encoded(value: impl Serialize) -> Vec<u8> {
        bincode::serde::encode_to_vec(value, standard()).unwrap()
    }

    fn target() -> impl Strategy<Value = Target> {
        let host = prop_oneof![
            any::<std::net::IpAddr>().prop_map(Host::Ip),
            "[a-z.]{1,253}".prop_map(|name| Host::Dns(name.into()))
        ];
        prop_oneof![
            (host, any::<u16>(), "[ -~]{0,255}", "[a-z]{1,64}").prop_map(|(host, port, object, contract)| {
                Target::Service {
                    address: Address { host, port },
                    object: ObjectName::new(&object).unwrap(),
                    contract: ContractName::new(&contract).unwrap(),
                }
            }),
            "[ -~]{1,1024}".prop_map(|uri| Target::Pyro { uri: PyroUri::new(&uri).unwrap() })
        ]
    }

    prop_compose! {
        fn record()(
            name in prop_oneof!["[a-z0-9._-]{1,64}", "[^\0]{1,255}"],
            shared in any::<bool>(),
            // Every pattern of bits, those too that are no number where eight bytes are written as one.
            instance in prop_oneof![any::<u128>(), any::<u128>().prop_map(|bits| bits | 0x7FF << 52 | 0x7FF << 116)],
            (epoch, changed) in any::<(u64, u64)>(),
            target in target(),
            tags in prop::collection::vec("[^\0]{1,60}", 0..4),
            (draining, unconfirmed) in any::<(bool, bool)>(),
            weight in 1..=1_000_u16,
            ttl in prop::option::of(any::<Duration>()),
        ) -> Record {
            Record {
                name: name.parse().unwrap(),
                sharing: if shared { Sharing::Shared } else { Sharing::Exclusive },
                instance: InstanceId::from_u128(instance),
                epoch: NameEpoch(Revision(epoch)),
                target,
                tags: Tags::new(tags).unwrap(),
                readiness: if draining { Readiness::Draining } else { Readiness::Up },
                standing: if unconfirmed { Standing::Unconfirmed } else { Standing::Confirmed },
                weight: Weight::new(weight).unwrap(),
                lifetime: ttl.map_or(Lifetime::Permanent, |ttl| Lifetime::Leased { ttl }),
                changed: Revision(changed),
            }
        }
    }

    proptest! {
        #[test]
        fn a_packed_record_is_the_record_and_has_its_bytes(record in record()) {
            let packed = PackedRecord::from(&record);
            prop_assert_eq!(packed.read(), record.clone());
            prop_assert_eq!(packed.view(), RecordRef::from(&record));
            prop_assert_eq!(packed.name(), record.name.as_str());
            let bytes = encoded(&record);
            prop_assert_eq!(packed.len(), bytes.len());
            prop_assert_eq!(&encoded(&packed), &bytes);
            prop_assert_eq!(PackedRecord::new(&bytes), Some(packed));
            prop_assert_eq!(PackedRecord::new(&bytes[..bytes.len() - 1]), None);
            prop_assert_eq!(PackedRecord::new(&[&bytes[..], &[0]].concat()), None);
        }
    }
}
