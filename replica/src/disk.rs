//! A replica's disk: one file per group, one commit thread per file.
//!
//! **Rules** (durability, §1). A batch is one transaction, fsynced before it is reported. One commit is in flight;
//! what arrives meanwhile is the next batch: group commit without a timer. fsync never runs on a runtime's thread.
//! A failed write is final: Linux marks the pages clean, and the next fsync lies; so the process says so and ends
//! at once, with exit code 74 and without destructors (redb's would commit), and nobody is answered.
//!
//! Reading order: [`batch`] and [`gossip`] (what an engine writes, and finds), [`directory`] (the lock, files that are whole or not there), [`file`](mod@file) (tables,
//! checksums, damage), `mark` (how far it was durable), `snapshot` (how a large one gets in), and here the
//! thread.

pub mod batch;
pub mod directory;
pub mod file;
pub mod gossip;
mod mark;
mod snapshot;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Clock, Moment};
use common::machine::{Thread, end, work_takes_time};
use common::replication::GroupName;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::time::timeout;

use self::batch::{Ticket, WriteBatch};
use self::file::{Batch, GroupFile};
use self::snapshot::Step;
use crate::known::Notes;
use crate::meters;

/// Exit code of a process whose disk failed (`EX_IOERR`).
pub const EXIT_DISK_FAILED: i32 = 74;

/// Where batches go to become durable.
pub trait Disk<B = WriteBatch> {
    /// Writes `batch` in one transaction, fsyncs, then reports `ticket`. At most one batch is outstanding.
    fn submit(&self, batch: B, ticket: Ticket);
    /// Puts a snapshot into the file beside the one that counts, in pieces between batches, and reads it back; then
    /// reports [`Report::Staged`]. A batch with these very bytes makes it the one that counts.
    fn stage(&self, snapshot: Bytes);
    /// Remembers this of the other members: hints, reported to nobody.
    fn note(&self, notes: Notes);
}

/// What a disk has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// This batch is on the disk.
    Durable(Ticket),
    /// There is too little room for more, or enough again.
    Full(bool),
    /// The snapshot is in the file; `false`: there is no room for it, and it was given up.
    Staged(bool),
}

/// Reports waiting for the driver: one batch and one snapshot are outstanding, and fullness changes rarely.
pub const REPORTS_MAX: usize = 8;
/// Jobs waiting for the thread: one batch, one snapshot, and a few hints.
const JOBS_MAX: usize = 8;
/// Of these, places that hints leave for a batch and a snapshot.
const JOBS_KEPT: usize = 2;
/// Below this much room no new entries are taken: many batches, and what redb needs to commit them.
const ROOM_MIN: u64 = 64 * 1024 * 1024;
/// From this much room on they are taken again; the gap keeps a disk at the edge from flapping.
const ROOM_ENOUGH: u64 = 2 * ROOM_MIN;
/// How many times as long as a piece of a snapshot took the disk is left to batches after it.
const PIECES_REST: u32 = 3;
/// How often a full disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

enum Job<B> {
    Write(Box<B>, Ticket),
    Stage(Bytes),
    Note(Notes),
}

/// A group's file, and the thread that commits to it.
#[derive(Debug)]
pub struct CommitThread<B = WriteBatch> {
    jobs: mpsc::Sender<Job<B>>,
    thread: Thread,
}

impl<B: Batch> CommitThread<B> {
    /// Starts committing to `file`; reports go to `reports`.
    ///
    /// # Errors
    /// When the operating system has no thread for us.
    pub fn start(group: &GroupName, file: GroupFile, reports: mpsc::Sender<Report>) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(JOBS_MAX);
        let committer = Committer {
            file,
            reports,
            full: false,
            clock: Clock::start(),
            pieces: Pieces::default(),
            written: Written::default(),
            meters: meters::Disk::of(group),
        };
        let thread = Thread::start(format!("disk {group}"), move || committer.run(inbox))?;
        Ok(Self { jobs, thread })
    }

    /// One batch and one snapshot are outstanding, and hints leave them their places.
    fn post(&self, job: Job<B>) {
        assert!(self.jobs.try_send(job).is_ok(), "the thread lives as long as its jobs' sender");
    }

    /// Finishes what was submitted and closes the file.
    pub async fn close(self) {
        drop(self.jobs);
        // Its panics end the process where they happen.
        self.thread.ended().await;
    }
}

impl<B: Batch> Disk<B> for CommitThread<B> {
    fn submit(&self, batch: B, ticket: Ticket) {
        self.post(Job::Write(Box::new(batch), ticket));
    }

    fn stage(&self, snapshot: Bytes) {
        self.post(Job::Stage(snapshot));
    }

    fn note(&self, notes: Notes) {
        // A hint: when the thread is that busy, the next change is noted.
        if self.jobs.capacity() > JOBS_KEPT {
            let _ = self.jobs.try_send(Job::Note(notes));
        }
    }
}

struct Committer {
    file: GroupFile,
    reports: mpsc::Sender<Report>,
    full: bool,
    clock: Clock,
    pieces: Pieces,
    written: Written,
    meters: meters::Disk,
}

/// When it is a piece of a snapshot's turn. Fsyncs get into each other's way, those of other files on the same disk, too:
/// so each is followed by a rest, while batches are written meanwhile. Where there are none, nobody waits.
#[derive(Default)]
struct Pieces {
    next: Moment,
    /// Batches written when the last piece was.
    batches: u64,
}

impl Pieces {
    /// How long the disk is still left to batches.
    fn wait(&self, now: Moment) -> Duration {
        self.next.since(now)
    }

    /// A piece was worked on from `began` to `now`, and so many batches had been written by then.
    fn worked(&mut self, began: Moment, now: Moment, batches: u64) {
        let is_alone = std::mem::replace(&mut self.batches, batches) == batches;
        self.next = if is_alone { now } else { now + now.since(began) * PIECES_REST };
    }
}

/// What was written since the start, which tells how well batches are filled.
#[derive(Default)]
struct Written {
    batches: u64,
    entries: u64,
    bytes: u64,
}

impl Written {
    fn add(&mut self, batch: &impl Batch) {
        let (entries, bytes) = batch.entries();
        self.batches += 1;
        self.entries += entries as u64;
        self.bytes += bytes as u64;
    }
}

impl Committer {
    async fn run<B: Batch>(mut self, mut inbox: mpsc::Receiver<Job<B>>) {
        loop {
            let job = if self.full {
                timeout(LOOK_EVERY, inbox.recv()).await.ok()
            } else if self.file.shelf().has_work() {
                // What the core waits for comes first.
                match (inbox.try_recv(), self.pieces.wait(self.clock.now())) {
                    (Err(TryRecvError::Empty), Duration::ZERO) => None,
                    (Err(TryRecvError::Empty), rest) => timeout(rest, inbox.recv()).await.ok(),
                    (job, _) => Some(job.ok()),
                }
            } else {
                Some(inbox.recv().await)
            };
            // Nobody posts any more.
            if matches!(job, Some(None)) {
                break;
            }
            self.look_at_room().await;
            match job.flatten() {
                Some(Job::Write(batch, ticket)) => {
                    work_takes_time().await;
                    let begun = self.meters.begin();
                    self.commit(|file| file.write(&*batch));
                    self.meters.wrote(begun, batch.entries().0);
                    self.written.add(&*batch);
                    work_takes_time().await;
                    self.report(Report::Durable(ticket)).await;
                }
                Some(Job::Stage(snapshot)) => self.file.shelf().stage(snapshot),
                Some(Job::Note(notes)) => self.commit(|file| file.note(&notes)),
                None => self.work_on_snapshots().await,
            }
        }
        let Written { batches, entries, bytes } = self.written;
        tracing::info!(path = %self.file.path().display(), batches, entries, bytes, "file closed");
    }

    /// A piece of it.
    async fn work_on_snapshots(&mut self) {
        let needed = self.file.shelf().unwritten();
        if needed > 0 && (self.full || self.file.free_bytes().is_some_and(|free| !fits(free, needed))) {
            self.file.shelf().give_up();
            return self.report(Report::Staged(false)).await;
        }
        let began = self.clock.now();
        work_takes_time().await;
        let staged = !self.full && self.commit(GroupFile::step) == Step::Staged;
        self.pieces.worked(began, self.clock.now(), self.written.batches);
        if staged {
            tracing::info!(path = %self.file.path().display(), "snapshot staged");
            self.report(Report::Staged(true)).await;
        }
    }

    fn commit<T>(&mut self, write: impl FnOnce(&mut GroupFile) -> Result<T, redb::Error>) -> T {
        // A panic must not unwind past here either: the database's destructor would commit.
        match catch_unwind(AssertUnwindSafe(|| write(&mut self.file))) {
            Ok(Ok(done)) => done,
            Ok(Err(error)) => fail(self.file.path(), &error.to_string()),
            Err(_) => fail(self.file.path(), "redb panicked"),
        }
    }

    async fn look_at_room(&mut self) {
        let Some(free) = self.file.free_bytes() else { return };
        if let Some(full) = changed(self.full, free) {
            self.full = full;
            self.report(Report::Full(full)).await;
        }
    }

    async fn report(&self, report: Report) {
        // Nobody listens any more: the replica is stopping.
        let _ = self.reports.send(report).await;
    }
}

/// Whether a snapshot of which so many bytes are unwritten still leaves room for batches.
fn fits(free: u64, unwritten: u64) -> bool {
    free >= ROOM_MIN.saturating_add(unwritten)
}

/// Whether the disk counts as full from now on, when that is new.
fn changed(full: bool, free: u64) -> Option<bool> {
    match full {
        false if free < ROOM_MIN => Some(true),
        true if free >= ROOM_ENOUGH => Some(false),
        _ => None,
    }
}

/// Ends the process at once: what the failed write did is unknown, so nobody is told anything.
fn fail(path: &Path, error: &str) -> ! {
    tracing::error!(path = %path.display(), error, "the disk failed; ending at once");
    end(EXIT_DISK_FAILED)
}
