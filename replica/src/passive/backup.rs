//! Following a primary: the epoch rule, and how this log becomes like the primary's.

use std::sync::Arc;

use common::replication::{
    ConfigVersion, Entry, EntryKind, Epoch, GroupConfig, LogIndex, LogPoint, ReplicaId,
};
use common::rpc::peer::{Hello, Message, Reply, ReplyBody};

use super::{Core, Effect, Fault, MET_MAX, Met, Now, Standing, Waiter};

impl Core {
    /// Takes in what a peer says.
    pub(super) fn hear(&mut self, now: Now, waiter: Waiter, message: Message, effects: &mut Vec<Effect>) {
        match message {
            Message::Hello(hello) => {
                let body = if hello.cluster == self.setup.cluster {
                    self.meet(now, &hello);
                    ReplyBody::Hello(self.hello(now.wall))
                } else {
                    ReplyBody::Refused { why: format!("this is cluster {}", self.setup.cluster) }
                };
                self.reply(waiter, body, effects);
            }
            Message::Append { from, epoch, prev, entries, committed } => {
                if let Some(refusal) = self.epoch_rule(now, from, epoch) {
                    return self.reply(waiter, refusal, effects);
                }
                match self.append(prev, entries) {
                    Followed::Upto(index) => {
                        self.advance(committed, effects);
                        self.unacknowledged.push((waiter, index));
                    }
                    Followed::Not(body) => self.reply(waiter, body, effects),
                }
            }
            Message::Confirm { epoch, round, .. }
                if epoch < self.epoch && self.planted(Fault::ConfirmAnyEpoch) =>
            {
                let reply = Reply { epoch, body: ReplyBody::Confirmed { round } };
                effects.push(Effect::Reply { waiter, reply });
            }
            Message::Confirm { from, epoch, round, committed } => {
                let refusal = self.epoch_rule(now, from, epoch);
                if refusal.is_none() {
                    self.advance(committed, effects);
                }
                self.reply(waiter, refusal.unwrap_or(ReplyBody::Confirmed { round }), effects);
            }
            Message::SnapshotChunk { from, epoch, last, offset, bytes, crc, is_last } => {
                if let Some(refusal) = self.epoch_rule(now, from, epoch) {
                    return self.reply(waiter, refusal, effects);
                }
                self.take_chunk(waiter, last, offset, &bytes, crc, is_last, effects);
            }
            Message::Join { me, last } => {
                let welcome = self.welcome(me, last);
                self.reply(waiter, welcome, effects);
            }
            Message::TakeOver { config } => {
                self.reply(waiter, ReplyBody::Accepted, effects);
                self.hear_of(now, config, effects);
            }
            Message::HeardPrimary { epoch } => {
                let ago = self.heard.filter(|_| epoch == self.epoch).map(|heard| now.at.since(heard));
                self.reply(waiter, ReplyBody::Heard { ago }, effects);
            }
        }
    }

    /// Somebody told of a configuration newer than ours.
    pub(super) fn hear_of(&mut self, now: Now, config: GroupConfig, effects: &mut Vec<Effect>) {
        let known = self.newest_config().map_or(ConfigVersion(0), |config| config.version);
        if config.version > known && config.group == self.setup.group && config.cluster == self.setup.cluster
        {
            self.record_read(now, Some(config), effects);
        }
    }

    /// A peer has presented itself.
    pub(super) fn meet(&mut self, now: Now, hello: &Hello) {
        if hello.cluster != self.setup.cluster || hello.me.id == self.me() {
            return;
        }
        let leads = self
            .config
            .as_ref()
            .is_some_and(|config| config.primary.id == hello.me.id && config.primary != hello.me);
        if leads {
            // The process that the record names is gone: this is another one on its disk.
            self.suspect_hard(now);
        }
        let met = Met { member: hello.me, last: hello.last.index, config_version: hello.config_version };
        if self.met.len() < MET_MAX || self.met.contains_key(&hello.me.id) {
            self.met.insert(hello.me.id, met);
        }
        if let Some(primary) = &mut self.leading {
            primary.met(met);
        }
    }

    /// The rule for everything that a primary sends. `None`: it is heard, and followed.
    fn epoch_rule(&mut self, now: Now, from: ReplicaId, epoch: Epoch) -> Option<ReplyBody> {
        let own_genesis = self.standing == Standing::Creating || self.holds_only_own_genesis();
        let mixes_logs = own_genesis && !self.planted(Fault::GenesisFollows);
        let silent = self.pending_cas.is_some() && self.planted(Fault::CandidateSilent);
        if self.standing == Standing::Estranged || mixes_logs || silent {
            return Some(ReplyBody::Refused { why: self.trouble().into() });
        }
        let unfenced = self.planted(Fault::NoFence) && self.leading.is_none();
        if epoch < self.epoch && !unfenced {
            return Some(ReplyBody::Fenced);
        }
        if epoch == self.epoch {
            if self.leading.is_some() {
                self.ask_again_at = Some(now.at);
                return Some(ReplyBody::Refused { why: format!("{epoch} is led from here") });
            }
            if self.following.is_some_and(|followed| followed != from) {
                return Some(ReplyBody::Refused { why: format!("{epoch} has another primary") });
            }
        }
        self.enter(now, epoch);
        self.following = Some(from);
        self.heard = Some(now.at);
        None
    }

    /// Enters `epoch`, if it is later: what was verified against an earlier one counts no more.
    pub(super) fn enter(&mut self, now: Now, epoch: Epoch) {
        if epoch <= self.epoch {
            return;
        }
        self.step_down(now);
        self.candidacy.epoch_began(now.at);
        self.epoch = epoch;
        self.matched = LogIndex(0);
        self.following = None;
        self.heard = None;
        self.pending_cas = None;
        self.joining.forget();
    }

    /// Makes the log like the primary's from after `prev` on.
    fn append(&mut self, mut prev: LogPoint, mut entries: Vec<Arc<Entry>>) -> Followed {
        let refused = |why: String| Followed::Not(ReplyBody::Refused { why });
        let base = self.log.base();
        if prev.index < base.point.index {
            // What lies below the base was applied, so it is committed, so it is the same.
            entries.retain(|entry| entry.index > base.point.index);
            prev = base.point;
        }
        match self.log.epoch_at(prev.index) {
            Some(epoch) if epoch == prev.epoch => {}
            _ => {
                let last = self.log.last().index;
                let hint = if prev.index > last { last } else { self.log.epoch_begins_at(prev.index).prev() };
                return Followed::Not(ReplyBody::Nak {
                    hint: hint.max(self.committed).min(prev.index.prev()),
                });
            }
        }
        let mut before = (prev, self.log.base_at(prev.index).expect("the log holds prev").crc);
        for entry in &entries {
            if entry.index != before.0.index.next()
                || entry.epoch > self.epoch
                || (entry.index == LogIndex(1)) != matches!(entry.kind, EntryKind::Genesis { .. })
                || entry.epoch < before.0.epoch
                || !entry.follows(before.1)
            {
                return refused(format!("entry {} does not follow {}", entry.point(), before.0));
            }
            before = (entry.point(), entry.crc);
        }
        let upto = before.0.index;
        if let Some(first) = entries.iter().find(|entry| self.log.epoch_at(entry.index) != Some(entry.epoch))
        {
            let first = first.index;
            if first <= self.log.last().index {
                if first <= self.committed.max(self.matched) {
                    return refused(format!(
                        "entry {first} would replace one that is committed or was verified"
                    ));
                }
                self.truncate(first);
            }
            for entry in entries.into_iter().filter(|entry| entry.index >= first) {
                self.log.push(entry.clone());
                self.unsaved.append.push(entry);
            }
        }
        self.matched = self.matched.max(upto);
        Followed::Upto(upto)
    }

    /// Removes the entries from `from` on, in memory now and on the disk with the next batch.
    pub(super) fn truncate(&mut self, from: LogIndex) {
        assert!(from > self.committed, "truncation at {from}, {} is committed", self.committed);
        self.log.truncate(from);
        let unsaved = &mut self.unsaved;
        unsaved.append.retain(|entry| entry.index < from);
        unsaved.truncate_from = Some(unsaved.truncate_from.map_or(from, |earlier| earlier.min(from)));
    }

    /// A primary says that the log is committed up to `committed`; we believe it as far as our log is its log.
    fn advance(&mut self, committed: LogIndex, effects: &mut Vec<Effect>) {
        let committed = committed.min(self.matched);
        if committed > self.committed {
            self.commit(committed, effects);
        }
    }

    /// Acknowledges the appends whose entries have reached the disk.
    pub(super) fn acknowledge(&mut self, effects: &mut Vec<Effect>) {
        let early = self.planted(Fault::AckBeforeFsync);
        let durable = if early { self.log.last().index } else { self.log.durable() };
        let (matched, epoch) = (self.matched, self.epoch);
        let verified = if self.planted(Fault::AckUnmatched) { durable } else { matched };
        self.unacknowledged.retain(|&(waiter, upto)| {
            let body = ReplyBody::Ack { durable: verified.min(durable) };
            if upto > durable && upto <= matched {
                return true;
            }
            // An epoch began meanwhile: what was verified is verified no more.
            let body = if upto > matched { ReplyBody::Fenced } else { body };
            effects.push(Effect::Reply { waiter, reply: Reply { epoch, body } });
            false
        });
    }
}

/// What came of an append.
enum Followed {
    /// This log is the primary's up to here.
    Upto(LogIndex),
    /// It is not; this is the answer.
    Not(ReplyBody),
}
