//! The front end's program; see the library for what it does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser as _;
use common::services::SERVICES;
use common::telemetry;
use frontend::config::{Command, Config, PostcodeData, postcode_data_default};
use frontend::outside::build;
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
    if let Some(Command::PostcodeData(PostcodeData::Build { dir, output })) = config.command {
        build_postcode_data(&dir, output);
        return Ok(());
    }
    telemetry::start(&config.log, config.log_format.into()).unwrap_or_else(|why| usage(&why));
    // One thread: a call is a few small steps, and handing it between threads costs more than it does.
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let ended = runtime.block_on(run(config, SERVICES));
    // A web service's name may still be asked for, on a thread that nobody can stop.
    runtime.shutdown_background();
    ended
}

fn build_postcode_data(dir: &Path, output: Option<PathBuf>) {
    let Some(output) = output.or_else(postcode_data_default) else {
        usage("neither XDG_STATE_HOME nor HOME names a directory\n  try: -o FILE")
    };
    let built = build::read(dir).and_then(|data| build::write(&data, &output).map(|()| data.counts()));
    match built {
        Ok((sectors, units)) => println!("{units} postcodes in {sectors} sectors: {}", output.display()),
        Err(why) => usage(&why.to_string()),
    }
}

/// Ends the process as clap does: exit 2, the sentence on standard error.
fn usage(why: &str) -> ! {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{why}\n")).exit()
}
