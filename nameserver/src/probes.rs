//! Names without a lease: the core that decides which of them are dialled, and which are taken for dead.
//!
//! Forgetting the dead is what a name server is for, and safe here by two restraints. Only names that were **seen alive
//! once** since their registration go, so one registered before its server stays; and only addresses of the **registrant's
//! own machine** are dialled, so nobody makes a port scanner of us. An operator who sets a period by hand lifts both:
//! every permanent name is dialled, and the never seen go too.
//!
//! Each address is dialled once for all its names, four times per period. A name goes when all its probes of a
//! whole period failed, and that is counted in probes as well as in time: while *we* stood still nobody was asked.
//! Everything hangs on (name, instance, epoch): whoever registers again starts anew (Pyro 5.17 removed the new entry for
//! the old one's silence).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use common::clock::Moment;
use common::names::{Address, Host, PackedRecord, TargetRef};

/// Probes of one period.
const PROBES: u32 = 4;
/// Dials under way at once: a connect to a silent machine takes its whole limit, and a descriptor.
const DIALS_MAX: usize = 64;
/// And to one machine: a probe must not look like an attack.
const DIALS_PER_HOST_MAX: usize = 4;
/// Places that one look at the queue takes, however many of them wait for a machine that is being asked already.
const SCAN_MAX: usize = 256;

/// What is done about names without a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Autoclean {
    /// Nothing.
    Off,
    /// Those seen alive once, on their registrant's own machine, go after this long without an answer.
    Careful(Duration),
    /// All that can be dialled go after this long without an answer.
    All(Duration),
}

impl Autoclean {
    /// The shortest period: four probes in it still leave a busy process time to accept.
    pub const PERIOD_MIN: Duration = Duration::from_secs(1);
    /// Ordinarily.
    pub const PERIOD: Duration = Duration::from_secs(20);

    /// How often an address is dialled; `None` when never.
    fn every(self) -> Option<Duration> {
        self.period().map(|period| period / PROBES)
    }

    fn period(self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::Careful(period) | Self::All(period) => Some(period),
        }
    }
}

/// Who registered a permanent record, and whether anybody answered at its address since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Registrant {
    /// Its machine.
    pub from: IpAddr,
    /// Whether it was seen alive.
    pub seen: bool,
}

/// How a place is asked whether it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// An accepted connection is a sign of life.
    Connect,
}

/// What is dialled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Where.
    pub address: Address,
    /// How.
    pub ask: Ask,
}

impl Place {
    /// Where a record's object can be dialled; `None` when it cannot.
    pub fn of(target: &TargetRef<'_>) -> Option<Self> {
        let address = match target {
            TargetRef::Service { address, .. } => address.clone(),
            // PYRO:object@host:port; PYRONAME and unix sockets are nothing to dial.
            TargetRef::Pyro { uri } => {
                let (_, location) = uri.strip_prefix("PYRO:")?.rsplit_once('@')?;
                location.parse().ok()?
            }
        };
        Some(Self { address, ask: Ask::Connect })
    }

    /// Whether nobody is ever dialled there: link-local addresses need a scope that the registrant cannot give us, and
    /// the unspecified is ourselves.
    fn is_never_dialled(&self) -> bool {
        matches!(self.address.host, Host::Ip(ip) if never_dialled(ip))
    }

    /// Whether that is on the machine of whoever calls from `from`.
    fn is_on(&self, from: IpAddr) -> bool {
        let from = from.to_canonical();
        match &self.address.host {
            Host::Ip(ip) => ip.to_canonical() == from || ip.is_loopback() && from.is_loopback(),
            Host::Dns(_) => self.address.is_loopback() && from.is_loopback(),
        }
    }
}

/// Whether an address is never dialled, also when a name resolves to it.
pub fn never_dialled(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast(),
    }
}

/// What one answer, or none, tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Seen alive for the first time.
    pub seen: Vec<PackedRecord>,
    /// Dead.
    pub dead: Vec<PackedRecord>,
}

/// The names that are watched over, by where they are dialled.
#[derive(Debug)]
pub struct Probes {
    autoclean: Autoclean,
    places: BTreeMap<Place, Names>,
    /// When each place that is not being dialled is due.
    queue: BTreeSet<(Moment, Place)>,
    /// Dials under way, by machine.
    dialled: BTreeMap<Host, usize>,
    under_way: usize,
    asked: u64,
}

#[derive(Debug, Default)]
struct Names {
    registered: BTreeMap<Registered, Watched>,
    /// When it is due; `None` while it is being dialled.
    due: Option<Moment>,
}

/// A registration, as it was when it was made: in place of an earlier one of its name and instance.
#[derive(Debug)]
struct Registered(PackedRecord);

impl PartialEq for Registered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Registered {}

impl PartialOrd for Registered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Registered {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_name = self.0.name_bytes().cmp(other.0.name_bytes());
        by_name.then_with(|| self.0.instance().cmp(&other.0.instance()))
    }
}

#[derive(Debug)]
struct Watched {
    seen: bool,
    /// Since when, and how often in a row, nobody answered.
    failing: Option<(Moment, u32)>,
}

impl Probes {
    /// Nobody to watch over yet.
    pub fn new(autoclean: Autoclean) -> Self {
        Self {
            autoclean,
            places: BTreeMap::new(),
            queue: BTreeSet::new(),
            dialled: BTreeMap::new(),
            under_way: 0,
            asked: 0,
        }
    }

    /// How many dials there were.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    /// How often the clock must be looked at; `None` when nobody is watched over.
    pub fn every(&self) -> Option<Duration> {
        self.autoclean.every().filter(|_| !self.places.is_empty())
    }

    /// Watches over a permanent record, in place of an earlier one of the same name and instance.
    pub fn add(&mut self, now: Moment, record: &PackedRecord, registrant: Registrant) {
        let Some(every) = self.autoclean.every() else { return };
        let place = Place::of(&record.view().target).filter(|place| !place.is_never_dialled());
        let Some(place) = place else { return };
        if matches!(self.autoclean, Autoclean::Careful(_)) && !place.is_on(registrant.from) {
            return;
        }
        let fresh = !self.places.contains_key(&place);
        let names = self.places.entry(place.clone()).or_default();
        if fresh {
            names.due = Some(now + every);
            self.queue.insert((now + every, place));
        }
        let record = Registered(record.clone());
        // With the old one's place in the map its epoch would stay.
        names.registered.remove(&record);
        names.registered.insert(record, Watched { seen: registrant.seen, failing: None });
    }

    /// Watches over it no more.
    pub fn forget(&mut self, record: &PackedRecord) {
        let Some(place) = Place::of(&record.view().target) else { return };
        let Some(names) = self.places.get_mut(&place) else { return };
        let key = Registered(record.clone());
        if names.registered.get_key_value(&key).is_some_and(|(held, _)| held.0.epoch() == record.epoch()) {
            names.registered.remove(&key);
        }
        self.drop_if_unused(&place);
    }

    /// Whom to dial now; each must be [answered](Self::answered).
    pub fn due(&mut self, now: Moment) -> Vec<Place> {
        let mut chosen = Vec::new();
        for (due, place) in self.queue.iter().take(SCAN_MAX) {
            if *due > now || self.under_way >= DIALS_MAX {
                break;
            }
            let at_host = self.dialled.entry(place.address.host.clone()).or_default();
            if *at_host < DIALS_PER_HOST_MAX {
                *at_host += 1;
                self.under_way += 1;
                chosen.push((*due, place.clone()));
            }
        }
        for entry in &chosen {
            self.queue.remove(entry);
            self.places.get_mut(&entry.1).expect("what is queued is watched").due = None;
        }
        self.asked += chosen.len() as u64;
        chosen.into_iter().map(|(_, place)| place).collect()
    }

    /// Somebody answered at `place`, or nobody did. Of the dead, whoever removes them says so by [`Self::forget`].
    pub fn answered(&mut self, now: Moment, place: &Place, alive: bool) -> Verdict {
        self.under_way -= 1;
        if let Some(at_host) = self.dialled.get_mut(&place.address.host) {
            *at_host -= 1;
            if *at_host == 0 {
                self.dialled.remove(&place.address.host);
            }
        }
        let mut verdict = Verdict::default();
        let (Some(period), Some(names)) = (self.autoclean.period(), self.places.get_mut(place)) else {
            return verdict;
        };
        let all = matches!(self.autoclean, Autoclean::All(_));
        for (Registered(record), watched) in &mut names.registered {
            if alive {
                watched.failing = None;
                if !watched.seen {
                    verdict.seen.push(record.clone());
                    watched.seen = true;
                }
                continue;
            }
            let (since, times) = watched.failing.unwrap_or((now, 0));
            if (watched.seen || all) && times >= PROBES && now.since(since) >= period {
                verdict.dead.push(record.clone());
            }
            watched.failing = Some((since, times.saturating_add(1)));
        }
        let due = now + period / PROBES;
        names.due = Some(due);
        self.queue.insert((due, place.clone()));
        self.drop_if_unused(place);
        verdict
    }

    /// Forgets a place of no name; one that is being dialled, once it is answered.
    fn drop_if_unused(&mut self, place: &Place) {
        let Some(names) = self.places.get(place) else { return };
        if let (true, Some(due)) = (names.registered.is_empty(), names.due) {
            self.places.remove(place);
            self.queue.remove(&(due, place.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
