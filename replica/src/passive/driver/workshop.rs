//! The thread for what takes long of a large state: making snapshots, restoring them, forgetting them. It gives way
//! to everybody else on the machine.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::{io, process, thread};

use common::clock::Clock;
use common::replication::GroupName;
use tokio::sync::mpsc;
use tracing::{error, info};

use crate::passive::{Work, Worked};

/// One work is under way at most, and what is to be forgotten comes with what was done.
const JOBS_MAX: usize = 8;
/// The niceness of those who should run when nobody else wants to.
const LAST_OF_ALL: i32 = 19;

/// The way to the thread, and what comes back.
#[derive(Debug)]
pub(super) struct Workshop {
    jobs: SyncSender<Work>,
    done: mpsc::Receiver<Worked>,
}

impl Workshop {
    /// Starts the thread, which ends with this value.
    ///
    /// # Errors
    /// When the operating system has no thread for us.
    pub(super) fn start(group: &GroupName) -> io::Result<Self> {
        let (jobs, inbox) = sync_channel(JOBS_MAX);
        let (finished, done) = mpsc::channel(1);
        let name = group.clone();
        thread::Builder::new().name(format!("snapshots {group}")).spawn(move || {
            // Without it the work is in the way a little; it is right all the same.
            let _ = rustix::process::nice(LAST_OF_ALL);
            if catch_unwind(AssertUnwindSafe(|| work(&name, &inbox, &finished))).is_err() {
                error!(group = %name, "a snapshot panicked; ending at once");
                process::exit(1);
            }
        })?;
        Ok(Self { jobs, done })
    }

    /// Has `work` done.
    pub(super) fn submit(&self, work: Work) {
        match self.jobs.try_send(work) {
            // Then it is forgotten here: slower, and no worse.
            Ok(()) | Err(TrySendError::Full(Work::Discard(_))) => {}
            Err(error) => panic!("the thread lives and has room for one work: {error}"),
        }
    }

    /// What was done next.
    pub(super) async fn done(&mut self) -> Option<Worked> {
        self.done.recv().await
    }
}

fn work(group: &GroupName, inbox: &Receiver<Work>, finished: &mpsc::Sender<Worked>) {
    let clock = Clock::start();
    while let Ok(work) = inbox.recv() {
        let began = clock.now();
        let what = if matches!(work, Work::Take { .. }) { "snapshot taken" } else { "snapshot restored" };
        let Some(worked) = work.run() else { continue };
        if let Some((last, bytes)) = worked.snapshot() {
            let (index, took) = (last.index, clock.now().since(began));
            info!(%group, %index, bytes = bytes.len(), ?took, "{what}");
        }
        // Nobody listens any more: the identity was given up, or the process ends.
        let _ = finished.blocking_send(worked);
    }
}
