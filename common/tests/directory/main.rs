//! The client side of naming, against a name server of a few lines: views and groups that outlive it, a list of
//! addresses, and a lease that comes back.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on ends there")]

mod fake;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::directory::{LeaseEvent, NameError, Names, PATIENCE, View};
use common::ids::{ClusterId, InstanceId};
use common::names::{Address, Names as Which, Patch, Query, Readiness};
use common::replication::{ConfigVersion, GroupConfig, GroupName, Member, Proposer, ReplicaId};
use common::rpc::Outcome;
use common::rpc::name_service::{Config, GroupChange, GroupError};
use common::rpc::transport::CallError;
use fake::{Fake, anywhere, cluster, entry, record};
use tokio::sync::watch;
use tokio::time::timeout;

/// Far more than anything here takes; a test that waits for it has failed.
const LONG: Duration = Duration::from_secs(20);
const TTL: Duration = Duration::from_millis(300);

fn names(servers: &[SocketAddr]) -> Names {
    Names::new(servers.iter().copied().map(Address::from).collect(), "test")
}

fn all() -> Query {
    Query::by_name(Which::Any)
}

fn shown(view: &View) -> Vec<String> {
    view.records.iter().map(|record| record.name.to_string()).collect()
}

/// Waits until `view` shows exactly these names; returns everything it showed on the way.
async fn until_shown(view: &mut watch::Receiver<View>, expected: &[&str]) -> Vec<Vec<String>> {
    let mut seen = Vec::new();
    let wait = async {
        loop {
            seen.push(shown(&view.borrow_and_update()));
            if seen.last().is_some_and(|names| names == expected) && view.borrow().stamp.is_some() {
                return;
            }
            view.changed().await.expect("the view is fed");
        }
    };
    let done = timeout(LONG, wait).await;
    assert!(done.is_ok(), "not shown: {expected:?}; shown: {seen:?}");
    seen
}

/// An address where nobody listens just now.
fn nobody() -> SocketAddr {
    std::net::TcpListener::bind(anywhere()).unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_view_shows_each_change_and_all_pages() {
    let fake = Fake::open();
    for name in ["a", "b", "c", "d", "e"] {
        fake.put(record(name));
    }
    let names = names(&[fake.address]);
    let mut view = names.view(all());
    until_shown(&mut view, &["a", "b", "c", "d", "e"]).await;
    let mut one = names.view(Query::by_name(Which::Exact("c".parse().unwrap())));
    until_shown(&mut one, &["c"]).await;
    fake.change(|state| state.remove(&"c".parse().unwrap()));
    until_shown(&mut one, &[]).await;
    until_shown(&mut view, &["a", "b", "d", "e"]).await;
    assert_eq!(fake.state().greeted, ["test"], "one connection, greeted once");
}

#[tokio::test]
async fn a_wall_clock_that_differs_from_the_name_servers_shows_once_it_is_greeted() {
    let fake = Fake::open();
    fake.change(|state| state.ahead = Duration::from_mins(10));
    let names = names(&[fake.address]);
    let mut off = names.clock_off();
    assert_eq!(*off.borrow_and_update(), None);
    timeout(LONG, names.cluster()).await.expect("it answers");
    assert!(off.borrow_and_update().expect("greeted") > Duration::from_mins(9));
}

#[tokio::test]
async fn f11_an_empty_registry_does_not_empty_a_view() {
    let fake = Fake::open();
    fake.put(record("a"));
    fake.put(record("b"));
    let names = names(&[fake.address]);
    let mut view = names.view(all());
    until_shown(&mut view, &["a", "b"]).await;
    let address = fake.kill();
    assert_eq!(shown(&view.borrow()), ["a", "b"]);

    let fake = Fake::at(address, cluster(), 2);
    fake.change(|state| state.warming = true);
    let mut bell = fake.bell();
    let asked_again = bell.wait_for(|_| fake.state().warned >= 2);
    timeout(LONG, asked_again).await.expect("it lists, is told to wait, and lists again").unwrap();
    assert_eq!(shown(&view.borrow()), ["a", "b"]);
    fake.put(record("b"));
    fake.put(record("c"));
    fake.change(|state| state.warming = false);
    let seen = until_shown(&mut view, &["b", "c"]).await;
    assert!(seen.iter().all(|names| names.contains(&"b".to_owned())), "compared, not built up: {seen:?}");
}

#[tokio::test]
async fn what_is_registered_while_the_name_server_warms_up_is_shown_at_once() {
    let fake = Fake::open();
    fake.change(|state| state.warming = true);
    fake.put(record("a"));
    let names = names(&[fake.address]);
    let mut view = names.view(all());
    let showing = |count| move |view: &View| view.records.len() == count;
    timeout(LONG, view.wait_for(showing(1))).await.expect("it is shown").unwrap();
    fake.put(record("b"));
    timeout(LONG, view.wait_for(showing(2))).await.expect("it is shown").unwrap();
    assert_eq!(view.borrow().stamp, None, "it is not the whole truth");
    fake.change(|state| state.warming = false);
    until_shown(&mut view, &["a", "b"]).await;
}

#[tokio::test]
async fn forgotten_changes_are_made_up_for_by_a_listing() {
    let fake = Fake::open();
    let names = names(&[fake.address]);
    let mut view = names.view(all());
    until_shown(&mut view, &[]).await;
    fake.change(|state| {
        state.put(record("a"));
        state.compacted = state.stamp.rev;
    });
    until_shown(&mut view, &["a"]).await;
}

#[tokio::test]
async fn what_is_started_before_the_name_server_waits_for_it() {
    let address = nobody();
    let names = names(&[address]);
    let mut view = names.view(all());
    let error = names.find("a".parse().unwrap(), Duration::from_secs(1)).await.unwrap_err();
    assert!(matches!(&error, NameError::Call(CallError::Unreachable { refused: true, .. })), "{error:?}");
    assert!(view.borrow().stamp.is_none() && names.known_cluster().is_none());
    let waiting = tokio::spawn({
        let names = names.clone();
        async move { names.cluster().await }
    });
    let fake = Fake::at(address, cluster(), 1);
    fake.put(record("a"));
    assert_eq!(timeout(LONG, waiting).await.unwrap().unwrap(), cluster());
    until_shown(&mut view, &["a"]).await;
    assert_eq!(names.find("a".parse().unwrap(), LONG).await.unwrap().len(), 1);
}

#[tokio::test]
async fn f17_another_clusters_name_server_is_passed_over() {
    let (first, third) = (Fake::open(), Fake::open());
    let stray = Fake::at(anywhere(), ClusterId::from_bytes([7; 16]), 9);
    stray.put(record("a"));
    third.put(record("b"));
    let names = names(&[first.address, stray.address, third.address]);
    assert_eq!(names.cluster().await, cluster());
    let first = first.kill();
    let found = async {
        loop {
            // The first call may find out that the connection is gone.
            if let Ok(found) = names.find("b".parse().unwrap(), LONG).await {
                return found;
            }
        }
    };
    assert_eq!(timeout(LONG, found).await.unwrap().len(), 1);
    assert_eq!((stray.state().greeted.len(), third.state().greeted.len()), (1, 1));

    let (stray_at, third) = (stray.address, third.kill());
    let error = loop {
        match names.find("b".parse().unwrap(), LONG).await.unwrap_err() {
            // The connection's end was still to be found out.
            NameError::Call(CallError::ConnectionLost) => {}
            error => break error.to_string(),
        }
    };
    for tried in [first, stray_at, third] {
        assert!(error.contains(&tried.to_string()), "{error}");
    }
}

/// The kernel accepts for a process that is stopped.
#[tokio::test]
async fn a_silent_name_server_leaves_time_for_the_next_within_one_call() {
    let silent = std::net::TcpListener::bind(anywhere()).unwrap();
    let fake = Fake::open();
    fake.put(record("a"));
    let names = names(&[silent.local_addr().unwrap(), fake.address]);
    assert_eq!(names.find("a".parse().unwrap(), PATIENCE).await.unwrap().len(), 1);
}

/// Each of them too short to tell a dead connection from a slow one.
#[tokio::test]
async fn a_connection_on_which_calls_go_unanswered_is_replaced() {
    let fake = Fake::open();
    fake.state().mute = true;
    let names = names(&[fake.address]);
    let replaced = async {
        while fake.state().greeted.len() < 2 {
            let error = names.find("a".parse().unwrap(), Duration::from_millis(50)).await.unwrap_err();
            assert!(matches!(error, NameError::Call(_)), "{error:?}");
        }
    };
    timeout(LONG, replaced).await.expect("it is replaced");
}

#[tokio::test]
async fn who_waits_for_a_name_server_says_so_once_and_names_all_addresses() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer({
        let log = log.clone();
        move || log.clone()
    });
    let _guard = tracing::subscriber::set_default(subscriber.finish());
    let (first, second) = (nobody(), nobody());
    let names = names(&[first, second]);
    let mut view = names.view(all());
    let mut config = names.group(group());
    for _ in 0..3 {
        assert!(names.find("a".parse().unwrap(), LONG).await.is_err());
    }
    let fake = Fake::at(second, cluster(), 1);
    fake.change(|state| state.config = Some(config_of(1)));
    until_shown(&mut view, &[]).await;
    until_version(&mut config, 1).await;
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let waiting: Vec<_> = lines.lines().filter(|line| line.contains("waiting for a name server")).collect();
    assert_eq!(waiting.len(), 1, "{lines}");
    assert!(waiting[0].contains(&format!("{first}, {second}")), "{lines}");
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_refused_query_says_so_by_ending_its_view_and_harms_no_other() {
    let fake = Fake::open();
    let names = names(&[fake.address]);
    let mut bad = names.view(Query::by_name(Which::Regex("(".into())));
    let mut good = names.view(all());
    assert!(timeout(LONG, bad.changed()).await.unwrap().is_err());
    until_shown(&mut good, &[]).await;
}

fn group() -> GroupName {
    "just.hungry".parse().unwrap()
}

fn config_of(version: u64) -> Config {
    let member = Member { id: ReplicaId::from_u128(1), boot: InstanceId::from_u128(1) };
    let first = GroupConfig::first(cluster(), group(), member, 1);
    Config::Passive(GroupConfig { version: ConfigVersion(version), ..first })
}

async fn until_version(view: &mut watch::Receiver<Option<Config>>, version: u64) {
    let is = |config: &Option<Config>| config.as_ref().map(Config::version) == Some(ConfigVersion(version));
    timeout(LONG, view.wait_for(is)).await.expect("it is shown").unwrap();
}

#[tokio::test]
async fn a_groups_view_follows_each_change_and_never_goes_back() {
    let fake = Fake::open();
    let names = names(&[fake.address]);
    let mut view = names.group(group());
    let change = |expect: Option<u64>, version| GroupChange {
        expect: expect.map(ConfigVersion),
        new: config_of(version),
        by: Proposer::Operator,
    };
    names.change_group(change(None, 1), LONG).await.unwrap();
    until_version(&mut view, 1).await;
    fake.change(|state| state.config = Some(config_of(3)));
    until_version(&mut view, 3).await;
    let conflict = names.change_group(change(Some(1), 2), LONG).await.unwrap_err();
    assert_eq!(conflict, NameError::Answer(GroupError::Conflict { current: Some(config_of(3)) }));
    assert_eq!(conflict.outcome(), Outcome::NoEffect);

    let fake = Fake::at(fake.kill(), cluster(), 2);
    fake.change(|state| state.config = Some(config_of(2)));
    let read = async {
        loop {
            if let Ok(read) = names.read_group(group(), None, LONG).await {
                return read;
            }
        }
    };
    assert_eq!(timeout(LONG, read).await.unwrap(), Some(config_of(2)));
    assert_eq!(*view.borrow(), Some(config_of(3)));
    fake.change(|state| state.config = Some(config_of(4)));
    until_version(&mut view, 4).await;
}

#[tokio::test]
async fn a_lease_that_the_name_server_forgot_comes_back_with_all_that_was_changed() {
    let fake = Fake::open();
    let names = names(&[fake.address]);
    let keeper = names.keep(TTL, InstanceId::from_u128(5), None);
    let mut events = keeper.events();
    keeper.register("replica.1".parse().unwrap(), entry()).await.unwrap();
    let draining = Patch { readiness: Some(Readiness::Draining), ..Patch::default() };
    keeper.update("replica.1".parse().unwrap(), draining).await.unwrap();
    let readiness = |fake: &Fake| fake.state().records.values().next().map(|record| record.readiness);
    assert_eq!(readiness(&fake), Some(Readiness::Draining));

    let fake = Fake::at(fake.kill(), cluster(), 2);
    assert_eq!(timeout(LONG, events.recv()).await.unwrap(), Ok(LeaseEvent::Lapsed));
    assert_eq!(timeout(LONG, events.recv()).await.unwrap(), Ok(LeaseEvent::Regained));
    assert_eq!(readiness(&fake), Some(Readiness::Draining));

    keeper.leave().await;
    assert!(fake.state().records.is_empty() && fake.state().leases.is_empty());
}

/// This test's runtime has one thread, which waits without giving way.
#[tokio::test]
async fn a_program_that_keeps_its_runtime_busy_loses_no_lease() {
    let fake = Fake::open();
    let keeper = names(&[fake.address]).keep(TTL, InstanceId::from_u128(5), None);
    keeper.register("replica.1".parse().unwrap(), entry()).await.unwrap();
    let mut bell = fake.bell();
    let before = *bell.borrow();
    let (told, renewed) = std::sync::mpsc::channel();
    let watcher = std::thread::spawn(move || {
        let renewals = tokio::runtime::Builder::new_current_thread().build().unwrap();
        renewals.block_on(bell.wait_for(|renewals| *renewals >= before + 4)).unwrap();
        told.send(()).unwrap();
    });
    renewed.recv_timeout(LONG).expect("it is renewed meanwhile");
    watcher.join().unwrap();
    assert_eq!(fake.state().leases.len(), 1, "the same lease");
    keeper.leave().await;
}

#[tokio::test]
async fn leaving_without_a_name_server_takes_no_longer_than_it_may() {
    let names = names(&[nobody()]);
    let keeper = names.keep(TTL, InstanceId::from_u128(5), None);
    timeout(LONG, keeper.leave()).await.unwrap();
}
