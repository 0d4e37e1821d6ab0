use serde::{Deserialize, Serialize};

use super::{RequestId, VectorTimestamp};

/// What one person has seen of a gossip group. It is sent with every call, and grows by every answer: so nobody misses
/// their own writes or goes back in time, whichever replica answers (D. Terry et al., *Session Guarantees*, PDIS
/// 1994). Losing it loses these guarantees, not the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Which updates.
    pub vector: VectorTimestamp,
    /// The highest id applied where it was answered: new ids are made above it.
    pub latest: RequestId,
}

impl Default for Session {
    fn default() -> Self {
        Self { vector: VectorTimestamp::default(), latest: RequestId::LEAST }
    }
}

impl Session {
    /// Takes in the position of an answer to a call that was sent with `prev`.
    pub fn saw(&mut self, prev: &VectorTimestamp, vector: &VectorTimestamp, latest: RequestId) {
        // An answer is never behind its call: whoever it leaves out was retired, and would be carried for ever.
        self.vector.seen.retain(|id, _| !prev.seen.contains_key(id) || vector.seen.contains_key(id));
        self.vector.merge(vector);
        self.latest = self.latest.max(latest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigVersion, ReplicaId};
    use super::*;
    use crate::clock::Timestamp;

    fn vector(version: u64, seen: &[(u128, u64)]) -> VectorTimestamp {
        let seen = seen.iter().map(|(n, count)| (ReplicaId::from_u128(*n), *count)).collect();
        VectorTimestamp { version: ConfigVersion(version), seen }
    }

    #[test]
    fn a_session_grows_with_every_answer_and_drops_whom_the_answer_retired() {
        let mut session = Session::default();
        let id = RequestId::from_parts(Timestamp::from_millis(5), 0, 0);
        session.saw(&VectorTimestamp::default(), &vector(1, &[(1, 3), (2, 4)]), id);
        let prev = session.vector.clone();
        // Another answer comes first, from who knows of a third.
        session.saw(&prev, &vector(1, &[(1, 3), (2, 4), (3, 1)]), RequestId::LEAST);
        session.saw(&prev, &vector(2, &[(1, 5)]), RequestId::LEAST);
        assert_eq!(session.vector, vector(2, &[(1, 5), (3, 1)]));
        assert_eq!(session.latest, id);
    }
}
