//! Following the group's record: reading it, acting on it when it is on this disk, creating it, handing it over.

use std::time::Duration;

use common::clock::Moment;
use common::replication::{ConfigVersion, EntryKind, Epoch, GroupConfig, LogIndex};

use super::primary::Peer;
use super::{Core, Effect, Fault, SUSPECT_AFTER, Standing};

/// Before the name server is asked again for a group that does not exist yet; a watch usually tells sooner.
const NO_GROUP_RETRY: Duration = Duration::from_millis(500);
/// How long a primary that stops waits for what is under way.
const DRAIN_FOR: Duration = Duration::from_millis(50);
/// How long it tries to hand over.
const HAND_OVER_FOR: Duration = Duration::from_secs(2);

impl Core {
    /// Asks the name server when that is due: the unsettled change once more, else for the record.
    pub(super) fn ask_for_record(&mut self) {
        if self.ask_again_at.take_if(|at| *at <= self.now.at).is_none() {
            return;
        }
        if self.hands_over_to_nobody() {
            // Whether it still arrives or not, the set as it is counts all whom it names.
            self.pending_cas = None;
        }
        self.effects.push(match &self.pending_cas {
            Some(next) if self.standing != Standing::Estranged => Effect::Cas { next: next.clone() },
            _ => Effect::ReadRecord { known: self.newest_config().map(|config| config.version) },
        });
    }

    /// Whether the unsettled change gives the group to somebody who is gone by now.
    fn hands_over_to_nobody(&self) -> bool {
        let (Some(next), Some(primary)) = (&self.pending_cas, &self.leading) else { return false };
        let successor = primary.peers.get(&next.primary.id);
        !self.is_led_from_here(next) && successor.is_none_or(|peer| peer.is_gone(self.now.at))
    }

    /// The name server said which record stands.
    pub(super) fn record_read(&mut self, record: Option<GroupConfig>) {
        let Some(record) = record else { return self.no_record() };
        let seen = self.newest_version();
        let same = record.version == seen && self.newest_config() == Some(&record);
        let foreign = record.cluster != self.setup.cluster || record.group != self.setup.group;
        if foreign || (record.version == seen && !same) {
            // Not the history that our disk was part of. Nothing is proposed by us until an operator has decided; what
            // is travelling already may still arrive, so it is not forgotten either. Whom the group's own word binds,
            // it binds on: a primary leads, and its backups follow.
            return self.stand_aside(Standing::Estranged);
        }
        if self.gives_up(&record) {
            self.standing = Standing::GivenUp;
            return self.effects.push(Effect::FormatAnew { keep: !self.holds_only_own_genesis() });
        }
        if self.planted(Fault::ForgetCasOnGet) && record.version <= seen {
            self.pending_cas = None;
            if let Some(primary) = &mut self.leading {
                primary.membership.letting_in = None;
            }
        }
        self.pending_cas.take_if(|pending| pending.version <= record.version && record.version >= seen);
        let goes_back = record.version < seen && self.planted(Fault::RegressedRecordAccepted);
        if record.version > seen || goes_back {
            return self.adopt(&record);
        }
        if same {
            if self.adopting.is_none() && self.standing != Standing::Known {
                self.act_on(record);
            }
            self.suspicion.record_stands();
        }
        self.send_again_soon();
    }

    /// An operator's record of this version stands: what an old copy of a disk, or of the name server, had to wait for.
    pub(super) fn operator_decided(&mut self, version: ConfigVersion) {
        if self.newest_version() >= version {
            return;
        }
        if self.standing == Standing::Restored {
            self.standing = Standing::Unread;
        }
        self.ask_again_at = Some(self.now.at);
    }

    /// A record that is older than our own change, or an answer that was overtaken, settles nothing: the change may
    /// still be travelling, and is sent again.
    fn send_again_soon(&mut self) {
        if self.pending_cas.is_some() {
            self.ask_soon();
        }
    }

    /// A newer record: to the disk with it, and then act on it. Its epoch begins at once. Who wins leads it, since
    /// nothing leaves before its barrier is on the disk, which goes there with the record. Who is replaced stops: a
    /// change of ours may have stood before this record, and is settled by it, so from now on we do not know whose word
    /// we need. And who follows takes nothing more from the primary before: a force-elect may have made that void.
    fn adopt(&mut self, record: &GroupConfig) {
        self.unsaved.config = Some(record.clone());
        self.adopting = Some(record.clone());
        self.take_the_lead(record);
        self.enter(record.epoch);
    }

    /// A record is on this disk: act on it.
    pub(super) fn act_on(&mut self, config: GroupConfig) {
        self.adopting.take_if(|adopting| *adopting == config);
        let (epoch, primary) = (config.epoch, config.primary);
        self.standing = Standing::Known;
        self.take_the_lead(&config);
        self.config = Some(config);
        self.enter(epoch);
        if self.leading.is_some() {
            return;
        }
        self.suspicion.stand_down(self.now.at);
        self.joining.ask_at = Some(self.now.at);
        if primary.id == self.me() {
            // It names an earlier boot of ours: nobody leads.
            self.suspect_hard();
        } else {
            self.effects.push(Effect::Look(primary));
        }
    }

    /// Leads, if the record gives its epoch to this process and it never led that epoch before.
    fn take_the_lead(&mut self, record: &GroupConfig) {
        let stale = record.epoch < self.epoch || record.epoch <= self.led;
        if self.is_led_from_here(record) && !stale && self.leading.is_none() {
            self.start_leading(record);
        }
    }

    /// The name server knows no such group.
    fn no_record(&mut self) {
        let last = self.log.last().index;
        if self.newest_config().is_some() || self.snapshot.is_some() || last > LogIndex(1) {
            // But this disk does.
            return self.stand_aside(Standing::Estranged);
        }
        let Some(first) = &self.setup.first else {
            self.standing = Standing::NoGroup;
            self.ask_again_at = Some(self.now.at + NO_GROUP_RETRY);
            return;
        };
        if self.standing == Standing::Creating {
            return self.send_again_soon();
        }
        self.standing = Standing::Creating;
        if last == LogIndex(0) {
            let genesis = EntryKind::Genesis { limits: first.limits, start: first.start.clone() };
            self.append_own(Epoch(1), genesis);
        }
    }

    /// Proposes the first record, once the Genesis entry is on the disk.
    pub(super) fn create(&mut self) {
        let setup = &self.setup;
        let (Standing::Creating, Some(first)) = (self.standing, &setup.first) else { return };
        let settled = self.pending_cas.is_none() && self.adopting.is_none();
        if settled && self.log.durable() >= LogIndex(1) {
            let (cluster, group) = (setup.cluster, setup.group.clone());
            self.propose(GroupConfig::first(cluster, group, setup.me, first.min_in_sync));
        }
    }

    /// Whether this disk holds nothing but a Genesis entry that it made itself: following a group with it would mix
    /// two logs that share (1, 1).
    pub(super) fn holds_only_own_genesis(&self) -> bool {
        self.newest_config().is_none()
            && self.snapshot.is_none()
            && self.log.last().index == LogIndex(1)
            && self.matched == LogIndex(0)
    }

    /// Whether `record` makes this disk's identity worthless: it lost the race to create the group, or an operator
    /// gave it up and it may hold committed entries that the group lacks.
    fn gives_up(&self, record: &GroupConfig) -> bool {
        let lost_the_race = self.holds_only_own_genesis() && !self.planted(Fault::KeepGenesis);
        let forced = self.newest_version() < record.forced && !self.planted(Fault::ForcedRejoins);
        let given_up = self.log.last().index > LogIndex(0) && forced;
        !record.in_sync.contains(self.me()) && (lost_the_race || given_up)
    }

    /// Hands the group over, if this replica leads it and should not, and says when it may stop.
    pub(super) fn hand_over(&mut self) {
        let now = self.now.at;
        let lagging = self.leading.as_ref().and_then(|primary| primary.lagging);
        let hangs = lagging.is_some_and(|(_, since)| now.since(since) >= SUSPECT_AFTER);
        let stopping = self.stopping;
        match stopping {
            Some(since) if !self.stopped && !self.hands_over(now.since(since)) => {
                self.stopped = true;
                self.effects.push(Effect::Stopped);
            }
            // Its disk is what all wait for, or refuses for all. What is under way waits for that disk, too.
            None if (self.disk_full || hangs) && self.is_spare() => {
                self.hands_over(DRAIN_FOR);
            }
            _ => {}
        }
    }

    /// When one that stops waits no more for what is under way.
    pub(super) fn drained_at(&self) -> Option<Moment> {
        self.stopping.map(|since| since + DRAIN_FOR)
    }

    /// Whether enough members are left without this one.
    fn is_spare(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.in_sync.len() > usize::from(config.min_in_sync))
    }

    /// Whether there is still something to wait for.
    fn hands_over(&mut self, waited: Duration) -> bool {
        let (Some(primary), Some(config)) = (&self.leading, &self.config) else { return false };
        let unreachable = self.ask_again_at.is_some();
        let alone = config.in_sync.len() < 2 || !self.is_led_from_here(config);
        let contradicted = self.standing != Standing::Known;
        if waited >= HAND_OVER_FOR || unreachable || alone || contradicted {
            return false;
        }
        let drains = self.committed < self.log.last().index && !self.planted(Fault::NoDrain);
        let unsettled = !primary.open || self.pending_cas.is_some() || self.adopting.is_some();
        if unsettled || (drains && waited < DRAIN_FOR) {
            return true;
        }
        // Who has said nothing in this epoch, or since this one is to stop, may be no more, and its disk neither; and two
        // whose disks are full would hand it to and fro, so first each says whether its disk has room.
        let fit = |(id, peer): &(&_, &Peer)| {
            let said_so = peer.confirmed_at.is_some() && peer.confirmed_at >= self.stopping;
            config.in_sync.contains(**id) && !peer.is_gone(self.now.at) && said_so
        };
        let successors = primary.peers.iter().filter(fit);
        let advanced = successors.filter_map(|(_, peer)| Some((peer.matched, peer.boot?)));
        let Some((_, successor)) = advanced.max_by_key(|(matched, _)| *matched) else {
            return self.stopping.is_some() && waited < DRAIN_FOR;
        };
        let next = config.handed_to(successor);
        self.propose(next);
        true
    }
}
