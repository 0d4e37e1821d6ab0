//! Groups, records and names to test with: replica `n` has the disk `n` and the boot `n`.

use std::sync::Arc;

use common::ids::{ClusterId, InstanceId};
use common::names::{
    Address, ContractName, Lifetime, NameEpoch, ObjectName, Readiness, Record, Revision, Sharing, Standing,
    Tags, Target, Weight,
};
use common::replication::{ConfigVersion, Epoch, GroupConfig, GroupName, InSyncSet, Member, ReplicaId};

pub(crate) const CLUSTER: ClusterId = ClusterId::from_bytes([1; 16]);

pub(crate) fn food() -> GroupName {
    "just.hungry".parse().unwrap()
}

pub(crate) fn id(number: u16) -> ReplicaId {
    ReplicaId::from_u128(number.into())
}

pub(crate) fn member(number: u16) -> Member {
    Member { id: id(number), boot: InstanceId::from_u128(number.into()) }
}

/// The record of `replica.NUMBER`, registered at this revision.
pub(crate) fn name(number: u16, revision: u64, address: Address) -> Arc<Record> {
    Arc::new(Record {
        name: format!("replica.{number}").parse().unwrap(),
        sharing: Sharing::Exclusive,
        instance: member(number).boot,
        epoch: NameEpoch(Revision(revision)),
        target: Target::Service {
            address,
            object: ObjectName::new("").unwrap(),
            contract: ContractName::new("replica").unwrap(),
        },
        tags: Tags::new([format!("id.just.hungry={}", id(number))]).unwrap(),
        readiness: Readiness::Up,
        standing: Standing::Confirmed,
        weight: Weight::default(),
        lifetime: Lifetime::Permanent,
        changed: Revision(revision),
    })
}

/// The group's record after so many changes, each of them an election.
pub(crate) fn led_by(primary: u16, epoch: u64, in_sync: &[u16]) -> GroupConfig {
    GroupConfig {
        version: ConfigVersion(epoch),
        epoch: Epoch(epoch),
        in_sync: InSyncSet::new(in_sync.iter().map(|&number| id(number))),
        ..GroupConfig::first(CLUSTER, food(), member(primary), 1)
    }
}
