//! Snapshots are made and restored beside the core: both take seconds of a large state, and are pure. [`Work`] goes
//! out, the shell does it wherever it likes, and what came of it, [`Worked`], comes in when it is ready.
//!
//! A snapshot is a function of the one before and the entries since.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use common::replication::{Entry, LogPoint};
use common::services::Served;

use super::State;
use crate::planted::passive::Planted;

/// What is to be done. At most one is under way, but for [`Work::Discard`].
#[derive(Clone)]
pub enum Work {
    /// Make a snapshot of the state after `entries`.
    Take {
        /// Whose state.
        service: Served,
        /// The snapshot before; `None`: the log's beginning.
        from: Option<Bytes>,
        /// The entries since.
        entries: Vec<Arc<Entry>>,
        /// Rules broken on purpose.
        planted: Planted,
    },
    /// Make a state of the pieces of a snapshot that a primary sent.
    Restore {
        /// Whose state.
        service: Served,
        /// In their order.
        pieces: Vec<Bytes>,
        /// CRC-32C of all of them together, by its primary's word.
        crc: u32,
        /// Rules broken on purpose.
        planted: Planted,
    },
    /// Forget this: giving a large state's memory back takes long, too.
    Discard(Discarded),
}

/// What nobody needs any more.
#[derive(Clone, Default)]
pub struct Discarded {
    pub(crate) _state: Option<Box<State>>,
    pub(crate) _bytes: Option<Bytes>,
}

/// What came of it. An error without words: it was given up.
#[derive(Clone)]
pub struct Worked(pub(crate) Result<Made, Option<String>>);

#[derive(Clone)]
pub(crate) struct Made {
    pub(crate) taken: Taken,
    pub(crate) hash: u64,
    /// Of one that was restored.
    pub(crate) state: Option<Box<State>>,
}

/// A snapshot that was taken or received.
#[derive(Clone, Debug)]
pub(crate) struct Taken {
    pub(crate) last: LogPoint,
    pub(crate) bytes: Bytes,
    pub(crate) crc: u32,
}

impl Work {
    /// Does it. `None`: nobody waits for what came of it.
    pub fn run(self) -> Option<Worked> {
        match self {
            Self::Take { service, from, entries, planted } => {
                Some(Worked(take(&service, from, &entries, planted).map_err(Some)))
            }
            Self::Restore { service, pieces, crc, planted } => {
                Some(Worked(restore(&service, &pieces, crc, planted).map_err(Some)))
            }
            Self::Discard(_) => None,
        }
    }
}

impl Worked {
    /// There is no room for it, or nobody to do it.
    #[must_use]
    pub fn given_up() -> Self {
        Self(Err(None))
    }

    /// The snapshot, and its last entry. It must be ready to be chosen by a batch before the core hears of it.
    pub fn snapshot(&self) -> Option<(LogPoint, &Bytes)> {
        self.0.as_ref().ok().map(|made| (made.taken.last, &made.taken.bytes))
    }
}

fn take(
    service: &Served,
    from: Option<Bytes>,
    entries: &[Arc<Entry>],
    planted: Planted,
) -> Result<Made, String> {
    let mut state = match from {
        Some(bytes) => State::restore(service, &bytes, planted)?,
        None => State::empty(service, planted),
    };
    for entry in entries {
        if entry.index != state.applied().index.next() {
            return Err(format!("entry {} does not follow {}", entry.point(), state.applied()));
        }
        state.apply(entry)?;
    }
    let bytes = state.snapshot();
    let taken = Taken { last: state.applied(), crc: crc32c::crc32c(&bytes), bytes };
    Ok(Made { taken, hash: state.hash(), state: None })
}

fn restore(service: &Served, pieces: &[Bytes], crc: u32, planted: Planted) -> Result<Made, String> {
    let bytes = Bytes::from(pieces.concat());
    if crc32c::crc32c(&bytes) != crc {
        return Err("the pieces of a snapshot do not make a whole".to_owned());
    }
    let state = State::restore(service, &bytes, planted)?;
    let taken = Taken { last: state.applied(), bytes, crc };
    Ok(Made { taken, hash: state.hash(), state: Some(Box::new(state)) })
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Take { from, entries, .. } => f
                .debug_struct("Take")
                .field("from", &from.is_some())
                .field("entries", &entries.len())
                .finish(),
            Self::Restore { pieces, .. } => f.debug_struct("Restore").field("pieces", &pieces.len()).finish(),
            Self::Discard(_) => f.write_str("Discard"),
        }
    }
}

impl fmt::Debug for Worked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Worked").field(&self.0.as_ref().map(|made| made.taken.last)).finish()
    }
}
