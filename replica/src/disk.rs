//! A replica's disk: one file per group, one commit thread per file.
//!
//! **Rules** (durability, §1). A batch is one transaction, fsynced before it is reported. One commit is in flight;
//! what arrives meanwhile is the next batch: group commit without a timer. fsync never runs on a runtime's thread.
//! A failed write is final: Linux marks the pages clean, and the next fsync lies; so the process says so and ends
//! at once, with exit code 74 and without destructors (redb's would commit), and nobody is answered.
//!
//! Reading order: [`directory`] (the lock, files that are whole or not there), [`file`](mod@file) (tables,
//! checksums, damage), [`mark`] (how far it was durable), and here the thread.

pub mod directory;
pub mod file;
mod mark;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use common::machine::{Thread, end, work_takes_time};
use common::replication::GroupName;
use tokio::sync::mpsc;
use tokio::time::timeout;

use self::file::GroupFile;
use crate::passive::{Ticket, WriteBatch};

/// Exit code of a process whose disk failed (`EX_IOERR`).
pub const EXIT_DISK_FAILED: i32 = 74;

/// Where batches go to become durable.
pub trait Disk {
    /// Writes `batch` in one transaction, fsyncs, then reports `ticket`. At most one batch is outstanding.
    fn submit(&self, batch: WriteBatch, ticket: Ticket);
    /// Remembers where the other members listen: a hint, reported to nobody.
    fn note(&self, addresses: Vec<SocketAddr>);
}

/// What a disk has to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// This batch is on the disk.
    Durable(Ticket),
    /// There is too little room for more, or enough again.
    Full(bool),
}

/// Reports waiting for the driver: one batch is outstanding, and fullness changes rarely.
pub const REPORTS_MAX: usize = 8;
/// Jobs waiting for the thread: one batch, and a few hints.
const JOBS_MAX: usize = 8;
/// Below this much room no new entries are taken: many batches, and what redb needs to commit them.
const ROOM_MIN: u64 = 64 * 1024 * 1024;
/// From this much room on they are taken again; the gap keeps a disk at the edge from flapping.
const ROOM_ENOUGH: u64 = 2 * ROOM_MIN;
/// How often a full disk is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

enum Job {
    Write(Box<WriteBatch>, Ticket),
    Note(Vec<SocketAddr>),
}

/// A group's file, and the thread that commits to it.
#[derive(Debug)]
pub struct CommitThread {
    jobs: mpsc::Sender<Job>,
    thread: Thread,
}

impl CommitThread {
    /// Starts committing to `file`; reports go to `reports`.
    ///
    /// # Errors
    /// When the operating system has no thread for us.
    pub fn start(group: &GroupName, file: GroupFile, reports: mpsc::Sender<Report>) -> std::io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(JOBS_MAX);
        let committer = Committer { file, reports, full: false };
        let thread = Thread::start(format!("disk {group}"), move || committer.run(inbox))?;
        Ok(Self { jobs, thread })
    }

    /// Finishes what was submitted and closes the file.
    pub async fn close(self) {
        drop(self.jobs);
        // Its panics end the process where they happen.
        self.thread.ended().await;
    }
}

impl Disk for CommitThread {
    fn submit(&self, batch: WriteBatch, ticket: Ticket) {
        // One batch is outstanding, and hints leave a place for it.
        let job = Job::Write(Box::new(batch), ticket);
        assert!(self.jobs.try_send(job).is_ok(), "the thread lives as long as its jobs' sender");
    }

    fn note(&self, addresses: Vec<SocketAddr>) {
        // A hint: when the thread is that busy, the next change is noted.
        if self.jobs.capacity() > 1 {
            let _ = self.jobs.try_send(Job::Note(addresses));
        }
    }
}

struct Committer {
    file: GroupFile,
    reports: mpsc::Sender<Report>,
    full: bool,
}

impl Committer {
    async fn run(mut self, mut inbox: mpsc::Receiver<Job>) {
        loop {
            let job = if self.full {
                match timeout(LOOK_EVERY, inbox.recv()).await {
                    Ok(Some(job)) => Some(job),
                    Ok(None) => return,
                    Err(_) => None,
                }
            } else {
                match inbox.recv().await {
                    Some(job) => Some(job),
                    None => return,
                }
            };
            self.look_at_room().await;
            match job {
                Some(Job::Write(batch, ticket)) => {
                    work_takes_time().await;
                    self.commit(|file| file.write(&batch));
                    work_takes_time().await;
                    self.report(Report::Durable(ticket)).await;
                }
                Some(Job::Note(addresses)) => self.commit(|file| file.note(&addresses)),
                None => {}
            }
        }
    }

    fn commit(&self, write: impl FnOnce(&GroupFile) -> Result<(), redb::Error>) {
        // A panic must not unwind past here either: the database's destructor would commit.
        match catch_unwind(AssertUnwindSafe(|| write(&self.file))) {
            Ok(Ok(())) => {}
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
