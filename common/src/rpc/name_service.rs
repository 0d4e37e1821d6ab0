//! The contract of the name server: a registry of addresses (soft, leased, only ever a hint) and the authority on
//! group configurations (durable compare-and-set). Every answer carries a [`Stamp`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{ClusterId, InstanceId};
use crate::names::{
    Address, AnyName, AttemptId, Change, Cursor, Entry, Expect, Freshness, Holder, LeaseId, LogicalName,
    NameEpoch, OwnerKey, Page, Patch, Query, Records, Sent, Sharing, Stamp, Stamped, Tenure, WatchId,
};
use crate::replication::{ConfigError, ConfigVersion, GossipConfig, GroupConfig, GroupName, Proposer};

/// Names, leases, watches; and the configurations of groups.
#[tarpc::service]
pub trait NameService {
    /// The first call on a connection.
    async fn hello(who: Hello) -> Result<Welcome, HelloError>;
    /// Gives a lease of `ttl` (100 ms to 24 h) to the process `instance`.
    async fn grant(
        ttl: Duration,
        instance: InstanceId,
        owner: Option<OwnerKey>,
    ) -> Result<Stamped<Granted>, GrantError>;
    /// Extends up to 1,024 leases, each by its own time-to-live; never touches the store.
    async fn renew(leases: Vec<LeaseId>) -> Stamped<Vec<Result<Renewed, RenewError>>>;
    /// Gives a lease back, and removes its names at once. An unknown lease is 0 names, no error.
    async fn revoke(lease: LeaseId) -> Result<Stamped<u32>, StoreError>;
    /// Puts `entry` under `name`. Answered after the commit is on disk; a repeat of a registration answers the same.
    async fn register(
        tenure: Tenure,
        name: LogicalName,
        entry: Entry,
        expect: Expect,
    ) -> Result<Stamped<Registered>, RegisterError>;
    /// Changes tags, readiness or weight of a record.
    async fn update(holder: Holder, name: AnyName, patch: Patch) -> Result<Stamped<Registered>, UpdateError>;
    /// Removes a record.
    async fn unregister(holder: Holder, name: AnyName) -> Result<Stamped<NameEpoch>, UpdateError>;
    /// All records under `name`; those up and confirmed first.
    async fn lookup(name: AnyName, freshness: Freshness) -> Result<Stamped<Records>, LookupError>;
    /// Up to 1,024 lookups, in order, all from one revision.
    async fn lookup_many(
        names: Vec<AnyName>,
        freshness: Freshness,
    ) -> Stamped<Vec<Result<Records, LookupError>>>;
    /// A page of the records that match, in the order of names.
    async fn list(query: Query, page: Page) -> Result<Stamped<Listing>, ListError>;
    /// Waits until something in `queries` changed after `since`, or `hold` passed (at most 8 s; then no changes).
    async fn watch(
        queries: Vec<(WatchId, Query)>,
        since: Stamp,
        hold: Duration,
    ) -> Result<Stamped<Vec<Change>>, WatchError>;
    /// The configuration of `group`; `None` when it has none. `known` is the newest version the caller has seen.
    async fn group(
        group: GroupName,
        known: Option<ConfigVersion>,
    ) -> Result<Stamped<Option<Config>>, GroupError>;
    /// Puts a configuration in place of the one expected. Durable before the answer.
    async fn change_group(change: GroupChange) -> Result<Stamped<Config>, GroupError>;
    /// Waits until the configuration of `group` is newer than `after`, or `hold` passed (then the one that stands).
    async fn watch_group(
        group: GroupName,
        after: Option<ConfigVersion>,
        hold: Duration,
    ) -> Result<Stamped<Option<Config>>, GroupError>;
    /// How the name server is.
    async fn status() -> Status;
    /// Puts `entry` under `prefix` and the lowest positive number not in use, as an exclusive name. A number may come
    /// back once its holder is gone; the epoch tells old from new. The same `attempt` again answers the same number.
    async fn register_next(
        tenure: Tenure,
        prefix: LogicalName,
        entry: Entry,
        attempt: AttemptId,
    ) -> Result<Stamped<(LogicalName, Registered)>, RegisterError>;
    /// Writes a consistent copy of the store beside it. Only for an operator on the name server's own machine.
    async fn snapshot() -> Result<SnapshotInfo, SnapshotError>;
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The cluster that the caller belongs to, when it knows.
    pub cluster: Option<ClusterId>,
    /// The newest stamp it has seen of that cluster: one later than ours proves that our store is an old copy.
    pub seen: Option<Stamp>,
    /// Its program's name.
    pub program: String,
    /// Its program's version.
    pub version: String,
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Now.
    pub stamp: Stamp,
    /// The name server's version.
    pub version: String,
    /// Its wall clock, a hint.
    pub now: Timestamp,
}

/// Why a caller is not welcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum HelloError {
    /// Nothing happened: try the next address of the list.
    #[error("this is the name server of cluster {ours}, not of {yours}")]
    WrongCluster {
        /// The caller's.
        yours: ClusterId,
        /// This one.
        ours: ClusterId,
    },
    /// Nothing happened: the stamp lies too far ahead to be honest.
    #[error("the stamp shown lies too far ahead of this name server's")]
    Denied,
}

/// A lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// The right to renew.
    pub lease: LeaseId,
    /// The time-to-live really given.
    pub ttl: Duration,
}

/// Why there is no lease. Nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum GrantError {
    /// Ask for another time-to-live.
    #[error("a lease lives {min:?} to {max:?}")]
    TtlOutOfRange {
        /// The shortest.
        min: Duration,
        /// The longest.
        max: Duration,
    },
    /// Too many are held.
    #[error("the name server holds {limit} leases already")]
    TooManyLeases {
        /// How many it holds at most.
        limit: u64,
    },
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too much is under way.
    #[error("the name server is overloaded; try again in {retry_in:?}")]
    Overloaded {
        /// When to try again.
        retry_in: Duration,
    },
}

/// A renewed lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Renewed {
    /// From now on.
    pub ttl: Duration,
    /// How many names stand under it. Another count than the holder's own tells it to register again.
    pub names: u32,
}

/// Why a lease was not renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RenewError {
    /// Expired, revoked, or forgotten in a restart: grant anew, register again.
    #[error("the lease is not known")]
    UnknownLease,
    /// More than [`LOOKUPS_MAX`] leases at once; none was renewed.
    #[error("at most {LOOKUPS_MAX} leases at once")]
    TooMany,
}

/// Why the store did not take a change. It is not known to be stored, and may be later; a repeat is safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum StoreError {
    /// The disk is full, or failed; reads go on.
    #[error("the name server cannot store: {why}; try again in {retry_in:?}")]
    Down {
        /// For the log.
        why: String,
        /// When to try again.
        retry_in: Duration,
    },
}

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Its fencing token.
    pub epoch: NameEpoch,
    /// The address as stored (an unspecified host was filled in); `None` for a Pyro object.
    pub address: Option<Address>,
}

/// Why a registration did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum RegisterError {
    /// Somebody else holds the name.
    #[error("the name is held by {by}, free in {frees_in:?} at the earliest")]
    Held {
        /// Who.
        by: InstanceId,
        /// Where it listens, when that is known.
        address: Option<Address>,
        /// What is left of its lease; `None` for a permanent record.
        frees_in: Option<Duration>,
    },
    /// Another registration stands there than the one expected.
    #[error("the registration has another epoch than expected")]
    EpochMismatch {
        /// The one that stands; `None` when nobody does.
        current: Option<NameEpoch>,
    },
    /// The name is of the other kind, until its last record is gone.
    #[error("the name is {is:?}")]
    SharingMismatch {
        /// Its kind.
        is: Sharing,
    },
    /// The lease is not known: grant anew.
    #[error("the lease is not known")]
    UnknownLease,
    /// The name server's own.
    #[error("the name is reserved")]
    Reserved,
    /// A loopback address, from another machine: it would send every client to itself.
    #[error("a loopback address may only be registered from the name server's own machine")]
    LoopbackFromAfar,
    /// Too large a record.
    #[error("a record has at most {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// Too many names.
    #[error("the quota of {limit} names is full")]
    QuotaFull {
        /// The bound.
        limit: u64,
    },
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too much is under way.
    #[error("the name server is overloaded; try again in {retry_in:?}")]
    Overloaded {
        /// When to try again.
        retry_in: Duration,
    },
}

/// Why a record was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum UpdateError {
    /// There is none.
    #[error("no such record")]
    NotFound,
    /// It is somebody else's.
    #[error("the record belongs to {by}")]
    NotYours {
        /// Whose.
        by: InstanceId,
    },
    /// Another registration stands there by now.
    #[error("the registration has another epoch")]
    EpochMismatch {
        /// Which.
        current: NameEpoch,
    },
    /// The name server's own, or only for an operator on its machine.
    #[error("only an operator on the name server's own machine may do this")]
    Denied,
    /// Too large a record.
    #[error("a record has at most {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Too much is under way.
    #[error("the name server is overloaded; try again in {retry_in:?}")]
    Overloaded {
        /// When to try again.
        retry_in: Duration,
    },
}

/// Why a name has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum LookupError {
    /// Nobody has it.
    #[error("nobody has this name")]
    NotFound,
    /// The name server has just started and cannot know yet.
    #[error("the name server is warming up; ask again in {retry_in:?}")]
    Warming {
        /// When to ask again.
        retry_in: Duration,
    },
    /// More than [`LOOKUPS_MAX`] names at once.
    #[error("at most {LOOKUPS_MAX} names at once")]
    TooMany,
    /// What was asked for is later than what this name server has.
    #[error("the name server is behind")]
    Behind {
        /// What it has.
        have: Stamp,
    },
    /// What stands is not known to be on the disk, so it is not told to who must be sure.
    #[error("the name server cannot store; ask again in {retry_in:?}")]
    Unsettled {
        /// When to ask again.
        retry_in: Duration,
    },
}

impl From<StoreError> for LookupError {
    fn from(error: StoreError) -> Self {
        let StoreError::Down { retry_in, .. } = error;
        Self::Unsettled { retry_in }
    }
}

/// How many names one `lookup_many` takes, and leases one `renew`: their answers fit one frame.
pub const LOOKUPS_MAX: usize = 1024;

/// A page of records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// In the order of names.
    pub records: Vec<Sent>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<Cursor>,
}

/// Why there is no listing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum ListError {
    /// Not an expression.
    #[error("bad expression: {why}")]
    BadRegex {
        /// Where and why.
        why: String,
    },
    /// A page has 1 to 1,000 records.
    #[error("a page has 1 to 1000 records")]
    BadPage,
    /// The name server has just started and cannot know yet.
    #[error("the name server is warming up; ask again in {retry_in:?}")]
    Warming {
        /// When to ask again.
        retry_in: Duration,
    },
}

/// Why a watch has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum WatchError {
    /// The changes since then are forgotten: list, then watch from the listing's stamp.
    #[error("the changes since then are forgotten")]
    Compacted {
        /// The oldest stamp one can still watch from.
        oldest: Stamp,
    },
    /// The stamp is of another life of this name server: list, then watch from the listing's stamp.
    #[error("the name server was restarted since")]
    Rebooted {
        /// Now.
        now: Stamp,
    },
    /// Not an expression.
    #[error("bad expression: {why}")]
    BadRegex {
        /// Where and why.
        why: String,
    },
    /// More than 256 queries, or too many waiting polls on this connection.
    #[error("too many queries or waiting polls")]
    TooMany,
}

/// A group's configuration, of whichever kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Config {
    /// Of a passive group.
    Passive(GroupConfig),
    /// Of a gossip group.
    Gossip(GossipConfig),
}

impl Config {
    /// Its cluster.
    pub fn cluster(&self) -> ClusterId {
        match self {
            Self::Passive(config) => config.cluster,
            Self::Gossip(config) => config.cluster,
        }
    }

    /// Its group.
    pub fn group(&self) -> &GroupName {
        match self {
            Self::Passive(config) => &config.group,
            Self::Gossip(config) => &config.group,
        }
    }

    /// Its version.
    pub fn version(&self) -> ConfigVersion {
        match self {
            Self::Passive(config) => config.version,
            Self::Gossip(config) => config.version,
        }
    }

    /// It, if it is a passive group's.
    pub fn passive(self) -> Option<GroupConfig> {
        match self {
            Self::Passive(config) => Some(config),
            Self::Gossip(_) => None,
        }
    }

    /// It, if it is a gossip group's.
    pub fn gossip(self) -> Option<GossipConfig> {
        match self {
            Self::Gossip(config) => Some(config),
            Self::Passive(_) => None,
        }
    }

    /// Whether `next`, proposed by `by`, may be the first configuration of its group.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn allows_first(by: Proposer, next: &Self) -> Result<(), ConfigError> {
        match next {
            Self::Passive(next) => GroupConfig::allows_first(by, next),
            Self::Gossip(next) => GossipConfig::allows_first(by, next),
        }
    }

    /// Whether `next`, proposed by `by`, may follow this one. A group never becomes one of another kind.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn allows(&self, by: Proposer, next: &Self) -> Result<(), ConfigError> {
        match (self, next) {
            (Self::Passive(stands), Self::Passive(next)) => stands.allows(by, next),
            (Self::Gossip(stands), Self::Gossip(next)) => stands.allows(by, next),
            (Self::Passive(_), Self::Gossip(_)) | (Self::Gossip(_), Self::Passive(_)) => {
                Err(ConfigError::Identity)
            }
        }
    }

    /// Whether `next`, by an operator, may stand where nothing is stored and the versions up to `seen` were shown.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn allows_adopted(seen: ConfigVersion, next: &Self) -> Result<(), ConfigError> {
        match next {
            Self::Passive(next) => GroupConfig::allows_adopted(seen, next),
            Self::Gossip(next) => GossipConfig::allows_adopted(seen, next),
        }
    }
}

/// A proposed configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupChange {
    /// The version that should stand; `None`: the group should have none.
    pub expect: Option<ConfigVersion>,
    /// What should stand then.
    pub new: Config,
    /// Who proposes it.
    pub by: Proposer,
}

/// Why a group's configuration was not changed (or read).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum GroupError {
    /// Another one stands than expected.
    #[error("another configuration stands")]
    Conflict {
        /// The one that stands; `None` when the group has none.
        current: Option<Config>,
    },
    /// A rule forbids it.
    #[error(transparent)]
    Refused(#[from] ConfigError),
    /// This store is an old copy: somebody has shown a later version. The group takes no change until an operator
    /// has confirmed the newest.
    #[error("this name server's record is older than one shown to it")]
    Regressed {
        /// The version stored here; `None` when the group has none here.
        stored: Option<ConfigVersion>,
        /// The version shown.
        seen: ConfigVersion,
    },
    /// The record belongs to another cluster.
    #[error("this is the name server of cluster {ours}")]
    WrongCluster {
        /// This one.
        ours: ClusterId,
    },
    /// Only for an operator on the name server's own machine.
    #[error("only an operator on the name server's own machine may do this")]
    Denied,
    /// The store cannot be written. **The outcome is unknown**: the same change again settles it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// How the name server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Now.
    pub stamp: Stamp,
    /// Names held.
    pub names: u64,
    /// Of these, those whose holder was not heard since the restart.
    pub unconfirmed: u64,
    /// Leases held.
    pub leases: u64,
    /// Groups held.
    pub groups: u64,
    /// Polls waiting.
    pub watchers: u64,
    /// Pauses of the process noticed, and all of them together.
    pub pauses: (u64, Duration),
    /// Since its start.
    pub uptime: Duration,
    /// `file` or `memory`.
    pub store: String,
    /// Names and leases held at most.
    pub limits: (u64, u64),
    /// What an operator should know, a sentence each; nothing when all is well.
    pub troubles: Vec<String>,
}

/// A copy of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// When it was true.
    pub stamp: Stamp,
    /// Its file, on the name server's machine.
    pub file: String,
}

/// Why there is no copy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum SnapshotError {
    /// Only for an operator on the name server's own machine.
    #[error("only an operator on the name server's own machine may do this")]
    Denied,
    /// The name server keeps nothing.
    #[error("the name server keeps its names in memory alone")]
    NothingKept,
    /// The disk said no.
    #[error(transparent)]
    Store(#[from] StoreError),
}
