use serde::{Deserialize, Serialize};

use super::{AnyName, NameEpoch, Readiness, Revision, Sent, Tags};
use crate::ids::InstanceId;

/// Which records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Query {
    /// By name.
    pub names: Names,
    /// By tags.
    pub tags: TagMatch,
    /// Leaving out those with any of these tags.
    pub without: Tags,
    /// Only those whose holder says so.
    pub readiness: Option<Readiness>,
}

impl Query {
    /// All records whose names match.
    pub fn by_name(names: Names) -> Self {
        Self { names, tags: TagMatch::Any, without: Tags::default(), readiness: None }
    }
}

/// Which names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Names {
    /// All.
    Any,
    /// This one.
    Exact(AnyName),
    /// Those that begin so, bytewise; at most 1,024 bytes.
    Prefix(Box<str>),
    /// Those that the expression matches somewhere; at most 256 bytes, syntax of the `regex` crate.
    Regex(Box<str>),
}

/// Which tags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TagMatch {
    /// Any or none.
    Any,
    /// All of these.
    AllOf(Tags),
    /// At least one of these.
    AnyOf(Tags),
}

/// Where in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// After this one; from the start when `None`.
    pub after: Option<Cursor>,
    /// How many at most; 1 to 1,000.
    pub limit: u16,
}

/// A place in the order of names: the last key seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// The name.
    pub name: AnyName,
    /// And, under a shared name, whose record.
    pub instance: InstanceId,
}

/// The caller's own number for one of its queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WatchId(pub u32);

/// One change of the registry, as a watcher sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Which of the caller's queries it concerns.
    pub ids: Vec<WatchId>,
    /// The name.
    pub name: AnyName,
    /// Whose record.
    pub instance: InstanceId,
    /// What happened to it.
    pub what: What,
    /// The revision that did it.
    pub rev: Revision,
}

/// What happened to a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// It is new, or has a new holder.
    Registered(Sent),
    /// Tags, readiness, weight or standing changed.
    Updated(Sent),
    /// It is gone.
    Removed {
        /// Which registration.
        epoch: NameEpoch,
        /// Why.
        why: Removal,
    },
}

/// Why a record is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Removal {
    /// Its lease ran out.
    Expired,
    /// Its lease was given back.
    Revoked,
    /// Somebody with the right to asked for it.
    Unregistered,
    /// Another registration took its place.
    Replaced,
    /// It had no lease, and nobody answered at its address any more.
    Cleaned,
}
