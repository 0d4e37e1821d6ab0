//! What stands for the operating system's, on a simulated machine.

use std::future::Future;
use std::io;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::here;

/// A thread of its own: here a task among the others, since one thread simulates everything.
#[derive(Debug)]
pub struct Thread(JoinHandle<()>);

impl Thread {
    /// Runs the future that `work` makes, to its end.
    ///
    /// # Errors
    /// None.
    pub fn start<F: Future<Output = ()> + 'static>(
        name: String,
        work: impl FnOnce() -> F + 'static,
    ) -> io::Result<Self> {
        drop(name);
        Ok(Self(tokio::task::spawn_local(work())))
    }

    /// Returns when it has ended, however it did.
    pub async fn ended(self) {
        let _ = self.0.await;
    }
}

/// There is one thread.
pub fn give_way() {}

/// There is one thread.
pub fn give_turn() {}

/// Does `work` here and now: simulated disks answer at once, and take their time in [`work_takes_time`].
pub async fn aside<T>(work: impl FnOnce() -> T) -> T {
    work_takes_time().await;
    work()
}

/// What the disk of the machine that asks needs for half a commit.
pub async fn work_takes_time() {
    let (least, most) = here().disk_time.get();
    sleep(rand::random_range(least..=most) / 2).await;
}
