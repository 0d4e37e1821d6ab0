use std::path::PathBuf;

use common::clock::Clock;
use common::machine::{Thread, work_takes_time};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::timeout;
use tracing::{error, info};

use super::{Fault, RETRY_EVERY, Store, Write};

/// Writes in one transaction at most: past this a commit's own work outweighs its fsync, and answers come late.
const WRITES_AT_ONCE: usize = 256;

/// A submission's number; they rise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// What became of submissions. Everything up to the token has the same fate, unless it was told before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// On the disk.
    Durable(Token),
    /// Not known to be: the store is down. It will be written when the store is back, and told as durable then.
    Failed(Token, Fault),
}

/// The way to a store's thread; without a store everything is durable at once.
#[derive(Debug)]
pub struct Committer {
    last: Token,
    reports: UnboundedSender<Report>,
    thread: Option<(UnboundedSender<Task>, Thread)>,
}

/// What the store's thread does, in this order.
enum Task {
    Write(Job),
    Snapshot(String, Copied),
}

/// Told what became of a copy.
pub(crate) type Copied = Box<dyn FnOnce(Result<PathBuf, Fault>) + Send>;

struct Job {
    token: Token,
    writes: Vec<Write>,
    /// In a transaction of its own.
    alone: bool,
}

impl Committer {
    /// Nothing is kept.
    pub fn without_store() -> (Self, UnboundedReceiver<Report>) {
        let (reports, receiver) = unbounded_channel();
        (Self { last: Token(0), reports, thread: None }, receiver)
    }

    /// Starts the thread that owns `store`.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn start(store: impl Store + 'static) -> std::io::Result<(Self, UnboundedReceiver<Report>)> {
        let (reports, receiver) = unbounded_channel();
        let (jobs, queue) = unbounded_channel();
        let worker = Worker { store, queue, reports: reports.clone(), kept: Vec::new() };
        let thread = Thread::start("commit".into(), move || worker.run())?;
        Ok((Self { last: Token(0), reports, thread: Some((jobs, thread)) }, receiver))
    }

    /// Hands in writes that may share a transaction with others.
    pub fn submit(&mut self, writes: Vec<Write>) -> Token {
        self.hand_in(writes, false)
    }

    /// Hands in writes that get a transaction of their own.
    pub fn submit_alone(&mut self, writes: Vec<Write>) -> Token {
        self.hand_in(writes, true)
    }

    fn hand_in(&mut self, writes: Vec<Write>, alone: bool) -> Token {
        self.last = Token(self.last.0 + 1);
        let job = Job { token: self.last, writes, alone };
        match &self.thread {
            // A thread that panicked takes the process with it: nobody is told anything false.
            Some((jobs, _)) => {
                assert!(jobs.send(Task::Write(job)).is_ok(), "the commit thread lives as long as its queue");
            }
            // The receiver is gone only when nobody waits any more.
            None => drop(self.reports.send(Report::Durable(self.last))),
        }
        self.last
    }

    /// Whether there is a store.
    pub fn keeps(&self) -> bool {
        self.thread.is_some()
    }

    /// Has a copy of the store written, with all that was handed in so far. Without a store nobody is told anything.
    pub(crate) fn snapshot(&self, suffix: String, told: Copied) {
        if let Some((tasks, _)) = &self.thread {
            let sent = tasks.send(Task::Snapshot(suffix, told));
            assert!(sent.is_ok(), "the commit thread lives as long as its queue");
        }
    }

    /// Writes what was handed in, and closes the store.
    pub async fn close(mut self) {
        if let Some((jobs, thread)) = self.thread.take() {
            drop(jobs);
            thread.ended().await;
        }
    }
}

struct Worker<S> {
    store: S,
    queue: UnboundedReceiver<Task>,
    reports: UnboundedSender<Report>,
    /// What a failed store still owes.
    kept: Vec<Write>,
}

impl<S: Store> Worker<S> {
    async fn run(mut self) {
        let mut next = None;
        loop {
            let task = match next.take() {
                Some(task) => task,
                None => match self.queue.recv().await {
                    Some(task) => task,
                    None => return,
                },
            };
            work_takes_time().await;
            let Job { mut token, mut writes, alone } = match task {
                Task::Write(job) => job,
                Task::Snapshot(suffix, told) => {
                    told(self.store.snapshot(&suffix));
                    continue;
                }
            };
            while !alone && writes.len() < WRITES_AT_ONCE {
                match self.queue.try_recv() {
                    Ok(Task::Write(job)) if !job.alone => {
                        token = job.token;
                        writes.extend(job.writes);
                    }
                    Ok(apart) => {
                        next = Some(apart);
                        break;
                    }
                    Err(_) => break,
                }
            }
            let committed = self.store.commit(&writes);
            work_takes_time().await;
            match committed {
                Ok(()) => self.tell(Report::Durable(token)),
                Err(fault) => {
                    // Else a later job, taken while the store is down, would be told durable ahead of this one.
                    match next.take() {
                        Some(Task::Write(job)) => {
                            token = job.token;
                            writes.extend(job.writes);
                        }
                        Some(Task::Snapshot(_, told)) => told(Err(fault.clone())),
                        None => {}
                    }
                    self.kept = writes;
                    if !self.recover(token, fault).await {
                        return;
                    }
                }
            }
        }
    }

    /// Answers everybody with the fault until the store is back and all that it owes is written; false when we are to
    /// stop.
    async fn recover(&mut self, mut token: Token, mut fault: Fault) -> bool {
        error!(error = %fault, "the store failed; lookups and renewals go on");
        self.tell(Report::Failed(token, fault.clone()));
        let clock = Clock::start();
        let mut retry_at = clock.now() + RETRY_EVERY;
        loop {
            match timeout(retry_at.since(clock.now()), self.queue.recv()).await {
                Ok(Some(Task::Snapshot(_, told))) => {
                    told(Err(fault.clone()));
                    continue;
                }
                Ok(Some(Task::Write(job))) => {
                    token = job.token;
                    self.kept.extend(job.writes);
                    self.tell(Report::Failed(token, fault.clone()));
                    continue;
                }
                Ok(None) => {
                    error!(error = %fault, "stopped with changes that the store did not take");
                    return false;
                }
                Err(_) => retry_at = clock.now() + RETRY_EVERY,
            }
            match self.store.reopen().and_then(|()| self.store.commit(&self.kept)) {
                Ok(()) => {
                    info!("the store is back");
                    self.kept.clear();
                    self.tell(Report::Durable(token));
                    return true;
                }
                Err(again) => fault = again,
            }
        }
    }

    fn tell(&self, report: Report) {
        // The receiver is gone only when nobody waits any more.
        drop(self.reports.send(report));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use common::names::BootCount;

    use super::super::flaky::Flaky;
    use super::*;

    /// Waits, outside a runtime.
    fn block_on(done: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(done);
    }

    fn write(n: u64) -> Vec<Write> {
        vec![Write::Boot(BootCount(n))]
    }

    #[test]
    fn f19_what_a_failed_store_owes_is_written_when_it_is_back() {
        let store = Flaky::default();
        *store.failures.lock().unwrap() = 2;
        let commits = Arc::clone(&store.commits);
        let (mut committer, mut reports) = Committer::start(store).unwrap();
        let first = committer.submit(write(1));
        let fault = Fault("no space".into());
        assert_eq!(reports.blocking_recv(), Some(Report::Failed(first, fault.clone())));
        let second = committer.submit(write(2));
        assert_eq!(reports.blocking_recv(), Some(Report::Failed(second, fault)));
        assert_eq!(reports.blocking_recv(), Some(Report::Durable(second)));
        block_on(committer.close());
        assert_eq!(*commits.lock().unwrap(), [[write(1), write(2)].concat()]);
    }

    #[test]
    fn a_group_has_a_transaction_of_its_own() {
        let store = Flaky::default();
        let commits = Arc::clone(&store.commits);
        let (mut committer, mut reports) = Committer::start(store).unwrap();
        committer.submit(write(1));
        committer.submit_alone(write(2));
        committer.submit(write(3));
        block_on(committer.close());
        while reports.blocking_recv().is_some_and(|report| report != Report::Durable(Token(3))) {}
        assert_eq!(*commits.lock().unwrap(), [write(1), write(2), write(3)]);
    }

    #[test]
    fn a_group_set_aside_when_the_store_fails_is_written_before_what_came_later() {
        let store = Flaky::default();
        *store.failures.lock().unwrap() = 1;
        let commits = Arc::clone(&store.commits);
        let (jobs, queue) = unbounded_channel();
        let (to_shell, mut reports) = unbounded_channel();
        let job = |n, alone| Task::Write(Job { token: Token(n), writes: write(n), alone });
        jobs.send(job(1, false)).unwrap();
        jobs.send(job(2, true)).unwrap();
        let worker = Worker { store, queue, reports: to_shell, kept: Vec::new() };
        let thread = Thread::start("commit".into(), move || worker.run()).unwrap();
        assert!(matches!(reports.blocking_recv(), Some(Report::Failed(..))));
        jobs.send(job(3, false)).unwrap();
        while reports.blocking_recv().is_some_and(|report| report != Report::Durable(Token(3))) {}
        drop(jobs);
        block_on(thread.ended());
        assert_eq!(commits.lock().unwrap().concat(), [write(1), write(2), write(3)].concat());
    }
}
