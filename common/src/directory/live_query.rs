use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::InstanceId;
use crate::names::{AnyName, Change, Query, Record, Stamp, TagMatch, What};

/// What one query shows: the core of the cache, fed by listings and by changes.
#[derive(Debug)]
pub(super) struct LiveQuery {
    query: Query,
    records: BTreeMap<(AnyName, InstanceId), Arc<Record>>,
    /// When `records` was true; `None` before the first listing.
    stamp: Option<Stamp>,
    /// Up to when changes were taken in; `None` when it is not known since when they are missing.
    followed: Option<Stamp>,
    /// Whether it was listed, and no change since is missing.
    whole: bool,
}

impl LiveQuery {
    pub(super) fn new(query: Query) -> Self {
        Self { query, records: BTreeMap::new(), stamp: None, followed: None, whole: false }
    }

    pub(super) fn query(&self) -> &Query {
        &self.query
    }

    /// Whether it must be listed (again).
    pub(super) fn wants_listing(&self) -> bool {
        !self.whole
    }

    /// Since when changes are wanted.
    pub(super) fn since(&self) -> Option<Stamp> {
        self.followed
    }

    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    /// What it shows, in the order of names.
    pub(super) fn shown(&self) -> Arc<[Arc<Record>]> {
        self.records.values().cloned().collect()
    }

    /// Changes are missing. What it shows stays until there is better, and grows by what is known to be new.
    pub(super) fn lose_track(&mut self) {
        self.whole = false;
        self.followed = None;
    }

    /// While there is no listing: takes in the changes after `stamp` at least.
    pub(super) fn follow_from(&mut self, stamp: Stamp) {
        assert!(!self.whole, "a whole one is followed from its listing on");
        self.followed = Some(stamp);
    }

    /// Takes in a whole listing, begun at `stamp`. Says whether anything that it shows changed.
    pub(super) fn list(&mut self, records: impl IntoIterator<Item = Arc<Record>>, stamp: Stamp) -> bool {
        let listed: BTreeMap<_, _> =
            records.into_iter().map(|record| ((record.name.clone(), record.instance), record)).collect();
        let first = self.stamp.is_none();
        let changed = first || self.records != listed;
        self.records = listed;
        self.stamp = Some(stamp);
        self.followed = Some(stamp);
        self.whole = true;
        changed
    }

    /// Takes in one change. Says whether anything that it shows changed.
    ///
    /// A change may be older than what is shown: one poll serves all queries, from the oldest stamp among them, and
    /// the later pages of a listing are newer than its stamp. So revisions and epochs decide, not the order.
    pub(super) fn apply(&mut self, change: &Change) -> bool {
        let key = (change.name.clone(), change.instance);
        let shown = self.records.get(&key);
        match &change.what {
            What::Registered(record) | What::Updated(record) => {
                if shown.is_some_and(|shown| shown.changed >= record.changed) {
                    return false;
                }
                if self.wants(record) {
                    self.records.insert(key, Arc::clone(record.record()));
                    true
                } else {
                    // It matched once, and does no longer.
                    self.records.remove(&key).is_some()
                }
            }
            What::Removed { epoch, .. } => {
                shown.is_some_and(|shown| shown.epoch <= *epoch) && self.records.remove(&key).is_some()
            }
        }
    }

    /// Everything up to `stamp` was taken in.
    pub(super) fn advance(&mut self, stamp: Stamp) {
        if self.followed.is_some_and(|own| stamp.covers(own)) {
            self.followed = Some(stamp);
            if self.whole {
                self.stamp = Some(stamp);
            }
        }
    }

    /// Whether `record`, whose name matches, is asked for still.
    fn wants(&self, record: &Record) -> bool {
        let tagged = match &self.query.tags {
            TagMatch::Any => true,
            TagMatch::AllOf(tags) => tags.iter().all(|tag| record.tags.contains(tag)),
            TagMatch::AnyOf(tags) => tags.iter().any(|tag| record.tags.contains(tag)),
        };
        tagged
            && !self.query.without.iter().any(|tag| record.tags.contains(tag))
            && self.query.readiness.is_none_or(|readiness| readiness == record.readiness)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{record, stamp};
    use super::*;
    use crate::names::{NameEpoch, Names, Readiness, Removal, Revision, WatchId};

    fn of_everything() -> LiveQuery {
        LiveQuery::new(Query::by_name(Names::Any))
    }

    fn change(record: &Record, what: What) -> Change {
        Change {
            ids: vec![WatchId(0)],
            name: record.name.clone(),
            instance: record.instance,
            what,
            rev: Revision(0),
        }
    }

    fn names(query: &LiveQuery) -> Vec<String> {
        query.shown().iter().map(|record| record.name.to_string()).collect()
    }

    #[test]
    fn changes_are_shown_in_the_order_of_names() {
        let mut query = of_everything();
        assert_eq!(query.since(), None);
        assert!(query.list([Arc::new(record("b", 1, 5))], stamp(1, 5)));
        let added = record("a", 2, 6);
        assert!(query.apply(&change(&added, What::Registered(Arc::new(added.clone()).into()))));
        assert_eq!(names(&query), ["a", "b"]);
        let removed = What::Removed { epoch: added.epoch, why: Removal::Expired };
        assert!(query.apply(&change(&added, removed)));
        query.advance(stamp(1, 7));
        assert_eq!((names(&query), query.since()), (vec!["b".to_owned()], Some(stamp(1, 7))));
    }

    #[test]
    fn a_change_older_than_what_is_shown_is_passed_over() {
        let mut query = of_everything();
        let newer = record("a", 1, 9);
        query.list([Arc::new(newer.clone())], stamp(1, 5));
        let older = record("a", 1, 6);
        assert!(!query.apply(&change(&older, What::Updated(Arc::new(older.clone()).into()))));
        let end_of_older = What::Removed { epoch: NameEpoch(Revision(6)), why: Removal::Replaced };
        assert!(!query.apply(&change(&older, end_of_older)));
        assert_eq!(query.shown()[0].changed, Revision(9));
    }

    #[test]
    fn after_losing_track_the_old_stays_until_the_new_listing_and_an_equal_one_is_no_change() {
        let mut query = of_everything();
        query.list([Arc::new(record("a", 1, 5))], stamp(1, 5));
        query.lose_track();
        assert_eq!((query.since(), names(&query)), (None, vec!["a".to_owned()]));
        assert!(!query.list([Arc::new(record("a", 1, 5))], stamp(2, 10)));
        assert!(query.list([], stamp(2, 11)));
        assert_eq!(names(&query), [""; 0]);
    }

    #[test]
    fn changes_are_shown_before_the_first_listing_but_not_as_the_whole_truth() {
        let mut query = of_everything();
        query.follow_from(stamp(1, 0));
        let early = record("a", 1, 5);
        assert!(query.apply(&change(&early, What::Registered(Arc::new(early.clone()).into()))));
        query.advance(stamp(1, 5));
        assert_eq!((names(&query), query.stamp()), (vec!["a".to_owned()], None));
        assert_eq!((query.wants_listing(), query.since()), (true, Some(stamp(1, 5))));
        assert!(query.list([Arc::new(early)], stamp(1, 6)), "that it is whole is news");
        assert_eq!((query.wants_listing(), query.stamp()), (false, Some(stamp(1, 6))));
    }

    #[test]
    fn an_empty_first_listing_is_news() {
        assert!(of_everything().list([], stamp(1, 1)));
    }

    #[test]
    fn a_record_that_no_longer_matches_is_no_longer_shown() {
        let mut query =
            LiveQuery::new(Query { readiness: Some(Readiness::Up), ..Query::by_name(Names::Any) });
        query.list([Arc::new(record("a", 1, 5))], stamp(1, 5));
        let mut draining = record("a", 1, 6);
        draining.readiness = Readiness::Draining;
        assert!(query.apply(&change(&draining, What::Updated(Arc::new(draining.clone()).into()))));
        assert_eq!(names(&query), [""; 0]);
    }
}
