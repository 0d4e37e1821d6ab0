//! One group's file, and how it is read back without trusting it.
//!
//! Tables: `meta` (format, cluster, replica, group, batch, snapshot, addresses, names, and what the group's engine keeps
//! there), `log`, and the chunks of a snapshot (`disk/snapshot.rs`). Each value ends with a crc32c over table, key and
//! value: redb checks its pages only when it repairs. What an engine's batch means in these tables, and how it is read
//! back, is in `disk/batch.rs` (passive) and `disk/gossip.rs`.

use std::cell::Cell;
use std::io::{Seek as _, SeekFrom};
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use common::clock::{Clock, Timestamp};
use common::ids::ClusterId;
use common::machine::fs::{self, File};
use common::replication::{GroupName, ReplicaId};
use redb::backends::InMemoryBackend;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable, Table,
    TableDefinition, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::Stored;
use super::directory::{Directory, DirectoryError};
use super::mark::Mark;
use super::snapshot::{self, Kept, Shelf, Step};
use crate::known::Notes;

pub(super) const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
pub(super) const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// What this program writes, and the only one that it reads.
const FORMAT: u32 = 1;
/// The log's tail and the tables' upper pages; the core keeps in memory what it needs. (redb's own default: 1 GiB.)
const CACHE_BYTES: usize = 16 * 1024 * 1024;
/// Of a file, dropped from the operating system's memory in one go: a millisecond.
pub(super) const CACHED_PART: NonZeroU64 = NonZeroU64::new(8 * 1024 * 1024).unwrap();

/// Whose disk a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster it was formatted for.
    pub cluster: ClusterId,
    /// The replica: drawn when it was formatted.
    pub replica: ReplicaId,
}

/// An open file.
#[derive(Debug)]
pub struct GroupFile {
    journal: Journal,
    shelf: Shelf,
    /// `None`: in memory.
    path: Option<PathBuf>,
}

/// A file's transactions, each under its number.
#[derive(Debug)]
pub(super) struct Journal {
    database: Database,
    /// `None`: in memory.
    mark: Option<Mark>,
    /// The last batch's number.
    batch: Cell<u64>,
}

/// What goes into a group's file in one transaction.
pub trait Batch: Send + 'static {
    /// Puts it there; what `meta` is to remember of a snapshot in it.
    ///
    /// # Errors
    /// redb's.
    fn put(&self, transaction: &WriteTransaction, shelf: &mut Shelf) -> Result<Option<Kept>, redb::Error>;

    /// How many entries it adds to the log, and their bytes.
    fn entries(&self) -> (usize, usize);
}

/// What an engine finds in its group's file.
pub trait Readable: Sized + Default {
    /// Reads it; the snapshot that counts was read already.
    ///
    /// # Errors
    /// When it is not what was written.
    fn read(transaction: &redb::ReadTransaction, snapshot: Option<Bytes>) -> Result<Self, Unreadable>;
}

/// What a file holds.
#[derive(Debug)]
pub struct Contents<S = Stored> {
    /// Whose it is.
    pub identity: Identity,
    /// What the core wrote.
    pub stored: S,
    /// What was noted of the other members: hints for a start without a name server.
    pub notes: Notes,
}

impl Contents {
    /// Whether it holds more than a first entry whose group may never have come to be.
    pub fn holds_group(&self) -> bool {
        let Stored { config, snapshot, entries, .. } = &self.stored;
        config.is_some() || snapshot.is_some() || entries.len() > 1
    }
}

/// What stands in a group's file's place.
#[derive(Debug)]
pub enum Found<S = Stored> {
    /// Nothing.
    Nothing,
    /// A member.
    Member(GroupFile, Box<Contents<S>>),
    /// Something that must not be served, and why: it names the key.
    Damaged(String),
}

/// Why a file cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The disk failed: the outcome of whatever was under way is unknown.
    #[error("{path}: {why}", path = .path.display())]
    Failed {
        /// Which file.
        path: PathBuf,
        /// What the operating system or redb says.
        why: String,
    },
    /// A newer program wrote it.
    #[error("{path} was written in format {written}, this program reads {FORMAT}", path = .path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its format.
        written: u32,
    },
    /// Its directory failed.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}

/// Where a group's file is: in a directory, or nowhere when all is kept in memory.
#[derive(Clone, Debug)]
pub struct Place {
    /// `None`: in memory.
    pub directory: Option<Arc<Directory>>,
    /// Whose file; a name of the services' table, never a user's text.
    pub group: GroupName,
}

impl Place {
    fn name(&self) -> String {
        format!("{}.redb", self.group)
    }

    fn path(&self) -> PathBuf {
        self.directory
            .as_ref()
            .map_or_else(|| "memory".into(), |directory| directory.path().join(self.name()))
    }

    /// Opens and reads what is there.
    ///
    /// # Errors
    /// [`FileError`]; damage is no error but a finding.
    pub fn open<S: Readable>(&self) -> Result<Found<S>, FileError> {
        let path = self.path();
        let failed = |error: std::io::Error| FileError::Failed { path: path.clone(), why: error.to_string() };
        if self.directory.is_none() || !fs::exists(&path).map_err(failed)? {
            return Ok(Found::Nothing);
        }
        // What a restart reads must be what the disk has, not what failed to reach it and stayed in the page cache.
        forget_cache(&path).map_err(failed)?;
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let mut database = open_database(&path)?;
            // After a clean end redb trusts the file, down to which of its pages are free to be written over.
            if !database.check_integrity()? {
                return Err(Unreadable::Damaged("redb: pages are not what was written".to_owned()));
            }
            let (contents, kept, batch) = read(&database, &self.group)?;
            let mark = Mark::beside(&path, contents.identity.replica)?;
            if let Some(why) = mark.contradicts(batch)? {
                return Err(Unreadable::Damaged(why));
            }
            let journal = Journal { database, mark: Some(mark), batch: Cell::new(batch) };
            let file = GroupFile { journal, shelf: Shelf::new(kept), path: Some(path.clone()) };
            Ok((file, Box::new(contents)))
        }));
        match opened {
            Ok(Ok((file, contents))) => Ok(Found::Member(file, contents)),
            Ok(Err(Unreadable::Damaged(why))) => Ok(Found::Damaged(why)),
            Ok(Err(Unreadable::Newer(written))) => Err(FileError::Newer { path, written }),
            Ok(Err(Unreadable::Failed(why))) => Err(FileError::Failed { path, why }),
            // Known of redb after a full disk.
            Err(_) => Ok(Found::Damaged("redb panicked".to_owned())),
        }
    }

    /// Makes a file for a new identity, in the place of none.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn format(&self, identity: Identity) -> Result<GroupFile, FileError> {
        self.format_with(identity, |_| Ok(()))
    }

    /// The same, for one that holds from the beginning what `begin` puts there.
    ///
    /// # Errors
    /// [`FileError`].
    pub(super) fn format_with(
        &self,
        identity: Identity,
        begin: impl Fn(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<GroupFile, FileError> {
        let path = self.path();
        let failed = |error: redb::Error| FileError::Failed { path: path.clone(), why: error.to_string() };
        let database = match &self.directory {
            None => {
                let database =
                    builder().create_with_backend(InMemoryBackend::new()).map_err(|e| failed(e.into()))?;
                stamp(&database, &self.group, identity, begin).map_err(failed)?;
                database
            }
            Some(directory) => {
                directory.make_file(&self.name(), |file: &mut File| {
                    let database = make_database(file.try_clone()?).map_err(std::io::Error::other)?;
                    stamp(&database, &self.group, identity, begin).map_err(std::io::Error::other)
                })?;
                open_database(&path).map_err(|error| failed(error.into()))?
            }
        };
        let mark = self.directory.as_ref().map(|_| {
            let mark = Mark::beside(&path, identity.replica)?;
            mark.set(0).map(|()| mark)
        });
        let mark = mark.transpose().map_err(|error| failed(error.into()))?;
        let path = mark.as_ref().map(|_| path);
        let journal = Journal { database, mark, batch: Cell::new(0) };
        Ok(GroupFile { journal, shelf: Shelf::new(Kept::default()), path })
    }

    /// What `look` finds in a file that is damaged, if it can be opened at all.
    pub(super) fn look_past_damage<T>(
        &self,
        look: impl FnOnce(&redb::ReadTransaction) -> Option<T>,
    ) -> Option<T> {
        self.directory.as_ref()?;
        let looked =
            catch_unwind(AssertUnwindSafe(|| look(&open_database(&self.path()).ok()?.begin_read().ok()?)));
        looked.ok().flatten()
    }

    /// Puts a damaged file aside as evidence.
    ///
    /// # Errors
    /// [`FileError::Directory`].
    pub fn put_damaged_aside(&self) -> Result<PathBuf, FileError> {
        self.put_aside(&format!("{}.damaged-{}", self.name(), file_time(Clock::wall())))
    }

    /// Gives the file's identity up: puts it aside when it may hold entries that nobody else has, else removes it.
    ///
    /// # Errors
    /// [`FileError::Directory`].
    pub fn give_up(&self, keep: bool) -> Result<(), FileError> {
        match &self.directory {
            None => {}
            Some(_) if keep => {
                let aside =
                    self.put_aside(&format!("{}.{}.rolled-back", self.name(), file_time(Clock::wall())))?;
                tracing::warn!(group = %self.group, path = %aside.display(), "file put aside, starting anew");
            }
            Some(directory) => directory.remove(&self.name())?,
        }
        Ok(())
    }

    fn put_aside(&self, aside: &str) -> Result<PathBuf, FileError> {
        match &self.directory {
            None => Ok(self.path()),
            Some(directory) => Ok(directory.put_aside(&self.name(), aside)?),
        }
    }
}

impl GroupFile {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        self.path.as_deref().unwrap_or(Path::new("memory"))
    }

    /// Room on its file system; `None` when it is not known, or the file is in memory.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        fs::free_bytes(self.path.as_ref()?).ok()
    }

    /// Writes `batch` in one transaction, fsynced.
    ///
    /// # Errors
    /// redb's. Whether the batch is on the disk is unknown then, and nothing may be answered any more.
    pub(super) fn write(&mut self, batch: &impl Batch) -> Result<(), redb::Error> {
        let mut chosen = None;
        let Self { journal, shelf, .. } = self;
        journal.commit(|transaction| {
            chosen = batch.put(transaction, shelf)?;
            if let Some(kept) = &chosen {
                put(&mut transaction.open_table(META)?, "snapshot", kept)?;
            }
            Ok(())
        })?;
        if let Some(kept) = chosen {
            self.shelf.chosen(kept);
        }
        Ok(())
    }

    /// The snapshots in it, and what is to be done for them between two batches.
    pub(super) fn shelf(&mut self) -> &mut Shelf {
        &mut self.shelf
    }

    /// One bounded piece of that work.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub(super) fn step(&mut self) -> Result<Step, redb::Error> {
        let path = self.path.as_deref();
        // Without it less is proven, and nothing is wrong.
        self.shelf.step(&self.journal, |from| forget_cached_part(path?, from).ok().flatten())
    }

    /// Writes down what the next start should know of the other members.
    pub(super) fn note(&self, notes: &Notes) -> Result<(), redb::Error> {
        self.journal.commit(|transaction| {
            let mut meta = transaction.open_table(META)?;
            put(&mut meta, "addresses", &notes.addresses)?;
            put(&mut meta, "names", &notes.names)
        })
    }
}

impl Journal {
    /// A journal in memory, of nobody.
    #[cfg(test)]
    pub(super) fn for_tests() -> Self {
        let database = builder().create_with_backend(InMemoryBackend::new()).expect("there is memory");
        let identity = Identity { cluster: ClusterId::UNSTATED, replica: ReplicaId::from_u128(1) };
        stamp(&database, &"just.hungry".parse().expect("it keeps the grammar"), identity, |_| Ok(()))
            .expect("there is memory");
        Self { database, mark: None, batch: Cell::new(0) }
    }

    /// What stands in it now.
    pub(super) fn read(&self) -> Result<redb::ReadTransaction, redb::Error> {
        Ok(self.database.begin_read()?)
    }

    /// Commits what `change` does, under the next number, fsynced.
    pub(super) fn commit(
        &self,
        change: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), redb::Error> {
        let batch = self.batch.get() + 1;
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        change(&transaction)?;
        put(&mut transaction.open_table(META)?, "batch", &batch)?;
        transaction.commit()?;
        self.batch.set(batch);
        match &self.mark {
            Some(mark) => Ok(mark.set(batch)?),
            None => Ok(()),
        }
    }
}

/// Reads all of a file, which snapshot counts, and the number of its last batch.
fn read<S: Readable>(database: &Database, group: &GroupName) -> Result<(Contents<S>, Kept, u64), Unreadable> {
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(META)?;
    let format: u32 = get(&meta, "format")?.ok_or_else(|| missing("format"))?;
    if format > FORMAT {
        return Err(Unreadable::Newer(format));
    }
    let of: GroupName = get(&meta, "group")?.ok_or_else(|| missing("group"))?;
    if of != *group {
        return Err(Unreadable::Damaged(format!("meta group: the file belongs to {of}")));
    }
    let identity = Identity {
        cluster: get(&meta, "cluster")?.ok_or_else(|| missing("cluster"))?,
        replica: get(&meta, "replica")?.ok_or_else(|| missing("replica"))?,
    };
    let kept: Kept = get(&meta, "snapshot")?.unwrap_or_default();
    let stored = S::read(&transaction, snapshot::read(&transaction, kept)?)?;
    let notes = Notes {
        addresses: get(&meta, "addresses")?.unwrap_or_default(),
        names: get(&meta, "names")?.unwrap_or_default(),
    };
    let batch = get(&meta, "batch")?.unwrap_or_default();
    Ok((Contents { identity, stored, notes }, kept, batch))
}

/// Why a file gave no [`Contents`].
pub enum Unreadable {
    /// It does not hold what was written.
    Damaged(String),
    /// A newer program wrote it.
    Newer(u32),
    /// It could not be read.
    Failed(String),
}

impl<E: Into<redb::Error>> From<E> for Unreadable {
    fn from(error: E) -> Self {
        match error.into() {
            // The operating system's word; what redb itself found wrong has no number.
            redb::Error::Io(error) if error.raw_os_error().is_some() => Self::Failed(error.to_string()),
            // Among it, redb's own format older than any that we ever wrote.
            error => Self::Damaged(error.to_string()),
        }
    }
}

/// Makes an empty database of an empty file.
#[cfg(not(feature = "sim"))]
fn make_database(file: File) -> Result<Database, DatabaseError> {
    builder().create_file(file)
}

/// Opens the database at `path`.
#[cfg(not(feature = "sim"))]
fn open_database(path: &Path) -> Result<Database, DatabaseError> {
    builder().open(path)
}

/// Makes an empty database of an empty file of a simulated disk.
#[cfg(feature = "sim")]
fn make_database(file: File) -> Result<Database, DatabaseError> {
    let backend = file.into_backend().map_err(redb::StorageError::from)?;
    builder().create_with_backend(backend)
}

/// Opens the database at `path` of a simulated disk.
#[cfg(feature = "sim")]
fn open_database(path: &Path) -> Result<Database, DatabaseError> {
    make_database(File::open(path).map_err(redb::StorageError::from)?)
}

/// Drops what the operating system remembers of the file at `path`, as far as it is on the disk.
fn forget_cache(path: &Path) -> std::io::Result<()> {
    fs::drop_cache(&File::open(path)?)
}

/// The same for a part of it, from `from` on; where the next one begins, if there is one.
pub(super) fn forget_cached_part(path: &Path, from: u64) -> std::io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    fs::drop_cached_part(&file, from, CACHED_PART)?;
    let (next, end) = (from + CACHED_PART.get(), file.seek(SeekFrom::End(0))?);
    Ok(Some(next).filter(|next| *next < end))
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn stamp(
    database: &Database,
    group: &GroupName,
    identity: Identity,
    begin: impl Fn(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<(), redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    {
        let mut meta = transaction.open_table(META)?;
        put(&mut meta, "format", &FORMAT)?;
        put(&mut meta, "group", group)?;
        put(&mut meta, "cluster", &identity.cluster)?;
        put(&mut meta, "replica", &identity.replica)?;
        transaction.open_table(LOG)?;
        snapshot::make(&transaction)?;
    }
    begin(&transaction)?;
    Ok(transaction.commit()?)
}

pub(super) fn put<T: Serialize>(
    meta: &mut Table<'_, &'static str, &'static [u8]>,
    key: &str,
    value: &T,
) -> Result<(), redb::Error> {
    meta.insert(key, &*seal("meta", key.as_bytes(), value))?;
    Ok(())
}

pub(super) fn get<T: DeserializeOwned>(
    meta: &impl ReadableTable<&'static str, &'static [u8]>,
    key: &str,
) -> Result<Option<T>, Unreadable> {
    let Some(value) = meta.get(key)? else { return Ok(None) };
    unseal("meta", key.as_bytes(), value.value(), || format!("meta {key}")).map(Some)
}

fn missing(key: &str) -> Unreadable {
    Unreadable::Damaged(format!("meta {key}: missing"))
}

fn checksum(table: &str, key: &[u8], value: &[u8]) -> [u8; 4] {
    let crc = [&[0], key, value]
        .iter()
        .fold(crc32c::crc32c(table.as_bytes()), |crc, part| crc32c::crc32c_append(crc, part));
    crc.to_be_bytes()
}

pub(super) fn seal_bytes(table: &str, key: &[u8], mut value: Vec<u8>) -> Vec<u8> {
    let crc = checksum(table, key, &value);
    value.extend_from_slice(&crc);
    value
}

pub(super) fn seal<T: Serialize>(table: &str, key: &[u8], value: &T) -> Vec<u8> {
    let config = bincode::config::standard();
    let value = bincode::serde::encode_to_vec(value, config).expect("plain data always encodes into memory");
    seal_bytes(table, key, value)
}

pub(super) fn unseal_bytes<'a>(
    table: &str,
    key: &[u8],
    sealed: &'a [u8],
    name: impl Fn() -> String,
) -> Result<&'a [u8], Unreadable> {
    match sealed.split_last_chunk::<4>() {
        Some((value, crc)) if *crc == checksum(table, key, value) => Ok(value),
        _ => Err(Unreadable::Damaged(format!("{}: bad checksum", name()))),
    }
}

pub(super) fn unseal<T: DeserializeOwned>(
    table: &str,
    key: &[u8],
    sealed: &[u8],
    name: impl Fn() -> String,
) -> Result<T, Unreadable> {
    let value = unseal_bytes(table, key, sealed, &name)?;
    match bincode::serde::decode_from_slice(value, bincode::config::standard()) {
        Ok((decoded, read)) if read == value.len() => Ok(decoded),
        Ok(_) => Err(Unreadable::Damaged(format!("{}: too long", name()))),
        Err(error) => Err(Unreadable::Damaged(format!("{}: {error}", name()))),
    }
}

/// A time that can stand in a file's name.
pub(super) fn file_time(at: Timestamp) -> String {
    at.to_string().replace([':', '.'], "-")
}
