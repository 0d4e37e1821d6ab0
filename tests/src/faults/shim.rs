//! A program's disk, with faults that a test asks for while the program runs: `shim.c`, loaded before the C library
//! into a real binary, which need not know.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use common::clock::Clock;
use tempfile::TempDir;

use crate::process::{Around, PATIENCE};
use crate::shop::run;

/// The programs that it needs.
pub const NEEDS: &[&str] = &["cc"];

/// What may go wrong, in the order of `struct control`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// So many syncs fail with EIO.
    FailSync = 1,
    /// Each sync takes so many milliseconds longer.
    DelaySync,
    /// Syncs do nothing, and say that it is done.
    LieSync,
    /// So many writes fail with ENOSPC.
    NoSpace,
    /// So many writes take only half.
    ShortWrite,
    /// 1: the next write takes only half, and the process dies.
    TearWrite,
    /// n: the process dies before its n-th sync from now.
    DieBefore,
    /// n: the process dies after its n-th sync from now.
    DieAfter,
}

/// How many numbers a control file has.
const NUMBERS: usize = 9;

/// One program's disk.
#[derive(Debug)]
pub struct Shim {
    control: File,
    path: PathBuf,
    directory: PathBuf,
    _folder: TempDir,
}

/// The shared object, compiled once per test process.
///
/// # Panics
/// When it does not compile.
fn object() -> &'static Path {
    static OBJECT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = OBJECT.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a place for it");
        let (source, object) = (folder.path().join("shim.c"), folder.path().join("shim.so"));
        std::fs::write(&source, include_str!("shim.c")).expect("it can be written");
        let flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"];
        let done = Command::new("cc").args(flags).arg(&object).arg(&source).arg("-ldl").status();
        assert!(done.is_ok_and(|status| status.success()), "the shim does not compile");
        (folder, object)
    });
    path
}

impl Shim {
    /// A disk without faults yet, under what is in `directory`.
    ///
    /// # Errors
    /// When the machine does not allow it.
    pub fn over(directory: &Path) -> Result<Self> {
        std::fs::create_dir_all(directory)?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("control");
        std::fs::write(&path, [0; 4 * NUMBERS])?;
        let control = File::options().read(true).write(true).open(&path)?;
        Ok(Self { control, path, directory: directory.to_owned(), _folder: folder })
    }

    /// What has to be round a program that is to have this disk.
    pub fn around(&self) -> Around {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let environment = [
            ("LD_PRELOAD", text(object())),
            ("FAULTS_CONTROL", text(&self.path)),
            ("FAULTS_DIRECTORY", text(&self.directory)),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        Around { environment: environment.into(), ..Around::default() }
    }

    /// From now on this is wrong, so often or so much; 0: no longer.
    ///
    /// # Errors
    /// When the control file cannot be written.
    pub fn set(&self, fault: Fault, number: u32) -> Result<()> {
        Ok(self.control.write_all_at(&number.to_ne_bytes(), 4 * fault as u64)?)
    }

    /// How many faults have happened.
    ///
    /// # Errors
    /// When the control file cannot be read.
    pub fn fired(&self) -> Result<u32> {
        self.number(0)
    }

    /// Returns when `more` faults than `before` have happened.
    ///
    /// # Errors
    /// When that takes more than [`PATIENCE`].
    pub fn await_fired(&self, before: u32, more: u32) -> Result<()> {
        /// Another process counts them in memory that both map; there is nothing to wait on.
        const STEP: Duration = Duration::from_millis(2);
        run(async {
            let clock = Clock::start();
            while self.fired()? < before + more {
                ensure!(clock.now().since_origin() < PATIENCE, "the planned fault did not happen");
                tokio::time::sleep(STEP).await;
            }
            Ok(())
        })
    }

    fn number(&self, at: u64) -> Result<u32> {
        let mut bytes = [0; 4];
        self.control.read_exact_at(&mut bytes, 4 * at).context("the control file is whole")?;
        Ok(u32::from_ne_bytes(bytes))
    }
}
