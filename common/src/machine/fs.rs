//! `std::fs`, as far as it is used for what must survive.

use std::io;
use std::num::NonZeroU64;
use std::path::Path;

pub use std::fs::{
    DirBuilder, File, OpenOptions, Permissions, TryLockError, exists, read_to_string, remove_file, rename,
};
pub use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};

/// Whether there is a directory at `path`.
pub fn is_directory(path: &Path) -> bool {
    path.is_dir()
}

/// The names of the files in the directory at `path`.
///
/// # Errors
/// The operating system's.
pub fn names_in(path: &Path) -> io::Result<Vec<String>> {
    std::fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// Drops what is cached of `file`, so that what is read is what the disk has, not what failed to reach it.
///
/// # Errors
/// The operating system's.
pub fn drop_cache(file: &File) -> io::Result<()> {
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed)?;
    // And has all of it read again meanwhile, at the disk's own pace instead of page by page.
    Ok(rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::WillNeed)?)
}

/// Drops what is cached of so many bytes of `file` from `from` on: of a large file in use, a part at a time. Nothing of it
/// is read again before somebody asks.
///
/// # Errors
/// The operating system's.
pub fn drop_cached_part(file: &File, from: u64, bytes: NonZeroU64) -> io::Result<()> {
    Ok(rustix::fs::fadvise(file, from, Some(bytes), rustix::fs::Advice::DontNeed)?)
}

/// Room on the file system on which `path` is.
///
/// # Errors
/// The operating system's.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let room = rustix::fs::statvfs(path)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}
