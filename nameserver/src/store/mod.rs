//! What outlives the process, and the one thread that puts it there.
//!
//! **What is kept**: leases, records, group configurations, the boot count, and how far revisions are reserved.
//! Renewals, lookups and watches never come here. A [`Write`] is absolute (this row is so), so repeating it is
//! harmless.
//!
//! **Group commit**: one transaction under way; what arrives meanwhile is the next one (D. Gawlick, D. Kinkade,
//! *Varieties of Concurrency Control in IMS/VS Fast Path*, 1985). No timers, and never on the runtime's thread.
//!
//! **A failed write**: after a failed fsync the file's pages are not what they seem, so nothing is trusted until the
//! file was closed, dropped from the page cache and opened again. Until then every change is answered with
//! [`StoreError::Down`]; reads, renewals and expiry go on. What could not be written is kept and written first.

mod committer;
pub mod file;
mod mark;

use std::path::PathBuf;
use std::time::Duration;

use common::ids::{ClusterId, InstanceId};
use common::names::{AnyName, BootCount, LeaseId, PackedRecord, Revision};
use common::rpc::name_service::StoreError;
use serde::Serialize;

pub use self::committer::{Committer, Report, Token};
use crate::groups::GroupRow;
use crate::leases::LeaseRow;
use crate::probes::Registrant;

/// How long after a failure the store is tried again.
pub const RETRY_EVERY: Duration = Duration::from_secs(1);

/// One row, as it shall be.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    /// A record; gone when `None`.
    Name {
        /// Its name.
        name: AnyName,
        /// Whose it is.
        instance: InstanceId,
        /// What it is.
        row: Option<NameRow>,
    },
    /// Who registered a permanent record; gone when `None`.
    Registrant {
        /// Its name.
        name: AnyName,
        /// Whose it is.
        instance: InstanceId,
        /// Who registered it.
        row: Option<Registrant>,
    },
    /// A lease; gone when `None`.
    Lease {
        /// Its id.
        lease: LeaseId,
        /// What it is.
        row: Option<LeaseRow>,
    },
    /// A group's configuration.
    Group(GroupRow),
    /// How often the store was opened.
    Boot(BootCount),
    /// Revisions up to here may have been used.
    Reserved(Revision),
    /// How long this boot has served so far, that we know of.
    Alive(Duration),
    /// It is nobody's copy any more.
    Original,
}

/// What the store keeps of a record: in the file, one after the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NameRow {
    /// The lease under which it stands.
    pub lease: Option<LeaseId>,
    /// What it is.
    pub record: PackedRecord,
}

/// Who registered what.
pub type RegistrantRow = (AnyName, InstanceId, Registrant);

/// All that a store holds.
#[derive(Clone, Debug)]
pub struct Image {
    /// Whose store it is.
    pub cluster: ClusterId,
    /// Whether it is a copy that was made on purpose, and serves for the first time.
    pub copy: bool,
    /// The last boot.
    pub boot: BootCount,
    /// Revisions up to here may have been used.
    pub reserved: Revision,
    /// How long the last boot served, that we know of.
    pub alive: Duration,
    /// The leases.
    pub leases: Vec<(LeaseId, LeaseRow)>,
    /// The records, in the order of names.
    pub names: Vec<NameRow>,
    /// Who registered the permanent ones, in the same order.
    pub registrants: Vec<RegistrantRow>,
    /// The groups.
    pub groups: Vec<GroupRow>,
}

impl Image {
    /// An empty store's. Without a file nothing tells how often we were started and which revisions were used; the
    /// wall clock is better than nothing, and only these two hang on it.
    pub fn in_memory(cluster: ClusterId, wall: common::clock::Timestamp) -> Self {
        Self {
            cluster,
            copy: false,
            boot: BootCount(wall.millis()),
            reserved: Revision(wall.millis() << 20),
            alive: Duration::ZERO,
            leases: Vec::new(),
            names: Vec::new(),
            registrants: Vec::new(),
            groups: Vec::new(),
        }
    }
}

/// A place that keeps rows.
pub trait Store: Send {
    /// Makes all of `writes` durable, or none.
    ///
    /// # Errors
    /// When that is not known to have happened.
    fn commit(&mut self, writes: &[Write]) -> Result<(), Fault>;

    /// Makes the store usable again after a failed commit.
    ///
    /// # Errors
    /// When it is not.
    fn reopen(&mut self) -> Result<(), Fault>;

    /// Writes a consistent copy beside itself, under its own name and `.snapshot-` and `suffix`.
    ///
    /// # Errors
    /// When there is no such copy now.
    fn snapshot(&mut self, suffix: &str) -> Result<PathBuf, Fault>;
}

/// Why a store failed, in words for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

impl From<&Fault> for StoreError {
    fn from(fault: &Fault) -> Self {
        Self::Down { why: fault.0.clone(), retry_in: RETRY_EVERY }
    }
}

/// A store that fails as often as told, and notes what it was given.
#[cfg(test)]
pub(crate) mod flaky {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};

    use super::{Fault, Store, Write};

    #[derive(Clone, Default)]
    pub(crate) struct Flaky {
        pub(crate) failures: Arc<Mutex<u32>>,
        pub(crate) commits: Arc<Mutex<Vec<Vec<Write>>>>,
        /// While it is set, the disk hangs.
        pub(crate) hangs: Arc<AtomicBool>,
    }

    impl Store for Flaky {
        fn commit(&mut self, writes: &[Write]) -> Result<(), Fault> {
            while self.hangs.load(Ordering::Acquire) {
                std::thread::yield_now();
            }
            let mut failures = self.failures.lock().unwrap();
            if *failures > 0 {
                *failures -= 1;
                return Err(Fault("no space".into()));
            }
            self.commits.lock().unwrap().push(writes.to_vec());
            Ok(())
        }

        fn reopen(&mut self) -> Result<(), Fault> {
            Ok(())
        }

        fn snapshot(&mut self, _: &str) -> Result<PathBuf, Fault> {
            Err(Fault("no copies".into()))
        }
    }
}
