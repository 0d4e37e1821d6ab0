//! The registry's vocabulary: what a name is, what stands under it, who may change it, and when that was.
//!
//! [`LogicalName`] and [`AnyName`] are keys, a [`Record`] is what stands under one (a [`PackedRecord`] its bytes), a [`LeaseId`] is the right
//! to keep it there, a [`Stamp`] says when an answer was true, a [`Query`] picks records.
//!
//! The model follows Pyro's name server (one map from names to addresses with metadata) with three things that
//! Pyro lacks: leases (C. Gray, D. Cheriton, *Leases*, SOSP 1989), fencing epochs, and revisions to watch from.

mod address;
mod lease;
mod name;
mod packed;
mod query;
mod record;
mod records;
mod stamp;
mod tags;
mod text;

pub use address::{Address, BadAddress, Host};
pub use lease::{AttemptId, LeaseId, OwnerKey};
pub use name::{AnyName, BadName, LogicalName};
pub use packed::{PackedRecord, RecordRef, TargetRef};
pub use query::{Change, Cursor, Names, Page, Query, Removal, TagMatch, WatchId, What};
pub use record::{
    ContractName, Entry, Expect, Holder, Lifetime, NameEpoch, ObjectName, Patch, PyroUri, Readiness, Record,
    Sharing, Standing, Target, Tenure, Weight,
};
pub use records::{Records, Sent};
pub use stamp::{BootCount, Freshness, Revision, Stamp, Stamped};
pub use tags::{BadTags, Tags};
