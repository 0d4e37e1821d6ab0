use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

use crate::ids::InstanceId;

/// Identity of a *formatted disk*: one per group file, drawn at random when it is formatted. A wiped disk is a new
/// replica; the name `replica.1` may be held by many of them in turn.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId(Uuid);

/// One start of a replica's process: the value of its [`InstanceId`].
pub type BootId = InstanceId;

/// A disk and the process that runs on it now: what may lead an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The disk.
    pub id: ReplicaId,
    /// The process.
    pub boot: BootId,
}

/// The name of a group, which is the name of the service that it replicates: `[a-z0-9._-]{1,64}`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct GroupName(Arc<str>);

/// Why a text is no [`GroupName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a group's name has 1 to 64 of a to z, 0 to 9, dot, underscore and hyphen")]
pub struct BadGroupName;

impl ReplicaId {
    /// A fresh identity.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The identity with these 128 bits; for stores, and for simulations, which draw from their own seed.
    pub const fn from_u128(bits: u128) -> Self {
        Self(Uuid::from_u128(bits))
    }

    /// Its 128 bits.
    pub const fn to_u128(self) -> u128 {
        self.0.as_u128()
    }
}

impl FromStr for ReplicaId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::try_parse(text).map(Self)
    }
}

impl GroupName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupName {
    type Err = BadGroupName;

    fn from_str(text: &str) -> Result<Self, BadGroupName> {
        let good = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if (1..=64).contains(&text.len()) && text.bytes().all(good) {
            Ok(Self(text.into()))
        } else {
            Err(BadGroupName)
        }
    }
}

impl<'de> Deserialize<'de> for GroupName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for GroupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for ReplicaId {
    /// The first eight digits tell two replicas apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.simple().to_string()[..8])
    }
}
