//! What may happen next.

use std::fmt;

use common::replication::{ConfigVersion, GroupConfig};
use common::rpc::replica::Role;
use replica::passive::Fault;

use super::group::{Group, Stage};
use crate::passive::act::Act;

/// One thing that happens. Replicas, records, proposals and exchanges are named by their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// A client sends an update to this primary.
    Submit(usize),
    /// A client sends the first update again.
    Repeat(usize),
    /// A client reads at this primary.
    Read(usize),
    /// A batch reaches the disk.
    Write(usize),
    /// A process dies; what was on its way to the disk is lost.
    Crash(usize),
    /// A process proposes itself and dies; the proposal is under way.
    CrashProposed(usize),
    /// A process starts.
    Start(usize),
    /// The primary learns of another process on a peer's disk.
    Meet(usize, usize),
    /// A replica is told that this record stands, or stood.
    Tell(usize, usize),
    /// A member proposes itself, and that is granted.
    Elect(usize),
    /// A primary finds a peer refusing, and proposes to drop it; if the peer lives, they meet again.
    Drop(usize, usize),
    /// A proposal arrives.
    Change(usize),
    /// A learner asks its primary to be fed.
    Join(usize, usize),
    /// A primary sends a peer what it lacks.
    Feed(usize, usize),
    /// A primary's word is confirmed by a peer.
    Confirm(usize, usize),
    /// An append arrives.
    Deliver(usize),
    /// A reply to one arrives.
    Answer(usize),
    /// An append or its reply is lost.
    Lose(usize),
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submit(n) => write!(f, "a client sends r{n} an update"),
            Self::Repeat(n) => write!(f, "a client sends r{n} the first update again"),
            Self::Read(n) => write!(f, "a client reads at r{n}"),
            Self::Write(n) => write!(f, "r{n} has written"),
            Self::Crash(n) => write!(f, "r{n} dies"),
            Self::CrashProposed(n) => write!(f, "r{n} proposes itself and dies"),
            Self::Start(n) => write!(f, "r{n} starts"),
            Self::Meet(n, peer) => write!(f, "r{n} meets the new process of r{peer}"),
            Self::Tell(n, record) => write!(f, "r{n} is told record {record}"),
            Self::Elect(n) => write!(f, "r{n} elects itself"),
            Self::Drop(n, peer) => write!(f, "r{n} finds r{peer} refusing"),
            Self::Change(place) => write!(f, "proposal {place} arrives"),
            Self::Join(n, primary) => write!(f, "r{n} asks r{primary} to be fed"),
            Self::Feed(n, peer) => write!(f, "r{n} sends r{peer} what it lacks"),
            Self::Confirm(n, peer) => write!(f, "r{peer} confirms r{n}"),
            Self::Deliver(place) => write!(f, "append {place} arrives"),
            Self::Answer(place) => write!(f, "the reply to append {place} arrives"),
            Self::Lose(place) => write!(f, "append {place} or its reply is lost"),
        }
    }
}

impl Group {
    /// All that may happen now.
    pub(super) fn moves(&self, moves: &mut Vec<Move>) {
        if self.broken().is_some() {
            return;
        }
        for n in 0..self.world.nodes.len() {
            self.moves_of(n, moves);
        }
        moves.extend((0..self.proposals.len()).map(Move::Change));
        for (place, exchange) in self.exchanges.iter().enumerate() {
            match exchange.stage {
                Stage::Travelling => {
                    if self.core(exchange.to).is_some() {
                        moves.push(Move::Deliver(place));
                    }
                    moves.push(Move::Lose(place));
                }
                Stage::Waiting => {}
                Stage::Replied(_) => moves.extend([Move::Answer(place), Move::Lose(place)]),
            }
        }
    }

    fn moves_of(&self, n: usize, moves: &mut Vec<Move>) {
        let node = &self.world.nodes[n];
        let Some(core) = &node.core else { return moves.push(Move::Start(n)) };
        if node.writing.is_some() {
            moves.push(Move::Write(n));
        }
        if self.left.crashes > 0 {
            moves.push(Move::Crash(n));
        }
        let (role, config) = (core.role(), core.newest_config());
        let version = config.map_or(ConfigVersion(0), |config| config.version);
        for (place, record) in self.records.iter().enumerate() {
            let stands_by = role != Role::Primary && self.only_stands_by(n, record);
            if record.version > version && !stands_by {
                moves.push(Move::Tell(n, place));
            }
        }
        // Whoever knows an older record is refused.
        let proposes = version == self.record().version && version < self.last_version;
        if role == Role::Primary {
            return self.moves_of_primary(n, proposes, moves);
        }
        let in_sync = config.is_some_and(|config| config.in_sync.contains(node.id));
        if proposes && (in_sync || self.world.planted.is(Fault::UncleanElect)) {
            moves.push(Move::Elect(n));
            if self.left.crashes > 0 {
                moves.push(Move::CrashProposed(n));
            }
        }
        if !in_sync {
            let primary = config.and_then(|config| self.process(config.primary));
            let primary = primary.filter(|&primary| self.leads(primary) && !self.feeds(primary, n));
            moves.extend(primary.map(|primary| Move::Join(n, primary)));
        }
    }

    /// Whether being told of `record` would only have this backup refuse more, and nothing is proposed after it: that
    /// it refuses something is no different from that being lost. It is told when it hears from its primary.
    fn only_stands_by(&self, n: usize, record: &GroupConfig) -> bool {
        let id = self.world.nodes[n].id;
        record.version == self.last_version && record.primary.id != id && record.in_sync.contains(id)
    }

    fn moves_of_primary(&self, n: usize, proposes: bool, moves: &mut Vec<Move>) {
        if self.left.updates > 0 {
            moves.push(Move::Submit(n));
        }
        if self.left.copies > 0 && self.submitted > 0 {
            moves.push(Move::Repeat(n));
        }
        if self.left.reads > 0 {
            moves.push(Move::Read(n));
        }
        let room = self.exchanges.len() < usize::from(self.in_flight);
        let Some(core) = self.core(n) else { return };
        let progress = core.progress();
        for peer in (0..self.world.nodes.len()).filter(|peer| *peer != n) {
            if proposes && !self.has_proposed(n) && self.counts_on(n, peer) {
                moves.push(Move::Drop(n, peer));
            }
            let Some(other) = self.core(peer) else { continue };
            if self.knows[n][peer] != self.world.nodes[peer].boot {
                moves.push(Move::Meet(n, peer));
            }
            let id = self.world.nodes[peer].id;
            if core.would_ask(id) || other.would_learn(progress.epoch, progress.committed) {
                moves.push(Move::Confirm(n, peer));
            }
            if room && core.would_send(id) {
                moves.push(Move::Feed(n, peer));
            }
        }
    }
}

impl Move {
    /// The same thing in the words of a walk, if it has one for it.
    pub(super) fn as_act(self) -> Option<Act> {
        let place = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
        match self {
            Self::Write(n) => Some(Act::Write(place(n))),
            Self::Crash(n) | Self::CrashProposed(n) => Some(Act::Crash(place(n), false)),
            Self::Start(n) => Some(Act::Start(place(n))),
            Self::Read(n) => Some(Act::Read(place(n))),
            _ => None,
        }
    }
}
