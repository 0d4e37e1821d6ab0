//! Values that the tests of this folder share.

use crate::ids::{ClusterId, InstanceId};
use crate::names::{
    Address, BootCount, ContractName, Entry, Lifetime, NameEpoch, ObjectName, Readiness, Record, Revision,
    Sharing, Stamp, Standing, Tags, Target, Weight,
};

pub(super) fn cluster() -> ClusterId {
    "dev".parse().unwrap()
}

pub(super) fn stamp(boot: u64, rev: u64) -> Stamp {
    Stamp { cluster: cluster(), boot: BootCount(boot), rev: Revision(rev) }
}

pub(super) fn service(port: u16) -> Target {
    Target::Service {
        address: Address::from(std::net::SocketAddr::from(([127, 0, 0, 1], port))),
        object: ObjectName::new("").unwrap(),
        contract: ContractName::new("frontend").unwrap(),
    }
}

pub(super) fn entry() -> Entry {
    Entry {
        sharing: Sharing::Exclusive,
        target: service(7000),
        tags: Tags::default(),
        readiness: Readiness::Up,
        weight: Weight::default(),
    }
}

/// A record of `instance`, registered and changed at revision `rev`.
pub(super) fn record(name: &str, instance: u128, rev: u64) -> Record {
    Record {
        name: name.parse().unwrap(),
        sharing: Sharing::Shared,
        instance: InstanceId::from_u128(instance),
        epoch: NameEpoch(Revision(rev)),
        target: service(7000),
        tags: Tags::default(),
        readiness: Readiness::Up,
        standing: Standing::Confirmed,
        weight: Weight::default(),
        lifetime: Lifetime::Permanent,
        changed: Revision(rev),
    }
}
