//! What holds in every state, whatever led to it. The laws of the walks judge each event, some of them by what they
//! remember of the way; a state that is reached by two ways remembers one.

use common::replication::LogIndex;
use replica::passive::Core;

use crate::passive::world::World;

impl World {
    /// I2: whoever the record names as its primary counts on everybody that the record has in sync.
    pub(super) fn counted_are_recorded(&mut self) {
        let Some(record) = self.authority.record() else { return };
        let Some(n) = self.leader() else { return };
        let counted = self.nodes[n].core.as_ref().map(Core::counted).unwrap_or_default();
        let forgotten = record.in_sync.iter().find(|id| !counted.contains(*id));
        if let Some(id) = forgotten {
            self.breach(format!("I2: r{n} counts on {counted}, and {id:?} is in sync"));
        }
    }

    /// I3, I11: what any two replicas have in the same place is the same.
    pub(super) fn equal_places_are_equal(&mut self) {
        let mut differ = None;
        for (n, node) in self.nodes.iter().enumerate() {
            for (other, another) in self.nodes.iter().enumerate().take(n) {
                for index in 1..=node.disk.last().index.0 {
                    let [ours, theirs] = [node, another].map(|node| node.disk.get(LogIndex(index)));
                    let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
                    if ours.epoch == theirs.epoch && ours.crc != theirs.crc {
                        differ = Some(format!("I3: r{n} and r{other} differ at {}", ours.point()));
                    }
                }
                let [ours, theirs] = [node, another].map(|node| node.core.as_ref().map(Core::progress));
                let (Some(ours), Some(theirs)) = (ours, theirs) else { continue };
                if ours.applied == theirs.applied && ours.state_hash != theirs.state_hash {
                    differ = Some(format!("I11: r{n} and r{other} differ after entry {}", ours.applied));
                }
            }
        }
        if let Some(how) = differ {
            self.breach(how);
        }
    }
}
