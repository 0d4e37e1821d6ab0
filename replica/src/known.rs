//! Who the other members are and where they listen, as far as it is known here: hints, never authority.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use common::clock::Moment;
use common::names::LogicalName;
use common::replication::{Member, ReplicaId};
use common::rpc::peer::Hello;
use common::rpc::replica::KnownMember;

use crate::hosted::Listed;

/// Members remembered, past ones too; a group has seven at most.
const MEMBERS_MAX: usize = 64;

/// The other members.
#[derive(Debug)]
pub(crate) struct Known {
    me: ReplicaId,
    members: BTreeMap<ReplicaId, Entry>,
    /// The names of all of them, and of those that are only known from before our start.
    names: BTreeMap<ReplicaId, LogicalName>,
    /// As last told by [`Self::news`].
    told: Notes,
}

/// What the next start should know of the other members: hints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Where they listened when last seen.
    pub addresses: Vec<SocketAddr>,
    /// Under which names. Who has lost a disk comes back under the old name, and does not know who it was.
    pub names: BTreeMap<ReplicaId, LogicalName>,
}

#[derive(Debug)]
struct Entry {
    member: Member,
    name: LogicalName,
    address: SocketAddr,
    heard: Option<Moment>,
}

impl Known {
    /// Nobody has been met yet; these are the names that they had.
    pub(crate) fn new(me: ReplicaId, names: BTreeMap<ReplicaId, LogicalName>) -> Self {
        Self { me, members: BTreeMap::new(), names, told: Notes::default() }
    }

    /// This replica has another identity now.
    pub(crate) fn be(&mut self, me: ReplicaId) {
        self.me = me;
    }

    /// Something came from this member.
    pub(crate) fn heard(&mut self, id: ReplicaId, now: Moment) {
        if let Some(entry) = self.members.get_mut(&id) {
            entry.heard = Some(now);
        }
    }

    /// A member presented itself.
    pub(crate) fn learn(&mut self, hello: &Hello, now: Moment) {
        let Hello { me, name, address, .. } = hello;
        self.put(Entry { member: *me, name: name.clone(), address: *address, heard: Some(now) });
    }

    /// The name server lists these.
    pub(crate) fn list(&mut self, members: Vec<Listed>) {
        for Listed { member, name, address } in members {
            let heard = self.members.get(&member.id).and_then(|entry| entry.heard);
            self.put(Entry { member, name, address, heard });
        }
    }

    fn put(&mut self, entry: Entry) {
        let room = self.members.len() < MEMBERS_MAX || self.members.contains_key(&entry.member.id);
        if room && entry.member.id != self.me {
            if self.names.len() >= MEMBERS_MAX {
                self.names.retain(|id, _| self.members.contains_key(id));
            }
            self.names.insert(entry.member.id, entry.name.clone());
            self.members.insert(entry.member.id, entry);
        }
    }

    /// What to note of them, when that is not what was told last.
    pub(crate) fn news(&mut self) -> Option<Notes> {
        let addresses = self.members.values().map(|entry| entry.address).collect();
        let notes = Notes { addresses, names: self.names.clone() };
        if notes == self.told {
            return None;
        }
        self.told.clone_from(&notes);
        Some(notes)
    }

    /// Those who had the name before that `id` has now.
    pub(crate) fn before(&self, id: ReplicaId) -> impl Iterator<Item = ReplicaId> {
        let name = self.names.get(&id);
        let same = move |(other, named): &(&ReplicaId, &LogicalName)| Some(*named) == name && **other != id;
        self.names.iter().filter(same).map(|(other, _)| *other)
    }

    /// When any of them was last heard.
    pub(crate) fn last_heard(&self, now: Moment) -> Option<Duration> {
        self.members.values().filter_map(|entry| entry.heard).max().map(|at| now.since(at))
    }

    /// Where this member listens, in this boot.
    pub(crate) fn address_of(&self, member: Member) -> Option<SocketAddr> {
        self.members.get(&member.id).filter(|entry| entry.member == member).map(|entry| entry.address)
    }

    /// All of them, for a person.
    pub(crate) fn members(&self, now: Moment) -> Vec<KnownMember> {
        let known = |entry: &Entry| KnownMember {
            member: entry.member,
            name: entry.name.clone(),
            address: entry.address,
            heard: entry.heard.map(|at| now.since(at)),
        };
        self.members.values().map(known).collect()
    }
}

#[cfg(test)]
mod tests {
    use common::replication::BootId;

    use super::*;

    fn listed(id: u128, name: &str, port: u16) -> Listed {
        let member = Member { id: ReplicaId::from_u128(id), boot: BootId::from_u128(1) };
        Listed { member, name: name.parse().unwrap(), address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    #[test]
    fn who_had_a_name_before_is_known_after_a_restart_too() {
        let (me, lost, anew) = (ReplicaId::from_u128(9), ReplicaId::from_u128(1), ReplicaId::from_u128(2));
        let mut known = Known::new(me, BTreeMap::new());
        known.list(vec![listed(1, "replica.1", 1)]);
        let notes = known.news().expect("somebody is new");
        assert_eq!(known.news(), None);
        let mut known = Known::new(me, notes.names);
        known.list(vec![listed(2, "replica.1", 2), listed(3, "replica.3", 3)]);
        assert_eq!(known.before(anew).collect::<Vec<_>>(), [lost]);
        assert_eq!(known.before(ReplicaId::from_u128(3)).count(), 0);
    }

    #[test]
    fn names_of_those_who_are_long_gone_make_room() {
        let names = (100..100 + MEMBERS_MAX as u128)
            .map(|id| (ReplicaId::from_u128(id), format!("replica.{id}").parse().unwrap()));
        let mut known = Known::new(ReplicaId::from_u128(9), names.collect());
        known.list(vec![listed(1, "replica.1", 1), listed(2, "replica.2", 2)]);
        assert_eq!(known.news().unwrap().names.len(), 2);
    }
}
