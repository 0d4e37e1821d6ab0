//! The thread for what takes long of a large state: making snapshots and checkpoints, restoring them, forgetting them.
//! It gives way to everybody else on the machine.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use common::clock::Clock;
use common::machine::{Thread, end, give_way, work_takes_time};
use common::replication::GroupName;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tracing::{error, info};

use crate::{gossip, passive};

/// One work is under way at most, and what is to be forgotten comes with what was done.
const JOBS_MAX: usize = 8;

/// What takes long, and is a function of nothing but itself.
pub(crate) trait Work: Send + 'static {
    /// What comes of it.
    type Worked: Send + 'static;

    /// In words, once it is done.
    fn done(&self) -> &'static str;
    /// Whether it may be left undone where there is no room for it.
    fn may_be_dropped(&self) -> bool;
    /// Does it. `None`: nobody waits for what came of it.
    fn run(self) -> Option<Self::Worked>;
    /// The bytes that came of it, and the place in the log up to which they reach.
    fn bytes(worked: &Self::Worked) -> Option<(u64, &Bytes)>;
}

impl Work for passive::Work {
    type Worked = passive::Worked;

    fn done(&self) -> &'static str {
        if matches!(self, Self::Take { .. }) { "snapshot taken" } else { "snapshot restored" }
    }

    fn may_be_dropped(&self) -> bool {
        // Then it is forgotten where it is posted: slower, and no worse.
        matches!(self, Self::Discard(_))
    }

    fn run(self) -> Option<passive::Worked> {
        self.run()
    }

    fn bytes(worked: &passive::Worked) -> Option<(u64, &Bytes)> {
        worked.snapshot().map(|(last, bytes)| (last.index.0, bytes))
    }
}

impl Work for gossip::Work {
    type Worked = gossip::Worked;

    fn done(&self) -> &'static str {
        "checkpoint made"
    }

    fn may_be_dropped(&self) -> bool {
        false
    }

    fn run(self) -> Option<gossip::Worked> {
        Some(self.run())
    }

    fn bytes(worked: &gossip::Worked) -> Option<(u64, &Bytes)> {
        worked.checkpoint()
    }
}

/// The way to the thread, and what comes back.
#[derive(Debug)]
pub(crate) struct Workshop<W: Work> {
    jobs: Sender<W>,
    done: Receiver<W::Worked>,
}

impl<W: Work> Workshop<W> {
    /// Starts the thread, which ends with this value.
    ///
    /// # Errors
    /// When the operating system has no thread for us.
    pub(crate) fn start(group: &GroupName) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel(JOBS_MAX);
        let (finished, done) = mpsc::channel(1);
        let group = group.clone();
        Thread::start(format!("snapshots {group}"), move || work(group, inbox, finished))?;
        Ok(Self { jobs, done })
    }

    /// Has `work` done.
    pub(crate) fn submit(&self, work: W) {
        match self.jobs.try_send(work) {
            Ok(()) => {}
            Err(TrySendError::Full(work)) if work.may_be_dropped() => {}
            Err(error) => panic!("the thread lives and has room for one work: {error}"),
        }
    }

    /// What was done next.
    pub(crate) async fn done(&mut self) -> Option<W::Worked> {
        self.done.recv().await
    }
}

async fn work<W: Work>(group: GroupName, mut inbox: Receiver<W>, finished: Sender<W::Worked>) {
    give_way();
    let clock = Clock::start();
    while let Some(work) = inbox.recv().await {
        let began = clock.now();
        let what = work.done();
        work_takes_time().await;
        let Ok(worked) = catch_unwind(AssertUnwindSafe(|| work.run())) else {
            error!(%group, "a snapshot panicked; ending at once");
            end(1);
        };
        let Some(worked) = worked else { continue };
        if let Some((index, bytes)) = W::bytes(&worked) {
            let took = clock.now().since(began);
            info!(%group, %index, bytes = bytes.len(), ?took, "{what}");
        }
        // Nobody listens any more: the identity was given up, or the process ends.
        let _ = finished.send(worked).await;
    }
}
