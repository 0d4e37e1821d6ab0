//! Orders per second, what they take, and what redb alone would do.

use std::time::Duration;

use anyhow::{Context as _, Result};
use common::clock::Clock;
use redb::{Database, Durability, TableDefinition};

use super::crowd::{Crowd, Door, judge, open_shop, wait};
use super::usage::Cpu;
use super::{figure, number, per_second};
use crate::cluster::{Cluster, Options};
use crate::process::Process;

/// Before it counts: connections, caches, a file that has grown.
const WARM_UP: Duration = Duration::from_secs(2);
/// As replicas write it: index to entry.
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");

/// What a replica's disk did in its life.
#[derive(Clone, Copy, Debug)]
pub struct Written {
    /// Transactions.
    pub batches: u64,
    /// Entries in them.
    pub entries: u64,
    /// Bytes of these.
    pub bytes: u64,
}

impl Written {
    /// What the log of a process that was stopped says.
    fn of(process: &Process) -> Result<Self> {
        let log = process.log();
        let closed = |line: &&str| line.contains("file closed") && line.contains("just.hungry.redb");
        let line = log.lines().rev().find(closed).context("it was not closed")?;
        let field = |name: &str| number(line, name).with_context(|| format!("{name}: {line}"));
        Ok(Self { batches: field("batches")?, entries: field("entries")?, bytes: field("bytes")? })
    }
}

/// So many customers for so long, each count on a fresh cluster; then redb alone with batches of the same size.
///
/// # Errors
/// When the cluster does not serve.
pub fn throughput(time: Duration, customers: &[usize]) -> Result<()> {
    for &customers in customers {
        let mut cluster = Cluster::start(Options::default())?;
        let door = Door::FrontEnd(cluster.front_ends[0].address());
        open_shop(door)?;
        let crowd = Crowd::start(door, customers, Duration::ZERO, u64::MAX);
        wait(WARM_UP)?;
        let clock = crowd.clock();
        let used = |cluster: &mut Cluster| -> Result<Vec<(String, Cpu)>> {
            cluster.processes().map(|process| Ok((process.name().to_owned(), Cpu::of(process)?))).collect()
        };
        let (from, count, before) = (clock.now(), crowd.acknowledged(), used(&mut cluster)?);
        wait(time)?;
        let (to, count, after) = (clock.now(), crowd.acknowledged() - count, used(&mut cluster)?);
        let primary = cluster.primary()?;
        let placed = crowd.stop()?;
        let (waits, _) = judge(&placed, from, to);
        let rate = per_second(count, to.since(from));
        figure(format!("{customers} clients"), format!("{rate:.0} orders/s, {waits}"));
        let name = cluster.replicas[primary].name().to_owned();
        for ((process, after), (_, before)) in after.iter().zip(&before) {
            let cpu = after.since(before);
            let each = |part: Duration| 1e6 / per_second(count.max(1), part);
            let role = if *process == name { " (primary)" } else { "" };
            let what = format!("{customers} clients: CPU per order of {process}{role}");
            figure(what, format!("{:.1} us, {:.1} us of it for the disk", each(cpu.whole), each(cpu.disk)));
        }
        for process in cluster.processes() {
            let mib = process.memory()? / (1024 * 1024);
            figure(format!("{customers} clients: memory of {}", process.name()), format!("{mib} MiB"));
        }
        cluster.replicas[primary].stop()?;
        let written = Written::of(&cluster.replicas[primary])?;
        drop(cluster);
        let batch = (written.entries / written.batches.max(1)).max(1);
        let bytes = (written.bytes / written.entries.max(1)).max(1);
        figure(
            format!("{customers} clients: entries per batch, bytes per entry"),
            format!("{batch}, {bytes}"),
        );
        for files in [1, 3] {
            let alone = redb_rate(batch, bytes, files, time)?;
            let what = format!("{customers} clients: redb alone, {files} file(s), batches of {batch}");
            figure(
                what,
                format!("{alone:.0} entries/s; the cluster has {:.0} % of it", 100.0 * rate / alone),
            );
        }
    }
    Ok(())
}

/// redb's own rate for batches of so many entries of so many bytes.
///
/// # Errors
/// When the disk fails.
pub fn redb_alone(batch: u64, bytes: u64, time: Duration) -> Result<()> {
    for files in [1, 3] {
        let rate = redb_rate(batch, bytes, files, time)?;
        figure(
            format!("redb alone, {files} file(s), batches of {batch} x {bytes} bytes"),
            format!("{rate:.0} entries/s"),
        );
    }
    Ok(())
}

/// Entries per second and file, with as many threads as files.
fn redb_rate(batch: u64, bytes: u64, files: usize, time: Duration) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let threads: Vec<_> = (0..files)
        .map(|number| {
            let path = folder.path().join(format!("{number}.redb"));
            std::thread::spawn(move || -> Result<f64> {
                let database = Database::builder().set_cache_size(16 * 1024 * 1024).create(path)?;
                let (clock, entry) = (Clock::start(), vec![7; usize::try_from(bytes)?]);
                let (mut next, mut began) = (0, (0, clock.now()));
                while clock.now().since_origin() < WARM_UP + time {
                    let mut transaction = database.begin_write()?;
                    transaction.set_durability(Durability::Immediate)?;
                    {
                        let mut log = transaction.open_table(LOG)?;
                        for index in next..next + batch {
                            log.insert(index, entry.as_slice())?;
                        }
                    }
                    transaction.commit()?;
                    next += batch;
                    if began.0 == 0 && clock.now().since_origin() >= WARM_UP {
                        began = (next, clock.now());
                    }
                }
                Ok(per_second(next - began.0, clock.now().since(began.1)))
            })
        })
        .collect();
    let mut sum = 0.0;
    for thread in threads {
        sum += thread.join().map_err(|_| anyhow::anyhow!("a writer panicked"))??;
    }
    #[expect(clippy::cast_precision_loss, reason = "one or three")]
    let files = files as f64;
    Ok(sum / files)
}
