//! Stamps that lie ahead of ours: our store is an old copy, or the caller is not honest.

use common::names::{BootCount, Revision, Stamp};

use super::{RESERVE, Registry};
use crate::store::Write;

/// A stamp shown to us may lie this far ahead and still be honest: more starts, and more changes, than a lost disk
/// has seen.
pub(crate) const BOOTS_AHEAD_MAX: u64 = 1_000;
pub(crate) const REVISIONS_AHEAD_MAX: u64 = 1 << 40;

/// A stamp lies too far ahead of ours to be honest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooFarAhead;

impl Registry {
    /// Takes note of a stamp that somebody was given by this cluster. One later than ours proves that our store is an
    /// old copy: we go on past it, so that no epoch comes twice. Returns what must be stored then.
    ///
    /// # Errors
    /// When it lies too far ahead to be honest.
    pub fn seen(&mut self, seen: Stamp) -> Result<Option<Vec<Write>>, TooFarAhead> {
        let ours = self.shelf.stamp();
        if ours.covers(seen) || seen.cluster != ours.cluster {
            return Ok(None);
        }
        if seen.boot.0 > ours.boot.0 + BOOTS_AHEAD_MAX || seen.rev.0 > ours.rev.0 + REVISIONS_AHEAD_MAX {
            return Err(TooFarAhead);
        }
        let boot = BootCount(seen.boot.0.max(ours.boot.0) + 1);
        self.rev = Revision(seen.rev.0.max(ours.rev.0) + RESERVE);
        self.reserved = Revision(self.rev.0 + RESERVE);
        self.shelf.jump(boot, self.rev);
        Ok(Some(vec![Write::Boot(boot), Write::Reserved(self.reserved)]))
    }
}
