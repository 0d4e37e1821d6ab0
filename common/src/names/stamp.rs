use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::ClusterId;

/// How often this name server's store was opened; +1 at each start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BootCount(pub u64);

/// One counter for the whole registry, +1 per change. Never reused, not even over a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub u64);

/// When an answer was true: in every answer of the name server. Stamps of one cluster are ordered by (boot, rev).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Whose stamp it is.
    pub cluster: ClusterId,
    /// In which life of that name server.
    pub boot: BootCount,
    /// After which change.
    pub rev: Revision,
}

impl Stamp {
    /// Whether `self` is of the same cluster and not earlier than `other`.
    pub fn covers(self, other: Self) -> bool {
        self.cluster == other.cluster && (self.boot, self.rev) >= (other.boot, other.rev)
    }
}

/// How fresh an answer must be. With a store of its own the name server has one truth, and the first two are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Freshness {
    /// As this name server knows it; what it shows may be on its way to the disk, and gone after a crash.
    Local,
    /// Not older than this.
    AtLeast(Stamp),
    /// Nothing that was answered before is missing, and nothing in it can vanish by a crash.
    Linearizable,
}

/// A value, and when it was true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamped<T> {
    /// When.
    pub stamp: Stamp,
    /// What.
    pub value: T,
}

macro_rules! number_as_text {
    ($($name:ident),*) => { $(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    )* };
}
number_as_text!(BootCount, Revision);
