//! What a person does at night: a name server that lost its store or got an older copy back, disks that come from a
//! backup, a group of which only the wrong disk is left. On the real programs, by the commands of docs/OPERATING.md.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::process::{PATIENCE, program};
use cluster_tests::shop::{Load, audit, failures, names, run};
use common::clock::Clock;
use common::ids::InstanceId;
use common::names::{
    ContractName, Entry, Names as Which, ObjectName, Page, Query, Readiness, Sharing, Tags, Target, Weight,
};
use common::rpc::limits::NAME_SERVICE;
use common::rpc::transport::within;
use serde_json::Value;

const GROUP: &str = "just.hungry";
const OTHER: &str = "movies";

/// The group, as a status tells it.
fn group(status: &Value) -> &Value {
    &status["groups"][0]
}

/// All groups: what happens to one of them happens to each.
fn groups(status: &Value) -> &[Value] {
    status["groups"].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn needs_adoption(status: &Value) -> bool {
    groups(status)
        .iter()
        .filter(|group| group["kind"] == "passive")
        .all(|group| group["needs_adoption"] == true)
}

/// How many members are in sync and online, in each group.
fn in_sync(status: &Value) -> usize {
    let members = |group: &Value| {
        let members = group["members"].as_array().map(Vec::as_slice).unwrap_or_default();
        members.iter().filter(|member| member["in_sync"] == true && member["status"] == "online").count()
    };
    groups(status).iter().map(members).min().unwrap_or_default()
}

/// Runs a command that must be refused: its exit status, and its error's code.
fn refused(cluster: &Cluster, args: &[&str]) -> Result<(Option<i32>, String)> {
    let output = cluster.client(&[&["--json"], args].concat())?;
    let lines = String::from_utf8(output.stderr)?;
    let error = lines.lines().last().context("an error is said")?;
    let error: Value = serde_json::from_str(error).with_context(|| lines.clone())?;
    Ok((output.status.code(), error["error"]["code"].as_str().unwrap_or_default().to_owned()))
}

/// Adopts each group, and tells what stands for the shop's.
fn adopt(cluster: &Cluster) -> Result<Value> {
    let adopt =
        |group| cluster.json(&["cluster", "adopt", group, "--yes"])?.pop().context("it tells what stands");
    adopt(OTHER)?;
    adopt("ratings")?;
    adopt(GROUP)
}

/// Gives each group to one replica's disk alone, and tells what stands for the shop's.
fn force(cluster: &Cluster, replica: &str) -> Result<Value> {
    let force = |group| -> Result<Value> {
        Ok(cluster.json(&["cluster", "force-elect", group, replica, "--yes"])?.remove(0))
    };
    force(OTHER)?;
    force(GROUP)
}

/// Orders something for `user`, and gives the order's id.
fn order(cluster: &Cluster, user: &str) -> Result<Value> {
    let order =
        cluster.json(&["order", "place", "-u", user, "--item", "apple", "--postcode", "DH1 3LE"])?.remove(0);
    Ok(order["id"].clone())
}

/// The ids of the orders of `user`.
fn orders(cluster: &Cluster, user: &str) -> Result<Vec<Value>> {
    Ok(cluster.json(&["order", "list", "-u", user])?.iter().map(|order| order["id"].clone()).collect())
}

/// The primary is killed, another takes over, the first one comes back: what nobody can do without the record.
fn a_primary_may_be_lost(cluster: &mut Cluster, load: &mut Load) -> Result<()> {
    let primary = cluster.primary()?;
    cluster.replicas[primary].kill()?;
    load.await_acknowledged(20).context("after the primary was killed")?;
    cluster.replicas[primary].start_again()?;
    cluster.await_whole(cluster.replicas.len())
}

/// Everything acknowledged is on every replica, once, and no customer saw an error.
fn nobody_noticed(cluster: &Cluster, load: Load) -> Result<()> {
    let attempts = load.stop()?;
    ensure!(failures(&attempts).is_empty(), "{:?}", failures(&attempts));
    cluster.await_whole(cluster.replicas.len())?;
    audit(&attempts, &cluster.replica_addresses())
}

#[test]
fn name_server_restarted() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let mut load = Load::start(cluster.name_server.address(), 2);
    load.await_acknowledged(10)?;
    cluster.name_server.kill()?;
    cluster.name_server.start_again()?;
    load.await_acknowledged(10)?;
    cluster.await_whole(3)?;
    // Its record is the newest: an operator has nothing to do, and does nothing.
    let before = group(&cluster.status()?)["version"].clone();
    assert_eq!(adopt(&cluster)?["version"], before);
    a_primary_may_be_lost(&mut cluster, &mut load)?;
    nobody_noticed(&cluster, load)
}

#[test]
fn name_server_wiped() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let id = cluster.replicas[0].told("cluster").to_owned();
    assert_eq!(id, cluster.name_server.told("cluster"), "a replica tells what --cluster needs");
    let mut load = Load::start(cluster.name_server.address(), 2);
    load.await_acknowledged(10)?;
    let before = group(&cluster.status()?).clone();

    cluster.name_server.kill()?;
    fs::remove_file(cluster.data("nameserver.redb"))?;
    cluster.name_server.give(&["--cluster", &id]);
    cluster.name_server.start_again()?;
    // They go on, and say what is wrong; and nobody decides for a person.
    cluster.await_status(needs_adoption)?;
    load.await_acknowledged(10).context("with a name server that knows nothing")?;
    assert_eq!(refused(&cluster, &["cluster", "adopt", GROUP])?, (Some(4), "needs_yes".to_owned()));
    let status = cluster.await_status(|status| in_sync(status) == 3)?;
    assert_eq!(
        (&group(&status)["version"], &group(&status)["health"]),
        (&before["version"], &"degraded".into())
    );

    let adopted = adopt(&cluster)?;
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    assert_eq!(number(&adopted["version"]), number(&before["version"]) + 1);
    assert_eq!(number(&adopted["epoch"]), number(&before["epoch"]) + 1);
    assert_eq!(adopted["in_sync"].as_array().map(Vec::len), Some(3));
    load.await_acknowledged(10).context("after the adoption")?;
    cluster.await_whole(3)?;
    a_primary_may_be_lost(&mut cluster, &mut load)?;
    nobody_noticed(&cluster, load)
}

#[test]
fn a_thousand_names_are_back_after_a_wipe() -> Result<()> {
    const NAMES: usize = 1_000;
    // With a time-to-live of 3 s, as by default.
    let mut cluster = Cluster::start(Options { replicas: 1, ..Options::default() })?;
    let id = cluster.name_server.told("cluster").to_owned();
    run(async {
        let names = names(cluster.name_server.address());
        let keeper = names.keep(Options::default().ttl, InstanceId::random(), None);
        for n in 0..NAMES {
            keeper.register(format!("mayfly.{n}").parse()?, mayfly()).await?;
        }
        cluster.name_server.kill()?;
        fs::remove_file(cluster.data("nameserver.redb"))?;
        cluster.name_server.give(&["--cluster", &id]);
        cluster.name_server.start_again()?;
        let clock = Clock::start();
        // A view never empties for a name server's sake: the listing itself is asked.
        loop {
            let page = Page { after: None, limit: 1_000 };
            let query = Query::by_name(Which::Prefix("mayfly.".into()));
            let listing = names.server().list(within(NAME_SERVICE, PATIENCE), query, page).await;
            let back = listing.map_or(0, |answer| answer.map_or(0, |listing| listing.value.records.len()));
            let waited = clock.now().since_origin();
            if back == NAMES {
                println!("{NAMES} names were back {waited:?} after the name server");
                // A third of the time-to-live until the loss is noticed, and a second for the names.
                ensure!(waited < Duration::from_secs(5), "only after {waited:?}");
                break;
            }
            ensure!(waited < PATIENCE, "{back} names after {waited:?}");
        }
        keeper.leave().await;
        Ok(())
    })
}

fn mayfly() -> Entry {
    let target = Target::Service {
        address: "127.0.0.1:9".parse().expect("an address"),
        object: ObjectName::new("").expect("no object"),
        contract: ContractName::new("mayfly").expect("a contract"),
    };
    let (sharing, readiness) = (Sharing::Exclusive, Readiness::Up);
    Entry { sharing, target, tags: Tags::default(), readiness, weight: Weight::default() }
}

#[test]
fn a_second_process_under_a_held_name_says_where_the_first_one_is() -> Result<()> {
    let mut cluster = Cluster::start(Options { replicas: 1, ..Options::default() })?;
    let (address, name_server) = (cluster.replicas[0].address(), cluster.name_server.address().to_string());
    let other = cluster.data("other").to_string_lossy().into_owned();
    let output =
        Command::new(program("replica")).args(["1", "-n", &name_server, "--data-dir", &other]).output()?;
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(output.status.code(), Some(4), "{said}");
    let sentence = format!("replica.1 is held by another living process, at {address}");
    assert!(said.contains(&sentence), "{said}");
    assert!(cluster.replicas[0].is_alive());
    Ok(())
}

#[test]
fn name_server_older_copy() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let mut load = Load::start(cluster.name_server.address(), 2);
    load.await_acknowledged(10)?;
    cluster.name_server.stop()?;
    let (store, copy) = (cluster.data("nameserver.redb"), cluster.data("older.redb"));
    fs::copy(&store, &copy)?;
    cluster.name_server.start_again()?;
    a_primary_may_be_lost(&mut cluster, &mut load)?;
    let before = group(&cluster.status()?).clone();

    cluster.name_server.kill()?;
    fs::copy(&copy, &store)?;
    let refused =
        cluster.name_server.start_again().expect_err("a store goes back only when somebody says so");
    assert!(format!("{refused:#}").contains("remove"), "{refused:#}");
    cluster.name_server.ended()?;
    fs::remove_file(cluster.data("nameserver.redb.mark"))?;
    cluster.name_server.start_again()?;
    cluster.await_status(needs_adoption)?;
    load.await_acknowledged(10).context("with an older copy")?;
    // A replica that starts now learns nothing wrong from it: it follows its primary, and changes nothing.
    let backup = (0..3).find(|&n| Some(n) != cluster.primary().ok()).context("there are two")?;
    cluster.replicas[backup].signal(rustix::process::Signal::KILL)?;
    cluster.replicas[backup].ended()?;
    cluster.replicas[backup].start_again()?;
    load.await_acknowledged(10).context("after a backup restarted under an older copy")?;
    assert_eq!(group(&cluster.status()?)["version"], before["version"]);

    let adopted = adopt(&cluster)?;
    assert_eq!(adopted["version"].as_u64(), before["version"].as_u64().map(|version| version + 1));
    cluster.await_whole(3)?;
    a_primary_may_be_lost(&mut cluster, &mut load)?;
    nobody_noticed(&cluster, load)
}

#[test]
fn the_right_store_brought_back_needs_no_adoption() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let id = cluster.name_server.told("cluster").to_owned();
    let mut load = Load::start(cluster.name_server.address(), 2);
    load.await_acknowledged(10)?;
    cluster.name_server.kill()?;
    let (store, right) = (cluster.data("nameserver.redb"), cluster.data("right.redb"));
    fs::rename(&store, &right)?;
    cluster.name_server.give(&["--cluster", &id]);
    cluster.name_server.start_again()?;
    cluster.await_status(needs_adoption)?;
    cluster.name_server.kill()?;
    fs::rename(&right, &store)?;
    cluster.name_server.start_again()?;
    cluster.await_whole(3)?;
    a_primary_may_be_lost(&mut cluster, &mut load)?;
    nobody_noticed(&cluster, load)
}

#[test]
fn disk_given_up_by_force_elect_starts_anew() -> Result<()> {
    let mut cluster = Cluster::start(Options::default())?;
    let kept = order(&cluster, "ann")?;
    cluster.await_whole(3)?;
    // The third one leaves, the others go on; then both are gone, and the third one comes back alone.
    cluster.replicas[2].kill()?;
    let void = order(&cluster, "ann")?;
    cluster.await_status(|status| in_sync(status) == 2 && group(status)["health"] == "degraded")?;
    let disks: Vec<_> = cluster.members()?.iter().map(|member| member["replica_id"].clone()).collect();
    for replica in &cluster.replicas[..2] {
        replica.signal(rustix::process::Signal::KILL)?;
    }
    for replica in &mut cluster.replicas[..2] {
        replica.ended()?;
    }
    cluster.replicas[2].start_again()?;
    assert_eq!(refused(&cluster, &["--timeout", "1s", "menu"])?.0, Some(5), "it may not lead");
    let needs_yes = refused(&cluster, &["cluster", "force-elect", GROUP, "3"])?;
    assert_eq!(needs_yes, (Some(4), "needs_yes".to_owned()));

    let forced = force(&cluster, "3")?;
    assert_eq!(forced["version"], forced["forced"]);
    cluster.await_whole(1)?;
    let after = order(&cluster, "ann")?;
    assert_eq!(orders(&cluster, "ann")?, [kept.clone(), after.clone()], "without {void}");

    for replica in &mut cluster.replicas[..2] {
        replica.start_again()?;
    }
    cluster.await_whole(3)?;
    let now: Vec<_> = cluster.members()?.iter().map(|member| member["replica_id"].clone()).collect();
    assert!(now[0] != disks[0] && now[1] != disks[1] && now[2] == disks[2], "{disks:?} became {now:?}");
    for name in ["replica.1", "replica.2"] {
        let aside = files(&cluster.data(name))?.iter().any(|file| file.ends_with(".rolled-back"));
        assert!(aside, "{name} keeps what nobody else has: {:?}", files(&cluster.data(name))?);
    }
    // They are members like any other.
    cluster.replicas[2].kill()?;
    assert_eq!(orders(&cluster, "ann")?, [kept, after]);
    Ok(())
}

#[test]
fn a_restored_disk_takes_no_part_until_an_operator_says_so() -> Result<()> {
    let mut cluster = Cluster::start(Options { replicas: 2, ..Options::default() })?;
    let kept = order(&cluster, "ann")?;
    cluster.await_whole(2)?;
    cluster.replicas[1].stop()?;
    let (data, copy) = (cluster.data("replica.2"), cluster.data("copy"));
    copy_directory(&data, &copy)?;
    cluster.replicas[1].start_again()?;
    cluster.await_whole(2)?;
    let later = order(&cluster, "ann")?;
    cluster.await_whole(2)?;

    // Its disk is in sync by the record, and yet lacks an order. It must not lead, though nobody else is there.
    kill_all(&mut cluster)?;
    fs::remove_dir_all(&data)?;
    copy_directory(&copy, &data)?;
    cluster.replicas[1].give(&["--restored"]);
    cluster.replicas[1].start_again()?;
    assert_eq!(refused(&cluster, &["--timeout", "3s", "menu"])?.0, Some(5), "it may not lead");

    // The other one's disk is whole: an adoption leaves the copy out, and it is fed what it lacks.
    cluster.replicas[0].start_again()?;
    let adopted = adopt(&cluster)?;
    assert_eq!(adopted["in_sync"].as_array().map(Vec::len), Some(1));
    cluster.await_whole(2)?;
    assert_eq!(orders(&cluster, "ann")?, [kept.clone(), later]);

    // Now nothing but the copy is left: whoever forces it is told the price, and has what it holds.
    kill_all(&mut cluster)?;
    fs::remove_dir_all(&data)?;
    copy_directory(&copy, &data)?;
    cluster.replicas[1].start_again()?;
    force(&cluster, "2")?;
    cluster.await_whole(1)?;
    assert_eq!(orders(&cluster, "ann")?, [kept]);
    order(&cluster, "ann").map(drop)
}

/// At once, so that none has time to take over from another.
fn kill_all(cluster: &mut Cluster) -> Result<()> {
    for replica in &mut cluster.replicas {
        replica.signal(rustix::process::Signal::KILL)?;
    }
    cluster.replicas.iter_mut().try_for_each(|replica| replica.ended().map(drop))
}

fn files(directory: &Path) -> Result<Vec<String>> {
    fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

fn copy_directory(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for file in files(from)? {
        fs::copy(from.join(&file), to.join(&file))?;
    }
    Ok(())
}
