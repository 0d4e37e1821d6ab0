//! Disks that fail while real processes run on them: nothing acknowledged is lost, whoever cannot write answers nobody,
//! and the others go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cluster_tests::cluster::Cluster;
use cluster_tests::faults::not_run;
use cluster_tests::faults::rig::{DISKS, Rig};
use cluster_tests::faults::shim::{Fault, NEEDS};
use cluster_tests::faults::world::{in_own_world, installed, tool};
use cluster_tests::process::{PATIENCE, program};
use cluster_tests::shop::Load;
use common::clock::Clock;
use tempfile::TempDir;

/// Exit code of a replica whose disk failed.
const DISK_FAILED: i32 = 74;
/// Exit code of a process whose directory is another's.
const IN_USE: i32 = 75;

/// A rig in a folder of its own.
fn rig() -> Result<(Rig, TempDir)> {
    let folder = tempfile::tempdir()?;
    Ok((Rig::start(folder.path())?, folder))
}

/// Expects this replica to end because of its disk, and starts it again.
fn fails_and_returns(rig: &mut Rig, number: usize, load: &mut Load) -> Result<()> {
    let replica = &mut rig.cluster.replicas[number];
    let ended = replica.ended()?;
    ensure!(ended.code() == Some(DISK_FAILED), "it ended with {ended}: {}", replica.log());
    ensure!(replica.log().contains("just.hungry.redb"), "which file is not told: {}", replica.log());
    load.await_acknowledged(100).context("while one replica is gone")?;
    rig.cluster.replicas[number].start_again()?;
    rig.cluster.await_whole(3).context("after it came back")?;
    load.await_acknowledged(50).context("after it came back")
}

/// Whether the machine can make such disks.
fn possible(test: &str) -> bool {
    let installed = installed(NEEDS);
    if let Err(why) = &installed {
        not_run(test, why);
    }
    installed.is_ok()
}

#[test]
fn a_replica_whose_fsync_or_write_fails_ends_at_once_and_nothing_is_lost() -> Result<()> {
    if !possible("a_replica_whose_fsync_or_write_fails_ends_at_once_and_nothing_is_lost") {
        return Ok(());
    }
    let (mut rig, _folder) = rig()?;
    let mut load = rig.load()?;
    for fault in [Fault::FailSync, Fault::NoSpace] {
        for away in [1, 0] {
            let number = (rig.cluster.primary()? + away) % 3;
            rig.disks[number].set(fault, 1)?;
            fails_and_returns(&mut rig, number, &mut load)
                .with_context(|| format!("{fault:?}, {away} away"))?;
        }
    }
    rig.judge(load).map(drop)
}

#[test]
fn a_write_that_takes_only_half_is_finished() -> Result<()> {
    if !possible("a_write_that_takes_only_half_is_finished") {
        return Ok(());
    }
    let (mut rig, _folder) = rig()?;
    let mut load = rig.load()?;
    for disk in &rig.disks {
        disk.set(Fault::ShortWrite, 40)?;
    }
    for disk in &rig.disks {
        disk.await_fired(0, 40)?;
    }
    load.await_acknowledged(50)?;
    for replica in &mut rig.cluster.replicas {
        replica.kill()?;
    }
    for replica in &mut rig.cluster.replicas {
        replica.start_again()?;
    }
    rig.judge(load).map(drop)
}

#[test]
fn a_backup_whose_fsync_takes_5_s_is_dropped_and_service_goes_on() -> Result<()> {
    if !possible("a_backup_whose_fsync_takes_5_s_is_dropped_and_service_goes_on") {
        return Ok(());
    }
    let (rig, _folder) = rig()?;
    let mut load = rig.load()?;
    let (clock, rated) = (load.clock(), 200);
    let begun = clock.now();
    load.await_acknowledged(rated)?;
    let calm = clock.now().since(begun);
    let slow = (rig.cluster.primary()? + 1) % 3;
    rig.disks[slow].set(Fault::DelaySync, 5_000)?;
    rig.disks[slow].await_fired(0, 1)?;
    let begun = clock.now();
    load.await_acknowledged(1)?;
    let silence = clock.now().since(begun);
    let begun = clock.now();
    load.await_acknowledged(rated)?;
    let without = clock.now().since(begun);
    println!("{rated} orders took {calm:?}, {without:?} with one disk slow, after a silence of {silence:?}");
    let name = rig.cluster.replicas[slow].name().to_owned();
    let members = rig.cluster.members()?;
    let member = members.iter().find(|member| member["name"] == *name).context("it is known")?;
    ensure!(member["in_sync"] == false, "it is still in sync: {member}");
    // Half the rate at least, and what the machine's own hiccups take.
    ensure!(without < calm * 2 + std::time::Duration::from_secs(1), "{without:?} instead of {calm:?}");
    rig.disks[slow].set(Fault::DelaySync, 0)?;
    rig.judge(load).map(drop)
}

#[test]
fn a_primary_whose_fsync_takes_5_s_hands_over() -> Result<()> {
    if !possible("a_primary_whose_fsync_takes_5_s_hands_over") {
        return Ok(());
    }
    let (rig, _folder) = rig()?;
    let mut load = rig.load()?;
    let slow = rig.cluster.primary()?;
    rig.disks[slow].set(Fault::DelaySync, 5_000)?;
    rig.disks[slow].await_fired(0, 1)?;
    let begun = load.clock().now();
    load.await_acknowledged(200)?;
    println!("200 orders took {:?} with the primary's disk slow", load.clock().now().since(begun));
    let now = rig.cluster.primary()?;
    ensure!(now != slow, "the primary with the slow disk still leads");
    rig.disks[slow].set(Fault::DelaySync, 0)?;
    rig.judge(load).map(drop)
}

#[test]
fn a_name_server_whose_disk_fails_answers_on_and_takes_changes_later() -> Result<()> {
    if !possible("a_name_server_whose_disk_fails_answers_on_and_takes_changes_later") {
        return Ok(());
    }
    let (mut rig, _folder) = rig()?;
    let mut load = rig.load()?;
    // Three times, until it may take changes again; nobody is told that one was made meanwhile.
    rig.names.set(Fault::FailSync, 3)?;
    let backup = (rig.cluster.primary()? + 1) % 3;
    rig.cluster.replicas[backup].kill()?;
    rig.names.await_fired(0, 3)?;
    load.await_acknowledged(100)?;
    ensure!(rig.cluster.name_server.is_alive(), "it goes on: {}", rig.cluster.name_server.log());
    rig.cluster.replicas[backup].start_again()?;
    rig.cluster.await_whole(3)?;
    // What it acknowledged since is on the disk.
    rig.cluster.name_server.kill()?;
    rig.cluster.name_server.start_again()?;
    rig.judge(load).map(drop)
}

/// The newest file in `data` whose name begins so.
fn beside(data: &Path, begins: &str) -> Result<Vec<PathBuf>> {
    let names = fs::read_dir(data)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begins));
    Ok(names.into_iter().filter(named).collect())
}

#[test]
fn a_replica_with_a_damaged_file_puts_it_aside_and_is_whole_again() -> Result<()> {
    /// As promised.
    const WHOLE_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);
    let (mut rig, _folder) = rig()?;
    let mut load = rig.load()?;
    let number = (rig.cluster.primary()? + 1) % 3;
    rig.cluster.replicas[number].kill()?;
    let file = rig.data(number).join("just.hungry.redb");
    let mut bytes = fs::read(&file)?;
    let needle = b"customer";
    let places = bytes.windows(needle.len()).enumerate().filter(|(_, window)| window == needle);
    let places: Vec<_> = places.map(|(at, _)| at).collect();
    ensure!(!places.is_empty(), "no order is in the file");
    for at in places {
        bytes[at] ^= 4;
    }
    fs::write(&file, bytes)?;
    let begun = load.clock().now();
    rig.cluster.replicas[number].start_again()?;
    rig.cluster.await_whole(3)?;
    let whole = load.clock().now().since(begun);
    println!("whole again {whole:?} after a start with a damaged file");
    let log = rig.cluster.replicas[number].log();
    ensure!(log.contains("the file is damaged"), "it does not say so: {log}");
    ensure!(beside(&rig.data(number), "just.hungry.redb.damaged-")?.len() == 1, "the evidence is kept");
    ensure!(whole < WHOLE_WITHIN, "whole again only after {whole:?}");
    load.await_acknowledged(50)?;
    rig.judge(load).map(drop)
}

#[test]
fn a_wiped_disk_is_a_new_replica_under_the_old_name() -> Result<()> {
    let (mut rig, _folder) = rig()?;
    let mut load = rig.load()?;
    let number = rig.cluster.primary()?;
    rig.cluster.replicas[number].kill()?;
    fs::remove_dir_all(rig.data(number))?;
    load.await_acknowledged(50)?;
    rig.cluster.replicas[number].start_again()?;
    rig.cluster.await_whole(3)?;
    load.await_acknowledged(50)?;
    rig.judge(load).map(drop)
}

/// Starts one more replica on these data, which must refuse; what it says.
fn refused(cluster: &Cluster, name: &str, data: &Path) -> Result<(Option<i32>, String)> {
    let done = Command::new(program("replica"))
        .args([name, "-n", &cluster.name_server.address().to_string(), "--data-dir"])
        .arg(data)
        .output()?;
    Ok((done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned()))
}

#[test]
fn a_second_process_on_a_directory_is_refused_and_told_who_has_it() -> Result<()> {
    let (rig, _folder) = rig()?;
    let (code, said) = refused(&rig.cluster, "9", &rig.data(0))?;
    let holder = rig.cluster.replicas[0].pid().context("it runs")?.to_string();
    ensure!(code == Some(IN_USE) && said.contains(&format!("process {holder}")), "{code:?}: {said}");
    let store = rig.store();
    let done =
        Command::new(program("nameserver")).args(["-l", "127.0.0.1:0", "--store"]).arg(store).output()?;
    let (code, said) = (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned());
    let holder = rig.cluster.name_server.pid().context("it runs")?.to_string();
    ensure!(code == Some(IN_USE) && said.contains(&format!("process {holder}")), "{code:?}: {said}");
    Ok(())
}

#[test]
fn a_damaged_store_of_the_name_server_is_refused_by_name_and_left_alone() -> Result<()> {
    let (mut rig, _folder) = rig()?;
    rig.cluster.name_server.kill()?;
    let store = rig.store();
    let mut bytes = fs::read(&store)?;
    let needle = b"just.hungry";
    let places = bytes.windows(needle.len()).enumerate().filter(|(_, window)| window == needle);
    let places: Vec<_> = places.map(|(at, _)| at).collect();
    ensure!(!places.is_empty(), "the group is not in the file");
    for at in places {
        bytes[at] ^= 4;
    }
    fs::write(&store, &bytes)?;
    let done =
        Command::new(program("nameserver")).args(["-l", "127.0.0.1:0", "--store"]).arg(&store).output()?;
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    ensure!(!done.status.success() && said.contains("names.redb is damaged"), "{}: {said}", done.status);
    Ok(())
}

/// Of the file that takes the room: it leaves less than a replica wants, and enough for what is under way.
const FILLER_BYTES: u64 = 150 << 20;

/// Takes the room on the disk of the replica `number`, or gives it back.
fn fill(rig: &Rig, number: usize, full: bool) -> Result<()> {
    let filler = rig.data(number).with_file_name("filler");
    if full {
        let file = fs::File::create(filler)?;
        return Ok(rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, FILLER_BYTES)?);
    }
    Ok(fs::remove_file(filler)?)
}

#[test]
fn t14_a_full_disk_costs_its_replica_the_set_or_the_lead_and_nobody_an_order() -> Result<()> {
    in_own_world("t14_a_full_disk_costs_its_replica_the_set_or_the_lead_and_nobody_an_order", NEEDS, || {
        let folder = tempfile::tempdir()?;
        for disk in DISKS {
            let path = folder.path().join(disk);
            fs::create_dir(&path)?;
            tool("mount", &["-t", "tmpfs", "-o", "size=200m", "none", &path.to_string_lossy()])?;
        }
        let rig = Rig::start(folder.path())?;
        let mut load = rig.load()?;
        for away in [1, 0] {
            let number = (rig.cluster.primary()? + away) % 3;
            let name = rig.cluster.replicas[number].name().to_owned();
            fill(&rig, number, true)?;
            rig.cluster.await_status(|status| {
                let members = status["groups"][0]["members"].as_array().cloned().unwrap_or_default();
                members.iter().any(|member| member["name"] == *name && member["in_sync"] == false)
            })?;
            load.await_acknowledged(100).with_context(|| format!("{name} is full, {away} away"))?;
            ensure!(rig.cluster.primary()? != number, "{name} leads with a full disk");
            fill(&rig, number, false)?;
            rig.cluster.await_whole(3).with_context(|| format!("{name} has room again"))?;
        }
        rig.judge(load)?;

        // All of them: what changes nothing goes on.
        for number in 0..3 {
            fill(&rig, number, true)?;
        }
        let place = ["--json", "order", "place", "-u", "ann", "--item", "apple", "--postcode", "DH1 3LE"];
        let clock = Clock::start();
        let mut said = String::new();
        while !said.contains("disk_full") {
            said = String::from_utf8(rig.cluster.client(&place)?.stderr)?;
            ensure!(clock.now().since_origin() < PATIENCE, "not refused for the full disk, but {said}");
        }
        ensure!(!rig.cluster.json(&["menu"])?.is_empty(), "reads go on");
        for number in 0..3 {
            fill(&rig, number, false)?;
        }
        rig.cluster.await_whole(3)?;
        while !rig.cluster.client(&place)?.status.success() {
            ensure!(clock.now().since_origin() < 2 * PATIENCE, "still refused");
        }
        Ok(())
    })
}
