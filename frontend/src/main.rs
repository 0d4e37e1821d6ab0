//! The front end's program; see the library for what it does.

use std::process::ExitCode;

use clap::Parser as _;
use common::services::TABLE;
use common::telemetry;
use frontend::config::Config;
use frontend::process::{Failed, run};
use tokio::runtime::{Builder, LocalOptions};

fn main() -> ExitCode {
    match started() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_status())
        }
    }
}

fn started() -> Result<(), Failed> {
    let config = Config::parse().checked().unwrap_or_else(|error| usage(&error.to_string()));
    if config.show_limits {
        print!("{}", config.limits());
        return Ok(());
    }
    telemetry::start(&config.log, config.log_format.into()).unwrap_or_else(|why| usage(&why));
    // One thread: a call is a few small steps, and handing it between threads costs more than it does.
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(run(config, TABLE))
}

/// Ends the process as clap does: exit 2, the sentence on standard error.
fn usage(why: &str) -> ! {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{why}\n")).exit()
}
