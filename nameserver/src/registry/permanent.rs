//! Names without a lease: nobody renews them, so whoever knocks at their addresses decides how long they stay.

use common::names::{Lifetime, NameEpoch, PackedRecord, Removal};

use super::{Registry, Step};
use crate::leases::Leases;
use crate::probes::Registrant;
use crate::store::Write;

impl Registry {
    /// The permanent records, and who registered each.
    pub fn permanent(&self) -> impl Iterator<Item = (PackedRecord, Registrant)> {
        let all = self.shelf.slice("", None, usize::MAX).into_iter();
        let records = all.flat_map(|kept| kept.to_vec());
        records.filter_map(|record| {
            let view = record.view();
            if view.lifetime != Lifetime::Permanent {
                return None;
            }
            let registrant = self.registrants.get(view.epoch)?;
            Some((record, registrant))
        })
    }

    /// Who registered a permanent record.
    pub fn registrant(&self, epoch: NameEpoch) -> Option<Registrant> {
        self.registrants.get(epoch)
    }

    /// Somebody answered at the address of a permanent record; returns what the store keeps of that.
    pub fn seen_alive(&mut self, seen: &PackedRecord) -> Option<Write> {
        let record = self.still(seen)?;
        let view = record.view();
        let registrant = Registrant { seen: true, ..self.registrants.get(view.epoch)? };
        self.registrants.insert(view.epoch, Some(registrant));
        Some(Write::Registrant { name: view.to_name(), instance: view.instance, row: Some(registrant) })
    }

    /// Removes a permanent record at whose address nobody answers any more; not its successor.
    pub fn clean(&mut self, leases: &Leases, dead: &PackedRecord) -> Option<Step> {
        let old = self.still(dead)?;
        let mut step = self.begin();
        self.remove(&mut step, leases, old, Removal::Cleaned);
        self.end(&step);
        Some(step)
    }

    /// The same registration, as it stands now.
    fn still(&self, meant: &PackedRecord) -> Option<PackedRecord> {
        self.standing(meant.name()).into_iter().find(|record| record.epoch() == meant.epoch())
    }
}
