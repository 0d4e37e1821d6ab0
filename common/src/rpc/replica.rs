//! The contract of a replica, for front ends and for `client cluster`. A payload is a service's own encoding;
//! nothing here looks inside.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Outcome;
use super::gossip::Status;
use crate::clock::Timestamp;
use crate::names::LogicalName;
use crate::replication::{
    ConfigVersion, Digest, Epoch, GossipConfig, GroupConfig, GroupName, LogIndex, LogPoint, Member,
    ReplicaId, RequestId, VectorTimestamp,
};

/// One member of each of its groups.
#[tarpc::service]
pub trait Replica {
    /// Runs a command once, however often it is sent.
    async fn execute(
        service: GroupName,
        request: RequestId,
        prev: VectorTimestamp,
        facts: Bytes,
        payload: Bytes,
    ) -> Result<Done, SubmitError>;
    /// Answers a query.
    async fn query(
        service: GroupName,
        prev: VectorTimestamp,
        consistency: Consistency,
        payload: Bytes,
    ) -> Result<Answer, QueryError>;
    /// How its members are.
    async fn status() -> Vec<MemberStatus>;
    /// Makes ready for an operator's record: drops the connection to the name server with every answer about groups
    /// that was not read yet, so that none of a lost future arrives afterwards; then tells how the member is. Only for
    /// an operator.
    async fn prepare_adoption(service: GroupName) -> Result<MemberStatus, OperatorError>;
    /// An operator's record of this version stands at the name server: it is read, and followed. A gossip group's member
    /// whose disk is an [`OLD_COPY`] takes part again. Only for an operator.
    async fn adopted(service: GroupName, version: ConfigVersion) -> Result<(), OperatorError>;
    /// How its members of gossip groups are.
    async fn gossip_status() -> Vec<GossipStatus>;
    /// Sets whether its gossip members take calls, and tells what they did before. Lasts until it is set again or the
    /// process ends. Only for an operator.
    async fn set_status(status: Status) -> Result<Status, OperatorError>;
    /// Has this member of a gossip group move another one, or itself, out of the group for good; returns when the
    /// record says so. Only for an operator.
    async fn leave(service: GroupName, id: ReplicaId) -> Result<(), OperatorError>;
}

/// Why an operator's call was refused. Nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum OperatorError {
    /// It came from another machine.
    #[error("only an operator on the replica's own machine may do this")]
    Denied,
    /// No such service here.
    #[error("no service {service} here")]
    UnknownService {
        /// Which.
        service: GroupName,
    },
    /// The replica is stopping.
    #[error("the replica is stopping")]
    Draining,
    /// No such member is active in the group.
    #[error("no active member {id}")]
    UnknownMember {
        /// Which.
        id: ReplicaId,
    },
}

/// The largest payload of a command or query: a menu of 1,000 products fits.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// How fresh an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Consistency {
    /// It shows every update answered before the query was sent.
    Linearizable,
    /// Any replica's that heard a primary this recently.
    StaleOk {
        /// How recently.
        max_age: Duration,
    },
}

/// A command's acknowledgement: it is on the disks of all in-sync replicas.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The service's reply, in its own encoding.
    pub reply: Bytes,
    /// Where it stands.
    pub position: Position,
    /// Ids up to this one are forgotten.
    pub floor: RequestId,
    /// The replica's wall clock, by which a client may correct its own.
    pub now: Timestamp,
}

/// A query's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The service's answer, in its own encoding.
    pub answer: Bytes,
    /// What it reflects.
    pub position: Position,
}

/// How far an answer reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Position {
    /// The log up to and including this entry.
    Log(LogPoint),
    /// All these updates of a gossip group.
    Causal {
        /// Which.
        vector: VectorTimestamp,
        /// The highest id among them.
        latest: RequestId,
    },
}

/// Why a command was not acknowledged. Each variant says what the caller may do next.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SubmitError {
    /// This copy was not taken in: send it to the primary that `config` names.
    #[error("not the primary")]
    NotPrimary {
        /// The newest configuration known here.
        config: Option<Box<GroupConfig>>,
        /// Where its primary listens, when that is known here.
        address: Option<SocketAddr>,
    },
    /// This copy was not taken in: too much is under way.
    #[error("busy; try again in {retry_in:?}")]
    Busy {
        /// When to try again.
        retry_in: Duration,
    },
    /// This copy was not taken in: the replica is stopping.
    #[error("the replica is stopping")]
    Draining,
    /// This copy was not taken in: the disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// This copy was not taken in: nobody serves the group, or nobody could be reached.
    #[error("nobody serves {service}")]
    NoPrimary {
        /// Which.
        service: GroupName,
    },
    /// This copy was not taken in: no such service here.
    #[error("no service {service} here")]
    UnknownService {
        /// Which.
        service: GroupName,
    },
    /// This copy was not taken in: over [`PAYLOAD_BYTES_MAX`].
    #[error("a payload has at most {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// This copy was not taken in: the id is dated too far ahead. Correct the clock by `now`, make a new id.
    #[error("the request id lies too far ahead of the log's time")]
    FromTheFuture {
        /// The replica's wall clock.
        now: Timestamp,
    },
    /// Final: the id belongs to another command, which ran; this one did not.
    #[error("the request id belongs to another command")]
    Reused,
    /// It will never run from now on, but it may have run before: look, then use a new id.
    #[error("the request id is too old to be told apart")]
    Expired {
        /// Ids up to this one are forgotten.
        floor: RequestId,
        /// The replica's wall clock.
        now: Timestamp,
    },
    /// Refused by the front end, before it was ordered: in the service's own encoding of a reply.
    #[error("refused before it was ordered")]
    AtTheDoor {
        /// The service's reply.
        reply: Bytes,
    },
    /// Too few replicas were left in sync while it was under way. Unknown: the same id again.
    #[error("{in_sync} replicas are in sync, {needed} are needed")]
    TooFewInSync {
        /// How many are.
        in_sync: u8,
        /// How many are needed.
        needed: u8,
    },
    /// Unknown: the same id again.
    #[error("no acknowledgement within {waited:?}")]
    Unacknowledged {
        /// How long it was waited for.
        waited: Duration,
    },
    /// Unknown: the same id again. Our fault.
    #[error("internal error: {why}")]
    Internal {
        /// For the log.
        why: String,
    },
    /// This copy was not taken in: too few replicas are in sync to promise anything.
    #[error("{in_sync} replicas are in sync, {needed} are needed")]
    TooFewToAdmit {
        /// How many are.
        in_sync: u8,
        /// How many are needed.
        needed: u8,
    },
    /// This copy was not taken in: what the caller has seen has not come here in time. Ask another replica.
    #[error("this replica lacks what the caller has seen")]
    Behind {
        /// What it lacks.
        missing: VectorTimestamp,
    },
    /// This copy was not taken in: a person, or the load, says so. Ask another replica.
    #[error("overloaded")]
    Overloaded,
    /// This copy was not taken in: a person says so, or the replica has just started. Ask another replica.
    #[error("offline")]
    Offline,
}

impl SubmitError {
    /// What the failed call may have done.
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::NotPrimary { .. }
            | Self::Busy { .. }
            | Self::Draining
            | Self::DiskFull
            | Self::NoPrimary { .. }
            | Self::UnknownService { .. }
            | Self::TooLarge { .. }
            | Self::FromTheFuture { .. }
            | Self::Reused
            | Self::TooFewToAdmit { .. }
            | Self::Behind { .. }
            | Self::Overloaded
            | Self::Offline
            | Self::AtTheDoor { .. } => Outcome::NoEffect,
            Self::Expired { .. }
            | Self::TooFewInSync { .. }
            | Self::Unacknowledged { .. }
            | Self::Internal { .. } => Outcome::Unknown,
        }
    }
}

/// Why a query was not answered. Queries may always be repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum QueryError {
    /// Ask the primary that `config` names.
    #[error("not the primary")]
    NotPrimary {
        /// The newest configuration known here.
        config: Option<Box<GroupConfig>>,
        /// Where its primary listens, when that is known here.
        address: Option<SocketAddr>,
    },
    /// Too much is under way.
    #[error("busy; try again in {retry_in:?}")]
    Busy {
        /// When to try again.
        retry_in: Duration,
    },
    /// The replica is stopping.
    #[error("the replica is stopping")]
    Draining,
    /// Nobody serves the group, or nobody could be reached.
    #[error("nobody serves {service}")]
    NoPrimary {
        /// Which.
        service: GroupName,
    },
    /// No such service here.
    #[error("no service {service} here")]
    UnknownService {
        /// Which.
        service: GroupName,
    },
    /// Over [`PAYLOAD_BYTES_MAX`].
    #[error("a payload has at most {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// No primary was heard recently enough.
    #[error("no primary was heard within the age allowed")]
    Behind,
    /// Too few replicas are in sync.
    #[error("{in_sync} replicas are in sync, {needed} are needed")]
    TooFewInSync {
        /// How many are.
        in_sync: u8,
        /// How many are needed.
        needed: u8,
    },
    /// Not confirmed in time.
    #[error("not confirmed within {waited:?}")]
    Unacknowledged {
        /// How long it was waited for.
        waited: Duration,
    },
    /// Our fault.
    #[error("internal error: {why}")]
    Internal {
        /// For the log.
        why: String,
    },
    /// What the caller has seen has not come here in time. Ask another replica.
    #[error("this replica lacks what the caller has seen")]
    Lacks {
        /// What it lacks.
        missing: VectorTimestamp,
    },
    /// A person, or the load, says so. Ask another replica.
    #[error("overloaded")]
    Overloaded,
    /// A person says so, or the replica has just started. Ask another replica.
    #[error("offline")]
    Offline,
}

/// What a member of a passive group is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// It orders commands.
    Primary,
    /// In sync, and follows.
    Backup,
    /// Not in sync, and is being fed.
    Learner,
    /// It has not read the record yet, or there is no group yet.
    Waiting,
}

/// Why a member proposes nothing until an operator's record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Waits {
    /// The name server's record is older than its disk's, or there is none: it serves as it did, and changes nothing.
    Contradicted,
    /// It was started with `--restored`: its disk may be an old copy, so it takes no part.
    Restored,
}

/// How one member is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// The group.
    pub service: GroupName,
    /// The name it is registered under.
    pub name: LogicalName,
    /// Which disk, which boot.
    pub member: Member,
    /// What it is.
    pub role: Role,
    /// The newest configuration it knows.
    pub config: Option<GroupConfig>,
    /// The last entry of its log.
    pub last: LogPoint,
    /// The epoch it is in: its log's last, or a later one that it met since.
    pub epoch: Epoch,
    /// Up to where it knows entries to be committed.
    pub committed: LogIndex,
    /// Up to where it applied them.
    pub applied: LogIndex,
    /// Up to where they are on its disk.
    pub durable: LogIndex,
    /// Chained hash of what it applied.
    pub state_hash: u64,
    /// Ids up to this one are forgotten.
    pub floor: RequestId,
    /// The version of the newest configuration on its disk.
    pub config_version: ConfigVersion,
    /// Why it does not take part, in words; empty when it does.
    pub trouble: String,
    /// Whether, and why, it proposes nothing until an operator's record stands.
    pub waits: Option<Waits>,
    /// Since its start.
    pub uptime: Duration,
    /// Its wall clock.
    pub now: Timestamp,
    /// Whom it knows, and when it last heard them (`None`: not since its start).
    pub known: Vec<KnownMember>,
}

impl MemberStatus {
    /// Whether it is the primary of `newest`, the newest configuration that anybody knows, and serves. A record at the
    /// name server that contradicts it hinders nobody, as long as nothing has to change.
    pub fn serves(&self, newest: &GroupConfig) -> bool {
        let leads = self.role == Role::Primary && newest.primary == self.member;
        let enough = newest.in_sync.len() >= usize::from(newest.min_in_sync);
        leads && enough && (self.trouble.is_empty() || self.waits == Some(Waits::Contradicted))
    }
}

/// A member as another one knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownMember {
    /// Which disk, which boot.
    pub member: Member,
    /// The name it is registered under.
    pub name: LogicalName,
    /// Where it listens.
    pub address: SocketAddr,
    /// When it was last heard; `None`: not since this one's start.
    pub heard: Option<Duration>,
}

/// What troubles a member of a gossip group whose record the name server has lost; it serves all the same, as long as
/// nothing has to change.
pub const RECORD_LOST: &str =
    "the name server has lost the group's record, or has an old one: client cluster adopt GROUP";

/// What troubles a member of a gossip group whose disk is an old copy of itself, when all others have left: it waits
/// until a person says that this disk counts.
pub const OLD_COPY: &str =
    "this disk is an old copy, and nobody is left to copy from: client cluster adopt GROUP";

/// How one member of a gossip group is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GossipStatus {
    /// The group.
    pub service: GroupName,
    /// The name it is registered under.
    pub name: LogicalName,
    /// Which disk, which boot.
    pub member: Member,
    /// Whether it takes calls, as a person wants it.
    pub status: Status,
    /// Who is in the group, as far as is installed there; of version 0 when nothing is.
    pub members: GossipConfig,
    /// All that is applied there, and on its disk.
    pub applied: VectorTimestamp,
    /// Of its value.
    pub digest: Digest,
    /// Records in its log.
    pub log: u64,
    /// Ids older than this are not taken in.
    pub floor: Timestamp,
    /// When another member was last heard; `None`: not since its start.
    pub heard: Option<Duration>,
    /// Why it does not take part, in words; empty when it does.
    pub trouble: String,
    /// Updates put aside for an operator.
    pub stranded: u64,
    /// Since its start.
    pub uptime: Duration,
    /// Whom it knows.
    pub known: Vec<KnownMember>,
}

impl GossipStatus {
    /// Whether it is active in `newest`, the newest configuration that anybody knows, online, and not cut off from all
    /// others.
    pub fn is_in_sync(&self, newest: &GossipConfig) -> bool {
        /// Members hear each other several times a second; one that heard nobody for so long is cut off.
        const HEARD_WITHIN: Duration = Duration::from_secs(2);
        let alone = newest.active.len() == 1;
        self.is_online(newest) && (alone || self.heard.is_some_and(|ago| ago <= HEARD_WITHIN))
    }

    /// Whether it answers calls. The last one does, though nobody is there to be heard from.
    pub fn serves(&self, newest: &GossipConfig) -> bool {
        self.is_online(newest) && (self.trouble.is_empty() || self.trouble == RECORD_LOST)
    }

    fn is_online(&self, newest: &GossipConfig) -> bool {
        newest.active.contains(&self.member.id) && self.status == Status::Online
    }
}
