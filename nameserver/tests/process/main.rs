//! The name server as people run it: the real program, on a free port.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod field_failures;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use common::clock::Clock;
use common::ids::{ClusterId, InstanceId};
use common::names::{
    Address, AnyName, AttemptId, Change, ContractName, Entry, Expect, Freshness, Names, ObjectName, OwnerKey,
    Page, Query, Readiness, Record, Removal, Revision, Sharing, Stamp, Standing, Tags, Target, Tenure,
    WatchId, Weight, What,
};
use common::replication::{BootId, GroupConfig, GroupName, Member, Proposer, ReplicaId};
use common::rpc::limits::NAME_SERVICE;
use common::rpc::name_service::{
    Config, GroupChange, GroupError, Hello, HelloError, LookupError, NameServiceClient, NameServiceRequest,
    NameServiceResponse, RenewError, SnapshotError, WatchError,
};
use common::rpc::transport::{Reconnecting, within};
use rustix::process::{Pid, Signal, kill_process};
use tarpc::context::Context;

type Client = NameServiceClient<Reconnecting<NameServiceRequest, NameServiceResponse>>;

const TTL: Duration = Duration::from_millis(500);
const TTL_LONG: Duration = Duration::from_mins(1);

/// A running name server; killed when it goes out of scope.
struct Server {
    child: Child,
    out: BufReader<ChildStdout>,
    ready: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        Self::of(&mut command(arguments))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut ready = String::new();
        out.read_line(&mut ready).unwrap();
        Self { child, out, ready: ready.trim_end().to_owned() }
    }

    /// At an address where one was before.
    fn again_at(address: &str, arguments: &[&str]) -> Self {
        Self::start(&[&["--listen", address], arguments].concat())
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    fn with_file(file: &Path) -> Self {
        Self::start(&["--store", file.to_str().unwrap()])
    }

    fn field(&self, key: &str) -> &str {
        let fields = self.ready.strip_prefix("nameserver ready ").expect("the ready line");
        fields.split(' ').find_map(|field| field.strip_prefix(key)?.strip_prefix('=')).expect("the field")
    }

    fn client(&self) -> Client {
        let address: Address = self.field("address").parse().unwrap();
        NameServiceClient::from(Reconnecting::new(address, NAME_SERVICE, ClusterId::UNSTATED))
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal, and returns the exit code.
    fn end(mut self, signal: Signal) -> Option<i32> {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let code = self.child.wait().unwrap().code();
        let mut rest = String::new();
        self.out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "standard output is for the ready line alone");
        code
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nameserver"));
    if !arguments.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    command.args(arguments).env_remove("NS_LISTEN").env_remove("RUST_LOG");
    command
}

fn soon() -> Context {
    within(NAME_SERVICE, Duration::from_secs(10))
}

fn entry(address: &str) -> Entry {
    Entry {
        sharing: Sharing::Exclusive,
        target: Target::Service {
            address: address.parse().unwrap(),
            object: ObjectName::new("").unwrap(),
            contract: ContractName::new("replica").unwrap(),
        },
        tags: Tags::default(),
        readiness: Readiness::Up,
        weight: Weight::default(),
    }
}

fn name(text: &str) -> AnyName {
    text.parse().unwrap()
}

async fn lookup(names: &Client, of: &str) -> Result<Record, LookupError> {
    names
        .lookup(soon(), name(of), Freshness::Local)
        .await
        .unwrap()
        .map(|found| Record::clone(&found.value[0]))
}

/// Registers `replica.1` under a new lease.
async fn register(names: &Client, ttl: Duration) -> (common::names::LeaseId, Stamp) {
    let owner = Some(OwnerKey::from_random(7));
    let lease = names.grant(soon(), ttl, InstanceId::random(), owner).await.unwrap().unwrap().value.lease;
    let wanted = ("replica.1".parse().unwrap(), entry("127.0.0.1:4100"));
    let registered = names
        .register(soon(), Tenure::Leased(lease), wanted.0, wanted.1, Expect::Free)
        .await
        .unwrap()
        .unwrap();
    (lease, registered.stamp)
}

/// Watches all names from `since` until something happens.
async fn next_changes(names: &Client, since: &mut Stamp) -> Vec<Change> {
    let all = vec![(WatchId(1), Query::by_name(Names::Any))];
    loop {
        let answer = names.watch(soon(), all.clone(), *since, Duration::from_secs(8)).await.unwrap().unwrap();
        *since = answer.stamp;
        if !answer.value.is_empty() {
            return answer.value;
        }
    }
}

#[tokio::test]
async fn a_dead_process_is_gone_when_its_lease_runs_out_and_not_before() {
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    let names = server.client();
    let clock = Clock::start();
    let before = clock.now();
    let (lease, mut stamp) = register(&names, TTL).await;
    // It renews once, and dies.
    let renewed_from = clock.now();
    assert_eq!(names.renew(soon(), vec![lease]).await.unwrap().value[0].unwrap().names, 1);
    let renewed_upto = clock.now();
    let changes = next_changes(&names, &mut stamp).await;
    let gone = clock.now();
    assert!(matches!(changes[0].what, What::Removed { why: Removal::Expired, .. }), "{changes:?}");
    assert!(gone >= renewed_from + TTL, "early: {:?} after its renewal", gone.since(renewed_from));
    // What the machine's other work stole of the server's time was no lease's time.
    let pauses = names.status(soon()).await.unwrap().pauses.1;
    let late = gone.since(renewed_upto + TTL + pauses);
    println!("gone {late:?} after its lease ran out (goal: 50 ms); {:?} in all", gone.since(before));
    assert!(late < Duration::from_secs(1), "{late:?} late");
    assert_eq!(lookup(&names, "replica.1").await, Err(LookupError::NotFound));
    assert_eq!(names.renew(soon(), vec![lease]).await.unwrap().value, [Err(RenewError::UnknownLease)]);
}

#[tokio::test]
async fn a_given_back_lease_takes_its_names_at_once() {
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    let names = server.client();
    let (lease, mut stamp) = register(&names, Duration::from_hours(1)).await;
    assert_eq!(names.revoke(soon(), lease).await.unwrap().unwrap().value, 1);
    assert_eq!(lookup(&names, "replica.1").await, Err(LookupError::NotFound));
    let changes = next_changes(&names, &mut stamp).await;
    assert!(matches!(changes[0].what, What::Removed { why: Removal::Revoked, .. }), "{changes:?}");
    assert_eq!(names.revoke(soon(), lease).await.unwrap().unwrap().value, 0);
}

#[tokio::test]
async fn kill_9_loses_neither_names_nor_groups() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let server = Server::with_file(&file);
    assert_eq!((server.field("boot"), server.field("names"), server.field("store")), ("1", "0", "file"));
    let cluster: ClusterId = server.field("cluster").parse().unwrap();
    let names = server.client();
    let (lease, stamp) = register(&names, Duration::from_mins(1)).await;
    let epoch = lookup(&names, "replica.1").await.unwrap().epoch;
    let group: GroupName = "just.hungry".parse().unwrap();
    let member = Member { id: ReplicaId::random(), boot: BootId::random() };
    let new = Config::Passive(GroupConfig::first(cluster, group.clone(), member, 1));
    let change = GroupChange { expect: None, new: new.clone(), by: Proposer::Member(member) };
    names.change_group(soon(), change.clone()).await.unwrap().unwrap();
    server.kill();

    let server = Server::with_file(&file);
    assert_eq!((server.field("boot"), server.field("names")), ("2", "1"));
    let names = server.client();
    let found = lookup(&names, "replica.1").await.unwrap();
    assert_eq!((found.epoch, found.standing), (epoch, Standing::Unconfirmed));
    assert_eq!(names.group(soon(), group.clone(), None).await.unwrap().unwrap().value, Some(new.clone()));
    // Its answer was lost, and the same proposer comes again; another one does not get the group.
    assert_eq!(names.change_group(soon(), change).await.unwrap().unwrap().value, new);
    let other = Member { id: ReplicaId::random(), boot: BootId::random() };
    let by_other = GroupChange {
        expect: None,
        new: Config::Passive(GroupConfig::first(cluster, group, other, 1)),
        by: Proposer::Member(other),
    };
    let refused = names.change_group(soon(), by_other).await.unwrap();
    assert_eq!(refused, Err(GroupError::Conflict { current: Some(new) }));

    // A watcher of the old boot is told to list again; the holder's word confirms the record.
    let all = vec![(WatchId(1), Query::by_name(Names::Any))];
    let rebooted = names.watch(soon(), all.clone(), stamp, Duration::ZERO).await.unwrap();
    assert!(matches!(rebooted, Err(WatchError::Rebooted { .. })), "{rebooted:?}");
    let page = Page { after: None, limit: 1000 };
    let listed = names.list(soon(), Query::by_name(Names::Any), page).await.unwrap().unwrap();
    let listed_names: Vec<&str> = listed.value.records.iter().map(|record| record.name.as_str()).collect();
    assert_eq!(listed_names, ["Pyro.NameServer", "replica.1"]);
    assert_eq!(names.renew(soon(), vec![lease]).await.unwrap().value[0].unwrap().names, 1);
    let mut since = listed.stamp;
    let changes = next_changes(&names, &mut since).await;
    assert!(matches!(&changes[0].what, What::Updated(record) if record.standing == Standing::Confirmed));

    // Epochs go on above all that were ever used.
    let successor = register_again(&names).await;
    assert!(successor > epoch, "{successor:?} after {epoch:?}");
}

/// The same owner's next process takes the name over at once.
async fn register_again(names: &Client) -> common::names::NameEpoch {
    register(names, Duration::from_mins(1)).await;
    lookup(names, "replica.1").await.unwrap().epoch
}

#[tokio::test]
async fn nobody_comes_back_after_a_restart_and_the_name_goes() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let server = Server::with_file(&file);
    register(&server.client(), Duration::from_secs(2)).await;
    server.kill();
    let server = Server::with_file(&file);
    let names = server.client();
    let listed =
        names.list(soon(), Query::by_name(Names::Any), Page { after: None, limit: 9 }).await.unwrap();
    let mut since = listed.unwrap().stamp;
    assert!(lookup(&names, "replica.1").await.is_ok());
    let changes = next_changes(&names, &mut since).await;
    assert!(matches!(changes[0].what, What::Removed { why: Removal::Expired, .. }), "{changes:?}");
    assert_eq!(lookup(&names, "replica.1").await, Err(LookupError::NotFound));
}

#[tokio::test]
async fn a_memory_store_warms_up() {
    let server = Server::start(&["--warm-up", "1m", "--cluster", "test"]);
    assert_eq!((server.field("store"), server.field("cluster")), ("memory", "test"));
    let names = server.client();
    assert!(matches!(lookup(&names, "replica.1").await, Err(LookupError::Warming { .. })));
    register(&names, Duration::from_mins(1)).await;
    assert!(lookup(&names, "replica.1").await.is_ok());
}

#[tokio::test]
async fn a_copy_serves_in_the_place_of_a_lost_store() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let server = Server::with_file(&file);
    let cluster: ClusterId = server.field("cluster").parse().unwrap();
    let names = server.client();
    let (lease, _) = register(&names, Duration::from_mins(1)).await;
    let member = Member { id: ReplicaId::random(), boot: BootId::random() };
    let group: GroupName = "just.hungry".parse().unwrap();
    let new = Config::Passive(GroupConfig::first(cluster, group.clone(), member, 1));
    let change = GroupChange { expect: None, new: new.clone(), by: Proposer::Member(member) };
    names.change_group(soon(), change).await.unwrap().unwrap();
    let copy = names.snapshot(soon()).await.unwrap().unwrap().file;
    // Given away after the copy was made.
    let later = register_again(&names).await;
    server.kill();

    std::fs::copy(&copy, &file).unwrap();
    let server = Server::with_file(&file);
    assert_eq!((server.field("boot"), server.field("names")), ("1001", "1"));
    let names = server.client();
    let found = lookup(&names, "replica.1").await.unwrap();
    assert_eq!((found.standing, found.epoch < later), (Standing::Unconfirmed, true));
    assert!(matches!(lookup(&names, "unknown").await, Err(LookupError::Warming { .. })));
    let frozen = names.group(soon(), group.clone(), None).await.unwrap();
    assert!(matches!(frozen, Err(GroupError::Regressed { .. })), "{frozen:?}");
    let status = names.status(soon()).await.unwrap();
    assert!(
        status.troubles.iter().any(|trouble| trouble.contains("client cluster adopt just.hungry")),
        "{status:?}"
    );
    assert_eq!((status.names, status.unconfirmed), (1, 1));
    assert_eq!(names.renew(soon(), vec![lease]).await.unwrap().value[0].unwrap().names, 1);
    assert!(register_again(&names).await > later);
    // It is the original from now on.
    server.kill();
    let server = Server::with_file(&file);
    assert_eq!(server.field("boot"), "1002");

    let server = Server::start(&["--store", "memory"]);
    assert_eq!(server.client().snapshot(soon()).await.unwrap(), Err(SnapshotError::NothingKept));
}

#[tokio::test]
async fn a_lookup_is_as_fresh_as_wanted() {
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    let names = server.client();
    let (_, stamp) = register(&names, Duration::from_mins(1)).await;
    let lookup = async |freshness| names.lookup(soon(), name("replica.1"), freshness).await.unwrap();
    assert_eq!(lookup(Freshness::Linearizable).await.unwrap().value.len(), 1);
    assert_eq!(lookup(Freshness::AtLeast(stamp)).await.unwrap().value.len(), 1);
    let elsewhere = Stamp { cluster: "else".parse().unwrap(), ..stamp };
    let behind = lookup(Freshness::AtLeast(elsewhere)).await;
    assert!(matches!(behind, Err(LookupError::Behind { .. })), "{behind:?}");
    let both = [name("replica.1"), name("nobody")].to_vec();
    let many = names.lookup_many(soon(), both.clone(), Freshness::Linearizable).await.unwrap().value;
    assert_eq!((many[0].is_ok(), many[1].clone()), (true, Err(LookupError::NotFound)));
    // Somebody has a later stamp of ours: this one was an old copy, and goes on past it.
    let later = Stamp { rev: Revision(stamp.rev.0 + 5), ..stamp };
    assert_eq!(lookup(Freshness::AtLeast(later)).await.unwrap().value[0].standing, Standing::Unconfirmed);
    let many = names.lookup_many(soon(), both, Freshness::Local).await.unwrap();
    assert!(many.stamp.boot > stamp.boot);
    assert!(matches!(many.value[1], Err(LookupError::Warming { .. })));
    assert!(names.status(soon()).await.unwrap().troubles[0].contains("old copy"));
}

fn get(address: &str, path: &str) -> (String, String) {
    use std::io::Write as _;
    let mut socket = std::net::TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[tokio::test]
async fn pages_tell_how_it_is_and_no_secret() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let server =
        Server::start(&["--store", file.to_str().unwrap(), "--http", "127.0.0.1:0", "--max-names", "7"]);
    let (names, http) = (server.client(), server.field("http").to_owned());
    let (lease, _) = register(&names, TTL_LONG).await;
    assert_eq!(lookup(&names, "nobody").await, Err(LookupError::NotFound));
    let (first, body) = get(&http, "/healthz");
    assert_eq!((first.as_str(), body.as_str()), ("HTTP/1.1 200 OK", "ok\n"));
    let (_, status) = get(&http, "/status");
    for part in [r#""names":1"#, r#""names_max":7"#, r#""store":"file""#, r#""troubles":[]"#] {
        assert!(status.contains(part), "{part} in {status}");
    }
    let (_, metrics) = get(&http, "/metrics");
    for line in [
        "ns_call_errors_total{method=\"lookup\"} 1",
        "ns_call_seconds_count{method=\"register\"} 1",
        "ns_names{standing=\"confirmed\"} 1",
        "ns_leases 1",
        "ns_probes_total 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }
    let secret = [lease.bits().to_string(), format!("{:x}", lease.bits())];
    for page in [&status, &metrics] {
        assert!(secret.iter().all(|secret| !page.contains(secret)));
    }
    assert!(get(&http, "/").0.contains("404"));
    // Somebody shows it a stamp of a later life: that is what an operator should know.
    let stamp = names.status(soon()).await.unwrap().stamp;
    let seen = Some(Stamp { rev: Revision(stamp.rev.0 + 1), ..stamp });
    let hello = Hello { cluster: None, seen, program: "test".into(), version: "1".into() };
    assert!(names.hello(soon(), hello).await.unwrap().is_ok());
    let (first, body) = get(&http, "/healthz");
    assert!(first.contains("503") && body.contains("old copy"), "{first} {body}");
}

#[tokio::test]
async fn numbers_are_given_one_by_one() {
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    let names = server.client();
    let lease = names.grant(soon(), TTL_LONG, InstanceId::random(), None).await.unwrap().unwrap().value.lease;
    let next = async |attempt| {
        let (tenure, prefix) = (Tenure::Leased(lease), "worker-".parse().unwrap());
        let entry = entry("127.0.0.1:4100");
        let given = names.register_next(soon(), tenure, prefix, entry, AttemptId::from_random(attempt)).await;
        given.unwrap().unwrap().value.0.to_string()
    };
    assert_eq!([next(1).await, next(2).await, next(1).await], ["worker-1", "worker-2", "worker-1"]);
    assert_eq!(names.renew(soon(), vec![lease; 1025]).await.unwrap().value[0], Err(RenewError::TooMany));
}

/// A name without a lease, whose server was seen and is gone; and one whose server never came.
#[tokio::test]
async fn a_permanent_name_goes_when_nobody_answers_any_more() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let start = || Server::start(&["--store", file.to_str().unwrap(), "--autoclean", "1s"]);
    let (server, mut living) = (start(), std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let names = server.client();
    let register = async |names: &Client, of: &str, at: &str| {
        let done =
            names.register(soon(), Tenure::Permanent, of.parse().unwrap(), entry(at), Expect::Free).await;
        done.unwrap().unwrap().stamp
    };
    let address = living.local_addr().unwrap().to_string();
    register(&names, "here", &address).await;
    // Accepted by us, so dialled by the name server; and what the restart would forget is on the disk.
    living.accept().unwrap();
    server.kill();
    let server = start();
    let names = server.client();
    let mut since = register(&names, "never", &nobody()).await;
    living.accept().unwrap();
    living = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut gone = Vec::new();
    while gone.len() < 2 {
        for change in next_changes(&names, &mut since).await {
            assert!(matches!(change.what, What::Removed { why: Removal::Cleaned, .. }), "{change:?}");
            gone.push(change.name.to_string());
        }
    }
    gone.sort_unstable();
    assert_eq!(gone, ["here", "never"]);
    drop(living);
}

/// An address where nobody listens.
fn nobody() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn f17_other_cluster_is_refused() {
    let server = Server::start(&["--cluster", "ours"]);
    let names = server.client();
    let hello = |cluster: &str| Hello {
        cluster: Some(cluster.parse().unwrap()),
        seen: None,
        program: "test".into(),
        version: "1".into(),
    };
    assert!(names.hello(soon(), hello("ours")).await.unwrap().is_ok());
    let refused = names.hello(soon(), hello("theirs")).await.unwrap();
    assert!(matches!(refused, Err(HelloError::WrongCluster { .. })), "{refused:?}");
}

#[tokio::test]
async fn signals_end_it_cleanly_even_with_a_poll_waiting() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&["--store", "memory"]);
        let names = server.client();
        let hello = Hello { cluster: None, seen: None, program: "test".into(), version: "1".into() };
        let since = names.hello(soon(), hello).await.unwrap().unwrap().stamp;
        let all = vec![(WatchId(1), Query::by_name(Names::Any))];
        let poll = tokio::spawn({
            let names = names.clone();
            async move { names.watch(soon(), all, since, Duration::from_secs(8)).await }
        });
        while names.status(soon()).await.unwrap().watchers == 0 {}
        assert_eq!(server.end(signal), Some(0));
        assert_eq!(poll.await.unwrap().unwrap().unwrap().value, []);
    }
}

#[tokio::test]
async fn one_connection_takes_sixteen_polls_and_no_more() {
    let server = Server::start(&["--store", "memory", "--warm-up", "0s"]);
    let names = server.client();
    let listed =
        names.list(soon(), Query::by_name(Names::Any), Page { after: None, limit: 1 }).await.unwrap();
    let since = listed.unwrap().stamp;
    let poll = |queries: u32, hold| {
        let queries = (0..queries).map(|n| (WatchId(n), Query::by_name(Names::Any))).collect();
        let names = names.clone();
        async move { names.watch(soon(), queries, since, hold).await.unwrap() }
    };
    let waiting: Vec<_> = (0..16).map(|_| tokio::spawn(poll(1, Duration::from_secs(8)))).collect();
    while names.status(soon()).await.unwrap().watchers < 16 {}
    assert_eq!(poll(1, Duration::ZERO).await, Err(WatchError::TooMany));
    // Whoever else comes is not bothered, and they all hear of what happens.
    let other = server.client();
    assert!(other.watch(soon(), vec![], since, Duration::ZERO).await.unwrap().is_ok());
    register(&other, Duration::from_mins(1)).await;
    for poll in waiting {
        assert_eq!(poll.await.unwrap().unwrap().value.len(), 1);
    }
    assert_eq!(poll(257, Duration::ZERO).await, Err(WatchError::TooMany));
    let many = other.lookup_many(soon(), vec![name("a"); 1025], Freshness::Local).await.unwrap().value;
    assert_eq!((many.len(), many[0].clone()), (1025, Err(LookupError::TooMany)));
}

#[test]
fn a_second_process_on_the_same_store_is_told_who_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("names.redb");
    let server = Server::with_file(&file);
    let second = command(&["--store", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(second.status.code(), Some(75));
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains(&format!("in use by process {}", server.child.id())), "{said}");
    assert_eq!(second.stdout, b"");
}

#[test]
fn bad_flags_end_with_2_and_say_what_to_try() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for arguments in [
        &["--store", "memory", "--listen", &address][..],
        &["--listen", "0.0.0.0:0"],
        &["--store", "etcd://localhost/names"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nameserver"));
        let ended = command.args(arguments).output().unwrap();
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.contains("error: ") && said.contains("\n  try: "), "{said}");
    }
}
