//! Our name server beside Pyro's own, asked the same by Pyro's own messages, which were made before the clock runs.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use common::clock::Clock;
use common::directory::Names;
use common::names::AnyName;
use common::rpc::limits::NAME_SERVICE;
use common::rpc::transport::within;
use futures::future::join_all;
use nameserver::pyro::frame::Kind;

use super::usage::Cpu;
use super::{Spread, figure, per_second};
use crate::process::{Around, Process};
use crate::pyro::{Python, Wire, message};

/// Names registered in one batch.
const BATCH: usize = 1_000;
/// Names that lookups go round.
const ASKED: usize = 1_000;

fn name(number: usize) -> String {
    format!("bench.object.{number:06}")
}

/// A name server, whosever.
struct Rival {
    who: &'static str,
    address: SocketAddr,
    pid: u32,
}

/// Compares; `count` names in each, `time` per figure. `OURS` may name another build of our name server.
///
/// # Errors
/// When one of them does not work.
pub fn compare(count: usize, time: Duration) -> Result<()> {
    let Some(python) = Python::find() else { return Ok(()) };
    let folder = tempfile::tempdir()?;
    let args = ["-l", "127.0.0.1:0", "--store", "memory", "--autoclean", "off"].map(str::to_owned).into();
    let around = Around { instead: std::env::var_os("OURS").map(Into::into), ..Around::default() };
    let ours = Process::start_in(around, "nameserver", "nameserver", args, folder.path())?;
    let (stock, port) = python.start(&["stock_ns.py"])?;
    let rivals = [
        Rival { who: "ours", address: ours.address(), pid: ours.pid().context("it runs")? },
        Rival {
            who: "pyro5-ns",
            address: SocketAddr::from(([127, 0, 0, 1], port.parse()?)),
            pid: stock.pid(),
        },
    ];
    for rival in &rivals {
        load(rival, count)?;
    }
    for connections in [1, 8, 64] {
        for rival in &rivals {
            lookups(rival, connections, time)?;
        }
    }
    for rival in &rivals {
        listing(rival, time)?;
    }
    Ok(())
}

fn load(rival: &Rival, count: usize) -> Result<()> {
    let empty = Cpu::memory_of(rival.pid)?;
    let mut wire = Wire::connect(rival.address)?;
    for from in (0..count).step_by(BATCH) {
        let calls: Vec<_> = (from..count.min(from + BATCH))
            .map(|number| {
                format!("('register',('{}','PYRO:obj_{number}@127.0.0.1:4444'),{{}})", name(number))
            })
            .collect();
        let calls = calls.join(",");
        wire.call(&message(Kind::Invoke, 8, &format!("('Pyro.NameServer','<batch>',[{calls}],None)")))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "for a person")]
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    figure(format!("{}: memory, empty", rival.who), mib(empty));
    figure(format!("{}: memory with {count} names", rival.who), mib(Cpu::memory_of(rival.pid)?));
    Ok(())
}

fn lookup_messages() -> Vec<Vec<u8>> {
    let lookup = |number| {
        message(Kind::Invoke, 0, &format!("('Pyro.NameServer','lookup',('{}',),{{}})", name(number)))
    };
    (0..ASKED).map(lookup).collect()
}

fn lookups(rival: &Rival, connections: usize, time: Duration) -> Result<()> {
    let messages = lookup_messages();
    let mut wires: Vec<Wire> =
        (0..connections).map(|_| Wire::connect(rival.address)).collect::<Result<_>>()?;
    let clock = Clock::start();
    let mut asked = 0;
    let before = Cpu::of_pid(rival.pid)?;
    while clock.now().since_origin() < time {
        // One call in flight on each.
        for wire in &mut wires {
            asked += 1;
            wire.0.write_all(&messages[asked % ASKED])?;
        }
        for wire in &mut wires {
            wire.answer()?;
        }
    }
    let took = clock.now().since_origin();
    let cpu = Cpu::of_pid(rival.pid)?.since(&before).whole;
    let what = format!("{}: lookups, {connections} connections", rival.who);
    figure(&what, format!("{:.0}/s", per_second(asked as u64, took)));
    figure(format!("{what}: processor time each"), format!("{:.1} us", micros(cpu, asked)));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "for a person")]
fn micros(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

/// Lookups of one client while another one lists everything, again and again.
fn listing(rival: &Rival, time: Duration) -> Result<()> {
    let calm = one_after_another(rival.address, time)?;
    let stop = AtomicBool::new(false);
    let list = message(Kind::Invoke, 0, "('Pyro.NameServer','list',(),{})");
    let (busy, lists) = std::thread::scope(|threads| -> Result<_> {
        let lister = threads.spawn(|| -> Result<_> {
            let mut wire = Wire::connect(rival.address)?;
            let (mut lists, mut bytes) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                bytes = wire.call(&list)?.len();
                lists += 1;
            }
            Ok((lists, bytes))
        });
        let busy = one_after_another(rival.address, time);
        stop.store(true, Ordering::Relaxed);
        Ok((busy?, lister.join().expect("it does not panic")?))
    })?;
    let who = rival.who;
    figure(format!("{who}: lookup, alone"), shown(calm));
    let (count, bytes) = lists;
    figure(format!("{who}: lookup, while another lists ({count} lists of {bytes} bytes)"), shown(busy));
    Ok(())
}

fn shown(spread: Spread) -> String {
    let Spread { p50, p99, max } = spread;
    format!("p50 {p50:?}, p99 {p99:?}, max {max:?}")
}

fn one_after_another(address: SocketAddr, time: Duration) -> Result<Spread> {
    let messages = lookup_messages();
    let mut wire = Wire::connect(address)?;
    let clock = Clock::start();
    let mut times = Vec::new();
    loop {
        let began = clock.now();
        if began.since_origin() >= time {
            return Ok(Spread::of(times));
        }
        wire.call(&messages[times.len() % ASKED])?;
        times.push(clock.now().since(began));
    }
}

/// Native lookups of this build beside those of another one, whose file `BEFORE` names: in turns.
///
/// # Errors
/// When one of them does not work.
pub fn native(count: usize, time: Duration) -> Result<()> {
    let before = std::env::var_os("BEFORE").context("BEFORE names the other build's name server")?;
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::LocalRuntime::new()?;
    let mut rivals = Vec::new();
    for (who, instead) in [("before", Some(before.into())), ("now", std::env::var_os("OURS").map(Into::into))]
    {
        let args = ["-l", "127.0.0.1:0", "--store", "memory"].map(str::to_owned).into();
        let around = Around { instead, ..Around::default() };
        let server = Process::start_in(around, who, "nameserver", args, folder.path())?;
        runtime.block_on(fill(&server, count))?;
        rivals.push((who, server));
    }
    for in_flight in [1, 48] {
        for round in 1..=3 {
            for (who, server) in &rivals {
                let (rate, cpu) = runtime.block_on(native_lookups(server, in_flight, time))?;
                let what = format!("native lookups {who}, {in_flight} in flight, round {round}");
                figure(what, format!("{rate:.0}/s, {cpu:.2} us of processor each"));
            }
        }
    }
    Ok(())
}

async fn fill(server: &Process, count: usize) -> Result<()> {
    use common::names::{
        ContractName, Entry, Expect, ObjectName, Readiness, Sharing, Tags, Target, Tenure, Weight,
    };

    let names = Names::new(vec![server.address().into()], "measure");
    let client = names.server();
    for from in (0..count).step_by(32) {
        let registered = (from..count.min(from + 32)).map(|number| {
            let target = Target::Service {
                address: "127.0.0.1:4444".parse().expect("an address"),
                object: ObjectName::new("").expect("empty is good"),
                contract: ContractName::new("bench").expect("five letters"),
            };
            let entry = Entry {
                sharing: Sharing::Exclusive,
                target,
                tags: Tags::default(),
                readiness: Readiness::Up,
                weight: Weight::default(),
            };
            let context = within(NAME_SERVICE, Duration::from_secs(2));
            let name = name(number).parse().expect("a good name");
            client.register(context, Tenure::Permanent, name, entry, Expect::Whatever)
        });
        for registered in join_all(registered).await {
            registered?.map_err(|why| anyhow::anyhow!("{why}"))?;
        }
    }
    Ok(())
}

async fn native_lookups(server: &Process, in_flight: usize, time: Duration) -> Result<(f64, f64)> {
    let names = Names::new(vec![server.address().into()], "measure");
    let asked: Vec<AnyName> = (0..ASKED).map(|number| name(number).parse()).collect::<Result<_, _>>()?;
    names.find(asked[0].clone(), Duration::from_secs(2)).await?;
    let before = Cpu::of(server)?;
    let clock = Clock::start();
    let one = |lane: usize| {
        let (names, asked, clock) = (&names, &asked, &clock);
        async move {
            let mut done = 0_usize;
            while clock.now().since_origin() < time {
                names.find(asked[(lane + done) % ASKED].clone(), Duration::from_secs(2)).await?;
                done += 1;
            }
            anyhow::Ok(done)
        }
    };
    let done: usize = join_all((0..in_flight).map(one)).await.into_iter().sum::<Result<_>>()?;
    let took = clock.now().since_origin();
    let cpu = Cpu::of(server)?.since(&before).whole;
    Ok((per_second(done as u64, took), micros(cpu, done)))
}
