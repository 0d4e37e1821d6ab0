//! Names: the core that decides what stands under which name, who may put it there, change it and remove it, and
//! numbers every change.
//!
//! One [`Revision`] counts the changes of the whole registry, and the revision at which a registration was created is
//! its fencing token, so a name's epochs rise for ever without a tombstone per deleted name. What everybody may read
//! is on the [`Shelf`]; what only the writer may know (who holds which lease) stays in here. Every change returns a
//! [`Step`]: what watchers see, and what the store keeps.

mod ahead;
mod held;
mod numbers;
mod permanent;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use common::clock::Moment;
use common::ids::{ClusterId, InstanceId};
use common::names::{
    Address, AnyName, AttemptId, BootCount, ContractName, Entry, Expect, Holder, Host, LeaseId, Lifetime,
    LogicalName, NameEpoch, Patch, Record, Removal, Revision, Sharing, Standing, Target,
};
use common::rpc::name_service::{RegisterError, Registered, UpdateError};

pub use self::ahead::TooFarAhead;
pub(crate) use self::ahead::{BOOTS_AHEAD_MAX, REVISIONS_AHEAD_MAX};
use self::held::Held;
use self::numbers::Numbers;
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
/// Contracts whose text all their records share; of those beyond, each record has its own.
const CONTRACTS_SHARED: usize = 256;
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
    /// Who registered each permanent record.
    registrants: BTreeMap<NameEpoch, Registrant>,
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
    /// The contracts that records speak, each text once: a cluster has a handful of them, and a million records.
    contracts: BTreeSet<ContractName>,
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
            registrants: BTreeMap::new(),
            rev,
            reserved,
            safe: reserved,
            names: 0,
            unconfirmed: 0,
            limit,
            machines: BTreeMap::new(),
            numbers: Numbers::default(),
            contracts: BTreeSet::new(),
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
        let name: AnyName = RESERVED_NAME.parse().expect("a name of 15 letters");
        let object = common::names::ObjectName::new(RESERVED_NAME).expect("15 letters");
        let contract = ContractName::new(contract).expect("our own contract has a good name");
        let entry = Entry {
            sharing: Sharing::Exclusive,
            target: Target::Service { address, object, contract },
            tags: common::names::Tags::default(),
            readiness: common::names::Readiness::Up,
            weight: common::names::Weight::default(),
        };
        self.shelf
            .put(&name, vec![Arc::new(record(name.clone(), entry, instance, self.rev, Lifetime::Permanent))]);
    }

    /// Takes in what the store holds, names and registrants in the same order; the leases were restored before. Returns
    /// the records whose lease was not.
    pub fn restore(
        &mut self,
        rows: Vec<NameRow>,
        registrants: Vec<RegistrantRow>,
        leases: &Leases,
    ) -> Vec<Arc<Record>> {
        let mut orphans = Vec::new();
        let mut registrants = registrants.into_iter().peekable();
        let mut names: Vec<Vec<Arc<Record>>> = Vec::with_capacity(rows.len());
        for NameRow { lease, mut record } in rows {
            if let Some(lease) = lease {
                let Some(cell) = leases.get(lease) else {
                    orphans.push(record);
                    continue;
                };
                Arc::make_mut(&mut record).standing = Standing::Unconfirmed;
                self.unconfirmed += 1;
                self.hold(&cell, &record.name);
            } else {
                let key = (&record.name, record.instance);
                while registrants.next_if(|(name, instance, _)| (name, *instance) < key).is_some() {}
                if let Some((.., who)) = registrants.next_if(|(name, instance, _)| (name, *instance) == key) {
                    self.registrants.insert(record.epoch, who);
                    self.count_in(who.from);
                }
            }
            self.names += 1;
            self.share_contract(&mut Arc::make_mut(&mut record).target);
            match names.last_mut() {
                Some(last) if last[0].name == record.name => last.push(record),
                _ => names.push(vec![record]),
            }
        }
        self.shelf.fill(names);
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
        self.share_contract(&mut entry.target);
        let address = entry.target.address().cloned();
        let standing = self.standing(&name);
        if let Some(is) = standing.first().map(|first| first.sharing).filter(|&is| is != entry.sharing) {
            return Err(RegisterError::SharingMismatch { is });
        }
        let lease_id = lease.as_ref().map(|cell| cell.id);
        let repeated = |old: &&Arc<Record>| {
            same == Same::Repeat && self.tenure(old) == lease_id && same_content(old, &entry)
        };
        if let Some(same) = standing.iter().find(repeated) {
            return Ok((Registered { epoch: same.epoch, address }, None));
        }
        let displaced = self.displaced(now, leases, &standing, entry.sharing, expect, lease.as_deref())?;

        let (instance, lifetime) = match &lease {
            Some(cell) => (cell.instance, Lifetime::Leased { ttl: cell.ttl }),
            None => (fresh, Lifetime::Permanent),
        };
        let epoch = Revision(self.rev.0 + 1);
        let record = record(name.clone(), entry, instance, epoch, lifetime);
        if record_bytes(&record) > RECORD_BYTES_MAX {
            return Err(RegisterError::TooLarge { limit: RECORD_BYTES_MAX as u64 });
        }
        if displaced.is_empty() {
            self.has_room(caller)?;
        }
        if let Some(cell) = &lease {
            self.may_hold(cell, &name)?;
        }
        if epoch > self.safe {
            // The store is far behind: an epoch past its mark could come twice.
            return Err(RegisterError::Overloaded { retry_in: Duration::from_millis(100) });
        }

        let mut step = self.begin();
        let mut records = standing;
        for old in displaced {
            records.retain(|record| record.instance != old.instance);
            self.take_off(&mut step, leases, old, Removal::Replaced);
        }
        if let Some(cell) = lease {
            if !self.held.contains_key(&cell.id) && !is_local(caller) {
                self.afar.insert(cell.id, caller);
            }
            self.hold(&cell, &name);
            if let Some(&from) = self.afar.get(&cell.id) {
                self.count_in(from);
            }
        } else {
            self.count_in(caller);
            let registrant = Registrant { from: caller, seen: false };
            self.registrants.insert(record.epoch, registrant);
            step.writes.push(Write::Registrant { name: name.clone(), instance, row: Some(registrant) });
        }
        self.names += 1;
        let record = Arc::new(record);
        records.push(Arc::clone(&record));
        self.shelf.put(&name, records);
        let registered = Registered { epoch: record.epoch, address };
        let row = Some(NameRow { lease: lease_id, record: Arc::clone(&record) });
        step.writes.push(Write::Name { name, instance, row });
        step.events.push(Event { before: None, after: Ok(record), rev: step.rev });
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
            && let Some(same) =
                self.standing(&AnyName::from(&name)).iter().find(|record| record.epoch == epoch)
            && self.tenure(same) == request.lease
        {
            return Ok(((name, Registered { epoch, address: same.target.address().cloned() }), None));
        }
        let (shelf, too_long) = (&self.shelf, LogicalName::BYTES_MAX as u64);
        let name = self.numbers.lowest(prefix, |name| shelf.get(name).is_some());
        let name = name.ok_or(RegisterError::TooLarge { limit: too_long })?;
        request.name = AnyName::from(&name);
        let (registered, step) = self.register(now, leases, request)?;
        self.numbers.give(attempt, name.clone(), registered.epoch);
        Ok(((name, registered), step))
    }

    fn share_contract(&mut self, target: &mut Target) {
        let Target::Service { contract, .. } = target else { return };
        if let Some(known) = self.contracts.get(contract) {
            *contract = known.clone();
        } else if self.contracts.len() < CONTRACTS_SHARED {
            self.contracts.insert(contract.clone());
        }
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
        standing: &[Arc<Record>],
        sharing: Sharing,
        expect: Expect,
        lease: Option<&LeaseCell>,
    ) -> Result<Vec<Arc<Record>>, RegisterError> {
        let owned = |old: &Record| {
            let theirs = self.tenure(old).and_then(|id| leases.get(id));
            matches!((lease, &theirs), (Some(mine), Some(theirs)) if mine.id == theirs.id || mine.same_owner(theirs))
        };
        let displaced: Vec<Arc<Record>> = standing
            .iter()
            .filter(|old| {
                let same_instance = lease.is_some_and(|cell| cell.instance == old.instance);
                let meant = expect == Expect::Epoch(old.epoch);
                sharing == Sharing::Exclusive || owned(old) || same_instance || meant
            })
            .cloned()
            .collect();
        if let Expect::Epoch(epoch) = expect
            && !displaced.iter().any(|old| old.epoch == epoch)
        {
            return Err(RegisterError::EpochMismatch { current: displaced.first().map(|old| old.epoch) });
        }
        for old in &displaced {
            let permanent = old.lifetime == Lifetime::Permanent;
            if !(owned(old) || permanent && expect != Expect::Free) {
                return Err(RegisterError::Held {
                    by: old.instance,
                    address: old.target.address().cloned(),
                    frees_in: self.tenure(old).map(|id| leases.left(now, id)),
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
            let new = Record {
                tags: patch.tags.clone().unwrap_or_else(|| old.tags.clone()),
                readiness: patch.readiness.unwrap_or(old.readiness),
                weight: patch.weight.unwrap_or(old.weight),
                ..Record::clone(old)
            };
            if record_bytes(&new) > RECORD_BYTES_MAX {
                return Err(UpdateError::TooLarge { limit: RECORD_BYTES_MAX as u64 });
            }
            if new != **old {
                patched.push((Arc::clone(old), new));
            }
        }
        let newest = chosen.iter().max_by_key(|record| record.epoch).expect("somebody was chosen");
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
        let newest = chosen.iter().map(|record| record.epoch).max().expect("somebody was chosen");
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
        let held = self.held.get(&lease).map(|held| held.names().to_vec()).unwrap_or_default();
        for name in &held {
            // By the registration's lease, never by name: a successor's record stays.
            let of_this = |record: &Arc<Record>| self.tenure(record) == Some(lease);
            if let Some(old) = self.standing(name).into_iter().find(of_this) {
                self.remove(&mut step, leases, old, why);
            }
        }
        step.writes.push(Write::Lease { lease, row: None });
        self.end(&step);
        (count(held.len()), step)
    }

    /// Marks everything under a lease as its holder's word again.
    pub fn confirm(&mut self, cell: &LeaseCell) -> Vec<Step> {
        let names = self.held.get(&cell.id).map(|held| held.names().to_vec()).unwrap_or_default();
        let stale = |record: &Arc<Record>| {
            record.instance == cell.instance && record.standing == Standing::Unconfirmed
        };
        let old: Vec<Arc<Record>> =
            names.iter().filter_map(|name| self.standing(name).into_iter().find(stale)).collect();
        self.unconfirmed -= old.len();
        old.chunks(CONFIRMED_AT_ONCE)
            .map(|some| {
                let confirmed = |old: &Arc<Record>| {
                    let new = Record { standing: Standing::Confirmed, ..Record::clone(old) };
                    (Arc::clone(old), new)
                };
                self.amend(some.iter().map(confirmed).collect())
            })
            .collect()
    }

    /// What the store keeps of a lease whose holder was heard in this boot.
    pub fn lease_row(&self, cell: &LeaseCell) -> Write {
        let heard = Heard::In(self.shelf.stamp().boot);
        Write::Lease { lease: cell.id, row: Some(cell.row(heard)) }
    }

    /// Nothing is its holder's word any more, until each is heard again.
    pub fn doubt(&mut self) {
        for (name, records) in self.shelf.slice("", None, usize::MAX) {
            let mut records = records.to_vec();
            let leased = records.iter_mut().filter(|record| record.lifetime != Lifetime::Permanent);
            for record in leased.filter(|record| record.standing == Standing::Confirmed) {
                self.unconfirmed += 1;
                Arc::make_mut(record).standing = Standing::Unconfirmed;
            }
            self.shelf.put(&name, records);
        }
    }

    /// Whom a call concerns, if its caller has the right.
    fn chosen(
        &self,
        caller: IpAddr,
        holder: Holder,
        name: &AnyName,
    ) -> Result<Vec<Arc<Record>>, UpdateError> {
        if name.as_str() == RESERVED_NAME {
            return Err(UpdateError::Denied);
        }
        let standing = self.standing(name);
        let first = standing.first().ok_or(UpdateError::NotFound)?;
        match holder {
            Holder::Operator if is_local(caller) => Ok(standing),
            Holder::Operator => Err(UpdateError::Denied),
            Holder::Lease(lease) => {
                let mine = standing.iter().find(|record| self.tenure(record) == Some(lease));
                mine.map(|mine| vec![Arc::clone(mine)]).ok_or(UpdateError::NotYours { by: first.instance })
            }
            Holder::Epoch(epoch) => {
                let meant = standing.iter().find(|record| record.epoch == epoch);
                let meant = meant.ok_or(UpdateError::EpochMismatch { current: first.epoch })?;
                if meant.lifetime != Lifetime::Permanent {
                    return Err(UpdateError::NotYours { by: meant.instance });
                }
                Ok(vec![Arc::clone(meant)])
            }
        }
    }

    /// Puts new contents in place of old ones, registrations as they were.
    fn amend(&mut self, pairs: Vec<(Arc<Record>, Record)>) -> Step {
        let mut step = self.begin();
        for (old, mut new) in pairs {
            new.changed = step.rev;
            let (name, instance, new) = (new.name.clone(), new.instance, Arc::new(new));
            let mut records = self.standing(&name);
            records.retain(|record| record.instance != instance);
            records.push(Arc::clone(&new));
            self.shelf.put(&name, records);
            let row = Some(NameRow { lease: self.tenure(&new), record: Arc::clone(&new) });
            step.writes.push(Write::Name { name, instance, row });
            step.events.push(Event { before: Some(old), after: Ok(new), rev: step.rev });
        }
        self.end(&step);
        step
    }

    fn remove(&mut self, step: &mut Step, leases: &Leases, old: Arc<Record>, why: Removal) {
        let mut records = self.standing(&old.name);
        records.retain(|record| record.instance != old.instance);
        self.shelf.put(&old.name, records);
        self.take_off(step, leases, old, why);
    }

    /// The books' part of a removal; the shelf is the caller's.
    fn take_off(&mut self, step: &mut Step, leases: &Leases, old: Arc<Record>, why: Removal) {
        let (name, instance) = (old.name.clone(), old.instance);
        self.unconfirmed -= usize::from(old.standing == Standing::Unconfirmed);
        if let Some(lease) = self.tenure(&old) {
            self.let_go(leases, lease, &old);
        }
        self.numbers.freed(&name);
        if let Some(registrant) = self.registrants.remove(&old.epoch) {
            self.count_out(registrant.from);
            step.writes.push(Write::Registrant { name: name.clone(), instance, row: None });
        }
        self.names -= 1;
        step.writes.push(Write::Name { name, instance, row: None });
        step.events.push(Event { before: Some(old), after: Err(why), rev: step.rev });
    }

    fn standing(&self, name: &AnyName) -> Vec<Arc<Record>> {
        self.shelf.get(name).map(|records| records.to_vec()).unwrap_or_default()
    }

    /// The lease under which a record stands: of its holder's few, the one with that name.
    fn tenure(&self, record: &Record) -> Option<LeaseId> {
        if record.lifetime == Lifetime::Permanent {
            return None;
        }
        let mut leases = self.leases_of(record.instance);
        leases.find(|lease| self.held.get(lease).is_some_and(|held| held.holds(&record.name)))
    }

    fn leases_of(&self, holder: InstanceId) -> impl Iterator<Item = LeaseId> {
        let all = (holder, LeaseId::from_random(0))..=(holder, LeaseId::from_random(u64::MAX));
        self.holders.range(all).map(|(_, lease)| *lease)
    }

    fn may_hold(&self, cell: &LeaseCell, name: &AnyName) -> Result<(), RegisterError> {
        let limit = match self.held.get(&cell.id) {
            Some(held) if held.names().len() >= LEASE_NAMES_MAX && !held.holds(name) => LEASE_NAMES_MAX,
            None if self.leases_of(cell.instance).count() >= LEASES_OF_ONE_MAX => LEASES_OF_ONE_MAX,
            _ => return Ok(()),
        };
        Err(RegisterError::QuotaFull { limit: limit as u64 })
    }

    fn hold(&mut self, cell: &LeaseCell, name: &AnyName) {
        self.holders.insert((cell.instance, cell.id));
        let held = self.held.entry(cell.id).or_insert_with(|| Held::One(name.clone()));
        held.insert(name);
        cell.set_names(count(held.names().len()));
    }

    fn let_go(&mut self, leases: &Leases, lease: LeaseId, old: &Record) {
        if let Some(&from) = self.afar.get(&lease) {
            self.count_out(from);
        }
        let left = self.held.remove(&lease).and_then(|held| held.without(&old.name));
        let names = left.as_ref().map_or(0, |held| held.names().len());
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

/// What a record weighs on the wire and in memory, to within a few bytes.
pub fn record_bytes(record: &Record) -> usize {
    let target = match &record.target {
        Target::Service { address, object, contract } => {
            let host = match &address.host {
                Host::Ip(_) => 17,
                Host::Dns(name) => name.len(),
            };
            host + object.as_str().len() + contract.as_str().len()
        }
        Target::Pyro { uri } => uri.as_str().len(),
    };
    let tags: usize = record.tags.iter().map(|tag| tag.len() + 2).sum();
    record.name.as_str().len() + target + tags + 80
}

fn record(name: AnyName, entry: Entry, instance: InstanceId, epoch: Revision, lifetime: Lifetime) -> Record {
    let Entry { sharing, target, tags, readiness, weight } = entry;
    let (epoch, changed, standing) = (NameEpoch(epoch), epoch, Standing::Confirmed);
    Record { name, sharing, instance, epoch, target, tags, readiness, standing, weight, lifetime, changed }
}

fn same_content(old: &Record, entry: &Entry) -> bool {
    old.sharing == entry.sharing
        && old.target == entry.target
        && old.tags == entry.tags
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
