//! A further service, in the same processes as the shipped ones: a table with one line more serves it, and each group
//! fails over by itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context as _, Result, anyhow, ensure};
use client::service::{Patience, Service};
use cluster_tests::cluster::{Cluster, Options};
use cluster_tests::process::PATIENCE;
use cluster_tests::shop::{Load, audit, failures, names, run};
use cluster_tests::tally::{Add, NAME, Query, Tally, WITH_TALLY};
use common::clock::Clock;
use common::directory::Names;
use common::ids::ClusterId;
use common::replication::RequestId;
use common::rpc::limits::REPLICA;
use common::rpc::replica::{MemberStatus, ReplicaClient, Role};
use common::rpc::transport::{Reconnecting, within};
use common::services::{decode, encode};
use futures::future::{join, join_all};

/// Adds one, sent twice under one id by two clients at once; what both were answered.
async fn add_one(names: &Names, count: &AtomicU64) -> Result<u64> {
    let id = RequestId::from_parts(Clock::wall(), 7, count.fetch_add(1, Ordering::Relaxed));
    let patience = Patience { timeout: PATIENCE, ..Patience::default() };
    let send = async || -> Result<Tally> {
        let service = Service::new(names, NAME).patient(patience).with_id(Some(id));
        let (_, reply) = service.execute(encode(&Add(1))).await.map_err(|failure| anyhow!("{failure:?}"))?;
        decode::<Option<Tally>>(&reply)?.context("it fits")
    };
    let (first, second) = join(send(), send()).await;
    let (first, second) = (first?, second?);
    ensure!(first == second, "one request was answered with {first:?} and {second:?}");
    Ok(first.sum)
}

/// How the member of each group at `address` is.
async fn members(address: SocketAddr) -> Result<Vec<MemberStatus>> {
    let replica = ReplicaClient::from(Reconnecting::new(address.into(), REPLICA, ClusterId::UNSTATED));
    Ok(replica.status(within(REPLICA, PATIENCE)).await?)
}

/// Waits until all members of each group are in sync and hold the same.
fn await_equal(cluster: &Cluster) -> Result<()> {
    run(async {
        let clock = Clock::start();
        loop {
            let mut all = Vec::new();
            for address in cluster.replica_addresses() {
                all.push(members(address).await?);
            }
            let equal = |group: usize| {
                all.iter().all(|members| {
                    let (one, first) = (&members[group], &all[0][group]);
                    let in_sync = one.config.as_ref().map_or(0, |config| config.in_sync.len());
                    in_sync == all.len() && (one.applied, one.state_hash) == (first.applied, first.state_hash)
                })
            };
            if (0..WITH_TALLY.passive.len()).all(equal) {
                return Ok(());
            }
            ensure!(clock.now().since_origin() < PATIENCE, "still not equal: {all:#?}");
        }
    })
}

#[test]
fn two_groups_one_process() -> Result<()> {
    let hosting = Some(env!("CARGO_BIN_EXE_two_services"));
    let mut cluster = Cluster::start(Options { hosting, ..Options::default() })?;
    for replica in &cluster.replicas {
        assert_eq!(replica.told("groups"), "just.hungry,movies,tally,ratings");
        for file in ["just.hungry.redb", "movies.redb", "tally.redb"] {
            assert!(cluster.data(replica.name()).join(file).exists(), "{file} of {}", replica.name());
        }
    }
    let mut load = Load::start(cluster.name_server.address(), 2);
    load.await_acknowledged(10)?;
    let names = names(cluster.name_server.address());
    let count = AtomicU64::new(0);
    let add = |many: usize| {
        run(async {
            let names = names.clone();
            let sums = join_all((0..many).map(|_| add_one(&names, &count))).await;
            sums.into_iter().collect::<Result<Vec<u64>>>()
        })
    };
    let mut sums = add(20)?;
    await_equal(&cluster).context("before")?;
    let leads = |status: &MemberStatus| status.role == Role::Primary;
    let primary = cluster.primary()?;
    let both = run(members(cluster.replicas[primary].address()))?;
    // One replica created all groups, so that its death is every group's fail-over.
    assert!(both.iter().all(leads), "{both:#?}");
    let epochs = |members: &[MemberStatus]| members.iter().map(|member| member.epoch).collect::<Vec<_>>();
    let before = epochs(&both);

    cluster.replicas[primary].kill()?;
    sums.extend(add(20).context("after the primary's death")?);
    load.await_acknowledged(20).context("after the primary's death")?;
    cluster.replicas[primary].start_again()?;
    await_equal(&cluster).context("after it came back")?;
    let after = epochs(&run(members(cluster.replicas[primary].address()))?);
    assert!(before.iter().zip(&after).all(|(before, after)| before < after), "{before:?}, {after:?}");

    // Each id added once, however often it was sent: forty answers, each another sum, none above forty.
    let distinct: BTreeSet<u64> = sums.iter().copied().collect();
    assert_eq!(distinct, (1..=40).collect());
    let now = run(async {
        let service =
            Service::new(&names, NAME).patient(Patience { timeout: PATIENCE, ..Patience::default() });
        let answer = service.query(encode(&Query::Now)).await.map_err(|failure| anyhow!("{failure:?}"))?;
        Ok(decode::<Option<Tally>>(&answer)?)
    })?;
    assert_eq!(now, Some(Tally { sum: 40, times: 40 }));
    let attempts = load.stop()?;
    assert!(failures(&attempts).is_empty(), "{:?}", failures(&attempts));
    await_equal(&cluster)?;
    audit(&attempts, &cluster.replica_addresses())
}
