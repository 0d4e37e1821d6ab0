//! The thread for what takes long of a large state: making snapshots, restoring them, forgetting them. It gives way
//! to everybody else on the machine.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::clock::Clock;
use common::machine::{Thread, end, give_way, work_takes_time};
use common::replication::GroupName;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::{error, info};

use crate::passive::{Work, Worked};

/// One work is under way at most, and what is to be forgotten comes with what was done.
const JOBS_MAX: usize = 8;

/// The way to the thread, and what comes back.
#[derive(Debug)]
pub(super) struct Workshop {
    jobs: Sender<Work>,
    done: Receiver<Worked>,
}

impl Workshop {
    /// Starts the thread, which ends with this value.
    ///
    /// # Errors
    /// When the operating system has no thread for us.
    pub(super) fn start(group: &GroupName) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(JOBS_MAX);
        let (finished, done) = mpsc::channel(1);
        let group = group.clone();
        Thread::start(format!("snapshots {group}"), move || work(group, inbox, finished))?;
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

async fn work(group: GroupName, mut inbox: Receiver<Work>, finished: Sender<Worked>) {
    give_way();
    let clock = Clock::start();
    while let Some(work) = inbox.recv().await {
        let began = clock.now();
        let what = if matches!(work, Work::Take { .. }) { "snapshot taken" } else { "snapshot restored" };
        work_takes_time().await;
        let Ok(worked) = catch_unwind(AssertUnwindSafe(|| work.run())) else {
            error!(%group, "a snapshot panicked; ending at once");
            end(1);
        };
        let Some(worked) = worked else { continue };
        if let Some((last, bytes)) = worked.snapshot() {
            let (index, took) = (last.index, clock.now().since(began));
            info!(%group, %index, bytes = bytes.len(), ?took, "{what}");
        }
        // Nobody listens any more: the identity was given up, or the process ends.
        let _ = finished.send(worked).await;
    }
}
