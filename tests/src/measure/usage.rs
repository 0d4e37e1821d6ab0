//! What a process took of the machine.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::Process;

/// Of processor time, since a process began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// By all its threads.
    pub whole: Duration,
    /// By the threads whose work is a disk's.
    pub disk: Duration,
    /// By the threads that make and restore snapshots.
    pub snapshots: Duration,
}

/// `/proc` counts in these (`sysconf(_SC_CLK_TCK)` on every Linux that we run on).
const TICK: Duration = Duration::from_millis(10);

impl Cpu {
    /// What `process` took so far.
    ///
    /// # Errors
    /// When it does not run.
    pub fn of(process: &Process) -> Result<Self> {
        Self::of_pid(process.pid().with_context(|| format!("{} does not run", process.name()))?)
    }

    /// Bytes of memory that the process with this id holds.
    ///
    /// # Errors
    /// When it does not run.
    pub fn memory_of(pid: u32) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib: u64 = line.context("a living process has memory")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kib * 1024)
    }

    /// What the process with this id took so far.
    ///
    /// # Errors
    /// When it does not run.
    pub fn of_pid(pid: u32) -> Result<Self> {
        let mut cpu = Self {
            whole: ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?)?.1,
            disk: Duration::ZERO,
            snapshots: Duration::ZERO,
        };
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end meanwhile.
            let Ok(stat) = fs::read_to_string(thread?.path().join("stat")) else { continue };
            let (name, took) = ticks(&stat)?;
            if name.starts_with("disk") {
                cpu.disk += took;
            } else if name.starts_with("snapshots") {
                cpu.snapshots += took;
            }
        }
        Ok(cpu)
    }

    /// What was taken since `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self {
            whole: self.whole.saturating_sub(before.whole),
            disk: self.disk.saturating_sub(before.disk),
            snapshots: self.snapshots.saturating_sub(before.snapshots),
        }
    }
}

/// The name in a line of `/proc/…/stat`, and the time in user and system mode together.
fn ticks(stat: &str) -> Result<(&str, Duration)> {
    let (head, rest) = stat.rsplit_once(") ").context("a name stands in brackets")?;
    let name = head.split_once('(').context("a name stands in brackets")?.1;
    // state is the third field; utime and stime are the fourteenth and the fifteenth.
    let mut fields = rest.split(' ').skip(11);
    let mut next = || -> Result<u32> { Ok(fields.next().context("a line has 52 fields")?.parse()?) };
    Ok((name, TICK * (next()? + next()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_proc_is_read_whatever_the_name_is() {
        let line = "7 (disk (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(ticks(line).unwrap(), ("disk (a) b", Duration::from_secs(2)));
    }
}
