//! What went wrong elsewhere and must not here, on the real program; those that a core shows by itself stand beside it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use common::directory::{self, Repeat};
use common::names::{Holder, LeaseId, LogicalName, NameEpoch, Patch, Revision, Stamped};
use common::rpc::limits::PEER;
use common::rpc::name_service::{RegisterError, UpdateError};
use common::rpc::transport::{CallError, Connection, raise_fd_limit};
use futures::future::join_all;
use futures::{StreamExt as _, stream};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::*;

/// Names, leases and a task that renews them all, until told otherwise.
async fn holders(names: &Client, count: usize, ttl: Duration) -> Vec<LeaseId> {
    let mut leases = Vec::new();
    for n in 0..count {
        let granted = names.grant(soon(), ttl, InstanceId::random(), None).await.unwrap().unwrap();
        let lease = granted.value.lease;
        let name = format!("holder.{n}").parse().unwrap();
        let entry = entry("127.0.0.1:4100");
        names.register(soon(), Tenure::Leased(lease), name, entry, Expect::Free).await.unwrap().unwrap();
        leases.push(lease);
        // The first ones must not run out while the last ones come.
        if n % 50 == 49 {
            names.renew(soon(), leases.clone()).await.unwrap();
        }
    }
    leases
}

fn renewing(
    names: Client,
    leases: Vec<LeaseId>,
    every: Duration,
    stop: Arc<AtomicBool>,
) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        while !stop.load(Ordering::Acquire) {
            // One that is lost is followed by the next.
            let _ = names.renew(within(NAME_SERVICE, every), leases.clone()).await;
            tokio::time::sleep(every).await;
        }
    })
}

async fn listed(names: &Client, prefix: &str) -> (BTreeSet<String>, Stamp) {
    let (mut all, mut after, mut stamp) = (BTreeSet::new(), None, None);
    loop {
        let query = Query::by_name(Names::Prefix(prefix.into()));
        let answer = names.list(soon(), query, Page { after, limit: 1_000 }).await.unwrap().unwrap();
        let stamp = *stamp.get_or_insert(answer.stamp);
        all.extend(answer.value.records.iter().map(|record| record.name.to_string()));
        after = answer.value.next;
        if after.is_none() {
            return (all, stamp);
        }
    }
}

/// A resource that hears of fencing tokens, as whoever keeps one should: a lower one than the highest is refused.
#[derive(Default)]
struct Fence(Option<NameEpoch>);

impl Fence {
    fn accepts(&mut self, epoch: NameEpoch) -> bool {
        if self.0.is_some_and(|highest| epoch < highest) {
            return false;
        }
        self.0 = Some(epoch);
        true
    }
}

/// Field failure: a holder that was stopped past its lease went on as if nothing had been (Jepsen on etcd 3.4). Its
/// calls carry an epoch that is lower than its successor's: not one of ten thousand is accepted.
#[tokio::test]
async fn f01_paused_holder_is_fenced() {
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    let names = server.client();
    let hold = async |ttl, port: u16| {
        let lease = names.grant(soon(), ttl, InstanceId::random(), None).await.unwrap().unwrap().value.lease;
        let entry = entry(&format!("127.0.0.1:{port}"));
        loop {
            let name = "the.lock".parse().unwrap();
            match names
                .register(soon(), Tenure::Leased(lease), name, entry.clone(), Expect::Free)
                .await
                .unwrap()
            {
                Ok(registered) => return (lease, registered.value.epoch),
                Err(RegisterError::Held { frees_in, .. }) => tokio::time::sleep(frees_in.unwrap()).await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    let mut fence = Fence::default();
    let (stopped, before) = hold(TTL, 1).await;
    assert!(fence.accepts(before));
    // It is stopped here: it renews no more. The next one waits until the name is free.
    let (_, after) = hold(TTL_LONG, 2).await;
    assert!(after > before && fence.accepts(after));
    assert_eq!((0..10_000).filter(|_| fence.accepts(before)).count(), 0);
    // And it finds out as soon as it asks; it takes nothing back.
    assert_eq!(names.renew(soon(), vec![stopped]).await.unwrap().value, [Err(RenewError::UnknownLease)]);
    let name = || "the.lock".parse().unwrap();
    let late =
        names.register(soon(), Tenure::Leased(stopped), name(), entry("127.0.0.1:1"), Expect::Free).await;
    assert_eq!(late.unwrap(), Err(RegisterError::UnknownLease));
    let patch = Patch { weight: Weight::new(1), ..Patch::default() };
    let update = names.update(soon(), Holder::Lease(stopped), AnyName::from(name()), patch).await.unwrap();
    assert!(matches!(update, Err(UpdateError::NotYours { .. })), "{update:?}");
}

/// Field failure: the living lost their names because the *server* had stood still. Stopped for five times their
/// time-to-live, it removes none of a thousand.
#[tokio::test]
async fn f03_server_pause_loses_nobody() {
    const HOLDERS: usize = 1_000;
    let ttl = Duration::from_secs(1);
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    let names = server.client();
    let leases = holders(&names, HOLDERS, ttl).await;
    let stop = Arc::new(AtomicBool::new(false));
    let task = renewing(server.client(), leases.clone(), ttl / 4, Arc::clone(&stop));
    let (before, since) = listed(&names, "holder.").await;
    assert_eq!(before.len(), HOLDERS);
    server.signal(Signal::STOP);
    tokio::time::sleep(ttl * 5).await;
    server.signal(Signal::CONT);
    // Longer than what anybody had left.
    tokio::time::sleep(ttl * 2).await;
    let changes =
        names.watch(soon(), vec![(WatchId(1), Query::by_name(Names::Any))], since, Duration::ZERO).await;
    assert_eq!(changes.unwrap().unwrap().value, [], "nothing was removed");
    assert_eq!(listed(&names, "holder.").await.0, before);
    assert!(names.status(soon()).await.unwrap().pauses.1 >= ttl * 4);
    stop.store(true, Ordering::Release);
    task.await.unwrap();
}

/// Field failures: a registry that kept the dead listed because many died at once (self-preservation), and one that kept
/// those whose machine fell silent without a word: from here that looks the same, a connection on which nothing comes.
/// 90 of 100 fall silent; they are gone in their time, and the ten are not.
async fn the_silent_are_gone() {
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    let (living, silent) = (server.client(), server.client());
    let leases = holders(&silent, 100, TTL).await;
    let stop = Arc::new(AtomicBool::new(false));
    let task = renewing(living.clone(), leases[..10].to_vec(), TTL / 5, Arc::clone(&stop));
    living.renew(soon(), leases.clone()).await.unwrap();
    let clock = Clock::start();
    let mut since = living.status(soon()).await.unwrap().stamp;
    let mut gone = BTreeSet::new();
    while gone.len() < 90 {
        for change in next_changes(&living, &mut since).await {
            assert!(matches!(change.what, What::Removed { why: Removal::Expired, .. }), "{change:?}");
            gone.insert(change.name.to_string());
        }
    }
    let pauses = living.status(soon()).await.unwrap().pauses.1;
    let late = clock.now().since_origin().saturating_sub(TTL + pauses);
    println!("90 were gone {late:?} after their time-to-live (goal: 50 ms)");
    assert!(late < Duration::from_secs(1), "{late:?}");
    assert!((0..10).all(|n| !gone.contains(&format!("holder.{n}"))));
    tokio::time::sleep(TTL * 2).await;
    assert_eq!(listed(&living, "holder.").await.0.len(), 10);
    stop.store(true, Ordering::Release);
    task.await.unwrap();
    // Its connection was there all the time.
    assert!(silent.status(soon()).await.is_ok());
}

#[tokio::test]
async fn f10_nobody_outlives_a_lease() {
    the_silent_are_gone().await;
}

#[tokio::test]
async fn f12_silent_host_is_gone() {
    the_silent_are_gone().await;
}

/// Field failure: a watcher whose server had died waited for ever, and saw nothing of the next one.
#[tokio::test]
async fn f08_watcher_returns() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let file = ["--store", file.to_str().unwrap()];
    let server = Server::start(&file);
    let address = server.field("address").to_owned();
    let names = directory::Names::new(vec![address.parse().unwrap()], "test");
    let mut view = names.view(Query::by_name(Names::Prefix("replica.".into())));
    register(&server.client(), TTL_LONG).await;
    view.wait_for(|view| view.records.len() == 1).await.unwrap();
    server.kill();
    let server = Server::again_at(&address, &file);
    // Nothing was dropped meanwhile, and what is new is seen.
    assert_eq!(view.borrow().records.len(), 1);
    let client = server.client();
    let lease =
        client.grant(soon(), TTL_LONG, InstanceId::random(), None).await.unwrap().unwrap().value.lease;
    let second = "replica.2".parse().unwrap();
    client
        .register(soon(), Tenure::Leased(lease), second, entry("127.0.0.1:2"), Expect::Free)
        .await
        .unwrap()
        .unwrap();
    let seen = view.wait_for(|view| view.records.len() == 2);
    let seen = tokio::time::timeout(Duration::from_secs(9 + 2), seen).await;
    seen.expect("within hold + 1 s, and a back-off").unwrap();
}

#[tarpc::service]
trait Echo {
    async fn echo(n: u64) -> u64;
}

#[derive(Clone)]
struct Echoes;

impl Echo for Echoes {
    async fn echo(self, _: Context, n: u64) -> u64 {
        n
    }
}

/// Field failure: clients dropped a good cache because the registry had come back empty. A name server is killed under
/// callers, and comes back: with its file, and empty in memory. No call fails, nobody hears `NotFound`, and all is
/// listed again.
#[tokio::test]
async fn f11_empty_registry_is_warming() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let file = ["--store", file.to_str().unwrap()];
    for store in [&file[..], &["--store", "memory", "--cluster", "x"]] {
        let server = Server::start(store);
        let address = server.field("address").to_owned();
        let names = directory::Names::new(vec![address.parse().unwrap()], "test");
        let mut host = names.host("127.0.0.1:0").await.unwrap();
        host.serve("echo".parse().unwrap(), Sharing::Shared, Echoes.serve()).await.unwrap();
        let provider = names.client("echo".parse().unwrap()).repeat(Repeat::OnlyUnsent);
        let echo = EchoClient::from(provider);
        let (calls, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let (echo, calls, stop) = (echo.clone(), Arc::clone(&calls), Arc::clone(&stop));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Acquire) {
                        let n = calls.fetch_add(1, Ordering::AcqRel);
                        assert_eq!(echo.echo(tarpc::context::current(), n).await.unwrap(), n);
                        tokio::time::sleep(Duration::from_millis(3)).await;
                    }
                })
            })
            .collect();
        let called = async |more: u64| {
            let upto = calls.load(Ordering::Acquire) + more;
            while calls.load(Ordering::Acquire) < upto {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        called(100).await;
        server.kill();
        called(200).await;
        let server = Server::again_at(&address, store);
        let client = server.client();
        let clock = Clock::start();
        loop {
            match lookup(&client, "echo").await {
                Ok(record) if record.standing == Standing::Confirmed => break,
                Ok(_) | Err(LookupError::Warming { .. }) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(other) => panic!("{other}"),
            }
        }
        println!("complete after {:?}", clock.now().since_origin());
        called(100).await;
        stop.store(true, Ordering::Release);
        for caller in callers {
            caller.await.unwrap();
        }
        host.leave().await;
        let left = lookup(&client, "echo").await;
        assert!(matches!(left, Err(LookupError::NotFound | LookupError::Warming { .. })), "{left:?}");
    }
}

/// Field failure: a prefix listing meant other names on another store (`_` and `%` are wildcards in SQL; case).
#[tokio::test]
async fn f15_stores_agree() {
    const NAMES: [&str; 9] = ["a_b", "axb", "a.b", "a-b", "a", "ab", "b_", "b", "a_"];
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let mut answers = Vec::new();
    for store in [file.to_str().unwrap(), "memory"] {
        let server = Server::start(&["--store", store, "--warm-up", "0s"]);
        let names = server.client();
        for name in NAMES {
            let registered = (name.parse().unwrap(), entry("127.0.0.1:1"));
            names
                .register(soon(), Tenure::Permanent, registered.0, registered.1, Expect::Free)
                .await
                .unwrap()
                .unwrap();
        }
        let (server, names) = match store {
            "memory" => (server, names),
            file => {
                server.kill();
                let server = Server::start(&["--store", file]);
                let names = server.client();
                (server, names)
            }
        };
        let mut all = Vec::new();
        for prefix in ["", "a_", "a%", "A", "a", "b", "a.", "_"] {
            all.push((prefix, listed(&names, prefix).await.0));
        }
        drop(server);
        answers.push(all);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0][1].1, BTreeSet::from(["a_".to_owned(), "a_b".to_owned()]));
    assert_eq!((answers[0][2].1.len(), answers[0][3].1.len()), (0, 0), "bytewise");
}

/// Field failure: connection slots ran out (the 81st was refused). Ten thousand stay connected and say nothing; lookups
/// go on; and whoever comes beyond the limit is told so.
#[tokio::test]
async fn f16_ten_thousand_idle() {
    let descriptors = raise_fd_limit();
    // Each connection is a descriptor here, and one there.
    let idle = 10_000.min(descriptors.saturating_sub(600));
    let limit = (idle + 50).to_string();
    let server = Server::start(&["--store", "memory", "--warm-up", "0s", "--max-connections", &limit]);
    let address: Address = server.field("address").parse().unwrap();
    let names = server.client();
    register(&names, TTL_LONG).await;
    let dial = async || {
        let patience = Duration::from_secs(10);
        Connection::<NameServiceRequest, NameServiceResponse>::dial(
            &address,
            NAME_SERVICE,
            ClusterId::UNSTATED,
            patience,
        )
        .await
    };
    let mut connected = Vec::new();
    while connected.len() < idle {
        connected.push(dial().await.unwrap());
    }
    let clock = Clock::start();
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = clock.now();
        assert!(lookup(&names, "replica.1").await.is_ok());
        times.push(clock.now().since(begun));
    }
    times.sort_unstable();
    println!("{idle} idle connections; lookups p50 {:?}, p99 {:?} (goal: 5 ms)", times[100], times[197]);
    let refused = loop {
        match dial().await {
            Ok(more) => connected.push(more),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, CallError::Busy { .. }), "{refused:?}");
    assert!(connected.len() <= idle + 50);
    assert!(lookup(&names, "replica.1").await.is_ok());
}

/// Field failure: a side door showed, or did, what a role may not. Each verb by each role, on a name that a living
/// process holds and on one that is permanent; and no answer holds a lease or an owner key.
#[tokio::test]
async fn f18_every_verb_every_role() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Said {
        Yes,
        NotYours,
        EpochMismatch,
        Held,
        UnknownLease,
    }
    fn update<T>(answer: Result<T, UpdateError>) -> Said {
        match answer {
            Ok(_) => Said::Yes,
            Err(UpdateError::NotYours { .. }) => Said::NotYours,
            Err(UpdateError::EpochMismatch { .. }) => Said::EpochMismatch,
            Err(other) => panic!("{other}"),
        }
    }
    fn registered<T>(answer: Result<T, RegisterError>) -> Said {
        match answer {
            Ok(_) => Said::Yes,
            Err(RegisterError::Held { .. }) => Said::Held,
            Err(RegisterError::UnknownLease) => Said::UnknownLease,
            Err(other) => panic!("{other}"),
        }
    }
    let server = Server::start(&["--store", "memory", "--warm-up", "0s", "--http", "127.0.0.1:0"]);
    let names = server.client();
    let (mine, _) = register(&names, TTL_LONG).await;
    let other = names.grant(soon(), TTL_LONG, InstanceId::random(), None).await.unwrap().unwrap().value.lease;
    let permanent = names
        .register(soon(), Tenure::Permanent, "plain".parse().unwrap(), entry("127.0.0.1:9"), Expect::Free)
        .await
        .unwrap()
        .unwrap();
    let epoch = lookup(&names, "replica.1").await.unwrap().epoch;
    let forged = LeaseId::from_random(5);
    let wrong = NameEpoch(Revision(epoch.0.0 + 1_000));
    let patch = |weight| Patch { weight: Weight::new(weight), ..Patch::default() };
    for (holder, of, expected) in [
        (Holder::Lease(mine), "replica.1", Said::Yes),
        (Holder::Lease(other), "replica.1", Said::NotYours),
        (Holder::Lease(forged), "replica.1", Said::NotYours),
        (Holder::Epoch(epoch), "replica.1", Said::NotYours),
        (Holder::Epoch(wrong), "replica.1", Said::EpochMismatch),
        (Holder::Lease(mine), "plain", Said::NotYours),
        (Holder::Epoch(wrong), "plain", Said::EpochMismatch),
        (Holder::Epoch(permanent.value.epoch), "plain", Said::Yes),
    ] {
        let updated = names.update(soon(), holder, name(of), patch(7)).await.unwrap();
        assert_eq!(update(updated), expected, "update {of} as {holder:?}");
        if expected != Said::Yes {
            let removed = names.unregister(soon(), holder, name(of)).await.unwrap();
            assert_eq!(update(removed), expected, "unregister {of} as {holder:?}");
        }
    }
    for (tenure, expect, expected) in [
        (Tenure::Leased(other), Expect::Free, Said::Held),
        (Tenure::Leased(other), Expect::Whatever, Said::Held),
        (Tenure::Leased(other), Expect::Epoch(epoch), Said::Held),
        (Tenure::Leased(forged), Expect::Free, Said::UnknownLease),
        (Tenure::Permanent, Expect::Whatever, Said::Held),
        (Tenure::Leased(mine), Expect::Free, Said::Yes),
    ] {
        let name = "replica.1".parse().unwrap();
        let answer = names.register(soon(), tenure, name, entry("127.0.0.1:5"), expect).await.unwrap();
        assert_eq!(registered(answer), expected, "{expect:?} as {tenure:?}");
    }
    assert_eq!(names.revoke(soon(), forged).await.unwrap().unwrap().value, 0);
    assert_eq!(names.renew(soon(), vec![forged]).await.unwrap().value, [Err(RenewError::UnknownLease)]);
    let reserved = names.unregister(soon(), Holder::Operator, name("Pyro.NameServer")).await.unwrap();
    assert!(matches!(reserved, Err(UpdateError::Denied)), "{reserved:?}");

    // What anybody is shown, byte by byte.
    let secrets = [mine, other].map(LeaseId::bits);
    let found = names.lookup(soon(), name("replica.1"), Freshness::Local).await.unwrap().unwrap();
    let listing = names
        .list(soon(), Query::by_name(Names::Any), Page { after: None, limit: 9 })
        .await
        .unwrap()
        .unwrap();
    let status = names.status(soon()).await.unwrap();
    let encode = |bytes: Result<Vec<u8>, bincode::error::EncodeError>| bytes.unwrap();
    let standard = bincode::config::standard();
    for answer in [
        encode(bincode::serde::encode_to_vec(&found, standard)),
        encode(bincode::serde::encode_to_vec(&listing, standard)),
        encode(bincode::serde::encode_to_vec(&status, standard)),
    ] {
        for secret in secrets {
            assert!(!answer.windows(8).any(|bytes| bytes == secret.to_le_bytes()));
            assert!(!answer.windows(8).any(|bytes| bytes == secret.to_be_bytes()));
        }
    }
    let pages =
        ["/status", "/metrics", "/healthz", "/"].map(|path| get(server.field("http"), path).1).concat();
    for secret in secrets {
        assert!(!pages.contains(&secret.to_string()) && !pages.contains(&format!("{secret:x}")));
    }
    // An operator's word on the name server's own machine suffices for anything else.
    for of in ["replica.1", "plain"] {
        assert_eq!(update(names.unregister(soon(), Holder::Operator, name(of)).await.unwrap()), Said::Yes);
    }
}

/// Field failure: reads became six times dearer after many writes. The processor time per lookup of a server that holds
/// 100,000 names, and of one that holds only the one that both are asked for: how far others' memory is from the processor
/// is another matter.
#[tokio::test]
async fn f21_lookup_cost_is_flat() {
    const LOOKUPS: u32 = 1_600;
    let servers = [(); 2].map(|()| Server::start(&["--store", "memory", "--warm-up", "0s"]));
    let clients = servers.each_ref().map(Server::client);
    for names in &clients {
        register(names, TTL_LONG).await;
    }
    let [_, full] = &clients;
    for batch in 0..100 {
        let granted =
            full.grant(soon(), Duration::from_hours(1), InstanceId::random(), None).await.unwrap().unwrap();
        let tenure = Tenure::Leased(granted.value.lease);
        let registering = (0..1_000).map(|n| {
            let name = format!("name.{batch}.{n}").parse().unwrap();
            full.register(soon(), tenure, name, entry("127.0.0.1:1"), Expect::Free)
        });
        let mut registered = stream::iter(registering).buffer_unordered(40);
        while let Some(done) = registered.next().await {
            done.unwrap().unwrap();
        }
    }
    // Nanoseconds on a processor.
    let cpu = |server: &Server| -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", server.child.id())).unwrap();
        let times = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("schedstat")));
        times.map(|time| time.unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    // Whatever else the machine does only adds to them: the least of some rounds, both asked in each, is the cost.
    let mut least = [u64::MAX; 2];
    for round in 0..100 {
        let [few, many] = least;
        if round >= 10 && many * 10 <= few * 11 {
            break;
        }
        for ((server, names), least) in servers.iter().zip(&clients).zip(&mut least) {
            let before = cpu(server);
            for _ in 0..LOOKUPS / 16 {
                let calls = (0..16).map(|_| lookup(names, "replica.1"));
                assert!(join_all(calls).await.iter().all(Result::is_ok));
            }
            *least = (*least).min(cpu(server) - before);
        }
    }
    let [few, many] = least;
    println!("{LOOKUPS} lookups took {few} ns, and {many} with 100,000 names");
    assert!(many * 10 <= few * 11, "more than a tenth dearer: {few} ns with one name, {many} with many");
}

/// Field failure: with Nagle's delay every second answer came 40 ms late. It takes one end that forgot to switch it off, so
/// the sockets of both are asked, wherever they are; how long anything takes on a busy machine tells nothing.
#[tokio::test]
async fn f22_no_nagle() {
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    register(&server.client(), TTL_LONG).await;
    let port = server.field("address").parse::<Address>().unwrap().port;
    for (whose, pid) in [("client", std::process::id()), ("server", server.child.id())] {
        let Some(delays) = delayed(pid, port) else {
            return println!("not run: this system lends no sockets of other processes");
        };
        assert_eq!(delays, [false], "the {whose}'s end of the connection");
    }
}

/// Whether a process has Nagle's delay on, for each of its connections with `port` at either end.
fn delayed(pid: u32, port: u16) -> Option<Vec<bool>> {
    use rustix::net::{getpeername, getsockname, sockopt::tcp_nodelay};
    use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

    let process = pidfd_open(Pid::from_raw(pid.cast_signed())?, PidfdFlags::empty()).ok()?;
    let mut delays = Vec::new();
    for open in std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
        let is_socket =
            std::fs::read_link(open.path()).is_ok_and(|what| what.to_string_lossy().starts_with("socket:"));
        if !is_socket {
            continue;
        }
        let number = open.file_name().to_str()?.parse().ok()?;
        let socket = pidfd_getfd(&process, number, PidfdGetfdFlags::empty()).ok()?;
        // One that listens has no other end.
        let (Ok(here), Ok(there)) = (getsockname(&socket), getpeername(&socket)) else { continue };
        let ports = [Some(here), there].map(|end| Some(SocketAddr::try_from(end?).ok()?.port()));
        if ports.contains(&Some(port)) {
            delays.push(!tcp_nodelay(&socket).ok()?);
        }
    }
    Some(delays)
}

/// Field failure: watchers lost, repeated or reordered changes around a reconnect. Here ten watchers are cut off at
/// random, in the middle of polls or between them, and come back on new connections; all of them end with the
/// server's history, change by change.
#[tokio::test]
async fn f06_watchers_cut_off_at_random_replay_the_history() {
    const WATCHERS: u64 = 10;
    const CHANGES: u64 = 600;
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    let names = server.client();
    let start = names.status(soon()).await.unwrap().stamp;
    let end = start.rev.0 + CHANGES;
    let watchers = (0..WATCHERS).map(|watcher| {
        let server = &server;
        async move {
            let (mut names, mut since, mut history, mut cuts) = (server.client(), start, Vec::new(), 0);
            let mut chance = StdRng::seed_from_u64(watcher);
            while since.rev.0 < end {
                let all = vec![(WatchId(0), Query::by_name(Names::Any))];
                let poll = names.watch(soon(), all, since, Duration::from_secs(8));
                let patience = Duration::from_micros(chance.random_range(0..5_000));
                if let Ok(answer) = tokio::time::timeout(patience, poll).await {
                    let Stamped { stamp, value } = answer.unwrap().unwrap();
                    history.extend(value);
                    since = stamp;
                } else {
                    names = server.client();
                    cuts += 1;
                }
            }
            (history, cuts)
        }
    });
    let changes = async {
        let (lease, _) = register(&names, TTL_LONG).await;
        let mut history = 1;
        while history < CHANGES {
            let name: LogicalName = format!("name.{}", history % 7).parse().unwrap();
            let (tenure, removed) = (Tenure::Leased(lease), history % 3 == 0);
            if removed {
                let holder = Holder::Lease(lease);
                let gone = names.unregister(soon(), holder, AnyName::from(&name)).await.unwrap();
                history += u64::from(gone.is_ok());
            }
            let port = format!("127.0.0.1:{}", 1 + history);
            let before = names.status(soon()).await.unwrap().stamp.rev;
            let entry = entry(&port);
            names.register(soon(), tenure, name, entry, Expect::Free).await.unwrap().unwrap();
            history += names.status(soon()).await.unwrap().stamp.rev.0 - before.0;
        }
    };
    let (seen, ()) = futures::join!(join_all(watchers), changes);
    // The last ones may have seen more.
    let upto_end = |history: &[Change]| -> Vec<Change> {
        history.iter().take_while(|change| change.rev.0 <= end).cloned().collect()
    };
    let first = upto_end(&seen[0].0);
    let revisions: BTreeSet<u64> = first.iter().map(|change| change.rev.0).collect();
    assert!(revisions.into_iter().eq(start.rev.0 + 1..=end), "every revision");
    for (history, cuts) in &seen {
        assert_eq!(upto_end(history), first);
        assert!(*cuts > 0, "nobody was cut off");
    }
}

/// The C library's clock, the wall's moved by as many seconds as a file says.
const MOVED_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    long done = syscall(SYS_clock_gettime, clock, now);
    FILE *file = clock == CLOCK_REALTIME ? fopen(getenv("WALL_CLOCK_AHEAD"), "r") : NULL;
    if (file) {
        long ahead = 0;
        if (fscanf(file, "%ld", &ahead) == 1) now->tv_sec += ahead;
        fclose(file);
    }
    return (int)done;
}
"#;

/// Field failure: a step of the wall clock ended leases, or kept them. Here that clock jumps an hour ahead and two back under
/// a name server that believes it: who renews stays, who does not is gone, and not before its time.
#[tokio::test]
async fn f23_wall_clock_is_ignored() {
    const HOUR: i64 = 3_600;
    let directory = tempfile::tempdir().unwrap();
    let [source, library, ahead] = ["clock.c", "clock.so", "ahead"].map(|file| directory.path().join(file));
    std::fs::write(&source, MOVED_CLOCK).unwrap();
    std::fs::write(&ahead, "0").unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    if !built.is_ok_and(|built| built.success()) {
        return println!("not run: there is no C compiler here");
    }
    let mut command = command(&["--store", "memory", "--warm-up", "0s"]);
    let server = Server::of(command.env("LD_PRELOAD", &library).env("WALL_CLOCK_AHEAD", &ahead));
    let names = server.client();
    let wall = async || {
        let who = Hello { cluster: None, seen: None, program: "test".into(), version: "0".into() };
        i64::try_from(names.hello(soon(), who).await.unwrap().unwrap().now.millis() / 1_000).unwrap()
    };
    let leases = holders(&names, 1, TTL_LONG).await;
    let (clock, mut told) = (Clock::start(), wall().await);
    for jump in [HOUR, -HOUR, 0] {
        let asked = clock.now();
        register(&names, TTL).await;
        std::fs::write(&ahead, jump.to_string()).unwrap();
        let now = wall().await;
        assert!((now - told).abs() > HOUR / 2, "the wall clock went from {told} to {now}");
        told = now;
        while lookup(&names, "replica.1").await.is_ok() {}
        assert!(clock.now().since(asked) >= TTL, "gone early, {jump} seconds ahead");
        assert!(names.renew(soon(), leases.clone()).await.unwrap().value[0].is_ok());
        assert!(lookup(&names, "holder.0").await.is_ok());
    }
}

/// Field failure: after a fail-over, reads were older than what had been read before. Writers replace a permanent record,
/// readers want it linearizable, and the name server is killed under them. Epochs rise with each registration, so the
/// history is linearizable exactly when nobody who began after another had ended saw a lower one, and nobody saw one
/// before it was asked for.
#[tokio::test]
async fn f24_linearizable_lookup() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let file = ["--store", file.to_str().unwrap()];
    for store in [&file[..], &["--store", "memory", "--warm-up", "0s"]] {
        let server = Server::start(store);
        let address = server.field("address").to_owned();
        let clock = Clock::start();
        let (answered, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let mut tasks = Vec::new();
        for task in 0..6_u16 {
            let (names, answered, stop) = (server.client(), Arc::clone(&answered), Arc::clone(&stop));
            tasks.push(tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut port = 0;
                while !stop.load(Ordering::Acquire) {
                    let begun = clock.now();
                    let epoch = if task < 3 {
                        port = port % 5_000 + 1;
                        let entry = entry(&format!("127.0.0.1:{}", task * 10_000 + port));
                        let name = "register".parse().unwrap();
                        let done =
                            names.register(soon(), Tenure::Permanent, name, entry, Expect::Whatever).await;
                        done.ok().and_then(Result::ok).map(|done| done.value.epoch)
                    } else {
                        let found = names.lookup(soon(), name("register"), Freshness::Linearizable).await;
                        found.ok().and_then(Result::ok).map(|found| found.value[0].epoch)
                    };
                    // Without an answer nothing was seen; a registration may have happened all the same.
                    match epoch {
                        Some(epoch) => {
                            seen.push((begun, clock.now(), epoch));
                            answered.fetch_add(1, Ordering::AcqRel);
                        }
                        None => tokio::time::sleep(Duration::from_millis(10)).await,
                    }
                }
                seen
            }));
        }
        let more = async || {
            let upto = answered.load(Ordering::Acquire) + 1_000;
            while answered.load(Ordering::Acquire) < upto {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        more().await;
        let server = if store[1] == "memory" {
            server
        } else {
            server.kill();
            Server::again_at(&address, store)
        };
        more().await;
        stop.store(true, Ordering::Release);
        let mut history = Vec::new();
        for task in tasks {
            history.extend(task.await.unwrap());
        }
        drop(server);
        let mut by_end = history.clone();
        by_end.sort_by_key(|(_, ended, _)| *ended);
        history.sort_by_key(|(begun, _, _)| *begun);
        let (mut ended, mut highest) = (by_end.iter().peekable(), NameEpoch(Revision(0)));
        for (begun, _, epoch) in &history {
            while let Some((_, _, before)) = ended.next_if(|(_, end, _)| end < begun) {
                highest = highest.max(*before);
            }
            assert!(*epoch >= highest, "saw {epoch:?} after {highest:?} had been seen");
        }
        println!("{store:?}: {} answers", history.len());
        assert!(history.len() > 100, "{} answers", history.len());
    }
}

/// Threat: somebody registers a name that a living process holds.
#[tokio::test]
async fn t01_a_held_name_is_taken_by_its_owner_key_alone() {
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    let names = server.client();
    register(&names, TTL_LONG).await;
    for owner in [None, Some(OwnerKey::from_random(8))] {
        let thief =
            names.grant(soon(), TTL_LONG, InstanceId::random(), owner).await.unwrap().unwrap().value.lease;
        let wanted = ("replica.1".parse().unwrap(), entry("127.0.0.1:6666"));
        let stolen = names
            .register(soon(), Tenure::Leased(thief), wanted.0, wanted.1, Expect::Whatever)
            .await
            .unwrap();
        assert!(matches!(stolen, Err(RegisterError::Held { .. })), "{stolen:?}");
    }
    register(&names, TTL_LONG).await;
}

/// Threat: a rogue process calls itself `replica.9`. A name makes nobody a member of a group.
#[tokio::test]
async fn t02_a_name_makes_nobody_a_member() {
    let server = Server::start(&["--store", "memory", "--cluster", "x"]);
    let names = server.client();
    let group: GroupName = "just.hungry".parse().unwrap();
    let member = Member { id: ReplicaId::random(), boot: BootId::random() };
    let first = GroupConfig::first("x".parse().unwrap(), group.clone(), member, 1);
    let change =
        GroupChange { expect: None, new: Config::Passive(first.clone()), by: Proposer::Member(member) };
    names.change_group(soon(), change).await.unwrap().unwrap();
    let (rogue, _) = register(&names, TTL_LONG).await;
    assert!(names.renew(soon(), vec![rogue]).await.unwrap().value[0].is_ok());
    let intruder = Member { id: ReplicaId::random(), boot: BootId::random() };
    let mut taken = first.clone();
    taken.version = common::replication::ConfigVersion(first.version.0 + 1);
    taken.epoch = common::replication::Epoch(first.epoch.0 + 1);
    taken.primary = intruder;
    for new in [taken, GroupConfig::first("x".parse().unwrap(), group.clone(), intruder, 1)] {
        let change = GroupChange {
            expect: Some(first.version),
            new: Config::Passive(new),
            by: Proposer::Member(intruder),
        };
        let refused = names.change_group(soon(), change).await.unwrap();
        assert!(refused.is_err(), "{refused:?}");
    }
    assert_eq!(names.group(soon(), group, None).await.unwrap().unwrap().value, Some(Config::Passive(first)));
}

/// Threat: a caller speaks another contract than the one this port is for.
#[tokio::test]
async fn t03_another_contract_is_refused_with_a_sentence() {
    let server = Server::start(&["--store", "memory"]);
    let address: Address = server.field("address").parse().unwrap();
    let patience = Duration::from_secs(5);
    let dial = Connection::<NameServiceRequest, NameServiceResponse>::dial(
        &address,
        PEER,
        ClusterId::UNSTATED,
        patience,
    );
    let refused = dial.await.unwrap_err();
    let CallError::Incompatible { why } = &refused else { panic!("{refused:?}") };
    assert!(why.contains("this is name-service, you asked for peer"), "{why}");
}

/// Threat: a name that is a path. No name of ours has such characters, and no file is called like a name.
#[tokio::test]
async fn t10_a_name_is_never_a_path() {
    for path in ["../x", "/etc/passwd", "a/b", "..\\x", "C:x", "a b", "", "\u{202e}x"] {
        assert!(path.parse::<common::names::LogicalName>().is_err(), "{path:?}");
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let server = Server::with_file(&file);
    let names = server.client();
    for dots in ["..", ".", "names.redb", "names.redb.lock", "-rf"] {
        let permanent = (dots.parse().unwrap(), entry("127.0.0.1:1"));
        let done =
            names.register(soon(), Tenure::Permanent, permanent.0, permanent.1, Expect::Free).await.unwrap();
        assert!(done.is_ok(), "{dots}: {done:?}");
    }
    let files = |of: &Path| {
        let entries = std::fs::read_dir(of).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<BTreeSet<_>>()
    };
    let expected = ["names.redb", "names.redb.lock", "names.redb.mark"].map(str::to_owned);
    assert_eq!(files(directory.path()), BTreeSet::from(expected));
    assert_eq!(lookup(&names, "..").await.unwrap().name.as_str(), "..");
}
