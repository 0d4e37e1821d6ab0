//! Groups of one to seven members, and members that come and go under load.

use anyhow::{Context as _, Result, ensure};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::shop::{Load, audit, failures};
use rustix::process::Signal;
use serde_json::Value;

fn start(replicas: u8) -> Result<Cluster> {
    Cluster::start(Options { replicas, ..Options::default() })
}

fn order(cluster: &Cluster) -> Result<Value> {
    let order =
        cluster.json(&["order", "place", "-u", "ann", "--item", "apple", "--postcode", "DH1 3LE"])?.remove(0);
    Ok(order["id"].clone())
}

fn orders(cluster: &Cluster) -> Result<Vec<Value>> {
    Ok(cluster.json(&["order", "list", "-u", "ann"])?.iter().map(|order| order["id"].clone()).collect())
}

/// Kills these at once.
fn kill(cluster: &mut Cluster, replicas: &[usize]) -> Result<()> {
    for &replica in replicas {
        cluster.replicas[replica].signal(Signal::KILL)?;
    }
    replicas.iter().try_for_each(|&replica| cluster.replicas[replica].ended().map(drop))
}

#[test]
fn groups_of_one_and_two() -> Result<()> {
    let mut one = start(1)?;
    let placed = order(&one)?;
    kill(&mut one, &[0])?;
    one.replicas[0].start_again()?;
    one.await_whole(1)?;
    assert_eq!(orders(&one)?, [placed]);

    let mut two = start(2)?;
    let placed = order(&two)?;
    let primary = two.primary()?;
    kill(&mut two, &[primary])?;
    let alone = order(&two)?;
    two.replicas[primary].start_again()?;
    two.await_whole(2)?;
    // It holds what was ordered while it was away.
    kill(&mut two, &[1 - primary])?;
    assert_eq!(orders(&two)?, [placed, alone]);
    Ok(())
}

/// All but one die at once: the last one serves, with everything; and so does the group when they are back.
fn all_but_one(members: u8) -> Result<()> {
    let mut cluster = start(members)?;
    let placed = order(&cluster)?;
    let last = (cluster.primary()? + 1) % usize::from(members);
    let others: Vec<_> = (0..members.into()).filter(|&n| n != last).collect();
    kill(&mut cluster, &others)?;
    let alone = order(&cluster)?;
    assert_eq!(orders(&cluster)?, [placed.clone(), alone.clone()]);
    for &replica in &others {
        cluster.replicas[replica].start_again()?;
    }
    cluster.await_whole(members.into())?;
    kill(&mut cluster, &[last])?;
    assert_eq!(orders(&cluster)?, [placed, alone]);
    Ok(())
}

#[test]
fn of_five_the_last_one_serves() -> Result<()> {
    all_but_one(5)
}

#[test]
fn of_seven_the_last_one_serves() -> Result<()> {
    all_but_one(7)
}

#[test]
fn rolling_restart_under_load() -> Result<()> {
    let mut cluster = start(3)?;
    let mut load = Load::start(cluster.name_server.address(), 4);
    load.await_acknowledged(20)?;
    for replica in 0..3 {
        let status = cluster.replicas[replica].stop()?;
        assert!(status.success(), "{status}");
        load.await_acknowledged(20).with_context(|| format!("without {replica}"))?;
        cluster.replicas[replica].start_again()?;
        cluster.await_whole(3)?;
    }
    let attempts = load.stop()?;
    assert!(failures(&attempts).is_empty(), "{:?}", failures(&attempts));
    cluster.await_whole(3)?;
    audit(&attempts, &cluster.replica_addresses())
}

#[test]
fn fourth_replica_joins_under_load() -> Result<()> {
    let mut cluster = start(3)?;
    let mut load = Load::start(cluster.name_server.address(), 4);
    load.await_acknowledged(100)?;
    cluster.add_replica()?;
    load.await_acknowledged(20).context("while it joins")?;
    cluster.await_whole(4).context("under load")?;
    kill(&mut cluster, &[0, 1, 2])?;
    load.await_acknowledged(20).context("with nobody but the fourth")?;
    let attempts = load.stop()?;
    assert!(failures(&attempts).is_empty(), "{:?}", failures(&attempts));
    audit(&attempts, &cluster.replica_addresses())
}

#[test]
fn all_power_cycled_only_the_removed_one_returns() -> Result<()> {
    let mut cluster = start(3)?;
    let placed = order(&cluster)?;
    cluster.await_whole(3)?;
    kill(&mut cluster, &[2])?;
    let without = order(&cluster)?;
    let two = |status: &Value| {
        let members = status["groups"][0]["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        members.iter().filter(|member| member["in_sync"] == true).count() == 2
    };
    cluster.await_status(two)?;
    kill(&mut cluster, &[0, 1])?;
    cluster.replicas[2].start_again()?;
    // It was taken out of the set, lacks an order, and waits; the status says for whom.
    let output = cluster.client(&["cluster", "status"])?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(5), "{said}");
    ensure!(said.contains("start replica.1, replica.2"), "it does not say what to start: {said}");
    let refused = cluster.client(&["--timeout", "3s", "menu"])?;
    assert_eq!(refused.status.code(), Some(5), "it may not lead");

    cluster.replicas[1].start_again()?;
    cluster.await_whole(2)?;
    assert_eq!(orders(&cluster)?, [placed, without]);
    Ok(())
}
