//! Names without a lease: nobody renews them, so whoever knocks at their addresses decides how long they stay.

use std::sync::Arc;

use common::names::{Lifetime, NameEpoch, Record, Removal};

use super::{Registry, Step};
use crate::leases::Leases;
use crate::probes::{self, Registrant};
use crate::store::Write;

impl Registry {
    /// The permanent records, and who registered each.
    pub fn permanent(&self) -> impl Iterator<Item = (Arc<Record>, Registrant)> {
        let all = self.shelf.slice("", None, usize::MAX).into_iter();
        let records = all.flat_map(|(_, records)| records.to_vec());
        records.filter_map(|record| {
            let registrant = *self.registrants.get(&record.epoch)?;
            Some((record, registrant))
        })
    }

    /// Who registered a permanent record.
    pub fn registrant(&self, epoch: NameEpoch) -> Option<Registrant> {
        self.registrants.get(&epoch).copied()
    }

    /// Somebody answered at the address of a permanent record; returns what the store keeps of that.
    pub fn seen_alive(&mut self, seen: &probes::Registered) -> Option<Write> {
        self.find_permanent(seen)?;
        let registrant = self.registrants.get_mut(&seen.epoch)?;
        registrant.seen = true;
        Some(Write::Registrant { name: seen.name.clone(), instance: seen.instance, row: Some(*registrant) })
    }

    /// Removes a permanent record at whose address nobody answers any more; not its successor.
    pub fn clean(&mut self, leases: &Leases, dead: &probes::Registered) -> Option<Step> {
        let old = self.find_permanent(dead)?;
        let mut step = self.begin();
        self.remove(&mut step, leases, old, Removal::Cleaned);
        self.end(&step);
        Some(step)
    }

    fn find_permanent(&self, meant: &probes::Registered) -> Option<Arc<Record>> {
        self.standing(&meant.name).into_iter().find(|record| {
            record.instance == meant.instance
                && record.epoch == meant.epoch
                && record.lifetime == Lifetime::Permanent
        })
    }
}
