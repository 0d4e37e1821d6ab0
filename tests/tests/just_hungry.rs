//! What the shop promises, on the real programs.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context as _, Result, anyhow, ensure};
use client::errors::Code;
use client::just_hungry::JustHungry;
use cluster_tests::cluster::{Cluster, Options, Place};
use cluster_tests::shop::{books, fill, names, order, run, service};
use futures::future::join_all;
use serde_json::Value;

#[test]
fn b25_sixty_four_customers_at_the_last_fifty_make_fifty_orders() -> Result<()> {
    const LEFT: u32 = 50;
    const CUSTOMERS: usize = 64;
    let cluster = Cluster::start(Options::default())?;
    let users: Vec<_> = (0..CUSTOMERS).map(|number| format!("customer {number}")).collect();
    let names = names(cluster.name_server.address());
    run(async {
        fill(&service(&names), LEFT).await?;
        let all = users.iter().map(async |user| JustHungry::over(service(&names)).place(order(user)).await);
        let outcomes = join_all(all).await;
        let placed = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        ensure!(placed == LEFT as usize, "{placed} orders were placed");
        let refused = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        for failure in refused {
            ensure!(failure.code == Code::LowStock, "{failure:?}");
        }
        Ok(())
    })?;
    cluster.await_whole(3)?;
    let users: BTreeSet<_> = users.iter().map(String::as_str).collect();
    for address in cluster.replica_addresses() {
        let books = run(books(address, &users))?;
        assert_eq!((books.stock, books.orders.len()), (0, LEFT as usize), "the replica at {address}");
    }
    Ok(())
}

#[test]
fn e07_samples_never_win_over_what_the_group_began_with() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let menu = folder.path().join("menu.csv");
    fs::write(&menu, "name,price,stock\nSoup,3.50,unlimited\n\"Fish, fried\",6.85,4\n")?;
    let path = menu.to_string_lossy().into_owned();
    let mut cluster = Cluster::start_in(Options { replicas: 1, ..Options::default() }, |name| {
        let args = if name == "replica.1" { vec!["--menu".to_owned(), path.clone()] } else { vec![] };
        Place { args, ..Place::default() }
    })?;
    let sold = |cluster: &Cluster| -> Result<Vec<String>> {
        let menu = cluster.json(&["menu"])?;
        menu.iter().map(|row| Ok(row["item"].as_str().context("a product has a name")?.to_owned())).collect()
    };
    assert_eq!(sold(&cluster)?, ["Soup", "Fish, fried"]);
    assert!(
        cluster.json(&["order", "list", "--postcode", "DH1 3LE"])?.is_empty(),
        "no samples beside a menu"
    );
    let soup = ["order", "place", "-u", "ann", "--item", "soup", "--postcode", "DH1 3LE"];
    cluster.json(&soup)?;

    // Later the flags are ignored, with a note; the file may be gone.
    fs::remove_file(&menu)?;
    cluster.replicas[0].stop()?;
    cluster.replicas[0].give(&["--start", "demo"]);
    cluster.replicas[0].start_again()?;
    cluster.await_whole(1)?;
    assert_eq!(sold(&cluster)?, ["Soup", "Fish, fried"]);
    assert_eq!(cluster.json(&["order", "list", "-u", "ann"])?.len(), 1);
    let log = cluster.replicas[0].log();
    ensure!(log.contains("flags are ignored") && log.contains("--menu"), "{log}");
    Ok(())
}

/// The primary and its epoch.
fn led_by(cluster: &Cluster) -> Result<(String, Value)> {
    let primary = cluster.primary()?;
    let name = cluster.replicas[primary].name().to_owned();
    let members = cluster.members()?;
    let member = members.iter().find(|member| member["name"] == *name).context("it is a member")?;
    Ok((name, member["epoch"].clone()))
}

#[test]
fn fault_front_end_restart_keeps_primary() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let place = ["order", "place", "-u", "ann", "--item", "burger", "--postcode", "DH1 3LE"];
    assert_eq!(cluster.json(&place)?[0]["no"], 1);
    let before = led_by(&cluster)?;
    cluster.front_ends[0].kill()?;
    cluster.front_ends[0].start_again()?;
    // At another port, most likely: it is found by its name.
    assert_eq!(cluster.json(&place)?[0]["no"], 2);
    assert_eq!(led_by(&cluster)?, before);
    Ok(())
}

#[test]
fn d12_log_names_request_and_replica() -> Result<()> {
    let options = Options { replicas: 1, ..Options::default() };
    let cluster = Cluster::start_in(options, |name| {
        let args =
            if name.starts_with("frontend") { ["--log", "debug"].map(str::to_owned).into() } else { vec![] };
        Place { args, ..Place::default() }
    })?;
    let place = ["order", "place", "-u", "ann", "--item", "burger", "--postcode", "DH1 3LE"];
    let placed = cluster.json(&place)?.pop().ok_or_else(|| anyhow!("an order is one object"))?;
    let request = placed["request_id"].as_str().context("an order tells its request")?;
    let log = cluster.front_ends[0].log();
    let answered = log.lines().find(|line| line.contains(request) && line.contains("answered"));
    let replica = cluster.replicas[0].address().to_string();
    ensure!(answered.is_some_and(|line| line.contains(&replica)), "{log}");
    Ok(())
}
