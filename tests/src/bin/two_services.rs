//! `two_services replica …` and `two_services frontend …`: the two programs, hosting the tally of the tests beside the
//! shipped services. All that it takes is another table.

use anyhow::{Context as _, Result, anyhow, bail};
use clap::Parser as _;
use cluster_tests::tally::WITH_TALLY;
use common::telemetry;
use tokio::runtime::{Builder, LocalOptions};

fn main() -> Result<()> {
    let mut args: Vec<_> = std::env::args_os().collect();
    anyhow::ensure!(args.len() > 1, "replica or frontend, and its arguments");
    let program = args.remove(1);
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    match program.to_str().context("which program?")? {
        "replica" => {
            let config = replica::config::Config::parse_from(args);
            telemetry::start(&config.log, config.log_format.into()).map_err(|why| anyhow!(why))?;
            runtime.block_on(replica::run(config, WITH_TALLY))?;
        }
        "frontend" => {
            let config = frontend::config::Config::parse_from(args).checked()?;
            telemetry::start(&config.log, config.log_format.into()).map_err(|why| anyhow!(why))?;
            runtime.block_on(frontend::process::run(config, WITH_TALLY))?;
        }
        other => bail!("no program {other}"),
    }
    runtime.shutdown_background();
    Ok(())
}
