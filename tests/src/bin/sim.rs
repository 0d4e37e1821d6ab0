//! `sim`: simulates the whole system, a seed at a time.
//!
//! ```text
//! sim --seed 7              one seed, in this process: one line, and what is wrong
//! sim --seeds 0..200        each in a process of its own, two at a time
//! sim --fresh 20            as many that nobody has run yet
//! sim --twice 0..5          each twice: both times the same must happen
//! sim --minutes 60          fresh ones for that long
//! sim --must-fail 0..3      with disks that lie and a loss of power: each must be found out
//! ```
//!
//! Time and chance come from the seed, for every dependency too: this program answers the C library's functions for
//! both. While no simulation runs they pass the question on to the kernel.
#![allow(unsafe_code, reason = "the C library's functions are answered, which is a matter of raw pointers")]

use std::collections::BTreeMap;
use std::ops::Range;
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use clap::Parser;
use cluster_tests::sim::world::{self, Order};

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
    /// Processes at once
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// All replicas' disks lie, and lose their power
    #[arg(long)]
    lying_disks: bool,
    /// No faults
    #[arg(long)]
    calm: bool,
    /// Break a rule of the protocol, by its name: needs the feature `planted`
    #[arg(long, env = "PLANT")]
    plant: Option<String>,
    /// Print what happens
    #[arg(long)]
    show: bool,
    /// Log lines of the programs, as a filter
    #[arg(long)]
    log: Option<String>,
}

fn range(text: &str) -> Result<Range<u64>, String> {
    let (from, to) = text.split_once("..").ok_or("a range, like 0..200")?;
    let number = |text: &str| text.parse::<u64>().map_err(|error| error.to_string());
    Ok(number(from)?..number(to)?)
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    if let Some(seed) = flags.seed {
        return one(seed, &flags);
    }
    let mut all_well = true;
    if let Some(seeds) = flags.seeds.clone() {
        all_well &= many(seeds, &flags);
    }
    if let Some(count) = flags.fresh {
        let first = fresh();
        all_well &= many(first..first + count, &flags);
    }
    if let Some(seeds) = flags.twice.clone() {
        all_well &= twice(seeds, &flags);
    }
    if let Some(seeds) = flags.must_fail.clone() {
        all_well &= found_out(seeds, &flags);
    }
    if let Some(minutes) = flags.minutes {
        all_well &= long(minutes, &flags);
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
    CHANCE.store(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x51_3d, Ordering::Relaxed);
    SIMULATED.store(true, Ordering::Relaxed);
    let order = Order { seed, lying_disks: flags.lying_disks, calm: flags.calm, shown: flags.show };
    let mut verdict = world::run(order);
    let panics = PANICS.load(Ordering::Relaxed);
    if panics > 0 {
        verdict.wrong.push(format!("{panics} panics"));
    }
    println!("{verdict}");
    // Destructors of a whole cluster would only take time.
    std::process::exit(i32::from(!verdict.wrong.is_empty()))
}

static PANICS: AtomicU64 = AtomicU64::new(0);

/// A seed that nobody has run yet, most likely.
fn fresh() -> u64 {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    1_000_000 + since.as_secs() % 1_000_000_000 * 1_000
}

/// What one seed printed, and whether all was well.
fn apart(seed: u64, flags: &Flags) -> (bool, String) {
    let program = std::env::current_exe().expect("a program has a path");
    let mut command = Command::new(program);
    command.arg("--seed").arg(seed.to_string()).stdin(Stdio::null());
    if flags.lying_disks || flags.must_fail.is_some() {
        command.arg("--lying-disks");
    }
    if flags.calm {
        command.arg("--calm");
    }
    if let Some(plant) = &flags.plant {
        command.env("PLANT", plant);
    }
    let output = command.output().expect("a process can be started");
    let text = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let well = output.status.success();
    (well, if well { text } else { format!("{text}\n{}", errors.trim_end()) })
}

/// Runs the seeds, some at a time, and gives what each printed to `take`, which may want no more.
fn each(
    seeds: impl Iterator<Item = u64> + Send,
    flags: &Flags,
    take: impl Fn(u64, bool, String) -> bool + Sync,
) {
    let seeds = Mutex::new(seeds);
    std::thread::scope(|scope| {
        for _ in 0..flags.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let Some(seed) = seeds.lock().expect("nobody panics here").next() else { return };
                    let (well, text) = apart(seed, flags);
                    if !take(seed, well, text) {
                        return;
                    }
                }
            });
        }
    });
}

/// Counts and failures of many seeds.
#[derive(Default)]
struct Summary {
    run: u64,
    failed: Vec<u64>,
    numbers: BTreeMap<String, u64>,
    kinds: BTreeMap<String, u64>,
}

impl Summary {
    fn add(&mut self, seed: u64, well: bool, text: &str) {
        self.run += 1;
        if !well {
            self.failed.push(seed);
            println!("{text}\n  replay: {} --seed {seed} --show", program());
        }
        let first = text.lines().next().unwrap_or_default();
        for word in first.split_whitespace() {
            if let Some((name, number)) = word.split_once('=')
                && ["faults", "calls", "answered", "placed"].contains(&name)
            {
                *self.numbers.entry(name.into()).or_default() += number.parse::<u64>().unwrap_or(0);
            }
            if let Some((kind, count)) = word.trim_matches(['[', ']']).split_once(':') {
                *self.kinds.entry(kind.into()).or_default() += count.parse::<u64>().unwrap_or(0);
            }
        }
    }

    fn tell(&self) -> bool {
        let numbers: Vec<_> = self.numbers.iter().map(|(name, number)| format!("{name}={number}")).collect();
        let kinds: Vec<_> = self.kinds.iter().map(|(kind, count)| format!("{kind}:{count}")).collect();
        println!(
            "seeds={} failed={} {} [{}] cpu={:.0}s",
            self.run,
            self.failed.len(),
            numbers.join(" "),
            kinds.join(" "),
            children_cpu(),
        );
        self.failed.is_empty()
    }
}

/// The name by which this program was called.
fn program() -> String {
    std::env::args().next().unwrap_or_else(|| "sim".into())
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

fn many(seeds: Range<u64>, flags: &Flags) -> bool {
    let summary = Mutex::new(Summary::default());
    each(seeds, flags, |seed, well, text| {
        summary.lock().expect("nobody panics here").add(seed, well, &text);
        true
    });
    summary.into_inner().expect("nobody panics here").tell()
}

fn long(minutes: u64, flags: &Flags) -> bool {
    let end = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs() + minutes * 60;
    let summary = Mutex::new(Summary::default());
    each(fresh().., flags, |seed, well, text| {
        summary.lock().expect("nobody panics here").add(seed, well, &text);
        std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs() < end
    });
    summary.into_inner().expect("nobody panics here").tell()
}

fn twice(seeds: Range<u64>, flags: &Flags) -> bool {
    let count = seeds.end - seeds.start;
    let first = Mutex::new(BTreeMap::new());
    let differ = Mutex::new(Vec::new());
    each(seeds.clone().chain(seeds), flags, |seed, _, text| {
        let line = text.lines().next().unwrap_or_default().to_owned();
        if let Some(before) = first.lock().expect("nobody panics here").insert(seed, line.clone())
            && before != line
        {
            println!("seed {seed} is not the same twice:\n  {before}\n  {line}");
            differ.lock().expect("nobody panics here").push(seed);
        }
        true
    });
    let differ = differ.into_inner().expect("nobody panics here");
    println!("twice: {count} seeds, {} not the same", differ.len());
    differ.is_empty()
}

fn found_out(seeds: Range<u64>, flags: &Flags) -> bool {
    let count = seeds.end - seeds.start;
    let missed = Mutex::new(Vec::new());
    each(seeds, flags, |seed, well, text| {
        if well || !text.contains(" WRONG ") {
            println!("seed {seed} lost nothing by disks that lie:\n{text}");
            missed.lock().expect("nobody panics here").push(seed);
        }
        true
    });
    let missed = missed.into_inner().expect("nobody panics here");
    println!("disks that lie: {count} seeds, {} found out", count - missed.len() as u64);
    missed.is_empty()
}

// --- the C library's clocks and chance ------------------------------------------------------------------------------

/// Whether this process simulates.
static SIMULATED: AtomicBool = AtomicBool::new(false);
/// The state of all chance.
static CHANCE: AtomicU64 = AtomicU64::new(0);

/// When a simulation begins, by the monotonic clock: never near zero, since programs subtract.
const BEGIN: u64 = 1_000_000 * SECOND;
/// And by the wall clock: 2026-06-01 12:00 UTC.
const BEGIN_WALL: u64 = 1_780_315_200 * SECOND;
const SECOND: u64 = 1_000_000_000;
/// The C library's number of the wall clock.
const CLOCK_REALTIME: i32 = 0;
const CLOCK_REALTIME_COARSE: i32 = 5;

/// The C library's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

#[cfg(target_arch = "x86_64")]
const SYSTEM_CALLS: (i64, i64) = (228, 318);
#[cfg(target_arch = "aarch64")]
const SYSTEM_CALLS: (i64, i64) = (113, 278);

unsafe extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

/// Since [`BEGIN`], by the clock of the host that asks; outside all hosts, by the simulation's.
fn simulated_nanoseconds() -> u64 {
    use std::cell::Cell;
    thread_local! {
        static ASKING: Cell<bool> = const { Cell::new(false) };
        static ORIGIN: Cell<Option<tokio::time::Instant>> = const { Cell::new(None) };
    }
    let outside = u64::try_from(world::now_outside().as_nanos()).unwrap_or(u64::MAX);
    // Whom we ask may ask us.
    if ASKING.replace(true) {
        return outside;
    }
    let inside = tokio::runtime::Handle::try_current().ok().map(|_| {
        #[expect(
            clippy::disallowed_methods,
            reason = "this is what the ban's clock stands on, in a simulation"
        )]
        let now = tokio::time::Instant::now();
        // A paused runtime counts from what this function told it when it was made.
        let origin = ORIGIN.get().unwrap_or_else(|| {
            let origin = origin();
            ORIGIN.set(Some(origin));
            origin
        });
        u64::try_from(now.saturating_duration_since(origin).as_nanos()).unwrap_or(u64::MAX)
    });
    ASKING.set(false);
    inside.unwrap_or(outside)
}

/// The instant of [`BEGIN`].
fn origin() -> tokio::time::Instant {
    // While somebody asks, the clock outside all hosts answers: the standard library's instant of this moment.
    #[expect(clippy::disallowed_methods, reason = "this is what the ban's clock stands on, in a simulation")]
    let now = std::time::Instant::now();
    tokio::time::Instant::from_std(now - world::now_outside())
}

/// Tells the time.
///
/// # Safety
/// As the C library's: `to` points to room for the answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: i32, to: *mut Timespec) -> i32 {
    if !SIMULATED.load(Ordering::Relaxed) {
        // SAFETY: the kernel writes where the caller said.
        return i32::try_from(unsafe { syscall(SYSTEM_CALLS.0, clock, to) }).unwrap_or(-1);
    }
    let since = simulated_nanoseconds();
    let nanoseconds = if matches!(clock, CLOCK_REALTIME | CLOCK_REALTIME_COARSE) {
        let ahead = common::machine::simulated::wall_offset().saturating_mul(1_000_000);
        (BEGIN_WALL + since).saturating_add_signed(ahead)
    } else {
        BEGIN + since
    };
    let time = Timespec {
        seconds: i64::try_from(nanoseconds / SECOND).unwrap_or(i64::MAX),
        nanoseconds: i64::try_from(nanoseconds % SECOND).unwrap_or(0),
    };
    // SAFETY: the caller has made room there.
    unsafe { to.write(time) };
    0
}

/// Gives random bytes.
///
/// # Safety
/// As the C library's: there is room for `length` bytes at `to`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(to: *mut u8, length: usize, flags: u32) -> isize {
    if !SIMULATED.load(Ordering::Relaxed) {
        // SAFETY: the kernel writes where the caller said.
        return isize::try_from(unsafe { syscall(SYSTEM_CALLS.1, to, length, flags) }).unwrap_or(-1);
    }
    for at in 0..length {
        // SAFETY: below the length for which there is room.
        unsafe { to.add(at).write(chance()) };
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}

/// The next random byte (G. Steele et al., *Fast Splittable Pseudorandom Number Generators*, OOPSLA 2014).
fn chance() -> u8 {
    let state = CHANCE.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)).to_le_bytes()[0]
}

/// Says that there is one processor, whatever the machine has: how some maps are cut in pieces follows from it.
///
/// # Safety
/// As the C library's: there is room for `length` bytes at `mask`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sched_getaffinity(_: i32, length: usize, mask: *mut u8) -> i32 {
    for at in 0..length {
        // SAFETY: below the length for which there is room.
        unsafe { mask.add(at).write(u8::from(at == 0)) };
    }
    0
}
