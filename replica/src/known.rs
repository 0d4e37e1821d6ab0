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
    /// Where they listen, as last told by [`Self::news`].
    told: Vec<SocketAddr>,
}

#[derive(Debug)]
struct Entry {
    member: Member,
    name: LogicalName,
    address: SocketAddr,
    heard: Option<Moment>,
}

impl Known {
    pub(crate) fn new(me: ReplicaId) -> Self {
        Self { me, members: BTreeMap::new(), told: Vec::new() }
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
            self.members.insert(entry.member.id, entry);
        }
    }

    /// Where they listen, when that is not what was told last.
    pub(crate) fn news(&mut self) -> Option<Vec<SocketAddr>> {
        let addresses: Vec<_> = self.members.values().map(|entry| entry.address).collect();
        if addresses == self.told {
            return None;
        }
        self.told.clone_from(&addresses);
        Some(addresses)
    }

    /// Those who had the name before that `id` has now.
    pub(crate) fn before(&self, id: ReplicaId) -> impl Iterator<Item = ReplicaId> {
        let name = self.members.get(&id).map(|entry| &entry.name);
        let same = move |entry: &&Entry| Some(&entry.name) == name && entry.member.id != id;
        self.members.values().filter(same).map(|entry| entry.member.id)
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
