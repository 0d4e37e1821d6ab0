//! `sim`: simulates the whole system, a seed at a time.
//!
//! ```text
//! sim --seed 7              one seed, in this process: one line, and what is wrong
//! sim --seeds 0..200        each in a process of its own, two at a time
//! sim --fresh 20            as many that nobody has run yet
//! sim --twice 0..5          each twice: both times the same must happen
//! sim --minutes 60          fresh ones for that long
//! sim --must-fail 0..3      with disks that lie and a loss of power: each must be found out
//! sim --planted             with a rule broken, each of a list in turn: found out within so many seeds
//! sim --seed 7 --only Kill  only faults of this kind, or of these: --only Pair,Frozen
//! PLANT=NoFence sim …       any of these with that rule broken (feature `planted`)
//! ```
//!
//! Time and chance come from the seed, for every dependency too: [`c_library`].

mod c_library;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::Parser;
use cluster_tests::sim::faults::Kind;
use cluster_tests::sim::world::{self, Order};
use common::machine::simulated::disk::Lie;

/// Simulates the whole system under faults.
#[derive(Debug, Parser)]
struct Flags {
    /// Run this seed in this process
    #[arg(long)]
    seed: Option<u64>,
    /// Run these seeds, each in a process of its own
    #[arg(long, value_parser = range)]
    seeds: Option<Range<u64>>,
    /// Run so many seeds that nobody has run yet
    #[arg(long)]
    fresh: Option<u64>,
    /// Run these seeds twice, and compare
    #[arg(long, value_parser = range)]
    twice: Option<Range<u64>>,
    /// Run fresh seeds for so many minutes
    #[arg(long)]
    minutes: Option<u64>,
    /// With disks that lie: these seeds must be found out
    #[arg(long, value_parser = range)]
    must_fail: Option<Range<u64>>,
    /// Break rules of the protocol, one after the other: each must be found out
    #[arg(long)]
    planted: bool,
    /// Processes at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// All replicas' disks lie about all syncs, or only of names, and lose their power
    #[arg(long, value_parser = lie)]
    lie: Option<Lie>,
    /// No faults
    #[arg(long)]
    calm: bool,
    /// Only faults of these kinds
    #[arg(long, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Print what happens
    #[arg(long)]
    show: bool,
    /// Log lines of the programs, as a filter
    #[arg(long)]
    log: Option<String>,
}

/// Rules that are broken here, by the names that a replica takes, the faults that bring it to light, and how many seeds
/// that may take.
const PLANTED: [(&str, &[Kind], u64); 4] = [
    ("AckBeforeBackup", PARTED, 16),
    ("NoFence", PARTED, 16),
    ("gossip:NoStamp", LATE, 16),
    ("gossip:IgnorePrev", LATE, 16),
];

/// What makes a primary sleep through its successor's election.
const PARTED: &[Kind] = &[Kind::Partition, Kind::Pair, Kind::Frozen];

/// What keeps ratings from spreading, and sends raters elsewhere.
const LATE: &[Kind] = &[Kind::Lossy, Kind::Kill];

/// What disks may lie about, by name.
const LIES: [(&str, Lie); 2] = [("all", Lie::All), ("names", Lie::Names)];

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("a range, like 0..200")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn lie(text: &str) -> Result<Lie, &'static str> {
    LIES.iter().find(|(name, _)| *name == text).map(|(_, lie)| *lie).ok_or("all or names")
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(seed) = flags.seed {
        return one(seed, &flags);
    }
    let runner = Runner {
        jobs: flags.jobs,
        how: How {
            lie: flags.lie,
            calm: flags.calm,
            only: flags.only,
            plant: std::env::var("PLANT").ok().filter(|plant| !plant.is_empty()),
        },
    };
    let lying = |lie| runner.with(How { lie: Some(lie), ..How::default() });
    // All of them, even when one fails: a red run should tell everything at once.
    let mut all_well = true;
    if let Some(seeds) = flags.seeds {
        all_well &= runner.all_well(seeds);
    }
    if let Some(count) = flags.fresh {
        let first = fresh();
        println!("fresh seeds: {first}..{}", first + count);
        all_well &= runner.all_well(first..first + count);
    }
    if let Some(seeds) = flags.twice {
        all_well &= runner.the_same_twice(seeds);
    }
    if let Some(seeds) = flags.must_fail {
        all_well &= lying(Lie::All).all_found_out(seeds);
    }
    if flags.planted {
        for (fault, only, seeds) in PLANTED {
            let plant = Some(fault.to_owned());
            let broken = runner.with(How { plant, only: only.to_vec(), ..How::default() });
            all_well &= broken.found_out_within(seeds);
        }
    }
    if let Some(minutes) = flags.minutes {
        let end = since_1970() + minutes * 60;
        all_well &= runner.all_well((fresh()..).take_while(move |_| since_1970() < end));
    }
    if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One seed, here.
fn one(seed: u64, flags: &Flags) -> ExitCode {
    if let Some(filter) = &flags.log {
        common::telemetry::start(filter, common::telemetry::LogFormat::Text).expect("a filter");
    }
    std::panic::set_hook(Box::new(|panic| {
        if panic.payload().is::<common::machine::simulated::process::Ended>() {
            return;
        }
        PANICS.fetch_add(1, Ordering::Relaxed);
        let at = panic.location().map(ToString::to_string).unwrap_or_default();
        eprintln!("panic at {at}: {}", panic.payload_as_str().unwrap_or("?"));
    }));
    c_library::simulate(seed);
    let order = Order { seed, lie: flags.lie, calm: flags.calm, only: flags.only.clone(), shown: flags.show };
    let mut verdict = world::run(&order);
    let panics = PANICS.load(Ordering::Relaxed);
    if panics > 0 {
        verdict.wrong.push(format!("{panics} panics"));
    }
    println!("{verdict}");
    // Destructors of a whole cluster would only take time.
    std::process::exit(i32::from(!verdict.wrong.is_empty()))
}

static PANICS: AtomicU64 = AtomicU64::new(0);

fn since_1970() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs()
}

/// A seed that nobody has run yet, most likely: those of a run that is begun a second later come after its first thousand.
fn fresh() -> u64 {
    1_000_000 + since_1970() % 1_000_000_000 * 1_000
}

/// What is particular about runs of seeds.
#[derive(Clone, Debug, Default)]
struct How {
    lie: Option<Lie>,
    calm: bool,
    only: Vec<Kind>,
    plant: Option<String>,
}

impl How {
    fn flags(&self) -> Vec<String> {
        let told = LIES.iter().filter(|(_, lie)| self.lie == Some(*lie));
        let mut flags: Vec<_> = told.map(|(name, _)| format!("--lie={name}")).collect();
        flags.extend(self.calm.then(|| "--calm".to_owned()));
        flags.extend(self.only.iter().map(|kind| format!("--only={kind}")));
        flags
    }

    /// What one seed printed, run in a process of its own, and whether all was well.
    fn run(&self, seed: u64) -> (bool, String) {
        let program = std::env::current_exe().expect("a program has a path");
        let mut command = Command::new(program);
        command.arg("--seed").arg(seed.to_string()).args(self.flags()).stdin(Stdio::null());
        command.env("PLANT", self.plant.as_deref().unwrap_or_default());
        let output = command.output().expect("a process can be started");
        let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        let well = output.status.success();
        (well, if well { text } else { format!("{text}\n{}", errors.trim_end()) })
    }
}

/// The command that runs a seed again.
struct Again<'a>(&'a How, u64);

impl fmt::Display for Again<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(how, seed) = self;
        if let Some(plant) = &how.plant {
            write!(f, "PLANT={plant} ")?;
        }
        let program = std::env::args().next().unwrap_or_else(|| "sim".into());
        write!(f, "{program} --seed {seed} --show")?;
        how.flags().iter().try_for_each(|flag| write!(f, " {flag}"))
    }
}

/// Runs seeds, some at a time.
#[derive(Clone, Debug)]
struct Runner {
    jobs: usize,
    how: How,
}

impl Runner {
    fn with(&self, how: How) -> Self {
        Self { how, ..self.clone() }
    }

    /// Gives what each seed printed to `take`, one at a time, until it has had enough.
    fn each(
        &self,
        seeds: impl Iterator<Item = u64> + Send,
        take: impl FnMut(u64, bool, String) -> bool + Send,
    ) {
        let (seeds, take, enough) = (Mutex::new(seeds.fuse()), Mutex::new(take), AtomicBool::new(false));
        let next = || seeds.lock().expect("nobody panics here").next();
        let work = || {
            while let Some(seed) = next().filter(|_| !enough.load(Ordering::Relaxed)) {
                let (well, text) = self.how.run(seed);
                let goes_on = (take.lock().expect("nobody panics here"))(seed, well, text);
                enough.fetch_or(!goes_on, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(work);
            }
        });
    }

    fn all_well(&self, seeds: impl Iterator<Item = u64> + Send) -> bool {
        let mut summary = Summary::default();
        self.each(seeds, |seed, well, text| {
            if !well {
                println!("{text}\n  again: {}", Again(&self.how, seed));
            }
            summary.add(well, &text);
            true
        });
        println!("{summary}");
        summary.run > 0 && summary.failed == 0
    }

    fn the_same_twice(&self, seeds: Range<u64>) -> bool {
        let (mut first, mut same, mut differ) = (BTreeMap::new(), 0, 0);
        self.each(seeds.clone().chain(seeds), |seed, _, text| {
            let line = text.lines().next().unwrap_or_default().to_owned();
            match first.remove(&seed) {
                None => drop(first.insert(seed, line)),
                Some(before) if before == line => same += 1,
                Some(before) => {
                    println!("seed {seed} is not the same twice:\n  {before}\n  {line}");
                    differ += 1;
                }
            }
            true
        });
        println!("twice: {same} seeds the same, {differ} not");
        same > 0 && differ == 0
    }

    /// Whether each seed shows that something is wrong, as it must.
    fn all_found_out(&self, seeds: Range<u64>) -> bool {
        let (mut found, mut missed) = (0, 0);
        self.each(seeds, |seed, well, text| {
            if finds(well, &text) {
                found += 1;
            } else {
                println!(
                    "nothing was found out of {:?}:\n{text}\n  again: {}",
                    self.how,
                    Again(&self.how, seed)
                );
                missed += 1;
            }
            true
        });
        println!("disks that lie: found out by {found} seeds, missed by {missed}");
        found > 0 && missed == 0
    }

    /// Whether one of the first `most` seeds shows that something is wrong, as it must.
    fn found_out_within(&self, most: u64) -> bool {
        let broken = self.how.plant.as_deref().unwrap_or("nothing broken");
        let (mut run, mut found) = (0, false);
        self.each(0..most, |seed, well, text| {
            run += 1;
            if !found && finds(well, &text) {
                found = true;
                let what = text.lines().nth(1).unwrap_or_default().trim();
                println!("{broken}: found out by seed {seed}, after {run} of at most {most}: {what}");
            }
            !found
        });
        if !found {
            println!("{broken}: not found out by {most} seeds");
        }
        found
    }
}

/// Whether a seed shows that something is wrong with what was built: a system that does not even begin shows nothing.
fn finds(well: bool, text: &str) -> bool {
    !well && text.contains(" WRONG ") && !text.contains(world::NOT_OPENED)
}

/// What came of many seeds.
#[derive(Debug, Default)]
struct Summary {
    run: u64,
    failed: u64,
    numbers: BTreeMap<String, u64>,
    kinds: BTreeMap<String, u64>,
}

impl Summary {
    fn add(&mut self, well: bool, text: &str) {
        self.run += 1;
        self.failed += u64::from(!well);
        let first = text.lines().next().unwrap_or_default();
        for word in first.split_whitespace() {
            if let Some((name, number)) = word.split_once('=')
                && ["faults", "calls", "answered", "placed", "rated", "viewed"].contains(&name)
            {
                *self.numbers.entry(name.into()).or_default() += number.parse::<u64>().unwrap_or(0);
            }
            if let Some((kind, count)) = word.trim_matches(['[', ']']).split_once(':') {
                *self.kinds.entry(kind.into()).or_default() += count.parse::<u64>().unwrap_or(0);
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seeds={} failed={}", self.run, self.failed)?;
        self.numbers.iter().try_for_each(|(name, number)| write!(f, " {name}={number}"))?;
        let kinds: Vec<_> = self.kinds.iter().map(|(kind, count)| format!("{kind}:{count}")).collect();
        write!(f, " [{}] cpu={:.0}s", kinds.join(" "), children_cpu())
    }
}

/// Processor time of all processes that were run so far, in seconds.
fn children_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: f64 =
        after_name.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<f64>().ok()).sum();
    // Linux counts a hundred a second for programs, on every machine.
    ticks / 100.0
}
