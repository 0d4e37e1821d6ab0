//! Processes: how they start, end, stand still, and find each other (as `links.rs` has it).

use std::time::Duration;

use bytes::Bytes;
use common::ids::ClusterId;
use common::replication::{BootId, ReplicaId};
use common::rpc::peer::Message;
use common::services::Served;

use super::super::{BATCH_BYTES, Core, First, Now, SendTicket, Setup, Stored};
use super::authority::Health;
use super::disk::Disk;
use super::network::End;
use super::service::Kitchen;
use super::stage::{Appearance, Arrival, Asker, HOP, Happening, Node, Stage};

impl Stage {
    /// Starts a process on this host, with the disk that is there.
    pub(super) fn start(&mut self, number: u8) {
        self.lives += 1;
        let (life, now) = (self.lives, self.now);
        let name = End::Host(number).to_string();
        let node = self.nodes.entry(number).or_insert_with(|| Node::new(number));
        node.boots += 1;
        node.boot = BootId::from_u128(u128::from(number) * 1_000 + u128::from(node.boots));
        node.life = life;
        self.names.call_disk(node.id, &name, node.disks);
        self.names.call_boot(node.boot, node.boots);
        let setup = self.setup(number);
        let off = self.nodes[&number].clock_off;
        let wall = self.wall(off);
        let node = self.nodes.get_mut(&number).expect("made above");
        let stored = node.disk.stored();
        let core = Core::new(Now { at: now, wall }, setup, stored).expect("a disk is never damaged here");
        node.wake = now;
        node.appearance = Some(Appearance::of(&core));
        node.core = Some(core);
        self.greet_all(number);
        self.show_record(number);
    }

    fn setup(&self, number: u8) -> Setup {
        let node = &self.nodes[&number];
        Setup {
            cluster: ClusterId::from_bytes([7; 16]),
            group: "kitchen".parse().expect("a good name"),
            me: node.member(),
            name: format!("replica.{number}").parse().expect("a good name"),
            address: "127.0.0.1:1".parse().expect("a good address"),
            service: Served::passive::<Kitchen>("kitchen"),
            first: node.first.then(|| First {
                limits: self.options.limits,
                start: Bytes::new(),
                min_in_sync: self.options.min_in_sync,
            }),
            snapshots: self.options.snapshots,
            batch_bytes: BATCH_BYTES,
            planted: self.options.planted,
        }
    }

    /// Kills the process. What was not fsynced is lost; its peers see their connections break and then refused.
    pub(super) fn crash(&mut self, number: u8) {
        let Some(node) = self.nodes.get_mut(&number).filter(|node| node.core.is_some()) else { return };
        node.core = None;
        node.paused = false;
        node.inbox.clear();
        node.disk.writing = None;
        node.calls.clear();
        node.life = 0;
        let gone = node.member();
        self.askers.retain(|(at, _), asker| {
            if *at == number
                && let Asker::Client(label) = asker
            {
                self.telling.tell(label, None, "cut off".to_owned());
            }
            *at != number
        });
        for other in self.others(number) {
            if self.network.joins(End::Host(number), End::Host(other)) {
                self.break_connection(other, number);
                self.arrive(other, HOP, Happening::Refused(gone));
            }
        }
    }

    /// Calls of `number` to `peer` will not be answered.
    pub(super) fn break_connection(&mut self, number: u8, peer: u8) {
        let node = &self.nodes[&number];
        let calls: Vec<u64> =
            node.calls.iter().filter(|(_, to)| **to == Some(peer)).map(|(call, _)| *call).collect();
        let life = node.life;
        let tickets: Vec<(SendTicket, u64)> = (self.tickets.iter())
            .filter(|((at, _), call)| *at == number && calls.contains(call))
            .map(|((_, ticket), call)| (*ticket, *call))
            .collect();
        for (ticket, call) in tickets {
            self.push(HOP, false, Arrival::To(number, life, Happening::Reply { call, ticket, reply: None }));
        }
        let peer_life = self.nodes[&peer].life;
        self.met.retain(|&(one, other)| one != life || other != peer_life);
        self.queue.retain(|_, (arrival, _)| {
            !matches!(arrival, Arrival::To(to, _, Happening::Request { from, .. }) if *to == peer && *from == number)
        });
    }

    /// Stops the process by a signal.
    pub(super) fn pause(&mut self, number: u8) {
        self.node(number).paused = true;
    }

    /// Lets it go on: it finds all that came meanwhile.
    pub(super) fn resume(&mut self, number: u8) {
        let node = self.node(number);
        node.paused = false;
        let (life, inbox) = (node.life, std::mem::take(&mut node.inbox));
        for happening in inbox {
            self.push(Duration::ZERO, false, Arrival::To(number, life, happening));
        }
    }

    pub(super) fn node(&mut self, number: u8) -> &mut Node {
        self.nodes.entry(number).or_insert_with(|| Node::new(number))
    }

    /// Running processes beside this one.
    fn others(&self, number: u8) -> Vec<u8> {
        let running = self.nodes.iter().filter(|(other, node)| **other != number && node.core.is_some());
        running.map(|(other, _)| *other).collect()
    }

    /// Its connections come up, both ways.
    pub(super) fn greet_all(&mut self, number: u8) {
        for other in self.others(number) {
            self.greet(number, other);
            self.greet(other, number);
        }
    }

    /// Dials `to`, if they have no connection, and says hello; or finds that nobody listens there.
    pub(super) fn greet(&mut self, from: u8, to: u8) {
        let off = self.nodes[&from].clock_off;
        let wall = self.wall(off);
        let (ends, life) = ((End::Host(from), End::Host(to)), self.nodes[&from].life);
        if !self.network.joins(ends.0, ends.1) {
            return;
        }
        let peer = &self.nodes[&to];
        let (running, peer_life, member) = (peer.core.is_some(), peer.life, peer.member());
        let Some(core) = self.nodes[&from].core.as_ref() else { return };
        if !running {
            return self.arrive(from, HOP, Happening::Refused(member));
        }
        if self.met.contains(&(life, peer_life)) {
            return;
        }
        let message = Message::Hello(core.hello(wall));
        let call = self.call(from, Some(to));
        let request = Happening::Request { from, life, call, message, background: true };
        self.push(HOP, false, Arrival::To(to, peer_life, request));
    }

    /// The watch on the record comes up, or shows news.
    pub(super) fn show_record(&mut self, number: u8) {
        let Some(record) = self.authority.record().cloned() else { return };
        if self.authority.health != Health::Up {
            return;
        }
        let life = self.nodes[&number].life;
        let arrival = Arrival::To(number, life, Happening::Watched(record));
        self.send(End::NameServer, End::Host(number), "watch", arrival);
    }

    pub(super) fn call(&mut self, number: u8, to: Option<u8>) -> u64 {
        let node = self.node(number);
        node.called += 1;
        let call = node.called;
        node.calls.insert(call, to);
        call
    }

    pub(super) fn format_anew(&mut self, number: u8, keep: bool) {
        let old = self.names.disk(self.nodes[&number].id);
        self.wipe(number);
        let (now, off) = (self.now, self.nodes[&number].clock_off);
        let now = Now { at: now, wall: self.wall(off) };
        let setup = self.setup(number);
        let core = Core::new(now, setup, Stored::default()).expect("an empty disk");
        self.lives += 1;
        let life = self.lives;
        let node = self.node(number);
        node.life = life;
        node.wake = now.at;
        node.calls.clear();
        node.appearance = Some(Appearance::of(&core));
        node.core = Some(core);
        let kept = if keep { "puts its file aside" } else { "deletes its file" };
        let new = self.names.disk(self.nodes[&number].id);
        self.telling.tell(&old, None, format!("{kept}, is {new} now"));
        self.greet_all(number);
        self.show_record(number);
    }

    /// Puts an empty disk in the place of this one.
    pub(super) fn wipe(&mut self, number: u8) {
        let name = End::Host(number).to_string();
        let node = self.node(number);
        node.disks += 1;
        node.id = ReplicaId::from_u128(u128::from(number) + 100 * node.disks as u128);
        node.disk = Disk::empty(node.disk.fsync);
        let (id, disks) = (node.id, node.disks);
        self.names.call_disk(id, &name, disks);
    }
}
