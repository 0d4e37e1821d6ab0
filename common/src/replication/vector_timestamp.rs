use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ConfigVersion, ReplicaId};

/// What a causal client has seen: per replica, how many of its updates, under which membership. Passive services
/// have no use for it; their clients send [`VectorTimestamp::default`].
///
/// R. Ladin, B. Liskov, L. Shrira, S. Ghemawat, *Providing High Availability Using Lazy Replication*, ACM TOCS
/// 10(4), 1992, §2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorTimestamp {
    /// The version of the membership it was made under.
    pub version: ConfigVersion,
    /// Updates seen, by the replica that took them in; absent means none.
    pub seen: BTreeMap<ReplicaId, u64>,
}
