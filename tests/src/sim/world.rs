//! A run: time goes on tick by tick, and what the plan says happens in between ([`harm`]).

mod harm;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use common::machine::simulated::disk::Lie;
use common::machine::simulated::{Machine, trace};
use common::names::Address;
use common::services::just_hungry::{JustHungry, Start};
use futures::future::OptionFuture;
use futures::join;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use turmoil::{Builder, Sim};

use super::customers::{Customer, Shop};
use super::faults::{self, Kind};
use super::hosts::{self, Host, NAME_SERVER_PORT, Plan, Program};
use super::raters::{Club, Rater};
use super::verdict::Verdict;
use super::watch::{self, Seen};
use super::{
    CALM, CALM_LONG, CALM_LONG_EACH, HEALED_WITHIN, LASTS_MIN, PLACED_MIN, RATED_MIN, SETTLED_WITHIN,
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
#[derive(Clone, Debug, Default)]
pub struct Order {
    /// The seed.
    pub seed: u64,
    /// All replicas' disks lie, and all lose their power at once: this must be found out.
    pub lie: Option<Lie>,
    /// No faults at all.
    pub calm: bool,
    /// Faults of these kinds only, if any are named.
    pub only: Vec<Kind>,
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
    LoseNothing,
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
    /// Until when packets are lost.
    lossy_until: Duration,
    wiped: bool,
    club: Rc<Club>,
    seen: Rc<Seen>,
}

/// Runs one seed. In a fresh process, or its outcome depends on what was before.
///
/// # Panics
/// When turmoil does.
pub fn run(order: &Order) -> Verdict {
    let seed = order.seed;
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
        ack_after: if chance.random_bool(0.2) { 2 } else { 1 },
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
    // Each host takes time, whatever it does: who rates does so on a customer's machine.
    let raters: u32 = chance.random_range(2..=customers.min(3));
    let (shop, recorder) = (Rc::<Shop>::default(), Recorder::in_memory());
    let club = Rc::<Club>::default();
    let mut places: Vec<IpAddr> = hosts.iter().map(|host| host.machine.ip).collect();
    for (client, name) in (0..customers).zip(["c0", "c1", "c2", "c3"]) {
        let machine = Machine::new(name, sim.lookup(name));
        places.push(machine.ip);
        let (shop, club, recorder) = (Rc::clone(&shop), Rc::clone(&club), recorder.clone());
        sim.host(name, move || {
            let (machine, club) = (Rc::clone(&machine), Rc::clone(&club));
            let (shop, recorder) = (Rc::clone(&shop), recorder.clone());
            async move {
                machine.power_on();
                let server = Address::from(name_server);
                let customer = Customer::new(client, server.clone(), seed, recorder, shop).live();
                let rater = (client < raters).then(|| Rater::new(client, server, seed, club).live());
                join!(customer, OptionFuture::from(rater));
                std::future::pending().await
            }
        });
    }
    let seen = Rc::<Seen>::default();
    let watch = Machine::new("watch", sim.lookup("watch"));
    let (looking, last_words, last_views) = (Rc::clone(&seen), recorder.clone(), Rc::clone(&club));
    sim.host("watch", move || {
        let (watch, seen, recorder) = (Rc::clone(&watch), Rc::clone(&looking), last_words.clone());
        let club = Rc::clone(&last_views);
        async move {
            watch.power_on();
            let server = Address::from(name_server);
            watch::look(server, usize::from(REPLICAS), customers, recorder, club, seen).await;
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
        lossy_until: Duration::ZERO,
        wiped: false,
        club: Rc::clone(&club),
        seen: Rc::clone(&seen),
    };
    for host in &world.hosts {
        world.at_ease(&host.machine);
    }
    let mut wrong = world.live(order, (customers, raters), &shop);
    let lines = recorder.lines();
    let placed =
        crate::history::orders::History::of(&lines).map(|history| history.placed()).unwrap_or_default();
    let start = JustHungry::new(Start::Empty).expect("nothing breaks no rule");
    match orders::judge(&start, &lines) {
        Ok(anomalies) => wrong.extend(anomalies.iter().map(ToString::to_string)),
        Err(error) => wrong.push(format!("the history means nothing: {error}")),
    }
    wrong.extend(club.judge());
    wrong.append(&mut seen.wrong.borrow_mut());
    let (placed, rated) = (placed as u64, club.rated.get());
    if wrong.is_empty() && (placed < PLACED_MIN || rated < RATED_MIN) {
        wrong.push(format!("only {placed} orders and {rated} ratings, which proves nothing"));
    }
    Verdict {
        seed,
        fired: world.fired,
        calls: shop.calls.get(),
        answered: shop.answered.get(),
        placed,
        rated,
        viewed: club.viewed.get(),
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
    fn live(&mut self, order: &Order, (customers, raters): (u32, u32), shop: &Shop) -> Vec<String> {
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
            for fault in faults::plan(order.seed, &order.only) {
                self.plan(opened + fault.at, Act::Begin(fault.kind, fault.lasts));
            }
        }
        self.go_on(TROUBLED, || false);
        self.heal();
        let healed = self.sim.elapsed();
        trace::note(format_args!("everything is mended"));
        let (seen, club) = (Rc::clone(&self.seen), Rc::clone(&self.club));
        if !self.go_on(HEALED_WITHIN, || shop.last_answer.get().min(club.last_answer.get()) > healed) {
            let (ordered, rated) = (shop.last_answer.get(), club.last_answer.get());
            let what = format!(
                "an order was last answered at {ordered:?}, a rating at {rated:?}, not within {HEALED_WITHIN:?} of \
                 the end of all faults at {healed:?}"
            );
            return [vec![what], seen.told()].concat();
        }
        self.go_on(CALM, || false);
        shop.closing.set(true);
        club.closing.set(true);
        if !self.go_on(SETTLED_WITHIN, || (shop.gone.get(), club.gone.get()) == (customers, raters)) {
            return vec!["a customer or a rater does not come home".to_owned()];
        }
        seen.finish.set(true);
        if !self.go_on(SETTLED_WITHIN, || seen.finished.get()) {
            let what = format!("the replicas do not agree within {SETTLED_WITHIN:?}");
            return [vec![what], seen.told()].concat();
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
}
