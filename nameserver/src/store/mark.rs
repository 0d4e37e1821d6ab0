//! How far the store is durable, told beside it.
//!
//! redb takes a damaged newest state for a commit that was cut short, and goes back to the one before without a word: a
//! single flipped bit and a kill, and a change of a group that had been granted was gone. So each commit has a number,
//! in the file and, once it is durable, in the mark; a file that opens with a lower one is damaged.
//!
//! The mark is written after the commit's fsync and has none of its own, so it is never ahead of the disk. After a kill
//! it is exact; after a power loss it may be behind, and then shows less.

use std::io;
use std::path::{Path, PathBuf};

use common::ids::ClusterId;
use common::machine::fs::{File, FileExt as _, OpenOptions, OpenOptionsExt as _};

/// The mark of one file.
#[derive(Debug)]
pub(super) struct Mark {
    file: File,
    /// Another cluster's mark, left by a file that was taken away, says nothing of this one.
    cluster: ClusterId,
}

/// Cluster, number, checksum.
const BYTES: usize = 16 + 8 + 4;

impl Mark {
    /// The mark beside the file at `path`, which is `cluster`'s.
    pub(super) fn beside(path: &Path, cluster: ClusterId) -> io::Result<Self> {
        let path = PathBuf::from(format!("{}.mark", path.display()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        Ok(Self { file, cluster })
    }

    /// Up to which commit the file was durable at least; 0 when nothing is known. A damaged mark says nothing: it
    /// guards the file, and is not worth a file.
    pub(super) fn durable(&self) -> io::Result<u64> {
        let mut found = [0; BYTES];
        match self.file.read_exact_at(&mut found, 0) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            Err(error) => return Err(error),
        }
        let commit = u64::from_be_bytes(found[16..24].try_into().expect("eight bytes"));
        Ok(if found == self.bytes(commit) { commit } else { 0 })
    }

    /// Says that this commit is durable.
    pub(super) fn set(&self, commit: u64) -> io::Result<()> {
        self.file.write_all_at(&self.bytes(commit), 0)
    }

    fn bytes(&self, commit: u64) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..16].copy_from_slice(&self.cluster.to_bytes());
        bytes[16..24].copy_from_slice(&commit.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[..24]);
        bytes[24..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }
}
