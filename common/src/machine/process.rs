use std::io::{self, Write as _};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ends the process at once, without destructors.
pub fn end(code: i32) -> ! {
    std::process::exit(code)
}

/// Says a line on standard output: whoever started the process waits for it.
///
/// # Errors
/// When nobody reads it.
pub fn announce(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

/// What asks a process to stop: SIGTERM and Ctrl-C.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Catches them from now on.
    ///
    /// # Errors
    /// When they cannot be caught.
    pub fn listen() -> io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns at the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
