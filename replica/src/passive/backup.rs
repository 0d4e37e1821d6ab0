//! Following a primary: the epoch rule, and how this log becomes like the primary's.

#![expect(clippy::result_large_err, reason = "what is said at once instead is no error that travels")]

use std::sync::Arc;

use common::replication::{Entry, EntryKind, Epoch, GroupConfig, LogIndex, LogPoint, ReplicaId};
use common::rpc::peer::{Hello, Message, Reply, ReplyBody, StateHash};

use super::{CLONE_RETURNS, Core, Effect, Fault, MET_MAX, Met, Standing, Waiter};
use crate::state::LogBase;

/// Up to where the log is now the primary's, to be acknowledged once that is on the disk; else what is said at once.
pub(super) type Followed = Result<LogIndex, ReplyBody>;

pub(super) fn refused(why: impl Into<String>) -> ReplyBody {
    ReplyBody::Refused { why: why.into() }
}

impl Core {
    /// Takes in what a peer says.
    pub(super) fn hear(&mut self, waiter: Waiter, message: Message) {
        let followed = match message {
            Message::Hello(hello) if hello.cluster == self.setup.cluster => {
                self.meet(&hello);
                Err(ReplyBody::Hello(self.hello(self.now.wall)))
            }
            Message::Hello(_) => Err(refused(format!("this is cluster {}", self.setup.cluster))),
            Message::Append { from, epoch, prev, entries, committed } => {
                let followed = self.epoch_rule(from, epoch).and_then(|()| self.append(prev, entries));
                followed.inspect(|_| self.advance(committed))
            }
            Message::Confirm { epoch, round, .. }
                if epoch < self.epoch && self.planted(Fault::ConfirmAnyEpoch) =>
            {
                let reply = Reply { epoch, body: ReplyBody::Confirmed { round, full: self.disk_full } };
                return self.effects.push(Effect::Reply { waiter, reply });
            }
            Message::Confirm { from, epoch, round, committed, state } => {
                let heard = self.epoch_rule(from, epoch).inspect(|()| self.advance(committed));
                let same = heard.and_then(|()| self.compare(state));
                Err(same.err().unwrap_or(ReplyBody::Confirmed { round, full: self.disk_full }))
            }
            Message::SnapshotChunk { from, epoch, last, offset, bytes, crc, whole } => {
                let heard = self.epoch_rule(from, epoch);
                heard.and_then(|()| self.take_chunk(last, offset, bytes, crc, whole))
            }
            Message::Join { me, last, config_version } => Err(self.welcome(me, last.index, config_version)),
            Message::TakeOver { config } => {
                self.hear_of(&config);
                Err(ReplyBody::Accepted)
            }
            Message::HeardPrimary { epoch } => {
                let heard = self.heard.filter(|_| epoch == self.epoch);
                Err(ReplyBody::Heard { ago: heard.map(|heard| self.now.at.since(heard)) })
            }
        };
        match followed {
            Ok(upto) => self.unacknowledged.push((waiter, upto)),
            Err(body) => self.reply(waiter, body),
        }
    }

    /// Somebody told of a record newer than ours: a reason to ask. It may be one that an operator has replaced, or that
    /// a name server has granted and lost; the name server's own word alone is followed.
    pub(super) fn hear_of(&mut self, config: &GroupConfig) {
        if config.version > self.newest_version() {
            self.ask_again_at = Some(self.now.at);
        }
    }

    /// A peer has presented itself.
    pub(super) fn meet(&mut self, hello: &Hello) {
        let id = hello.me.id;
        if hello.cluster != self.setup.cluster || hello.me == self.setup.me {
            return;
        }
        if id == self.me() {
            return self.alarm(format!("{id} is this disk's identity, and another process's: a cloned disk"));
        }
        let named = self.config.as_ref().map(|config| config.primary);
        if named.is_some_and(|primary| primary.id == id && primary != hello.me) {
            // The process that the record names is gone: this is another one on its disk.
            self.suspect_hard();
        }
        let before = self.met.get(&id).copied();
        let (former, returns) = match before {
            Some(before) if before.member == hello.me => (before.former, before.returns),
            Some(before) if before.former == Some(hello.me) => (Some(before.member), before.returns + 1),
            Some(before) => (Some(before.member), 0),
            None => (None, 0),
        };
        let met = Met { former, returns, ..Met::new(hello.me, hello.last.index) };
        self.met.insert(id, met);
        if self.met.len() > MET_MAX {
            // Somebody who is no member, and asks again when it is there.
            let members = self.config.as_ref().map(|config| &config.in_sync);
            let stranger =
                |other: &&ReplicaId| **other != id && members.is_none_or(|set| !set.contains(**other));
            let stranger = self.met.keys().find(stranger).copied();
            self.met.remove(&stranger.unwrap_or(id));
        }
        if returns >= CLONE_RETURNS {
            self.alarm(format!("{id} is the identity of two processes: a cloned disk"));
        }
        if let Some(primary) = &mut self.leading {
            primary.met(met);
        }
    }

    /// The rule for everything that a primary sends. Fine: it is heard, and followed.
    fn epoch_rule(&mut self, from: ReplicaId, epoch: Epoch) -> Result<(), ReplyBody> {
        let own_genesis = self.standing == Standing::Creating || self.holds_only_own_genesis();
        let mixes_logs = own_genesis && !self.planted(Fault::GenesisFollows);
        let silent = self.pending_cas.is_some() && self.planted(Fault::CandidateSilent);
        let aside = matches!(self.standing, Standing::Restored | Standing::Diverged);
        if aside || mixes_logs || silent {
            return Err(refused(self.trouble()));
        }
        let unfenced = self.planted(Fault::NoFence) && self.leading.is_none();
        if epoch < self.epoch && !unfenced {
            return Err(ReplyBody::Fenced);
        }
        if epoch == self.epoch && self.leading.is_some() {
            self.ask_again_at = Some(self.now.at);
            return Err(self.refuse_loudly(format!("{from} leads {epoch}, which is led from here")));
        }
        if epoch == self.epoch && self.following.is_some_and(|followed| followed != from) {
            return Err(self.refuse_loudly(format!("{from} leads {epoch}, which has another primary")));
        }
        self.enter(epoch);
        self.following = Some(from);
        self.heard = Some(self.now.at);
        Ok(())
    }

    /// Refuses what no correct member sends: two lead one epoch, or what is committed would change.
    fn refuse_loudly(&mut self, why: String) -> ReplyBody {
        self.alarm(why.clone());
        refused(why)
    }

    /// Enters `epoch`, if it is later: what was verified against an earlier one counts no more.
    pub(super) fn enter(&mut self, epoch: Epoch) {
        if epoch <= self.epoch {
            return;
        }
        self.step_down();
        self.suspicion.epoch_began(self.now.at);
        self.epoch = epoch;
        self.matched = LogIndex(0);
        self.following = None;
        self.heard = None;
        self.caught_up = None;
        self.pending_cas = None;
        self.joining.incoming = None;
    }

    /// Makes the log like the primary's from after `prev` on.
    fn append(&mut self, mut prev: LogPoint, mut entries: Vec<Arc<Entry>>) -> Followed {
        let base = self.log.base().point;
        if prev.index < base.index {
            // What lies below the base was applied, so it is committed, so it is the same.
            entries.retain(|entry| entry.index > base.index);
            prev = base;
        }
        let last = self.log.last().index;
        let Some(mut before) = self.log.base_at(prev.index).filter(|before| before.point == prev) else {
            let hint = if prev.index > last { last } else { self.log.epoch_begins_at(prev.index).prev() };
            return Err(ReplyBody::Nak { hint: hint.max(self.committed).min(prev.index.prev()) });
        };
        for entry in &entries {
            if entry.index != before.point.index.next()
                || entry.epoch > self.epoch
                || entry.epoch < before.point.epoch
                || entry.at < before.at
                || (entry.index == LogIndex(1)) != matches!(entry.kind, EntryKind::Genesis { .. })
                || !entry.follows(before.crc)
            {
                return Err(refused(format!("entry {} does not follow {}", entry.point(), before.point)));
            }
            before = LogBase::of(entry);
        }
        let upto = before.point.index;
        let differs = |entry: &&Arc<Entry>| self.log.epoch_at(entry.index) != Some(entry.epoch);
        let first = entries.iter().find(differs).map_or(upto.next(), |entry| entry.index);
        if first <= upto && first <= last {
            if first <= self.committed.max(self.matched) {
                let why = format!("entry {first} would be replaced, which is committed or was verified");
                return Err(self.refuse_loudly(why));
            }
            self.truncate(first);
        }
        for entry in entries.into_iter().filter(|entry| entry.index >= first) {
            self.push(entry);
        }
        self.matched = self.matched.max(upto);
        Ok(upto)
    }

    /// Compares the state with the primary's at a place where both have noted it. A replica that differs is no member
    /// any more: what it acknowledges and confirms is worth nothing.
    fn compare(&mut self, theirs: Option<StateHash>) -> Result<(), ReplyBody> {
        let Some(theirs) = theirs else { return Ok(()) };
        if self.hashes.iter().all(|ours| ours.at != theirs.at || ours.hash == theirs.hash) {
            return Ok(());
        }
        self.diverge();
        Err(refused(self.trouble()))
    }

    /// A primary says that the log is committed up to `committed`; we believe it as far as our log is its log.
    fn advance(&mut self, committed: LogIndex) {
        if committed <= self.matched {
            self.caught_up = Some(self.now.at);
        }
        let committed = committed.min(self.matched);
        if committed > self.committed {
            self.commit(committed);
        }
    }

    /// Acknowledges the appends whose entries have reached the disk.
    pub(super) fn acknowledge(&mut self) {
        let early = self.planted(Fault::AckBeforeFsync);
        let durable = if early { self.log.last().index } else { self.log.durable() };
        let verified = if self.planted(Fault::AckUnmatched) { durable } else { self.matched };
        for (waiter, upto) in std::mem::take(&mut self.unacknowledged) {
            match () {
                // An epoch began meanwhile: what was verified is verified no more.
                () if upto > self.matched => self.reply(waiter, ReplyBody::Fenced),
                () if upto > durable => self.unacknowledged.push((waiter, upto)),
                () => self.reply(waiter, ReplyBody::Ack { durable: verified.min(durable) }),
            }
        }
    }
}
