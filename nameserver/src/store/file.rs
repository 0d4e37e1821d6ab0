//! The embedded file: redb, one table per kind of row, each value with a checksum of its own.

use std::io::{self, Read as _, Seek as _, Write as _};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::ids::{ClusterId, InstanceId};
use common::machine::fs::{
    self, DirBuilder, DirBuilderExt as _, File, OpenOptions, OpenOptionsExt as _, Permissions,
    PermissionsExt as _, TryLockError,
};
use common::names::{AnyName, BootCount, LeaseId, PackedRecord, Revision};
#[cfg(feature = "sim")]
use redb::StorageError;
use redb::{
    Database, DatabaseError, Durability, ReadableDatabase as _, ReadableTable as _, TableDefinition,
    TableError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::mark::Mark;
use super::{Fault, Image, NameRow, RegistrantRow, Store, Write};
use crate::groups::GroupRow;
use crate::leases::LeaseRow;

type Table = TableDefinition<'static, &'static [u8], &'static [u8]>;

const META: Table = TableDefinition::new("meta");
const LEASES: Table = TableDefinition::new("leases");
/// Keys: the name, a NUL (which no name holds), the instance. So their order is that of names.
const NAMES: Table = TableDefinition::new("names");
/// With the same keys. Made when the first permanent name is registered.
const REGISTRANTS: Table = TableDefinition::new("registrants");
/// Apart from names, so that no quota and no expiry comes near it.
const GROUPS: Table = TableDefinition::new("groups");

/// In a copy until it has served.
const COPY: &[u8] = b"copy";

const FORMAT: u32 = 1;
/// redb's own default is 1 GiB, for a file of 64 MiB.
const CACHE_BYTES: usize = 32 * 1024 * 1024;
/// With less space than this left we stop writing while a commit still fits; we go on at twice that.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// The store in a file, and the lock beside it.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    /// `None` after a failed commit, until it was opened again.
    database: Option<Database>,
    /// The last commit's number.
    commits: u64,
    mark: Mark,
    full: bool,
    /// Held for life.
    _lock: File,
}

/// Why a store file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{path} is in use by process {pid}")]
    InUse {
        /// The file.
        path: PathBuf,
        /// Its holder, or "?".
        pid: String,
    },
    /// It is of another cluster than `--cluster` says.
    #[error("{path} belongs to cluster {theirs}, not {ours}")]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// The file's.
        theirs: ClusterId,
        /// The one asked for.
        ours: ClusterId,
    },
    /// What it holds is not what was written.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which row, and how.
        why: String,
    },
    /// The disk said so.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        error: io::Error,
    },
}

/// Opens the store at `path`, made for `cluster` (else for a new one) when there is none, and reads all of it.
///
/// # Errors
/// Why it cannot be used.
pub fn open(path: &Path, cluster: Option<ClusterId>) -> Result<(FileStore, Image), OpenError> {
    let io = |error| OpenError::Io { path: path.to_owned(), error };
    let directory = directory_of(path);
    make_directory(directory).map_err(io)?;
    let lock = lock(path)?;
    if !fs::exists(path).map_err(io)? {
        create(path, directory, cluster.unwrap_or_else(ClusterId::random)).map_err(io)?;
    }
    let damaged = |fault: Fault| OpenError::Damaged { path: path.to_owned(), why: fault.0 };
    let opened = open_database(path).map_err(damaged)?;
    let Opened { database, image, commits, mark } = opened;
    if let Some(ours) = cluster.filter(|&ours| ours != image.cluster) {
        return Err(OpenError::OtherCluster { path: path.to_owned(), theirs: image.cluster, ours });
    }
    let database = Some(database);
    Ok((FileStore { path: path.to_owned(), database, commits, mark, full: false, _lock: lock }, image))
}

impl FileStore {
    /// Refuses before anything is written, so that a full disk costs an error and not the file.
    fn check_room(&mut self) -> Result<(), Fault> {
        let free = fs::free_bytes(&self.path).map_err(fault)?;
        self.full = free < if self.full { 2 * FREE_BYTES_MIN } else { FREE_BYTES_MIN };
        if self.full {
            return Err(Fault(format!("the disk is full: {} MiB are left", free >> 20)));
        }
        Ok(())
    }
}

impl Store for FileStore {
    fn commit(&mut self, writes: &[Write]) -> Result<(), Fault> {
        self.check_room()?;
        let database = self.database.as_ref().ok_or_else(|| Fault("the store is closed".into()))?;
        let number = self.commits + 1;
        let written = commit(database, number, writes).and_then(|()| self.mark.set(number).map_err(fault));
        match &written {
            Ok(()) => self.commits = number,
            Err(_) => self.database = None,
        }
        written
    }

    fn reopen(&mut self) -> Result<(), Fault> {
        if self.database.is_none() {
            let opened = open_database(&self.path)?;
            self.commits = opened.commits;
            self.database = Some(opened.database);
        }
        Ok(())
    }

    fn snapshot(&mut self, suffix: &str) -> Result<PathBuf, Fault> {
        self.check_room()?;
        let database = self.database.as_ref().ok_or_else(|| Fault("the store is closed".into()))?;
        let copy = PathBuf::from(format!("{}.snapshot-{suffix}", self.path.display()));
        let unfinished = PathBuf::from(format!("{}.tmp", copy.display()));
        let file = new_file(&unfinished).map_err(fault)?;
        copy_rows(database, &make(file.try_clone().map_err(fault)?).map_err(fault)?)?;
        file.sync_all().map_err(fault)?;
        fs::rename(&unfinished, &copy).map_err(fault)?;
        File::open(directory_of(&copy)).and_then(|directory| directory.sync_all()).map_err(fault)?;
        Ok(copy)
    }
}

/// Puts all rows of one file, as they are, into another, and says there that it is a copy.
fn copy_rows(from: &Database, into: &Database) -> Result<(), Fault> {
    let (read, write) = (from.begin_read().map_err(fault)?, into.begin_write().map_err(fault)?);
    for table in [META, LEASES, NAMES, REGISTRANTS, GROUPS] {
        let mut copied = write.open_table(table).map_err(fault)?;
        let rows = match read.open_table(table) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(fault(error)),
        };
        for row in rows.iter().map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            copied.insert(key.value(), value.value()).map_err(fault)?;
        }
    }
    put(&mut write.open_table(META).map_err(fault)?, "meta", COPY, Some(&true))?;
    write.commit().map_err(fault)
}

fn commit(database: &Database, number: u64, writes: &[Write]) -> Result<(), Fault> {
    let mut transaction = database.begin_write().map_err(fault)?;
    transaction.set_durability(Durability::Immediate).map_err(fault)?;
    {
        let mut meta = transaction.open_table(META).map_err(fault)?;
        let mut leases = transaction.open_table(LEASES).map_err(fault)?;
        let mut names = transaction.open_table(NAMES).map_err(fault)?;
        let mut groups = transaction.open_table(GROUPS).map_err(fault)?;
        put(&mut meta, "meta", b"commits", Some(&number))?;
        for write in writes {
            match write {
                Write::Name { name, instance, row } => {
                    put(&mut names, "names", &name_key(name, *instance), row.as_ref())?;
                }
                Write::Registrant { name, instance, row } => {
                    let mut registrants = transaction.open_table(REGISTRANTS).map_err(fault)?;
                    let row = row.map(|row| (name, *instance, row));
                    put(&mut registrants, "registrants", &name_key(name, *instance), row.as_ref())?;
                }
                Write::Lease { lease, row } => {
                    put(&mut leases, "leases", &lease.bits().to_be_bytes(), row.as_ref())?;
                }
                Write::Group(row) => put(&mut groups, "groups", row.group.as_str().as_bytes(), Some(row))?,
                Write::Boot(boot) => put(&mut meta, "meta", b"boot", Some(boot))?,
                Write::Reserved(rev) => put(&mut meta, "meta", b"reserved", Some(rev))?,
                Write::Alive(alive) => put(&mut meta, "meta", b"alive", Some(alive))?,
                Write::Original => put::<bool>(&mut meta, "meta", COPY, None)?,
            }
        }
    }
    transaction.commit().map_err(fault)
}

fn name_key(name: &AnyName, instance: InstanceId) -> Vec<u8> {
    [name.as_str().as_bytes(), &[0], instance.to_string().as_bytes()].concat()
}

fn load(database: &Database) -> Result<Image, Fault> {
    let transaction = database.begin_read().map_err(fault)?;
    let meta = transaction.open_table(META).map_err(fault)?;
    let format: u32 = meta_row(&meta, b"format")?;
    if format != FORMAT {
        return Err(Fault(format!("it was written by format {format}, this program reads {FORMAT}")));
    }
    let mut leases = Vec::new();
    for row in transaction.open_table(LEASES).map_err(fault)?.iter().map_err(fault)? {
        let (key, value) = row.map_err(fault)?;
        let row: LeaseRow = unseal("leases", key.value(), value.value())?;
        let bits = key.value().try_into().map_err(|_| Fault("leases: a key is not 8 bytes".into()))?;
        leases.push((LeaseId::from_random(u64::from_be_bytes(bits)), row));
    }
    Ok(Image {
        cluster: meta_row(&meta, b"cluster")?,
        copy: meta.get(COPY).map_err(fault)?.is_some(),
        boot: meta_row(&meta, b"boot")?,
        reserved: meta_row(&meta, b"reserved")?,
        alive: meta_row(&meta, b"alive")?,
        leases,
        names: rows(&transaction, NAMES, "names", name_row)?,
        registrants: rows::<RegistrantRow>(&transaction, REGISTRANTS, "registrants", decoded)?,
        groups: rows::<GroupRow>(&transaction, GROUPS, "groups", decoded)?,
    })
}

fn meta_row<T: DeserializeOwned>(
    meta: &redb::ReadOnlyTable<&'static [u8], &'static [u8]>,
    key: &'static [u8],
) -> Result<T, Fault> {
    let value = meta.get(key).map_err(fault)?;
    let value = value.ok_or_else(|| Fault(format!("meta: no {}", String::from_utf8_lossy(key))))?;
    unseal("meta", key, value.value())
}

fn rows<T>(
    transaction: &redb::ReadTransaction,
    table: Table,
    called: &str,
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<Vec<T>, Fault> {
    let table = match transaction.open_table(table) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let rows = table.iter().map_err(fault)?;
    rows.map(|row| {
        let (key, value) = row.map_err(fault)?;
        unseal_by(called, key.value(), value.value(), &read)
    })
    .collect()
}

fn put<T: Serialize>(
    table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    called: &str,
    key: &[u8],
    row: Option<&T>,
) -> Result<(), Fault> {
    match row {
        Some(row) => drop(table.insert(key, &*seal(called, key, row)).map_err(fault)?),
        None => drop(table.remove(key).map_err(fault)?),
    }
    Ok(())
}

/// A row's bytes behind the checksum of where it belongs and what it is: a block in the wrong place shows too.
fn seal<T: Serialize>(table: &str, key: &[u8], row: &T) -> Vec<u8> {
    let body = bincode::serde::encode_to_vec(row, bincode::config::standard()).expect("plain rows encode");
    [&checksum(table, key, &body).to_be_bytes()[..], &body].concat()
}

fn unseal<T: DeserializeOwned>(table: &str, key: &[u8], value: &[u8]) -> Result<T, Fault> {
    unseal_by(table, key, value, decoded)
}

fn unseal_by<T>(
    table: &str,
    key: &[u8],
    value: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> Result<T, Fault> {
    let bad = |why| Fault(format!("{table}: row {:?}: {why}", String::from_utf8_lossy(key)));
    let (sum, body) = value.split_at_checked(4).ok_or_else(|| bad("too short"))?;
    if sum != checksum(table, key, body).to_be_bytes() {
        return Err(bad("the checksum is wrong"));
    }
    read(body).ok_or_else(|| bad("it cannot be decoded"))
}

fn decoded<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    let (row, used) = bincode::serde::decode_from_slice(body, bincode::config::standard()).ok()?;
    (used == body.len()).then_some(row)
}

/// A record is kept as it lies in its row, behind its lease.
fn name_row(body: &[u8]) -> Option<NameRow> {
    let (lease, used) = bincode::serde::decode_from_slice(body, bincode::config::standard()).ok()?;
    Some(NameRow { lease, record: PackedRecord::new(&body[used..])? })
}

fn checksum(table: &str, key: &[u8], body: &[u8]) -> u32 {
    let length = u32::try_from(key.len()).expect("keys are short");
    let sum = crc32c::crc32c(table.as_bytes());
    let sum = crc32c::crc32c_append(sum, &length.to_be_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(sum, key), body)
}

/// An open file, and all that is in it.
struct Opened {
    database: Database,
    image: Image,
    commits: u64,
    mark: Mark,
}

/// Opens what is there; what a disk, and not a cache, has of it.
fn open_database(path: &Path) -> Result<Opened, Fault> {
    let file = File::open(path).map_err(fault)?;
    fs::drop_cache(&file).map_err(fault)?;
    drop(file);
    let open = || {
        let mut database = open_at(path).map_err(fault)?;
        // After a clean end redb trusts the file, down to which of its pages are free to be written over.
        if !database.check_integrity().map_err(fault)? {
            return Err(Fault("redb: pages are not what was written".into()));
        }
        let image = load(&database)?;
        let commits = {
            let transaction = database.begin_read().map_err(fault)?;
            meta_row(&transaction.open_table(META).map_err(fault)?, b"commits")?
        };
        let mark = Mark::beside(path, image.cluster).map_err(fault)?;
        let durable = mark.durable().map_err(fault)?;
        if commits < durable && !image.copy {
            // Damage, or an older copy: a person who means the copy says so by taking the mark away.
            return Err(Fault(format!(
                "it ends with commit {commits}, and {durable} was durable; to go on with an older copy all the same, \
                 remove {}.mark",
                path.display()
            )));
        }
        Ok(Opened { database, image, commits, mark })
    };
    // redb is known to panic over some damaged files.
    let opened = std::panic::catch_unwind(AssertUnwindSafe(open));
    opened.map_err(|_| Fault("redb panicked while opening it".into()))?
}

#[cfg(not(feature = "sim"))]
fn open_at(path: &Path) -> Result<Database, DatabaseError> {
    Database::builder().set_cache_size(CACHE_BYTES).open(path)
}

#[cfg(not(feature = "sim"))]
fn make(file: File) -> Result<Database, DatabaseError> {
    Database::builder().create_file(file)
}

#[cfg(feature = "sim")]
fn open_at(path: &Path) -> Result<Database, DatabaseError> {
    make(File::open(path).map_err(StorageError::from)?)
}

#[cfg(feature = "sim")]
fn make(file: File) -> Result<Database, DatabaseError> {
    let backend = file.into_backend().map_err(StorageError::from)?;
    Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend)
}

/// Makes an empty store: under another name first, so that a crash leaves a whole one or none.
fn create(path: &Path, directory: &Path, cluster: ClusterId) -> io::Result<()> {
    let unfinished = PathBuf::from(format!("{}.tmp", path.display()));
    let file = new_file(&unfinished)?;
    let other = |error: Fault| io::Error::other(error.0);
    let database = make(file.try_clone()?).map_err(io::Error::other)?;
    let transaction = database.begin_write().map_err(io::Error::other)?;
    {
        let mut meta = transaction.open_table(META).map_err(io::Error::other)?;
        put(&mut meta, "meta", b"format", Some(&FORMAT)).map_err(other)?;
        put(&mut meta, "meta", b"cluster", Some(&cluster)).map_err(other)?;
        put(&mut meta, "meta", b"boot", Some(&BootCount(0))).map_err(other)?;
        put(&mut meta, "meta", b"reserved", Some(&Revision(0))).map_err(other)?;
        put(&mut meta, "meta", b"alive", Some(&Duration::ZERO)).map_err(other)?;
        put(&mut meta, "meta", b"commits", Some(&0_u64)).map_err(other)?;
        for table in [LEASES, NAMES, GROUPS] {
            transaction.open_table(table).map_err(io::Error::other)?;
        }
    }
    transaction.commit().map_err(io::Error::other)?;
    drop(database);
    file.sync_all()?;
    // Of a file that was taken away, perhaps for another's sake.
    Mark::beside(path, cluster)?.set(0)?;
    fs::rename(&unfinished, path)?;
    File::open(directory)?.sync_all()
}

fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Makes a directory, and sees to it that it stays: an unsynced one is gone after a power loss.
fn make_directory(directory: &Path) -> io::Result<()> {
    if fs::is_directory(directory) {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    match directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Takes the lock beside the file, and writes into it who holds it.
fn lock(path: &Path) -> Result<File, OpenError> {
    let beside = PathBuf::from(format!("{}.lock", path.display()));
    let io = |error| OpenError::Io { path: beside.clone(), error };
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).clone();
    let mut lock = options.open(&beside).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            // Its holder may be about to write it.
            let read = lock.read_to_string(&mut pid).map_err(io)?;
            let pid = if read == 0 { "?".into() } else { pid.trim().to_owned() };
            return Err(OpenError::InUse { path: path.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(io(error)),
    }
    let write = |lock: &mut File| {
        lock.set_permissions(Permissions::from_mode(0o600))?;
        lock.set_len(0)?;
        lock.rewind()?;
        writeln!(lock, "{}", std::process::id())
    };
    write(&mut lock).map_err(io)?;
    Ok(lock)
}

fn fault(error: impl std::fmt::Display) -> Fault {
    Fault(error.to_string())
}

#[cfg(test)]
mod tests;
