//! How a group is before anything happens to it.

use std::time::Duration;

use common::clock::Timestamp;
use common::replication::{BootId, RequestId};
use replica::passive::{BATCH_BYTES, Planted, SnapshotAfter};

use super::Bounds;
use super::group::{Group, REPLICAS};
use crate::passive::shapes::{Ending, Kind, Plan};
use crate::passive::story::Story;
use crate::passive::world::World;

/// Longer than all the time that ever passes.
const FOR_EVER: Duration = Duration::from_secs(1 << 30);

impl Group {
    /// A group of three that has formed, of which as many are in sync as wanted; the last one is a learner else.
    pub(super) fn in_calm(bounds: Bounds, planted: Planted) -> Self {
        let plan = Plan {
            size: REPLICAS,
            firsts: 1,
            alone: false,
            formed: true,
            min_in_sync: 1,
            capacity: 1_000,
            patience: FOR_EVER,
            snapshots: SnapshotAfter::default(),
            batch_bytes: BATCH_BYTES,
            slow: 0,
            requests: u16::from(bounds.updates),
            copies: 1,
            commands: 1,
            spread: 1,
            overtakes: 1,
            together: 1_000,
            length: 0,
            ending: Ending::Open,
            kinds: Box::new([Kind::Deliver; 256]),
        };
        let mut world = World::new(plan, planted, Story::default());
        world.form();
        for number in 0..u64::from(bounds.updates) {
            let id = RequestId::from_parts(Timestamp::from_millis(1), 0, number);
            world.requests[usize::try_from(number).expect("few")] = Some(id);
        }
        let boots: [BootId; REPLICAS] = std::array::from_fn(|n| world.nodes[n].boot);
        let outside = usize::from(bounds.in_sync) < REPLICAS;
        if outside {
            world.form_without(REPLICAS - 1);
        }
        let mut group = Self::new(world, bounds, boots);
        if outside {
            group.starts_outside(REPLICAS - 1);
        }
        group
    }
}
