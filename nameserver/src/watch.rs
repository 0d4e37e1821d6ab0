//! The registry's recent past, for watchers: a ring of events, and the rule that **a revision is never split over
//! two answers**, so that whoever resumes after an answer's stamp skips nothing and sees nothing twice.

use std::collections::VecDeque;
use std::sync::Arc;

use common::names::{AnyName, Change, Record, Removal, Revision, WatchId, What};

use crate::matcher::{Matcher, Numbered};
use crate::registry::record_bytes;

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

/// One record's change, as it happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// What stood there.
    pub before: Option<Arc<Record>>,
    /// What stands there now; else why not.
    pub after: Result<Arc<Record>, Removal>,
    /// The revision that did it.
    pub rev: Revision,
}

impl Event {
    /// Under which name it happened.
    pub fn name(&self) -> &AnyName {
        &self.record().name
    }

    /// What stands there now, or stood there last.
    fn record(&self) -> &Record {
        let last = self.after.as_ref().ok().or(self.before.as_ref());
        last.expect("what did not stand cannot be removed")
    }

    /// A query concerns what it matches now, and what it matched before: its asker must learn that it is gone.
    fn concerns(&self, matcher: &Matcher) -> bool {
        self.before.as_ref().is_some_and(|record| matcher.matches(record))
            || self.after.as_ref().is_ok_and(|record| matcher.matches(record))
    }

    fn what(&self) -> What {
        match (&self.before, &self.after) {
            (Some(before), Ok(after)) if before.epoch == after.epoch => What::Updated(Arc::clone(after)),
            (_, Ok(after)) => What::Registered(Arc::clone(after)),
            (Some(before), Err(why)) => What::Removed { epoch: before.epoch, why: *why },
            (None, Err(_)) => unreachable!("what did not stand cannot be removed"),
        }
    }

    /// What it weighs in an answer.
    fn bytes(&self) -> usize {
        let record = self.after.as_ref().map_or(0, |record| record_bytes(record));
        self.name().as_str().len() + 64 + record
    }

    /// What it keeps in memory, if nobody else keeps it too.
    fn weight(&self) -> usize {
        let records = self.before.iter().chain(&self.after);
        size_of::<Self>() + records.map(|record| record_bytes(record) + size_of::<Record>()).sum::<usize>()
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
            self.bytes += event.weight();
            self.events.push_back(event);
        }
        while self.events.len() > self.limit || self.bytes > RING_BYTES {
            let Some(first) = self.events.front() else { break };
            // The whole of its revision goes: half a revision is no place to start from.
            let forgotten = first.rev;
            while let Some(event) = self.events.pop_front_if(|event| event.rev == forgotten) {
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
        let start = self.events.partition_point(|event| event.rev <= since);
        let mut answer = Answer { changes: Vec::new(), upto: since, complete: false };
        let mut bytes = 0;
        for (looked, event) in self.events.range(start..).enumerate() {
            let full =
                answer.changes.len() >= ANSWER_CHANGES || bytes >= ANSWER_BYTES || looked >= SCAN_EVENTS;
            if full && event.rev > answer.upto {
                return Ok(answer);
            }
            let ids: Vec<WatchId> =
                queries.iter().filter(|(_, matcher)| event.concerns(matcher)).map(|(id, _)| *id).collect();
            answer.upto = event.rev;
            if !ids.is_empty() {
                bytes += event.bytes();
                answer.changes.push(Change {
                    ids,
                    name: event.name().clone(),
                    instance: event.record().instance,
                    what: event.what(),
                    rev: event.rev,
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
    pub fn names_since(&self, since: Revision) -> Result<impl Iterator<Item = &AnyName>, Compacted> {
        if since < self.oldest {
            return Err(Compacted { oldest: self.oldest });
        }
        let start = self.events.partition_point(|event| event.rev <= since);
        Ok(self.events.range(start..).map(Event::name))
    }
}

#[cfg(test)]
mod tests;
