use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Address, AnyName, LeaseId, Revision, Tags, text};
use crate::ids::InstanceId;

/// What stands under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The name.
    pub name: AnyName,
    /// Whether others may stand under it too.
    pub sharing: Sharing,
    /// The process that registered it.
    pub instance: InstanceId,
    /// The fencing token of this registration.
    pub epoch: NameEpoch,
    /// What the name means.
    pub target: Target,
    /// What else there is to know.
    pub tags: Tags,
    /// The holder's word.
    pub readiness: Readiness,
    /// The name server's opinion.
    pub standing: Standing,
    /// Share of the calls, among records of one shared name.
    pub weight: Weight,
    /// How long it stands.
    pub lifetime: Lifetime,
    /// The revision of its last change.
    pub changed: Revision,
}

/// Fencing token of one registration: the revision at which it was created. A name's epochs rise for ever; whoever
/// guards a resource refuses a lower one. (Not [`crate::replication::Epoch`], which belongs to groups.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NameEpoch(pub Revision);

/// What a name means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A tarpc service.
    Service {
        /// Where it listens.
        address: Address,
        /// Which object there; empty when there is one only.
        object: ObjectName,
        /// Which contract it speaks.
        contract: ContractName,
    },
    /// A Pyro object, which a Pyro program can call.
    Pyro {
        /// Its URI, byte for byte as registered.
        uri: PyroUri,
    },
}

impl Target {
    /// Where it listens, when that is for us to dial.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Self::Service { address, .. } => Some(address),
            Self::Pyro { .. } => None,
        }
    }
}

/// How many records a name may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sharing {
    /// One: Pyro's meaning.
    Exclusive,
    /// One per [`InstanceId`]; the client's library picks.
    Shared,
}

/// How long a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifetime {
    /// As long as its lease.
    Leased {
        /// The lease's time-to-live, 100 ms to 24 h.
        ttl: Duration,
    },
    /// Until somebody removes it.
    Permanent,
}

/// The holder's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Readiness {
    /// Send calls.
    Up,
    /// Finishing what it has; send calls elsewhere.
    Draining,
}

/// The name server's opinion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Standing {
    /// Its holder was heard in this boot.
    Confirmed,
    /// Kept over a restart; its holder was not heard yet.
    Unconfirmed,
}

/// A provider's share of the calls: 1 to 1,000, ordinarily 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Weight(u16);

impl Weight {
    /// The weight of `value`; `None` outside 1 to 1,000.
    pub fn new(value: u16) -> Option<Self> {
        (1..=1000).contains(&value).then_some(Self(value))
    }

    /// As a number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(100)
    }
}

impl<'de> Deserialize<'de> for Weight {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Self::new(u16::deserialize(from)?).ok_or_else(|| serde::de::Error::custom("a weight is 1 to 1000"))
    }
}

macro_rules! bounded_text {
    ($($(#[$doc:meta])* $name:ident($held:ty): $range:expr;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name($held);

        impl $name {
            /// The text; `None` when it has too few or too many bytes, or holds NUL.
            pub fn new(text: &str) -> Option<Self> {
                ($range.contains(&text.len()) && !text.contains('\0')).then(|| Self(text.into()))
            }

            /// As text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                text::read(from, |text| Self::new(text).ok_or("text out of bounds"))
            }
        }
    )* };
}
bounded_text! {
    /// An object behind an address: up to 255 bytes, empty when there is one only.
    ObjectName(Box<str>): (0..=255);
    /// A contract: 1 to 64 bytes of `[a-z0-9.-]`, as the preamble carries it. Its clones are one text.
    ContractName(Arc<str>): (1..=64);
    /// A Pyro URI, up to 1,024 bytes; the Pyro door knows its grammar.
    PyroUri(Box<str>): (1..=1024);
}

/// What somebody wants to stand under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Whether others may stand under it too.
    pub sharing: Sharing,
    /// What the name means.
    pub target: Target,
    /// What else there is to know.
    pub tags: Tags,
    /// Whether calls may come already.
    pub readiness: Readiness,
    /// Share of the calls.
    pub weight: Weight,
}

/// How long a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Tenure {
    /// As long as this lease.
    Leased(LeaseId),
    /// Until somebody removes it.
    Permanent,
}

/// What a registration expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expect {
    /// Nobody, or myself, or a dead process whose owner key I hold.
    Free,
    /// Exactly that registration.
    Epoch(NameEpoch),
    /// Anything permanent (Pyro's `safe=False`); a living lease still wins.
    Whatever,
}

/// By which right a record is changed or removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Holder {
    /// It was registered under this lease.
    Lease(LeaseId),
    /// It is permanent, and exactly that registration.
    Epoch(NameEpoch),
    /// An operator, on the name server's own machine.
    Operator,
}

/// What to change of a record; `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patch {
    /// Other tags.
    pub tags: Option<Tags>,
    /// Another readiness.
    pub readiness: Option<Readiness>,
    /// Another weight.
    pub weight: Option<Weight>,
}
