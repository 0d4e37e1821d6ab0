//! The writer's part in watching over names without a lease: it dials, and carries out what the core makes of it.

use common::clock::Moment;
use common::names::{Lifetime, PackedRecord};
use tracing::info;

use super::Writer;
use crate::prober;
use crate::probes::Place;
use crate::registry::Step;

impl Writer {
    /// Dials whoever is due.
    pub(super) fn dial(&mut self, now: Moment) {
        for place in self.probes.due(now) {
            self.dialling.spawn_local(async move {
                let alive = prober::is_alive(&place).await;
                (place, alive)
            });
        }
    }

    /// Takes note of what a dial found out.
    pub(super) fn dialled(&mut self, place: &Place, alive: bool) {
        let now = self.shared.clock.now();
        let verdict = self.probes.answered(now, place, alive);
        let seen = verdict.seen.iter().filter_map(|seen| self.registry.seen_alive(seen));
        self.books.batch.extend(seen);
        for dead in &verdict.dead {
            if let Some(step) = self.registry.clean(&self.leases, dead) {
                info!(name = dead.name(), address = %place.address, "nobody answers at a name without a lease: removed");
                self.publish(step);
            }
        }
        // A machine's next place may have waited for this one.
        self.dial(now);
    }

    /// Has permanent records dialled, as long as they stand.
    pub(super) fn watch_over(&mut self, step: &Step) {
        let permanent = |record: &&PackedRecord| record.view().lifetime == Lifetime::Permanent;
        for event in &step.events {
            let (before, after) = (event.before().filter(permanent), event.after().filter(permanent));
            if before.map(PackedRecord::epoch) == after.map(PackedRecord::epoch) {
                continue;
            }
            if let Some(old) = before {
                self.probes.forget(old);
            }
            if let Some(new) = after
                && let Some(registrant) = self.registry.registrant(new.epoch())
            {
                self.probes.add(self.shared.clock.now(), new, registrant);
            }
        }
    }
}
