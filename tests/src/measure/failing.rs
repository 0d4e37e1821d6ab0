//! How long nobody is acknowledged when a process goes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use common::clock::Moment;
use rustix::process::Signal;

use super::crowd::{Crowd, Door, open_shop, silence, wait};
use super::{Spread, figure};
use crate::cluster::{Cluster, Options};

/// Customers who order while it happens.
const CUSTOMERS: usize = 8;
/// What happens is looked at for so long: by then whoever suspects anybody has acted.
const WATCHED: Duration = Duration::from_secs(2);

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Kill,
    Stop,
    Pause,
}

/// `kill -9` of the primary.
///
/// # Errors
/// When the cluster does not recover.
pub fn fail_over(times: u32) -> Result<()> {
    let silences = strike(times, Blow::Kill, true)?;
    figure(format!("kill -9 of the primary, {times} times: silence"), Spread::of(silences));
    Ok(())
}

/// SIGTERM to the primary.
///
/// # Errors
/// When the cluster does not recover.
pub fn hand_over(times: u32) -> Result<()> {
    let silences = strike(times, Blow::Stop, true)?;
    figure(format!("SIGTERM to the primary, {times} times: silence"), Spread::of(silences));
    Ok(())
}

/// `kill -9` of a backup, and SIGSTOP.
///
/// # Errors
/// When the cluster does not recover.
pub fn dead_backup(times: u32) -> Result<()> {
    let silences = strike(times, Blow::Kill, false)?;
    figure(format!("kill -9 of a backup, {times} times: silence"), Spread::of(silences));
    let silences = strike(times, Blow::Pause, false)?;
    figure(format!("SIGSTOP of a backup, {times} times: silence"), Spread::of(silences));
    Ok(())
}

/// The longest silences after each blow, with customers at work all the time.
fn strike(times: u32, blow: Blow, at_the_primary: bool) -> Result<Vec<Duration>> {
    let mut cluster = Cluster::start(Options::default())?;
    let door = Door::FrontEnd(cluster.front_ends[0].address());
    open_shop(door)?;
    let crowd = Crowd::start(door, CUSTOMERS, Duration::ZERO, u64::MAX);
    let clock = crowd.clock();
    let mut struck: Vec<Moment> = Vec::new();
    for _ in 0..times {
        // Everybody is at it.
        crowd.await_acknowledged(20 * CUSTOMERS as u64)?;
        let primary = cluster.primary()?;
        let count = cluster.replicas.len();
        let target = if at_the_primary { primary } else { (primary + 1) % count };
        struck.push(clock.now());
        let process = &mut cluster.replicas[target];
        match blow {
            Blow::Kill => process.kill()?,
            Blow::Stop => drop(process.stop()?),
            Blow::Pause => process.signal(Signal::STOP)?,
        }
        wait(WATCHED)?;
        match blow {
            Blow::Kill | Blow::Stop => process.start_again()?,
            Blow::Pause => {
                process.signal(Signal::CONT)?;
                // As a new process: one that was dropped again and again waits ever longer before it may come back.
                process.kill()?;
                process.start_again()?;
            }
        }
        cluster.await_whole(count).context("after a blow")?;
    }
    let placed = crowd.stop()?;
    Ok(struck.into_iter().map(|at| silence(&placed, at, at + WATCHED)).collect())
}
