//! Names: the core that decides what stands under which name, who may put it there, change it and remove it, and
//! numbers every change.
//!
//! One [`Revision`] counts the changes of the whole registry, and the revision at which a registration was created is
//! its fencing token, so a name's epochs rise for ever without a tombstone per deleted name. What everybody may read
//! is on the [`Shelf`]; what only the writer may know (who holds which lease) stays in here. Every change returns a
//! [`Step`]: what watchers see, and what the store keeps.

mod ahead;
mod held;
mod kept;
mod numbers;
mod ordered;
mod permanent;
mod registrants;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use common::clock::Moment;
use common::ids::{ClusterId, InstanceId};
use common::names::{
    Address, AnyName, AttemptId, BootCount, Entry, Expect, Holder, Host, LeaseId, Lifetime, LogicalName,
    NameEpoch, PackedRecord, Patch, Readiness, RecordRef, Removal, Revision, Sharing, Standing, Target,
    TargetRef, Weight,
};
use common::rpc::name_service::{RegisterError, Registered, UpdateError};

pub use self::ahead::TooFarAhead;
pub(crate) use self::ahead::{BOOTS_AHEAD_MAX, REVISIONS_AHEAD_MAX};
use self::held::Held;
pub use self::kept::Kept;
use self::numbers::Numbers;
use self::registrants::Registrants;
pub use self::shelf::{Found, Next, Shelf};
use crate::leases::{Heard, LeaseCell, Leases};
use crate::probes::Registrant;
use crate::store::{NameRow, RegistrantRow, Write};
use crate::watch::Event;

/// Names held at most, unless told otherwise: some 350 MB.
pub const NAMES_MAX: usize = 1_000_000;
/// Names registered from one machine other than ours: a stranger leaves room for everybody else.
pub const NAMES_PER_MACHINE_MAX: usize = 100_000;
/// Names of one lease: so the revision that ends it fits one answer to a watcher.
pub const LEASE_NAMES_MAX: usize = 1_000;
/// Leases of one process that hold names: it needs one, and each is looked at when it matters which.
pub const LEASES_OF_ONE_MAX: usize = 16;
/// Bytes of one record: so a page of records fits a frame.
pub const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Revisions reserved in the store ahead of their use: a restart goes on after the mark, so none comes twice.
pub const RESERVE: u64 = 10_000;
/// The name server's own name.
pub const RESERVED_NAME: &str = "Pyro.NameServer";
/// Records in one revision of a confirmation: with their contents, so that these fit an answer too.
const CONFIRMED_AT_ONCE: usize = 16;

/// One revision: what it did.
#[derive(Clone, Debug, Default)]
pub struct Step {
    /// Which.
    pub rev: Revision,
    /// For watchers.
    pub events: Vec<Event>,
    /// For the store.
    pub writes: Vec<Write>,
}

/// What somebody wants to register.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Whose socket it came from.
    pub caller: IpAddr,
    /// Under which name.
    pub name: AnyName,
    /// What.
    pub entry: Entry,
    /// In place of what.
    pub expect: Expect,
    /// As long as this lease; `None` for ever, then with a random instance.
    pub lease: Option<LeaseId>,
    /// A fresh instance, for a permanent record.
    pub fresh: InstanceId,
    /// What the same content means when it stands there already.
    pub same: Same,
}

/// What the same content means that stands there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// The answer to this registration was lost: it is given once more.
    Repeat,
    /// A new registration, as from a Pyro program that started again at its old place.
    Anew,
}

/// The registry: the writer's side.
#[derive(Debug)]
pub struct Registry {
    shelf: Arc<Shelf>,
    /// What stands under each lease that holds something.
    held: BTreeMap<LeaseId, Held>,
    /// Whose leases these are. A key for each name would cost a tenth of the memory.
    holders: BTreeSet<(InstanceId, LeaseId)>,
    /// From where they were registered for, where that is another machine; of before a restart it is not known.
    afar: BTreeMap<LeaseId, IpAddr>,
    registrants: Registrants,
    rev: Revision,
    /// The mark in the store, or on its way there.
    reserved: Revision,
    /// The mark in the store.
    safe: Revision,
    names: usize,
    unconfirmed: usize,
    limit: usize,
    /// Names registered from each machine other than ours.
    machines: BTreeMap<IpAddr, usize>,
    numbers: Numbers,
}

impl Registry {
    /// An empty registry of at most `limit` names. Its first change is revision `rev` + 1.
    pub fn new(cluster: ClusterId, boot: BootCount, rev: Revision, limit: usize) -> Self {
        let reserved = Revision(rev.0 + RESERVE);
        Self {
            shelf: Arc::new(Shelf::new(cluster, boot, rev)),
            held: BTreeMap::new(),
            holders: BTreeSet::new(),
            afar: BTreeMap::new(),
            registrants: Registrants::default(),
            rev,
            reserved,
            safe: reserved,
            names: 0,
            unconfirmed: 0,
            limit,
            machines: BTreeMap::new(),
            numbers: Numbers::default(),
        }
    }

    /// What everybody may read.
    pub fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.shelf)
    }

    /// How many records there are, our own not counted.
    pub fn names(&self) -> usize {
        self.names
    }

    /// How many there may be.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// How many of them their holders did not confirm since the restart.
    pub fn unconfirmed(&self) -> usize {
        self.unconfirmed
    }

    /// The mark that the store must hold.
    pub fn reserved(&self) -> Revision {
        self.reserved
    }

    /// The store holds this mark now.
    pub fn reserved_is_durable(&mut self, mark: Revision) {
        self.safe = self.safe.max(mark);
    }

    /// Lists the name server itself, at `address`. Nobody can change or remove that record, and no store keeps it.
    pub fn list_ourselves(&mut self, address: Address, contract: &str, instance: InstanceId) {
        let record = RecordRef {
            name: RESERVED_NAME,
            sharing: Sharing::Exclusive,
            instance,
            epoch: NameEpoch(self.rev),
            target: TargetRef::Service { address, object: RESERVED_NAME, contract },
            tags: Vec::new(),
            readiness: Readiness::Up,
            standing: Standing::Confirmed,
            weight: Weight::default(),
            lifetime: Lifetime::Permanent,
        };
        self.shelf.put(RESERVED_NAME, vec![PackedRecord::from(&record)]);
    }

    /// Takes in what the store holds, names and registrants in the same order; the leases were restored before. Returns
    /// the records whose lease was not.
    pub fn restore(
        &mut self,
        rows: Vec<NameRow>,
        registrants: Vec<RegistrantRow>,
        leases: &Leases,
    ) -> Vec<PackedRecord> {
        let mut orphans = Vec::new();
        let mut registrants = registrants.into_iter().peekable();
        let mut records = Vec::with_capacity(rows.len());
        for NameRow { lease, mut record } in rows {
            if let Some(lease) = lease {
                let Some(cell) = leases.get(lease) else {
                    orphans.push(record);
                    continue;
                };
                record = doubted(&record);
                self.unconfirmed += 1;
                self.hold(&cell, &record);
            } else {
                let key = (record.name(), record.instance());
                let order = |(name, instance, _): &RegistrantRow| (name.as_str(), *instance).cmp(&key);
                while registrants.next_if(|row| order(row).is_lt()).is_some() {}
                let who = registrants.next_if(|row| order(row).is_eq()).map(|(.., who)| who);
                self.registrants.insert(record.epoch(), who);
                if let Some(who) = who {
                    self.count_in(who.from);
                }
            }
            self.names += 1;
            records.push(record);
        }
        self.shelf.fill(&records);
        orphans
    }

    /// Puts an entry under a name; nothing happens when the same registration stands there already (its answer was
    /// lost).
    ///
    /// # Errors
    /// Why not.
    pub fn register(
        &mut self,
        now: Moment,
        leases: &Leases,
        request: Registration,
    ) -> Result<(Registered, Option<Step>), RegisterError> {
        let Registration { caller, name, mut entry, expect, lease, fresh, same } = request;
        if name.as_str() == RESERVED_NAME {
            return Err(RegisterError::Reserved);
        }
        let lease = match lease {
            Some(id) => Some(leases.living(id).ok_or(RegisterError::UnknownLease)?),
            None => None,
        };
        resolve(&mut entry.target, caller)?;
        let address = entry.target.address().cloned();
        let standing = self.standing(name.as_str());
        if let Some(is) = standing.first().map(|first| first.view().sharing).filter(|&is| is != entry.sharing)
        {
            return Err(RegisterError::SharingMismatch { is });
        }
        let lease_id = lease.as_ref().map(|cell| cell.id);
        let repeated = |old: &RecordRef<'_>| {
            same == Same::Repeat && self.tenure(old) == lease_id && same_content(old, &entry)
        };
        if let Some(same) = standing.iter().map(PackedRecord::view).find(repeated) {
            return Ok((Registered { epoch: same.epoch, address }, None));
        }
        let displaced = self.displaced(now, leases, &standing, entry.sharing, expect, lease.as_deref())?;

        let (instance, lifetime) = match &lease {
            Some(cell) => (cell.instance, Lifetime::Leased { ttl: cell.ttl }),
            None => (fresh, Lifetime::Permanent),
        };
        let epoch = Revision(self.rev.0 + 1);
        let record = PackedRecord::from(&RecordRef {
            name: name.as_str(),
            sharing: entry.sharing,
            instance,
            epoch: NameEpoch(epoch),
            target: TargetRef::from(&entry.target),
            tags: entry.tags.iter().collect(),
            readiness: entry.readiness,
            standing: Standing::Confirmed,
            weight: entry.weight,
            lifetime,
        });
        if record.len() > RECORD_BYTES_MAX {
            return Err(RegisterError::TooLarge { limit: RECORD_BYTES_MAX as u64 });
        }
        if displaced.is_empty() {
            self.has_room(caller)?;
        }
        if let Some(cell) = &lease {
            self.may_hold(cell, name.as_str())?;
        }
        if epoch > self.safe {
            // The store is far behind: an epoch past its mark could come twice.
            return Err(RegisterError::Overloaded { retry_in: Duration::from_millis(100) });
        }

        let mut step = self.begin();
        let mut records = standing;
        for old in displaced {
            records.retain(|record| record.instance() != old.instance());
            self.take_off(&mut step, leases, old, Removal::Replaced);
        }
        if let Some(cell) = lease {
            if !self.held.contains_key(&cell.id) && !is_local(caller) {
                self.afar.insert(cell.id, caller);
            }
            self.hold(&cell, &record);
            if let Some(&from) = self.afar.get(&cell.id) {
                self.count_in(from);
            }
        } else {
            self.count_in(caller);
            let registrant = Registrant { from: caller, seen: false };
            self.registrants.insert(NameEpoch(epoch), Some(registrant));
            step.writes.push(Write::Registrant { name: name.clone(), instance, row: Some(registrant) });
        }
        self.names += 1;
        records.push(record.clone());
        self.shelf.put(name.as_str(), records);
        let registered = Registered { epoch: NameEpoch(epoch), address };
        let row = Some(NameRow { lease: lease_id, record: record.clone() });
        step.writes.push(Write::Name { name, instance, row });
        step.events.push(Event::Registered(record));
        self.end(&step);
        Ok((registered, Some(step)))
    }

    /// Registers under `prefix` and the lowest positive number not in use. The same `attempt` again answers the same.
    ///
    /// # Errors
    /// Why not.
    pub fn register_next(
        &mut self,
        now: Moment,
        leases: &Leases,
        prefix: &LogicalName,
        attempt: AttemptId,
        mut request: Registration,
    ) -> Result<((LogicalName, Registered), Option<Step>), RegisterError> {
        if request.entry.sharing != Sharing::Exclusive {
            return Err(RegisterError::SharingMismatch { is: Sharing::Exclusive });
        }
        if let Some((name, epoch)) = self.numbers.given(attempt)
            && let Some(same) = self.standing(name.as_str()).iter().find(|record| record.epoch() == epoch)
            && self.tenure(&same.view()) == request.lease
        {
            let address = same.view().target.address().cloned();
            return Ok(((name, Registered { epoch, address }), None));
        }
        let (shelf, too_long) = (&self.shelf, LogicalName::BYTES_MAX as u64);
        let name = self.numbers.lowest(prefix, |name| shelf.get(name.as_str()).is_some());
        let name = name.ok_or(RegisterError::TooLarge { limit: too_long })?;
        request.name = AnyName::from(&name);
        let (registered, step) = self.register(now, leases, request)?;
        self.numbers.give(attempt, name.clone(), registered.epoch);
        Ok(((name, registered), step))
    }

    fn has_room(&self, caller: IpAddr) -> Result<(), RegisterError> {
        let of_machine = self.machines.get(&caller.to_canonical()).copied().unwrap_or_default();
        for (names, limit) in [(self.names, self.limit), (of_machine, NAMES_PER_MACHINE_MAX)] {
            if names >= limit {
                return Err(RegisterError::QuotaFull { limit: limit as u64 });
            }
        }
        Ok(())
    }

    fn count_in(&mut self, from: IpAddr) {
        if !is_local(from) {
            *self.machines.entry(from.to_canonical()).or_default() += 1;
        }
    }

    fn count_out(&mut self, from: IpAddr) {
        if let Some(names) = self.machines.get_mut(&from.to_canonical()) {
            *names -= 1;
            if *names == 0 {
                self.machines.remove(&from.to_canonical());
            }
        }
    }

    /// Which records a registration would displace, if it may.
    fn displaced(
        &self,
        now: Moment,
        leases: &Leases,
        standing: &[PackedRecord],
        sharing: Sharing,
        expect: Expect,
        lease: Option<&LeaseCell>,
    ) -> Result<Vec<PackedRecord>, RegisterError> {
        let owned = |old: &RecordRef<'_>| {
            let theirs = self.tenure(old).and_then(|id| leases.get(id));
            matches!((lease, &theirs), (Some(mine), Some(theirs)) if mine.id == theirs.id || mine.same_owner(theirs))
        };
        let displaced = standing.iter().filter(|old| {
            let old = old.view();
            let same_instance = lease.is_some_and(|cell| cell.instance == old.instance);
            let meant = expect == Expect::Epoch(old.epoch);
            sharing == Sharing::Exclusive || owned(&old) || same_instance || meant
        });
        let displaced: Vec<PackedRecord> = displaced.cloned().collect();
        if let Expect::Epoch(epoch) = expect
            && !displaced.iter().any(|old| old.epoch() == epoch)
        {
            return Err(RegisterError::EpochMismatch { current: displaced.first().map(PackedRecord::epoch) });
        }
        for old in displaced.iter().map(PackedRecord::view) {
            let permanent = old.lifetime == Lifetime::Permanent;
            if !(owned(&old) || permanent && expect != Expect::Free) {
                return Err(RegisterError::Held {
                    by: old.instance,
                    address: old.target.address().cloned(),
                    frees_in: self.tenure(&old).map(|id| leases.left(now, id)),
                });
            }
        }
        Ok(displaced)
    }

    /// Changes tags, readiness or weight; nothing happens when they are so already.
    ///
    /// # Errors
    /// Why not.
    pub fn update(
        &mut self,
        caller: IpAddr,
        holder: Holder,
        name: &AnyName,
        patch: &Patch,
    ) -> Result<(Registered, Option<Step>), UpdateError> {
        let chosen = self.chosen(caller, holder, name)?;
        let mut patched = Vec::new();
        for old in &chosen {
            let mut new = old.view();
            if let Some(tags) = &patch.tags {
                new.tags = tags.iter().collect();
            }
            new.readiness = patch.readiness.unwrap_or(new.readiness);
            new.weight = patch.weight.unwrap_or(new.weight);
            if PackedRecord::from(&new).len() > RECORD_BYTES_MAX {
                return Err(UpdateError::TooLarge { limit: RECORD_BYTES_MAX as u64 });
            }
            if new != old.view() {
                patched.push((old.clone(), new));
            }
        }
        let newest = chosen.iter().max_by_key(|record| record.epoch()).expect("somebody was chosen").view();
        let registered = Registered { epoch: newest.epoch, address: newest.target.address().cloned() };
        let step = (!patched.is_empty()).then(|| self.amend(patched));
        Ok((registered, step))
    }

    /// Removes a record; an operator removes all records under the name.
    ///
    /// # Errors
    /// Why not.
    pub fn unregister(
        &mut self,
        leases: &Leases,
        caller: IpAddr,
        holder: Holder,
        name: &AnyName,
    ) -> Result<(NameEpoch, Step), UpdateError> {
        let chosen = self.chosen(caller, holder, name)?;
        let newest = chosen.iter().map(PackedRecord::epoch).max().expect("somebody was chosen");
        let mut step = self.begin();
        for old in chosen {
            self.remove(&mut step, leases, old, Removal::Unregistered);
        }
        self.end(&step);
        Ok((newest, step))
    }

    /// Removes everything under a lease that has ended, in one revision.
    pub fn end_lease(&mut self, leases: &Leases, lease: LeaseId, why: Removal) -> (u32, Step) {
        let mut step = self.begin();
        // By the registration's lease, never by name: a successor's record stays.
        let held = self.under(lease);
        let names = count(held.len());
        for old in held {
            self.remove(&mut step, leases, old, why);
        }
        step.writes.push(Write::Lease { lease, row: None });
        self.end(&step);
        (names, step)
    }

    /// Marks everything under a lease as its holder's word again.
    pub fn confirm(&mut self, cell: &LeaseCell) -> Vec<Step> {
        let mut old = self.under(cell.id);
        old.retain(|record| record.view().standing == Standing::Unconfirmed);
        self.unconfirmed -= old.len();
        let mut steps = Vec::new();
        for some in old.chunks(CONFIRMED_AT_ONCE) {
            let confirmed = some
                .iter()
                .map(|old| (old.clone(), RecordRef { standing: Standing::Confirmed, ..old.view() }));
            steps.push(self.amend(confirmed.collect()));
        }
        steps
    }

    /// What stands under a lease.
    fn under(&self, lease: LeaseId) -> Vec<PackedRecord> {
        self.held.get(&lease).map(|held| held.records().to_vec()).unwrap_or_default()
    }

    /// What the store keeps of a lease whose holder was heard in this boot.
    pub fn lease_row(&self, cell: &LeaseCell) -> Write {
        let heard = Heard::In(self.shelf.stamp().boot);
        Write::Lease { lease: cell.id, row: Some(cell.row(heard)) }
    }

    /// Nothing is its holder's word any more, until each is heard again.
    pub fn doubt(&mut self) {
        let leases: Vec<LeaseId> = self.held.keys().copied().collect();
        for lease in leases {
            for old in self.under(lease) {
                if old.view().standing == Standing::Confirmed {
                    self.unconfirmed += 1;
                    self.put(Some(lease), &doubted(&old));
                }
            }
        }
    }

    /// Whom a call concerns, if its caller has the right.
    fn chosen(
        &self,
        caller: IpAddr,
        holder: Holder,
        name: &AnyName,
    ) -> Result<Vec<PackedRecord>, UpdateError> {
        if name.as_str() == RESERVED_NAME {
            return Err(UpdateError::Denied);
        }
        let standing = self.standing(name.as_str());
        let first = standing.first().ok_or(UpdateError::NotFound)?.view();
        match holder {
            Holder::Operator if is_local(caller) => Ok(standing),
            Holder::Operator => Err(UpdateError::Denied),
            Holder::Lease(lease) => {
                let mine = standing.iter().find(|record| self.tenure(&record.view()) == Some(lease));
                mine.map(|mine| vec![mine.clone()]).ok_or(UpdateError::NotYours { by: first.instance })
            }
            Holder::Epoch(epoch) => {
                let meant = standing.iter().find(|record| record.epoch() == epoch);
                let meant = meant.ok_or(UpdateError::EpochMismatch { current: first.epoch })?;
                if meant.view().lifetime != Lifetime::Permanent {
                    return Err(UpdateError::NotYours { by: meant.instance() });
                }
                Ok(vec![meant.clone()])
            }
        }
    }

    /// Puts new contents in place of old ones, registrations as they were.
    fn amend(&mut self, pairs: Vec<(PackedRecord, RecordRef<'_>)>) -> Step {
        let mut step = self.begin();
        for (old, new) in pairs {
            let (name, instance, lease) = (new.to_name(), new.instance, self.tenure(&new));
            let new = PackedRecord::changed_at(&new, step.rev);
            self.put(lease, &new);
            let row = Some(NameRow { lease, record: new.clone() });
            step.writes.push(Write::Name { name, instance, row });
            step.events.push(Event::updated(old, new, step.rev));
        }
        self.end(&step);
        step
    }

    /// Puts a record that stands under `lease` in place of its holder's.
    fn put(&mut self, lease: Option<LeaseId>, new: &PackedRecord) {
        if let Some(held) = lease.and_then(|lease| self.held.get_mut(&lease)) {
            held.put(new);
        }
        let mut records = self.standing(new.name());
        records.retain(|record| record.instance() != new.instance());
        records.push(new.clone());
        self.shelf.put(new.name(), records);
    }

    fn remove(&mut self, step: &mut Step, leases: &Leases, old: PackedRecord, why: Removal) {
        let mut records = self.standing(old.name());
        records.retain(|record| record.instance() != old.instance());
        self.shelf.put(old.name(), records);
        self.take_off(step, leases, old, why);
    }

    /// The books' part of a removal; the shelf is the caller's.
    fn take_off(&mut self, step: &mut Step, leases: &Leases, old: PackedRecord, why: Removal) {
        let view = old.view();
        let (name, instance) = (view.to_name(), view.instance);
        self.unconfirmed -= usize::from(view.standing == Standing::Unconfirmed);
        if let Some(lease) = self.tenure(&view) {
            self.let_go(leases, lease, &view);
        }
        self.numbers.freed(&name);
        if view.lifetime == Lifetime::Permanent
            && let Some(registrant) = self.registrants.remove(view.epoch)
        {
            self.count_out(registrant.from);
            step.writes.push(Write::Registrant { name: name.clone(), instance, row: None });
        }
        self.names -= 1;
        step.writes.push(Write::Name { name, instance, row: None });
        step.events.push(Event::removed(old, why, step.rev));
    }

    fn standing(&self, name: &str) -> Vec<PackedRecord> {
        self.shelf.get(name).map(|records| records.to_vec()).unwrap_or_default()
    }

    /// The lease under which a record stands: of its holder's few, the one with that name.
    fn tenure(&self, record: &RecordRef<'_>) -> Option<LeaseId> {
        if record.lifetime == Lifetime::Permanent {
            return None;
        }
        let mut leases = self.leases_of(record.instance);
        leases.find(|lease| self.held.get(lease).is_some_and(|held| held.holds(record.name)))
    }

    fn leases_of(&self, holder: InstanceId) -> impl Iterator<Item = LeaseId> {
        let all = (holder, LeaseId::from_random(0))..=(holder, LeaseId::from_random(u64::MAX));
        self.holders.range(all).map(|(_, lease)| *lease)
    }

    fn may_hold(&self, cell: &LeaseCell, name: &str) -> Result<(), RegisterError> {
        let limit = match self.held.get(&cell.id) {
            Some(held) if held.records().len() >= LEASE_NAMES_MAX && !held.holds(name) => LEASE_NAMES_MAX,
            None if self.leases_of(cell.instance).count() >= LEASES_OF_ONE_MAX => LEASES_OF_ONE_MAX,
            _ => return Ok(()),
        };
        Err(RegisterError::QuotaFull { limit: limit as u64 })
    }

    fn hold(&mut self, cell: &LeaseCell, record: &PackedRecord) {
        self.holders.insert((cell.instance, cell.id));
        let held = self.held.entry(cell.id).or_insert_with(|| Held::One(record.clone()));
        held.put(record);
        cell.set_names(count(held.records().len()));
    }

    fn let_go(&mut self, leases: &Leases, lease: LeaseId, old: &RecordRef<'_>) {
        if let Some(&from) = self.afar.get(&lease) {
            self.count_out(from);
        }
        let left = self.held.remove(&lease).and_then(|held| held.without(old.name));
        let names = left.as_ref().map_or(0, |held| held.records().len());
        if let Some(left) = left {
            self.held.insert(lease, left);
        } else {
            self.holders.remove(&(old.instance, lease));
            self.afar.remove(&lease);
        }
        if let Some(cell) = leases.get(lease) {
            cell.set_names(count(names));
        }
    }

    fn begin(&mut self) -> Step {
        self.rev = Revision(self.rev.0 + 1);
        self.shelf.begin(self.rev);
        let mut step = Step { rev: self.rev, ..Step::default() };
        if self.rev.0 + RESERVE / 2 > self.reserved.0 {
            self.reserved = Revision(self.rev.0 + RESERVE);
            step.writes.push(Write::Reserved(self.reserved));
        }
        step
    }

    fn end(&self, step: &Step) {
        self.shelf.end(step.rev);
    }
}

/// Whether a caller is on our own machine.
pub fn is_local(caller: IpAddr) -> bool {
    caller.to_canonical().is_loopback()
}

/// The same record, which its holder has not vouched for in this boot.
fn doubted(record: &PackedRecord) -> PackedRecord {
    let view = RecordRef { standing: Standing::Unconfirmed, ..record.view() };
    PackedRecord::changed_at(&view, record.changed())
}

fn same_content(old: &RecordRef<'_>, entry: &Entry) -> bool {
    old.sharing == entry.sharing
        && old.target == TargetRef::from(&entry.target)
        && old.tags.iter().copied().eq(entry.tags.iter())
        && old.readiness == entry.readiness
        && old.weight == entry.weight
}

/// Fills in "as you see me", and refuses an address that would send everybody else to themselves.
fn resolve(target: &mut Target, caller: IpAddr) -> Result<(), RegisterError> {
    let Target::Service { address, .. } = target else { return Ok(()) };
    if address.is_unspecified() {
        address.host = Host::Ip(caller.to_canonical());
    }
    if address.is_loopback() && !is_local(caller) {
        return Err(RegisterError::LoopbackFromAfar);
    }
    Ok(())
}

fn count(names: usize) -> u32 {
    u32::try_from(names).expect("at most a thousand names a lease")
}

#[cfg(test)]
mod tests;
