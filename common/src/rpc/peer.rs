//! The contract between replicas: one method per engine.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::gossip::{Said, SaidBack};
use crate::clock::Timestamp;
use crate::ids::ClusterId;
use crate::names::LogicalName;
use crate::replication::{
    ConfigVersion, Entry, Epoch, GroupConfig, GroupName, LogIndex, LogPoint, Member, ReplicaId,
};

/// What replicas say to each other.
#[tarpc::service]
pub trait Peer {
    /// To the passive engine's member of `group`. The first message of a connection, per group, is a `Hello`.
    async fn passive(group: GroupName, message: Message) -> Reply;
    /// To the gossip engine's member of `group`; of each connection, too, the first is a hello.
    async fn gossip(group: GroupName, said: Said) -> SaidBack;
}

/// From one member of a passive group to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// The first message of a connection, and the first sign of a new boot.
    Hello(Hello),
    /// From a primary: entries of the log, from the one after `prev` on; none is a question how far the log matches.
    Append {
        /// The primary.
        from: ReplicaId,
        /// Its epoch.
        epoch: Epoch,
        /// The entry before the first.
        prev: LogPoint,
        /// The entries; 512 KiB at most.
        entries: Vec<Arc<Entry>>,
        /// Up to where the primary knows the log to be committed.
        committed: LogIndex,
    },
    /// From a primary: am I still yours? Answered at once, never behind an fsync. Also the beacon.
    Confirm {
        /// The primary.
        from: ReplicaId,
        /// Its epoch.
        epoch: Epoch,
        /// Which question.
        round: u64,
        /// Up to where the primary knows the log to be committed.
        committed: LogIndex,
        /// What the primary's state was when it was last compared.
        state: Option<StateHash>,
    },
    /// From a primary: a piece of its snapshot.
    SnapshotChunk {
        /// The primary.
        from: ReplicaId,
        /// Its epoch.
        epoch: Epoch,
        /// The last entry that the snapshot holds.
        last: LogPoint,
        /// Where the piece begins.
        offset: u64,
        /// The piece; 1 MiB at most.
        bytes: Bytes,
        /// CRC-32C of the piece.
        crc: u32,
        /// Of the last piece: CRC-32C of all of them together.
        whole: Option<u32>,
    },
    /// From a learner: feed me.
    Join {
        /// Who asks.
        me: Member,
        /// The last entry of its log.
        last: LogPoint,
        /// The version of the newest configuration on its disk.
        config_version: ConfigVersion,
    },
    /// From whoever has a newer configuration.
    TakeOver {
        /// The configuration.
        config: GroupConfig,
    },
    /// From a candidate: when did you last hear the primary of this epoch?
    HeardPrimary {
        /// The epoch.
        epoch: Epoch,
    },
}

/// Chained hash of all entries and replies up to a place where every member notes it: equal logs, equal hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateHash {
    /// The place.
    pub at: LogIndex,
    /// The hash.
    pub hash: u64,
}

/// Who speaks on a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Of which cluster; members of another one are not spoken to.
    pub cluster: ClusterId,
    /// Which disk, which boot.
    pub me: Member,
    /// The name it is registered under.
    pub name: LogicalName,
    /// Where it listens.
    pub address: SocketAddr,
    /// The last entry of its log; a gossip member has no such thing.
    pub last: LogPoint,
    /// Its wall clock.
    pub wall: Timestamp,
    /// The version of the newest configuration on its disk.
    pub config_version: ConfigVersion,
}

/// An answer, with the answerer's epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// The answerer's epoch.
    pub epoch: Epoch,
    /// What it says.
    pub body: ReplyBody,
}

/// What a member answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReplyBody {
    /// To a hello.
    Hello(Hello),
    /// Entries up to here match this primary's log, and are fsynced.
    Ack {
        /// Up to where.
        durable: LogIndex,
    },
    /// The log does not match at `prev`: try from here on.
    Nak {
        /// The last entry that may match.
        hint: LogIndex,
    },
    /// The sender's epoch is over.
    Fenced,
    /// The sender's epoch is still mine.
    Confirmed {
        /// The question answered.
        round: u64,
        /// Whether the answerer's disk has no room for more.
        full: bool,
    },
    /// Send the snapshot from here on.
    Next {
        /// The offset wanted.
        offset: u64,
    },
    /// Done, or welcome.
    Accepted,
    /// I do not lead.
    NotPrimary {
        /// The newest configuration known here.
        config: Option<GroupConfig>,
    },
    /// When the primary was last heard.
    Heard {
        /// How long ago; `None`: not in this epoch.
        ago: Option<Duration>,
    },
    /// The message breaks a rule; nothing was done.
    Refused {
        /// For the log.
        why: String,
    },
}
