//! What a large state costs: filling it, snapshots of it, joining it, coming back to it.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use common::clock::{Clock, Moment};
use common::rpc::limits::REPLICA;
use common::rpc::transport::within;
use common::services::just_hungry::NAME;

use super::crowd::{Crowd, Door, judge, open_shop, wait};
use super::usage::Cpu;
use super::{figure, ms, number, per_second};
use crate::cluster::{Cluster, Options};
use crate::raters::replica;
use crate::shop::run;

/// Customers who fill a group.
const FILLERS: usize = 384;
/// Customers under whom a group grows while it is looked at: a third of what it could take, since what a busy machine
/// makes wait is no snapshot's doing.
const GROWERS: usize = 96;
const GROWERS_PAUSE: Duration = Duration::from_millis(12);
/// Customers who order all the while, and how long each waits between two orders.
const LIVE: usize = 8;
const LIVE_PAUSE: Duration = Duration::from_millis(5);
/// How long they are looked at before anything happens.
const CALM: Duration = Duration::from_secs(5);
/// Replicas that took less than a tenth of a processor for so long have nothing to do.
const QUIET: Duration = Duration::from_secs(1);
/// How often a log, or the state of a member, is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// By then a replica has told of its long rounds.
const TOLD_WITHIN: Duration = Duration::from_secs(11);
/// How long anything may take here: a million orders on a slow machine.
const PATIENCE: Duration = Duration::from_mins(10);

/// A wiped replica joins a group that holds `orders`.
///
/// # Errors
/// When it does not get in sync.
pub fn join(orders: u64) -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let door = Door::FrontEnd(cluster.front_ends[0].address());
    open_shop(door)?;
    let away = other_than_primary(&cluster)?;
    cluster.replicas[away].kill()?;
    fill(&cluster, orders)?;
    let data = cluster.replicas[away].told("data").to_owned();
    fs::remove_dir_all(data)?;
    comes_back(&mut cluster, door, away, &format!("join with {orders} orders"))?;
    memory(&mut cluster)
}

/// A replica was away while so many entries were written to a group that held `orders`.
///
/// # Errors
/// When it does not get in sync.
pub fn behind(entries: u64, orders: u64) -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let door = Door::FrontEnd(cluster.front_ends[0].address());
    open_shop(door)?;
    fill(&cluster, orders)?;
    let away = other_than_primary(&cluster)?;
    cluster.replicas[away].kill()?;
    fill(&cluster, entries)?;
    comes_back(&mut cluster, door, away, &format!("restart {entries} entries behind, {orders} orders"))
}

/// Snapshots while a group grows to `orders`, and while one is sent and installed.
///
/// # Errors
/// When the cluster does not serve.
pub fn snapshots(orders: u64) -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let door = Door::FrontEnd(cluster.front_ends[0].address());
    open_shop(door)?;
    let live = Crowd::start(door, LIVE, LIVE_PAUSE, u64::MAX);
    let clock = live.clock();
    let filler = Crowd::start(primary_door(&cluster)?, GROWERS, GROWERS_PAUSE, orders);
    let mut snapshots: Vec<Snapshot> = Vec::new();
    let mut seen = vec![0; cluster.replicas.len()];
    let begun = clock.now();
    while !filler.is_done() {
        wait(LOOK)?;
        let now = clock.now();
        for (number, replica) in cluster.replicas.iter().enumerate() {
            let log = replica.log();
            let tells =
                |line: &&str| ["snapshot taken", "snapshot staged"].iter().any(|what| line.contains(what));
            for line in log.lines().filter(tells).skip(seen[number]) {
                seen[number] += 1;
                if line.contains("snapshot taken") {
                    let took = took(line).with_context(|| line.to_owned())?;
                    let began = Moment::ORIGIN + now.since_origin().saturating_sub(took + LOOK);
                    let index = line.split_once("index=").and_then(|(_, rest)| rest.split(' ').next());
                    let index = index.unwrap_or("?").to_owned();
                    snapshots.push(Snapshot { replica: number, index, began, took, staged: None });
                } else if let Some(last) = snapshots.iter_mut().rfind(|taken| taken.replica == number) {
                    last.staged = Some(now);
                }
            }
        }
    }
    let filled = clock.now();
    let placed = filler.finish()?;
    let rate = per_second(placed.len() as u64, filled.since(begun));
    figure(format!("growing to {orders} orders, {GROWERS} clients"), format!("{rate:.0} orders/s"));
    wait(CALM)?;
    let lived = live.stop()?;
    let (calm, silent) = judge(&lived, filled, filled + CALM);
    figure("live orders, nothing else happens", format!("{calm}, longest silence {}", ms(silent)));
    for Snapshot { replica, index, began, took, staged } in snapshots {
        let Some(staged) = staged else { continue };
        let (waits, silent) = judge(&lived, began, staged);
        let calm = Moment::ORIGIN + began.since_origin().saturating_sub(CALM);
        let (_, before) = judge(&lived, calm, began);
        let (name, whole) = (cluster.replicas[replica].name(), staged.since(began));
        figure(
            format!(
                "{name} took a snapshot at {index} in {}, on its disk after {}: live orders",
                ms(took),
                ms(whole)
            ),
            format!("{waits}, longest silence {}, in the five seconds before {}", ms(silent), ms(before)),
        );
    }
    let away = other_than_primary(&cluster)?;
    cluster.replicas[away].kill()?;
    let data = cluster.replicas[away].told("data").to_owned();
    fs::remove_dir_all(data)?;
    comes_back(&mut cluster, door, away, &format!("snapshot of {orders} orders sent and installed"))?;
    memory(&mut cluster)
}

/// A snapshot that a replica took, by its log.
struct Snapshot {
    replica: usize,
    index: String,
    began: Moment,
    took: Duration,
    /// When it was on its disk, if it was before the end.
    staged: Option<Moment>,
}

/// Starts the replica `away` again, and tells how long that took and what the live customers felt: before, with one replica
/// less; meanwhile; and after, with all.
fn comes_back(cluster: &mut Cluster, door: Door, away: usize, what: &str) -> Result<()> {
    let whole = cluster.replicas.len();
    quiet(cluster)?;
    let live = Crowd::start(door, LIVE, LIVE_PAUSE, u64::MAX);
    live.await_acknowledged(100)?;
    let clock = live.clock();
    let calm = clock.now();
    wait(CALM)?;
    let primary = cluster.primary()?;
    let before = Cpu::of(&cluster.replicas[primary])?;
    let begun = clock.now();
    cluster.replicas[away].start_again()?;
    let ready = clock.now();
    run(all_in_sync(cluster.replicas[primary].address(), whole)).with_context(|| what.to_owned())?;
    let ended = clock.now();
    let primary_cpu = Cpu::of(&cluster.replicas[primary])?.since(&before);
    let placed = live.stop()?;
    let (before, silent_before) = judge(&placed, calm, begun);
    let (during, silent) = judge(&placed, begun, ended);
    quiet(cluster)?;
    let live = Crowd::start(door, LIVE, LIVE_PAUSE, u64::MAX);
    live.await_acknowledged(100)?;
    let calm = live.clock().now();
    wait(CALM)?;
    let (after, silent_after) = judge(&live.stop()?, calm, calm + CALM);
    figure(format!("{what}: from the start of the process"), ms(ended.since(begun)));
    figure(format!("{what}: until its ready line"), ms(ready.since(begun)));
    figure(format!("{what}: live orders before"), format!("{before}, longest silence {}", ms(silent_before)));
    figure(format!("{what}: live orders meanwhile"), format!("{during}, longest silence {}", ms(silent)));
    figure(format!("{what}: live orders after"), format!("{after}, longest silence {}", ms(silent_after)));
    figure(format!("{what}: processor time of the primary"), ms(primary_cpu.whole));
    long_rounds(cluster)
}

/// Waits until the replicas rest: what is left to do of what was before, a snapshot above all, is none of what is measured.
fn quiet(cluster: &Cluster) -> Result<()> {
    let taken = || -> Result<Duration> {
        let running = cluster.replicas.iter().filter(|replica| replica.pid().is_some());
        running.map(|replica| Ok(Cpu::of(replica)?.whole)).sum()
    };
    let clock = Clock::start();
    loop {
        let before = taken()?;
        wait(QUIET)?;
        if taken()?.saturating_sub(before) < QUIET / 10 {
            return Ok(());
        }
        ensure!(clock.now().since_origin() < PATIENCE, "the replicas do not rest");
    }
}

/// How often a core's task was busy for longer than it should be, by the replicas' logs: they tell every 10 s.
fn long_rounds(cluster: &Cluster) -> Result<()> {
    wait(TOLD_WITHIN)?;
    for replica in &cluster.replicas {
        let log = replica.log();
        let lines: Vec<&str> = log.lines().filter(|line| line.contains("long rounds")).collect();
        let count: u64 = lines.iter().filter_map(|line| number(line, "count")).sum();
        let worst = lines.iter().filter_map(|line| took(line)).max().unwrap_or_default();
        let what = format!("rounds of the core of {} longer than 20 ms", replica.name());
        figure(what, format!("{count}, worst {}", ms(worst)));
    }
    Ok(())
}

fn fill(cluster: &Cluster, orders: u64) -> Result<()> {
    if orders == 0 {
        return Ok(());
    }
    let crowd = Crowd::start(primary_door(cluster)?, FILLERS, Duration::ZERO, orders);
    let clock = crowd.clock();
    let placed = crowd.finish()?;
    let rate = per_second(placed.len() as u64, clock.now().since_origin());
    figure(format!("filling with {orders} orders, {FILLERS} clients"), format!("{rate:.0} orders/s"));
    Ok(())
}

fn memory(cluster: &mut Cluster) -> Result<()> {
    for process in cluster.processes() {
        figure(format!("memory of {}", process.name()), format!("{} MiB", process.memory()? / (1024 * 1024)));
    }
    for replica in &cluster.replicas {
        let mut bytes = 0;
        for file in fs::read_dir(replica.told("data"))? {
            bytes += file?.metadata()?.len();
        }
        figure(format!("files of {}", replica.name()), format!("{} MiB", bytes / (1024 * 1024)));
    }
    Ok(())
}

fn primary_door(cluster: &Cluster) -> Result<Door> {
    Ok(Door::Primary(cluster.replicas[cluster.primary()?].address()))
}

fn other_than_primary(cluster: &Cluster) -> Result<usize> {
    Ok((cluster.primary()? + 1) % cluster.replicas.len())
}

/// Waits until the set has `whole` members, as the primary has it. It is asked over one connection: a program started for
/// each look would take from the machine what is measured here.
async fn all_in_sync(primary: SocketAddr, whole: usize) -> Result<()> {
    let (primary, clock) = (replica(primary), Clock::start());
    loop {
        let members = primary.status(within(REPLICA, PATIENCE)).await?;
        let group = members.iter().find(|member| member.service.as_str() == NAME);
        let config =
            group.and_then(|member| member.config.as_ref()).context("the primary knows its group")?;
        if config.in_sync.len() >= whole {
            return Ok(());
        }
        ensure!(clock.now().since_origin() < PATIENCE, "not in sync after {PATIENCE:?}");
        tokio::time::sleep(LOOK).await;
    }
}

/// The field `took` of a line of a log: `took=12.3ms`.
fn took(line: &str) -> Option<Duration> {
    let (_, rest) = line.split_once("took=")?;
    let text = rest.split([' ', '"', ',']).next()?;
    let digits = text.trim_end_matches(char::is_alphabetic).trim_end_matches('µ');
    let number: f64 = digits.parse().ok()?;
    let unit = match &text[digits.len()..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    };
    Some(Duration::from_secs_f64(number * unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_something_took_is_read_in_every_unit() {
        let took =
            |text: &str| took(&format!("INFO a thing took={text} index=4")).map(|took| took.as_micros());
        assert_eq!(took("1.5s"), Some(1_500_000));
        assert_eq!(took("20.25ms"), Some(20_250));
        assert_eq!(took("7µs"), Some(7));
        assert_eq!(took("soon"), None);
    }
}
