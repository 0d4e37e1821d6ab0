//! The files of the machine that asks, in the words of `std::fs`. Every directory exists, no permission is kept, and
//! no lock is ever held: a machine runs one process of each kind.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::path::Path;

use redb::StorageBackend as _;

use super::disk::{Disk, OpenFile};
use super::here;

/// A file, or a directory to be synced.
#[derive(Debug)]
pub struct File {
    what: What,
    at: u64,
}

#[derive(Clone, Debug)]
enum What {
    File(OpenFile),
    Directory(Disk),
}

/// Why a lock was not taken; it always is.
pub use std::fs::TryLockError;

fn name(path: &Path) -> String {
    path.display().to_string()
}

impl File {
    /// The file at `path`, or the directory.
    ///
    /// # Errors
    /// When there is none: a name with a dot is a file's.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let (path, disk) = (path.as_ref(), here().disk.clone());
        let what = match disk.open(&name(path)) {
            Some(file) => What::File(file),
            None if path.extension().is_none() => What::Directory(disk),
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        Ok(Self { what, at: 0 })
    }

    fn file(&self) -> io::Result<&OpenFile> {
        match &self.what {
            What::File(file) => Ok(file),
            What::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    /// What redb stands on.
    ///
    /// # Errors
    /// When it is a directory.
    pub fn into_backend(self) -> io::Result<OpenFile> {
        self.file().cloned()
    }

    /// See `std`.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { what: self.what.clone(), at: self.at })
    }

    /// See `std`; of a directory, its names.
    pub fn sync_all(&self) -> io::Result<()> {
        match &self.what {
            What::File(file) => file.sync_data(),
            What::Directory(disk) => disk.sync_names(),
        }
    }

    /// See `std`.
    pub fn set_len(&self, length: u64) -> io::Result<()> {
        self.file()?.set_len(length)
    }

    /// See `std`.
    pub fn try_lock(&self) -> Result<(), TryLockError> {
        Ok(())
    }

    /// See `std`.
    pub fn set_permissions(&self, _: Permissions) -> io::Result<()> {
        Ok(())
    }
}

impl Read for File {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let file = self.file()?;
        let left = usize::try_from(file.len()?.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let count = left.min(into.len());
        file.read(self.at, &mut into[..count])?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Write for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.at = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(0) => self.file()?.len()?,
            _ => return Err(io::ErrorKind::Unsupported.into()),
        };
        Ok(self.at)
    }
}

/// See `std`.
pub trait FileExt {
    /// See `std`.
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()>;
    /// See `std`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
}

impl FileExt for File {
    fn read_exact_at(&self, into: &mut [u8], offset: u64) -> io::Result<()> {
        self.file()?.read(offset, into)
    }

    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file()?.write(offset, bytes)
    }
}

/// See `std`.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    create: bool,
    truncate: bool,
}

impl OpenOptions {
    /// See `std`.
    pub fn new() -> Self {
        Self::default()
    }

    /// See `std`.
    pub fn read(&mut self, _: bool) -> &mut Self {
        self
    }

    /// See `std`.
    pub fn write(&mut self, _: bool) -> &mut Self {
        self
    }

    /// See `std`.
    pub fn create(&mut self, create: bool) -> &mut Self {
        self.create = create;
        self
    }

    /// See `std`.
    pub fn truncate(&mut self, truncate: bool) -> &mut Self {
        self.truncate = truncate;
        self
    }

    /// See `std`.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let (path, disk) = (name(path.as_ref()), here().disk.clone());
        let file = match disk.open(&path) {
            Some(file) if !self.truncate => file,
            None if !self.create => return Err(io::ErrorKind::NotFound.into()),
            _ => disk.create(&path)?,
        };
        Ok(File { what: What::File(file), at: 0 })
    }
}

/// See `std`.
pub trait OpenOptionsExt {
    /// See `std`.
    fn mode(&mut self, mode: u32) -> &mut Self;
}

impl OpenOptionsExt for OpenOptions {
    fn mode(&mut self, _: u32) -> &mut Self {
        self
    }
}

/// See `std`.
#[derive(Clone, Debug, Default)]
pub struct DirBuilder;

impl DirBuilder {
    /// See `std`.
    pub fn new() -> Self {
        Self
    }

    /// See `std`.
    pub fn recursive(&mut self, _: bool) -> &mut Self {
        self
    }

    /// See `std`.
    pub fn create(&self, _: impl AsRef<Path>) -> io::Result<()> {
        Ok(())
    }
}

/// See `std`.
pub trait DirBuilderExt {
    /// See `std`.
    fn mode(&mut self, mode: u32) -> &mut Self;
}

impl DirBuilderExt for DirBuilder {
    fn mode(&mut self, _: u32) -> &mut Self {
        self
    }
}

/// See `std`.
#[derive(Clone, Debug)]
pub struct Permissions;

/// See `std`.
pub trait PermissionsExt {
    /// See `std`.
    fn from_mode(mode: u32) -> Self;
}

impl PermissionsExt for Permissions {
    fn from_mode(_: u32) -> Self {
        Self
    }
}

/// See `std`.
pub fn exists(path: impl AsRef<Path>) -> io::Result<bool> {
    Ok(here().disk.exists(&name(path.as_ref())))
}

/// See `std`.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    let file = here().disk.open(&name(path.as_ref())).ok_or(io::ErrorKind::NotFound)?;
    String::from_utf8(file.read_all()?).map_err(io::Error::other)
}

/// See `std`.
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    here().disk.rename(&name(from.as_ref()), &name(to.as_ref()))
}

/// See `std`.
pub fn remove_file(path: impl AsRef<Path>) -> io::Result<()> {
    here().disk.remove(&name(path.as_ref()))
}

/// Whether there is a directory at `path`.
pub fn is_directory(_: &Path) -> bool {
    true
}

/// The names of the files in the directory at `path`.
///
/// # Errors
/// None.
pub fn names_in(path: &Path) -> io::Result<Vec<String>> {
    let within = format!("{}/", name(path));
    let names = here().disk.names();
    Ok(names.iter().filter_map(|file| Some(file.strip_prefix(&within)?.to_owned())).collect())
}

/// Drops what is cached of `file`.
///
/// # Errors
/// When it is a directory.
pub fn drop_cache(file: &File) -> io::Result<()> {
    file.file()?.drop_cache(0..usize::MAX);
    Ok(())
}

/// Drops what is cached of so many bytes of `file` from `from` on.
///
/// # Errors
/// When it is a directory.
pub fn drop_cached_part(file: &File, from: u64, bytes: NonZeroU64) -> io::Result<()> {
    let end = from.saturating_add(bytes.get());
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    file.file()?.drop_cache(place(from)..place(end));
    Ok(())
}

/// Room on the disk.
///
/// # Errors
/// None.
pub fn free_bytes(_: &Path) -> io::Result<u64> {
    Ok(here().disk.free_bytes())
}
