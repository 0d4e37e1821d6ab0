//! Power losses: file systems of the test's own, whose unwritten pages are gone at once; then all is started again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::rig::{DISKS, Rig};
use super::shim::Fault;
use super::world::tool;
use crate::process::Process;

/// The programs that it needs.
pub const NEEDS: &[&str] = &["cc", "mkfs.ext4", "mount", "losetup"];
/// Of each file system: a full disk is another test's.
const DISK_BYTES: u64 = 400 << 20;

/// File systems in files, and the switch. To be made in a world of the test's own, with whose end they are unmounted.
#[derive(Debug)]
pub struct Machine {
    folder: PathBuf,
    switch: PathBuf,
}

impl Machine {
    /// Makes the file systems, and mounts them.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub fn new(folder: &Path) -> Result<Self> {
        let (source, switch) = (folder.join("power.c"), folder.join("power"));
        fs::write(&source, include_str!("power.c"))?;
        let done = Command::new("cc").arg("-o").arg(&switch).arg(&source).status()?;
        ensure!(done.success(), "the switch does not compile");
        let this = Self { folder: folder.to_owned(), switch };
        for name in DISKS {
            let image = this.image(name);
            File::create(&image)?.set_len(DISK_BYTES)?;
            tool("mkfs.ext4", &["-q", "-E", "lazy_itable_init=1", &text(&image)])?;
            fs::create_dir(folder.join(name))?;
            this.mount(name)?;
        }
        Ok(this)
    }

    fn image(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.img"))
    }

    fn mount(&self, name: &str) -> Result<()> {
        tool("mount", &["-o", "loop", &text(&self.image(name)), &text(&self.folder.join(name))])
    }

    /// Takes the power from all disks at one moment, and the processes with it; and gives it back.
    ///
    /// # Errors
    /// When the machine does not allow it, or a process does not come back.
    pub fn lose_power(&self, rig: &mut Rig) -> Result<()> {
        let paths = DISKS.map(|name| text(&self.folder.join(name)));
        tool(&text(&self.switch), &paths.each_ref().map(String::as_str))?;
        for process in std::iter::once(&mut rig.cluster.name_server).chain(&mut rig.cluster.replicas) {
            // It may have ended already, of its disk.
            let _ = process.kill();
            ensure!(!process.is_alive(), "{} outlived the power", process.name());
        }
        for name in DISKS {
            tool("umount", &[&text(&self.folder.join(name))])?;
            self.mount(name)?;
        }
        rig.cluster.name_server.start_again()?;
        rig.cluster.replicas.iter_mut().try_for_each(Process::start_again)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Takes the power so many times under load, and judges.
///
/// # Errors
/// When something acknowledged is lost, or somebody does not come back.
pub fn run(folder: &Path, losses: usize) -> Result<usize> {
    let machine = Machine::new(folder)?;
    let mut rig = Rig::start(folder)?;
    let mut load = rig.load()?;
    for loss in 0..losses {
        machine.lose_power(&mut rig)?;
        rig.cluster.await_whole(3).with_context(|| format!("after loss {loss}"))?;
        load.await_acknowledged(40).with_context(|| format!("after loss {loss}"))?;
    }
    rig.judge(load)
}

/// Takes the power once from disks that lied; what the judge says of it.
///
/// # Errors
/// When it did not come so far.
pub fn run_with_liars(folder: &Path) -> Result<Result<usize>> {
    let machine = Machine::new(folder)?;
    let mut rig = Rig::start(folder)?;
    let mut load = rig.load()?;
    for disk in &rig.disks {
        disk.set(Fault::LieSync, 1)?;
    }
    load.await_acknowledged(200)?;
    for disk in &rig.disks {
        ensure!(disk.fired()? > 0, "it did not lie");
    }
    // To the end: one true sync would make up for all the lies before it.
    let back = machine.lose_power(&mut rig);
    for disk in &rig.disks {
        disk.set(Fault::LieSync, 0)?;
    }
    Ok(back.and_then(|()| rig.cluster.await_whole(3)).and_then(|()| rig.judge(load)))
}
