//! A disk that keeps what was synced, and of the rest whatever chance lets it keep.
//!
//! A file is what a process sees; beside it stands what the platter has, by sectors of 512 bytes, the unit that a disk
//! writes whole or not at all. `sync_data` makes the two equal. A crash leaves of each unsynced sector the old or the
//! new one; names (created, renamed, removed) are the same way unsynced until their directory is.
//!
//! After a crash or an error the disk is dead: every operation fails until the next [`Disk::power_on`], since
//! destructors still run in a simulation, and redb's would commit.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::trace;

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// Free space of a disk that is not full.
const ROOMY: u64 = 1 << 40;

/// One machine's disk.
#[derive(Clone, Debug)]
pub struct Disk(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    name: &'static str,
    power: Power,
    /// What a process sees: file by name.
    names: BTreeMap<String, usize>,
    /// What the platter has of the names.
    synced_names: BTreeMap<String, usize>,
    files: Vec<Content>,
    lies: Option<Lie>,
    full: bool,
    /// Writes and syncs left until the power goes, in the middle of whatever goes on.
    cut_after: Option<u32>,
    /// Whether the next sync fails.
    fails: bool,
    syncs: u64,
}

/// Whether a disk takes anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    /// Until the next start.
    Off,
    /// The same, because it went in the middle of a commit.
    Lost,
}

#[derive(Clone, Debug, Default)]
struct Content {
    seen: Vec<u8>,
    synced: Vec<u8>,
    /// Numbers of the sectors in which the two may differ.
    dirty: BTreeSet<usize>,
    /// Of those that a failed sync left behind: Linux calls them clean, and the next sync passes them over.
    forgotten: BTreeSet<usize>,
}

/// What is left of unsynced writes after a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// All: the process died, the machine did not.
    All,
    /// Nothing.
    Nothing,
    /// Each sector for itself, by chance.
    Some,
}

/// What a disk only says to have synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// Everything.
    All,
    /// Names, as if nobody had asked for them to be synced.
    Names,
}

impl Disk {
    pub(super) fn new(name: &'static str) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            name,
            power: Power::On,
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            files: Vec::new(),
            lies: None,
            full: false,
            cut_after: None,
            fails: false,
            syncs: 0,
        })))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works again.
    pub(super) fn power_on(&self) {
        self.inner().power = Power::On;
    }

    /// Takes nothing more until the next start; what was written stays as it is until a crash.
    pub fn kill(&self) {
        let mut inner = self.inner();
        inner.power = Power::Off;
        inner.cut_after = None;
        inner.fails = false;
    }

    /// The machine's process, or power, goes: dead, and of what was not synced only `left` stays.
    pub fn crash(&self, left: Left, chance: &mut impl rand::Rng) {
        self.kill();
        self.inner().settle(left, chance);
    }

    /// Loses everything.
    pub fn wipe(&self) {
        let mut inner = self.inner();
        inner.names.clear();
        inner.synced_names.clear();
        inner.files.clear();
    }

    /// From now on some syncs are only said to have happened.
    pub fn lie(&self, lie: Lie) {
        self.inner().lies = Some(lie);
    }

    /// Has no room from now on, or room again.
    pub fn fill(&self, full: bool) {
        self.inner().full = full;
    }

    /// The power goes after so many more writes and syncs.
    pub fn cut_after(&self, operations: u32) {
        self.inner().cut_after = Some(operations);
    }

    /// The next sync fails.
    pub fn fail(&self) {
        self.inner().fails = true;
    }

    /// Plans no failure any more.
    pub fn calm(&self) {
        let mut inner = self.inner();
        inner.cut_after = None;
        inner.fails = false;
    }

    /// Whether the power went in the middle of a commit.
    pub fn lost_power(&self) -> bool {
        self.inner().power == Power::Lost
    }

    /// Whether it takes nothing.
    pub fn is_dead(&self) -> bool {
        self.inner().power != Power::On
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.inner().syncs
    }

    /// Room left.
    pub fn free_bytes(&self) -> u64 {
        if self.inner().full { 0 } else { ROOMY }
    }

    /// Whether there is a file of this name.
    pub fn exists(&self, name: &str) -> bool {
        self.inner().names.contains_key(name)
    }

    /// The names of all files.
    pub fn names(&self) -> Vec<String> {
        self.inner().names.keys().cloned().collect()
    }

    /// The file of this name.
    pub fn open(&self, name: &str) -> Option<OpenFile> {
        let file = *self.inner().names.get(name)?;
        Some(OpenFile { disk: self.clone(), file })
    }

    /// An empty file of this name, in the place of what was there.
    ///
    /// # Errors
    /// When the disk is dead.
    pub fn create(&self, name: &str) -> io::Result<OpenFile> {
        let mut inner = self.inner();
        inner.alive()?;
        let file = inner.files.len();
        inner.files.push(Content::default());
        inner.names.insert(name.to_owned(), file);
        Ok(OpenFile { disk: self.clone(), file })
    }

    /// Gives a file another name, in the place of what was there.
    ///
    /// # Errors
    /// When the disk is dead, or there is no such file.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.alive()?;
        let file = inner.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        inner.names.insert(to.to_owned(), file);
        Ok(())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// When the disk is dead, or there is no such file.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = self.inner();
        inner.alive()?;
        inner.names.remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Makes names durable.
    ///
    /// # Errors
    /// When the disk is dead.
    pub fn sync_names(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.alive()?;
        if inner.lies.is_none() {
            inner.synced_names = inner.names.clone();
        }
        Ok(())
    }
}

impl Inner {
    fn alive(&self) -> io::Result<()> {
        if self.power == Power::On { Ok(()) } else { Err(io::Error::other("the simulated disk is dead")) }
    }

    /// Counts one write or sync; the power may go here.
    fn operate(&mut self) -> io::Result<()> {
        self.alive()?;
        if let Some(left) = &mut self.cut_after {
            if let Some(fewer) = left.checked_sub(1) {
                *left = fewer;
            } else {
                self.cut_after = None;
                self.power = Power::Lost;
                return Err(io::Error::other("the simulated power went"));
            }
        }
        Ok(())
    }

    fn settle(&mut self, left: Left, chance: &mut impl rand::Rng) {
        for file in &mut self.files {
            file.settle(left, chance);
        }
        match left {
            Left::All => {}
            // A directory's changes reach the platter together, or not at all: file systems keep a journal of them.
            Left::Some if chance.random_bool(0.5) => self.synced_names = self.names.clone(),
            Left::Nothing | Left::Some => self.names = self.synced_names.clone(),
        }
    }
}

impl Content {
    fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[offset..end].copy_from_slice(data);
        for sector in offset / SECTOR..end.div_ceil(SECTOR) {
            self.dirty.insert(sector);
            self.forgotten.remove(&sector);
        }
    }

    fn set_len(&mut self, length: usize) {
        let touched = self.seen.len().min(length) / SECTOR;
        self.dirty.extend(touched..self.seen.len().max(length).div_ceil(SECTOR));
        self.seen.resize(length, 0);
    }

    fn sync(&mut self) {
        self.synced.resize(self.seen.len(), 0);
        for sector in std::mem::take(&mut self.dirty) {
            self.take_in(sector);
        }
    }

    /// Reads again from the platter what the cache only believes to be there, of the sectors within.
    fn drop_cache(&mut self, within: Range<usize>) {
        for sector in self.forgotten.extract_if(within, |_| true) {
            let (from, to) = (sector * SECTOR, ((sector + 1) * SECTOR).min(self.seen.len()));
            for at in from..to {
                self.seen[at] = self.synced.get(at).copied().unwrap_or(0);
            }
        }
    }

    /// Puts one sector on the platter.
    fn take_in(&mut self, sector: usize) {
        let from = (sector * SECTOR).min(self.seen.len());
        let to = (from + SECTOR).min(self.seen.len());
        if self.synced.len() < to {
            self.synced.resize(to, 0);
        }
        self.synced[from..to].copy_from_slice(&self.seen[from..to]);
    }

    fn settle(&mut self, left: Left, chance: &mut impl rand::Rng) {
        match left {
            // The cache lives on, with what it forgot to write.
            Left::All => return,
            Left::Nothing => {}
            Left::Some => {
                if chance.random_bool(0.5) {
                    self.synced.resize(self.seen.len(), 0);
                }
                for sector in std::mem::take(&mut self.dirty) {
                    if sector * SECTOR < self.seen.len() && chance.random_bool(0.5) {
                        self.take_in(sector);
                    }
                }
            }
        }
        self.dirty.clear();
        self.forgotten.clear();
        self.seen.clone_from(&self.synced);
    }
}

/// An open file, for redb.
#[derive(Clone, Debug)]
pub struct OpenFile {
    disk: Disk,
    file: usize,
}

impl OpenFile {
    /// Drops what is cached of these bytes of it, as `posix_fadvise(DONTNEED)` does: of whole sectors.
    pub fn drop_cache(&self, within: Range<usize>) {
        let sectors = within.start.div_ceil(SECTOR)..within.end / SECTOR;
        self.disk.inner().files[self.file].drop_cache(sectors);
    }

    /// All of it, of a small file.
    ///
    /// # Errors
    /// When the disk is dead.
    pub fn read_all(&self) -> io::Result<Vec<u8>> {
        let inner = self.disk.inner();
        inner.alive()?;
        Ok(inner.files[self.file].seen.clone())
    }
}

fn usize_of(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(io::Error::other)
}

impl StorageBackend for OpenFile {
    fn len(&self) -> io::Result<u64> {
        let inner = self.disk.inner();
        inner.alive()?;
        Ok(inner.files[self.file].seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let inner = self.disk.inner();
        inner.alive()?;
        let from = usize_of(offset)?;
        let bytes = inner.files[self.file].seen.get(from..from + out.len());
        out.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.operate()?;
        inner.files[self.file].set_len(usize_of(length)?);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.operate()?;
        if inner.fails {
            inner.fails = false;
            let file = &mut inner.files[self.file];
            let dirty = std::mem::take(&mut file.dirty);
            file.forgotten.extend(dirty);
            return Err(io::Error::other("the simulated disk cannot write"));
        }
        inner.syncs += 1;
        let (lies, file) = (inner.lies, self.file);
        let dirty = inner.files[file].dirty.len() as u64;
        trace::bytes(2, dirty, inner.name.as_bytes());
        if lies != Some(Lie::All) {
            inner.files[file].sync();
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut inner = self.disk.inner();
        inner.operate()?;
        inner.files[self.file].write(usize_of(offset)?, data);
        Ok(())
    }
}
