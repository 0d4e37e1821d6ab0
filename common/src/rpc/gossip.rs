//! What members of a gossip group say to each other.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::peer::Hello;
use crate::clock::Timestamp;
use crate::replication::{ConfigVersion, Digest, GossipConfig, ReplicaId, Update, VectorTimestamp};

/// What is said on a connection between members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Said {
    /// First: who speaks on it.
    Hello(Hello),
    /// Then, whatever that member has to say.
    Message(Message),
}

/// What is said back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaidBack {
    /// To a hello.
    Hello(Hello),
    /// To a message.
    Reply(Reply),
    /// It breaks a rule; nothing was done.
    Refused {
        /// For the log.
        why: String,
    },
}

/// Whether a member takes calls. It gossips all the same, unless it is offline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Status {
    /// It serves.
    #[default]
    Online,
    /// It refuses calls, and gossips on.
    Overloaded,
    /// It refuses calls, and gossips neither way.
    Offline,
}

impl Status {
    /// As it is typed, and as the tag `status=` shows it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Online => "online",
            Self::Overloaded => "overloaded",
            Self::Offline => "offline",
        }
    }
}

/// From one member to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Message {
    /// After a start: what do you remember of me? Nothing is served before the answers.
    Recall {
        /// Who asks.
        from: ReplicaId,
    },
    /// What the receiver seems to lack, and what the sender has.
    Push {
        /// Who sends.
        from: ReplicaId,
        /// The version of the members that it has installed.
        members: ConfigVersion,
        /// They themselves, when the receiver has said that it lacks them.
        attached: Option<GossipConfig>,
        /// The rest.
        news: News,
    },
    /// Send me what I lack, at once.
    Pull {
        /// Who asks.
        from: ReplicaId,
        /// The version of the members that it has installed.
        members: ConfigVersion,
        /// What it has on its disk.
        have: VectorTimestamp,
    },
    /// From a disk without data: let me in, and give me a copy of yours.
    Join {
        /// Who asks.
        from: ReplicaId,
        /// Who it was before it lost its data, or they proved to be old.
        was: Option<ReplicaId>,
        /// Where it listens.
        address: SocketAddr,
    },
    /// The copy that was promised, from this byte on.
    Chunk {
        /// Who asks.
        from: ReplicaId,
        /// Where the piece begins.
        offset: u64,
    },
}

/// What a member has, and what of it another may lack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// In the order in which the sender applied them; 512 KiB at most.
    pub records: Vec<Arc<Update>>,
    /// All that is on the sender's disk.
    pub applied: VectorTimestamp,
    /// Up to here, the sender has no records any more.
    pub truncated: VectorTimestamp,
    /// No update of the sender's above `applied` bears an older id.
    pub floor: Timestamp,
    /// Of the sender's value.
    pub digest: Digest,
}

/// What a member answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// To a recall.
    Recalled {
        /// The members that the answerer has installed.
        members: GossipConfig,
        /// All that is on its disk.
        applied: VectorTimestamp,
        /// What the asker last told it that it had, and its floor then.
        of_you: Option<(VectorTimestamp, Timestamp)>,
        /// It has forgotten what is older, since nobody could send it any more.
        settled: Timestamp,
    },
    /// To a push, after all of it that was taken is on the disk.
    Ack {
        /// The version of the members that the answerer has installed.
        members: ConfigVersion,
        /// They themselves, when the sender has an older version.
        newer: Option<GossipConfig>,
        /// All that is on the answerer's disk.
        applied: VectorTimestamp,
        /// No update of the answerer's above `applied` bears an older id.
        floor: Timestamp,
        /// What became of the push.
        outcome: Outcome,
    },
    /// To a pull.
    News {
        /// The version of the members that the answerer has installed.
        members: ConfigVersion,
        /// They themselves, when the asker has an older version.
        newer: Option<GossipConfig>,
        /// What was asked for.
        news: News,
    },
    /// To who joins: the copy is ready. It is kept for a minute.
    Welcome {
        /// Its length.
        length: u64,
        /// CRC-32C of all of it.
        crc: u32,
    },
    /// A piece of the copy; 1 MiB at most.
    Piece {
        /// The piece.
        bytes: Bytes,
        /// CRC-32C of it.
        crc: u32,
    },
    /// Nothing was done.
    Refused {
        /// Why.
        outcome: Outcome,
    },
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// It was taken in.
    Taken,
    /// The sender has no longer what the receiver lacks, which cannot be.
    Gap,
    /// The sender has installed newer members: it should attach them.
    NeedMembers,
    /// The sender is no active member.
    Retired,
    /// The answerer takes nothing in at the moment.
    Offline,
}
