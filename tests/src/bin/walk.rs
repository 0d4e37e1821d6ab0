//! Walks the passive cores for as long as wanted, and says what came of it. What breaks a law is made short, told, and
//! given with the command that replays it.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use clap::Parser;
use cluster_tests::passive::hunt::{Hunt, LATE, SOON, at_turn, hunt};
use cluster_tests::passive::shapes::Shape;
use cluster_tests::passive::shrink::shrink;
use cluster_tests::passive::walk::{Start, Walked};
use cluster_tests::passive::world::Counts;
use common::clock::Clock;
use replica::passive::{Fault, Planted};

/// What is wanted.
#[derive(Parser)]
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
    /// With `--mutations`: only those rules that are found soon, and a few of the others: which, this number says.
    #[arg(long)]
    turn: Option<usize>,
    /// With `--mutations`: seconds for each rule, if its steps are not used up before.
    #[arg(long)]
    budget_seconds: Option<u64>,
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
    let shapes = args.shape.map_or(Shape::ALL.to_vec(), |shape| vec![shape]);
    let walked = walk(&shapes, args.seed.unwrap_or(0), planted, until, args.jobs);
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
        let Counts { steps, acknowledged, reads, epochs } = self.counts;
        let seconds = self.took.as_secs_f64().max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a figure for a person")]
        let millions = steps as f64 / 1e6;
        println!(
            "{steps} steps, {} walks in {seconds:.1} s ({:.2} M steps/s): {acknowledged} updates acknowledged, \
             {reads} reads answered, {epochs} epochs, {} violations",
            self.number,
            millions / seconds,
            u8::from(self.found.is_some())
        );
    }
}

/// Walks seed after seed, shape after shape, until something is found or it is enough.
fn walk(shapes: &[Shape], first: u64, planted: Planted, until: Until, jobs: usize) -> Walks {
    let clock = Clock::start();
    let begun = clock.now();
    let (next, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let all = Mutex::new(Walks { number: 0, counts: Counts::default(), took: Duration::ZERO, found: None });
    let one = || {
        while !enough.load(Ordering::Relaxed) {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let count = shapes.len() as u64;
            let shape = shapes[usize::try_from(number % count).unwrap_or(0)];
            let start = Start { shape, seed: first + number / count, planted };
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
        for _ in 0..jobs.max(1) {
            threads.spawn(one);
        }
    });
    all.into_inner().expect("no walk panics outside its own guard")
}

fn tell(start: &Start, found: &Walked, plant: &[Fault]) {
    let how = found.broken.as_deref().unwrap_or_default();
    println!("\nBROKEN: {how}");
    if let Some(short) = shrink(start) {
        println!(
            "In {} steps (of {} that the shape's beginning adds):",
            short.steps.len(),
            found.steps.len()
        );
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
        "cargo run --release -p cluster-tests{features} --bin walk -- --shape {} --seed {}{plant}",
        start.shape.name(),
        start.seed
    )
}

/// Breaks each rule in turn. Fails when one is not found that must be, or one is that must not be.
fn mutations(args: &Args) -> ExitCode {
    let faults = match args.turn {
        _ if !args.plant.is_empty() => args.plant.clone(),
        Some(turn) => at_turn(turn),
        None => Fault::ALL.to_vec(),
    };
    let clock = Clock::start();
    let begun = clock.now();
    let mut bad = 0;
    for fault in faults {
        let Ok(planted) = planted(&[fault]) else {
            eprintln!("to break rules, build with --features planted");
            return ExitCode::from(2);
        };
        let (shapes, steps) = match hunt(fault) {
            Hunt::Soon(shapes) => (shapes, SOON),
            Hunt::Late(shapes) => (shapes, LATE),
            Hunt::Never => (&Shape::ALL[..], args.turn.map_or(LATE, |_| SOON)),
            Hunt::Test(name) => {
                println!("{fault:24} by cargo test -p replica --features planted --lib {name}");
                continue;
            }
        };
        let shapes = args.shape.map_or(shapes.to_vec(), |shape| vec![shape]);
        let time = args.budget_seconds.map_or(Duration::MAX, Duration::from_secs);
        let until = Until { steps: args.steps.unwrap_or(steps), time };
        bad += usize::from(!hunted(fault, &shapes, planted, until, args));
    }
    println!("{bad} not as they should be, in {:.1} s", clock.now().since(begun).as_secs_f64());
    if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether a broken rule is found, or is not, as it should be; and by what is wrong because of it.
fn hunted(fault: Fault, shapes: &[Shape], planted: Planted, until: Until, args: &Args) -> bool {
    let walks = walk(shapes, args.seed.unwrap_or(0), planted, until, args.jobs);
    let (steps, seconds) = (walks.counts.steps, walks.took.as_secs_f64());
    let Some((start, walked)) = &walks.found else {
        println!("{fault:24} survives              {steps:>11} steps {seconds:6.1} s");
        return !fault.must_be_found();
    };
    let sound = Start { planted: Planted::default(), ..*start }.walk();
    let how = match &sound.broken {
        Some(_) => "the same walk is red with the rule kept".to_owned(),
        None => walked.broken.iter().flat_map(|how| how.chars()).take(60).collect(),
    };
    let (shape, seed) = (start.shape.name(), start.seed);
    println!("{fault:24} {shape:10} seed {seed:<7} {steps:>11} steps {seconds:6.1} s  {how}");
    fault.must_be_found() && sound.broken.is_none()
}
