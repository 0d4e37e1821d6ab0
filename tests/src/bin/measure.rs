//! Measures what `docs/PERFORMANCE.md` tells: `cargo run --release -p cluster-tests --bin measure -- MODE …`.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cluster_tests::measure::{
    browsing, counting, failing, finding, growing, load_of_machine, pyro, rating, working,
};

const USAGE: &str = "\
measure failover TIMES                    kill -9 of the primary under load: how long nobody is acknowledged
measure handover TIMES                    SIGTERM to the primary under load
measure dead-backup TIMES                 kill -9 and SIGSTOP of a backup under load
measure throughput SECONDS CLIENTS …      orders per second, processor time per order, memory; redb alone
measure redb BATCH BYTES SECONDS          redb's own group commit: so many entries of so many bytes
measure ratings SECONDS RATERS …           ratings per second; how soon each is everywhere
measure unread RATINGS                    a read at a replica that has to fetch so many ratings first
measure join ORDERS                       an empty replica joins a group that holds so many
measure behind ENTRIES [ORDERS]           a replica comes back that missed so many
measure snapshot-stall ORDERS             snapshots taken while a group grows so far, then one sent and installed
measure films                             MovieLens' sample imported, films found among it (SHARED_DATA)
measure counting SECONDS                  64 clients, with numbers shown and without: what counting costs
measure pages SECONDS                     200 pages a second, alone and beside 1,000 who watch the cluster; first page
measure pyro NAMES SECONDS                the name server beside Pyro's own, asked by Pyro's own messages
measure native NAMES SECONDS              native lookups beside those of the build whose file BEFORE names";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((mode, numbers)) = args.split_first() else { bail!("which mode?\n{USAGE}") };
    let numbers: Vec<u32> = numbers
        .iter()
        .map(|number| number.parse().with_context(|| format!("{number} is no number\n{USAGE}")))
        .collect::<Result<_>>()?;
    load_of_machine("before")?;
    let seconds = |count: u32| Duration::from_secs(count.into());
    match (mode.as_str(), numbers.as_slice()) {
        ("failover", &[times]) => failing::fail_over(times)?,
        ("handover", &[times]) => failing::hand_over(times)?,
        ("dead-backup", &[times]) => failing::dead_backup(times)?,
        ("throughput", [time, clients @ ..]) if !clients.is_empty() => {
            let clients: Vec<usize> = clients.iter().map(|&count| count as usize).collect();
            working::throughput(seconds(*time), &clients)?;
        }
        ("ratings", [time, raters @ ..]) if !raters.is_empty() => {
            let raters: Vec<usize> = raters.iter().map(|&count| count as usize).collect();
            rating::throughput(seconds(*time), &raters)?;
        }
        ("unread", &[ratings]) => rating::unread(ratings as usize)?,
        ("redb", &[batch, bytes, time]) => working::redb_alone(batch.into(), bytes.into(), seconds(time))?,
        ("join", &[orders]) => growing::join(orders.into())?,
        ("behind", &[entries]) => growing::behind(entries.into(), 0)?,
        ("behind", &[entries, orders]) => growing::behind(entries.into(), orders.into())?,
        ("snapshot-stall", &[orders]) => growing::snapshots(orders.into())?,
        ("pyro", &[names, time]) => pyro::compare(names as usize, seconds(time))?,
        ("native", &[names, time]) => pyro::native(names as usize, seconds(time))?,
        ("films", []) => finding::films()?,
        ("counting", &[time]) => counting::cost(time)?,
        ("pages", &[time]) => browsing::pages(seconds(time))?,
        _ => bail!("measure does not understand {args:?}\n{USAGE}"),
    }
    load_of_machine("after")
}
