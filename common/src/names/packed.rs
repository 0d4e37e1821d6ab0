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
///
/// The last field, the revision of the last change, is the record's epoch as long as nobody changed it, and then it is
/// left out: eight bytes of most. The last byte here says whether it is.
#[derive(Clone, PartialEq, Eq)]
pub struct PackedRecord(Arc<[u8]>);

/// In the place of the last field, which is the epoch.
const AS_REGISTERED: u8 = 0;
/// Behind the last field.
const CHANGED: u8 = 1;

/// A [`Record`] whose texts lie elsewhere: in a [`PackedRecord`], or with whoever is about to make one. Without the
/// revision of its last change.
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
        let (record, used) =
            bincode::serde::borrow_decode_from_slice::<RecordRef<'_>, _>(bytes, standard()).ok()?;
        let (changed, rest) = bincode::serde::decode_from_slice(&bytes[used..], standard()).ok()?;
        let good = used + rest == bytes.len() && AnyName::check(record.name).is_ok();
        good.then(|| Self::changed_at(&record, changed))
    }

    /// A record that was changed last at this revision.
    pub fn changed_at(record: &RecordRef<'_>, revision: Revision) -> Self {
        let mut bytes = Vec::with_capacity(BYTES_MOSTLY);
        encode(record, &mut bytes);
        if revision == record.epoch.0 {
            bytes.push(AS_REGISTERED);
        } else {
            encode(revision, &mut bytes);
            bytes.push(CHANGED);
        }
        Self(bytes.as_slice().into())
    }

    /// The revision of its last change.
    pub fn changed(&self) -> Revision {
        let (record, used) = self.decoded::<RecordRef<'_>>();
        match self.0.last() {
            Some(&CHANGED) => {
                let decoded = bincode::serde::decode_from_slice(&self.0[used..], standard());
                decoded.expect("packed from a record").0
            }
            _ => record.epoch.0,
        }
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
        self.decoded().0
    }

    /// All of it but when it was changed, its texts where they lie.
    pub fn view(&self) -> RecordRef<'_> {
        self.decoded().0
    }

    /// All of it, with texts of its own.
    pub fn read(&self) -> Record {
        let (bytes, last) = self.wire();
        let decoded = bincode::serde::decode_from_slice(&[bytes, last].concat(), standard());
        decoded.expect("packed from a record").0
    }

    fn decoded<'a, T: Deserialize<'a>>(&'a self) -> (T, usize) {
        bincode::serde::borrow_decode_from_slice(&self.0, standard()).expect("packed from a record")
    }

    /// Its bytes on the wire, one after the other.
    fn wire(&self) -> (&[u8], &[u8]) {
        match &*self.0 {
            [bytes @ .., CHANGED] => (bytes, &[]),
            [bytes @ .., _] => (bytes, self.epoch_bytes()),
            [] => unreachable!("a record begins with its name"),
        }
    }

    /// The epoch where it lies: behind name, sharing and instance.
    fn epoch_bytes(&self) -> &[u8] {
        let (_, used) = self.decoded::<(&[u8], Sharing, InstanceId)>();
        let rest = &self.0[used..];
        // bincode's numbers: one byte up to 250, else a mark for two, four or eight.
        let width = match rest[0] {
            251 => 3,
            252 => 5,
            253 => 9,
            _ => 1,
        };
        &rest[..width]
    }

    /// How many bytes it has on the wire.
    #[expect(clippy::len_without_is_empty, reason = "none is empty")]
    pub fn len(&self) -> usize {
        let (bytes, last) = self.wire();
        bytes.len() + last.len()
    }
}

/// Most records have fewer bytes: room for one in the making.
const BYTES_MOSTLY: usize = 256;

fn encode(value: impl Serialize, to: &mut Vec<u8>) {
    bincode::serde::encode_into_std_write(value, to, standard()).expect("plain data encodes into memory");
}

/// As it was registered.
impl From<&RecordRef<'_>> for PackedRecord {
    fn from(record: &RecordRef<'_>) -> Self {
        Self::changed_at(record, record.epoch.0)
    }
}

impl From<&Record> for PackedRecord {
    fn from(record: &Record) -> Self {
        Self::changed_at(&RecordRef::from(record), record.changed)
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
            return self.read().serialize(to);
        }
        let (all, last) = self.wire();
        let (eights, rest) = all.as_chunks();
        let mut bytes = to.serialize_tuple(eights.len() + rest.len() + last.len())?;
        for eight in eights {
            bytes.serialize_element(&f64::from_le_bytes(*eight))?;
        }
        for byte in rest.iter().chain(last) {
            bytes.serialize_element(byte)?;
        }
        bytes.end()
    }
}

impl fmt::Debug for PackedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.read().fmt(f)
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
            epoch in prop_oneof![any::<u64>(), 0..300_u64, any::<u32>().prop_map(u64::from)],
            later in prop_oneof![Just(0), any::<u64>()],
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
                changed: Revision(epoch.saturating_add(later)),
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
            prop_assert_eq!((packed.epoch(), packed.instance(), packed.changed()), (record.epoch, record.instance, record.changed));
            let bytes = encoded(&record);
            prop_assert_eq!(packed.len(), bytes.len());
            prop_assert_eq!(&encoded(&packed), &bytes);
            prop_assert_eq!(PackedRecord::new(&bytes), Some(packed));
            prop_assert_eq!(PackedRecord::new(&bytes[..bytes.len() - 1]), None);
            prop_assert_eq!(PackedRecord::new(&[&bytes[..], &[0]].concat()), None);
        }
    }
}
