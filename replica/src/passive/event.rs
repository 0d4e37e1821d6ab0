//! What goes into the core and what comes out of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use common::clock::{Moment, Timestamp};
use common::ids::ClusterId;
use common::names::LogicalName;
use common::replication::{
    ConfigVersion, Epoch, GroupConfig, GroupName, Limits, LogIndex, LogPoint, Member, ReplicaId, RequestId,
};
use common::rpc::peer::{Hello, Message, Reply};
use common::rpc::replica::{Answer, Consistency, Done, QueryError, SubmitError};
use common::services::Served;

use crate::disk::batch::{Ticket, WriteBatch};
use crate::planted::passive::Planted;
use crate::state::{Work, Worked};

/// The time of an event: the monotonic clock for waiting, the wall clock for stamping.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// On the monotonic clock.
    pub at: Moment,
    /// On the wall clock.
    pub wall: Timestamp,
}

/// Somebody who waits for an answer; the shell knows who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// A message under way to a peer; its reply bears the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendTicket(pub u64);

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A front end sends a command. Answered by [`Effect::Submitted`].
    Execute {
        /// Who waits.
        waiter: Waiter,
        /// Which command.
        request: RequestId,
        /// What the front end found out.
        facts: Bytes,
        /// The client's bytes.
        payload: Bytes,
        /// When nobody waits any more.
        deadline: Moment,
    },
    /// A front end asks. Answered by [`Effect::Queried`].
    Query {
        /// Who waits.
        waiter: Waiter,
        /// How fresh the answer must be.
        consistency: Consistency,
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
    /// A new connection to a peer is up, and this is how it answered our hello.
    Met(Hello),
    /// A peer's reply to what was sent; `None` when there will be none.
    PeerReply {
        /// To what.
        ticket: SendTicket,
        /// What it said.
        reply: Option<Reply>,
    },
    /// A peer's socket refuses connections: that process is gone.
    PeerRefused(Member),
    /// A batch is on the disk.
    Durable(Ticket),
    /// The group's record as the name server has it; `None`: it knows no such group.
    Record(Option<GroupConfig>),
    /// The name server could not be asked, or did not answer: the outcome of a compare-and-set is unknown.
    NoRecord,
    /// The same, and it says when to ask again.
    AskAgainIn(Duration),
    /// The name server's record is older than one that we have seen.
    RecordRegressed,
    /// An operator's record of this version stands at the name server.
    Adopted(ConfigVersion),
    /// The disk has too little room for more entries, or has room again.
    DiskFull(bool),
    /// What came of [`Effect::Work`]. Its snapshot is ready to be chosen by a batch, or it has none.
    Worked(Worked),
    /// How far this machine's wall clock is from the name server's.
    ClockOff(Duration),
    /// Time has passed.
    Tick,
    /// Hand over and stop. Answered by [`Effect::Stopped`].
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
    /// Answer a command.
    Submitted {
        /// Who waits.
        waiter: Waiter,
        /// What came of it.
        result: Result<Done, SubmitError>,
    },
    /// Answer a query.
    Queried {
        /// Who waits.
        waiter: Waiter,
        /// What came of it.
        result: Result<Answer, QueryError>,
    },
    /// Write this in one transaction, fsync, and report.
    Persist(WriteBatch, Ticket),
    /// Ask the name server for the group's record.
    ReadRecord {
        /// The newest version seen here.
        known: Option<ConfigVersion>,
    },
    /// Ask the name server to put `next` in the place of the version before it (of nothing, when it is the first).
    Cas {
        /// What should stand.
        next: GroupConfig,
    },
    /// See at once whether this peer's socket still accepts.
    Look(Member),
    /// Give this disk's identity up: put its file aside (or delete it, when it holds nothing but our own Genesis),
    /// format a new one, start again.
    FormatAnew {
        /// Whether the old file may hold entries that nobody else has.
        keep: bool,
    },
    /// Do this, on no thread that anybody waits for, make its snapshot ready to be chosen by a [`WriteBatch`], and
    /// report it.
    Work(Work),
    /// A person must look at this. Said once.
    Alarm {
        /// At what.
        why: String,
    },
    /// Everything that stopping asked for is done.
    Stopped,
}

/// Who a replica is, and what it may do.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// The group.
    pub group: GroupName,
    /// This disk, this boot.
    pub me: Member,
    /// The name it is registered under.
    pub name: LogicalName,
    /// Where it listens.
    pub address: SocketAddr,
    /// The service it hosts.
    pub service: Served,
    /// How to create the group, when there is none and this replica may.
    pub first: Option<First>,
    /// When a snapshot is taken.
    pub snapshots: SnapshotAfter,
    /// Bytes of entries in one append or one disk batch, if more than one: [`BATCH_BYTES`](super::BATCH_BYTES), but in
    /// tests.
    pub batch_bytes: usize,
    /// Which rules it breaks: none, but in tests of the tests.
    pub planted: Planted,
}

/// When a snapshot is taken: once the log behind the last one is this long, and as long as that one.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotAfter {
    /// Only at such places: all replicas note their states at the same ones, and compare them.
    pub multiples_of: u64,
    /// Entries behind the last one; more, where other members come first.
    pub entries: u64,
    /// Or bytes, likewise.
    pub bytes: usize,
}

impl Default for SnapshotAfter {
    /// A restart replays at most about twice this much, and of the last of three members half as much again: a fraction of
    /// a second.
    fn default() -> Self {
        Self { multiples_of: 1024, entries: 65_536, bytes: 64 * 1024 * 1024 }
    }
}

/// How a group begins.
#[derive(Clone, Debug)]
pub struct First {
    /// What decides which requests it knows.
    pub limits: Limits,
    /// The service's first state.
    pub start: Bytes,
    /// How many members must be in sync for an answer.
    pub min_in_sync: u8,
}

/// Where a replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The epoch it is in.
    pub epoch: Epoch,
    /// The last entry of its log.
    pub last: LogPoint,
    /// Up to where it knows entries to be committed.
    pub committed: LogIndex,
    /// Up to where it applied them.
    pub applied: LogIndex,
    /// Up to where they are on its disk.
    pub durable: LogIndex,
    /// Chained hash of what it applied.
    pub state_hash: u64,
    /// Requests up to this one are forgotten.
    pub floor: RequestId,
}
