//! A run: time goes on tick by tick, and what the plan says happens in between.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use common::machine::simulated::disk::{Left, Lie};
use common::machine::simulated::{Machine, net, trace};
use common::names::Address;
use common::services::just_hungry::{JustHungry, Start};
use rand::rngs::SmallRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{Rng as _, SeedableRng as _};
use turmoil::{Builder, Sim};

use super::customers::{Customer, Shop};
use super::faults::{self, Kind};
use super::hosts::{self, Host, NAME_SERVER_PORT, Plan, Program};
use super::verdict::Verdict;
use super::watch::{self, Seen};
use super::{
    ACKNOWLEDGED_MIN, CALM, CALM_LONG, CALM_LONG_EACH, HEALED_WITHIN, LASTS_MIN, SETTLED_WITHIN,
    STARTED_WITHIN, TROUBLED,
};
use crate::history::{Recorder, orders};

/// A tick: the finest difference in time that there is.
const TICK: Duration = Duration::from_millis(1);
/// Replicas.
const REPLICAS: u8 = 3;
/// Connections that wait to be accepted, and segments under way on one: turmoil panics above the first.
const CAPACITY: usize = 4096;

/// How a seed is wrong whose cluster never began.
pub const NOT_OPENED: &str = "the shop did not open";

/// What is asked for beside the seed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Order {
    /// The seed.
    pub seed: u64,
    /// All replicas' disks lie, and all lose their power at once: this must be found out.
    pub lie: Option<Lie>,
    /// No faults at all.
    pub calm: bool,
    /// What is noted is printed.
    pub shown: bool,
}

/// What happens at a moment.
#[derive(Clone, Debug)]
enum Act {
    Begin(Kind, Duration),
    PowerOn(IpAddr),
    Release(Vec<(IpAddr, IpAddr)>),
    Mend(IpAddr, IpAddr),
    Quicken(IpAddr, IpAddr),
    DiskAtEase(Rc<Machine>),
    DiskEmptied(Rc<Machine>),
}

struct World<'a> {
    sim: Sim<'a>,
    hosts: Vec<Host>,
    /// Addresses of hosts and customers, who may be cut off.
    places: Vec<IpAddr>,
    agenda: BTreeMap<(Duration, u32), Act>,
    acts: u32,
    chance: SmallRng,
    holds: BTreeMap<(IpAddr, IpAddr), u32>,
    without_power: BTreeSet<IpAddr>,
    latency: Duration,
    /// What a disk needs for a commit, at most, when all is well with it.
    disk_time: Duration,
    fired: BTreeMap<Kind, u32>,
    /// Until when something is out of order.
    troubled_until: Duration,
    wiped: bool,
    seen: Rc<Seen>,
}

/// Runs one seed. In a fresh process, or its outcome depends on what was before.
///
/// # Panics
/// When turmoil does.
pub fn run(order: Order) -> Verdict {
    let Order { seed, .. } = order;
    if order.shown {
        trace::listen(|what| println!("{:>9.3?} {what}", now_outside().as_secs_f64()));
    }
    let mut chance = SmallRng::seed_from_u64(seed);
    let slowest = Duration::from_millis(*[2, 3, 5, 10, 30].choose(&mut chance).expect("five"));
    // What waits for a slow disk is what a loss of power takes.
    let disk_time = Duration::from_millis(*[2, 2, 10, 50].choose(&mut chance).expect("four"));
    let mut sim = Builder::new()
        .rng_seed(seed)
        .epoch(SystemTime::UNIX_EPOCH)
        .simulation_duration(Duration::from_hours(1))
        .tick_duration(TICK)
        .min_message_latency(TICK)
        .max_message_latency(slowest)
        .tcp_capacity(CAPACITY)
        .build();
    let name_server = SocketAddr::new(sim.lookup("ns"), NAME_SERVER_PORT);
    let plan = Plan {
        name_server,
        fresh_ports: chance.random(),
        min_in_sync: if chance.random_bool(0.2) { 2 } else { 1 },
        ttl: ["500ms", "1s", "3s"].choose(&mut chance).expect("three"),
    };
    trace::note(format_args!(
        "seed {seed}: {plan:?}, messages take up to {slowest:?}, disks up to {disk_time:?}"
    ));
    let mut hosts = vec![hosts::add(&mut sim, "ns", Program::NameServer, &plan)];
    for (number, name) in (1..=REPLICAS).zip(["r1", "r2", "r3"]) {
        hosts.push(hosts::add(&mut sim, name, Program::Replica(number), &plan));
    }
    for name in ["fe1", "fe2"] {
        hosts.push(hosts::add(&mut sim, name, Program::FrontEnd, &plan));
    }
    // Next to each other in turmoil's order, so that what one of them sees is not before what another one did.
    let customers: u32 = chance.random_range(2..=4);
    let (shop, recorder) = (Rc::<Shop>::default(), Recorder::in_memory());
    let mut places: Vec<IpAddr> = hosts.iter().map(|host| host.machine.ip).collect();
    for (client, name) in (0..customers).zip(["c0", "c1", "c2", "c3"]) {
        let machine = Machine::new(name, sim.lookup(name));
        places.push(machine.ip);
        let (shop, recorder) = (Rc::clone(&shop), recorder.clone());
        sim.host(name, move || {
            let (machine, shop, recorder) = (Rc::clone(&machine), Rc::clone(&shop), recorder.clone());
            async move {
                machine.power_on();
                Customer::new(client, Address::from(name_server), seed, recorder, shop).live().await;
                std::future::pending().await
            }
        });
    }
    let seen = Rc::<Seen>::default();
    let watch = Machine::new("watch", sim.lookup("watch"));
    let (looking, last_words) = (Rc::clone(&seen), recorder.clone());
    sim.host("watch", move || {
        let (watch, seen, recorder) = (Rc::clone(&watch), Rc::clone(&looking), last_words.clone());
        async move {
            watch.power_on();
            let server = Address::from(name_server);
            watch::look(server, usize::from(REPLICAS), customers, recorder, seen).await;
            Ok(())
        }
    });
    let mut world = World {
        sim,
        hosts,
        places,
        agenda: BTreeMap::new(),
        acts: 0,
        chance,
        holds: BTreeMap::new(),
        without_power: BTreeSet::new(),
        latency: slowest,
        disk_time,
        fired: BTreeMap::new(),
        troubled_until: Duration::ZERO,
        wiped: false,
        seen: Rc::clone(&seen),
    };
    for host in &world.hosts {
        world.at_ease(&host.machine);
    }
    let mut wrong = world.live(order, customers, &shop);
    let lines = recorder.lines();
    let placed =
        crate::history::orders::History::of(&lines).map(|history| history.placed()).unwrap_or_default();
    let start = JustHungry::new(Start::Empty).expect("nothing breaks no rule");
    match orders::judge(&start, &lines) {
        Ok(anomalies) => wrong.extend(anomalies.iter().map(ToString::to_string)),
        Err(error) => wrong.push(format!("the history means nothing: {error}")),
    }
    wrong.append(&mut seen.wrong.borrow_mut());
    if wrong.is_empty() && placed < ACKNOWLEDGED_MIN {
        wrong.push(format!("only {placed} orders were placed, which proves nothing"));
    }
    Verdict {
        seed,
        fired: world.fired,
        calls: shop.calls.get(),
        answered: shop.answered.get(),
        placed: placed as u64,
        epochs: seen.epoch.get().0,
        lasted: world.sim.elapsed(),
        hash: trace::hash(),
        wrong,
    }
}

thread_local! {
    static ELAPSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Since the simulation began, as its driver knows it: what clocks show outside all hosts.
pub fn now_outside() -> Duration {
    ELAPSED.get()
}

impl World<'_> {
    /// Everything from the first start to the last word; what is wrong with it.
    fn live(&mut self, order: Order, customers: u32, shop: &Shop) -> Vec<String> {
        if order.lie == Some(Lie::Names) {
            // Who lies from the beginning, has not even the file.
            self.replicas().iter().for_each(|machine| machine.disk.lie(Lie::Names));
        }
        if !self.go_on(STARTED_WITHIN, || shop.open.get()) {
            return vec![format!("{NOT_OPENED} within {STARTED_WITHIN:?}")];
        }
        let opened = self.sim.elapsed();
        if let Some(lie) = order.lie {
            self.replicas().iter().for_each(|machine| machine.disk.lie(lie));
            self.plan(opened + TROUBLED / 3, Act::Begin(Kind::PowerForAll, Duration::from_secs(1)));
        } else if !order.calm {
            for fault in faults::plan(order.seed) {
                self.plan(opened + fault.at, Act::Begin(fault.kind, fault.lasts));
            }
        }
        self.go_on(TROUBLED, || false);
        self.heal();
        let healed = self.sim.elapsed();
        trace::note(format_args!("everything is mended"));
        if !self.go_on(HEALED_WITHIN, || shop.last_answer.get() > healed) {
            return vec![format!(
                "no command was answered within {HEALED_WITHIN:?} of the end of all faults"
            )];
        }
        self.go_on(CALM, || false);
        shop.closing.set(true);
        let seen = Rc::clone(&self.seen);
        if !self.go_on(SETTLED_WITHIN, || shop.gone.get() == customers) {
            return vec!["a customer does not come home".to_owned()];
        }
        seen.finish.set(true);
        if !self.go_on(SETTLED_WITHIN, || seen.finished.get()) {
            let latest = seen.latest.borrow();
            let how = |(_, status): &(Duration, common::rpc::replica::MemberStatus)| {
                format!(
                    "{} {:?} {} last {} applied {} {}",
                    status.name, status.role, status.member.id, status.last, status.applied, status.trouble
                )
            };
            let all: Vec<_> = latest.values().map(how).collect();
            return vec![format!("the replicas do not agree within {SETTLED_WITHIN:?}: {}", all.join("; "))];
        }
        let calm = if order.seed.is_multiple_of(CALM_LONG_EACH) {
            CALM_LONG
        } else {
            LASTS_MIN.saturating_sub(self.sim.elapsed())
        };
        let epoch = seen.epoch.get();
        self.go_on(calm, || false);
        if seen.epoch.get() == epoch {
            Vec::new()
        } else {
            vec![format!("epoch {} in the calm of {calm:?}, after {epoch}", seen.epoch.get())]
        }
    }

    /// Lets time go on, for `time` at most; whether `until` came true.
    fn go_on(&mut self, time: Duration, until: impl Fn() -> bool) -> bool {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            if until() {
                return true;
            }
            let now = self.sim.elapsed();
            while let Some(entry) = self.agenda.first_entry().filter(|entry| entry.key().0 <= now) {
                let act = entry.remove();
                self.act(now, act);
            }
            self.sim.step().expect("no host's software ends");
            ELAPSED.set(self.sim.elapsed());
            self.bury();
        }
        until()
    }

    fn plan(&mut self, at: Duration, act: Act) {
        self.acts += 1;
        self.agenda.insert((at, self.acts), act);
    }

    fn replicas(&self) -> Vec<Rc<Machine>> {
        let replicas = self.hosts.iter().filter(|host| matches!(host.program, Program::Replica(_)));
        replicas.map(|host| Rc::clone(&host.machine)).collect()
    }

    fn act(&mut self, now: Duration, act: Act) {
        match act {
            Act::Begin(kind, lasts) => {
                if self.begin(now, kind, lasts) {
                    *self.fired.entry(kind).or_default() += 1;
                    self.troubled_until = self.troubled_until.max(now + lasts + Duration::from_secs(4));
                }
            }
            Act::PowerOn(ip) => self.power_on(ip),
            Act::Release(pairs) => {
                for pair in pairs {
                    self.release(pair);
                }
            }
            Act::Mend(from, to) => net::mend(from, to),
            Act::Quicken(one, other) => self.sim.set_link_max_message_latency(one, other, self.latency),
            Act::DiskAtEase(machine) => self.at_ease(&machine),
            Act::DiskEmptied(machine) => machine.disk.fill(false),
        }
    }

    /// Begins a fault; `false` when it makes no sense now.
    fn begin(&mut self, now: Duration, kind: Kind, lasts: Duration) -> bool {
        let host = self.hosts.choose(&mut self.chance).expect("there are hosts").clone();
        let with_disk = self.hosts[..=usize::from(REPLICAS)].choose(&mut self.chance).expect("some").clone();
        let name = |host: &Host| host.machine.name.to_owned();
        let mut told = String::new();
        match kind {
            Kind::Kill => {
                told = name(&host);
                self.kill(&host, Left::All, lasts);
            }
            Kind::Stop => {
                told = name(&host);
                host.start_after.set(lasts);
                host.machine.signals.send_modify(|count| *count += 1);
            }
            Kind::Power => {
                told = name(&host);
                self.power_off(now, &host, lasts);
            }
            Kind::NameServerAway => {
                let host = self.hosts[0].clone();
                if self.chance.random() {
                    self.power_off(now, &host, lasts);
                } else {
                    self.kill(&host, Left::All, lasts);
                }
            }
            Kind::PowerForAll | Kind::KillAll => {
                for number in 1..=usize::from(REPLICAS) {
                    let host = self.hosts[number].clone();
                    let lasts = lasts.mul_f64(self.chance.random_range(0.2..=1.0));
                    if kind == Kind::KillAll {
                        self.kill(&host, Left::All, lasts);
                    } else {
                        self.power_off(now, &host, lasts);
                    }
                }
            }
            Kind::Partition | Kind::Pair | Kind::Frozen => {
                let pairs = self.sides(kind);
                told = format!("{pairs:?}");
                for &pair in &pairs {
                    self.hold(pair);
                }
                self.plan(now + lasts, Act::Release(pairs));
            }
            Kind::OneWay => {
                let (from, to) = self.two();
                told = format!("{from} to {to}");
                net::cut(from, to);
                self.plan(now + lasts, Act::Mend(from, to));
            }
            Kind::Slow => {
                let (one, other) = self.two();
                let slow = Duration::from_millis(self.chance.random_range(20..=400));
                told = format!("{one} {other} {slow:?}");
                self.sim.set_link_max_message_latency(one, other, slow);
                self.plan(now + lasts, Act::Quicken(one, other));
            }
            Kind::SlowDisk | Kind::HungDisk => {
                told = name(&with_disk);
                let time = if kind == Kind::HungDisk {
                    lasts
                } else {
                    Duration::from_millis(self.chance.random_range(50..=600))
                };
                with_disk.machine.disk_time.set((time / 2, time));
                self.plan(now + lasts, Act::DiskAtEase(Rc::clone(&with_disk.machine)));
            }
            Kind::FullDisk => {
                told = name(&with_disk);
                with_disk.machine.disk.fill(true);
                self.plan(now + lasts, Act::DiskEmptied(Rc::clone(&with_disk.machine)));
            }
            Kind::FailingSync => {
                told = name(&with_disk);
                with_disk.start_after.set(lasts);
                with_disk.machine.disk.fail();
            }
            Kind::TornCommit => {
                told = name(&with_disk);
                with_disk.start_after.set(lasts);
                with_disk.machine.disk.cut_after(self.chance.random_range(0..12));
            }
            Kind::Wall => {
                let most = *[500, 5_000, 60_000, 600_000].choose(&mut self.chance).expect("four");
                let ahead = self.chance.random_range(-most..=most);
                told = format!("{} {ahead} ms", host.machine.name);
                host.machine.wall_ahead.set(ahead);
            }
            Kind::Wiped => {
                // A disk may only go while another one of the in-sync set stays.
                let count = usize::from(REPLICAS);
                if self.wiped || self.troubled_until > now || !self.seen.all_in_sync(now, count) {
                    return false;
                }
                self.wiped = true;
                let host = self.hosts[self.chance.random_range(1..=count)].clone();
                told = name(&host);
                self.kill(&host, Left::All, lasts);
                host.machine.disk.wipe();
            }
        }
        trace::note(format_args!("fault {kind} for {lasts:?} {told}"));
        true
    }

    fn two(&mut self) -> (IpAddr, IpAddr) {
        let two: Vec<IpAddr> = self.places.choose_multiple(&mut self.chance, 2).copied().collect();
        (two[0], two[1])
    }

    /// The pairs of places that are parted.
    fn sides(&mut self, kind: Kind) -> Vec<(IpAddr, IpAddr)> {
        let mut places = self.places.clone();
        places.shuffle(&mut self.chance);
        let split = match kind {
            Kind::Partition => self.chance.random_range(1..places.len()),
            _ => 1,
        };
        let (one, other) = places.split_at(split);
        let other = if kind == Kind::Pair { &other[..1] } else { other };
        one.iter().flat_map(|&one| other.iter().map(move |&other| (one.min(other), one.max(other)))).collect()
    }

    fn hold(&mut self, pair: (IpAddr, IpAddr)) {
        *self.holds.entry(pair).or_default() += 1;
        self.apply(pair);
    }

    fn release(&mut self, pair: (IpAddr, IpAddr)) {
        if let Some(count) = self.holds.get_mut(&pair) {
            *count = count.saturating_sub(1);
        }
        self.apply(pair);
    }

    /// Makes a link as it must be.
    fn apply(&mut self, (one, other): (IpAddr, IpAddr)) {
        if self.without_power.contains(&one) || self.without_power.contains(&other) {
            self.sim.partition(one, other);
        } else if self.holds.get(&(one, other)).is_some_and(|&count| count > 0) {
            self.sim.hold(one, other);
        } else {
            self.sim.release(one, other);
        }
    }

    fn links_of(&self, ip: IpAddr) -> Vec<(IpAddr, IpAddr)> {
        let watch = self.sim.lookup("watch");
        let others = self.places.iter().copied().chain([watch]).filter(|&other| other != ip);
        others.map(|other| (ip.min(other), ip.max(other))).collect()
    }

    /// Ends a host's process at once; the machine starts it again after a while.
    fn kill(&mut self, host: &Host, left: Left, start_after: Duration) {
        host.start_after.set(start_after);
        host.machine.disk.crash(left, &mut self.chance);
        self.sim.bounce(host.machine.name);
        host.machine.ended.set(None);
    }

    fn power_off(&mut self, now: Duration, host: &Host, lasts: Duration) {
        let ip = host.machine.ip;
        self.without_power.insert(ip);
        for pair in self.links_of(ip) {
            self.apply(pair);
            let other = if pair.0 == ip { pair.1 } else { pair.0 };
            net::cut(ip, other);
            net::cut(other, ip);
        }
        let left = if self.chance.random() { Left::Some } else { Left::Nothing };
        self.kill(host, left, lasts);
        self.plan(now + lasts, Act::PowerOn(ip));
    }

    fn power_on(&mut self, ip: IpAddr) {
        if !self.without_power.remove(&ip) {
            return;
        }
        for pair in self.links_of(ip) {
            let other = if pair.0 == ip { pair.1 } else { pair.0 };
            if !self.without_power.contains(&other) {
                net::mend(ip, other);
                net::mend(other, ip);
            }
            self.apply(pair);
        }
    }

    /// Takes away processes that ended themselves, and has their machines start them again.
    fn bury(&mut self) {
        for host in self.hosts.clone() {
            // A name server goes on without its disk; not without power.
            let lost_power = host.machine.disk.lost_power();
            let Some(code) = host.machine.ended.get().or(lost_power.then_some(-1)) else { continue };
            trace::note(format_args!("{} has ended with {code}", host.machine.name));
            // The power may have gone in the middle of a commit; else only the process did.
            let left = if lost_power { Left::Some } else { Left::All };
            let wait = host.start_after.replace(Duration::from_millis(300));
            self.kill(&host, left, wait.max(Duration::from_millis(20)));
        }
    }

    /// Ends all faults.
    fn heal(&mut self) {
        self.agenda.clear();
        for ip in self.without_power.clone() {
            self.power_on(ip);
        }
        let pairs: Vec<_> = self.holds.keys().copied().collect();
        self.holds.clear();
        for pair in pairs {
            self.apply(pair);
        }
        for &from in &self.places {
            for &to in self.places.iter().filter(|&&to| to != from) {
                net::mend(from, to);
                self.sim.set_link_max_message_latency(from, to, self.latency);
            }
        }
        for host in &self.hosts {
            self.at_ease(&host.machine);
            host.machine.disk.fill(false);
            host.machine.disk.calm();
        }
    }

    fn at_ease(&self, machine: &Machine) {
        machine.disk_time.set((self.disk_time / 10, self.disk_time));
    }
}
