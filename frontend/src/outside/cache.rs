//! What was found out lately, each thing kept for its time. A core: it is given `now`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::clock::Moment;

/// As many postcodes as a city orders from, in a megabyte; or titles that were asked for in vain, in a few.
const ENTRIES_MAX: usize = 10_000;

/// Findings, each kept for its time. When there are too many, the one that would go first goes.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    found: BTreeMap<K, (Moment, V)>,
    ends: BTreeSet<(Moment, K)>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self { found: BTreeMap::new(), ends: BTreeSet::new() }
    }
}

impl<K: Clone + Ord, V> Cache<K, V> {
    pub(super) fn get(&self, now: Moment, key: &K) -> Option<&V> {
        self.found.get(key).filter(|(until, _)| now < *until).map(|(_, value)| value)
    }

    pub(super) fn put(&mut self, now: Moment, time: Duration, key: K, value: V) {
        let until = now + time;
        if let Some((before, _)) = self.found.insert(key.clone(), (until, value)) {
            self.ends.remove(&(before, key.clone()));
        }
        self.ends.insert((until, key));
        if self.found.len() > ENTRIES_MAX
            && let Some((_, first)) = self.ends.pop_first()
        {
            self.found.remove(&first);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64) -> Moment {
        Moment::after_origin(Duration::from_hours(hours))
    }

    #[test]
    fn what_was_found_last_counts_for_its_time() {
        let mut cache = Cache::default();
        cache.put(at(0), Duration::from_hours(24), "a", 1);
        cache.put(at(0), Duration::from_hours(1), "b", 2);
        let kept = |cache: &Cache<_, _>, now| [cache.get(now, &"a").copied(), cache.get(now, &"b").copied()];
        assert_eq!(kept(&cache, at(0)), [Some(1), Some(2)]);
        assert_eq!(kept(&cache, at(1)), [Some(1), None]);
        assert_eq!(kept(&cache, at(24)), [None, None]);
        cache.put(at(24), Duration::from_hours(1), "a", 3);
        assert_eq!(cache.get(at(24), &"a"), Some(&3));
        assert_eq!(cache.ends.len(), cache.found.len());
    }

    #[test]
    fn ten_thousand_are_kept_and_the_first_to_end_goes_for_one_more() {
        let mut cache = Cache::default();
        for n in 0..=ENTRIES_MAX {
            let now = Moment::after_origin(Duration::from_millis(n as u64));
            cache.put(now, Duration::from_hours(24), n, ());
        }
        assert_eq!((cache.found.len(), cache.ends.len()), (ENTRIES_MAX, ENTRIES_MAX));
        assert!(cache.get(at(1), &0).is_none());
        assert!(cache.get(at(1), &1).is_some());
    }
}
