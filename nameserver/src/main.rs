//! Parses, starts logging, runs, stops.

use std::process::ExitCode;

use clap::Parser as _;
use nameserver::config::{Flags, state_directory};
use nameserver::{limits, server};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.show_limits {
        print!("{}", limits(flags.max_connections));
        return ExitCode::SUCCESS;
    }
    let fail = |code, error: &dyn std::fmt::Display| {
        eprintln!("error: {error}");
        ExitCode::from(code)
    };
    let config = match flags.check(state_directory()) {
        Ok(config) => config,
        Err(error) => return fail(2, &error),
    };
    if let Err(error) = common::telemetry::start(&flags.log, flags.log_format.into()) {
        return fail(2, &error);
    }
    let runtime = match tokio::runtime::LocalRuntime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(1, &error),
    };
    let served = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::task::spawn_local(server::stop_on_signals(stop.clone())?);
        server::run(config, stop).await
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.exit_code(), &error),
    }
}
