use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use common::names::NameEpoch;

use super::is_local;
use crate::probes::Registrant;

/// Who registered each permanent record. Most were registered from our own machine, and that costs nothing: which of its
/// addresses it was makes no difference to anybody.
#[derive(Debug, Default)]
pub(super) struct Registrants {
    /// Those from elsewhere; `None`: nobody noted where from.
    elsewhere: BTreeMap<NameEpoch, Option<IpAddr>>,
    seen: BTreeSet<NameEpoch>,
}

impl Registrants {
    /// Takes note of who registered a record.
    pub(super) fn insert(&mut self, epoch: NameEpoch, who: Option<Registrant>) {
        if !who.is_some_and(|who| is_local(who.from)) {
            self.elsewhere.insert(epoch, who.map(|who| who.from));
        }
        if who.is_some_and(|who| who.seen) {
            self.seen.insert(epoch);
        }
    }

    /// Who registered a permanent record, if anybody noted it.
    pub(super) fn get(&self, epoch: NameEpoch) -> Option<Registrant> {
        let from = self.elsewhere.get(&epoch).copied().unwrap_or(Some(IpAddr::V4(Ipv4Addr::LOCALHOST)))?;
        Some(Registrant { from, seen: self.seen.contains(&epoch) })
    }

    /// Forgets it, and tells.
    pub(super) fn remove(&mut self, epoch: NameEpoch) -> Option<Registrant> {
        let who = self.get(epoch);
        self.elsewhere.remove(&epoch);
        self.seen.remove(&epoch);
        who
    }
}

#[cfg(test)]
mod tests {
    use common::names::Revision;

    use super::*;

    #[test]
    fn only_what_is_not_ordinary_is_kept() {
        let mut registrants = Registrants::default();
        let epoch = |n| NameEpoch(Revision(n));
        let who = |from: &str, seen| Some(Registrant { from: from.parse().unwrap(), seen });
        let all = [who("127.0.0.1", false), who("::1", true), who("10.0.0.7", true), None];
        for (n, who) in (0..).zip(all) {
            registrants.insert(epoch(n), who);
        }
        let told = [who("127.0.0.1", false), who("127.0.0.1", true), who("10.0.0.7", true), None];
        for (n, who) in (0..).zip(told) {
            assert_eq!(registrants.get(epoch(n)), who);
            assert_eq!(registrants.remove(epoch(n)), who);
        }
        assert!(registrants.elsewhere.is_empty() && registrants.seen.is_empty());
    }
}
