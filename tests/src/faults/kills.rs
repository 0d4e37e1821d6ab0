//! Kills at named points: before a sync, after it, in the middle of a write; of a primary, a backup, a successor just
//! elected, a replica that joins with an empty disk.
//!
//! A replica syncs for what it acknowledges, for a configuration before it acts on it, for the barrier of an epoch that
//! it leads, and when it formats a disk; so the points before and after a sync are those round each of these.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use rand::Rng as _;
use rustix::process::Signal;

use super::damage::dice;
use super::rig::Rig;
use super::shim::Fault;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// The primary.
    Primary,
    /// A backup.
    Backup,
    /// A backup while the primary dies too: one that stands for election, or has just won it, or follows who did.
    Successor,
    /// A replica on an empty disk, while it formats it, or is fed.
    Joiner,
}

/// Kills so many times under load, and judges.
///
/// # Errors
/// When something acknowledged is lost, or somebody does not come back.
pub fn run(folder: &Path, kills: usize, seed: u64) -> Result<BTreeMap<String, usize>> {
    const WHOM: [Whom; 4] = [Whom::Primary, Whom::Backup, Whom::Successor, Whom::Joiner];
    const HOW: [Fault; 3] = [Fault::DieBefore, Fault::DieAfter, Fault::TearWrite];
    /// Syncs after which a kill comes, at most: a change of configuration, a barrier, and some batches.
    const SYNCS_MAX: u32 = 6;

    let mut rig = Rig::start(folder)?;
    let mut load = rig.load()?;
    let mut dice = dice(seed);
    let mut done = BTreeMap::new();
    for kill in 0..kills {
        let (whom, how) = (WHOM[kill % 4], HOW[kill / 4 % 3]);
        let primary = rig.cluster.primary()?;
        let number = if whom == Whom::Primary { primary } else { (primary + dice.random_range(1..3)) % 3 };
        let nth = if how == Fault::TearWrite { 1 } else { dice.random_range(1..=SYNCS_MAX) };
        let told = format!("kill {kill} of seed {seed}: {whom:?} {how:?} {nth}");
        if whom == Whom::Joiner {
            rig.cluster.replicas[number].kill()?;
            fs::remove_dir_all(rig.data(number))?;
            rig.disks[number].set(how, nth)?;
            // It may die before it is ready.
            let _ = rig.cluster.replicas[number].start_again();
        } else {
            rig.disks[number].set(how, nth)?;
        }
        if whom == Whom::Successor {
            rig.cluster.replicas[primary].signal(Signal::KILL)?;
        }
        let ended = rig.cluster.replicas[number].ended().with_context(|| told.clone())?;
        ensure!(ended.signal() == Some(Signal::KILL.as_raw()), "{told}: it ended with {ended}");
        if whom == Whom::Successor {
            rig.cluster.replicas[primary].ended()?;
            rig.cluster.replicas[primary].start_again()?;
        }
        rig.cluster.replicas[number].start_again().with_context(|| told.clone())?;
        rig.cluster.await_whole(3).with_context(|| told.clone())?;
        load.await_acknowledged(10).with_context(|| told.clone())?;
        *done.entry(format!("{whom:?} {how:?}")).or_insert(0) += 1;
    }
    let orders = rig.judge(load).with_context(|| format!("seed {seed}"))?;
    done.insert("orders".to_owned(), orders);
    Ok(done)
}
