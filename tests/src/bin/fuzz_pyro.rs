//! Feeds damaged bytes to every reader of the name server's Pyro door, and to whole conversations.

use std::process::ExitCode;

use clap::Parser;
use cluster_tests::fuzz::{run, targets};

/// Feeds damaged bytes to every reader of the name server's Pyro door, and to whole conversations.
#[derive(Debug, Parser)]
#[command(name = "fuzz-pyro", before_help = "fuzz-pyro --executions 1000000\nfuzz-pyro serpent uri --seed 7")]
struct Flags {
    /// Inputs for each target
    #[arg(long, default_value_t = 1_000_000)]
    executions: u64,
    /// Makes the same inputs again
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// frame, serpent, json, msgpack, uri, conversation [default: all]
    targets: Vec<String>,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let chosen = targets(&flags.targets);
    if chosen.is_empty() {
        eprintln!("error: no target of these names");
        return ExitCode::from(2);
    }
    for target in chosen {
        match run(target, flags.seed, flags.executions) {
            Ok(seen) => {
                println!("{}: {} executions, slowest {:?}", seen.target, seen.executions, seen.slowest);
            }
            Err(broken) => {
                eprintln!("error: {broken}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
