//! What goes into the core and what comes out of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Moment, Timestamp};
use common::ids::ClusterId;
use common::replication::{GossipConfig, GroupName, ReplicaId, RequestId, Update, VectorTimestamp};
pub use common::rpc::gossip::Status;
use common::rpc::gossip::{Message, Reply};
use common::services::CausalServed;

use super::{Planted, Work, Worked};
pub use crate::passive::{Now, SendTicket, Ticket, Waiter};

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A front end sends an update. Answered by [`Effect::Executed`].
    Execute {
        /// Who waits.
        waiter: Waiter,
        /// Which update.
        request: RequestId,
        /// What its client has seen.
        prev: VectorTimestamp,
        /// The client's bytes.
        payload: Bytes,
        /// When nobody waits any more.
        deadline: Moment,
    },
    /// A front end asks. Answered by [`Effect::Queried`].
    Query {
        /// Who waits.
        waiter: Waiter,
        /// What its client has seen.
        prev: VectorTimestamp,
        /// The client's bytes.
        payload: Bytes,
        /// When nobody waits any more.
        deadline: Moment,
    },
    /// A peer says something. Answered by [`Effect::Reply`]. The shell has checked that the sender is who it says.
    Peer {
        /// Who waits.
        waiter: Waiter,
        /// What it says.
        message: Message,
    },
    /// A peer's reply to what was sent; `None` when there will be none.
    PeerReply {
        /// To what.
        ticket: SendTicket,
        /// What it said.
        reply: Option<Reply>,
    },
    /// A batch is on the disk.
    Durable(Ticket),
    /// A checkpoint was made, and lies beside the one that counts, or it was not.
    Worked(Worked),
    /// The members as the name server has them, asked or unasked; `None`: it knows no such group.
    Members(Option<GossipConfig>),
    /// The name server did not answer.
    NoMembers,
    /// The disk has too little room for more, or has room again.
    DiskFull(bool),
    /// More calls wait than are served in good time, or no more.
    Pressed(bool),
    /// A person wants this status.
    SetStatus(Status),
    /// A person wants this member out, which may be this one.
    Remove(ReplicaId),
    /// A person says that this disk counts, though it is an old copy: nobody is left to copy from.
    Accept,
    /// Time has passed.
    Tick,
    /// Give away what only this replica has, and stop. Answered by [`Effect::Stopped`].
    Stop,
}

/// What must happen.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send this to a peer, and report its reply.
    Send {
        /// Whom.
        to: ReplicaId,
        /// For the reply.
        ticket: SendTicket,
        /// What.
        message: Message,
        /// How long to wait for the reply.
        within: Duration,
    },
    /// Answer a peer.
    Reply {
        /// Who waits.
        waiter: Waiter,
        /// What to say.
        reply: Reply,
    },
    /// Answer an update.
    Executed {
        /// Who waits.
        waiter: Waiter,
        /// What came of it.
        result: Result<Done, Refused>,
    },
    /// Answer a query.
    Queried {
        /// Who waits.
        waiter: Waiter,
        /// What came of it.
        result: Result<Answer, Refused>,
    },
    /// Write this in one transaction, fsync, and report.
    Persist(WriteBatch, Ticket),
    /// Do this beside the core, have the disk ready to choose what came of it, and report.
    Work(Work),
    /// Ask the name server who the members are.
    ReadMembers,
    /// Ask the name server to put `next` in the place of the version before it (of nothing, when it is the first).
    Cas {
        /// What should stand.
        next: GossipConfig,
    },
    /// Give this disk's identity up: format a new one, start again. The log is kept for the new identity, which logs
    /// again what the others lack; so is that of an identity before it which did not come to that.
    FormatAnew,
    /// Write these updates down for a person: they are too old to be told apart from those that everybody has.
    Strand(Vec<Arc<Update>>),
    /// A person must look at this. Said once.
    Alarm {
        /// At what.
        why: String,
    },
    /// Everything that stopping asked for is done; or this replica has left the group for good.
    Stopped,
}

/// An update's acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The service's reply, in its own encoding.
    pub reply: Bytes,
    /// All that is applied here, the update included.
    pub vector: VectorTimestamp,
    /// The highest id applied here.
    pub latest: RequestId,
    /// Older ids are not taken in any more.
    pub floor: Timestamp,
}

/// A query's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The service's answer, in its own encoding.
    pub answer: Bytes,
    /// All that it reflects.
    pub vector: VectorTimestamp,
    /// The highest id applied here.
    pub latest: RequestId,
}

/// Why a call was not answered. But for `Unacknowledged`, this copy had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// What the caller has seen has not come here in time: ask another replica.
    #[error("this replica lacks {missing}")]
    Behind {
        /// What.
        missing: VectorTimestamp,
    },
    /// The id is too old to be told apart. An earlier copy may have run.
    #[error("the request id is too old to be told apart")]
    Expired {
        /// Older ids are not taken in any more.
        floor: Timestamp,
    },
    /// The id is dated too far ahead.
    #[error("the request id lies too far ahead")]
    FromTheFuture {
        /// This replica's clock.
        now: Timestamp,
    },
    /// The id belongs to another update.
    #[error("the request id belongs to another update")]
    Reused,
    /// Too many wait.
    #[error("busy")]
    Busy,
    /// A person, or the load, says so.
    #[error("overloaded")]
    Overloaded,
    /// A person says so; or it has just started and does not know yet what it may have lost.
    #[error("offline")]
    Offline,
    /// The replica is stopping.
    #[error("the replica is stopping")]
    Draining,
    /// The disk is full.
    #[error("the disk is full")]
    DiskFull,
    /// Over the bound.
    #[error("an update has at most {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: usize,
    },
    /// The service holds too much.
    #[error("the service is full")]
    Full {
        /// In the service's own encoding.
        reply: Bytes,
    },
    /// Unknown: the same id again.
    #[error("not on enough disks within {waited:?}")]
    Unacknowledged {
        /// How long it was waited for.
        waited: Duration,
    },
}

/// An update and its place in the log.
pub type Numbered = (u64, Arc<Update>);

/// What goes to the disk in one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    /// Whether all that is there goes first: this is a copy of another's disk. The log of an earlier identity, which
    /// was kept for this, is not needed any more.
    pub replace: bool,
    /// Add these at the end of the log.
    pub append: Vec<Numbered>,
    /// Remove these from the log.
    pub gone: Vec<u64>,
    /// Up to where records are gone.
    pub truncated: Option<VectorTimestamp>,
    /// Ids older than this are not taken in any more.
    pub floor: Option<Timestamp>,
    /// All that the log made, up to a place in it.
    pub checkpoint: Option<Bytes>,
    /// The newest members.
    pub members: Option<GossipConfig>,
}

impl WriteBatch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What was found on the disk.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The newest members; `None`: there are no data.
    pub members: Option<GossipConfig>,
    /// Ids older than this are not taken in any more.
    pub floor: Timestamp,
    /// All that the log made, up to a place in it.
    pub checkpoint: Option<Bytes>,
    /// Up to where records are gone.
    pub truncated: VectorTimestamp,
    /// The log, in its order.
    pub log: Vec<Numbered>,
    /// What an identity before this one had.
    pub old: Option<OldLog>,
}

/// What a former identity of this place has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldLog {
    /// Which identity.
    pub was: ReplicaId,
    /// Its log, in its order, as far as it can still be read.
    pub log: Vec<Arc<Update>>,
}

/// Who a replica is, and what it may do.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The group.
    pub group: GroupName,
    /// This disk.
    pub me: ReplicaId,
    /// Where it listens.
    pub address: SocketAddr,
    /// The service it hosts.
    pub service: CausalServed,
    /// Whether it may create the group.
    pub first: bool,
    /// How much of anything.
    pub limits: Limits,
    /// What its draws begin with: an order of peers, a refusal for teaching.
    pub seed: u64,
    /// Which rules it breaks: none, but in tests of the tests.
    pub planted: Planted,
}

/// How much of anything, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// On so many disks an update is before it is answered.
    pub ack_after: usize,
    /// Ids this old are not taken in any more. The same on all members, or the shortest counts.
    pub request_window: Duration,
    /// Between two pushes to whoever is next, more or less.
    pub gossip_every: Duration,
    /// After so many updates, which are also as much as the last one, a checkpoint is written.
    pub checkpoint_after: u64,
    /// Or after so long, when there were any.
    pub checkpoint_every: Duration,
    /// With one batch so many records of each origin go from the log.
    pub trim_step: usize,
    /// Bytes of updates in one message or one batch: small beside a frame, large beside a group commit.
    pub batch_bytes: usize,
    /// A member that keeps so many records from going is moved out …
    pub held_back_records: usize,
    /// … or so many bytes of them.
    pub held_back_bytes: usize,
    /// Of a million calls, so many are refused, for teaching.
    pub overload_rate: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            ack_after: 1,
            request_window: Duration::from_hours(1),
            gossip_every: Duration::from_millis(200),
            checkpoint_after: 10_000,
            checkpoint_every: Duration::from_mins(1),
            trim_step: 512,
            batch_bytes: 512 * 1024,
            held_back_records: 1_000_000,
            held_back_bytes: 256 * 1024 * 1024,
            overload_rate: 0,
        }
    }
}
