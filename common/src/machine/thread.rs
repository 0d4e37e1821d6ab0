use std::future::{Future, pending};
use std::io;
use std::panic::resume_unwind;

use tokio::sync::oneshot;

/// A thread of its own, with a runtime of its own, for what must not wait for the rest of the process or would keep
/// it waiting.
#[derive(Debug)]
pub struct Thread {
    /// Its sender goes when the thread does.
    ended: oneshot::Receiver<()>,
}

impl Thread {
    /// Runs the future that `work` makes on a new thread, to its end.
    ///
    /// # Errors
    /// When the operating system has no thread for us.
    ///
    /// # Panics
    /// In that thread, when the machine has no descriptor for a runtime.
    pub fn start<F: Future<Output = ()>>(
        name: String,
        work: impl FnOnce() -> F + Send + 'static,
    ) -> io::Result<Self> {
        let (alive, ended) = oneshot::channel::<()>();
        std::thread::Builder::new().name(name).spawn(move || {
            let _alive = alive;
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a machine that cannot give a poll descriptor runs no server");
            runtime.block_on(work());
        })?;
        Ok(Self { ended })
    }

    /// Returns when the thread has ended, however it did.
    pub async fn ended(self) {
        let _ = self.ended.await;
    }
}

/// The niceness of those who should run when nobody else wants to.
const LAST_OF_ALL: i32 = 19;

/// Has this thread, one of its own, give way to everybody else on the machine.
pub fn give_way() {
    // Without it the thread is in the way a little; what it does is right all the same.
    let _ = rustix::process::nice(LAST_OF_ALL);
}

/// Lets whoever waits for this processor have it for a turn.
pub fn give_turn() {
    std::thread::yield_now();
}

/// Does `work` that waits for disks, off the runtime's thread.
///
/// # Panics
/// As `work`.
pub async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
        // The runtime is shutting down, and nobody goes on from here.
        Err(_) => pending().await,
    }
}

/// What a disk needs beyond the work that is called for: nothing, where there is a disk.
pub async fn work_takes_time() {}
