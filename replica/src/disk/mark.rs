//! How far a file is durable, told beside it.
//!
//! redb takes a damaged newest state for a commit that was cut short, and goes back to the one before without a word:
//! a single flipped bit and a kill, and an acknowledged batch was gone. So each batch has a number, in the file and,
//! once it is durable, in the mark; a file that opens with a lower one is damaged.
//!
//! The mark is written after the batch's fsync and has none of its own, so it is never ahead of the disk. After a kill
//! it is exact; after a power loss it may be behind, and then shows less.

use std::io;
use std::path::{Path, PathBuf};

use common::machine::fs::{File, FileExt as _, OpenOptions, OpenOptionsExt as _};
use common::replication::ReplicaId;

/// The mark of one file.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// Whose the file beside it is.
    replica: ReplicaId,
}

/// Identity, number, checksum.
const BYTES: usize = 16 + 8 + 4;

impl Mark {
    /// The mark beside the file at `path`, which is `replica`'s.
    pub(super) fn beside(path: &Path, replica: ReplicaId) -> io::Result<Self> {
        let path = PathBuf::from(format!("{}.mark", path.display()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Self { file, replica })
    }

    /// Why a file of ours that ends with `batch` is not what was durable, as far as the mark knows.
    pub(super) fn contradicts(&self, batch: u64) -> io::Result<Option<String>> {
        let mut found = [0; BYTES];
        match self.file.read_exact_at(&mut found, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let (id, number) = (&found[..16], &found[16..24]);
        let id = ReplicaId::from_u128(u128::from_be_bytes(id.try_into().expect("sixteen bytes")));
        let durable = u64::from_be_bytes(number.try_into().expect("eight bytes"));
        Ok(if found != bytes(id, durable) {
            // A damaged one says nothing: it guards the file, and is not worth a file.
            None
        } else if id != self.replica {
            Some(format!("meta replica: {}, where {id}'s file was", self.replica))
        } else if batch < durable {
            Some(format!("meta batch: ends with {batch}, and {durable} was durable"))
        } else {
            None
        })
    }

    /// Says that this batch is durable.
    pub(super) fn set(&self, batch: u64) -> io::Result<()> {
        self.file.write_all_at(&bytes(self.replica, batch), 0)
    }
}

fn bytes(replica: ReplicaId, batch: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..16].copy_from_slice(&replica.to_u128().to_be_bytes());
    bytes[16..24].copy_from_slice(&batch.to_be_bytes());
    let crc = crc32c::crc32c(&bytes[..24]);
    bytes[24..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_contradicts_an_older_file_and_anothers_unless_it_is_damaged_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("just.hungry.redb");
        let mark = |id| Mark::beside(&path, ReplicaId::from_u128(id)).unwrap();
        assert_eq!(mark(1).contradicts(0).unwrap(), None, "there is none yet");
        mark(1).set(300).unwrap();
        mark(1).set(7).unwrap();
        assert!(mark(1).contradicts(6).unwrap().unwrap().contains("ends with 6, and 7 was durable"));
        assert_eq!([7, 8].map(|batch| mark(1).contradicts(batch).unwrap()), [None, None]);
        assert!(mark(2).contradicts(8).unwrap().unwrap().starts_with("meta replica"));
        let beside = folder.path().join("just.hungry.redb.mark");
        let whole = std::fs::read(&beside).unwrap();
        for bit in 0..BYTES * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&beside, bytes).unwrap();
            assert_eq!(mark(1).contradicts(0).unwrap(), None, "bit {bit}");
        }
    }
}
