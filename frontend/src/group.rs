//! What this front end knows of one group: who leads it, who is in sync, and where they listen.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use common::names::{Address, NameEpoch, Record};
use common::replication::{BootId, GroupConfig, GroupName, ReplicaId};

/// The newest record of a group, and the addresses of its replicas. Kept while the name server is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    name: GroupName,
    config: Option<GroupConfig>,
    /// By the names: what counts.
    named: BTreeMap<ReplicaId, Place>,
    /// Where else in-sync members may be: by a replica's word, or by a name that is gone. A name can die of the
    /// name server's distance alone, and asking in vain does no harm.
    heard: BTreeMap<ReplicaId, Address>,
}

/// Where a replica listens, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    address: Address,
    /// Of two names that claim one disk, the later registration is right.
    epoch: NameEpoch,
}

/// A replica to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which disk.
    pub id: ReplicaId,
    /// Where it listens.
    pub address: Address,
}

/// The primary that the record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Whom to ask.
    pub target: Target,
    /// In which boot it leads: the same disk elected anew is another leader.
    pub boot: BootId,
}

impl Group {
    /// A group that nothing is known of yet.
    pub fn unknown(name: GroupName) -> Self {
        Self { name, config: None, named: BTreeMap::new(), heard: BTreeMap::new() }
    }

    /// Its name, which is its service's.
    pub fn name(&self) -> &GroupName {
        &self.name
    }

    /// The newest record.
    pub fn config(&self) -> Option<&GroupConfig> {
        self.config.as_ref()
    }

    /// Takes in a record of the group; whether it was news. An older one, or one of another cluster, is not.
    pub fn learn(&mut self, config: &GroupConfig) -> bool {
        let news = config.group == self.name
            && self
                .config
                .as_ref()
                .is_none_or(|known| known.cluster == config.cluster && known.version < config.version);
        if news {
            self.heard.retain(|&id, _| config.in_sync.contains(id));
            self.config = Some(config.clone());
        }
        news
    }

    /// Takes in where a replica says that the primary of `config` listens; whether that was news.
    pub fn hear(&mut self, config: &GroupConfig, address: SocketAddr) -> bool {
        let (id, address) = (config.primary.id, Address::from(address));
        let current = self.config.as_ref().is_some_and(|known| known.primary == config.primary);
        let news = current && self.heard.get(&id) != Some(&address);
        if news {
            self.heard.insert(id, address);
        }
        news
    }

    /// Takes in the names of all replicas; whether any of this group's moved. A replica's tag `id.GROUP` tells its
    /// disk.
    pub fn name_places(&mut self, records: &[Arc<Record>]) -> bool {
        let tag = format!("id.{}", self.name);
        let mut named: BTreeMap<ReplicaId, Place> = BTreeMap::new();
        for record in records {
            let id = record.tags.value(&tag).and_then(|id| id.parse().ok());
            let (Some(id), Some(address)) = (id, record.target.address()) else { continue };
            if named.get(&id).is_none_or(|other| other.epoch < record.epoch) {
                named.insert(id, Place { address: address.clone(), epoch: record.epoch });
            }
        }
        let news = named != self.named;
        let in_sync = self.config.as_ref().map(|config| &config.in_sync);
        for (id, place) in std::mem::replace(&mut self.named, named) {
            if !self.named.contains_key(&id) && in_sync.is_some_and(|in_sync| in_sync.contains(id)) {
                self.heard.insert(id, place.address);
            }
        }
        news
    }

    /// The primary, when the record and its address are known.
    pub fn leader(&self) -> Option<Leader> {
        let primary = self.config.as_ref()?.primary;
        Some(Leader { target: self.target(primary.id)?, boot: primary.boot })
    }

    /// The in-sync members whose addresses are known, the primary first.
    pub fn members(&self) -> impl Iterator<Item = Target> {
        let primary = self.config.as_ref().map(|config| config.primary.id);
        let others = self.config.iter().flat_map(|config| config.in_sync.iter());
        let others = others.filter(move |&id| Some(id) != primary);
        primary.into_iter().chain(others).filter_map(|id| self.target(id))
    }

    /// Every address that may be asked.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.named.values().map(|place| &place.address).chain(self.heard.values())
    }

    fn target(&self, id: ReplicaId) -> Option<Target> {
        let named = self.named.get(&id).map(|place| &place.address);
        let address = named.or_else(|| self.heard.get(&id))?.clone();
        Some(Target { id, address })
    }
}
