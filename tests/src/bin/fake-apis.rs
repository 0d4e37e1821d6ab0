//! `fake-apis`: the stand-in for the web services, as a program. `./run.sh --fake-apis` starts it.

use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Result;
use clap::Parser;
use cluster_tests::fake_apis::{Api, FakeApis};
use common::machine::Signals;

/// Stands in for postcodes.io, getthedata.com and OMDb, with faults on demand.
#[derive(Parser)]
#[command(name = "fake-apis", version)]
struct Args {
    /// Where to listen; port 0: any free one
    #[arg(short, long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

fn main() -> Result<()> {
    let Args { listen } = Args::parse();
    anyhow::ensure!(listen.ip().is_loopback(), "the stand-in is for this machine only");
    let apis = FakeApis::start(listen)?;
    let services = Api::ALL.map(|api| format!(" {api}={}", apis.url(api))).concat();
    println!("fake-apis ready address={}{services}", apis.address());
    std::io::stdout().flush()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        Signals::listen()?.next().await;
        Ok(())
    })
}
