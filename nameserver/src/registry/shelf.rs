use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use common::ids::{ClusterId, InstanceId};
use common::names::{AnyName, BootCount, Cursor, Names, PackedRecord, Revision, Stamp, Stamped, TagMatch};
use dashmap::{DashMap, Entry};

use super::kept::Kept;
use super::ordered::Ordered;
use crate::matcher::Matcher;

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
    by_name: DashMap<Kept, ()>,
    in_order: RwLock<Index>,
}

/// The records in the order of names, and which names have a tag.
#[derive(Debug, Default)]
struct Index {
    records: Ordered,
    tagged: BTreeMap<Box<str>, BTreeSet<Kept>>,
}

/// A listing in the making.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that matched.
    pub records: Vec<PackedRecord>,
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
    pub fn get(&self, name: &str) -> Option<Kept> {
        self.by_name.get(name.as_bytes()).map(|found| found.key().clone())
    }

    /// The records under each name, all from one revision; `None` when a change was under way: ask again.
    pub fn get_many(&self, names: &[AnyName]) -> Option<Stamped<Vec<Option<Kept>>>> {
        let stamp = self.stamp();
        let value = names.iter().map(|name| self.get(name.as_str())).collect();
        let undisturbed = self.begun.load(Ordering::Acquire) == stamp.rev.0 && self.stamp() == stamp;
        undisturbed.then_some(Stamped { stamp, value })
    }

    /// Adds to a listing of what `matcher` asks for, from after `after` on, up to `limit` records in all.
    pub fn list(&self, matcher: &Matcher, after: Option<&Cursor>, limit: usize, found: &mut Found) -> Next {
        let exact = matches!(matcher.query().names, Names::Exact(_));
        let prefix = matcher.prefix();
        let start = match after {
            Some(cursor) if cursor.name.as_str() >= prefix => cursor.name.as_str(),
            _ => prefix,
        };
        let index = self.in_order.read().unwrap_or_else(PoisonError::into_inner);
        for (looked, kept) in index.candidates(&matcher.query().tags, start).enumerate() {
            let name = kept.name();
            if !name.starts_with(prefix) || exact && name != prefix {
                break;
            }
            // Lookups have another order than listings.
            let mut records: Vec<&PackedRecord> = kept.iter().collect();
            records.sort_by_cached_key(|record| record.instance());
            for record in records {
                let is_before =
                    |after: &Cursor| (name, record.instance()) <= (after.name.as_str(), after.instance);
                if after.is_some_and(is_before) || !matcher.matches(record) {
                    continue;
                }
                let full = found.records.len() >= limit || found.bytes >= PAGE_BYTES;
                if let (true, Some(last)) = (full, found.records.last()) {
                    return Next::Page(cursor(last.name(), last.instance()));
                }
                found.bytes += record.len();
                found.records.push(record.clone());
            }
            if looked >= SCAN_NAMES {
                return Next::Scan(cursor(name, InstanceId::from_u128(u128::MAX)));
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
    pub fn slice(&self, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Kept> {
        let start = match after {
            Some(after) => Bound::Excluded(after.as_bytes()),
            None => Bound::Included(prefix.as_bytes()),
        };
        let index = self.in_order.read().unwrap_or_else(PoisonError::into_inner);
        let alike = index.records.from(start).take_while(|kept| kept.name().starts_with(prefix));
        alike.take(limit).cloned().collect()
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
    pub(super) fn fill(&self, records: &[PackedRecord]) {
        let mut index = self.in_order.write().unwrap_or_else(PoisonError::into_inner);
        assert!(index.records.len() == 0, "a shelf is filled before anything else is put there");
        let names = records.chunk_by(|one, next| one.name_bytes() == next.name_bytes());
        let names: Vec<Kept> = names.filter_map(|records| Kept::new(records.to_vec())).collect();
        for kept in &names {
            for tag in tags_of(kept) {
                index.tagged.entry(tag.into()).or_default().insert(kept.clone());
            }
            self.by_name.insert(kept.clone(), ());
        }
        index.records = names.into_iter().collect();
    }

    pub(super) fn put(&self, name: &str, records: Vec<PackedRecord>) {
        let mut index = self.in_order.write().unwrap_or_else(PoisonError::into_inner);
        let Some(kept) = Kept::new(records) else {
            index.remove(name);
            self.by_name.remove(name.as_bytes());
            return;
        };
        index.put(&kept);
        match self.by_name.entry(kept) {
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
    fn put(&mut self, kept: &Kept) {
        let new = tags_of(kept);
        if let Some(old) = self.records.replace(kept.clone()) {
            self.untag(kept.name(), &tags_of(&old) - &new);
        }
        for tag in new {
            match self.tagged.get_mut(tag) {
                Some(names) => drop(names.replace(kept.clone())),
                None => drop(self.tagged.insert(tag.into(), BTreeSet::from([kept.clone()]))),
            }
        }
    }

    fn remove(&mut self, name: &str) {
        if let Some(old) = self.records.take(name.as_bytes()) {
            self.untag(name, tags_of(&old));
        }
    }

    fn untag(&mut self, name: &str, tags: BTreeSet<&str>) {
        for tag in tags {
            if let Some(names) = self.tagged.get_mut(tag) {
                names.remove(name.as_bytes());
                if names.is_empty() {
                    self.tagged.remove(tag);
                }
            }
        }
    }

    /// The names from `start` on that may have such tags, in order.
    fn candidates<'a>(
        &'a self,
        tags: &'a TagMatch,
        start: &'a str,
    ) -> Box<dyn Iterator<Item = &'a Kept> + 'a> {
        let range = (Bound::Included(start.as_bytes()), Bound::Unbounded);
        match tags {
            TagMatch::AllOf(tags) if tags.iter().len() > 0 => {
                // Whoever has all of them has the rarest.
                let sets: Option<Vec<&BTreeSet<Kept>>> =
                    tags.iter().map(|tag| self.tagged.get(tag)).collect();
                let rarest = sets.into_iter().flatten().min_by_key(|names| names.len());
                Box::new(rarest.into_iter().flat_map(move |names| names.range::<[u8], _>(range)))
            }
            TagMatch::AnyOf(tags) => {
                let sets = tags.iter().filter_map(|tag| self.tagged.get(tag));
                let mut heads: Vec<_> = sets.map(|names| names.range::<[u8], _>(range).peekable()).collect();
                Box::new(std::iter::from_fn(move || {
                    let next = heads.iter_mut().filter_map(|names| names.peek().copied()).min()?;
                    for names in &mut heads {
                        names.next_if(|name| *name == next);
                    }
                    Some(next)
                }))
            }
            TagMatch::Any | TagMatch::AllOf(_) => Box::new(self.records.from(range.0)),
        }
    }
}

fn tags_of(kept: &Kept) -> BTreeSet<&str> {
    kept.iter().flat_map(|record| record.view().tags).collect()
}

fn cursor(name: &str, instance: InstanceId) -> Cursor {
    Cursor { name: name.parse().expect("what is on the shelf has a good name"), instance }
}
