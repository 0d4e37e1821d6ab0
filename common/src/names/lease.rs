use std::fmt;

use serde::{Deserialize, Serialize};

/// The right to renew, change and remove what was registered under it: 63 random bits, known to its holder and to
/// the name server. No answer shows it to anybody else, and no log line shows it at all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseId(u64);

impl LeaseId {
    /// The id made of the low 63 of these random bits.
    pub const fn from_random(bits: u64) -> Self {
        Self(bits & (u64::MAX >> 1))
    }

    /// Its bits, for a store.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// Proves "I am the successor of that dead process": 128 random bits kept on the owner's disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OwnerKey(u128);

impl OwnerKey {
    /// The key made of these random bits.
    pub const fn from_random(bits: u128) -> Self {
        Self(bits)
    }

    /// Its bits, for the owner's disk; the name server keeps a hash.
    pub const fn bits(self) -> u128 {
        self.0
    }
}

/// One call of `register_next`, over all its repeats: random bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId(u128);

impl AttemptId {
    /// The attempt with these random bits.
    pub const fn from_random(bits: u128) -> Self {
        Self(bits)
    }
}

impl fmt::Debug for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseId(***)")
    }
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerKey(***)")
    }
}
