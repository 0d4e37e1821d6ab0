//! Visits every state of a small group, and says how many there were. What breaks a law is told, step by step.

use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use clap::Parser;
use cluster_tests::passive::model::{Bounds, LAWS, Within, visible};
use common::clock::Clock;
use replica::passive::Fault;
use stateright::{Checker, HasDiscoveries, Model};

/// How often it says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What is wanted.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    bounds: Bounds,
    /// Ends when so many states were generated, whether all have been visited or not.
    #[arg(long)]
    generated: Option<usize>,
    /// Rules to break (needs the feature `planted`): then a law must be broken, too.
    #[arg(long)]
    plant: Vec<Fault>,
    /// Goes breadth first, for the shortest way to what breaks a law: in one thread, and with tens of times the memory.
    #[arg(long)]
    shortest: bool,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Breaks each rule in turn that the model must see broken.
    #[arg(long)]
    mutations: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    // A panic of a core is a finding: it is told once, with its story.
    std::panic::set_hook(Box::new(|_| {}));
    if !cfg!(feature = "planted") && (args.mutations || !args.plant.is_empty()) {
        eprintln!("to break rules, build with --features planted");
        return ExitCode::from(2);
    }
    let as_it_should = if args.mutations {
        let seen = visible().into_iter().map(|(fault, bounds)| {
            println!("{fault}, {bounds}:");
            visit(&args, bounds, &[fault])
        });
        seen.filter(|seen| !seen).count() == 0
    } else {
        println!("{}:", args.bounds);
        visit(&args, args.bounds, &args.plant)
    };
    if as_it_should { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether all laws hold, or one does not if rules are broken.
fn visit(args: &Args, bounds: Bounds, faults: &[Fault]) -> bool {
    let within = Within::new(bounds, faults);
    let shortest = args.shortest || !faults.is_empty();
    // One thread alone goes strictly breadth first, and finds the shortest way.
    let threads = if shortest { 1 } else { args.jobs.max(1) };
    let checker = within.clone().checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.target_state_count(args.generated.unwrap_or(usize::MAX));
    if shortest {
        tell(args, &within, faults, checker.spawn_bfs())
    } else {
        tell(args, &within, faults, checker.spawn_dfs())
    }
}

/// Says what comes of it, and whether that is as it should be.
fn tell(args: &Args, within: &Within, faults: &[Fault], mut checker: impl Checker<Within>) -> bool {
    let clock = Clock::start();
    let begun = clock.now();
    let workers = checker.handles();
    let (working, ended) = mpsc::channel::<()>();
    let all = std::thread::spawn(move || {
        let _working = working;
        workers.into_iter().try_for_each(std::thread::JoinHandle::join)
    });
    while ended.recv_timeout(TELL_EVERY) == Err(RecvTimeoutError::Timeout) {
        eprintln!("... {} unique, depth {}", checker.unique_state_count(), checker.max_depth());
    }
    all.join().flatten().expect("no state panics outside its own guard");
    let found = checker.discoveries();
    let broken = found.get(LAWS).cloned().map(stateright::Path::into_actions);
    let generated = checker.state_count();
    let ended = match &broken {
        Some(moves) => format!("a law is broken after {} moves", moves.len()),
        None if generated >= args.generated.unwrap_or(usize::MAX) => {
            "NOT exhausted, no law broken".to_owned()
        }
        None => "exhausted, no law broken".to_owned(),
    };
    println!(
        "  {} unique states, {generated} generated, ways of up to {} moves, {:.1} s: {ended}",
        checker.unique_state_count(),
        checker.max_depth() - 1,
        clock.now().since(begun).as_secs_f64()
    );
    if let Some(moves) = &broken {
        let story = within.story(moves);
        // Of a planted one, what broke is enough.
        let lines =
            if faults.is_empty() { &story[..] } else { story.last_chunk::<1>().map_or(&[][..], |last| last) };
        for line in lines {
            println!("  {line}");
        }
    }
    let unseen: Vec<_> = within.never().collect();
    if broken.is_none() && !unseen.is_empty() {
        println!("  never: {}", unseen.join(", "));
    }
    if faults.is_empty() { broken.is_none() && unseen.is_empty() } else { broken.is_some() }
}
