//! What a group is, whatever its replicas are called: the least digest over all ways to call them.

use common::replication::{BootId, ReplicaId};
use common::rpc::peer::{Message, Reply, ReplyBody};
use replica::passive::digest::{self, Digest, Names};

use super::group::{Exchange, Group, REPLICAS, Stage};
use crate::passive::ledger::Tally;
use crate::passive::shared::Shared;
use crate::passive::world::{Call, ID_SHIFT, Node};

/// All ways to call three replicas: what each place is called.
const NAMINGS: [[u64; REPLICAS]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// Of one replica, under each naming.
pub(super) type NodeDigests = [u64; NAMINGS.len()];

/// One naming; processes are called by how many there were on that disk before.
struct Naming<'a> {
    places: [u64; REPLICAS],
    generations: &'a [u8],
}

impl Names for Naming<'_> {
    fn replica(&self, id: ReplicaId) -> u64 {
        let number = usize::try_from(id.to_u128() >> ID_SHIFT).expect("replicas are counted");
        self.places[number - 1]
    }

    fn boot(&self, boot: BootId) -> u64 {
        let number = usize::try_from(boot.to_u128()).expect("boots are counted");
        u64::from(self.generations[number])
    }
}

impl Group {
    /// Looks at what has changed since `before`.
    pub(super) fn take_fingerprint(&mut self, before: Option<&Self>) {
        let namings = NAMINGS.map(|places| Naming { places, generations: &self.generations });
        for (n, node) in self.world.nodes.iter().enumerate() {
            if before.is_none_or(|before| !before.world.nodes[n].is_same(node)) {
                self.digests[n] = node_digests(node, &namings);
            }
        }
        let plain = self.plain_digest();
        let all = namings.iter().enumerate().map(|(number, naming)| {
            let mut nodes = [0; REPLICAS];
            for (n, digests) in self.digests.iter().enumerate() {
                nodes[usize::try_from(naming.places[n]).expect("a place")] = digests[number];
            }
            let proposals = self.proposals.iter().map(|(by, next)| {
                let by = [naming.replica(by.id), naming.boot(by.boot)];
                Digest::of(&by).with(&[digest::record(next, naming)]).get()
            });
            plain
                .with(&nodes)
                .with_all(self.records.iter().map(|record| digest::record(record, naming)))
                .with_all(proposals)
                .with_all(self.exchanges.iter().map(|exchange| exchange_digest(exchange, naming)))
                .get()
        });
        self.fingerprint = all.min().expect("six");
    }

    /// What has nothing to do with names: what is left to happen, what is committed, and what was shown.
    fn plain_digest(&self) -> Digest {
        let world = &self.world;
        let last = world.witness.last();
        let epoch = world.witness.epoch_at(last).map_or(0, |epoch| epoch.0);
        let tally = world.witness.tally_at(last).map_or(0, Tally::encoded);
        let left = [self.left.updates, self.left.copies, self.left.reads, self.left.crashes].map(u64::from);
        // What was shown binds the reads to come.
        let shown = if self.left.reads > 0 { world.shown.0 } else { 0 };
        let reads = world.calls.iter().filter_map(|call| match call {
            Call::Read { after, .. } => Some(after.0),
            Call::Update { .. } | Call::Over => None,
        });
        Digest::of(&left)
            .with(&[last.0, epoch, tally, shown, u64::from(world.broken.is_some())])
            .with_all(reads)
    }
}

fn node_digests(node: &Shared<Node>, namings: &[Naming<'_>; NAMINGS.len()]) -> NodeDigests {
    let last = node.disk.last().index;
    let crc = node.disk.crc_at(last).map_or(0, u64::from);
    let boot = namings[0].boot(node.boot);
    let plain = Digest::of(&[boot, last.0, crc]);
    let cores = node.core.as_ref().map_or(NodeDigests::default(), |core| core.digests(namings));
    std::array::from_fn(|number| {
        let names = &namings[number];
        let config = node.disk.config.as_ref().map_or(0, |config| digest::record(config, names));
        let writing = node.writing.as_ref().map_or(0, |(batch, _)| 1 + digest::batch(batch, names));
        plain.with(&[config, writing, cores[number]]).get()
    })
}

fn exchange_digest(exchange: &Exchange, names: &Naming<'_>) -> u64 {
    let [from, to] = [exchange.from, exchange.to].map(|n| names.places[n]);
    let Message::Append { epoch, prev, entries, committed, .. } = &exchange.message else {
        unreachable!("only appends are exchanged")
    };
    let last = entries.last().map_or(0, |entry| u64::from(entry.crc));
    let stage = match &exchange.stage {
        Stage::Travelling => 0,
        Stage::Waiting => 1,
        Stage::Replied(reply) => reply_digest(reply),
    };
    Digest::of(&[from, to, u64::from(exchange.orphaned), stage])
        .with(&[epoch.0, prev.epoch.0, prev.index.0, entries.len() as u64, last, committed.0])
        .get()
}

fn reply_digest(reply: &Reply) -> u64 {
    let body = match &reply.body {
        ReplyBody::Ack { durable } => [2, durable.0],
        ReplyBody::Nak { hint } => [3, hint.0],
        ReplyBody::Fenced => [4, 0],
        ReplyBody::Refused { .. } => [5, 0],
        other => unreachable!("{other:?} answers no append"),
    };
    Digest::of(&body).with(&[reply.epoch.0]).get()
}
