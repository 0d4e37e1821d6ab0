use std::borrow::Borrow;
use std::cmp::Ordering as Order;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use common::ids::{ClusterId, InstanceId};
use common::names::{AnyName, BootCount, Cursor, Names, Record, Records, Revision, Stamp, Stamped, TagMatch};
use dashmap::{DashMap, Entry};

use crate::matcher::Matcher;
use crate::registry::record_bytes;

/// Names that one look at the ordered index takes, before others get the thread and the writer the lock.
const SCAN_NAMES: usize = 2_000;
/// A page ends after this many bytes of records; one record more still fits a frame.
const PAGE_BYTES: usize = 256 * 1024;

/// What every thread may read, whatever the writer does: the records by name, and in the order of names.
///
/// The map is for lookups: nobody iterates it, and no guard of it leaves an expression.
#[derive(Debug)]
pub struct Shelf {
    cluster: ClusterId,
    boot: AtomicU64,
    /// The revision that the writer has begun to put here, and the one that it has finished.
    begun: AtomicU64,
    ended: AtomicU64,
    by_name: DashMap<Named, ()>,
    in_order: RwLock<Index>,
}

/// All records under one name, found by the name that is in them: a key beside them would be kept twice for each of a
/// million names.
#[derive(Clone, Debug)]
struct Named(Records);

impl Named {
    /// Those up and confirmed first.
    fn of(mut records: Vec<Arc<Record>>) -> Self {
        records.sort_by_key(|record| (record.readiness as u8, record.standing as u8, record.instance));
        Self(records.into())
    }

    fn name(&self) -> &AnyName {
        &self.0.first().expect("a name on the shelf has records").name
    }
}

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.name().as_str()
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name().as_str().hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Named {}

impl PartialOrd for Named {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Named {
    fn cmp(&self, other: &Self) -> Order {
        self.name().cmp(other.name())
    }
}

/// The records in the order of names, and which names have a tag.
#[derive(Debug, Default)]
struct Index {
    records: BTreeSet<Named>,
    tagged: BTreeMap<Box<str>, BTreeSet<AnyName>>,
}

/// A listing in the making.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that matched.
    pub records: Vec<Arc<Record>>,
    bytes: usize,
}

/// Where a listing goes on.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nowhere: that was all.
    End,
    /// The page is full.
    Page(Cursor),
    /// After this name, once others had the thread.
    Scan(Cursor),
}

impl Shelf {
    pub(super) fn new(cluster: ClusterId, boot: BootCount, rev: Revision) -> Self {
        Self {
            cluster,
            boot: AtomicU64::new(boot.0),
            begun: AtomicU64::new(rev.0),
            ended: AtomicU64::new(rev.0),
            by_name: DashMap::new(),
            in_order: RwLock::default(),
        }
    }

    /// Now. Read it before the records that it is to stamp: what is newer than its stamp is only seen again.
    pub fn stamp(&self) -> Stamp {
        self.stamp_at(Revision(self.ended.load(Ordering::Acquire)))
    }

    /// This boot's stamp of a revision.
    pub fn stamp_at(&self, rev: Revision) -> Stamp {
        Stamp { cluster: self.cluster, boot: BootCount(self.boot.load(Ordering::Acquire)), rev }
    }

    /// The records under `name`: those up and confirmed first.
    pub fn get(&self, name: &AnyName) -> Option<Records> {
        self.by_name.get(name.as_str()).map(|found| found.key().0.clone())
    }

    /// The records under each name, all from one revision; `None` when a change was under way: ask again.
    pub fn get_many(&self, names: &[AnyName]) -> Option<Stamped<Vec<Option<Records>>>> {
        let stamp = self.stamp();
        let value = names.iter().map(|name| self.get(name)).collect();
        let undisturbed = self.begun.load(Ordering::Acquire) == stamp.rev.0 && self.stamp() == stamp;
        undisturbed.then_some(Stamped { stamp, value })
    }

    /// Adds to a listing of what `matcher` asks for, from after `after` on, up to `limit` records in all.
    pub fn list(&self, matcher: &Matcher, after: Option<&Cursor>, limit: usize, found: &mut Found) -> Next {
        let exact = matches!(matcher.query().names, Names::Exact(_));
        let prefix = matcher.prefix();
        let start = match after {
            Some(cursor) if cursor.name.as_str() >= prefix => Bound::Included(cursor.name.as_str()),
            _ => Bound::Included(prefix),
        };
        let index = self.in_order.read().unwrap_or_else(PoisonError::into_inner);
        for (looked, (name, records)) in index.candidates(&matcher.query().tags, start).enumerate() {
            if !name.as_str().starts_with(prefix) || exact && name.as_str() != prefix {
                break;
            }
            // Lookups have another order than listings.
            let mut records: Vec<&Arc<Record>> = records.iter().collect();
            records.sort_by_key(|record| record.instance);
            for record in records {
                let here = Cursor { name: name.clone(), instance: record.instance };
                if after.is_some_and(|after| here <= *after) || !matcher.matches(record) {
                    continue;
                }
                let full = found.records.len() >= limit || found.bytes >= PAGE_BYTES;
                if let (true, Some(last)) = (full, found.records.last()) {
                    return Next::Page(Cursor { name: last.name.clone(), instance: last.instance });
                }
                found.bytes += record_bytes(record);
                found.records.push(Arc::clone(record));
            }
            if looked >= SCAN_NAMES {
                return Next::Scan(Cursor { name: name.clone(), instance: InstanceId::from_u128(u128::MAX) });
            }
        }
        Next::End
    }

    /// How many names there are, our own among them.
    pub fn names(&self) -> usize {
        self.in_order.read().unwrap_or_else(PoisonError::into_inner).records.len()
    }

    /// Up to `limit` names in order, from after `after` on, that begin with `prefix`, and what stands under each. Fewer
    /// than `limit`: those were the last.
    pub fn slice(&self, prefix: &str, after: Option<&AnyName>, limit: usize) -> Vec<(AnyName, Records)> {
        let start = match after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(prefix),
        };
        let index = self.in_order.read().unwrap_or_else(PoisonError::into_inner);
        let begun = index.records.range::<str, _>((start, Bound::Unbounded));
        let alike = begun.take_while(|named| named.name().as_str().starts_with(prefix));
        alike.take(limit).map(|named| (named.name().clone(), named.0.clone())).collect()
    }

    pub(super) fn jump(&self, boot: BootCount, rev: Revision) {
        self.boot.store(boot.0, Ordering::Release);
        self.begin(rev);
        self.end(rev);
    }

    pub(super) fn begin(&self, rev: Revision) {
        self.begun.store(rev.0, Ordering::Release);
    }

    /// Takes in all that a store held, in the order of names: far cheaper than name by name.
    pub(super) fn fill(&self, names: Vec<Vec<Arc<Record>>>) {
        let mut index = self.in_order.write().unwrap_or_else(PoisonError::into_inner);
        assert!(index.records.is_empty(), "a shelf is filled before anything else is put there");
        let names: Vec<Named> = names.into_iter().map(Named::of).collect();
        for named in &names {
            for tag in named.0.iter().flat_map(|record| record.tags.iter()) {
                index.tagged.entry(tag.into()).or_default().insert(named.name().clone());
            }
            self.by_name.insert(named.clone(), ());
        }
        index.records = names.into_iter().collect();
    }

    pub(super) fn put(&self, name: &AnyName, records: Vec<Arc<Record>>) {
        let mut index = self.in_order.write().unwrap_or_else(PoisonError::into_inner);
        if records.is_empty() {
            index.put(name, None);
            self.by_name.remove(name.as_str());
            return;
        }
        let named = Named::of(records);
        index.put(name, Some(named.clone()));
        match self.by_name.entry(named) {
            // In one step: no lookup finds nothing meanwhile.
            Entry::Occupied(old) => drop(old.replace_entry(())),
            Entry::Vacant(place) => drop(place.insert(())),
        }
    }

    pub(super) fn end(&self, rev: Revision) {
        self.ended.store(rev.0, Ordering::Release);
    }
}

impl Index {
    fn put(&mut self, name: &AnyName, records: Option<Named>) {
        let tags_of = |named: &Named| {
            named
                .0
                .iter()
                .flat_map(|record| record.tags.iter())
                .map(Box::from)
                .collect::<BTreeSet<Box<str>>>()
        };
        let new = records.as_ref().map(tags_of).unwrap_or_default();
        let old = match records {
            Some(records) => self.records.replace(records),
            None => self.records.take(name.as_str()),
        };
        let old = old.as_ref().map(tags_of).unwrap_or_default();
        for gone in old.difference(&new) {
            if let Some(names) = self.tagged.get_mut(gone) {
                names.remove(name);
                if names.is_empty() {
                    self.tagged.remove(gone);
                }
            }
        }
        for come in new.difference(&old) {
            self.tagged.entry(Box::clone(come)).or_default().insert(name.clone());
        }
    }

    /// The names from `start` on that may have such tags, in order, with their records.
    fn candidates<'a>(
        &'a self,
        tags: &'a TagMatch,
        start: Bound<&'a str>,
    ) -> Box<dyn Iterator<Item = (&'a AnyName, &'a Records)> + 'a> {
        let range = (start, Bound::Unbounded);
        let with_name = |named: &'a Named| (named.name(), &named.0);
        let with_records = move |name: &'a AnyName| self.records.get(name.as_str()).map(with_name);
        match tags {
            TagMatch::AllOf(tags) if tags.iter().len() > 0 => {
                // Whoever has all of them has the rarest.
                let sets: Option<Vec<&BTreeSet<AnyName>>> =
                    tags.iter().map(|tag| self.tagged.get(tag)).collect();
                let rarest = sets.into_iter().flatten().min_by_key(|names| names.len());
                Box::new(
                    rarest
                        .into_iter()
                        .flat_map(move |names| names.range::<str, _>(range))
                        .filter_map(with_records),
                )
            }
            TagMatch::AnyOf(tags) => {
                let sets = tags.iter().filter_map(|tag| self.tagged.get(tag));
                let mut heads: Vec<_> = sets.map(|names| names.range::<str, _>(range).peekable()).collect();
                let merged = std::iter::from_fn(move || {
                    let next = heads.iter_mut().filter_map(|names| names.peek().copied()).min()?;
                    for names in &mut heads {
                        names.next_if(|name| *name == next);
                    }
                    Some(next)
                });
                Box::new(merged.filter_map(with_records))
            }
            TagMatch::Any | TagMatch::AllOf(_) => {
                Box::new(self.records.range::<str, _>(range).map(with_name))
            }
        }
    }
}
