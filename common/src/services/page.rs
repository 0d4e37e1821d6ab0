//! Lists come in pages, so that no answer outgrows a frame.

use serde::{Deserialize, Serialize};

use super::encode;

/// The most entries of a page.
pub const PAGE_ENTRIES_MAX: usize = 500;

/// The most bytes of a page: half of what a frame may hold.
pub const PAGE_BYTES_MAX: usize = 512 * 1024;

/// A part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// In the list's order.
    pub entries: Vec<T>,
    /// Whether the list goes on.
    pub more: bool,
}

impl<T: Serialize> Page<T> {
    /// The first entries of a list, as many as a page may hold, and at least one. A `limit` of 0 and any above
    /// [`PAGE_ENTRIES_MAX`] mean that bound.
    pub(super) fn of(limit: u32, list: impl Iterator<Item = T>) -> Self {
        let limit = match limit as usize {
            0 => PAGE_ENTRIES_MAX,
            limit => limit.min(PAGE_ENTRIES_MAX),
        };
        let mut entries = Vec::new();
        let mut room = PAGE_BYTES_MAX;
        for entry in list {
            let size = encode(&entry).len();
            if entries.len() == limit || (!entries.is_empty() && size > room) {
                return Self { entries, more: true };
            }
            room = room.saturating_sub(size);
            entries.push(entry);
        }
        Self { entries, more: false }
    }
}
