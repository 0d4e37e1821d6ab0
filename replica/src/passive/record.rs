//! Following the group's record: reading it, acting on it when it is on this disk, creating it, handing it over.

use std::sync::Arc;
use std::time::Duration;

use common::replication::{ConfigVersion, Entry, EntryKind, Epoch, GroupConfig, LogIndex, Member};

use super::{Core, Effect, Fault, Now, RECORD_RETRY, Standing};

/// Before the name server is asked again for a group that does not exist yet; a watch usually tells sooner.
const NO_GROUP_RETRY: Duration = Duration::from_millis(500);
/// How long a primary that stops waits for what is under way.
const DRAIN_FOR: Duration = Duration::from_millis(50);
/// How long it tries to hand over.
const HAND_OVER_FOR: Duration = Duration::from_secs(2);

impl Core {
    /// Asks the name server when that is due: the unsettled change once more, else for the record.
    pub(super) fn ask_for_record(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.ask_again_at.is_none_or(|at| at > now.at) {
            return;
        }
        self.ask_again_at = None;
        effects.push(match &self.pending_cas {
            Some(next) if self.standing != Standing::Estranged => Effect::Cas { next: next.clone() },
            _ => Effect::ReadRecord { known: self.newest_config().map(|config| config.version) },
        });
    }

    /// The name server said which record stands.
    pub(super) fn record_read(&mut self, now: Now, record: Option<GroupConfig>, effects: &mut Vec<Effect>) {
        let Some(record) = record else { return self.no_record(now) };
        if record.cluster != self.setup.cluster || record.group != self.setup.group {
            return self.estranged();
        }
        let seen = self.newest_config().map_or(ConfigVersion(0), |config| config.version);
        if self.gives_up(&record, seen) {
            self.standing = Standing::GivenUp;
            effects.push(Effect::FormatAnew { keep: !self.holds_only_own_genesis() });
            return;
        }
        if self.planted(Fault::ForgetCasOnGet) && record.version <= seen {
            self.pending_cas = None;
            if let Some(primary) = &mut self.leading {
                primary.membership.let_nobody_in();
            }
        }
        if record.version < seen {
            // An answer that was overtaken. It settles nothing: our own change may still be travelling.
            return self.send_again_soon(now);
        }
        if self.pending_cas.as_ref().is_some_and(|pending| pending.version <= record.version) {
            self.pending_cas = None;
        }
        if record.version > seen {
            self.adopt(now, record);
        } else if self.newest_config() != Some(&record) {
            // The same version with other contents: this is not the history that our disk was part of.
            self.estranged();
        } else {
            if self.adopting.is_none() && self.standing != Standing::Known {
                self.act_on(now, record, effects);
            }
            self.candidacy.record_stands();
            self.send_again_soon(now);
        }
    }

    /// A record that is older than our own change settles nothing: the change is sent again.
    fn send_again_soon(&mut self, now: Now) {
        if self.pending_cas.is_some() {
            self.ask_again_at = self.ask_again_at.or(Some(now.at + RECORD_RETRY));
        }
    }

    /// A newer record: to the disk with it, and then act on it. Who wins leads at once, since nothing leaves before
    /// its barrier is on the disk, which goes there with the record.
    fn adopt(&mut self, now: Now, record: GroupConfig) {
        self.take_the_lead(now, &record);
        self.unsaved.config = Some(record.clone());
        self.adopting = Some(record);
    }

    /// A record is on this disk: act on it.
    pub(super) fn act_on(&mut self, now: Now, config: GroupConfig, effects: &mut Vec<Effect>) {
        if self.adopting.as_ref() == Some(&config) {
            self.adopting = None;
        }
        let (epoch, primary) = (config.epoch, config.primary);
        self.standing = Standing::Known;
        self.take_the_lead(now, &config);
        self.config = Some(config);
        if epoch > self.epoch {
            self.enter(now, epoch);
        }
        if self.leading.is_some() {
            return;
        }
        self.candidacy.stand_down(now.at);
        self.joining.at_once(now.at);
        if primary.id == self.me() {
            // It names an earlier boot of ours: nobody leads.
            self.suspect_hard(now);
        } else {
            effects.push(Effect::Look(primary));
        }
    }

    /// Leads, if the record gives its epoch to this process and it never led that epoch before.
    fn take_the_lead(&mut self, now: Now, record: &GroupConfig) {
        if !self.is_led_from_here(record)
            || record.epoch < self.epoch
            || record.epoch <= self.led
            || self.leading.is_some()
        {
            return;
        }
        self.enter(now, record.epoch);
        // In epoch 1 the Genesis entry is the barrier; later epochs begin with one of their own.
        let barrier = match record.epoch {
            Epoch(1) => LogIndex(1),
            _ => self.append_own(now, EntryKind::Barrier),
        };
        self.start_leading(now, record.in_sync.iter(), barrier);
    }

    /// The name server knows no such group.
    fn no_record(&mut self, now: Now) {
        let has_history =
            self.newest_config().is_some() || self.snapshot.is_some() || self.log.last().index > LogIndex(1);
        if has_history {
            return self.estranged();
        }
        match &self.setup.first {
            Some(_) if self.standing == Standing::Creating => self.send_again_soon(now),
            Some(first) => {
                if self.log.last().index == LogIndex(0) {
                    let kind = EntryKind::Genesis { limits: first.limits, start: first.start.clone() };
                    let entry =
                        Arc::new(Entry::seal(self.log.last_crc(), LogIndex(1), Epoch(1), now.wall, kind));
                    self.log.push(entry.clone());
                    self.unsaved.append.push(entry);
                }
                self.standing = Standing::Creating;
            }
            None => {
                self.standing = Standing::NoGroup;
                self.ask_again_at = Some(now.at + NO_GROUP_RETRY);
            }
        }
    }

    /// Proposes the first record, once the Genesis entry is on the disk.
    pub(super) fn create(&mut self, effects: &mut Vec<Effect>) {
        if self.standing != Standing::Creating || self.pending_cas.is_some() || self.adopting.is_some() {
            return;
        }
        if self.log.durable() < LogIndex(1) {
            return;
        }
        let Some(first) = &self.setup.first else { return };
        let setup = &self.setup;
        let next = GroupConfig::first(setup.cluster, setup.group.clone(), setup.me, first.min_in_sync);
        self.propose(next, effects);
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
    fn gives_up(&self, record: &GroupConfig, seen: ConfigVersion) -> bool {
        let outside = !record.in_sync.contains(self.me());
        let lost_the_race = self.holds_only_own_genesis() && !self.planted(Fault::KeepGenesis);
        let forced = seen < record.forced && !self.planted(Fault::ForcedRejoins);
        let given_up = self.log.last().index > LogIndex(0) && forced;
        outside && (lost_the_race || given_up)
    }

    /// The name server's word contradicts this disk. Nothing is changed by us until an operator has decided; what is
    /// travelling already may still arrive, so it is not forgotten either.
    pub(super) fn estranged(&mut self) {
        self.standing = Standing::Estranged;
    }

    /// Hands the group over, if this replica leads it, and says when it may stop.
    pub(super) fn hand_over(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(since) = self.stopping.filter(|_| !self.stopped) else { return };
        let waited = now.at.since(since);
        if !self.hands_over(waited, effects) {
            self.stopped = true;
            effects.push(Effect::Stopped);
        }
    }

    /// Whether there is still something to wait for.
    fn hands_over(&mut self, waited: Duration, effects: &mut Vec<Effect>) -> bool {
        let (Some(primary), Some(config)) = (&self.leading, &self.config) else { return false };
        let unreachable = self.ask_again_at.is_some();
        if waited >= HAND_OVER_FOR
            || unreachable
            || config.in_sync.len() < 2
            || !self.is_led_from_here(config)
        {
            return false;
        }
        if !primary.open || self.pending_cas.is_some() || self.adopting.is_some() {
            return true;
        }
        let drains = self.committed < self.log.last().index && !self.planted(Fault::NoDrain);
        if drains && waited < DRAIN_FOR {
            return true;
        }
        let successors = primary.peers.iter().filter(|(id, _)| config.in_sync.contains(**id));
        let most_advanced =
            successors.filter_map(|(_, peer)| Some((peer.matched, peer.boot?))).max_by_key(|(at, _)| *at);
        let Some((_, successor)) = most_advanced else { return false };
        let next = self.handed_to(config, successor);
        self.propose(next, effects);
        true
    }

    fn handed_to(&self, config: &GroupConfig, successor: Member) -> GroupConfig {
        GroupConfig {
            version: config.version.next(),
            epoch: config.epoch.next(),
            primary: successor,
            in_sync: config.in_sync.without(self.me()),
            ..config.clone()
        }
    }
}
