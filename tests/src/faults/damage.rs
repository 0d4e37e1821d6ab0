//! A group's file as a failing disk leaves it: cut short, with a bit flipped, with blocks swapped or stale.
//!
//! **Oracle.** What is opened is exactly what was reported durable, or a refusal. Never a panic, never another value,
//! never the state before the last batch: that batch was acknowledged.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use common::clock::Timestamp;
use common::ids::{ClusterId, InstanceId};
use common::replication::{
    Entry, EntryKind, Epoch, GroupConfig, GroupName, LogIndex, Member, ReplicaId, RequestId,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use replica::disk::batch::Stored;
use replica::disk::directory::Directory;
use replica::disk::file::{Found, Identity, Place};
use replica::disk::{CommitThread, Disk as _, REPORTS_MAX};
use replica::passive::{LogBase, Ticket, WriteBatch};
use tempfile::TempDir;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

/// What redb writes and reads at once.
pub const BLOCK_BYTES: usize = 4096;
/// Bytes of a file's header: its magic number, and where the two newest states are.
pub const HEADER_BYTES: usize = 320;
/// Batches after the snapshot; the file's pages have been used again and again by then.
const BATCHES: u64 = 40;

/// How a file was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// By a process that was killed.
    Killed,
    /// By one that was stopped.
    Stopped,
}

/// What came of opening a damaged file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// All that was reported durable is there: what was damaged is not used.
    Whole,
    /// It says that it is damaged.
    Refused,
}

/// What a file must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    identity: Identity,
    config: Option<GroupConfig>,
    snapshot: Option<Bytes>,
    base: LogBase,
    entries: Vec<Entry>,
}

/// One replica's file, whole, and the place in which it is damaged and opened.
#[derive(Debug)]
pub struct Patient {
    /// The file's bytes, as they were left.
    pub whole: Vec<u8>,
    /// The same file some batches earlier.
    pub older: Vec<u8>,
    held: Held,
    place: Place,
    path: PathBuf,
    _folder: TempDir,
}

fn group() -> GroupName {
    "just.hungry".parse().expect("a service's name")
}

/// Entries that follow each other from `before` on.
fn entries(before: (u64, u32), salt: u64, count: u64) -> Vec<Arc<Entry>> {
    let (last, mut crc) = before;
    let seal = |index| {
        let at = Timestamp::from_millis(1000 + index);
        let payload = Bytes::from(format!("order {index} of {salt}, well done, with a fork and a napkin"));
        let request = RequestId::from_parts(at, 0, index ^ salt << 32);
        let kind = EntryKind::Update { request, facts: Bytes::new(), payload };
        let entry = Entry::seal(crc, LogIndex(index), Epoch(1), at, kind);
        crc = entry.crc;
        Arc::new(entry)
    };
    (last + 1..=last + count).map(seal).collect()
}

impl Patient {
    /// Writes a file as a replica does: entries, a snapshot that takes the place of some, more entries, batch by batch.
    /// Files of other `salt`s hold others, of the same form.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn new(left: Left, salt: u64) -> Result<Self> {
        // In memory where possible: each file is opened thousands of times, and nobody asks what a disk makes of it.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let place = |name: &str| -> Result<Place> {
            let directory = Directory::open(&folder.path().join(name))?;
            Ok(Place { directory: Some(Arc::new(directory)), group: group() })
        };
        let identity = Identity {
            cluster: ClusterId::from_bytes([7; 16]),
            replica: ReplicaId::from_u128(42 + u128::from(salt)),
        };
        let made = place("made")?;
        let (reports, mut inbox) = mpsc::channel(REPORTS_MAX);
        let disk = CommitThread::start(&group(), made.format(identity)?, reports)?;
        let mut tickets = 0;
        let mut write = |batch: WriteBatch| {
            tickets += 1;
            disk.submit(batch, Ticket(tickets));
            inbox.blocking_recv().context("the disk thread reports")
        };
        let member = Member { id: identity.replica, boot: InstanceId::from_u128(1) };
        let config = GroupConfig::first(identity.cluster, group(), member, 1);
        let old = entries((0, 0), salt, 64);
        for (number, entry) in old.iter().enumerate() {
            let config = (number == 0).then(|| config.clone());
            write(WriteBatch { append: vec![entry.clone()], config, ..WriteBatch::default() })?;
        }
        let last = old.last().context("there are some")?;
        let base = LogBase { point: last.point(), crc: last.crc, at: last.at };
        let snapshot = Bytes::from(format!("state {salt} ").repeat(2_000));
        write(WriteBatch { base: Some(base), snapshot: Some(snapshot.clone()), ..WriteBatch::default() })?;
        let new = entries((last.index.0, last.crc), salt, 2 * BATCHES);
        let path = |name: &str| folder.path().join(name).join("just.hungry.redb");
        let mut older = Vec::new();
        for pair in new.chunks(2) {
            if pair[0].index.0 == last.index.0 + BATCHES + 1 {
                older = fs::read(path("made"))?;
            }
            write(WriteBatch { append: pair.to_vec(), ..WriteBatch::default() })?;
        }
        // Copied while it is open, nothing that closing would write is in the copy.
        let close = || -> Result<()> {
            Builder::new_current_thread().build()?.block_on(disk.close());
            Ok(())
        };
        let whole = match left {
            Left::Killed => {
                let whole = fs::read(path("made"))?;
                close()?;
                whole
            }
            Left::Stopped => {
                close()?;
                fs::read(path("made"))?
            }
        };
        let entries = new.iter().map(|entry| (**entry).clone()).collect();
        let held = Held { identity, config: Some(config), snapshot: Some(snapshot), base, entries };
        let (place, opened) = (place("opened")?, path("opened"));
        let beside = |path: &Path| PathBuf::from(format!("{}.mark", path.display()));
        fs::copy(beside(&path("made")), beside(&opened))?;
        let this = Self { whole, older, held, place, path: opened, _folder: folder };
        ensure!(this.open(&this.whole)? == Outcome::Whole, "the whole file opens");
        Ok(this)
    }

    /// Opens a file of these bytes in the whole file's place.
    ///
    /// # Errors
    /// What breaks the oracle.
    pub fn open(&self, bytes: &[u8]) -> Result<Outcome> {
        fs::write(&self.path, bytes)?;
        match self.place.open::<Stored>().context("the disk is well, only the file is not")? {
            Found::Nothing => bail!("a file that is there was not seen"),
            Found::Damaged(_) => Ok(Outcome::Refused),
            Found::Member(_, contents) => {
                let stored = contents.stored;
                let found = Held {
                    identity: contents.identity,
                    config: stored.config,
                    snapshot: stored.snapshot,
                    base: stored.base,
                    entries: stored.entries,
                };
                let last = |held: &Held| held.entries.last().map(|entry| entry.index);
                ensure!(
                    found == self.held,
                    "another state than was made durable: ends at {:?}, not {:?}",
                    last(&found),
                    last(&self.held)
                );
                Ok(Outcome::Whole)
            }
        }
    }

    /// Opens it with this bit flipped.
    ///
    /// # Errors
    /// What breaks the oracle.
    pub fn flip(&self, bit: usize) -> Result<Outcome> {
        let mut bytes = self.whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        self.open(&bytes).with_context(|| format!("bit {} of byte {} flipped", bit % 8, bit / 8))
    }

    /// Opens it cut to this length.
    ///
    /// # Errors
    /// What breaks the oracle.
    pub fn cut(&self, length: usize) -> Result<Outcome> {
        self.open(&self.whole[..length]).with_context(|| format!("cut to {length} bytes"))
    }

    /// Opens it with the block `from` in the place of the block `to`, and the other way round when they are swapped.
    ///
    /// # Errors
    /// What breaks the oracle.
    pub fn misplace(&self, from: usize, to: usize, swapped: bool) -> Result<Outcome> {
        let block = |number: usize| number * BLOCK_BYTES..(number + 1) * BLOCK_BYTES;
        let mut bytes = self.whole.clone();
        bytes[block(to)].copy_from_slice(&self.whole[block(from)]);
        if swapped {
            bytes[block(from)].copy_from_slice(&self.whole[block(to)]);
        }
        self.open(&bytes).with_context(|| format!("block {from} in the place of {to}, swapped: {swapped}"))
    }

    /// Opens it with a block of zeros.
    ///
    /// # Errors
    /// What breaks the oracle.
    pub fn blank(&self, block: usize) -> Result<Outcome> {
        let mut bytes = self.whole.clone();
        bytes[block * BLOCK_BYTES..(block + 1) * BLOCK_BYTES].fill(0);
        self.open(&bytes).with_context(|| format!("block {block} is zeros"))
    }

    /// How many whole blocks it has.
    pub fn blocks(&self) -> usize {
        self.whole.len() / BLOCK_BYTES
    }

    /// The blocks that hold something.
    pub fn written_blocks(&self) -> Vec<usize> {
        let blocks = self.whole.chunks_exact(BLOCK_BYTES).enumerate();
        blocks.filter(|(_, block)| block.iter().any(|byte| *byte != 0)).map(|(number, _)| number).collect()
    }

    /// The bits of the newest entry, wherever it lies.
    pub fn bits_of_last_entry(&self) -> Vec<usize> {
        let Some(Entry { kind: EntryKind::Update { payload, .. }, .. }) = self.held.entries.last() else {
            return Vec::new();
        };
        let places =
            self.whole.windows(payload.len()).enumerate().filter(|(_, window)| *window == &payload[..]);
        // With what stands before and behind it: its head and its checksums.
        places.flat_map(|(at, window)| (at - 24) * 8..(at + window.len() + 8) * 8).collect()
    }
}

/// Random choices that a seed repeats.
pub fn dice(seed: u64) -> StdRng {
    StdRng::seed_from_u64(seed)
}

/// Some bit of `bytes` bytes.
pub fn bit(dice: &mut StdRng, bytes: usize) -> usize {
    dice.random_range(0..bytes * 8)
}
