use bytes::Bytes;
use common::clock::Timestamp;
use common::ids::{ClusterId, InstanceId};
use common::replication::{ConfigVersion, LogPoint, Member, RequestId};
use common::rpc::replica::Role;
use common::services::TABLE;
use tokio::task::LocalSet;

use super::super::{BATCH_BYTES, Planted, SnapshotAfter};
use super::mailbox::Group;
use super::*;
use crate::hosted::Listed;

/// A replica on an empty disk in memory, whose name server never answers.
fn alone() -> (Group, Driver) {
    let clock = Clock::start();
    let cluster = ClusterId::from_bytes([7; 16]);
    let me = Member { id: ReplicaId::from_u128(1), boot: InstanceId::from_u128(1) };
    let (group, mailbox) = Group::new(TABLE[0].name.parse().unwrap());
    let place = Place { directory: None, group: group.name().clone() };
    let setup = Setup {
        cluster,
        group: group.name().clone(),
        me,
        name: "replica.1".parse().unwrap(),
        address: "127.0.0.1:9".parse().unwrap(),
        service: TABLE[0],
        first: None,
        snapshots: SnapshotAfter::default(),
        batch_bytes: BATCH_BYTES,
        planted: Planted::default(),
    };
    let parts = Parts {
        setup,
        stored: Stored::default(),
        known: BTreeMap::new(),
        file: place.format(Identity { cluster, replica: me.id }).unwrap(),
        place,
        clock,
        // Discard: nobody listens there.
        names: Names::new(vec!["127.0.0.1:9".parse().unwrap()], "test"),
        links: Links::new(cluster, me.boot, clock),
        restored: false,
    };
    (group, Driver::new(parts, mailbox).unwrap().0)
}

fn hello(id: u128, address: &str) -> Hello {
    Hello {
        cluster: ClusterId::from_bytes([7; 16]),
        me: Member { id: ReplicaId::from_u128(id), boot: InstanceId::from_u128(id) },
        name: "replica.2".parse().unwrap(),
        address: address.parse().unwrap(),
        last: LogPoint::default(),
        wall: Timestamp::from_millis(1),
        config_version: ConfigVersion(0),
    }
}

#[tokio::test]
async fn without_a_name_server_a_replica_answers_and_leads_nobody() {
    let test = async {
        let (group, driver) = alone();
        let driving = tokio::task::spawn_local(driver.run());
        let id = RequestId::from_parts(Timestamp::from_millis(1), 0, 0);
        let deadline = Moment::after_origin(Duration::from_mins(1));
        let refused = group.execute(id, Bytes::new(), Bytes::new(), deadline).await.unwrap_err();
        assert_eq!(refused, SubmitError::NotPrimary { config: None, address: None });
        let status = group.status().await.unwrap();
        assert_eq!((status.role, &*status.trouble), (Role::Waiting, "waiting for the name server"));
        // Nothing to hand over.
        group.stop().await;
        group.close().await;
        driving.await.unwrap();
        assert!(group.status().await.is_none(), "closed");
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn who_says_hello_is_known_and_was_heard() {
    let test = async {
        let (group, driver) = alone();
        let driving = tokio::task::spawn_local(driver.run());
        let listed = Listed {
            member: hello(3, "127.0.0.1:3").me,
            name: "replica.3".parse().unwrap(),
            address: "127.0.0.1:3".parse().unwrap(),
        };
        group.listed(vec![listed]).await;
        group.met(hello(2, "127.0.0.1:2")).await;
        let known = group.status().await.unwrap().known;
        let seen: Vec<_> = known.iter().map(|known| (known.address.port(), known.heard.is_some())).collect();
        assert_eq!(seen, [(2, true), (3, false)]);
        group.close().await;
        driving.await.unwrap();
    };
    LocalSet::new().run_until(test).await;
}

/// A record that gives the group to this replica in its present boot.
fn record(version: u64) -> GroupConfig {
    let me = Member { id: ReplicaId::from_u128(1), boot: InstanceId::from_u128(1) };
    let first = GroupConfig::first(ClusterId::from_bytes([7; 16]), TABLE[0].name.parse().unwrap(), me, 1);
    GroupConfig { version: ConfigVersion(version), epoch: Epoch(version), ..first }
}

#[tokio::test]
async fn late_reply_after_adoption() {
    let test = async {
        let (group, mut driver) = alone();
        // An answer of the name server's lost future, still on its way.
        let (answer, answered) = oneshot::channel();
        driver.question(async move { answered.await.unwrap_or(Event::NoRecord) });
        let driving = tokio::task::spawn_local(driver.run());
        let before = group.prepare_adoption().await.unwrap();
        assert_eq!((before.config, before.epoch), (None, Epoch(0)));
        assert!(answer.send(Event::Record(Some(record(5)))).is_err(), "nobody reads it any more");
        assert_eq!(group.status().await.unwrap().config, None);
        group.close().await;
        driving.await.unwrap();
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn an_answer_that_came_in_time_is_read() {
    let test = async {
        let (group, mut driver) = alone();
        driver.question(std::future::ready(Event::Record(Some(record(5)))));
        let driving = tokio::task::spawn_local(driver.run());
        // The driver looks at what has come already before it opens a letter.
        let status = group.prepare_adoption().await.unwrap();
        assert_eq!(status.config, Some(record(5)));
        group.close().await;
        driving.await.unwrap();
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_socket_that_refuses_is_told_from_one_that_accepts() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(!look(address).await);
    drop(listener);
    assert!(look(address).await);
}
