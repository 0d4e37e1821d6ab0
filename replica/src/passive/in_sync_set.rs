//! Who must have an entry before it is committed, and how that set changes: by compare-and-set at the name server,
//! one at a time (PacificA §2.2). A member counts from before the change that adds it leaves, until the change that
//! drops it is known to stand.

use std::collections::BTreeMap;
use std::time::Duration;

use common::clock::Moment;
use common::replication::{GroupConfig, InSyncSet, LogIndex, Member, ReplicaId};

use super::primary::Peer;
use super::{Core, Effect, Fault, Now, SHRINK_AFTER, SUSPECT_AFTER, Standing};

/// How far behind a learner may be when it begins to count: about a batch. Under load it would never quite get there
/// if commits did not wait for it.
const NEARLY_THERE: u64 = 1024;
/// How long a member that was dropped must be caught up before it is let in again; doubled with each dropping.
const REJOIN_AFTER: Duration = Duration::from_secs(1);
const REJOIN_AFTER_MAX: Duration = Duration::from_mins(1);

/// What a primary knows of its set's coming and going.
#[derive(Clone, Debug, Default)]
pub(super) struct Membership {
    /// A learner that counts already, and is let in when it has all.
    letting_in: Option<ReplicaId>,
    /// Who was dropped by this primary: how long to wait, and since when it is caught up.
    dropped: BTreeMap<Member, Rejoin>,
}

#[derive(Clone, Copy, Debug)]
struct Rejoin {
    wait: Duration,
    caught_up: Option<Moment>,
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
    pub(super) fn propose(&mut self, next: GroupConfig, effects: &mut Vec<Effect>) {
        assert!(self.pending_cas.is_none(), "one compare-and-set at a time");
        self.pending_cas = Some(next.clone());
        effects.push(Effect::Cas { next });
    }

    /// Drops who is silent, lets in who has caught up.
    pub(super) fn reshape(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.measure_lag(now);
        if self.standing != Standing::Known || self.stopping.is_some() {
            return;
        }
        let unsettled = self.pending_cas.is_some() || self.adopting.is_some();
        let planted = self.setup.planted;
        let led_from_here = self.config.as_ref().is_some_and(|config| self.is_led_from_here(config));
        let (Some(config), Some(primary)) = (&self.config, &mut self.leading) else { return };
        if !led_from_here || config.epoch != self.epoch {
            return;
        }
        let gone = |peer: &Peer| {
            peer.refused
                || peer.owes_since.is_some_and(|since| now.at.since(since) >= SHRINK_AFTER)
                || peer.lagging.is_some_and(|(_, since)| now.at.since(since) >= SUSPECT_AFTER)
        };
        if let Some(id) = primary.membership.letting_in
            && (config.in_sync.contains(id) || primary.peers.get(&id).is_none_or(gone))
        {
            primary.membership.letting_in = None;
        }
        if unsettled {
            return;
        }
        let drop: Vec<ReplicaId> = config
            .in_sync
            .iter()
            .filter(|id| *id != self.setup.me.id && primary.peers.get(id).is_none_or(gone))
            .collect();
        if !drop.is_empty() {
            for boot in drop.iter().filter_map(|id| primary.peers.get(id)?.boot) {
                primary.membership.dropped_again(boot);
            }
            let in_sync = drop.iter().fold(config.in_sync.clone(), |set, &id| set.without(id));
            let next = GroupConfig { version: config.version.next(), in_sync, ..config.clone() };
            return self.propose(next, effects);
        }
        if self.committed < primary.barrier && !planted.is(Fault::ExpandBeforeBarrier) {
            return;
        }
        let (last, committed) = (self.log.last().index, self.committed);
        let scarce = config.in_sync.len() < usize::from(config.min_in_sync);
        let behind = planted.is(Fault::ExpandBehind);
        for (&id, peer) in &primary.peers {
            let Some(boot) = peer.boot.filter(|_| !gone(peer) && !config.in_sync.contains(id)) else {
                continue;
            };
            let counts = primary.membership.letting_in == Some(id);
            if !counts && !nearly_there(last, peer) && !behind {
                continue;
            }
            if primary.membership.letting_in.is_some_and(|other| other != id)
                || !(counts || scarce || primary.membership.may_rejoin(now.at, boot))
            {
                continue;
            }
            primary.membership.letting_in = Some(id);
            if peer.matched >= committed || behind {
                let next = GroupConfig {
                    version: config.version.next(),
                    in_sync: config.in_sync.with(id),
                    ..config.clone()
                };
                return self.propose(next, effects);
            }
        }
    }

    /// Notes since when a peer lacks what this primary's own disk has.
    fn measure_lag(&mut self, now: Now) {
        let (durable, last) = (self.log.durable(), self.log.last().index);
        let Some(primary) = &mut self.leading else { return };
        for (id, peer) in &mut primary.peers {
            peer.lagging = match peer.lagging {
                Some((upto, since)) if peer.matched < upto => Some((upto, since)),
                _ if peer.matched < durable => Some((durable, now.at)),
                _ => None,
            };
            let in_sync = self.config.as_ref().is_some_and(|config| config.in_sync.contains(*id));
            if let Some(boot) = peer.boot {
                primary.membership.observe(now.at, boot, in_sync, nearly_there(last, peer));
            }
        }
    }
}

fn nearly_there(last: LogIndex, peer: &Peer) -> bool {
    peer.matched > LogIndex(0) && last.0 - peer.matched.0 <= NEARLY_THERE
}

impl Membership {
    /// The one that is about to be let in counts no more.
    pub(super) fn let_nobody_in(&mut self) {
        self.letting_in = None;
    }

    fn dropped_again(&mut self, member: Member) {
        let wait =
            self.dropped.get(&member).map_or(REJOIN_AFTER, |before| (before.wait * 2).min(REJOIN_AFTER_MAX));
        self.dropped.insert(member, Rejoin { wait, caught_up: None, in_sync_since: None });
    }

    fn may_rejoin(&self, now: Moment, member: Member) -> bool {
        self.dropped
            .get(&member)
            .is_none_or(|rejoin| rejoin.caught_up.is_some_and(|since| now.since(since) >= rejoin.wait))
    }

    fn observe(&mut self, now: Moment, member: Member, in_sync: bool, caught_up: bool) {
        let Some(rejoin) = self.dropped.get_mut(&member) else { return };
        rejoin.caught_up = if caught_up { rejoin.caught_up.or(Some(now)) } else { None };
        rejoin.in_sync_since = if in_sync { rejoin.in_sync_since.or(Some(now)) } else { None };
        if rejoin.in_sync_since.is_some_and(|since| now.since(since) >= REJOIN_AFTER_MAX) {
            self.dropped.remove(&member);
        }
    }
}
