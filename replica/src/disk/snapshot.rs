//! How a snapshot gets into a group's file without standing in the way of log batches: in pieces, one bounded
//! transaction each, between them. Then it is read back. Only then does the batch that the core submits make it *the*
//! snapshot, and what the one before it took is given back, in pieces again. A crash leaves pieces of a snapshot that
//! never was, which the next start gives back.
//!
//! Table `chunks`: (number of the snapshot, number of the chunk) to chunk. `meta` tells the number that counts.

use bytes::Bytes;
use redb::{ReadableTableMetadata as _, TableDefinition};
use serde::{Deserialize, Serialize};

use super::file::{Journal, Unreadable, seal_bytes, unseal_bytes};

const CHUNKS: TableDefinition<'_, (u64, u64), &[u8]> = TableDefinition::new("chunks");

/// Of a snapshot, in one transaction: a log batch waits for one of these at most, so it takes hardly longer than an
/// fsync of next to nothing. With its key and checksum it fills a page of redb's, which is a power of two.
pub(super) const CHUNK_BYTES: usize = 124 * 1024;
/// Chunks read back in one go, from the disk itself: some milliseconds.
const CHECKED_AT_ONCE: usize = 4;
/// Chunks given back in one go: redb reads them once more.
const CLEARED_AT_ONCE: usize = 2;

/// A snapshot that is whole in the file: what `meta` remembers of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Which one; 0: none yet.
    number: u64,
    bytes: u64,
    crc: u32,
}

/// The snapshots of one file.
#[derive(Debug)]
pub struct Shelf {
    /// The one that counts.
    kept: Kept,
    /// The next one, on its way or whole.
    coming: Option<Coming>,
    /// Whether there may be chunks of neither.
    littered: bool,
}

#[derive(Debug)]
struct Coming {
    number: u64,
    bytes: Bytes,
    crc: u32,
    /// Chunks written.
    written: usize,
    /// From where on the file is still remembered by the operating system, once all are written; `None`: from nowhere.
    cached_from: Option<u64>,
    /// Chunks read back.
    checked: usize,
}

/// What a step of the work on snapshots came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// More is to be done.
    More,
    /// The snapshot that was asked for is in the file, and was read back.
    Staged,
    /// Nothing is left to do.
    Nothing,
}

impl Coming {
    fn chunk(&self, number: usize) -> Option<&[u8]> {
        self.bytes.chunks(CHUNK_BYTES).nth(number)
    }

    fn chunks(&self) -> usize {
        self.bytes.len().div_ceil(CHUNK_BYTES)
    }

    fn is_whole(&self) -> bool {
        self.checked == self.chunks()
    }

    fn kept(&self) -> Kept {
        Kept { number: self.number, bytes: self.bytes.len() as u64, crc: self.crc }
    }

    /// Writes the next chunk into `transaction`.
    fn write_next(&mut self, transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
        let mut chunks = transaction.open_table(CHUNKS)?;
        if let Some(chunk) = self.chunk(self.written) {
            let key = (self.number, self.written as u64);
            chunks.insert(key, &*seal(key, chunk))?;
            self.crc = crc32c::crc32c_append(self.crc, chunk);
            self.written += 1;
        }
        Ok(())
    }
}

impl Shelf {
    /// What a file has whose `meta` remembers `kept`. What else is there is litter.
    pub(super) fn new(kept: Kept) -> Self {
        Self { kept, coming: None, littered: true }
    }

    /// Begins to put a snapshot into the file; one that was begun before is given up.
    pub(super) fn stage(&mut self, bytes: Bytes) {
        self.littered |= self.coming.is_some();
        let before = self.coming.as_ref().map_or(self.kept.number, |coming| coming.number);
        self.coming =
            Some(Coming { number: before + 1, bytes, crc: 0, written: 0, cached_from: Some(0), checked: 0 });
    }

    /// Gives up the snapshot that is on its way.
    pub(super) fn give_up(&mut self) {
        self.littered |= self.coming.take().is_some();
    }

    /// Bytes still to be written.
    pub(super) fn unwritten(&self) -> u64 {
        let unwritten =
            |coming: &Coming| coming.bytes.len().saturating_sub(coming.written * CHUNK_BYTES) as u64;
        self.coming.as_ref().map_or(0, unwritten)
    }

    /// Whether a step has something to do.
    pub(super) fn has_work(&self) -> bool {
        self.littered || self.coming.as_ref().is_some_and(|coming| !coming.is_whole())
    }

    /// Does one bounded piece of work. `forget_cache` drops what the operating system remembers of a part of the file,
    /// from there on, and says where the next part begins: what is read back is to be what the disk has.
    ///
    /// # Errors
    /// redb's, and [`redb::Error::Corrupted`] when what was written is not what is read.
    pub(super) fn step(
        &mut self,
        journal: &Journal,
        forget_cache: impl FnOnce(u64) -> Option<u64>,
    ) -> Result<Step, redb::Error> {
        if self.littered {
            self.littered = self.clear(journal)?;
            return Ok(Step::More);
        }
        let Some(coming) = self.coming.as_mut().filter(|coming| !coming.is_whole()) else {
            return Ok(Step::Nothing);
        };
        if coming.written < coming.chunks() {
            journal.commit(|transaction| coming.write_next(transaction))?;
            return Ok(Step::More);
        }
        if let Some(from) = coming.cached_from {
            coming.cached_from = forget_cache(from);
            return Ok(Step::More);
        }
        let transaction = journal.read()?;
        let chunks = transaction.open_table(CHUNKS)?;
        for _ in 0..CHECKED_AT_ONCE {
            let Some(chunk) = coming.chunk(coming.checked) else { break };
            let key = (coming.number, coming.checked as u64);
            if chunks.get(key)?.is_none_or(|found| found.value() != seal(key, chunk)) {
                let what = format!("snapshot {}, chunk {}: not what was written", key.0, key.1);
                return Err(redb::Error::Corrupted(what));
            }
            coming.checked += 1;
        }
        Ok(if coming.is_whole() { Step::Staged } else { Step::More })
    }

    /// In a batch's transaction: what `meta` remembers when `bytes` are the snapshot from now on. They were staged
    /// before, where anybody waits for the batch; else they are written now.
    pub(super) fn choose(
        &mut self,
        transaction: &redb::WriteTransaction,
        bytes: &Bytes,
    ) -> Result<Kept, redb::Error> {
        let same =
            |coming: &Coming| coming.bytes.as_ptr() == bytes.as_ptr() && coming.bytes.len() == bytes.len();
        if !self.coming.as_ref().is_some_and(same) {
            self.stage(bytes.clone());
        }
        let coming = self.coming.as_mut().expect("staged above, if not before");
        while coming.written < coming.chunks() {
            coming.write_next(transaction)?;
        }
        Ok(coming.kept())
    }

    /// That batch is on the disk.
    pub(super) fn chosen(&mut self, kept: Kept) {
        *self = Self::new(kept);
    }

    /// Gives back some chunks of snapshots that count no more; whether there may be others.
    fn clear(&self, journal: &Journal) -> Result<bool, redb::Error> {
        let (kept, coming) = (self.kept.number, self.coming.as_ref().map(|coming| coming.number));
        let after = |number: u64| (number + 1, 0);
        let last = after(coming.unwrap_or(kept).max(kept));
        let litter: Vec<(u64, u64)> = {
            let transaction = journal.read()?;
            let chunks = transaction.open_table(CHUNKS)?;
            let below = chunks.range(..(kept, 0))?;
            let between = chunks.range(after(kept)..(coming.unwrap_or(kept + 1), 0))?;
            let rows = below.chain(between).chain(chunks.range(last..)?).take(CLEARED_AT_ONCE);
            rows.map(|row| Ok(row?.0.value())).collect::<Result<_, redb::Error>>()?
        };
        if litter.is_empty() {
            return Ok(false);
        }
        journal.commit(|transaction| {
            let mut chunks = transaction.open_table(CHUNKS)?;
            for key in &litter {
                chunks.remove(key)?;
            }
            Ok(())
        })?;
        Ok(litter.len() == CLEARED_AT_ONCE)
    }
}

/// Makes the table.
pub(super) fn make(transaction: &redb::WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(CHUNKS)?;
    Ok(())
}

/// Reads the snapshot that counts.
pub(super) fn read(transaction: &redb::ReadTransaction, kept: Kept) -> Result<Option<Bytes>, Unreadable> {
    if kept.number == 0 {
        return Ok(None);
    }
    let chunks = transaction.open_table(CHUNKS)?;
    // What `meta` says is checked below; until then it makes no more room than there are chunks.
    let chunk_bytes = usize::try_from(chunks.len()?).unwrap_or(usize::MAX).saturating_mul(CHUNK_BYTES);
    let room = usize::try_from(kept.bytes).unwrap_or(usize::MAX).min(chunk_bytes);
    let mut bytes = Vec::with_capacity(room);
    for row in chunks.range((kept.number, 0)..=(kept.number, u64::MAX))? {
        let (key, value) = row?;
        let key = key.value();
        let name = || format!("snapshot {}, chunk {}", key.0, key.1);
        bytes.extend_from_slice(unseal_bytes("chunks", &key_bytes(key), value.value(), name)?);
    }
    let found = Kept { number: kept.number, bytes: bytes.len() as u64, crc: crc32c::crc32c(&bytes) };
    if found != kept {
        return Err(Unreadable::Damaged("meta snapshot: not the chunks that are there".to_owned()));
    }
    Ok(Some(bytes.into()))
}

fn key_bytes(key: (u64, u64)) -> Vec<u8> {
    [key.0.to_be_bytes(), key.1.to_be_bytes()].concat()
}

fn seal(key: (u64, u64), chunk: &[u8]) -> Vec<u8> {
    seal_bytes("chunks", &key_bytes(key), chunk.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk_numbers(journal: &Journal) -> Vec<(u64, u64)> {
        let chunks = journal.read().unwrap().open_table(CHUNKS).unwrap();
        chunks.range::<(u64, u64)>(..).unwrap().map(|row| row.unwrap().0.value()).collect()
    }

    fn steps(shelf: &mut Shelf, journal: &Journal) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            match shelf.step(journal, |_| None).unwrap() {
                Step::Nothing => return steps,
                done => steps.push(done),
            }
        }
    }

    fn choose(shelf: &mut Shelf, journal: &Journal, bytes: &Bytes) -> Kept {
        let mut kept = Kept::default();
        let choose = |transaction: &redb::WriteTransaction| {
            kept = shelf.choose(transaction, bytes)?;
            Ok(())
        };
        journal.commit(choose).unwrap();
        shelf.chosen(kept);
        kept
    }

    fn stored(journal: &Journal, kept: Kept) -> Option<Bytes> {
        let Ok(bytes) = read(&journal.read().unwrap(), kept) else { panic!("damaged") };
        bytes
    }

    #[test]
    fn a_step_writes_one_chunk_and_the_last_one_has_read_all_of_them_back() {
        let (journal, mut shelf) = (Journal::for_tests(), Shelf::new(Kept::default()));
        let long = Bytes::from(vec![5; 6 * CHUNK_BYTES + 1]);
        assert_eq!(steps(&mut shelf, &journal), [Step::More], "nothing to give back");
        shelf.stage(long.clone());
        let mut seen = steps(&mut shelf, &journal);
        assert_eq!((seen.pop(), seen), (Some(Step::Staged), vec![Step::More; 7 + 1 + 1]));
        let first = choose(&mut shelf, &journal, &long);
        assert_eq!(stored(&journal, first), Some(long.clone()));
        // The next one leaves it alone until it is chosen.
        let short = Bytes::from_static(b"all of it");
        shelf.stage(short.clone());
        assert_eq!(steps(&mut shelf, &journal).last(), Some(&Step::Staged));
        assert_eq!(stored(&journal, first), Some(long));
        let second = choose(&mut shelf, &journal, &short);
        assert_eq!(chunk_numbers(&journal).len(), 8);
        steps(&mut shelf, &journal);
        assert_eq!(chunk_numbers(&journal), [(2, 0)]);
        assert_eq!(stored(&journal, second), Some(short));
    }

    #[test]
    fn every_part_of_the_files_cache_is_dropped_before_anything_is_read_back() {
        let (journal, mut shelf) = (Journal::for_tests(), Shelf::new(Kept::default()));
        shelf.stage(Bytes::from_static(b"all of it"));
        let mut parts = Vec::new();
        let mut step = || {
            let forget = |from| {
                parts.push(from);
                Some(from + 8).filter(|next| *next < 20)
            };
            shelf.step(&journal, forget).unwrap()
        };
        // Litter, the chunk, three parts.
        assert_eq!([(); 6].map(|()| step()), [[Step::More; 5].as_slice(), &[Step::Staged]].concat()[..]);
        assert_eq!(parts, [0, 8, 16]);
    }

    #[test]
    fn what_is_read_back_otherwise_than_written_is_never_staged() {
        let (journal, mut shelf) = (Journal::for_tests(), Shelf::new(Kept::default()));
        shelf.stage(Bytes::from(vec![5; 2 * CHUNK_BYTES]));
        while shelf.coming.as_ref().is_some_and(|coming| coming.written < 2) {
            shelf.step(&journal, |_| None).unwrap();
        }
        let other = seal((1, 1), &vec![6; CHUNK_BYTES]);
        let tamper = |transaction: &redb::WriteTransaction| {
            transaction.open_table(CHUNKS)?.insert((1, 1), &*other)?;
            Ok(())
        };
        journal.commit(tamper).unwrap();
        // What the operating system remembers is forgotten first.
        assert_eq!(shelf.step(&journal, |_| None).unwrap(), Step::More);
        let Err(error) = shelf.step(&journal, |_| None) else { panic!("staged") };
        assert!(error.to_string().contains("snapshot 1, chunk 1"), "{error}");
    }

    #[test]
    fn what_an_unfinished_one_left_is_given_back_after_a_restart_and_when_another_begins() {
        let (journal, mut shelf) = (Journal::for_tests(), Shelf::new(Kept::default()));
        let first = Bytes::from(vec![5; 2 * CHUNK_BYTES]);
        let kept = choose(&mut shelf, &journal, &first);
        shelf.stage(Bytes::from(vec![6; 9 * CHUNK_BYTES]));
        assert_eq!([(); 5].map(|()| shelf.step(&journal, |_| None).unwrap()), [Step::More; 5]);
        assert!(chunk_numbers(&journal).len() > 2);
        // Another one begins.
        let last = Bytes::from(vec![7; CHUNK_BYTES]);
        shelf.stage(last.clone());
        steps(&mut shelf, &journal);
        assert_eq!(chunk_numbers(&journal), [(1, 0), (1, 1), (3, 0)]);
        // A restart.
        let mut shelf = Shelf::new(kept);
        steps(&mut shelf, &journal);
        assert_eq!(chunk_numbers(&journal), [(1, 0), (1, 1)]);
        assert_eq!(stored(&journal, kept), Some(first));
    }
}
