//! Walks the gossip cores for as long as wanted, and says what came of it. What breaks a law is made short, told, and
//! given with the command that replays it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use cluster_tests::gossip::shapes::Shape;
use cluster_tests::gossip::shrink::shrink;
use cluster_tests::gossip::walk::{Start, Walked};
use cluster_tests::gossip::world::Counts;
use common::clock::Clock;
use replica::gossip::{Fault, Planted};

/// A rule whose breach is not found so soon waits for its turn …
const QUICK: Duration = Duration::from_secs(1);
/// … of so many at once.
const SLOW_AT_A_TURN: usize = 4;

/// What is wanted.
#[derive(Clone, Parser)]
struct Args {
    /// Steps of cores, of all walks together.
    #[arg(long)]
    steps: Option<u64>,
    /// Minutes instead of steps.
    #[arg(long)]
    minutes: Option<u64>,
    /// The first seed; with a shape and nothing else, the only one.
    #[arg(long)]
    seed: Option<u64>,
    /// Only walks of this family; else all in turn.
    #[arg(long, value_parser = shape)]
    shape: Option<Shape>,
    /// Rules to break (needs the feature `planted`).
    #[arg(long)]
    plant: Vec<Fault>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Breaks each rule in turn, and says how soon that is found.
    #[arg(long)]
    mutations: bool,
    /// With `--mutations`: only those that fall within a second, and four of the others: which, this number says.
    #[arg(long)]
    turn: Option<u64>,
    /// With `--mutations`: seconds for each rule.
    #[arg(long, default_value_t = 60)]
    budget_seconds: u64,
}

fn shape(name: &str) -> Result<Shape, String> {
    let names: Vec<_> = Shape::ALL.iter().map(|shape| shape.name()).collect();
    Shape::named(name).ok_or_else(|| format!("one of {}", names.join(", ")))
}

fn main() -> ExitCode {
    let args = Args::parse();
    // A panic of a core is a finding: it is told once, with its story.
    std::panic::set_hook(Box::new(|_| {}));
    let planted = match planted(&args.plant) {
        Ok(planted) => planted,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::from(2);
        }
    };
    if args.mutations {
        return mutations(&args);
    }
    let until = Until {
        steps: match (args.steps, args.minutes) {
            (Some(steps), _) => steps,
            (None, Some(_)) => u64::MAX,
            (None, None) if args.shape.is_some() && args.seed.is_some() => 1,
            (None, None) => 10_000_000,
        },
        time: args.minutes.map_or(Duration::MAX, |minutes| Duration::from_secs(60 * minutes)),
    };
    let walked = walk(&args, planted, until);
    walked.tell();
    match walked.found {
        None => ExitCode::SUCCESS,
        Some((start, found)) => {
            tell(&start, &found, &args.plant);
            ExitCode::FAILURE
        }
    }
}

#[cfg(feature = "planted")]
#[expect(clippy::unnecessary_wraps, reason = "without the feature it fails")]
fn planted(faults: &[Fault]) -> Result<Planted, &'static str> {
    Ok(faults.iter().fold(Planted::default(), |planted, &fault| planted.with(fault)))
}

#[cfg(not(feature = "planted"))]
fn planted(faults: &[Fault]) -> Result<Planted, &'static str> {
    match faults {
        [] => Ok(Planted::default()),
        _ => Err("to break rules, build with --features planted"),
    }
}

/// When to end.
#[derive(Clone, Copy)]
struct Until {
    steps: u64,
    time: Duration,
}

/// Many walks.
struct Walks {
    number: u64,
    counts: Counts,
    took: Duration,
    found: Option<(Start, Walked)>,
}

impl Walks {
    fn tell(&self) {
        let Counts { steps, acknowledged, queries, disks, joins, retired, expired, healing } = self.counts;
        let seconds = self.took.as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
        let millions = steps as f64 / 1e6;
        println!(
            "{steps} steps, {} walks in {seconds:.1} s ({:.2} M steps/s): {acknowledged} updates acknowledged, \
             {expired} refused as too old, {queries} queries answered, {disks} disks lost or rolled back, {joins} \
             copies, {retired} retired, equal {} ms after heal on average, {} violations",
            self.number,
            millions / seconds,
            healing.0 / healing.1.max(1),
            u8::from(self.found.is_some())
        );
    }
}

/// Walks seed after seed, shape after shape, until something is found or it is enough.
fn walk(args: &Args, planted: Planted, until: Until) -> Walks {
    let shapes = args.shape.map_or(Shape::ALL.to_vec(), |shape| vec![shape]);
    let (clock, seed) = (Clock::start(), args.seed.unwrap_or(0));
    let begun = clock.now();
    let (next, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let all = Mutex::new(Walks { number: 0, counts: Counts::default(), took: Duration::ZERO, found: None });
    let one = || {
        while !enough.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let count = shapes.len() as u64;
            let shape = shapes[usize::try_from(number % count).unwrap_or(0)];
            let start = Start { shape, seed: seed + number / count, planted };
            let walked = start.walk();
            let mut all = all.lock().expect("no walk panics outside its own guard");
            all.number += 1;
            all.counts.add(&walked.counts);
            all.took = clock.now().since(begun);
            if walked.broken.is_some() {
                all.found.get_or_insert((start, walked));
            }
            if all.found.is_some() || all.counts.steps >= until.steps || all.took >= until.time {
                enough.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..args.jobs.max(1) {
            threads.spawn(one);
        }
    });
    all.into_inner().expect("no walk panics outside its own guard")
}

fn tell(start: &Start, found: &Walked, plant: &[Fault]) {
    println!("\nBROKEN: {}", found.broken.as_deref().unwrap_or_default());
    if let Some(short) = shrink(start) {
        println!("In {} steps:", short.steps.len());
        for line in &short.lines {
            println!("{line}");
        }
        println!("{}", short.broken.unwrap_or_default());
    }
    println!("Replay: {}", command(start, plant));
}

fn command(start: &Start, plant: &[Fault]) -> String {
    let features = if plant.is_empty() { "" } else { " --features planted" };
    let plant = plant.iter().fold(String::new(), |words, fault| words + " --plant " + &fault.to_string());
    format!(
        "cargo run --release -p cluster-tests{features} --bin gossip_walk -- --shape {} --seed {}{plant}",
        start.shape.name(),
        start.seed
    )
}

/// Breaks each rule in turn, but for those that only a story shows. Fails when one is not found that must be, or one is
/// that must not be. With a turn: those that are not found within a second are left for other turns, but for a few.
fn mutations(args: &Args) -> ExitCode {
    let mut faults = if args.plant.is_empty() { Fault::ALL.to_vec() } else { args.plant.clone() };
    if planted(&faults).is_err() {
        eprintln!("to break rules, build with --features planted");
        return ExitCode::from(2);
    }
    if args.plant.is_empty() {
        faults.retain(|fault| !fault.is_for_a_story());
    }
    let all = faults.len();
    if let Some(turn) = args.turn {
        let slow: Vec<Fault> = faults
            .iter()
            .copied()
            .filter(|fault| !broken(args, *fault, QUICK) && fault.must_be_found())
            .collect();
        let begin = usize::try_from(turn).unwrap_or(0).wrapping_mul(SLOW_AT_A_TURN);
        let places = (0..SLOW_AT_A_TURN.min(slow.len())).map(|nth| (begin + nth) % slow.len());
        faults = places.map(|place| slow[place]).collect();
        println!(
            "{} are found within {QUICK:?}; of the other {} these are looked for now:",
            all - slow.len(),
            slow.len()
        );
    }
    let whole = Duration::from_secs(args.budget_seconds);
    let bad = faults.into_iter().filter(|fault| broken(args, *fault, whole) != fault.must_be_found()).count();
    println!("{bad} not as they should be");
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a walk finds this rule to be broken within this time.
fn broken(args: &Args, fault: Fault, time: Duration) -> bool {
    let planted = planted(&[fault]).expect("it was asked before");
    // A gap needs a disk that went back to a copy of its own: elsewhere there is hardly ever one.
    let home = (fault == Fault::NoGapRule).then_some(Shape::Copies);
    let args = &Args { shape: args.shape.or(home), ..args.clone() };
    let walks = walk(args, planted, Until { steps: args.steps.unwrap_or(u64::MAX), time });
    let (steps, seconds) = (walks.counts.steps, walks.took.as_secs_f64());
    match &walks.found {
        Some((start, walked)) => {
            let how: String = walked.broken.as_deref().unwrap_or_default().chars().take(60).collect();
            let (shape, seed) = (start.shape.name(), start.seed);
            println!("{fault:24} {shape:8} seed {seed:<7} {steps:>11} steps {seconds:6.1} s  {how}");
        }
        None => println!("{fault:24} not found           {steps:>11} steps {seconds:6.1} s"),
    }
    walks.found.is_some()
}
