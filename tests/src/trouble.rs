//! Trouble for real processes, drawn from a seed: killed, frozen, told to stop, all at once or one after the other, while
//! customers order. What they saw is judged afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use common::clock::{Clock, Moment};
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::cluster::{Cluster, Options, Place};
use crate::faults::shim::{Fault, Shim};
use crate::history::orders::{History, judge};
use crate::history::{Anomaly, Kind, Line, Recorder};
use crate::load::{Doors, HOT, HOT_STOCK, Load, Manner, first_state, last_word, leader};
use crate::process::{PATIENCE, Process, planted_replica};
use crate::shop::run;

/// Who is harmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whom {
    /// The replica that leads.
    Primary,
    /// One that does not.
    Backup,
    /// Every replica.
    Replicas,
    /// A front end.
    FrontEnd,
    /// The name server.
    NameServer,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// kill -9, and a new start.
    Kill,
    /// SIGSTOP, and SIGCONT.
    Pause,
    /// SIGTERM, and a new start.
    Stop,
}

/// One thing that will go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When, from the beginning.
    pub at: Duration,
    /// To whom.
    pub whom: Whom,
    /// What.
    pub harm: Harm,
    /// Until it is made good.
    pub lasts: Duration,
}

impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} at {:.1?} for {:.1?}", self.harm, self.whom, self.at, self.lasts)
    }
}

/// Everything that can go wrong here; each happens before any happens twice.
pub const KINDS: [(Harm, Whom); 11] = [
    (Harm::Kill, Whom::Primary),
    (Harm::Pause, Whom::Primary),
    (Harm::Kill, Whom::Replicas),
    (Harm::Stop, Whom::Primary),
    (Harm::Kill, Whom::NameServer),
    (Harm::Kill, Whom::Backup),
    (Harm::Kill, Whom::FrontEnd),
    (Harm::Pause, Whom::Backup),
    (Harm::Stop, Whom::Backup),
    (Harm::Pause, Whom::NameServer),
    (Harm::Pause, Whom::FrontEnd),
];

/// So many troubles in so much time, of these kinds.
pub fn plan(seed: u64, time: Duration, count: u32, kinds: &[(Harm, Whom)]) -> Vec<Planned> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut hat: Vec<(Harm, Whom)> = Vec::new();
    let every = time / count.max(1);
    let draw = |n: u32| {
        if hat.is_empty() {
            hat = kinds.to_vec();
            hat.shuffle(&mut rng);
        }
        let (harm, whom) = hat.pop().expect("filled above");
        let millis = match (harm, whom) {
            (_, Whom::NameServer) => rng.random_range(1_000..4_000),
            // Shorter and longer than a suspicion.
            (Harm::Pause, _) => rng.random_range(100..3_000),
            (Harm::Kill | Harm::Stop, _) => rng.random_range(0..1_500),
        };
        let at = every * n + every.mul_f64(rng.random_range(0.0..0.8));
        Planned { at, whom, harm, lasts: Duration::from_millis(millis) }
    };
    (0..count).map(draw).collect()
}

/// What a run is made of.
#[derive(Clone, Debug)]
pub struct Setting {
    /// What everything by chance comes from.
    pub seed: u64,
    /// How long customers order.
    pub time: Duration,
    /// What goes wrong.
    pub plan: Vec<Planned>,
    /// The customers.
    pub manner: Manner,
    /// The rule that the replicas break, of a planted build.
    pub plant: Option<String>,
    /// Milliseconds that each fsync of all replicas but the first takes longer.
    pub slow_disks: u32,
}

impl Setting {
    /// Customers and trouble as usual.
    pub fn usual(seed: u64, time: Duration, count: u32) -> Self {
        Self {
            seed,
            time,
            plan: plan(seed, time, count, &KINDS),
            manner: Manner { clients: 16, attached: 2, seed, race: true },
            plant: None,
            slow_disks: 0,
        }
    }
}

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Calls in the history.
    pub calls: usize,
    /// Of those through front ends, how many.
    pub through_front_ends: usize,
    /// … and how many of them were answered.
    pub answered: usize,
    /// Surely without effect.
    pub refused: usize,
    /// Of unknown outcome to the end.
    pub unknown: usize,
    /// Commands that were sent more than once.
    pub retries: u64,
    /// What went wrong as planned, and how many calls were under way then.
    pub fired: Vec<(Planned, u64)>,
    /// The last epoch; of several clusters, their sum.
    pub epoch: u64,
    /// Tickets sold.
    pub tickets: usize,
    /// What the judges found.
    pub anomalies: Vec<Anomaly>,
    /// Where the history is, if something was found.
    pub history: Option<PathBuf>,
}

impl Report {
    /// Whether the run may be counted: enough was answered, everything planned happened, to somebody who was calling.
    ///
    /// # Errors
    /// When not, and why.
    pub fn counts(&self, setting: &Setting) -> Result<()> {
        let share = 100 * self.answered / self.through_front_ends.max(1);
        ensure!(share >= 50, "only {share} % of the calls were answered");
        ensure!(self.fired.len() == setting.plan.len(), "only {} troubles came", self.fired.len());
        let idle = self.fired.iter().find(|(_, under_way)| *under_way == 0);
        ensure!(idle.is_none(), "nobody was calling during {}", idle.expect("seen above").0);
        Ok(())
    }

    /// Adds another run of the same kind.
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.through_front_ends += other.through_front_ends;
        self.answered += other.answered;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.retries += other.retries;
        self.epoch += other.epoch;
        self.tickets += other.tickets;
        self.fired.extend(other.fired);
        self.anomalies.extend(other.anomalies);
        self.history = self.history.take().or(other.history);
    }

    /// How many anomalies are of these kinds.
    pub fn count(&self, kinds: &[Kind]) -> usize {
        self.anomalies.iter().filter(|anomaly| kinds.contains(&anomaly.kind)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, answered, through_front_ends, refused, unknown, retries, epoch, tickets, .. } =
            self;
        write!(
            f,
            "{calls} calls, {answered} of {through_front_ends} through front ends answered, {refused} without \
             effect, {unknown} unknown to the end, {retries} retries, {} troubles, epoch {epoch}, {tickets} \
             tickets, {} anomalies",
            self.fired.len(),
            self.anomalies.len()
        )?;
        for anomaly in self.anomalies.iter().take(10) {
            write!(f, "\n  {anomaly}")?;
        }
        match &self.history {
            Some(path) => write!(f, "\n  history: {}", path.display()),
            None => Ok(()),
        }
    }
}

/// A process, by its place in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    NameServer,
    Replica(usize),
    FrontEnd(usize),
}

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    Paused { until: Moment },
    Ending { start: Moment },
    Down { start: Moment },
    Starting { since: Moment },
}

/// A cluster that things happen to.
pub struct Scene {
    cluster: Cluster,
    states: BTreeMap<Who, State>,
    doors: Doors,
    clock: Clock,
    _disks: BTreeMap<String, Shim>,
    _folder: TempDir,
}

/// Nobody harmed it.
#[derive(Debug)]
pub struct EndedByItself {
    name: String,
    /// What it said last, newest first.
    last: String,
}

impl fmt::Display for EndedByItself {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ended by itself: {}", self.name, self.last)
    }
}

impl std::error::Error for EndedByItself {}

/// Longer than anybody waits for the former primary after everybody was killed.
const COLD_START: Duration = Duration::from_millis(2_500);

/// Between two looks at what is due.
const TICK: Duration = Duration::from_millis(10);

#[expect(clippy::disallowed_methods, reason = "between two looks at processes, which wake nobody")]
fn tick() {
    std::thread::sleep(TICK);
}

impl Scene {
    /// Starts three replicas and two front ends.
    ///
    /// # Errors
    /// When they do not start.
    pub fn start(plant: Option<&str>, slow_disks: u32) -> Result<Self> {
        let options = Options { front_ends: 2, ..Options::default() };
        let folder = tempfile::tempdir()?;
        let disk = |name: &str| -> Result<Shim> {
            let disk = Shim::over(&folder.path().join(name))?;
            disk.set(Fault::DelaySync, slow_disks)?;
            Ok(disk)
        };
        // A kill takes only what waits for a disk that is slower than the one of who answered.
        let slow = (2..=options.replicas).filter(|_| slow_disks > 0);
        let slow = slow.map(|n| format!("replica.{n}")).map(|name| Ok((name.clone(), disk(&name)?)));
        let disks = slow.collect::<Result<BTreeMap<String, Shim>>>()?;
        let mut cluster = Cluster::start_in(options, |name| match plant {
            Some(plant) if name.starts_with("replica") => {
                let mut around = disks.get(name).map(Shim::around).unwrap_or_default();
                around.environment.push(("PLANT".to_owned(), plant.to_owned()));
                around.instead = Some(planted_replica());
                let data = disks.contains_key(name).then(|| folder.path().join(name));
                Place { around, data, ..Place::default() }
            }
            _ => Place::default(),
        })?;
        let doors = Doors::default();
        for process in cluster.processes().skip(1) {
            doors.put(process.name(), process.address());
        }
        let replicas = (0..cluster.replicas.len()).map(Who::Replica);
        let everybody =
            replicas.chain((0..cluster.front_ends.len()).map(Who::FrontEnd)).chain([Who::NameServer]);
        let states = everybody.map(|who| (who, State::Up)).collect();
        Ok(Self { cluster, states, doors, clock: Clock::start(), _disks: disks, _folder: folder })
    }

    /// Lets customers in.
    pub fn load(&self, manner: Manner) -> Load {
        Load::start(manner, self.doors.clone(), Recorder::in_memory())
    }

    fn process(&mut self, who: Who) -> &mut Process {
        match who {
            Who::NameServer => &mut self.cluster.name_server,
            Who::Replica(which) => &mut self.cluster.replicas[which],
            Who::FrontEnd(which) => &mut self.cluster.front_ends[which],
        }
    }

    fn up(&self, fits: impl Fn(Who) -> bool) -> Vec<Who> {
        let up = self.states.iter().filter(|(_, state)| **state == State::Up);
        up.map(|(who, _)| *who).filter(|who| fits(*who)).collect()
    }

    /// Which replica leads, and in which epoch.
    ///
    /// # Errors
    /// When none of those that run says so.
    pub fn leader(&self) -> Result<(usize, u64)> {
        let up = self.up(|who| matches!(who, Who::Replica(_)));
        let at = |who: &Who| match who {
            Who::Replica(which) => Some((*which, self.cluster.replicas[*which].address())),
            _ => None,
        };
        let replicas: Vec<(usize, SocketAddr)> = up.iter().filter_map(at).collect();
        run(leader(&replicas))
    }

    /// Whom a trouble hits now; nobody while all of that kind are in trouble already.
    fn targets(&self, whom: Whom, rng: &mut StdRng) -> Vec<Who> {
        let mut one_of = |all: Vec<Who>| {
            if all.is_empty() { all } else { vec![all[rng.random_range(0..all.len())]] }
        };
        match whom {
            Whom::Primary => self.leader().map(|(which, _)| vec![Who::Replica(which)]).unwrap_or_default(),
            Whom::Backup => {
                let primary = self.leader().ok().map(|(which, _)| Who::Replica(which));
                one_of(self.up(|who| matches!(who, Who::Replica(_)) && Some(who) != primary))
            }
            // Also the frozen ones; but not those that are not there.
            Whom::Replicas => {
                let there = |state: &State| matches!(state, State::Up | State::Paused { .. });
                let replicas = self.states.iter().filter(|(who, _)| matches!(who, Who::Replica(_)));
                replicas.filter(|(_, state)| there(state)).map(|(who, _)| *who).collect()
            }
            Whom::FrontEnd => one_of(self.up(|who| matches!(who, Who::FrontEnd(_)))),
            Whom::NameServer => self.up(|who| who == Who::NameServer),
        }
    }

    fn harm(&mut self, who: Who, harm: Harm, lasts: Duration) -> Result<()> {
        let until = self.clock.now() + lasts;
        let signal = match harm {
            Harm::Kill => Signal::KILL,
            Harm::Pause => Signal::STOP,
            Harm::Stop => Signal::TERM,
        };
        self.process(who).signal(signal)?;
        let state = match harm {
            Harm::Pause => State::Paused { until },
            Harm::Kill | Harm::Stop => State::Ending { start: until },
        };
        self.states.insert(who, state);
        Ok(())
    }

    /// Makes good what is due.
    fn tend(&mut self) -> Result<()> {
        let now = self.clock.now();
        for (who, state) in self.states.clone() {
            let next = match state {
                State::Up if !self.process(who).is_alive() => {
                    let process = self.process(who);
                    let log = process.log();
                    let last = log.lines().rev().take(5).collect::<Vec<_>>().join(" | ");
                    return Err(EndedByItself { name: process.name().to_owned(), last }.into());
                }
                State::Paused { until } if until <= now => {
                    self.process(who).signal(Signal::CONT)?;
                    State::Up
                }
                State::Ending { start } if !self.process(who).is_alive() => {
                    self.process(who).ended()?;
                    State::Down { start }
                }
                State::Down { start } if start <= now => {
                    self.process(who).launch()?;
                    State::Starting { since: now }
                }
                State::Starting { since } => {
                    if self.process(who).has_become_ready()? {
                        let (name, address) =
                            (self.process(who).name().to_owned(), self.process(who).address());
                        if who != Who::NameServer {
                            self.doors.put(&name, address);
                        }
                        State::Up
                    } else {
                        ensure!(now.since(since) < PATIENCE, "{} does not start", self.process(who).name());
                        state
                    }
                }
                _ => state,
            };
            self.states.insert(who, next);
        }
        Ok(())
    }

    /// Ends every trouble, and returns when the cluster is whole.
    ///
    /// # Errors
    /// When it does not become whole.
    pub fn heal(&mut self) -> Result<()> {
        let begun = self.clock.now();
        for state in self.states.values_mut() {
            match state {
                State::Paused { until: soon }
                | State::Ending { start: soon }
                | State::Down { start: soon } => {
                    *soon = begun;
                }
                State::Up | State::Starting { .. } => {}
            }
        }
        while self.states.values().any(|state| *state != State::Up) {
            self.tend()?;
            ensure!(
                self.clock.now().since(begun) < 2 * PATIENCE,
                "not everybody came back: {:?}",
                self.states
            );
            tick();
        }
        let whole = self.cluster.await_whole(self.cluster.replicas.len());
        // Who is gone says more than that somebody is missing.
        self.tend()?;
        whole
    }

    /// Carries out a plan.
    fn suffer(&mut self, setting: &Setting, load: &Load, report: &mut Report) -> Result<()> {
        let mut rng = StdRng::seed_from_u64(!setting.seed);
        let begun = self.clock.now();
        let mut plan = setting.plan.iter().peekable();
        loop {
            self.tend()?;
            let since = self.clock.now().since(begun);
            if let Some(planned) = plan.peek().filter(|planned| planned.at <= since) {
                let targets = self.targets(planned.whom, &mut rng);
                let under_way = load.counts().under_way.load(Ordering::Relaxed);
                // Without a victim or a witness it waits.
                if !targets.is_empty() && under_way > 0 {
                    // After a cold start the one that led is waited for; now and then in vain.
                    let cold = targets.len() > 1 && rng.random();
                    let missed = if cold { self.leader().ok() } else { None };
                    for who in targets {
                        let late = missed.is_some_and(|(primary, _)| who == Who::Replica(primary));
                        let lasts = planned.lasts + if late { COLD_START } else { Duration::ZERO };
                        self.harm(who, planned.harm, lasts)?;
                    }
                    report.fired.push((**planned, under_way));
                    plan.next();
                } else if since > planned.at + PATIENCE {
                    bail!("{planned} found no victim, or nobody who called");
                }
            } else if since >= setting.time && plan.peek().is_none() {
                return Ok(());
            }
            tick();
        }
    }

    /// Heals, lets customers finish, reads every replica and asks the judges.
    ///
    /// # Errors
    /// When the cluster does not heal.
    pub fn judge(mut self, load: Load, clients: u32, report: &mut Report) -> Result<Vec<Line>> {
        let healed = self.heal();
        report.retries = load.counts().retries.load(Ordering::Relaxed);
        let clock = load.now();
        let recorder = load.stop()?;
        if let Err(error) = healed {
            // What clients saw until then says more about why.
            let lines = recorder.lines();
            report.fill(&lines)?;
            return if report.anomalies.is_empty() { Err(error) } else { Ok(lines) };
        }
        // The last commands reach the backups with the next beat.
        self.cluster.await_whole(self.cluster.replicas.len())?;
        let after = recorder.lines().iter().filter_map(|line| line.end).fold(clock, u64::max) + 1;
        for replica in &self.cluster.replicas {
            let said = run(last_word(replica.name(), replica.address(), clients, after))?;
            for line in said {
                recorder.write(line);
            }
        }
        report.epoch = self.leader()?.1;
        let lines = recorder.lines();
        report.fill(&lines)?;
        Ok(lines)
    }
}

impl Report {
    fn fill(&mut self, lines: &[Line]) -> Result<()> {
        let calls = || lines.iter().filter(|line| line.op != crate::history::Op::Final);
        self.calls = calls().count();
        let front = || calls().filter(|line| line.session.starts_with("frontend"));
        self.through_front_ends = front().count();
        self.answered = front().filter(|line| line.ok == Some(true)).count();
        self.refused = calls().filter(|line| line.ok == Some(false)).count();
        self.unknown = calls().filter(|line| line.ok.is_none()).count();
        let history = History::of(lines)?;
        let sold = history.commands.iter().filter(|asked| asked.placed().is_some());
        let tickets = sold.filter(|asked| asked.items().iter().any(|item| item.item == HOT));
        self.tickets = tickets.map(|asked| asked.id).collect::<std::collections::BTreeSet<_>>().len();
        self.anomalies = judge(&first_state(), lines)?;
        Ok(())
    }

    /// Keeps the history of a run that something is wrong with.
    fn keep(&mut self, name: &str, lines: &[Line]) -> Result<()> {
        if self.anomalies.is_empty() {
            return Ok(());
        }
        let path = std::env::temp_dir().join(format!("history-{name}.jsonl"));
        let file = Recorder::to_file(&path).with_context(|| path.display().to_string())?;
        for line in lines {
            file.write(line.clone());
        }
        file.lines();
        self.history = Some(path);
        Ok(())
    }
}

/// A run: a cluster, customers, trouble; healed and judged.
///
/// # Errors
/// When the cluster could not be started, or did not heal.
pub fn suffer(setting: &Setting) -> Result<Report> {
    let mut scene = Scene::start(setting.plant.as_deref(), setting.slow_disks)?;
    let load = scene.load(setting.manner.clone());
    load.await_answered(u64::from(setting.manner.clients))?;
    let mut report = Report::default();
    scene.suffer(setting, &load, &mut report)?;
    let lines = scene.judge(load, setting.manner.clients, &mut report)?;
    if setting.manner.race && report.tickets != HOT_STOCK as usize {
        let what = format!("{} tickets were sold of {HOT_STOCK}", report.tickets);
        report.anomalies.push(Anomaly { kind: Kind::NotConserved, what });
    }
    report.keep(&format!("seed-{}", setting.seed), &lines)?;
    Ok(report)
}

/// How long a zombie sleeps on after it was deposed.
const ZOMBIE_MILLIS: std::ops::Range<u64> = 100..1_000;
/// Zombies of one cluster: each change of primary within a minute doubles the patience with the next.
const ZOMBIES_EACH: u32 = 4;

/// The primary is frozen until another leads, and a little longer; it wakes up with the calls that waited at its door.
/// So many times, some in each of several clusters.
///
/// # Errors
/// As [`suffer`].
pub fn zombies(seed: u64, count: u32, plant: Option<&str>) -> Result<Report> {
    let mut report = Report::default();
    for batch in 0..count.div_ceil(ZOMBIES_EACH) {
        let seed = seed + u64::from(batch);
        let count = ZOMBIES_EACH.min(count - batch * ZOMBIES_EACH);
        report.add(
            few_zombies(seed, count, plant)
                .with_context(|| format!("again: faults zombies {count} {seed}"))?,
        );
        if !report.anomalies.is_empty() {
            break;
        }
    }
    Ok(report)
}

fn few_zombies(seed: u64, count: u32, plant: Option<&str>) -> Result<Report> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut scene = Scene::start(plant, 0)?;
    let manner = Manner { clients: 14, attached: 6, seed, race: false };
    let load = scene.load(manner.clone());
    load.await_answered(u64::from(manner.clients))?;
    let mut report = Report::default();
    for _ in 0..count {
        let (primary, epoch) = scene.leader()?;
        let (who, begun) = (Who::Replica(primary), scene.clock.now());
        scene.harm(who, Harm::Pause, 2 * PATIENCE)?;
        // Whoever is attached to it calls while it sleeps.
        while scene.leader().map_or(0, |(_, epoch)| epoch) <= epoch {
            ensure!(scene.clock.now().since(begun) < PATIENCE, "nobody replaces a frozen primary");
            tick();
        }
        let wakes = scene.clock.now() + Duration::from_millis(rng.random_range(ZOMBIE_MILLIS));
        scene.states.insert(who, State::Paused { until: wakes });
        while scene.states[&who] != State::Up {
            tick();
            scene.tend()?;
        }
        let (at, lasts) = (begun.since_origin(), scene.clock.now().since(begun));
        let under_way = load.counts().under_way.load(Ordering::Relaxed);
        report.fired.push((Planned { at, whom: Whom::Primary, harm: Harm::Pause, lasts }, under_way));
        // What does not heal is judged as it is.
        if load.await_answered(20).is_err() || scene.heal().is_err() {
            break;
        }
    }
    let lines = scene.judge(load, manner.clients, &mut report)?;
    report.keep(&format!("zombies-{seed}"), &lines)?;
    Ok(report)
}
