//! The replicated groups' vocabulary: who is a member, which configuration stands, what a log holds, which request
//! is which. The passive engine (`replica/src/passive`) and the config authority (`nameserver/src/groups.rs`) both
//! ask [`GroupConfig::allows`]; the gossip engine (`replica/src/gossip`) has its [`GossipConfig::allows`].
//!
//! **Names.** `Primary`, `Backup`, `Learner`, [`Epoch`] (+1 at each change of primary), [`LogIndex`],
//! [`InSyncSet`], [`GroupConfig`], [`ReplicaId`] (identity of a formatted disk, never of a name), [`BootId`],
//! [`RequestId`]; of gossip groups [`VectorTimestamp`], [`GossipConfig`], [`Session`].

mod entry;
mod gossip_config;
mod group_config;
mod identity;
mod numbers;
mod request_id;
mod session;
mod update;
mod vector_timestamp;

pub use entry::{Entry, EntryKind, Limits};
pub use gossip_config::GossipConfig;
pub use group_config::{ConfigError, FORCED_AHEAD, GroupConfig, InSyncSet, Proposer};
pub use identity::{BadGroupName, BootId, GroupName, Member, ReplicaId};
pub use numbers::{ConfigVersion, Epoch, LogIndex, LogPoint};
pub use request_id::{BadRequestId, RequestId, RequestIdSource};
pub use session::Session;
pub use update::{Digest, Kind, Update};
pub use vector_timestamp::VectorTimestamp;
