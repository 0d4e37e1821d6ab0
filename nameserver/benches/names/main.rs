//! What the name server costs, beside what the same machine gives away for nothing: `cargo bench -p nameserver`.
//!
//! Everything in one run, so that ratios mean something: raw TCP ping-pong, bare tarpc echo, then the real program. With
//! a name (`cargo bench -p nameserver -- lookup`) only that part. `instructions` counts them with callgrind. etcd is measured
//! beside ours when it is installed, a stock Pyro 5 name server when `PYRO5_PYTHON` names a Python that has it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a measurement, for a person"
)]

use std::fmt::Display;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::clock::Clock;
use common::ids::{ClusterId, InstanceId};
use common::names::{
    Address, AnyName, ContractName, Entry, Expect, Freshness, LeaseId, Names, ObjectName, Page, Query,
    Readiness, Sharing, Stamp, Tags, Target, Tenure, WatchId, Weight, What,
};
use common::rpc::limits::NAME_SERVICE;
use common::rpc::name_service::{NameServiceClient, NameServiceRequest, NameServiceResponse};
use common::rpc::transport::{Reconnecting, within};
use futures::stream::FuturesUnordered;
use futures::{StreamExt as _, future::join_all};
use tarpc::context::Context;

mod bare;
mod rivals;

type Client = NameServiceClient<Reconnecting<NameServiceRequest, NameServiceResponse>>;

/// Names in the registry while lookups are measured.
const NAMES: usize = 100_000;
/// How long each rate is measured.
const SPAN: Duration = Duration::from_secs(2);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let [mode, address, count] = &args[..]
        && mode == "ask"
    {
        return runtime.block_on(ask(&address.parse().unwrap(), count.parse().unwrap()));
    }
    let wanted = |part: &str| args.is_empty() || args.iter().any(|arg| arg == part);
    figure("load of the machine", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
    runtime.block_on(async {
        if wanted("lookup") {
            lookup().await;
        }
        if wanted("register") {
            register().await;
        }
        if wanted("watch") {
            watch().await;
        }
        if wanted("expiry") {
            lateness().await;
            expiry().await;
        }
        if wanted("start") {
            start().await;
        }
        if wanted("memory") {
            memory().await;
        }
    });
    if args.iter().any(|arg| arg == "instructions") {
        instructions();
    }
    figure("load of the machine", std::fs::read_to_string("/proc/loadavg").unwrap().trim());
}

fn figure(what: impl Display, how_much: impl Display) {
    println!("{what:<58} {how_much}");
}

/// The name server as people run it.
struct Server {
    child: Child,
    address: Address,
}

impl Server {
    fn start(args: &[&str]) -> Self {
        Self::through(&[], args)
    }

    fn through(wrapper: &[&str], args: &[&str]) -> Self {
        let program = env!("CARGO_BIN_EXE_nameserver");
        let all = [wrapper, &[program, "--listen", "127.0.0.1:0", "--warm-up", "0s", "--log", "warn"], args]
            .concat();
        let mut command = Command::new(all[0]);
        command.args(&all[1..]).stdout(Stdio::piped());
        if !wrapper.is_empty() {
            command.stderr(Stdio::piped());
        }
        let mut child = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let address = ready.split(' ').find_map(|field| field.strip_prefix("address=")).unwrap();
        Self { child, address: address.parse().unwrap() }
    }

    fn client(&self) -> Client {
        NameServiceClient::from(Reconnecting::new(self.address.clone(), NAME_SERVICE, ClusterId::UNSTATED))
    }

    /// Processor time so far.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        // `/proc` counts in hundredths of a second on every Linux that we run on.
        Duration::from_millis(10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()))
    }

    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn soon() -> Context {
    within(NAME_SERVICE, Duration::from_secs(10))
}

fn entry() -> Entry {
    Entry {
        sharing: Sharing::Exclusive,
        target: Target::Service {
            address: "127.0.0.1:4100".parse().unwrap(),
            object: ObjectName::new("").unwrap(),
            contract: ContractName::new("replica").unwrap(),
        },
        tags: Tags::default(),
        readiness: Readiness::Up,
        weight: Weight::default(),
    }
}

fn name(n: usize) -> AnyName {
    format!("service{:05}.{}", n / 10, n % 10).parse().unwrap()
}

/// Does `count` things, at most `at_once` of them at a time.
async fn many<F: Future<Output = ()>>(count: usize, at_once: usize, mut each: impl FnMut(usize) -> F) {
    let mut under_way = FuturesUnordered::new();
    for n in 0..count {
        if under_way.len() >= at_once {
            under_way.next().await;
        }
        under_way.push(each(n));
    }
    while under_way.next().await.is_some() {}
}

/// Registers `count` names, `per_lease` under each lease.
async fn fill(server: &Server, count: usize, per_lease: usize, ttl: Duration) -> Vec<LeaseId> {
    let clients: Vec<Client> = (0..4).map(|_| server.client()).collect();
    let leases = std::cell::RefCell::new(Vec::new());
    many(count / per_lease, 128, |batch| {
        let (names, leases) = (&clients[batch % clients.len()], &leases);
        async move {
            let granted = names.grant(soon(), ttl, InstanceId::random(), None).await.unwrap().unwrap();
            let lease = granted.value.lease;
            for n in batch * per_lease..(batch + 1) * per_lease {
                let (name, tenure) = (name(n).as_str().parse().unwrap(), Tenure::Leased(lease));
                names.register(soon(), tenure, name, entry(), Expect::Free).await.unwrap().unwrap();
            }
            leases.borrow_mut().push(lease);
        }
    })
    .await;
    leases.into_inner()
}

/// Half of some times are shorter than the first, 99 of 100 than the second.
fn spread(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// One after another.
async fn sequential(clock: Clock, mut call: impl AsyncFnMut()) -> (Duration, Duration) {
    for _ in 0..200 {
        call().await;
    }
    let (mut times, until) = (Vec::new(), clock.now() + SPAN);
    while clock.now() < until {
        let begun = clock.now();
        call().await;
        times.push(clock.now().since(begun));
    }
    spread(times)
}

async fn look(names: &Client, n: usize) {
    let found = names.lookup(soon(), name(n * 7_919 % NAMES), Freshness::Local).await.unwrap().unwrap();
    assert_eq!(found.value.len(), 1);
}

async fn lookup() {
    let clock = Clock::start();
    let raw = ping_pong(clock);
    figure("raw TCP ping-pong, 64 bytes: p50", format!("{raw:.1?}"));
    let bare = bare::echo(clock).await;
    figure("bare tarpc echo: p50", format!("{bare:.1?}"));

    let server = Server::start(&["--store", "memory"]);
    fill(&server, 100, 100, Duration::from_hours(1)).await;
    let names = server.client();
    let few = cpu_per_lookup(&server, clock, 100).await;
    drop(server);
    let server = Server::start(&["--store", "memory"]);
    fill(&server, NAMES, 1_000, Duration::from_hours(1)).await;
    let names = {
        drop(names);
        server.client()
    };
    let mut n = 0;
    let (p50, p99) = sequential(clock, async || {
        n += 1;
        look(&names, n).await;
    })
    .await;
    let ratio = |time: Duration| p50.as_secs_f64() / time.as_secs_f64();
    figure("lookup, 1 connection, of 100k names: p50, p99", format!("{p50:.1?}, {p99:.1?}"));
    figure(
        "  against raw ping-pong (goal 1.9), bare tarpc",
        format!("{:.2}x, {:.2}x", ratio(raw), ratio(bare)),
    );
    let many_names = cpu_per_lookup(&server, clock, NAMES).await;
    figure("  server CPU per lookup with 100 names, with 100k", format!("{few:.2} us, {many_names:.2} us"));

    let clients: Vec<Client> = (0..64).map(|_| server.client()).collect();
    join_all(clients.iter().map(|names| look(names, 1))).await;
    let (cpu, begun) = (server.cpu(), clock.now());
    let done = join_all(clients.iter().enumerate().map(|(first, names)| async move {
        let mut done = 0;
        while clock.now().since(begun) < SPAN {
            look(names, first * 1_000 + done).await;
            done += 1;
        }
        done
    }))
    .await
    .into_iter()
    .sum::<usize>();
    let cpu = server.cpu().saturating_sub(cpu).as_secs_f64() * 1e6 / done as f64;
    figure(
        "lookup, 64 connections: rate, server CPU each (goal 6.0)",
        format!("{}, {cpu:.2} us", rate(done, SPAN)),
    );

    let batch: Vec<AnyName> = (0..64).map(|n| name(n * 997)).collect();
    let (p50, _) = sequential(clock, async || {
        let found = names.lookup_many(soon(), batch.clone(), Freshness::Local).await.unwrap();
        assert!(found.value.iter().all(Result::is_ok));
    })
    .await;
    figure(
        "lookup_many of 64: p50 per name (goal 0.6 us)",
        format!("{:.2} us", p50.as_secs_f64() * 1e6 / 64.0),
    );
    let query = Query::by_name(Names::Prefix("service00042.".into()));
    let (p50, p99) = sequential(clock, async || {
        let page = Page { after: None, limit: 100 };
        let listed = names.list(soon(), query.clone(), page).await.unwrap().unwrap();
        assert_eq!(listed.value.records.len(), 10);
    })
    .await;
    figure("list a prefix of 10 in 100k: p50, p99 (goal 60 us)", format!("{p50:.1?}, {p99:.1?}"));
    let ours = p50_of_lookup(clock, &names).await;
    if let Ok(python) = std::env::var("PYRO5_PYTHON") {
        rivals::pyro(&python, ours);
    }
    if let Some(etcd) = rivals::Etcd::start().await {
        etcd.lookup(clock, ours).await;
    }
}

async fn p50_of_lookup(clock: Clock, names: &Client) -> Duration {
    let mut n = 0;
    let (p50, _) = sequential(clock, async || {
        n += 1;
        look(names, n).await;
    })
    .await;
    p50
}

/// Microseconds of the server's processor per lookup, 64 in flight on two connections.
async fn cpu_per_lookup(server: &Server, clock: Clock, of: usize) -> f64 {
    let clients = [server.client(), server.client()];
    let (cpu, begun) = (server.cpu(), clock.now());
    let callers = (0..64_usize).map(|caller| {
        let names = &clients[caller % 2];
        async move {
            let mut done = 0;
            while clock.now().since(begun) < SPAN {
                let wanted = name((caller * 1_000 + done) * 7_919 % of);
                assert!(names.lookup(soon(), wanted, Freshness::Local).await.unwrap().is_ok());
                done += 1;
            }
            done
        }
    });
    let done: usize = join_all(callers).await.into_iter().sum();
    let each = server.cpu().saturating_sub(cpu).as_secs_f64() * 1e6 / done as f64;
    figure(
        format!("lookup, 64 in flight, {of} names: rate, server CPU (goal 1.9)"),
        format!("{}, {each:.2} us", rate(done, SPAN)),
    );
    each
}

fn rate(done: usize, time: Duration) -> String {
    format!("{:.0}/s", done as f64 / time.as_secs_f64())
}

/// The least that an exchange over TCP takes here.
fn ping_pong(clock: Clock) -> Duration {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let echo = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        let mut bytes = [0; 64];
        while socket.read_exact(&mut bytes).is_ok() && socket.write_all(&bytes).is_ok() {}
    });
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    let (mut bytes, mut times, until) = ([7; 64], Vec::new(), clock.now() + SPAN);
    while clock.now() < until {
        let begun = clock.now();
        socket.write_all(&bytes).unwrap();
        socket.read_exact(&mut bytes).unwrap();
        times.push(clock.now().since(begun));
    }
    drop(socket);
    echo.join().unwrap();
    spread(times).0
}

async fn register() {
    let clock = Clock::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    for store in ["memory", file.to_str().unwrap()] {
        let kind = if store == "memory" { "in memory" } else { "durable (goal 15k/s)" };
        let server = Server::start(&["--store", store]);
        let clients: Vec<Client> = (0..64).map(|_| server.client()).collect();
        let ready = clients.iter().map(|names| async move {
            let granted = names.grant(soon(), Duration::from_hours(1), InstanceId::random(), None).await;
            granted.unwrap().unwrap().value.lease
        });
        let leases = join_all(ready).await;
        let begun = clock.now();
        let registering = clients.iter().zip(&leases).enumerate().map(|(who, (names, lease))| async move {
            let mut done = 0;
            while clock.now().since(begun) < SPAN && done < 990 {
                let name = format!("client{who}.{done}").parse().unwrap();
                names
                    .register(soon(), Tenure::Leased(*lease), name, entry(), Expect::Free)
                    .await
                    .unwrap()
                    .unwrap();
                done += 1;
            }
            done
        });
        let done: usize = join_all(registering).await.into_iter().sum();
        let took = clock.now().since(begun);
        figure(format!("register with a lease, 64 clients, {kind}"), rate(done, took));
        if store == "memory" {
            let (begun, mut done) = (clock.now(), 0);
            while clock.now().since(begun) < SPAN {
                let renewing =
                    clients.iter().zip(&leases).map(|(names, lease)| names.renew(soon(), vec![*lease]));
                done += join_all(renewing).await.into_iter().flatten().count();
            }
            figure("renew, 64 clients, a lease a call", rate(done, SPAN));
        } else if let Some(etcd) = rivals::Etcd::start().await {
            etcd.register(clock, done as f64 / took.as_secs_f64()).await;
        }
    }
}

async fn watch() {
    const WATCHERS: usize = 1_000;
    const ROUNDS: usize = 50;
    let clock = Clock::start();
    let server = Server::start(&["--store", "memory"]);
    let names = server.client();
    let lease = names.grant(soon(), Duration::from_hours(1), InstanceId::random(), None).await;
    let lease = lease.unwrap().unwrap().value.lease;
    let watchers: Vec<Client> = (0..WATCHERS).map(|_| server.client()).collect();
    // Of those that have not said yet what they want, a server keeps 512.
    for some in watchers.chunks(64) {
        join_all(some.iter().map(|names| names.status(soon()))).await;
    }
    let mut since: Stamp = names.status(soon()).await.unwrap().stamp;
    let mut last = Vec::new();
    for round in 0..ROUNDS {
        let query = vec![(WatchId(0), Query::by_name(Names::Prefix("watched.".into())))];
        let polls =
            watchers.iter().map(|names| names.watch(soon(), query.clone(), since, Duration::from_secs(8)));
        let change = async {
            while names.status(soon()).await.unwrap().watchers < WATCHERS as u64 {}
            let begun = clock.now();
            let name = format!("watched.{round}").parse().unwrap();
            names
                .register(soon(), Tenure::Leased(lease), name, entry(), Expect::Free)
                .await
                .unwrap()
                .unwrap();
            begun
        };
        let (answers, begun) = futures::join!(join_all(polls), change);
        last.push(clock.now().since(begun));
        since = answers[0].as_ref().unwrap().as_ref().unwrap().stamp;
    }
    let (p50, p99) = spread(last);
    figure(
        "a change reaches the last of 1,000 watchers (goal 3 ms)",
        format!("p50 {p50:.1?}, p99 {p99:.1?}"),
    );
}

async fn expiry() {
    const LEASES: usize = 100_000;
    let clock = Clock::start();
    let server = Server::start(&["--store", "memory"]);
    let ttl = Duration::from_secs(20);
    let leases = fill(&server, LEASES, 1, ttl).await;
    let names = server.client();
    // All are renewed together, to be due together.
    for some in leases.chunks(1_000) {
        names.renew(soon(), some.to_vec()).await.unwrap();
    }
    let renewed = clock.now();
    let (mut times, mut first, mut gone) = (Vec::new(), None, renewed);
    while gone == renewed {
        for n in 0..50 {
            let begun = clock.now();
            let answer = names.lookup(soon(), name(n), Freshness::Local).await.unwrap();
            if clock.now().since(renewed) + Duration::from_secs(1) > ttl {
                times.push(clock.now().since(begun));
            }
            drop(answer);
        }
        let status = names.status(soon()).await.unwrap();
        if status.leases < LEASES as u64 {
            first.get_or_insert(clock.now());
        }
        if status.leases == 0 {
            gone = clock.now();
        }
    }
    let (p50, p99) = spread(times);
    let took = gone.since(first.unwrap());
    figure("100k leases due within a second: all gone in (goal 2 s)", format!("{took:.2?}"));
    figure("  lookups meanwhile: p50, p99 (goal 1 ms)", format!("{p50:.1?}, {p99:.1?}"));
}

/// How late the names of the dead go, one after another, as who watches them sees it.
async fn lateness() {
    const LEASES: usize = 1_000;
    const TTL: Duration = Duration::from_secs(1);
    let clock = Clock::start();
    let server = Server::start(&["--store", "memory"]);
    let (holders, watcher) = (server.client(), server.client());
    let mut since = watcher.status(soon()).await.unwrap().stamp;
    let due = std::cell::RefCell::new(std::collections::BTreeMap::new());
    let dying = async {
        for n in 0..LEASES {
            // No lease counts from earlier than that.
            due.borrow_mut().insert(name(n), clock.now() + TTL);
            let granted = holders.grant(soon(), TTL, InstanceId::random(), None).await.unwrap().unwrap();
            let (text, tenure) = (name(n).as_str().parse().unwrap(), Tenure::Leased(granted.value.lease));
            holders.register(soon(), tenure, text, entry(), Expect::Free).await.unwrap().unwrap();
            // So that their ends fall at every place between two ticks.
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    let watching = async {
        let (mut late, mut early) = (Vec::new(), 0);
        while late.len() < LEASES {
            let all = vec![(WatchId(0), Query::by_name(Names::Prefix("service".into())))];
            let seen = watcher.watch(soon(), all, since, Duration::from_secs(8)).await.unwrap().unwrap();
            let now = clock.now();
            since = seen.stamp;
            for change in seen.value {
                if matches!(change.what, What::Removed { .. }) {
                    let due = due.borrow()[&change.name];
                    early += usize::from(now < due);
                    late.push(now.since(due));
                }
            }
        }
        (spread(late), early)
    };
    let ((), ((p50, p99), early)) = futures::join!(dying, watching);
    figure(
        "a dead process's name goes after its lease: p50, p99 (goal 15 ms)",
        format!("{p50:.1?}, {p99:.1?}; early: {early} of {LEASES}"),
    );
}

async fn start() {
    let clock = Clock::start();
    let directory = tempfile::tempdir().unwrap();
    let time = |file: &Path| {
        let mut times = Vec::new();
        for _ in 0..7 {
            let begun = clock.now();
            drop(Server::start(&["--store", file.to_str().unwrap()]));
            times.push(clock.now().since(begun));
        }
        spread(times).0
    };
    let empty = directory.path().join("empty.redb");
    drop(Server::start(&["--store", empty.to_str().unwrap()]));
    figure("start with an empty store, after kill -9: p50 (goal 15 ms)", format!("{:.1?}", time(&empty)));
    let full = directory.path().join("full.redb");
    fill(&Server::start(&["--store", full.to_str().unwrap()]), NAMES, 1_000, Duration::from_hours(1)).await;
    figure("start with 100k names, after kill -9: p50 (goal 300 ms)", format!("{:.1?}", time(&full)));
}

async fn memory() {
    let count = std::env::var("BENCH_NAMES").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000);
    for (per_lease, kind, goal) in [(1_000, "shared", 350), (1, "own", 550)] {
        let server = Server::start(&["--store", "memory"]);
        let before = server.memory();
        fill(&server, count, per_lease, Duration::from_hours(1)).await;
        let each = (server.memory() - before) as f64 / count as f64;
        figure(format!("memory per name at {count}, {kind} lease (goal {goal} B)"), format!("{each:.0} B"));
    }
}

/// Lookups one after another, for whoever counts our instructions.
async fn ask(address: &Address, count: usize) {
    let names: Client =
        NameServiceClient::from(Reconnecting::new(address.clone(), NAME_SERVICE, ClusterId::UNSTATED));
    for _ in 0..count {
        let wanted: AnyName = "Pyro.NameServer".parse().unwrap();
        assert!(names.lookup(soon(), wanted, Freshness::Local).await.unwrap().is_ok());
    }
}

/// Instructions of a lookup, at each side: the difference between many and few of them.
fn instructions() {
    const FEW: usize = 500;
    const MANY: usize = 5_500;
    const CALLGRIND: [&str; 3] = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let counted = |text: &str| -> u64 {
        let line = text.lines().find_map(|line| line.split_once("Collected : ")).expect("callgrind tells").1;
        line.trim().parse().unwrap()
    };
    let run = |count: usize| {
        let mut server = Server::through(&CALLGRIND, &["--store", "memory"]);
        let this = std::env::current_exe().unwrap();
        let (address, count) = (server.address.to_string(), count.to_string());
        let client = Command::new(CALLGRIND[0])
            .args(&CALLGRIND[1..])
            .arg(this)
            .args(["ask", &address, &count])
            .output();
        let pid = rustix::process::Pid::from_child(&server.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut told = String::new();
        server.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        (counted(&told), counted(&String::from_utf8_lossy(&client.unwrap().stderr)))
    };
    let (few, many) = (run(FEW), run(MANY));
    let each = |few: u64, many: u64| (many - few) / (MANY - FEW) as u64;
    figure(
        "instructions per lookup: server, client (goal 17k each)",
        format!("{}, {}", each(few.0, many.0), each(few.1, many.1)),
    );
}
