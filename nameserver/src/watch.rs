//! The registry's recent past, for watchers: a ring of events, and the rule that **a revision is never split over
//! two answers**, so that whoever resumes after an answer's stamp skips nothing and sees nothing twice.

use std::collections::VecDeque;

use common::names::{Change, PackedRecord, Removal, Revision, WatchId, What};

use crate::matcher::{Matcher, Numbered};

/// Events kept. At a thousand changes a second a watcher may be away for a minute.
pub const RING_EVENTS: usize = 65_536;
/// And at most so many bytes of them: records may be large, and those of the past are nobody else's.
const RING_BYTES: usize = 64 * 1024 * 1024;
/// An answer ends with the revision in which it reaches this many changes.
const ANSWER_CHANGES: usize = 1_000;
/// Or this many bytes; the last revision adds at most as much again, and both fit a frame.
const ANSWER_BYTES: usize = 256 * 1024;
/// An answer ends after looking at this many events, so that nobody else waits long for the thread.
const SCAN_EVENTS: usize = 2_000;

/// One record's change, as it happened. The ring keeps many, of which most are registrations.
#[derive(Clone, Debug)]
pub enum Event {
    /// It is new, since the revision that is its epoch.
    Registered(PackedRecord),
    /// It stood there before.
    Later(Box<Later>),
}

/// What became of a record that stood.
#[derive(Clone, Debug)]
pub struct Later {
    before: PackedRecord,
    /// What it is now; else why it is gone.
    after: Result<PackedRecord, Removal>,
    rev: Revision,
}

impl Event {
    /// A registration got other contents.
    pub fn updated(before: PackedRecord, after: PackedRecord, rev: Revision) -> Self {
        Self::Later(Box::new(Later { before, after: Ok(after), rev }))
    }

    /// A record is gone.
    pub fn removed(before: PackedRecord, why: Removal, rev: Revision) -> Self {
        Self::Later(Box::new(Later { before, after: Err(why), rev }))
    }

    /// What stood there.
    pub fn before(&self) -> Option<&PackedRecord> {
        match self {
            Self::Registered(_) => None,
            Self::Later(later) => Some(&later.before),
        }
    }

    /// What stands there now.
    pub fn after(&self) -> Option<&PackedRecord> {
        match self {
            Self::Registered(record) => Some(record),
            Self::Later(later) => later.after.as_ref().ok(),
        }
    }

    /// Under which name it happened.
    pub fn name(&self) -> &str {
        self.record().name()
    }

    /// The revision that did it.
    pub fn rev(&self) -> Revision {
        match self {
            Self::Registered(record) => record.epoch().0,
            Self::Later(later) => later.rev,
        }
    }

    /// What stands there now, or stood there last.
    fn record(&self) -> &PackedRecord {
        match self {
            Self::Registered(record) => record,
            Self::Later(later) => later.after.as_ref().unwrap_or(&later.before),
        }
    }

    /// A query concerns what it matches now, and what it matched before: its asker must learn that it is gone.
    fn concerns(&self, matcher: &Matcher) -> bool {
        self.before().into_iter().chain(self.after()).any(|record| matcher.matches(record))
    }

    fn what(&self) -> What {
        match self {
            Self::Registered(record) => What::Registered(record.clone().into()),
            Self::Later(later) => match &later.after {
                Ok(after) => What::Updated(after.clone().into()),
                Err(why) => What::Removed { epoch: later.before.epoch(), why: *why },
            },
        }
    }

    /// What it weighs in an answer.
    fn bytes(&self) -> usize {
        self.name().len() + 64 + self.after().map_or(0, PackedRecord::len)
    }

    /// What it keeps in memory, if nobody else keeps it too.
    fn weight(&self) -> usize {
        let own = match self {
            Self::Registered(_) => size_of::<Self>(),
            Self::Later(_) => size_of::<Self>() + size_of::<Later>(),
        };
        own + self.before().into_iter().chain(self.after()).map(|record| record.len() + 32).sum::<usize>()
    }
}

/// What a watcher gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What happened, in order.
    pub changes: Vec<Change>,
    /// Everything up to here was looked at.
    pub upto: Revision,
    /// Whether that is all there is.
    pub complete: bool,
}

/// The changes since then are forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The oldest revision one can still watch from.
    pub oldest: Revision,
}

/// The last events: as many as it is told, and at most `RING_BYTES` of them.
#[derive(Debug)]
pub struct Ring {
    events: VecDeque<Event>,
    /// What they weigh.
    bytes: usize,
    /// Everything after this revision is here.
    oldest: Revision,
    newest: Revision,
    limit: usize,
}

impl Ring {
    /// Empty, at revision `rev`; keeps `limit` events.
    pub fn new(rev: Revision, limit: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, oldest: rev, newest: rev, limit }
    }

    /// Takes in all events of revision `rev`.
    pub fn push(&mut self, rev: Revision, events: impl IntoIterator<Item = Event>) {
        assert!(rev > self.newest, "revisions rise: {rev} after {}", self.newest);
        self.newest = rev;
        for event in events {
            // Before it is added, or a ring would need room for twice its limit.
            self.make_room(self.limit - 1);
            self.bytes += event.weight();
            self.events.push_back(event);
        }
        self.make_room(self.limit);
    }

    /// Forgets the oldest events until there are at most so many.
    fn make_room(&mut self, events: usize) {
        while self.events.len() > events || self.bytes > RING_BYTES {
            let Some(first) = self.events.front() else { break };
            // The whole of its revision goes: half a revision is no place to start from.
            let forgotten = first.rev();
            while let Some(event) = self.events.pop_front_if(|event| event.rev() == forgotten) {
                self.bytes -= event.weight();
            }
            self.oldest = forgotten;
        }
    }

    /// What happened after revision `since` to what `queries` ask for; with nothing of it, how far it was looked.
    ///
    /// # Errors
    /// [`Compacted`] when that is no longer known.
    pub fn since(&self, since: Revision, queries: &[Numbered]) -> Result<Answer, Compacted> {
        if since < self.oldest {
            return Err(Compacted { oldest: self.oldest });
        }
        let start = self.events.partition_point(|event| event.rev() <= since);
        let mut answer = Answer { changes: Vec::new(), upto: since, complete: false };
        let mut bytes = 0;
        for (looked, event) in self.events.range(start..).enumerate() {
            let full =
                answer.changes.len() >= ANSWER_CHANGES || bytes >= ANSWER_BYTES || looked >= SCAN_EVENTS;
            if full && event.rev() > answer.upto {
                return Ok(answer);
            }
            let ids: Vec<WatchId> =
                queries.iter().filter(|(_, matcher)| event.concerns(matcher)).map(|(id, _)| *id).collect();
            answer.upto = event.rev();
            if !ids.is_empty() {
                bytes += event.bytes();
                answer.changes.push(Change {
                    ids,
                    name: event.record().view().to_name(),
                    instance: event.record().instance(),
                    what: event.what(),
                    rev: event.rev(),
                });
            }
        }
        answer.upto = self.newest;
        answer.complete = true;
        Ok(answer)
    }

    /// The names that changed after revision `since`, each as often as it did.
    ///
    /// # Errors
    /// [`Compacted`] when that is no longer known.
    pub fn names_since(&self, since: Revision) -> Result<impl Iterator<Item = &str>, Compacted> {
        if since < self.oldest {
            return Err(Compacted { oldest: self.oldest });
        }
        let start = self.events.partition_point(|event| event.rev() <= since);
        Ok(self.events.range(start..).map(Event::name))
    }
}

#[cfg(test)]
mod tests;
