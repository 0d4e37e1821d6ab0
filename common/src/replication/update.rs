use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{ReplicaId, RequestId, VectorTimestamp};

/// One update of a gossip group, as the replica that took it in has logged it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// Who took it in.
    pub origin: ReplicaId,
    /// How many that replica has taken in, this one included.
    pub counter: u64,
    /// What its client had seen: it is applied nowhere before that.
    pub prev: VectorTimestamp,
    /// Which update it is, and its stamp.
    pub id: RequestId,
    /// How it is ordered.
    pub kind: Kind,
    /// The client's bytes, unedited.
    pub payload: Bytes,
}

/// How an update is ordered among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// After what its client had seen, and beside all others.
    Causal,
}

impl Update {
    /// About how many bytes it takes in a message or a batch.
    pub fn weight(&self) -> usize {
        /// Origin, counter, id, version, lengths; and of each of the vector's entries.
        const FIXED: usize = 64;
        const ENTRY: usize = 26;
        FIXED + self.prev.seen.len() * ENTRY + self.payload.len()
    }
}

/// What tells two values of a causal service apart: equal values have equal digests, and others, in practice, never.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(pub u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}
