//! Who must have an entry before it is committed, and how that set changes: by compare-and-set at the name server,
//! one at a time (PacificA §2.2). A member counts from before the change that adds it leaves, until the change that
//! drops it is known to stand.

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::Moment;
use common::replication::{GroupConfig, InSyncSet, LogIndex, Member, ReplicaId};

use super::primary::Peer;
use super::{Core, Effect, Fault, SHRINK_AFTER, SUSPECT_AFTER, Standing};

/// How far behind a learner may be when it begins to count: about a batch. Under load it would never quite get there
/// if commits did not wait for it.
const NEARLY_THERE: u64 = 1024;
/// How long a learner that does not answer is sent beacons.
const LEARNER_KEPT: Duration = Duration::from_mins(1);
/// How long a member that was dropped must be caught up before it is let in again; doubled with each dropping.
const REJOIN_AFTER: Duration = Duration::from_secs(1);
const REJOIN_AFTER_MAX: Duration = Duration::from_mins(1);

/// What a primary knows of its set's coming and going.
#[derive(Clone, Debug, Default)]
pub(super) struct Membership {
    /// A learner that counts already, and is let in when it has all.
    pub(super) letting_in: Option<ReplicaId>,
    /// Who was dropped by this primary: how long to wait, and since when it is caught up.
    pub(super) dropped: BTreeMap<Member, Rejoin>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Rejoin {
    wait: Duration,
    pub(super) caught_up: Option<Moment>,
    in_sync_since: Option<Moment>,
}

impl Core {
    /// Whose disks must have an entry before it is committed, and whose word a read needs: the recorded set, those of
    /// a change whose outcome is not known, and who is about to be let in.
    pub(super) fn ackset(&self) -> InSyncSet {
        let late = self.planted(Fault::ExpandLate);
        let pending = self.pending_cas.as_ref().filter(|_| !late);
        let records = [self.config.as_ref(), self.adopting.as_ref(), pending];
        let mut sets: Vec<&InSyncSet> = (records.into_iter().flatten())
            .filter(|config| self.is_led_from_here(config))
            .map(|config| &config.in_sync)
            .collect();
        if self.planted(Fault::ShrinkEarly) {
            sets = sets.split_off(sets.len().saturating_sub(1));
        }
        let set = sets.into_iter().fold(InSyncSet::default(), |all, set| all.union(set));
        match self.leading.as_ref().and_then(|primary| primary.membership.letting_in) {
            Some(id) if !late => set.with(id),
            _ => set,
        }
    }

    /// Whether `config` names this process as the primary. An earlier boot of it is somebody else.
    pub(super) fn is_led_from_here(&self, config: &GroupConfig) -> bool {
        let resumes = self.planted(Fault::SameEpochRestart) && config.primary.id == self.me();
        config.primary == self.setup.me || resumes
    }

    /// Sends a change of the record, and keeps it until a record settles it.
    pub(super) fn propose(&mut self, next: GroupConfig) {
        assert!(self.pending_cas.is_none(), "one compare-and-set at a time");
        self.pending_cas = Some(next.clone());
        self.effects.push(Effect::Cas { next });
    }

    /// Drops who is silent, lets in who has caught up.
    pub(super) fn reshape(&mut self) {
        self.measure_lag();
        let (now, planted) = (self.now.at, self.setup.planted);
        let led_from_here = self.config.as_ref().is_some_and(|config| self.is_led_from_here(config));
        let (Some(config), Some(primary)) = (&self.config, &mut self.leading) else { return };
        let may = led_from_here && config.epoch == self.epoch && self.standing == Standing::Known;
        if !may || self.stopping.is_some() {
            return;
        }
        let is_gone = |id| primary.peers.get(&id).is_none_or(|peer| peer.is_gone(now));
        let membership = &mut primary.membership;
        membership.letting_in.take_if(|id| config.in_sync.contains(*id) || is_gone(*id));
        if self.pending_cas.is_some() || self.adopting.is_some() {
            return;
        }
        let stays = |id: &ReplicaId| *id == self.setup.me.id || !is_gone(*id);
        let staying = InSyncSet::new(config.in_sync.iter().filter(stays));
        let next = if staying != config.in_sync {
            for id in config.in_sync.iter().filter(|id| !stays(id)) {
                membership.note_dropped(primary.peers.get(&id).and_then(|peer| peer.boot));
            }
            staying
        } else if self.committed >= primary.barrier || planted.is(Fault::ExpandBeforeBarrier) {
            let (last, behind) = (self.log.last().index, planted.is(Fault::ExpandBehind));
            let scarce = config.in_sync.len() < usize::from(config.min_in_sync);
            let eligible = |(id, peer): &(&ReplicaId, &Peer)| {
                // It has said that its disk has room.
                !(config.in_sync.contains(**id) || peer.is_gone(now) || peer.confirmed_at.is_none())
                    && (peer.is_nearly_there(last) || behind)
                    && peer.boot.is_some_and(|boot| scarce || membership.may_rejoin(now, boot))
            };
            let found = || primary.peers.iter().find(eligible).map(|(id, _)| *id);
            let Some(id) = membership.letting_in.or_else(found) else { return };
            membership.letting_in = Some(id);
            if primary.peers.get(&id).is_none_or(|peer| peer.matched < self.committed && !behind) {
                return;
            }
            config.in_sync.with(id)
        } else {
            return;
        };
        let next = config.with_in_sync(next);
        self.propose(next);
    }

    /// Notes since when a peer lacks what this primary's own disk has, and this disk what a peer's has.
    fn measure_lag(&mut self) {
        let (durable, last, now) = (self.log.durable(), self.log.last().index, self.now.at);
        let Some(primary) = &mut self.leading else { return };
        let member = |id| self.config.as_ref().is_some_and(|config| config.in_sync.contains(id));
        // Beacons to nobody, for ever: who is back asks again to be fed.
        let is_there = |peer: &Peer| peer.owes_since.is_none_or(|since| now.since(since) < LEARNER_KEPT);
        let counts = primary.membership.letting_in;
        primary.peers.retain(|id, peer| member(*id) || counts == Some(*id) || is_there(peer));
        let others = primary.peers.iter().filter(|(id, _)| member(**id)).map(|(_, peer)| peer.matched);
        primary.lagging = behind(primary.lagging, durable, others.max().unwrap_or_default(), now);
        for (id, peer) in &mut primary.peers {
            peer.lagging = behind(peer.lagging, peer.matched, durable, now);
            if let Some(boot) = peer.boot {
                let keeps_up = peer.is_nearly_there(last) && !peer.is_gone(now);
                primary.membership.observe(now, boot, member(*id), keeps_up);
            }
        }
    }
}

/// Since when a disk that has all up to `has` lacks what another one had then.
fn behind(
    lagging: Option<(LogIndex, Moment)>,
    has: LogIndex,
    other: LogIndex,
    now: Moment,
) -> Option<(LogIndex, Moment)> {
    lagging.filter(|(upto, _)| has < *upto).or(Some((other, now)).filter(|_| has < other))
}

impl Peer {
    /// Whether it is to be dropped: it refuses, is silent, or its disk is the slow one, or full, or a copy.
    pub(super) fn is_gone(&self, now: Moment) -> bool {
        self.refused
            || self.full
            || self.cloned
            || self.owes_since.is_some_and(|since| now.since(since) >= SHRINK_AFTER)
            || self.lagging.is_some_and(|(_, since)| now.since(since) >= SUSPECT_AFTER)
    }

    fn is_nearly_there(&self, last: LogIndex) -> bool {
        self.matched > LogIndex(0) && last.0 - self.matched.0 <= NEARLY_THERE
    }
}

impl Membership {
    /// Notes that this process is dropped, perhaps once more.
    fn note_dropped(&mut self, member: Option<Member>) {
        let Some(member) = member else { return };
        let before = self.dropped.get(&member);
        let wait = before.map_or(REJOIN_AFTER, |before| (before.wait * 2).min(REJOIN_AFTER_MAX));
        self.dropped.insert(member, Rejoin { wait, caught_up: None, in_sync_since: None });
    }

    pub(super) fn may_rejoin(&self, now: Moment, member: Member) -> bool {
        let waited = |rejoin: &Rejoin| rejoin.caught_up.is_some_and(|since| now.since(since) >= rejoin.wait);
        self.dropped.get(&member).is_none_or(waited)
    }

    fn observe(&mut self, now: Moment, member: Member, in_sync: bool, caught_up: bool) {
        let Some(rejoin) = self.dropped.get_mut(&member) else { return };
        rejoin.caught_up = rejoin.caught_up.or(Some(now)).filter(|_| caught_up);
        rejoin.in_sync_since = rejoin.in_sync_since.or(Some(now)).filter(|_| in_sync);
        if rejoin.in_sync_since.is_some_and(|since| now.since(since) >= REJOIN_AFTER_MAX) {
            self.dropped.remove(&member);
        }
    }
}
