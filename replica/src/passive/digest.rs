//! What decides how a core goes on, as one number, for a model that visits every state once. Two cores with one digest
//! do the same whatever happens to them, as far as the model lets it happen. So there is no moment in it: the model
//! has time jump so far that all that waits is due, which a core takes for a pause of its own process, so that nobody
//! was silent. For that reason also who is suspected, when a peer is sent something again and when the record is read
//! again are left out; the model decides that. What the log decides, its checksum stands for.

use common::replication::{BootId, Epoch, GroupConfig, InSyncSet, LogIndex, Member, ReplicaId};

use super::primary::{Peer, Primary};
use super::{Core, Met, WriteBatch};

/// How the replicas and their processes are called: under another naming, the same group.
pub trait Names {
    /// A replica.
    fn replica(&self, id: ReplicaId) -> u64;
    /// A process.
    fn boot(&self, boot: BootId) -> u64;
}

/// A digest in the making.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Digest {
    /// The digest of these numbers, in their order.
    #[inline]
    pub fn of(parts: &[u64]) -> Self {
        Self(parts.len() as u64).with(parts)
    }

    /// And of these after them.
    #[inline]
    #[must_use]
    pub fn with(self, parts: &[u64]) -> Self {
        // Wang Yi's folded multiplication (wyhash): one for each number.
        #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
        let fold = |before: u64, part: &u64| {
            let product =
                u128::from(before ^ part ^ 0xa076_1d64_78bd_642f) * u128::from(0xe703_7ed1_a0b4_28db_u64);
            (product >> 64) as u64 ^ product as u64 ^ before.rotate_left(32)
        };
        Self(parts.iter().fold(self.0, fold))
    }

    /// And of all of these, in whatever order.
    #[must_use]
    pub fn with_all(self, parts: impl IntoIterator<Item = u64>) -> Self {
        let sum = parts.into_iter().fold(0, |sum: u64, part| sum.wrapping_add(Self::of(&[part]).0));
        self.with(&[sum])
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A record.
pub fn record(config: &GroupConfig, names: &impl Names) -> u64 {
    let primary = [names.replica(config.primary.id), names.boot(config.primary.boot)];
    let digest = Digest::of(&[config.version.0, config.epoch.0, config.forced.0]).with(&primary);
    digest.with_all(config.in_sync.iter().map(|id| names.replica(id))).get()
}

/// A batch that is not on the disk yet.
pub fn batch(batch: &WriteBatch, names: &impl Names) -> u64 {
    if batch.is_empty() {
        return 0;
    }
    let last = batch.append.last().map_or(0, |entry| u64::from(entry.crc));
    let truncate = batch.truncate_from.map_or(0, |from| from.0);
    let base = batch.base.map_or(0, |base| base.point.index.0);
    let config = batch.config.as_ref().map_or(0, |config| record(config, names));
    Digest::of(&[truncate, base, batch.append.len() as u64, last, config]).get()
}

impl Core {
    /// What decides how it goes on, under each of these namings.
    pub fn digests<N: Names, const NAMINGS: usize>(&self, namings: &[N; NAMINGS]) -> [u64; NAMINGS] {
        let (durable, saving) = self.log.on_disk();
        let flags = [self.stopping.is_some(), self.stopped, self.disk_full, self.clock_off];
        let plain = Digest::of(&[
            self.epoch.0,
            self.led.0,
            self.matched.0,
            self.committed.0,
            self.log.last().index.0,
            u64::from(self.log.last_crc()),
            durable.0,
            saving.0,
            self.state.applied().index.0,
            self.state.hash(),
            self.standing as u64,
            flags.into_iter().fold(0, |all, flag| all << 1 | u64::from(flag)),
        ])
        .with_all(self.unacknowledged.iter().map(|(_, upto)| upto.0));
        std::array::from_fn(|naming| self.named_digest(plain, &namings[naming]))
    }

    fn named_digest(&self, plain: Digest, names: &impl Names) -> u64 {
        let optional =
            |config: &Option<GroupConfig>| config.as_ref().map_or(0, |config| record(config, names));
        let met = |met: &Met| Digest::of(&[names.replica(met.member.id), names.boot(met.member.boot)]).get();
        let named = [
            optional(&self.config),
            optional(&self.adopting),
            optional(&self.pending_cas),
            batch(&self.unsaved, names),
            self.saving.as_ref().map_or(0, |(_, config)| 1 + optional(config)),
            self.leading.as_ref().map_or(0, |primary| self.primary_digest(primary, names)),
        ];
        plain.with(&named).with_all(self.met.values().map(met)).get()
    }

    fn primary_digest(&self, primary: &Primary, names: &impl Names) -> u64 {
        let peer = |(id, peer): (&ReplicaId, &Peer)| {
            // Who is in sync need not be let in.
            let member = self.config.as_ref().is_some_and(|config| config.in_sync.contains(*id));
            let flags = [peer.confirmed_at.is_some() || member, peer.refused, peer.full, peer.cloned];
            let flags = flags.into_iter().fold(0, |all, flag| all << 1 | u64::from(flag));
            let boot = peer.boot.map_or(0, |member| 1 + names.boot(member.boot));
            let unconfirmed = primary.reads.round.saturating_sub(peer.confirmed_round);
            let fed = [peer.next.0, peer.matched.0, peer.in_flight as u64, unconfirmed];
            Digest::of(&[names.replica(*id), boot, flags]).with(&fed).get()
        };
        let membership = &primary.membership;
        let letting_in = membership.letting_in.map_or(0, |id| 1 + names.replica(id));
        let dropped = membership.dropped.iter().map(|(member, rejoin)| {
            let may = membership.may_rejoin(self.now.at, *member);
            let flags = [u64::from(may), u64::from(rejoin.caught_up.is_some())];
            Digest::of(&[names.replica(member.id), names.boot(member.boot)]).with(&flags).get()
        });
        Digest::of(&[primary.barrier.0, u64::from(primary.open), letting_in])
            .with_all(primary.peers.iter().map(peer))
            .with_all(dropped)
            .with_all(
                primary.waiting.iter().map(|(at, waiting)| Digest::of(&[at.0, waiting.len() as u64]).get()),
            )
            .with_all(primary.reads.waiting.iter().map(|read| read.needs.saturating_sub(primary.reads.round)))
            .get()
    }

    /// Whether this primary has something to send to `peer`.
    pub fn would_send(&self, peer: ReplicaId) -> bool {
        let peer = self.leading.as_ref().and_then(|primary| primary.peers.get(&peer));
        peer.is_some_and(|peer| {
            let unverified = peer.matched == LogIndex(0) && peer.in_flight == 0;
            unverified || peer.next <= self.log.last().index
        })
    }

    /// Whether this primary feeds that process, as far as it lets itself be fed.
    pub fn feeds(&self, member: Member) -> bool {
        let peer = self.leading.as_ref().and_then(|primary| primary.peers.get(&member.id));
        peer.is_some_and(|peer| peer.boot == Some(member) && !peer.refused)
    }

    /// Whether this primary would know more if `peer` confirmed what it says now.
    pub fn would_ask(&self, peer: ReplicaId) -> bool {
        let Some(primary) = &self.leading else { return false };
        let member = self.config.as_ref().is_some_and(|config| config.in_sync.contains(peer));
        primary.peers.get(&peer).is_some_and(|peer| {
            peer.confirmed_round < primary.reads.round || (peer.confirmed_at.is_none() && !member)
        })
    }

    /// Whether hearing from the primary of `epoch` that so much is committed would change anything.
    pub fn would_learn(&self, epoch: Epoch, committed: LogIndex) -> bool {
        epoch != self.epoch || self.leading.is_some() || committed.min(self.matched) > self.committed
    }

    /// Whose disks must have what it commits, and whose word its reads need.
    pub fn counted(&self) -> InSyncSet {
        self.ackset()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::clock::Timestamp;
    use common::replication::Entry;
    use common::rpc::peer::Message;

    use super::super::hostile::{ME, OTHER, following, genesis, now, update};
    use super::super::{Event, Waiter};
    use super::*;

    /// Everybody by number; whoever is `first` is number 0.
    struct Called {
        first: Member,
    }

    impl Names for Called {
        fn replica(&self, id: ReplicaId) -> u64 {
            u64::from(id != self.first.id)
        }

        fn boot(&self, boot: BootId) -> u64 {
            u64::from(boot != self.first.boot)
        }
    }

    const CALLED: Called = Called { first: ME };

    #[test]
    fn time_alone_changes_nothing_and_an_entry_does() {
        let mut core = following(OTHER);
        let mut effects = Vec::new();
        core.step(now(10), Event::Tick, &mut effects);
        let before = core.digests(&[CALLED]);
        core.step(now(100_000), Event::Tick, &mut effects);
        assert_eq!(core.digests(&[CALLED]), before);
        let first = Entry::seal(0, LogIndex(1), Epoch(1), Timestamp::from_millis(1), genesis());
        let (prev, entries) = (first.point(), vec![Arc::new(update(&first, Epoch(1), b"any"))]);
        let (from, epoch, committed) = (OTHER.id, Epoch(1), LogIndex(0));
        let message = Message::Append { from, epoch, prev, entries, committed };
        core.step(now(100_000), Event::Peer { waiter: Waiter(1), message }, &mut effects);
        assert_ne!(core.digests(&[CALLED]), before);
    }

    #[test]
    fn names_count_only_by_who_is_who() {
        let core = following(OTHER);
        assert_ne!(core.digests(&[CALLED]), core.digests(&[Called { first: OTHER }]));
        assert_eq!(core.digests(&[CALLED]), following(OTHER).digests(&[CALLED]));
    }

    #[test]
    fn a_set_has_no_order() {
        let digest = |parts: [u64; 3]| Digest::of(&[7]).with_all(parts).get();
        assert_eq!(digest([1, 2, 3]), digest([3, 1, 2]));
        assert_ne!(digest([1, 2, 3]), digest([1, 2, 2]));
        assert_ne!(Digest::of(&[1, 2]), Digest::of(&[2, 1]));
    }
}
