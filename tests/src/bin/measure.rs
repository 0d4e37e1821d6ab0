//! Measures what a release note tells: `cargo run --release -p cluster-tests --bin measure [-- KILLS SECONDS]`.
//!
//! The time from `kill -9` of the primary to the next acknowledged order, over KILLS kills (50); orders per second with
//! 1, 8 and 64 customers through one front end, each for SECONDS (5), all of it on this machine, customers included;
//! the memory of each process afterwards.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use client::just_hungry::JustHungry;
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::shop::{Load, fill, names, order, run, service};
use common::clock::Clock;

fn main() -> Result<()> {
    let mut args =
        std::env::args().skip(1).map(|arg| arg.parse::<u32>().context("KILLS and SECONDS are numbers"));
    let kills = args.next().transpose()?.unwrap_or(50);
    let seconds = args.next().transpose()?.unwrap_or(5);

    let mut cluster = Cluster::start(Options::default())?;
    println!("load of the machine before: {}", load_of_machine()?);
    fail_over(&mut cluster, kills)?;
    for customers in [1, 8, 64] {
        throughput(&cluster, customers, Duration::from_secs(seconds.into()))?;
    }
    for process in cluster.processes() {
        println!("{:<12} holds {:>6} KiB", process.name(), process.memory()? / 1024);
    }
    println!("load of the machine after: {}", load_of_machine()?);
    Ok(())
}

fn fail_over(cluster: &mut Cluster, kills: u32) -> Result<()> {
    let clock = Clock::start();
    let mut waited = Vec::new();
    run(async {
        let service = service(&names(cluster.name_server.address()));
        fill(&service).await?;
        let shop = JustHungry::over(service);
        let place = async || shop.place(order("ann")).await.map_err(|failure| anyhow!("{failure:?}"));
        for _ in 0..kills {
            let primary = cluster.primary()?;
            // The way to the old primary is warm.
            place().await?;
            let killed = clock.now();
            cluster.replicas[primary].kill()?;
            place().await?;
            waited.push(clock.now().since(killed));
            cluster.replicas[primary].start_again()?;
            cluster.await_whole(cluster.replicas.len())?;
        }
        Ok(())
    })?;
    waited.sort();
    let [half, most] = percentiles(&waited);
    println!(
        "kill -9 of the primary to the next acknowledged order, {kills} kills: p50 {half:?}, p99 {most:?}"
    );
    Ok(())
}

fn throughput(cluster: &Cluster, customers: usize, time: Duration) -> Result<()> {
    let mut load = Load::start(cluster.name_server.address(), customers);
    // Everybody is connected and at it.
    load.await_acknowledged(20 * customers as u64)?;
    let (clock, before) = (Clock::start(), load.acknowledged());
    run(async {
        tokio::time::sleep(time).await;
        Ok(())
    })?;
    let (placed, took) = (load.acknowledged() - before, clock.now().since_origin());
    let mut waits: Vec<_> = load.stop()?.iter().map(|attempt| attempt.ended.since(attempt.begun)).collect();
    waits.sort();
    let rate = u128::from(placed) * 1000 / took.as_millis().max(1);
    let [half, most] = percentiles(&waits);
    println!("{customers:>2} customers: {rate:>6} orders/s, p50 {half:?}, p99 {most:?}");
    Ok(())
}

/// p50 and p99 of sorted times.
fn percentiles(sorted: &[Duration]) -> [Duration; 2] {
    [50, 99].map(|of| sorted.get(sorted.len() * of / 100).copied().unwrap_or_default())
}

fn load_of_machine() -> Result<String> {
    Ok(std::fs::read_to_string("/proc/loadavg")?.trim().to_owned())
}
