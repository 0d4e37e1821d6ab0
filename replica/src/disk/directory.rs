//! A replica's data directory: one process at a time, private, and never half made.

use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use common::machine::fs::{
    self, DirBuilder, DirBuilderExt as _, File, OpenOptions, OpenOptionsExt as _, TryLockError,
};
use common::names::OwnerKey;

/// A data directory, locked for the life of this value.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    /// Held, never read: its lock is what counts.
    _lock: File,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Two processes on one disk would be two primaries.
    #[error("{path} is in use by process {pid}", path = .path.display())]
    InUse {
        /// Which directory.
        path: PathBuf,
        /// Whose it is, as written in its `lock` file.
        pid: String,
    },
    /// The disk failed, or forbids it.
    #[error("{path}: {error}", path = .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        error: io::Error,
    },
}

fn at<T>(path: &Path, result: io::Result<T>) -> Result<T, DirectoryError> {
    result.map_err(|error| DirectoryError::Io { path: path.to_owned(), error })
}

impl Directory {
    /// Locks the directory at `path`, making it first when it is not there. Nothing in it is read before.
    ///
    /// # Errors
    /// [`DirectoryError`].
    pub fn open(path: &Path) -> Result<Self, DirectoryError> {
        make(path)?;
        let lock_path = path.join("lock");
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut lock = at(&lock_path, options.open(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                at(&lock_path, lock.read_to_string(&mut pid))?;
                return Err(DirectoryError::InUse { path: path.to_owned(), pid: pid.trim().to_owned() });
            }
            Err(TryLockError::Error(error)) => return Err(DirectoryError::Io { path: lock_path, error }),
        }
        let written = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        at(&lock_path, written)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The key by which a restart takes its own name over at once; drawn at the first start.
    ///
    /// # Errors
    /// [`DirectoryError::Io`].
    pub fn owner_key(&self) -> Result<OwnerKey, DirectoryError> {
        let path = self.path.join("owner.key");
        match fs::read_to_string(&path) {
            Ok(text) => match u128::from_str_radix(text.trim(), 16) {
                Ok(bits) => return Ok(OwnerKey::from_random(bits)),
                // Only a hint of who we were: a new one costs at most one lease's time at the next start.
                Err(error) => tracing::warn!(%error, "owner key damaged, drawing another"),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(DirectoryError::Io { path, error }),
        }
        let key = OwnerKey::from_random(rand::random());
        self.make_file("owner.key", |file| writeln!(file, "{:032x}", key.bits()))?;
        Ok(key)
    }

    /// Makes the file `name` whole or not at all: written beside its place, fsynced, renamed, directory fsynced.
    /// An unsynced rename is gone after a power loss, and everything written since with it.
    pub(super) fn make_file(
        &self,
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> Result<(), DirectoryError> {
        let (path, beside) = (self.path.join(name), self.path.join(format!("{name}.tmp")));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let mut file = at(&beside, options.open(&beside))?;
        at(&beside, write(&mut file).and_then(|()| file.sync_all()))?;
        at(&path, fs::rename(&beside, &path))?;
        self.sync()
    }

    /// Puts the file `name` aside as `aside`, never over another one.
    pub(super) fn put_aside(&self, name: &str, aside: &str) -> Result<PathBuf, DirectoryError> {
        let mut to = self.path.join(aside);
        let mut count = 1;
        while at(&to, fs::exists(&to))? {
            count += 1;
            to = self.path.join(format!("{aside}.{count}"));
        }
        at(&to, fs::rename(self.path.join(name), &to))?;
        self.sync()?;
        Ok(to)
    }

    /// Removes the file `name`.
    pub(super) fn remove(&self, name: &str) -> Result<(), DirectoryError> {
        let path = self.path.join(name);
        at(&path, fs::remove_file(&path))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), DirectoryError> {
        sync_directory(&self.path)
    }
}

/// Makes `path` and what is missing above it, each private and each durable in its parent.
fn make(path: &Path) -> Result<(), DirectoryError> {
    if fs::is_directory(path) {
        return Ok(());
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => sync_directory(parent),
        // Another process made it at the same moment; the lock tells us apart.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && fs::is_directory(path) => Ok(()),
        Err(error) => Err(DirectoryError::Io { path: path.to_owned(), error }),
    }
}

fn sync_directory(path: &Path) -> Result<(), DirectoryError> {
    at(path, File::open(path).and_then(|directory| directory.sync_all()))
}
