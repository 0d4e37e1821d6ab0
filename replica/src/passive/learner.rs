//! Joining a group, and taking in a snapshot of it.

#![expect(clippy::result_large_err, reason = "what is said at once instead is no error that travels")]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::clock::Moment;
use common::replication::{LogIndex, LogPoint};
use common::rpc::peer::{Message, ReplyBody};

use super::backup::{Followed, refused};
use super::state::State;
use super::{ASK_WITHIN, Core, Fault, SUSPECT_AFTER, Standing, Taken, WriteBatch};

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
    bytes: BytesMut,
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
        let to = config.primary.id;
        // Whoever the record that we know names may not lead any more.
        self.ask_soon();
        self.send(to, Message::Join { me, last: self.log.last() }, ASK_WITHIN);
    }

    /// Takes in a piece of a snapshot; installs it with the last one.
    pub(super) fn take_chunk(
        &mut self,
        last: LogPoint,
        offset: u64,
        bytes: &Bytes,
        crc: u32,
        is_last: bool,
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
        let incoming = self.joining.incoming.take().filter(|incoming| incoming.last == last);
        let mut incoming = incoming.unwrap_or(Incoming { last, bytes: BytesMut::new() });
        let have = incoming.bytes.len();
        let fits =
            offset == have as u64 && crc32c::crc32c(bytes) == crc && have + bytes.len() <= SNAPSHOT_BYTES_MAX;
        if fits {
            incoming.bytes.extend_from_slice(bytes);
        }
        if fits && is_last {
            return self.install(last, incoming.bytes.freeze()).map_err(refused);
        }
        let offset = incoming.bytes.len() as u64;
        self.joining.incoming = Some(incoming);
        Err(ReplyBody::Next { offset })
    }

    /// Replaces the state by the snapshot's, in one transaction with what that means for the log.
    fn install(&mut self, last: LogPoint, bytes: Bytes) -> Result<LogIndex, String> {
        let state = State::restore(&self.setup.service, &bytes, self.setup.planted)?;
        if state.applied() != last {
            return Err(format!("the snapshot ends at {}, not at {last}", state.applied()));
        }
        if self.log.epoch_at(last.index) == Some(last.epoch) {
            // The log holds the same entry, so the same prefix; what follows it stays.
            self.log.applied(last.index);
        } else if last.index <= self.matched {
            return Err(format!("{last} contradicts what this epoch's primary sent before"));
        } else {
            let keeps_tail = self.planted(Fault::SnapKeepsTail);
            if !keeps_tail {
                self.log.truncate(self.log.base().point.index.next());
            }
            self.log.stand_on(state.base());
            self.unsaved = WriteBatch {
                truncate_from: Some(LogIndex(1)).filter(|_| !keeps_tail),
                base: Some(state.base()),
                config: self.unsaved.config.take(),
                ..WriteBatch::default()
            };
        }
        self.state = state;
        self.committed = last.index;
        self.matched = self.matched.max(last.index);
        self.trim_to = self.log.base().point.index;
        self.unsaved.snapshot = Some(bytes.clone());
        self.snapshot = Some(Taken { last, bytes });
        Ok(last.index)
    }
}
