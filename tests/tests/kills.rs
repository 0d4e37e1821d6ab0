//! Kills at named points and losses of power under load: nothing acknowledged is lost, everybody comes back.

use anyhow::{Result, ensure};
use cluster_tests::faults::{kills, not_run, power, shim, world};

#[test]
fn forty_kills_before_after_and_amid_what_is_written_lose_nothing() -> Result<()> {
    let name = "forty_kills_before_after_and_amid_what_is_written_lose_nothing";
    if let Err(why) = world::installed(shim::NEEDS) {
        not_run(name, &why);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let done = kills::run(folder.path(), 40, 1)?;
    println!("{done:?}");
    ensure!(done.len() > 12, "of every kind");
    Ok(())
}

#[test]
fn ten_losses_of_power_lose_nothing() -> Result<()> {
    world::in_own_world("ten_losses_of_power_lose_nothing", power::NEEDS, || {
        let folder = tempfile::tempdir()?;
        println!("{} orders", power::run(folder.path(), 10)?);
        Ok(())
    })
}

/// The test of the test: what is asked here sees a loss when there is one.
#[test]
fn disks_that_lie_lose_orders_with_the_power_and_the_judge_sees_it() -> Result<()> {
    let name = "disks_that_lie_lose_orders_with_the_power_and_the_judge_sees_it";
    world::in_own_world(name, power::NEEDS, || {
        let folder = tempfile::tempdir()?;
        let judged = power::run_with_liars(folder.path())?;
        println!("{judged:?}");
        ensure!(judged.is_err(), "three lying disks lost nothing");
        Ok(())
    })
}
