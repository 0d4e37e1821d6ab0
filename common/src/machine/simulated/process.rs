//! What stands for the operating system's, on a simulated machine.

use std::io;

use tokio::sync::watch;

use super::{here, trace};

/// What unwinds a task in which its process ended itself.
#[derive(Clone, Copy, Debug)]
pub struct Ended(pub i32);

/// Ends the process of the machine that asks: its disk takes nothing from now on, the task is unwound, and whoever
/// runs the simulation takes the other tasks away after this tick. (A real process would do nothing at all any more;
/// until the tick is over the other tasks may still say that this one is gone.)
pub fn end(code: i32) -> ! {
    let machine = here();
    if machine.ended.get().is_none() {
        trace::note(format_args!("{} ends itself with {code}", machine.name));
        machine.ended.set(Some(code));
    }
    machine.disk.kill();
    std::panic::panic_any(Ended(code))
}

/// Notes what a process says.
///
/// # Errors
/// None.
pub fn announce(line: &str) -> io::Result<()> {
    trace::note(format_args!("{} says {line}", here().name));
    Ok(())
}

/// What asks a process to stop.
#[derive(Debug)]
pub struct Signals(watch::Receiver<u32>);

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// None.
    pub fn listen() -> io::Result<Self> {
        Ok(Self(here().signals.subscribe()))
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
