//! Ratings: how many are taken per second, how soon each is seen everywhere, and what a read waits for that has a hundred
//! thousand of them to fetch first.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use common::clock::{Clock, Moment};
use common::ids::ClusterId;
use common::names::Address;
use common::replication::{GroupName, RequestIdSource, Session, VectorTimestamp};
use common::rpc::frontend::FrontendClient;
use common::rpc::gossip::Status;
use common::rpc::limits::{FRONTEND, REPLICA};
use common::rpc::replica::{Consistency, Position, SubmitError};
use common::rpc::transport::{Reconnecting, within};
use common::services::encode;
use common::services::ratings::{NAME, Query, Rating, Update};
use futures::future::join_all;

use super::{Spread, figure, ms, per_second};
use crate::cluster::{Cluster, Options};
use crate::process::PATIENCE;
use crate::raters::{await_equal, film, replica, statuses};
use crate::shop::run;

/// Films that are rated.
const FILMS: usize = 100;
/// Raters whose calls share one connection.
const PER_CONNECTION: usize = 16;
/// Raters who fill a group.
const FILLERS: usize = 128;

/// Rates through the front end for a while, or so many times; how long each took, and what was seen in the end.
async fn rate(
    front_end: SocketAddr,
    raters: usize,
    time: Duration,
    limit: usize,
) -> Result<(Vec<Duration>, Session)> {
    let clock = Clock::start();
    let connect = || {
        let to = Reconnecting::new(Address::from(front_end), FRONTEND, ClusterId::UNSTATED);
        FrontendClient::from(to)
    };
    let connections: Vec<_> = (0..raters.div_ceil(PER_CONNECTION)).map(|_| connect()).collect();
    let group: GroupName = NAME.parse().expect("a good name");
    let share = limit.div_ceil(raters);
    let one = async |number: usize| -> Result<(Vec<Duration>, Session)> {
        let front_end = connections[number / PER_CONNECTION].clone();
        let (mut ids, mut session, mut took) = (RequestIdSource::default(), Session::default(), Vec::new());
        let user = format!("rater {number}");
        while took.len() < share && clock.now() < Moment::ORIGIN + time {
            ids.observe(session.latest);
            let id = ids.next(Clock::wall(), rand::random());
            let update =
                Update::Rate { film: film(took.len() % FILMS), user: user.clone(), rating: Rating::MAX };
            let (begun, payload, prev) = (clock.now(), encode(&update), session.vector.clone());
            loop {
                let context = within(FRONTEND, PATIENCE);
                match front_end.execute(context, group.clone(), id, prev.clone(), payload.clone()).await? {
                    Ok(done) => {
                        let Position::Causal { vector, latest } = &done.position else { bail!("no vector") };
                        session.saw(&prev, vector, *latest);
                        break;
                    }
                    Err(SubmitError::Busy { retry_in }) => tokio::time::sleep(retry_in).await,
                    Err(SubmitError::Overloaded) => tokio::time::sleep(Duration::from_millis(5)).await,
                    Err(error) => bail!("{error}"),
                }
            }
            took.push(clock.now().since(begun));
        }
        Ok((took, session))
    };
    let mut all = (Vec::new(), Session::default());
    for rated in join_all((0..raters).map(one)).await {
        let (took, session) = rated?;
        all.0.extend(took);
        all.1.saw(&VectorTimestamp::default(), &session.vector, session.latest);
    }
    Ok(all)
}

/// Ratings per second with so many raters at once; how soon all replicas are equal afterwards, and how long their logs are.
///
/// # Errors
/// When something does not work at all.
pub fn throughput(time: Duration, raters: &[usize]) -> Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let replicas = cluster.replica_addresses();
    for &raters in raters {
        let before = run(fewest(&replicas))?;
        let clock = Clock::start();
        let (took, _) = run(rate(cluster.front_ends[0].address(), raters, time, usize::MAX))?;
        let rate = per_second(took.len() as u64, clock.now().since_origin());
        let equal = await_equal(&replicas)?;
        let (acknowledged, there) = (took.len() as u64, run(fewest(&replicas))? - before);
        ensure!(there >= acknowledged, "{acknowledged} acknowledged, {there} on some replica");
        figure(format!("{raters} raters: acknowledged, and then on every replica"), acknowledged);
        figure(format!("{raters} raters: ratings/s"), format!("{rate:.0}"));
        figure(format!("{raters} raters: one rating"), Spread::of(took));
        figure(format!("{raters} raters: all replicas equal after the last one"), ms(equal));
    }
    let later = async {
        // That is what is measured: the log so long after the last rating.
        tokio::time::sleep(Duration::from_secs(5)).await;
        statuses(&replicas).await
    };
    let logs = run(later)?.into_iter().map(|one| one.log).max().unwrap_or(0);
    figure("the longest log, 5 s after the last rating", logs);
    visible(&cluster, 100)
}

/// How many ratings are on each replica, at least.
async fn fewest(replicas: &[SocketAddr]) -> Result<u64> {
    let all = statuses(replicas).await?;
    Ok(all.iter().map(|one| one.applied.seen.values().sum()).min().unwrap_or(0))
}

/// How long after its acknowledgement a rating is on all replicas.
fn visible(cluster: &Cluster, times: usize) -> Result<()> {
    let replicas = cluster.replica_addresses();
    let mut took = Vec::new();
    for _ in 0..times {
        run(rate(cluster.front_ends[0].address(), 1, PATIENCE, 1))?;
        took.push(await_equal(&replicas)?);
    }
    figure("from a rating's acknowledgement until it is on all replicas", Spread::of(took));
    Ok(())
}

/// A replica misses so many ratings; then somebody who has seen all of them asks it.
///
/// # Errors
/// When something does not work at all.
pub fn unread(count: usize) -> Result<()> {
    let cluster = Cluster::start(Options::default())?;
    let replicas = cluster.replica_addresses();
    let last = *replicas.last().context("there are three")?;
    let set = async |status| replica(last).set_status(within(REPLICA, PATIENCE), status).await;
    run(async { Ok(set(Status::Offline).await??) })?;
    let (_, session) = run(rate(cluster.front_ends[0].address(), FILLERS, PATIENCE * 20, count))?;
    let clock = Clock::start();
    let answered = run(async {
        set(Status::Online).await??;
        let query = encode(&Query::Average { film: film(0) });
        loop {
            let group: GroupName = NAME.parse().expect("a good name");
            let context = within(REPLICA, PATIENCE);
            let (prev, how) = (session.vector.clone(), Consistency::Linearizable);
            if let Ok(answer) = replica(last).query(context, group, prev, how, Bytes::clone(&query)).await? {
                let Position::Causal { vector, .. } = &answer.position else { bail!("no vector") };
                ensure!(
                    session.vector.seen.iter().all(|(id, count)| vector.get(*id) >= *count),
                    "it lacks some"
                );
                return Ok(clock.now().since_origin());
            }
            // It catches up before it takes calls.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })?;
    figure(format!("a read that has to fetch {count} ratings first"), ms(answered));
    Ok(())
}
