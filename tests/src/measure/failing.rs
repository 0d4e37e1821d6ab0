//! How long nobody is acknowledged when a process goes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use common::clock::Moment;
use rustix::process::Signal;

use super::crowd::{Crowd, Door, Placed, next_epoch, open_shop, silence, wait};
use super::{Spread, figure};
use crate::cluster::{Cluster, Options};

/// Customers who order while it happens, and how long each waits between two orders: hundreds of blows should not
/// end in a group of millions of orders.
const CUSTOMERS: usize = 16;
const PAUSE: Duration = Duration::from_millis(40);
/// What happens is looked at for so long, before and afterwards: by then whoever suspects anybody has acted.
const WATCHED: Duration = Duration::from_secs(1);

/// What happens to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Kill,
    Stop,
    Pause,
}

/// To whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Primary,
    Backup,
}

/// `kill -9` of the primary.
///
/// # Errors
/// When the cluster does not recover.
pub fn fail_over(times: u32) -> Result<()> {
    let Struck { placed, at } = strike(times, Blow::Kill, Victim::Primary)?;
    let next = |&at: &Moment| Ok(next_epoch(&placed, at).context("nobody took over")?.since(at));
    let waits: Vec<Duration> = at.iter().map(next).collect::<Result<_>>()?;
    figure(
        format!("kill -9 of the primary, {times} times: until the next primary acknowledges"),
        Spread::of(waits),
    );
    Ok(())
}

/// SIGTERM to the primary.
///
/// # Errors
/// When the cluster does not recover.
pub fn hand_over(times: u32) -> Result<()> {
    let Struck { placed, at } = strike(times, Blow::Stop, Victim::Primary)?;
    let stall = |&at: &Moment| {
        let next = next_epoch(&placed, at).context("nobody took over")?;
        Ok(silence(&placed, at, next))
    };
    let stalls: Vec<Duration> = at.iter().map(stall).collect::<Result<_>>()?;
    figure(
        format!("SIGTERM to the primary, {times} times: silence until the next one acknowledges"),
        Spread::of(stalls),
    );
    figure("    in as long a time before each", calm(&placed, &at));
    Ok(())
}

/// `kill -9` of a backup, and SIGSTOP.
///
/// # Errors
/// When the cluster does not recover.
pub fn dead_backup(times: u32) -> Result<()> {
    for (what, blow) in [("kill -9", Blow::Kill), ("SIGSTOP", Blow::Pause)] {
        let Struck { placed, at } = strike(times, blow, Victim::Backup)?;
        let silences = at.iter().map(|&at| silence(&placed, at, at + WATCHED));
        figure(
            format!("{what} of a backup, {times} times: longest silence in the second after"),
            Spread::of(silences),
        );
        figure("    in the second before", calm(&placed, &at));
    }
    Ok(())
}

/// The longest silences while nothing happened: what the machine does to any wait.
fn calm(placed: &[Placed], at: &[Moment]) -> Spread {
    let before = |&at: &Moment| {
        let since = Moment::ORIGIN + at.since_origin().saturating_sub(WATCHED);
        silence(placed, since, at)
    };
    Spread::of(at.iter().map(before))
}

/// When each blow fell, and what customers saw all the while.
struct Struck {
    placed: Vec<Placed>,
    at: Vec<Moment>,
}

fn strike(times: u32, blow: Blow, victim: Victim) -> Result<Struck> {
    let mut cluster = Cluster::start(Options::default())?;
    let door = Door::FrontEnd(cluster.front_ends[0].address());
    open_shop(door)?;
    let crowd = Crowd::start(door, CUSTOMERS, PAUSE, u64::MAX);
    let clock = crowd.clock();
    let mut at: Vec<Moment> = Vec::new();
    for _ in 0..times {
        wait(WATCHED)?;
        let primary = cluster.primary()?;
        let count = cluster.replicas.len();
        let target = if victim == Victim::Primary { primary } else { (primary + 1) % count };
        at.push(clock.now());
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
    Ok(Struck { placed: crowd.stop()?, at })
}
