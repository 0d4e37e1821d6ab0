//! A cluster whose disks are the test's.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::shim::Shim;
use crate::cluster::{Cluster, Options, Place};
use crate::shop::{Load, audit, failures};

/// Three replicas, a name server and a front end, each of the first four on a disk of its own.
#[derive(Debug)]
pub struct Rig {
    /// The processes.
    pub cluster: Cluster,
    /// The replicas' disks.
    pub disks: Vec<Shim>,
    /// The name server's disk.
    pub names: Shim,
    folder: PathBuf,
}

/// The folders of a rig's disks.
pub const DISKS: [&str; 4] = ["replica.1", "replica.2", "replica.3", "nameserver"];

impl Rig {
    /// Starts one, its disks being those of [`DISKS`] in `folder`.
    ///
    /// # Errors
    /// When it does not become whole.
    pub fn start(folder: &Path) -> Result<Self> {
        let mut disks =
            DISKS.map(|name| Shim::over(&folder.join(name))).into_iter().collect::<Result<Vec<_>>>()?;
        let names = disks.pop().context("the last is the name server's")?;
        let cluster = Cluster::start_in(Options::default(), |name| {
            match DISKS.iter().position(|disk| *disk == name) {
                Some(3) => {
                    let data = Some(folder.join(name).join("names.redb"));
                    Place { around: names.around(), data, ..Place::default() }
                }
                Some(number) => {
                    // A directory below, so that the disk may be one of its own.
                    let data = Some(folder.join(name).join("data"));
                    Place { around: disks[number].around(), data, ..Place::default() }
                }
                None => Place::default(),
            }
        })?;
        Ok(Self { cluster, disks, names, folder: folder.to_owned() })
    }

    /// Customers who have begun to order.
    ///
    /// # Errors
    /// When nobody serves them.
    pub fn load(&self) -> Result<Load> {
        let mut load = Load::start(self.cluster.name_server.address(), 4);
        load.await_acknowledged(50)?;
        Ok(load)
    }

    /// The data directory of the replica `number`.
    pub fn data(&self, number: usize) -> PathBuf {
        self.folder.join(DISKS[number]).join("data")
    }

    /// The name server's file.
    pub fn store(&self) -> PathBuf {
        self.folder.join(DISKS[3]).join("names.redb")
    }

    /// Ends the load, and looks for every acknowledged order on every replica.
    ///
    /// # Errors
    /// When one is lost or doubled, or a customer was left without an answer.
    pub fn judge(&self, load: Load) -> Result<usize> {
        let attempts = load.stop()?;
        self.cluster.await_whole(3)?;
        audit(&attempts, &self.cluster.replica_addresses())?;
        ensure!(failures(&attempts).is_empty(), "{:?}", failures(&attempts));
        Ok(attempts.len())
    }
}
