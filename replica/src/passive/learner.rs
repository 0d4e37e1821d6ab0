//! Joining a group, and taking in a snapshot of it.

#![expect(clippy::result_large_err, reason = "what is said at once instead is no error that travels")]

use std::time::Duration;

use bytes::Bytes;
use common::clock::Moment;
use common::replication::LogPoint;
use common::rpc::peer::{Message, ReplyBody};

use super::backup::{Followed, refused};
use super::{ASK_WITHIN, Core, SUSPECT_AFTER, Standing};

/// Between two requests to be fed.
const JOIN_EVERY: Duration = Duration::from_millis(200);
/// The largest snapshot that is taken in: 10 M orders, at about 100 bytes, and as much again.
const SNAPSHOT_BYTES_MAX: usize = 2 << 30;

/// What a learner waits for.
#[derive(Clone, Debug, Default)]
pub(super) struct Joining {
    /// When to ask to be fed.
    pub(super) ask_at: Option<Moment>,
    pub(super) incoming: Option<Incoming>,
}

/// A snapshot of which pieces have come.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    last: LogPoint,
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Core {
    /// Asks the primary to be fed, while this replica is outside the in-sync set and hears nothing from it.
    pub(super) fn join(&mut self) {
        let (now, me) = (self.now.at, self.setup.me);
        let Some(config) = &self.config else { return };
        let outside = !config.in_sync.contains(me.id) && self.standing == Standing::Known;
        if !outside || self.leading.is_some() || self.stopping.is_some() {
            self.joining.ask_at = None;
            return;
        }
        if self.joining.ask_at.is_some_and(|at| at > now) {
            return;
        }
        self.joining.ask_at = Some(now + JOIN_EVERY);
        if self.heard.is_some_and(|heard| now.since(heard) < SUSPECT_AFTER) {
            return;
        }
        let (to, config_version) = (config.primary.id, config.version);
        // Whoever the record that we know names may not lead any more.
        self.ask_soon();
        self.send(to, Message::Join { me, last: self.log.last(), config_version }, ASK_WITHIN);
    }

    /// Takes in a piece of a snapshot; has it restored after the last one. Who asks again then hears that all of it
    /// is here, until it is installed.
    pub(super) fn take_chunk(
        &mut self,
        last: LogPoint,
        offset: u64,
        bytes: Bytes,
        crc: u32,
        whole: Option<u32>,
    ) -> Followed {
        if last.epoch > self.epoch {
            return Err(refused(format!("{last} is of a later epoch than {}", self.epoch)));
        }
        if last.index <= self.committed {
            // We have all that it holds, and it is the same.
            self.joining.incoming = None;
            self.matched = self.matched.max(last.index);
            return Ok(last.index);
        }
        if let Some(offset) = self.snapshots.restoring(last) {
            return Err(ReplyBody::Next { offset });
        }
        let incoming = self.joining.incoming.take().filter(|incoming| incoming.last == last);
        let mut incoming = incoming.unwrap_or(Incoming { last, pieces: Vec::new(), bytes: 0 });
        let fits = offset == incoming.bytes as u64
            && crc32c::crc32c(&bytes) == crc
            && incoming.bytes + bytes.len() <= SNAPSHOT_BYTES_MAX
            // The last piece comes again once nothing else is under way.
            && (whole.is_none() || !self.snapshots.is_busy());
        if fits {
            incoming.bytes += bytes.len();
            incoming.pieces.push(bytes);
        }
        let offset = incoming.bytes as u64;
        match whole.filter(|_| fits) {
            Some(whole) => self.restore(last, incoming.pieces, whole),
            None => self.joining.incoming = Some(incoming),
        }
        Err(ReplyBody::Next { offset })
    }
}
