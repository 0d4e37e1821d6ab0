//! A disk as bytes: the checkpoint that a replica writes beside its log, and the copy that a newcomer is given.

use bytes::Bytes;
use common::clock::Timestamp;
use common::replication::{GossipConfig, VectorTimestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::requests::Requests;
use super::{Core, Fault, Numbered};

/// What the log made, up to a place in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Checkpoint {
    /// The place.
    pub(super) upto: u64,
    pub(super) applied: VectorTimestamp,
    pub(super) requests: Requests,
    /// The service's own bytes; `None`: its first value.
    pub(super) value: Option<Bytes>,
}

/// A donor's disk, all but its identity: a newcomer has all that its donor has, and can send all that its donor can.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Copied {
    pub(super) checkpoint: Checkpoint,
    pub(super) log: Vec<Numbered>,
    pub(super) truncated: VectorTimestamp,
    /// In force at the donor: all that it has told is no higher.
    pub(super) floor: Timestamp,
    pub(super) members: GossipConfig,
}

/// The first byte of either.
const FORMAT: u8 = 1;

impl Checkpoint {
    pub(super) fn write(&self) -> Bytes {
        write(self)
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        read(bytes)
    }
}

impl Copied {
    pub(super) fn write(&self) -> Bytes {
        write(self)
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        read(bytes)
    }
}

fn write<T: Serialize>(part: &T) -> Bytes {
    let mut bytes = vec![FORMAT];
    bincode::serde::encode_into_std_write(part, &mut bytes, bincode::config::standard())
        .expect("plain data always encodes into memory");
    bytes.into()
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (format, body) = bytes.split_first().ok_or("no bytes")?;
    if *format != FORMAT {
        return Err(format!("written in format {format}, this program reads {FORMAT}"));
    }
    match bincode::serde::decode_from_slice(body, bincode::config::standard()) {
        Ok((part, read)) if read == body.len() => Ok(part),
        Ok(_) => Err("bytes left over".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl Core {
    /// This disk, for a newcomer.
    pub(super) fn copy(&self) -> Copied {
        let mut log: Vec<Numbered> = self.log.iter().cloned().collect();
        if self.planted(Fault::SnapshotWithoutLog) {
            log.clear();
        }
        let checkpoint = Checkpoint {
            upto: self.reached,
            applied: self.applied.clone(),
            requests: self.requests.clone(),
            value: Some(self.value.snapshot()),
        };
        Copied {
            checkpoint,
            log,
            truncated: self.log.truncated().clone(),
            floor: if self.planted(Fault::NewcomerFloorZero) { Timestamp::default() } else { self.floor },
            members: self.members.clone(),
        }
    }
}
